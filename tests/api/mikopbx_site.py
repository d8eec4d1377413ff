"""A client of the MikoPBX auto dialer's API that looks at the envelope of every answer, and a server for it."""

import json
from http.client import HTTPConnection

import pytest

from tests.api.conftest import Client, Server

BASE = "/pbxcore/api/module-dialer/v1"
# Of the vendor's document, where that is not beside us.
POLL = {
    "name": "New polling",
    "questions": [
        {"questionId": "1", "questionText": "To order, press 1. To unsubscribe, press 3.", "nextQuestion": "", "lang": "en-US", "press": [
            {"key": "1", "action": "playback", "value": '"Thank you"', "valueOptions": "text"},
            {"key": "3", "action": "answer", "value": "no"}]},
    ],
}  # fmt: skip
PASSWORD = "correct horse battery"


class Miko:
    """A client as the vendor's users write them."""

    def __init__(self, port, cookie=None, source="127.0.0.1"):
        self.port, self.cookie, self.source = port, cookie, source

    def ask(self, method, path, body=None, status=200, headers=()):
        """The body goes as curl -d sends it: as a form, by its type."""
        given = {"Content-Type": "application/x-www-form-urlencoded", **dict(headers)}
        if self.cookie is not None:
            given["Cookie"] = self.cookie
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(self.source, 0))
        try:
            connection.request(method, path if path.startswith("/") else f"{BASE}/{path}", raw, given)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        assert response.status == status, (method, path, response.status, answer[:500])
        return json.loads(answer)

    def data(self, method, path, body=None, **more):
        answer = self.ask(method, path, body, **more)
        assert answer["result"] is True, answer
        assert set(answer) == {"result", "data", "messages", "function", "processor", "pid"}
        return answer["data"]

    def refused(self, method, path, body=None):
        answer = self.ask(method, path, body)
        assert answer["result"] is False, answer
        return answer["messages"]


def share_site():
    """Four fixtures of a module: a server of its own with a CRM, the API there, the native one, a poll for each test."""

    @pytest.fixture(scope="module")
    def server(tmp_path_factory):
        server = Server(
            tmp_path_factory.mktemp("mikopbx"),
            **{
                "apis.mikopbx.serve": "everywhere",
                "apis.mikopbx.trust_loopback": "true",
                "dialer.enabled": "false",
                "apis.mikopbx.crm_url": "https://crm.example/answers",
            },
        )
        server.start()
        yield server
        server.stop()
        assert "Traceback" not in (server.folder / "log").read_text()

    @pytest.fixture
    def miko(server):
        return Miko(server.port)

    @pytest.fixture
    def native(server):
        return Client(server.port, server.token)

    @pytest.fixture
    def poll(miko):
        return miko.data("POST", "polling", POLL)

    return server, miko, native, poll


def as_proxied(server, cookie=None):
    """Somebody who is not on this machine."""
    client = Miko(server.port, cookie)
    ask = client.ask
    client.ask = lambda *a, headers=(), **k: ask(*a, headers={**dict(headers), "X-Forwarded-For": "192.0.2.1"}, **k)
    return client


def rows_of(miko, task):
    return {row["phone"]: row["result"] for row in miko.data("GET", f"task/{task['id']}")["results"]}


def make_task(miko, poll, **more):
    body = {"name": "New polling task", "state": 2, "innerNum": poll["id"], "innerNumType": "polling", "maxCountChannels": 1, "dialPrefix": "999",
            "numbers": [{"number": "79522233446"}, "79522233416"], **more}  # fmt: skip
    return miko.data("POST", "task", body)


def log_in(server, name, password, raw=None, source="127.0.0.1"):
    client = Miko(server.port, source=source)
    body = raw or f"&login={name}&password={password}&".encode()
    return client, client.ask(
        "POST", "/admin-cabinet/session/start", body, headers={"X-Requested-With": "XMLHttpRequest"}
    )
