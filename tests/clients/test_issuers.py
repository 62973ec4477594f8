"""Users of an identity provider: tokens that it signs, keys that it changes, and all that is no token of it."""

import json
import time

import pytest
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import AdbcStatusCode, Error

import issuer as provider
from cast import ANALYST, DISCOVERS
from serving import eventually
from ways import who

HEADER = DatabaseOptions.AUTHORIZATION_HEADER.value
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
CORP = """  oidc:
    - {{ name: corp, issuer: "{url}", audience: polder, groups_claim: /realm_access/roles, groups_allowed: {groups}, attributes: {{ region: region }} }}"""


@pytest.fixture
def issuer():
    with provider.running() as issuer:
        yield issuer


@pytest.fixture
def corp(serve, ways, issuer):
    """A server whose mesh trusts the issuer."""
    ways.declare(CORP.format(url=issuer.url, groups="[analysts]"))
    return serve("--follow", "1", mesh=ways.directory)


@pytest.fixture
def by(connect, corp):
    """A connection by a token."""
    return lambda token: connect(to=corp, options={HEADER: f"Bearer {token}"})


def refused(by, token):
    with pytest.raises(Error) as caught:
        who(by(token))
    assert caught.value.status_code == AdbcStatusCode.UNAUTHENTICATED, caught.value
    assert token not in str(caught.value)
    return str(caught.value)


def test_a_token_of_the_issuer_is_its_user(issuer, by, connect, corp):
    assert who(by(issuer.token())) == len(ANALYST)
    # In no group that the mesh knows: as much as somebody of whom it knows the name alone.
    nobody = {"realm_access": {"roles": ["privacy-office", "of-the-provider-alone"]}}
    assert who(by(issuer.token(**nobody))) == len(DISCOVERS["guest"])
    assert who(connect("analyst-eu", to=corp)) == len(ANALYST), "users with passwords come in beside"


def test_each_algorithm_is_taken(issuer, by):
    issuer.keys = [provider.Key(algorithm, f"key of {algorithm}") for algorithm in ALGORITHMS]
    for key in issuer.keys:
        assert who(by(issuer.token(key))) == len(ANALYST), key.algorithm


def test_keys_that_change_are_followed_without_a_question_for_each_token(issuer, by):
    old = issuer.token()
    assert who(by(old)) == len(ANALYST)
    asked = issuer.asked
    issuer.key = provider.Key("ES256", "second")
    issuer.keys = [issuer.key]

    def comes_in():
        try:
            return who(by(issuer.token()))
        except Error:
            time.sleep(0.2)
            return None

    assert eventually(comes_in) == len(ANALYST)
    refused(by, old)
    for n in range(10):
        refused(by, issuer.token(provider.Key("ES256", f"made up {n}")))
    assert issuer.asked <= asked + 8


def test_malformed_tokens_are_refused_alike(issuer, by):
    good, key, claims = issuer.token(), issuer.key, issuer.claims()
    head, body, signature = good.split(".")
    now = int(time.time())
    twice = json.dumps(claims).replace("{", '{"sub": "root", ', 1)
    hmac = provider.encoded(b"0" * 32)
    signed = key.sign
    malformed = [
        "..",
        f"{head}.{body}",
        f"{head}.{body}.",
        f"{good}.",
        f"{good}.{signature}",
        f"{good}=",
        f"{body}.{head}.{signature}",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{provider.encoded({**claims, 'sub': 'root'})}.{signature}",
        f"{provider.encoded({'alg': 'none'})}.{body}.",
        f"{provider.encoded({'alg': 'none'})}.{body}.{signature}",
        f"{provider.encoded({'alg': 'HS256', 'kid': 'first'})}.{body}.{hmac}",
        signed(key.header(alg="HS256"), claims),
        signed(key.header(alg="RS512"), claims),
        signed(key.header(alg="ES256"), claims),
        signed(key.header(alg=None), claims),
        signed(key.header(kid="second"), claims),
        signed(key.header(kid=7), claims),
        signed(key.header(typ="logout+jwt"), claims),
        signed(key.header(crit=["exp"]), claims),
        signed(key.header(jwk=key.public()), claims),
        signed('{"alg": "RS256", "alg": "none", "kid": "first"}', claims),
        signed(key.header(), twice),
        signed(key.header(), "[]"),
        signed(key.header(), "not JSON"),
        signed(key.header(), json.dumps(claims) + "{}"),
        provider.Key("RS256", "first").sign(key.header(), claims),
        issuer.token(iss="https://elsewhere.example"),
        issuer.token(iss=issuer.url + "/"),
        issuer.token(iss=None),
        issuer.token(exp=now - 1),
        issuer.token(exp=None),
        issuer.token(exp=str(now + 600)),
        issuer.token(nbf=now + 3600),
        issuer.token(iat=now + 3600),
        issuer.token(aud="others"),
        issuer.token(aud=None),
        issuer.token(sub=None),
        issuer.token(sub=""),
        issuer.token(sub=["jo"]),
        issuer.token(realm_access={"roles": [1]}),
        issuer.token(region=["EU"]),
        issuer.token(_claim_names={"realm_access": "src1"}, realm_access="x"),
    ]
    assert len(malformed) >= 30
    assert who(by(good)) == len(ANALYST)
    told = {refused(by, token) for token in malformed}
    assert len(told) == 1, told
    assert "the token is not valid" in told.pop()
    assert who(by(good)) == len(ANALYST)


def test_a_program_logs_in_with_client_credentials(issuer, serve, ways, authority, connect):
    # The driver sends such tokens over TLS alone.
    certificate, key = authority.issue("CN=localhost")
    ways.declare(CORP.format(url=issuer.url, groups="[analysts]"))
    server = serve("--tls-cert", str(certificate), "--tls-key", str(key), mesh=ways.directory)
    uri = f"grpc+tls://localhost:{server.port}"
    options = {
        DatabaseOptions.TLS_ROOT_CERTS.value: authority.ca.read_text(),
        DatabaseOptions.OAUTH_FLOW.value: "client_credentials",
        DatabaseOptions.OAUTH_TOKEN_URI.value: f"{issuer.url}/token",
        DatabaseOptions.OAUTH_CLIENT_ID.value: provider.CLIENT[0],
        DatabaseOptions.OAUTH_CLIENT_SECRET.value: provider.CLIENT[1],
    }
    connection = connect(to=server, uri=uri, options=options)
    for _ in range(3):
        assert who(connection) == len(ANALYST)
    with pytest.raises(Error):
        who(connect(to=server, uri=uri, options=options | {DatabaseOptions.OAUTH_CLIENT_SECRET.value: "a guess"}))


def test_a_group_and_an_issuer_that_the_mesh_takes_back_end_at_the_next_call(issuer, corp, by, ways):
    connection = by(issuer.token())
    assert who(connection) == len(ANALYST)
    ways.declare(CORP.format(url=issuer.url, groups="[]"))
    assert eventually(lambda: corp.metric("polder_mesh_changes_total") == 1)
    assert who(connection) == len(DISCOVERS["guest"])
    ways.declare("  tokens: []")
    assert eventually(lambda: corp.metric("polder_mesh_changes_total") == 2)
    refused(by, issuer.token())


def test_an_issuer_that_is_down_is_told_apart_and_keeps_nobody_else_out(serve, ways, connect):
    with provider.running() as gone:
        token = gone.token()
    ways.declare(CORP.format(url=gone.url, groups="[analysts]"))
    server = serve(mesh=ways.directory)
    with pytest.raises(Error) as caught:
        who(connect(to=server, options={HEADER: f"Bearer {token}"}))
    assert "does not answer" in str(caught.value)
    assert who(connect("analyst-eu", to=server)) == len(ANALYST)


def test_an_issuer_is_asked_over_tls_where_its_certificate_is_trusted(serve, ways, authority, connect, monkeypatch):
    with provider.running(authority.issue("CN=localhost")) as issuer:
        ways.declare(CORP.format(url=issuer.url, groups="[analysts]"))
        options = {HEADER: f"Bearer {issuer.token()}"}
        with pytest.raises(Error) as caught:
            who(connect(to=serve(mesh=ways.directory), options=options))
        assert "does not answer" in str(caught.value)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
        assert who(connect(to=serve(mesh=ways.directory), options=options)) == len(ANALYST)
