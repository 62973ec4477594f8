"""Rows in parts: a client that asks for several endpoints reads them side by side, and each row once."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import Error

from conftest import open_connection

EVENTS = "SELECT event_id, event_type, occurred_at, now() AS asked FROM storefront.customer_events"


def wanting(server, endpoints, user="storefront-owner"):
    header = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value + "x-polder-endpoints"
    return open_connection(server, user, options={header: str(endpoints)})


def parts(connection, sql):
    with connection.cursor() as cursor:
        partitions, _ = cursor.adbc_execute_partitions(sql)
    return partitions


def read(connection, part):
    with connection.cursor() as cursor:
        cursor.adbc_read_partition(part)
        return cursor.fetch_arrow_table()


def test_all_parts_together_are_the_rows_each_once(server):
    with wanting(server, 4) as connection:
        found = parts(connection, EVENTS)
        assert 1 < len(found) <= 4
        tables = list(ThreadPoolExecutor(len(found)).map(lambda part: read(connection, part), found))
        with connection.cursor() as cursor:
            cursor.execute("SELECT event_id FROM storefront.customer_events ORDER BY event_id")
            whole = cursor.fetch_arrow_table()
        # The driver reads the parts by itself, too.
        with connection.cursor() as cursor:
            cursor.execute(EVENTS)
            assert cursor.fetch_arrow_table().num_rows == whole.num_rows
    assert all(table.num_rows for table in tables)
    together = pa.concat_tables(tables)
    assert together.sort_by("event_id").column("event_id").equals(whole.column("event_id"))
    assert len(together.column("asked").unique()) == 1, "all of a statement happens in one moment"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM storefront.customer_events",
        "SELECT event_id FROM storefront.customer_events ORDER BY event_id",
        "SELECT event_id FROM storefront.customer_events LIMIT 10",
        "SELECT DISTINCT event_type FROM storefront.customer_events",
        "SELECT * FROM mesh.products",
        "SELECT 1",
    ],
)
def test_what_is_made_of_all_rows_stays_in_one_part(server, sql):
    with wanting(server, 4) as connection:
        assert len(parts(connection, sql)) == 1


def test_who_sees_less_than_all_gets_one_part(server):
    # How many parts there are would tell of the rows that are hidden.
    with wanting(server, 4, "analyst-eu") as connection:
        assert len(parts(connection, "SELECT customer_id, email FROM storefront.customers")) == 1


def test_a_part_is_for_whoever_asked_for_it(server):
    with wanting(server, 4) as connection, wanting(server, 4, "analyst-eu") as other:
        part, *_ = parts(connection, EVENTS)
        with pytest.raises(Error, match="the ticket is not valid here"):
            read(other, part)


def test_nobody_gets_parts_who_did_not_ask(shared):
    assert len(parts(shared("storefront-owner"), EVENTS)) == 1


@pytest.mark.parametrize("endpoints", ["0", "65", "many", "-1", "2.0"])
def test_a_number_of_endpoints_that_cannot_be_is_refused(server, endpoints):
    with wanting(server, endpoints) as connection, pytest.raises(Error, match="there is no number of endpoints"):
        parts(connection, "SELECT 1")
