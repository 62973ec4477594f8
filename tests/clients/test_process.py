"""The life of the server: health, metrics, a stop that lets queries end, TLS, and the shell against it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time

import pytest
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import Error

import frames
from conftest import open_connection
from serving import START, STOP, binary, eventually
from test_abuse import plan
from test_http import post
from test_load import ENDLESS

ROOTS = DatabaseOptions.TLS_ROOT_CERTS.value


def test_it_is_alive_and_ready(server):
    assert server.get("/livez") == (200, "alive\n")
    assert server.get("/readyz") == (200, "ready\n")
    assert server.get("/anything-else")[0] == 404


def test_it_counts_queries_and_failures(serve):
    server = serve()
    failed = 'polder_calls_failed_total{class="denied"}'
    assert (server.metric("polder_queries_started_total"), server.metric(failed)) == (0, 0)
    with open_connection(server, "analyst-eu") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM storefront.customers")
        cursor.fetchall()
        assert server.metric("polder_queries_started_total") == 1
        with pytest.raises(Error):
            cursor.execute("SELECT tax_id FROM storefront.customers")
        assert server.metric(failed) == 1
    assert eventually(lambda: server.metric("polder_queries_running") == 0)


def test_it_counts_how_statements_end_and_what_they_take_by_the_door_that_they_came_by(serve):
    server = serve()
    counted = "SELECT count(*) AS n FROM storefront.customers"
    with open_connection(server, "analyst-eu") as connection, connection.cursor() as cursor:
        cursor.execute(counted)
        cursor.fetchall()
        with pytest.raises(Error):
            cursor.execute("SELECT tax_id FROM storefront.customers")
    for sql, status in [(counted, 200), ("SELECT nothing FROM storefront.customers", 400), ("SELECT", 400)]:
        assert post(server, sql)[0] // 100 == status // 100

    def ended(door, outcome):
        return server.metric(f'polder_statements_ended_total{{door="{door}",outcome="{outcome}"}}')

    assert eventually(lambda: ended("flight", "ok") == ended("http", "ok") == 1)
    assert [ended("flight", "denied"), ended("http", "unknown_name"), ended("http", "bad_request")] == [1, 1, 1]
    for door in ("flight", "http"):
        assert server.metric(f'polder_statement_rows_total{{door="{door}"}}') == 1
        assert server.metric(f'polder_statement_bytes_total{{door="{door}"}}') > 0
        for name in ("wait", "first_rows"):
            assert server.metric(f'polder_statement_{name}_seconds_count{{door="{door}"}}') == 1
        assert server.metric(f'polder_statement_seconds_bucket{{door="{door}",le="+Inf"}}') == 1
        assert 0 < server.metric(f'polder_statement_seconds_sum{{door="{door}"}}') < 60
    status, text = server.get("/metrics")
    assert status == 200 and "analyst-eu" not in text and "storefront" not in text


def test_its_log_is_lines_of_json_that_know_their_statement(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("POLDER_LOG", "info")
    audit = tmp_path / "audit"
    server = serve("--log", "json", "--patience", "2", "--audit", str(audit))
    ticket, token = plan(server, ENDLESS)
    with frames.Connection("127.0.0.1", server.port) as reader:
        reader.ask(1, "DoGet", ticket, token)
        assert eventually(lambda: server.metric("polder_queries_stalled_total") == 1, within=60)
    assert server.stop() == 0
    said = [json.loads(line) for line in server.said if line is not None]
    assert all({"time", "level", "target", "message", "fields"} <= set(line) for line in said), said
    [stalled] = [line for line in said if line["message"] == "a statement was ended, since nobody read its rows"]
    assert stalled["level"] == "INFO" and stalled["target"] == "polder::session::life"
    records = [json.loads(line) for path in audit.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert stalled["statement"] in {record["id"] for record in records if record["kind"] == "begin"}
    assert not any("statement" in line for line in said if line["message"].startswith("stopping"))


def test_it_ends_well_when_nobody_asks(serve):
    server = serve()
    assert server.stop() == 0
    [words] = [line for line in server.said if line and line.startswith("stopping")]
    assert words.startswith("stopping: running queries may finish") and "another signal ends them at once" in words


@contextlib.contextmanager
def asking(server):
    """A cursor whose server may be gone when it is closed, which the driver takes for an error."""
    connection = open_connection(server, "analyst-eu")
    cursor = connection.cursor()
    yield cursor
    for opened in (cursor, connection):
        with contextlib.suppress(Error):
            opened.close()


def is_closed(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except OSError:
        return True
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_lets_a_running_query_end_and_nobody_else_in(serve, lake):
    server = serve()
    expected = lake.table("storefront.customer_events").num_rows
    with asking(server) as cursor:
        cursor.execute("SELECT * FROM storefront.customer_events")
        reader = cursor.fetch_record_batch()
        rows = reader.read_next_batch().num_rows
        assert rows < expected
        assert server.metric("polder_queries_running") == 1
        server.terminate()
        assert eventually(lambda: server.get("/readyz") == (503, "draining\n"))
        assert eventually(lambda: is_closed(server)), "its port is closed a moment after it says that it drains"
        for batch in reader:
            rows += batch.num_rows
    assert rows == expected
    assert server.stop() == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_does_not_wait_for_one_who_reads_nothing(serve):
    server = serve()
    with asking(server) as cursor:
        cursor.execute("SELECT * FROM storefront.customer_events a CROSS JOIN storefront.customer_events b")
        cursor.fetch_record_batch().read_next_batch()
        assert server.stop() == 0


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_second_signal_ends_running_queries_at_once(serve, again):
    server = serve()
    with asking(server) as cursor:
        cursor.execute("SELECT * FROM storefront.customer_events a CROSS JOIN storefront.customer_events b")
        cursor.fetch_record_batch().read_next_batch()
        server.terminate()
        # Two signals that nobody took yet are one.
        assert eventually(lambda: server.get("/readyz") == (503, "draining\n"))
        begun = time.monotonic()
        server.process.send_signal(again)
        assert server.process.wait(STOP) == 0
        # Without it they have thirty seconds.
        assert time.monotonic() - begun < 20
    assert server.stop() == 0
    assert "stopping at once: queries that still run are ended" in server.said


def test_a_mesh_that_is_not_there_is_said_at_once(tmp_path):
    done = subprocess.run(
        [binary(), "serve", "--mesh", str(tmp_path)], capture_output=True, text=True, timeout=START
    )
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr or "mesh.yaml" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("option, words", [("--spill", "the spill directory"), ("--cache", "the cache's directory")])
def test_a_directory_that_cannot_be_used_is_a_matter_of_options(mesh, option, words):
    """Nobody can make one there, root neither. A supervisor need not try again, which it knows by the code 2."""
    command = [binary(), "serve", "--mesh", str(mesh), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    done = subprocess.run([*command, option, "/proc/polder"], capture_output=True, text=True, timeout=START)
    assert done.returncode == 2, done.stderr
    assert f"error: {words} cannot be used" in done.stderr


@pytest.mark.parametrize("option, words", [("--traces", "traces"), ("--lineage", "lineage")])
def test_a_sink_that_cannot_be_had_is_said_at_once(mesh, tmp_path, option, words):
    command = [binary(), "serve", "--mesh", str(mesh), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    sink = f"file:{tmp_path}/nowhere/sink"
    done = subprocess.run([*command, option, sink], capture_output=True, text=True, timeout=START)
    assert done.returncode == 2, done.stderr
    assert f"error: {words} cannot be told" in done.stderr and "panicked" not in done.stderr


@pytest.fixture
def sealed(serve, authority):
    """A server with TLS."""
    certificate, key = authority.issue("CN=localhost")
    server = serve("--tls-cert", str(certificate), "--tls-key", str(key))
    assert server.scheme == "grpc+tls"
    return server


def test_tls_serves_who_trusts_it_and_nobody_in_plain_text(sealed, authority):
    name = f"grpc+tls://localhost:{sealed.port}"
    roots = authority.ca.read_text()
    sql = "SELECT count(*) > 0 FROM storefront.customers"
    with open_connection(sealed, "analyst-eu", uri=name, options={ROOTS: roots}) as connection:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            assert cursor.fetchall() == [(True,)]
    for uri, options in [(name, {}), (f"grpc://localhost:{sealed.port}", {})]:
        with pytest.raises(Error) as caught:
            with open_connection(sealed, "analyst-eu", uri=uri, options=options) as connection:
                with connection.cursor() as cursor:
                    cursor.execute(sql)
        assert uri != name or "certificate" in str(caught.value), uri


def shell(*arguments, **environment):
    """`polder sql`, with nobody at the terminal."""
    return subprocess.run(
        [binary(), "sql", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=START,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("POLDER_")}, **environment},
    )


def test_the_shell_asks_a_server_over_tls(sealed, authority):
    url, ca = f"grpc+tls://localhost:{sealed.port}", str(authority.ca)
    sql = "SELECT count(*) AS n FROM fulfillment.warehouses WHERE city IS NULL"
    done = shell("--url", url, "--ca", ca, "--as", "guest", "-c", sql, POLDER_PASSWORD="guest")
    assert (done.returncode, done.stdout) == (0, "n\n0\n"), done.stderr
    done = shell("--url", url, "--as", "guest", "-c", sql, POLDER_PASSWORD="guest")
    assert done.returncode != 0
    assert done.stdout == ""


def test_the_shell_and_the_driver_see_the_same(server, ask):
    sql = "SELECT customer_id, email FROM storefront.customers ORDER BY customer_id LIMIT 20"
    expected = ask("analyst-eu", sql).to_pylist()
    done = shell("--url", server.uri, "--as", "analyst-eu", "--format", "csv", "-c", sql, POLDER_PASSWORD="analyst-eu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["customer_id,email", *(",".join(row.values()) for row in expected)]


def test_the_shell_ends_with_one_for_a_refusal_and_two_for_a_wrong_password(server):
    denied = "SELECT tax_id FROM storefront.customers"
    done = shell("--url", server.uri, "--as", "analyst-eu", "-c", denied, POLDER_PASSWORD="analyst-eu")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: denied: column `tax_id`" in done.stderr
    assert "storefront-no-tax-ids-for-analysts" in done.stderr
    done = shell("--url", server.uri, "--as", "analyst-eu", "-c", "SELECT 1", POLDER_PASSWORD="wrong")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown user or wrong password" in done.stderr
