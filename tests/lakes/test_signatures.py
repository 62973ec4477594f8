"""A catalog that wants each request signed, as those of AWS do: what is sent is checked by AWS's own library."""

import re

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from faults import Proxy
from lakes import Domain, ask, assert_is_clear, rows, s3_storage, write, write_mesh
from servers import KEY, REGION, SECRET

SQL, EXPECTED = "SELECT key, amount, note FROM orchard.sales ORDER BY key", rows("orchard")
FORM = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)")


class Checks:
    """Lets through what the owner of the key has signed for a service."""

    def __init__(self, proxy, service):
        self.service, self.signed = service, []
        proxy.guards.append(self)

    def __call__(self, asked):
        if wrong := self.wrong(asked):
            return 403, {}, f'{{"error": {{"message": "{wrong}", "type": "Forbidden", "code": 403}}}}'.encode()
        self.signed.append(asked.path)
        return None

    def wrong(self, asked):
        found = FORM.fullmatch(asked.headers.get("Authorization", ""))
        if not found:
            return "not signed"
        key, _, region, service, names, signature = found.groups()
        if (key, region, service) != (KEY, REGION, self.service):
            return "signed for something else"
        if "host" not in names.split(";"):
            return "the host is not signed"
        headers = {name: asked.headers[name] for name in names.split(";")}
        request = AWSRequest(asked.method, f"http://{asked.headers['Host']}{asked.path}", headers, asked.body)
        request.context["timestamp"] = asked.headers["X-Amz-Date"]
        aws = SigV4Auth(Credentials(KEY, SECRET), service, region)
        due = aws.signature(aws.string_to_sign(request, aws.canonical_request(request)), request)
        return None if due == signature else "another signature is due"


@pytest.fixture
def catalog(fixture, domains):
    catalog = Proxy(fixture.address)
    yield catalog
    catalog.close()


def declared(catalog, kind):
    if kind == "glue":
        return {"type": "glue", "region": REGION, "uri": catalog.url}
    return {"type": "rest", "uri": catalog.url, "sigv4": {"region": REGION, "service": "glue"}}


@pytest.mark.parametrize("kind", ["rest", "glue"])
def test_each_request_is_signed(kind, catalog, s3, tmp_path, serve, asking):
    checks = Checks(catalog, "glue")
    domain = Domain("orchard", declared(catalog, kind), s3_storage(s3.url), None)
    connection = asking(serve(write_mesh(tmp_path / "mesh", [domain])))
    assert ask(connection, SQL).is_exact(EXPECTED)
    assert any("/tables/sales" in path for path in checks.signed)


def test_a_key_that_is_not_known_is_refused_by_name(catalog, s3, tmp_path, serve, asking):
    Checks(catalog, "glue")
    domain = Domain("orchard", declared(catalog, "rest"), s3_storage(s3.url), None)
    mesh = write_mesh(tmp_path / "mesh", [domain])
    write(mesh / "secrets" / "secret", "another secret")
    assert_is_clear(ask(asking(serve(mesh)), SQL).error, "orchard")
