"""How many attempts a second the dialer sustains, each committed before it is sent: against FakeAsterisk in a process of its own, so that all CPU here is ours.

The far end answers each call and ends it at once. `python -m bench.dialer [NUMBERS]`.
"""

import multiprocessing
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SECRET = "a secret for tests"
NUMBERS = 20_000
IN_FLIGHT = 100
BATCH = 1_000
START_S, STUCK_S = 20.0, 30.0
PBX = {
    "general": {"country": "DE"},
    "trunks": [{"name": "carrier", "hosts": ["192.0.2.1"]}],
    "endpoints": [{"extension": "1001", "secret": "swordfish1"}],
}
CAMPAIGN = {"name": "bench", "trunk": "carrier", "destination": {"endpoint": "1001"}}


@dataclass(frozen=True, slots=True)
class DialerRow:
    """One run. attempts: with a committed end; cpu_ms: of this process, per attempt; lag_p99_ms: how late the reactor was, 99 of 100."""

    attempts: int
    answered: int
    took_s: float
    cpu_ms: float
    lag_p99_ms: float

    @property
    def rate(self) -> float:
        """Attempts a second, from the first to the end of the last."""
        return self.attempts / self.took_s


def answer_originates(fake: Any) -> None:
    """Every originate of this FakeAsterisk has a channel that rings, is answered, and hung up, in one turn of the reactor."""
    from twisted.internet import reactor

    from tandem.ami.testing import encode_message, success

    def originate(message: Any) -> Any:
        call_id, action_id = message.get("ChannelId"), message.get("ActionID")
        channel = f"PJSIP/carrier-{call_id[:8]}"

        def go() -> None:
            events = (
                [("Event", "Newchannel"), ("Uniqueid", call_id), ("Linkedid", call_id), ("Channel", channel), ("ChannelState", "0")],
                [("Event", "DialState"), ("DestUniqueid", call_id), ("DestChannel", channel), ("DialStatus", "RINGING")],
                [("Event", "OriginateResponse"), ("ActionID", action_id), ("Response", "Success"), ("Reason", "4"), ("Uniqueid", call_id)],
                [("Event", "Hangup"), ("Uniqueid", call_id), ("Linkedid", call_id), ("Channel", channel), ("Cause", "16")],
            )  # fmt: skip
            fake.send_bytes(b"".join(map(encode_message, events)))

        on_reactor: Any = reactor
        on_reactor.callLater(0, go)
        return success("Originate successfully queued")

    fake.answers["Originate"] = originate


def play_asterisk(ports: Any) -> None:
    """That far end, on a port of its own that it tells."""
    from twisted.internet import reactor

    from tandem.ami.testing import FakeAsterisk

    fake = FakeAsterisk(secret=SECRET)
    answer_originates(fake)
    on_reactor: Any = reactor
    ports.put(on_reactor.listenTCP(0, fake, interface="127.0.0.1").getHost().port)
    on_reactor.run()


@contextmanager
def _playing_asterisk() -> Iterator[int]:
    context = multiprocessing.get_context("spawn")
    ports: Any = context.Queue()
    far = context.Process(target=play_asterisk, args=(ports,), daemon=True)
    far.start()
    try:
        yield ports.get(timeout=START_S)
    finally:
        far.terminate()
        far.join()


def run(numbers: int = NUMBERS, in_flight: int = IN_FLIGHT) -> DialerRow:
    """A campaign of `numbers` from its start to its last call, in a process of its own: a reactor runs once."""
    context = multiprocessing.get_context("spawn")
    rows: Any = context.Queue()
    with _playing_asterisk() as port:
        dialling = context.Process(target=_dial, args=(rows, port, numbers, in_flight))
        dialling.start()
        row = rows.get()
        dialling.join()
    if isinstance(row, str):
        raise RuntimeError(row)
    found: DialerRow = row
    return found


def _dial(rows: Any, port: int, numbers: int, in_flight: int) -> None:
    from tandem.reactor import install_reactor

    install_reactor()
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    on_reactor: Any = reactor

    def end(result: Any) -> None:
        rows.put(result if isinstance(result, DialerRow) else result.getTraceback())
        on_reactor.stop()

    with TemporaryDirectory() as folder:
        measuring = _measure(Path(folder), port, numbers, in_flight)
        on_reactor.callWhenRunning(lambda: Deferred.fromCoroutine(measuring).addBoth(end))
        on_reactor.run()


async def _measure(folder: Path, port: int, numbers: int, in_flight: int) -> DialerRow:
    """The dialer with its database and its AMI client, as `tandem.app` puts them together, and nothing else."""
    from pydantic import TypeAdapter
    from twisted.internet import reactor
    from twisted.internet.endpoints import HostnameEndpoint

    from tandem.ami.client import AmiClient
    from tandem.calls import Calls
    from tandem.dialer.desk import Around
    from tandem.dialer.lines import Limits
    from tandem.dialer.service import Dialer
    from tandem.domain.entities import Pbx
    from tandem.domain.snapshot import build_snapshot
    from tandem.lag import LagGauge
    from tandem.store.call_book import CallBook
    from tandem.store.database import open_store

    clock: Any = reactor
    snapshot = build_snapshot(1, TypeAdapter(Pbx).validate_python(PBX))
    store = open_store(folder / "tandem.db")
    ami = AmiClient(HostnameEndpoint(clock, b"127.0.0.1", port), "tandem", SECRET, clock=clock)
    calls = Calls(ami, CallBook(store), clock)

    async def ask(_line: str) -> tuple[str, ...]:
        return ()

    around = Around(
        snapshot=lambda: snapshot,
        queue_facts=lambda _: None,
        facts_at=lambda: 0.0,
        is_ready=lambda: ami.is_ready,
        lag_s=lambda: 0.0,
        ask_pbx=ask,
    )
    dialer = Dialer(store, calls, around, clock, limits=Limits(max_calls=1000, max_cps=100_000))
    dialer.follow(ami)
    lag = LagGauge(clock)
    services = ami, calls, dialer, lag
    for service in services:
        service.startService()
    await ami.when_ready()
    try:
        campaign_id = await _make_campaign(store, numbers, in_flight)
        began_at, before_s = time.perf_counter(), time.process_time()
        await dialer.watch.refresh()
        await dialer.commands.start(campaign_id, ("national",))
        counts = await _wait(store, campaign_id)
        took_s, cpu_s = time.perf_counter() - began_at, time.process_time() - before_s
        return DialerRow(
            counts.total_calls,
            counts.answered_calls,
            took_s,
            cpu_s / counts.total_calls * 1000,
            lag.read_p99() * 1000,
        )
    finally:
        for service in reversed(services):
            stopped: Any = service.stopService()  # type: ignore[func-returns-value]
            if stopped is not None:
                await stopped
        await store.stop()


async def _make_campaign(store: Any, numbers: int, in_flight: int) -> int:
    from pydantic import TypeAdapter

    from tandem.domain.campaigns import Campaign, NewNumber
    from tandem.store.campaigns import create_campaign
    from tandem.store.numbers import add_numbers

    campaign = TypeAdapter(Campaign).validate_python(CAMPAIGN | {"concurrent_calls": in_flight})
    saved = await store.run(create_campaign, campaign, author="bench", permissions=("national",), at=time.time())
    for start in range(0, numbers, BATCH):
        batch = [NewNumber(phone_number=f"030{number:07}") for number in range(start, min(start + BATCH, numbers))]
        await store.run(add_numbers, saved.campaign_id, batch, time.time())
    campaign_id: int = saved.campaign_id
    return campaign_id


async def _wait(store: Any, campaign_id: int) -> Any:
    """The counts, once nothing is pending or up."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    from tandem.store.campaigns import load_counts

    seen, moved_at = 0, time.monotonic()
    while True:
        on_reactor: Any = reactor
        await deferLater(on_reactor, 0.1)
        counts = (await store.read(load_counts, [campaign_id]))[campaign_id]
        if not counts.pending + counts.calling + counts.answered:
            return counts
        if counts.total_calls > seen:
            seen, moved_at = counts.total_calls, time.monotonic()
        if time.monotonic() - moved_at > STUCK_S:
            raise RuntimeError(f"the campaign stands still: {counts}")


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else NUMBERS))
