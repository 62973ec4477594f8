"""An identity provider that runs in the test: it says of itself where its keys are, changes them, and signs tokens."""

import base64
import http.server
import json
import ssl
import threading
import time
import urllib.parse
from contextlib import contextmanager

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"ES256": (ec.SECP256R1(), "P-256", 32), "ES384": (ec.SECP384R1(), "P-384", 48)}
CLIENT = ("etl", "not much of a secret")


def encoded(content):
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def number(value):
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Key:
    """A key pair for one algorithm."""

    def __init__(self, algorithm, name):
        self.algorithm, self.name = algorithm, name
        if algorithm in CURVES:
            self.private = ec.generate_private_key(CURVES[algorithm][0])
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = rsa.generate_private_key(65537, 2048)

    def public(self):
        """As the provider shows it."""
        about = {"kid": self.name, "use": "sig", "alg": self.algorithm}
        key = self.private.public_key()
        if self.algorithm in CURVES:
            _, curve, size = CURVES[self.algorithm]
            point = key.public_numbers()
            x, y = (encoded(part.to_bytes(size, "big")) for part in (point.x, point.y))
            return {"kty": "EC", "crv": curve, "x": x, "y": y, **about}
        if self.algorithm == "EdDSA":
            return {"kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_bytes_raw()), **about}
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **about}

    def signature(self, signed):
        kind, bits = self.algorithm[:2], self.algorithm[2:]
        if self.algorithm == "EdDSA":
            return self.private.sign(signed)
        if kind == "ES":
            size = CURVES[self.algorithm][2]
            r, s = decode_dss_signature(self.private.sign(signed, ec.ECDSA(HASHES[bits])))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        pad = padding.PKCS1v15()
        if kind == "PS":
            pad = padding.PSS(padding.MGF1(HASHES[bits]), HASHES[bits].digest_size)
        return self.private.sign(signed, pad, HASHES[bits])

    def sign(self, header, claims):
        """A token; what is text already is signed as it is."""
        signed = f"{encoded(header)}.{encoded(claims)}"
        return f"{signed}.{encoded(self.signature(signed.encode()))}"

    def header(self, **more):
        return {"alg": self.algorithm, "kid": self.name, "typ": "JWT", **more}


class Issuer:
    """The provider. Its `keys` may change at any time."""

    def __init__(self, url):
        self.url = url
        self.key = Key("RS256", "first")
        self.keys = [self.key]
        self.asked = 0

    def claims(self, **changes):
        """What it says of jo; what is None is left out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": "polder", "sub": "jo", "iat": now, "exp": now + 600}
        claims |= {"realm_access": {"roles": ["analysts", "of-the-provider-alone"]}, "region": "EU"}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, key=None, **changes):
        key = key or self.key
        return key.sign(key.header(), self.claims(**changes))

    def answer(self, path, form, authorization):
        """Status and content of an answer."""
        self.asked += 1
        if path == "/.well-known/openid-configuration":
            return 200, {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "token_endpoint": f"{self.url}/token"}
        if path == "/keys":
            return 200, {"keys": [key.public() for key in self.keys]}
        if path == "/token":
            sent = form.get("client_id"), form.get("client_secret")
            if authorization.startswith("Basic "):
                text = base64.b64decode(authorization.removeprefix("Basic ")).decode()
                sent = tuple(urllib.parse.unquote_plus(part) for part in text.split(":", 1))
            if form.get("grant_type") != "client_credentials" or sent != CLIENT:
                return 401, {"error": "invalid_client"}
            token = self.token(sub="service-etl")
            return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 600}
        return 404, {}


@contextmanager
def running(tls=None):
    """An issuer that answers, over TLS with the files of a certificate and its key."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self, form=None):
            status, content = issuer.answer(self.path, form or {}, self.headers.get("authorization", ""))
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self.do_GET(dict(urllib.parse.parse_qsl(body)))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        issuer = Issuer(f"https://localhost:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
