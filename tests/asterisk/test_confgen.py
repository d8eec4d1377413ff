"""Rendered files in the real Asterisk: it has what the model says, hostile values come back unchanged, and it has nothing to complain of."""

import contextlib
import re
import ssl
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from confgen.apply import apply_snapshot
from confgen.generations import switch_link, write_generation
from confgen.render import GUEST_FILES, OWNER_FILES, RenderTarget, Transport, render
from confgen.values import ValueUnrepresentable, escape_set_var
from lab.browser import Browser, open_media_address
from lab.certificates import write_certificate
from lab.secure_media import PROFILE
from lab.sipp import Caller, place_calls
from lab.web_socket import WebSocketFailed
from tandem.documents import read_pbx_files
from tandem.domain.destinations import HangupDestination
from tandem.domain.entities import Endpoint, General, Pbx, Queue, QueueMember, Trunk, VoicemailBox
from tandem.domain.snapshot import build_snapshot

pytestmark = pytest.mark.asterisk

CHECKOUT = Path(__file__).parents[2]
DIALPLAN = CHECKOUT / "dialplan"
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOTHING = HangupDestination()
BROWSER_SECRET = "correct-horse-battery"
# Lines of the log that speak of trouble, without time and thread.
TROUBLE = re.compile(r"(?:WARNING|ERROR)\[\d+\](?:\[[^]]*\])? (.*)")

PBX = Pbx(
    general=General(country="DE", language="de", time_zone="Europe/Berlin", outbound_trunk="carrier"),
    trunks=(
        Trunk(name="carrier", description="Main line", hosts=("127.0.0.2:5070", "127.0.0.4")),
        Trunk(
            name="backup",
            authentication="registration",
            hosts=("127.0.0.5",),
            match=("127.0.0.6:5071", "127.0.1.0/24"),
            username="user;x@y z",
            secret="cheese;and[wine",
        ),
    ),
    endpoints=(
        Endpoint(extension="1001", name="Ann", secret="correct-horse", voicemail="1001", codecs=("alaw", "g722")),
        Endpoint(extension="1002", secret="battery-staple", permissions=("internal", "national", "international")),
    ),
    voicemail_boxes=(
        VoicemailBox(mailbox="1001", name="Ann", pin="4711", email="ann@example.net"),
        VoicemailBox(mailbox="2000", pin="0815", time_zone="America/New_York"),
    ),
    queues=(
        Queue(name="sales", members=(QueueMember(endpoint="1001"),), fallback=NOTHING, max_callers=7),
        Queue(name="support", strategy="ringall", weight=3, fallback=NOTHING),
    ),
)


class Ami:
    """A blocking AMI login."""

    def __init__(self, instance, user="tandem-config"):
        self.socket = instance.connect_ami()
        self.file = self.socket.makefile("rwb")
        self.file.readline()
        login = {"Action": "Login", "Username": user, "Secret": instance.ami_secrets[user], "Events": "off"}
        assert self.ask(**login)[0]["Response"] == "Success"

    def ask(self, until=None, **headers):
        """The messages that answer, until an event of that name; header -> value (the last one)."""
        self.file.write("".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n")
        self.file.flush()
        messages = []
        while True:
            message = {}
            while line := self.file.readline().decode().rstrip("\r\n"):
                name, _, value = line.partition(": ")
                message[name] = value
            messages.append(message)
            if until is None or message.get("Event") == until or message.get("Response") == "Error":
                return messages

    def reload(self, module):
        assert self.ask(Action="Reload", Module=module)[0]["Response"] == "Success", module

    def close(self):
        self.file.close()
        self.socket.close()


def target_for(instance, mode, qualify_s=0, more_transports=()):
    return RenderTarget(
        mode=mode,
        agi_url="agi://127.0.0.1:4573",
        recordings_dir=str(instance.spool / "monitor"),
        dialplan_dir=str(DIALPLAN),
        transports=(Transport(name="udp", bind="127.0.0.1:5060"), *more_transports) if mode == "owner" else (),
        trunk_transport="udp",
        qualify_s=qualify_s,
    )


def including(mode):
    """The admin's files: in owner mode nothing but the #include, in guest mode something of his own before it."""
    names = OWNER_FILES if mode == "owner" else GUEST_FILES
    own = {
        "pjsip.conf": "[udp]\ntype = transport\nbind = 127.0.0.1:5060\n",
        "musiconhold.conf": "[default]\nmode = files\ndirectory = moh\n",
        "queues.conf": "[general]\nautofill = yes\n[ours]\nstrategy = ringall\n",
        "voicemail.conf": "[general]\nformat = wav\n[zonemessages]\nours = Europe/Paris|Q\n[default]\n77 => 1234,Admin\n",
        "extensions.conf": "[globals]\nOURS = 1\n[ours]\nexten => 1,1,NoOp()\n",
    }
    files = {
        name: (own.get(name, "") if mode == "guest" else "") + f"#tryinclude tandem/current/{name}\n" for name in names
    }
    if mode == "owner":
        files["pjsip.conf"] = f"#tryinclude tandem/current/{'pjsip_transport.conf'}\n" + files["pjsip.conf"]
        del files["pjsip_transport.conf"]
    return files


def start(factory, pbx, mode="owner", qualify_s=0):
    """An Asterisk that booted with these objects."""
    instance = factory(config=including(mode), shared=[DIALPLAN])
    instance.stop()
    (instance.log / "full").unlink()
    folder = instance.etc / "tandem"
    switch_link(
        folder,
        "current",
        write_generation(folder, 1, render(build_snapshot(1, pbx), target_for(instance, mode, qualify_s))),
    )
    instance.start()
    return instance


def troubles(instance):
    return {re.sub(r"0x[0-9a-f]+|\d{3,}", "N", found) for found in TROUBLE.findall(instance.read_log())}


@pytest.fixture(scope="module")
def baseline(asterisk_factory):
    """What Asterisk complains of without any file of ours."""
    return troubles(asterisk_factory())


@pytest.fixture(scope="module", params=["owner", "guest"])
def booted(asterisk_factory, request):
    return start(asterisk_factory, PBX, request.param)


@pytest.fixture
def ami(booted):
    connection = Ami(booted)
    yield connection
    connection.close()


def of_type(ami, kind, name):
    """The object's fields, as AMI tells them; PJSIPShowEndpoint tells all objects of an endpoint."""
    found = ami.ask(until="EndpointDetailComplete", Action="PJSIPShowEndpoint", Endpoint=name)
    return next(message for message in found if message.get("Event") == kind)


class TestModel:
    def test_nothing_to_complain_of(self, booted, baseline):
        assert troubles(booted) <= baseline

    def test_endpoints(self, booted, ami):
        shown = set(re.findall(r"^ Endpoint:  (\w+)(?:/\S+)?  ", booted.cli("pjsip show endpoints"), re.MULTILINE))
        assert shown == {"1001", "1002", "backup", "carrier"}
        one = of_type(ami, "EndpointDetail", "1001")
        assert one["Context"] == "tandem-from-endpoint"
        assert one["Callerid"] == '"Ann" <1001>'
        assert one["Allow"] == "(alaw|g722)"
        assert one["Language"] == "de"
        assert one["IdentifyBy"] == "username"
        assert one["SetVar"] == "TANDEM_PERMISSIONS=internal"
        assert (one["DirectMedia"], one["RtpSymmetric"], one["ForceRport"], one["RewriteContact"]) == (
            "false",
            "true",
            "true",
            "true",
        )
        assert one["TrustIdInbound"] == "false"
        assert of_type(ami, "AuthDetail", "1001")["Password"] == "correct-horse"
        aor = of_type(ami, "AorDetail", "1001")
        assert (aor["MaxContacts"], aor["RemoveExisting"], aor["Mailboxes"]) == ("1", "true", "1001@tandem")
        two = of_type(ami, "EndpointDetail", "1002")
        assert two["SetVar"] == "TANDEM_PERMISSIONS=internal-national-international"
        assert two["Callerid"] == "1002"

    def test_trunks(self, booted, ami):
        trunk = of_type(ami, "EndpointDetail", "carrier")
        assert (trunk["Context"], trunk["IdentifyBy"]) == ("tandem-from-trunk", "ip")
        assert trunk["Aors"] == "carrier,carrier.2"
        assert (trunk["Transport"], trunk["TrustIdInbound"], trunk["AllowTransfer"]) == ("udp", "true", "false")
        assert "carrier/sip:127.0.0.2:5070" in booted.cli("pjsip show contacts")
        assert "carrier.2/sip:127.0.0.4" in booted.cli("pjsip show contacts")
        assert set(re.findall(r"Match: (\S+)", booted.cli("pjsip show identify carrier"))) == {
            "127.0.0.2/32",
            "127.0.0.4/32",
        }
        assert set(re.findall(r"Match: (\S+)", booted.cli("pjsip show identify backup"))) == {
            "127.0.0.6:5071/32",
            "127.0.1.0/24",
        }
        auth = re.findall(r"^ (username|password) +: (.*?)\s*$", booted.cli("pjsip show auth backup"), re.MULTILINE)
        assert dict(auth) == {"username": "user;x@y z", "password": "cheese;and[wine"}
        registration = booted.cli("pjsip show registration backup")
        assert "sip:user%3Bx%40y%20z@127.0.0.5" in registration
        assert re.search(r"^ line +: true", registration, re.MULTILINE)

    def test_queues(self, booted, ami):
        found = ami.ask(until="QueueStatusComplete", Action="QueueStatus")
        queues = {message["Queue"]: message for message in found if message.get("Event") == "QueueParams"}
        assert set(queues) - {"ours"} == {"sales", "support"}
        assert (queues["sales"]["Max"], queues["sales"]["Strategy"]) == ("7", "rrmemory")
        assert (queues["support"]["Weight"], queues["support"]["Strategy"]) == ("3", "ringall")
        assert queues["sales"]["ServiceLevel"] == "20"

    def test_mailboxes(self, booted, ami):
        found = ami.ask(until="VoicemailUserEntryComplete", Action="VoicemailUsersList")
        boxes = {it["VoiceMailbox"]: it for it in found if it.get("VMContext") == "tandem"}
        assert set(boxes) == {"1001", "2000"}
        assert (boxes["1001"]["Fullname"], boxes["1001"]["Email"]) == ("Ann", "ann@example.net")
        assert boxes["1001"]["Language"] == "de"
        assert boxes["2000"]["TimeZone"] == "tandem-America/New_York"
        zones = booted.cli("voicemail show zones")
        assert "America/New_York" in zones
        assert "Europe/Berlin" in zones

    def test_dialplan(self, booted):
        shown = booted.cli("dialplan show globals")
        assert "TANDEM_AGI=agi://127.0.0.1:4573" in shown
        assert "TANDEM_COUNTRY_CODE=49" in shown
        assert "tandem-from-trunk" in booted.cli("dialplan show tandem-from-trunk")

    def test_what_the_admin_has_is_still_there(self, booted):
        if "ours" not in booted.cli("queue show"):
            assert "[ours]" not in (booted.etc / "queues.conf").read_text()
            return
        assert "OURS=1" in booted.cli("dialplan show globals")
        assert "Europe/Paris" in booted.cli("voicemail show zones")
        assert re.search(r"^default +77 ", booted.cli("voicemail show users"), re.MULTILINE)


@pytest.mark.parametrize("source", ["examples/pbx.yaml", "docs/objects.md"])
def test_the_examples_leave_nothing_to_complain_of(asterisk_factory, baseline, tmp_path, source):
    text = (CHECKOUT / source).read_text(encoding="utf-8")
    # The manual's are one PBX together.
    for number, block in enumerate(YAML_BLOCK.findall(text) or [text]):
        (tmp_path / f"{number:02}.yaml").write_text(block)
    pbx = read_pbx_files([tmp_path], {}).pbx
    # Its carrier has a name, and there is no DNS in here.
    pbx = replace(pbx, trunks=tuple(replace(trunk, hosts=("127.0.0.2",)) for trunk in pbx.trunks))
    instance = start(asterisk_factory, pbx)
    assert troubles(instance) <= baseline
    ami = Ami(instance)
    listed = ami.ask(until="EndpointListComplete", Action="PJSIPShowEndpoints")
    ami.close()
    expected = {it.extension for it in pbx.endpoints} | {it.name for it in pbx.trunks}
    assert {it["ObjectName"] for it in listed if it.get("Event") == "EndpointList"} == expected
    assert all(queue.name in instance.cli("queue show") for queue in pbx.queues)


class TestStrangers:
    """Who is who, by real INVITEs."""

    def test_nobody_gets_in_by_a_name_alone(self, asterisk_factory):
        pbx = replace(PBX, trunks=(Trunk(name="carrier", hosts=("127.0.0.4",)),))
        instance = start(asterisk_factory, pbx)
        names = ["carrier", "1001", "anonymous", "nobody"]
        callers = [Caller("1002", caller=name) for name in names]
        result = place_calls(instance, callers, rate=10, count=len(callers)).wait(timeout_s=30)
        assert [leg.refusal for leg in result.legs] == [401] * len(names)
        assert "PJSIP/" not in instance.read_log()  # no channel was ever made

    def test_a_carrier_is_a_carrier_whatever_its_callers_are_called(self, asterisk_factory):
        # Any port of the host counts: carriers call from other ports than they listen on.
        pbx = replace(PBX, trunks=(Trunk(name="carrier", hosts=("127.0.0.2:5999",)),))
        instance = start(asterisk_factory, pbx)
        place_calls(instance, [Caller("+4930", caller="1001")], count=1, answer_timeout_s=1).wait(timeout_s=30)
        log = instance.read_log()
        assert "PJSIP/carrier-00000000" in log
        assert "PJSIP/1001" not in log
        assert "+4930@tandem-from-trunk" in log


# A carrier in a hundred lines less: challenges a REGISTER, checks the digest (RFC 3261, 22.4), and calls the contact from elsewhere.
REGISTRAR = r"""
import hashlib, re, socket, sys
username, secret, realm = sys.argv[1], sys.argv[2], "carrier"
def field(name, text):
    return re.search(rf"^{name}: (.*?)\r$", text, re.MULTILINE | re.IGNORECASE)[1]
def answer(request, status, *headers):
    kept = [line for line in request.split("\r\n") if re.match("(Via|From|To|Call-ID|CSeq):", line)]
    kept = [line + ";tag=1" if line.startswith("To:") else line for line in kept]
    return "\r\n".join([f"SIP/2.0 {status}", *kept, *headers, "Content-Length: 0", "", ""]).encode()
def md5(text):
    return hashlib.md5(text.encode()).hexdigest()
registrar = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
registrar.bind(("127.0.0.5", 5060))
registrar.settimeout(20)
while True:
    data, peer = registrar.recvfrom(65535)
    request = data.decode()
    authorization = re.search("^Authorization: Digest (.*)", request, re.MULTILINE)
    if authorization:
        break
    registrar.sendto(answer(request, "401 Unauthorized", f'WWW-Authenticate: Digest realm="{realm}", nonce="n1", algorithm=MD5'), peer)
uri = re.search('uri="([^"]*)"', authorization[1])[1]
expected = md5(f"{md5(f'{username}:{realm}:{secret}')}:n1:{md5(f'REGISTER:{uri}')}")
print("digest", re.search('response="([^"]*)"', authorization[1])[1] == expected)
print("to", field("To", request))
contact = re.search("<(.*?)>", field("Contact", request))[1]
registrar.sendto(answer(request, "200 OK", f"Contact: <{contact}>;expires=3600"), peer)
for target in (contact, re.sub(";line=[^;]*", "", contact)):
    caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    caller.bind(("127.0.0.8", 0))
    caller.settimeout(5)
    here = "127.0.0.8:%d" % caller.getsockname()[1]
    caller.sendto("\r\n".join([
        f"INVITE {target} SIP/2.0", f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{here[-5:]}", "Max-Forwards: 70",
        f"From: <sip:555@{here}>;tag=9", f"To: <{target}>", f"Call-ID: {here}", "CSeq: 1 INVITE", f"Contact: <sip:555@{here}>",
        "Content-Length: 0", "", ""]).encode(), ("127.0.0.1", 5060))
    print("invite", caller.recv(65535).decode().split()[1])
"""


def test_a_registration_logs_in_and_its_line_is_the_carrier(asterisk_factory):
    """With a username and a secret that need every escaping there is on the way."""
    username, secret = "us;er@x y", 'se;c"ret\\,[z] => ${A}'
    trunk = Trunk(name="backup", authentication="registration", hosts=("127.0.0.5",), username=username, secret=secret)
    instance = start(asterisk_factory, Pbx(trunks=(trunk,)))
    found = instance.run([sys.executable, "-c", REGISTRAR, username, secret], timeout_s=30).stdout.splitlines()
    assert found[0] == "digest True"
    assert found[1] == "to <sip:us;er%40x%20y@127.0.0.5>"  # PJSIP unescapes what RFC 3261 lets stand in a user part
    assert found[2] == "invite 100"  # from an address that nobody knows, but on our line
    assert found[3] == "invite 401"
    deadline = time.monotonic() + 30  # its log is written by a thread of its own
    while "PJSIP/backup-00000000" not in (log := instance.read_log()):
        assert time.monotonic() < deadline, log
        time.sleep(0.05)


# The far end of a trunk: alive (200 to OPTIONS) and busy (486 to INVITE); prints what it was asked.
FAR_END = r"""
import re, socket
far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
far.bind(("127.0.0.4", 5070))
while True:
    data, peer = far.recvfrom(65535)
    method, *lines = data.decode().replace(" ", "\r\n", 1).split("\r\n")
    kept = [line for line in lines if re.match("(Via|From|To|Call-ID|CSeq):", line)]
    kept = [line + ";tag=1" if line.startswith("To:") else line for line in kept]
    status = {"OPTIONS": "200 OK", "INVITE": "486 Busy Here"}.get(method)
    if status:
        print(method, flush=True)
        far.sendto("\r\n".join([f"SIP/2.0 {status}", *kept, "Content-Length: 0", "", ""]).encode(), peer)
"""


def test_the_first_host_that_lives_gets_the_call(asterisk_factory):
    """An AOR for each host, in order: a dead first host costs nothing once it is known to be dead."""
    trunk = Trunk(name="carrier", hosts=("127.0.0.3:5998", "127.0.0.4:5070"))
    instance = start(asterisk_factory, Pbx(trunks=(trunk,)), qualify_s=1)
    far = instance.popen([sys.executable, "-c", FAR_END], stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 40
        while not (" Unavail " in (shown := instance.cli("pjsip show contacts")) and " Avail " in shown):
            assert time.monotonic() < deadline, shown
            time.sleep(0.1)
        instance.cli("channel originate PJSIP/123@carrier application Wait 1")
        assert "INVITE\n" in iter(far.stdout.readline, "")
    finally:
        far.kill()
        far.communicate()


# One line each of what the parsers of Asterisk read; each goes into every field of every object.
HOSTILE = (
    "semi;colon;--;;",
    ";starts with one",
    ";-- block --; comment",
    "back\\slash\\;\\\\",
    "\\; at the start",
    "ends in one\\",
    "[section](!,tandem.auth)",
    "#include /etc/passwd",
    "#exec /bin/true",
    "a => b = c += d",
    "=>starts so",
    "> starts so",
    "${CHANNEL} $[1+1] ${SHELL(id)}",
    "\"quoted\" 'quoted' <1234>",
    '"starts and ends"',
    "<in angles>",
    "comma, pipe | comma,",
    "%0d%0a%s%n",
    "é☎ ünïcode €uro",
    "  blanks around  ",
    " blank before",
    "tab\there",
    "line\nbreak",
    "\r\n[evil]\r\ntype=endpoint",
    "nul\0byte",
    "del\x7f nel\x85 ls\u2028",
    "é" * 45,
    "x" * 80,
)


def hostile_pbx():
    """(PBX of one object per value and field that is not refused, number of refusals). Each is tried alone first."""
    objects = {"endpoints": [], "trunks": [], "voicemail_boxes": [], "queues": []}
    refused = []
    tries = []
    for number, value in enumerate(HOSTILE):
        tries += [
            ("endpoints", Endpoint, {"extension": f"{2000 + number}", "name": value, "secret": "12345678"}, "name"),
            (
                "endpoints",
                Endpoint,
                {"extension": f"{3000 + number}", "secret": f"{value:8}" if len(value) < 8 else value},
                "secret",
            ),
            ("trunks", Trunk, {"name": f"d{number}", "description": value, "hosts": ("127.0.0.9",)}, "description"),
            (
                "trunks",
                Trunk,
                {"name": f"u{number}", "username": value, "secret": "12345678", "hosts": ("127.0.0.9",)},
                "username",
            ),
            (
                "trunks",
                Trunk,
                {"name": f"s{number}", "username": "u", "secret": value, "hosts": ("127.0.0.9",)},
                "secret",
            ),
            ("voicemail_boxes", VoicemailBox, {"mailbox": f"{2000 + number}", "name": value, "pin": "1234"}, "name"),
            ("queues", Queue, {"name": f"q{number}", "description": value, "fallback": NOTHING}, "description"),
        ]
        # Fields with a pattern: none of these values gets as far as a file.
        for kind, fields, field in [
            (Endpoint, {"extension": value, "secret": "12345678"}, "extension"),
            (Endpoint, {"extension": "1001", "secret": "12345678", "language": value}, "language"),
            (Endpoint, {"extension": "1001", "secret": "12345678", "voicemail": value}, "voicemail"),
            (Trunk, {"name": value, "hosts": ("h",)}, "name"),
            (Trunk, {"name": "t", "hosts": (value,)}, "hosts"),
            (Trunk, {"name": "t", "hosts": ("h",), "match": (value,)}, "match"),
            (Trunk, {"name": "t", "hosts": ("h",), "from_user": value}, "from_user"),
            (Trunk, {"name": "t", "hosts": ("h",), "from_domain": value}, "from_domain"),
            (Queue, {"name": value, "fallback": NOTHING}, "name"),
            (Queue, {"name": "q", "music": value, "fallback": NOTHING}, "music"),
            (VoicemailBox, {"mailbox": value, "pin": "1234"}, "mailbox"),
            (VoicemailBox, {"mailbox": "1001", "pin": value}, "pin"),
            (VoicemailBox, {"mailbox": "1001", "pin": "1234", "email": value}, "email"),
            (VoicemailBox, {"mailbox": "1001", "pin": "1234", "time_zone": value}, "time_zone"),
        ]:
            if value == "x" * 80 and field in {"hosts", "match", "from_domain"}:
                continue  # a name that may exist
            with pytest.raises(ValueError, match=field):
                kind(**fields)
    for collection, kind, fields, field in tries:
        try:
            entity = kind(**fields)
            render(build_snapshot(1, Pbx(**{collection: (entity,)})), RENDERED_ONLY)
        except ValueUnrepresentable as error:
            refused.append((collection, field, fields[field]))
            names = error.path.split(" or ")
        except ValueError as error:
            refused.append((collection, field, fields[field]))
            names = [f".{error.errors()[0]['loc'][0]}"]
        else:
            objects[collection].append(entity)
            continue
        assert any(name.endswith(f".{field}") for name in names), (collection, field, names)
    return Pbx(**{name: tuple(found) for name, found in objects.items()}), refused


@pytest.fixture(scope="module")
def secured(asterisk_factory, tmp_path_factory):
    """(an owner's Asterisk with a certificate, its files): a trunk over TLS leads to itself, and 1011 is a browser."""
    instance = asterisk_factory(
        config=including("owner") | {"rtp.conf": "[general]\nrtpstart = 10000\nrtpend = 10999\n"}, shared=[DIALPLAN]
    )
    instance.stop()
    open_media_address(instance)
    files = write_certificate(instance.etc, "pbx.example.org")
    paths = {"certificate": str(files.certificate), "key": str(files.key)}
    transports = (
        Transport(name="tls", protocol="tls", bind="127.0.0.1:5061", **paths),
        Transport(name="wss", protocol="wss", bind="127.0.0.1:8089", max_sessions=3, **paths),
    )
    trunk = Trunk(name="secure", hosts=("127.0.0.1:5061",), transport="tls", media_encryption="sdes")
    browser = Endpoint(extension="1011", secret=BROWSER_SECRET, webrtc=True, codecs=("opus", "alaw"))
    snapshot = build_snapshot(1, Pbx(general=General(), trunks=(trunk,), endpoints=(browser,)))
    rendered = render(snapshot, target_for(instance, "owner", more_transports=transports))
    rendered["extensions.conf"] += """
[seen]
exten => in,1,Answer(,i)
 same => n,Wait(2)
 same => n,Set(DB(seen/in)=${CHANNEL(pjsip,secure)},${CHANNEL(rtp,secure,audio)},${CHANNEL(rtcp,rxcount)})
 same => n,Hangup()
exten => out,1,Set(DB(seen/out)=${CHANNEL(pjsip,secure)},${CHANNEL(rtp,secure,audio)})
 same => n,Playback(demo-congrats)
exten => echo,1,Set(DB(seen/echo)=${CHANNEL(pjsip,secure)},${CHANNEL(rtp,secure,audio)})
 same => n,Echo()
"""
    folder = instance.etc / "tandem"
    switch_link(folder, "current", write_generation(folder, 1, rendered))
    instance.start()
    return instance, files


def wait_for_seen(instance, name):
    """What the dialplan of `secured` has put down under that name."""
    deadline = time.monotonic() + 30
    while (found := re.search(rf"/seen/{name} *: (\S+)", shown := instance.cli("database show seen"))) is None:
        assert time.monotonic() < deadline, shown + instance.read_log()[-3000:]
        time.sleep(0.1)
    return found[1].split(",")


def test_a_call_over_tls_with_srtp(secured):
    """Asterisk calls itself over a trunk: both legs say that signalling and media are encrypted, and packets came through."""
    instance, _ = secured
    instance.cli("database put tandem-meta default tandem-enter,dialplan,1(in,0,,,seen,)")
    instance.cli("channel originate PJSIP/100@secure extension out@seen")
    assert wait_for_seen(instance, "out") == ["1", "1"]
    *is_secure, count = wait_for_seen(instance, "in")
    assert is_secure == ["1", "1"]
    assert int(count) > 50


class TestBrowsers:
    """What an owner's Asterisk offers to a browser, which verifies its certificate."""

    def test_it_registers_by_its_password_and_is_called_over_dtls(self, secured):
        instance, files = secured
        with open_browser(instance, files, BROWSER_SECRET + "r") as browser:
            assert (browser.subprotocol, browser.register()) == ("sip", 401)
        with open_browser(instance, files, BROWSER_SECRET) as browser:
            assert browser.register() == 200
            assert "transport=ws" in instance.cli("pjsip show contacts")
            instance.cli("channel originate PJSIP/1011 extension echo@seen")
            call = browser.take_call()
            # Our tone came back: both directions were decrypted, with the keys of the handshake.
            call.await_loud(25)
            assert (call.media.profile, wait_for_seen(instance, "echo")) == (PROFILE, ["1", "1"])
            call.hang_up()

    def test_there_is_one_door_and_it_has_a_limit(self, secured):
        instance, files = secured
        listening = instance.run(["ss", "--listening", "--tcp", "--numeric", "--no-header"]).stdout
        assert {line.split()[3] for line in listening.splitlines()} == {
            f"127.0.0.1:{port}" for port in (5038, 5061, 8089)
        }
        assert "/ws => " in (shown := instance.cli("http show status"))
        assert shown.count(" => ") == 1
        deadline, opened = time.monotonic() + 30, 0
        with contextlib.ExitStack() as browsers:
            # Those of other tests may not be quite gone.
            while opened < 3:
                assert time.monotonic() < deadline
                with contextlib.suppress(WebSocketFailed, OSError):
                    browsers.enter_context(open_browser(instance, files, BROWSER_SECRET))
                    opened += 1
            with pytest.raises((WebSocketFailed, OSError)):
                browsers.enter_context(open_browser(instance, files, BROWSER_SECRET))

    def test_a_stranger_s_certificate_is_no_certificate(self, secured, tmp_path):
        instance, _ = secured
        with pytest.raises(ssl.SSLCertVerificationError):
            open_browser(instance, write_certificate(tmp_path, "pbx.example.org"), BROWSER_SECRET)


def open_browser(instance, files, secret):
    return Browser(instance, "1011", secret, name=files.name, port=8089, trust=files.make_trust())


def test_a_trunk_without_its_transport_is_refused():
    target = RenderTarget(
        mode="owner", agi_url="agi://h", recordings_dir="/r", dialplan_dir="/d", transports=(Transport(name="udp"),)
    )
    snapshot = build_snapshot(1, Pbx(trunks=(Trunk(name="secure", hosts=("192.0.2.1",), transport="tls"),)))
    with pytest.raises(ValueUnrepresentable, match=r"trunks\.secure\.transport"):
        render(snapshot, target)


RENDERED_ONLY = RenderTarget(mode="owner", agi_url="agi://h", recordings_dir="/r", dialplan_dir="/d")


@pytest.fixture(scope="module")
def pbx_and_refused():
    return hostile_pbx()


@pytest.fixture(scope="module")
def hostile(asterisk_factory, pbx_and_refused):
    return start(asterisk_factory, pbx_and_refused[0])


@pytest.fixture
def hostile_ami(hostile):
    connection = Ami(hostile)
    yield connection
    connection.close()


class TestHostile:
    """Every value in every field of every object, all in one Asterisk."""

    def test_few_are_refused_and_each_for_a_reason(self, pbx_and_refused):
        for collection, field, value in pbx_and_refused[1]:
            is_outside_a_line = not value.isprintable()
            is_stripped = value != value.strip()
            is_cut = len(value.encode()) > 79
            is_split = ("," in value or "|" in value) and collection == "voicemail_boxes"
            assert is_outside_a_line or is_stripped or is_cut or is_split, (collection, field, value)

    def test_nothing_to_complain_of(self, hostile, baseline):
        assert troubles(hostile) <= baseline

    def test_only_our_objects_exist(self, hostile, hostile_ami, pbx_and_refused):
        pbx = pbx_and_refused[0]
        listed = hostile_ami.ask(until="EndpointListComplete", Action="PJSIPShowEndpoints")
        names = {it["ObjectName"] for it in listed if it.get("Event") == "EndpointList"}
        assert names == {it.extension for it in pbx.endpoints} | {it.name for it in pbx.trunks}
        listed = hostile_ami.ask(until="QueueStatusComplete", Action="QueueStatus")
        assert {it["Queue"] for it in listed if it.get("Event") == "QueueParams"} == {it.name for it in pbx.queues}

    def test_endpoints_come_back(self, hostile_ami, pbx_and_refused):
        for endpoint in pbx_and_refused[0].endpoints:
            found = of_type(hostile_ami, "EndpointDetail", endpoint.extension)
            # AMI prints the caller id quoted again (ast_callerid_merge, ast_escape_quoted), or just the number.
            name = re.fullmatch(r'"((?:[^"\\]|\\.)*)" <\d+>|\d+', found["Callerid"])[1]
            assert re.sub(r"\\(.)", r"\1", name or "") == endpoint.name
            assert found["SetVar"] == "TANDEM_PERMISSIONS=internal"
            auth = of_type(hostile_ami, "AuthDetail", endpoint.extension)
            assert (auth["Username"], auth["Password"]) == (endpoint.extension, endpoint.secret)

    def test_trunks_come_back(self, hostile, pbx_and_refused):
        for trunk in pbx_and_refused[0].trunks:
            if trunk.username is None:
                continue
            shown = hostile.cli(f"pjsip show auth {trunk.name}")
            found = dict(re.findall(r"^ (username|password) +: (.*)$", shown, re.MULTILINE))
            assert found == {"username": trunk.username, "password": trunk.secret}

    def test_mailboxes_come_back(self, hostile_ami, pbx_and_refused):
        found = hostile_ami.ask(until="VoicemailUserEntryComplete", Action="VoicemailUsersList")
        names = {it["VoiceMailbox"]: it["Fullname"] for it in found if it.get("VMContext") == "tandem"}
        assert names == {box.mailbox: box.name for box in pbx_and_refused[0].voicemail_boxes}

    def test_whole_files_by_getconfig(self, hostile, hostile_ami):
        """The parser's own view: no section and no key but ours."""
        (answer,) = hostile_ami.ask(Action="GetConfig", Filename="tandem/current/pjsip.conf")
        sections = {value for key, value in answer.items() if key.startswith("Category-")}
        assert not {name for name in sections if not re.fullmatch(r"[\w.-]+", name)}
        keys = {value.partition("=")[0] for key, value in answer.items() if key.startswith("Line-")}
        assert keys <= {
            *(
                "type",
                "context",
                "identify_by",
                "disallow",
                "allow",
                "dtmf_mode",
                "direct_media",
                "rtp_symmetric",
                "force_rport",
            ),
            *(
                "rewrite_contact",
                "auth_type",
                "max_contacts",
                "remove_existing",
                "qualify_frequency",
                "trust_id_inbound",
            ),
            *(
                "allow_subscribe",
                "allow_transfer",
                "language",
                "outbound_auth",
                "aors",
                "contact",
                "username",
                "password",
            ),
            *("endpoint", "match", "callerid", "set_var", "auth", "mailboxes", "transport"),
        }


def test_set_var_reaches_the_channel_unchanged(asterisk_factory):
    """The position that no entity can reach with hostile text today: the session decodes what is read here."""
    values = [value for value in HOSTILE if value.isprintable() and value == value.strip() and len(value) < 80]
    lines = "".join(f"set_var = V{number}={escape_set_var(value)}\n" for number, value in enumerate(values))
    pjsip = (
        "[udp]\ntype = transport\nbind = 127.0.0.1:5060\n"
        f"[far]\ntype = endpoint\nallow = alaw\naors = far\n{lines}[far]\ntype = aor\ncontact = sip:127.0.0.7:5099\n"
    )
    instance = asterisk_factory(config={"pjsip.conf": pjsip})
    ami = Ami(instance, "tandem-dialer")
    try:
        order = {"Channel": "PJSIP/far", "Application": "Wait", "Data": "60", "Async": "true", "ChannelId": "probe"}
        assert ami.ask(Action="Originate", **order)[0]["Response"] == "Success"
        found = {}
        deadline = time.monotonic() + 30
        while not found.get("V0") and time.monotonic() < deadline:
            found = {
                f"V{number}": ami.ask(Action="Getvar", Channel="probe", Variable=f"V{number}")[0].get("Value")
                for number in range(len(values))
            }
        assert found == {f"V{number}": value for number, value in enumerate(values)}
    finally:
        ami.close()


class ApplyTest(TestCase):
    """The whole way on a running Asterisk, over AMI: each module has what is new the moment its reload is answered."""

    @pytest.fixture(autouse=True)
    def _boot(self, asterisk_factory, baseline):
        self.running, self.baseline = start(asterisk_factory, Pbx()), baseline
        self.ami = Ami(self.running)
        yield
        self.ami.close()

    async def apply(self, pbx, revision):
        reloads = []

        def reload(module):
            reloads.append(module)
            return deferToThread(self.ami.reload, module)

        folder = self.running.etc / "tandem"
        return await apply_snapshot(
            build_snapshot(revision, pbx), target_for(self.running, "owner"), folder, reload
        ), reloads

    async def test_changes_arrive_and_go(self):
        running = self.running
        _, reloads = await self.apply(PBX, 2)
        assert "res_pjsip.so" in reloads
        assert of_type(self.ami, "AuthDetail", "1001")["Password"] == "correct-horse"
        assert "backup/sip:127.0.0.5" in running.cli("pjsip show registrations")
        assert "127.0.1.0/24" in running.cli("pjsip show identify backup")
        assert "sales has 0 calls" in running.cli("queue show sales")
        assert "tandem     1001" in running.cli("voicemail show users")
        assert "TANDEM_COUNTRY_CODE=49" in running.cli("dialplan show globals")

        running.cli("queue add member PJSIP/1001 to sales")
        running.cli("queue pause member PJSIP/1001 queue sales reason lunch")
        smaller = replace(
            PBX,
            trunks=PBX.trunks[:1],
            endpoints=PBX.endpoints[:1],
            voicemail_boxes=PBX.voicemail_boxes[:1],
            queues=(replace(PBX.queues[0], weight=9),),
        )
        applied, reloads = await self.apply(smaller, 3)
        assert applied.changed == ("pjsip.conf", "queues.conf", "voicemail.conf")
        assert reloads == ["res_pjsip.so", "app_voicemail.so", "app_queue.so"]
        shown = running.cli("pjsip show endpoints")
        assert "1001/1001" in shown
        assert "1002" not in shown
        assert "backup" not in running.cli("pjsip show registrations")
        assert "backup" not in running.cli("pjsip show identifies")
        assert "2000" not in running.cli("voicemail show users")
        assert "support" not in running.cli("queue show")
        # A dynamic member keeps its pause over the reload.
        assert re.search(r"PJSIP/1001.*paused:lunch", running.cli("queue show sales"))

        before = running.read_log().count("Reloading module")
        _, reloads = await self.apply(smaller, 4)
        assert reloads == []
        assert running.read_log().count("Reloading module") == before
        assert troubles(running) <= self.baseline
