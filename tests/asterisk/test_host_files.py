"""From nothing to a working Asterisk with `tandem init --asterisk`, in both modes, and back to the byte with `tandem uninstall`."""

import json
import re
import subprocess
import sys
import time

import pytest

from tandem.asterisk.base_config import MODULES
from tandem.asterisk.instance import AsteriskInstance
from tandem.document import write_document
from tandem.domain.destinations import HangupDestination
from tandem.domain.disposition import Disposition
from tandem.domain.entities import Endpoint, Pbx, Queue
from tandem.domain.records import RECORD_MODULES
from tandem.store.cdrs import CdrQuery, load_cdrs
from tandem.store.database import Store

pytestmark = pytest.mark.asterisk

PBX = Pbx(
    endpoints=(Endpoint(extension="1001", secret="correct-horse"),),
    queues=(Queue(name="sales", fallback=HangupDestination()),),
)

SET = 30
# What an Asterisk comes with, and records of the admin's own that go on.
OWN = {
    "stasis.conf": "; the admin's\n",
    "pjsip.conf": "[udp]\ntype = transport\nbind = 127.0.0.1:5060\n",
    "extensions.conf": "[own]\nexten => 100,1,Answer(,i)\n same => n,Wait(1)\n",
    "cel.conf": "[general]\nenable = yes\napps=wait,park\nevents=APP_START,CHAN_START\n[manager]\n[radius]\n",
    "cel_custom.conf": "[mappings]\nMaster.csv => ${CSV_QUOTE(${eventtype})}\n",
    "cdr_custom.conf": "; nothing yet\n",
    "cdr_manager.conf": "[general]\nenabled = no\n",
    "modules.conf": "[modules]\nautoload = no\n"
    + "".join(f"load = {name}.so\n" for name in MODULES if name not in RECORD_MODULES)
    + "[global]\n",
}


def read_all(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["guest", "owner"])
def test_from_nothing_and_back(asterisk_install, mode):
    with AsteriskInstance(asterisk_install, config=OWN) as asterisk:
        (asterisk.log / "cel-custom").rmdir()
        (asterisk.log / "cdr-custom").rmdir()
        home = asterisk.folder / "tandem"
        argv = [sys.executable, "-m", "tandem", "--settings", str(home / "tandem.yaml")]
        before = read_all(asterisk.etc)
        settings = {
            "state_dir": home,
            "run_dir": home / "run",
            "database.path": home / "tandem.db",
            "asterisk.etc_dir": asterisk.etc,
            "asterisk.config_dir": asterisk.etc / "tandem",
            "asterisk.recordings_dir": asterisk.spool / "monitor",
            "asterisk.cel_file": asterisk.log / "cel-custom/cel.json",
            "asterisk.cdr_file": asterisk.log / "cdr-custom/cdr.json",
            "asterisk.sip_bind": "127.0.0.1:5060",
            "asterisk.check": "required",
            "ami.username": "our-dialer",
            "ami.config_username": "our-config",
        }
        init = [*argv, "init", "--asterisk", mode, *(f"--set={key}={value}" for key, value in settings.items())]
        asterisk.run(init)
        installed = read_all(asterisk.etc)
        asterisk.run(init)
        assert read_all(asterisk.etc) == installed
        asterisk.restart()
        (home / "pbx.yaml").write_text(write_document(PBX))
        asterisk.run([*argv, "import", str(home / "pbx.yaml")])
        serve = asterisk.popen([*argv, "serve"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while asterisk.run([*argv, "check"], check=False).returncode:
            assert time.monotonic() < deadline, asterisk.run([*argv, "check"], check=False).stdout
            time.sleep(0.2)
        assert "Verified in the live Asterisk: 2 objects" in asterisk.run([*argv, "config", "apply", "--full"]).stdout
        assert "1001/1001" in asterisk.cli("pjsip show endpoints")
        if mode == "guest":
            follow_a_call(asterisk, home)
            say_what_is_missing(asterisk, argv)
        # In a guest's Asterisk each variable is a message for the manager; in ours none is made.
        assert (count_messages(asterisk) >= SET) is (mode == "guest")
        serve.kill()
        serve.wait()
        asterisk.run([*argv, "uninstall"])
        assert read_all(asterisk.etc) == before


def count_messages(asterisk):
    """How many messages AMI's queue takes while SET variables are set."""

    def read():
        line = re.search(r"^stasis/m:manager:core\S*\s+(\d+)", asterisk.cli("core show taskprocessors"), re.MULTILINE)
        return int(line[1])

    before = read()
    for number in range(SET):
        asterisk.cli(f"dialplan set global SEEN_{number} 1")
    return read() - before


def follow_a_call(asterisk, home):
    """A call of the admin's own dialplan has its CDR in the ledger, and his own record has it, too."""
    asterisk.cli("channel originate Local/100@own application Wait 1")
    deadline = time.monotonic() + 20
    while not (cdrs := Store(home / "tandem.db").run_now(load_cdrs, CdrQuery())):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert [(cdr.called, cdr.disposition) for cdr in cdrs] == [("100", Disposition.ANSWERED)]
    assert '"APP_START"' in (asterisk.log / "cel-custom/Master.csv").read_text()
    assert "cdr_manager" in asterisk.cli("cdr show status")


def say_what_is_missing(asterisk, argv):
    """`check` names what an admin took out, and `init` puts it back."""

    def find(what):
        found = json.loads(asterisk.run([*argv, "check", "--json"], check=False).stdout)
        return next((finding["found"], finding["remedy"]) for finding in found if finding["what"] == what)

    installed = read_all(asterisk.etc)
    assert find("CEL record") == (f"Asterisk writes {asterisk.log}/cel-custom/cel.json", "")
    asterisk.write_config("cel.conf", OWN["cel.conf"])
    asterisk.write_config("cdr_custom.conf", OWN["cdr_custom.conf"])
    asterisk.reload()
    lacking, remedy = find("CEL record")
    assert lacking == "cel.conf lacks events = ANSWER,HANGUP"
    assert "tandem init --asterisk guest" in remedy
    assert find("CDR record")[0] == "cdr_custom.conf has no [cdr.json] with the fields that Tandem reads"
    folder = asterisk.log / "cel-custom"
    folder.rename(asterisk.log / "away")
    assert find("CEL record")[0].startswith(f"{folder} does not exist")
    (asterisk.log / "away").rename(folder)
    asterisk.run([*argv, "init", "--asterisk", "guest"])
    assert read_all(asterisk.etc) == installed
    asterisk.reload()
    assert find("CEL record")[1] == ""
    assert find("CDR record")[1] == ""
