"""Every kind of store that is asked over a network: whole tables and parts of them, and what they hear who may not ask."""

import base64
import contextlib
import random
import urllib.parse
from dataclasses import dataclass

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO

import servers
from faults import Proxy
from lakes import SCHEMA, Domain, ask, assert_is_clear, rows, s3_files, s3_storage, write, write_mesh
from serving import Server
from servers import SECRET

TABLES = ["sales", "wide", "gone", "odd"]
# How many rows have notes that are much longer than all the rest of them.
WIDE = 2000
# What stands in the paths of files where they are parted by it.
ODD = ["a/b", "50% + 1", "c=d&e", "été", "#1?", " "]
SQL = "SELECT key, amount, note FROM cellar.{} ORDER BY key"


class WebFiles(PyArrowFileIO):
    """The buckets of an S3 server, under the names that their files have on a web server."""

    @staticmethod
    def parse_location(location, properties=None):
        path = urllib.parse.urlparse(location).path.lstrip("/")
        return "s3", path.partition("/")[0], path


class Gate:
    """Lets nobody pass who has no token: the server behind it lets everybody."""

    def __init__(self, proxy):
        self.passed = self.refused = 0
        proxy.guards.append(self)

    def __call__(self, asked):
        if asked.headers.get("Authorization") == f"Bearer {SECRET}":
            self.passed += 1
            return None
        self.refused += 1
        return 401, {"Content-Type": "text/plain"}, f"the token is none, for it is not {SECRET}".encode()


def s3(at, store):
    servers.bucket(at.url, "cellar")
    return "s3://cellar", s3_files(at.url), s3_storage(store.url)


def azure(at, store):
    at.make("cellar")
    return "abfs://cellar", at.files(), at.storage(store.url)


def google(at, store):
    at.make("cellar")
    Gate(store)
    return "gs://cellar", at.files(), at.storage(store.url)


def web(at, store):
    """The bucket of an S3 server that asks nobody who he is, as a web server."""
    servers.bucket(at.url, "web")
    Gate(store)
    files = s3_files(at.url) | {"py-io-impl": f"{WebFiles.__module__}.{WebFiles.__name__}"}
    return f"{store.url}/web", files, {"http_token": "${file:secrets/secret}", "allow_http": True}


# What makes a domain's place in a store, and the server that is the store.
KINDS = {"s3": (s3, "s3"), "azure": (azure, "azurite"), "google": (google, "google"), "web": (web, "moto")}


@dataclass
class Kept:
    """A domain over a store, a server that reads it, and how many bytes the store has sent."""

    domain: Domain
    store: Proxy
    server: Server
    sent: int = 0

    def count(self, asked, status, content):
        self.sent += len(content)
        return content


def wide():
    """A table whose notes cannot be made shorter."""
    draw = random.Random(7)
    keys = list(range(WIDE))
    return pa.table([keys, keys, [base64.b64encode(draw.randbytes(750)).decode() for _ in keys]], schema=SCHEMA)


def odd():
    return pa.table([list(range(len(ODD))), [1] * len(ODD), ODD], schema=SCHEMA)


@pytest.fixture(scope="module", params=KINDS)
def kept(request, tmp_path_factory):
    make, at = KINDS[request.param]
    at, work = request.getfixturevalue(at), tmp_path_factory.mktemp(request.param)
    store = Proxy(at.address, host=getattr(at, "NAME", None))
    place, files, storage = make(at, store)
    writer = SqlCatalog("cellar", uri=f"sqlite:///{work}/cellar.db", warehouse=place, **files)
    domain = Domain("cellar", {"type": "sql", "uri": f"sqlite:{work}/cellar.db", "warehouse": place}, storage, writer)
    domain.sell()
    writer.create_table("shop.wide", SCHEMA).append(wide())
    writer.create_table("shop.gone", SCHEMA).append(rows("cellar"))
    with writer.create_table("shop.odd", SCHEMA).update_spec() as update:
        update.add_identity("note")
    writer.load_table("shop.odd").append(odd())
    with contextlib.closing(store):
        server = Server(write_mesh(work / "mesh", [domain], TABLES))
        try:
            kept = Kept(domain, store, server)
            store.editors.append(kept.count)
            yield kept
        finally:
            server.stop()


def test_a_table_is_read_whole(kept, asking):
    connection = asking(kept.server)
    assert ask(connection, SQL.format("sales")).is_exact(rows("cellar"))
    assert ask(connection, SQL.format("wide")).is_exact(wide())


def test_of_a_file_only_what_is_needed_is_read(kept, asking):
    connection, before = asking(kept.server), kept.sent
    outcome = ask(connection, "SELECT sum(key) AS keys FROM cellar.wide WHERE amount >= 0")
    assert outcome.table.to_pydict() == {"keys": [WIDE * (WIDE - 1) // 2]}
    narrow, before = kept.sent - before, kept.sent
    assert ask(connection, "SELECT max(length(note)) AS length FROM cellar.wide").table.to_pydict() == {"length": [1000]}
    whole = kept.sent - before
    assert whole > WIDE * 700
    assert narrow < whole / 5
    assert any(status == 206 for _, _, status in kept.store.answered)


def test_a_file_has_the_path_that_it_has(kept, asking):
    outcome = ask(asking(kept.server), SQL.format("odd"))
    if kept.domain.storage.get("http_token"):
        # Whether such a path means what it says is for the web server alone to know.
        assert_is_clear(outcome.error, "cellar")
    else:
        assert outcome.is_exact(odd()), outcome.error


def test_a_file_that_is_gone_is_told_by_name(kept, asking):
    table = kept.domain.writer.load_table("shop.gone")
    for task in table.scan().plan_files():
        table.io.delete(task.file.file_path)
    assert_is_clear(ask(asking(kept.server), SQL.format("gone")).error, "cellar")


def test_who_may_not_ask_is_told_so_by_name_and_no_more(kept, tmp_path, serve, asking):
    mesh = write_mesh(tmp_path / "mesh", [kept.domain])
    unknown = base64.b64encode(b"hunter2").decode()
    write(mesh / "secrets" / "secret", "hunter2")
    write(mesh / "secrets" / "account", unknown)
    server = serve(mesh)
    error = ask(asking(server), SQL.format("sales")).error
    assert_is_clear(error, "cellar")
    told = [error, *server.said, *kept.server.said]
    assert not any(secret in line for line in told for secret in ("hunter2", unknown, SECRET))
