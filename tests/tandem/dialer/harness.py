"""A PBX in memory for the dialer: FakeAsterisk whose originates ring, are answered and end as a script says, on a Clock; a real database."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from tandem.ami.client import AmiClient
from tandem.ami.testing import FakeAsterisk, encode_message, error, success
from tandem.ami.wire import Message
from tandem.calls import Calls
from tandem.dialer.desk import Around
from tandem.dialer.lines import Limits
from tandem.dialer.service import Dialer
from tandem.domain.campaigns import Campaign, CampaignCounts, NewNumber, SavedNumber
from tandem.domain.entities import Pbx
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import Snapshot, build_snapshot
from tandem.lease import Lease
from tandem.store.call_book import CallBook
from tandem.store.campaigns import create_campaign, load_counts
from tandem.store.database import Store, open_store
from tandem.store.numbers import NumberQuery, add_numbers, load_numbers
from tandem.store.rows import load_rows

PBX = TypeAdapter(Pbx).validate_python(
    {
        "general": {"country": "DE", "time_zone": "Europe/Berlin", "allowed_contexts": ["own"]},
        "trunks": [
            {"name": "carrier", "hosts": ["192.0.2.1"]},
            {"name": "narrow", "hosts": ["192.0.2.2"], "max_calls": 3},
            {"name": "slow", "hosts": ["192.0.2.3"], "max_cps": 2},
        ],
        "endpoints": [{"extension": "1001", "secret": "swordfish1"}],
        "announcements": [{"name": "sorry", "prompts": ["sorry"]}],
        "queues": [{"name": "sales", "fallback": {"hangup": "busy"}, "wrap_up_s": 5}],
    }
)
START = 1_789_992_000.0  # Monday 2026-09-21, 12:00 UTC: 14:00 in Berlin, 08:00 in New York


def numbers(amount: int, start: int = 0) -> list[str]:
    """So many telephone numbers, each once."""
    return [f"0301{number:05}" for number in range(start, start + amount)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the far end does. kind: answer, busy, no-answer, invalid, dead, refused (by Asterisk itself)."""

    kind: str = "answer"
    ring_s: float = 1.0
    talk_s: float = 5.0


QUEUED = "Originate successfully queued"
CAUSES = {"busy": ("17", "486"), "no-answer": ("19", "480"), "invalid": ("1", "404"), "congestion": ("34", "503")}


@dataclass(slots=True)
class Leg:
    """One originate that Asterisk took."""

    call_id: str
    number: str
    channel: str
    action_id: str
    at: float
    is_up: bool = False
    is_over: bool = False


class FarEnd:
    """Asterisk and the people behind it. `script(number)` says what a number does; `latency_s`: how late an originate is answered and carried out."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.fake = FakeAsterisk()
        self.script: Callable[[str], Outcome] = lambda _: Outcome()
        self.latency_s = 0.0
        self.legs: list[Leg] = []
        self.live = self.peak = 0
        self._ids = count(1)
        self.fake.answers["Originate"] = self._originate
        self.fake.answers["Hangup"] = self._hang_up
        self.fake.answers["CoreShowChannels"] = self._list

    def _originate(self, message: Message) -> Any:
        number = message.get("Channel").partition("/")[2].partition("@")[0]
        if self.script(number).kind == "refused":
            return error("Extension does not exist.")
        leg = Leg(
            message.get("ChannelId"),
            number,
            f"PJSIP/carrier-{next(self._ids):08x}",
            message.get("ActionID"),
            self.clock.seconds(),
        )
        self.legs.append(leg)
        self.live += 1
        self.peak = max(self.peak, self.live)
        if not self.latency_s:
            self.clock.callLater(0, self._ring, leg)
            return success(QUEUED)
        self.clock.callLater(self.latency_s, self._answer_late, leg)
        return None

    def _answer_late(self, leg: Leg) -> None:
        self.fake.send_bytes(
            encode_message([("Response", "Success"), ("ActionID", leg.action_id), ("Message", QUEUED)])
        )
        self._ring(leg)

    def tell(self, name: str, **headers: str) -> None:
        self.fake.send_event(name, **headers)
        self.fake.flush()

    def _ring(self, leg: Leg) -> None:
        outcome = self.script(leg.number)
        if outcome.kind != "dead":
            self.tell("Newchannel", Uniqueid=leg.call_id, Linkedid=leg.call_id, Channel=leg.channel, ChannelState="0")
            self.tell("DialState", DestUniqueid=leg.call_id, DestChannel=leg.channel, DialStatus="RINGING")
        self.clock.callLater(outcome.ring_s, self._settle, leg)

    def _settle(self, leg: Leg) -> None:
        if leg.is_over:
            return
        outcome = self.script(leg.number)
        if outcome.kind == "answer":
            leg.is_up = True
            self.tell("OriginateResponse", ActionID=leg.action_id, Response="Success", Reason="4", Uniqueid=leg.call_id)
            self.clock.callLater(outcome.talk_s, self.end, leg)
        elif outcome.kind == "hung-up":
            # Somebody who answers and ends it themselves.
            leg.is_up = True
            self.tell("OriginateResponse", ActionID=leg.action_id, Response="Success", Reason="4", Uniqueid=leg.call_id)
            self.clock.callLater(outcome.talk_s, self.leave, leg)
        elif outcome.kind == "dead":
            self.tell("OriginateResponse", ActionID=leg.action_id, Response="Failure", Reason="3", Uniqueid=leg.call_id)
            self.end(leg, "19", "")
        else:
            self.tell("OriginateResponse", ActionID=leg.action_id, Response="Failure", Reason="0", Uniqueid=leg.call_id)
            self.tell("HangupRequest", Uniqueid=leg.call_id, Channel=leg.channel, Cause=CAUSES[outcome.kind][0])
            self.end(leg, *CAUSES[outcome.kind])

    def end(self, leg: Leg, cause: str = "16", tech_cause: str = "") -> None:
        if leg.is_over:
            return
        leg.is_over = True
        self.live -= 1
        self.tell(
            "Hangup", Uniqueid=leg.call_id, Linkedid=leg.call_id, Channel=leg.channel, Cause=cause, TechCause=tech_cause
        )

    def leave(self, leg: Leg, cause: str = "16") -> None:
        """Whoever was called first hangs up."""
        self.tell("HangupRequest", Uniqueid=leg.call_id, Channel=leg.channel, Cause=cause)
        self.end(leg, cause)

    def connect(self, leg: Leg, channel: str = "PJSIP/1001-00000001") -> None:
        """Whoever is called second answers."""
        self.tell(
            "DialEnd",
            Uniqueid=leg.call_id,
            Channel=leg.channel,
            DestChannel=channel,
            DestUniqueid="x",
            DialStatus="ANSWER",
        )

    def _cut(self, leg: Leg) -> None:
        if not leg.is_up and not leg.is_over:
            self.tell("OriginateResponse", ActionID=leg.action_id, Response="Failure", Reason="0")
        self.end(leg)

    def _hang_up(self, message: Message) -> Any:
        for leg in self.legs:
            if leg.channel == message.get("Channel") and not leg.is_over:
                self.clock.callLater(0, self._cut, leg)
                return success("Channel Hungup")
        return error("No such channel")

    def _list(self, _: Message) -> Any:
        from tandem.ami.testing import event_list

        rows = [
            [
                ("Event", "CoreShowChannel"), ("Uniqueid", leg.call_id), ("Linkedid", leg.call_id), ("Channel", leg.channel),
                ("ChannelState", "6" if leg.is_up else "5"),
            ]
            for leg in self.legs
            if not leg.is_over
        ]  # fmt: skip
        return event_list("Channels will follow", rows, "CoreShowChannelsComplete")

    def dialled(self) -> dict[str, int]:
        """Number -> how often it was dialled."""
        counts: dict[str, int] = {}
        for leg in self.legs:
            counts[leg.number] = counts.get(leg.number, 0) + 1
        return counts


class StoreNow:
    """A real database without threads; `latency_s` makes it slow, `problem` makes it fail."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.place = store.place
        self.clock = clock
        self.latency_s = 0.0
        self.problem: Exception | None = None

    @property
    def is_postgres(self) -> bool:
        return self.store.is_postgres

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        if not self.latency_s:
            return self._now(work, *args, **kwargs)
        self.clock.callLater(self.latency_s, lambda: self._now(work, *args, **kwargs).chainDeferred(done))
        return done

    read = claim = run

    def hold_next_answer(self, seconds: float) -> None:
        """The next work is done at once, and who asked for it learns of that so much later."""
        run = self.run

        def late(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
            del self.run
            done: Deferred[Any] = Deferred()
            self.clock.callLater(seconds, run(work, *args, **kwargs).chainDeferred, done)
            return done

        self.run = late  # type: ignore[method-assign]

    def _now(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        if self.problem is not None:
            return fail(self.problem)
        try:
            # As `run_now`, but the connection stays: it is opened thousands of times else.
            return succeed(self.store._perform("write", work, *args, **kwargs))
        except Exception:  # noqa: BLE001 - as a thread hands it over
            return fail()


@dataclass(slots=True)
class House:
    """Everything together; `kill` is a kill -9: nothing is stopped, all that was in memory is gone."""

    folder: Path
    limits: Limits = field(default_factory=Limits)
    clock: Clock = field(default_factory=Clock)
    pbx: Pbx = PBX
    facts: QueueFacts | None = None
    facts_at: float = float("inf")  # always fresh
    phones: dict[str, str] = field(default_factory=dict)
    node: str = "tandem"
    far: FarEnd = field(init=False)
    store: StoreNow = field(init=False)
    ami: AmiClient = field(init=False)
    calls: Calls = field(init=False)
    snapshot: Snapshot = field(init=False)
    dialer: Dialer = field(init=False)
    lease: Lease = field(init=False)
    output: tuple[str, ...] = ()
    lag_s: float = 0.0
    wall: float = 0.0  # how far the wall clock has jumped

    def __post_init__(self) -> None:
        self.clock.advance(START)
        self.far = FarEnd(self.clock)
        self.store = StoreNow(open_store(self.folder / "tandem.db"), self.clock)
        self.start()

    def now(self) -> float:
        return self.clock.seconds() + self.wall

    def start(self) -> None:
        fake = self.far.fake
        self.snapshot = build_snapshot(1, self.pbx)
        self.ami = AmiClient(fake.endpoint, fake.username, fake.secret, clock=self.clock)
        self.lease = Lease(self.store, self.node, self.clock)
        book = CallBook(self.store, self.node, is_shared=self.lease.is_shared)
        self.calls = Calls(self.ami, book, self.clock, now=self._utc, node=self.node)
        self.lease.on_taken_over(self.calls.take_up)
        self.dialer = Dialer(
            self.store,
            self.calls,
            Around(
                snapshot=lambda: self.snapshot, queue_facts=lambda _: self.facts, facts_at=lambda: self.facts_at, is_ready=lambda: self.ami.is_ready,
                lag_s=lambda: self.lag_s, ask_pbx=self._ask, phone_state=self.phones.get,
            ),
            self.clock,
            limits=self.limits,
            now=self.now,
            lease=self.lease,
        )  # fmt: skip
        self.dialer.follow(self.ami)
        for service in (self.lease, self.ami, self.calls, self.dialer):
            service.startService()
        fake.flush()

    def _utc(self) -> Any:
        from datetime import UTC, datetime

        return datetime.fromtimestamp(self.now(), UTC)

    async def _ask(self, line: str) -> tuple[str, ...]:
        return self.output

    def kill(self) -> None:
        for service in (self.dialer, self.calls, self.lease):
            service.stop_rounds()
        self.dialer.running = self.calls.running = 0
        self.calls._watchers, self.calls._end_watchers = (), ()
        self.calls._open.clear()
        self.far.fake.cut()
        self.ami.stopService()
        self.far.fake.flush()

    def restart(self) -> None:
        self.kill()
        self.start()

    def advance(self, seconds: float, step_s: float = 0.05) -> None:
        left = seconds
        while left > 1e-9:
            self.clock.advance(min(step_s, left))
            self.far.fake.flush()
            left -= step_s

    def do(self, work: Any) -> Any:
        """What a coroutine gives, with time passing until it has."""
        done = Deferred.fromCoroutine(work)
        found: list[Any] = []
        done.addBoth(found.append)
        for _ in range(400):
            self.far.fake.flush()
            if found:
                break
            self.clock.advance(0.05)
        (result,) = found
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def make(self, numbers: list[str | NewNumber], **fields: Any) -> int:
        fields = {"name": "one", "destination": {"endpoint": "1001"}, "trunk": "carrier"} | fields
        saved = self.store.store.run_now(
            create_campaign,
            TypeAdapter(Campaign).validate_python(fields),
            author="test",
            permissions=("national", "international"),
            at=self.now(),
        )
        self.store.store.run_now(
            add_numbers,
            saved.campaign_id,
            [NewNumber(phone_number=number) if isinstance(number, str) else number for number in numbers],
            self.now(),
        )
        return saved.campaign_id

    def go(self, campaign_id: int) -> None:
        self.do(self.dialer.commands.start(campaign_id, ("national", "international")))

    def counts(self, campaign_id: int) -> CampaignCounts:
        return self.store.store.run_now(load_counts).get(campaign_id, CampaignCounts())

    def numbers(self, campaign_id: int) -> list[SavedNumber]:
        return self.store.store.run_now(load_numbers, NumberQuery(campaign_id=campaign_id, limit=1000))[0]

    def attempts(self, *columns: str) -> list[dict[str, Any]]:
        names = columns or (
            "call_id",
            "number_id",
            "dial",
            "ended_at",
            "disposition",
            "started_at",
            "abandoned_at",
            "connected_at",
        )
        return self.store.store.run_now(load_rows, names, "attempts ORDER BY attempt_id")

    def check(self) -> None:
        """What holds at any time: counts are those of the rows, each call was sent once, each attempt has one number's dial."""
        rows = self.store.store.run_now(
            load_rows, ("campaign_id", "status", "amount"),
            "(SELECT campaign_id, status, count(*) AS amount FROM numbers GROUP BY campaign_id, status) AS counted",
        )  # fmt: skip
        for campaign_id in {row["campaign_id"] for row in rows}:
            counts = self.counts(campaign_id)
            real = {row["status"]: row["amount"] for row in rows if row["campaign_id"] == campaign_id}
            for status in ("pending", "calling", "answered", "completed", "failed", "no_answer", "busy"):
                assert getattr(counts, status) == real.get(status, 0), (status, counts, real)
        assert len({leg.call_id for leg in self.far.legs}) == len(self.far.legs)
        known = {attempt["call_id"] for attempt in self.attempts("call_id")}
        assert {leg.call_id for leg in self.far.legs} <= known
