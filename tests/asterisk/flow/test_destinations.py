"""Where calls go, by real calls: every kind of destination, hangup causes, queues, who calls; and the demo."""

import re
from typing import Any

import pytest

from lab.demo import Teller, run_demo
from lab.observe import Lived, Observer, wait_until
from lab.sipp import Caller, HangUp, Press, SippRun, Speak, Wait, place_calls, register_phones, run_phone
from tandem.domain.hangup_causes import HANGUP_CAUSE_BY_NAME
from tests.asterisk.flow.house import BUSY_PORT, OUTSIDE, SECRET, find_recordings, read_sound, wait_for_recording

pytestmark = pytest.mark.asterisk


def test_the_demo() -> None:
    run_demo(Teller())


# -------------------------------------------------------------------------------- every kind of destination


def test_destinations_in_the_dialplan(observer: Observer) -> None:
    """Dialplan, DID to DID, announcement and its `then`, open, closed, default: all of the numbers at the same time."""
    wanted = {
        "03010001": ("201", "dialplan from-admin,201"),
        "03010002": ("201", "DID +493010001"),
        "03010003": ("202", "announcement notice"),
        "03010004": ("203", "schedule always: open"),
        "03010005": ("204", "schedule never: closed"),
        "0309": ("299", "DID default"),
    }
    lived = observer.call_all(dict.fromkeys(wanted, (Wait(2.5), HangUp())))
    assert {called: one.reached for called, one in lived.items()} == {
        called: exten for called, (exten, _) in wanted.items()
    }
    for called, (_, reason) in wanted.items():
        assert reason in lived[called].reasons
        assert (lived[called].leg.ended_by, len(lived[called].outcomes)) == ("us", 1)
        assert lived[called].story["records"][0]["disposition"] == "ANSWERED"
    assert [sound for sound, _ in lived["03010003"].sounds] == ["beep", "beep"]
    assert lived["03010002"].reasons == [
        "DID +493010002",
        "DID +493010001",
        "dialplan from-admin,201",
    ]


# Of each Q.850 cause the SIP code that Asterisk 22 gives it (chan_pjsip.c, hangup_cause2sip).
SIP_CODES = {
    1: 404,
    3: 404,
    16: 603,
    17: 486,
    19: 480,
    21: 403,
    22: 410,
    27: 502,
    28: 484,
    31: 480,
    34: 503,
    38: 500,
    127: 500,
}


def test_each_hangup_cause_is_a_sip_code(observer: Observer) -> None:
    """And so is an inactive DID. Asterisk writes no CDR of a call that was neither answered nor dialled."""
    lived = observer.call_all({f"030200{cause}": () for cause in SIP_CODES} | {"03010019": ()}, has_cdr=False)
    assert lived.pop("03010019").leg.refusal == 404
    assert {cause: lived[f"030200{cause}"].leg.refusal for cause in SIP_CODES} == SIP_CODES
    assert set(SIP_CODES) == set(HANGUP_CAUSE_BY_NAME.values())
    for cause in SIP_CODES:
        assert lived[f"030200{cause}"].outcomes == [f"tandem-enter,hangup,1({cause},0,,no,,)"]


def test_an_external_number_is_dialled_over_the_trunk(observer: Observer) -> None:
    with run_phone(observer.pbx.asterisk, host=OUTSIDE, port=5060, steps=[Wait(0.3), HangUp()]) as outside:
        lived = observer.call("03010006", Wait(5), HangUp())
        (leg,) = outside.wait_for("hangup")
    assert leg.is_answered
    assert lived.leg.ended_by == "them"
    assert lived.data("Dial") == ["PJSIP/+4989111@outside,120,i"]
    # Where the call goes, and then which way outside.
    assert lived.outcomes == ["tandem-enter,external,1(+4989111,0,,no,,)", "tandem-out,dial,1(outside:+4989111:,0)"]
    assert lived.story["records"][0]["other_channel"].startswith("PJSIP/outside-")


def test_an_endpoint_rings_with_a_clean_caller_in_its_language_and_is_recorded(
    observer: Observer, phone: SippRun
) -> None:
    before = len(phone.read_legs())
    lived = observer.call("03010007", Speak(1.5), HangUp())
    leg = phone.wait_for("bye", count=before + 1)[-1]
    caller = lived.story["decisions"][0]["caller"]
    invited = next(event.detail for event in leg.events if event.word == "invited")
    assert f"<sip:{caller[-5:]}@" in invited
    assert (lived.leg.ended_by, lived.story["records"][0]["disposition"]) == ("us", "ANSWERED")
    assert lived.outcomes == [f"tandem-enter,endpoint,1(1001,0,de,yes,,{caller[-5:]})"]
    assert any("CHANNEL(language)=de" in data for data in lived.data("ExecIf"))
    length_s, loudest = read_sound(wait_for_recording(observer.pbx, lived))
    assert length_s > 1
    assert loudest > 1000


def test_a_busy_phone_and_one_that_is_off_go_to_voicemail(observer: Observer) -> None:
    asterisk = observer.pbx.asterisk
    register_phones(asterisk, [("1004", SECRET)], port=BUSY_PORT)
    with run_phone(asterisk, port=BUSY_PORT, refuse=486) as busy:
        lived = observer.call_all(dict.fromkeys(("03010008", "03010009"), (Wait(1), HangUp())))
        assert busy.wait_for("refused")
    assert lived["03010008"].data("VoiceMail") == ["1001@tandem,b"]
    assert lived["03010009"].data("VoiceMail") == ["1001@tandem,u"]
    assert all(one.leg.ended_by == "us" for one in lived.values())
    assert not any(find_recordings(observer.pbx, one) for one in lived.values())
    assert not list((observer.pbx.asterisk.spool / "monitor").glob("*.wav"))


def test_a_message_is_left_with_and_without_instructions(observer: Observer) -> None:
    """The three callers at the same time: one hears who is not there and how to leave a message, one only the first, one skips both."""
    inbox = observer.pbx.asterisk.spool / "voicemail/tandem/1009/INBOX"
    lived = observer.call_all(
        {
            "03010010/with": (Wait(10), HangUp()),
            "03010011/without": (Wait(7.5), Speak(7), HangUp()),
            "03010010/skipped": (Wait(1), Press("#"), Speak(7), HangUp()),
        }
    )
    assert [one.data("VoiceMail") for one in lived.values()] == [
        ["1009@tandem,u"],
        ["1009@tandem,us"],
        ["1009@tandem,u"],
    ]
    assert [("vm-intro", "en") in one.sounds for one in lived.values()] == [True, False, False]
    messages = wait_until(
        lambda: len(found := sorted(inbox.glob("msg*.wav"))) == 2 and found, "two messages in the spool"
    )
    for message in messages:
        length_s, loudest = read_sound(message)
        assert length_s >= 2
        assert loudest > 1000
    assert all(one.leg.ended_by == "us" for one in lived.values())


# ------------------------------------------------------------------------------------------------- queues


def test_a_queue_rings_its_member(observer: Observer, phone: SippRun) -> None:
    before = len(phone.read_legs())
    lived = observer.call("03010012", Wait(1.5), HangUp())
    leg = phone.wait_for("bye", count=before + 1)[-1]
    assert leg.is_answered
    assert lived.outcomes == ["tandem-enter,queue,1(sales,0,,no,,)"]
    assert lived.story["records"][0]["other_channel"].startswith("PJSIP/1002-")


def test_a_queue_that_is_closed_or_has_nobody_takes_no_caller(observer: Observer) -> None:
    lived = observer.call_all({"03010016": (), "03010017": ()})
    assert {called: one.reached for called, one in lived.items()} == {"03010016": "232", "03010017": "233"}
    for name, one in (("empty", lived["03010016"]), ("shut", lived["03010017"])):
        assert f"queue {name} takes nobody" in one.reasons
        assert one.data("Queue") == []
        assert len(one.outcomes) == 1


def test_a_queue_that_is_full_and_one_that_takes_too_long(observer: Observer) -> None:
    with place_calls(observer.pbx.asterisk, [Caller("03010018", "0305501")], steps=[Wait(7.5), HangUp()]) as waiting:
        waiting.wait_for("answered")
        # AMI is asked every two seconds. Until it says so, app_queue itself refuses the second caller, with the same destination.
        calls: list[Lived] = []

        def facts_decide() -> bool:
            calls.append(observer.call("03010018", Wait(1.2), HangUp()))
            return "queue narrow takes nobody" in calls[-1].reasons

        wait_until(facts_decide, "the facts say that the queue is full", timeout_s=4)
        (leg,) = waiting.wait().legs
    assert {one.reached for one in calls} == {"234"}
    for one in calls[:-1]:
        assert "queue narrow: FULL" in one.reasons
    assert (calls[-1].data("Queue"), calls[-1].leg.ended_by, leg.ended_by) == ([], "us", "us")
    story = observer.find_stories(["0305501"])["0305501"]
    assert [decision["script"] for decision in story["decisions"]] == ["did", "queue"]
    assert story["decisions"][1]["reasons"] == ["queue narrow: TIMEOUT", "dialplan from-admin,235"]
    assert story["decisions"][1]["outcome"].startswith("tandem-enter,dialplan,1(235,")
    assert leg.talk_s is not None
    assert leg.talk_s > 7


def test_who_calls_decides(observer: Observer) -> None:
    """A route for one caller and one for the beginnings of numbers, an allow list, block lists, and callers who show no number."""
    near, other, stranger, pest, nobody = "017055501", "017055502", "016055503", "0666555", "anonymous"
    wanted = {
        ("03010020", near): "241",
        ("03010020", other): 486,
        ("03010020", stranger): "201",
        ("03010020", nobody): "242",
        ("03010021", near): "201",
        ("03010021", stranger): 403,
        ("03010021", nobody): 403,
        ("03010022", near): 403,
        ("03010022", stranger): "201",
        ("03010022", nobody): "201",
        ("03010022", pest): 403,
    }
    callers = [Caller(called, caller) for called, caller in wanted]
    mark = len(observer.pbx.asterisk.read_log())
    with place_calls(observer.pbx.asterisk, callers, steps=[Wait(0.5), HangUp()]) as run:
        legs = sorted(run.wait().legs, key=lambda leg: int(leg.call_id.partition("-")[0]))
    observer.wait_until_idle()
    log = observer.pbx.asterisk.read_log()[mark:]
    decided = {
        (story["decisions"][0]["called"], story["decisions"][0]["caller"]): story["decisions"][0]["channel"]
        for story in observer.pbx.ask("calls", "--limit", "20")
    }
    found: dict[tuple[str, str], Any] = {}
    for (called, caller), leg in zip(wanted, legs, strict=True):
        channel = decided.get((called, caller if caller != nobody else ""), "nobody decided")
        reached = re.search(rf'Executing \[(2\d\d)@from-admin:1\] Answer\("{channel}"', log)
        found[called, caller] = reached[1] if reached and leg.is_answered else leg.refusal
    assert found == wanted
