"""Traces: what a server tells a receiver of OTLP about the parts of each statement, and what it never tells."""

import json
import re
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from adbc_driver_manager import Error

from conftest import open_connection
from serving import eventually
from test_http import post

# Stands in a statement and in no span.
CANARY = "canary-7f3a"
SQL = f"SELECT city, count(*) AS n FROM storefront.customers WHERE email <> '{CANARY}' GROUP BY city"
# What a span of OTLP may hold.
KEYS = {
    "traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "status", "links",
}  # fmt: skip
PARTS = {"gate", "resolve", "decide", "open", "plan", "optimize", "verify", "wait", "execute", "scan", "encode"}


class Receiver:
    """Takes spans over HTTP, or hangs."""

    def __init__(self):
        receiver = self
        self.bodies, self.asked, self.hangs, self.over = [], [], threading.Event(), threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.asked.append((self.path, self.headers["Content-Type"], self.headers["X-Team"]))
                if receiver.hangs.is_set():
                    receiver.over.wait(60)
                    return
                receiver.bodies.append(body)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        return [span for body in list(self.bodies) for span in read(body)]

    def of(self, trace):
        return [span for span in self.spans() if span["traceId"] == trace]

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def read(body):
    """The spans of a request, once every part of it was understood."""
    said = json.loads(body)
    [resource] = said.pop("resourceSpans")
    assert not said
    about = values(resource["resource"])
    assert about["service.name"] == "polder" and about["service.version"]
    [scope] = resource["scopeSpans"]
    assert scope["scope"]["name"] == "polder"
    for span in scope["spans"]:
        assert not span.keys() - KEYS
        assert re.fullmatch("[0-9a-f]{32}", span["traceId"]) and re.fullmatch("[0-9a-f]{16}", span["spanId"])
        assert 0 < int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) <= time.time_ns() + 10**9
    return scope["spans"]


def values(holder):
    """The attributes of a span or a resource."""
    found = {}
    for attribute in holder["attributes"]:
        [(kind, value)] = attribute["value"].items()
        if kind == "arrayValue":
            value = [part["stringValue"] for part in value["values"]]
        elif kind == "intValue":
            value = int(value)
        else:
            assert kind == "stringValue"
        found[attribute["key"]] = value
    return found


def caller(sampled=True):
    """A header that names a span, its trace and the span."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return f"00-{trace}-{span}-{'01' if sampled else '00'}", trace, span


def tree(spans):
    """The span of the statement, and the names of spans by that of their parent."""
    by_id = {span["spanId"]: span for span in spans}
    assert len(by_id) == len(spans)
    [root] = [span for span in spans if span["name"] == "statement"]
    below = {}
    for span in spans:
        if span is not root:
            parent = by_id[span["parentSpanId"]]
            assert int(parent["startTimeUnixNano"]) <= int(span["startTimeUnixNano"])
            below.setdefault(parent["name"], set()).add(span["name"])
    return root, below


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_a_statement_over_http_is_a_tree_under_the_span_of_its_caller(serve, receiver, monkeypatch, tmp_path):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=not%20much")
    log = tmp_path / "audit"
    server = serve("--traces", receiver.url, "--audit", str(log))
    header, trace, span = caller()
    status, _, body = post(server, SQL, headers={"traceparent": header})
    assert status == 200
    spans = eventually(lambda: receiver.of(trace))
    root, below = tree(spans)
    assert (root["parentSpanId"], root["kind"]) == (span, 2)
    assert below["statement"] == {"gate", "resolve", "plan", "execute"}
    assert below["resolve"] == {"decide", "open"} and below["plan"] >= {"optimize", "verify"}
    assert below["execute"] == {"scan", "encode"}
    told = values(root)
    assert (told["polder.outcome"], told["polder.over"], told["polder.rows"]) == ("ok", "http", len(json.loads(body)))
    assert told["polder.products"] == ["storefront.customers"]
    [begin] = [json.loads(line) for path in log.glob("*.jsonl") for line in path.read_text().splitlines() if '"begin"' in line]
    assert (told["polder.id"], told["polder.fingerprint"]) == (begin["id"], begin["fingerprint"])
    [scan] = [span for span in spans if span["name"] == "scan"]
    assert values(scan)["polder.product"] == "storefront.customers"
    assert receiver.asked[0] == ("/v1/traces", "application/json", "not much")
    # Who does not want it has no trace, and who does not say has one of its own.
    header, unwanted, _ = caller(sampled=False)
    assert post(server, SQL, headers={"traceparent": header})[0] == 200
    assert post(server, SQL, headers={"traceparent": f"00-{CANARY}-x-01"})[0] == 200
    assert eventually(lambda: len({span["traceId"] for span in receiver.spans()}) == 2)
    assert not receiver.of(unwanted)
    assert eventually(lambda: server.metric('polder_traces_total{state="sent"}') == 2)
    assert server.stop() == 0


def test_over_flight_both_calls_are_one_statement_and_refusals_are_told(serve, receiver):
    server = serve("--traces", receiver.url)
    header, trace, span = caller()
    options = {"adbc.flight.sql.rpc.call_header.traceparent": header}
    with open_connection(server, "analyst-eu", options=options) as connection, connection.cursor() as cursor:
        cursor.execute(SQL)
        rows = len(cursor.fetchall())
        with pytest.raises(Error):
            cursor.execute(f"SELECT tax_id FROM storefront.customers WHERE city <> '{CANARY}'")
        with pytest.raises(Error):
            cursor.execute(f'SELECT * FROM "{CANARY}"."{CANARY}"')
    roots = {}

    def all_told():
        spans = [span for span in receiver.of(trace) if span["name"] == "statement"]
        roots.update({values(span).get("polder.outcome", "planned"): span for span in spans})
        return {"ok", "denied", "unknown name"} <= set(roots)

    assert eventually(all_told), roots
    assert all(root["parentSpanId"] == span for root in roots.values())
    assert values(roots["ok"])["polder.rows"] == rows and "status" not in roots["ok"]
    assert roots["denied"]["status"] == {"code": 2, "message": "denied"}
    assert server.stop() == 0
    told = "".join(receiver.bodies)
    for kept in (CANARY, "analyst-eu", "SELECT", "tax_id"):
        assert kept not in told
    assert {span["name"] for span in receiver.spans()} <= PARTS | {"statement"}


def test_a_statement_that_fails_while_it_runs_is_traced_to_its_end(serve, receiver):
    server = serve("--traces", receiver.url)
    header, trace, _ = caller()
    assert post(server, f"SELECT CAST(city AS INT), '{CANARY}' FROM storefront.customers", headers={"traceparent": header})[0] == 400
    root, below = tree(eventually(lambda: receiver.of(trace)))
    assert values(root)["polder.outcome"] == "bad request"
    assert "scan" in below["execute"]
    assert CANARY not in "".join(receiver.bodies)


def test_a_receiver_that_hangs_holds_nobody_up(serve, receiver):
    receiver.hangs.set()
    server = serve("--traces", receiver.url)
    begin = time.monotonic()
    for _ in range(20):
        assert post(server, "SELECT 1 AS one")[0] == 200
    assert time.monotonic() - begin < 15
    # More than may wait.
    with open_connection(server, "analyst-eu") as connection, connection.cursor() as cursor:
        while server.metric('polder_traces_total{state="lost"}') == 0:
            for _ in range(100):
                cursor.execute("SELECT 1 AS one")
                assert cursor.fetchall() == [(1,)]
            assert time.monotonic() - begin < 300, "nothing was lost"
    assert receiver.asked
    begin = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begin < 15


def test_only_a_share_is_traced_unless_callers_say_so(serve, receiver):
    server = serve("--traces", receiver.url, "--traces-share", "0")
    for _ in range(20):
        assert post(server, "SELECT 1 AS one")[0] == 200
    header, trace, _ = caller()
    assert post(server, "SELECT 1 AS one", headers={"traceparent": header})[0] == 200
    assert eventually(lambda: receiver.of(trace))
    assert {span["traceId"] for span in receiver.spans()} == {trace}
