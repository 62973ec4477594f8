"""What each user sees: masks, denials that say whom to ask, and products that do not exist for some."""

import pyarrow.compute as pc
import pytest
from adbc_driver_manager import AdbcStatusCode, ProgrammingError

from cast import CUSTOMERS, SECRETS
from oracle import assert_same_rows, sha256

ALL = "SELECT * FROM storefront.customers"


def by_id(table):
    return {row["customer_id"]: row for row in table.to_pylist()}


def test_the_privacy_office_sees_every_row_raw(ask, lake):
    answer = ask("privacy-officer", ALL)
    assert answer.column_names == CUSTOMERS
    assert_same_rows(answer, lake.table("storefront.customers"), "customer_id")


def test_an_analyst_sees_people_masked_and_no_tax_numbers(ask, lake):
    raw = lake.rows("storefront.customers", "customer_id")
    answer = ask("analyst-eu", ALL)
    assert answer.column_names == [name for name in CUSTOMERS if name != "tax_id"]
    rows = by_id(answer)
    assert rows.keys() == raw.keys()
    for key, row in rows.items():
        assert len(row["email"]) == 64
        assert row["email"] == sha256(raw[key]["email"])
        assert row["full_name"] is None
        assert row["phone"] == "hidden"
    open_columns = answer.drop_columns(["email", "full_name", "phone"])
    assert_same_rows(open_columns, lake.table("storefront.customers"), "customer_id")


def test_even_the_owner_sees_people_hashed(ask, lake):
    raw = lake.rows("storefront.customers", "customer_id")
    answer = ask("storefront-owner", ALL)
    assert answer.column_names == CUSTOMERS
    for key, row in by_id(answer).items():
        for column in ("email", "full_name", "phone", "tax_id"):
            assert row[column] == sha256(raw[key][column]), column
        assert row["city"] == raw[key]["city"]
    assert any(row["phone"] is None for row in raw.values()), "the demo has customers without a phone"


def test_a_mask_has_left_no_raw_byte_in_what_was_sent(ask, lake):
    raw = lake.rows("storefront.customers", "customer_id")
    answer = ask("analyst-eu", "SELECT email, full_name, phone FROM storefront.customers ORDER BY customer_id LIMIT 500")
    sent = b"".join(
        buffer.to_pybytes()
        for column in answer.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None
    )
    for key in sorted(raw)[:500]:
        for column in ("email", "full_name", "phone"):
            value = raw[key][column]
            assert value is None or value.encode() not in sent


def test_masked_values_still_join_group_and_count(ask, lake):
    customers = lake.table("storefront.customers")
    accounts = lake.table("wholesale.accounts").select(["account_id", "contact_email"])
    joined = accounts.join(
        customers.select(["email"]), keys="contact_email", right_keys="email", join_type="inner"
    ).num_rows
    distinct = pc.count_distinct(customers["email"]).as_py()
    sql = "SELECT count(*) FROM storefront.customers c JOIN wholesale.accounts a ON a.contact_email = c.email"
    for user in ("analyst-eu", "analyst-us", "privacy-officer"):
        assert ask(user, sql)[0].to_pylist() == [joined], user
        assert ask(user, "SELECT count(DISTINCT email) FROM storefront.customers")[0].to_pylist() == [distinct], user


def test_one_customer_has_one_id_in_every_domain(ask, lake):
    sql = "SELECT count(*) FROM storefront.customers c JOIN {} o ON o.customer_id = c.customer_id"
    known = set(lake.table("storefront.customers")["customer_id"].to_pylist())
    for product in ("wholesale.orders", "fulfillment.shipment_status", "payments.transactions"):
        expected = sum(key in known for key in lake.table(product)["customer_id"].to_pylist())
        assert expected > 0
        assert ask("analyst-eu", sql.format(product))[0].to_pylist() == [expected], product


def test_predicates_see_what_the_user_sees(ask, lake):
    emails = lake.table("storefront.customers")["email"].to_pylist()
    email = emails[17]
    for condition, expected in [
        (f"email = '{email}'", 0),
        (f"email = '{sha256(email)}'", emails.count(email)),
        (f"email LIKE '%{email[3:]}%'", 0),
        ("full_name IS NOT NULL", 0),
        ("phone <> 'hidden'", 0),
    ]:
        counted = ask("analyst-eu", f"SELECT count(*) FROM storefront.customers WHERE {condition}")
        assert counted[0].to_pylist() == [expected], condition


@pytest.mark.parametrize(
    ("user", "product", "column", "words"),
    [
        (
            "analyst-eu",
            "storefront.customers",
            "tax_id",
            ["storefront-no-tax-ids-for-analysts", "storefront/policies/access.cedar:", "storefront-data@packly.example"],
        ),
        (
            "analyst-us",
            "wholesale.accounts",
            "credit_limit_eur",
            ["wholesale-credit-limits-stay-inside", "wholesale/policies/access.cedar:", "wholesale-data@packly.example"],
        ),
        ("analyst-us", "marketing.paid_acquisition", "cost_eur", ["no policy permits it", "#marketing-data"]),
        ("analyst-eu", "payments.transactions", "risk_score", ["no policy permits it", "#payments-data"]),
        ("guest", "fulfillment.warehouses", "capacity_pallets", ["no policy permits it", "fulfillment-data"]),
    ],
)
def test_a_denied_column_names_the_policy_the_owner_and_how_to_ask(refused, user, product, column, words):
    domain = product.split(".")[0]
    for sql in [
        f"SELECT {column} FROM {product}",
        f"SELECT count(*) FROM {product} WHERE {column} IS NULL",
        f"SELECT count(*) FROM {product} GROUP BY {column}",
        f"SELECT p.{column} FROM {product} p ORDER BY 1 LIMIT 1",
        f"EXPLAIN SELECT max({column}) FROM {product}",
        f"SELECT 1 WHERE EXISTS (SELECT 1 FROM {product} WHERE {column} IS NOT NULL)",
    ]:
        error = refused(user, sql)
        assert isinstance(error, ProgrammingError)
        assert error.status_code == AdbcStatusCode.UNAUTHORIZED, sql
        for word in [f"column `{column}` of `{product}` is denied", f"ask the owner, {domain}-data", *words]:
            assert word in str(error), sql


def test_a_product_that_may_be_found_and_not_read_says_whom_to_ask(refused):
    error = refused("guest", ALL)
    assert error.status_code == AdbcStatusCode.UNAUTHORIZED
    assert "no column of `storefront.customers` is granted to you" in str(error)
    assert "storefront-data@packly.example" in str(error)


def test_attributes_decide(ask, lake):
    costs = lake.table("marketing.paid_acquisition")["cost_eur"]
    answer = ask("analyst-eu", "SELECT sum(cost_eur) FROM marketing.paid_acquisition")
    assert answer[0].to_pylist() == [pc.sum(costs).as_py()]
    scores = lake.table("payments.transactions")["risk_score"]
    answer = ask("analyst-us", "SELECT min(risk_score), max(risk_score), count(risk_score) FROM payments.transactions")
    assert answer.to_pylist()[0].values() and [column.to_pylist()[0] for column in answer.columns] == [
        pc.min(scores).as_py(),
        pc.max(scores).as_py(),
        pc.count(scores).as_py(),
    ]


def test_an_old_major_keeps_its_names(ask, lake):
    answer = ask("analyst-eu", 'SELECT * FROM wholesale."orders@1"')
    assert answer.column_names == ["order_id", "customer_id", "order_total", "ordered_at"]
    expected = lake.table("wholesale.orders").rename_columns({"total_eur": "order_total"})
    assert_same_rows(answer, expected, "order_id")


@pytest.mark.parametrize(("user", "hidden", "absent"), SECRETS)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM {}",
        "SELECT count(*) FROM {}",
        "SELECT customer_id FROM {} WHERE customer_id = 'C00000042'",
        "SELECT nothing_of_this_name FROM {}",
        "EXPLAIN SELECT * FROM {}",
        "DESCRIBE {}",
        "SHOW COLUMNS FROM {}",
        "SELECT 1 FROM fulfillment.warehouses WHERE warehouse_id IN (SELECT customer_id FROM {})",
        "WITH t AS (SELECT * FROM {}) SELECT count(*) FROM t",
    ],
)
def test_a_hidden_product_gives_the_bytes_of_one_that_does_not_exist(refused, user, hidden, absent, sql):
    answers = []
    for name in (hidden, absent):
        error = refused(user, sql.format(name))
        # Both the name as it was written and as it is printed, which may be without its quotes.
        text = str(error).replace(name, "NAME").replace(name.replace('"', ""), "NAME")
        answers.append((type(error), error.status_code, error.vendor_code, error.sqlstate, text))
    assert answers[0] == answers[1]
    assert answers[0][1] == AdbcStatusCode.NOT_FOUND
    assert "there is no product" in answers[0][4]
