"""SQLAlchemy by `flightsql-dbapi`, as Superset connects. Its dialect wants SQLAlchemy 1.4, so it runs in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cast import CUSTOMERS, STOREFRONT

PACKAGES = Path(sys.prefix) / "sqlalchemy-1.4"


@pytest.fixture
def alchemy(server):
    """What a script prints as JSON; in it `engine` is connected, as a user, and `sqlalchemy` is imported."""
    assert PACKAGES.is_dir(), f"there is no {PACKAGES}: tests/run makes it"

    def alchemy(user, script):
        begin = f"""
import json, sqlalchemy
import flightsql.sqlalchemy  # which registers the dialect
engine = sqlalchemy.create_engine("datafusion+flightsql://{user}:{user}@{server.address}?insecure=True")
"""
        done = subprocess.run(
            [sys.executable, "-c", begin + script],
            env=os.environ | {"PYTHONPATH": str(PACKAGES)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return alchemy


def test_a_query_by_text_and_one_by_expressions_answer_alike(alchemy):
    script = """
warehouses = sqlalchemy.Table("warehouses", sqlalchemy.MetaData(), autoload_with=engine, schema="fulfillment")
asked = sqlalchemy.select(warehouses.c.city).where(warehouses.c.country == "NL").order_by(warehouses.c.city)
text = sqlalchemy.text("SELECT city FROM fulfillment.warehouses WHERE country = 'NL' ORDER BY city")
with engine.connect() as connection:
    print(json.dumps([[row[0] for row in connection.execute(statement)] for statement in (asked, text)]))
"""
    built, written = alchemy("guest", script)
    assert built == written == ["Rotterdam"]


def test_the_inspector_finds_what_may_be_discovered(alchemy):
    script = """
inspector = sqlalchemy.inspect(engine)
tables = inspector.get_table_names(schema="storefront")
columns = [column["name"] for column in inspector.get_columns("customers", schema="storefront")]
print(json.dumps([inspector.get_schema_names(), tables, columns]))
"""
    schemas, tables, columns = alchemy("analyst-eu", script)
    assert {"storefront", "wholesale", "mesh"} <= set(schemas)
    assert {f"storefront.{table}" for table in tables} == STOREFRONT
    assert columns == [name for name in CUSTOMERS if name != "tax_id"]
    assert "wholesale" not in alchemy("guest", script)[0]


def test_an_error_says_what_is_wrong(alchemy):
    script = """
try:
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT tax_id FROM storefront.customers"))
except Exception as error:
    print(json.dumps(str(error)))
"""
    assert "storefront-no-tax-ids-for-analysts" in alchemy("analyst-eu", script)
