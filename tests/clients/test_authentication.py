"""Who comes in: a user with a password, a service with a token; and what everyone else is told."""

import subprocess
import time
import urllib.error
import urllib.request

import pyarrow.flight
import pytest
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import AdbcStatusCode, Error

from cast import ANALYST, DISCOVERS
from conftest import open_connection
from serving import binary, eventually
from ways import WHO, who

HEADER = DatabaseOptions.AUTHORIZATION_HEADER.value


def refusal(connect, *arguments, **options):
    """The error of whoever is not let in. Some settings are only looked at with the first statement."""
    with pytest.raises(Error) as caught:
        with connect(*arguments, **options).cursor() as cursor:
            cursor.execute(WHO)
            cursor.fetchall()
    assert caught.value.status_code == AdbcStatusCode.UNAUTHENTICATED
    return str(caught.value)


def token(server, user):
    """The token that a login gives, as a header's value."""
    with pyarrow.flight.connect(server.uri) as client:
        name, value = client.authenticate_basic_token(user, user)
    assert name == b"authorization"
    assert value.startswith(b"Bearer ")
    return value.decode()


def test_a_wrong_password_and_an_unknown_user_read_the_same(connect):
    wrong = refusal(connect, "analyst-eu", "privacy-officer")
    assert "unknown user or wrong password" in wrong
    assert refusal(connect, "nobody-of-this-name", "nobody-of-this-name") == wrong
    assert refusal(connect, "analyst-eu", "") == wrong
    assert refusal(connect, "Analyst-EU", "analyst-eu") == wrong
    assert refusal(connect, "privacy-officer", "analyst-eu") == wrong


def test_nobody_is_refused(connect):
    assert "this mesh asks who you are" in refusal(connect)


def test_metadata_is_refused_too(connect):
    with pytest.raises(Error) as caught:
        connect().adbc_get_objects(depth="tables").read_all()
    assert caught.value.status_code == AdbcStatusCode.UNAUTHENTICATED


def test_a_token_serves_again_and_again(server, connect):
    header = token(server, "analyst-us")
    for _ in range(2):
        with connect(options={HEADER: header}).cursor() as cursor:
            for _ in range(3):
                cursor.execute(WHO)
                assert cursor.fetchall() == [(len(DISCOVERS["analyst-us"]),)]
            cursor.execute("SELECT avg(risk_score) IS NOT NULL FROM payments.transactions")
            assert cursor.fetchall() == [(True,)]


def test_a_token_is_of_its_user_alone(server, connect):
    for user in ("guest", "privacy-officer"):
        with connect(options={HEADER: token(server, user)}).cursor() as cursor:
            cursor.execute(WHO)
            assert cursor.fetchall() == [(len(DISCOVERS[user]),)]


def test_a_token_that_was_changed_is_refused_without_being_repeated(server, connect):
    header = token(server, "guest")
    middle = len(header) // 2
    changed = header[:middle] + ("A" if header[middle] != "A" else "B") + header[middle + 1 :]
    for forged in (changed, "Bearer nonsense", header[:-8]):
        text = refusal(connect, options={HEADER: forged})
        assert "the token is not valid" in text
        assert forged.removeprefix("Bearer ") not in text


def test_a_header_of_another_kind_is_refused_without_being_repeated(connect):
    text = refusal(connect, options={HEADER: "Digest hunter2hunter2"})
    assert "hunter2" not in text


@pytest.fixture
def new_token():
    """What `polder token` makes: a token and its hash."""
    done = subprocess.run([binary(), "token"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    made = dict(line.split(": ") for line in done.stdout.splitlines())
    assert made["token"] not in done.stderr
    return made["token"], made["token_hash"]


@pytest.fixture
def service(serve, ways, new_token):
    """A server that knows a service, its token, and a function that declares it anew."""
    token, hashed = new_token

    def declare(more="", groups="[analysts]"):
        ways.declare(f"  tokens:\n    - {{ name: etl, token_hash: {ways.secret('etl.sha256', hashed)}, groups: {groups}{more} }}")

    declare()
    return serve("--follow", "1", mesh=ways.directory), token, declare


def bearer(token):
    return {HEADER: f"Bearer {token}"}


def test_a_service_comes_in_by_its_token(service, connect):
    server, token, _ = service
    assert who(connect(to=server, options=bearer(token))) == len(ANALYST)
    # Where a tool knows users and passwords alone.
    for user in ("token", "etl"):
        assert who(connect(user, token, to=server)) == len(ANALYST)
    with pyarrow.flight.connect(server.uri) as client:
        _, header = client.authenticate_basic_token("token", token)
    assert who(connect(to=server, options={HEADER: header.decode()})) == len(ANALYST)


def test_a_service_asks_over_http_by_the_same_token(service):
    server, token, _ = service

    def asked(shown):
        headers = {"Authorization": f"Bearer {shown}", "Accept": "application/json"}
        request = urllib.request.Request(f"{server.http}/v1/sql", data=WHO.encode(), headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    assert str(len(ANALYST)) in asked(token)
    with pytest.raises(urllib.error.HTTPError) as caught:
        asked(token[:-4] + "AAAA")
    assert caught.value.code == 401


def test_another_token_is_refused_like_every_other(service, connect):
    server, token, _ = service
    text = refusal(connect, to=server, options=bearer(token[:-1] + ("A" if token[-1] != "A" else "E")))
    assert "the token is not valid" in text
    for other in ("polder_", "polder_" + "A" * 43, token + "A", token.removeprefix("polder_"), "a.b.c"):
        assert refusal(connect, to=server, options=bearer(other)) == text
    assert "unknown user or wrong password" in refusal(connect, "analyst-eu", token, to=server)


def test_a_token_that_is_taken_away_or_expires_ends_at_the_next_call(service, connect):
    server, token, declare = service
    connection = connect(to=server, options=bearer(token))
    assert who(connection) == len(ANALYST)
    with pyarrow.flight.connect(server.uri) as client:
        _, header = client.authenticate_basic_token("token", token)
    declare(groups="[]")
    assert eventually(lambda: server.metric("polder_mesh_changes_total") == 1)
    assert who(connection) == len(DISCOVERS["guest"]), "its groups are those of now"
    declare(more=", expires: 2020-01-01")
    assert eventually(lambda: server.metric("polder_mesh_changes_total") == 2)
    for options in (bearer(token), {HEADER: header.decode()}):
        assert "the token is not valid" in refusal(connect, to=server, options=options)
    with pytest.raises(Error):
        who(connection)


def test_who_guesses_is_slowed_down_and_nobody_else(serve, connect):
    server = serve()
    told = {}
    for user in ("analyst-us", "nobody-of-this-name"):
        for _ in range(12):
            with pytest.raises(Error) as caught:
                who(connect(user, "guess", to=server))
            told.setdefault(user, []).append((caught.value.status_code, str(caught.value)))
        assert "unknown user or wrong password" in told[user][0][1]
        assert "too many failed logins" in told[user][-1][1]
    assert set(told["analyst-us"]) == set(told["nobody-of-this-name"])
    assert who(connect("analyst-eu", to=server)) == len(ANALYST)

    def comes_in():
        try:
            with open_connection(server, "analyst-us") as connection:
                return who(connection)
        except Error:
            time.sleep(0.5)
            return None

    assert eventually(comes_in, within=90) == len(ANALYST), "it is let in again"


def test_what_was_shown_is_in_no_log(monkeypatch, serve, ways, new_token, connect):
    monkeypatch.setenv("POLDER_LOG", "trace")
    token, hashed = new_token
    ways.declare(f"  tokens:\n    - {{ name: etl, token_hash: {ways.secret('etl.sha256', hashed)} }}")
    server = serve(mesh=ways.directory)
    assert who(connect(to=server, options=bearer(token)))
    assert who(connect("token", token, to=server))
    assert who(connect("analyst-us", to=server))
    refusal(connect, "guest", "not-the-password-of-guest", to=server)
    refusal(connect, to=server, options=bearer("eyJhbGciOiJub25lIn0.e30.not-a-signature"))
    assert eventually(lambda: any("a token of an identity provider is refused" in line for line in server.said))
    said = "\n".join(server.said)
    for shown in (token, "not-the-password-of-guest", "not-a-signature", "Bearer ", "Basic "):
        assert shown not in said, shown
