"""A client of the While1 Voice API that looks at the envelope of every answer, and a server for it."""

import pytest

from api.compat.php_names import build_query
from api.compat.while1.credentials import hash_parameters
from tests.api.conftest import Client, Server

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class While1:
    """A client as the vendor's: Bearer, HTTP 200 always."""

    def __init__(self, client, key=None):
        self.client, self.key = client, key

    def hashed(self, params):
        return params if self.key is None else {**params, "api_hash": hash_parameters(params, self.key)}

    def ask(self, name, params=None, *, how="json", **more):
        params = self.hashed(params or {})
        path = f"/api/{name}"
        if how == "get":
            answer = self.client.ask("GET", f"{path}?{build_query(params)}", **more)
        elif how == "form":
            answer = self.client.ask("POST", path, raw=build_query(params).encode(), headers=FORM, **more)
        else:
            answer = self.client.ask("POST", path, params, **more)
        assert isinstance(answer["has_error"], bool)
        # What is wrong may stand under codes; nothing is wrong is always a list.
        if isinstance(answer["messages"], dict):
            self.codes = list(answer["messages"])
            answer["messages"] = list(answer["messages"].values())
        return answer

    def get(self, name, params=None, **more):
        answer = self.ask(name, params, **more)
        assert not answer["has_error"], answer
        return answer

    def deny(self, message, name, params=None, **more):
        answer = self.ask(name, params, **more)
        assert answer == {"has_error": True, "messages": [message], "pagination": [], "results": []}


def share_site():
    """Three fixtures of a module: a server of its own, the native API there, this one with every permission."""

    @pytest.fixture(scope="module")
    def server(tmp_path_factory):
        server = Server(tmp_path_factory.mktemp("while1"))
        server.start()
        yield server
        server.stop()
        assert "Traceback" not in (server.folder / "log").read_text()

    @pytest.fixture(scope="module")
    def native(server):
        return Client(server.port, server.token)

    @pytest.fixture(scope="module")
    def voice(native):
        return While1(make_token(native))

    return server, native, voice


def make_token(native, *permissions, dialect="while1"):
    body = {"name": "w", "permissions": list(permissions or ("*",)), "dialect": dialect}
    return native.with_secret(native.ask("POST", "/api/v1/tokens", body, 201)["secret"])


CALL = {
    "project_id": 1, "caller_id": "0123456789", "caller_id_name": "John Doe", "type": "user", "destination": "1002", "external_id": "asdf1234",
}  # fmt: skip
