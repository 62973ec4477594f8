"""What every catalog on a server or in a file does, whatever it is: it has the tables that it has, by the names that they have."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lakes import SCHEMA, Domain, Outcome, ask, assert_is_clear, connect, rows, write_mesh
from serving import Server, eventually

# By the names of products; their names in the catalog are as odd as names are.
NAMES = {
    "deep": "north.sea.herring", "odd": "north.Eel & plaice, très frais", "upper": "north.HERRING", "missing": "north.cod",
    "nowhere": "south.herring", "turned": "north.turned", "moved": "north.moved",
}  # fmt: skip
WRITTEN = ["deep", "odd", "upper", "turned", "moved"]
# What a catalog said may be this old, and a query takes its time.
STALE = 8


@dataclass
class Catalog:
    domain: Domain
    ask: Callable[[str], Outcome]


def path(product):
    """Where a table is, as PyIceberg is told."""
    return tuple(NAMES[product].split("."))


def part(domain, product):
    """Which rows a table has."""
    first = 100 * list(NAMES).index(product)
    return rows(domain, range(first, first + 100))


@pytest.fixture(scope="module", params=["orchard", "harbor", "mill", "cellar"])
def catalog(request, domains, tmp_path_factory):
    """The catalog of one of the domains, with further tables in it, and a server that reads them."""
    domain = domains[request.param]
    for namespace in [("north",), ("north", "sea")]:
        domain.writer.create_namespace(namespace)
    for product in WRITTEN:
        domain.writer.create_table(path(product), SCHEMA).append(part(domain.name, product))
    server = Server(write_mesh(tmp_path_factory.mktemp("catalog") / "mesh", [domain], list(NAMES), NAMES))
    try:
        with connect(server) as connection:
            sql = f"SELECT key, amount, note FROM {domain.name}.{{}} ORDER BY key"
            yield Catalog(domain, lambda product: ask(connection, sql.format(product)))
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("product", ["deep", "odd", "upper"])
def test_a_table_has_the_name_that_it_has(product, catalog):
    outcome = catalog.ask(product)
    assert outcome.is_exact(part(catalog.domain.name, product)), outcome.error


@pytest.mark.parametrize("product", ["missing", "nowhere"])
def test_a_table_that_is_not_there_is_told_by_name(product, catalog):
    error = catalog.ask(product).error
    assert_is_clear(error, catalog.domain.name)
    assert f"has no table `{NAMES[product]}`" in error


def test_a_table_that_is_made_anew_is_read_anew(catalog):
    name, writer = catalog.domain.name, catalog.domain.writer
    assert catalog.ask("turned").is_exact(part(name, "turned"))
    writer.drop_table(path("turned"))
    assert_is_clear(eventually(lambda: catalog.ask("turned").error, STALE), name)
    writer.create_table(path("turned"), SCHEMA).append(part(name, "deep"))
    assert eventually(lambda: catalog.ask("turned").is_exact(part(name, "deep")), STALE)


def test_a_table_that_is_renamed_is_no_longer_there(catalog):
    name = catalog.domain.name
    assert catalog.ask("moved").is_exact(part(name, "moved"))
    catalog.domain.writer.rename_table(path("moved"), ("north", "gone"))
    assert_is_clear(eventually(lambda: catalog.ask("moved").error, STALE), name)
