"""A live `tandem serve` on loopback, without Asterisk, and a client that holds every answer against its declared model."""

import json
import os
import re
import resource
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Api:
    """What an answer must look like, by the document that the server itself gives."""

    def __init__(self, document):
        self.document = document
        self.templates = [
            (re.compile("^" + re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) + "$"), methods)
            for path, methods in document["paths"].items()
        ]
        # Fixed paths before those with something that varies.
        self.templates.sort(key=lambda template: template[0].pattern.count("[^/]+"))

    def check(self, method, path, status, headers, body):
        found = next((methods for regex, methods in self.templates if regex.match(path.partition("?")[0])), {})
        operation = found.get(method.lower())
        if operation is None:
            assert status in (400, 401, 404, 405, 413) or path.startswith("/api/v1/docs"), (method, path, status)
            if status < 400:
                return
            operation = {"responses": {}}
        responses = operation["responses"]
        if responses:
            assert str(status) in responses, f"{method} {path} answered {status}, which is not declared: {body[:300]}"
        if status in (204, 304):
            assert body == b""
            return
        if status >= 400:
            assert headers["content-type"] == "application/json"
            schema = {"$ref": "#/components/schemas/Error"}
        else:
            declared = responses[str(status)]["content"]
            media = headers["content-type"].partition(";")[0]
            assert media in declared or "*/*" in declared
            if media != "application/json":
                return
            schema = declared["application/json"]["schema"]
        Draft202012Validator({**schema, "components": self.document["components"]}).validate(json.loads(body))


class Client:
    def __init__(self, port, token, api=None):
        self.port, self.token, self.api = port, token, api

    def ask(self, method, path, body=None, status=200, *, headers=None, raw=None, token=...):
        given = {} if headers is None else dict(headers)
        token = self.token if token is ... else token
        if token is not None:
            given.setdefault("Authorization", f"Bearer {token}")
        content = raw
        if body is not None:
            content = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, content, given)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.status, self.body = response.status, answer
        if status is not None:
            wanted = status if isinstance(status, tuple) else (status,)
            assert response.status in wanted, (method, path, response.status, answer[:500])
        if self.api is not None and method != "HEAD":
            self.api.check(method, path, response.status, self.headers, answer)
        return json.loads(answer) if self.headers.get("content-type") == "application/json" and answer else answer

    def with_token(self, *permissions):
        made = self.ask("POST", "/api/v1/tokens", {"name": "test", "permissions": list(permissions)}, 201)
        return Client(self.port, made["secret"], self.api)


class Server:
    def __init__(self, folder, document=ROOT / "examples" / "pbx.yaml", **more):
        self.folder = folder
        self.port = free_port()
        self.settings = folder / "tandem.yaml"
        (folder / "secret").write_text("a-secret-of-the-lab")
        (folder / "secret").chmod(0o600)
        values = {
            "state_dir": folder / "state", "run_dir": folder / "run", "database.path": folder / "db" / "tandem.db",
            "http.port": self.port, "fastagi.port": free_port(), "ami.port": free_port(), "asterisk.check": "off",
            "asterisk.config_dir": folder / "asterisk", "ami.secret_file": folder / "secret",
            "ami.config_secret_file": folder / "secret",
            **more,
        }  # fmt: skip
        first = self.run("init", *(f"--set={key}={value}" for key, value in values.items()))
        self.token = re.search(r"tandem_1_[0-9a-f]{64}", first)[0]
        self.run("import", str(document))
        self.log = (folder / "log").open("wb")
        self.process = None

    def command(self, *arguments):
        return [sys.executable, "-m", "tandem", "--settings", str(self.settings), *arguments]

    def run(self, *arguments):
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self):
        environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(self.command("serve"), stdout=self.log, stderr=self.log, cwd=ROOT, env=environ)
        deadline = time.monotonic() + 30
        while True:
            try:
                return Client(self.port, None).ask("GET", "/health")
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(30) == 0

    def read_rss_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    server = Server(tmp_path_factory.mktemp("tandem"))
    server.start()
    yield server
    server.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Traceback" not in (server.folder / "log").read_text()


@pytest.fixture(scope="session")
def api(server):
    return Api(Client(server.port, None).ask("GET", "/api/v1/openapi.json"))


@pytest.fixture
def client(server, api):
    return Client(server.port, server.token, api)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server of its own for each module, with the PBX of which the ARI Dialer's document talks."""
    server = Server(tmp_path_factory.mktemp("ari"), ROOT / "tests" / "api" / "ari.yaml")
    server.start()
    yield server
    server.stop()
    assert "Traceback" not in (server.folder / "log").read_text()


@pytest.fixture(scope="module")
def ari(site):
    """The ARI Dialer's API there; every answer is held against its own OpenAPI document."""
    from tests.api.ari_site import Ari

    document = Client(site.port, None).ask("GET", "/adial/api/openapi.json")
    return Ari(Client(site.port, site.token, Api(document)))
