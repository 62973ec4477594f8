"""How Java's tools come in where there are tokens, an identity provider and certificates."""

import contextlib
import hashlib

import jpype
import pytest

import issuer as provider
import jdbc
from cast import ANALYST
from ways import WHO

TOKEN = "polder_" + "A" * 43


@pytest.fixture
def open_jdbc():
    """Opens connections that are closed after the test."""
    with contextlib.ExitStack() as opened:
        yield lambda server, **properties: opened.enter_context(contextlib.closing(jdbc.connect(server, **properties)))


def who(connection):
    """How many products the caller discovers."""
    with contextlib.closing(connection.createStatement()) as statement:
        return next(iter(jdbc.rows(statement.executeQuery(WHO))[0].values()))


def refused(open_jdbc, server, **properties):
    with pytest.raises(jpype.JException) as caught:
        who(open_jdbc(server, **properties))
    return str(caught.value)


def service(ways):
    hashed = hashlib.sha256(TOKEN.encode()).hexdigest()
    return f"  tokens: [ {{ name: etl, token_hash: {ways.secret('etl.sha256', hashed)}, groups: [analysts] }} ]"


def test_a_token_is_a_token_and_a_password(serve, ways, open_jdbc):
    ways.declare(service(ways))
    server = serve(mesh=ways.directory)
    assert who(open_jdbc(server, token=TOKEN)) == len(ANALYST)
    assert who(open_jdbc(server, user="token", password=TOKEN)) == len(ANALYST)
    assert "the token is not valid" in refused(open_jdbc, server, token=TOKEN[:-1] + "E")
    assert "unknown user or wrong password" in refused(open_jdbc, server, user="analyst-eu", password=TOKEN)


def test_a_token_of_a_provider_is_its_user(serve, ways, open_jdbc):
    with provider.running() as issuer:
        corp = f'name: corp, issuer: "{issuer.url}", audience: polder, groups_claim: /realm_access/roles'
        ways.declare(f"  oidc: [ {{ {corp}, groups_allowed: [analysts] }} ]")
        server = serve(mesh=ways.directory)
        assert who(open_jdbc(server, token=issuer.token())) == len(ANALYST)
        assert "the token is not valid" in refused(open_jdbc, server, token=issuer.token(aud="others"))


def test_a_certificate_needs_no_user(serve, ways, authority, open_jdbc):
    ways.declare('  certificates: [ { name: etl, subject: "CN=etl,O=Packly", groups: [analysts] } ]')
    certificate, key = authority.issue("CN=localhost")
    files = ["--tls-cert", str(certificate), "--tls-key", str(key), "--tls-client-ca", str(authority.ca)]
    server = serve(*files, mesh=ways.directory)
    tls = {"useEncryption": "true", "tlsRootCerts": authority.ca, "address": f"localhost:{server.port}"}
    shown = authority.issue("O=Packly,CN=etl", client=True)
    own = {"clientCertificate": shown[0], "clientKey": shown[1]}
    assert who(open_jdbc(server, **tls, **own)) == len(ANALYST)
    assert who(open_jdbc(server, **tls, user="analyst-eu", password="analyst-eu")) == len(ANALYST)
    assert "unknown user or wrong password" in refused(open_jdbc, server, **tls, **own, user="analyst-eu", password="analyst-eu")
    assert "asks who you are" in refused(open_jdbc, server, **tls)
