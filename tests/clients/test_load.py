"""Many clients at once, clients that leave early, and the memory that both give back."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow.compute as pc
import pytest
from adbc_driver_manager import Error

from conftest import open_connection
from oracle import sha256
from serving import eventually

CLIENTS = 20
QUERIES = 50
USERS = ["analyst-eu", "analyst-us", "storefront-owner", "privacy-officer"]

# Takes longer than any test waits, and starts to answer at once.
ENDLESS = """
    SELECT a.event_id AS x, b.event_id AS y FROM storefront.customer_events a
    CROSS JOIN storefront.customer_events b
"""

# Takes as long, and has no row before its end.
SILENT = f"SELECT sum((x + y) % 7) FROM ({ENDLESS}) AS pairs"

# Sorts more than a server holds that is given as little memory as 48 MiB, and less than it may spill.
SPILLING = """
    SELECT event_id, customer_id, event_type, value_eur FROM storefront.customer_events ORDER BY value_eur, event_id DESC
"""


def questions(lake):
    """Statements that every user of `USERS` may send, each with its answer per user."""
    customers = lake.table("storefront.customers").sort_by("customer_id")
    events = lake.table("storefront.customer_events")
    warehouses = lake.table("fulfillment.warehouses").sort_by("warehouse_id")
    email = customers["email"][0].as_py()
    bought = pc.sum(events.filter(pc.equal(events["event_type"], events["event_type"][0]))["value_eur"]).as_py()
    kind = events["event_type"][0].as_py()
    first = customers["customer_id"][0].as_py()
    of_first = events.filter(pc.equal(events["customer_id"], first)).num_rows
    return [
        ("SELECT 1", lambda user: [(1,)]),
        (
            "SELECT count(*), max(loyalty_tier) FROM storefront.customers",
            lambda user: [(customers.num_rows, pc.max(customers["loyalty_tier"]).as_py())],
        ),
        (
            "SELECT email FROM storefront.customers ORDER BY customer_id LIMIT 1",
            lambda user: [(email if user == "privacy-officer" else sha256(email),)],
        ),
        (
            f"SELECT sum(value_eur) FROM storefront.customer_events WHERE event_type = '{kind}'",
            lambda user: [(bought,)],
        ),
        (
            "SELECT warehouse_id, city FROM fulfillment.warehouses ORDER BY warehouse_id",
            lambda user: [tuple(row.values()) for row in warehouses.select(["warehouse_id", "city"]).to_pylist()],
        ),
        (
            "SELECT c.customer_id, count(*) FROM storefront.customers c JOIN storefront.customer_events e "
            f"ON e.customer_id = c.customer_id WHERE c.customer_id = '{first}' GROUP BY c.customer_id",
            lambda user: [(first, of_first)] if of_first else [],
        ),
    ]


@pytest.mark.timeout(900)
def test_twenty_clients_send_a_thousand_statements_and_the_memory_comes_back(serve, lake):
    server = serve()
    asked = questions(lake)

    def client(number, statements):
        user = USERS[number % len(USERS)]
        right = 0
        with open_connection(server, user) as connection:
            for turn in range(statements):
                sql, expected = asked[(number + turn) % len(asked)]
                with connection.cursor() as cursor:
                    cursor.execute(sql)
                    assert cursor.fetchall() == expected(user), (user, sql)
                right += 1
        return right

    def everyone(statements):
        with ThreadPoolExecutor(CLIENTS) as threads:
            return sum(threads.map(client, range(CLIENTS), [statements] * CLIENTS))

    assert everyone(len(asked)) == CLIENTS * len(asked)
    eventually(lambda: server.metric("polder_queries_running") == 0)
    before = server.resident()
    allowed = max(before * 5 // 4, before + (64 << 20))
    started = server.metric("polder_queries_started_total")

    assert everyone(QUERIES) == CLIENTS * QUERIES == 1000
    assert server.metric("polder_queries_started_total") - started >= 1000
    assert eventually(lambda: server.metric("polder_queries_running") == 0)
    assert eventually(lambda: server.resident() <= allowed, within=60), (
        f"{server.resident() >> 20} MiB are held after the statements, {before >> 20} MiB were before them"
    )


def test_a_reader_that_is_closed_early_ends_its_query(serve):
    server = serve()
    with open_connection(server, "analyst-eu") as connection:
        for _ in range(3):
            with connection.cursor() as cursor:
                cursor.execute(ENDLESS)
                batch = cursor.fetch_record_batch().read_next_batch()
                assert batch.num_rows > 0
                assert server.metric("polder_queries_running") >= 1
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 + 1")
                assert cursor.fetchall() == [(2,)]
        assert eventually(lambda: server.metric("polder_queries_running") == 0)


def test_a_query_can_be_cancelled_before_it_has_rows(serve):
    server = serve()
    with open_connection(server, "analyst-eu") as connection:
        cursor = connection.cursor()

        def cancel():
            eventually(lambda: server.metric("polder_queries_running") >= 1)
            cursor.adbc_cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        begin = time.monotonic()
        with pytest.raises(Error, match="(?i)cancel"):
            cursor.execute(SILENT)
            cursor.fetchall()
        assert time.monotonic() - begin < 60
        canceller.join()
        cursor.close()
        assert eventually(lambda: server.metric("polder_queries_running") == 0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 + 1")
            assert cursor.fetchall() == [(2,)]


def test_a_client_that_vanishes_takes_its_queries_along(serve):
    server = serve()
    script = f"""
import sys
from adbc_driver_flightsql import dbapi

settings = {{"username": "analyst-eu", "password": "analyst-eu"}}
cursor = dbapi.connect("{server.uri}", db_kwargs=settings, autocommit=True).cursor()
cursor.execute({ENDLESS!r})
print(cursor.fetch_record_batch().read_next_batch().num_rows, flush=True)
sys.stdin.read()
"""
    clients = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        assert all(int(client.stdout.readline()) > 0 for client in clients)
        assert server.metric("polder_queries_running") == 3
    finally:
        for client in clients:
            client.kill()
            client.communicate()
    assert eventually(lambda: server.metric("polder_queries_running") == 0)


def test_a_statement_has_a_time_limit(serve):
    server = serve("--timeout", "2")
    with open_connection(server, "analyst-eu") as connection, connection.cursor() as cursor:
        with pytest.raises(Error, match="longer than 2 s"):
            cursor.execute(SILENT)
            cursor.fetchall()
        cursor.execute("SELECT 1 + 1")
        assert cursor.fetchall() == [(2,)]
    assert eventually(lambda: server.metric("polder_queries_running") == 0)
