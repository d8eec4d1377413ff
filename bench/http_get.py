"""GET of a small resource through the whole of Tandem, beside a Klein hello-world, each in a process of its own on the same kind of reactor.

Ours judges the address, finds the route, verifies a token, tags and serialises the object, and counts; Klein's says hello. Kept connections ask one
request at a time each. The servers take turns in rounds, and the medians count. CPU per request is what the kernel charged to the server: on a
machine that others use too, it says more than requests per second do.

`python -m bench.http_get PORT` runs the hello-world until it is terminated.
"""

import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.sip_calls import read_cpu_s
from bench.whole_tandem import ROOT, START_S, WholeTandem
from lab.ports import find_free_port

CONNECTIONS = 32
REQUESTS = 3_000
ROUNDS = 7
DOCUMENT = """
general: {country: DE}
endpoints: [{extension: "1001", name: Ann, secret: a-secret-of-1001}]
dids: [{number: "+4930100", destination: {endpoint: "1001"}}]
"""
RESOURCE = "/api/v1/endpoints/1001"
HELLO, OURS = "Klein, hello world", "Tandem, GET of an endpoint"


@dataclass(frozen=True, slots=True)
class GetRow:
    """One server: medians of CPU per request in µs and of requests per second; how many were not answered as the first one was."""

    server: str
    cpu_us: float
    requests_per_s: float
    requests: int
    failed: int


@dataclass(frozen=True, slots=True)
class _Server:
    name: str
    pid: int
    port: int
    request: bytes


def serve_hello(port: int) -> None:
    """Klein's hello-world on our reactor."""
    from tandem.reactor import install_reactor

    install_reactor()
    from klein import Klein
    from twisted.internet import reactor
    from twisted.web.server import Site

    app = Klein()

    @app.route("/")
    def hello(request: object) -> str:  # noqa: ARG001 - klein hands it over
        return "Hello, world!"

    reactor.listenTCP(port, Site(app.resource()), interface="127.0.0.1", backlog=1024)
    reactor.run()


@contextmanager
def serving_hello() -> Iterator[_Server]:
    """The hello-world in a process of its own, once it listens."""
    port = find_free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.http_get", str(port)], cwd=ROOT)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the hello-world does not serve") from None
                time.sleep(0.05)
        yield _Server(HELLO, process.pid, port, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    finally:
        process.terminate()
        process.wait()


def is_whole(answer: bytes) -> bool:
    """Whether an answer is there with all of its body."""
    head, gap, body = answer.partition(b"\r\n\r\n")
    if not gap:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n")


def ask(port: int, request: bytes, requests: int, connections: int) -> tuple[float, int]:
    """(seconds, how many answers were not 200 with the body of the first): so many requests over kept connections, one at a time on each."""
    selector = selectors.DefaultSelector()
    begun = done = failed = 0
    wanted = b""
    started = time.perf_counter()
    for _ in range(min(connections, requests)):
        client = socket.create_connection(("127.0.0.1", port), timeout=START_S)
        selector.register(client, selectors.EVENT_READ, bytearray())
        client.sendall(request)
        begun += 1
    while done < requests:
        ready = selector.select(START_S)
        if not ready:
            raise RuntimeError(f"{requests - done} requests are not answered after {START_S:g} s")
        for key, _ in ready:
            client, answer = key.fileobj, key.data
            answer += client.recv(65536)
            if not is_whole(answer):
                continue
            body = bytes(answer).partition(b"\r\n\r\n")[2]
            wanted = wanted or body
            failed += not answer.startswith(b"HTTP/1.1 200 ") or body != wanted
            answer.clear()
            done += 1
            if begun < requests:
                client.sendall(request)
                begun += 1
    took_s = time.perf_counter() - started
    for key in tuple(selector.get_map().values()):
        key.fileobj.close()
    selector.close()
    return took_s, failed


def run(requests: int = REQUESTS, rounds: int = ROUNDS, connections: int = CONNECTIONS) -> list[GetRow]:
    """The hello-world's row, then ours."""
    with serving_hello() as hello, WholeTandem(document=DOCUMENT) as tandem:
        servers = [hello, _Server(OURS, tandem.process.pid, tandem.port, tandem.request(RESOURCE))]
        figures: dict[str, list[tuple[float, float, int]]] = {server.name: [] for server in servers}
        for server in servers:  # what the first requests compile and cache is not theirs to pay
            ask(server.port, server.request, requests, connections)
        for _ in range(rounds):
            for server in servers:
                before_s = read_cpu_s(server.pid)
                took_s, failed = ask(server.port, server.request, requests, connections)
                cpu_us = (read_cpu_s(server.pid) - before_s) / requests * 1e6
                figures[server.name].append((cpu_us, requests / took_s, failed))
    return [
        GetRow(
            name,
            cpu_us=statistics.median(cpu_us for cpu_us, _, _ in runs),
            requests_per_s=statistics.median(rate for _, rate, _ in runs),
            requests=requests * rounds,
            failed=sum(failed for _, _, failed in runs),
        )
        for name, runs in figures.items()
    ]


if __name__ == "__main__":
    if sys.argv[1:]:
        serve_hello(int(sys.argv[1]))
    else:
        for row in run():
            print(row)
