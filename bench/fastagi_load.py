"""FastAGI servers side by side under bench/agiload.c: one EXEC per session, each server in a process of its own.

`python -m bench.fastagi_load` prints the table; `python -m bench.fastagi_load serve NAME PORT` runs one server until it
is terminated, NAME being one of SERVERS or `module:function` of a function that takes the port and serves.
"""

import asyncio
import importlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CONCURRENCY = 200
START_S = 60
DECISION = 'EXEC "Gosub" "tandem-enter,queue,1(sales,5,ro)"'


@dataclass(frozen=True, slots=True)
class Row:
    """One server under load: its own CPU per session in µs, latencies in ms."""

    server: str
    sessions: int
    sessions_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_us: float


# ---- the servers


def serve_tandem(port: int) -> None:
    """Our server on uvloop's transports, with a script that decides nothing."""
    import uvloop
    from twisted.internet import asyncioreactor

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    from twisted.internet import reactor

    from fastagi.service import AgiService
    from fastagi.session import Session

    async def did(session: Session) -> None:
        await session.exec("Gosub", "tandem-enter,queue,1(sales,5,ro)")

    service = AgiService({"did": did}, reactor, port=port, loop=loop)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


def serve_tandem_epoll(port: int) -> None:
    """Our server on Twisted's own transports and default reactor."""
    from twisted.internet import reactor

    from fastagi.service import AgiService
    from fastagi.session import Session

    async def did(session: Session) -> None:
        await session.exec("Gosub", "tandem-enter,queue,1(sales,5,ro)")

    AgiService({"did": did}, reactor, port=port).startService()
    reactor.run()


def serve_bare_uvloop(port: int) -> None:
    """The floor of this machine: a uvloop protocol that parses nothing."""
    import uvloop

    class Bare(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.received = b""

        def data_received(self, data: bytes) -> None:
            if self.received is None:
                self.transport.close()
                return
            self.received += data
            if self.received.endswith(b"\n\n"):
                self.received = None
                self.transport.write(f"{DECISION}\n".encode())

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    uvloop.run(main())


def serve_bare_twisted(port: int) -> None:
    """The floor of Twisted: a protocol that parses nothing, on the default reactor."""
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory, Protocol

    class Bare(Protocol):
        received = b""

        def dataReceived(self, data: bytes) -> None:  # noqa: N802
            if self.received is None:
                self.transport.loseConnection()
                return
            self.received += data
            if self.received.endswith(b"\n\n"):
                self.received = None
                self.transport.write(f"{DECISION}\n".encode())

    reactor.listenTCP(port, Factory.forProtocol(Bare), backlog=1024, interface="127.0.0.1")
    reactor.run()


def serve_panoramisk(port: int) -> None:
    """Panoramisk's FastAGI application, as its documentation shows it."""
    from panoramisk import fast_agi

    async def did(request: fast_agi.Request) -> None:
        await request.send_command(DECISION)

    async def main() -> None:
        application = fast_agi.Application(loop=asyncio.get_running_loop())
        application.add_route("did", did)
        server = await asyncio.start_server(application.handler, "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    asyncio.run(main())


def serve_pystrix(port: int) -> None:
    """Pystrix's threading server, as its documentation shows it."""
    from pystrix.agi import FastAGIServer, core

    def did(agi: object, args: object, kwargs: object, match: object, path: object) -> None:  # noqa: ARG001
        agi.execute(core.Exec("Gosub", ("tandem-enter,queue,1(sales,5,ro)",)))

    server = FastAGIServer(interface="127.0.0.1", port=port, daemon_threads=True)
    server.register_script_handler(re.compile("did"), did)
    server.serve_forever()


SERVERS: dict[str, Callable[[int], None]] = {
    "bare uvloop": serve_bare_uvloop,
    "bare Twisted": serve_bare_twisted,
    "tandem": serve_tandem,
    "tandem on epoll": serve_tandem_epoll,
    "panoramisk": serve_panoramisk,
    "pystrix": serve_pystrix,
}
SLOW = {"pystrix", "panoramisk"}  # get a quarter of the sessions


# ---- the load


@contextmanager
def built_agiload() -> Iterator[Path]:
    """The load generator, compiled for this run."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "agiload"
        subprocess.run(["cc", "-O2", "-w", "-o", program, HERE / "agiload.c"], check=True)
        yield program


@contextmanager
def serving(agiload: Path, name: str) -> Iterator[tuple[int, int]]:
    """The server `name` in a process of its own, once it has served a session: its port and process id."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bench.fastagi_load", "serve", name, str(port)]
    server = subprocess.Popen(command, cwd=HERE.parent)
    try:
        deadline = time.monotonic() + START_S
        # A whole session, because panoramisk spins for ever on a connection that is closed before its environment.
        while subprocess.run([agiload, str(port), "1", "1", "did"], capture_output=True, check=False).returncode:
            if server.poll() is not None:
                raise RuntimeError(f"the server {name} ended with {server.returncode} before it listened")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server {name} does not listen after {START_S} s")
            time.sleep(0.05)
        yield port, server.pid
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def measure(
    agiload: Path, name: str, sessions: int, concurrency: int = CONCURRENCY, extension: str = "15557654321"
) -> Row:
    """Warms the server up with a tenth of the sessions, then loads it. `#` in the extension becomes a random digit."""
    with serving(agiload, name) as (port, pid):
        for count in (max(sessions // 10, 1), sessions):
            command = [agiload, str(port), str(count), str(concurrency), "did", str(pid), extension]
            output = subprocess.run(command, capture_output=True, text=True, check=False)
            figures = dict(re.findall(r"(\w+) ([\d.]+)", output.stdout))
            if not figures:
                raise RuntimeError(f"agiload against {name}: {output.stderr.strip()}")
    return Row(
        name,
        sessions,
        float(figures["sessions_per_s"]),
        float(figures["p50_ms"]),
        float(figures["p99_ms"]),
        int(figures["failed"]),
        float(figures["server_cpu_us_per_session"]),
    )


def run(sessions: int = 20_000, servers: tuple[str, ...] = tuple(SERVERS)) -> list[Row]:
    """One row per server, one after the other."""
    with built_agiload() as agiload:
        return [measure(agiload, name, sessions // 4 if name in SLOW else sessions) for name in servers]


def print_rows(rows: list[Row]) -> None:
    """The table, each CPU time also as a multiple of Tandem's."""
    ours = next((row.cpu_us for row in rows if row.server == "tandem"), None)
    print(f"{'server':<18}{'sessions/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}{'CPU µs':>9}{'ratio':>8}")
    for row in rows:
        ratio = f"{row.cpu_us / ours:.1f}" if ours else ""
        figures = f"{row.sessions_per_s:>12,.0f}{row.p50_ms:>9.1f}{row.p99_ms:>9.1f}{row.failed:>8}{row.cpu_us:>9.1f}"
        print(f"{row.server:<18}{figures}{ratio:>8}")


def serve(name: str, port: int) -> None:
    """Runs one server until the process is terminated."""
    if name in SERVERS:
        SERVERS[name](port)
    else:
        module, _, function = name.partition(":")
        getattr(importlib.import_module(module), function)(port)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", name, port]:
            serve(name, int(port))
        case servers:
            print_rows(run(servers=tuple(servers) or tuple(SERVERS)))
