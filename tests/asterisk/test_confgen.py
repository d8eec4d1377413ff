"""Rendered files in the real Asterisk: it has what the model says, and nothing to complain of; carriers and strangers are who they are."""

import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from confgen.apply import apply_snapshot
from lab.sipp import Caller, place_calls
from tandem.documents import read_pbx_files
from tandem.domain.entities import Pbx, Trunk
from tandem.domain.snapshot import build_snapshot
from tests.asterisk.rendered import PBX, Ami, of_type, start, target_for, troubles

pytestmark = pytest.mark.asterisk

CHECKOUT = Path(__file__).parents[2]
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", params=["owner", "guest"])
def booted(asterisk_factory, request):
    return start(asterisk_factory, PBX, request.param)


@pytest.fixture
def ami(booted):
    connection = Ami(booted)
    yield connection
    connection.close()


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
