"""The dialplan scripts, played by AgiCaller: environment and keys in, one jump out."""

from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import fail, succeed

from fastagi.brain import Brain
from fastagi.routes import list_scripts
from fastagi.testing import AgiCaller
from tandem.document import read_document
from tandem.domain.agents import AgentChange, AgentMissing, AgentNotThere, AgentsUnavailable
from tandem.domain.callbacks import CallbackRefused, start_callback
from tandem.domain.contacts import NOBODY, Contact
from tandem.domain.decisions import Decision
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import build_snapshot

DOCUMENT = """
general:
  country: DE
  time_zone: Europe/Berlin
  outbound_trunk: carrier
  allowed_contexts: [from-admin]
  blocked_callers: ["+49190*"]
trunks:
  - {name: carrier, hosts: [192.0.2.10]}
  - {name: national, hosts: [192.0.2.11], numbers: national}
endpoints:
  - {extension: 1001, secret: not-a-secret-1, voicemail: 1001}
  - {extension: 1002, secret: not-a-secret-2, permissions: [national]}
outbound_routes: [{name: secret, patterns: ["0700*"], trunks: [national], pin: 4711}]
voicemail_boxes: [{mailbox: 1001, pin: 4711}]
schedules:
  - name: office
    hours: [{days: mon-fri, start: "09:00", end: "17:00"}]
menus:
  - name: main
    prompts: [welcome, choices]
    options: {1: {queue: sales}, 2: {endpoint: 1001}, "12": {endpoint: 1002}, "*": {voicemail: 1001, instructions: no}, "#": {menu: second}}
    direct_dial: yes
    invalid: {queue: sales}
    timeout: {endpoint: 1002}
    fallback: {queue: sales}
  - name: second
    prompts: [second]
    options: {0: {menu: main}, 9: {dialplan: "from-admin,100"}}
    barge_in: no
    invalid: {hangup: normal}
    timeout: {hangup: busy}
    fallback: {queue: sales}
queues:
  - {name: sales, members: [{endpoint: 1001}], priority: 3, max_callers: 5, fallback: {voicemail: 1001}, timeout: {menu: second},
     full: {hangup: congestion}, join_empty: {endpoint: 1002}}
  - {name: dayonly, schedule: office, fallback: {voicemail: 1001}, closed: {hangup: normal}}
dids:
  - {number: "+49301000", destination: {queue: sales}, priority: 7, language: de, recording: yes, caller_id_cleanup: R4}
  - {number: "+49301001", destination: {menu: main}}
  - {number: "+49301002", destination: {schedule: office, open: {endpoint: 1001}, closed: {queue: dayonly}}}
  - {number: "+49301003", destination: {endpoint: 1001}, active: no}
  - {number: "+49301004", destination: {agent: 1002, unavailable: {did: "+49301005"}}}
  - {number: "+49301005", destination: {schedule: office, open: {queue: sales}, closed: {hangup: busy}}}
  - {number: "+49302*", destination: {external: "+4940555"}}
"""
SNAPSHOT = build_snapshot(7, read_document(DOCUMENT, "test"))
MONDAY_NOON = datetime(2026, 11, 16, 11, 0, tzinfo=UTC)
SUNDAY = datetime(2026, 11, 15, 11, 0, tzinfo=UTC)


class Run:
    """One call through one script."""

    def __init__(self, script="did", *, now=MONDAY_NOON, facts=None, works=True, look_up=None, owed=None, **caller):
        self.decisions: list[Decision] = []
        brain = Brain(
            snapshot=lambda: SNAPSHOT,
            queue_facts=lambda name: facts,
            agent_works=lambda endpoint: works,
            now=lambda: now,
            record=self.decisions.append,
            look_up=look_up,
            find_owed=lambda *who: (owed or {}).get(who, ""),
            take_back=lambda callback_id: succeed({"c1": 2}.get(callback_id, 0)),
        )
        caller = {"extension": "s", "callerid": "+493055501", "channel": "PJSIP/carrier-00000001"} | caller
        self.result = AgiCaller(script=script, **caller).run(list_scripts(brain)[script])
        assert self.result.error is None
        assert self.result.finished

    @property
    def jump(self):
        return self.result.executed[1] if self.result.executed and self.result.executed[0] == "Gosub" else None


def test_did_is_one_command():
    run = Run(extension="+49301000")
    assert [words[0] for words in run.result.commands] == ["EXEC"]
    assert run.jump == "tandem-enter,queue,1(sales,7,de,yes,,5501)"
    (decision,) = run.decisions
    assert decision.outcome == run.jump
    assert decision.reasons[0] == "DID +49301000"
    assert decision.revision == 7


JANE = Contact(contact_id="7", name="Jane", priority=20, language="ro", direct_line="SIP/1002", external_id="c7")


def test_a_caller_who_is_known_is_greeted():
    asked = []
    run = Run(extension="+49301000", look_up=lambda *who: asked.append(who) or succeed(JANE))
    assert asked == [("+493055501", "+49301000")]
    assert run.jump == "tandem-enter,endpoint,1(1002,20,ro,yes,,5501)"
    assert run.result.variables["CALLERID(name)"] == "Jane"
    assert run.result.variables["TANDEM_OTHERWISE"] == "tandem-enter,queue,1(sales,20,ro,yes,,5501)"
    (decision,) = run.decisions
    assert decision.contact == JANE
    assert decision.reasons[-3:] == ("caller is contact 7", "direct line", "endpoint 1002")
    # Known from before: nothing is waited for.
    assert Run(extension="+49301000", look_up=lambda *_: JANE).jump == run.jump


@pytest.mark.parametrize(
    ("answer", "reason"), [(None, "caller was not looked up in time"), (succeed(None), "caller was not looked up in time"), (NOBODY, "caller is not known")]
)  # fmt: skip
def test_a_caller_of_whom_nothing_is_known_is_like_any_other(answer, reason):
    run = Run(extension="+49301000", look_up=lambda *_: answer)
    assert run.jump == "tandem-enter,queue,1(sales,7,de,yes,,5501)"
    assert run.decisions[0].reasons[-1] == reason
    assert run.decisions[0].contact is None


def test_nobody_is_asked_about_callers_without_a_number_or_who_are_refused():
    asked = []
    for caller in (
        {"callerid": "+491901234"},
        {"args": ("0301000", "", "national")},
        {"extension": "49301003"},
        {"extension": "123"},
    ):
        Run(**{"extension": "+49301000", **caller}, look_up=lambda *who: asked.append(who))
    assert asked == []


def test_an_agent_is_rung_only_while_at_work():
    assert Run(extension="49301004").jump.startswith("tandem-enter,agent,1(1002,0,,no,")
    away = Run(extension="49301004", works=False)
    assert away.jump == "tandem-enter,queue,1(sales,3,,no,,)"
    assert "agent 1002 is not at work" in away.decisions[0].reasons
    assert Run(extension="49301004", works=False, now=SUNDAY).jump == "tandem-enter,hangup,1(17,0,,no,,)"


def test_arguments_of_the_dialplan_win_over_the_environment():
    run = Run(extension="s", callerid="evil", args=("0301000", "01905", "national"))
    assert run.jump == "tandem-enter,hangup,1(21,0,,,,)"
    assert Run(extension="s", args=("0301000", "", "national")).jump.startswith("tandem-enter,queue,1(sales")


@pytest.mark.parametrize(
    ("called", "now", "jump"),
    [
        ("49301002", MONDAY_NOON, "endpoint,1(1001,"),
        ("49301002", SUNDAY, "hangup,1(16,"),
        ("49301003", MONDAY_NOON, "hangup,1(1,"),
        ("493029999", MONDAY_NOON, "external,1(+4940555,0,,no,,)"),
    ],
)
def test_did_routes(called, now, jump):
    assert Run(extension=called, now=now).jump.startswith(f"tandem-enter,{jump}")


def test_unknown_did_leaves_the_call_to_the_fallback():
    run = Run(extension="123456")
    assert run.result.commands == []
    assert run.decisions[0].outcome == "fallback"


def test_blocked_caller_is_rejected():
    assert Run(extension="49301000", callerid="+491901234").jump == "tandem-enter,hangup,1(21,0,,,,)"


@pytest.mark.parametrize(
    ("facts", "jump"),
    [
        (None, "queue,1(sales,7"),
        (QueueFacts(0, 1, 1), "queue,1(sales,7"),
        (QueueFacts(5, 1, 1), "hangup,1(34,7"),
        (QueueFacts(0, 0, 0), "endpoint,1(1002,7"),
    ],
)
def test_queue_facts(facts, jump):
    assert Run(extension="49301000", facts=facts).jump.startswith(f"tandem-enter,{jump}")


@pytest.mark.parametrize(
    ("digits", "jump", "played"),
    [
        ("2", "endpoint,1(1001,", ["welcome"]),
        (".2", "endpoint,1(1001,", ["welcome", "choices"]),
        ("..2", "endpoint,1(1001,", ["welcome", "choices"]),
        ("1.", "queue,1(sales,", ["welcome"]),
        ("12", "endpoint,1(1002,", ["welcome"]),
        ("1002", "endpoint,1(1002,", ["welcome"]),
        ("*", "voicemail,1(1001,0,,no,s,)", ["welcome"]),
        ("#9", "dialplan,1(100,0,,no,from-admin,)", ["welcome", "second"]),
        ("777", "queue,1(sales,", ["welcome", "pm-invalid-option", "pm-invalid-option"]),
        ("", "endpoint,1(1002,", ["welcome", "choices"] * 3),
    ],
)
def test_menu(digits, jump, played):
    run = Run(extension="49301001", digits=digits)
    assert run.jump.startswith(f"tandem-enter,{jump}")
    assert run.result.played == played


def test_menu_from_the_dialplan():
    assert Run("menu", args=("main",), digits="2").jump.startswith("tandem-enter,endpoint,1(1001,")
    assert Run("menu", args=("gone",)).result.commands == []


@pytest.mark.parametrize(
    ("status", "jump"),
    [
        ("TIMEOUT", "hangup,1(17,"),
        ("FULL", "hangup,1(34,"),
        ("JOINEMPTY", "endpoint,1(1002,"),
        ("LEAVEEMPTY", "voicemail,1(1001,"),
    ],
)
def test_after_queue(status, jump):
    assert Run("queue", args=("sales", status)).jump.startswith(f"tandem-enter,{jump}")


def test_after_unknown_queue_the_fallback_decides():
    assert Run("queue", args=("gone", "TIMEOUT")).result.commands == []


def test_missing_target_is_said_and_left_to_the_fallback():
    run = Run(extension="49301000", answers={"EXEC Gosub": "200 result=-1"})
    assert "fallback" in run.decisions[0].outcome


@pytest.mark.parametrize("how", ["result", "line", "lost"])
@pytest.mark.parametrize("step", range(12))
def test_caller_hangs_up_at_every_step_of_a_menu(step, how):
    run = Run(extension="49301001", digits="7.7#0", hangup_at=step, hangup_by=how)
    assert run.result.hung_up
    assert len(run.decisions) == 1
    assert len(run.result.commands) <= max(step, 0) + 1


@given(st.text("0123456789*#.", max_size=40))
def test_any_keys_end_in_a_jump(digits):
    run = Run(extension="49301001", digits=digits)
    assert run.jump is not None or "no end" in run.decisions[0].outcome


@pytest.mark.parametrize(
    ("status", "noted", "served"),
    [("MACHINE", ["c1"], []), ("HUMAN", [], ["c1"]), ("NOTSURE", [], ["c1"]), ("", [], ["c1"])],
)
def test_a_machine_is_noted_and_left_to_the_dialplan(status, noted, served):
    seen = {"noted": [], "served": []}

    def serve(call_id):
        seen["served"].append(call_id)

    brain = Brain(
        snapshot=lambda: SNAPSHOT, serve_answered=serve, note_machine=lambda one: not seen["noted"].append(one)
    )
    call = AgiCaller(script="campaign", uniqueid="c1", args=(status,)).run(list_scripts(brain)["campaign"])
    assert (call.error, call.finished, call.commands) == (None, True, [])
    assert seen == {"noted": noted, "served": served}


def test_health():
    assert Run("health").result.variables == {"TANDEM_REVISION": "7"}


def test_scripts_are_partials_of_one_brain():
    assert all(isinstance(script, partial) for script in list_scripts(Brain(snapshot=lambda: SNAPSHOT)).values())


class AgentRun:
    """One feature code of phone 1001."""

    def __init__(self, *args, channel="PJSIP/1001-0000000a", answer=None, **caller):
        self.asked, self.decisions = [], []

        async def change(endpoint, wish, is_wanted):
            self.asked.append((endpoint, wish.wish, wish.queues, wish.reason))
            self.is_wanted = is_wanted
            assert is_wanted()
            if isinstance(answer, Exception):
                raise answer
            return AgentChange(endpoint, answer or "login", ("sales",), wish.reason, "phone")

        brain = Brain(snapshot=lambda: SNAPSHOT, change_agent=change, record=self.decisions.append)
        caller = {"script": "agent", "extension": "s", "callerid": "1002", "channel": channel, "args": args} | caller
        self.result = AgiCaller(**caller).run(list_scripts(brain)["agent"])

    @property
    def jump(self):
        return self.result.executed[1] if self.result.executed else None


@pytest.mark.parametrize(
    ("event", "heard"), [("login", "loggedin"), ("logout", "loggedout"), ("pause", "paused"), ("unpause", "working")]
)
def test_a_feature_code_is_of_the_phone_that_dials_and_is_told(event, heard):
    run = AgentRun("pause", "3", answer=event)
    assert run.asked == [("1001", "switch-pause", (), "3")]
    assert run.jump == f"tandem-agent,{heard},1"
    assert run.decisions[0].reasons == (f"{event} sales 3",)
    assert not run.is_wanted()


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (("login", ""), AgentMissing("1001")),
        (("login", ""), AgentNotThere("no queue")),
        (("login", "999"), None),
        (("pause", "x"), None),
    ],
)
def test_what_an_agent_cannot_have_is_refused_aloud(args, answer):
    assert AgentRun(*args, answer=answer).jump == "tandem-agent,refused,1"


def test_what_cannot_be_done_now_is_left_to_the_dialplan():
    run = AgentRun("login", "", answer=AgentsUnavailable("Asterisk is away"))
    assert run.jump is None
    assert run.result.error is None
    assert run.decisions[0].outcome == "fallback"


@pytest.mark.parametrize("how", ["line", "lost"])
def test_nothing_changes_for_a_phone_that_does_not_wait_any_more(how):
    """As after a freeze: what was asked is read when the phone has heard that it did not work."""
    run = AgentRun("login", "", hangup_at=1, hangup_by=how)
    assert run.result.hung_up
    assert run.asked == []
    assert run.decisions[0].outcome == "cut short"


class Probed:
    """A test call, as tandem.probing keeps it."""

    def __init__(self, called):
        self.called, self.problem = called, None


@pytest.mark.parametrize(
    ("called", "answer", "problem"),
    [
        ("+49301000", "200 result=1 (1)", ""),
        ("+49301000", "200 result=1 (0)", "a test call came to queue sales, and Asterisk has no queue sales"),
        ("+49301002", "200 result=0", "a test call came to endpoint 1001, and Asterisk has no endpoint 1001"),
        ("+49301001", "200 result=0", ""),
        ("+49309", "200 result=1 (1)", "a test call found no DID"),
    ],
)
def test_a_test_call_is_decided_and_enters_nothing(called, answer, problem):
    call = Probed(called)
    brain = Brain(snapshot=lambda: SNAPSHOT, now=lambda: MONDAY_NOON, find_probe={"4711": call}.get)
    caller = AgiCaller(script="probe", args=("4711",), answers={"GET FULL VARIABLE": answer})
    result = caller.run(list_scripts(brain)["probe"])
    assert (result.error, result.finished, result.executed, call.problem) == (None, True, None, problem)


def test_a_strangers_test_call_is_told_nothing():
    brain = Brain(snapshot=lambda: SNAPSHOT)
    for args in ((), ("4711",)):
        result = AgiCaller(script="probe", args=args).run(list_scripts(brain)["probe"])
        assert (result.error, result.finished, result.executed) == (None, True, None)


class TestOutbound:
    """What is decided is in tests/tandem/test_outbound.py; here is what the dialplan is told."""

    @pytest.mark.parametrize(
        ("arguments", "outcome"),
        [
            (["+49301234567", "", "carrier"], "tandem-out,dial,1(carrier:+49301234567:,0)"),
            (["0301234567", "", ""], "tandem-out,dial,1(carrier:0301234567:,0)"),
            (["0301234567", "1001", ""], "tandem-out,refuse,1(21,im-sorry&feature-not-avail-line)"),
            (["0301234567", "-"], "tandem-out,refuse,1(21,im-sorry&feature-not-avail-line)"),
            (["*72", "1001"], "tandem-out,refuse,1(1,ss-noservice)"),
            ([], "tandem-out,refuse,1(1,ss-noservice)"),
        ],
    )
    def test_one_jump(self, arguments, outcome):
        run = Run("outbound", args=arguments)
        assert run.jump == outcome
        (decision,) = run.decisions
        assert (decision.outcome, bool(decision.reasons)) == (outcome, True)

    @pytest.mark.parametrize(
        ("digits", "outcome", "reason"),
        [
            ("4711", "tandem-out,dial,1(national:07001:,0)", "the PIN is right"),
            ("1234" + "4711", "tandem-out,dial,1(national:07001:,0)", "the PIN is right"),
            ("123412341234", "tandem-out,refuse,1(21,vm-incorrect&vm-goodbye)", "the PIN is wrong"),
            ("", "tandem-out,refuse,1(21,vm-incorrect&vm-goodbye)", "the PIN is wrong"),
        ],
    )
    def test_a_pin_is_asked_for_three_times(self, digits, outcome, reason):
        run = Run("outbound", args=["07001", "1002"], digits=digits)
        assert run.jump == outcome
        assert reason in run.decisions[0].reasons
        assert "4711" not in " ".join(run.decisions[0].reasons)


class TestCallback:
    """What can be promised is in tests/tandem/test_callbacks.py; here is what the caller is asked."""

    def run(self, number="confirm", digits="", callerid="+493055501", refused=(), *, is_final=False):
        pbx = read_document(DOCUMENT.replace("max_callers: 5,", f"callback: {{key: '1', number: {number}}},"), "test")
        asked, decisions = [], []

        def keep(wish):
            asked.append(wish)
            if wish.number in refused:
                return fail(CallbackRefused("the toll guard refuses it", is_final=is_final))
            return succeed(start_callback(build_snapshot(7, pbx), wish, "c1", MONDAY_NOON.timestamp()))

        brain = Brain(
            snapshot=lambda: build_snapshot(7, pbx),
            now=lambda: MONDAY_NOON,
            record=decisions.append,
            keep_callback=keep,
        )
        joined_at = str(int(MONDAY_NOON.timestamp()) - 60)
        caller = AgiCaller(
            script="callback", args=("sales", joined_at, "3", "+49301000"), callerid=callerid, digits=digits
        )
        result = caller.run(list_scripts(brain)["callback"])
        assert (result.error, result.finished, len(decisions)) == (None, True, 1)
        kept = result.executed is not None and result.executed == ("Gosub", "tandem-queue-callback,kept,1")
        return kept, [wish.number for wish in asked], decisions[0].reasons

    def test_the_callers_own_number_is_kept_without_a_word(self):
        assert self.run("caller")[:2] == (True, ["+493055501"])
        assert self.run("caller", callerid=None) == (False, [], ("the caller shows no number",))
        assert self.run("caller", refused=["+493055501"])[:2] == (False, ["+493055501"])

    def test_who_calls_again_has_their_place_by_whatever_way_they_come(self):
        owed = {("sales", "+493055501", "carrier"): "c1"}
        back = Run(extension="+49301000", owed=owed)
        assert back.jump == "tandem-enter,queue,1(sales,7,de,yes,2,5501)"
        assert back.decisions[0].reasons[-1] == "callback c1: called again, place 2"
        assert Run(extension="+49301001", digits="1", owed=owed).jump == "tandem-enter,queue,1(sales,3,,no,2,)"
        assert Run("menu", args=("main",), digits="1", owed=owed).jump == "tandem-enter,queue,1(sales,3,,,2,)"
        # It was over a moment ago.
        late = Run(extension="+49301000", owed={("sales", "+493055501", "carrier"): "c2"})
        assert (late.jump, late.decisions[0].reasons[-1]) == (
            "tandem-enter,queue,1(sales,7,de,yes,,5501)",
            "callback c2: over",
        )
        # Whom the queue does not take is still owed it.
        full = Run(extension="+49301000", owed=owed, facts=QueueFacts(5, 1, 1))
        assert full.jump.startswith("tandem-enter,hangup")
        assert "c1" not in " ".join(full.decisions[0].reasons)

    def test_where_no_number_would_do_none_is_asked_for(self):
        assert self.run(digits="1", refused=["+493055501"], is_final=True)[:2] == (False, ["+493055501"])

    def test_a_number_is_read_out_and_another_can_be_entered(self):
        assert self.run(digits="1")[:2] == (True, ["+493055501"])
        assert self.run(digits="20305550#1")[:2] == (True, ["0305550"])
        assert self.run("enter", digits="0305550#1")[:2] == (True, ["0305550"])
        assert self.run(digits="1" + "0305551#1", refused=["+493055501"])[:2] == (True, ["+493055501", "0305551"])

    def test_silence_promises_nothing(self):
        assert self.run() == (False, [], ("no number",))
        assert self.run("enter")[:2] == (False, [])
