"""How many calls a campaign may place now, as a pure function of its policy and of what is true now; never places one itself.

The rules in words, their proof and the law behind them are in docs/pacing.md.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from tandem.domain.experience import Experience, answer_chances
from tandem.domain.forecast import expect_abandoned, spread_freed

Mode = Literal["fixed", "progressive", "ratio", "predictive", "manual", "inbound"]

# 16 CFR 310.4(b)(4)(i) and 47 CFR 64.1200(a)(7): 3 % of the calls that a person answered, per campaign and 30 days.
LEGAL_ABANDON_CAP: Final = 0.03
# The same rules: a person must be connected within two seconds of the completed greeting.
LEGAL_WAIT_S: Final = 2.0
# A single agent is progressive: whoever answers beyond the one is lost unless a talk just ends, so that within the cap a day's gain
# drowns in the day's chance, unless next to nobody answers (docs/pacing.md, "Small teams").
SMALLEST_PREDICTIVE_TEAM: Final = 2
# Fewer resolved attempts than this say nothing yet about who answers and when.
ENOUGH_ATTEMPTS: Final = 50
# The first talks to end are the short ones: only when each agent has had so many does their mean tell how long the others last.
_ROUNDS: Final = 3
# The share of the cap that is aimed at; the rest is for what the model does not foresee.
_AIM: Final = 0.9
# At no moment more than this many times the cap is risked, however much of the budget is unused.
_BURST: Final = 2.0
# What is in flight may cost this part of the unused budget, by expectation: many times as much can go wrong without breaking the cap.
# Smaller and larger ones were tried: larger ones spend the budget in bursts, which helps nobody for long.
_STAKE: Final = 0.025
# So many people must be left in the budget before a single one is risked, as they do not get lost one at a time.
_LEAST_BUDGET: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the owner of a campaign wants.

    limit: calls at once, in flight and connected. lines_per_agent: for `ratio`, calls in flight per free agent. abandon_cap: the share
    of answered people who may find no agent. max_wait_s: how long one may wait for an agent before that counts as abandoned.
    """

    mode: Mode = "fixed"
    limit: int = 1
    lines_per_agent: float = 1.0
    abandon_cap: float = LEGAL_ABANDON_CAP
    max_wait_s: float = LEGAL_WAIT_S

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError("limit: must not be negative")
        if not 1.0 <= self.lines_per_agent < math.inf:
            raise ValueError("lines_per_agent: must be a number of at least 1")
        if not 0.0 <= self.abandon_cap <= 1.0:
            raise ValueError("abandon_cap: must be between 0 and 1")
        if not 0.0 <= self.max_wait_s < math.inf:
            raise ValueError("max_wait_s: must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What is true of one campaign now. Times are seconds of one steady clock, the clock of `now`: a jump of the wall clock changes nothing.

    in_flight: dialled and neither answered nor over; dialled: when each of them was, as far as known (others count as dialled now).
    connected: answered and up, the waiting ones too. waiting: of these, people who wait for an agent.
    agents_free: None when nothing certain is known of the agents (AMI away, facts too old). agents_busy: with a person of this campaign, or being rung for one.
    agents_wrapping: not yet free after such a call; wrap_ends: when, for those of them for whom it is known.
    Agents who pause, or who talk with somebody else, count nowhere.
    answered_live, abandoned: people who answered, and those of them who found no agent, in the window that the cap is for: the last
    30 days with today, of this campaign.
    """

    in_flight: int = 0
    dialled: tuple[float, ...] = ()
    connected: int = 0
    waiting: int = 0
    agents_free: int | None = None
    agents_busy: int = 0
    agents_wrapping: int = 0
    wrap_ends: tuple[float, ...] = ()
    answered_live: int = 0
    abandoned: int = 0
    experience: Experience = field(default_factory=Experience)


def pace(policy: Policy, live: Live, now: float) -> int:
    """How many calls to place now: never negative, never more than `limit - in_flight - connected`."""
    if policy.mode in ("manual", "inbound"):
        return 0
    room = max(0, policy.limit - live.in_flight - live.connected)
    if policy.mode == "fixed" or room == 0:
        return room
    if live.agents_free is None:
        return 0
    # One call per free agent that is not yet spoken for, by a call in flight or by somebody who waits: nobody can be left over.
    reserved = max(0, live.agents_free - live.waiting - live.in_flight)
    wanted = reserved
    if policy.mode == "ratio" and not is_over_cap(policy, live):
        lines = math.floor(policy.lines_per_agent * max(0, live.agents_free - live.waiting) + 1e-9)
        wanted = max(reserved, lines - live.in_flight)
    elif policy.mode == "predictive" and may_predict(policy, live):
        wanted = _predict(policy, live, now, reserved, room)
    return min(wanted, room)


def count_free(reported: int, reported_at: float, reached_at: Iterable[float]) -> int:
    """Of the agents who were free at `reported_at`, those who must still be: less one for each call that has reached an agent since.

    Asterisk is asked for its agents every so often; in between only our own calls are known. reached_at: also of calls that are over,
    as a call can be shorter than that. One who became free since is missed until the next report, which errs on the right side.
    """
    return max(0, reported - sum(at >= reported_at for at in reached_at))


def is_over_cap(policy: Policy, live: Live) -> bool:
    """More than the allowed share was abandoned in the window: until that has passed, an agent is reserved for each call."""
    return live.abandoned > policy.abandon_cap * live.answered_live


def abandon_budget(policy: Policy, live: Live) -> float:
    """How many more people may be abandoned before the share that is aimed at is reached; negative when it was passed."""
    return _AIM * policy.abandon_cap * live.answered_live - live.abandoned


def may_predict(policy: Policy, live: Live) -> bool:
    """Whether `predictive` may do more than `progressive`: a team that is big enough, known people, and a budget for some."""
    return (
        team_size(live) >= SMALLEST_PREDICTIVE_TEAM
        and live.experience.attempts >= ENOUGH_ATTEMPTS
        and abandon_budget(policy, live) >= _LEAST_BUDGET
    )


def team_size(live: Live) -> int:
    """The agents who work for this campaign now."""
    return (live.agents_free or 0) + live.agents_busy + live.agents_wrapping


def _predict(policy: Policy, live: Live, now: float, reserved: int, room: int) -> int:
    """The most calls for which the people expected to be abandoned stay within both limits; `reserved` needs no such proof."""
    assert live.agents_free is not None
    experience = live.experience
    chances = answer_chances(experience)
    oldest = len(chances) - 1
    answers = sum([chances[int(min(max(now - at, 0), oldest))] for at in live.dialled])
    answers += chances[0] * max(0, live.in_flight - len(live.dialled))
    # A call that is placed now is answered then; one that is answered may wait a moment.
    horizon_s = experience.answer_time_s + policy.max_wait_s
    sure = sum(end <= now + horizon_s for end in live.wrap_ends)
    unsure = max(0, live.agents_wrapping - len(live.wrap_ends))
    freed = spread_freed(
        (unsure, _ended_within(horizon_s, experience.wrap_s)),
        (
            live.agents_busy,
            _freed_within(horizon_s, experience) if experience.talks >= _ROUNDS * team_size(live) else 0.0,
        ),
    )
    agents = live.agents_free - live.waiting + sure
    stake = _STAKE * abandon_budget(policy, live)

    def are_too_many(calls: int) -> bool:
        expected = answers + calls * chances[0]
        risk = expect_abandoned(live.in_flight + calls, expected, agents, freed)
        return risk > min(stake, _BURST * policy.abandon_cap * expected)

    return _last_before(are_too_many, reserved, room)


def _last_before(are_too_many: Callable[[int], bool], low: int, high: int) -> int:
    """The greatest count from `low` to `high` before the first that is too many; looks near `low` first, as it mostly is there."""
    step = 1
    while low + step <= high and not are_too_many(low + step):
        step *= 2
    counts = range(low + step // 2 + 1, min(high + 1, low + step))
    return low + step // 2 + bisect_left(counts, True, key=are_too_many)


def _freed_within(time_s: float, experience: Experience) -> float:
    """The chance that an agent who talks now is free again within `time_s`; the wrap-up is taken to last what it lasts in the mean."""
    return 0.0 if experience.wrap_s is None else _ended_within(time_s - experience.wrap_s, experience.talk_s)


def _ended_within(time_s: float, mean_s: float | None) -> float:
    """The chance that something that lasts `mean_s` in the mean ends within `time_s`, however long it has lasted; 0 when unknown."""
    if mean_s is None or time_s <= 0:
        return 0.0
    return 1.0 if mean_s <= 0 else -math.expm1(-time_s / mean_s)
