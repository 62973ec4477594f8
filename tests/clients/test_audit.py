"""The audit log of a real server: what it says of statements, of clients that go, and of a server that is killed."""

import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import uuid

import pytest
from adbc_driver_manager import Error

from conftest import open_connection
from serving import START, Server, binary, eventually
from test_http import basic, dial, post, problem
from test_load import ENDLESS, SILENT

CUSTOMERS = "SELECT customer_id, email FROM storefront.customers"
# How often a server is killed.
KILLS = int(os.environ.get("POLDER_KILLS", "20"))


@pytest.fixture
def log(tmp_path):
    """Where a server of the test's own writes its log."""
    return tmp_path / "audit"


def records(log):
    """The records of a log that may be growing."""
    found = []
    for path in sorted(log.glob("*.jsonl")):
        lines = path.read_text().split("\n")
        found += [json.loads(line) for line in lines[:-1]]
    return found


def of(log, **wanted):
    """The records that have these values."""
    return [record for record in records(log) if all(record.get(key) == value for key, value in wanted.items())]


def one(log, **wanted):
    """The one record that has these values, which may take a moment to come."""
    found = eventually(lambda: of(log, **wanted))
    assert len(found) == 1, found
    return found[0]


def verify(log):
    return subprocess.run([binary(), "audit", "verify", str(log)], capture_output=True, text=True, timeout=START)


def test_a_record_says_who_saw_what_and_how_it_ended(serve, log):
    server = serve("--audit", str(log))
    with open_connection(server, "analyst-eu") as connection, connection.cursor() as cursor:
        cursor.execute(f"{CUSTOMERS} WHERE city <> 'Atlantis' LIMIT 7")
        assert cursor.fetch_arrow_table().num_rows == 7
        with pytest.raises(Error):
            cursor.execute("SELECT tax_id FROM storefront.customers WHERE city <> 'Atlantis'")
        with pytest.raises(Error):
            cursor.execute("SELECT * FROM no.where")
    begin = one(log, kind="begin")
    assert (begin["who"], begin["groups"], begin["over"], begin["from"]) == ("analyst-eu", ["analysts"], "flight", "127.0.0.1")
    assert begin["statement"] == f"{CUSTOMERS} WHERE city <> ? LIMIT ?"
    [read] = begin["reads"]
    assert read["product"] == "storefront.customers" and int(read["snapshot"]) > 0
    columns = {column["column"]: column for column in read["columns"]}
    assert set(columns) == {"customer_id", "email", "city"}
    assert (columns["email"]["effect"], columns["email"]["mask"]) == ("masked", "sha-256-global")
    assert columns["email"]["policies"] and columns["city"]["via"] == ["predicate"]
    end = one(log, kind="end", id=begin["id"])
    assert (end["outcome"], end["rows"]) == ("ok", 7) and end["bytes"] > 0
    # A driver may prepare before it executes, and both are refused.
    assert {record["outcome"] for record in of(log, kind="refused")} == {"denied", "unknown name"}
    assert post(server, CUSTOMERS, "analyst-us")[0] == 200
    assert one(log, kind="begin", over="http")["who"] == "analyst-us"
    server.stop()
    assert verify(log).returncode == 0
    assert "Atlantis" not in "".join(path.read_text() for path in log.glob("*.jsonl"))


def test_ends_that_are_no_good_are_recorded_too(serve, log, lake):
    server = serve("--audit", str(log))
    # Rows at first, and an error behind them.
    rows = lake.table("storefront.customer_events").num_rows
    failing = f"SELECT 1 / (n - {rows}) FROM (SELECT row_number() OVER () AS n FROM storefront.customer_events) AS e"
    with open_connection(server, "analyst-eu") as connection, connection.cursor() as cursor:
        with pytest.raises(Error):
            cursor.execute(failing)
            cursor.fetch_arrow_table()
        assert one(log, kind="end")["outcome"] == "bad request"
    # A client that cancels.
    with open_connection(server, "analyst-us") as connection, connection.cursor() as cursor:
        cursor.execute(ENDLESS)
        cursor.fetch_record_batch().read_next_batch()
        cursor.adbc_cancel()
    cancelled = one(log, kind="end", who="analyst-us")
    assert (cancelled["outcome"], cancelled["rows"] > 0) == ("cancelled", True)
    # One that goes without a word, before there is a row.
    connection = dial(server)
    connection.request("POST", "/v1/sql", SILENT, basic("storefront-owner"))
    assert eventually(lambda: of(log, kind="begin", who="storefront-owner"))
    connection.close()
    gone = one(log, kind="end", who="storefront-owner")
    assert (gone["outcome"], gone["rows"]) == ("cancelled", 0)


def test_failed_logins_are_counted_and_what_was_typed_is_not_kept(serve, log):
    server = serve("--audit", str(log))
    for user, password in [("guest", "wrong-secret"), ("no-such-user", "wrong-secret"), ("guest", "wrong-secret")]:
        assert post(server, "SELECT 1", None, headers=basic(user, password))[0] == 401
    counted = {}

    def all_counted():
        counted.clear()
        for record in of(log, kind="logins"):
            for failed in record["failed"]:
                counted[failed["who"]] = counted.get(failed["who"], 0) + failed["times"]
        return sum(counted.values()) == 3

    assert eventually(all_counted), counted
    assert counted == {"guest": 2, None: 1}
    text = "".join(path.read_text() for path in log.glob("*.jsonl"))
    assert "wrong-secret" not in text and "no-such-user" not in text


def test_while_the_log_cannot_be_written_no_row_leaves(serve, log):
    server = serve("--audit", str(log))
    assert post(server, CUSTOMERS)[0] == 200
    away = log.with_name("away")
    log.rename(away)
    status, kind, words = problem(server, CUSTOMERS)[:3]
    assert status >= 500 and kind == "storage" and str(log.parent) not in words
    with open_connection(server, "analyst-eu") as connection, connection.cursor() as cursor, pytest.raises(Error):
        cursor.execute(CUSTOMERS)
        cursor.fetch_arrow_table()
    assert problem(server, "SELECT * FROM no.where")[1] == "storage", "what is refused is not told either"
    assert server.get("/livez")[0] == 200
    assert server.get("/readyz") == (503, "not ready: the audit log cannot be written, so no statement runs\n")
    assert server.metric("polder_audit_writable") == 0
    away.rename(log)
    # By itself: who is not ready is sent no statements.
    assert eventually(lambda: server.get("/readyz") == (200, "ready\n"))
    assert post(server, CUSTOMERS)[0] == 200
    server.stop()
    assert verify(log).returncode == 0
    assert of(log, kind="resumed")


def test_two_servers_do_not_write_to_one_log(serve, log, mesh):
    serve("--audit", str(log))
    second = [binary(), "serve", "--mesh", str(mesh), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    done = subprocess.run([*second, "--audit", str(log)], capture_output=True, text=True, timeout=START)
    assert done.returncode == 2 and "another process writes to it" in done.stderr, done.stderr


def test_a_log_that_was_changed_is_told_from_one_that_is_whole(serve, log):
    server = serve("--audit", str(log))
    assert post(server, CUSTOMERS)[0] == 200
    assert verify(log).returncode == 0, "also while it is written"
    server.stop()
    [path] = log.glob("*.jsonl")
    text = path.read_text()
    path.write_text(text.replace('"who":"analyst-eu"', '"who":"analyst-us"', 1))
    done = verify(log)
    assert done.returncode == 1 and done.stdout.startswith(f"{path.name}:2: "), done.stdout


@pytest.mark.timeout(60 + 20 * KILLS)
def test_a_server_that_is_killed_loses_no_record_that_it_had_acknowledged(copy, log):
    """Kills come while statements run and files change, at any moment; each start finds the log whole."""
    acknowledged = set()

    def load(server, stop):
        with contextlib.suppress(OSError, http.client.HTTPException):
            while not stop.is_set():
                # A name that nobody else uses tells statements apart.
                mark = f"m{uuid.uuid4().hex}"
                status, _, body = post(server, f"SELECT customer_id AS {mark} FROM storefront.customers LIMIT 2")
                if status == 200 and len(json.loads(body)) == 2:
                    acknowledged.add(mark)

    more = copy / "storefront" / "policies" / "more.cedar"

    def changes(server, stop):
        for change in itertools.count():
            if stop.is_set():
                return
            more.write_text(f"// {change}\n")
            server.process.send_signal(signal.SIGHUP)
            stop.wait(0.1)

    for kill in range(KILLS):
        server = Server(copy, "--audit", str(log), "--audit-size", "1")
        stop, before = threading.Event(), len(acknowledged)
        clients = [threading.Thread(target=work, args=(server, stop)) for work in [load] * 4 + [changes]]
        try:
            for client in clients:
                client.start()
            assert eventually(lambda: len(acknowledged) >= before + 5 + kill % 20), "it answers"
        finally:
            server.process.kill()
            stop.set()
        for client in clients:
            client.join(60)
        server.process.wait(60)
    assert Server(copy, "--audit", str(log)).stop() == 0
    done = verify(log)
    assert done.returncode == 0, done.stdout
    begun = {record["statement"].split(" AS ")[1].split()[0] for record in of(log, kind="begin")}
    assert acknowledged <= begun, f"{len(acknowledged - begun)} of {len(acknowledged)} are missing"
    assert len(of(log, kind="open")) == KILLS + 1


def test_queries_tell_ones_own_and_the_audits_readers_everybodys(serve, ways):
    readers = ways.file.read_text().replace("\nauth:\n", "\naudit: { readers: [auditors] }\nauth:\n")
    otto = '    - { name: otto, password_hash: "${file:secrets/guest.argon2}", groups: [auditors] }\n'
    ways.file.write_text(readers.replace("  users:\n", f"  users:\n{otto}", 1))
    server = serve(mesh=ways.directory)
    for user in ["analyst-eu", "analyst-us"]:
        assert post(server, "SELECT product FROM mesh.products WHERE domain = 'payments'", user)[0] == 200
    sql = "SELECT principal, statement, columns, outcome FROM mesh.queries WHERE products = 'mesh.products'"
    row = {
        "statement": "SELECT product FROM mesh.products WHERE domain = ?",
        "columns": "mesh.products.domain, mesh.products.product",
        "outcome": "ok",
    }
    assert json.loads(post(server, sql, "analyst-eu")[2]) == [{"principal": "analyst-eu"} | row]
    seen = json.loads(post(server, sql, None, headers=basic("otto", "guest"))[2])
    assert seen == [{"principal": user} | row for user in ["analyst-eu", "analyst-us"]]


def test_a_change_that_breaks_somebody_names_them(serve, log, mesh, tmp_path):
    server = serve("--audit", str(log))
    for user in ("analyst-eu", "analyst-us"):
        with open_connection(server, user) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT city FROM storefront.customers" if user == "analyst-us" else CUSTOMERS)
            cursor.fetch_arrow_table()
    server.stop()
    after = shutil.copytree(mesh, tmp_path / "after", ignore=shutil.ignore_patterns("lake"))
    (contract,) = (after / "storefront" / "products").glob("customers*.odcs.yaml")
    lines = contract.read_text().split("\n")
    begin = next(at for at, line in enumerate(lines) if "name: email" in line)
    indent = len(lines[begin]) - len(lines[begin].lstrip())
    end = next(at for at in range(begin + 1, len(lines)) if lines[at].strip() and len(lines[at]) - len(lines[at].lstrip()) <= indent)
    contract.write_text("\n".join(lines[:begin] + lines[end:]))
    command = [binary(), "diff", "--audit", str(log), str(mesh), str(after)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START)
    assert done.returncode == 1, done.stderr
    said = [line for line in done.stdout.split("\n") if "email" in line or "analyst" in line]
    assert any("analyst-eu" in line for line in said), done.stdout
    assert not any("analyst-us" in line for line in said), done.stdout
