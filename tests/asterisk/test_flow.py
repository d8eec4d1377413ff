"""The whole of it: a real Asterisk, the real `tandem serve`, SIPp as carrier and phones; what callers live through and what Tandem tells."""

import hashlib
import re
import wave
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from confgen.generations import linked_generation, read_generation, switch_link, write_generation
from lab.demo import Teller, run_demo
from lab.observe import Lived, Observer, wait_until
from lab.pbx import LabPbx
from lab.sipp import Caller, HangUp, Press, SippRun, Speak, Wait, place_calls, register_phones, run_phone
from tandem.domain.hangup_causes import HANGUP_CAUSE_BY_NAME

pytestmark = pytest.mark.asterisk

OUTSIDE = "127.0.0.5"
PHONE_PORT, BUSY_PORT = 5070, 5080
SECRET = "swordfish-of-the-lab"

# Whoever reaches 2XX is answered and stays on the line.
ADMIN_DIALPLAN = "exten => _2XX,1,Answer(,i)\n same => n,Wait(60)\n same => n,Hangup()\n"

DOCUMENT = f"""
general:
  country: DE
  outbound_trunk: outside
  allowed_contexts: [from-admin]
  blocked_callers: ["+49666*"]
trunks:
  - {{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}}
  - {{name: outside, hosts: ["{OUTSIDE}:5060"], match: ["{OUTSIDE}"]}}
endpoints:
  - {{extension: 1001, secret: {SECRET}, voicemail: 1001, ring_time_s: 5}}
  - {{extension: 1002, secret: {SECRET}}}
  - {{extension: 1003, secret: {SECRET}, voicemail: 1001}}
  - {{extension: 1004, secret: {SECRET}, voicemail: 1001}}
voicemail_boxes: [{{mailbox: 1001, pin: 4711}}, {{mailbox: 1009, pin: 4711}}]
schedules:
  - {{name: always, hours: [{{days: mon-sun, start: "00:00", end: "24:00"}}]}}
  - {{name: never}}
announcements:
  - {{name: notice, prompts: [beep, no/such/sound, beep], then: {{dialplan: "from-admin,202"}}}}
menus:
  - name: main
    prompts: [beep, demo-congrats]
    options:
      1: {{dialplan: "from-admin,211"}}
      12: {{dialplan: "from-admin,212"}}
      "*": {{dialplan: "from-admin,213"}}
      "#": {{dialplan: "from-admin,214"}}
      2: {{queue: sales}}
      3: {{menu: patient}}
    direct_dial: yes
    inter_digit_timeout_s: 1
    invalid_retries: 1
    invalid_prompts: [beeperr]
    invalid: {{dialplan: "from-admin,215"}}
    timeout: {{dialplan: "from-admin,216"}}
    fallback: {{dialplan: "from-admin,217"}}
  - name: patient
    prompts: [no/such/sound, beep, vm-press]
    options: {{1: {{dialplan: "from-admin,221"}}}}
    barge_in: no
    timeout_s: 1
    timeout_retries: 1
    timeout_prompts: [beeperr]
    invalid: {{dialplan: "from-admin,222"}}
    timeout: {{dialplan: "from-admin,223"}}
    fallback: {{dialplan: "from-admin,224"}}
queues:
  - {{name: sales, members: [{{endpoint: 1002}}], fallback: {{dialplan: "from-admin,231"}}}}
  - {{name: empty, join_empty: {{dialplan: "from-admin,232"}}, fallback: {{hangup: failure}}}}
  - {{name: shut, schedule: never, closed: {{dialplan: "from-admin,233"}}, fallback: {{hangup: failure}}, join_when_empty: yes}}
  - {{name: narrow, max_callers: 1, max_wait_s: 5, join_when_empty: yes, leave_when_empty: no,
     full: {{dialplan: "from-admin,234"}}, timeout: {{dialplan: "from-admin,235"}}, fallback: {{hangup: failure}}}}
dids:
  - {{number: "+493010001", destination: {{dialplan: "from-admin,201"}}}}
  - {{number: "+493010002", destination: {{did: "+493010001"}}}}
  - {{number: "+493010003", destination: {{announcement: notice}}}}
  - {{number: "+493010004", destination: {{schedule: always, open: {{dialplan: "from-admin,203"}}, closed: {{hangup: failure}}}}}}
  - {{number: "+493010005", destination: {{schedule: never, open: {{hangup: failure}}, closed: {{dialplan: "from-admin,204"}}}}}}
  - {{number: "+493010006", destination: {{external: "+4989111"}}}}
  - {{number: "+493010007", destination: {{endpoint: 1001}}, caller_id_cleanup: R5, language: de, recording: "yes"}}
  - {{number: "+493010008", destination: {{endpoint: 1004}}}}
  - {{number: "+493010009", destination: {{endpoint: 1003}}}}
  - {{number: "+493010010", destination: {{voicemail: 1009}}}}
  - {{number: "+493010011", destination: {{voicemail: 1009, instructions: no}}}}
  - {{number: "+493010012", destination: {{queue: sales}}}}
  - {{number: "+493010013", destination: {{menu: main}}}}
  - {{number: "+493010014", destination: {{menu: patient}}, language: de, recording: "yes"}}
  - {{number: "+493010015", destination: {{menu: main}}, recording: until-queue}}
  - {{number: "+493010016", destination: {{queue: empty}}}}
  - {{number: "+493010017", destination: {{queue: shut}}}}
  - {{number: "+493010018", destination: {{queue: narrow}}}}
  - {{number: "+493010019", destination: {{dialplan: "from-admin,201"}}, active: no}}
  - {{number: "+493010020", destination: {{dialplan: "from-admin,201"}}, anonymous: {{dialplan: "from-admin,242"}},
     caller_routes: [{{callers: ["+4917055501"], destination: {{dialplan: "from-admin,241"}}}}, {{callers: ["+4917055*"], destination: {{hangup: busy}}}}]}}
  - {{number: "+493010021", destination: {{dialplan: "from-admin,201"}}, allowed_callers: ["+4917055*"]}}
  - {{number: "+493010022", destination: {{dialplan: "from-admin,201"}}, blocked_callers: ["+4917055*"]}}
  - {{number: default, destination: {{dialplan: "from-admin,299"}}}}
""" + "".join(
    f'  - {{number: "+4930200{cause}", destination: {{hangup: {name}}}}}\n'
    for name, cause in HANGUP_CAUSE_BY_NAME.items()
)


@pytest.fixture(scope="module")
def pbx(asterisk_install: Any) -> Iterator[LabPbx]:
    with LabPbx(asterisk_install, DOCUMENT, {"recordings.format": "wav"}, admin_dialplan=ADMIN_DIALPLAN) as pbx:
        pbx.serve()
        yield pbx


@pytest.fixture(scope="module")
def observer(pbx: LabPbx) -> Observer:
    return Observer(pbx)


@pytest.fixture(scope="module")
def phone(pbx: LabPbx) -> Iterator[SippRun]:
    """1001 and 1002, who answer."""
    register_phones(pbx.asterisk, [("1001", SECRET), ("1002", SECRET)], port=PHONE_PORT)
    with run_phone(pbx.asterisk, port=PHONE_PORT) as phone:
        yield phone


@contextmanager
def changed(pbx: LabPbx, old: str, new: str) -> Iterator[None]:
    """The document with one change, for a while."""
    assert old in DOCUMENT
    pbx.import_document(DOCUMENT.replace(old, new))
    try:
        yield
    finally:
        pbx.import_document(DOCUMENT)


def read_sound(path: Path) -> tuple[float, int]:
    """Length in seconds and loudest sample of a WAV file."""
    with wave.open(str(path)) as sound:
        samples = array("h", sound.readframes(sound.getnframes()))
        return sound.getnframes() / sound.getframerate(), max(map(abs, samples), default=0)


def find_recordings(pbx: LabPbx, lived: Lived) -> list[Path]:
    """Those that Tandem has taken over."""
    return list((pbx.folder / "recordings").rglob(f"{lived.story['uniqueid']}-*-mixed.wav"))


def wait_for_recording(pbx: LabPbx, lived: Lived) -> Path:
    return wait_until(lambda: find_recordings(pbx, lived), "a recording")[0]


def list_steps(lived: Lived, pbx: LabPbx) -> list[str]:
    """Applications and sounds of a call's channel in the order in which they are in the log."""
    channel = lived.story["decisions"][0]["channel"]
    log = [line for line in pbx.asterisk.read_log().splitlines() if channel in line]
    return [line for line in log if "Executing" in line or "Playing" in line]


# ----------------------------------------------------------------------------------------------- the demo


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


# -------------------------------------------------------------------------------------------------- menus


def test_keys_in_a_menu(observer: Observer) -> None:
    """All callers at the same time. Each key cuts a prompt of half a minute short, or none of them would get there."""

    def press(*keys: str) -> tuple[Any, ...]:
        return (*(step for key in keys for step in (Wait(1), Press(key))), Wait(2.2), HangUp())

    wanted = {
        "03010013/one": (press("1"), "211", "pressed 1"),
        "03010013/two": (press("12"), "212", "pressed 12"),
        "03010013/star": (press("*"), "213", "pressed *"),
        "03010013/hash": (press("#"), "214", "pressed #"),
        "03010013/wrong": (press("7", "9"), "215", "pressed 9, which is no option (2 of 2)"),
        "03010013/wrong, then right": (press("7", "*"), "213", "pressed *"),
        # No barge-in: Asterisk drops a key that comes during a prompt. One of the prompts is missing.
        "03010014/patient": ((Wait(0.1), Press("9"), Wait(1.3), Press("1"), Wait(2), HangUp()), "221", "pressed 1"),
        "03010014/silent": ((Wait(8), HangUp()), "223", "nothing pressed (2 of 2)"),
    }
    lived = observer.call_all({called: steps for called, (steps, _, _) in wanted.items()})
    assert {called: one.reached for called, one in lived.items()} == {
        called: exten for called, (_, exten, _) in wanted.items()
    }
    for called, (_, _, reason) in wanted.items():
        assert reason in lived[called].reasons
        assert lived[called].leg.ended_by == "us"
    assert "prompt no/such/sound cannot be played" in lived["03010014/silent"].reasons
    assert {language for _, language in lived["03010014/silent"].sounds} == {"de"}
    assert [sound for sound, _ in lived["03010014/silent"].sounds] == [
        "beep",
        "vm-press",
        "beeperr",
        "beep",
        "vm-press",
    ]
    assert ("beeperr", "en") in lived["03010013/wrong"].sounds


def test_a_menu_takes_the_number_of_a_phone(observer: Observer, phone: SippRun) -> None:
    before = len(phone.read_legs())
    lived = observer.call("03010013", Wait(1), Press("1001"), Wait(1.5), HangUp())
    phone.wait_for("bye", count=before + 1)
    assert "dialled 1001" in lived.reasons
    assert lived.data("Dial")


def test_a_recording_begins_before_the_menu_is_heard(observer: Observer) -> None:
    lived = observer.call("03010014", Wait(1.5), HangUp())
    steps = list_steps(lived, observer.pbx)
    begins = next(index for index, line in enumerate(steps) if "MixMonitor(" in line)
    first = next(index for index, line in enumerate(steps) if "Playing" in line)
    assert begins < first
    length_s, loudest = read_sound(wait_for_recording(observer.pbx, lived))
    assert length_s > 1
    assert loudest > 1000  # the prompt
    assert lived.outcomes[0].startswith("caller hung up")


def test_a_recording_until_the_queue_ends_there(observer: Observer, phone: SippRun) -> None:
    before = len(phone.read_legs())
    lived = observer.call("03010015", Wait(1.5), Press("2"), Wait(4), HangUp())
    phone.wait_for("bye", count=before + 1)
    length_s, loudest = read_sound(wait_for_recording(observer.pbx, lived))
    assert 1 < length_s < 3.5
    assert loudest > 1000
    assert "1?StopMixMonitor()" in lived.data("ExecIf")
    assert lived.leg.talk_s is not None
    assert lived.leg.talk_s > 5


def test_a_caller_who_hangs_up_at_any_time_in_a_menu_leaves_nothing_behind(observer: Observer) -> None:
    """While the first prompt starts, in the middle of one, after a key, between two digits, during a wait, in the second menu."""
    cases = {
        "03010013/at once": (HangUp(),),
        "03010013/in a prompt": (Wait(0.8), HangUp()),
        "03010013/after a key": (Wait(0.5), Press("7"), HangUp()),
        "03010013/between digits": (Wait(0.5), Press("1"), Wait(0.3), HangUp()),
        "03010013/second menu": (Wait(0.5), Press("3"), Wait(0.4), HangUp()),
        "03010014/waiting": (Wait(2.6), HangUp()),
    }
    lived = observer.call_all(cases)
    assert all(one.outcomes == ["caller hung up (cut short)"] for one in lived.values()), lived
    assert not any(one.reached for one in lived.values())
    observer.wait_until_idle()
    assert "error" not in observer.pbx.read_log().lower()


# ------------------------------------------------------------------------------------- import while serving


def fingerprint(pbx: LabPbx) -> dict[str, tuple[int, str]]:
    """Of every file of ours that an import could write: when it was written, and its content. Recordings of calls before are converted in their own time."""
    config = pbx.asterisk.etc / "tandem"
    files = [path for folder in (config, pbx.folder) for path in folder.rglob("*") if path.is_file()]
    others = (".log", ".yaml", "-shm", "-wal")
    ours = [path for path in files if not path.name.endswith(others) and "recordings" not in path.parts]
    assert any(path.name == "pjsip.conf" for path in ours)
    assert any(path.name == "tandem.db" for path in ours)
    return {str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in ours}


def read_revisions(pbx: LabPbx) -> str:
    return next(finding["found"] for finding in pbx.ask("check") if finding["what"] == "database")


def test_a_changed_document_is_live_at_once(observer: Observer) -> None:
    pbx = observer.pbx
    assert observer.call("03010099").reached == "299"
    new = '  - {number: "+493010099", destination: {dialplan: "from-admin,240"}}\n'
    with changed(pbx, "dids:\n", f"dids:\n{new}"):
        assert observer.call("03010099").reached == "240"
        wait_until(
            lambda: "from-admin" in pbx.asterisk.cli("database get tandem-did 493010099"), "the new route in AstDB"
        )
    assert observer.call("03010099").reached == "299"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{menu: main}", "{menu: mian}", "mian"),
        ("{queue: empty}", "{queue: empty, extra: 1}", "extra"),
        ("general:\n", "general: [\n", "is no YAML"),
        ("{hangup: busy}", '{did: "+4930200999"}', "+4930200999"),
    ],
)
def test_a_broken_document_changes_nothing(observer: Observer, old: str, new: str, problem: str) -> None:
    pbx = observer.pbx
    before, revisions, mark = fingerprint(pbx), read_revisions(pbx), len(pbx.asterisk.read_log())
    path = pbx.folder / "broken.yaml"
    assert old in DOCUMENT
    path.write_text(DOCUMENT.replace(old, new).replace("from-admin,201", "from-admin,250"))
    done = pbx.tandem("import", str(path), check=False)
    assert done.returncode == 2
    assert problem in done.stdout + done.stderr
    assert "Nothing was changed" in done.stdout + done.stderr
    assert fingerprint(pbx) == before
    assert read_revisions(pbx) == revisions
    assert "eload" not in pbx.asterisk.read_log()[mark:]
    assert observer.call("03010001").reached == "201"


def test_an_import_of_what_is_there_touches_nothing(observer: Observer) -> None:
    pbx = observer.pbx
    exported = pbx.tandem("export").stdout
    before, revisions, mark = fingerprint(pbx), read_revisions(pbx), len(pbx.asterisk.read_log())
    path = pbx.folder / "again.yaml"
    path.write_text(exported)
    assert "Nothing differs" in pbx.tandem("import", str(path)).stdout
    assert fingerprint(pbx) == before
    assert read_revisions(pbx) == revisions
    assert "eload" not in pbx.asterisk.read_log()[mark:]
    assert pbx.tandem("export").stdout == exported


def test_a_pause_and_its_reason_survive_a_reload_of_queues(pbx: LabPbx, phone: SippRun) -> None:
    cli = pbx.asterisk.cli
    cli("queue pause member PJSIP/1002 queue sales reason lunch")
    assert "paused:lunch" in cli("queue show sales")
    with changed(
        pbx,
        "{name: sales, members: [{endpoint: 1002}]",
        "{name: sales, strategy: ringall, members: [{endpoint: 1002}, {endpoint: 1001}]",
    ):
        shown = cli("queue show sales")
        assert "'ringall' strategy" in shown
        assert "paused:lunch" in shown
        assert "PJSIP/1001" in shown
    shown = cli("queue show sales")
    assert "'rrmemory' strategy" in shown
    assert "PJSIP/1001" not in shown
    assert "paused:lunch" in shown
    cli("queue unpause member PJSIP/1002 queue sales")


# ----------------------------------------------------------------------------------- restarts, and what is lost


def is_ready(pbx: LabPbx) -> bool:
    return pbx.tandem("check", check=False).returncode == 0


def test_an_asterisk_that_lost_everything_gets_it_back(observer: Observer) -> None:
    """AstDB emptied of our routes and the queue of its members, then a restart: a new login, and both are there again."""
    pbx = observer.pbx
    cli = pbx.asterisk.cli
    for family in ("tandem-did", "tandem-meta", "tandem-menu"):
        cli(f"database deltree {family}")
    cli("queue remove member PJSIP/1002 from sales")
    pbx.asterisk.restart()
    wait_until(lambda: is_ready(pbx), "ready after the restart of Asterisk", timeout_s=20, every_s=0.2)
    assert "tandem-enter,dialplan,1(201" in cli("database get tandem-did 493010001")
    assert "from-admin" in cli("database get tandem-meta default")
    wait_until(lambda: "PJSIP/1002" in cli("queue show sales"), "the member is back")
    assert observer.call("03010001").reached == "201"


def install_older_dialplan(pbx: LabPbx) -> None:
    """As if the version before had written the files: one context has a line that it does not have now."""
    folder = pbx.asterisk.etc / "tandem"
    name = linked_generation(folder, "current")
    assert name is not None
    files = dict(read_generation(folder, name).files)
    files["tandem-enter.conf"] += "[of-the-version-before]\nexten => s,1,NoOp()\n"
    older = write_generation(folder, 1, files)
    for link in ("current", "live"):
        switch_link(folder, link, older)
    pbx.asterisk.reload("dialplan")
    assert has_older_dialplan(pbx)


def has_older_dialplan(pbx: LabPbx) -> bool:
    return "[ Context 'of-the-version-before'" in pbx.asterisk.cli("dialplan show of-the-version-before")


def test_a_restart_of_tandem_brings_its_dialplan_routes_and_members(observer: Observer) -> None:
    pbx = observer.pbx
    pbx.asterisk.cli("database put tandem-did 493010001 tandem-enter,hangup,1(38,0,,,,)")
    pbx.kill()
    install_older_dialplan(pbx)
    pbx.asterisk.cli("queue remove member PJSIP/1002 from sales")
    pbx.serve()
    wait_until(lambda: not has_older_dialplan(pbx), "the dialplan of this version")
    assert "dialplan,1(201" in pbx.asterisk.cli("database get tandem-did 493010001")
    wait_until(lambda: "PJSIP/1002" in pbx.asterisk.cli("queue show sales"), "the member is back")
    assert observer.call("03010001").reached == "201"


def test_without_its_database_tandem_still_decides_and_says_so(observer: Observer) -> None:
    pbx = observer.pbx
    pbx.kill()
    away = pbx.folder / "away"
    away.mkdir()
    for path in pbx.folder.glob("tandem.db*"):
        path.rename(away / path.name)

    def decides(checked: Any) -> bool:
        return '"what":"FastAGI","well":true' in checked.stdout.replace(" ", "").replace("\n", "")

    try:
        pbx.serve(decides)
        lived = observer.call("03010001")
        assert (lived.reached, len(lived.outcomes)) == ("201", 1)
        checked = pbx.tandem("check", check=False)
        assert checked.returncode == 1
        assert "routing without database" in checked.stdout
        assert str(pbx.folder / "tandem.db") in checked.stdout
        assert not (pbx.folder / "tandem.db").exists()
    finally:
        pbx.kill()
        for path in away.iterdir():
            path.rename(pbx.folder / path.name)
        away.rmdir()
        pbx.serve()


def test_without_manager_interface_calls_are_decided_all_the_same(observer: Observer) -> None:
    pbx = observer.pbx
    manager = pbx.asterisk.etc / "manager.conf"
    text = manager.read_text()
    calls = dict.fromkeys(("03010001", "03010016"), (Wait(0.3), HangUp()))
    try:
        manager.write_text(text.replace("enabled = yes", "enabled = no", 1))
        pbx.asterisk.restart()
        wait_until(lambda: not is_ready(pbx), "check says that AMI is gone")
        run = place_calls(
            pbx.asterisk, [Caller(called, f"03077{called[-2:]}") for called in calls], steps=[Wait(0.5), HangUp()]
        )
        with run:
            legs = run.wait().legs
        assert [leg.ended_by for leg in legs] == ["us", "us"]
        stories = {story["decisions"][0]["called"]: story for story in pbx.ask("calls", "--limit", "10")}
        assert stories["03010001"]["decisions"][0]["outcome"].startswith("tandem-enter,dialplan,1(201")
    finally:
        manager.write_text(text)
        pbx.asterisk.restart()
        wait_until(lambda: is_ready(pbx), "ready again", timeout_s=30, every_s=0.2)
    # By the facts, or while they are unknown yet by app_queue itself.
    assert observer.call("03010016", Wait(1.2), HangUp()).reached == "232"
