"""An Asterisk with our static dialplan, an admin's own beside it, and no Tandem; places calls and tells what the dialplan did with them."""

import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lab.sipp import Caller, HangUp, Leg, Step, Wait, place_calls
from tandem.asterisk.instance import AsteriskInstance

DIALPLAN = Path(__file__).parents[3] / "dialplan"
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

# Where the admin's own dialplan would be: each number answers and stays on the line; R and a number ask which country it is of.
OWN = """
[own]
exten => _5XX,1,Answer(1)
 same => n,Wait(30)
exten => _R.,1,Gosub(tandem-region,${EXTEN:1},1)
 same => n,NoOp(${EXTEN:1} is ${GOSUB_RETVAL}.)
"""

GLOBALS = """[globals]
TANDEM_AGI = agi://127.0.0.1:4573
TANDEM_RECORDINGS = {folder}/recordings
TANDEM_LANGUAGE = en
TANDEM_EMERGENCY = 112|911|[*]110
TANDEM_EMERGENCY_TRUNK = emergency
TANDEM_OUTBOUND_TRUNK = outside
TANDEM_INTERNATIONAL_PREFIX = 00
TANDEM_COUNTRY = DE
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


def wait_until(is_true: Any, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
