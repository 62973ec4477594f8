"""What logs in to a catalog and to a store ends, and is asked for again; who does not get it says so and no more."""

import json
import re
import threading
import time
import urllib.parse
from contextlib import contextmanager

import pytest

from faults import Proxy, Slow
from lakes import Domain, ask, assert_exact_or_clear, assert_is_clear, rows, s3_storage, write, write_mesh
from serving import eventually
from servers import KEY, REGION, SECRET

CLIENT, WORD = "reader", "a-word-of-the-reader"
JSON = {"Content-Type": "application/json"}
DENIED = '{"error": {"message": "who are you?", "type": "NotAuthorizedException", "code": %d}}'


class Desk:
    """Stands before a catalog, gives out tokens that end, and lets nobody pass without one."""

    def __init__(self, proxy, lifetime, status=401):
        self.lifetime, self.status = lifetime, status
        self.given, self.live, self.refused = 0, {}, 0
        self.lock = threading.Lock()
        proxy.guards.append(self)

    def __call__(self, asked):
        with self.lock:
            if asked.path.endswith("/v1/oauth/tokens"):
                form = dict(urllib.parse.parse_qsl(asked.body.decode()))
                if (form["grant_type"], form["client_id"], form["client_secret"]) != ("client_credentials", CLIENT, WORD):
                    return 401, JSON, b'{"error": "invalid_client"}'
                self.given += 1
                self.live = {f"token-{self.given}": time.monotonic() + self.lifetime}
                told = {"access_token": f"token-{self.given}", "token_type": "bearer", "expires_in": self.lifetime}
                return 200, JSON, json.dumps(told).encode()
            token = asked.headers.get("Authorization", "").removeprefix("Bearer ")
            if self.live.get(token, 0) > time.monotonic():
                return None
            self.refused += 1
            return self.status, JSON, (DENIED % self.status).encode()

    def forget(self):
        """No token that was given is good any more."""
        with self.lock:
            self.live = {}


class Lender:
    """Stands before a catalog and a store: it lends keys with each table, which end, and the store takes no other ones."""

    def __init__(self, catalog, store, lifetime, says_when=True):
        self.lifetime, self.says_when, self.place = lifetime, says_when, store.url
        self.given, self.live, self.refused = 0, {}, 0
        self.lock = threading.Lock()
        catalog.editors.append(self.lend)
        store.guards.append(self.check)

    def lend(self, asked, status, content):
        if "/tables/" not in asked.path or asked.method != "GET" or status != 200:
            return content
        table = json.loads(content)
        with self.lock:
            self.given += 1
            self.live[f"loan-{self.given}"] = time.time() + self.lifetime
            lent = {"s3.access-key-id": KEY, "s3.secret-access-key": SECRET, "s3.session-token": f"loan-{self.given}"}
            if self.says_when:
                lent["s3.session-token-expires-at-ms"] = str(int((time.time() + self.lifetime) * 1000))
        table["config"] = table.get("config", {}) | {"s3.endpoint": self.place, "client.region": REGION}
        table["storage-credentials"] = [{"prefix": "s3://orchard", "config": lent}]
        return json.dumps(table).encode()

    def check(self, asked):
        with self.lock:
            loan = asked.headers.get("X-Amz-Security-Token", "")
            if self.live.get(loan, 0) > time.time():
                return None
            self.refused += 1
        body = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
        return 403, {"Content-Type": "application/xml"}, body


@contextmanager
def before(fixture, s3):
    """Proxies of this test alone before catalog and store."""
    catalog, store = Proxy(fixture.address), Proxy(s3.address)
    try:
        yield catalog, store
    finally:
        catalog.close()
        store.close()


@pytest.fixture
def ends(fixture, s3, domains):
    """A catalog that has the table `orchard`, and its store."""
    with before(fixture, s3) as ends:
        yield ends


@pytest.fixture
def mesh_of(tmp_path):
    """The files of a mesh with that domain alone, asked with what the test declares."""

    def mesh_of(catalog, storage, **settings):
        declared = {"type": "rest", "uri": catalog.url} | settings
        mesh = write_mesh(tmp_path / "mesh", [Domain("orchard", declared, storage, None)])
        write(mesh / "secrets" / "client", f"{CLIENT}:{WORD}")
        write(mesh / "secrets" / "stranger", "stranger:another word")
        return mesh

    return mesh_of


SQL, EXPECTED = "SELECT key, amount, note FROM orchard.sales ORDER BY key", rows("orchard")


@pytest.mark.parametrize("status", [401, 419])
def test_a_token_that_ends_is_asked_for_again(status, ends, mesh_of, serve, asking):
    catalog, store = ends
    desk = Desk(catalog, lifetime=4, status=status)
    server = serve(mesh_of(catalog, s3_storage(store.url), credential="${file:secrets/client}"))
    connection = asking(server)
    while desk.given < 3:
        assert ask(connection, SQL).is_exact(EXPECTED)
    assert desk.refused == 0, "a token is asked for again before it ends"


@pytest.mark.parametrize("status", [401, 419])
def test_a_token_that_is_no_longer_taken_is_asked_for_again(status, ends, mesh_of, serve, asking):
    catalog, store = ends
    desk = Desk(catalog, lifetime=3600, status=status)
    server = serve(mesh_of(catalog, s3_storage(store.url), credential="${file:secrets/client}"))
    connection = asking(server)
    assert ask(connection, SQL).is_exact(EXPECTED)
    desk.forget()
    assert eventually(lambda: ask(connection, SQL).is_exact(EXPECTED) and desk.refused == 1)
    assert desk.given == 2


def test_a_client_that_is_not_known_is_told_so(ends, mesh_of, serve, asking):
    catalog, store = ends
    Desk(catalog, lifetime=3600)
    server = serve(mesh_of(catalog, s3_storage(store.url), credential="${file:secrets/stranger}"))
    outcome = ask(asking(server), SQL)
    assert_is_clear(outcome.error, "orchard")
    assert "credentials" in outcome.error
    assert not any("another word" in line for line in server.said)


def test_lent_keys_may_end_while_a_query_reads(ends, mesh_of, serve, asking):
    catalog, store = ends
    lender = Lender(catalog, store, lifetime=4)
    server = serve(mesh_of(catalog, {"allow_http": True}))
    connection = asking(server)
    with store.suffering(Slow(1.5)):
        outcome = ask(connection, SQL)
    assert outcome.seconds > lender.lifetime, "the keys did not end in the meantime"
    assert outcome.is_exact(EXPECTED), outcome.error
    assert lender.given > 1
    shown = re.compile(rf"loan-\d|{SECRET}")
    assert not any(shown.search(line) for line in server.said)


def test_keys_whose_end_nobody_told_end_the_query_by_name(ends, mesh_of, serve, asking):
    catalog, store = ends
    lender = Lender(catalog, store, lifetime=4, says_when=False)
    connection = asking(serve(mesh_of(catalog, {"allow_http": True})))
    with store.suffering(Slow(1.5)):
        assert_exact_or_clear(ask(connection, SQL), EXPECTED, "orchard")
    # New ones come with the next question.
    assert eventually(lambda: ask(connection, SQL).is_exact(EXPECTED))
    assert lender.given > 1


def test_keys_that_nobody_lends_again_end_the_query_by_name(ends, mesh_of, serve, asking):
    catalog, store = ends
    lender = Lender(catalog, store, lifetime=3600)
    server = serve(mesh_of(catalog, {"allow_http": True}))
    connection = asking(server)
    assert ask(connection, SQL).is_exact(EXPECTED)
    lender.live, lender.lifetime = {}, -1
    outcome = eventually(lambda: (now := ask(connection, SQL)).error and now)
    assert_is_clear(outcome.error, "orchard")
