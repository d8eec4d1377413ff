"""The throw-away Asterisk alone: what it refuses, by name, and that it sends nothing."""

import secrets
import time
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.trial.unittest import TestCase

from confgen.plan import touch_all
from confgen.render import Transport
from confgen.verify import Check, compose_candidate
from tandem.asterisk.instance import AsteriskInstance
from tandem.asterisk.trial import count_packets, run_trial
from tandem.domain.changes import ApplyRefused
from tandem.domain.entities import Endpoint, Trunk
from tandem.domain.snapshot import build_snapshot
from tandem.target import read_dialplan
from tests.asterisk.applied_pbx import PBX, plant, target

pytestmark = pytest.mark.asterisk


def test_the_throw_away_asterisk_sends_no_packet():
    """Over more than 12 s, with a trunk that registers and is qualified: on the host's network it would steal the registration by then."""
    folder = Path(f"/tmp/tandem-check-{secrets.token_hex(4)}")
    candidate = compose_candidate(build_snapshot(1, PBX), replace(target(), qualify_s=1), read_dialplan(), folder)
    trial = run_trial(replace(candidate, hold_s=13, commands=("pjsip show registrations", "pjsip show contacts")))
    assert "backup/sip:127.0.0.5" in trial.answers[0]
    assert "Registered " not in trial.answers[0].replace("Unregistered", "")
    assert "backup/sip:127.0.0.5" in trial.answers[1]
    assert trial.packets == 0
    assert not folder.exists()


def test_the_packet_counter_counts(asterisk_install):
    pjsip = "[udp]\ntype = transport\nbind = 127.0.0.1:5060\n[a]\ntype = aor\ncontact = sip:127.0.0.5\nqualify_frequency = 1\n"
    with AsteriskInstance(asterisk_install, config={"pjsip.conf": pjsip}) as asterisk:
        deadline = time.monotonic() + 30
        while not count_packets(Path(f"/proc/{asterisk.process.pid}/net")):
            assert time.monotonic() < deadline
            time.sleep(0.1)


class CheckTest(TestCase):
    """The throw-away Asterisk alone: what it refuses, by name."""

    async def refusal(self, pbx, mode="guest", static=None):
        snapshot = build_snapshot(1, pbx)
        check = Check("required")
        with pytest.raises(ApplyRefused) as caught:
            await check.check(snapshot, target(mode), static or read_dialplan(), touch_all(snapshot))
        assert caught.value.stage == "check"
        return {(problem.object, problem.field): problem.reason for problem in caught.value.problems}

    async def test_what_is_right_passes(self):
        snapshot = build_snapshot(1, PBX)
        check = Check("required")
        for mode in ("guest", "owner"):
            assert await check.check(snapshot, target(mode), read_dialplan(), touch_all(snapshot)) == "passed"

    async def test_the_real_one_s_certificate_is_not_asked_for(self):
        """Its key may be for Asterisk alone to read."""
        paths = {"certificate": "/nowhere/pbx.crt", "key": "/nowhere/pbx.key"}
        owner = target("owner")
        transports = (
            *owner.transports,
            Transport(name="tls", protocol="tls", bind="203.0.113.99:5061", **paths),
            Transport(name="wss", protocol="wss", bind="203.0.113.99:8089", max_sessions=10, **paths),
        )
        secured = replace(
            PBX,
            trunks=(*PBX.trunks, Trunk(name="secure", hosts=("198.51.100.1",), transport="tls")),
            endpoints=(*PBX.endpoints, Endpoint(extension="1011", secret="correct-horse", webrtc=True)),
        )
        snapshot = build_snapshot(1, secured)
        found = await Check("required").check(
            snapshot, replace(owner, transports=transports), read_dialplan(), touch_all(snapshot)
        )
        assert found == "passed"

    async def test_host_names_need_no_dns(self):
        named = Trunk(name="named", hosts=("sip.example.net:5070",), match=("out.example.net", "198.51.100.0/24"))
        snapshot = build_snapshot(1, replace(PBX, trunks=(*PBX.trunks, named)))
        assert await Check("required").check(snapshot, target(), read_dialplan(), touch_all(snapshot)) == "passed"

    async def test_endpoint(self):
        found = await self.refusal(plant(PBX, "endpoints", 1, codecs=("alaw", "nonsense")))
        assert set(found) == {("endpoints.1002", "codecs")}
        assert "nonsense" in found["endpoints.1002", "codecs"]

    async def test_trunk(self):
        # This one is within the entity's rules: nobody but Asterisk knows that it is no address.
        bad = replace(PBX.trunks[0], match=("1:2:3",))
        found = await self.refusal(replace(PBX, trunks=(bad, PBX.trunks[1])))
        assert set(found) == {("trunks.carrier", "match")}
        found = await self.refusal(plant(PBX, "trunks", 1, username=""))
        assert {name for name, _ in found} == {"trunks.backup"}

    async def test_queue(self):
        found = await self.refusal(plant(PBX, "queues", 1, strategy="loudest"))
        assert set(found) == {("queues.support", "strategy")}

    async def test_music(self):
        """Asterisk goes on without it, and callers would wait in silence."""
        found = await self.refusal(replace(PBX, queues=(replace(PBX.queues[0], music="jazz"), PBX.queues[1])), "owner")
        assert set(found) == {("queues.sales", "music")}
        assert "moh/jazz: No such file or directory" in found["queues.sales", "music"]

    async def test_mailbox(self):
        from confgen import verify

        real = verify.render

        def misprint(snapshot, target):
            files = real(snapshot, target)
            return files | {"voicemail.conf": files["voicemail.conf"].replace("1001 => ", ";1001 => ")}

        self.patch(verify, "render", misprint)
        found = await self.refusal(PBX)
        assert {name for name, _ in found} == {"voicemail_boxes.1001"}

    async def test_dialplan(self):
        static = read_dialplan()
        found = await self.refusal(PBX, static=static | {"tandem-enter.conf": "[tandem-enter]\nexten => s,x,NoOp()\n"})
        assert {name for name, _ in found} == {"tandem-enter.conf"}

    async def test_without_namespaces(self):
        from tandem.asterisk.trial import TrialUnavailable

        def refuse(candidate):
            raise TrialUnavailable("no namespaces here")

        snapshot = build_snapshot(1, PBX)
        lenient = Check("if-possible", refuse)
        said = await lenient.check(snapshot, target(), read_dialplan(), touch_all(snapshot))
        assert said == "skipped: no throw-away Asterisk can run here: no namespaces here"
        with pytest.raises(ApplyRefused, match=r"asterisk\.check.*no namespaces here"):
            await Check("required", refuse).check(snapshot, target(), read_dialplan(), touch_all(snapshot))
        off = await Check("off", refuse).check(snapshot, target(), read_dialplan(), touch_all(snapshot))
        assert off == "skipped: asterisk.check is off"
