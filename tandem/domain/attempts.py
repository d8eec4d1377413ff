"""What happens to a number after an attempt: another one, when, or the end; pure, and never retries inside the time in which a lost call may still ring.

Sources: `retry_times` counts *further* attempts and `retry_delay` runs from the end of the attempt (the ARI Dialer's manual).
"""

from dataclasses import dataclass
from typing import Final

from tandem.domain.campaigns import STATUS_BY_DISPOSITION, Campaign, Hold, NumberStatus
from tandem.domain.disposition import Disposition

# An attempt of which nothing is known may still ring so long after its own time-out, at an Asterisk that was frozen.
DOUBT_S: Final = 60.0
# A dead trunk is no answer of the callee's: the number waits for the trunk, not for its own delay.
TRUNK_DELAY_S: Final = 15.0
# Nobody has that number, whatever the general rule says; a rule of its own may say otherwise.
_NEVER: Final = frozenset({Disposition.INVALID_NUMBER})


@dataclass(frozen=True, slots=True)
class Retry:
    """Once more, not before `at` (seconds since 1970). is_spent: the attempt counts."""

    at: float
    hold: Hold = "retry"
    is_spent: bool = True


@dataclass(frozen=True, slots=True)
class Finished:
    """No more attempts; the number's status from now on."""

    status: NumberStatus


def after_attempt(
    campaign: Campaign,
    attempts: int,
    disposition: Disposition,
    started_at: float,
    ended_at: float,
    *,
    is_unsent: bool = False,
    is_connected: bool = True,
) -> Retry | Finished:
    """What follows on an attempt that is over. attempts: how many there were, this one included.

    is_unsent: no byte of it reached Asterisk, so nobody was called. A dead trunk spends no attempt either. is_connected: whoever
    answered reached whom the call was for; whether that is the end is the campaign's goal.
    """
    if disposition is Disposition.ANSWERED:
        is_done = campaign.goal == "answered" or (campaign.goal == "connected" and is_connected)
        if not is_done and attempts <= campaign.retry_times:
            return Retry(ended_at + campaign.retry_delay_s)
        return Finished(NumberStatus.COMPLETED if is_done or is_connected else NumberStatus.FAILED)
    if is_unsent or disposition is Disposition.TRUNK_DEAD:
        return Retry(ended_at + TRUNK_DELAY_S, "trunk", is_spent=False)
    times, delay_s = find_retries(campaign, disposition)
    if attempts > times:
        if is_told(campaign, disposition):
            return Finished(NumberStatus.COMPLETED)
        return Finished(STATUS_BY_DISPOSITION.get(disposition, NumberStatus.FAILED))
    at = ended_at + delay_s
    if disposition is Disposition.UNCONFIRMED:
        ring_window = end_doubt(campaign, started_at)
        return Retry(max(at, ring_window), "doubt" if ring_window > at else "retry")
    return Retry(at)


def find_retries(campaign: Campaign, disposition: Disposition) -> tuple[int, int]:
    """How often a number is tried again after such an end, in all, and how many seconds later."""
    rule = campaign.retry_rules.get(disposition.value)  # type: ignore[call-overload]  # others are just not there
    if rule is not None:
        return rule.times, rule.delay_s
    is_over = disposition in _NEVER or is_told(campaign, disposition)
    return 0 if is_over else campaign.retry_times, campaign.retry_delay_s


def is_told(campaign: Campaign, disposition: Disposition) -> bool:
    """Whether a machine has the message: it was reached, where one that was hung up on was not."""
    return disposition is Disposition.MACHINE and campaign.on_machine == "message"


def end_doubt(campaign: Campaign, started_at: float) -> float:
    """Until when an attempt of which nothing is known may still ring."""
    return started_at + campaign.dial_timeout_s + DOUBT_S


def after_status(campaign: Campaign, attempts: int, agent_status: str, ended_at: float) -> Retry | Finished:
    """What follows on a call that an agent has spoken of, by the campaign's recycle rules. attempts: how many there were, this one included."""
    rule = campaign.recycle_rules.get(agent_status)
    if rule is None or attempts > rule.times:
        return Finished(NumberStatus.COMPLETED)
    return Retry(ended_at + rule.delay_s)


def order_times(
    answered_at: float | None, connected_at: float | None, abandoned_at: float | None, ended_at: float | None
) -> tuple[float | None, float | None, float | None]:
    """When an attempt was answered, connected and abandoned, as they follow each other; ended_at: None while it has not.

    Reports come in any order: whoever was served, or told that nobody is free, had answered then, and nothing of it was after the end.
    """

    def cap(at: float | None) -> float | None:
        return at if at is None or ended_at is None else min(at, ended_at)

    connected_at, abandoned_at = cap(connected_at), cap(abandoned_at)
    if answered_at is not None:
        answered_at = min(at for at in (cap(answered_at), connected_at, abandoned_at) if at is not None)
    return answered_at, connected_at, abandoned_at
