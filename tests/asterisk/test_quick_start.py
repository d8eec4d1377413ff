"""The quick starts of README and manual, command by command as printed, on a machine with Debian's Asterisk: from nothing to calls, a menu, a queue, voicemail.

What is not as on an admin's machine is in `QuickStart` and `SYSTEMCTL`, and nowhere else: no package index is asked, and PID 1 is not systemd.
"""

import json
import re
import subprocess
import sys
import sysconfig

import pytest

from lab.machine import CHECKOUT, SYSTEM_FOLDERS, Machine
from lab.observe import wait_until
from lab.sipp import AwaitBye, Caller, HangUp, Press, Speak, Wait, place_calls, register_phones, run_phone
from tandem.asterisk.instance import BUILD_ROOT

pytestmark = pytest.mark.asterisk

PHONE_PORT = 5070

# What Debian's package brings: its user, its folders, its program (from the cached tree, where that is where Asterisk is).
PACKAGE = """
set -eu
tree=$1; shift
echo 'u asterisk - "Asterisk PBX daemon" /var/lib/asterisk' | systemd-sysusers -
mkdir -p /run/asterisk
if [ "$tree" != / ]; then
    for folder in etc var/lib var/spool var/log; do cp -a "$tree/$folder/asterisk" "/$folder/"; done
fi
chown -R asterisk:asterisk /run/asterisk /etc/asterisk /var/lib/asterisk /var/spool/asterisk /var/log/asterisk
"""
PROGRAM = """#!/bin/sh
exec chroot {root} /usr/sbin/asterisk "$@"
"""

# What is used of systemctl: `enable --now` starts a unit's program as its user, without a right and in a clean environment, and waits until it
# is ready; `restart asterisk` as Debian's unit does.
SYSTEMCTL = """#!{python}
import configparser, os, pwd, shlex, socket, subprocess, sys, time

def start(argv, log, **options):
    with open(f"/var/log/{{log}}", "a") as stream:
        subprocess.Popen(argv, cwd="/", start_new_session=True, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, **options)

def restart_asterisk():
    if os.path.exists("/run/asterisk/asterisk.ctl"):
        subprocess.run(["asterisk", "-rx", "core stop now"], check=True, stdout=subprocess.DEVNULL)
        while os.path.exists("/run/asterisk/asterisk.pid"):
            time.sleep(0.05)
    start(["asterisk", "-f", "-U", "asterisk", "-G", "asterisk"], "asterisk.log")
    while b"fully booted" not in subprocess.run(["asterisk", "-rx", "core waitfullybooted"], capture_output=True).stdout:
        time.sleep(0.1)

def enable(name):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(f"/etc/systemd/system/{{name}}.service")
    service = unit["Service"]
    user = pwd.getpwnam(service["User"])
    folder = f"/run/{{service['RuntimeDirectory']}}"
    os.mkdir(folder, int(service["RuntimeDirectoryMode"], 8))
    os.chown(folder, user.pw_uid, user.pw_gid)
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind("/run/notify")
    os.chmod("/run/notify", 0o666)
    os.umask(int(service["UMask"], 8))
    environ = {{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME": user.pw_dir, "NOTIFY_SOCKET": "/run/notify"}}
    drop = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", f"--reuid={{user.pw_uid}}", f"--regid={{user.pw_gid}}", "--init-groups"]
    start(["setpriv", *drop, *shlex.split(service["ExecStart"])], f"{{name}}.log", env={{**environ, **{environ}}})
    heard.settimeout(60)
    assert heard.recv(100) == b"READY=1"

match sys.argv[1:]:
    case ["restart", "asterisk"]:
        restart_asterisk()
    case ["enable", "--now", name]:
        enable(name)
    case other:
        sys.exit(f"systemctl {{other}}: not known here")
"""


def read_blocks(heading):
    """The fenced blocks of a section of the README that are commands: those that begin with one."""
    section = re.search(rf"^## {heading}$(.*?)^## ", (CHECKOUT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if not block.startswith("[")]


class QuickStart:
    """A machine with an Asterisk on it, and a root shell that types what the README prints."""

    def __init__(self, machine, install):
        self.machine = machine
        self.bin = machine.folder / "bin"
        self.bin.mkdir()
        # Nothing is fetched: what Tandem needs is what this test runs with. In the service's environment too.
        self.adapted = {"PYTHONPATH": sysconfig.get_path("purelib")}
        self.environ = {
            "PATH": f"{self.bin}:{sys.base_prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "PIP_NO_DEPS": "1",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say that there is none
            **self.adapted,
        }
        machine.run(["sh", "-c", PACKAGE, "sh", str(install.root or "/")])
        if install.root is not None:
            self.adapted["TANDEM_CACHE"] = str(install.root.parent)
            root = machine.folder / "root"
            root.mkdir()
            folders = (
                "/etc/asterisk",
                "/var/lib/asterisk",
                "/var/spool/asterisk",
                "/var/log/asterisk",
                "/run/asterisk",
            )
            machine.run(["sh", "-c", BUILD_ROOT, "sh", str(install.root), str(root), *folders])
            machine.run(["ln", "-s", "/run", str(root / "var/run")])
            for name in ("passwd", "group"):
                machine.run(["mount", "--bind", f"/etc/{name}", str(root / "etc" / name)])
            self.write_program("asterisk", PROGRAM.format(root=root))
        self.write_program("systemctl", SYSTEMCTL.format(python=sys.executable, environ=self.adapted))
        machine.run(["systemctl", "restart", "asterisk"], env=self.environ, timeout_s=60)

    def write_program(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def asterisk(self, command):
        return self.machine.run(["asterisk", "-rx", command], env=self.environ, check=False).stdout

    def tandem(self, *arguments):
        done = self.machine.run(["tandem", *arguments], env=self.environ, check=False)
        return done.stdout + done.stderr

    def find_ended(self, call_id):
        """The placed call, once it has ended."""
        url = f"http://localhost/api/v1/calls/{call_id}"
        found = json.loads(self.machine.run(["curl", "-s", "--unix-socket", "/run/tandem/control.sock", url]).stdout)
        return found if found["state"] == "ended" else None

    def read_asterisk_files(self):
        """Every file of Asterisk's own, with its mode and owner."""
        script = "cd /etc/asterisk && find . -path ./tandem -prune -o -type f -printf '%p %m %u %g ' -exec sha256sum {} ';' | sort"
        return self.machine.run(["sh", "-c", script]).stdout.splitlines()

    def type_in(self, block):
        """What each command said, by its first words; and those that failed, with their exit codes."""
        trap = r"""trap 'printf "\n\001%s\n" "$BASH_COMMAND"' DEBUG; trap 'printf "\n\002%s\n" $?' ERR"""
        done = self.machine.run(
            ["bash", "-c", f"{trap}\n{block}"],
            env=self.environ,
            cwd=CHECKOUT,
            stderr=subprocess.STDOUT,
            check=False,
            timeout_s=200,
        )
        said = []
        for part in done.stdout.split("\n\1")[1:]:
            command, _, answer = part.partition("\n")
            if answer.startswith("\n\2"):  # the trap's own command, announced with the name of the one that failed
                said[-1] = (*said[-1][:2], int(answer[2:]))
            else:
                said.append((command, answer, 0))
        return said


@pytest.fixture
def quick_start(asterisk_install):
    with Machine(asterisk_install, writable=(*SYSTEM_FOLDERS, CHECKOUT)) as machine:
        yield QuickStart(machine, asterisk_install)


def test_as_printed(quick_start):
    (use,), (change,) = read_blocks("Use it"), read_blocks("Change it, call with it")
    said = quick_start.type_in(use)
    failed = "\n".join(f"{command}: {answer}" for command, answer, status in said if status)
    assert not failed, failed
    assert "process: ready, revision 1" in said[-1][1]

    register_phones(quick_start.machine, [("1001", "change-me-shop-floor")], port=PHONE_PORT)
    with run_phone(quick_start.machine, port=PHONE_PORT, steps=[Wait(1), HangUp()]) as phone:
        said = quick_start.type_in(change)
        failed = [(command, status) for command, _, status in said if status]
        assert failed == [("tandem import mistake.yaml", 2)], said
        answers = {command.partition(" -")[0]: answer for command, answer, _ in said}
        assert "Revision 2 is live" in answers["tandem import pbx.yaml"]
        assert "-> queue support" in answers["tandem route explain +493023125001"]
        printed = re.search(r"^tandem import mistake\.yaml +# (.*)$", change, re.MULTILINE)[1]
        assert " ".join(answers["tandem import mistake.yaml"].split()) == printed
        assert "Rolled back to what revision 1 was." in answers["tandem config rollback 1"]
        assert "-> queue sales" in quick_start.tandem("route", "explain", "+493023125001")
        call = json.loads(re.search(r"\{.*\}", answers["curl"], re.DOTALL)[0])
        phone.wait_for("hangup")
        ended = wait_until(lambda: quick_start.find_ended(call["call_id"]), "the call has its end")
        assert ended["disposition"] == "answered"


def test_the_manual_s_as_printed(quick_start):
    """Two phones, a number, a menu, a queue and voicemail, as somebody has them who reads nothing else."""
    page = (CHECKOUT / "docs" / "quick-start.md").read_text()
    assert '--8<-- "README.md:install"' in page  # the README's commands, by reference
    describe, register, tell = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (use,) = read_blocks("Use it")
    for block in (use, describe):
        failed = [step for step in quick_start.type_in(block) if step[2]]
        assert not failed, failed
    for port, account in enumerate((("1001", "change-me-front-desk"), ("1002", "change-me-workshop"))):
        register_phones(quick_start.machine, [account], port=PHONE_PORT + 10 * port)
    answers = {command: answer for command, answer, _ in quick_start.type_in(register)}
    assert len(re.findall(r"Contact:  100[12]/", answers["asterisk -rx 'pjsip show contacts'"])) == 2
    assert "-> menu main" in answers["tandem route explain +493023125000 --from +15550100"]

    # The carrier of the page.
    quick_start.machine.run(["ip", "address", "add", "192.0.2.10/32", "dev", "lo"])
    talk = [Wait(1), HangUp()]
    with (
        run_phone(quick_start.machine, port=PHONE_PORT, steps=talk) as desk,
        run_phone(quick_start.machine, port=PHONE_PORT + 10, steps=talk) as workshop,
    ):
        calls = [
            place_calls(
                quick_start.machine, [Caller("+493023125000", f"+1555010{number}")], steps=steps, host="192.0.2.10"
            )
            for number, steps in enumerate(
                ((Wait(2), Press("0"), AwaitBye(60)), (Wait(2), Press("1"), AwaitBye(60)), (Speak(50), HangUp()))
            )
        ]
        desk.wait_for("hangup", timeout_s=60)
        workshop.wait_for("hangup", timeout_s=60)
        for call in calls:
            call.wait(timeout_s=90)
        assert [len(phone.read_legs()) for phone in (desk, workshop)] == [1, 1]
    waiting = wait_until(
        lambda: re.search(r"^tandem +1001 .* ([1-9]\d*)$", quick_start.asterisk("voicemail show users"), re.MULTILINE),
        "a message",
    )
    assert waiting[1] == "1"
    said = "\n".join(answer for _, answer, _ in quick_start.type_in(tell))
    assert {"endpoint 1001", "queue workshop", "voicemail 1001"} <= set(
        re.findall(r"(?:endpoint|queue|voicemail) \w+", said)
    ), said


def test_a_change_of_asterisks_files_is_checked_by_the_service(quick_start):
    """Its own user, without a right, loads it in a throw-away Asterisk; and what the admin's Asterisk has goes back with `uninstall`."""
    before = quick_start.read_asterisk_files()
    (use,) = read_blocks("Use it")
    quick_start.type_in(use)
    document = quick_start.tandem("export")
    (quick_start.machine.folder / "pbx.yaml").write_text(document.replace("192.0.2.10", "1:2:3"))
    refused = quick_start.tandem("import", str(quick_start.machine.folder / "pbx.yaml"))
    assert "trunks.carrier.match" in refused, refused
    (quick_start.machine.folder / "pbx.yaml").write_text(document.replace("name: Sales", "name: Shop"))
    done = quick_start.tandem("import", str(quick_start.machine.folder / "pbx.yaml"))
    assert "Check before: passed" in done, done
    assert '"Shop" <1002>' in quick_start.asterisk("pjsip show endpoint 1002")
    quick_start.tandem("uninstall")
    assert quick_start.read_asterisk_files() == before
