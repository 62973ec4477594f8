"""`POST /v1/sql`: what a script or curl meets, in every format, and what it may not have."""

import base64
import contextlib
import csv
import http.client
import io
import json
import socket
import ssl
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from cast import ANALYST
from oracle import sha256
from serving import eventually
from test_load import ENDLESS, SILENT
from ways import WHO

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
ARROW = "application/vnd.apache.arrow.stream"


def basic(user, password=None):
    login = base64.b64encode(f"{user}:{user if password is None else password}".encode()).decode()
    return {"Authorization": f"Basic {login}"}


def dial(server, timeout=120):
    return http.client.HTTPConnection(urllib.parse.urlsplit(server.http).netloc, timeout=timeout)


def post(server, body, user="analyst-eu", *, headers=None, **more):
    """Status, headers and body of an answer; a keyword is a header with `_` for `-`."""
    sent = basic(user) if user else {}
    sent |= {name.replace("_", "-"): value for name, value in more.items()} | (headers or {})
    connection = dial(server)
    try:
        connection.request("POST", "/v1/sql", body, sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def problem(server, body, user="analyst-eu", **more):
    """Status, class and words of a refusal."""
    status, headers, text = post(server, body, user, **more)
    assert headers["Content-Type"] == "application/problem+json", text
    told = json.loads(text)
    assert told["status"] == status >= 400
    return status, told["class"], told["message"] + "\n" + told.get("help", "")


CUSTOMERS = "SELECT customer_id, email, loyalty_tier, interests FROM storefront.customers ORDER BY customer_id"


@pytest.fixture
def customers(lake):
    rows = lake.table("storefront.customers").sort_by("customer_id").to_pylist()
    names = ["customer_id", "email", "loyalty_tier", "interests"]
    return [{name: row[name] for name in names} | {"email": sha256(row["email"])} for row in rows]


def test_every_format_holds_the_same_rows(server, customers):
    status, headers, text = post(server, CUSTOMERS, Accept=JSON)
    assert (status, headers["Content-Type"]) == (200, JSON)
    assert json.loads(text) == customers

    status, headers, text = post(server, CUSTOMERS, Accept=NDJSON)
    assert (status, headers["Content-Type"]) == (200, NDJSON)
    assert [json.loads(line) for line in text.splitlines()] == customers

    status, headers, text = post(server, CUSTOMERS, Accept=CSV)
    assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8; header=present")
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    assert [(row["customer_id"], row["email"]) for row in rows] == [
        (row["customer_id"], row["email"] or "") for row in customers
    ]
    assert [json.loads(row["interests"] or "null") for row in rows] == [row["interests"] for row in customers]

    status, headers, body = post(server, CUSTOMERS, Accept=ARROW)
    assert (status, headers["Content-Type"]) == (200, ARROW)
    table = pa.ipc.open_stream(body).read_all()
    assert table.to_pylist() == customers
    assert table.schema.field("customer_id").type == pa.string()


@pytest.mark.parametrize(
    ("accept", "sent"),
    [(None, JSON), ("*/*", JSON), ("text/html, */*;q=0.1", JSON), ("text/*", CSV), (f"{JSON};q=0.1, {ARROW}", ARROW)],
)
def test_accept_decides_the_format(server, accept, sent):
    headers = {} if accept is None else {"Accept": accept}
    status, headers, _ = post(server, "SELECT 1 AS one", headers=headers)
    assert (status, headers["Content-Type"].split(";")[0]) == (200, sent)
    assert headers["Cache-Control"] == "no-store"


def test_a_format_that_is_not_offered_is_refused(server):
    for accept in ["text/html", f"{JSON};q=0", "image/*"]:
        status, kind, said = problem(server, "SELECT 1", Accept=accept)
        assert (status, kind) == (406, "bad request"), accept
        assert CSV in said and ARROW in said


def test_a_result_without_rows_is_whole(server):
    sql = "SELECT customer_id, loyalty_tier FROM storefront.customers WHERE loyalty_tier < 0"
    assert json.loads(post(server, sql, Accept=JSON)[2]) == []
    assert post(server, sql, Accept=NDJSON)[2] == b""
    assert post(server, sql, Accept=CSV)[2] == b"customer_id,loyalty_tier\n"
    assert pa.ipc.open_stream(post(server, sql, Accept=ARROW)[2]).read_all().schema.names == ["customer_id", "loyalty_tier"]


def test_the_body_is_a_statement_or_json(server):
    expected = [{"two": 2}]
    for kind in [None, "text/plain", "text/plain; charset=UTF-8", "application/sql", "application/x-www-form-urlencoded"]:
        headers = {} if kind is None else {"Content-Type": kind}
        assert json.loads(post(server, "SELECT 1 + 1 AS two", headers=headers)[2]) == expected, kind
    asked = json.dumps({"sql": "SELECT 1 + 1 AS two"})
    assert json.loads(post(server, asked, headers={"Content-Type": "application/json"})[2]) == expected


def test_a_body_that_is_neither_is_refused(server):
    said = {"Content-Type": "application/json"}
    for body in ["SELECT 1", "{}", '{"sql": 1}', '{"sql": "SELECT 1", "limit": 3}', '{"sql": "SELECT 1", "sql": "SELECT 2"}']:
        assert problem(server, body, headers=said)[:2] == (400, "bad request"), body
    for kind in ["application/xml", "text/plain; charset=latin-1", "multipart/form-data"]:
        assert problem(server, "SELECT 1", headers={"Content-Type": kind})[:2] == (415, "bad request"), kind
    assert problem(server, b"SELECT '\xff'")[:2] == (400, "bad request")
    assert problem(server, "SELECT '" + "x" * (1 << 20) + "'")[:2] == (413, "limit")
    assert problem(server, "")[:2] == (400, "bad request")


def test_every_refusal_has_its_class_and_its_status(server):
    for sql, status, kind, words in [
        ("SELECT nothing FROM storefront.customers", 404, "unknown name", "`nothing`"),
        ("SELECT * FROM storefront.nowhere", 404, "unknown name", "storefront.nowhere"),
        ("SELECT tax_id FROM storefront.customers", 403, "denied", "storefront-no-tax-ids-for-analysts"),
        ("SELECT 1 +", 400, "bad request", ""),
        ("DELETE FROM storefront.customers", 400, "bad request", ""),
        ("SELECT 1; SELECT 2", 400, "bad request", ""),
    ]:
        answer = problem(server, sql)
        assert answer[:2] == (status, kind), sql
        assert words in answer[2], sql


def test_nobody_asks_without_credentials(server):
    right = {"Accept": JSON}
    wrong = [{}, basic("analyst-eu", "guess"), basic("nobody-here", "guess"), {"Authorization": "Bearer forged"}]
    wrong += [{"Authorization": "Digest x"}, {"Authorization": "Basic !"}]
    for headers in wrong:
        status, sent, text = post(server, "SELECT 1", user=None, headers=headers | right)
        assert (status, json.loads(text)["class"]) == (401, "unauthenticated"), headers
        assert any(value.startswith("Basic") for value in sent.get_all("WWW-Authenticate"))
        assert "guess" not in text.decode()
    # Who one is comes before anything that is wrong with the request.
    assert post(server, "SELECT 1", user=None, headers={"Accept": "text/html"})[0] == 401
    assert post(server, "x", user=None, headers={"Content-Type": "application/xml"})[0] == 401


def test_what_is_hidden_from_one_reads_like_what_is_not_there(server):
    hidden, absent = (problem(server, f"SELECT * FROM payments.{name}") for name in ("fraud_signals", "fraud_zignals"))
    assert hidden[:2] == absent[:2] == (404, "unknown name")
    assert hidden[2].replace("fraud_signals", "") == absent[2].replace("fraud_zignals", "")
    status, _, text = post(server, "SELECT count(*) AS n FROM payments.fraud_signals", "privacy-officer")
    assert status == 200 and json.loads(text)[0]["n"] > 0


def test_users_do_not_see_what_others_do(server, lake):
    sql = "SELECT email FROM storefront.customers ORDER BY customer_id"
    raw = [row["email"] for row in lake.table("storefront.customers").sort_by("customer_id").to_pylist()]

    def emails(user):
        return user, [row["email"] for row in json.loads(post(server, sql, user)[2])]

    with ThreadPoolExecutor(4) as threads:
        for user, seen in threads.map(emails, ["analyst-eu", "privacy-officer"] * 4):
            assert seen == (raw if user == "privacy-officer" else [sha256(email) for email in raw]), user


def test_a_purpose_is_declared_in_the_header_or_in_the_body(serve, mesh, tmp_path):
    for part in mesh.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "mesh.yaml").unlink()
    text = (mesh / "mesh.yaml").read_text()
    entitled = text.replace("groups: [privacy-office] }", "groups: [privacy-office, fraud-team] }")
    assert entitled != text
    (tmp_path / "mesh.yaml").write_text(entitled)
    server = serve(mesh=tmp_path)

    sql, said = "SHOW polder.purpose", {"Content-Type": "application/json"}
    asked, header = json.dumps({"sql": sql, "purpose": "fraud"}), {"X-Polder-Purpose": "fraud"}
    for body, headers in [(sql, header), (asked, said), (asked, said | header)]:
        assert b"fraud" in post(server, body, "privacy-officer", headers=headers)[2]
        assert problem(server, body, "analyst-eu", headers=headers)[:2] == (403, "denied")
    assert b"fraud" not in post(server, sql, "privacy-officer")[2]
    other = json.dumps({"sql": sql, "purpose": "gossip"})
    assert problem(server, other, "privacy-officer", headers=said)[:2] == (403, "denied")
    assert problem(server, other, "privacy-officer", headers=said | header)[:2] == (400, "bad request")


def test_what_there_is_to_say_of_a_statement_is_in_a_header(server):
    _, headers, _ = post(server, "SELECT email FROM storefront.customers LIMIT 1")
    notices = json.loads(headers["X-Polder-Notices"])
    assert any("email" in notice and "masked" in notice for notice in notices), notices
    assert post(server, "SELECT 1")[1]["X-Polder-Notices"] is None


def test_only_a_post_is_answered_and_no_web_page(server):
    for method in ["GET", "PUT", "DELETE", "OPTIONS"]:
        connection = dial(server)
        connection.request(method, "/v1/sql?q=SELECT+1", headers=basic("analyst-eu"))
        assert connection.getresponse().status == 405, method
        connection.close()
    assert problem(server, "SELECT 1", Origin="https://packly.example")[:2] == (403, "denied")
    assert problem(server, "SELECT 1", Origin="null")[:2] == (403, "denied")


def test_http_1_0_is_told_to_use_another(server):
    host, port = urllib.parse.urlsplit(server.http).netloc.split(":")
    login = basic("analyst-eu")["Authorization"]
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        request = f"POST /v1/sql HTTP/1.0\r\nAuthorization: {login}\r\nContent-Length: 8\r\n\r\nSELECT 1"
        connection.sendall(request.encode())
        assert connection.recv(100).split()[1] == b"505"


def test_a_large_result_streams(server, lake):
    expected = lake.table("storefront.customer_events")
    connection = dial(server)
    connection.request("POST", "/v1/sql", "SELECT * FROM storefront.customer_events", basic("analyst-eu") | {"Accept": ARROW})
    answer = connection.getresponse()
    assert answer.headers["Transfer-Encoding"] == "chunked"
    with pa.ipc.open_stream(answer) as reader:
        batches = [batch.num_rows for batch in reader]
    assert sum(batches) == expected.num_rows and len(batches) > 10
    connection.close()


def test_a_client_that_goes_takes_its_query_along(serve):
    server = serve()
    for sql, reads in [(ENDLESS, True), (SILENT, False)]:
        connection = dial(server)
        connection.request("POST", "/v1/sql", sql, basic("analyst-eu") | {"Accept": CSV})
        if reads:
            assert connection.getresponse().read(10_000).startswith(b"x,y\n")
        assert eventually(lambda: server.metric("polder_queries_running") == 1)
        connection.close()
        # The answer holds the socket too.
        del connection
        assert eventually(lambda: server.metric("polder_queries_running") == 0), sql


def test_an_error_behind_the_first_row_breaks_the_answer_off(serve, lake):
    server = serve("--timeout", "3")
    for accept in [JSON, NDJSON, CSV, ARROW]:
        connection = dial(server)
        # Rows at once, and then none until the time is over.
        sql = f"SELECT 1 AS x UNION ALL ({SILENT})"
        connection.request("POST", "/v1/sql", sql, basic("analyst-eu") | {"Accept": accept})
        answer = connection.getresponse()
        assert answer.status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        connection.close()
    assert server.metric('polder_calls_failed_total{class="limit"}') == 4
    assert problem(server, SILENT)[:2] == (429, "limit")
    assert eventually(lambda: server.metric("polder_queries_running") == 0)


def test_a_connection_is_used_again(server):
    connection = dial(server)
    for number in range(5):
        connection.request("POST", "/v1/sql", f"SELECT {number} AS n", basic("analyst-eu"))
        assert json.loads(connection.getresponse().read()) == [{"n": number}]
    connection.request("POST", "/v1/sql", "SELECT", basic("analyst-eu"))
    assert connection.getresponse().read()
    connection.close()


def test_a_stop_lets_a_running_answer_end_and_takes_no_other(serve, lake):
    server = serve()
    connection, other = dial(server), dial(server)
    other.request("POST", "/v1/sql", "SELECT 1", basic("analyst-eu"))
    assert other.getresponse().read()
    sql = "SELECT event_id, customer_id, occurred_at FROM storefront.customer_events"
    connection.request("POST", "/v1/sql", sql, basic("analyst-eu") | {"Accept": NDJSON})
    answer = connection.getresponse()
    lines = answer.read(1000).count(b"\n")
    server.terminate()
    assert eventually(lambda: server.get("/readyz")[0] in (503, 0))
    other.request("POST", "/v1/sql", "SELECT 1", basic("analyst-eu"))
    assert other.getresponse().status == 503
    while more := answer.read(1 << 20):
        lines += more.count(b"\n")
    assert lines == lake.table("storefront.customer_events").num_rows
    connection.close()
    other.close()
    assert server.stop() == 0


def test_a_reader_that_does_not_read_holds_nobody_back_and_is_given_up(serve):
    server = serve("--patience", "2")
    connection = dial(server)
    connection.request("POST", "/v1/sql", ENDLESS, basic("analyst-eu") | {"Accept": CSV})
    answer = connection.getresponse()
    assert answer.read(100)
    begin = time.monotonic()
    assert json.loads(post(server, "SELECT 1 AS one")[2]) == [{"one": 1}]
    assert eventually(lambda: server.metric("polder_queries_running") == 0), "it is given up"
    assert time.monotonic() - begin >= 1.5
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        while answer.read(1 << 20):
            pass
    connection.close()


def secure(server, authority, body, user="analyst-eu", shown=None):
    """Status and body of an answer under TLS, with a client's certificate or without."""
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    if shown:
        trusting.load_cert_chain(*map(str, shown))
    port = urllib.parse.urlsplit(server.http).port
    connection = http.client.HTTPSConnection("localhost", port, timeout=120, context=trusting)
    try:
        connection.request("POST", "/v1/sql", body, basic(user) if user else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def tls_of(authority):
    certificate, key = authority.issue("CN=localhost")
    return "--tls-cert", str(certificate), "--tls-key", str(key)


def test_the_port_speaks_tls_too_where_the_server_has_a_certificate(serve, authority, customers):
    server = serve(*tls_of(authority))
    status, text = secure(server, authority, CUSTOMERS)
    assert status == 200 and json.loads(text) == customers
    # Probes ask as before.
    connection = dial(server)
    connection.request("GET", "/readyz")
    assert connection.getresponse().status == 200
    # Neither half a greeting nor one that is none keeps others out.
    for said in (b"\x16", b"\x16\x03\x01" + bytes(200)):
        with socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(server.http).port)) as bad:
            bad.sendall(said)
            assert secure(server, authority, "SELECT 1")[0] == 200


@pytest.mark.parametrize("last", ["", "Connection: close\r\n"])
def test_a_client_under_tls_that_takes_nothing_is_given_up(serve, authority, last):
    server = serve("--patience", "2", *tls_of(authority))
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", urllib.parse.urlsplit(server.http).port))
    with trusting.wrap_socket(raw, server_hostname="localhost") as client:
        ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n{}\r\n"
        client.setblocking(False)
        # Until its answers fill all that lies between.
        with contextlib.suppress(ssl.SSLWantWriteError):
            for _ in range(3000):
                client.send(ask.format("").encode())
        with contextlib.suppress(ssl.SSLWantWriteError):
            client.send(ask.format(last).encode())
        ESTABLISHED = 1
        eventually(lambda: client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) != ESTABLISHED)


def test_a_clients_certificate_is_a_way_in_over_http(ways, serve, authority):
    ways.declare('  certificates: [{ name: etl, subject: "CN=etl,O=Packly", groups: [analysts] }]')
    server = serve(*tls_of(authority), "--tls-client-ca", str(authority.ca), mesh=ways.directory)
    status, text = secure(server, authority, WHO, user=None, shown=authority.issue("O=Packly,CN=etl", client=True))
    assert status == 200 and list(json.loads(text)[0].values()) == [len(ANALYST)]
    assert secure(server, authority, WHO, user=None)[0] == 401


@pytest.mark.parametrize(
    "sql, parameters",
    [
        ("SELECT $1 + 1 AS a, upper($2) AS b, $3 AS c, $4 IS NULL AS d", [41, "x", True, None]),
        ("SELECT ? + 1 AS a, upper(?) AS b, ? AS c, ? IS NULL AS d", [41, "x", True, None]),
        (
            "SELECT $n + 1 AS a, upper($word) AS b, $truth AS c, $nothing IS NULL AS d",
            {"word": "x", "n": 41, "nothing": None, "truth": True},
        ),
    ],
)
def test_values_are_bound_to_parameters(server, sql, parameters):
    status, _, text = post(
        server, json.dumps({"sql": sql, "parameters": parameters}), Accept=NDJSON, Content_Type=JSON
    )
    assert status == 200, text
    assert json.loads(text) == {"a": 42, "b": "X", "c": True, "d": True}


def test_values_that_do_not_fit_are_refused_and_not_shown(server):
    secret = "sesame"
    for sql, parameters, why in [
        ("SELECT city FROM fulfillment.warehouses WHERE opened_on = $1", [secret], "$1"),
        ("SELECT $1", [1, 2], "the number of parameters is 1, and that of the values that are bound is 2"),
        ("SELECT $1", [[secret]], "a list or an object cannot be bound"),
        ("SELECT $name", {"other": secret}, "no value is bound to the parameter `$name`"),
        ("SELECT 1", {"other": secret}, "the number of parameters is 0"),
        ("SELECT $1, $2", {"2": secret, "1": secret}, "parameters that have no names"),
        ("SELECT $1", [9223372036854775808], "a number is too large to be bound"),
    ]:
        body = json.dumps({"sql": sql, "parameters": parameters})
        status, kind, words = problem(server, body, Content_Type=JSON)
        assert (status, kind) == (400, "bad request"), words
        assert why in words and secret not in words
