"""The shipped unit: hardened, and with what a running Tandem needs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parent.parent / "systemd" / "tandem.service"
MOST_EXPOSED = 30  # tenths: 3.0


def read_unit():
    lines = [line for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return [tuple(line.split("=", 1)) for line in lines]


def test_the_unit_says_what_the_process_does():
    unit = read_unit()
    settings = dict(unit)
    assert settings["Type"] == "notify"
    assert 1 <= int(settings["WatchdogSec"]) <= 10
    assert settings["User"] == "tandem"
    assert settings["Restart"] == "always"
    # No socket unit: a connection that nobody accepts would hold a call.
    assert not list(UNIT.parent.glob("*.socket"))
    # The throw-away Asterisk's namespaces.
    assert set(settings["RestrictNamespaces"].split()) == {"user", "mnt", "net", "pid"}
    # Each of these mounts something over a part of /proc, and a namespace without root is then refused a /proc of its own.
    assert not {"ProtectKernelTunables", "ProtectKernelLogs", "ProtectHostname", "ProtectProc", "ProcSubset"} & set(
        settings
    )


@pytest.mark.skipif(
    "CI" not in os.environ and shutil.which("systemd-analyze") is None, reason="no systemd-analyze here"
)
def test_systemd_finds_it_hardened():
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", str(UNIT)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
