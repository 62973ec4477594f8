"""Those who log one in: what they give out ends after a while, and nothing else is taken."""

import json
import threading
import time
import urllib.parse

from servers import KEY, REGION, SECRET

CLIENT, WORD = "reader", "a-word-of-the-reader"
JSON = {"Content-Type": "application/json"}
DENIED = '{"error": {"message": "who are you?", "type": "NotAuthorizedException", "code": %d}}'


class Desk:
    """Stands before a catalog, gives out tokens that end, and lets nobody pass without one."""

    def __init__(self, proxy, lifetime, status=401):
        self.lifetime, self.status = lifetime, status
        self.given, self.live, self.refused = 0, {}, 0
        self.lock = threading.Lock()
        proxy.guards.append(self)

    def __call__(self, asked):
        with self.lock:
            if asked.path.endswith("/v1/oauth/tokens"):
                form = dict(urllib.parse.parse_qsl(asked.body.decode()))
                if (form["grant_type"], form["client_id"], form["client_secret"]) != ("client_credentials", CLIENT, WORD):
                    return 401, JSON, b'{"error": "invalid_client"}'
                self.given += 1
                self.live = {f"token-{self.given}": time.monotonic() + self.lifetime}
                told = {"access_token": f"token-{self.given}", "token_type": "bearer", "expires_in": self.lifetime}
                return 200, JSON, json.dumps(told).encode()
            token = asked.headers.get("Authorization", "").removeprefix("Bearer ")
            if self.live.get(token, 0) > time.monotonic():
                return None
            self.refused += 1
            return self.status, JSON, (DENIED % self.status).encode()

    def forget(self):
        """No token that was given is good any more."""
        with self.lock:
            self.live = {}


class Lender:
    """Stands before a catalog and a store: it lends keys with each table, which end, and the store takes no other ones."""

    def __init__(self, catalog, store, lifetime, says_when=True, refusal=403):
        self.lifetime, self.says_when, self.place, self.refusal = lifetime, says_when, store.url, refusal
        self.given, self.live, self.refused = 0, {}, 0
        self.lock = threading.Lock()
        catalog.editors.append(self.lend)
        store.guards.append(self.check)

    def lend(self, asked, status, content):
        if "/tables/" not in asked.path or asked.method != "GET" or status != 200:
            return content
        table = json.loads(content)
        with self.lock:
            self.given += 1
            self.live[f"loan-{self.given}"] = time.time() + self.lifetime
            lent = {"s3.access-key-id": KEY, "s3.secret-access-key": SECRET, "s3.session-token": f"loan-{self.given}"}
            if self.says_when:
                lent["s3.session-token-expires-at-ms"] = str(int((time.time() + self.lifetime) * 1000))
        table["config"] = table.get("config", {}) | {"s3.endpoint": self.place, "client.region": REGION}
        table["storage-credentials"] = [{"prefix": "s3://orchard", "config": lent}]
        return json.dumps(table).encode()

    def check(self, asked):
        with self.lock:
            loan = asked.headers.get("X-Amz-Security-Token", "")
            if self.live.get(loan, 0) > time.time():
                return None
            self.refused += 1
        body = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
        return self.refusal, {"Content-Type": "application/xml"}, body
