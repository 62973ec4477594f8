"""A catalog that speaks TLS changes its certificate; one whose certificate nobody known has signed is not asked."""

import ipaddress
import threading
import time

import pytest
from cryptography import x509

from authority import Authority
from faults import Proxy, Slow
from lakes import Domain, ask, assert_is_clear, rows, s3_storage, write_mesh
from lending import Lender
from serving import eventually

SQL, EXPECTED = "SELECT key, amount, note FROM orchard.sales ORDER BY key", rows("orchard")
HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@pytest.fixture
def catalog(fixture, domains, authority):
    """The catalog, behind what speaks TLS for it."""
    catalog = Proxy(fixture.address, tls=authority.issue("CN=catalog", HERE))
    yield catalog
    catalog.close()


def test_a_catalog_may_change_its_certificate(catalog, s3, authority, tmp_path, serve, asking, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    domain = Domain("orchard", {"type": "rest", "uri": catalog.url}, s3_storage(s3.url), None)
    connection = asking(serve(write_mesh(tmp_path / "mesh", [domain])))
    assert ask(connection, SQL).is_exact(EXPECTED)
    catalog.certify(*authority.issue("CN=catalog anew", HERE))
    asked = len(catalog.answered)
    while len(catalog.answered) == asked:
        assert ask(connection, SQL).is_exact(EXPECTED)
        time.sleep(0.1)

    catalog.certify(*Authority(tmp_path / "stranger", "CN=Somebody else").issue("CN=catalog", HERE))
    refused = eventually(lambda: (now := ask(connection, SQL)).error and now)
    assert_is_clear(refused.error, "orchard")

    catalog.certify(*authority.issue("CN=catalog again", HERE))
    assert eventually(lambda: ask(connection, SQL).is_exact(EXPECTED))


def test_a_certificate_may_change_while_a_query_reads_with_keys_that_end(
    catalog, s3, authority, tmp_path, serve, asking, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    store = Proxy(s3.address)
    lender = Lender(catalog, store, lifetime=4)
    domain = Domain("orchard", {"type": "rest", "uri": catalog.url}, {"allow_http": True}, None)
    connection, outcomes = asking(serve(write_mesh(tmp_path / "mesh", [domain]))), []
    query = threading.Thread(target=lambda: outcomes.append(ask(connection, SQL)))
    with store.suffering(Slow(1.5)):
        query.start()
        assert eventually(lambda: store.answered)
        catalog.certify(*authority.issue("CN=catalog anew", HERE))
        query.join()
    store.close()
    assert outcomes[0].is_exact(EXPECTED), outcomes[0].error
    assert lender.given > 1
