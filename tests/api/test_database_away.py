"""A whole Tandem on a PostgreSQL server that is stopped and started: calls are decided all the time."""

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tandem.cli import exits
from tandem.cli.check import AGI_ENVIRONMENT
from tandem.cli.control import ask
from tests.api.conftest import ROOT, Client, Server
from tests.postgres import PASSWORD, PostgresServer

DID = "+493023125001"


@pytest.fixture
def postgres():
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


def decide(server: Server) -> str:
    """The jump that FastAGI answers a call with."""
    environment = AGI_ENVIRONMENT.replace("health", "did").replace("agi_extension: s", f"agi_extension: {DID}")
    with socket.create_connection(("127.0.0.1", server.fastagi_port), timeout=10) as connection:
        connection.sendall(environment.encode())
        lines = connection.makefile("r", encoding="utf-8", newline="\n")
        for line in lines:
            if "tandem-enter" in line:
                return line
            connection.sendall(b"200 result=1\n")
    raise AssertionError("it did not decide")


def run(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(server.command(*arguments), capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_calls_go_on_without_it_and_it_is_taken_up_again(postgres: PostgresServer, tmp_path: Path) -> None:
    server = Server(tmp_path, postgres.tcp_url(postgres.make_database()), PASSWORD)
    server.start()
    client = Client(server.port, server.token)
    control = tmp_path / "run" / "control.sock"
    reasons = lambda: str(ask(control, "GET", "/api/v1/monitoring/status")["reasons"])  # noqa: E731
    body = {"number": "+4930740", "destination": {"hangup": 16}}
    try:
        decision = decide(server)
        other = run(server, "serve")
        assert other.returncode == exits.BUSY
        assert f"tandem serve (pid {server.process.pid} on " in other.stderr

        postgres.stop(signal.SIGQUIT)
        assert decide(server) == decision
        refused = client.ask("POST", "/api/v1/dids", body, 503)
        assert "is PostgreSQL running?" in refused["error"]["message"]
        checked = run(server, "check")
        assert "NOT    database: " in checked.stdout
        assert "is PostgreSQL running? Check database.url" in checked.stdout
        assert run(server, "export").returncode == exits.UNREACHABLE

        # The next process has no database at all.
        server.stop()
        server.start()
        assert decide(server) == decision
        assert "routing without database" in reasons()

        postgres.start()
        wait_for(lambda: "routing without database" not in reasons())
        # Tokens are read again by themselves, too.
        wait_for(lambda: client.ask("GET", "/api/v1/dids", status=(200, 503)) and client.status == 200)
        client.ask("POST", "/api/v1/dids", body, 201)
        assert decide(server) == decision
        assert "well   database: " in run(server, "check").stdout
        assert "+4930740" in run(server, "export").stdout
        assert run(server, "serve").returncode == exits.BUSY
    finally:
        server.stop()
    log = (tmp_path / "log").read_text()
    assert PASSWORD not in log + checked.stdout + refused["error"]["message"]
