"""A catalog that speaks TLS changes its certificate; one whose certificate nobody known has signed is not asked."""

import ipaddress
import time

import pytest
from cryptography import x509

from authority import Authority
from faults import Proxy
from lakes import Domain, ask, assert_is_clear, rows, s3_storage, write_mesh
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
