"""What a DBAPI cursor does: rows, Arrow, streams, prepared statements, and several at once."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from adbc_driver_manager import ProgrammingError

from oracle import assert_same_rows

WAREHOUSES = "SELECT warehouse_id, city, opened_on FROM fulfillment.warehouses ORDER BY warehouse_id"


def warehouses(lake):
    table = lake.table("fulfillment.warehouses").sort_by("warehouse_id")
    return [tuple(row.values()) for row in table.select(["warehouse_id", "city", "opened_on"]).to_pylist()]


def test_rows_come_one_by_one_in_portions_and_all_at_once(shared, lake):
    expected = warehouses(lake)
    assert len(expected) > 3
    with shared("analyst-eu").cursor() as cursor:
        cursor.execute(WAREHOUSES)
        assert cursor.fetchone() == expected[0]
        assert cursor.fetchmany(2) == expected[1:3]
        assert cursor.fetchall() == expected[3:]
        assert cursor.fetchone() is None
        cursor.execute(WAREHOUSES)
        assert list(cursor) == expected


def test_a_description_names_the_columns_and_a_row_count_is_never_wrong(shared, lake):
    with shared("analyst-eu").cursor() as cursor:
        assert cursor.description is None
        cursor.execute(WAREHOUSES)
        assert [(column[0], column[1]) for column in cursor.description] == [
            ("warehouse_id", pa.string()),
            ("city", pa.string()),
            ("opened_on", pa.date32()),
        ]
        assert cursor.rowcount in (-1, len(warehouses(lake)))


def test_an_empty_answer_has_columns(shared):
    with shared("analyst-eu").cursor() as cursor:
        cursor.execute("SELECT customer_id, loyalty_tier FROM storefront.customers WHERE loyalty_tier < 0")
        assert [column[0] for column in cursor.description] == ["customer_id", "loyalty_tier"]
        assert cursor.fetchall() == []
        cursor.execute("SELECT customer_id, loyalty_tier FROM storefront.customers WHERE loyalty_tier < 0")
        table = cursor.fetch_arrow_table()
        assert (table.num_rows, table.schema.types) == (0, [pa.string(), pa.int32()])


def test_values_of_every_kind_arrive_as_they_are_stored(ask, lake):
    for product, key in [
        ("storefront.customers", "customer_id"),
        ("storefront.catalog_items", "sku"),
        ("wholesale.orders", "order_id"),
        ("wholesale.accounts", "account_id"),
        ("fulfillment.shipment_status", "shipment_id"),
        ("fulfillment.warehouses", "warehouse_id"),
        ("marketing.paid_acquisition", "touch_id"),
        ("marketing.campaigns", "campaign_id"),
        ("payments.transactions", "transaction_id"),
        ("payments.refunds", "refund_id"),
        ("payments.fraud_signals", "signal_id"),
    ]:
        expected = lake.table(product)
        actual = ask("privacy-officer", f"SELECT * FROM {product}")
        assert actual.column_names == expected.column_names, product
        assert_same_rows(actual, expected, key)


def test_only_plain_types_travel(ask):
    types = dict(zip(*_types(ask("privacy-officer", "SELECT * FROM storefront.customers LIMIT 1"))))
    assert types["customer_id"] == pa.string()
    assert types["loyalty_tier"] == pa.int32()
    assert types["marketing_consent"] == pa.bool_()
    assert types["signed_up_on"] == pa.date32()
    assert pa.types.is_list(types["interests"]) and types["interests"].value_type == pa.string()
    types = dict(zip(*_types(ask("privacy-officer", "SELECT * FROM wholesale.orders LIMIT 1"))))
    assert types["order_id"] == pa.int64()
    assert types["total_eur"] == pa.decimal128(12, 2)
    assert pa.types.is_timestamp(types["ordered_at"]) and types["ordered_at"].tz in ("UTC", "+00:00")


def _types(table):
    return table.column_names, table.schema.types


def test_a_join_across_domains_agrees_with_one_made_outside(ask, lake):
    sql = """
        SELECT c.country, count(*) AS orders, sum(o.total_eur) AS spent
        FROM storefront.customers c JOIN wholesale.orders o ON o.customer_id = c.customer_id
        GROUP BY c.country ORDER BY c.country
    """
    customers = lake.table("storefront.customers").select(["customer_id", "country"])
    orders = lake.table("wholesale.orders").select(["customer_id", "total_eur"])
    joined = orders.join(customers, "customer_id", join_type="inner").group_by("country")
    expected = joined.aggregate([("total_eur", "count"), ("total_eur", "sum")]).sort_by("country").to_pylist()
    assert len(expected) > 1
    answered = ask("analyst-eu", sql).to_pylist()
    assert [(row["country"], row["orders"], row["spent"]) for row in answered] == [
        (row["country"], row["total_eur_count"], row["total_eur_sum"]) for row in expected
    ]


def test_a_large_answer_streams_in_batches(shared, lake):
    expected = lake.table("storefront.customer_events")
    rows = batches = 0
    total = Decimal(0)
    with shared("analyst-eu").cursor() as cursor:
        cursor.execute("SELECT event_id, customer_id, occurred_at, value_eur FROM storefront.customer_events")
        reader = cursor.fetch_record_batch()
        assert reader.schema.names == ["event_id", "customer_id", "occurred_at", "value_eur"]
        for batch in reader:
            batches += 1
            rows += batch.num_rows
            total += pc.sum(batch["value_eur"]).as_py() or 0
    assert rows == expected.num_rows > 500_000
    assert batches > 10
    assert total == pc.sum(expected["value_eur"]).as_py()


def test_a_prepared_statement_runs_again_and_again(connect, lake):
    expected = warehouses(lake)
    with connect("analyst-eu").cursor() as cursor:
        schema = cursor.adbc_prepare(WAREHOUSES)
        assert schema is None or len(schema) == 0
        for _ in range(3):
            cursor.execute(WAREHOUSES)
            assert cursor.fetchall() == expected


def test_cursors_of_one_connection_take_turns(connect):
    connection = connect("analyst-eu")
    sql = "SELECT shipment_id FROM fulfillment.shipment_status WHERE shipment_id % 3 = {} ORDER BY shipment_id LIMIT 5000"
    cursors = [connection.cursor() for _ in range(3)]
    for remainder, cursor in enumerate(cursors):
        cursor.execute(sql.format(remainder))
    seen = [[], [], []]
    for _ in range(50):
        for rows, cursor in zip(seen, cursors):
            rows.extend(value for (value,) in cursor.fetchmany(100))
    for remainder, rows in enumerate(seen):
        assert len(rows) == 5000
        assert rows == sorted(rows)
        assert all(value % 3 == remainder for value in rows)
    for cursor in cursors:
        cursor.close()


def test_connections_of_several_users_at_once_do_not_mix(connect, lake):
    users = ["analyst-eu", "analyst-us", "storefront-owner", "privacy-officer"] * 2
    connections = [(user, connect(user)) for user in users]
    raw = [row["email"] for row in lake.table("storefront.customers").sort_by("customer_id").to_pylist()[:200]]

    def emails(user_and_connection):
        user, connection = user_and_connection
        answers = []
        for _ in range(5):
            with connection.cursor() as cursor:
                cursor.execute("SELECT email FROM storefront.customers ORDER BY customer_id LIMIT 200")
                answers.append([value for (value,) in cursor.fetchall()])
        return user, answers

    with ThreadPoolExecutor(len(connections)) as threads:
        for user, answers in threads.map(emails, connections):
            for answer in answers:
                assert (answer == raw) == (user == "privacy-officer"), user
                assert len(answer) == 200


def test_an_error_leaves_the_cursor_and_the_connection_usable(connect):
    connection = connect("analyst-eu")
    with connection.cursor() as cursor:
        for _ in range(3):
            with pytest.raises(ProgrammingError):
                cursor.execute("SELECT nothing FROM storefront.customers")
            cursor.execute("SELECT 1 + 1")
            assert cursor.fetchone() == (2,)


def test_show_and_describe_are_rows_like_any_other(ask):
    shown = ask("guest", "SHOW TABLES").to_pylist()
    assert any("warehouses" in row.values() for row in shown)
    assert not any("orders" in row.values() for row in shown)
    described = ask("guest", "DESCRIBE fulfillment.warehouses").to_pylist()
    assert any("city" in row.values() for row in described)
