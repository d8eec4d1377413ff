"""What phones can do, by real calls: ring groups, forwards, do not disturb, follow-me, speed dials; of a whole Tandem beside a real Asterisk."""

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.browser import Browser, open_media_address
from lab.certificates import find_certificate, write_certificate
from lab.observe import CARRIER_HOST, Observer, wait_until
from lab.pbx import LabPbx
from lab.rtp import RtpSink
from lab.secure_media import PROFILE
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
    run_transfer,
)
from tests.asterisk.test_api import Site
from tests.audio import write_tone

pytestmark = pytest.mark.asterisk

SECRET = "swordfish-of-the-lab"
CERTIFIED = "pbx.example.org"
OUTSIDE = "127.0.0.5"
# Each phone at a port of its own, so that a test says which one rang. 1005 has a box and is never there, 1009 is never there.
PORTS = {"1001": 5071, "1002": 5072, "1003": 5073, "1004": 5074, "1010": 5075}
HOST = "127.0.0.3"
ADMIN_DIALPLAN = "exten => _2XX,1,Answer(,i)\n same => n,Wait(60)\n same => n,Hangup()\n"
DOCUMENT = (
    f"""
general: {{country: DE, outbound_trunk: outside, allowed_contexts: [from-admin], speed_dials: {{7: "1002", 8: "+493055508"}},
  record_prompt_code: "*77", record_prompt_phones: ["1001"], parking_extension: "700", parking_time_s: 60, directory_extension: "411"}}
trunks:
  - {{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}}
  - {{name: outside, hosts: ["{OUTSIDE}:5060"], match: ["{OUTSIDE}"]}}
voicemail_boxes:
  - {{mailbox: "1005", pin: "4711", name: Eve Moss, operator: {{dialplan: "from-admin,207"}}}}
  - {{mailbox: "1002", pin: "4711", name: Bob Smith}}
conferences:
  - {{name: open, extension: "640"}}
  - {{name: shut, pin: "4711", moderator_pin: "0815", wait_for_moderator: yes}}
announcements: [{{name: notice, prompts: [tandem/prompt-12], then: {{hangup: normal}}}}]
page_groups: [{{name: floor, extension: "650", members: ["1001", "1002", "1003"]}}]
endpoints:
  - {{extension: "1001", secret: {SECRET}, ring_time_s: 5, pickup_groups: [office], permissions: [internal, national]}}
  - {{extension: "1002", secret: {SECRET}, ring_time_s: 5, pickup_groups: [office]}}
  - {{extension: "1003", secret: {SECRET}, ring_time_s: 5, permissions: [internal]}}
  - {{extension: "1004", secret: {SECRET}, ring_time_s: 5}}
  - {{extension: "1005", secret: {SECRET}, ring_time_s: 5, voicemail: "1005", voicemail_on: [busy]}}
  - {{extension: "1006", secret: {SECRET}, forward_unavailable: "1002"}}
  - {{extension: "1007", secret: {SECRET}, permissions: [internal, national],
     follow_me: [{{number: "1009", ring_time_s: 5}}, {{number: "03055507", ring_time_s: 8}}, {{number: "1003", ring_time_s: 8}}]}}
  - {{extension: "1008", secret: {SECRET}, devices: 2}}
  - {{extension: "1009", secret: {SECRET}}}
  - {{extension: "1010", secret: {SECRET}, call_limit: 1, recording: inbound}}
  - {{extension: "1011", secret: {SECRET}, webrtc: yes, codecs: [opus, alaw], music: quiet}}
  - {{extension: "1012", secret: {SECRET}, media_encryption: sdes, nat: no, dtmf_mode: info}}
  - {{extension: "1013", secret: {SECRET}, permissions: [national], recording: outbound, external_caller_id: "+493010099", emergency_caller_id: "+493010098"}}
schedules: [{{name: shop, hours: [{{days: mon-sun, start: "00:00", end: "24:00"}}], night_code: "*28", night_phones: ["1001"]}}]
ring_groups:
  - {{name: all, extension: "600", members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}, {{endpoint: "1009"}}], ring_time_s: 5, caller_prefix: "Shop:",
     fallback: {{dialplan: "from-admin,201"}}}}
  - {{name: hunt, extension: "601", strategy: hunt, members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}], ring_time_s: 5, fallback: {{dialplan: "from-admin,202"}}}}
  - {{name: memory, extension: "602", strategy: memory-hunt, members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}], ring_time_s: 5, fallback: {{dialplan: "from-admin,203"}}}}
  - {{name: random, extension: "603", strategy: random, members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}], ring_time_s: 5, fallback: {{dialplan: "from-admin,204"}}}}
  - {{name: first, extension: "604", strategy: first-available, members: [{{endpoint: "1009"}}, {{endpoint: "1002"}}, {{endpoint: "1001"}}], ring_time_s: 5,
     fallback: {{dialplan: "from-admin,205"}}}}
  - {{name: mixed, extension: "605", members: [{{external: "+493055501", trunk: outside}}, {{endpoint: "1004"}}], ring_time_s: 15, fallback: {{dialplan: "from-admin,206"}}}}
queues:
  - {{name: shop, members: [{{endpoint: "1004"}}], ring_time_s: 5, retry_s: 1, join_when_empty: yes, leave_when_empty: no, max_wait_s: 60, announce_position: yes,
     announce_every_s: 15, announce_hold_time: once, periodic_prompts: [beep, tandem/none], periodic_every_s: 3, report_hold_time: yes, member_delay_s: 1,
     autopause: all, ring_in_use: yes, recording: yes, exit_key: "9", exit: {{dialplan: "from-admin,208"}}, fallback: {{hangup: normal}}}}
dids:
  - {{number: "+493010074", destination: {{queue: shop}}}}
  - {{number: "+493010075", destination: {{schedule: shop, open: {{dialplan: "from-admin,209"}}, closed: {{dialplan: "from-admin,210"}}}}}}
  - {{number: "+493010076", destination: {{announcement: notice}}}}
  - {{number: "+493010060", destination: {{ring_group: all}}}}
  - {{number: "+493010061", destination: {{ring_group: hunt}}}}
  - {{number: "+493010062", destination: {{ring_group: memory}}}}
  - {{number: "+493010063", destination: {{ring_group: random}}}}
  - {{number: "+493010064", destination: {{ring_group: first}}}}
  - {{number: "+493010065", destination: {{ring_group: mixed}}}}
  - {{number: "+493010070", destination: {{conference: open}}}}
  - {{number: "+493010071", destination: {{conference: shut}}}}
  - {{number: "+493010072", destination: {{directory: last}}}}
  - {{number: "+493010073", destination: {{voicemail: "1005"}}}}
"""
    + "".join(
        f'  - {{number: "+49301100{n}", destination: {{endpoint: "100{n}"}}}}\n' for n in (1, 2, 3, 4, 5, 6, 7, 8)
    )
    + '  - {number: "+493011010", destination: {endpoint: "1010"}}\n'
    + '  - {number: "+493011011", destination: {endpoint: "1011"}}\n'
)


class Desk(Site):
    """Phones to ring and to dial with, and the API."""

    def __init__(self, pbx):
        super().__init__(pbx)
        self.pbx, self.observer, self._mark = pbx, Observer(pbx), 0

    def call(self, number, *steps, **options):
        self.mark()
        return self.observer.call(number, *(steps or (Wait(0.5), HangUp())), **options)

    def mark(self):
        self._mark = len(self.pbx.asterisk.read_log())

    @contextlib.contextmanager
    def phones(self, **what):
        """p1001={...}: what `run_phone` takes; who is not named does not answer at all."""
        with contextlib.ExitStack() as stack:
            phones = {
                name[1:]: stack.enter_context(
                    run_phone(self.pbx.asterisk, host=HOST, port=PORTS[name[1:]], **{"ring_s": 0.1, **options})
                )
                for name, options in what.items()
            }
            yield phones
        self.observer.wait_until_idle(timeout_s=40)

    @contextlib.contextmanager
    def outside(self, **options):
        """The carrier of calls that leave."""
        with run_phone(self.pbx.asterisk, host=OUTSIDE, port=5060, **{"ring_s": 0.1, **options}) as outside:
            yield outside

    def dial(self, extension, number, heard=25):
        """Dials from a phone until the other side hangs up; something is heard."""
        with (
            RtpSink(self.pbx.asterisk, HOST) as sink,
            dial_from_phone(self.pbx.asterisk, (extension, SECRET), number, media_port=sink.port) as run,
        ):
            (leg,) = run.wait(timeout_s=60).legs
            assert sum(sink.count_packets().values()) > heard
        assert (leg.is_answered, leg.ended_by) == (True, "them")

    def count_lines(self, *parts):
        """How many lines of Asterisk's log have all of these, since the last call began."""
        lines = self.pbx.asterisk.read_log()[self._mark :].splitlines()
        return sum(all(part in line for part in parts) for line in lines)

    def wait_for_line(self, *parts):
        """The log lags behind."""
        wait_until(lambda: self.count_lines(*parts), f"a line with {parts}")

    def count_recordings(self):
        return self.ask("GET", "/api/v1/recordings?limit=1")["total"]

    def wait_for_recording(self, before):
        """Taken up; it is converted once the machine has nothing better to do. before: how many there were."""
        self.wait_for("/api/v1/recordings?limit=1", lambda page: page["total"] == before + 1, 60)

    def wait_until_reached(self, exten):
        self.wait_for_line(f"Executing [{exten}@from-admin:1]")

    def features(self, extension, change=None):
        path = f"/api/v1/features/{extension}"
        return self.ask("GET", path) if change is None else self.ask("PATCH", path, change)

    def reset(self):
        for extension in ("1001", "1002", "1003", "1004"):
            self.features(extension, dict.fromkeys(FIELDS))


FIELDS = ("do_not_disturb", "forward_always", "forward_busy", "forward_no_answer", "forward_unavailable")


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT, {"recordings.format": "wav"}, admin_dialplan=ADMIN_DIALPLAN) as pbx:
        open_media_address(pbx.asterisk)
        open_door_of_browsers(pbx.asterisk)
        pbx.serve()
        for extension, port in PORTS.items():
            register_phones(pbx.asterisk, [(extension, SECRET)], host=HOST, port=port)
        yield pbx


@pytest.fixture
def desk(pbx):
    desk = Desk(pbx)
    yield desk
    desk.reset()
    # What a failed test left on the line.
    pbx.asterisk.cli("channel request hangup all")


def rung(phones):
    return {extension: len(run.read_legs()) for extension, run in phones.items()}


# ------------------------------------------------------------------------------------------------- ring groups


def test_all_ring_and_the_first_who_answers_has_the_call(desk):
    with desk.phones(p1001={"ring_s": 30}, p1002={"ring_s": 0.5}) as phones:
        lived = desk.call("03010060")
        phones["1002"].wait_for("bye")
        phones["1001"].wait_for("cancelled")
        invited = next(event.detail for event in phones["1002"].read_legs()[0].events if event.word == "invited")
    assert lived.leg.is_answered
    assert lived.outcomes == ["tandem-enter,group,1(all,0,,no,,)"]
    assert '"Shop: ' in invited
    assert lived.reasons[-1] == "ring group all"


def test_hunt_rings_one_after_the_other(desk):
    with desk.phones(p1001={"ring_s": 30}, p1002={}) as phones:
        assert desk.call("03010061").leg.is_answered
        assert rung(phones) == {"1001": 1, "1002": 1}
        phones["1001"].wait_for("cancelled")


def test_memory_hunt_rings_one_more_each_time(desk):
    with desk.phones(p1001={"ring_s": 30}, p1002={"ring_s": 30}) as phones:
        assert desk.call("03010062").leg.is_answered
        phones["1001"].wait_for("cancelled", count=2)
        assert rung(phones) == {"1001": 2, "1002": 1}
    desk.wait_until_reached("203")


def test_random_rings_each_once_and_then_takes_the_fallback(desk):
    with desk.phones(p1001={"refuse": 486}, p1002={"refuse": 486}) as phones:
        desk.call("03010063")
        assert rung(phones) == {"1001": 1, "1002": 1}
    desk.wait_until_reached("204")


def test_first_available_rings_only_the_first_who_is_there_and_free(desk):
    with desk.phones(p1001={}, p1002={}) as phones:
        assert desk.call("03010064").leg.is_answered
        assert rung(phones) == {"1001": 0, "1002": 1}


def test_a_number_outside_takes_a_call_only_with_a_key(desk):
    """An answering machine answers at once and presses nothing: the phone inside rings on, and gets the call."""
    with desk.outside() as outside, desk.phones(p1004={"ring_s": 3}) as phones:
        lived = desk.call("03010065", Wait(1), HangUp())
        phones["1004"].wait_for("bye")
        outside.wait_for("answered")
    assert lived.leg.is_answered
    assert lived.leg.at_ms("answered") > 2500
    # Once the phone inside has the call, the machine is not asked again.
    assert desk.count_lines("[s@tandem-confirm:3] Read(") == 1


def test_members_who_do_not_want_to_be_disturbed_are_left_out(desk):
    desk.features("1001", {"do_not_disturb": True})
    with desk.phones(p1001={}, p1002={"refuse": 486}) as phones:
        desk.call("03010060")
        assert rung(phones) == {"1001": 0, "1002": 1}
    desk.wait_until_reached("201")


def test_a_member_that_forwards_is_rung_there(desk):
    desk.features("1001", {"forward_always": "1004"})
    with desk.phones(p1001={}, p1002={"ring_s": 30}, p1004={"ring_s": 0.5}) as phones:
        lived = desk.call("03010060")
        phones["1004"].wait_for("bye")
        assert rung(phones)["1001"] == 0
    assert lived.leg.is_answered


# ---------------------------------------------------------------------------------------------------- features


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


# --------------------------------------------------------------------------------------------------- endpoints


def test_all_devices_of_an_extension_ring(desk, pbx):
    for port in (5076, 5077):
        register_phones(pbx.asterisk, [("1008", SECRET)], host=HOST, port=port)
    with (
        run_phone(pbx.asterisk, host=HOST, port=5076, ring_s=30) as desk_phone,
        run_phone(pbx.asterisk, host=HOST, port=5077, ring_s=0.5) as mobile,
    ):
        assert desk.call("03011008").leg.is_answered
        desk_phone.wait_for("cancelled")
        mobile.wait_for("bye")


def test_a_ringing_call_is_picked_up_within_the_group_and_by_nobody_else(desk, pbx):
    # Asterisk itself takes *8 for the group's, unless its admin has told it another number (features.conf).
    for code in ("*8", "**1001"):
        with desk.phones(p1001={"ring_s": 30}) as phones, ThreadPoolExecutor(1) as pool:
            calling = pool.submit(desk.call, "03011001", Wait(1), HangUp())
            phones["1001"].wait_for("invited")
            desk.dial("1003", "**1001", heard=-1)  # of no group: told so
            desk.dial("1002", code, heard=-1)
            assert calling.result().leg.is_answered
            phones["1001"].wait_for("cancelled")


def test_a_phone_with_a_limit_is_busy_for_one_call_more_and_its_calls_are_recorded(desk, pbx):
    before = desk.count_recordings()
    with desk.phones(p1010={}) as phones, ThreadPoolExecutor(1) as pool:
        first = pool.submit(desk.observer.call, "03011010", Speak(3), HangUp())
        phones["1010"].wait_for("answered")
        assert desk.observer.call("03011010/second", Wait(0.1), HangUp(), has_cdr=False).leg.refusal == 486
        first.result()
        assert rung(phones) == {"1010": 1}
    desk.wait_for_recording(before)


def test_what_is_shown_outside_and_to_those_who_are_called_for_help(desk, pbx):
    with desk.outside(steps=[Wait(0.3), HangUp()]) as outside:
        for number in ("03055501", "112"):
            desk.dial("1013", number, heard=-1)
        told = [event.detail for leg in outside.read_legs() for event in leg.events if event.word == "invited"]
    assert [re.search(r"sip:([^@]+)@", detail)[1] for detail in told] == ["+493010099", "+493010098"]


def test_a_browser_and_an_encrypted_phone_are_there_with_their_settings(pbx):
    def shown(extension):
        lines = pbx.asterisk.cli(f"pjsip show endpoint {extension}").splitlines()
        return {name.strip(): value.strip() for name, _, value in (line.partition(" : ") for line in lines)}

    browser = shown("1011")
    wanted = {
        "webrtc": "yes", "media_encryption": "dtls", "dtls_setup": "actpass", "dtls_verify": "Fingerprint", "ice_support": "true", "rtcp_mux": "true",
        "use_avpf": "true", "dtls_auto_generate_cert": "Yes", "allow": "(opus|alaw)", "moh_suggest": "quiet",
    }  # fmt: skip
    assert {name: browser[name] for name in wanted} == wanted
    encrypted = shown("1012")
    wanted = {
        "media_encryption": "sdes",
        "rtp_symmetric": "false",
        "force_rport": "false",
        "rewrite_contact": "false",
        "dtmf_mode": "info",
    }
    assert {name: encrypted[name] for name in wanted} == wanted
    assert shown("1001")["named_pickup_group"] == "office"
    assert shown("1010")["device_state_busy_at"] == "1"


def open_door_of_browsers(asterisk):
    """What the manual tells an admin to do."""
    files = write_certificate(asterisk.etc, CERTIFIED)
    asterisk.write_config(
        "http.conf",
        f"[general]\ntlsenable = yes\ntlsbindaddr = 0.0.0.0:8089\ntlscertfile = {files.certificate}\ntlsprivatekey = {files.key}\n",
    )
    asterisk.write_config("rtp.conf", "[general]\nrtpstart = 10000\nrtpend = 19999\nstrictrtp = no\n")
    for module in ("http", "res_rtp_asterisk.so"):
        asterisk.reload(module)


def test_a_browser_calls_and_is_called_over_an_encrypted_line(desk, pbx):
    (told,) = (one for one in pbx.ask("check") if one["what"] == "browsers")
    assert told["found"] == "1 endpoints, wss://127.0.0.1:8089/ws takes them in"
    files = find_certificate(pbx.asterisk.etc, CERTIFIED)
    with Browser(pbx.asterisk, "1011", SECRET, name=files.name, port=8089, trust=files.make_trust()) as browser:
        assert browser.register() == 200
        call = browser.call("*43")  # says back what it hears
        call.await_loud(25)
        call.hang_up()
        with ThreadPoolExecutor(1) as pool:
            said = pool.submit(desk.call, "03011011", Wait(0.5), Speak(2.0), HangUp())
            call = browser.take_call()
            call.await_loud(25)
            call.await_bye()
            assert said.result().leg.is_answered
        assert call.media.profile == PROFILE


# ---------------------------------------------------------------------------------------------------- meetings


def count_members(pbx, room):
    """(members, moderators among them)."""
    lines = [line for line in pbx.asterisk.cli(f"confbridge list {room}").splitlines() if line.startswith("PJSIP/")]
    return len(lines), sum(" A" in line[len(line.split()[0]) :][:45] for line in lines)


def test_callers_and_phones_meet_in_a_conference(desk, pbx):
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(desk.observer.call, "03010070", AwaitBye(60))
        wait_until(lambda: count_members(pbx, "open")[0] == 1, "one member")
        with dial_from_phone(pbx.asterisk, ("1003", SECRET), "640", host=HOST):
            wait_until(lambda: count_members(pbx, "open")[0] == 2, "two members")
            pbx.asterisk.cli("confbridge kick open all")
            assert one.result().leg.ended_by == "them"


def test_a_pin_keeps_strangers_out_and_tells_moderators(desk, pbx):
    with ThreadPoolExecutor(3) as pool:
        wrong = pool.submit(
            desk.observer.call,
            "03010071/wrong",
            Wait(1),
            Press("1111#"),
            Wait(4),
            Press("2222#"),
            Wait(4),
            Press("3#"),
            AwaitBye(60),
        )
        guest = pool.submit(desk.observer.call, "03010071/guest", Wait(1), Press("4711#"), AwaitBye(60))
        moderator = pool.submit(desk.observer.call, "03010071/moderator", Wait(1), Press("0815#"), Wait(8), HangUp())
        wait_until(lambda: count_members(pbx, "shut")[0] == 2, "guest and moderator", timeout_s=30)
        assert moderator.result().leg.is_answered
        # The last moderator has left, so everybody has.
        assert guest.result().leg.ended_by == "them"
        assert wrong.result().leg.ended_by == "them"
    desk.wait_for_line("Playing 'conf-invalidpin", "PJSIP/carrier-")


def test_a_parked_call_is_fetched_from_another_phone(desk, pbx):
    # SIPp takes the OPTIONS by which a phone is seen for its one call: so it is seen before.
    with desk.phones(p1001={}):
        pass
    parking = {"is_attended": False, "host": HOST, "port": PORTS["1001"]}
    with ThreadPoolExecutor(1) as pool:
        with run_transfer(pbx.asterisk, ("1001", SECRET), "700", **parking) as parker:
            calling = pool.submit(desk.call, "03011001", AwaitBye(60))
            parker.wait_for("referred", timeout_s=20)
            seen = "TANDEM_PARKED_701=PJSIP/carrier-"
            wait_until(lambda: seen in pbx.asterisk.cli("dialplan show globals"), "a parked call")
        desk.dial("1002", "702")  # nobody there: told so
        talk = [Wait(3), HangUp()]
        with dial_from_phone(pbx.asterisk, ("1002", SECRET), "701", steps=talk, host=HOST) as fetcher:
            fetcher.wait_for("answered")
            wait_until(lambda: re.search(" 2 +basic", pbx.asterisk.cli("bridge show all")), "both in one bridge")
            assert fetcher.wait(timeout_s=30).legs[0].ended_by == "us"
            assert calling.result().leg.ended_by == "them"
        assert seen not in pbx.asterisk.cli("dialplan show globals")


def test_paged_phones_and_an_intercom_answer_by_themselves(desk, pbx):
    with desk.phones(p1002={}, p1003={}) as phones:
        desk.features("1003", {"do_not_disturb": True})
        with dial_from_phone(pbx.asterisk, ("1001", SECRET), "650", host=HOST):
            phones["1002"].wait_for("answered")
            assert rung(phones) == {"1002": 1, "1003": 0}
            pbx.asterisk.cli("channel request hangup all")
            phones["1002"].wait_for("bye")
        with dial_from_phone(pbx.asterisk, ("1001", SECRET), "*601002", host=HOST):
            phones["1002"].wait_for("answered", count=2)
            pbx.asterisk.cli("channel request hangup all")
    assert pbx.asterisk.read_log().count("Alert-Info") >= 2


def test_the_echo_test_is_heard(desk, pbx):
    with (
        RtpSink(pbx.asterisk, HOST) as sink,
        dial_from_phone(pbx.asterisk, ("1001", SECRET), "*43", host=HOST, media_port=sink.port),
    ):
        wait_until(lambda: sum(sink.count_packets().values()) > 25, "the announcement")
        pbx.asterisk.cli("channel request hangup all")


def test_somebody_is_found_by_name(desk, pbx):
    with desk.phones(p1002={"steps": [Wait(0.5), HangUp()]}) as phones:
        assert desk.call(
            "03010072", Wait(2), Press("764"), Wait(6), Press("1"), AwaitBye(15), answer_timeout_s=60
        ).leg.is_answered
        assert rung(phones) == {"1002": 1}


def test_a_message_is_counted_and_0_leads_to_the_operator(desk, pbx):
    before = desk.ask("GET", "/api/v1/monitoring/voicemail/1005")
    desk.call("03010073", Wait(1), Press("#"), Wait(1.5), Speak(4), HangUp())
    path = "/api/v1/monitoring/voicemail/1005"
    desk.wait_for(path, lambda now: now["new"] == before["new"] + 1)
    desk.ask("GET", "/api/v1/monitoring/voicemail/4444", status=404)
    desk.call("03010073", Wait(1), Press("0"), Wait(4), HangUp())
    desk.wait_until_reached("207")
    box = "/api/v1/voicemail/1005/messages"
    message = desk.ask("GET", box)["items"][0]
    assert (message["folder"], message["duration_s"] >= 2) == ("INBOX", True)
    whole = desk.ask("GET", f"{box}/{message['id']}/audio")
    assert whole[:4] == b"RIFF"
    assert len(whole) == message["bytes"]
    assert desk.ask("GET", f"{box}/{message['id']}/download", status=206, Range="bytes=4-99") == whole[4:100]
    desk.ask("DELETE", f"{box}/{message['id']}", status=204)
    desk.ask("DELETE", f"{box}/{message['id']}", status=404)
    desk.wait_for(path, lambda now: now["new"] == before["new"])


def test_a_greeting_is_heard_from_the_upload_on_until_it_is_deleted(desk, tmp_path):
    path = "/api/v1/voicemail/1005/greetings"
    assert desk.ask("GET", path)["total"] == 0
    desk.ask("PUT", f"{path}/unavail", b"no audio", 422, Content_Type="audio/wav")
    tone = write_tone(tmp_path / "tone.wav", 1.0, rate=44100, channels=2).read_bytes()
    desk.ask("PUT", f"{path}/mine", tone, 404, Content_Type="audio/wav")
    greeting = desk.ask("PUT", f"{path}/unavail", tone, Content_Type="audio/wav")
    assert greeting["duration_s"] == pytest.approx(1.0, abs=0.05)
    assert desk.ask("GET", path)["items"] == [greeting]
    assert len(desk.ask("GET", f"{path}/unavail/audio")) == greeting["bytes"]
    desk.call("03010073", Wait(3), HangUp())
    desk.wait_for_line("Playing '", "/voicemail/tandem/1005/unavail.")
    assert desk.count_lines("Playing 'vm-theperson") == 0
    desk.ask("DELETE", f"{path}/unavail", status=204)
    desk.ask("DELETE", f"{path}/unavail", status=404)
    desk.call("03010073", Wait(3), HangUp())
    desk.wait_for_line("Playing 'vm-theperson")
    assert [one["target"] for one in desk.ask("GET", "/api/v1/audit?limit=2")["items"]] == [
        "voicemail/1005/greetings/unavail"
    ] * 2


# ------------------------------------------------------------------------------------------------------ queues


def test_who_waits_hears_announcements_and_leaves_by_the_key_and_by_no_other(desk, pbx):
    """The member does not answer, so it pauses in all of its queues; the call is recorded from the first."""
    before = desk.count_recordings()
    with desk.phones(p1004={"ring_s": 30}) as phones:
        # app_queue hears of a phone's state later than `pjsip show contacts` shows it.
        shown = re.compile(r"PJSIP/1004\b.*\(Not in use\)")
        wait_until(lambda: shown.search(pbx.asterisk.cli("queue show shop")), "the queue's member is free")
        desk.call("03010074", Speak(7), Press("5"), Wait(1), Press("9"), Wait(1.5), HangUp())
        phones["1004"].wait_for("cancelled")
    desk.wait_until_reached("208")
    desk.wait_for_line("Playing 'beep.", "PJSIP/carrier-")
    desk.wait_for_line("Executing [9@tandem-queue-exit-9:1]")
    members = desk.ask("GET", "/api/v1/monitoring/agents")["items"]
    assert [(row["queue"], row["is_paused"]) for row in members] == [("shop", True)]
    desk.wait_for_recording(before)
