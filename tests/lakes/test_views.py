"""Views of REST catalogs are products: whoever asks reads through them what they may read, in the sense of their makers."""

import json
import subprocess
import time
from dataclasses import dataclass

import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi

from lakes import LEFT_OUT, USER, ask, assert_is_clear, contract, rows, write, write_mesh
from serving import Server, binary, eventually

# Sees the first hundred keys, and no notes.
READER = "reader"
STALE = 8
LONG, TEXT = "long", "string"
# Each with its dialect, its text, and the columns of its contract.
VIEWS = {
    "big": ("spark", "SELECT key, Amount FROM sales WHERE `key` >= 50 -- not the small ones", {"key": LONG, "amount": LONG}),
    "named": ("trino", 'SELECT s."KEY", s.amount / 2 FROM shop.sales s', {"k": LONG, "half": LONG}),
    "counted": ("spark", "SELECT count(*) AS n, sum(amount) AS total FROM shop.big", {"n": LONG, "total": LONG}),
    "noted": ("spark", "SELECT key, note || '!' AS note FROM sales", {"key": LONG, "note": TEXT}),
    "all_of_it": ("trino", "SELECT * FROM sales", {"key": LONG, "amount": LONG}),
    "stray": ("spark", "SELECT key FROM shop.other", {"key": LONG}),
    "foreign_one": ("snowflake", "SELECT key FROM sales", {"key": LONG}),
    "divided": ("spark", "SELECT key / 2 AS key FROM sales", {"key": LONG}),
    "mixed": ("spark", "SELECT key FROM sales WHERE note < 5", {"key": LONG}),
    # Anybody could try values with it.
    "hashed": ("polder", "SELECT hmac(key, 'bulb') AS key FROM sales", {"key": LONG}),
    "changing": ("spark", "SELECT key FROM sales WHERE key = 1", {"key": LONG}),
    "dropped": ("spark", "SELECT key FROM sales", {"key": LONG}),
}  # fmt: skip
POLICIES = """
@id("seen") permit (principal, action == Action::"discover", resource in Domain::"{0}");
@id("raw") permit (principal, action == Action::"read", resource in Domain::"{0}") unless
  {{ principal in Group::"readers" && resource in Column::"{0}.sales.note" }};
@id("some") @filter("key < 100")
permit (principal in Group::"readers", action == Action::"read_rows", resource == Product::"{0}.sales");
@id("all") permit (principal, action == Action::"read_rows", resource == Product::"{0}.sales") unless {{ principal in Group::"readers" }};
"""


def version(dialect, sql, number=1):
    return {
        "version-id": number, "timestamp-ms": int(time.time() * 1000), "schema-id": 0, "summary": {},
        "default-namespace": ["shop"], "representations": [{"type": "sql", "sql": sql, "dialect": dialect}],
    }  # fmt: skip


def schema(columns):
    fields = [{"id": at, "name": name, "required": False, "type": kind} for at, (name, kind) in enumerate(columns.items(), 1)]
    return {"type": "struct", "schema-id": 0, "fields": fields}


@dataclass
class Shop:
    """A domain with views in its catalog, and a server over it."""

    domain: object
    server: Server
    mesh: object

    def send(self, method, path, body=None):
        writer = self.domain.writer
        answer = writer._session.request(method, writer.url(path), json=body)
        assert answer.ok, answer.text

    def ask(self, product, columns, user=USER, order="1"):
        with dbapi.connect(self.server.uri, db_kwargs={"username": user, "password": USER}, autocommit=True) as connection:
            return ask(connection, f"SELECT {columns} FROM {self.domain.name}.{product} ORDER BY {order}")

    def column(self, product, column, user=USER):
        outcome = self.ask(product, column, user)
        assert outcome.error is None, outcome.error
        return outcome.table[0].to_pylist()

    def keys(self, wanted):
        return [key for key in range(2000) if key % LEFT_OUT[self.domain.name] and wanted(key)]


@pytest.fixture(scope="module", params=["orchard", "harbor"])
def shop(request, domains, tmp_path_factory):
    domain = domains[request.param]
    mesh = write_mesh(tmp_path_factory.mktemp("views") / "mesh", [domain])
    settings = json.loads((mesh / "mesh.yaml").read_text())
    [guest] = settings["auth"]["users"]
    settings["auth"]["users"].append(guest | {"name": READER, "groups": ["readers"]})
    write(mesh / "secrets" / "bulb", "tulip")
    settings |= {"groups": ["readers"], "keys": {"bulb": "${file:secrets/bulb}"}, "standards": {"keyed_hashes": ["bulb"]}}
    write(mesh / "mesh.yaml", settings)
    write(mesh / domain.name / "policies" / "access.cedar", POLICIES.format(domain.name))
    shop = Shop(domain, None, mesh)
    for name, (dialect, sql, columns) in VIEWS.items():
        body = {"name": name, "schema": schema(columns), "view-version": version(dialect, sql), "properties": {}}
        shop.send("POST", "namespaces/shop/views", body)
        declared = contract(domain.name, name, f"shop.{name}")
        [table] = declared["schema"]
        table |= {"physicalType": "view", "properties": [{"name": n, "physicalType": kind} for n, kind in columns.items()]}
        write(mesh / domain.name / "products" / f"{name}.odcs.yaml", declared)
    table = contract(domain.name, "table", "shop.divided")
    write(mesh / domain.name / "products" / "table.odcs.yaml", table)
    shop.server = Server(mesh)
    yield shop
    assert shop.server.stop() == 0


def test_a_view_is_what_its_text_makes_of_products(shop):
    name = shop.domain.name
    sales = rows(name).to_pydict()
    amounts = dict(zip(sales["key"], sales["amount"]))
    big = shop.keys(lambda key: key >= 50)
    outcome = shop.ask("big", "key, amount")
    assert outcome.is_exact(pa.table({"key": big, "amount": [amounts[key] for key in big]})), outcome.error
    assert shop.ask("counted", "*").table.to_pylist() == [{"n": len(big), "total": sum(amounts[key] for key in big)}]
    assert shop.column("noted", "note") == sorted(f"{note}!" for note in sales["note"])
    assert shop.column("all_of_it", "key") == sales["key"]


def test_its_columns_have_the_names_that_it_gives_them(shop):
    sales = rows(shop.domain.name).to_pydict()
    halves = pa.table({"k": sales["key"], "half": [amount // 2 for amount in sales["amount"]]})
    assert shop.ask("named", "k, half").is_exact(halves)


def test_nobody_sees_through_a_view_what_they_may_not_see(shop):
    name = shop.domain.name
    few = shop.keys(lambda key: 50 <= key < 100)
    assert shop.column("big", "key", READER) == few
    assert shop.column("counted", "n", READER) == [len(few)]
    assert shop.column("all_of_it", "key", READER) == shop.keys(lambda key: key < 100)
    error = shop.ask("noted", "key", READER).error
    assert_is_clear(error, name)
    assert f"column `note` of `{name}.noted` is made of what is denied to you" in error
    assert "sales" not in error


@pytest.mark.parametrize("product", ["foreign_one", "divided", "mixed", "hashed"])
def test_what_cannot_be_read_in_its_makers_sense_is_not_served(product, shop):
    for user in (USER, READER):
        error = shop.ask(product, "*", user).error
        assert_is_clear(error, shop.domain.name)
        assert "note" not in error and "snowflake" not in error, "what the view says is told"
        if user == USER:
            assert "its view is none that is read here" in error and "polder check" in error


def test_a_table_that_is_no_product_is_nothing(shop):
    error = shop.ask("stray", "*").error
    assert_is_clear(error, shop.domain.name)
    assert "not all there for you" in error and "other" not in error


def test_a_contract_says_whether_it_has_a_table_or_a_view(shop):
    error = shop.ask("table", "*").error
    assert_is_clear(error, shop.domain.name)
    assert "`shop.divided` is a view" in error and "physicalType: view" in error


def test_a_view_that_is_changed_is_read_anew_and_one_that_is_dropped_is_gone(shop):
    name = shop.domain.name
    assert shop.column("changing", "key") == [1]
    added = {"action": "add-view-version", "view-version": version("spark", "SELECT key FROM sales WHERE key = 2", 2)}
    current = {"action": "set-current-view-version", "view-version-id": -1}
    shop.send("POST", "namespaces/shop/views/changing", {"requirements": [], "updates": [added, current]})
    assert eventually(lambda: shop.column("changing", "key") == [2], STALE)
    assert len(shop.column("dropped", "key")) > 1
    shop.send("DELETE", "namespaces/shop/views/dropped")
    error = eventually(lambda: shop.ask("dropped", "key").error, STALE)
    assert_is_clear(error, name)
    assert "there is no view `shop.dropped`" in error


def test_what_is_made_of_what_is_told(shop):
    name = shop.domain.name
    with dbapi.connect(shop.server.uri, db_kwargs={"username": USER, "password": USER}, autocommit=True) as connection:
        # What a view says is told of those that somebody has read: nobody waits for a catalog here.
        assert ask(connection, f"SELECT n FROM {name}.counted").error is None
        lineage = f"SELECT \"column\", from_product, from_column FROM mesh.lineage WHERE product = 'counted' AND domain = '{name}'"
        lineage = [tuple(row.values()) for row in ask(connection, lineage).table.to_pylist()]
        assert ("total", "sales", "amount") in lineage
        explained = ask(connection, f"EXPLAIN POLICY SELECT key FROM {name}.big").table.to_pylist()
        told = " ".join(str(value) for row in explained for value in row.values())
        assert f"{name}.big" in told and f"{name}.sales" in told, told


def test_check_says_what_is_wrong_with_views_and_offline_asks_nobody(shop):
    def findings(*options):
        done = subprocess.run([binary(), "check", shop.mesh, "--format", "json", *options], capture_output=True, check=False)
        found = [f for f in json.loads(done.stdout) if f["code"].startswith(("derived", "live"))]
        return {(f["product"], f["code"]): f["message"] for f in found}

    name = shop.domain.name
    found = findings()
    for product, why in {
        "stray": "it reads `shop.other`, which is no product of its domain",
        "foreign_one": "the view is written in the SQL of `snowflake`",
        "divided": "the view uses `/`, which may mean something else here",
        "mixed": "the view reads texts",
    }.items():
        assert why in found[(f"{name}.{product}@1", "derived/query")]
    assert not any(product.split("@")[0] == f"{name}.{view}" for product, _ in found for view in ("big", "named", "counted", "noted"))
    assert not findings("--offline")
