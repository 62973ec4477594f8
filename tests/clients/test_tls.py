"""TLS: certificates of clients, certificates that are renewed while the server runs, and who is slow to shake hands."""

import contextlib
import hashlib
import shutil
import socket
import ssl
import time

import pytest
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import AdbcStatusCode, Error
from cryptography import x509

from authority import HOUR, Authority
from cast import ANALYST, DISCOVERS
from conftest import open_connection
from serving import eventually
from ways import who

ROOTS = DatabaseOptions.TLS_ROOT_CERTS.value
CHAIN = DatabaseOptions.MTLS_CERT_CHAIN.value
KEY = DatabaseOptions.MTLS_PRIVATE_KEY.value
CERTIFICATES = """  certificates:
    - { name: etl, subject: "CN=etl,O=Packly", groups: [analysts] }
    - { name: robot, uri: "spiffe://packly.example/robot" }"""


@pytest.fixture
def tls(authority, tmp_path):
    """The files of a server's TLS, which a test may change."""
    files = tmp_path / "server.pem", tmp_path / "server.key"
    for made, file in zip(authority.issue("CN=localhost"), files):
        shutil.copy(made, file)
    return files


def arguments(tls, authority=None):
    some = ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1]), "--follow", "1"]
    return some + (["--tls-client-ca", str(authority.ca)] if authority else [])


@pytest.fixture
def connected(authority):
    """Opens connections over TLS, with a client's certificate or without."""
    with contextlib.ExitStack() as opened:

        def connected(server, *login, shown=None):
            options = {ROOTS: authority.ca.read_text()}
            if shown:
                options |= {CHAIN: shown[0].read_text(), KEY: shown[1].read_text()}
            uri = f"grpc+tls://localhost:{server.port}"
            return opened.enter_context(open_connection(server, *login, uri=uri, options=options))

        yield connected


def refused(connected, *arguments, **options):
    with pytest.raises(Error) as caught:
        who(connected(*arguments, **options))
    return caught.value


def served(port):
    """A digest of the certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("localhost", port), timeout=10) as plain, context.wrap_socket(plain) as wrapped:
        return hashlib.sha256(wrapped.getpeercert(binary_form=True)).hexdigest()


def digest(file):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read_text())).hexdigest()


def test_a_certificate_lets_its_service_in_and_nobody_by_another_name(serve, ways, tls, authority, connected):
    ways.declare(CERTIFICATES)
    server = serve(*arguments(tls, authority), mesh=ways.directory)
    etl = authority.issue("O=Packly,CN=etl", client=True)
    robot = authority.issue("CN=some robot", x509.UniformResourceIdentifier("spiffe://packly.example/robot"), client=True)
    assert who(connected(server, shown=etl)) == len(ANALYST)
    assert who(connected(server, shown=robot)) == len(DISCOVERS["guest"])
    # A password beside it names another principal.
    error = refused(connected, server, "analyst-eu", shown=etl)
    assert error.status_code == AdbcStatusCode.UNAUTHENTICATED
    # Certificates are one way in among others.
    assert who(connected(server, "analyst-eu")) == len(ANALYST)
    unknown = authority.issue("O=Packly,CN=etl,OU=more", client=True)
    assert who(connected(server, "analyst-eu", shown=unknown)) == len(ANALYST)
    nobody = [refused(connected, server), refused(connected, server, shown=unknown)]
    assert [error.status_code for error in nobody] == [AdbcStatusCode.UNAUTHENTICATED] * 2
    assert str(nobody[0]) == str(nobody[1])
    assert "this mesh asks who you are" in str(nobody[0])


def test_a_certificate_of_another_authority_or_for_servers_is_none(serve, ways, tls, authority, connected, tmp_path):
    ways.declare(CERTIFICATES)
    server = serve(*arguments(tls, authority), mesh=ways.directory)
    other = Authority(tmp_path / "other", "CN=another authority")
    for shown in (
        other.issue("O=Packly,CN=etl", client=True),
        authority.issue("O=Packly,CN=etl"),
        authority.issue("O=Packly,CN=etl", client=True, lasts=-HOUR / 2),
    ):
        refused(connected, server, shown=shown)
    # Without the authority nobody is asked for a certificate, and it lets nobody in.
    plain = serve(*arguments(tls), mesh=ways.directory)
    assert any("nobody comes in by one" in line for line in plain.said)
    assert "asks who you are" in str(refused(connected, plain, shown=authority.issue("O=Packly,CN=etl", client=True)))


def test_where_there_is_no_other_way_in_nobody_shakes_hands_without_a_certificate(serve, ways, tls, authority, connected):
    ways.declare(CERTIFICATES, users=False)
    server = serve(*arguments(tls, authority), mesh=ways.directory)
    assert who(connected(server, shown=authority.issue("O=Packly,CN=etl", client=True))) == len(ANALYST)
    error = refused(connected, server)
    assert error.status_code != AdbcStatusCode.UNAUTHENTICATED, "it does not come so far"
    # The mesh says so, also while it is served.
    ways.declare(CERTIFICATES)
    assert eventually(lambda: "asks who you are" in str(refused(connected, server)))


def test_a_certificate_that_is_taken_back_ends_at_the_next_call(serve, ways, tls, authority, connected):
    ways.declare(CERTIFICATES)
    server = serve(*arguments(tls, authority), mesh=ways.directory)
    connection = connected(server, shown=authority.issue("O=Packly,CN=etl", client=True))
    assert who(connection) == len(ANALYST)
    ways.declare(CERTIFICATES.replace("CN=etl", "CN=other"))

    def is_out():
        try:
            who(connection)
        except Error as error:
            return error.status_code == AdbcStatusCode.UNAUTHENTICATED

    assert eventually(is_out)


def test_a_renewed_certificate_is_served_and_a_broken_one_is_not(serve, mesh, tls, authority, connected):
    server = serve(*arguments(tls))
    connection = connected(server, "analyst-eu")
    assert who(connection) == len(ANALYST)
    first = served(server.port)

    def renew(certificate, key):
        shutil.copy(certificate, tls[0])
        shutil.copy(key, tls[1])

    second, third = authority.issue("CN=localhost"), authority.issue("CN=localhost")
    renew(*second)
    assert eventually(lambda: served(server.port) != first)
    assert served(server.port) == digest(second[0])
    assert who(connection) == len(ANALYST), "a connection goes on with what it began with"
    assert server.metric("polder_tls_renewals_total") == 1
    # A key of another certificate, a file cut short, no file.
    cut = third[0].read_text()[:200]
    for broken in (lambda: shutil.copy(third[1], tls[1]), lambda: tls[0].write_text(cut), tls[0].unlink):
        refusals = server.metric("polder_tls_renewals_refused_total")
        broken()
        assert eventually(lambda: server.metric("polder_tls_renewals_refused_total") > refusals)
        assert server.metric("polder_tls_stale") == 1
        assert who(connected(server, "analyst-eu")) == len(ANALYST)
    assert any("the TLS files on disk are not served" in line for line in server.said)
    renew(*third)
    assert eventually(lambda: server.metric("polder_tls_stale") == 0)
    assert served(server.port) == digest(third[0])


def test_who_is_slow_to_shake_hands_holds_up_nobody(serve, tls, connected):
    server = serve(*arguments(tls))
    with contextlib.ExitStack() as opened:
        for _ in range(300):
            opened.enter_context(socket.create_connection(("localhost", server.port), timeout=10)).send(b"\x16\x03\x01")
        begun = time.monotonic()
        assert who(connected(server, "analyst-eu")) == len(ANALYST)
        assert time.monotonic() - begun < 8, "less than the slow ones have"


def test_old_tls_is_refused_and_http2_is_agreed_on(serve, tls):
    server = serve(*arguments(tls))

    def handshake(**changes):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1", "h2"])
        for name, value in changes.items():
            setattr(context, name, value)
        with socket.create_connection(("localhost", server.port), timeout=10) as plain, context.wrap_socket(plain) as wrapped:
            return wrapped.version(), wrapped.selected_alpn_protocol()

    assert handshake() == ("TLSv1.3", "h2")
    assert handshake(maximum_version=ssl.TLSVersion.TLSv1_2) == ("TLSv1.2", "h2")
    with pytest.raises(ssl.SSLError), pytest.warns(DeprecationWarning):
        handshake(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
