"""Tables change while they are served, and what is new is seen soon."""

import pytest

from faults import Proxy
from lakes import Domain, SCHEMA, ask, rows, s3_storage, write_mesh
from serving import eventually

SQL = "SELECT key, amount, note FROM orchard.{} ORDER BY key"
PARTS = 12
# What a catalog said may be this old, and a query takes its time.
STALE = 8


@pytest.fixture
def store(s3):
    store = Proxy(s3.address)
    yield store
    store.close()


@pytest.fixture
def sold(domains, fixture, store, tmp_path, serve, asking):
    """A table of this test alone in many files, and how to ask for it."""
    writer = domains["orchard"].writer
    name = f"returns_{len(writer.list_tables('shop'))}"
    table = writer.create_table(f"shop.{name}", SCHEMA)
    for first in range(PARTS):
        table.append(rows("orchard", range(first, 1000, PARTS)))
    domain = Domain("orchard", {"type": "rest", "uri": fixture.url}, s3_storage(store.url), writer)
    server = serve(write_mesh(tmp_path / "mesh", [domain], [name]))
    connection = asking(server)
    return table, lambda: ask(connection, SQL.format(name))


def test_a_new_snapshot_is_seen_soon(sold):
    table, answer = sold
    assert answer().is_exact(rows("orchard", range(1000)))
    table.append(rows("orchard", range(1000, 1500)))
    assert eventually(lambda: answer().is_exact(rows("orchard", range(1500))), STALE)
