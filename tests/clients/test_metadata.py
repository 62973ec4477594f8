"""What tools ask before they query: objects, schemas, table types, and who answers."""

import re
import subprocess

import pyarrow as pa
import pytest
from adbc_driver_manager import Error

from cast import CUSTOMERS, DISCOVERS, FULFILLMENT, SECRETS, STOREFRONT
from serving import binary

PRODUCTS = ["BASE TABLE"]


def objects(connection, **filters):
    return connection.adbc_get_objects(**filters).read_all().to_pylist()


def tables(catalogs):
    """`domain.product` of every table in an answer, with the table itself."""
    return {
        f"{schema['db_schema_name']}.{table['table_name']}": table
        for catalog in catalogs
        for schema in catalog["catalog_db_schemas"] or []
        for table in schema["db_schema_tables"] or []
    }


@pytest.mark.parametrize("user", DISCOVERS)
def test_each_user_finds_what_may_be_discovered_and_nothing_else(shared, user):
    assert set(tables(objects(shared(user), depth="tables", table_types_filter=PRODUCTS))) == DISCOVERS[user]


def test_the_mesh_is_the_catalog_and_a_domain_is_a_schema(shared):
    (catalog,) = objects(shared("guest"), depth="catalogs")
    assert catalog["catalog_name"] == "packly"
    assert catalog["catalog_db_schemas"] is None
    (catalog,) = objects(shared("guest"), depth="db_schemas")
    schemas = {schema["db_schema_name"]: schema["db_schema_tables"] for schema in catalog["catalog_db_schemas"]}
    assert set(schemas) == {"fulfillment", "storefront", "mesh", "information_schema"}
    assert set(schemas.values()) == {None}
    (catalog,) = objects(shared("analyst-eu"), depth="db_schemas")
    assert len(catalog["catalog_db_schemas"]) == 7


def test_columns_are_those_that_may_be_read_in_the_order_of_the_contract(shared):
    found = tables(objects(shared("analyst-eu"), depth="all", table_types_filter=PRODUCTS))
    assert set(found) == DISCOVERS["analyst-eu"]
    columns = found["storefront.customers"]["table_columns"]
    assert [column["column_name"] for column in columns] == [name for name in CUSTOMERS if name != "tax_id"]
    assert [column["ordinal_position"] for column in columns] == list(range(1, len(CUSTOMERS)))


def test_a_discoverable_product_without_a_readable_column_has_none(shared):
    found = tables(objects(shared("guest"), depth="all", table_types_filter=PRODUCTS))
    assert not found["storefront.customers"]["table_columns"]
    names = [column["column_name"] for column in found["fulfillment.warehouses"]["table_columns"]]
    assert names == ["warehouse_id", "city", "country", "opened_on"]


def test_filters_choose(shared):
    connection = shared("analyst-eu")

    def chosen(**filters):
        return set(tables(objects(connection, depth="tables", **filters)))

    assert chosen(db_schema_filter="storefront") == STOREFRONT
    assert chosen(db_schema_filter="%ful%ment") == FULFILLMENT
    assert chosen(table_name_filter="customer%") == {"storefront.customers", "storefront.customer_events"}
    assert chosen(table_name_filter="customers") == {"storefront.customers"}
    assert chosen(catalog_filter="packly", table_types_filter=["TABLE"]) == DISCOVERS["analyst-eu"]
    assert chosen(catalog_filter="elsewhere") == set()
    assert chosen(table_types_filter=["VIEW"]) == set()
    assert chosen(table_types_filter=["SYSTEM TABLE"]) >= {"mesh.products", "information_schema.tables"}
    found = tables(objects(connection, depth="all", table_name_filter="customers", column_name_filter="%email%"))
    assert [column["column_name"] for column in found["storefront.customers"]["table_columns"]] == ["email"]


@pytest.mark.parametrize(("user", "hidden", "absent"), SECRETS)
def test_a_hidden_product_is_as_absent_as_one_that_does_not_exist(shared, user, hidden, absent):
    answers = []
    for name in (hidden, absent):
        domain, table = name.replace('"', "").removeprefix("packly.").split(".")
        filters = {"db_schema_filter": domain, "table_name_filter": table}
        found = [objects(shared(user), depth=depth, **filters) for depth in ("tables", "all")]
        with pytest.raises(Error) as caught:
            shared(user).adbc_get_table_schema(table, db_schema_filter=domain)
        text = str(caught.value).replace(table, "TABLE").replace(domain, "DOMAIN")
        assert "policy" not in text
        answers.append((found, type(caught.value), caught.value.status_code, text))
    assert answers[0] == answers[1]


def test_a_schema_keeps_masked_columns_with_their_type_and_leaves_denied_ones_out(shared):
    raw = shared("privacy-officer").adbc_get_table_schema("customers", db_schema_filter="storefront")
    masked = shared("analyst-eu").adbc_get_table_schema("customers", db_schema_filter="storefront")
    assert raw.names == CUSTOMERS
    assert masked.names == [name for name in CUSTOMERS if name != "tax_id"]
    for field in masked:
        assert field.type == raw.field(field.name).type, field.name
    for name in ("email", "full_name", "phone"):
        assert masked.field(name).nullable, name
    assert raw.field("email").type == pa.string()
    named = shared("analyst-eu").adbc_get_table_schema(
        "customers", catalog_filter="packly", db_schema_filter="storefront"
    )
    assert named == masked


def test_the_schema_of_an_answer_is_the_schema_of_its_table(shared):
    connection = shared("analyst-eu")
    for name in sorted(STOREFRONT | FULFILLMENT):
        domain, table = name.split(".")
        told = connection.adbc_get_table_schema(table, db_schema_filter=domain)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {name} LIMIT 1")
            sent = cursor.fetch_arrow_table().schema
        assert (sent.names, sent.types) == (told.names, told.types), name


def test_table_types(shared):
    assert sorted(shared("guest").adbc_get_table_types()) == ["BASE TABLE", "SYSTEM TABLE"]


def test_the_server_says_who_it_is(shared):
    version = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    info = shared("guest").adbc_get_info()
    assert info["vendor_name"] == "Polder"
    assert info["vendor_version"] == version
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", version)


@pytest.mark.parametrize("user", DISCOVERS)
def test_sql_lists_the_same_products(ask, user):
    listed = ask(user, "SELECT domain, product FROM mesh.products").to_pylist()
    assert {f"{row['domain']}.{row['product']}" for row in listed} == DISCOVERS[user]
    listed = ask(
        user, "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
    ).to_pylist()
    assert {f"{row['table_schema']}.{row['table_name']}" for row in listed} == DISCOVERS[user]


def test_grants_tell_the_caller_why(ask):
    sql = "SELECT effect, mask, policy, owner FROM mesh.grants WHERE product = 'customers' AND \"column\" = '{}'"
    (email,) = ask("analyst-eu", sql.format("email")).to_pylist()
    assert (email["effect"], email["mask"], email["policy"]) == (
        "masked",
        "sha-256-global",
        "storefront-analysts-see-emails-hashed, standards:pii",
    )
    (tax_id,) = ask("analyst-eu", sql.format("tax_id")).to_pylist()
    assert (tax_id["effect"], tax_id["policy"]) == ("denied", "storefront-no-tax-ids-for-analysts")
    assert tax_id["owner"] == "storefront-data"
