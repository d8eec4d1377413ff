"""How many attempts a second the dialer sustains, each committed before it is sent: against FakeAsterisk in a process of its own, so that all CPU here is ours.

`python -m bench.dialer [NUMBERS]`; the far end answers and hangs up at once.
"""

import multiprocessing
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SECRET = "a secret for tests"
IN_FLIGHT = 50


@dataclass(frozen=True, slots=True)
class Row:
    """One run. cpu_ms: of this process, per attempt; lag_ms: how late the reactor was, 99 of 100."""

    way: str
    numbers: int
    attempts_per_s: float
    cpu_ms: float
    lag_ms: float
    attempts: int


def play_asterisk(port_box: Any) -> None:
    """The far end: a FakeAsterisk on a port, that answers each originate, and ends it."""
    from twisted.internet import reactor
    from twisted.internet.endpoints import TCP4ServerEndpoint

    from tandem.ami.testing import FakeAsterisk, encode_message, success

    fake = FakeAsterisk(secret=SECRET)

    def originate(message):
        call_id, action_id = message.get("ChannelId"), message.get("ActionID")
        channel = f"PJSIP/carrier-{call_id[:8]}"

        def go():
            events = (
                [("Event", "Newchannel"), ("Uniqueid", call_id), ("Linkedid", call_id), ("Channel", channel), ("ChannelState", "0")],
                [("Event", "DialState"), ("DestUniqueid", call_id), ("DestChannel", channel), ("DialStatus", "RINGING")],
                [("Event", "OriginateResponse"), ("ActionID", action_id), ("Response", "Success"), ("Reason", "4"), ("Uniqueid", call_id)],
                [("Event", "Hangup"), ("Uniqueid", call_id), ("Linkedid", call_id), ("Channel", channel), ("Cause", "16")],
            )  # fmt: skip
            fake.send_bytes(b"".join(map(encode_message, events)))

        reactor.callLater(0, go)
        return success("Originate successfully queued")

    fake.answers["Originate"] = originate

    async def listen():
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(fake)
        port_box.put(port.getHost().port)

    from twisted.internet.defer import Deferred

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(listen()))
    reactor.run()


def run_fake(numbers: int, in_flight: int = IN_FLIGHT) -> Row:
    """A campaign of `numbers` from its start to its last call."""
    from tandem.reactor import install_reactor

    install_reactor()
    from pydantic import TypeAdapter
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import HostnameEndpoint
    from twisted.internet.task import deferLater

    from tandem.ami.client import AmiClient
    from tandem.calls import Calls
    from tandem.dialer.service import Around, Dialer, Limits
    from tandem.domain.campaigns import Campaign, NewNumber
    from tandem.domain.entities import Pbx
    from tandem.domain.snapshot import build_snapshot
    from tandem.lag import LagGauge
    from tandem.store.call_book import CallBook
    from tandem.store.campaigns import create_campaign, load_counts
    from tandem.store.database import open_store
    from tandem.store.numbers import add_numbers

    ports: Any = multiprocessing.get_context("spawn").Queue()
    far = multiprocessing.get_context("spawn").Process(target=play_asterisk, args=(ports,), daemon=True)
    far.start()
    port = ports.get(timeout=20)
    pbx = {
        "general": {"country": "DE"},
        "trunks": [{"name": "carrier", "hosts": ["192.0.2.1"]}],
        "endpoints": [{"extension": "1001", "secret": "swordfish1"}],
    }
    snapshot = build_snapshot(1, TypeAdapter(Pbx).validate_python(pbx))
    rows: list[Row] = []

    async def main(folder: Path) -> None:
        store = open_store(folder / "tandem.db")
        ami = AmiClient(HostnameEndpoint(reactor, b"127.0.0.1", port), "tandem", SECRET, clock=reactor)
        calls = Calls(ami, CallBook(store), reactor)

        async def ask(_line):
            return ()

        dialer = Dialer(
            store,
            calls,
            Around(
                snapshot=lambda: snapshot, queue_facts=lambda _: None, facts_at=lambda: 0.0, is_ready=lambda: ami.is_ready, lag_s=lambda: 0.0, ask_pbx=ask
            ),
            reactor,
            limits=Limits(max_calls=1000, max_cps=100_000),
        )  # fmt: skip
        dialer.follow(ami)
        lag = LagGauge(reactor)
        for service in (ami, calls, dialer, lag):
            service.startService()
        await ami.when_ready()
        fields = {
            "name": "bench",
            "trunk": "carrier",
            "destination": {"endpoint": "1001"},
            "concurrent_calls": in_flight,
        }
        saved = await store.run(
            create_campaign,
            TypeAdapter(Campaign).validate_python(fields),
            author="bench",
            permissions=("national",),
            at=time.time(),
        )
        for start in range(0, numbers, 1000):
            batch = [NewNumber(phone_number=f"030{number:07}") for number in range(start, min(start + 1000, numbers))]
            await store.run(add_numbers, saved.campaign_id, batch, time.time())
        await dialer.refresh()
        started, cpu = time.perf_counter(), time.process_time()
        await dialer.start(saved.campaign_id, ("national",))
        while True:
            await deferLater(reactor, 0.1, lambda: None)
            counts = (await store.read(load_counts))[saved.campaign_id]
            if counts.completed + counts.failed >= numbers or time.perf_counter() - started > 120:
                break
        took, cpu = time.perf_counter() - started, time.process_time() - cpu
        done = counts.completed
        rows.append(
            Row("FakeAsterisk", done, done / took, cpu / done * 1000, lag.read_p99() * 1000, counts.total_calls)
        )
        for service in (lag, dialer, calls, ami):
            stopped = service.stopService()
            if stopped is not None:
                await stopped
        await store.stop()

    with TemporaryDirectory() as folder:
        Deferred.fromCoroutine(main(Path(folder))).addErrback(lambda failure: failure.printTraceback()).addBoth(
            lambda _: reactor.stop()
        )
        reactor.run()
    far.terminate()
    far.join()
    return rows[0]


if __name__ == "__main__":
    print(run_fake(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
