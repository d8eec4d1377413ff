"""Boots a throw-away Asterisk on a candidate configuration and tells what it said; never sends a packet, never outlives its answer.

`python -m tandem.asterisk.trial` reads a `Candidate` as JSON from standard input and writes a `Trial`. A process of its own, because that may be
started in a user namespace where Tandem is not root, and so that what takes seconds is not in the process that decides calls.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tandem.asterisk.install import AsteriskInstall, AsteriskUnavailable, locate_asterisk
from tandem.asterisk.instance import AsteriskFailed, AsteriskInstance
from tandem.asterisk.namespaces import NamespaceError

TIMEOUT_S: Final = 120.0
HOME_PREFIX: Final = "tandem-check-"
UNAVAILABLE: Final = 3
FAILED: Final = 4


class TrialUnavailable(Exception):
    """No throw-away Asterisk can be run here; says why."""


class TrialFailed(Exception):
    """The throw-away Asterisk did not boot on this configuration; the message ends with its log."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What to boot on. folder: its home, made and removed; files: name below etc/ -> text; names: hosts that it must be able to find.

    commands: of the console, run after the boot. hold_s: how long it is kept running after that, for the test that counts packets.
    """

    folder: str
    files: Mapping[str, str]
    names: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    hold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What happened. log: lines of its log; answers: of the commands; packets: that it gave to its network, which are none."""

    version: str
    log: tuple[str, ...]
    answers: tuple[str, ...]
    packets: int
    took_s: float


def run_trial(candidate: Candidate) -> Trial:
    """Runs one, from a thread of whoever asks. Raises TrialUnavailable and TrialFailed."""
    remove_leftovers(Path(candidate.folder).parent)
    argv = [sys.executable, "-m", "tandem.asterisk.trial"]
    if os.geteuid() != 0:
        argv = ["unshare", "--user", "--map-root-user", *argv]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            argv,
            input=json.dumps(asdict(candidate)),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S + candidate.hold_s,
            check=False,
            env=environ,
        )
    except subprocess.TimeoutExpired:
        raise TrialFailed(f"the throw-away Asterisk was not done after {TIMEOUT_S:g} s") from None
    except OSError as error:
        raise TrialUnavailable(f"it cannot be started: {error}") from error
    finally:
        shutil.rmtree(candidate.folder, ignore_errors=True)
    said = done.stderr.strip()
    if done.returncode == FAILED:
        raise TrialFailed(said)
    if done.returncode == UNAVAILABLE:
        raise TrialUnavailable(" ".join(said.split()))
    if done.returncode != 0:  # unshare itself, or a traceback: what matters is in the last line
        raise TrialUnavailable(said.splitlines()[-1] if said else f"it ended with status {done.returncode}")
    answer = json.loads(done.stdout)
    return Trial(
        **{**answer, "log": tuple(answer["log"]), "answers": tuple(answer["answers"])},
    )


def remove_leftovers(parent: Path) -> None:
    """Takes away homes of trials that were killed with all that belonged to them; one that runs is younger."""
    for folder in parent.glob(f"{HOME_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = folder.stat()
            if status.st_uid == os.geteuid() and time.time() - status.st_mtime > 2 * TIMEOUT_S:
                shutil.rmtree(folder, ignore_errors=True)


def boot_candidate(candidate: Candidate) -> Trial:
    """Boots, asks, counts, ends; in this process. Raises AsteriskUnavailable, NamespaceError, AsteriskFailed."""
    started = time.monotonic()
    install = locate_asterisk()
    try:
        return _boot(install, candidate, started, documented=False)
    except AsteriskFailed:
        # Should it ever be for want of the documentation that was left out, no configuration must be refused for it.
        shutil.rmtree(candidate.folder, ignore_errors=True)
        return _boot(install, candidate, started, documented=True)
    finally:
        shutil.rmtree(candidate.folder, ignore_errors=True)


def _boot(install: AsteriskInstall, candidate: Candidate, started: float, *, documented: bool) -> Trial:
    with AsteriskInstance(
        install,
        folder=Path(candidate.folder),
        config=dict(candidate.files),
        verbosity=0,
        silent=True,
        hosts=candidate.names,
        documented=documented,
    ) as asterisk:
        answers = tuple(asterisk.cli(command) for command in candidate.commands)
        time.sleep(candidate.hold_s)
        log = tuple(asterisk.read_log().splitlines())
        packets = count_packets(Path(f"/proc/{asterisk.process.pid}/net"))
        asterisk.kill()  # nothing in it is worth an orderly end
        return Trial(install.version, log, answers, packets, time.monotonic() - started)


def count_packets(net: Path) -> int:
    """Packets that a network namespace has sent since it was made: by IP (v4 and v6) and by any device, loopback included."""
    names, values = (line.split() for line in (net / "snmp").read_text().splitlines() if line.startswith("Ip:"))
    sent = int(dict(zip(names, values, strict=True))["OutRequests"])
    for line in (net / "snmp6").read_text().splitlines() if (net / "snmp6").exists() else ():
        name, _, value = line.partition(" ")
        sent += int(value) if name == "Ip6OutRequests" else 0
    devices = (line.partition(":")[2].split() for line in (net / "dev").read_text().splitlines()[2:])
    return sent + sum(int(columns[9]) for columns in devices)


def main() -> int:
    """For `run_trial`."""
    asked = json.load(sys.stdin)
    candidate = Candidate(**{**asked, "names": tuple(asked["names"]), "commands": tuple(asked["commands"])})
    try:
        trial = boot_candidate(candidate)
    except (AsteriskUnavailable, NamespaceError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return UNAVAILABLE
    except (AsteriskFailed, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    json.dump(asdict(trial), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
