"""Who comes in: a user with a password, or a token; and what everyone else is told."""

import pyarrow.flight
import pytest
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import AdbcStatusCode, Error

from cast import DISCOVERS

WHO = "SELECT count(*) FROM mesh.products"
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
