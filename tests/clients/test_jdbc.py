"""What a Java tool does through JDBC: connects, asks, reads every type, cancels, and is told what went wrong."""

import contextlib
import subprocess
import threading
from decimal import Decimal
from pathlib import Path

import jpype
import pyarrow.flight
import pytest

import jdbc
from conftest import open_connection
from serving import eventually

# What java.sql.Types calls these.
BOOLEAN, INTEGER, BIGINT, DOUBLE, DECIMAL, VARCHAR, VARBINARY = 16, 4, -5, 8, 3, 12, -3
DATE, TIME, TIMESTAMP, TIMESTAMP_WITH_TIMEZONE, ARRAY, JAVA_OBJECT = 91, 92, 93, 2014, 2003, 2000

ENDLESS = """
    SELECT count(*) FROM storefront.customer_events a
    JOIN storefront.customer_events b ON a.event_id <> b.event_id
"""


@pytest.fixture
def open_jdbc(server):
    """Opens connections that are closed after the test."""
    with contextlib.ExitStack() as opened:

        def open_jdbc(user, password=None, **properties):
            if user is not None:
                properties |= {"user": user, "password": user if password is None else password}
            return opened.enter_context(contextlib.closing(jdbc.connect(server, **properties)))

        yield open_jdbc


@pytest.fixture(scope="module")
def java(server):
    """One connection per user, for tests that only ask."""
    connections = {}
    with contextlib.ExitStack() as opened:

        def java(user):
            if user not in connections:
                connection = jdbc.connect(server, user=user, password=user)
                connections[user] = opened.enter_context(contextlib.closing(connection))
            return connections[user]

        yield java


@contextlib.contextmanager
def results_of(connection, sql):
    """The `ResultSet` of a statement. The driver loses memory, and says so, when one stays open."""
    with contextlib.closing(connection.createStatement()) as statement:
        with contextlib.closing(statement.executeQuery(sql)) as results:
            yield results


@contextlib.contextmanager
def cell(connection, expression):
    """The one row of `SELECT expression`, as a `ResultSet` on that row."""
    with results_of(connection, f"SELECT {expression} AS it") as results:
        assert results.next()
        yield results
        assert not results.next()


def ask(connection, sql):
    """The rows of an answer."""
    with results_of(connection, sql) as results:
        return jdbc.rows(results)


def refusal(act):
    """The text of the `SQLException` that something ends with."""
    jdbc.start()
    with pytest.raises(jpype.java.sql.SQLException) as caught:
        act()
    return str(caught.value.getMessage())


def idle(server):
    return eventually(lambda: server.metric("polder_queries_running") == 0)


def test_a_user_connects_with_a_password(open_jdbc):
    connection = open_jdbc("analyst-eu")
    assert connection.isValid(5)
    assert connection.isReadOnly()
    assert connection.getAutoCommit()
    assert ask(connection, "SELECT 1 + 1 AS two") == [{"two": 2}]


def test_a_url_says_it_all(server):
    jdbc.start()
    url = f"jdbc:arrow-flight-sql://{server.address}/?useEncryption=false&user=guest&password=guest"
    connection = jpype.java.sql.DriverManager.getConnection(url)
    try:
        assert ask(connection, "SELECT count(*) AS n FROM mesh.products") == [{"n": 5}]
    finally:
        connection.close()


def test_a_token_connects_and_is_of_its_user(server, open_jdbc):
    with pyarrow.flight.connect(server.uri) as client:
        _, header = client.authenticate_basic_token("guest", "guest")
    connection = open_jdbc(None, token=header.decode().removeprefix("Bearer "))
    assert ask(connection, "SELECT count(*) AS n FROM mesh.products") == [{"n": 5}]


def test_who_is_not_let_in_is_told_so_and_no_more(open_jdbc):
    wrong = refusal(lambda: open_jdbc("analyst-eu", "guest"))
    assert "unknown user or wrong password" in wrong
    assert refusal(lambda: open_jdbc("nobody-of-this-name", "guest")) == wrong
    forged = "nonsense-nonsense-nonsense"
    text = refusal(lambda: open_jdbc(None, token=forged))
    assert forged not in text


def test_whoever_comes_without_a_name_may_ask_nothing(open_jdbc):
    text = refusal(lambda: ask(open_jdbc(None), "SELECT 1"))
    assert "this mesh asks who you are" in text


def test_the_purpose_is_a_property(open_jdbc):
    text = refusal(lambda: ask(open_jdbc("guest", **{"x-polder-purpose": "nothing-declared"}), "SELECT 1"))
    assert "nothing-declared" in text


def test_the_other_properties_of_a_tool_do_no_harm(open_jdbc):
    connection = open_jdbc("guest", timeZone="UTC", threadPoolSize="2", ApplicationName="DBeaver 26.1", connectTimeoutMs="5000")
    assert ask(connection, "SELECT 1 AS one") == [{"one": 1}]


def test_an_answer_is_the_one_that_others_get(java, shared):
    sql = """
        SELECT c.country, count(*) AS orders, sum(o.total_eur) AS spent, max(o.ordered_at) AS last
        FROM storefront.customers c JOIN wholesale.orders o ON o.customer_id = c.customer_id
        GROUP BY c.country ORDER BY c.country
    """
    answered = []
    with results_of(java("analyst-eu"), sql) as results:
        while results.next():
            answered.append(
                (
                    str(results.getString("country")),
                    results.getLong("orders"),
                    Decimal(str(results.getBigDecimal("spent"))),
                    results.getTimestamp("last").toInstant().toEpochMilli(),
                )
            )
    with shared("analyst-eu").cursor() as cursor:
        cursor.execute(sql)
        expected = [(*row[:3], int(row[3].timestamp() * 1000)) for row in cursor.fetchall()]
    assert len(expected) > 1
    assert answered == expected


@pytest.mark.parametrize(
    ("expression", "code", "value"),
    [
        ("true", BOOLEAN, True),
        ("CAST(-7 AS INT)", INTEGER, -7),
        ("9007199254740993", BIGINT, 9007199254740993),
        ("CAST(2.5 AS DOUBLE)", DOUBLE, 2.5),
        ("'tüll'", VARCHAR, "tüll"),
        ("CAST(NULL AS VARCHAR)", VARCHAR, None),
        ("CAST(NULL AS BIGINT)", BIGINT, None),
    ],
)
def test_a_plain_value_arrives_as_it_is(java, expression, code, value):
    with cell(java("guest"), expression) as results:
        assert results.getMetaData().getColumnType(1) == code
        assert jdbc.plain(results.getObject(1)) == value
        assert results.wasNull() == (value is None)


def test_decimals_keep_every_digit(java):
    with cell(java("guest"), "CAST('-1234567890123456789012345678.0123456789' AS DECIMAL(38, 10))") as results:
        described = results.getMetaData()
        assert (described.getColumnType(1), described.getPrecision(1), described.getScale(1)) == (DECIMAL, 38, 10)
        for value in (results.getBigDecimal(1), results.getObject(1), results.getString(1)):
            assert str(value) == "-1234567890123456789012345678.0123456789"


def test_bytes_arrive_as_they_are(java):
    with cell(java("guest"), "X'00ff7f80'") as results:
        assert results.getMetaData().getColumnType(1) == VARBINARY
        assert [byte & 0xFF for byte in results.getBytes(1)] == [0x00, 0xFF, 0x7F, 0x80]


@pytest.mark.parametrize("date", ["2024-02-29", "1970-01-01", "1500-03-01", "9999-12-31"])
def test_a_date_arrives_as_it_is(java, date):
    with cell(java("guest"), f"DATE '{date}'") as results:
        assert results.getMetaData().getColumnType(1) == DATE
        assert str(results.getDate(1)) == str(results.getObject(1)) == str(results.getString(1)) == date


def test_a_time_arrives_as_it_is(java):
    with cell(java("guest"), "TIME '23:59:58'") as results:
        assert results.getMetaData().getColumnType(1) == TIME
        assert str(results.getTime(1)) == str(results.getString(1)) == "23:59:58"


def test_a_timestamp_without_a_zone_is_a_wall_clock(java):
    with cell(java("guest"), "TIMESTAMP '2024-02-29 12:34:56.789123'") as results:
        assert results.getMetaData().getColumnType(1) == TIMESTAMP
        for value in (results.getTimestamp(1), results.getObject(1), results.getString(1)):
            assert str(value) == "2024-02-29 12:34:56.789123"
        assert str(results.getObject(1, jpype.java.time.LocalDateTime.class_)) == "2024-02-29T12:34:56.789123"


@pytest.mark.parametrize("zone", ["UTC", "+00:00"])
def test_a_timestamp_with_a_zone_is_an_instant(java, zone):
    zoned = f"""arrow_cast('2024-02-29T12:34:56.789123Z', 'Timestamp(Microsecond, Some("{zone}"))')"""
    with cell(java("guest"), zoned) as results:
        assert results.getMetaData().getColumnType(1) == TIMESTAMP_WITH_TIMEZONE
        assert str(results.getTimestamp(1).toInstant()) == "2024-02-29T12:34:56.789123Z"
        assert str(results.getString(1)) == "2024-02-29 12:34:56.789123"
        for kind in (jpype.java.time.OffsetDateTime, jpype.java.time.Instant):
            assert str(results.getObject(1, kind.class_)) == "2024-02-29T12:34:56.789123Z"


def test_a_timestamp_elsewhere_is_an_instant_too(java):
    zoned = """arrow_cast('2024-07-01T12:00:00Z', 'Timestamp(Microsecond, Some("Europe/Amsterdam"))')"""
    with cell(java("guest"), zoned) as results:
        assert str(results.getObject(1, jpype.java.time.Instant.class_)) == "2024-07-01T12:00:00Z"
        assert str(results.getObject(1, jpype.java.time.OffsetDateTime.class_)) == "2024-07-01T14:00+02:00"


def test_timestamps_of_products_are_those_that_are_stored(java, lake):
    stored = lake.rows("wholesale.orders", "order_id")
    count = 0
    with results_of(java("privacy-officer"), "SELECT order_id, ordered_at FROM wholesale.orders LIMIT 50") as results:
        while results.next():
            instant = results.getObject(2, jpype.java.time.Instant.class_)
            expected = stored[results.getLong(1)]["ordered_at"]
            assert instant.getEpochSecond() == int(expected.timestamp())
            assert instant.getNano() == expected.microsecond * 1000
            count += 1
    assert count == 50


def test_nested_values_can_be_read(java):
    def texts(items):
        return {str(key): str(value) for key, value in items.items()}

    with cell(java("guest"), "[1, NULL, 3]") as results:
        assert results.getMetaData().getColumnType(1) == ARRAY
        assert [jdbc.plain(item) for item in results.getArray(1).getArray()] == [1, None, 3]
    with cell(java("guest"), "{'a': 1, 'b': 'x'}") as results:
        assert results.getMetaData().getColumnType(1) == JAVA_OBJECT
        assert texts(results.getObject(1)) == {"a": "1", "b": "x"}
    with cell(java("guest"), "MAP {'k': 5}") as results:
        assert texts(results.getObject(1)) == {"k": "5"}
    with cell(java("guest"), "[[1], [2, 3]]") as results:
        assert str(results.getString(1)) == "[[1],[2,3]]"


@pytest.mark.parametrize(
    "product", ["storefront.catalog_items", "fulfillment.warehouses", "marketing.campaigns", "payments.fraud_signals"]
)
def test_a_product_can_be_read_to_its_end(java, lake, product):
    expected = lake.table(product)
    count = 0
    with results_of(java("privacy-officer"), f"SELECT * FROM {product}") as results:
        columns = results.getMetaData().getColumnCount()
        assert columns == expected.num_columns
        while results.next():
            for at in range(1, columns + 1):
                results.getString(at)
            count += 1
    assert count == expected.num_rows > 0


def test_a_masked_column_is_masked(java):
    sql = "SELECT count(*) AS n FROM storefront.customers WHERE email LIKE '%@%'"
    assert ask(java("analyst-eu"), sql) == [{"n": 0}]
    assert ask(java("privacy-officer"), sql)[0]["n"] > 0


def test_connections_of_two_users_do_not_mix(java):
    sql = "SELECT email FROM storefront.customers ORDER BY customer_id LIMIT 5"
    for _ in range(3):
        assert all("@" in row["email"] for row in ask(java("privacy-officer"), sql))
        assert not any("@" in row["email"] for row in ask(java("analyst-eu"), sql))


def test_an_empty_answer_has_columns(java):
    sql = "SELECT customer_id, loyalty_tier FROM storefront.customers WHERE loyalty_tier < 0"
    with results_of(java("analyst-eu"), sql) as results:
        described = results.getMetaData()
        assert [str(described.getColumnLabel(at)) for at in (1, 2)] == ["customer_id", "loyalty_tier"]
        assert [described.getColumnType(at) for at in (1, 2)] == [VARCHAR, INTEGER]
        assert not results.next()


def test_several_statements_are_open_at_once(java):
    sql = "SELECT warehouse_id FROM fulfillment.warehouses ORDER BY warehouse_id"
    forward, backward = [], []
    with results_of(java("guest"), sql) as left, results_of(java("guest"), sql + " DESC") as right:
        while left.next() and right.next():
            forward.append(str(left.getString(1)))
            backward.append(str(right.getString(1)))
    assert len(forward) > 3
    assert forward == sorted(forward) == backward[::-1]


def test_a_statement_runs_again_and_that_closes_what_it_answered_before(java):
    with contextlib.closing(java("guest").createStatement()) as statement:
        first = statement.executeQuery("SELECT 1")
        second = statement.executeQuery("SELECT 2")
        assert first.isClosed()
        assert jdbc.rows(second) == [{"Int64(2)": 2}]


def test_a_statement_can_be_bounded_in_rows(java):
    with contextlib.closing(java("analyst-eu").createStatement()) as statement:
        statement.setMaxRows(7)
        results = statement.executeQuery("SELECT event_id FROM storefront.customer_events")
        assert len(jdbc.rows(results)) == 7


def test_the_escapes_of_jdbc_are_understood(java):
    (row,) = ask(java("guest"), "SELECT {d '2024-02-29'} AS d, {ts '2024-02-29 01:02:03'} AS t")
    assert [str(value) for value in row.values()] == ["2024-02-29", "2024-02-29 01:02:03.0"]


def test_a_large_answer_is_read_to_its_end(java):
    count = 0
    with results_of(java("analyst-eu"), "SELECT customer_id FROM storefront.customer_events LIMIT 100000") as results:
        while results.next():
            count += 1
    assert count == 100_000


def test_a_result_set_may_be_left_half_read(server, java):
    for _ in range(3):
        with results_of(java("analyst-eu"), "SELECT * FROM storefront.customer_events") as results:
            assert results.next()
            assert server.metric("polder_queries_running") == 1
        assert idle(server)
    assert ask(java("analyst-eu"), "SELECT 1 AS one") == [{"one": 1}]


def test_a_statement_that_streams_can_be_cancelled(server, java):
    with contextlib.closing(java("analyst-eu").createStatement()) as statement:
        results = statement.executeQuery("SELECT * FROM storefront.customer_events")
        assert results.next()
        statement.cancel()
        assert idle(server)
        assert "Statement canceled" in refusal(results.next)


def test_a_statement_that_computes_can_be_cancelled(server, open_jdbc):
    connection = open_jdbc("analyst-eu")
    ended = []
    with contextlib.closing(connection.createStatement()) as statement:

        def run():
            try:
                ended.append(jdbc.rows(statement.executeQuery(ENDLESS)))
            except jpype.JException as error:
                ended.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        assert eventually(lambda: server.metric("polder_queries_running") == 1)
        statement.cancel()
        thread.join(60)
        assert "Cancelling" in ended[0]
        assert idle(server)
    assert ask(connection, "SELECT 1 AS one") == [{"one": 1}]


def test_a_statement_has_the_time_that_its_client_gives_it(server, open_jdbc):
    with contextlib.closing(open_jdbc("analyst-eu").createStatement()) as statement:
        statement.setQueryTimeout(1)
        assert "Query timed out after 1 SECONDS" in refusal(lambda: statement.executeQuery(ENDLESS))
    assert idle(server)


@pytest.mark.parametrize(
    ("sql", "kind", "text"),
    [
        ("SELEC 1", "INVALID_ARGUMENT", "the statement cannot be parsed"),
        ("SELECT citty FROM fulfillment.warehouses", "NOT_FOUND", "did you mean `city`?"),
        ("SELECT 1 FROM nowhere.nothing", "NOT_FOUND", "there is no product `nowhere.nothing`"),
        ("SELECT tax_id FROM storefront.customers", "UNAUTHORIZED", "storefront-no-tax-ids-for-analysts"),
        ("DROP TABLE storefront.customers", "INVALID_ARGUMENT", "the mesh is read only"),
        ("INSERT INTO fulfillment.warehouses VALUES ('x')", "INVALID_ARGUMENT", "the mesh is read only"),
        ("SELECT 1 / 0", "INVALID_ARGUMENT", "divide by zero"),
    ],
)
def test_an_error_says_what_is_wrong_and_leaves_the_connection_usable(java, sql, kind, text):
    connection = java("analyst-eu")
    with contextlib.closing(connection.createStatement()) as statement:
        for run in (statement.executeQuery, statement.execute, statement.executeUpdate):
            with pytest.raises(jpype.java.sql.SQLException) as caught:
                run(sql)
            assert text in str(caught.value.getMessage())
            # The driver fills in no SQLState; the code of the call is in the cause.
            assert kind in str(caught.value.getCause())
    assert ask(connection, "SELECT 1 AS one") == [{"one": 1}]


def test_the_example_is_a_program_that_runs(server, ask):
    example = Path(__file__).parents[2] / "examples" / "connect" / "java" / "Connect.java"
    options = ["-Duser.timezone=UTC", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", jdbc.driver()]
    command = ["java", *options, str(example), server.address, "analyst-eu", "analyst-eu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (expected,) = ask("analyst-eu", "SELECT count(DISTINCT country) AS n FROM storefront.customers").to_pylist()
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == min(5, expected["n"])
    spent = [float(line[2]) for line in lines]
    assert spent == sorted(spent, reverse=True) and spent[-1] > 0


def test_a_transaction_changes_nothing(open_jdbc):
    connection = open_jdbc("guest")
    connection.setAutoCommit(False)
    assert ask(connection, "SELECT 1 AS one") == [{"one": 1}]
    connection.commit()
    connection.rollback()
    assert ask(connection, "SELECT 1 AS one") == [{"one": 1}]
