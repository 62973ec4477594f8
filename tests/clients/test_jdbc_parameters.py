"""Prepared statements of Java: parameters of every type, through the driver's own setters."""

import contextlib

import jpype
import pytest

import jdbc


@pytest.fixture(scope="module")
def java(server):
    """A connection that the tests share."""
    with contextlib.closing(jdbc.connect(server, user="analyst-eu", password="analyst-eu")) as connection:
        yield connection


@contextlib.contextmanager
def prepared(connection, sql):
    with contextlib.closing(connection.prepareStatement(sql)) as statement:
        yield statement


def count(connection, sql, bind=None):
    with prepared(connection, sql) as statement:
        if bind is not None:
            bind(statement)
        ((_, value),) = jdbc.rows(statement.executeQuery())[0].items()
        return value


def java_sql():
    return jpype.java.sql


@pytest.mark.parametrize(
    ("condition", "literal", "bind"),
    [
        ("storefront.customers WHERE country = {}", "'NL'", lambda s: s.setString(1, "NL")),
        ("storefront.customers WHERE loyalty_tier = {}", "2", lambda s: s.setInt(1, 2)),
        ("storefront.customers WHERE loyalty_tier = {}", "2", lambda s: s.setLong(1, 2)),
        ("storefront.customers WHERE loyalty_tier = {}", "2", lambda s: s.setShort(1, 2)),
        ("storefront.customers WHERE marketing_consent = {}", "true", lambda s: s.setBoolean(1, True)),
        (
            "storefront.customers WHERE signed_up_on < {}",
            "DATE '2024-01-01'",
            lambda s: s.setDate(1, java_sql().Date.valueOf("2024-01-01")),
        ),
        (
            "wholesale.orders WHERE total_eur > {}",
            "99.50",
            lambda s: s.setBigDecimal(1, jpype.java.math.BigDecimal("99.50")),
        ),
        (
            "wholesale.orders WHERE ordered_at < {}",
            "TIMESTAMP '2025-12-01T12:00:00Z'",
            lambda s: s.setTimestamp(1, java_sql().Timestamp.valueOf("2025-12-01 12:00:00")),
        ),
        ("wholesale.orders WHERE order_id = {}", "90001", lambda s: s.setObject(1, jpype.java.lang.Long(90001))),
        ("storefront.customers WHERE country = {}", "NULL", lambda s: s.setNull(1, java_sql().Types.VARCHAR)),
        ("storefront.customers WHERE loyalty_tier = {}", "NULL", lambda s: s.setNull(1, java_sql().Types.INTEGER)),
    ],
)
def test_a_parameter_means_what_the_literal_means(java, condition, literal, bind):
    sql = f"SELECT count(*) FROM {condition}"
    assert count(java, sql.format("?"), bind) == count(java, sql.format(literal))


def test_a_prepared_statement_runs_with_other_values_each_time(java, lake):
    warehouses = {row["warehouse_id"]: row["city"] for row in lake.table("fulfillment.warehouses").to_pylist()}
    with prepared(java, "SELECT city FROM fulfillment.warehouses WHERE warehouse_id = ?") as statement:
        for key, city in warehouses.items():
            statement.setString(1, key)
            assert jdbc.rows(statement.executeQuery()) == [{"city": city}]


def test_a_prepared_statement_tells_its_parameters_and_its_columns(java):
    sql = "SELECT city, opened_on FROM fulfillment.warehouses WHERE warehouse_id = ? AND opened_on > ?"
    with prepared(java, sql) as statement:
        parameters = statement.getParameterMetaData()
        assert parameters.getParameterCount() == 2
        types = java_sql().Types
        assert [parameters.getParameterType(at) for at in (1, 2)] == [types.VARCHAR, types.DATE]
        columns = statement.getMetaData()
        assert [str(columns.getColumnLabel(at)) for at in (1, 2)] == ["city", "opened_on"]


def test_a_statement_without_parameters_can_be_prepared(java):
    assert count(java, "SELECT count(*) FROM fulfillment.warehouses") > 3


def test_a_parameter_that_is_missing_is_told(java):
    with prepared(java, "SELECT city FROM fulfillment.warehouses WHERE warehouse_id = ?") as statement:
        with pytest.raises(jpype.JException):
            statement.executeQuery()


def test_limits_can_be_parameters(java):
    with prepared(java, "SELECT warehouse_id FROM fulfillment.warehouses ORDER BY warehouse_id LIMIT ?") as statement:
        statement.setLong(1, 2)
        assert len(jdbc.rows(statement.executeQuery())) == 2


def test_the_catalog_of_a_connection_can_be_a_property(server):
    connection = jdbc.connect(server, user="analyst-eu", password="analyst-eu", catalog="packly")
    assert count(connection, "SELECT count(*) FROM storefront.customers") == 50_000
    # With a catalog, the driver ends its session a second time on a channel that it has closed by then.
    with pytest.raises(jpype.java.sql.SQLException, match="Channel shutdown"):
        connection.close()


def test_a_catalog_that_is_not_the_mesh_is_refused(server):
    jdbc.start()
    with pytest.raises(jpype.JException):
        jdbc.connect(server, user="guest", password="guest", catalog="elsewhere").close()
