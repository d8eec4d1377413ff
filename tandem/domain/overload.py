"""How fast the dialer may go with an Asterisk and a reactor that are busy: a factor from 0 to 1; pure, and always slows down before calls of strangers are lost.

Asterisk drops inbound INVITEs without a word when a task processor's queue passes its mark (asterisk-notes: cdr 5,000, cel 3,000, and
500 for most). The dialer halves its rate long before and stops at a fifth of the mark; it speeds up again by small steps.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# As shares of a queue's own high-water mark.
EASY: Final = 0.02
FULL: Final = 0.2
LAG_EASY_S: Final = 0.05
LAG_FULL_S: Final = 0.5
RECOVER: Final = 0.1
# `core show taskprocessors`: name, processed, in queue, max depth, low water, high water; newer ones add times.
_ROW: Final = re.compile(r"^(\S+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)(?:\s+\d+)*\s*$")


@dataclass(frozen=True, slots=True)
class TaskQueue:
    """One task processor: how much waits, and at how much Asterisk begins to refuse calls."""

    name: str
    waiting: int
    high_water: int


def read_task_queues(lines: Iterable[str]) -> tuple[TaskQueue, ...]:
    """From the output of `core show taskprocessors`; lines of another form are passed over."""
    found = (_ROW.match(line) for line in lines)
    return tuple(TaskQueue(row[1], int(row[3]), int(row[6])) for row in found if row is not None)


def read_pressure(queues: Iterable[TaskQueue], lag_s: float) -> float:
    """0 when nothing waits to 1 when the dialer must stop: the worst of all queues and of the reactor's lag."""
    shares = [(queue.waiting / max(queue.high_water, 1) - EASY) / (FULL - EASY) for queue in queues]
    lag = (lag_s - LAG_EASY_S) / (LAG_FULL_S - LAG_EASY_S)
    return min(1.0, max(0.0, lag, *shares))


def adjust_speed(speed: float, pressure: float) -> float:
    """The next factor: what the pressure allows at once, more only by small steps."""
    allowed = 1.0 - pressure
    return min(allowed, speed + RECOVER)
