"""How fast the dialer may go with an Asterisk and a reactor that are busy: a factor from 0 to 1; pure, and always slows down before calls of strangers are lost.

Asterisk drops inbound INVITEs without a word when a task processor's queue passes its mark (asterisk-notes: cdr 5,000, cel and manager
3,000, and 500 for most). How many calls a second fill them nobody knows beforehand: it depends on machine, dialplan and what is
recorded. So the rate is worked up to, from one that every Asterisk can do; where a queue grows it goes back to a little less than what
was dialled, and from there up again slowly. At a fifth of a mark nothing is dialled.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# As shares of a queue's own high-water mark.
EASY: Final = 0.06
FULL: Final = 0.2
LAG_EASY_S: Final = 0.05
LAG_FULL_S: Final = 0.5
# Calls a second that are begun with; the default of dialer.max_cps.
EASY_CPS: Final = 50.0
# A look after which nothing waits adds so much: while it is not known what is too much, and afterwards.
SEARCH: Final = 1.2
APPROACH: Final = 1.02
# A queue that is at its worst takes this share of the rate off.
CUT: Final = 0.3
SLOWEST: Final = 0.005
# `core show taskprocessors`: name, processed, in queue, max depth, low water, high water; newer ones add times.
# There may be hundreds, and they are asked about every second: a row in whose queue nothing is says nothing.
_ROW: Final = re.compile(r"^(\S+)\s+\d+\s+([1-9]\d*)\s+\d+\s+\d+\s+(\d+)(?:\s+\d+)*\s*$")


@dataclass(frozen=True, slots=True)
class TaskQueue:
    """One task processor: how much waits, and at how much Asterisk begins to refuse calls."""

    name: str
    waiting: int
    high_water: int


def read_task_queues(lines: Iterable[str]) -> tuple[TaskQueue, ...]:
    """Those with something in their queue, from the output of `core show taskprocessors`; lines of another form are passed over."""
    found = (_ROW.match(line) for line in lines)
    return tuple(TaskQueue(row[1], int(row[2]), int(row[3])) for row in found if row is not None)


def read_pressure(queues: Iterable[TaskQueue], lag_s: float) -> float:
    """0 when nothing waits to 1 when the dialer must stop: the worst of all queues and of the reactor's lag."""
    shares = [(queue.waiting / max(queue.high_water, 1) - EASY) / (FULL - EASY) for queue in queues]
    lag = (lag_s - LAG_EASY_S) / (LAG_FULL_S - LAG_EASY_S)
    return min(1.0, max(0.0, lag, *shares))


@dataclass(frozen=True, slots=True)
class Cap:
    """The share of the rate that may be used. is_found: more of it was too much once."""

    share: float = 1.0
    is_found: bool = False


def begin_cap(max_cps: float) -> Cap:
    """Before anything is known, for a rate of so many calls a second."""
    return Cap(min(1.0, EASY_CPS / max_cps))


def adjust_cap(cap: Cap, pressure: float, used: float) -> Cap:
    """After a look. pressure: of Asterisk's queues. used: the share of the rate that was dialled since the look before.

    A cap that was not used is not raised: nothing was learnt about it. Nor is it lowered by queues that are full without us.
    """
    if not used:
        return cap
    if pressure > 0.0:
        return Cap(max(SLOWEST, min(cap.share, used) * (1.0 - CUT * pressure)), is_found=True)
    if used < cap.share / 2:
        return cap
    return Cap(min(1.0, cap.share * (APPROACH if cap.is_found else SEARCH) + SLOWEST), cap.is_found)


def allow_speed(cap: Cap, pressure: float) -> float:
    """The share of the rate that may be dialled now. pressure: of all, the reactor's too."""
    return max(0.0, min(cap.share, 1.0 - pressure))
