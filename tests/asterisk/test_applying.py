"""Changes on a whole Tandem beside a real Asterisk: checked before, verified after, refused by name, taken back; calls go on."""

import contextlib
import dataclasses
import json
import os
import re
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from twisted.trial.unittest import TestCase

from confgen.apply import Steps, apply_snapshot
from confgen.plan import touch_all
from confgen.render import RenderTarget, Transport, render
from confgen.verify import Check, compose_candidate
from lab.observe import wait_until
from lab.pbx import ADMIN_FILES, LabPbx
from lab.sipp import AwaitBye, Caller, HangUp, Wait, place_calls
from tandem.asterisk.instance import AsteriskInstance
from tandem.asterisk.trial import count_packets, run_trial
from tandem.document import write_document
from tandem.domain.changes import ApplyRefused
from tandem.domain.destinations import EndpointDestination, HangupDestination
from tandem.domain.entities import Did, Endpoint, General, Menu, Pbx, Queue, QueueMember, Trunk, VoicemailBox
from tandem.domain.snapshot import build_snapshot
from tandem.settings import load_settings
from tandem.target import describe_target, read_dialplan

pytestmark = pytest.mark.asterisk

NOTHING = HangupDestination()
PBX = Pbx(
    general=General(country="DE", language="de", time_zone="Europe/Berlin", outbound_trunk="carrier", allowed_contexts=("from-admin",)),
    trunks=(
        Trunk(name="carrier", hosts=("127.0.0.2:5060",), match=("127.0.0.2",)),
        Trunk(
            name="backup",
            authentication="registration",
            hosts=("127.0.0.5", "127.0.0.6"),
            match=("198.51.100.0/24", "203.0.113.7:5061"),
            username="4930;x",
            secret="cheese;and-wine",
            from_user="4930",
            from_domain="example.net",
        ),
    ),
    endpoints=(
        Endpoint(extension="1001", name='Ann "R"; x', secret="correct-horse", voicemail="1001"),
        Endpoint(extension="1002", secret="battery-staple", permissions=("internal", "national")),
    ),
    voicemail_boxes=(VoicemailBox(mailbox="1001", name="Ann", pin="4711", email="ann@example.net"),),
    queues=(
        Queue(name="sales", members=(QueueMember(endpoint="1001"),), fallback=NOTHING),
        Queue(name="support", strategy="ringall", announce_position=True, fallback=NOTHING),
    ),
    menus=(Menu(name="main", prompts=("demo-congrats",), options={}, invalid=NOTHING, timeout=NOTHING, fallback=NOTHING),),
    dids=(Did(number="+4930100", destination=EndpointDestination(endpoint="1001")),),
)  # fmt: skip


def target(mode="guest"):
    transports = (Transport(name="udp", bind="203.0.113.99:5060"),) if mode == "owner" else ()
    return RenderTarget(
        mode=mode,
        agi_url="agi://127.0.0.1:4573",
        recordings_dir="/r",
        dialplan_dir="/d",
        transports=transports,
        trunk_transport="udp" if mode == "owner" else "",
    )


def plant(pbx, collection, index, **fields):
    """An object that no entity would let through: what a mistake of ours in a rule, or a newer Asterisk, would make of it."""
    entities = list(getattr(pbx, collection))
    entity = object.__new__(type(entities[index]))
    for field in dataclasses.fields(entity):
        object.__setattr__(entity, field.name, fields.get(field.name, getattr(entities[index], field.name)))
    entities[index] = entity
    return replace_unchecked(pbx, collection, tuple(entities))


def replace_unchecked(pbx, collection, entities):
    planted = object.__new__(Pbx)
    for field in dataclasses.fields(pbx):
        object.__setattr__(planted, field.name, entities if field.name == collection else getattr(pbx, field.name))
    return planted


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


# --------------------------------------------------------------------------------------------- a whole Tandem

# Of a mailbox that is there twice, app_voicemail takes the first; of an option, everything else takes the last.
OWN_INCLUDES = {
    name: text + f"#tryinclude tandem/own/{ours}\n#tryinclude later/{ours}\n"
    for name, text in ADMIN_FILES.items()
    # Phones and trunks, and what is added to them, are read from the file of their kinds.
    if (ours := name.removeprefix("tandem-")) and (name != "pjsip.conf")
} | {"voicemail.conf": "#tryinclude later/voicemail.conf\n" + ADMIN_FILES["voicemail.conf"]}


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, write_document(PBX), settings={"asterisk.check": "required"}) as lab:
        for name, text in OWN_INCLUDES.items():
            lab.asterisk.write_config(name, text)
        lab.serve()
        yield lab


@pytest.fixture(autouse=True)
def _start_from_the_same(request):
    """Each test of the module's PBX begins with PBX live and nothing of the admin's in the way."""
    if "pbx" not in request.fixturenames:
        return
    lab = request.getfixturevalue("pbx")
    for path in (lab.asterisk.etc / "later").glob("*"):
        path.unlink()
    for path in (lab.asterisk.etc / "tandem/own").glob("*"):
        path.unlink()
    lab.tandem("config", "discard")
    change(lab, PBX)
    lab.asterisk.reload()


def change(lab, pbx, check=True):
    path = lab.folder / "next.yaml"
    path.write_text(write_document(pbx))
    return lab.tandem("import", str(path), "--json", check=check)


def apply(lab, pbx):
    return json.loads(change(lab, pbx).stdout)["applied"]


def live_revision(lab):
    return next(it["number"] for it in lab.ask("config", "history") if it["is_live"])


def look(folder):
    """Everything about every file: ctime cannot be turned back."""
    return {
        str(path): (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)
        for path in (folder, *folder.rglob("*"))
        for found in [path.lstat()]
    }


def callerid(lab, extension):
    shown = lab.asterisk.cli(f"pjsip show endpoint {extension}")
    return next(line.partition(":")[2].strip() for line in shown.splitlines() if line.startswith(" callerid "))


def test_every_object_is_verified(pbx):
    applied = pbx.ask("config", "apply", "--full")
    assert (applied["check"], applied["verified"]) == ("passed", 7)
    assert (applied["changed"], len(applied["reloaded"])) == ([], 4)


def test_full_repairs_what_somebody_reloaded_meanwhile(pbx):
    pbx.asterisk.write_config("later/extensions.conf", "[globals](+)\nTANDEM_COUNTRY_CODE = 1\n")
    pbx.asterisk.reload("dialplan")
    refused = pbx.tandem("config", "apply", "--full", check=False)
    assert (refused.returncode, "general.TANDEM_COUNTRY_CODE: must be 49" in refused.stderr) == (1, True)
    (pbx.asterisk.etc / "later/extensions.conf").unlink()
    assert pbx.tandem("config", "apply", "--full").returncode == 0
    assert "TANDEM_COUNTRY_CODE=49" in pbx.asterisk.cli("dialplan show globals")


def test_one_change_is_checked_reloaded_and_verified_alone(pbx):
    applied = apply(pbx, replace(PBX, queues=(replace(PBX.queues[0], weight=7), PBX.queues[1])))
    assert (applied["check"], applied["verified"]) == ("passed", 1)
    assert (applied["changed"], applied["reloaded"]) == (["queues.conf"], ["app_queue.so"])
    applied = apply(pbx, replace(PBX, dids=()))
    assert (applied["verified"], applied["changed"]) == (1, ["queues.conf"])
    applied = apply(pbx, PBX)  # a DID is in no file
    assert (applied["live"], applied["changed"], applied["check"]) == (True, [], "nothing to check")


def test_plan_shows_objects_and_files_and_no_secret(pbx):
    live = live_revision(pbx)
    changed = replace(PBX.endpoints[1], secret="new-secret-word", name="Bob")
    bad = replace(PBX.trunks[0], match=("1:2:3",))
    refused = change(
        pbx,
        replace(PBX, endpoints=(PBX.endpoints[0], changed), trunks=(bad, PBX.trunks[1]), queues=PBX.queues[:1]),
        check=False,
    )
    assert refused.returncode == 1
    assert "trunks.carrier.match" in refused.stderr
    plan = pbx.ask("config", "plan")
    assert plan["live"] == live
    found = {(it["collection"], it["key"]): it for it in plan["objects"]}
    assert found["queues", "support"]["change"] == "removed"
    fields = {it["name"]: (it["before"], it["after"]) for it in found["endpoints", "1002"]["fields"]}
    assert fields == {"name": ("", "Bob"), "secret": ("********", "********")}
    diffs = {it["name"]: it["diff"] for it in plan["files"]}
    assert '+callerid = "Bob" <1002>' in diffs["pjsip.conf"]
    assert "-password = ********\n+password = ********" in diffs["pjsip.conf"]
    assert "-[support](tandem.queue)" in diffs["queues.conf"]
    assert "Ann" not in diffs["pjsip.conf"]  # nothing of what does not change
    assert plan["modules"] == ["res_pjsip.so", "app_queue.so"]
    everything = json.dumps(plan) + pbx.tandem("config", "plan").stdout + refused.stderr + pbx.read_log()
    assert "new-secret-word" not in everything
    assert "battery-staple" not in everything


def test_a_refused_change_leaves_everything_live(pbx):
    live, before = live_revision(pbx), look(pbx.asterisk.etc / "tandem/generations")
    reloads = pbx.asterisk.read_log().count("Reloading module")
    bad = replace(PBX.trunks[0], match=("1:2:3",))
    refused = change(pbx, replace(PBX, trunks=(bad, PBX.trunks[1]), dids=()), check=False)
    assert (refused.returncode, "trunks.carrier.match" in refused.stderr) == (1, True)
    assert live_revision(pbx) == live
    assert look(pbx.asterisk.etc / "tandem/generations") == before
    assert pbx.asterisk.read_log().count("Reloading module") == reloads
    # Routing too is the live revision's: the head has no DID any more.
    assert pbx.tandem("route", "explain", "+4930100").returncode == 0
    assert "trunks.carrier.match" in " ".join(
        it["found"] for it in json.loads(pbx.tandem("check", "--json", check=False).stdout)
    )
    assert pbx.tandem("config", "rollback", str(live)).returncode == 0
    assert pbx.tandem("check").returncode == 0


@pytest.mark.parametrize(
    ("file", "override", "pbx_change", "named"),
    [
        ("pjsip.conf", "[1002](+type=endpoint)\nlanguage = fr\n", {"endpoints": (PBX.endpoints[0], replace(PBX.endpoints[1], name="Bob"))}, "endpoints.1002.language"),
        ("pjsip.conf", "[1002](+type=auth)\npassword = another\n", {"endpoints": (PBX.endpoints[0], replace(PBX.endpoints[1], name="Bob"))}, "endpoints.1002.secret"),
        ("pjsip.conf", "[backup](+type=endpoint)\nfrom_domain = example.org\n", {"trunks": (PBX.trunks[0], replace(PBX.trunks[1], codecs=("alaw",)))}, "trunks.backup.from_domain: must be example.net, and Asterisk has example.org"),
        ("pjsip.conf", "[backup](+type=auth)\npassword = another\n", {"trunks": (PBX.trunks[0], replace(PBX.trunks[1], codecs=("alaw",)))}, "trunks.backup.secret"),
        ("queues.conf", "[support](+)\nwrapuptime = 99\n", {"queues": (PBX.queues[0], replace(PBX.queues[1], weight=3))}, "queues.support.wrap_up_s"),
        ("queues.conf", "[support](+)\nweight = 99\n", {"queues": (PBX.queues[0], replace(PBX.queues[1], weight=3))}, "queues.support.weight"),
        ("voicemail.conf", "[tandem]\n1001 => 9999,Ann,ann@example.net\n", {"voicemail_boxes": (replace(PBX.voicemail_boxes[0], name="Anna"),)}, "voicemail_boxes.1001."),
        ("extensions.conf", "[globals](+)\nTANDEM_COUNTRY_CODE = 1\n", {"general": replace(PBX.general, voicemail_number="*98")}, "general.TANDEM_COUNTRY_CODE"),
    ],
)  # fmt: skip
def test_an_admins_later_file_that_overrides_a_field_is_caught_and_taken_back(pbx, file, override, pbx_change, named):
    live, before = live_revision(pbx), (pbx.asterisk.etc / "tandem/current").readlink()
    pbx.asterisk.write_config(f"later/{file}", override)
    refused = change(pbx, replace(PBX, **pbx_change), check=False)
    assert refused.returncode == 1
    assert f"{named}" in refused.stderr
    assert "taken back" in refused.stderr
    assert "9999" not in refused.stderr  # no PIN, no password in a message
    assert "another" not in refused.stderr
    assert live_revision(pbx) == live
    assert (pbx.asterisk.etc / "tandem/current").readlink() == before == (pbx.asterisk.etc / "tandem/live").readlink()
    # Asterisk too has what it had, but for the override.
    assert callerid(pbx, "1002") in ("<1002>", "1002")
    assert "(alaw|ulaw)" in pbx.asterisk.cli("pjsip show endpoint backup")


def describe(lab):
    """What the live Asterisk has of our objects; nothing that changes by itself."""
    shown = [lab.asterisk.cli(f"pjsip show endpoint {name}") for name in ("1001", "1002", "carrier", "backup")]
    options = [re.findall(r"^ (\w+) +: (.*)$", text, re.MULTILINE) for text in shown]
    assert all(options)
    commands = ("queue show", "voicemail show users", "dialplan show globals", "dialplan show tandem-enter")
    return [
        *("\n".join(map(" = ".join, found)) for found in options),
        *(re.sub(r"login was \d+ secs ago", "", lab.asterisk.cli(command)) for command in commands),
    ]


DOCUMENT_MISTAKES = (
    ("endpoints", {"extension": "1003", "secret": "correct-horse", "codecs": ["nonsense"]}, "endpoints[2].codecs[0]: 'nonsense' must be one of"),
    ("trunks", {"name": "third", "hosts": ["127.0.0.9:70000"]}, "trunks[2].hosts[0]: '127.0.0.9:70000' must have a port"),
    ("queues", {"name": "third", "strategy": "loudest", "fallback": {"hangup": 16}}, "queues[2].strategy: 'loudest' must be one of"),
    ("queues", {"name": "third", "music": "no such", "fallback": {"hangup": 16}}, "queues[2].music: 'no such' must be"),
    ("voicemail_boxes", {"mailbox": "1003", "pin": "12"}, "voicemail_boxes[1].pin: must be 4 to 12 digits"),
    ("announcements", {"name": "closed", "prompts": ["../../etc/passwd"]}, "announcements[0].prompts[0]: '../../etc/passwd' must be"),
    ("menus", {"name": "third", "prompts": ["x"], "options": {"1": {"queue": "nowhere"}}, "invalid": {"hangup": 16}, "timeout": {"hangup": 16}, "fallback": {"hangup": 16}}, "menus[1].options.1.queue: there is no queue 'nowhere'"),
    ("dids", {"number": "+4930101", "destination": {"dialplan": "from-nowhere,100"}}, "dids[2].destination.dialplan: context 'from-nowhere' is not in general.allowed_contexts"),
    ("schedules", {"name": "office", "holidays": ["2026-02-30"]}, "schedules[0].holidays[0]: '2026-02-30'"),
)  # fmt: skip


class PlantedTest(TestCase):
    """A mistake in each kind of object, in the document and past its rules: refused by name, and the live Asterisk is as it was."""

    @pytest.fixture(autouse=True)
    def _use(self, pbx):
        self.lab = pbx

    def setUp(self):
        self.dids = (*PBX.dids, Did(number="+4930198", destination={"dialplan": "from-admin,100"}))
        self.base = replace(PBX, dids=self.dids)
        apply(self.lab, self.base)
        self.folder = self.lab.asterisk.etc / "tandem"
        self.before = describe(self.lab), look(self.folder), live_revision(self.lab)

    def check_nothing_happened(self):
        described, looked, live = self.before
        assert describe(self.lab) == described
        assert look(self.folder) == looked
        assert live_revision(self.lab) == live

    def check_a_call(self):
        call, steps = Caller("+4930198", caller="+4930555"), [Wait(0.5), HangUp()]
        with place_calls(self.lab.asterisk, [call], steps=steps, host="127.0.0.2") as run:
            (leg,) = run.wait(timeout_s=30).legs
        assert (leg.is_answered, leg.ended_by) == (True, "us")

    def test_in_the_document(self):
        good = yaml.safe_load(write_document(self.base))
        path = self.lab.folder / "next.yaml"
        for collection, entity, reason in DOCUMENT_MISTAKES:
            path.write_text(yaml.safe_dump({**good, collection: [*good.get(collection, ()), entity]}, sort_keys=False))
            refused = self.lab.tandem("import", str(path), check=False)
            assert refused.returncode == 2, collection
            assert reason in " ".join(refused.stderr.split()), collection
        self.check_nothing_happened()
        self.check_a_call()

    async def test_past_the_rules(self):
        """As a mistake of ours in a rule or a template would be: only an Asterisk can tell."""
        static, base = read_dialplan(), self.base

        def misprint(snapshot, target):
            files = render(snapshot, target)
            return files | {"voicemail.conf": files["voicemail.conf"].replace("1001 => ", ";1001 => ")}

        bad_match = replace(base.trunks[0], match=("1:2:3",))
        enter = static | {"tandem-enter.conf": "[tandem-enter]\nexten => s,x,NoOp()\n"}
        await self.refuse(plant(base, "endpoints", 1, codecs=("nonsense",)), "endpoints.1002", "codecs", "nonsense")
        await self.refuse(replace(base, trunks=(bad_match, base.trunks[1])), "trunks.carrier", "match", "1:2:3")
        await self.refuse(plant(base, "queues", 1, strategy="loudest"), "queues.support", "strategy", "loudest")
        await self.refuse(base, "tandem-enter.conf", "", "x", static=enter)
        for module in ("confgen.apply", "confgen.verify"):
            self.patch(sys.modules[module], "render", misprint)
        await self.refuse(base, "voicemail_boxes.1001", "", "does not have it")
        self.check_nothing_happened()
        self.check_a_call()

    check = Check("required")

    async def refuse(self, pbx, name, field, reason, static=None):
        """The whole way of an apply on the live Asterisk's own folder."""
        snapshot = build_snapshot(self.before[2] + 1, pbx)
        asked = describe_target(load_settings(self.lab.folder / "tandem.yaml", {}))
        static = static or read_dialplan()

        async def reload(module):
            self.lab.asterisk.reload(module)

        steps = Steps(reload, check=lambda touched: self.check.check(snapshot, asked, static, touched))
        with pytest.raises(ApplyRefused) as caught:
            await apply_snapshot(snapshot, asked, self.folder, steps, static)
        assert {(it.object, it.field) for it in caught.value.problems} == {(name, field)}
        assert any(reason in it.reason for it in caught.value.problems)


def list_ports(pid):
    """(protocol, port) of every socket that waits in a process' network."""
    found = set()
    for protocol, state in (("udp", "07"), ("tcp", "0A")):
        for line in Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == state:
                found.add((protocol, int(columns[1].rpartition(":")[2], 16)))
    return found


def list_open_files(pid):
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(path.readlink()))
    return found


def find_asterisk_of(folder):
    """The daemon whose files are in this folder; None before it is started."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            argv = path.read_bytes().decode(errors="replace").split("\0")
            if f"{folder}/etc/asterisk.conf" in argv and "-f" in argv and argv[0].endswith("asterisk"):
                return int(path.parent.name)
    return None


def test_the_throw_away_asterisk_shares_nothing_with_the_live_one(pbx):
    """Started where Tandem starts it, on the live one's very ports: sockets, AstDB, spool and files of its own."""
    live, folder = pbx.asterisk, Path(f"/tmp/tandem-check-{secrets.token_hex(4)}")
    owner = replace(target("owner"), transports=(Transport(name="udp", bind="127.0.0.1:5060"),))
    candidate = replace(
        compose_candidate(build_snapshot(1, PBX), owner, read_dialplan(), folder),
        commands=("database put trial key value", "database show trial"),
        hold_s=5,
    )
    pbx.tandem("check", "--wait", "30")  # AstDB is in step
    ours = {("udp", 5060), ("tcp", 5038)}
    assert ours <= list_ports(live.process.pid)

    def is_committed():
        """Asterisk writes its database a second after the last change; a picture before that shows the old one."""
        with contextlib.closing(sqlite3.connect(live.folder / "lib/astdb.sqlite3", timeout=5)) as astdb:
            kept = {(key, value.rstrip()) for key, value in astdb.execute("SELECT key, value FROM astdb")}
        shown = [line.partition(":") for line in live.cli("database show").splitlines() if line.startswith("/")]
        return kept == {(key.rstrip(), value.strip()) for key, _, value in shown}

    wait_until(is_committed, "AstDB in its file")

    def photograph():
        database = (live.folder / "lib/astdb.sqlite3").read_bytes()
        return live.cli("database show"), database, look(live.spool), list_ports(live.process.pid)

    before = photograph()
    argv = [sys.executable, "-m", "tandem.asterisk.trial"]
    run = live.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run.stdin.write(json.dumps(dataclasses.asdict(candidate)))
    run.stdin.close()
    run.stdin = None
    deadline = time.monotonic() + 30
    while (pid := find_asterisk_of(folder)) is None or not ours <= list_ports(pid):
        assert time.monotonic() < deadline
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.02)
    files = list_open_files(pid)
    for kind in ("net", "mnt", "pid"):
        of_both = [Path(f"/proc/{one}/ns/{kind}").readlink() for one in (pid, live.process.pid)]
        assert of_both[0] != of_both[1]
    answer, said = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert "/trial/key" in json.loads(answer)["answers"][1]
    assert any(name.endswith(f"{folder}/lib/astdb.sqlite3") for name in files)
    assert not [name for name in files if str(live.folder) in name]
    # And as Tandem does it, with everything.
    assert pbx.ask("config", "apply", "--full", "--dry-run")["check"] == "passed"
    assert photograph() == before
    assert not folder.exists()


def test_hand_edits_stop_an_apply_until_discarded(pbx):
    path = pbx.asterisk.etc / "tandem/current/pjsip.conf"
    original = path.read_text()
    path.write_text(original.replace("max_contacts = 1", "max_contacts = 5"))
    shown = pbx.tandem("config", "edits", check=False)
    assert shown.returncode == 1
    assert "-max_contacts = 1\n+max_contacts = 5" in shown.stdout
    refused = change(pbx, replace(PBX, dids=()), check=False)
    assert (refused.returncode, "edited by hand" in refused.stderr) == (1, True)
    refused = pbx.tandem("config", "adopt", check=False)
    assert (refused.returncode, "max_contacts" in refused.stderr) == (1, True)  # a template is everybody's
    assert "pjsip.conf" in pbx.tandem("config", "discard").stdout
    assert path.read_text() == original
    kept = list((pbx.asterisk.etc / "tandem/generations").glob("*.edited-*/pjsip.conf"))
    assert any("max_contacts = 5" in it.read_text() for it in kept)
    assert pbx.tandem("config", "apply").returncode == 0


def test_hand_edits_are_adopted(pbx):
    folder = pbx.asterisk.etc / "tandem/current"
    text = (folder / "pjsip.conf").read_text()
    text = text.replace("callerid = <1002>", 'callerid = "Bob" <1002>').replace(
        "callerid = <1002>", 'callerid = "Bob" <1002>\ndevice_state_busy_at = 1'
    )
    text = text.replace('callerid = "Bob" <1002>', 'callerid = "Bob" <1002>\ndevice_state_busy_at = 1')
    (folder / "pjsip.conf").write_text(text)
    queues = (folder / "queues.conf").read_text()
    (folder / "queues.conf").write_text(queues.replace("strategy = ringall", "strategy = linear"))
    box = (folder / "voicemail.conf").read_text()
    (folder / "voicemail.conf").write_text(box.replace("1001 => 4711", "1001 => 8642"))
    said = pbx.tandem("config", "adopt")
    assert "is live" in said.stdout
    document = pbx.tandem("export").stdout
    assert "Bob" in document
    assert "linear" in document
    assert "8642" in document
    own = (pbx.asterisk.etc / "tandem/own/pjsip.conf").read_text()
    assert "[1002](+type=endpoint)\ndevice_state_busy_at = 1\n" in own
    shown = pbx.asterisk.cli("pjsip show endpoint 1002")
    assert "device_state_busy_at               : 1" in shown
    assert callerid(pbx, "1002") == '"Bob" <1002>'
    assert pbx.tandem("config", "edits").returncode == 0


def test_a_dry_run_writes_nothing(pbx):
    """On a read-only mount of Asterisk's folder, and with every inode's ctime as it was."""
    bad = replace(PBX.trunks[0], match=("1:2:3",))
    change(pbx, replace(PBX, trunks=(bad, PBX.trunks[1])), check=False)
    etc = pbx.asterisk.etc
    before, database = look(etc), (pbx.folder / "tandem.db").read_bytes()
    log, routes = pbx.asterisk.read_log(), pbx.asterisk.cli("database show")
    world = pbx.asterisk.world
    world.run(["mount", "--bind", str(etc), str(etc)])
    world.run(["mount", "-o", "remount,bind,ro", str(etc)])
    try:
        refused = pbx.tandem("config", "apply", "--dry-run", check=False)
        assert (refused.returncode, "trunks.carrier.match" in refused.stderr) == (1, True)
        pbx.tandem("config", "plan")
        pbx.tandem("config", "history")
    finally:
        world.run(["umount", str(etc)])
    assert look(etc) == before
    assert (pbx.folder / "tandem.db").read_bytes() == database
    assert pbx.asterisk.cli("database show") == routes
    assert "Reloading module" not in pbx.asterisk.read_log()[len(log) :]


def test_rollback_and_show(pbx):
    base = live_revision(pbx)
    apply(pbx, replace(PBX, endpoints=(PBX.endpoints[0], replace(PBX.endpoints[1], name="Bob"))))
    number = live_revision(pbx)
    assert number > base
    assert "name:  -> Bob" in pbx.tandem("config", "show", str(number)).stdout
    assert callerid(pbx, "1002") == '"Bob" <1002>'
    rolled = pbx.ask("config", "rollback", str(base))
    assert (rolled["revision"], rolled["live"], rolled["check"]) == (number + 1, True, "passed")
    assert "Bob" not in callerid(pbx, "1002")
    assert f"rollback to revision {base}" in pbx.tandem("config", "history").stdout
    assert "no revision 999" in pbx.tandem("config", "rollback", "999", check=False).stderr


def test_two_at_once(pbx):
    """Of one process the second waits; another process is told who is busy, and nothing mixes."""
    path = pbx.folder / "next.yaml"
    path.write_text(write_document(replace(PBX, queues=(replace(PBX.queues[0], weight=9), PBX.queues[1]))))
    argv = [sys.executable, "-m", "tandem", "--settings", str(pbx.folder / "tandem.yaml")]
    running = [
        pbx.asterisk.popen(
            [*argv, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
        )
        for arguments in (("import", str(path)), ("config", "apply", "--full"), ("config", "apply"))
    ]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs
    hold = "import fcntl,os,sys,time;d=os.open(sys.argv[1],os.O_RDONLY);fcntl.flock(d,fcntl.LOCK_EX);print('held',flush=True);time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(pbx.asterisk.etc / "tandem")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        refused = change(pbx, PBX, check=False)
        assert (refused.returncode, "another process applies" in refused.stderr) == (1, True)
    finally:
        holder.kill()
        holder.communicate()
    assert pbx.tandem("config", "apply").returncode == 0


def test_calls_in_progress_survive_every_apply(pbx):
    """A call through trunk and queue objects that change under it, and a refused change, and a rollback."""
    base = live_revision(pbx)
    dids = (Did(number="+4930199", destination={"dialplan": "from-admin,200"}),)
    pbx.asterisk.write_config(
        "extensions.conf",
        OWN_INCLUDES["extensions.conf"] + "\n[from-admin](+)\nexten => 200,1,Answer(,i)\n same => n,Wait(300)\n",
    )
    pbx.asterisk.reload("dialplan")
    apply(pbx, replace(PBX, dids=(*PBX.dids, *dids)))
    with place_calls(
        pbx.asterisk, [Caller("+4930199", caller="+4930555")], steps=[AwaitBye(300)], host="127.0.0.2"
    ) as run:
        deadline = time.monotonic() + 30
        while "1 active call" not in pbx.asterisk.cli("core show channels"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        more = replace(PBX, dids=(*PBX.dids, *dids))
        for number in range(2):
            apply(
                pbx,
                replace(
                    more,
                    trunks=(replace(PBX.trunks[0], codecs=("alaw",) if number else ("ulaw", "alaw")), PBX.trunks[1]),
                    endpoints=(replace(PBX.endpoints[0], name=f"N{number}"), PBX.endpoints[1]),
                    queues=(replace(PBX.queues[0], weight=number + 1), PBX.queues[1]),
                ),
            )
        bad = replace(PBX.trunks[0], match=("1:2:3",))
        assert change(pbx, replace(more, trunks=(bad, PBX.trunks[1])), check=False).returncode == 1
        pbx.tandem("config", "rollback", str(base))
        assert "1 active call" in pbx.asterisk.cli("core show channels")
        pbx.asterisk.cli("channel request hangup all")
        result = run.wait(timeout_s=30)
    (leg,) = result.legs
    assert leg.is_answered
    assert leg.ended_by == "them"


def test_kill_in_the_middle_and_start_again(pbx):
    """Wherever in the apply: what is on the disk is whole, the next start says what it found, and then the head is live."""
    for number, delay_s in enumerate((0.05, 0.3, 0.5, 0.6, 0.7, 0.9)):
        path = pbx.folder / "next.yaml"
        name = f"Kill {number}"
        path.write_text(
            write_document(replace(PBX, endpoints=(replace(PBX.endpoints[0], name=name), PBX.endpoints[1])))
        )
        argv = [sys.executable, "-m", "tandem", "--settings", str(pbx.folder / "tandem.yaml"), "import", str(path)]
        run = pbx.asterisk.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(delay_s)
        pbx.kill(signal.SIGKILL)
        run.communicate(timeout=30)
        current = (pbx.asterisk.etc / "tandem/current").resolve()
        hashes = json.loads((current / "manifest.json").read_text())["sha256"]
        assert "pjsip.conf" in hashes
        seen = len(pbx.read_log())
        pbx.serve()
        log = pbx.read_log()[seen:]
        assert f"generation {current.name}" in log
        # The import may have been before or after its commit; if it was after, it becomes live now.
        deadline = time.monotonic() + 40
        while not pbx.ask("config", "history")[0]["is_live"]:
            assert time.monotonic() < deadline, pbx.read_log()[seen:]
            time.sleep(0.1)
        asks = callerid(pbx, "1001")
        assert (name in asks) == (name in pbx.tandem("export").stdout)
        assert pbx.ask("config", "plan")["modules"] == []


def test_a_stop_in_the_middle_is_quiet_and_the_next_start_goes_on(pbx):
    """Asterisk does not answer, the files are switched already, and Tandem is told to end."""
    current, seen = pbx.asterisk.etc / "tandem/current", len(pbx.read_log())
    before = current.readlink()
    path = pbx.folder / "next.yaml"
    path.write_text(write_document(replace(PBX, endpoints=(replace(PBX.endpoints[0], name="Later"), PBX.endpoints[1]))))
    argv = [sys.executable, "-m", "tandem", "--settings", str(pbx.folder / "tandem.yaml"), "import", str(path)]
    run = pbx.asterisk.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: current.readlink() != before, "the switch", every_s=0.001)
    # In the middle of its reloads: one that answers nothing before is found out, and nothing is left switched for long.
    pbx.asterisk.process.send_signal(signal.SIGSTOP)
    try:
        pbx.kill(signal.SIGTERM)
        run.communicate(timeout=30)
    finally:
        pbx.asterisk.process.send_signal(signal.SIGCONT)
    assert pbx.process.returncode == 0
    log = pbx.read_log()[seen:]
    assert "an apply was ended half-way" in log
    assert not re.search("Traceback|FirstError|could not be brought in step|Unhandled|ERROR", log), log
    assert current.readlink() == before
    pbx.serve()
    assert callerid(pbx, "1001") == '"Later" <1001>'
    assert pbx.ask("config", "plan")["modules"] == []
