"""A client of goAPI that looks at the envelope of every answer."""

import json
from http.client import HTTPConnection
from urllib.parse import urlencode

FORM = "application/x-www-form-urlencoded"


class GoApi:
    """user, secret: the credentials of every call; another address for each, as wrong logins are limited by it."""

    def __init__(self, port, user, secret, source="127.0.0.1"):
        self.port, self.user, self.secret, self.source = port, user, secret, source

    def with_credentials(self, user, secret, source=None):
        return GoApi(self.port, user, secret, source or self.source)

    def send(self, method, path, body=None, headers=None):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(self.source, 0))
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            self.status, self.headers = response.status, {k.lower(): v for k, v in response.getheaders()}
            self.body = response.read()
        finally:
            connection.close()
        return self.body

    def fields(self, action, given):
        login = {"goUser": self.user, "goPass": self.secret, "goAction": action, "responsetype": "json"}
        return {name: value for name, value in (login | given).items() if value is not None}

    def call(self, module, action, /, *, http=200, prefix="goAPI", **given):
        """The parsed answer of a POST."""
        body = urlencode(self.fields(action, given), doseq=True).encode("utf-8", "surrogatepass")
        self.send("POST", f"/{prefix}/{module}/goAPI.php", body, {"Content-Type": FORM})
        assert self.status in (http if isinstance(http, tuple) else (http,)), (self.status, self.body[:500])
        return self.read()

    def get(self, module, action, /, prefix="goAPI", **given):
        self.send("GET", f"/{prefix}/{module}/goAPI.php?{urlencode(self.fields(action, given), doseq=True)}")
        return self.read()

    def read(self):
        assert self.headers["content-type"] == "application/json", self.body[:500]
        assert self.body.isascii()
        found = json.loads(self.body)
        assert found["result"] != ""
        return found

    def do(self, module, action, /, **given):
        found = self.call(module, action, **given)
        assert found["result"] == "success", found
        return found

    def deny(self, text, module, action, /, **given):
        found = self.call(module, action, **given)
        assert (found.get("message") or found["result"]) == text, found
        return found


def make_admin(client, name="admin", password="the password of the admin"):
    """A user of Tandem's, by its own API; the client of goAPI that is them."""
    client.ask("POST", "/api/v1/users", {"name": name, "password": password, "role": "admin"}, 201)
    return GoApi(client.port, name, password)
