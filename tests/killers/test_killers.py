"""Statements that would take a server down: each dies alone, beside a client who notices nothing."""

import contextlib
import http.client
import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from killers import KILLERS, SLOW
from serving import eventually
from test_http import basic, dial, post

# What all queries of the server may have, and what the process may take beside it: on each of two processors what goes into
# a call, its portions and what comes of them, 32 MiB each; and what the allocator still keeps of the statements before.
POOL = 384 << 20
BESIDE = 512 << 20
SECONDS = "2"

HEALTHY = "SELECT count(*) FROM fulfillment.warehouses WHERE city IS NOT NULL"


class Watch:
    """What a server holds, from time to time, and how long a client of it waits for each answer."""

    def __init__(self, server):
        self.server, self.most, self.took, self.wrong = server, 0, [], []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.look), threading.Thread(target=self.ask)]

    def look(self):
        while not self.stopped.wait(0.01):
            self.most = max(self.most, self.server.resident())

    def ask(self):
        connection = dial(self.server)
        while not self.stopped.is_set():
            begin = time.monotonic()
            try:
                connection.request("POST", "/v1/sql", HEALTHY, basic("analyst-us"))
                answer = connection.getresponse()
                body = json.loads(answer.read())
                if (answer.status, len(body)) != (200, 1):
                    self.wrong.append((answer.status, body))
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.wrong.append(error)
                return
            self.took.append(time.monotonic() - begin)
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def p99(self):
        return statistics.quantiles(self.took, n=100)[98]


def ended(server, sql):
    """How a statement ends: `ok`, the class of its error, or `unread` when its answer breaks off."""
    try:
        status, _, body = post(server, sql.encode())
        return "ok" if status == 200 else json.loads(body)["class"]
    except http.client.IncompleteRead:
        return "unread"


@pytest.mark.timeout(600)
def test_killers_die_alone(serve):
    assert len(KILLERS) >= 60
    server = serve("--memory", str(POOL >> 20), "--timeout", SECONDS)
    process = server.process.pid
    for user in ["analyst-eu", "analyst-us"]:
        assert post(server, HEALTHY, user)[0] == 200
    with Watch(server) as usual:
        time.sleep(10)
    before, kept = server.resident(), server.held()
    unexpected = {}
    with Watch(server) as watch:
        for name, (sql, expected) in KILLERS.items():
            how = ended(server, sql)
            if how not in expected:
                unexpected[name] = how
            assert server.process.poll() is None, f"{name} took the server down: {server.said[-5:]}"
    assert not unexpected
    assert not watch.wrong, "a healthy client is answered"
    assert server.process.pid == process and server.get("/readyz")[0] == 200
    assert watch.most - before < POOL + BESIDE, f"{watch.most >> 20} MiB were held, and {before >> 20} MiB before"
    assert watch.p99() <= 3 * max(usual.p99(), 0.1), f"{watch.p99():.3f} s and not {usual.p99():.3f} s"

    def is_given_back():
        post(server, HEALTHY)
        return server.held() <= max(kept * 5 // 4, kept + (96 << 20))

    assert eventually(lambda: server.metric("polder_queries_running") == 0)
    assert eventually(server.rests, within=60), "what was ended works on"
    assert eventually(is_given_back, within=60), f"{server.held() >> 20} MiB are held, and {kept >> 20} MiB were before"
    with Watch(server) as watch:
        for name, (sql, expected) in SLOW.items():
            assert ended(server, sql) in expected, name
    assert not watch.wrong and server.process.poll() is None


@contextlib.contextmanager
def confined(process, most):
    """Lets the kernel kill a process that takes more memory than this, where this user may make a control group."""
    root = Path("/sys/fs/cgroup")
    above, limit = (root / "memory", "memory.limit_in_bytes") if (root / "memory").is_dir() else (root, "memory.max")
    group = above / f"polder-{process}"
    try:
        group.mkdir()
        (group / limit).write_text(str(most))
        (group / "cgroup.procs").write_text(str(process))
    except OSError as error:
        print(f"the process is watched and not confined: {error}")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (above / "cgroup.procs").write_text(str(process))
        with contextlib.suppress(OSError):
            group.rmdir()


MIXED = [
    "SELECT event_type, count(*), sum(value_eur), max(occurred_at) FROM storefront.customer_events GROUP BY 1 ORDER BY 1",
    "SELECT customer_id, count(*) AS n FROM storefront.customer_events GROUP BY 1 ORDER BY n DESC, 1 LIMIT 20",
    "SELECT count(DISTINCT session_id) FROM storefront.customer_events WHERE device = 'phone'",
    "SELECT c.loyalty_tier, count(*) FROM storefront.customers c JOIN storefront.customer_events e USING (customer_id) GROUP BY 1 ORDER BY 1",
    "SELECT event_id, row_number() OVER (PARTITION BY customer_id ORDER BY occurred_at, event_id) AS n FROM storefront.customer_events ORDER BY n DESC, 1 LIMIT 5",
    "SELECT * FROM storefront.customer_events ORDER BY dwell_ms DESC, event_id LIMIT 100",
    "SELECT device, approx_distinct(customer_id) > 0 FROM storefront.customer_events GROUP BY 1 ORDER BY 1",
    "SELECT length(string_agg(customer_id, ',')) FROM storefront.customers",
    "SELECT customer_id FROM storefront.customers WHERE customer_id NOT IN (SELECT customer_id FROM storefront.customer_events) ORDER BY 1 LIMIT 9",
    "SELECT sku, count(*) FROM storefront.customer_events WHERE sku LIKE '%1%' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 9",
]


@pytest.mark.timeout(600)
def test_fifty_statements_of_sixteen_clients_fit_into_a_gibibyte(serve):
    server = serve("--memory", "384")
    answers = {sql: post(server, sql)[2] for sql in MIXED}

    def asked(number):
        sql = MIXED[number % len(MIXED)]
        status, _, body = post(server, sql)
        return None if status == 200 and body == answers[sql] else (sql, status, body)

    def fifty():
        with Watch(server) as watch, ThreadPoolExecutor(16) as clients:
            wrong = [one for one in clients.map(asked, range(50)) if one]
        # Who needs more memory than others leave is told, and is not given less.
        assert all(json.loads(body)["class"] == "limit" for _, status, body in wrong if status != 200), wrong
        assert all(status != 200 for _, status, _ in wrong), "answers are right"
        assert len(wrong) < 10
        assert not watch.wrong
        assert watch.most < 1 << 30, f"{watch.most >> 20} MiB were held"
        assert eventually(lambda: server.metric("polder_queries_running") == 0)

    # The first fifty fill caches and what threads keep for themselves; the others must find all of it again.
    with confined(server.process.pid, 1 << 30):
        fifty()
        before = server.resident()
        fifty()
    assert server.process.poll() is None
    kept = f"{server.resident() >> 20} MiB are held, and {before >> 20} MiB were before"
    assert eventually(lambda: server.resident() <= before * 5 // 4, within=60), kept
