"""What a JDBC tool such as DBeaver asks before it queries: the whole of `java.sql.DatabaseMetaData`."""

import re
from pathlib import Path

import jpype
import pytest

import jdbc
from cast import CUSTOMERS, DISCOVERS, SECRETS, STOREFRONT

CONTRACT = Path(__file__).parents[2] / "examples/packly/storefront/products/customers.odcs.yaml"

# What java.sql.Types and DatabaseMetaData call these.
VARCHAR, INTEGER, BOOLEAN, DATE, ARRAY, DECIMAL, TIMESTAMP_WITH_TIMEZONE = 12, 4, 16, 91, 2003, 3, 2014
NO_NULLS, NULLABLE = 0, 1


@pytest.fixture(scope="module")
def metadata(server):
    """The metadata of a connection per user."""
    connections = {}

    def metadata(user):
        if user not in connections:
            connections[user] = jdbc.connect(server, user=user, password=user)
        return connections[user].getMetaData()

    yield metadata
    for connection in connections.values():
        connection.close()


def strings(*texts):
    return jpype.JArray(jpype.java.lang.String)(texts)


def names(results):
    return {f"{row['TABLE_SCHEM']}.{row['TABLE_NAME']}" for row in jdbc.rows(results)}


def test_every_question_without_an_argument_has_an_answer(metadata):
    asked = metadata("guest")
    getters = [
        method
        for method in jpype.java.sql.DatabaseMetaData.class_.getMethods()
        if method.getParameterCount() == 0 and not jpype.java.sql.Wrapper.class_.equals(method.getDeclaringClass())
    ]
    assert len(getters) > 120
    failed = {}
    for getter in getters:
        try:
            answer = getter.invoke(asked)
            if isinstance(answer, jpype.java.sql.ResultSet):
                answer.close()
        except jpype.JException as error:
            failed[str(getter.getName())] = str(error.getCause() or error)
    assert failed == {}


def test_the_server_says_what_it_can_do(metadata):
    asked = metadata("guest")
    assert str(asked.getDatabaseProductName()) == "Polder"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", str(asked.getDatabaseProductVersion()))
    assert [str(term()) for term in (asked.getCatalogTerm, asked.getSchemaTerm)] == ["mesh", "domain"]
    assert str(asked.getIdentifierQuoteString()) == '"'
    assert str(asked.getSearchStringEscape()) == "\\"
    assert str(asked.getUserName()) == "guest"
    assert asked.isReadOnly()
    for supported in [
        "GroupBy",
        "GroupByUnrelated",
        "OuterJoins",
        "FullOuterJoins",
        "LimitedOuterJoins",
        "Union",
        "UnionAll",
        "SubqueriesInExists",
        "SubqueriesInIns",
        "SubqueriesInComparisons",
        "CorrelatedSubqueries",
        "ColumnAliasing",
        "ExpressionsInOrderBy",
        "OrderByUnrelated",
        "MinimumSQLGrammar",
        "SchemasInDataManipulation",
        "CatalogsInDataManipulation",
    ]:
        assert getattr(asked, f"supports{supported}")(), supported
    for refused in [
        "Transactions",
        "Savepoints",
        "BatchUpdates",
        "StoredProcedures",
        "SelectForUpdate",
        "NamedParameters",
        "PositionedDelete",
        "PositionedUpdate",
        "SubqueriesInQuantifieds",
        "Convert",
        "ANSI92FullSQL",
    ]:
        assert not getattr(asked, f"supports{refused}")(), refused
    connection = jpype.java.sql.Connection
    assert asked.getDefaultTransactionIsolation() == connection.TRANSACTION_NONE
    assert asked.supportsTransactionIsolationLevel(connection.TRANSACTION_NONE)
    assert not asked.supportsTransactionIsolationLevel(connection.TRANSACTION_SERIALIZABLE)
    results = jpype.java.sql.ResultSet
    assert asked.supportsResultSetType(results.TYPE_FORWARD_ONLY)
    assert not asked.supportsConvert(VARCHAR, INTEGER)


def test_the_mesh_is_the_catalog_and_a_domain_is_a_schema(metadata):
    asked = metadata("guest")
    assert jdbc.rows(asked.getCatalogs()) == [{"TABLE_CAT": "packly"}]
    schemas = jdbc.rows(asked.getSchemas())
    assert {row["TABLE_CATALOG"] for row in schemas} == {"packly"}
    assert [row["TABLE_SCHEM"] for row in schemas] == ["fulfillment", "information_schema", "mesh", "storefront"]
    assert [row["TABLE_SCHEM"] for row in jdbc.rows(asked.getSchemas("packly", "store%"))] == ["storefront"]
    assert jdbc.rows(asked.getSchemas("elsewhere", None)) == []
    assert [row["TABLE_TYPE"] for row in jdbc.rows(asked.getTableTypes())] == ["BASE TABLE", "SYSTEM TABLE"]


@pytest.mark.parametrize("user", DISCOVERS)
def test_each_user_finds_what_may_be_discovered_and_nothing_else(metadata, user):
    asked = metadata(user)
    assert names(asked.getTables(None, None, "%", strings("TABLE"))) == DISCOVERS[user]
    assert names(asked.getTables("packly", None, None, strings("BASE TABLE", "VIEW"))) == DISCOVERS[user]
    assert DISCOVERS[user] < names(asked.getTables(None, None, None, None))


def test_tables_are_chosen_by_patterns(metadata):
    asked = metadata("analyst-eu")
    assert names(asked.getTables("packly", "storefront", "%", None)) == STOREFRONT
    assert names(asked.getTables(None, "%", "customer\\_events", None)) == {"storefront.customer_events"}
    assert names(asked.getTables(None, None, "customer_", None)) == {"storefront.customers"}
    assert names(asked.getTables("elsewhere", None, "%", None)) == set()
    assert names(asked.getTables(None, None, "%", strings("VIEW"))) == set()
    assert "mesh.products" in names(asked.getTables(None, None, "%", strings("SYSTEM TABLE")))


def test_columns_are_those_that_may_be_read_with_their_types(metadata):
    asked = metadata("analyst-eu")
    columns = jdbc.rows(asked.getColumns("packly", "storefront", "customers", "%"))
    readable = [name for name in CUSTOMERS if name != "tax_id"]
    assert [column["COLUMN_NAME"] for column in columns] == readable
    assert [column["ORDINAL_POSITION"] for column in columns] == list(range(1, len(readable) + 1))
    types = {column["COLUMN_NAME"]: (column["DATA_TYPE"], column["NULLABLE"]) for column in columns}
    assert types["customer_id"] == (VARCHAR, NO_NULLS)
    # Masked, so it may be nothing.
    assert types["email"] == (VARCHAR, NULLABLE)
    assert types["loyalty_tier"] == (INTEGER, NO_NULLS)
    assert types["marketing_consent"] == (BOOLEAN, NO_NULLS)
    assert types["signed_up_on"] == (DATE, NO_NULLS)
    assert types["interests"] == (ARRAY, NO_NULLS)
    meant = {column["COLUMN_NAME"]: column["REMARKS"] for column in columns}
    assert meant["email"] and meant["email"] in CONTRACT.read_text()
    (total,) = jdbc.rows(asked.getColumns(None, "wholesale", "orders", "total_eur"))
    assert (total["DATA_TYPE"], total["COLUMN_SIZE"], total["DECIMAL_DIGITS"]) == (DECIMAL, 12, 2)
    (ordered,) = jdbc.rows(asked.getColumns(None, "wholesale", "orders", "ordered_at"))
    assert ordered["DATA_TYPE"] == TIMESTAMP_WITH_TIMEZONE
    assert {row["TABLE_SCHEM"] for row in jdbc.rows(asked.getColumns(None, None, "%", "%"))} >= {"storefront", "mesh"}


@pytest.mark.parametrize(("user", "hidden", "absent"), SECRETS)
def test_a_hidden_product_is_as_absent_as_one_that_does_not_exist(metadata, user, hidden, absent):
    for name in (hidden, absent):
        domain, table = name.replace('"', "").removeprefix("packly.").split(".")
        assert jdbc.rows(metadata(user).getTables(None, domain, table, None)) == []
        assert jdbc.rows(metadata(user).getColumns(None, domain, table, "%")) == []


def test_what_a_mesh_has_none_of_is_empty_and_not_an_error(metadata):
    asked = metadata("analyst-eu")
    of_customers = ("packly", "storefront", "customers")
    for results in [
        asked.getIndexInfo(*of_customers, False, False),
        asked.getBestRowIdentifier(*of_customers, 0, True),
        asked.getVersionColumns(*of_customers),
        asked.getTablePrivileges(*of_customers),
        asked.getColumnPrivileges(*of_customers, "%"),
        asked.getProcedures(None, None, "%"),
        asked.getProcedureColumns(None, None, "%", "%"),
        asked.getFunctions(None, None, "%"),
        asked.getFunctionColumns(None, None, "%", "%"),
        asked.getUDTs(None, None, "%", None),
        asked.getSuperTypes(None, None, "%"),
        asked.getSuperTables(None, None, "%"),
        asked.getAttributes(None, None, "%", "%"),
        asked.getPseudoColumns(None, None, "%", "%"),
    ]:
        assert jdbc.rows(results) == []


def test_keys_can_be_asked_for(metadata):
    asked = metadata("privacy-officer")
    for results in [
        asked.getPrimaryKeys("packly", "storefront", "customers"),
        asked.getImportedKeys("packly", "wholesale", "orders"),
        asked.getExportedKeys("packly", "storefront", "customers"),
        asked.getCrossReference("packly", "storefront", "customers", "packly", "wholesale", "orders"),
    ]:
        for row in jdbc.rows(results):
            assert row["KEY_SEQ"] >= 1
