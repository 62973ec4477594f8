"""A catalog lends what logs one in at the store of each cloud; what ends while a query reads is lent again."""

import base64
import hashlib
import hmac
import json
import time
import urllib.parse
from datetime import UTC, datetime

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from faults import Proxy, Slow
from lakes import Domain, ask, assert_is_clear, rows, write_mesh
from serving import eventually
from servers import SECRET, Azurite

SQL, EXPECTED = "SELECT key, amount, note FROM cellar.sales ORDER BY key", rows("cellar")
JSON = {"Content-Type": "application/json"}
# Seconds for which something is lent, and for which what is on its way then is still good.
LIFETIME, GRACE = 5, 4


class Library:
    """In place of a REST catalog: it has one table, and lends with it what ends."""

    def __init__(self, proxy, table, lend):
        self.table, self.lend = table, lend
        self.given, self.lends = 0, True
        proxy.guards.append(self)

    def __call__(self, asked):
        path = asked.path.partition("?")[0]
        if path.endswith("/v1/config"):
            return 200, JSON, b'{"defaults": {}, "overrides": {}}'
        if not path.endswith("/namespaces/shop/tables/sales"):
            return 404, JSON, b'{"error": {"message": "no", "type": "NoSuchTableException", "code": 404}}'
        self.given += 1
        answer = {"metadata-location": self.table.metadata_location}
        answer["metadata"] = json.loads(self.table.metadata.model_dump_json())
        if self.lends:
            answer["storage-credentials"] = [{"prefix": "", "config": self.lend(int(time.time()) + LIFETIME)}]
        return 200, JSON, json.dumps(answer).encode()


def lends_azure(store):
    """A signature of the account under what may be done until a time, which the store checks."""

    def lend(end):
        end_text = datetime.fromtimestamp(end + GRACE, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        version, what = "2021-08-06", {"sp": "rl", "ss": "b", "srt": "sco"}
        signed = [Azurite.ACCOUNT, *what.values(), "", end_text, "", "https,http", version, "", ""]
        key = base64.b64decode(Azurite.ACCOUNT_KEY)
        signature = base64.b64encode(hmac.digest(key, "\n".join(signed).encode(), hashlib.sha256)).decode()
        token = urllib.parse.urlencode(what | {"se": end_text, "spr": "https,http", "sv": version, "sig": signature})
        return {"adls.sas-token": token, "adls.sas-token-expires-at-ms": str(end * 1000)}

    return lend


def lends_google(store):
    """A token that the server behind does not look at: what stands before it does."""
    live = {}

    def check(asked):
        if live.get(asked.headers.get("Authorization"), 0) > time.time():
            return None
        return 401, {"Content-Type": "text/plain"}, f"no token, unlike {SECRET}".encode()

    def lend(end):
        token = f"loan-{len(live)}-{SECRET}"
        live[f"Bearer {token}"] = end + GRACE
        return {"gcs.oauth2.token": token, "gcs.oauth2.token-expires-at": str(end * 1000)}

    store.guards.append(check)
    return lend


CLOUDS = {"azure": ("azurite", "abfs", lends_azure), "google": ("google", "gs", lends_google)}


@pytest.fixture(params=CLOUDS)
def lent(request, tmp_path):
    """The table in a cloud, the catalog that lends, the store, and how it is asked."""
    at, scheme, lends = CLOUDS[request.param]
    cloud = request.getfixturevalue(at)
    cloud.make(bucket := f"lent{time.monotonic_ns()}")
    place = f"{scheme}://{bucket}"
    writer = SqlCatalog("cellar", uri=f"sqlite:///{tmp_path}/cellar.db", warehouse=place, **cloud.files())
    table = Domain("cellar", {}, {}, writer).sell()
    store, catalog = Proxy(cloud.address, host=getattr(cloud, "NAME", None)), Proxy(cloud.address)
    storage = {key: value for key, value in cloud.storage(store.url).items() if "${" not in str(value)}
    domain = Domain("cellar", {"type": "rest", "uri": catalog.url}, storage, writer)
    yield Library(catalog, table, lends(store)), store, write_mesh(tmp_path / "mesh", [domain])
    catalog.close()
    store.close()


def test_what_is_lent_may_end_while_a_query_reads(lent, serve, asking):
    library, store, mesh = lent
    server = serve(mesh)
    with store.suffering(Slow(2)):
        outcome = ask(asking(server), SQL)
    assert outcome.seconds > LIFETIME + GRACE, "nothing ended in the meantime"
    assert outcome.is_exact(EXPECTED), outcome.error
    assert library.given > 1
    assert not any(told in line for line in server.said for told in ("loan-", "sig=", SECRET))


def test_what_nobody_lends_again_ends_the_query_by_name(lent, serve, asking):
    library, store, mesh = lent
    server = serve(mesh)
    connection = asking(server)
    assert ask(connection, SQL).is_exact(EXPECTED)
    library.lends = False
    failed = eventually(lambda: (now := ask(connection, SQL)).error and now)
    assert_is_clear(failed.error, "cellar")
    assert not any(told in line for line in server.said for told in ("loan-", "sig=", SECRET))
