"""Changes on a whole Tandem beside a real Asterisk: verified after, refused by name, taken back, adopted, rolled back; calls go on."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from lab.sipp import AwaitBye, Caller, place_calls
from tandem.document import write_document
from tandem.domain.entities import Did
from tests.asterisk.applied_pbx import (
    OWN_INCLUDES,
    PBX,
    apply,
    callerid,
    change,
    live_revision,
    look,
    share_pbx,
)

pytestmark = pytest.mark.asterisk

pbx, _start_from_the_same = share_pbx()


def test_every_object_is_verified(pbx):
    applied = pbx.ask("config", "apply", "--full")
    assert (applied["check"], applied["verified"]) == ("passed", 8)
    assert (applied["changed"], len(applied["reloaded"])) == ([], 5)


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


def test_hand_edits_stop_an_apply_until_discarded(pbx):
    path = pbx.asterisk.etc / "tandem/current/pjsip.conf"
    original = path.read_text()
    path.write_text(original.replace("max_contacts = 1", "max_contacts = 5"))
    shown = pbx.tandem("config", "edits", check=False)
    assert shown.returncode == 1
    assert "-max_contacts = 1\n+max_contacts = 5" in shown.stdout
    refused = change(pbx, replace(PBX, dids=()), check=False)
    assert "is saved and not live: `tandem config apply` tries again" in " ".join(refused.stderr.split())
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
    rolled = pbx.ask("config", "rollback", str(base), "-m", "the change was for another day")
    assert (rolled["revision"], rolled["live"], rolled["check"]) == (number + 1, True, "passed")
    assert "Bob" not in callerid(pbx, "1002")
    entry = pbx.ask("config", "history")[0]
    note = f"rollback to revision {base}: the change was for another day"
    assert (entry["author"], entry["note"]) == ("control socket (root)", note)
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
