"""Changes that go wrong on a whole Tandem beside a real Asterisk: mistakes planted past every rule, kills and stops in the middle."""

import contextlib
import dataclasses
import json
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
from confgen.render import Transport, render
from confgen.verify import Check, compose_candidate
from lab.freezing import freeze, thaw
from lab.observe import wait_until
from lab.sipp import Caller, HangUp, Wait, place_calls
from tandem.document import write_document
from tandem.domain.changes import ApplyRefused
from tandem.domain.entities import Did
from tandem.domain.snapshot import build_snapshot
from tandem.settings import load_settings
from tandem.target import describe_target, read_dialplan
from tests.asterisk.applied_pbx import (
    PBX,
    apply,
    callerid,
    live_revision,
    look,
    plant,
    share_pbx,
    target,
)

pytestmark = pytest.mark.asterisk

pbx, _start_from_the_same = share_pbx()


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
    freeze(pbx.asterisk.process)
    try:
        pbx.kill(signal.SIGTERM)
        run.communicate(timeout=30)
    finally:
        thaw(pbx.asterisk.process)
    assert pbx.process.returncode == 0
    log = pbx.read_log()[seen:]
    assert "an apply was ended half-way" in log
    assert not re.search("Traceback|FirstError|could not be brought in step|Unhandled|ERROR", log), log
    assert current.readlink() == before
    pbx.serve()
    assert callerid(pbx, "1001") == '"Later" <1001>'
    assert pbx.ask("config", "plan")["modules"] == []
