"""Parameters, through ADBC: every way to bind them, and what policies make of them."""

import datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from adbc_driver_manager import ProgrammingError

COOKIES = "adbc.flight.sql.rpc.with_cookie_middleware"


def answer(connection, sql, parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters=parameters)
        return cursor.fetchall()


def test_values_are_bound_by_place(connect, lake):
    connection = connect("analyst-eu")
    expected = [row for row in lake.table("fulfillment.warehouses").to_pylist() if row["warehouse_id"] == "WH-RTM"]
    sql = "SELECT city FROM fulfillment.warehouses WHERE warehouse_id = ?"
    assert answer(connection, sql, ["WH-RTM"]) == [(expected[0]["city"],)]
    assert answer(connection, sql.replace("?", "$1"), ("WH-RTM",)) == [(expected[0]["city"],)]
    assert answer(connection, sql, ["nowhere"]) == []
    assert answer(connection, sql, [None]) == []


@pytest.mark.parametrize(
    "value",
    [
        7,
        -(2**62),
        2.5,
        "žluťoučký",
        "",
        True,
        b"\x00\xff",
        datetime.date(2026, 1, 31),
        datetime.datetime(2026, 1, 31, 12, 30, 15, 123456),
        datetime.datetime(2026, 1, 31, 12, 30, tzinfo=datetime.timezone.utc),
        datetime.time(12, 30, 15, 5),
        Decimal("12345.678"),
    ],
    ids=repr,
)
def test_a_value_of_every_type_comes_back_as_it_was(connect, value):
    ((found,),) = answer(connect("guest"), "SELECT ?", [value])
    assert found == value
    assert answer(connect("guest"), "SELECT 1 WHERE ? = ?", [value, value]) == [(1,)]


def test_null_is_a_value_of_every_parameter(connect):
    assert answer(connect("guest"), "SELECT ?, coalesce(?, 5)", [None, None]) == [(None, 5)]


def test_a_statement_runs_for_each_row_of_values(connect):
    with connect("guest").cursor() as cursor:
        cursor.adbc_prepare("SELECT CAST(? AS BIGINT) * 10")
        cursor.execute("SELECT CAST(? AS BIGINT) * 10", parameters=pa.record_batch({"0": [3, None, 1]}))
        assert cursor.fetchall() == [(30,), (None,), (10,)]
        for number in range(3):
            cursor.execute("SELECT CAST(? AS BIGINT) * 10", parameters=[number])
            assert cursor.fetchall() == [(number * 10,)]


def test_what_is_offered_is_concrete_and_nullable(connect):
    with connect("analyst-eu").cursor() as cursor:
        schema = cursor.adbc_prepare("SELECT order_id, ? FROM wholesale.orders WHERE total_eur > ? AND sku = ? LIMIT ?")
        assert schema.types == [pa.string(), pa.decimal128(12, 2), pa.string(), pa.int64()]
        assert all(field.nullable for field in schema)


def test_what_does_not_fit_is_refused_without_its_value(connect):
    connection = connect("analyst-eu")
    for sql, parameters in [
        ("SELECT order_id FROM wholesale.orders WHERE quantity = ?", [424242.5]),
        ("SELECT order_id FROM wholesale.orders WHERE quantity = ?", ["hunter424242"]),
        ("SELECT order_id FROM wholesale.orders WHERE quantity = ?", [1, 424242]),
        ("SELECT CAST(concat(sku, CAST(? AS VARCHAR)) AS BIGINT) FROM wholesale.orders", ["424242"]),
    ]:
        with pytest.raises(ProgrammingError, match="INVALID_ARGUMENT") as refused:
            answer(connection, sql, parameters)
        assert "424242" not in str(refused.value)
    assert answer(connection, "SELECT ?", [1]) == [(1,)]


def test_masks_hold_for_what_is_bound(connect, lake):
    row = lake.table("storefront.customers").sort_by("customer_id").to_pylist()[0]
    sql = "SELECT customer_id FROM storefront.customers WHERE email = ?"
    assert answer(connect("privacy-officer"), sql, [row["email"]]) == [(row["customer_id"],)]
    assert answer(connect("analyst-eu"), sql, [row["email"]]) == []


def test_a_session_keeps_its_schema_where_cookies_are_kept(connect):
    connection = connect("analyst-eu", options={COOKIES: "true"})
    connection.adbc_current_db_schema = "fulfillment"
    assert connection.adbc_current_db_schema == "fulfillment"
    assert connection.adbc_current_catalog == "packly"
    assert answer(connection, "SELECT count(*) > 0 FROM warehouses", None) == [(True,)]
    with pytest.raises(Exception, match="(?i)invalid"):
        connection.adbc_current_db_schema = "nowhere"
