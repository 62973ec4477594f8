"""What logs in to a catalog and to a store ends, and is asked for again; who does not get it says so and no more."""

import re
from contextlib import contextmanager

import pytest

from faults import Proxy, Slow
from lakes import Domain, ask, assert_exact_or_clear, assert_is_clear, rows, s3_storage, write, write_mesh
from lending import CLIENT, WORD, Desk, Lender
from serving import eventually
from servers import SECRET


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


def test_keys_are_lent_again_by_a_catalog_whose_token_has_ended_too(ends, mesh_of, serve, asking):
    catalog, store = ends
    desk, lender = Desk(catalog, lifetime=4), Lender(catalog, store, lifetime=4)
    connection = asking(serve(mesh_of(catalog, {"allow_http": True}, credential="${file:secrets/client}")))
    with store.suffering(Slow(1.5)):
        assert ask(connection, SQL).is_exact(EXPECTED)
    assert desk.given > 1 and lender.given > 1


def test_keys_whose_end_nobody_told_are_asked_for_again_when_they_are_refused(ends, mesh_of, serve, asking):
    catalog, store = ends
    lender = Lender(catalog, store, lifetime=4, says_when=False)
    connection = asking(serve(mesh_of(catalog, {"allow_http": True})))
    with store.suffering(Slow(1.5)):
        outcome = ask(connection, SQL)
    assert outcome.seconds > lender.lifetime, "the keys did not end in the meantime"
    assert outcome.is_exact(EXPECTED), outcome.error
    assert lender.given > 1 and lender.refused > 0


# S3 itself says of a token that has ended that the request is a bad one.
@pytest.mark.parametrize(("says_when", "refusal"), [(True, 403), (False, 400)])
def test_keys_that_are_taken_back_are_asked_for_again(ends, mesh_of, serve, asking, says_when, refusal):
    catalog, store = ends
    lender = Lender(catalog, store, lifetime=3600, says_when=says_when, refusal=refusal)
    connection = asking(serve(mesh_of(catalog, {"allow_http": True})))
    assert ask(connection, SQL).is_exact(EXPECTED)
    lender.live.clear()
    # What the catalog said before is remembered for a while, and what it lent then is not taken again.
    for _ in range(3):
        assert ask(connection, SQL).is_exact(EXPECTED)
    # What refuses all keys is not asked for others again and again.
    lender.live, lender.lifetime = {}, -1
    given = lender.given
    assert_is_clear(ask(connection, SQL).error, "orchard")
    assert lender.given <= given + 2


def test_keys_that_nobody_lends_again_end_the_query_by_name(ends, mesh_of, serve, asking):
    catalog, store = ends
    lender = Lender(catalog, store, lifetime=3600)
    server = serve(mesh_of(catalog, {"allow_http": True}))
    connection = asking(server)
    assert ask(connection, SQL).is_exact(EXPECTED)
    lender.live, lender.lifetime = {}, -1
    outcome = eventually(lambda: (now := ask(connection, SQL)).error and now)
    assert_is_clear(outcome.error, "orchard")
