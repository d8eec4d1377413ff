"""A circuit breaker per trunk: calls that show no sign of life at all open it, single probes try it again; pure, and never spends a number's attempt.

closed -> (FAILURES dead calls in a row) -> open -> (after the back-off) -> probing: one call -> closed, or open again for twice as long.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

BreakerState = Literal["closed", "open", "probing"]

FAILURES: Final = 3
BACKOFF_FIRST_S: Final = 10.0
BACKOFF_MAX_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """One trunk. failures: dead calls in a row; opened_at, retry_at: seconds since 1970, 0 while closed."""

    state: BreakerState = "closed"
    failures: int = 0
    backoff_s: float = BACKOFF_FIRST_S
    opened_at: float = 0.0
    retry_at: float = 0.0


CLOSED: Final = Breaker()


def allow(breaker: Breaker, now: float) -> int | None:
    """How many calls may go out: None for no limit, 0 while it is open or a probe is under way, 1 when a probe is due."""
    if breaker.state == "closed":
        return None
    return 1 if breaker.state == "open" and _is_due(breaker, now) else 0


def note_sent(breaker: Breaker, now: float) -> Breaker:
    """A call went out: of an open breaker it is the probe."""
    return replace(breaker, state="probing") if breaker.state == "open" and _is_due(breaker, now) else breaker


def _is_due(breaker: Breaker, now: float) -> bool:
    """A probe is: its time has come, or the clock went back, and it would be waited for all that time."""
    return now >= breaker.retry_at or breaker.retry_at - now > breaker.backoff_s


def note_end(breaker: Breaker, *, is_dead: bool, now: float) -> Breaker:
    """A call over the trunk is over. Any answer of the far side, also a refusal, closes the breaker."""
    if not is_dead:
        return CLOSED
    failures = breaker.failures + 1
    if breaker.state == "closed":
        if failures < FAILURES:
            return replace(breaker, failures=failures)
        return Breaker("open", failures, BACKOFF_FIRST_S, now, now + BACKOFF_FIRST_S)
    if breaker.state == "open":  # a call from before it opened
        return replace(breaker, failures=failures)
    backoff_s = min(breaker.backoff_s * 2, BACKOFF_MAX_S)
    return Breaker("open", failures, backoff_s, breaker.opened_at, now + backoff_s)


def note_lost(breaker: Breaker, now: float) -> Breaker:
    """The probe's end will never be known (Asterisk went away): another one may go at once."""
    return replace(breaker, state="open", retry_at=now) if breaker.state == "probing" else breaker
