"""A certificate authority of the tests, and the certificates that it signs."""

import datetime
import itertools

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
KINDS = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME}
HOUR = datetime.timedelta(hours=1)


def subject(text):
    """`O=Packly,CN=etl`, in the order of the certificate."""
    parts = (part.split("=", 1) for part in text.split(","))
    return x509.Name([x509.NameAttribute(KINDS[kind], value) for kind, value in parts])


class Authority:
    """Signs certificates for servers and clients. Its own is in the file `ca`."""

    def __init__(self, directory, name="CN=Packly test authority"):
        directory.mkdir(exist_ok=True)
        self.directory, self.numbers = directory, itertools.count()
        self.name, self.key = subject(name), ec.generate_private_key(ec.SECP256R1())
        extension = x509.BasicConstraints(ca=True, path_length=0)
        own = self._builder(self.name, self.key, HOUR * 24).add_extension(extension, critical=True)
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(own.sign(self.key, hashes.SHA256()).public_bytes(PEM))

    def _builder(self, name, key, lasts):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - HOUR).not_valid_after(now + lasts)

    def issue(self, name, *names, client=False, lasts=HOUR * 24):
        """The files of a new certificate and of its key, for a server on this machine or for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        if not client:
            names = [x509.DNSName("localhost"), *names]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = self._builder(subject(name), key, lasts)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        number = next(self.numbers)
        files = self.directory / f"{number}.pem", self.directory / f"{number}.key"
        files[0].write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(PEM))
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files[1].write_bytes(private)
        return files
