"""Without Tandem every kind of call reaches its last known destination, and none is lost."""

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.sipp import AwaitBye, Caller, HangUp, Speak, Wait, run_phone
from tests.asterisk.dialplan.bare import OUTSIDE, PHONE_1001, RAW_CARRIER, Pbx22, wait_until

LAST_KNOWN = {
    "03010005": "500",  # dialplan
    "+493010005": "500",
    "00493010005": "500",
    "03010012": "500",  # what another DID does
    "03010003": "502",  # a menu: its fallback, without asking anybody
    "03010009": "507",  # open
    "03010010": "508",  # closed
    "03010011": "509",  # a holiday
    "03010015": "506",  # a queue out of hours
    "030200": "520",  # a prefix that is the whole number
    "0302009": "520",
    "030200112": "521",  # the longer prefix
    "03020011": "522",  # exact before prefix
    "04012": "523",  # pattern: the narrower one first
    "040123": "524",
    "0404": "525",  # exact before pattern
    "0999": "599",  # default
    "s": "599",  # no number at all
    "7": "599",
}


@pytest.mark.asterisk
def test_without_tandem_every_number_reaches_its_last_known_destination(pbx: Pbx22) -> None:
    legs, stories = pbx.call(*LAST_KNOWN)
    assert {story.places[0].split("@")[0]: story.reached for story in stories} == LAST_KNOWN
    assert {(leg.is_answered, leg.ended_by) for leg in legs} == {(True, "us")}


@pytest.mark.asterisk
def test_numbers_of_a_trunk_that_sends_them_as_they_are(pbx: Pbx22) -> None:
    assert pbx.call_one("493010005", host=RAW_CARRIER)[1].reached == "500"
    assert pbx.call_one("03010005", host=RAW_CARRIER)[1].reached == "599"


@pytest.mark.asterisk
def test_a_phone_rings_and_is_recorded(pbx: Pbx22) -> None:
    with run_phone(pbx.asterisk, host=PHONE_1001, port=5060) as phone:
        leg, story = pbx.call_one("03010001", steps=(Speak(0.8), HangUp()))
        assert leg.is_answered
        assert phone.wait_for("bye")
    assert story.data("Dial") == ["PJSIP/1001,5,i"]
    assert "CHANNEL(language)=de" in " ".join(story.data("ExecIf"))
    (recording,) = story.data("MixMonitor")
    assert recording.startswith(f"{pbx.asterisk.folder}/recordings/")
    wait_until(lambda: Path(recording).exists() and Path(recording).stat().st_size > 44)


@pytest.mark.asterisk
def test_a_phone_cannot_name_a_second_channel_in_its_contact(pbx: Pbx22) -> None:
    mark = len(pbx.asterisk.read_log())
    leg, story = pbx.call_one("03010020")
    assert not leg.is_answered
    assert story.data("Dial") == ["PJSIP/1005,5,i"]
    assert re.findall("Called (.*)", pbx.asterisk.read_log()[mark:]) == ["PJSIP/1005"]


@pytest.mark.asterisk
def test_a_busy_phone_without_a_box_is_busy(pbx: Pbx22) -> None:
    with run_phone(pbx.asterisk, host=PHONE_1001, port=5060, refuse=486):
        leg, _ = pbx.call_one("03010001")
    assert leg.refusal == 486


@pytest.mark.asterisk
def test_an_unregistered_phone_goes_to_its_box_and_without_one_is_unavailable(pbx: Pbx22) -> None:
    leg, story = pbx.call_one("03010013", steps=(Wait(1), HangUp()))
    assert leg.is_answered
    assert story.data("VoiceMail") == ["1002@tandem,u"]
    leg, _ = pbx.call_one("03010014")
    assert leg.refusal == 480


@pytest.mark.asterisk
def test_voicemail_with_and_without_instructions(pbx: Pbx22) -> None:
    leg, story = pbx.call_one("03010004", steps=(Wait(1), HangUp()))
    assert leg.is_answered
    assert story.data("VoiceMail") == ["1002@tandem,us"]


@pytest.mark.asterisk
def test_an_external_number_goes_out_over_the_trunk(pbx: Pbx22) -> None:
    with run_phone(pbx.asterisk, host=OUTSIDE, port=5060) as outside:
        leg, story = pbx.call_one("03010006")
        assert outside.wait_for("answered")
    assert leg.is_answered
    assert story.data("Dial") == ["PJSIP/+4989111@outside,120,i"]


@pytest.mark.asterisk
def test_an_announcement_is_heard_to_its_end_although_a_file_is_missing(pbx: Pbx22) -> None:
    leg, story = pbx.call_one("03010007", steps=(Wait(2), HangUp()))
    assert story.data("Playback") == ["beep", "no/such/sound", "beep"]
    assert story.reached == "501"
    assert leg.is_answered


@pytest.mark.asterisk
def test_hang_ups_have_their_cause(pbx: Pbx22) -> None:
    assert pbx.call_one("03010008")[0].refusal == 486
    assert pbx.call_one("03010018")[0].refusal == 404  # inactive


@pytest.mark.asterisk
def test_a_queue_with_its_priority_and_what_comes_after_it(pbx: Pbx22) -> None:
    leg, story = pbx.call_one("03010002", steps=(Wait(6), HangUp()))
    assert story.data("Queue") == ["sales,i,,,5,,,,"]
    assert "QUEUE_PRIO=7" in story.data("Set")
    assert story.data("MixMonitor") == []  # until-queue
    assert story.reached == "503"
    assert leg.ended_by == "us"


@pytest.mark.asterisk
def test_a_recording_until_the_queue_ends_there(pbx: Pbx22) -> None:
    _, story = pbx.call_one("03010019", steps=(Wait(1.8), HangUp()))
    applications = [name for _, name, data in story.steps if data != "0?StopMixMonitor()"]
    assert applications.index("MixMonitor") < applications.index("Playback") < applications.index("Queue")
    assert "1?StopMixMonitor()" in story.data("ExecIf")


@pytest.mark.asterisk
def test_queues_that_lead_to_each_other_end(pbx: Pbx22) -> None:
    leg, story = pbx.call_one("03010016", steps=(AwaitBye(20),))
    assert 20 < len(story.data("Queue")) <= 50
    assert story.data("Playback") == ["ss-noservice,noanswer"]
    assert leg.ended_by == "them"


# ------------------------------------------------------------------------------------------ nothing is lost


MISSING = [
    "tandem-enter,endpoint,1(1999,0,,,,)",
    "tandem-enter,queue,1(ghost,0,,,,)",
    "tandem-enter,menu,1(ghost,0,,,,)",
    "tandem-enter,voicemail,1(9999,0,,,,)",
    "tandem-enter,dialplan,1(777,0,,,own,)",
    "tandem-enter,dialplan,1(777,0,,,ghost,)",
    "tandem-enter,external,1(+4989,0,,,ghost,)",
    "tandem-enter,announcement,1(ghost,0,,,,)",
    "tandem-enter,branch,1(ghost,0,,,,)",
    "tandem-enter,ghost,1(x,0,,,,)",
    "ghost,s,1",
    "garbage",
]


@pytest.mark.asterisk
def test_missing_objects_take_calls_to_the_default_did(pbx: Pbx22) -> None:
    for index, jump in enumerate(MISSING, 10):
        pbx.put(f"tandem-did/493012{index}", jump)
    legs, stories = pbx.call(*(f"03012{index}" for index in range(10, 10 + len(MISSING))))
    assert [story.reached for story in stories] == ["599"] * len(MISSING)
    assert all(leg.is_answered for leg in legs)


@pytest.mark.asterisk
def test_without_any_route_the_caller_is_told(pbx: Pbx22) -> None:
    default = "tandem-enter,dialplan,1(599,0,,no,own,)"
    assert pbx.asterisk.cli("database get tandem-meta default").strip() == f"Value: {default}"
    pbx.put("tandem-meta/default", "tandem-enter,queue,1(ghost,0,,,,)")
    try:
        leg, story = pbx.call_one("0999")
    finally:
        pbx.put("tandem-meta/default", default)
    assert story.data("Playback") == ["ss-noservice,noanswer"]
    assert leg.refusal == 503
    assert leg.at_ms("progress") is not None


BLOCKED = [
    ("03010005", "+4990012345", True),  # everywhere, by prefix
    ("03010005", "090012345", True),  # as the carrier writes it
    ("03010005", "+49151234", True),
    ("03010005", "+491512345", False),
    ("03010017", "+4966612", True),  # of one DID
    ("03010017", "+4977", True),
    ("03010017", "+49778", False),
    ("03010005", "+4966612", False),
    ("0302009", "+4966612", True),  # of a prefix
    ("04012", "+49666", True),  # of a pattern
    ("0999", "+49777", True),  # of the default
    ("03010005", "anonymous", False),
]


@pytest.mark.asterisk
def test_blocked_callers_stay_blocked(pbx: Pbx22) -> None:
    legs, stories = pbx.call(*(Caller(called, caller) for called, caller, _ in BLOCKED))
    for (called, caller, is_blocked), leg, story in zip(BLOCKED, legs, stories, strict=True):
        case = f"{caller} calls {called}"
        assert story.places[0] == f"{called}@tandem-from-trunk"
        assert (leg.refusal == 403) == is_blocked, case
        assert leg.is_answered != is_blocked, case
        assert bool(story.reached) != is_blocked, case


@pytest.mark.asterisk
def test_iftime_has_time_zones_and_includes_its_last_minute(pbx: Pbx22) -> None:
    """What `iftime_spans` relies on."""

    def is_open(zone: str, first: timedelta, last: timedelta) -> bool:
        span = f"{now + first:%H:%M}-{now + last:%H:%M},*,*,*,{zone}"
        pbx.put("tandem-schedule/tested", "1")
        pbx.put("tandem-schedule/tested/1", span)
        return pbx.call_one("0301235")[1].reached == "507"

    pbx.put("tandem-branch/tested", "tested")
    pbx.put("tandem-branch/tested/open", "tandem-enter,dialplan,1(507,0,,,own,)")
    pbx.put("tandem-branch/tested/closed", "tandem-enter,dialplan,1(508,0,,,own,)")
    pbx.put("tandem-did/49301235", "tandem-enter,branch,1(tested,0,,,,)")
    if datetime.now(UTC).second > 50:  # all of this within one minute
        time.sleep(61 - datetime.now(UTC).second)
    now, minute, hour = datetime.now(UTC), timedelta(minutes=1), timedelta(hours=1)
    assert is_open("UTC", -5 * minute, 0 * minute)
    assert not is_open("UTC", -5 * minute, -minute)
    assert is_open("UTC", 0 * minute, 5 * minute)
    assert not is_open("UTC", minute, 5 * minute)
    assert not is_open("Asia/Kolkata", -5 * minute, 5 * minute)
    assert is_open("Asia/Kolkata", 5.5 * hour - minute, 5.5 * hour + minute)
