"""What options of queues do to callers and members, by real calls: weight, rest, members in a call, empty queues, refusals, the service level."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.sipp import AwaitBye, HangUp, Wait, register_phones
from tests.asterisk.phones.desk import ADMIN_DIALPLAN, HOST, PORTS, SECRET, Desk

pytestmark = pytest.mark.asterisk

REST_S = 4
UNTIL_THEY_HANG_UP = AwaitBye(60)
DOCUMENT = f"""
general: {{country: DE, allowed_contexts: [from-admin]}}
trunks: [{{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}}]
endpoints:
  - {{extension: "1001", secret: {SECRET}}}
  - {{extension: "1002", secret: {SECRET}}}
queues:
  - {{name: light, members: [{{endpoint: "1001"}}], retry_s: 1, service_level_s: 7, fallback: {{hangup: busy}}}}
  - {{name: heavy, weight: 5, members: [{{endpoint: "1001"}}], retry_s: 1, fallback: {{hangup: busy}}}}
  - {{name: eager, ring_in_use: yes, members: [{{endpoint: "1001"}}], retry_s: 1, fallback: {{hangup: busy}}}}
  - {{name: rest, wrap_up_s: {REST_S}, members: [{{endpoint: "1002"}}], retry_s: 1, fallback: {{hangup: busy}}}}
  - {{name: strict, members: [{{endpoint: "1002"}}], ring_time_s: 5, retry_s: 1, max_wait_s: 60,
     leave_empty: {{dialplan: "from-admin,201"}}, join_empty: {{dialplan: "from-admin,202"}}, fallback: {{hangup: busy}}}}
  - {{name: lenient, absent_when: [unavailable], members: [{{endpoint: "1002"}}], ring_time_s: 5, retry_s: 1, max_wait_s: 5,
     timeout: {{dialplan: "from-admin,203"}}, fallback: {{hangup: busy}}}}
  - {{name: senior, strategy: rrmemory, members: [{{endpoint: "1001"}}, {{endpoint: "1002", penalty: 5}}], ring_time_s: 5, retry_s: 1, fallback: {{hangup: busy}}}}
  - {{name: few, strategy: rrmemory, members: [{{endpoint: "1001"}}, {{endpoint: "1002", penalty: 5}}], ring_time_s: 5, retry_s: 1, penalty_members_limit: 2, fallback: {{hangup: busy}}}}
  - {{name: pausing, members: [{{endpoint: "1002"}}], ring_time_s: 5, retry_s: 1, autopause: "yes", autopause_delay_s: 60, leave_when_empty: no, fallback: {{hangup: busy}}}}
  - {{name: anew, strategy: linear, members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}], ring_time_s: 6, retry_s: 1, timeout_restart: yes, fallback: {{hangup: busy}}}}
  - {{name: once, strategy: linear, members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}], ring_time_s: 6, retry_s: 1, fallback: {{hangup: busy}}}}
dids:
  - {{number: "+493010001", destination: {{queue: light}}}}
  - {{number: "+493010002", destination: {{queue: heavy}}}}
  - {{number: "+493010003", destination: {{queue: eager}}}}
  - {{number: "+493010004", destination: {{queue: rest}}}}
  - {{number: "+493010005", destination: {{queue: strict}}}}
  - {{number: "+493010006", destination: {{queue: lenient}}}}
  - {{number: "+493010007", destination: {{queue: senior}}}}
  - {{number: "+493010008", destination: {{queue: few}}}}
  - {{number: "+493010009", destination: {{queue: pausing}}}}
  - {{number: "+493010010", destination: {{queue: anew}}}}
  - {{number: "+493010011", destination: {{queue: once}}}}
"""
LIGHT, HEAVY, EAGER, REST, STRICT, LENIENT, SENIOR, FEW, PAUSING, ANEW, ONCE = (f"030100{n:02}" for n in range(1, 12))


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT, admin_dialplan=ADMIN_DIALPLAN) as pbx:
        pbx.serve()
        for extension in ("1001", "1002"):
            register_phones(pbx.asterisk, [(extension, SECRET)], host=HOST, port=PORTS[extension])
        yield pbx


@pytest.fixture
def desk(pbx):
    desk = Desk(pbx)
    wait_until(
        lambda: shown(pbx, "light").count("(Not in use)") == shown(pbx, "rest").count("(Not in use)") == 1,
        "idle phones",
    )
    yield desk
    # What a failed test left on the line.
    pbx.asterisk.cli("channel request hangup all")


def shown(pbx, queue):
    return pbx.asterisk.cli(f"queue show {queue}")


def wait_for_callers(pbx, **queues):
    """Until so many wait in each."""
    wait_until(
        lambda: all(f"{name} has {count} calls" in shown(pbx, name) for name, count in queues.items()), f"{queues}"
    )


def end_call_of(pbx, extension):
    """The phone hangs up."""
    channels = pbx.asterisk.cli("core show channels concise").splitlines()
    (channel,) = (line.split("!")[0] for line in channels if line.startswith(f"PJSIP/{extension}-"))
    pbx.asterisk.cli(f"channel request hangup {channel}")


def test_who_waits_in_the_heavier_queue_has_the_member_first(desk, pbx):
    with desk.phones(p1001={"steps": [UNTIL_THEY_HANG_UP]}) as phones, ThreadPoolExecutor(3) as pool:
        phone, calls = phones["1001"], []
        for number in (LIGHT, LIGHT, HEAVY):
            calls.append(pool.submit(desk.observer.call, number, UNTIL_THEY_HANG_UP))
            if len(calls) == 1:
                phone.wait_for("answered")
            else:
                wait_for_callers(pbx, light=1, heavy=len(calls) - 2)
        # A member in a call is not rung.
        assert len(phone.read_legs()) == 1
        for others in (1, 0):
            end_call_of(pbx, "1001")
            wait_for_callers(pbx, light=others, heavy=0)
            wait_until(
                lambda expected=3 - others: sum(leg.is_answered for leg in phone.read_legs()) == expected,
                "the next caller",
            )
        end_call_of(pbx, "1001")
        first, light, heavy = (call.result() for call in calls)
        answered = [leg.caller for leg in phone.read_legs()]
    assert answered == [one.story["decisions"][0]["caller"] for one in (first, heavy, light)]


def test_a_member_in_a_call_is_rung_where_the_queue_says_so(desk):
    with desk.phones(p1001={"steps": [UNTIL_THEY_HANG_UP]}) as phones, ThreadPoolExecutor(1) as pool:
        first = pool.submit(desk.observer.call, EAGER, Wait(15), HangUp())
        phones["1001"].wait_for("answered")
        second = desk.observer.call(f"{EAGER}/second", Wait(0.5), HangUp())
        assert not first.done()
        assert len(phones["1001"].read_legs()) == 2
    assert second.leg.is_answered


def test_a_member_rests_after_a_call(desk, pbx):
    with desk.phones(p1002={"steps": [Wait(0.5), HangUp()]}) as phones:
        for _ in range(2):
            assert desk.observer.call(REST, UNTIL_THEY_HANG_UP).leg.ended_by == "them"
        first, second = phones["1002"].read_legs()
    assert second.at_ms("invited") - first.at_ms("hangup") >= REST_S * 1000 - 1000  # app_queue counts whole seconds


def test_callers_leave_a_queue_whose_last_member_pauses_and_join_none_that_is_empty(desk, pbx):
    with desk.phones(p1002={"ring_s": 60}) as phones, ThreadPoolExecutor(1) as pool:
        desk.mark()
        waiting = pool.submit(desk.observer.call, STRICT, Wait(40), HangUp())
        phones["1002"].wait_for("invited")
        desk.ask("POST", "/api/v1/agents/1002/pause", {"reason": "lunch"})
        try:
            desk.wait_until_reached("201")
            pbx.asterisk.cli("channel request hangup all")
            assert waiting.result().reached == "201"
            assert desk.call(STRICT).reached == "202"
            # Here a member who pauses is somebody: callers wait, to the end of their time.
            assert desk.call(LENIENT, Wait(8), HangUp()).reached == "203"
        finally:
            desk.ask("POST", "/api/v1/agents/1002/unpause")


def test_the_share_that_was_answered_in_time_is_counted(desk, pbx):
    assert re.search(r"SL:\d+(\.\d+)?%.* within 7s", shown(pbx, "light"))
    assert "within 20s" in shown(pbx, "heavy")


def test_a_penalty_counts_for_nothing_where_few_are_there(desk):
    """1001 does not answer. 1002 has a penalty, so nobody asks there while 1001 could; with so few members everybody is asked."""
    with desk.phones(p1001={"ring_s": 60}, p1002={}) as phones:
        lived = desk.observer.call(SENIOR, Wait(8), HangUp())
        assert not phones["1002"].read_legs()
        assert "1002" not in lived.story["records"][0]["other_channel"]
        lived = desk.observer.call(FEW, Wait(12), HangUp())
        assert lived.story["records"][-1]["other_channel"].startswith("PJSIP/1002-")


def test_who_has_just_served_a_caller_is_not_paused_for_one_that_was_missed(desk, pbx):
    def miss():
        with desk.phones(p1002={"ring_s": 60}) as phones:
            desk.observer.call(PAUSING, Wait(9), HangUp())
            phones["1002"].wait_for("cancelled")

    with desk.phones(p1002={"steps": [Wait(0.5), HangUp()]}):
        desk.observer.call(PAUSING, UNTIL_THEY_HANG_UP)
    miss()
    assert "paused" not in shown(pbx, "pausing")
    pbx.asterisk.cli("queue reset stats pausing")  # as if the call was long ago
    pbx.asterisk.cli("queue remove member PJSIP/1002 from pausing")
    pbx.asterisk.cli("queue add member PJSIP/1002 to pausing")
    try:
        miss()
        assert "paused" in shown(pbx, "pausing")
    finally:
        desk.ask("POST", "/api/v1/agents/1002/unpause")


@pytest.mark.parametrize(("number", "is_answered"), [(ANEW, True), (ONCE, False)])
def test_the_refusal_of_one_gives_the_next_their_whole_time(desk, number, is_answered):
    """1001 refuses after 3 s of 6; 1002 would answer 4.5 s later (app_queue.c: not with ringall, where all ring from the start)."""
    with desk.phones(p1001={"ring_s": 3, "refuse": 486}, p1002={"ring_s": 4.5}) as phones:
        desk.observer.call(number, Wait(9), HangUp())
        assert [leg.is_answered for leg in phones["1002"].read_legs()] == [is_answered]
