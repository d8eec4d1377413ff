"""Measures loading 100,000 DIDs into a live snapshot: time, reactor lag and memory; `run()` starts a process of its own for it.

The figures are those of the running process: a database made beforehand, Live on the reactor that `tandem serve` uses, and a
ticker that wakes up every millisecond and notes how late it is.
"""

import gc
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

DIDS = 100_000
QUEUES = 50
TICK_S = 0.001


def run() -> dict[str, float]:
    """load_s, edit_s, lag_max_ms and lag_p99_ms while loading and while writing the file, rss_mb before, with one and with two snapshots.

    collect_lag: a full collection with both alive; free_lag: the older one goes.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "fill", folder], check=True)
        done = subprocess.run(
            [sys.executable, __file__, "measure", folder], check=True, stdout=subprocess.PIPE, text=True, timeout=120
        )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def fill(folder: Path) -> None:
    """Two revisions without one DID in common, so that the second load shares nothing with the first; and a third with one edit."""
    from tandem.domain.destinations import HangupDestination, QueueDestination
    from tandem.domain.entities import Did, Pbx, Queue
    from tandem.store.database import open_store
    from tandem.store.objects import save_pbx

    store = open_store(folder / "tandem.db")
    queues = tuple(Queue(name=f"q{n}", fallback=HangupDestination()) for n in range(QUEUES))
    dids = ()
    for area in ("30", "40"):
        dids = tuple(
            Did(number=f"+49{area}{n:07}", destination=QueueDestination(queue=f"q{n % QUEUES}")) for n in range(DIDS)
        )
        store.run_now(save_pbx, Pbx(queues=queues, dids=dids), author="bench", note=area, at=datetime.now(UTC))
    edited = Did(number=dids[0].number, destination=QueueDestination(queue="q7"), priority=5)
    pbx = Pbx(queues=queues, dids=(edited, *dids[1:]))
    store.run_now(save_pbx, pbx, author="bench", note="edit", at=datetime.now(UTC))


def measure(folder: Path) -> None:
    """Prints the figures as JSON."""
    from tandem.reactor import install_reactor

    install_reactor()
    from twisted.internet.task import react

    react(_measure, [folder])


def _measure(reactor, folder):  # type: ignore[no-untyped-def] # Twisted has no type for the reactor that react() hands over
    from twisted.internet.defer import ensureDeferred

    return ensureDeferred(_figures(reactor, folder))


async def _figures(reactor, folder: Path) -> None:  # type: ignore[no-untyped-def]
    from tandem.live import Live
    from tandem.store.database import Store

    figures: dict[str, float] = {"dids": DIDS, "rss_start_mb": read_rss_mb()}
    store = Store(folder / "tandem.db")
    live = Live(reactor, store, folder / "live.snapshot")
    lag = Lag(reactor)

    async def step(name: str, revision: int) -> None:
        lag.start()
        started_at = time.perf_counter()
        await live.load(revision)
        figures[f"{name}_s"] = time.perf_counter() - started_at
        figures.update(lag.stop(f"{name}_lag"))
        lag.start()
        await live.stop()
        figures.update(lag.stop(f"{name}_file_lag"))

    await step("load", 1)
    figures["rss_one_mb"] = read_rss_mb()
    held = live.current
    await step("swap", 2)
    figures["rss_two_mb"] = read_rss_mb()
    assert (held.dids.count, live.current.dids.count) == (DIDS, DIDS)
    lag.start()
    gc.collect()
    figures.update(lag.stop("collect_lag"))
    lag.start()
    del held
    await lag.rest(0.05)
    figures.update(lag.stop("free_lag"))
    await step("edit", 3)
    figures["rss_end_mb"] = read_rss_mb()
    await store.stop()
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


class Lag:
    """How late a timer of 1 ms fires."""

    def __init__(self, reactor) -> None:  # type: ignore[no-untyped-def]
        self._reactor = reactor
        self._late: list[float] = []
        self._call = None

    def start(self) -> None:
        """Begins to look."""
        self._late = []
        self._due_at = time.perf_counter() + TICK_S
        self._call = self._reactor.callLater(TICK_S, self._tick)

    def _tick(self) -> None:
        now = time.perf_counter()
        self._late.append(now - self._due_at)
        self._due_at = now + TICK_S
        self._call = self._reactor.callLater(TICK_S, self._tick)

    def stop(self, name: str) -> dict[str, float]:
        """The largest and the 99th percentile, in ms; what is late right now counts too."""
        assert self._call is not None
        self._call.cancel()
        late = sorted([*self._late, max(0.0, time.perf_counter() - self._due_at)])
        return {f"{name}_max_ms": late[-1] * 1000, f"{name}_p99_ms": late[int(len(late) * 0.99)] * 1000}

    async def rest(self, seconds: float) -> None:
        """Lets the reactor run."""
        from twisted.internet.task import deferLater

        await deferLater(self._reactor, seconds)


def read_rss_mb() -> float:
    """Resident memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fill", folder]:
            fill(Path(folder))
        case ["measure", folder]:
            measure(Path(folder))
        case _:
            print(json.dumps(run(), indent=2))
