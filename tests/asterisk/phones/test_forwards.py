"""What people set at their phones, by real calls: do not disturb, forwards, night mode, follow-me, speed dials, recorded prompts."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.observe import CARRIER_HOST, wait_until
from lab.sipp import (
    AwaitBye,
    Caller,
    HangUp,
    Press,
    Speak,
    Wait,
    dial_from_phone,
    place_calls,
)
from tests.asterisk.phones.desk import SECRET, rung

pytestmark = pytest.mark.asterisk


def test_a_code_sets_do_not_disturb_and_its_next_dialling_ends_it(desk):
    desk.dial("1001", "*78")
    told = desk.features("1001")
    assert (told["do_not_disturb"], told["set_do_not_disturb"], told["by"]) == (True, True, "phone 1001")
    with desk.phones(p1001={}) as phones:
        lived = desk.call("03011001", has_cdr=False)
        assert rung(phones) == {"1001": 0}
        assert lived.leg.refusal == 486
        desk.dial("1001", "*78")
        assert desk.features("1001")["do_not_disturb"] is False
        assert desk.call("03011001").leg.is_answered
    entries = [
        (entry["who"], entry["action"], entry["target"]) for entry in desk.ask("GET", "/api/v1/audit?limit=5")["items"]
    ]
    assert ("phone 1001", "features/update", "features/1001") in entries


def test_a_code_forwards_always_and_survives_restarts_and_a_dead_tandem(desk, pbx):
    desk.dial("1001", "*721002")
    assert desk.features("1001")["forward_always"] == "1002"
    for arguments in (["+493011001"], ["1001", "--endpoint", "1003"]):
        assert "endpoint 1001 forwards always to 1002" in pbx.tandem("route", "explain", *arguments).stdout
    explained = desk.ask("GET", "/api/v1/routes/explain?did=1001&endpoint=1003")
    assert "endpoint 1002 rings for 5 s" in explained["reasons"]
    pbx.kill()
    with desk.phones(p1001={}, p1002={"steps": [Wait(0.5), HangUp()]}) as phones:
        try:
            desk.dial("1003", "1001", heard=-1)
            assert rung(phones) == {"1001": 0, "1002": 1}
        finally:
            pbx.serve()
        desk.wait_for("/health", lambda health: health["ready"], 60)
        assert desk.features("1001")["forward_always"] == "1002"
        desk.dial("1003", "1001", heard=-1)
        assert rung(phones) == {"1001": 0, "1002": 2}
    desk.wait_for("/health", lambda health: health["ready"], 60)
    desk.dial("1001", "*72")
    assert desk.features("1001")["forward_always"] == ""


def test_a_code_closes_a_schedule_which_survives_restarts_and_a_dead_tandem(desk, pbx):
    def lamp():
        return pbx.asterisk.cli("dialplan eval function EXTENSION_STATE(*28@tandem-from-endpoint)")

    path = "/api/v1/night-modes/shop"
    wait_until(lambda: "NOT_INUSE" in lamp(), "the lamp is off")
    assert desk.call("03010075").reached == "209"
    desk.dial("1003", "*28")
    assert desk.ask("GET", path)["mode"] == "auto"
    desk.dial("1001", "*28")
    night = desk.ask("GET", path)
    assert (night["mode"], night["is_open"], night["by"]) == ("night", False, "phone 1001")
    wait_until(lambda: "Result: INUSE" in lamp(), "the lamp is lit")
    lived = desk.call("03010075")
    assert (lived.reached, lived.reasons[-2]) == ("210", "schedule shop: closed (night mode)")
    pbx.kill()
    try:
        desk.mark()
        with place_calls(
            pbx.asterisk, [Caller("03010075", "0305501")], steps=[Wait(0.5), HangUp()], host=CARRIER_HOST
        ) as run:
            run.wait()
        desk.wait_until_reached("210")
        desk.dial("1001", "*7712")
        desk.wait_for_line("Playing 'im-sorry.")
    finally:
        pbx.serve()
    assert desk.call("03010075").reached == "210"
    assert "(night mode)" in pbx.tandem("route", "explain", "+493010075").stdout
    desk.dial("1001", "*281")
    assert desk.ask("GET", path)["mode"] == "day"
    desk.dial("1001", "*280")
    assert desk.call("03010075").reached == "209"
    wait_until(lambda: "NOT_INUSE" in lamp(), "the lamp is off again")
    assert "tandem-night" not in pbx.asterisk.cli("database show tandem-night")


def dictate(desk, *steps):
    """Phone 1001 records prompt 12."""
    desk.mark()
    with dial_from_phone(desk.pbx.asterisk, ("1001", SECRET), "*7712", steps=steps) as run:
        (leg,) = run.wait(timeout_s=60).legs
    assert leg.is_answered
    desk.observer.wait_until_idle()


def test_a_phone_records_a_prompt_that_callers_hear_from_then_on(desk, pbx):
    desk.ask("GET", "/api/v1/sounds/prompt-12", status=404)
    dictate(desk, Wait(1), Speak(3), Press("#"), Wait(1), Press("1"))
    desk.wait_for_line("Playing 'vm-msgsaved.")
    sound = desk.ask("GET", "/api/v1/sounds/prompt-12")
    assert sound["duration_s"] == pytest.approx(3.5, abs=1)
    entry = desk.ask("GET", "/api/v1/audit?limit=1")["items"][0]
    assert (entry["who"], entry["source"], entry["target"]) == ("phone 1001", "phone", "sounds/prompt-12")
    lived = desk.call("03010076", AwaitBye(15))
    assert [one for one, _ in lived.sounds] == [f"{pbx.asterisk.folder}/sounds/prompt-12"]
    assert lived.leg.talk_s > 2
    # Who hangs up half-way, speaks nothing, or may not, has changed nothing.
    dictate(desk, Wait(1), Speak(1), HangUp())
    dictate(desk, Wait(1), Press("#"), Wait(1), Press("*"))
    desk.wait_for_line("Playing 'cancelled.")
    desk.mark()
    desk.dial("1003", "*7712")
    desk.wait_for_line("Playing 'feature-not-avail-line.")
    assert desk.ask("GET", "/api/v1/sounds/prompt-12") == sound
    assert not list((pbx.asterisk.spool / "monitor").glob("prompt-*"))


def test_forwards_on_busy_and_no_answer(desk):
    desk.features("1001", {"forward_busy": "1002", "forward_no_answer": "1003"})
    with desk.phones(p1001={"refuse": 486}, p1002={}) as phones:
        assert desk.call("03011001").leg.is_answered
        assert rung(phones) == {"1001": 1, "1002": 1}
    with desk.phones(p1001={"ring_s": 30}, p1003={}) as phones:
        assert desk.call("03011001").leg.is_answered
        assert rung(phones) == {"1001": 1, "1003": 1}


def test_a_configured_forward_of_a_phone_that_is_not_there_can_be_turned_off(desk):
    with desk.phones(p1002={}) as phones:
        assert desk.call("03011006").leg.is_answered
        desk.features("1006", {"forward_unavailable": ""})
        assert not desk.call("03011006", has_cdr=False).leg.is_answered
        assert rung(phones) == {"1002": 1}
        assert desk.features("1006", {"forward_unavailable": None})["forward_unavailable"] == "1002"


def test_a_circle_of_forwards_ends_at_a_phone_that_rings(desk):
    desk.features("1001", {"forward_always": "1002"})
    desk.features("1002", {"forward_always": "1003"})
    desk.features("1003", {"forward_always": "1001"})
    with desk.phones(p1001={}, p1002={}, p1003={}) as phones:
        lived = desk.call("03011001")
        assert rung(phones) == {"1001": 1, "1002": 0, "1003": 0}
    assert lived.leg.is_answered


def test_a_phone_forwards_outside_only_as_far_as_it_may_dial(desk):
    refused = desk.ask("PATCH", "/api/v1/features/1003", {"forward_always": "03055501"}, 422)
    rule = "must be a number that the phone may dial: the outbound trunk needs the permission national"
    assert refused["error"]["problems"] == [{"field": "forward_always", "rule": rule}]
    desk.ask("PATCH", "/api/v1/features/1001", {"forward_always": "112"}, 422)
    desk.ask("PATCH", "/api/v1/features/1001", {"forward_always": "1001"}, 422)
    desk.ask("PATCH", "/api/v1/features/4444", {"forward_always": "1001"}, 404)
    desk.dial("1003", "*7203055501")
    assert desk.features("1003")["forward_always"] == ""
    desk.features("1001", {"forward_always": "03055501"})
    with desk.outside() as outside:
        lived = desk.call("03011001")
        outside.wait_for("bye")
    assert lived.leg.is_answered


def test_voicemail_takes_only_the_calls_that_it_is_for(desk):
    assert not desk.call("03011005", has_cdr=False).leg.is_answered  # not registered, and the box is for busy
    desk.features("1005", {"do_not_disturb": True})
    desk.call("03011005", Wait(2), HangUp())
    desk.wait_for_line("VoiceMail(", "1005@tandem,b")
    desk.features("1005", {"do_not_disturb": None})


def test_follow_me_tries_each_number_and_an_answering_machine_takes_no_call(desk):
    with (
        desk.outside() as outside,
        desk.phones(p1003={}) as phones,
        ThreadPoolExecutor(1) as pool,
    ):
        calling = pool.submit(desk.call, "03011007", Wait(1), HangUp(), answer_timeout_s=60)
        outside.wait_for("answered", timeout_s=30)
        phones["1003"].wait_for("bye", timeout_s=40)
        lived = calling.result()
    assert lived.leg.is_answered
    for number in ("1009", "03055507", "1003"):
        desk.wait_for_line("Dial(", f"Local/{number}@tandem-follow-leg")


def test_whoever_presses_the_key_has_the_call_and_no_further_number_rings(desk):
    with desk.outside(steps=[Wait(1), Press("1"), AwaitBye(30)]) as outside, desk.phones(p1003={}) as phones:
        lived = desk.call("03011007", Wait(2), HangUp(), answer_timeout_s=60)
        outside.wait_for("bye", timeout_s=30)
        assert rung(phones) == {"1003": 0}
    assert lived.leg.is_answered
    assert desk.count_lines("[s@tandem-confirm:3] Read(") == 1
    assert desk.count_lines("Dial(", "Local/1003@tandem-follow-leg") == 0


def test_speed_dials_are_dialled_with_the_phones_own_permissions(desk):
    with desk.phones(p1002={"steps": [Wait(0.5), HangUp()]}) as phones:
        desk.dial("1001", "*07", heard=-1)
        assert rung(phones) == {"1002": 1}
    desk.dial("1001", "*09")  # no such one: told so
    with desk.outside(steps=[Wait(0.3), HangUp()]) as outside:
        with dial_from_phone(desk.pbx.asterisk, ("1003", SECRET), "*08") as run:
            (leg,) = run.wait(timeout_s=60).legs
        assert leg.refusal == 403
        desk.dial("1001", "*08", heard=-1)
        assert len(outside.read_legs()) == 1
        # Help is for every phone.
        desk.dial("1003", "*05", heard=-1)
        (called,) = [event.detail for leg in outside.read_legs()[1:] for event in leg.events if event.word == "called"]
        assert called.startswith("<sip:112@")


@pytest.mark.parametrize(
    "where", ["03055509", "PJSIP/03055509%40outside", "Local/03055509%40tandem-trunks", "1002", "1001"]
)
def test_a_handset_that_sends_its_callers_on_is_busy(desk, where):
    """Nobody judges such a forward: its text may even name a trunk. Forwards are set by codes."""
    with desk.outside() as outside, desk.phones(p1001={"forward": where}, p1002={}) as phones:
        assert desk.call("03011001", AwaitBye(20)).leg.refusal == 486
        assert rung(phones) == {"1001": 1, "1002": 0}
        assert not outside.read_legs()


def test_no_member_and_no_leg_sends_its_callers_on(desk):
    """As one phone does not: the next rings instead, and a queue asks again."""
    away = {"forward": "PJSIP/03055509%40outside"}
    with desk.outside() as outside, desk.phones(p1001=away, p1002={}) as phones:
        assert desk.call("03010061").leg.is_answered
        assert rung(phones) == {"1001": 1, "1002": 1}
        assert desk.call("03010060").leg.is_answered
        assert not outside.read_legs()
    with desk.outside() as outside, desk.phones(p1004=away) as phones:
        assert desk.call("03010074", Wait(3), Press("9"), Wait(0.5), HangUp()).reached == "208"
        assert rung(phones)["1004"] > 1
        assert not outside.read_legs()
    # By follow-me, a number outside and then a phone.
    with desk.outside(**away) as outside, desk.phones(p1003=away) as phones:
        assert not desk.call("03011007", AwaitBye(30), has_cdr=False).leg.is_answered
        assert rung(phones) == {"1003": 1}
        (called,) = [event.detail for leg in outside.read_legs() for event in leg.events if event.word == "called"]
    assert called.startswith("<sip:03055507@")


def test_who_comes_to_the_listening_context_astray_hears_nobody(desk):
    """Whom a supervisor's phone sends on to has none of the variables: ChanSpy() without a name would take any call."""
    desk.mark()
    desk.pbx.asterisk.cli("channel originate Local/s@tandem-listen extension 201@from-admin")
    desk.wait_for_line("[s@tandem-listen:4] Hangup(", '"21"')
    desk.observer.wait_until_idle()
    assert not desk.count_lines("ChanSpy(")


def test_whom_a_handset_sends_the_api_on_to_is_connected_with_nobody(desk):
    """An originate has no option that forbids it, so Asterisk calls there: whoever answers is hung up on at once."""
    desk.mark()
    with desk.outside() as outside, desk.phones(p1001={"forward": "PJSIP/03055509%40outside"}, p1002={}) as phones:
        call = desk.ask(
            "POST", "/api/v1/calls", {"origin": {"endpoint": "1001"}, "destination": {"endpoint": "1002"}}, 202
        )
        desk.wait_for(f"/api/v1/calls/{call['call_id']}", lambda now: now["ended_at"] is not None, 30)
        assert rung(phones) == {"1001": 1, "1002": 0}
    desk.wait_for_line("Hangup(", "PJSIP/outside-", '"21"')
    assert [leg.ended_by for leg in outside.read_legs()] == ["them"]
    assert not desk.count_lines("Playing", "PJSIP/outside-")
