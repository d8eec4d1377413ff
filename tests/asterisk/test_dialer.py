"""Campaigns in a real Asterisk, the dialer in this process: every outcome by a real call, limits, pause and stop, restarts in the middle."""

import re
import time
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from lab.sipp import AwaitBye, HangUp, Wait
from tandem.ami import actions
from tandem.ami.client import AmiClient
from tandem.calls import Calls
from tandem.dialer.desk import Around
from tandem.dialer.lines import Limits
from tandem.dialer.service import Dialer
from tandem.domain.breaker import CLOSED
from tandem.domain.campaigns import Campaign, CampaignCounts, NewNumber
from tandem.domain.entities import Pbx
from tandem.domain.snapshot import Snapshot, build_snapshot
from tandem.store.call_book import CallBook
from tandem.store.campaigns import create_campaign, load_counts
from tandem.store.database import open_store
from tandem.store.numbers import NumberQuery, add_numbers, load_numbers
from tandem.store.rows import load_rows
from tests.asterisk.far_ends import InstanceEndpoint, list_trunks, running_asterisk

pytestmark = pytest.mark.asterisk

FAR_ENDS = {
    "ok": {"steps": [Wait(0.5), HangUp()]},
    "busy": {"refuse": 486},
    "talker": {"ring_s": 0.05, "steps": [AwaitBye(3600)]},
    "dead": None,
}
DOCUMENT = {
    "general": {"country": "DE", "outbound_trunk": "ok", "allowed_contexts": ["own"], "allowed_variables": ["NOTE"]},
    "trunks": list_trunks(FAR_ENDS),
    "endpoints": [{"extension": "1001", "secret": "swordfish1"}, {"extension": "1002", "secret": "swordfish2"}],
}
OWN = """
[own]
exten => 500,1,Wait(20)
exten => 600,1,Set(DB(lab-note/${UNIQUEID})=${NOTE})
 same => n,Hangup(16)
exten => _X!,1,Answer(,i)
 same => n,Wait(0.2)
 same => n,Hangup(16)
"""


def snapshot() -> Snapshot:
    return build_snapshot(1, TypeAdapter(Pbx).validate_python(DOCUMENT))


@pytest.fixture(scope="module")
def asterisk(asterisk_factory):
    with running_asterisk(asterisk_factory, snapshot(), FAR_ENDS, dialplan=OWN, phones={"1001": "swordfish1"}) as (
        instance,
        far_ends,
    ):
        instance.far_ends = far_ends
        yield instance


class Side:
    """Our side, as tandem.app puts it together, but for FastAGI: the dialplan's own fallback serves who answers."""

    def __init__(self, case: TestCase, asterisk, folder: Path, **limits) -> None:
        self.asterisk = asterisk
        self.store = open_store(folder / "tandem.db")
        self.ami = AmiClient(InstanceEndpoint(asterisk), "tandem-dialer", asterisk.ami_secrets["tandem-dialer"])
        self.config_ami = AmiClient(InstanceEndpoint(asterisk), "tandem-config", asterisk.ami_secrets["tandem-config"])
        self.calls = Calls(self.ami, CallBook(self.store), reactor, grace_s=2.0)
        self.dialer = Dialer(
            self.store,
            self.calls,
            Around(
                snapshot=snapshot, queue_facts=lambda _: None, facts_at=lambda: 0.0, is_ready=lambda: self.ami.is_ready, lag_s=lambda: 0.0,
                ask_pbx=self._ask,
            ),
            reactor,
            limits=Limits(**limits),
        )  # fmt: skip
        self.dialer.follow(self.ami)
        self.services = (self.ami, self.config_ami, self.calls, self.dialer)
        for service in self.services:
            service.startService()
        case.addCleanup(self.stop)

    async def _ask(self, line):
        return (await self.config_ami.send(actions.command(line))).all("Output")

    async def stop(self) -> None:
        for service in reversed(self.services):
            if service.running:
                stopped = service.stopService()
                if stopped is not None:
                    await stopped
        await self.store.stop()

    def log_actions(self) -> "Sent":
        """What is sent from now on."""
        sent, send = Sent(), self.ami.send

        def log(action, **options):
            sent.append((action, time.monotonic()))
            return send(action, **options)

        self.ami.send = log
        return sent

    async def make(self, numbers, **fields) -> int:
        fields = {"name": "one", "destination": {"endpoint": "1001"}, "trunk": "ok"} | fields
        campaign = TypeAdapter(Campaign).validate_python(fields)
        saved = await self.store.run(
            create_campaign, campaign, author="test", permissions=("national",), at=time.time()
        )
        await self.store.run(
            add_numbers,
            saved.campaign_id,
            [NewNumber(phone_number=number) if isinstance(number, str) else number for number in numbers],
            time.time(),
        )
        return saved.campaign_id

    async def counts(self, campaign_id) -> CampaignCounts:
        return (await self.store.read(load_counts)).get(campaign_id, CampaignCounts())

    async def numbers(self, campaign_id):
        return (await self.store.read(load_numbers, NumberQuery(campaign_id=campaign_id)))[0]

    async def attempts(self, campaign_id):
        columns = ("call_id", "number_id", "dial", "ended_at", "disposition", "connected_at", "agent", "abandoned_at")
        return await self.store.read(load_rows, columns, "attempts WHERE campaign_id = ?", [campaign_id])

    async def describe(self):
        rows = await self.store.read(load_rows, ("status", "hold", "disposition", "due_at"), "numbers")
        return (
            self.dialer.problem,
            self.dialer.brake.speed,
            self.dialer.brake.pressure,
            self.dialer.describe(),
            self.dialer.lines.breakers,
            rows,
        )

    async def until(self, holds, what, timeout_s=20.0):
        deadline = reactor.seconds() + timeout_s
        while not (seen := await holds()):
            assert reactor.seconds() < deadline, f"{what}: {await self.describe()}"
            await deferLater(reactor, 0.05, lambda: None)
        return seen


class Sent(list):
    """(action, when by a steady clock), in order."""

    def count(self, name) -> int:
        return sum(action.name == name for action, _ in self)

    def at(self, name, number) -> float:
        return [at for action, at in self if action.name == name][number]

    def list_hung_up(self) -> list[str]:
        return [dict(action.headers)["Channel"] for action, _ in self if action.name == "Hangup"]


class DialerTest(TestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, asterisk, tmp_path):
        self.asterisk, self.folder = asterisk, tmp_path

    def side(self, **limits) -> Side:
        return Side(self, self.asterisk, self.folder, **limits)

    async def test_a_campaign_reaches_everybody_once(self):
        side = self.side()
        await side.ami.when_ready()
        numbers = [f"030100{number:02}" for number in range(12)]
        campaign_id = await side.make(numbers, concurrent_calls=4)
        await side.dialer.watch.refresh()
        await side.dialer.commands.start(campaign_id, ("national",))

        async def done():
            counts = await side.counts(campaign_id)
            assert counts.calling + counts.answered <= 4
            return counts.completed == 12 and counts

        counts = await side.until(done, "twelve calls")
        assert (counts.total_calls, counts.answered_calls, counts.connected_calls) == (12, 12, 12)
        attempts = await side.attempts(campaign_id)
        assert {attempt["agent"] for attempt in attempts} == {"1001"}
        assert sorted(attempt["dial"] for attempt in attempts) == [1] * 12
        called = [leg for leg in self.asterisk.far_ends["ok"].read_legs() if leg.is_answered]
        assert len(called) == 12

    async def test_who_is_busy_is_tried_again_and_a_number_of_the_admins_own_way_is_reached(self):
        side = self.side()
        await side.ami.when_ready()
        busy = await side.make(["0302001", "0302002"], trunk="busy", concurrent_calls=2, retry_times=1, retry_delay_s=1)
        notes = {"0303001": 'Köln, "2" ${EXTEN};', "0303002": "second"}
        own = await side.make(
            [NewNumber(phone_number=number, variables={"NOTE": note}) for number, note in notes.items()],
            trunk=None, dial_string="Local/${EXTEN}@own", concurrent_calls=2, destination={"dialplan": "own,600"},
        )  # fmt: skip
        await side.dialer.watch.refresh()
        for campaign_id in (busy, own):
            await side.dialer.commands.start(campaign_id, ("national",))

        async def done():
            one, other = await side.counts(busy), await side.counts(own)
            return one.busy == 2 and other.completed == 2

        await side.until(done, "both campaigns", 30)
        attempts = await side.attempts(busy)
        assert sorted((attempt["number_id"], attempt["dial"]) for attempt in attempts) == [
            (1, 1),
            (1, 2),
            (2, 1),
            (2, 2),
        ]
        assert {attempt["disposition"] for attempt in attempts} == {"busy"}
        assert len([leg for leg in self.asterisk.far_ends["busy"].read_legs() if leg.refusal == 486 or leg.called]) == 4
        own_attempts = await side.attempts(own)
        assert {attempt["disposition"] for attempt in own_attempts} == {"answered"}
        # Each person comes to the admin's dialplan with what their number brings along.
        kept = self.asterisk.cli("database show lab-note")
        for attempt, note in zip(sorted(own_attempts, key=lambda one: one["number_id"]), notes.values(), strict=True):
            assert re.search(rf"^/lab-note/{attempt['call_id']} *: {re.escape(note)} *$", kept, re.MULTILINE), kept

    async def test_a_dead_trunk_spends_no_attempt_and_its_breaker_opens(self):
        side = self.side()
        await side.ami.when_ready()
        campaign_id = await side.make(
            [f"030400{number}" for number in range(6)], trunk="dead", concurrent_calls=3, dial_timeout_s=5
        )
        await side.dialer.watch.refresh()
        await side.dialer.commands.start(campaign_id, ("national",))

        async def opened():
            return side.dialer.lines.breakers.get("dead", CLOSED).state == "open"

        await side.until(opened, "an open breaker", 30)
        # Those that went out before it opened are over, too; where that took long, a single probe is under way.
        await side.until(lambda: _true(len(side.dialer.board.calls) <= 1), "the last of them", 30)
        numbers = await side.numbers(campaign_id)
        assert {(number.attempts, number.status.value) for number in numbers if not number.call_id} == {(0, "pending")}
        attempts = await side.attempts(campaign_id)
        over = [attempt for attempt in attempts if attempt["ended_at"] is not None]
        assert 3 <= len(over) <= len(attempts) <= min(6, len(over) + 1)
        assert {attempt["disposition"] for attempt in over} == {"trunk-dead"}

    async def test_pause_resume_and_stop_act_at_once(self):
        """By the order of what is sent; how soon that is by the best of several, since the machine has others to serve, too."""
        side = self.side(max_cps=60.0)
        await side.ami.when_ready()
        sent = side.log_actions()
        campaign_id = await side.make(
            [f"0306{number:03}" for number in range(120)], trunk="talker", concurrent_calls=120
        )
        await side.dialer.watch.refresh()
        await side.dialer.commands.start(campaign_id, ("national",))
        took = {"pause": [], "resume": [], "stop": []}

        async def change(name, **options):
            asked_at = time.monotonic()
            await getattr(side.dialer.commands, name)(campaign_id, **options)
            return asked_at

        for _ in range(4):
            before = sent.count("Originate")
            await side.until(lambda before=before: _true(sent.count("Originate") > before + 2), "it dials")
            asked_at = await change("pause")
            took["pause"].append(time.monotonic() - asked_at)
            paused = sent.count("Originate")
            await _wait(0.3)
            # What it takes at 60 a second would be eighteen of them.
            assert sent.count("Originate") == paused
            asked_at = await change("start", permissions=(), resume=True)
            await side.until(lambda paused=paused: _true(sent.count("Originate") > paused), "it dials again")
            took["resume"].append(sent.at("Originate", paused) - asked_at)
        await change("pause")
        placed = sent.count("Originate")

        async def all_up():
            return (await side.counts(campaign_id)).answered == placed

        await side.until(all_up, "all of them talk")
        # There is but one stop, and whoever else is on the machine is in its wall time: what counts is its own work.
        worked_s = time.process_time()
        asked_at = await change("stop")
        worked_s, stopped_at = time.process_time() - worked_s, time.monotonic()
        # Each hang-up has left when the answer to `stop` does, and whoever hears of it is gone soon.
        assert sum("/talker-" in channel for channel in sent.list_hung_up()) == placed
        took["stop"].append(stopped_at - asked_at)

        async def over():
            counts = await side.counts(campaign_id)
            return not counts.calling + counts.answered

        await side.until(over, "all are hung up")
        assert sent.count("Originate") == placed
        assert worked_s < 0.2, worked_s
        limits = {"pause": 0.2, "resume": 0.2, "stop": 2.0}
        assert {name: min(times) < limits[name] for name, times in took.items()} == dict.fromkeys(took, True), took

    async def test_a_restart_in_the_middle_dials_nobody_twice(self):
        side = self.side()
        await side.ami.when_ready()
        numbers = [f"030500{number}" for number in range(8)]
        campaign_id = await side.make(numbers, trunk="talker", concurrent_calls=4)
        await side.dialer.watch.refresh()
        await side.dialer.commands.start(campaign_id, ("national",))

        async def up():
            return (await side.counts(campaign_id)).answered == 4

        await side.until(up, "four calls up")
        await side.stop()
        other = self.side()
        await other.ami.when_ready()
        await other.until(lambda: _true(len(other.dialer.board.calls) == 4), "four calls are known again")
        await _wait(2)
        legs = [leg for leg in self.asterisk.far_ends["talker"].read_legs() if leg.called in numbers]
        assert len(legs) == 4
        await other.dialer.commands.stop(campaign_id)

        async def over():
            counts = await other.counts(campaign_id)
            return counts.completed == 4 and counts.pending == 4 and not other.dialer.board.calls

        await other.until(over, "all hung up")


async def _true(value: object) -> object:
    return value


def _wait(seconds: float) -> Deferred:
    return deferLater(reactor, seconds, lambda: None)
