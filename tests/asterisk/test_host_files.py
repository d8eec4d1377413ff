"""From nothing to a working Asterisk with `tandem init --asterisk`, in both modes, and back to the byte with `tandem uninstall`."""

import subprocess
import sys
import time

import pytest

from tandem.asterisk.instance import AsteriskInstance
from tandem.document import write_document
from tandem.domain.entities import Endpoint, HangupDestination, Pbx, Queue

pytestmark = pytest.mark.asterisk

PBX = Pbx(
    endpoints=(Endpoint(extension="1001", secret="correct-horse"),),
    queues=(Queue(name="sales", fallback=HangupDestination()),),
)


def read_all(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["guest", "owner"])
def test_from_nothing_and_back(asterisk_install, mode):
    own = {"pjsip.conf": "[udp]\ntype = transport\nbind = 127.0.0.1:5060\n"}
    with AsteriskInstance(asterisk_install, config=own) as asterisk:
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
        deadline = time.monotonic() + 20
        while asterisk.run([*argv, "check"], check=False).returncode:
            assert time.monotonic() < deadline, asterisk.run([*argv, "check"], check=False).stdout
            time.sleep(0.2)
        assert "Verified in the live Asterisk: 2 objects" in asterisk.run([*argv, "config", "apply", "--full"]).stdout
        assert "1001/1001" in asterisk.cli("pjsip show endpoints")
        serve.kill()
        serve.wait()
        asterisk.run([*argv, "uninstall"])
        assert read_all(asterisk.etc) == before
