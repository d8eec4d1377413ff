"""FastAGI servers side by side under bench/agiload.c: one EXEC per session, each server in a process of its own.

Ours decides about real DIDs (bench/decision_server.py is `tandem serve`); the others send one fixed EXEC, which is less than their users
would do. The servers take turns in rounds, and the medians count: what else the machine does then hits them all alike.

CPU per session is measured with server and load generator on one core. On cores of their own, every write to a sleeping load generator
wakes it on the other core, which costs up to 20 µs in a virtual machine and is charged to the server: the figure would say how idle the load
generator was. Sessions per second and latencies are measured on all cores.

`python -m bench.fastagi_load serve NAME PORT` runs one of the simple servers until it is terminated.
"""

import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.decision_server import make_pbx_folder, pick_extension

HERE = Path(__file__).parent
CONCURRENCY = 200
START_S = 60
DECISION = 'EXEC "Gosub" "tandem-enter,queue,1(sales,5,ro)"'


ROUNDS = 7
FEW_DIDS = 100
MANY_DIDS = 100_000
SWAPS = 5
REAL = "tandem, {:,} DIDs"


@dataclass(frozen=True, slots=True)
class Row:
    """One server under load: its own CPU per session in µs on one core with the load; the rest on all cores, latencies in ms.

    cpu_apart_us: the same on all cores, so that it pays for waking the load generator, too.
    """

    server: str
    sessions: int
    failed: int
    cpu_us: float
    cpu_apart_us: float
    sessions_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Swap:
    """A second revision loaded beside the first: the lateness of a timer of 1 ms meanwhile, and resident memory with both."""

    lag_max_ms: float
    lag_p99_ms: float
    rss_mb: float


# ---- the servers


def serve_tandem(port: int) -> None:
    """Our server with a script that decides nothing."""
    from tandem.reactor import install_reactor

    install_reactor()
    from twisted.internet import reactor

    from fastagi.service import AgiService
    from fastagi.session import Session

    async def did(session: Session) -> None:
        await session.exec("Gosub", "tandem-enter,queue,1(sales,5,ro)")

    service = AgiService({"did": did}, reactor, port=port, loop=asyncio.get_event_loop())
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
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

        def dataReceived(self, data: bytes) -> None:
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
    "tandem, fixed EXEC": serve_tandem,
    "panoramisk": serve_panoramisk,
    "pystrix": serve_pystrix,
}
SLOW = {"pystrix", "panoramisk"}  # get a quarter of the sessions


# ---- the load


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and what to ask it."""

    name: str
    pid: int
    port: int
    extension: str

    @property
    def share(self) -> int:
        """Slow servers get one session of so many, or they would take the whole run."""
        return 4 if self.name in SLOW else 1


@contextmanager
def built_agiload() -> Iterator[Path]:
    """The load generator, compiled for this run."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "agiload"
        subprocess.run(["cc", "-O2", "-w", "-o", program, HERE / "agiload.c"], check=True)
        yield program


@contextmanager
def serving(agiload: Path, name: str, argv: Sequence[str], extension: str = "15557654321") -> Iterator[Server]:
    """The server in a process of its own, once it has served a session; `{port}` in argv becomes its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", *(word.format(port=port) for word in argv)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=HERE.parent, stderr=log, env=os.environ | read_unit_environment())
        try:
            deadline = time.monotonic() + START_S
            # A whole session, because panoramisk spins for ever on a connection that is closed before its environment.
            while subprocess.run([agiload, str(port), "1", "1", "did"], capture_output=True, check=False).returncode:
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"the server {name} does not serve: {log.read()[-2000:].decode()}")
                time.sleep(0.05)
            yield Server(name, process.pid, port, extension)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def read_unit_environment() -> dict[str, str]:
    """What the shipped unit puts into the environment; all servers of the bench have it."""
    lines = (HERE.parent / "systemd" / "tandem.service").read_text(encoding="utf-8").splitlines()
    words = [
        word for line in lines if line.startswith("Environment=") for word in line.removeprefix("Environment=").split()
    ]
    return dict(word.split("=", 1) for word in words)


def run_load(agiload: Path, server: Server, sessions: int, cores: set[int]) -> dict[str, float]:
    """What agiload printed, with server and load on these cores. `#` in the server's extension becomes a random digit."""
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)
    command = [agiload, server.port, sessions, CONCURRENCY, "did", server.pid, server.extension]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    figures = {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+)", done.stdout)}
    if not figures:
        raise RuntimeError(f"agiload against {server.name}: {done.stderr.strip()}")
    return figures


def measure(agiload: Path, servers: Sequence[Server], sessions: int, rounds: int) -> list[Row]:
    """Interleaved rounds against each server, after a warm-up."""
    everywhere = os.sched_getaffinity(0)
    one = {max(everywhere)}
    apart: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    together: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for server in servers:
        run_load(agiload, server, max(sessions // server.share // 2, CONCURRENCY), one)
    for _ in range(rounds):
        for server in servers:
            count = max(sessions // server.share, CONCURRENCY)
            together[server.name].append(run_load(agiload, server, count, one))
            apart[server.name].append(run_load(agiload, server, count, everywhere))
    return [
        Row(
            server.name,
            sessions=2 * rounds * max(sessions // server.share, CONCURRENCY),
            failed=int(sum(figures["failed"] for figures in together[server.name] + apart[server.name])),
            cpu_us=_median(together[server.name], "server_cpu_us_per_session"),
            cpu_apart_us=_median(apart[server.name], "server_cpu_us_per_session"),
            sessions_per_s=_median(apart[server.name], "sessions_per_s"),
            p50_ms=_median(apart[server.name], "p50_ms"),
            p99_ms=_median(apart[server.name], "p99_ms"),
        )
        for server in servers
    ]


def _median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(figures[name] for figures in runs)


def swap(server: Server, folder: Path, count: int) -> Swap:
    """Has the decision server load the other revision some times; medians over the swaps, the largest memory."""
    swaps = [_swap_once(server, folder) for _ in range(count)]
    return Swap(
        lag_max_ms=statistics.median(one["lag_max_ms"] for one in swaps),
        lag_p99_ms=statistics.median(one["lag_p99_ms"] for one in swaps),
        rss_mb=max(one["rss_mb"] for one in swaps),
    )


def _swap_once(server: Server, folder: Path) -> Mapping[str, Any]:
    told = folder / "swaps.jsonl"
    before = told.read_text().count("\n") if told.exists() else 0
    os.kill(server.pid, signal.SIGUSR1)
    deadline = time.monotonic() + START_S
    while not told.exists() or told.read_text().count("\n") == before:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{server.name}: the other revision is not loaded after {START_S} s")
        time.sleep(0.05)
    figures: Mapping[str, Any] = json.loads(told.read_text().splitlines()[-1])
    return figures


def swap_under_load(agiload: Path, server: Server, folder: Path, sessions: int) -> tuple[Swap, int]:
    """One swap there and back while sessions come; and how many of these failed."""
    command = list(map(str, [agiload, server.port, sessions, CONCURRENCY, "did", server.pid, server.extension]))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        swapped = swap(server, folder, 2)
        output = load.communicate()[0]
    return swapped, int(re.findall(r"failed (\d+)", output)[0])


def run(
    sessions: int = 4_000, rounds: int = ROUNDS, many: int = MANY_DIDS, names: Sequence[str] = tuple(SERVERS)
) -> tuple[list[Row], dict[str, Swap], int]:
    """One row per server, ours with few and with many DIDs last; the swaps `idle` and `under load`; sessions that failed in the latter."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        agiload = stack.enter_context(built_agiload())
        servers = [
            stack.enter_context(serving(agiload, name, ("bench.fastagi_load", "serve", name, "{port}")))
            for name in names
        ]
        for dids in (FEW_DIDS, many):
            made = make_pbx_folder(folder / str(dids), dids)
            argv = ("bench.decision_server", str(made), "{port}")
            servers.append(stack.enter_context(serving(agiload, REAL.format(dids), argv, pick_extension(dids))))
        rows = measure(agiload, servers, sessions, rounds)
        swaps = {"idle": swap(servers[-1], made, SWAPS)}
        swaps["under load"], failed = swap_under_load(agiload, servers[-1], made, sessions * 10)
        return rows, swaps, failed


if __name__ == "__main__":
    SERVERS[sys.argv[2]](int(sys.argv[3]))
