"""Tables change while they are read: what is new is seen soon, and a snapshot that expires under a query ends it by name."""

import threading
import urllib.parse

import boto3
import pytest

from faults import Proxy, Slow
from lakes import Domain, SCHEMA, ask, assert_is_clear, rows, s3_storage, write_mesh
from serving import eventually
from servers import KEY, REGION, SECRET

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


def is_data(path):
    return path.partition("?")[0].endswith(".parquet")


def test_a_new_snapshot_is_seen_soon(sold):
    table, answer = sold
    assert answer().is_exact(rows("orchard", range(1000)))
    table.append(rows("orchard", range(1000, 1500)))
    assert eventually(lambda: answer().is_exact(rows("orchard", range(1500))), STALE)


def test_a_snapshot_that_expires_under_a_query_ends_it_by_name(sold, store, s3):
    table, answer = sold
    old = [urllib.parse.urlparse(task.file.file_path) for task in table.scan().plan_files()]
    outcomes = []
    with store.suffering(Slow(0.4)):
        query = threading.Thread(target=lambda: outcomes.append(answer()))
        query.start()
        assert eventually(lambda: any(is_data(path) for _, path, _ in store.answered))
        table.overwrite(rows("orchard", range(100)))
        client = boto3.client(
            "s3", endpoint_url=s3.url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET
        )
        for file in old:
            client.delete_object(Bucket=file.netloc, Key=file.path.lstrip("/"))
        query.join()
    assert_is_clear(outcomes[0].error, "orchard")
    # The next one reads what is there.
    assert eventually(lambda: answer().is_exact(rows("orchard", range(100))), STALE)
