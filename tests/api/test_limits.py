"""Who sends too much, too slowly, too many or nonsense: refused in JSON before it costs anything, and never in the way of others."""

import json
import re
import socket
import ssl
import time

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from api.declare import ARRIVAL_S
from api.errors import explain
from api.request import LINGER_S
from api.site import Api
from api.v1.table import ROUTES


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_answer(connection):
    """(status, headers, JSON) of an answer, up to the end of the connection or of its length."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        assert chunk, f"closed after {received!r}"
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(headers[b"content-length"]):
        body += connection.recv(65536)
    assert headers[b"content-type"] == b"application/json"
    return int(head.split()[1]), headers, json.loads(body)


def request_line(method, path, *headers):
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *headers, "", "")).encode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 401),
        (("Authorization: Bearer nonsense",), 401),
        (("Authorization: {token}", "Content-Type: application/json"), 413),
        (("Authorization: {token}", "Content-Type: multipart/form-data; boundary=x"), 413),
    ],
)
def test_a_gigabyte_is_refused_before_it_is_read(server, headers, status):
    before = server.read_rss_mb()
    filled = [line.format(token=f"Bearer {server.token}") for line in headers]
    with connect(server) as connection:
        connection.sendall(request_line("POST", "/api/v1/dids", "Content-Length: 1073741824", *filled))
        sent = 0
        try:
            while sent < 1 << 30:
                sent += connection.send(b"x" * 65536)
        except OSError:
            pass
        assert sent < 64 << 20, "it read on"  # what the kernel's buffers take, and the moment that it lingers
    with connect(server) as connection:
        connection.sendall(request_line("POST", "/api/v1/dids", "Content-Length: 1073741824", *filled))
        assert read_answer(connection)[0] == status
    assert server.read_rss_mb() < before + 20


def test_no_100_continue_for_what_is_refused(server):
    for token, wanted in (("nonsense", b"HTTP/1.1 401"), (server.token, b"HTTP/1.1 100")):
        with connect(server) as connection:
            lines = (
                "Content-Length: 50",
                "Expect: 100-continue",
                f"Authorization: Bearer {token}",
                "Content-Type: application/json",
            )
            connection.sendall(request_line("POST", "/api/v1/dids", *lines))
            assert connection.recv(100).startswith(wanted)


def test_chunks_without_end_are_refused_at_the_limit(server):
    before = server.read_rss_mb()
    with connect(server) as connection:
        lines = (
            "Transfer-Encoding: chunked",
            f"Authorization: Bearer {server.token}",
            "Content-Type: application/json",
        )
        connection.sendall(request_line("POST", "/api/v1/dids", *lines))
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for _ in range(17):
            connection.sendall(chunk)
        assert read_answer(connection)[0] == 413
    assert server.read_rss_mb() < before + 20


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /api/v1/dids HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /api/v1/dids HTTP/1.1\r\nA: " + b"x" * 20000 + b"\r\n\r\n", 400),
        (b"GET /api/v1/dids HTTP/1.1\r\n" + b"".join(b"A%d: x\r\n" % n for n in range(200)) + b"\r\n", 400),
        (b"GET /api/v1/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /api/v1/%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /api/v1/dids?q=%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /api/v1/a%0d%0ab HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://x/api/v1/dids HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: \xff\xfe.%%\r\n\r\n", 200),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET //health HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /health/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"TRACE /health HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"OPTIONS /api/v1/dids HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n\r\n", 405),
        (b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde", 404),
        (b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde", 405),
        (b"POST /api/v1/dids HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nzz\r\n", 400),
        (b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{\"a\"", 400),
        (b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data\r\nContent-Length: 4\r\n\r\n--xx", 415),
        (b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n" + b"[" * 400, 400),
        (b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 80\r\n\r\n" + b"[" * 40 + b"]" * 40, 400),
    ],
)  # fmt: skip
def test_every_error_is_json(server, raw, status):
    with connect(server) as connection:
        connection.sendall(raw)
        found, headers, body = read_answer(connection)
        assert found == status, body
        if status >= 400:
            assert body["error"]["status"] == status
        if status == 405:
            assert b"get" in headers[b"allow"]
        assert not any(name.startswith(b"access-control") for name in headers)


def test_idle_connections_by_the_thousand_keep_nobody_out(server, client):
    idle = []
    try:
        idle += [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(5000)]
        started_at = time.monotonic()
        for _ in range(20):
            client.ask("GET", "/api/v1/dids?limit=1")
        assert time.monotonic() - started_at < 5
        metrics = client.ask("GET", "/metrics").decode()
        held = float(metrics.split("\ntandem_http_connections ")[1].split()[0])
        assert held <= 2000  # 1,000 on each of the two listeners
    finally:
        for connection in idle:
            connection.close()
    client.ask("GET", "/health")


class TestSlowness:
    """At the protocol, on a clock: who sends slowly has its time from the first byte, whatever it drips."""

    @pytest.fixture
    def clock(self):
        return Clock()

    @pytest.fixture
    def channel(self, clock):
        from types import SimpleNamespace

        from api.metrics import Metrics

        services = SimpleNamespace(metrics=Metrics(), authority=None, refuse=explain)
        api = Api(services, ROUTES)
        site = api.make_site(clock, trusted=True, max_connections=10)
        channel = site.buildProtocol(None)
        channel.makeConnection(Aborting())
        return channel

    def test_a_head_that_drips(self, channel, clock):
        for _ in range(int(ARRIVAL_S) + 1):
            channel.dataReceived(b"G")
            clock.advance(1)
        assert channel.transport.disconnected or b"408" in channel.transport.value()

    def test_a_body_that_drips(self, channel, clock):
        lines = b"POST /api/v1/dids HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        channel.dataReceived(lines)
        for _ in range(int(ARRIVAL_S) + 1):
            channel.dataReceived(b" ")
            clock.advance(1)
        assert b"408 Request Timeout" in channel.transport.value()
        clock.advance(LINGER_S)
        assert channel.transport.disconnected

    def test_nothing_at_all(self, channel, clock):
        clock.advance(ARRIVAL_S)
        assert channel.transport.disconnected

    def test_no_timer_is_left_behind(self, channel, clock):
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        channel.dataReceived(b"GET /hea")
        channel.connectionLost(Failure(ConnectionDone()))
        assert clock.getDelayedCalls() == []
        assert channel.site.connections == 0


class Aborting(StringTransport):
    disconnected = False

    def abortConnection(self):
        self.disconnected = True

    def loseConnection(self):
        self.disconnected = True


def test_tls_by_settings(tmp_path):
    import subprocess

    from tests.api.conftest import Server

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    key.chmod(0o600)
    server = Server(tmp_path)
    text = server.settings.read_text()
    server.settings.write_text(text.replace("http:\n", f"http:\n  tls_certificate: {certificate}\n  tls_key: {key}\n"))
    server.process = subprocess.Popen(server.command("serve"), stdout=server.log, stderr=server.log)
    try:
        context = ssl.create_default_context(cafile=str(certificate))
        deadline = time.monotonic() + 30
        while True:
            try:
                raw = socket.create_connection(("127.0.0.1", server.port), timeout=5)
                break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.05)
        with context.wrap_socket(raw, server_hostname="localhost") as connection:
            assert connection.version() in ("TLSv1.2", "TLSv1.3")
            connection.sendall(request_line("GET", "/health"))
            assert read_answer(connection)[2]["live"] is True
        with context.wrap_socket(connect(server), server_hostname="localhost") as connection:
            connection.sendall(
                request_line("GET", "/metrics", f"Authorization: Bearer {server.token}", "Connection: close")
            )
            metrics = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        (left,) = re.findall(r"^tandem_http_tls_certificate_expires_in_seconds (\S+)\r?$", metrics, re.MULTILINE)
        assert 86_400 < float(left) < 2 * 86_400
        with connect(server) as plain:
            plain.sendall(request_line("GET", "/health"))
            assert not plain.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        server.stop()
