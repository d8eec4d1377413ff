"""Programs that are there and do nothing, as under a debugger or on a machine that swaps; never leaves one half frozen."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

FREEZE_S = 10.0


def freeze(process: subprocess.Popen[Any]) -> None:
    """SIGSTOP, and wait until the last thread stands still: one thread takes the signal and stops the others, which work on until then.

    TimeoutError after `FREEZE_S`. A process that has ended is left as it is.
    """
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + FREEZE_S
    while not all(state in "TtZX" for state in _states(process.pid)):
        if time.monotonic() > deadline:
            thaw(process)
            raise TimeoutError(f"process {process.pid} does not stand still within {FREEZE_S:g} s")
        time.sleep(0.001)


def thaw(process: subprocess.Popen[Any]) -> None:
    """SIGCONT."""
    process.send_signal(signal.SIGCONT)


def _states(pid: int) -> list[str]:
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            # The name before it may have spaces and brackets (proc_pid_stat(5)).
            states.append(stat.read_text().rpartition(")")[2].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return states
