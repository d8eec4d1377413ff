"""The toll guard: which numbers, when a scope is locked, and that counters and locks outlive a restart; real calls are in tests/asterisk/test_outbound.py."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from tandem.document import DocumentError, read_document, write_document
from tandem.domain.cdr import Cdr, Leg
from tandem.domain.destinations import EndpointDestination, ExternalDestination
from tandem.domain.disposition import Disposition
from tandem.domain.last_known import last_known_entries
from tandem.domain.originate import CallRefused, CallRequest, plan_call
from tandem.domain.outbound import Caller, TrunkTry, route_outbound
from tandem.domain.snapshot import build_snapshot
from tandem.domain.tolls import judge_number
from tandem.store.tolls import load_tolls
from tandem.tolls import NotLocked, Tolls

DOCUMENT = """
general:
  country: DE
  outbound_trunk: a
  toll_guard: {denied_prefixes: ["+8816*", "+49301*"], daily_calls: 8, max_calls: 30}
trunks:
  - {name: a, hosts: [192.0.2.1], max_calls: 9, toll_guard: {max_calls: 12, daily_minutes: 10}}
  - {name: b, hosts: [192.0.2.2], toll_guard: {premium: no, countries: [DE, FR]}}
  - {name: c, hosts: [192.0.2.3], max_cps: 2}
endpoints:
  - {extension: 1001, secret: not-a-secret-1, toll_guard: {premium: yes}}
  - {extension: 1002, secret: not-a-secret-2, toll_guard: {countries: [DE], allowed_prefixes: ["+4411*"], max_calls_per_minute: 3}}
"""
SNAPSHOT = build_snapshot(1, read_document(DOCUMENT, "test"))
NOON = datetime(2026, 11, 16, 11, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("extension", "trunk", "number", "refusal"),
    [
        ("1001", "a", "09001234567", ""),
        ("1001", "b", "09001234567", "is a premium number"),
        ("1002", "a", "09001234567", "is a premium number"),
        ("", "a", "+499001234567", "is a premium number"),
        ("1001", "a", "11833", ""),
        ("1001", "b", "11833", "is a premium number"),
        ("1002", "a", "118001", "is a premium number"),
        ("1002", "a", "118331234", "is a premium number"),
        ("1002", "a", "011833", "is a premium number"),
        ("1002", "a", "+4911833", "is a premium number"),
        ("1002", "a", "0118331234", ""),
        ("1002", "a", "116117", ""),
        ("1002", "a", "112", ""),
        ("1001", "a", "0301234", "pbx must not dial"),
        ("1001", "a", "+88161234567", "pbx must not dial"),
        ("1002", "a", "0331234567", ""),
        ("1002", "a", "0033155501234", "must not dial to FR"),
        ("1001", "a", "0033155501234", ""),
        ("1001", "b", "+14155550100", "trunk/b must not dial to US"),
        ("1002", "a", "0044115550100", ""),
    ],
)
def test_which_numbers(extension, trunk, number, refusal):
    found = judge_number(SNAPSHOT, extension, trunk, number)
    assert refusal in found
    assert bool(found) == bool(refusal)


def test_what_is_put_before_a_number_hides_nothing():
    assert "premium" in judge_number(SNAPSHOT, "", "a", "909001234567", "09001234567")
    assert "must not dial" in judge_number(SNAPSHOT, "", "a", "90301234", "+49301234")


def test_a_country_is_the_same_however_the_trunk_wants_its_numbers():
    document = """
general: {country: DE, toll_guard: {countries: [DE]}}
trunks: [{name: a, hosts: [192.0.2.1], numbers_out: e164}, {name: b, hosts: [192.0.2.2], prefix_out: "9"}]
outbound_routes: [{name: all, patterns: ["_7."], strip: 1, trunks: [a, b]}]
endpoints: [{extension: 1001, secret: not-a-secret-1, permissions: [international]}]
"""
    snapshot = build_snapshot(1, read_document(document, "test"))
    for dialled, refusal in (("7004420555001", "must not dial to GB"), ("7030555001", "")):
        found = route_outbound(snapshot, Caller(snapshot.endpoints["1001"], is_phone=True), dialled, None)
        assert [one.trunk for one in found.tries] == ["a", "b"]
        for trunk, _ in found.tries:
            said = judge_number(snapshot, "1001", trunk, dialled, found.number)
            assert (refusal in said, bool(said)) == (True, bool(refusal))


def test_documents_come_back():
    pbx = read_document(DOCUMENT, "test")
    assert read_document(write_document(pbx)) == pbx
    with pytest.raises(DocumentError, match="daily_calls"):
        read_document("general: {toll_guard: {daily_calls: -1}}", "test")
    # Calls to GB would be refused, and nobody would know why.
    for text, field in (
        ("general: {toll_guard: {countries: [GB, UK]}}", r"general\.toll_guard\.countries\[1\]"),
        (
            "endpoints: [{extension: 1001, secret: not-a-secret-1, toll_guard: {countries: [ZZ]}}]",
            r"endpoints\[0\]\.toll_guard\.countries\[0\]",
        ),
        (
            "trunks: [{name: a, hosts: [192.0.2.1], toll_guard: {countries: [XX]}}]",
            r"trunks\[0\]\.toll_guard\.countries\[0\]",
        ),
    ):
        with pytest.raises(DocumentError, match=field):
            read_document(text, "test")


def test_calls_that_are_placed_are_guarded():
    request = CallRequest(
        origin=ExternalDestination(external="09001234567"),
        destination=EndpointDestination(endpoint="1001"),
        permissions=("international",),
    )
    with pytest.raises(CallRefused, match="toll guard"):
        plan_call(SNAPSHOT, request)


def test_the_dialplan_has_how_many_at_once():
    entries = last_known_entries(SNAPSHOT, datetime(2026, 11, 16, tzinfo=UTC).date())
    assert {key: value for (family, key), value in entries.items() if family == "tandem-limit"} == {
        "pbx": "30",
        "trunk/a": "9",
    }


class Guarded:
    """A guard over a store, and its time."""

    def __init__(self, store):
        self.at, self.sent, self.told = NOON, [], []
        self.store = store
        self.tolls = self.start()

    def start(self):
        tolls = Tolls(self.store, lambda: SNAPSHOT, self.send, lambda _: succeed([]), Clock(), now=lambda: self.at)
        tolls.watch(self.told.append)
        return tolls

    def send(self, action):
        self.sent.append(action)
        return succeed(None)

    def call(self, extension="1002", number="0331234567", trunk="a"):
        verdict, tries = self.tolls.admit(extension, [TrunkTry(trunk, number)], number)
        assert bool(tries) != bool(verdict.refusal)
        return verdict


class Direct:
    """A store whose work is done at once, in this thread."""

    def __init__(self, store):
        self._store = store

    def run(self, work, *args):
        return succeed(self._store.run_now(work, *args))

    read = run


@pytest.fixture
def guarded(store):
    return Guarded(Direct(store))


def finish(coroutine):
    """The result of a coroutine that waits for nothing."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    return stop.value.value


def test_too_many_within_a_minute_lock_and_a_minute_later_it_is_still_locked(guarded):
    finish(guarded.tolls.flush())
    assert [guarded.call().refusal for _ in range(3)] == ["", "", ""]
    assert "locked" in guarded.call().refusal
    guarded.at += 3600
    assert "within a minute" in guarded.call().refusal
    assert [lock.scope for lock in guarded.told] == ["endpoint/1002"]
    assert repr(guarded.sent[-1]) == "<Action DBPut>"
    assert not guarded.call("1001").refusal  # nobody else is


def test_slower_calls_are_no_trouble(guarded):
    for _ in range(5):
        assert not guarded.call().refusal
        guarded.at += 21


def test_counters_and_locks_outlive_a_restart_and_only_a_person_unlocks(guarded):
    for _ in range(8):
        assert not guarded.call("1001").refusal
    assert "more than 8 calls" in guarded.call("1001").refusal
    finish(guarded.tolls.flush())
    guarded.tolls = guarded.start()
    finish(guarded.tolls.flush())
    assert "pbx is locked" in guarded.call("1002").refusal
    guarded.at += 86400
    assert "pbx is locked" in guarded.call("1002").refusal
    states = {state.scope: state for state in guarded.tolls.list_states()}
    assert (states["pbx"].reason, next(iter(states))) == ("more than 8 calls on one day", "pbx")

    async def commit(work):
        await guarded.store.run(work)

    finish(guarded.tolls.unlock("pbx", commit))
    assert not guarded.call("1002").refusal
    assert guarded.store._store.run_now(load_tolls)[1] == {}
    with pytest.raises(NotLocked):
        guarded.tolls.unlock("pbx", commit).send(None)


def test_minutes_come_from_the_records_and_end_a_call_that_would_be_too_long(guarded):
    phone = Leg(uniqueid="1.1", call_id="1.1", channel="PJSIP/1002-00000001")
    outside = Leg(
        uniqueid="1.2", call_id="1.1", channel="PJSIP/a-00000002", answered_at=guarded.at, ended_at=guarded.at + 400
    )
    at = datetime.fromtimestamp(guarded.at, UTC)
    cdr = Cdr(
        call_id="1.1", direction="outbound", is_placed=False, caller="1002", called="0331234567", trunk="a", endpoint="a", queue="",
        route="", account="", started_at=at, answered_at=at, ended_at=at, ring_s=0, hold_s=0, talk_s=400, duration_s=400,
        disposition=Disposition.ANSWERED, cause=16, legs=(phone, outside),
    )  # fmt: skip
    assert guarded.call("1001").limit_s == 600
    guarded.tolls.take_cdr(cdr)
    guarded.tolls.take_cdr(replace(cdr, direction="inbound", legs=(outside, phone)))
    endpoint = next(state for state in guarded.tolls.list_states() if state.scope == "endpoint/1002")
    assert endpoint.minutes == 6.67
    assert guarded.call("1001").limit_s == 200
    assert guarded.call("1001", trunk="b").limit_s == 0
    # A call from outside that is sent outside again costs, too.
    guarded.tolls.take_cdr(replace(cdr, direction="inbound", legs=(outside, replace(outside, uniqueid="1.3"))))
    assert "more than 10 minutes" in guarded.call("1001").refusal
    assert not guarded.call("1001", trunk="b").refusal
    assert guarded.tolls.is_locked("a")
    assert not guarded.tolls.is_locked("b")


def test_a_queue_that_rings_a_member_outside_five_times_has_called_five_times_and_talked_once(guarded):
    at = datetime.fromtimestamp(guarded.at, UTC)
    for _ in range(5):
        assert not guarded.call("", trunk="a").refusal
        guarded.at += 22
    carrier = Leg(uniqueid="3.1", call_id="3.1", channel="PJSIP/b-00000001", answered_at=guarded.at)
    rings = [
        Leg(uniqueid=f"3.{n}", call_id="3.1", channel=f"PJSIP/a-0000000{n}", ended_at=guarded.at) for n in range(2, 6)
    ]
    talk = replace(rings[0], uniqueid="3.6", answered_at=guarded.at, ended_at=guarded.at + 60)
    cdr = Cdr(
        call_id="3.1", direction="inbound", is_placed=False, caller="0331", called="500", trunk="b", endpoint="a", queue="away",
        route="", account="", started_at=at, answered_at=at, ended_at=at, ring_s=0, hold_s=0, talk_s=60, duration_s=60,
        disposition=Disposition.ANSWERED, cause=16, legs=(carrier, *rings, talk),
    )  # fmt: skip
    guarded.tolls.take_cdr(cdr)
    states = {state.scope: (state.calls, state.minutes) for state in guarded.tolls.list_states()}
    assert states == {"pbx": (5, 1.0), "trunk/a": (5, 1.0)}


def test_minutes_are_those_of_the_phone_that_forwards(guarded):
    at = datetime.fromtimestamp(guarded.at, UTC)
    carrier = Leg(uniqueid="2.1", call_id="2.1", channel="PJSIP/b-00000001")
    outside = Leg(
        uniqueid="2.2", call_id="2.1", channel="PJSIP/a-00000002", answered_at=guarded.at, ended_at=guarded.at + 90
    )
    cdr = Cdr(
        call_id="2.1", direction="inbound", is_placed=False, caller="0331", called="1002", trunk="b", endpoint="a", queue="",
        route="", account="", started_at=at, answered_at=at, ended_at=at, ring_s=0, hold_s=0, talk_s=90, duration_s=90,
        disposition=Disposition.ANSWERED, cause=16, legs=(carrier, outside),
    )  # fmt: skip
    guarded.tolls.admit("1002", [TrunkTry("a", "0331234567")], "0331234567", channel="2.1")
    guarded.tolls.take_cdr(cdr)
    guarded.tolls.take_cdr(cdr)  # nobody's any more
    minutes = {state.scope: state.minutes for state in guarded.tolls.list_states()}
    assert (minutes["endpoint/1002"], minutes["trunk/a"]) == (1.5, 3.0)


def test_a_trunk_that_is_called_too_fast_is_passed_by_and_not_locked(guarded):
    both = [TrunkTry("c", "0331234567"), TrunkTry("b", "0331234567")]
    taken = [guarded.tolls.admit("1001", both, "0331234567")[1][0].trunk for _ in range(4)]
    assert taken == ["c", "c", "b", "b"]
    alone = guarded.tolls.admit("1001", both[:1], "0331234567")[0]
    assert (alone.is_busy, "within a second" in alone.refusal) == (True, True)
    guarded.at += 0.5
    assert guarded.tolls.admit("1001", both, "0331234567")[1][0].trunk == "c"
    assert not guarded.told
