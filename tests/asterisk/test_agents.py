"""Agents of a whole Tandem beside a real Asterisk: feature codes from a real phone, restarts of either side, the next call, what is heard without Tandem."""

import contextlib
import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.rtp import RtpSink
from lab.sipp import (
    AwaitBye,
    Caller,
    HangUp,
    Press,
    Speak,
    Wait,
    dial_from_phone,
    place_calls,
    register_phones,
    run_phone,
)
from tandem.cli.control import _UnixConnection
from tests.asterisk.test_api import Site

pytestmark = pytest.mark.asterisk

PHONE_PORT, BACK_PORT, WIDE_PORT, PHONE_HOST, OUTSIDE = 5070, 5072, 5074, "127.0.0.3", "127.0.0.5"
SECRET = "swordfish-of-the-lab"
DOCUMENT = f"""
general: {{country: DE, agent_pause_reasons: [lunch], outbound_trunk: outside}}
trunks:
  - {{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2]}}
  - {{name: outside, hosts: ["{OUTSIDE}:5060"], match: ["{OUTSIDE}"], qualify_s: 0}}
endpoints:
  - {{extension: "1001", secret: {SECRET}, name: Anna}}
  - {{extension: "1002", secret: {SECRET}}}
  - {{extension: "1003", secret: {SECRET}}}
  - {{extension: "1004", secret: {SECRET}}}
  - {{extension: "1005", secret: {SECRET}}}
penalty_rules: [{{name: widen, changes: [{{after_s: 0, max_penalty: 1}}, {{after_s: 6, max_penalty: 5, min_penalty: 2}}]}}]
queues:
  - {{name: more, members: [{{endpoint: "1004", penalty: 1}}, {{endpoint: "1005", penalty: 5}}], penalty_rule: widen, retry_s: 1, ring_time_s: 5,
     autopause: yes, autopause_busy: yes, caller_prompt: auth-thankyou, member_prompt: beep, periodic_prompts: [vm-goodbye], periodic_after_s: 2, announce_to_first: yes,
     fallback: {{hangup: busy}}}}
  - {{name: back, members: [{{endpoint: "1003"}}], join_when_empty: yes, leave_when_empty: no, ring_time_s: 5, exit_key: "9", exit: {{hangup: busy}},
     recording: yes, callback: {{key: "1", prompts: [beep], tries: 2, retry_s: 10}}, fallback: {{hangup: normal}}}}
  - {{name: sales, extension: "500", members: [{{endpoint: "1001"}}], join_when_empty: yes, leave_when_empty: no, fallback: {{hangup: normal}}}}
  - {{name: open, extension: "501", open_login: yes, join_when_empty: yes, leave_when_empty: no, fallback: {{hangup: normal}}}}
dids:
  - {{number: "+4930100", destination: {{queue: sales}}}}
  - {{number: "+4930101", destination: {{queue: back}}, priority: 5}}
  - {{number: "+4930102", destination: {{queue: more}}}}
  - {{number: "+4930103", destination: {{queue: back}}, language: fr}}
"""


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT) as pbx:
        pbx.serve()
        Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        register_phones(pbx.asterisk, [("1001", SECRET)], port=PHONE_PORT)
        yield pbx


@pytest.fixture(scope="module")
def phone(pbx):
    """1001's, which answers; it is there all the time, or Asterisk would find it gone."""
    with run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=0.2, steps=[Wait(0.5), HangUp()]) as phone:
        yield phone


class Desk(Site):
    """Where an agent sits: a phone to dial with, and the API."""

    def __init__(self, pbx, phone):
        super().__init__(pbx)
        self.pbx, self._phone = pbx, phone

    def count_rings(self):
        """How many calls came to 1001 so far."""
        return len(self._phone.read_legs())

    def dial(self, number, extension="1001", heard=0):
        """Dials a code, and is told something: at least `heard` RTP packets."""
        with (
            RtpSink(self.pbx.asterisk, PHONE_HOST) as sink,
            dial_from_phone(self.pbx.asterisk, (extension, SECRET), number, media_port=sink.port) as run,
        ):
            (leg,) = run.wait(timeout_s=60).legs
            assert sum(sink.count_packets().values()) > heard
        assert (leg.is_answered, leg.ended_by) == (True, "them")

    def agent(self, extension="1001"):
        return self.ask("GET", f"/api/v1/agents/{extension}")

    def members(self, queue="sales"):
        return [row for row in self.ask("GET", "/api/v1/monitoring/agents")["items"] if row["queue"] == queue]

    def wait_until_in_step(self):
        self.wait_for("/health", lambda health: health["ready"], 60)

    def call(self, wait_s):
        with place_calls(self.pbx.asterisk, [Caller("+4930100")], steps=[Wait(wait_s), HangUp()]) as run:
            (leg,) = run.wait(timeout_s=60).legs
        return leg

    def reinstall_asterisk(self):
        """A crash, and no memory of who was a member of what."""
        self.pbx.asterisk.kill()
        (path,) = self.pbx.asterisk.folder.rglob("astdb.sqlite3")
        with closing(sqlite3.connect(path)) as db:
            db.execute("DELETE FROM astdb WHERE key LIKE '/Queue/PersistentMembers%'")
            db.commit()
        self.pbx.asterisk.start()
        self.wait_until_in_step()


@pytest.fixture
def desk(pbx, phone):
    desk = Desk(pbx, phone)
    desk.wait_until_in_step()
    yield desk
    # What a failed test left on the line.
    pbx.asterisk.cli("channel request hangup all")
    desk.ask("POST", "/api/v1/agents/1001/login")
    desk.ask("POST", "/api/v1/agents/1001/unpause")


def test_who_logs_out_by_a_code_is_not_rung_until_they_log_in_whatever_restarts(desk, pbx):
    desk.dial("*45", heard=25)
    assert (desk.agent()["is_logged_in"], desk.agent()["device"], desk.members()) == (False, "not-in-use", [])
    before = desk.count_rings()
    assert desk.call(3).ended_by == "us"
    pbx.kill()
    pbx.serve()
    desk.wait_until_in_step()
    assert desk.members() == []
    desk.reinstall_asterisk()
    assert (desk.agent()["is_logged_in"], desk.members()) == (False, [])
    assert desk.call(3).ended_by == "us"
    assert desk.count_rings() == before
    desk.ask("POST", "/api/v1/agents/1001/login")
    assert [row["interface"] for row in desk.members()] == ["PJSIP/1001"]
    assert desk.call(20).ended_by == "them"
    assert desk.count_rings() == before + 1
    agent = desk.wait_for("/api/v1/agents/1001", lambda agent: agent["calls_taken"] == 1)
    assert (agent["is_logged_in"], agent["is_in_call"]) == (True, False)
    assert agent["last_call_at"] >= agent["logged_in_since"]
    audit = [(entry["who"], entry["target"]) for entry in desk.ask("GET", "/api/v1/audit?limit=20")["items"]]
    assert ("phone 1001", "agents/1001/logout") in audit
    assert ("control socket (root)", "agents/1001/login") in audit


def test_a_pause_has_its_reason_keeps_callers_waiting_and_is_there_after_a_crash(desk):
    desk.dial("*461", heard=25)
    agent, before = desk.agent(), desk.count_rings()
    assert (agent["is_paused"], agent["pause_reason"]) == (True, "lunch")
    assert [(row["is_paused"], row["pause_reason"]) for row in desk.members()] == [(True, "lunch")]
    assert desk.call(2).ended_by == "us"
    desk.reinstall_asterisk()
    assert [(row["is_paused"], row["pause_reason"]) for row in desk.members()] == [(True, "lunch")]
    assert desk.agent()["paused_since"] == agent["paused_since"]
    assert desk.call(2).ended_by == "us"
    assert desk.count_rings() == before
    desk.dial("*46")
    assert [(row["is_paused"], row["pause_reason"]) for row in desk.members()] == [(False, "")]
    assert desk.call(20).ended_by == "them"
    assert desk.count_rings() == before + 1


def test_an_open_queue_is_entered_by_its_number_and_nothing_else_is(desk):
    desk.dial("*45501", "1002", heard=25)
    assert [(row["queue"], row["is_logged_in"]) for row in desk.agent("1002")["queues"]] == [("open", True)]
    assert [row["interface"] for row in desk.members("open")] == ["PJSIP/1002"]
    desk.dial("*45500", "1002", heard=25)  # refused aloud
    assert [row["interface"] for row in desk.members()] == ["PJSIP/1001"]
    desk.ask("POST", "/api/v1/agents/1002/login", {"queues": ["sales"]}, 422)
    desk.dial("*45", "1002")
    assert desk.members("open") == []
    desk.ask("GET", "/api/v1/agents/1002", status=404)
    desk.ask("POST", "/api/v1/agents/1002/pause", {"reason": "x"}, 409)


@pytest.mark.parametrize("how", ["frozen", "dead"])
def test_without_tandem_the_phone_hears_so_and_nothing_changes(desk, pbx, how):
    if how == "frozen":
        pbx.freeze()
    else:
        pbx.kill()
    try:
        desk.dial("*45", heard=50)
    finally:
        if how == "frozen":
            pbx.thaw()
        else:
            pbx.serve()
    desk.wait_until_in_step()
    assert desk.agent()["is_logged_in"]
    assert [row["interface"] for row in desk.members()] == ["PJSIP/1001"]
    assert "PJSIP/1001" in pbx.asterisk.cli("queue show sales")


def read_time(line):
    """Of a line of Asterisk's log."""
    return datetime.strptime(line[1:24], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)


def test_a_caller_who_waits_reaches_more_members(desk, pbx):
    """1004 refuses and is paused for it; 1005, whom the rule keeps out for 6 s, is enough for the queue to take the caller, and rings then."""
    for extension, port in (("1004", WIDE_PORT), ("1005", WIDE_PORT + 1)):
        register_phones(pbx.asterisk, [(extension, SECRET)], port=port)
    mark = len(pbx.asterisk.read_log())
    with (
        run_phone(pbx.asterisk, port=WIDE_PORT, refuse=486) as first,
        run_phone(pbx.asterisk, port=WIDE_PORT + 1, ring_s=0.2, steps=[Wait(3), HangUp()]) as second,
    ):
        with place_calls(pbx.asterisk, [Caller("+4930102")], steps=[Wait(40), HangUp()]) as run:
            (leg,) = run.wait(timeout_s=60).legs
        assert (len(first.read_legs()), len(second.read_legs())) == (1, 1)
    assert (leg.is_answered, leg.ended_by) == (True, "them")
    log = pbx.asterisk.read_log()[mark:].splitlines()

    def find(words):
        return next(index for index, line in enumerate(log) if re.search(words, line))

    steps = [find(words) for words in (
        r'Queue\(".*more', "Called PJSIP/1004", "Playing 'vm-goodbye", "Called PJSIP/1005", "Playing 'beep", "Playing 'auth-thankyou",
    )]  # fmt: skip
    assert steps[:4] == sorted(steps[:4])
    # app_queue counts whole seconds.
    assert (read_time(log[steps[3]]) - read_time(log[steps[0]])).total_seconds() >= 5
    paused = {row["interface"]: row["is_paused"] for row in desk.members("more")}
    assert paused == {"PJSIP/1004": True, "PJSIP/1005": False}


def test_listeners_of_events_and_of_states_are_told(desk):
    with closing(_UnixConnection(desk.socket, 30)) as events, closing(_UnixConnection(desk.socket, 30)) as states:
        events.request("GET", "/api/v1/events?kinds=agent")
        states.request("GET", "/api/v1/monitoring/stream")
        told, shown = events.getresponse(), states.getresponse()
        (sales, *_) = sorted(read_event(shown)["queues"], key=lambda queue: queue["queue"], reverse=True)
        assert (sales["queue"], sales["callers"]) == ("sales", 0)
        desk.ask("POST", "/api/v1/agents/1001/pause", {"reason": "coffee"})
        assert read_event(told) == {
            "event": "pause", "endpoint": "1001", "queues": ["sales"], "reason": "coffee", "by": "control socket (root)",
        }  # fmt: skip
        with place_calls(desk.pbx.asterisk, [Caller("+4930100")], steps=[Wait(4), HangUp()]):
            found = {}
            while {"agents", "queues", "channels"} - set(found):
                found |= read_event(shown)
        (anna,) = found["agents"]["changed"]
        assert (anna["extension"], anna["is_paused"], anna["pause_reason"]) == ("1001", True, "coffee")
        assert found["queues"]["changed"][0]["callers"] == 1
        assert len(found["channels"]["changed"]) == 1


# ------------------------------------------------------------------------------------------------------- callbacks

# A key while waiting; the number is read out, and a key says that it is right.
ASK_BACK = (Press("1"), Wait(2), Press("1"), Wait(20))


def wait_in_queue(desk, number, *steps, called="+4930101"):
    return place_calls(desk.pbx.asterisk, [Caller(called, number)], steps=steps)


def list_callbacks(desk, **wanted):
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    return desk.ask("GET", f"/api/v1/callbacks?{query}")["items"]


@contextlib.contextmanager
def agent_of_callbacks(desk, *steps):
    """1003 is at its desk."""
    register_phones(desk.pbx.asterisk, [("1003", SECRET)], port=BACK_PORT)
    with run_phone(desk.pbx.asterisk, port=BACK_PORT, ring_s=0.2, steps=steps) as phone:
        yield phone


def test_a_caller_keeps_the_place_and_is_called_back_once_whatever_restarts(desk, pbx):
    """The first caller hangs up and is still before the second, who waits all the time; nobody is called before an agent has answered."""
    with wait_in_queue(desk, "+493055501", Wait(3), *ASK_BACK) as first:
        first.wait_for("answered")
        with wait_in_queue(desk, "+493055502", Wait(90)) as second:
            second.wait_for("answered")
            (leg,) = first.wait().legs
            assert leg.ended_by == "them"
            (kept,) = list_callbacks(desk, queue="back")
            told = {name: kept[name] for name in ("number", "tries", "shown", "priority")}
            assert told == {"number": "+493055501", "tries": 0, "shown": "+4930101", "priority": 5}
            pbx.kill()
            # Without Tandem a caller waits on at the same place, and the other key works.
            with wait_in_queue(desk, "+493055503", Wait(1), Press("1"), Wait(4), Press("9"), Wait(20)) as third:
                (leg,) = third.wait().legs
            assert leg.ended_by == "them"
            (place,) = re.findall(
                r'Queue\("PJSIP/carrier-[^"]*", "back,i,,,[0-9]+,,,,([0-9]+)"\)', pbx.asterisk.read_log()
            )
            assert place in ("2", "3")
            pbx.serve()
            desk.wait_until_in_step()
            desk.wait_for(f"/api/v1/callbacks/{kept['callback_id']}", lambda one: one["state"] == "calling")
            with (
                run_phone(pbx.asterisk, host=OUTSIDE, port=5060, ring_s=0.5, steps=[Wait(1.5), HangUp()]) as outside,
                agent_of_callbacks(desk, Speak(3), HangUp()) as agent,
            ):
                done = desk.wait_for(f"/api/v1/callbacks/{kept['callback_id']}", lambda one: one["state"] == "done", 60)
                (called,) = outside.read_legs()
                # The second caller is next, until the agent hangs up.
                rings = agent.wait_for("hangup", timeout_s=60)
    assert (called.called, called.caller, called.ended_by) == ("+493055501", "+4930101", "us")
    assert [ring.caller for ring in rings] == ["+493055501", "+493055502"]
    assert (done["outcome"], done["tries"]) == ("ANSWER", 1)
    cdr = desk.wait_for(f"/api/v1/cdrs/{done['call_id']}", lambda cdr: cdr.get("ended_at"))
    assert {leg["channel"].partition("-")[0] for leg in cdr["legs"]} >= {"PJSIP/1003", "PJSIP/outside"}
    audit = desk.ask("GET", "/api/v1/audit?action=callbacks/create")["items"]
    assert [(entry["who"], entry["target"]) for entry in audit] == [("queue back", f"callbacks/{kept['callback_id']}")]


def test_who_calls_again_is_before_those_who_came_later_and_is_not_called(desk, pbx):
    """The first caller hangs up, the second waits, the first calls again: nobody is dialled, and the agent has the first one first."""
    desk.ask("POST", "/api/v1/agents/1003/pause", {"reason": "lunch"})
    with (
        run_phone(pbx.asterisk, host=OUTSIDE, port=5060, refuse=486) as outside,
        wait_in_queue(desk, "+493055505", Wait(1), *ASK_BACK) as first,
    ):
        (leg,) = first.wait().legs
        assert leg.ended_by == "them"
        (kept,) = list_callbacks(desk, number="%2B493055505")
        path = f"/api/v1/callbacks/{kept['callback_id']}"
        with wait_in_queue(desk, "+493055506", Wait(90)) as second:
            second.wait_for("answered")
            # A channel stands in for the one who hung up; it is taken out.
            desk.wait_for(path, lambda one: one["state"] == "calling")
            with wait_in_queue(desk, "+493055505", Wait(60)) as again:
                again.wait_for("answered")
                done = desk.wait_for(path, lambda one: one["state"] == "done")
                with agent_of_callbacks(desk, Speak(1), HangUp()) as agent:
                    desk.ask("POST", "/api/v1/agents/1003/unpause")
                    # Both to their end: a phone that is gone in a call is busy for long.
                    rings = agent.wait_for("hangup", count=2, timeout_s=60)
        assert outside.read_legs() == ()
    assert (done["outcome"], done["tries"]) == ("the caller has called again", 0)
    assert [ring.caller for ring in rings] == ["+493055505", "+493055506"]


def test_a_number_that_is_entered_is_called_again_until_somebody_cancels(desk, pbx):
    """One abroad is refused, so the caller enters another; it is busy."""
    desk.ask("POST", "/api/v1/agents/1003/pause", {"reason": "lunch"})
    entering = (Wait(1), Press("1"), Wait(2), Press("2"), Wait(2), Press("0015550100#"), Wait(2), Press("1"), Wait(5))
    again = (Press("030555504#"), Wait(2), Press("1"), Wait(20))
    with (
        run_phone(pbx.asterisk, host=OUTSIDE, port=5060, refuse=486) as outside,
        agent_of_callbacks(desk, Wait(20)) as agent,
    ):
        with wait_in_queue(desk, "+493055504", *entering, *again) as run:
            (leg,) = run.wait().legs
        assert leg.ended_by == "them"
        (kept,) = list_callbacks(desk, number="030555504")
        desk.ask("POST", "/api/v1/agents/1003/unpause")
        path = f"/api/v1/callbacks/{kept['callback_id']}"
        tried = desk.wait_for(path, lambda one: one["tries"], 60)
        assert (tried["state"], tried["outcome"]) == ("waiting", "BUSY")
        assert [ring.ended_by for ring in agent.wait_for("bye")] == ["them"]
        assert desk.ask("POST", f"{path}/cancel")["state"] == "cancelled"
        desk.ask("POST", f"{path}/cancel", status=409)
        assert [called.called for called in outside.read_legs()] == ["030555504"]


def test_who_is_called_back_hears_the_language_in_which_they_waited(desk, pbx):
    """The call is handed on to what speaks; the PBX's own language is another."""
    desk.ask("POST", "/api/v1/agents/1003/pause", {"reason": "lunch"})
    with wait_in_queue(desk, "+493055507", Wait(1), *ASK_BACK, called="+4930103") as asking:
        (leg,) = asking.wait().legs
    assert leg.ended_by == "them"
    (kept,) = list_callbacks(desk, number="%2B493055507")
    assert (kept["language"], kept["shown"]) == ("fr", "+4930103")
    mark = len(pbx.asterisk.read_log())

    def lines(*parts):
        found = pbx.asterisk.read_log()[mark:].splitlines()
        return [line for line in found if all(part in line for part in parts)]

    with (
        RtpSink(pbx.asterisk, OUTSIDE) as sink,
        run_phone(
            pbx.asterisk, host=OUTSIDE, port=5060, ring_s=0.2, steps=[AwaitBye(60)], media_port=sink.port
        ) as outside,
        agent_of_callbacks(desk, AwaitBye(60)) as agent,
    ):
        desk.ask("POST", "/api/v1/agents/1003/unpause")
        outside.wait_for("answered", timeout_s=60)
        shown = pbx.asterisk.cli("core show channels concise")
        (own,) = re.findall(r"^(PJSIP/outside-[^!]+)!", shown, re.MULTILINE)
        assert re.search(r"Language: fr$", pbx.asterisk.cli(f"core show channel {own}"), re.MULTILINE)
        # As a phone's REFER would: what talks with the agent goes on there.
        (stand_in,) = re.findall(r"^(Local/s@tandem-queue-first-[^!]+;2)!", shown, re.MULTILINE)
        pbx.asterisk.cli(f"channel redirect {stand_in} tandem-from-endpoint,*43,1")
        agent.wait_for("bye")
        wait_until(lambda: lines("Playing 'demo-echotest", "(language 'fr')"), "the echo test in French")
        assert not lines("Playing 'demo-echotest", "(language 'en')")
        heard = sum(sink.count_packets().values())
        wait_until(lambda: sum(sink.count_packets().values()) > heard + 25, "who was called back hears it")
        pbx.asterisk.cli("channel request hangup all")
        outside.wait_for("bye")


def read_event(stream):
    for line in iter(stream.fp.readline, b""):
        if line.startswith(b"data: "):
            return json.loads(line[6:])
    raise AssertionError("the stream has ended")
