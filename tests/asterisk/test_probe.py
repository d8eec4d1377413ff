"""The probe after a switch, and templates of the site's, on a whole Tandem beside a real Asterisk: kept when all is as before, else taken back."""

import pytest

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.sipp import Caller, HangUp, Wait, place_calls

pytestmark = pytest.mark.asterisk

# Asterisk answers its own OPTIONS, so that this carrier lives; nobody is at the other address.
ALIVE, DEAD = "127.0.0.1:5060", "127.0.0.66:5060"
DOCUMENT = """
general: {{country: DE, allowed_contexts: [from-admin], outbound_trunk: carrier}}
trunks: [{{name: carrier, hosts: ["{host}"], match: [127.0.0.2]}}]
endpoints: [{{extension: 1001, secret: correct-horse, name: "{name}"}}]
voicemail_boxes: [{{mailbox: 1001, pin: 4711}}]
dids:
  - {{number: +4930100, destination: {{voicemail: 1001}}}}
  - {{number: +4930101, destination: {destination}}}
"""


def document(host=ALIVE, name="Ann", destination="{endpoint: 1001}"):
    return DOCUMENT.format(host=host, name=name, destination=destination)


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    settings = {"asterisk.check": "off", "asterisk.probe_s": "6", "asterisk.qualify_s": "60"}
    with LabPbx(asterisk_install, document(), settings=settings) as lab:
        lab.serve()
        yield lab


def change(lab, **parts):
    path = lab.folder / "next.yaml"
    path.write_text(document(**parts))
    return lab.tandem("import", str(path), check=False)


def name_of_1001(lab):
    shown = lab.asterisk.cli("pjsip show endpoint 1001")
    return next(line.partition(":")[2].strip() for line in shown.splitlines() if line.startswith(" callerid "))


def explain(lab):
    return lab.request("GET", "/api/v1/routes/explain?did=%2B4930101")["destination"]


def live(lab):
    return next(it["number"] for it in lab.ask("config", "history") if it["is_live"])


def test_a_change_that_leaves_all_as_it_was_is_kept(pbx):
    lab = pbx
    lab.asterisk.cli("pjsip qualify carrier")
    done = change(lab, name="Bea", destination="{dialplan: 'from-admin,100'}")
    assert done.returncode == 0, done.stderr
    assert "Bea" in name_of_1001(lab)
    assert explain(lab) == "dialplan from-admin,100"
    assert ", probe 0." in lab.read_log() or ", probe 1." in lab.read_log()


def test_a_did_whose_test_call_finds_nothing_takes_all_back(pbx):
    """Neither our rules nor a throw-away Asterisk know the admin's own dialplan."""
    lab = pbx
    before, name, where, is_live = lab.asterisk.cli("dialplan show globals"), name_of_1001(lab), explain(lab), live(lab)
    done = change(lab, name="Cara", destination="{dialplan: 'from-admin,999'}")
    assert done.returncode == 1
    told = " ".join(done.stderr.split())
    assert (
        "after the switch it was not as well as before: dids.+4930101: a test call came to dialplan from-admin,999"
        in told
    )
    assert "the dialplan has no from-admin,999" in told
    assert "taken back: Asterisk has the previous configuration again" in told
    assert (name_of_1001(lab), explain(lab), live(lab)) == (name, where, is_live)
    assert lab.asterisk.cli("dialplan show globals") == before


def test_a_trunk_that_does_not_answer_any_more_takes_all_back(pbx):
    lab = pbx
    assert change(lab, name="Dora").returncode == 0
    is_live = live(lab)
    lab.asterisk.cli("pjsip qualify carrier")
    done = change(lab, name="Eve", host=DEAD)
    assert done.returncode == 1, done.stdout
    assert "trunks.carrier: answered before and does not any more" in " ".join(done.stderr.split())
    assert "Dora" in name_of_1001(lab)
    assert live(lab) == is_live
    assert ALIVE in lab.asterisk.cli("pjsip show aor carrier")


def test_plan_apply_and_drift(pbx):
    lab = pbx
    assert change(lab, name="Flo").returncode == 0
    assert lab.ask("drift")["asterisk"] == []
    path = lab.folder / "planned.yaml"
    path.write_text(document(name="Gil"))
    planned = lab.ask("plan", str(path), "-m", "another name")
    assert [it["fields"] for it in planned["plan"]["objects"]] == [[{"name": "name", "before": "Flo", "after": "Gil"}]]
    assert "Gil" in planned["plan"]["files"][0]["diff"]
    assert "Flo" in name_of_1001(lab)
    assert lab.ask("apply", "--plan", planned["plan_id"])["live"]
    assert "Gil" in name_of_1001(lab)
    assert lab.ask("config", "history")[0]["note"] == "another name"
    again = lab.tandem("apply", "--plan", planned["plan_id"], check=False)
    assert (again.returncode, "it was saved as revision" in again.stderr) == (1, True)
    # Somebody edits a file, and reloads it.
    file = lab.asterisk.etc / "tandem" / "current" / "pjsip.conf"
    text = file.read_text()
    stale = lab.ask("plan", str(path))
    file.write_text(text.replace("Gil", "Hal"))
    lab.asterisk.reload("res_pjsip.so")
    drift = lab.tandem("drift", check=False)
    assert drift.returncode == 1
    assert "Files on the disk are not what the live revision makes of them" in drift.stdout
    assert "~ endpoints.1001.name: must be" in drift.stdout
    refused = lab.tandem("apply", "--plan", stale["plan_id"], check=False)
    assert "the files on the disk are not those that it was made for" in " ".join(refused.stderr.split())
    lab.tandem("config", "discard")
    lab.asterisk.reload("res_pjsip.so")
    assert lab.tandem("drift").returncode == 0


def test_a_test_call_leaves_no_cdr(pbx):
    """A real call's record is read after those of the test calls before it, and it is the only one."""
    lab = pbx
    assert change(lab, name="Ina", destination="{dialplan: 'from-admin,100'}").returncode == 0
    assert change(lab, name="Ina", destination="{voicemail: 1001}").returncode == 0
    with place_calls(
        lab.asterisk, [Caller("+4930100", caller="+4930555")], steps=[Wait(0.5), HangUp()], host="127.0.0.2"
    ) as run:
        run.wait(timeout_s=30)
    wait_until(lambda: lab.request("GET", "/api/v1/cdrs")["items"], "the CDR of the call", timeout_s=60)
    assert len(lab.request("GET", "/api/v1/cdrs")["items"]) == 1


def test_a_backup_of_a_running_tandem_is_tried_out(pbx):
    lab = pbx
    archive = lab.folder / "tandem.tar.gz"
    assert change(lab, name="Ida").returncode == 0
    lab.tandem("backup", str(archive))
    told = lab.tandem("restore", "--verify", str(archive)).stdout
    assert "Throw-away Asterisk: passed." in told
    assert "files are made from it as they were" in told
    assert change(lab, name="Jon").returncode == 0
    assert lab.tandem("restore", "--replace", str(archive), check=False).returncode == 4  # while it runs
    lab.kill()
    lab.tandem("restore", "--replace", str(archive))
    lab.serve()
    assert "Ida" in name_of_1001(lab)


def test_a_template_of_the_sites_is_used_and_checked_like_ours(asterisk_install, tmp_path):
    templates = tmp_path / "templates"
    templates.mkdir()
    settings = {"asterisk.templates_dir": templates, "asterisk.check": "required"}
    with LabPbx(asterisk_install, document(), settings=settings) as lab:
        lab.serve()
        (templates / "voicemail.conf.j2").write_text(
            '{% include "shipped/voicemail.conf.j2" %}\n[lobby]\n7000 => 1234,Lobby\n'
        )
        assert "voicemail.conf" in lab.ask("config", "apply")["changed"]
        assert "lobby" in lab.asterisk.cli("voicemail show users")
        (templates / "voicemail.conf.j2").write_text("{{ nothing }}")
        refused = lab.tandem("config", "apply", check=False)
        assert "template voicemail.conf.j2.line 1: 'nothing' is undefined" in " ".join(refused.stderr.split())
        (templates / "voicemail.conf.j2").unlink()
        # One that Asterisk itself does not take.
        (templates / "pjsip.conf.j2").write_text(
            '{% include "shipped/pjsip.conf.j2" %}\n[carrier]\ntype = endpoint\nallow = nonsense\n'
        )
        refused = lab.tandem("config", "apply", check=False)
        assert refused.returncode == 1
        assert "the check in a throw-away Asterisk found" in " ".join(refused.stderr.split())
        assert "lobby" in lab.asterisk.cli("voicemail show users")
