"""The static dialplan in a real Asterisk, without Tandem: every kind of destination, every way Tandem can fail, every hostile string."""

import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from lab.sipp import AwaitBye, Caller, HangUp, Leg, Speak, Step, Wait, place_calls, run_phone
from tandem.asterisk.instance import AsteriskInstance
from tandem.domain import dialplan as names
from tandem.domain.entities import Pbx
from tandem.domain.last_known import last_known_entries
from tandem.domain.snapshot import build_snapshot

DIALPLAN = Path(__file__).parents[2] / "dialplan"
AGI_PORT = 4573
GUARD_S = 4.0
CARRIER, RAW_CARRIER, PHONE_1001, PHONE_1003 = "127.0.0.2", "127.0.0.6", "127.0.0.3", "127.0.0.4"
OUTSIDE, EMERGENCY = "127.0.0.5", "127.0.0.7"

PBX: dict[str, Any] = {
    "general": {
        "country": "DE",
        "time_zone": "Europe/Berlin",
        "blocked_callers": ["+49900*", "+49151234"],
        "allowed_contexts": ["own"],
        "outbound_trunk": "outside",
    },
    "trunks": [
        {"name": "carrier", "hosts": [CARRIER], "numbers": "national"},
        {"name": "raw-carrier", "hosts": [RAW_CARRIER]},
        {"name": "outside", "hosts": [OUTSIDE]},
        {"name": "emergency", "hosts": [EMERGENCY]},
    ],
    "endpoints": [
        {"extension": "1001", "secret": "swordfish1", "ring_time_s": 5, "permissions": ["internal", "national"]},
        {"extension": "1002", "secret": "swordfish2", "voicemail": "1002"},
        {"extension": "1003", "secret": "swordfish3", "voicemail": "1002"},
        {"extension": "1004", "secret": "swordfish4"},
        {"extension": "1005", "secret": "swordfish5", "ring_time_s": 5},
    ],
    "voicemail_boxes": [{"mailbox": "1002", "pin": "4711"}],
    "schedules": [
        {"name": "always", "hours": [{"days": "mon-sun", "start": "00:00", "end": "24:00"}]},
        {"name": "never"},
        {
            "name": "holiday",
            "hours": [{"days": "mon-sun", "start": "00:00", "end": "24:00"}],
            "holidays": [(datetime.now(UTC) + timedelta(days=days)).strftime("%m-%d") for days in (-1, 0, 1)],
        },
    ],
    "announcements": [
        {"name": "closed", "prompts": ["beep", "no/such/sound", "beep"], "then": {"dialplan": "own,501"}},
        {"name": "queue", "prompts": ["beep"], "then": {"queue": "sales"}},
    ],
    "menus": [
        {
            "name": "main",
            "extension": "4000",
            "prompts": ["hello"],
            "options": {"1": {"queue": "sales"}},
            "invalid": {"hangup": "normal"},
            "timeout": {"hangup": "normal"},
            "fallback": {"dialplan": "own,502"},
        }
    ],
    "queues": [
        {
            "name": "sales",
            "priority": 3,
            "max_wait_s": 5,
            "join_when_empty": True,
            "leave_when_empty": False,
            "timeout": {"dialplan": "own,503"},
            "fallback": {"dialplan": "own,504"},
        },
        {"name": "empty", "fallback": {"dialplan": "own,505"}, "join_empty": {"queue": "empty2"}},
        {"name": "empty2", "fallback": {"queue": "empty"}},
        {"name": "shut", "schedule": "never", "closed": {"dialplan": "own,506"}, "fallback": {"hangup": "normal"}},
    ],
    "dids": [
        {"number": f"+4930100{number}", "destination": destination, **more}
        for number, destination, more in (
            ("01", {"endpoint": "1001"}, {"recording": "yes", "language": "de"}),
            ("02", {"queue": "sales"}, {"recording": "until-queue", "priority": 7}),
            ("03", {"menu": "main"}, {}),
            ("04", {"voicemail": "1002", "instructions": False}, {}),
            ("05", {"dialplan": "own,500"}, {"recording": "until-queue"}),
            ("06", {"external": "+4989111"}, {}),
            ("07", {"announcement": "closed"}, {}),
            ("08", {"hangup": "busy"}, {}),
            ("09", {"schedule": "always", "open": {"dialplan": "own,507"}, "closed": {"hangup": "busy"}}, {}),
            ("10", {"schedule": "never", "open": {"hangup": "busy"}, "closed": {"dialplan": "own,508"}}, {}),
            ("11", {"schedule": "holiday", "open": {"hangup": "busy"}, "closed": {"dialplan": "own,509"}}, {}),
            ("12", {"did": "+493010005"}, {}),
            ("13", {"endpoint": "1002"}, {}),
            ("14", {"endpoint": "1004"}, {}),
            ("15", {"queue": "shut"}, {}),
            ("16", {"queue": "empty"}, {}),
            ("17", {"dialplan": "own,510"}, {"blocked_callers": ["+49666*", "+4977"]}),
            ("18", {"dialplan": "own,510"}, {"active": False}),
            ("19", {"announcement": "queue"}, {"recording": "until-queue"}),
            ("20", {"endpoint": "1005"}, {}),
        )
    ]
    + [
        {"number": "+4930200*", "destination": {"dialplan": "own,520"}, "blocked_callers": ["+49666*"]},
        {"number": "+493020011*", "destination": {"dialplan": "own,521"}},
        {"number": "+493020011", "destination": {"dialplan": "own,522"}},
        {"number": "_49[45]0XX", "destination": {"dialplan": "own,523"}, "blocked_callers": ["+49666"]},
        {"number": "_49[45]0.", "destination": {"dialplan": "own,524"}},
        {"number": "+49404", "destination": {"dialplan": "own,525"}},
        {"number": "default", "destination": {"dialplan": "own,599"}, "blocked_callers": ["+49777"]},
    ],
}

# Where the admin's own dialplan would be: each number answers and stays on the line.
OWN = """
[own]
exten => _5XX,1,Answer(1)
 same => n,Wait(30)
"""

GLOBALS = """[globals]
TANDEM_AGI = agi://127.0.0.1:4573
TANDEM_RECORDINGS = {folder}/recordings
TANDEM_LANGUAGE = en
TANDEM_EMERGENCY = 112|911|[*]110
TANDEM_EMERGENCY_TRUNK = emergency
TANDEM_OUTBOUND_TRUNK = outside
TANDEM_INTERNATIONAL_PREFIX = 00
TANDEM_COUNTRY_CODE = 49
TANDEM_VOICEMAIL = *97
TANDEM_AGENT_LOGIN = *45
TANDEM_AGENT_PAUSE = *46
"""


def pjsip_endpoint(name: str, host: str, context: str, contact: str = "", more: str = "") -> str:
    return f"""
[{name}](endpoint)
context = {context}
aors = {name}
{more}
[{name}]
type = aor
{f"contact = {contact}" if contact else "max_contacts = 2"}
[{name}-identify]
type = identify
endpoint = {name}
match = {host}
"""


PJSIP = """[transport]
type = transport
protocol = udp
bind = 127.0.0.1:5060
[endpoint](!)
type = endpoint
disallow = all
allow = alaw
trust_id_inbound = yes
direct_media = no
""" + "".join(
    (
        pjsip_endpoint("carrier", CARRIER, "tandem-from-trunk"),
        pjsip_endpoint("raw-carrier", RAW_CARRIER, "tandem-from-trunk"),
        pjsip_endpoint("outside", OUTSIDE, "tandem-from-trunk", f"sip:{OUTSIDE}:5060"),
        pjsip_endpoint("emergency", EMERGENCY, "tandem-from-trunk", f"sip:{EMERGENCY}:5060"),
        pjsip_endpoint(
            "1001",
            PHONE_1001,
            "tandem-from-endpoint",
            f"sip:1001@{PHONE_1001}:5060",
            "set_var = TANDEM_PERMISSIONS=internal-national",
        ),
        pjsip_endpoint("1002", "127.0.0.8", "tandem-from-endpoint"),
        pjsip_endpoint("1004", "127.0.0.9", "tandem-from-endpoint"),
        pjsip_endpoint("1003", PHONE_1003, "tandem-from-endpoint"),
        # What a phone could have registered: all of these signs are allowed in a contact (RFC 3261, user-unreserved).
        pjsip_endpoint("1005", "127.0.0.10", "tandem-from-endpoint", "sip:x&PJSIP/outside/sip:0900@127.0.0.10:5060"),
    )
)
QUEUES = """[general]
autofill = yes
[sales]
joinempty = yes
leavewhenempty = no
[empty]
joinempty = no
[empty2]
joinempty = no
[shut]
"""
VOICEMAIL = "[general]\nformat = wav\nmaxsilence = 0\n[tandem]\n1002 => 4711,Ann\n"


@dataclass
class Story:
    """What the dialplan did with one call: (extension@context, application, its data), in order."""

    steps: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def places(self) -> list[str]:
        return [place for place, _, _ in self.steps]

    @property
    def reached(self) -> str:
        """The extension of the context `own` that the call came to; '' for none."""
        return next((place.removesuffix("@own") for place in self.places if place.endswith("@own")), "")

    def data(self, application: str) -> list[str]:
        return [data for _, name, data in self.steps if name == application]


STEP = re.compile(r'\[(C-[0-9a-f]+)\] pbx\.c: Executing \[(.*?):\d+\] (\w+)\(".*?", "(.*)"\)')


class Pbx22:
    """The Asterisk under test."""

    def __init__(self, asterisk: AsteriskInstance) -> None:
        self.asterisk = asterisk

    def put(self, path: str, value: str) -> None:
        family, key = path.split("/", 1)
        self.asterisk.cli(f'database put {family} {key} "{value}"')

    def call(
        self,
        *callers: Caller | str,
        host: str = CARRIER,
        steps: Sequence[Step] = (Wait(0.3), HangUp()),
        headers: Sequence[str] = (),
        answer_timeout_s: float = 20,
    ) -> tuple[tuple[Leg, ...], list[Story]]:
        """Legs and stories of calls, in the order in which they came in."""
        mark = len(self.asterisk.read_log())
        callers = tuple(Caller(caller) if isinstance(caller, str) else caller for caller in callers)
        run = place_calls(
            self.asterisk,
            callers,
            rate=50,
            host=host,
            steps=steps,
            headers=headers,
            answer_timeout_s=answer_timeout_s,
        )
        legs = run.wait().legs
        # Or the end of this call would be read as the beginning of the next.
        wait_until(lambda: "0 active channels" in self.asterisk.cli("core show channels count"), 3)
        stories: dict[str, Story] = {}
        for call, place, application, data in STEP.findall(self.asterisk.read_log()[mark:]):
            stories.setdefault(call, Story()).steps.append((place, application, data))
        return legs, list(stories.values())

    def ask_ami(self, action: str, **headers: str) -> str:
        """The answer to one action."""
        user, secret = next(iter(self.asterisk.ami_secrets.items()))
        logins = {"Username": user, "Secret": secret, "Events": "off"}
        with self.asterisk.connect_ami() as connection, connection.makefile("rwb") as stream:
            for name, fields in (("Login", logins), (action, headers)):
                lines = (f"{key}: {value}\r\n" for key, value in {"Action": name, **fields}.items())
                stream.write("".join(lines).encode() + b"\r\n")
                stream.flush()
                answer = b"".join(iter(stream.readline, b"\r\n"))
        return answer.decode()

    def call_one(self, caller: Caller | str, **options: Any) -> tuple[Leg, Story]:
        (leg,), (story,) = self.call(caller, **options)
        return leg, story


@pytest.fixture(scope="module")
def pbx(asterisk_factory) -> Pbx22:
    # No module state: the folder of the recordings is only known once the instance is there.
    asterisk = asterisk_factory(config={"pjsip.conf": PJSIP, "queues.conf": QUEUES, "voicemail.conf": VOICEMAIL})
    static = "".join((DIALPLAN / name).read_text() for name in sorted(path.name for path in DIALPLAN.glob("*.conf")))
    asterisk.write_config("extensions.conf", GLOBALS.format(folder=asterisk.folder) + static + OWN)
    assert "Dialplan reloaded" in asterisk.reload("dialplan")
    pbx = Pbx22(asterisk)
    snapshot = build_snapshot(1, TypeAdapter(Pbx).validate_python(PBX))
    for (family, key), value in last_known_entries(snapshot, datetime.now(UTC).date()).items():
        pbx.put(f"{family}/{key}", value)
    return pbx


# ------------------------------------------------------------------------------- without Tandem: each kind


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
    assert story.data("Dial") == ["PJSIP/1001,5,"]
    assert "CHANNEL(language)=de" in " ".join(story.data("ExecIf"))
    (recording,) = story.data("MixMonitor")
    assert recording.startswith(f"{pbx.asterisk.folder}/recordings/")
    wait_until(lambda: Path(recording).exists() and Path(recording).stat().st_size > 44)


@pytest.mark.asterisk
def test_a_phone_cannot_name_a_second_channel_in_its_contact(pbx: Pbx22) -> None:
    mark = len(pbx.asterisk.read_log())
    leg, story = pbx.call_one("03010020")
    assert not leg.is_answered
    assert story.data("Dial") == ["PJSIP/1005,5,"]
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
    assert story.data("Dial") == ["PJSIP/+4989111@outside,120,"]


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
    assert story.data("Queue") == ["sales,,,,5"]
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


# ------------------------------------------------------------------------------------- how Tandem can fail


class AgiServer:
    """The other end of AGI(), as bad as a test wants it: `answers[script]` are the commands it sends; then it closes, or stays."""

    def __init__(self, listener: socket.socket, answers: dict[str, list[str]], *, stays: bool) -> None:
        self.environments: list[list[str]] = []
        self.results: list[str] = []
        self._listener = listener
        self._answers = answers
        self._stays = stays
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        lines = [line.decode().rstrip("\n") for line in iter(reader.readline, b"\n")]
        self.environments.append(lines)
        script = next(line for line in lines if line.startswith("agi_network_script: ")).split(": ")[1]
        for command in self._answers.get(script, []):
            connection.sendall(command.encode() + b"\n")
            self.results.append(reader.readline().decode().strip())
        if self._stays:
            self._held.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for connection in self._held:
            connection.close()


@contextmanager
def agi(pbx: Pbx22, answers: dict[str, list[str]] | None = None, *, stays: bool = False) -> Iterator[AgiServer]:
    server = AgiServer(pbx.asterisk.listen("127.0.0.1", AGI_PORT), answers or {}, stays=stays)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def frozen_agi(pbx: Pbx22) -> Iterator[None]:
    """The kernel accepts, nobody ever reads: a process under SIGSTOP."""
    listener = pbx.asterisk.listen("127.0.0.1", AGI_PORT)
    try:
        yield
    finally:
        listener.close()


@pytest.mark.asterisk
def test_a_decision_is_one_jump_and_no_timer_is_left_over(pbx: Pbx22) -> None:
    decision = 'EXEC Gosub "tandem-enter,dialplan,1(500,0,de,,own,+4930777)"'
    with agi(pbx, {"did": [decision]}) as server:
        leg, story = pbx.call_one("03010001", steps=(Wait(GUARD_S + 1.5), HangUp()))
    assert server.results == ["200 result=0"]
    assert (story.reached, leg.ended_by) == ("500", "us")
    assert leg.talk_s > GUARD_S + 1
    assert not [place for place in story.places if place.startswith("T@")]
    assert leg.at_ms("ringing") is not None


@pytest.mark.asterisk
def test_a_frozen_tandem_costs_the_guard_and_no_more(pbx: Pbx22) -> None:
    with frozen_agi(pbx):
        leg, story = pbx.call_one("03010003", steps=(Wait(1), HangUp()))
    assert story.reached == "502"  # not asked about the menu again
    assert GUARD_S - 0.5 < (leg.at_ms("answered") - leg.at_ms("ringing")) / 1000 < GUARD_S + 1
    assert leg.ended_by == "us"


@pytest.mark.asterisk
def test_a_tandem_that_freezes_after_its_decision_costs_no_call(pbx: Pbx22) -> None:
    decision = "EXEC Gosub tandem-enter,queue,1(sales,0,,,,)"
    with agi(pbx, {"did": [decision]}, stays=True):
        leg, story = pbx.call_one("03010005")
    assert (story.reached, leg.ended_by) == ("500", "us")


@pytest.mark.asterisk
@pytest.mark.parametrize(
    "answers",
    [
        {},  # closes without a word
        {"did": ["VERBOSE hello 1"]},  # dies between two commands
        {"did": ["EXEC Gosub tandem-enter,ghost,1(x)"]},  # a target that is missing
        {"did": ["EXEC Gosub tandem-ghost,x,1(x)"]},
        {"did": ["nonsense"]},
    ],
)
def test_a_tandem_that_does_not_decide_is_passed_by_at_once(pbx: Pbx22, answers: dict[str, list[str]]) -> None:
    with agi(pbx, answers):
        leg, story = pbx.call_one("03010005")
    assert (story.reached, leg.ended_by) == ("500", "us")


@pytest.mark.asterisk
def test_a_caller_who_hangs_up_while_tandem_is_frozen_is_gone(pbx: Pbx22) -> None:
    with frozen_agi(pbx):
        leg, story = pbx.call_one("03010005", answer_timeout_s=0.7)
        assert len(story.data("AGI")) == 1  # and h did not ask again
    assert not leg.is_answered
    assert leg.at_ms("ringing") is not None


@pytest.mark.asterisk
def test_a_menu_whose_tandem_freezes_goes_to_its_fallback(pbx: Pbx22) -> None:
    with agi(pbx, {"did": ["EXEC Gosub tandem-enter,menu,1(main,0,,,,)"]}) as server:
        assert pbx.call_one("03010005")[1].reached == "502"
    assert [lines[1] for lines in server.environments] == ["agi_network_script: did", "agi_network_script: menu"]
    assert "agi_arg_1: main" in server.environments[1]


@pytest.mark.asterisk
def test_after_a_queue_tandem_is_asked_and_without_it_the_queue_knows(pbx: Pbx22) -> None:
    with agi(pbx, {"did": ["EXEC Gosub tandem-enter,queue,1(sales,0,,,,)"]}) as server:
        leg, story = pbx.call_one("03010005", steps=(Wait(6), HangUp()))
    assert [line for line in server.environments[1] if line.startswith("agi_arg")] == [
        "agi_arg_1: sales",
        "agi_arg_2: TIMEOUT",
    ]
    assert (story.reached, leg.ended_by) == ("503", "us")
    assert len(story.data("StackPop")) == 2  # a frame for each jump would pile up


# ------------------------------------------------------------------------------------------ hostile strings

HOSTILE = [
    "%0d%0aagi_network_script%3a%20outbound",
    "%0d%0a%0d%0aEvent%3a%20OriginateResponse%0d%0aActionID%3a%201",
    "%22%5d%24%5b1%2f0%5d",
    "%24%7bSHELL(touch%20/tmp/pwned)%7d",
    "%24%7bGLOBAL(TANDEM_AGI)%7d",
    "%22%20%3d%20%22%22%20%7c%20%221",
    "%2c1)%26PJSIP%2f1001",
    "9" * 200,
]


@pytest.mark.asterisk
@pytest.mark.parametrize("where", ["called", "caller", "diversion"])
def test_hostile_numbers_reach_tandem_clean_and_change_no_route(pbx: Pbx22, where: str) -> None:
    called = [f"0302009{hostile}" if where == "called" else "0302009" for hostile in HOSTILE]
    callers = [f"555{hostile}" if where == "caller" else "+49301" for hostile in HOSTILE]
    diversion = "Diversion: <sip:5[field3]@127.0.0.2>;reason=unconditional"
    with agi(pbx) as server:
        for number, caller, hostile in zip(called, callers, HOSTILE, strict=True):
            headers = [diversion.replace("[field3]", hostile)] if where == "diversion" else []
            leg, story = pbx.call_one(Caller(number, caller), headers=headers, steps=(HangUp(),))
            assert (story.reached, leg.is_answered) == ("520", True), hostile
    assert len(server.environments) == len(HOSTILE)
    for environment in server.environments:
        keys = [line.partition(": ")[0] for line in environment]
        assert len(keys) == len(set(keys))
        assert all(re.fullmatch("agi_[a-z_0-9]+", key) for key in keys)
        values = dict(line.partition(": ")[::2] for line in environment)
        assert values["agi_network_script"] == "did"
        for key in ("agi_extension", "agi_callerid", "agi_dnid", "agi_rdnis"):
            assert re.fullmatch(r"[0-9A-Za-z+*#@._-]{1,40}", values[key])


@pytest.mark.asterisk
def test_hostile_names_reach_tandem_clean(pbx: Pbx22) -> None:
    with agi(pbx) as server:
        _, story = pbx.call_one(Caller("0302009", "+49301", name="${SHELL(x)} $[1/0] é"))
    assert "agi_calleridname: ${SHELL(x)} $[1/0] é" in server.environments[0]
    assert story.reached == "520"


@pytest.mark.asterisk
@pytest.mark.parametrize("called", ["h", "i", "t", "e", "T", "o", "a", "*55", "%23", "%0d%0a"])
def test_special_extensions_cannot_be_called(pbx: Pbx22, called: str) -> None:
    legs, stories = pbx.call(called, answer_timeout_s=2)
    assert not legs[0].is_answered
    assert not [story.reached for story in stories if story.reached]


# -------------------------------------------------------------------------------------- calls from our phones


@pytest.mark.asterisk
def test_emergency_calls_pass_a_frozen_tandem_and_have_a_second_trunk(pbx: Pbx22) -> None:
    with frozen_agi(pbx):
        with run_phone(pbx.asterisk, host=EMERGENCY, port=5060) as desk:
            leg, story = pbx.call_one("112", host=PHONE_1003)  # a phone without any permission
            desk.wait_for("answered")
        assert leg.is_answered
        assert story.data("AGI") == []
        assert story.data("ExecIf")[0] == "1?Dial(PJSIP/112@emergency)"
        assert leg.at_ms("answered") < 2000
        with (
            run_phone(pbx.asterisk, host=EMERGENCY, port=5060, refuse=503),
            run_phone(pbx.asterisk, host=OUTSIDE, port=5060) as second,
        ):
            leg, _ = pbx.call_one("*110", host=PHONE_1003)
            second.wait_for("answered")
        assert leg.is_answered


@pytest.mark.asterisk
def test_what_a_phone_may_dial_outside(pbx: Pbx22) -> None:
    numbers = ("0301", "+49301", "0049301")
    with run_phone(pbx.asterisk, host=OUTSIDE, port=5060) as outside:
        legs, stories = pbx.call(*numbers, host=PHONE_1001, steps=(Wait(0.5), HangUp()))
        assert len(outside.wait_for("bye", count=3)) == 3
    assert sorted(dial for story in stories for dial in story.data("Dial")) == sorted(
        f"PJSIP/{number}@outside,120," for number in numbers
    )
    assert all(leg.is_answered for leg in legs)


@pytest.mark.asterisk
def test_what_a_phone_may_not_dial(pbx: Pbx22) -> None:
    # A phone without any permission at the same time: the prompts take their time.
    with place_calls(pbx.asterisk, [Caller("0301"), Caller("1001"), Caller("4000")], host=PHONE_1003) as without:
        legs, stories = pbx.call("+44301", "0044301", "*72", "0301%0d%0ax", host=PHONE_1001)
        assert sorted(leg.refusal for leg in legs) == [403, 403, 404, 404]
        assert [leg.refusal for leg in without.wait().legs] == [403, 403, 403]
    assert len(stories) == 7
    assert not [dial for story in stories for dial in story.data("Dial")]


@pytest.mark.asterisk
@pytest.mark.parametrize(
    ("called", "outcome"),
    [("4000", ""), ("1002", "VoiceMail"), ("*97", "VoiceMailMain")],
)
def test_what_a_phone_dials_inside(pbx: Pbx22, called: str, outcome: str) -> None:
    leg, story = pbx.call_one(called, host=PHONE_1001, steps=(Wait(1), HangUp()))
    assert leg.is_answered
    assert story.data(outcome) if outcome else story.reached == "502"


# ---------------------------------------------------------------------------------------------- both sides


@pytest.mark.asterisk
@pytest.mark.parametrize(
    ("called", "step"),
    [
        ("4000", ("Gosub", "tandem-enter,menu,1(main,0,,,,)")),
        ("08005551", ("Dial", "PJSIP/08005551@outside,120,")),
        ("0014155550100", ("GotoIf", "0?external:refused")),  # where 1001 may not dial, it may send nobody
    ],
)
def test_a_phone_hands_a_caller_on_as_far_as_it_may_dial_itself(pbx: Pbx22, called: str, step: tuple[str, str]) -> None:
    """A blind transfer runs on the caller's channel, which has no permissions of its own."""
    with run_phone(pbx.asterisk, host=PHONE_1001, port=5060) as phone, ThreadPoolExecutor(1) as pool:
        calling = pool.submit(pbx.call_one, "03010001", steps=(Wait(3), HangUp()))
        phone.wait_for("answered")
        (channel,) = re.findall(r"(?m)^PJSIP/1001-[0-9a-f]+", pbx.asterisk.cli("core show channels concise"))
        assert "Response: Success" in pbx.ask_ami(
            "BlindTransfer", Channel=channel, Context="tandem-from-endpoint", Exten=called
        )
        _, story = calling.result()
    where = story.places.index(f"{called}@tandem-from-endpoint")
    assert step in [(name, data) for _, name, data in story.steps[where:]]


def read_dialplan() -> str:
    return "\n".join(
        line for path in sorted(DIALPLAN.glob("*.conf")) for line in path.read_text().splitlines() if line[:1] != ";"
    )


def test_the_dialplan_and_tandem_know_the_same_names() -> None:
    text = read_dialplan()
    contexts = set(re.findall(r"^\[(.+)\]$", text, re.MULTILINE))
    families = set(re.findall(r"DB(?:_EXISTS)?\((tandem-[a-z]+)/", text))
    variables = set(re.findall(r"TANDEM_[A-Z_]+", text))
    set_here = set(re.findall(r"Set\((TANDEM_[A-Z_]+)=", text))
    constants = {name: value for name, value in vars(names).items() if isinstance(value, str)}
    assert {value for name, value in constants.items() if name.startswith("CONTEXT_")} <= contexts
    assert families == set(names.FAMILIES)
    assert {value for name, value in constants.items() if name.startswith("VARIABLE_")} <= variables
    shared = {value for name, value in constants.items() if name.startswith("GLOBAL_")}
    assert shared <= variables
    # Set by confgen for an endpoint, and by Originate.
    from_outside = {names.VARIABLE_PERMISSIONS, names.VARIABLE_JUMP, names.VARIABLE_QUEUE_FIRST}
    from_outside |= {names.VARIABLE_SORRY, names.VARIABLE_DIAL_OPTIONS, names.VARIABLE_RECORDING_LEGS}
    assert variables - set_here == shared | from_outside


def test_every_kind_of_jump_has_its_extension() -> None:
    text = read_dialplan()
    enter = text[text.index("[tandem-enter]") : text.index("[tandem-prepare]")]
    do = text[text.index("[tandem-do]") : text.index("[tandem-unanswered]")]
    kinds = set(get_args(names.JumpKind))
    for part in (enter, do):
        assert set(re.findall(r"^exten => ([a-z]{2,}),1,", part, re.MULTILINE)) == kinds


def test_every_goto_in_the_dialplan_leads_somewhere() -> None:
    text = read_dialplan()
    extensions = set()
    context = ""
    for line in text.splitlines():
        if found := re.match(r"\[(.+)\]$", line):
            context = found[1]
        elif found := re.match(r"exten => ([^,]+),", line):
            extensions.add((context, found[1]))
    targets = set(re.findall(r"[(?:](tandem-[a-z-]+),([a-zA-Z]+),", text))
    assert len(targets) > 10
    for context, extension in targets:
        known = {name for place, name in extensions if place == context}
        assert known & {extension, "_[a-z].", "_[+0-9a-zA-Z]!"}, f"{context},{extension}"


def wait_until(is_true: Any, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
