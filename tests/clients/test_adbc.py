"""The rest of ADBC: partitions, schemas, cancelling, clones, transactions, and what a read-only mesh refuses."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi
from adbc_driver_manager import AdbcStatusCode, Error, NotSupportedError

from conftest import open_connection
from serving import eventually

CITIES = "SELECT city FROM fulfillment.warehouses ORDER BY city"
EVENTS = "SELECT * FROM storefront.customer_events"
ENDLESS = """
    SELECT count(*) FROM storefront.customers a
    JOIN storefront.customers b ON a.customer_id <> b.customer_id
"""


def idle(server):
    return eventually(lambda: server.metric("polder_queries_running") == 0)


def one(connection):
    """Whether a connection still answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchall() == [(1,)]


@pytest.fixture
def cursor(shared):
    with shared("analyst-eu").cursor() as cursor:
        yield cursor


def cities(lake):
    return sorted(row["city"] for row in lake.table("fulfillment.warehouses").to_pylist())


def test_driver_and_server_say_what_they_are(shared):
    info = shared("guest").adbc_get_info()
    assert info["vendor_name"] == "Polder"
    assert info["vendor_arrow_version"].split(".")[0].isdigit()
    assert "Flight SQL" in info["driver_name"]


def test_objects_tell_the_type_of_each_column(shared):
    (catalog,) = shared("guest").adbc_get_objects(table_name_filter="warehouses").read_all().to_pylist()
    (schema,) = [schema for schema in catalog["catalog_db_schemas"] if schema["db_schema_tables"]]
    (table,) = schema["db_schema_tables"]
    assert (catalog["catalog_name"], schema["db_schema_name"], table["table_name"]) == ("packly", "fulfillment", "warehouses")
    # Of SQL's standard: 12 is a text, 91 a date.
    assert {column["column_name"]: column["xdbc_data_type"] for column in table["table_columns"]} == {
        "warehouse_id": 12,
        "city": 12,
        "country": 12,
        "opened_on": 91,
    }


def test_a_mesh_that_is_read_only_has_no_statistics_to_give(shared):
    for ask in (shared("guest").adbc_get_statistics, shared("guest").adbc_get_statistic_names):
        with pytest.raises(NotSupportedError):
            ask()


def test_every_way_to_fetch_gives_the_same_rows(cursor, lake):
    expected = cities(lake)

    def asked():
        cursor.execute(CITIES)
        return cursor

    assert [value for (value,) in asked().fetchall()] == expected
    assert [value for (value,) in asked()] == expected
    assert [value for (value,) in (asked().fetchone(), cursor.next())] == expected[:2]
    asked().arraysize = 4
    assert [value for (value,) in cursor.fetchmany()] == expected[:4]
    assert cursor.rownumber == 4
    assert asked().fetch_arrow_table()["city"].to_pylist() == expected
    assert asked().fetchallarrow()["city"].to_pylist() == expected
    assert pa.table(asked().fetch_arrow())["city"].to_pylist() == expected
    assert asked().fetch_record_batch().read_all()["city"].to_pylist() == expected
    assert list(asked().fetch_df()["city"]) == expected
    assert list(asked().fetch_polars()["city"]) == expected


def test_a_connection_executes_without_a_cursor(shared, lake):
    with shared("guest").execute(CITIES) as cursor:
        assert [value for (value,) in cursor.fetchall()] == cities(lake)


def test_what_the_dbapi_leaves_open_is_not_supported(cursor):
    cursor.setinputsizes([1])
    cursor.setoutputsize(1)
    with pytest.raises(NotSupportedError):
        cursor.nextset()
    with pytest.raises(NotSupportedError):
        cursor.callproc("nothing", [])


def test_the_schema_of_a_query_is_known_before_it_runs(server, cursor):
    started = server.metric("polder_queries_started_total")
    told = cursor.adbc_execute_schema("SELECT * FROM storefront.customers")
    assert server.metric("polder_queries_started_total") == started
    cursor.execute("SELECT * FROM storefront.customers LIMIT 1")
    assert cursor.fetch_arrow_table().schema == told


def test_a_partition_is_read_by_any_connection_of_the_same_user(shared, connect, cursor, lake):
    partitions, schema = cursor.adbc_execute_partitions(CITIES)
    assert schema.names == ["city"]
    assert len(partitions) == 1
    for connection in (shared("analyst-eu"), connect("analyst-eu")):
        with connection.cursor() as reader:
            reader.adbc_read_partition(partitions[0])
            assert [value for (value,) in reader.fetchall()] == cities(lake)


def test_a_partition_of_another_user_is_refused(shared, cursor):
    partitions, _ = cursor.adbc_execute_partitions("SELECT email FROM storefront.customers LIMIT 1")
    for user in ("privacy-officer", "guest"):
        with shared(user).cursor() as thief, pytest.raises(Error, match="the ticket is not valid") as caught:
            thief.adbc_read_partition(partitions[0])
            thief.fetchall()
        assert caught.value.status_code in {AdbcStatusCode.UNAUTHORIZED, AdbcStatusCode.UNAUTHENTICATED}


def test_a_clone_is_a_connection_of_the_same_user(shared, ask):
    with shared("analyst-us").adbc_clone() as clone, clone.cursor() as cursor:
        cursor.execute("SELECT count(*) AS n FROM mesh.products")
        assert cursor.fetch_arrow_table() == ask("analyst-us", "SELECT count(*) AS n FROM mesh.products")


def test_a_stream_can_be_cancelled_in_its_middle(server, connect):
    connection = connect("analyst-eu")
    with connection.cursor() as cursor:
        cursor.execute(EVENTS)
        reader = cursor.fetch_record_batch()
        assert reader.read_next_batch().num_rows > 0
        cursor.adbc_cancel()
        with pytest.raises((Error, OSError), match="(?i)cancel"):
            for _ in reader:
                pass
        assert idle(server)
    assert one(connection)


def test_a_query_that_computes_can_be_cancelled_from_another_thread(serve):
    # A server of its own, which has nothing else to compute.
    server = serve()
    with open_connection(server, "analyst-eu") as connection:
        with connection.cursor() as cursor:

            def run():
                cursor.execute(ENDLESS)
                return cursor.fetchall()

            with ThreadPoolExecutor(1) as thread:
                running = thread.submit(run)
                assert eventually(lambda: server.metric("polder_queries_running") == 1)
                # Until the tables are read, and their rows are compared.
                enough = server.computed() + 3
                assert eventually(lambda: server.computed() > enough)
                cursor.adbc_cancel()
                error = running.exception(60)
            assert isinstance(error, (Error, OSError)) and "cancel" in str(error).lower()
        assert idle(server)
        assert eventually(server.rests), "the query goes on in the server"
        assert one(connection)


def test_nothing_to_cancel_is_not_an_error(connect):
    connection = connect("analyst-eu")
    with connection.cursor() as cursor:
        cursor.adbc_cancel()
    connection.adbc_cancel()
    assert one(connection)


def test_a_cursor_that_closes_ends_its_query(server, connect):
    connection = connect("analyst-eu")
    for _ in range(3):
        with connection.cursor() as cursor:
            cursor.execute(EVENTS)
            assert cursor.fetchone() is not None
        assert idle(server)
    assert one(connection)


def test_cursors_of_one_connection_run_at_once_in_threads(connect):
    connection = connect("analyst-eu")
    together = threading.Barrier(4)

    def count(remainder):
        together.wait(60)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM storefront.customer_events WHERE dwell_ms % 4 = {remainder}")
            return cursor.fetchone()[0]

    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(count, range(4)))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(dwell_ms) FROM storefront.customer_events")
        assert cursor.fetchone() == (sum(counts),)


def test_without_transactions_commit_and_rollback_do_nothing(server):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        settings = {"username": "guest", "password": "guest"}
        with dbapi.connect(server.uri, db_kwargs=settings) as connection:
            assert one(connection)
            connection.commit()
            connection.rollback()
            assert one(connection)
    assert any("autocommit" in str(warning.message) for warning in warned)


@pytest.mark.parametrize("mode", ["create", "append", "replace", "create_append"])
def test_an_upload_is_refused_as_read_only(connect, mode):
    connection = connect("privacy-officer")
    rows = pa.table({"warehouse_id": ["WH-X"]})
    with connection.cursor() as cursor, pytest.raises(Error, match="read-only") as caught:
        cursor.adbc_ingest("warehouses", rows, mode=mode, db_schema_name="fulfillment")
    assert caught.value.status_code in {AdbcStatusCode.INVALID_ARGUMENT, AdbcStatusCode.NOT_IMPLEMENTED}
    assert one(connection)
