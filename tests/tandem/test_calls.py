"""Calls against FakeAsterisk and a real database: a connection lost at every byte, events in any order, ends that are told once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from tandem.ami.client import AmiClient
from tandem.ami.errors import AmiRefused, AmiUnanswered
from tandem.ami.testing import FakeAsterisk, error
from tandem.calls import Calls
from tandem.domain.calls import CallEvent, PlacedCall, new_call_id, start_call
from tandem.domain.disposition import Disposition, Evidence
from tandem.domain.originate import OriginateOrder
from tandem.store.calls import (
    ExternalIdUsed,
    find_external_call,
    load_call,
    load_calls,
    load_open_calls,
    record_calls,
    record_placed,
    record_placed_calls,
)
from tandem.store.database import Store, open_store

ORDER = OriginateOrder(
    channel="PJSIP/030123@carrier",
    jump="tandem-enter,queue,1(sales,0,,,,)",
    context="tandem-originated",
    exten="s",
    caller_number="4711",
    caller_name="",
    account="",
    variables=(("TANDEM_JUMP", "tandem-enter,queue,1(sales,0,,,,)"),),
    ring_timeout_s=30.0,
    origin="external 030123",
    destination="queue sales",
    is_trunk=True,
    revision=3,
)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class BookNow:
    """The real functions of the store on a real database, without its threads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ends: dict[str, Evidence] = {}
        self.broken = False

    def _run(self, work: Any, *args: Any) -> Deferred[Any]:
        # As in a thread of the store, the connection is kept.
        return fail(OSError("disk full")) if self.broken else succeed(self.store._perform("write", work, *args))

    def save_placed(self, calls: Any) -> Deferred[None]:
        return self._run(record_placed_calls, calls, "tandem")

    def save_changes(self, calls: Any) -> Deferred[frozenset[str]]:
        return self._run(record_calls, calls)

    def load(self, call_id: str) -> Deferred[PlacedCall | None]:
        return self._run(load_call, call_id)

    def load_open(self) -> Deferred[list[PlacedCall]]:
        return self._run(load_open_calls)

    def find_end(self, call_id: str) -> Deferred[Evidence | None]:
        return succeed(self.ends.get(call_id))


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    if request.param == "sqlite":
        return open_store(tmp_path_factory.mktemp("calls") / "tandem.db")
    return open_store(request.getfixturevalue("postgres_server").make_place())


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    # These tests ask what is written, not whether a power cut loses it.
    monkeypatch.setattr("tandem.store.sqlite.PRAGMAS", ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF"))


class Side:
    def __init__(self, store: Store, asterisk: FakeAsterisk | None = None) -> None:
        delete = "DELETE FROM placed_calls WHERE ended_at IS NULL"
        store._perform("write", lambda db: db.execute_sql(delete) and None)
        self.clock = Clock()
        self.asterisk = asterisk or FakeAsterisk()
        self.book = BookNow(store)
        self.start()

    def start(self) -> None:
        fake = self.asterisk
        self.ami = AmiClient(fake.endpoint, fake.username, fake.secret, clock=self.clock)
        self.calls = Calls(self.ami, self.book, self.clock, now=lambda: NOW)
        self.ends: list[tuple[str, Disposition | None]] = []
        self.events: list[CallEvent] = []
        self.calls.watch_ends(lambda end: self.ends.append((end.call.call_id, end.call.disposition)))
        self.calls.watch(self.events.append)
        self.ami.startService()
        self.calls.startService()
        self.asterisk.flush()

    def place(self, **more: Any) -> tuple[Deferred[PlacedCall], str]:
        call_id = new_call_id()
        placing = Deferred.fromCoroutine(self.calls.place(ORDER, call_id=call_id, **more))
        self.asterisk.flush()
        return placing, call_id

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.asterisk.flush()

    def action_id(self) -> str:
        return self.asterisk.sent("Originate")[-1].get("ActionID")

    def close(self) -> None:
        self.calls.stopService()
        self.ami.stopService()
        self.asterisk.flush()
        assert self.clock.getDelayedCalls() == []


def tell(side: Side, call_id: str, *events: tuple[str, dict[str, str]]) -> None:
    for name, headers in events:
        side.asterisk.send_event(name, **headers)
        side.asterisk.flush()


def story(call_id: str, action_id: str, cause: str, tech_cause: str, reason: str) -> list[tuple[str, dict[str, str]]]:
    channel = "PJSIP/carrier-00000001"
    return [
        ("Newchannel", {"Uniqueid": call_id, "Linkedid": call_id, "Channel": channel, "ChannelState": "0"}),
        ("DialState", {"DestUniqueid": call_id, "DestChannel": channel, "DialStatus": "RINGING"}),
        ("HangupRequest", {"Uniqueid": call_id, "Channel": channel, "Cause": cause}),
        ("OriginateResponse", {"ActionID": action_id, "Response": "Failure", "Reason": reason, "Uniqueid": call_id}),
        ("Hangup", {"Uniqueid": call_id, "Channel": channel, "Cause": cause, "TechCause": tech_cause}),
    ]


def test_a_call_from_its_start_to_its_end(store: Store) -> None:
    side = Side(store)
    placing, call_id = side.place()
    assert placing.result.state == "placed"
    sent = side.asterisk.sent("Originate")[0]
    assert (sent.get("ChannelId"), sent.get("Channel"), sent.get("Async")) == (call_id, ORDER.channel, "true")
    tell(side, call_id, *story(call_id, side.action_id(), "17", "486", "0"))
    assert side.ends == [(call_id, Disposition.BUSY)]
    assert [event.kind for event in side.events] == ["placed", "ringing", "ended"]
    kept = store.run_now(load_call, call_id)
    assert kept == side.events[-1].call
    assert (kept.disposition, kept.cause, kept.tech_cause, kept.ringing_at) == (Disposition.BUSY, 17, 486, NOW)
    assert store.run_now(load_calls, 1)[0].call_id == call_id
    side.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_events_in_any_order_and_more_than_once(store: Store, data: st.DataObject) -> None:
    side = Side(store)
    _, call_id = side.place()
    events = story(call_id, side.action_id(), "17", "486", "0")
    tell(side, call_id, *data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=5)))))
    side.pass_time(2)
    assert side.ends == [(call_id, Disposition.BUSY)]
    assert [event.kind for event in side.events].count("ended") == 1
    side.close()


def test_events_of_others_are_not_believed(store: Store) -> None:
    side = Side(store)
    _, call_id = side.place()
    other = new_call_id()
    # A stranger knows no id of ours; what happens to another channel of the call is not its end.
    tell(side, call_id, *story(other, "0" * 32, "17", "486", "0"))
    tell(side, call_id, ("Hangup", {"Uniqueid": "1763.1", "Linkedid": call_id, "Cause": "16"}))
    # An OriginateResponse for another action with our Uniqueid: a second originate with a living id.
    tell(
        side,
        call_id,
        ("OriginateResponse", {"ActionID": "f" * 32, "Response": "Failure", "Reason": "0", "Uniqueid": call_id}),
    )
    side.pass_time(3)
    assert side.ends == []
    assert side.calls.list_open()[0].state == "placed"
    side.close()


# What it does with the connection to Asterisk does not depend on the database.
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("what", ["received", "sent"])
@pytest.mark.parametrize("start", range(5))
def test_a_connection_lost_at_any_byte_leads_to_one_originate_at_most(store: Store, what: str, start: int) -> None:
    probe = Side(store)
    _, call_id = probe.place()
    frame = probe.asterisk.sent("Originate")[0].frame
    probe.close()
    for cut in range(start, len(frame) + 40, 5):
        asterisk = FakeAsterisk()
        side = Side(store, asterisk)
        (session,) = asterisk.sessions
        if what == "received":
            session._may_receive = cut
        else:
            session._may_send = cut
        placing, call_id = side.place()
        side.asterisk.flush()
        side.pass_time(40)  # it has reconnected, and compared
        assert len(asterisk.sent("Originate")) <= 1
        assert asterisk.logins == 2 or what == "sent"
        answer = getattr(placing, "result", None)
        if hasattr(answer, "value"):
            placing.addErrback(lambda failure: failure.trap(AmiUnanswered))
        assert [ended for ended, _ in side.ends] == [call_id], cut
        assert side.ends[0][1] in {Disposition.UNCONFIRMED, Disposition.FAILED}
        side.close()


def test_without_a_connection_nothing_is_sent_and_the_call_is_over(store: Store) -> None:
    side = Side(store)
    side.asterisk.is_down = True
    side.asterisk.cut()
    side.asterisk.flush()
    placing, call_id = side.place()
    placing.addErrback(lambda failure: failure.trap(AmiUnanswered) and failure.value)
    assert placing.result.written is False
    assert side.ends == [(call_id, Disposition.FAILED)]
    assert side.asterisk.sent("Originate") == []
    side.close()


def test_asterisk_refuses(store: Store) -> None:
    side = Side(store)
    side.asterisk.answers["Originate"] = lambda message: error("Extension does not exist.")
    placing, call_id = side.place()
    placing.addErrback(lambda failure: failure.trap(AmiRefused) and failure.value)
    assert placing.result.reason == "Extension does not exist."
    assert side.ends == [(call_id, Disposition.FAILED)]
    side.close()


def test_nothing_is_sent_that_could_not_be_kept(store: Store) -> None:
    side = Side(store)
    side.book.broken = True
    placing, _ = side.place()
    placing.addErrback(lambda failure: failure.trap(OSError))

    async def refuse(call: PlacedCall) -> None:
        raise KeyError("the same Idempotency-Key")

    side.book.broken = False
    other, _ = side.place(record=refuse)
    other.addErrback(lambda failure: failure.trap(KeyError))
    assert (placing.result, other.result) == (OSError, KeyError)
    assert side.asterisk.sent("Originate") == []
    assert side.ends == []
    assert side.calls.list_open() == []
    side.close()


def test_an_id_is_used_once(store: Store) -> None:
    side = Side(store)
    _, call_id = side.place()
    again = Deferred.fromCoroutine(side.calls.place(ORDER, call_id=call_id))
    again.addErrback(lambda failure: "refused")
    assert again.result == "refused"
    assert len(side.asterisk.sent("Originate")) == 1
    side.close()


def test_an_end_that_cannot_be_kept_yet_is_told_once_it_is(store: Store) -> None:
    side = Side(store)
    _, call_id = side.place()
    side.book.broken = True
    tell(side, call_id, *story(call_id, side.action_id(), "17", "486", "0"))
    side.pass_time(3)
    assert side.ends == []
    found = Deferred.fromCoroutine(side.calls.find(call_id))
    assert found.result.state == "ended"
    side.book.broken = False
    side.pass_time(2)
    assert side.ends == [(call_id, Disposition.BUSY)]
    side.close()


def channel_row(call_id: str, state: str) -> list[tuple[str, str]]:
    headers = {"Uniqueid": call_id, "Linkedid": call_id, "Channel": "PJSIP/carrier-00000001", "ChannelState": state}
    return [("Event", "CoreShowChannel"), *headers.items()]


def test_a_restart_takes_up_what_is_open(store: Store) -> None:
    side = Side(store)
    _, up = side.place()
    _, over = side.place()
    _, unknown = side.place()
    side.close()
    side.asterisk.lists["CoreShowChannels"] = [channel_row(up, "6")]
    side.book.ends[over] = Evidence(has_channel=True, is_hung_up=True, cause=34)
    side.start()
    assert side.ends == []  # not at once: what events say may be on its way
    side.pass_time(3)
    # Asterisk's record says it; of the other an originate may be carried out late.
    assert side.ends == [(over, Disposition.CONGESTION)]
    side.pass_time(20)
    assert sorted(side.ends) == sorted([(over, Disposition.CONGESTION), (unknown, Disposition.UNCONFIRMED)])
    assert [(call.call_id, call.state) for call in side.calls.list_open()] == [(up, "answered")]
    tell(side, up, ("Hangup", {"Uniqueid": up, "Channel": "PJSIP/carrier-00000001", "Cause": "16"}))
    side.pass_time(2)
    assert (up, Disposition.ANSWERED) in side.ends
    assert len(side.asterisk.sent("Originate")) == 3
    side.close()


def test_a_call_that_was_kept_and_is_not_known_is_taken_up(store: Store) -> None:
    """As after a commit whose answer was lost: nothing was sent, and the call must not stay open for ever."""
    side = Side(store)
    side.pass_time(1)
    call = start_call(ORDER, new_call_id(), NOW)
    store.run_now(record_placed, call, "tandem")
    side.pass_time(90)
    assert side.ends == [(call.call_id, Disposition.UNCONFIRMED)]
    assert side.asterisk.sent("Originate") == []
    side.close()


def test_an_end_is_told_by_one_process_only(store: Store) -> None:
    side = Side(store)
    _, call_id = side.place()
    call = side.calls.list_open()[0]
    tell(side, call_id, *story(call_id, side.action_id(), "17", "486", "0"))
    assert store.run_now(record_calls, [side.events[-1].call]) == frozenset()
    assert store.run_now(load_call, call_id).disposition == Disposition.BUSY
    with pytest.raises(Exception, match=r"(?i)unique"):
        store.run_now(record_placed, call, "tandem")
    side.close()


def test_hanging_up(store: Store) -> None:
    side = Side(store)
    _, call_id = side.place()
    rows = [channel_row(call_id, "6"), channel_row("1763.7", "6")]
    rows[1][2] = ("Linkedid", call_id)
    rows[1][3] = ("Channel", "PJSIP/1001-00000002")
    side.asterisk.lists["CoreShowChannels"] = rows
    ending = Deferred.fromCoroutine(side.calls.hang_up(call_id))
    side.asterisk.flush()
    assert ending.result is True
    assert [message.get("Channel") for message in side.asterisk.sent("Hangup")] == [
        "PJSIP/carrier-00000001",
        "PJSIP/1001-00000002",
    ]
    tell(side, call_id, *story(call_id, side.action_id(), "16", "", "0"))
    assert Deferred.fromCoroutine(side.calls.hang_up(call_id)).result is False
    assert Deferred.fromCoroutine(side.calls.hang_up("nobody")).result is False
    side.close()


def test_one_that_has_no_channel_yet_is_hung_up_when_it_has(store: Store) -> None:
    side = Side(store)
    _, call_id = side.place()
    Deferred.fromCoroutine(side.calls.hang_up(call_id))
    side.asterisk.flush()
    assert side.asterisk.sent("Hangup") == []
    tell(side, call_id, story(call_id, "", "16", "", "0")[0])
    assert [message.get("Channel") for message in side.asterisk.sent("Hangup")] == ["PJSIP/carrier-00000001"]
    side.close()


def test_waiting_for_an_answer(store: Store) -> None:
    side = Side(store)
    _, call_id = side.place()
    side.asterisk.flush()
    answered = Deferred.fromCoroutine(side.calls.wait_answered(call_id, 50))
    late = Deferred.fromCoroutine(side.calls.wait_answered(call_id, 2))
    other: list[Any] = []
    Deferred.fromCoroutine(side.calls.wait_answered(new_call_id(), 50)).addCallback(other.append)
    assert other == [None]
    side.clock.advance(2)
    found: list[Any] = []
    late.addCallback(found.append)
    assert [call.state for call in found] == ["placed"]
    assert not answered.called
    side.calls._observe(call_id, Evidence(has_channel=True, response="answered"))
    answered.addCallback(found.append)
    assert found[-1].state == "answered"
    again: list[Any] = []
    Deferred.fromCoroutine(side.calls.wait_answered(call_id, 50)).addCallback(again.append)
    assert again[0].call_id == call_id
    side.calls.stopService()


def test_one_call_for_each_external_id_of_a_project(store: Store) -> None:
    call = start_call(replace(ORDER, project="1", external_id="once"), new_call_id(), NOW)
    store._perform("write", record_placed, call, "tandem")
    with pytest.raises(ExternalIdUsed) as caught:
        store._perform("write", record_placed, replace(call, call_id=new_call_id()), "tandem")
    assert caught.value.call == call
    for other in ({"project": "2"}, {"external_id": "twice"}, {"external_id": ""}, {"external_id": "", "project": ""}):
        store._perform("write", record_placed, replace(call, call_id=new_call_id(), **other), "tandem")
    # Open, it keeps its id whoever asks; over, it gives it away where it was never sent or that is long ago.
    day = timedelta(hours=24)
    with pytest.raises(ExternalIdUsed):
        store._perform("write", record_placed, replace(call, call_id=new_call_id()), "tandem", NOW + 365 * day)
    ended = replace(call, ended_at=NOW, disposition=Disposition.FAILED)
    store._perform("write", record_calls, [ended])
    for free_before in (None, NOW):
        with pytest.raises(ExternalIdUsed):
            store._perform("write", record_placed, replace(call, call_id=new_call_id()), "tandem", free_before)
    second = replace(call, call_id=new_call_id())
    store._perform("write", record_placed, second, "tandem", NOW + day)
    assert store.run_now(find_external_call, "1", "once") == second
    assert store.run_now(load_call, call.call_id) == replace(ended, external_id="")
    store._perform(
        "write", record_calls, [replace(second, ended_at=NOW, disposition=Disposition.FAILED, is_unsent=True)]
    )
    with pytest.raises(ExternalIdUsed):
        store._perform("write", record_placed, replace(call, call_id=new_call_id()), "tandem")
    third = replace(call, call_id=new_call_id())
    store._perform("write", record_placed, third, "tandem", NOW - day)
    assert store.run_now(find_external_call, "1", "once") == third
    # Whoever comes by another way is stopped by the database itself.
    with pytest.raises(Exception, match=r"(?i)unique"):
        store._perform("write", record_placed_calls, [replace(call, call_id=new_call_id())], "tandem")
