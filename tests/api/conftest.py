"""A live `tandem serve` on loopback, without Asterisk, and a client that holds every answer against its declared model."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from lab.ports import find_free_port
from tandem.cli.main import main
from tests.postgres import PASSWORD

ROOT = Path(__file__).parents[2]


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
    """`source`: the address that it comes from; logins are limited by it."""

    def __init__(self, port, token, api=None, source="127.0.0.1"):
        self.port, self.token, self.api, self.source = port, token, api, source

    def with_secret(self, secret):
        return Client(self.port, secret, self.api, self.source)

    def ask(self, method, path, body=None, status=200, *, headers=None, raw=None, token=...):
        given = {} if headers is None else dict(headers)
        token = self.token if token is ... else token
        if token is not None:
            given.setdefault("Authorization", f"Bearer {token}")
        content = raw
        if body is not None:
            content = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(self.source, 0))
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
        return self.with_secret(made["secret"])


class Server:
    """url: a PostgreSQL database in the place of an SQLite file."""

    def __init__(self, folder, url=None, password=None, document=ROOT / "examples" / "pbx.yaml", **more):
        self.folder, self.url = folder, url
        self.port, self.fastagi_port = find_free_port(), find_free_port()
        self.settings = folder / "tandem.yaml"
        (folder / "secret").write_text("a-secret-of-the-lab")
        (folder / "secret").chmod(0o600)
        self.cel = folder / "records"
        self.cel.mkdir()
        values = {
            "state_dir": folder / "state", "run_dir": folder / "run", "database.path": folder / "db" / "tandem.db",
            "asterisk.recordings_dir": folder / "spool", "asterisk.voicemail_dir": folder / "voicemail", "recordings.dir": folder / "recordings", "sounds.dir": folder / "sounds",
            "http.port": self.port, "fastagi.port": self.fastagi_port, "ami.port": find_free_port(), "asterisk.check": "off",
            "asterisk.config_dir": folder / "asterisk", "asterisk.cel_file": self.cel / "cel.json",
            "asterisk.cdr_file": self.cel / "cdr.json", "ami.secret_file": folder / "secret",
            "ami.config_secret_file": folder / "secret",
            **more,
        }  # fmt: skip
        if url is not None:
            (folder / "password").write_text(password)
            (folder / "password").chmod(0o600)
            values |= {"database.url": url, "database.password_file": folder / "password"}
        first = self.set_up("init", *(f"--set={key}={value}" for key, value in values.items()))
        self.token = re.search(r"tandem_1_[0-9a-f]{64}", first)[0]
        self.set_up("import", str(document))
        self.log = (folder / "log").open("wb")
        self.process = None

    def set_up(self, *arguments):
        """A command's output; in this process, as another would load everything again."""
        done = CliRunner().invoke(main, ["--settings", str(self.settings), *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

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

    def read_database(self):
        """Every byte that it keeps."""
        if self.url is None:
            return b"".join(path.read_bytes() for path in (self.folder / "db").iterdir())
        with psycopg.connect(self.url, password=PASSWORD) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            found = bytearray()
            for (table,) in tables:
                with connection.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)") as copy:
                    found += b"".join(copy)
        return bytes(found)

    def read_rss_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


# What is kept and what comes out of it is asked of both databases; the rest does not touch one, or not by itself.
ON_BOTH = {"test_objects.py", "test_events.py", "test_campaigns.py", "test_numbers.py", "test_listing.py"}


def pytest_generate_tests(metafunc):
    if "server" in metafunc.fixturenames:
        databases = ["sqlite", "postgres"] if Path(metafunc.module.__file__).name in ON_BOTH else ["sqlite"]
        metafunc.parametrize("server", databases, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request, tmp_path_factory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    url = password = None
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres_server")
        url, password = postgres.tcp_url(postgres.make_database()), PASSWORD
    server = Server(tmp_path_factory.mktemp("tandem"), url, password)
    server.start()
    yield server
    server.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    log = (server.folder / "log").read_text()
    assert "Traceback" not in log
    assert PASSWORD not in log


@pytest.fixture(scope="session")
def api(server):
    return Api(Client(server.port, None).ask("GET", "/api/v1/openapi.json"))


SOURCES = (f"127.0.{high}.{low}" for high in range(1, 255) for low in range(1, 255))


@pytest.fixture
def client(server, api):
    """From an address of its own, so that no test meets the limits of another."""
    return Client(server.port, server.token, api, next(SOURCES))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server of its own for each module, with the PBX of which the ARI Dialer's document talks."""
    server = Server(tmp_path_factory.mktemp("ari"), document=ROOT / "tests" / "api" / "ari.yaml")
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
