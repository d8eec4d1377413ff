"""The throw-away Asterisk for a user without any right, as the service is: it checks, or says why it cannot."""

import json
import os
import sys
from pathlib import Path

import pytest

from lab.machine import CHECKOUT, Machine

pytestmark = pytest.mark.asterisk

# What `tandem config apply` does for its check, without a database and an Asterisk to change.
CHECK = """
import asyncio, json, sys
from tandem.reactor import install_reactor
install_reactor()
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from confgen.plan import touch_all
from confgen.render import RenderTarget, Transport
from confgen.verify import Check
from tandem.domain.changes import ApplyRefused
from tandem.domain.entities import Endpoint, Pbx, Trunk
from tandem.domain.snapshot import build_snapshot
from tandem.target import read_dialplan

def ask(mode, match):
    trunk = Trunk(name="carrier", authentication="registration", hosts=("sip.example.net",), match=(match,), username="u", secret="s" * 8)
    snapshot = build_snapshot(1, Pbx(trunks=(trunk,), endpoints=(Endpoint(extension="1001", secret="s" * 8),)))
    bound = Transport(name="udp", bind="203.0.113.99:5060")
    target = RenderTarget(
        mode="owner", agi_url="agi://127.0.0.1:4573", recordings_dir="/r", dialplan_dir="/d", transports=(bound,), trunk_transport="udp",
    )
    return Check(mode).check(snapshot, target, read_dialplan(), touch_all(snapshot))

async def ask_all():
    said = [await ask("if-possible", "198.51.100.7")]
    for mode, match in (("if-possible", "1:2:3"), ("required", "198.51.100.7")):
        try:
            said.append(await ask(mode, match))
        except ApplyRefused as error:
            said.append([f"{it.object}.{it.field}: {it.reason}" for it in error.problems])
    return said

def done(said):
    print(json.dumps(said) if isinstance(said, list) else said.getTraceback())
    reactor.stop()

ensureDeferred(ask_all()).addBoth(done)
reactor.run()
"""
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all")
IMPOSSIBLE = "no throw-away Asterisk can run"


@pytest.fixture
def machine(asterisk_install):
    with Machine(asterisk_install) as made:
        yield made


def ask_all(machine, asterisk_install):
    """What nobody is told of a good trunk, of a bad one, and of the good one where a check is required."""
    environ = {**os.environ, "HOME": "/nonexistent", "PYTHONPATH": str(CHECKOUT), "TMPDIR": "/tmp"}
    if asterisk_install.root is not None:
        environ["TANDEM_CACHE"] = str(asterisk_install.root.parent)
    done = machine.run([*NOBODY, sys.executable, "-c", CHECK], env=environ, cwd="/", check=False, timeout_s=100)
    assert done.returncode == 0, done.stderr
    assert not [path for path in Path("/tmp").glob("tandem-check-*") if path.stat().st_uid == 65534]
    return json.loads(done.stdout)


def test_without_any_right(machine, asterisk_install):
    good, bad, required = ask_all(machine, asterisk_install)
    allowed = machine.run([*NOBODY, "unshare", "--user", "--map-root-user", "true"], check=False)
    if allowed.returncode == 0:
        assert (good, required) == ("passed", "passed")
        assert [it.partition(":")[0] for it in bad] == ["trunks.carrier.match"]
    else:
        assert good == bad == f"skipped: {IMPOSSIBLE} here: {allowed.stderr.strip()}"
        assert required == [f"asterisk.check.: is `required`, and {IMPOSSIBLE}: {allowed.stderr.strip()}"]


def test_where_the_kernel_refuses(machine, asterisk_install):
    """Something lies over a part of /proc, as in many containers: no other /proc may be mounted without root then."""
    machine.run(["mount", "--bind", "/proc/sys", "/proc/sys"])
    good, bad, required = ask_all(machine, asterisk_install)
    assert good.startswith(f"skipped: {IMPOSSIBLE} here: ")
    assert "user namespace" in good or "/proc" in good
    assert bad == good
    assert required[0].startswith(f"asterisk.check.: is `required`, and {IMPOSSIBLE}: ")
