"""What is not a query is refused as a bad request, in words, and changes nothing."""

import re

import pyarrow as pa
import pytest
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import AdbcStatusCode, Error, ProgrammingError

from conftest import open_connection

GIVE_UP = {
    option.value: "20"
    for option in (DatabaseOptions.TIMEOUT_FETCH, DatabaseOptions.TIMEOUT_QUERY, DatabaseOptions.TIMEOUT_UPDATE)
}

STATEMENTS = [
    "INSERT INTO storefront.customers SELECT * FROM storefront.customers",
    "UPDATE storefront.customers SET city = 'Rotterdam'",
    "DELETE FROM storefront.customers",
    "TRUNCATE TABLE storefront.customers",
    "DROP TABLE storefront.customers",
    "ALTER TABLE storefront.customers ADD COLUMN x INT",
    "CREATE TABLE mine AS SELECT * FROM storefront.customers",
    "CREATE VIEW mine AS SELECT * FROM storefront.customers",
    "CREATE SCHEMA mine",
    "CREATE EXTERNAL TABLE mine STORED AS CSV LOCATION '/etc/passwd'",
    "COPY (SELECT * FROM storefront.customers) TO '{}'",
    "COPY storefront.customers TO '{}'",
    "SET datafusion.execution.batch_size = 1",
    "SET datafusion.runtime.memory_limit = '1K'",
    "RESET datafusion.execution.batch_size",
    "PREPARE p AS SELECT 1",
    "BEGIN",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE storefront.customers",
]
QUERIES = [
    "SELECT * FROM generate_series(1, 10)",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM storefront.customers TABLESAMPLE BERNOULLI (10)",
    "SELECT * FROM storefront.customers CHANGES(INFORMATION => DEFAULT) AT(REF => 'main')",
    "SELECT * FROM storefront.customers BEFORE(REF => 'main')",
    "SELECT * FROM storefront.customers FOR UPDATE",
    "SELECT * INTO mine FROM storefront.customers",
    "SELEC 1",
]


@pytest.mark.parametrize("user", ["privacy-officer", "guest"])
@pytest.mark.parametrize("sql", [*STATEMENTS, *QUERIES])
def test_it_is_refused_alone_and_under_explain(refused, ask, tmp_path, user, sql):
    target = tmp_path / "stolen.parquet"
    sql = sql.format(target)
    for statement in (sql, f"EXPLAIN {sql}", f"EXPLAIN ANALYZE {sql}"):
        error = refused(user, statement)
        assert isinstance(error, ProgrammingError), statement
        expected = {AdbcStatusCode.INVALID_ARGUMENT}
        if sql.startswith("SELECT * FROM '/"):
            # A name in quotes is a name, and there is no product of that name.
            expected.add(AdbcStatusCode.NOT_FOUND)
        assert error.status_code in expected, f"{statement}: {error}"
    assert not target.exists()
    assert ask(user, "SELECT 1 AS one").to_pylist() == [{"one": 1}]


def test_explain_analyze_tells_figures_of_what_is_not_restricted_alone(ask):
    def profile(user, sql):
        plan, answer = ask(user, f"EXPLAIN ANALYZE {sql}").to_pylist()
        assert (plan["plan_type"], answer["plan_type"]) == ("physical_plan", "answer")
        return plan["plan"], answer["plan"]

    sql = "SELECT email, count(*) FROM storefront.customers WHERE loyalty_tier >= 0 GROUP BY email"
    rows = ask("privacy-officer", sql).num_rows
    plan, answer = profile("privacy-officer", sql)
    assert re.fullmatch(rf"rows={rows}, elapsed=[\d.]+\S+", answer)
    [scan] = [line for line in plan.splitlines() if "DataSourceExec" in line]
    assert "bytes_scanned=" in scan and "output_rows=" in scan and "elapsed_compute=" in plan, plan
    assert not re.search(r"\.parquet|file:|/lake/", plan), plan
    # An analyst sees masked emails: of that the plan alone is told, and how many rows one could count.
    plan, answer = profile("analyst-eu", sql)
    assert answer == f"rows={ask('analyst-eu', sql).num_rows}"
    assert "GuardExec" in plan and "metrics" not in plan, plan
    explained = ask("analyst-eu", f"EXPLAIN {sql}").to_pylist()[1]["plan"]
    assert plan == explained


def test_an_update_is_refused_whichever_way_it_is_sent(connect):
    connection = connect("privacy-officer")
    rows = pa.table({"warehouse_id": ["WH-X"]})
    with connection.cursor() as cursor:
        with pytest.raises(Error, match="read-only|not served|NOT_IMPLEMENTED"):
            cursor.adbc_ingest("warehouses", rows, mode="append", db_schema_name="fulfillment")
        with pytest.raises(ProgrammingError):
            cursor.executemany("INSERT INTO fulfillment.warehouses VALUES (?)", [("WH-X",)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM fulfillment.warehouses WHERE warehouse_id = 'WH-X'")
        assert cursor.fetchall() == [(0,)]


def test_a_statement_that_would_exhaust_the_parser_is_refused_and_the_server_lives(refused, ask):
    for sql in [
        "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
        "SELECT 1 WHERE " + " OR ".join(["1 = 1"] * 40_000),
        "SELECT '" + "x" * 1_000_000 + "'",
    ]:
        error = refused("guest", sql)
        assert "the engine failed" not in str(error)
        assert ask("guest", "SELECT 1 AS one").to_pylist() == [{"one": 1}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 WHERE " + " OR ".join(["1 = 1"] * 20_000),
        "SELECT " + " + ".join(["1"] * 50_000),
        "SELECT " + "- " * 20_000 + "1",
        "SELECT " + "NOT " * 20_000 + "true",
        "SELECT 1" + " UNION ALL SELECT 1" * 5_000,
    ],
    ids=["or", "plus", "minus", "not", "union"],
)
def test_a_statement_of_extreme_size_ends_in_time_and_the_server_lives(serve, sql):
    server = serve("--timeout", "5")
    # The client gives up at last, so that a server that does not is a failure and not a hang.
    with open_connection(server, "guest", options=GIVE_UP) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(sql)
            cursor.fetchall()
        except Error as error:
            # What the driver says when it gave up by itself.
            assert "Timeout expired" not in str(error)
            assert "the engine failed" not in str(error)
        assert server.process.poll() is None, "the server died"
        cursor.execute("SELECT 1 + 1")
        assert cursor.fetchall() == [(2,)]


def test_errors_are_lowercase_sentences_with_the_name_in_backticks(refused):
    error = refused("guest", "SELECT * FROM fulfillment.warehouse")
    assert error.status_code == AdbcStatusCode.NOT_FOUND
    assert "there is no product `fulfillment.warehouse`" in str(error)
    assert "did you mean `fulfillment.warehouses`?" in str(error)
    error = refused("analyst-eu", "SELECT citty FROM fulfillment.warehouses")
    assert "did you mean `city`?" in str(error)
