"""What the mesh has, over HTTP: for programs and for people, and for nobody more than they may know."""

import json
from html.parser import HTMLParser

import pytest

from test_http import basic, dial

JSON, HTML = "application/json", "text/html"


def get(server, path, user="analyst-eu", **headers):
    """Status, headers and text of a page."""
    connection = dial(server)
    try:
        connection.request("GET", path, headers=(basic(user) if user else {}) | headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def listed(server, user):
    status, _, text = get(server, "/v1/products", user)
    assert status == 200
    return {f"{page['domain']}.{page['product']}" for page in json.loads(text)}


def test_everybody_is_told_of_what_they_may_discover(server):
    analyst, guest, officer = (listed(server, user) for user in ("analyst-eu", "guest", "privacy-officer"))
    assert "storefront.customers" in analyst
    assert "payments.fraud_signals" in officer - analyst
    assert guest < officer


def test_a_product_is_told_with_what_it_needs_to_be_used(server):
    status, headers, text = get(server, "/v1/products/storefront/customers")
    page = json.loads(text)
    assert (status, headers["Content-Type"]) == (200, JSON)
    assert headers["Cache-Control"] == "no-store" and "authorization" in headers["Vary"]
    columns = {column["name"]: column for column in page["columns"]}
    assert page["owner"] == "storefront-data" and page["version"]
    assert page["key"] == ["customer_id"] and page["state"] in ("ok", "stale")
    assert "email" in columns and columns["email"]["description"]
    assert get(server, f"/v1/products/storefront/customers@{page['version'].split('.')[0]}")[0] == 200


def test_the_majors_of_a_product_lead_to_each_other(server):
    newest, older = (json.loads(get(server, f"/v1/products/wholesale/{name}")[2]) for name in ("orders", "orders@1"))
    assert [(other["product"], other["status"]) for other in newest["versions"]] == [("orders@1", "deprecated")]
    assert [other["uri"] for other in older["versions"]] == [newest["uri"]]
    assert "/v1/products/wholesale/orders@1" in Page(get(server, "/v1/products/wholesale/orders", Accept=HTML)[2]).links


def test_what_is_hidden_is_not_there(server):
    hidden, absent = (get(server, f"/v1/products/payments/{name}") for name in ("fraud_signals", "fraud_zignals"))
    assert hidden[0] == absent[0] == 404
    assert hidden[2].replace("fraud_signals", "") == absent[2].replace("fraud_zignals", "")
    assert get(server, "/v1/products/payments/fraud_signals", "privacy-officer")[0] == 200


@pytest.mark.parametrize("path", ["/v1/products", "/v1/products/storefront/customers"])
def test_nobody_is_told_without_credentials(path, server):
    for user, headers in [(None, {}), (None, basic("analyst-eu", "guess"))]:
        status, sent, text = get(server, path, user, **headers)
        assert status == 401 and any(value.startswith("Basic") for value in sent.get_all("WWW-Authenticate"))
        assert "storefront" not in text.replace(path, "")


class Page(HTMLParser):
    """The links and the elements of a page, which must all be closed by it or by HTML's own rules."""

    def __init__(self, text):
        super().__init__()
        self.links, self.elements, self.words = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data):
        self.words.append(data)


def test_a_browser_gets_pages_that_lead_from_one_to_the_next(server):
    status, headers, text = get(server, "/v1/products", Accept=f"{HTML},*/*;q=0.8")
    page = Page(text)
    assert status == 200 and headers["Content-Type"].startswith(HTML)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not page.elements & {"script", "img", "link", "iframe", "form"}
    assert "/v1/products/storefront/customers" in page.links
    for link in page.links:
        status, _, text = get(server, link, Accept=HTML)
        assert status == 200 and "<h1>" in text, link


def test_another_format_and_another_method_are_refused(server):
    assert get(server, "/v1/products", Accept="text/csv")[0] == 406
    connection = dial(server)
    connection.request("POST", "/v1/products", headers=basic("analyst-eu"))
    assert connection.getresponse().status == 405
    connection.close()
