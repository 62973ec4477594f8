"""What happens to the foreign processes themselves, with nothing in between: they stop for a while, or are killed."""

import signal

import servers
from lakes import Domain, ask, assert_is_clear, joined, rows, s3_files, s3_storage, write_mesh
from pyiceberg.catalog.sql import SqlCatalog
from serving import eventually


def test_a_catalog_that_stands_still_holds_up_nobody_else(server, domains, fixture, asking):
    connection = asking(server)
    sick = domains["orchard"]
    others, expected = joined([domain for domain in domains.values() if domain is not sick])
    with fixture.process.frozen():
        error = eventually(lambda: ask(connection, sick.sql).error, 60)
        assert_is_clear(error, "orchard")
        assert ask(connection, others).is_exact(expected)
    assert eventually(lambda: ask(connection, sick.sql).is_exact(rows("orchard")))


def test_a_store_may_be_killed_and_come_back(tmp_path, serve, asking):
    directory = tmp_path / "buckets"
    store = servers.s3s(directory, tmp_path)
    try:
        servers.bucket(store.url, "mill")
        uri = f"{tmp_path}/mill.db"
        writer = SqlCatalog("mill", uri=f"sqlite:///{uri}", warehouse="s3://mill", **s3_files(store.url))
        catalog = {"type": "sql", "uri": f"sqlite:{uri}", "warehouse": "s3://mill"}
        domain = Domain("mill", catalog, s3_storage(store.url), writer)
        domain.sell()
        connection = asking(serve(write_mesh(tmp_path / "mesh", [domain])))
        assert ask(connection, domain.sql).is_exact(rows("mill"))
        store.process.stop(signal.SIGKILL)
        assert_is_clear(ask(connection, domain.sql).error, "mill")
        store = servers.s3s(directory, tmp_path, store.port)
        assert eventually(lambda: ask(connection, domain.sql).is_exact(rows("mill")))
    finally:
        store.process.stop()
