"""What became of a call, from what was seen of it: ONE table for placed calls and for CDRs; never guesses what no evidence says.

Evidence only grows: two pieces are merged in any order and any number of times with the same result, because AMI's events come at
least once and out of order. What decides is the hang-up's cause and SIP code; OriginateResponse's reason says almost nothing
(asterisk-notes, "AMI"; each row was seen in a real call, tests/asterisk/test_calls.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, Literal


class Disposition(StrEnum):
    """The outcome kept for a placed call and in a CDR."""

    ANSWERED = "answered"
    MACHINE = "machine"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    INVALID_NUMBER = "invalid-number"
    CONGESTION = "congestion"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    TRUNK_DEAD = "trunk-dead"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"


Response = Literal["", "failed", "timed-out", "answered"]
_RESPONSES: Final[tuple[Response, ...]] = ("", "failed", "timed-out", "answered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen of one leg.

    response: OriginateResponse's reason (0, 3, 4 in words; '' where none came). cause: Q.850, tech_cause: SIP code; 0 where there is
    none. is_far_hangup: the far end ended or refused it (HangupRequest, or CEL's hangupsource). has_gap: AMI was away for a part of it,
    so what was not seen may have been. is_machine: a machine answered it, by Asterisk's AMD. is_refused: Asterisk took no originate (`Response: Error`). is_unsent: no byte of it reached
    Asterisk. is_lost: up when Asterisk died, or nothing is known of its end.
    """

    is_trunk: bool = False
    is_unsent: bool = False
    is_refused: bool = False
    response: Response = ""
    has_channel: bool = False
    has_rung: bool = False
    is_answered: bool = False
    is_machine: bool = False
    is_hung_up: bool = False
    is_far_hangup: bool = False
    is_cancelled: bool = False
    cause: int = 0
    tech_cause: int = 0
    has_gap: bool = False
    is_lost: bool = False

    @property
    def is_complete(self) -> bool:
        """Nothing more can come that would say more: the channel is gone and the originate has its answer, or there was never one."""
        return self.is_unsent or self.is_refused or (self.is_hung_up and self.response != "")


# Calls are much alike: a campaign's have a few dozen steps in all, and to make such a value costs more than to find it.
@lru_cache(maxsize=4096)
def merge_evidence(one: Evidence, other: Evidence) -> Evidence:
    """Everything that either says; commutative, associative, idempotent."""
    return Evidence(
        is_trunk=one.is_trunk or other.is_trunk,
        is_unsent=one.is_unsent or other.is_unsent,
        is_refused=one.is_refused or other.is_refused,
        response=max(one.response, other.response, key=_RESPONSES.index),
        has_channel=one.has_channel or other.has_channel,
        has_rung=one.has_rung or other.has_rung,
        is_answered=one.is_answered or other.is_answered,
        is_machine=one.is_machine or other.is_machine,
        is_hung_up=one.is_hung_up or other.is_hung_up,
        is_far_hangup=one.is_far_hangup or other.is_far_hangup,
        is_cancelled=one.is_cancelled or other.is_cancelled,
        cause=max(one.cause, other.cause),
        tech_cause=max(one.tech_cause, other.tech_cause),
        has_gap=one.has_gap or other.has_gap,
        is_lost=one.is_lost or other.is_lost,
    )


# Q.850 (ITU-T, table 1) of a leg that was never answered; what is not here is `failed`.
# 18 to 20: no user responding, no answer, subscriber absent; 26: answered by another phone.
DISPOSITION_BY_CAUSE: Final[Mapping[int, Disposition]] = {
    1: Disposition.INVALID_NUMBER,
    16: Disposition.CANCELLED,
    17: Disposition.BUSY,
    18: Disposition.NO_ANSWER,
    19: Disposition.NO_ANSWER,
    20: Disposition.NO_ANSWER,
    21: Disposition.REJECTED,
    22: Disposition.INVALID_NUMBER,
    26: Disposition.CANCELLED,
    28: Disposition.INVALID_NUMBER,
    34: Disposition.CONGESTION,
    42: Disposition.CONGESTION,
    43: Disposition.CONGESTION,
    44: Disposition.CONGESTION,
}
_SILENT_CAUSES: Final = frozenset({18, 19, 102})


def _never_spoke(evidence: Evidence) -> bool:
    """Our time-out, or PJSIP's own of 32 s (408), and not one sign of life before: nobody is there."""
    silent = evidence.response == "timed-out" or (evidence.tech_cause == 408 and evidence.cause in _SILENT_CAUSES)
    return silent and not evidence.has_rung and not evidence.is_far_hangup and not evidence.has_gap


# The first row that holds decides.
_TABLE: Final[tuple[tuple[Callable[[Evidence], bool], Disposition | None], ...]] = (
    (lambda e: e.is_unsent or e.is_refused, Disposition.FAILED),
    # However it ended: there was nobody.
    (lambda e: e.is_machine, Disposition.MACHINE),
    # Whether it was answered decides before how it ended; the end of an answered call may well be unknown.
    (lambda e: e.is_lost and not e.is_hung_up, Disposition.UNCONFIRMED),
    (lambda e: e.is_answered or e.response == "answered", Disposition.ANSWERED),
    (lambda e: _never_spoke(e) and e.is_trunk, Disposition.TRUNK_DEAD),
    (_never_spoke, Disposition.FAILED),
    # No channel was ever made: every contact of the trunk is unreachable, or the phone is unknown or not registered.
    (lambda e: not e.has_channel and not e.is_hung_up and not e.has_gap and e.is_trunk, Disposition.TRUNK_DEAD),
    (lambda e: not e.has_channel and not e.is_hung_up and not e.has_gap, Disposition.FAILED),
    (lambda e: e.is_cancelled and not e.is_far_hangup, Disposition.CANCELLED),
    (lambda e: e.response == "timed-out", Disposition.NO_ANSWER),
    # Gone without a cause: the side that called gave up.
    (lambda e: e.is_hung_up and e.cause == 0, Disposition.CANCELLED),
    (lambda e: e.cause != 0, None),
    (lambda _: True, Disposition.UNCONFIRMED),
)


def classify(evidence: Evidence) -> Disposition:
    """The disposition of a leg that is over."""
    found = next(disposition for holds, disposition in _TABLE if holds(evidence))
    return found if found is not None else DISPOSITION_BY_CAUSE.get(evidence.cause, Disposition.FAILED)
