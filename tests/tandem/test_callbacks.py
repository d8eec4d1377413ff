"""Callbacks of queues: whom, when, where in the queue, and that nobody is called twice in doubt; real calls are in tests/asterisk/test_agents.py."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from confgen.render import RenderTarget, render
from confgen.sections import read_sections
from tandem.ami.client import AmiClient
from tandem.ami.testing import FakeAsterisk, event_list
from tandem.callbacks import Callbacks
from tandem.calls import Calls
from tandem.document import read_document
from tandem.domain.callbacks import (
    CAME_BACK,
    DOUBT,
    CallbackBusy,
    CallbackRefused,
    CallbackWish,
    Waiting,
    conclude,
    find_place,
    is_number_of,
    is_time,
    plan_callback,
    start_callback,
)
from tandem.domain.calls import new_call_id, start_call
from tandem.domain.references import check_pbx
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import build_snapshot
from tandem.lease import Lease
from tandem.store.callbacks import (
    claim_callback,
    delete_callbacks,
    keep_callback,
    load_callback,
    load_callbacks,
    load_open_callbacks,
    save_callback,
)
from tandem.store.database import open_store
from tandem.store.retention import delete_placed_calls
from tandem.tolls import Tolls
from tests.tandem.test_calls import NOW, BookNow
from tests.tandem.test_tolls import Direct

DOCUMENT = """
general: {country: DE, outbound_trunk: out, toll_guard: {denied_prefixes: ["+4930666*"]}}
trunks:
  - {name: out, hosts: [192.0.2.1], toll_guard: {daily_calls: 3}}
  - {name: national, hosts: [192.0.2.2], numbers: national}
endpoints: [{extension: 1001, secret: not-a-secret-1}]
schedules: [{name: office, hours: [{days: mon-fri, start: "09:00", end: "17:00"}]}]
queues:
  - {name: sales, members: [{endpoint: 1001}], recording: yes, exit_key: "0", exit: {hangup: busy}, periodic_prompts: [beep],
     callback: {key: "1", prompts: [tandem/offer], schedule: office, max_waiting: 2}, fallback: {hangup: busy}}
  - {name: far, join_when_empty: yes, leave_when_empty: no, callback: {key: "*", permission: international}, fallback: {hangup: busy}}
  - {name: plain, fallback: {hangup: busy}}
"""
SNAPSHOT = build_snapshot(1, read_document(DOCUMENT, "test"))
SALES = SNAPSHOT.queues["sales"]
AT = NOW.timestamp()  # a Friday's noon
HERE, NOBODY = QueueFacts(0, 1, 1), QueueFacts(0, 0, 0)


def wish(number="0305550100", queue="sales", **more):
    return CallbackWish(queue=queue, number=number, joined_at=AT - 60, **more)


def start(number="0305550100", queue="sales", callback_id="c1", **more):
    return start_callback(SNAPSHOT, wish(number, queue, **more), callback_id, AT)


@pytest.mark.parametrize(
    ("queue", "number", "rule"),
    [
        ("sales", "0014155550100", "permission international"),
        ("sales", "030666123", "toll guard"),
        ("far", "09001234567", "premium"),
        ("sales", "112", "emergency"),
        ("sales", "*9", "digits"),
        ("plain", "0305550100", "calls nobody back"),
        ("nowhere", "0305550100", "calls nobody back"),
    ],
)
def test_who_cannot_be_called_is_promised_nothing(queue, number, rule):
    with pytest.raises(CallbackRefused, match=rule):
        start(number, queue)


def test_a_try_rings_the_queue_at_the_callers_place_and_then_the_caller():
    callback = start(shown="+4930100", priority=7)
    assert (callback.joined_at, callback.expires_at) == (AT - 60, AT + 14_400)
    order = plan_callback(SNAPSHOT, callback, 3, AT)
    assert (order.channel, order.is_trunk) == ("Local/s@tandem-queue-first/n", False)
    assert order.jump == "tandem-enter,external,1(0305550100,0,,,,+4930100)"
    assert dict(order.variables) == {
        "TANDEM_JUMP": order.jump, "TANDEM_QUEUE_FIRST": "sales", "TANDEM_CALLBACK": "yes", "TANDEM_QUEUE_PLACE": "3",
        "TANDEM_QUEUE_WAIT": "14400", "QUEUE_PRIO": "7", "TANDEM_RING": "30", "TANDEM_RECORDING": "yes",
    }  # fmt: skip
    assert plan_callback(SNAPSHOT, start("1001"), 1, AT).jump == "tandem-enter,endpoint,1(1001,0,,,,)"
    # Both channels that play to the caller speak as the queue did; what an admin's dialplan has set may be no language at all.
    spoken = dict(plan_callback(SNAPSHOT, start(language="pt_BR"), 1, AT).variables)
    assert spoken["TANDEM_LANGUAGE"] == "pt_BR"
    assert spoken["TANDEM_DIAL_OPTIONS"] == "b(tandem-called-language^s^1(pt_BR))"
    assert start(language="de),g").language == ""
    # What a stranger's SIP request called it is not shown to anybody; a clock that jumped puts nobody before the others.
    assert start(shown="+").shown == ""
    assert start_callback(SNAPSHOT, replace(wish(), joined_at=5.0), "c1", AT).joined_at == AT


def test_the_place_is_behind_who_is_more_urgent_and_who_came_earlier():
    callback = start(priority=5)
    others = [Waiting(AT - 300, 5), Waiting(AT - 10, 5), Waiting(AT - 300, 0), Waiting(AT - 1, 9)]
    assert find_place(others, callback) == 3
    assert find_place([], callback) == 1


@pytest.mark.parametrize(
    ("number", "caller", "trunk", "is_theirs"),
    [
        ("0305550100", "+49305550100", "", True),
        ("0305550100", "0049305550100", "out", True),
        ("0305550100", "49305550100", "national", True),
        ("+49305550100", "0305550100", "out", True),
        ("1001", "1001", "", True),
        ("0305550100", "0305550101", "out", False),
        ("0305550100", "5550100", "out", False),
        ("0305550100", "", "", False),
        ("0305550100", "anonymous", "", False),
    ],
)
def test_who_calls_again_is_known_however_the_number_is_written(number, caller, trunk, is_theirs):
    assert is_number_of(SNAPSHOT, start(number), caller, trunk) is is_theirs


def test_when_it_is_time():
    far = SNAPSHOT.queues["far"]
    assert is_time(SNAPSHOT, SALES, HERE, AT)
    assert not is_time(SNAPSHOT, SALES, HERE, AT + 12 * 3600)  # its callbacks have hours
    assert not is_time(SNAPSHOT, SALES, None, AT)
    assert not is_time(SNAPSHOT, SALES, NOBODY, AT)
    assert is_time(SNAPSHOT, far, NOBODY, AT)  # callers wait there, too


@pytest.mark.parametrize(
    ("tries", "outcome", "state", "tried"),
    [
        (0, "ANSWER", "done", 1),
        (0, "NOANSWER", "waiting", 1),
        (2, "BUSY", "failed", 3),
        (0, None, "waiting", 0),
        (2, None, "waiting", 2),
        (0, DOUBT, "failed", 1),
    ],
)
def test_what_a_try_makes_of_it(tries, outcome, state, tried):
    found = conclude(replace(start(), state="calling", tries=tries), SALES.callback, outcome, AT)
    assert (found.state, found.tries, found.ended_at is None) == (state, tried, state == "waiting")
    assert found.next_at > AT or not found.is_open


def test_the_keys_of_a_queue_have_a_context_and_the_offer_is_heard():
    files = render(SNAPSHOT, RenderTarget(agi_url="agi://x:1", recordings_dir="/r", dialplan_dir="/d", sounds_dir="/s"))
    queues = {it.name: dict(it.options) for it in read_sections(files["queues.conf"])}
    assert queues["sales"]["context"] == "tandem-queue-exit-0-callback-1"
    assert queues["sales"]["periodic-announce"] == "/s/offer,beep"
    assert "context" not in queues["plain"]
    contexts = {it.name: [value for _, value in it.options] for it in read_sections(files["extensions.conf"])}
    assert contexts["tandem-queue-exit-0-callback-1"] == [
        "0,1,Goto(tandem-queue-exit,s,1)",
        "1,1,Goto(tandem-queue-callback,s,1)",
    ]
    assert contexts["tandem-queue-callback-star"] == ["*,1,Goto(tandem-queue-callback,s,1)"]


def test_what_does_not_fit_together_is_named():
    setting = replace(SALES.callback, key="0", schedule="offcie")
    pbx = read_document(DOCUMENT, "test")
    broken = replace(pbx, queues=(replace(SALES, callback=setting), *pbx.queues[1:]))
    assert [problem.path for problem in check_pbx(broken)] == ["queues[0].callback.key", "queues[0].callback.schedule"]


# ------------------------------------------------------------------------------------------------------- the database


def place_call(snapshot=SNAPSHOT):
    return start_call(plan_callback(snapshot, start(), 1, AT), new_call_id(), NOW)


def test_a_number_is_owed_one_call_and_a_queue_no_more_than_it_may(store):
    first = start()
    assert store.run_now(keep_callback, first, "a", 2) is first
    assert store.run_now(keep_callback, start(callback_id="c2"), "a", 2) == first
    second = start("0305550101", callback_id="c2")
    store.run_now(keep_callback, second, "a", 2)
    with pytest.raises(CallbackRefused, match="owes 2"):
        store.run_now(keep_callback, start("0305550102", callback_id="c3"), "a", 2)
    assert store.run_now(load_open_callbacks, None) == [first, second]
    done = conclude(replace(first, state="calling"), SALES.callback, "ANSWER", AT)
    with pytest.raises(CallbackBusy):
        store.run_now(save_callback, replace(first, state="calling"), done)
    store.run_now(save_callback, first, done)
    assert [one.callback_id for one in store.run_now(load_callbacks)] == ["c2", "c1"]
    assert store.run_now(keep_callback, start(callback_id="c4"), "a", 2).callback_id == "c4"
    assert store.run_now(delete_callbacks, NOW.replace(year=2030), 10) == 1
    assert store.run_now(load_callback, "c1") is None


def test_a_try_is_claimed_once_and_with_its_call(store):
    callback, call = start(), place_call()
    store.run_now(keep_callback, callback, "a", 2)
    store.run_now(claim_callback, callback, call, "a")
    with pytest.raises(CallbackBusy):
        store.run_now(claim_callback, callback, place_call(), "b")
    found = store.run_now(load_callback, "c1")
    assert (found.state, found.call_id) == ("calling", call.call_id)
    # Of a node that is gone it is everybody's.
    assert store.run_now(load_open_callbacks, "b") == [found]
    store.run_now(
        lambda db: (
            db.execute_sql("INSERT INTO nodes (node, instance, beats, beat_at) VALUES ('a', 'x', 1, 1.0)") and None
        )
    )
    assert store.run_now(load_open_callbacks, "b") == []


# ------------------------------------------------------------------------------------------------------- the service


class Side:
    """A Tandem whose Asterisk has the queue: real AMI, calls and database."""

    def __init__(self, path):
        self.store, self.clock, self.asterisk, self.at = open_store(path), Clock(), FakeAsterisk(), AT
        self.entries, self.told = [], []
        self.asterisk.answers["QueueStatus"] = lambda _: event_list("Queue status", self.entries, "QueueStatusComplete")
        self.asterisk.answers["QueueSummary"] = lambda _: event_list("Queue summary", [], "QueueSummaryComplete")
        self.start()

    def start(self):
        fake = self.asterisk
        self.ami = AmiClient(fake.endpoint, fake.username, fake.secret, clock=self.clock)
        self.tolls = Tolls(
            Direct(self.store), lambda: SNAPSHOT, self.ami.send, self.ami.send_list, self.clock, now=lambda: self.at
        )
        self.calls = Calls(self.ami, BookNow(self.store), self.clock, now=lambda: NOW)
        self.callbacks = Callbacks(
            Direct(self.store), self.calls, Lease(self.store, "a", self.clock), lambda: SNAPSHOT, lambda _: HERE,
            ask=self.ami.send_list, send=self.ami.send, judge=self.tolls.judge, is_ready=lambda: True, clock=self.clock, now=lambda: self.at,
        )  # fmt: skip
        self.callbacks.watch(self.told.append)
        self.ami.startService()
        self.asterisk.flush()
        Deferred.fromCoroutine(self.calls.compare())
        self.asterisk.flush()

    def look(self):
        self.finish(self.callbacks.look())

    def finish(self, coroutine):
        found = []
        Deferred.fromCoroutine(coroutine).addBoth(found.append)
        for _ in range(4):
            self.asterisk.flush()
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return found[0]

    def lock_trunk(self):
        for _ in range(3):
            self.tolls.count("", "out")
        assert self.tolls.check_usage("", "out").refusal

    def request(self):
        found = []
        Deferred.fromCoroutine(self.callbacks.request(wish())).addCallback(found.append)
        return found[0]

    def read(self, callback):
        return self.store.run_now(load_callback, callback.callback_id)

    def end_call(self, call_id, *, answered):
        if answered:
            sent = self.asterisk.sent("Originate")[-1]
            self.asterisk.send_event("OriginateResponse", ActionID=sent.get("ActionID"), Reason="4", Uniqueid=call_id)
        self.asterisk.send_event("Hangup", Uniqueid=call_id, Channel="Local/s@x;1", Cause="16", TechCause="")
        self.asterisk.flush()
        self.clock.advance(3)
        self.asterisk.flush()

    def close(self):
        self.calls.stopService()
        self.ami.stopService()
        self.asterisk.flush()


@pytest.fixture
def side(tmp_path):
    side = Side(tmp_path / "tandem.db")
    yield side
    side.close()


def test_it_is_sent_once_and_what_astdb_says_of_it_counts_over_a_restart(side):
    callback = side.request()
    side.look()
    assert side.asterisk.sent("Originate") == []  # whoever asked hangs up first
    side.at += 5
    side.entries = [
        [("Event", "QueueEntry"), ("Queue", "sales"), ("Uniqueid", "1.1"), ("Wait", "20"), ("Priority", "0")]
    ]
    side.look()
    side.look()
    (sent,) = side.asterisk.sent("Originate")
    # Before the other, who came later.
    assert "TANDEM_QUEUE_PLACE=1" in str(sent.all("Variable"))
    call_id = side.read(callback).call_id
    assert sent.get("ChannelId") == call_id
    side.end_call(call_id, answered=True)
    side.asterisk.astdb[f"tandem-callback/{call_id}"] = "ANSWER"
    side.close()
    side.start()
    side.look()
    assert (side.read(callback).state, side.read(callback).outcome) == ("done", "ANSWER")
    assert len(side.asterisk.sent("Originate")) == 1
    assert f"tandem-callback/{call_id}" not in side.asterisk.astdb


@pytest.mark.parametrize(("answered", "state"), [(True, "failed"), (False, "waiting")])
def test_one_that_astdb_does_not_know_is_called_again_only_where_no_agent_has_answered(side, answered, state):
    callback = side.request()
    side.at += 5
    side.look()
    side.end_call(side.read(callback).call_id, answered=answered)
    side.look()
    assert side.read(callback).state == state
    side.at += 60
    side.look()
    assert len(side.asterisk.sent("Originate")) == (1 if answered else 2)


def test_one_that_nobody_had_time_for_expires_and_one_that_is_cancelled_is_not_begun(side):
    callback = side.request()
    side.at += 14_500
    side.look()
    assert side.read(callback).state == "expired"
    side.at = AT
    again = side.request()
    done = []

    async def commit(work):
        return side.store.run_now(work)

    Deferred.fromCoroutine(side.callbacks.cancel(again.callback_id, commit)).addCallback(done.append)
    assert (done[0].state, side.told[-1].state) == ("cancelled", "cancelled")
    side.at += 60
    side.look()
    assert side.asterisk.sent("Originate") == []


def test_no_agent_is_rung_for_a_number_that_a_lock_keeps_in_and_nothing_is_promised(side):
    callback = side.request()
    side.lock_trunk()
    with pytest.raises(CallbackRefused, match="trunk/out is locked") as refused:
        side.finish(side.callbacks.request(wish("0305550101")))
    assert refused.value.is_final
    # A phone inside needs no trunk.
    assert side.finish(side.callbacks.request(wish("1001"))).number == "1001"
    side.at += 5
    for _ in range(3):
        side.look()
    (sent,) = side.asterisk.sent("Originate")
    assert "endpoint" in str(sent.all("Variable"))
    told = [one.outcome for one in side.told if one.callback_id == callback.callback_id]
    assert (side.read(callback).state, told) == ("waiting", ["", "trunk/out is locked: more than 3 calls on one day"])

    async def commit(work):
        side.store.run_now(work)

    side.finish(side.tolls.unlock("trunk/out", commit))
    side.look()
    assert (len(side.asterisk.sent("Originate")), side.read(callback).state) == (2, "calling")


@pytest.mark.parametrize("state", ["waiting", "ringing", "talking"])
def test_who_calls_again_has_their_place_and_is_never_called(side, state):
    callback = side.request()
    side.look()
    assert side.callbacks.find_owed("sales", "+49305550101", "out") == ""
    assert side.callbacks.find_owed("far", "+49305550100", "out") == ""
    assert side.callbacks.find_owed("sales", "+49305550100", "out") == callback.callback_id
    side.at += 5
    waits = (("1.1", "300"), ("1.2", "20"))
    side.entries = [
        [("Event", "QueueEntry"), ("Queue", "sales"), ("Uniqueid", it), ("Wait", wait), ("Priority", "0")]
        for it, wait in waits
    ]
    call_id = ""
    if state != "waiting":
        side.look()
        call_id = side.read(callback).call_id
        side.asterisk.answers["CoreShowChannels"] = lambda _: event_list(
            "Channels will follow",
            [[("Event", "CoreShowChannel"), ("Channel", "Local/s@x;1"), ("Uniqueid", call_id), ("Linkedid", call_id)]],
            "CoreShowChannelsComplete",
        )
    if state == "talking":
        sent = side.asterisk.sent("Originate")[-1]
        side.asterisk.send_event("OriginateResponse", ActionID=sent.get("ActionID"), Reason="4", Uniqueid=call_id)
        side.asterisk.flush()
    assert side.finish(side.callbacks.take_back(callback.callback_id)) == 2
    assert len(side.asterisk.sent("Hangup")) == (1 if state == "ringing" else 0)
    assert side.read(callback).outcome == CAME_BACK
    if state == "talking":
        # It takes its course; who was busy because of their own call is not called once more.
        side.asterisk.send_event("Hangup", Uniqueid=call_id, Channel="Local/s@x;1", Cause="16", TechCause="")
        side.asterisk.astdb[f"tandem-callback/{call_id}"] = "BUSY"
        side.asterisk.flush()
        side.clock.advance(3)
        side.asterisk.flush()
        side.look()
    assert (side.read(callback).state, side.read(callback).outcome) == ("done", CAME_BACK)
    side.at += 600
    side.look()
    assert side.callbacks.find_owed("sales", "+49305550100", "out") == ""
    assert side.finish(side.callbacks.take_back(callback.callback_id)) == 0
    assert len(side.asterisk.sent("Originate")) == (0 if state == "waiting" else 1)


def test_retention_leaves_what_is_owed_and_what_it_forgot_is_not_called_again(side):
    owed, over = side.request(), start("0305550102", callback_id="c9")
    side.store.run_now(keep_callback, over, "a", 9)
    side.store.run_now(save_callback, over, conclude(replace(over, state="calling"), SALES.callback, "ANSWER", AT))
    side.at += 5
    side.look()
    assert side.read(owed).state == "calling"
    side.end_call(side.read(owed).call_id, answered=True)
    for delete in (delete_callbacks, delete_placed_calls):
        assert side.store.run_now(delete, NOW.replace(year=2030), 10) == 1
    assert [one.callback_id for one in side.store.run_now(load_callbacks)] == [owed.callback_id]
    side.look()
    assert (side.read(owed).state, side.read(owed).outcome) == ("failed", "nobody knows whether the caller was reached")
