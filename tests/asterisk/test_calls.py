"""Calls on command in a real Asterisk: every disposition by a real call, variables and hostile values, hanging up, restarts of either side."""

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from lab.sipp import AwaitBye, HangUp, Wait
from tandem.ami import actions
from tandem.ami.client import AmiClient
from tandem.ami.errors import AmiRefused, AmiUnanswered
from tandem.calls import Calls
from tandem.domain.calls import PlacedCall
from tandem.domain.destinations import DialplanDestination, EndpointDestination, ExternalDestination, QueueDestination
from tandem.domain.disposition import Disposition
from tandem.domain.entities import Pbx
from tandem.domain.originate import CallRequest, plan_call
from tandem.domain.snapshot import Snapshot, build_snapshot
from tandem.ledger import Ledger
from tandem.store.call_book import CallBook
from tandem.store.cdrs import load_cdr
from tandem.store.database import open_store
from tests.asterisk.far_ends import InstanceEndpoint, list_trunks, running_asterisk

pytestmark = pytest.mark.asterisk

# Trunk -> what its far end does, and what Tandem must make of it: disposition, Q.850 cause, SIP code.
FAR_ENDS = {
    "ok": ({"steps": [Wait(1), HangUp()]}, (Disposition.ANSWERED, 0, 0)),
    "byeatonce": ({"steps": [HangUp()]}, (Disposition.ANSWERED, 0, 0)),
    "busy": ({"refuse": 486}, (Disposition.BUSY, 17, 486)),
    "unavailable": ({"refuse": 480}, (Disposition.NO_ANSWER, 19, 480)),
    "unallocated": ({"refuse": 404}, (Disposition.INVALID_NUMBER, 1, 404)),
    "gone": ({"refuse": 410}, (Disposition.INVALID_NUMBER, 22, 410)),
    "incomplete": ({"refuse": 484}, (Disposition.INVALID_NUMBER, 28, 484)),
    "forbidden": ({"refuse": 403}, (Disposition.REJECTED, 21, 403)),
    "declined": ({"refuse": 603}, (Disposition.REJECTED, 21, 603)),
    "congested": ({"refuse": 503}, (Disposition.CONGESTION, 34, 503)),
    "broken": ({"refuse": 500}, (Disposition.FAILED, 38, 500)),
    "ringing": ({"ring_s": 3600}, (Disposition.NO_ANSWER, 19, 480)),
    "dead": (None, (Disposition.TRUNK_DEAD, 19, 480)),
    "talker": ({"ring_s": 0.05, "steps": [AwaitBye(3600)]}, None),
}
DOCUMENT = {
    "general": {
        "country": "DE",
        "outbound_trunk": "talker",
        "allowed_contexts": ["own"],
        "allowed_variables": ["NOTE", "OTHER"],
    },
    "trunks": list_trunks(FAR_ENDS),
    "endpoints": [
        {"extension": "1001", "secret": "swordfish1", "permissions": ["internal", "national"]},
        {"extension": "1002", "secret": "swordfish2"},
        {"extension": "1003", "secret": "swordfish3"},
    ],
    "queues": [
        {
            "name": name,
            "strategy": "ringall",
            "join_when_empty": name == "slow",
            "leave_when_empty": name != "slow",
            "fallback": {"hangup": "normal"},
        }
        for name in ("empty", "sales", "slow")
    ],
}
OWN = """
[own]
exten => 500,1,NoOp()
 same => n,Set(DB(test/${UNIQUEID})=${NOTE}!${OTHER}!${CALLERID(num)})
 same => n,Wait(20)
"""
OWN_500 = DialplanDestination(dialplan="own,500")


def snapshot() -> Snapshot:
    return build_snapshot(1, TypeAdapter(Pbx).validate_python(DOCUMENT))


@pytest.fixture(scope="module")
def asterisk(asterisk_factory):
    with running_asterisk(
        asterisk_factory,
        snapshot(),
        {name: options for name, (options, _) in FAR_ENDS.items()},
        dialplan=OWN,
        phones={"1001": "swordfish1", "1003": "swordfish3"},
        queues="[sales](+)\nmember => PJSIP/1003\n[slow](+)\nmember => PJSIP/0301@ringing\n",
    ) as (instance, _):
        yield instance


class Side:
    """Our side: AMI, store, Calls and Ledger, as tandem.app puts them together."""

    def __init__(self, case: TestCase, asterisk, folder: Path, max_bytes: int = 0) -> None:
        self.asterisk = asterisk
        self.store = open_store(folder / "tandem.db")
        self.ami = AmiClient(InstanceEndpoint(asterisk), "tandem-dialer", asterisk.ami_secrets["tandem-dialer"])
        self.calls = Calls(self.ami, CallBook(self.store), reactor, grace_s=2.0)
        self.ledger = Ledger(
            self.store,
            {"cel": asterisk.log / "cel-custom/cel.json", "cdr": asterisk.log / "cdr-custom/cdr.json"},
            reactor,
            list_channels=self.list_channels,
            list_trunks=lambda: snapshot().trunks,
            save_routes=lambda: succeed(None),
            max_bytes=max_bytes,
            grace_s=2.0,
        )
        self.ends: list[PlacedCall] = []
        self.calls.watch_ends(lambda end: self.ends.append(end.call))
        case.addCleanup(self.stop)

    async def list_channels(self):
        return {row.get("Uniqueid") for row in await self.ami.send_list(actions.core_show_channels())}

    async def start(self) -> "Side":
        self.ami.startService()
        self.calls.startService()
        self.ledger.startService()
        await self.ami.when_ready()
        return self

    async def stop(self) -> None:
        """In order; twice does no harm."""
        if self.ami.running:
            self.calls.stopService()
            self.ledger.stopService()
            await self.ami.stopService()
            await self.ledger._reading.run(lambda: succeed(None))
            await self.store.stop()

    def plan(self, origin, destination=OWN_500, **more):
        request = CallRequest(origin=origin, destination=destination, permissions=("international",), **more)
        return plan_call(snapshot(), request)

    async def place(self, origin, **more) -> PlacedCall:
        return await self.calls.place(self.plan(origin, **more))

    async def wait_until(self, holds, timeout_s: float = 20.0):
        for _ in range(int(timeout_s / 0.05)):
            if found := holds():
                return found
            await deferLater(reactor, 0.05)
        raise AssertionError(f"not within {timeout_s} s: {self.calls.list_open()} {self.ends}")

    async def wait_for_end(self, call_id: str, timeout_s: float = 20.0) -> PlacedCall:
        return await self.wait_until(
            lambda: next((call for call in self.ends if call.call_id == call_id), None), timeout_s
        )

    async def wait_for_state(self, call_id: str, state: str) -> None:
        await self.wait_until(lambda: any(c.call_id == call_id and c.state == state for c in self.calls.list_open()))


class CallTests(TestCase):
    timeout = 90

    @pytest.fixture(autouse=True)
    def _take(self, asterisk, tmp_path) -> None:
        self.asterisk, self.folder = asterisk, tmp_path

    async def side(self, **more: int) -> Side:
        return await Side(self, self.asterisk, self.folder, **more).start()

    async def test_every_disposition_by_a_real_call(self) -> None:
        side = await self.side()
        expected = {name: outcome for name, (_, outcome) in FAR_ENDS.items() if outcome is not None}
        placed = {
            name: await side.place(ExternalDestination(external="0301234", trunk=name), ring_timeout_s=5.0)
            for name in expected
        }
        ends = {name: await side.wait_for_end(call.call_id) for name, call in placed.items()}
        assert {name: (end.disposition, end.cause, end.tech_cause) for name, end in ends.items()} == expected
        assert all(end.ringing_at is not None for name, end in ends.items() if name != "dead")
        assert {name for name, end in ends.items() if end.answered_at is not None} == {"ok", "byeatonce"}
        assert len(side.ends) == len(expected)  # once each
        # The CDRs, from Asterisk's record alone, say the same, and name the cause.
        await deferLater(reactor, 1.5)
        for name, call in placed.items():
            cdr = await side.store.read(load_cdr, call.call_id)
            assert cdr is not None, name
            assert (cdr.disposition, cdr.direction, cdr.is_placed, cdr.trunk) == (
                expected[name][0],
                "outbound",
                True,
                name,
            )
            assert (cdr.cause, cdr.caller, cdr.called) == (expected[name][1], "0301234", "own,500")
            assert abs(cdr.ring_s + cdr.hold_s + cdr.talk_s - cdr.duration_s) < 0.005

    async def test_phones_that_are_not_there(self) -> None:
        side = await self.side()
        call = await side.place(EndpointDestination(endpoint="1002"))
        end = await side.wait_for_end(call.call_id)
        assert (end.disposition, end.cause) == (Disposition.FAILED, 0)
        with pytest.raises(AmiRefused):
            await side.calls.place(replace(side.plan(EndpointDestination(endpoint="1001")), exten="nowhere"))
        refused = await side.wait_until(lambda: side.ends[1] if len(side.ends) > 1 else None)
        assert (refused.disposition, (await side.calls.find(refused.call_id)).state) == (Disposition.FAILED, "ended")

    async def test_variables_arrive_as_they_were_given(self) -> None:
        side = await self.side()
        hostile = ["a,b", 'say "hi"', "${EXTEN}$[1+1]", "back\\slash\\", "(x[y]z)", "é€😀;#=>|&'`", ",TANDEM_JUMP=x"]
        for value in hostile:
            call = await side.place(
                EndpointDestination(endpoint="1001"),
                variables=(("NOTE", value), ("OTHER", "plain")),
                presented_number="4711",
            )
            await side.wait_for_state(call.call_id, "answered")
            answer = await side.wait_until(
                lambda call=call: "Value: " in (text := self.asterisk.cli(f"database get test {call.call_id}")) and text
            )
            assert answer.strip() == f"Value: {value}!plain!4711"
            assert await side.calls.hang_up(call.call_id)
            end = await side.wait_for_end(call.call_id)
            assert (end.disposition, end.cause) == (Disposition.ANSWERED, 16)
            assert not await side.calls.hang_up(call.call_id)

    async def test_cancelled_while_it_rings(self) -> None:
        side = await self.side()
        call = await side.place(ExternalDestination(external="0301234", trunk="ringing"))
        await side.wait_for_state(call.call_id, "ringing")
        assert await side.calls.hang_up(call.call_id)
        end = await side.wait_for_end(call.call_id)
        assert (end.disposition, end.cause) == (Disposition.CANCELLED, 16)

    async def test_cancelled_before_there_is_a_channel(self) -> None:
        side = await self.side()
        order = side.plan(ExternalDestination(external="0301234", trunk="ringing"))
        placing = Deferred.fromCoroutine(side.calls.place(order))
        (call,) = await side.wait_until(side.calls.list_open)
        assert await side.calls.hang_up(call.call_id)
        await placing
        assert (await side.wait_for_end(call.call_id)).disposition == Disposition.CANCELLED

    async def test_a_phone_is_connected_to_a_number_outside(self) -> None:
        side = await self.side()
        order = side.plan(EndpointDestination(endpoint="1001"), ExternalDestination(external="0305550"))
        call = await side.calls.place(order)
        await side.wait_for_state(call.call_id, "answered")
        await side.wait_until(lambda: self.asterisk.cli("core show channels concise").count("!Up!") >= 2)
        assert await side.calls.hang_up(call.call_id)
        await side.wait_for_end(call.call_id)
        await deferLater(reactor, 1.5)
        cdr = await side.store.read(load_cdr, call.call_id)
        assert (cdr.direction, cdr.caller, cdr.called, cdr.endpoint, cdr.trunk) == (
            "outbound",
            "1001",
            "0305550",
            "1001",
            "talker",
        )
        assert len(cdr.legs) == 2
        assert cdr.talk_s > 0

    async def test_a_queue_is_called_first(self) -> None:
        side = await self.side()
        order = side.plan(QueueDestination(queue="sales"), ExternalDestination(external="0305550"))
        call = await side.calls.place(order)
        await side.wait_for_state(call.call_id, "answered")
        await side.wait_until(lambda: "PJSIP/talker" in self.asterisk.cli("core show channels concise"))
        assert await side.calls.hang_up(call.call_id)
        assert (await side.wait_for_end(call.call_id)).disposition == Disposition.ANSWERED
        await side.wait_until(lambda: "0 active channels" in self.asterisk.cli("core show channels"))

    async def test_a_queue_in_which_nobody_answers(self) -> None:
        side = await self.side()
        slow = await side.place(QueueDestination(queue="slow"), ring_timeout_s=5.0)
        empty = await side.place(QueueDestination(queue="empty"), ring_timeout_s=5.0)
        assert (await side.wait_for_end(empty.call_id)).disposition == Disposition.NO_ANSWER
        assert (await side.wait_for_end(slow.call_id)).disposition == Disposition.NO_ANSWER

    async def test_no_record_is_lost_while_files_are_set_aside(self) -> None:
        side = await self.side(max_bytes=500)  # each reading sets them aside
        cel = self.asterisk.log / "cel-custom/cel.json"
        placed, first_records = [], set()
        for _ in range(40):
            placed.append(await side.place(ExternalDestination(external="0301234", trunk="busy"), ring_timeout_s=5.0))
            for path in cel.parent.glob("cel.json*"):
                with contextlib.suppress(FileNotFoundError):  # set aside, or gone, meanwhile
                    first, end, _ = path.read_bytes().partition(b"\n")
                    first_records.update([first] if end else [])
            await deferLater(reactor, 0.1)
        for call in placed:
            await side.wait_for_end(call.call_id)
        await deferLater(reactor, 1.5)
        await side.ledger.read()
        cdrs = [await side.store.read(load_cdr, call.call_id) for call in placed]
        assert [cdr and (cdr.disposition, cdr.cause) for cdr in cdrs] == [(Disposition.BUSY, 17)] * len(placed)
        assert len(first_records) > 2  # not by their inodes, which are given out again
        assert sorted(path.name for path in cel.parent.glob("cel.json.*")) == ["cel.json.1"]

    async def test_a_call_outlives_tandem(self) -> None:
        first = await self.side()
        stays = await first.place(EndpointDestination(endpoint="1001"))
        ends = await first.place(ExternalDestination(external="0301234", trunk="busy"), ring_timeout_s=5.0)
        short = await first.place(ExternalDestination(external="0301234", trunk="ok"))
        await first.wait_for_state(stays.call_id, "answered")
        await first.stop()
        known = {end.call_id for end in first.ends}
        await deferLater(reactor, 2.0)  # the others end while nobody looks
        second = await self.side()
        for call_id, disposition in ((ends.call_id, Disposition.BUSY), (short.call_id, Disposition.ANSWERED)):
            if call_id not in known:
                assert (await second.wait_for_end(call_id)).disposition == disposition
        assert [call.call_id for call in second.calls.list_open()] == [stays.call_id]
        assert second.calls.list_open()[0].state == "answered"
        assert await second.calls.hang_up(stays.call_id)
        assert (await second.wait_for_end(stays.call_id)).disposition == Disposition.ANSWERED
        assert sorted(end.call_id for end in first.ends + second.ends) == sorted(
            call.call_id for call in (stays, ends, short)
        )

    async def test_calls_that_were_up_when_asterisk_died_are_unconfirmed(self) -> None:
        side = await self.side()
        call = await side.place(EndpointDestination(endpoint="1001"))
        await side.wait_for_state(call.call_id, "answered")
        await deferLater(reactor, 1.2)
        self.asterisk.kill()
        await side.wait_until(lambda: not side.ami.is_ready)
        with pytest.raises(AmiUnanswered):
            await side.place(EndpointDestination(endpoint="1001"))
        self.asterisk.start()
        end = await side.wait_for_end(call.call_id, 40.0)
        assert (end.disposition, end.cause) == (Disposition.UNCONFIRMED, 0)
        assert end.answered_at is not None
        assert [c.disposition for c in side.ends if c.call_id != call.call_id] == [Disposition.FAILED]
        for _ in range(200):
            if (cdr := await side.store.read(load_cdr, call.call_id)) is not None:
                break
            await deferLater(reactor, 0.1)
        assert (cdr.disposition, cdr.ended_at) == (Disposition.UNCONFIRMED, None)
        assert json.dumps(cdr.route)
        assert cdr.started_at < datetime.now(UTC)
