"""The ends of many statements at once: a server that stops while they run, and clients that are killed."""

import contextlib
import http.client
import json
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import eventually
from test_http import post
from test_load import ENDLESS

CUSTOMERS = "SELECT customer_id, city, loyalty_tier FROM storefront.customers"


def test_a_server_that_stops_under_load_gives_whole_answers_or_none(serve):
    server = serve()
    expected = len(json.loads(post(server, CUSTOMERS)[2]))
    whole, wrong, stopped = [], [], threading.Event()

    def client():
        while not stopped.is_set():
            # A server that is gone gives no answer, and one that goes gives no part of one.
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, _, body = post(server, CUSTOMERS)
                if status == 200:
                    whole.append(time.monotonic())
                    if len(json.loads(body)) != expected:
                        wrong.append(body[-100:])
            if server.process.poll() is not None:
                return

    clients = [threading.Thread(target=client) for _ in range(16)]
    for thread in clients:
        thread.start()
    try:
        assert eventually(lambda: len(whole) > 30)
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 40
    finally:
        stopped.set()
        for thread in clients:
            thread.join()
    assert not wrong


def test_clients_that_are_killed_at_any_moment_leave_nothing(serve):
    server = serve()
    script = f"""
import sys
from adbc_driver_flightsql import dbapi

settings = {{"username": "analyst-eu", "password": "analyst-eu"}}
print("here", flush=True)
while True:
    with dbapi.connect("{server.uri}", db_kwargs=settings, autocommit=True) as connection, connection.cursor() as cursor:
        for sql in [{CUSTOMERS!r}, {ENDLESS!r}]:
            cursor.execute(sql)
            print(cursor.fetch_record_batch().read_next_batch().num_rows, flush=True)
"""
    draw = random.Random(8)
    for _ in range(3):
        clients = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(6)]
        for client in clients:
            assert client.stdout.readline() == "here\n"
        for client in clients:
            client.stdout.readline()
            time.sleep(draw.random() / 5)
            client.send_signal(signal.SIGKILL)
            client.communicate()
        assert eventually(lambda: server.metric("polder_queries_running") == 0)
    assert eventually(server.rests, within=60)
    assert post(server, "SELECT 1 AS one")[0] == 200


# Their conditions never hold: they make no row between which they could be ended.
VAIN = {
    "an inequality": "SELECT count(*) FROM storefront.customer_events a JOIN storefront.customer_events b ON a.value_eur > b.value_eur + 1000000000",
    "more than an equality": (
        "SELECT count(*) FROM storefront.customer_events a JOIN storefront.customer_events b"
        " ON a.device = b.device AND a.value_eur > b.value_eur + 1000000000"
    ),
    "none of them": (
        "SELECT count(*) FROM storefront.customer_events a WHERE NOT EXISTS"
        " (SELECT 1 FROM storefront.customer_events b WHERE a.value_eur > b.value_eur + 1000000000)"
    ),
    "all of them": (
        "SELECT count(b.device) FROM storefront.customer_events a LEFT JOIN storefront.customer_events b"
        " ON a.value_eur > b.value_eur + 1000000000"
    ),
}


def answered_beside(server, sql, times, within):
    """How many answers another user gets, each soon, while one asks the same so many times at once; and how these end."""
    city = "SELECT count(*) FROM fulfillment.warehouses WHERE city IS NOT NULL"
    assert post(server, city, "analyst-us")[0] == 200
    with ThreadPoolExecutor(times) as clients:
        asked = [clients.submit(post, server, sql, "analyst-eu") for _ in range(times)]
        answered = 0
        while not any(one.done() for one in asked):
            begin = time.monotonic()
            assert post(server, city, "analyst-us")[0] == 200
            assert time.monotonic() - begin < within
            answered += 1
        return answered, {one.result()[0] for one in asked}


@pytest.mark.parametrize("sql", VAIN.values(), ids=VAIN.keys())
def test_joins_that_find_nothing_hold_up_nobody_and_end_within_a_second(serve, sql):
    server = serve("--timeout", "4")
    answered, ends = answered_beside(server, sql, times=6, within=2)
    assert answered > 3
    assert ends == {429}
    assert eventually(lambda: server.metric('polder_tasks{of="execution"}') == 0, within=1), "they work on"
    before = server.computed()
    time.sleep(1)
    assert server.computed() - before < 0.2


def test_who_has_much_planned_holds_up_nobody(serve):
    server = serve("--timeout", "6")
    steps = [f"a{n} AS (SELECT *, row_number() OVER (ORDER BY customer_id) AS r{n} FROM a{n - 1})" for n in range(1, 60)]
    sql = f"EXPLAIN WITH a0 AS (SELECT * FROM storefront.customers), {', '.join(steps)} SELECT * FROM a59"
    answered, ends = answered_beside(server, sql, times=16, within=4)
    assert answered > 1
    assert ends <= {200, 429}
    # A rule that is begun goes on to its end.
    assert eventually(server.rests), "they are planned on"
