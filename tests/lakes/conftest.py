"""The foreign servers, the mesh over them, and the server under test.

`POLDER_BIN` names the program (target/debug/polder without it), and `POLDER_LAKES` where what the others are made of lies.
"""

import contextlib

import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog

import servers
from authority import Authority
from faults import Proxy, Tunnel
from lakes import Domain, connect, s3_files, s3_storage, write_mesh
from serving import Server


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("lakes")


@pytest.fixture(scope="session")
def running():
    """What is started is stopped, in reverse order."""
    with contextlib.ExitStack() as started:

        def running(server):
            started.callback(server.process.stop if hasattr(server, "process") else server.stop)
            return server

        yield running


@pytest.fixture(scope="session")
def s3(work, running):
    return running(servers.s3s(work / "s3s", work))


@pytest.fixture(scope="session")
def moto(work, running):
    return running(servers.moto(work))


@pytest.fixture(scope="session")
def postgres(work):
    server = servers.Postgres(work)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def google(work, running):
    return running(servers.Google(work))


@pytest.fixture(scope="session")
def azurite(work, running):
    return running(servers.Azurite(work))


@pytest.fixture(scope="session")
def fixture(work, running, s3):
    servers.bucket(s3.url, "orchard")
    return running(servers.fixture("s3://orchard", s3.url, work / "fixture.db", work))


def orchard(fixture, s3):
    """Iceberg's own REST catalog, and a store whose keys the domain declares."""
    catalog, store = Proxy(fixture.address), Proxy(s3.address)
    return Domain(
        "orchard", {"type": "rest", "uri": catalog.url}, s3_storage(store.url),
        RestCatalog("orchard", uri=fixture.url, **s3_files(s3.url)), {"catalog": catalog, "store": store},
    )  # fmt: skip


def harbor(moto, work, running):
    """Nessie, and a store whose keys it lends."""
    servers.bucket(moto.url, "harbor")
    store = Proxy(moto.address)
    nessie = running(servers.nessie("s3://harbor/", moto.url, store.url, moto.url, work))
    catalog = Proxy(nessie.address)
    return Domain(
        "harbor", {"type": "rest", "uri": f"{catalog.url}/iceberg", "warehouse": "lake"}, {"allow_http": True},
        RestCatalog("harbor", uri=f"{nessie.url}/iceberg/", warehouse="lake"), {"catalog": catalog, "store": store},
    )  # fmt: skip


def mill(postgres, google):
    """PostgreSQL, and Google's store."""
    google.make("mill")
    catalog, store = Tunnel(postgres.address), Proxy(google.address, host=google.NAME)
    uri = f"postgresql+psycopg://{postgres.USER}:{postgres.PASSWORD}@{postgres.address}/{postgres.DATABASE}"
    declared = {
        "type": "sql", "uri": f"postgres://{postgres.USER}@{catalog.address}/{postgres.DATABASE}",
        "password": "${file:secrets/secret}", "warehouse": "gs://mill",
    }  # fmt: skip
    writer = SqlCatalog("mill", uri=uri, warehouse="gs://mill", **google.files())
    return Domain("mill", declared, google.storage(store.url), writer, {"catalog": catalog, "store": store})


def cellar(work):
    """A SQL catalog in a file, and a directory."""
    (work / "cellar").mkdir()
    place = f"file://{work}/cellar"
    catalog = {"type": "sql", "uri": f"sqlite:{work}/cellar.db", "warehouse": place}
    return Domain("cellar", catalog, {}, SqlCatalog("cellar", uri=f"sqlite:///{work}/cellar.db", warehouse=place))


def archive(work, azurite):
    """Pinned metadata files, and Azure's store."""
    azurite.make("archive")
    store = Proxy(azurite.address)
    writer = SqlCatalog("archive", uri=f"sqlite:///{work}/archive.db", warehouse="abfs://archive", **azurite.files())
    return Domain("archive", {"type": "metadata"}, azurite.storage(store.url), writer, {"store": store})


@pytest.fixture(scope="session")
def domains(work, running, fixture, s3, moto, postgres, google, azurite):
    """Five domains, by name, with their tables sold."""
    five = [orchard(fixture, s3), harbor(moto, work, running), mill(postgres, google)]
    five += [cellar(work), archive(work, azurite)]
    for domain in five:
        table = domain.sell()
        if domain.catalog["type"] == "metadata":
            domain.catalog["tables"] = {"shop.sales": table.metadata_location}
    return {domain.name: domain for domain in five}


@pytest.fixture(scope="session")
def mesh(work, domains):
    return write_mesh(work / "mesh", domains.values())


@pytest.fixture(scope="session")
def server(mesh):
    """The server that most tests share. It must have survived them all, and end well."""
    server = Server(mesh)
    yield server
    assert server.process.poll() is None, f"the server died: {server.said}"
    assert server.stop() == 0


@pytest.fixture
def serve():
    """Starts further servers over other meshes."""
    with contextlib.ExitStack() as started:

        def serve(mesh, *arguments):
            server = Server(mesh, *arguments)
            started.callback(server.stop)
            return server

        yield serve


@pytest.fixture
def asking():
    """Opens connections to a server, and closes them after the test."""
    with contextlib.ExitStack() as opened:
        yield lambda server: opened.enter_context(connect(server))


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Who signs the certificates of catalogs."""
    return Authority(tmp_path_factory.mktemp("authority") / "ca")
