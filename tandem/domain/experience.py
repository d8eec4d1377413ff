"""What a campaign has lately learnt: how many answer and how soon, how long they talk; never counts what it did not see itself.

`Tally` is kept by whoever dials (and by the simulator), `Experience` is what it says at one moment.
"""

import math
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

# One-sided 95 %: the answer rate that is assumed is one that the true rate exceeds once in twenty.
_Z: Final = 1.645
_OLDEST_S: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """The last attempts of one campaign, summed up; None or empty where nothing was seen yet.

    attempts: how many were resolved (answered, or ended without an answer); answered: those of them that then needed an agent, so
    neither machines that were recognised nor faxes. answer_times_s, failure_times_s: from the originate to the answer, or to the end
    without one; sorted samples. talks: how many have ended since it began to count; talk_s: mean time with an agent; wrap_s: mean time from there to the agent's being free again.
    """

    attempts: int = 0
    answered: int = 0
    answer_times_s: tuple[float, ...] = ()
    failure_times_s: tuple[float, ...] = ()
    talks: int = 0
    talk_s: float | None = None
    wrap_s: float | None = None

    @property
    def cautious_answer_rate(self) -> float:
        """Upper end of Wilson's score interval (Wilson 1927): near 1 while little was seen, near the measured rate later."""
        if not self.attempts:
            return 1.0
        n, rate = self.attempts, self.answered / self.attempts
        middle = rate + _Z * _Z / (2 * n)
        half = _Z * math.sqrt(rate * (1 - rate) / n + _Z * _Z / (4 * n * n))
        return min(1.0, (middle + half) / (1 + _Z * _Z / n))

    @property
    def answer_time_s(self) -> float:
        """The median time to an answer; 0 when none was seen."""
        return self.answer_times_s[len(self.answer_times_s) // 2] if self.answer_times_s else 0.0


@lru_cache(maxsize=256)
def answer_chances(experience: Experience) -> tuple[float, ...]:
    """How likely a call that has been in flight for 0, 1, 2… seconds is still answered; the last one also holds for longer."""
    rate = experience.cautious_answer_rate
    chances = []
    for age_s in range(_OLDEST_S + 1):
        answered = rate * _later_than(experience.answer_times_s, age_s)
        failed = (1 - rate) * _later_than(experience.failure_times_s, age_s)
        chances.append(answered / (answered + failed))
    return tuple(chances)


def _later_than(times_s: tuple[float, ...], age_s: float) -> float:
    """The share of times after `age_s`; never 0, as no sample says that something cannot happen."""
    return (len(times_s) - bisect_right(times_s, age_s) + 1) / (len(times_s) + 1)


@dataclass(slots=True)
class Tally:
    """The last `attempts` attempts and the last `samples` times of each kind, oldest forgotten first.

    `experience()` is worked out anew after every `stride` observations only, so that asking for it at every turn costs nothing.
    """

    attempts: int = 1000
    samples: int = 100
    stride: int = 20
    _outcomes: deque[bool] = field(init=False)
    _answered: int = field(init=False, default=0)
    _answer_times: deque[float] = field(init=False)
    _failure_times: deque[float] = field(init=False)
    _talk_times: deque[float] = field(init=False)
    _wrap_times: deque[float] = field(init=False)
    _talks: int = field(init=False, default=0)
    _since: int = field(init=False, default=0)
    _known: Experience = field(init=False, default_factory=Experience)

    def __post_init__(self) -> None:
        self._outcomes = deque(maxlen=self.attempts)
        self._answer_times = deque(maxlen=self.samples)
        self._failure_times = deque(maxlen=self.samples)
        self._talk_times = deque(maxlen=self.samples)
        self._wrap_times = deque(maxlen=self.samples)

    def add_attempt(self, *, is_answered: bool, time_s: float) -> None:
        """One attempt was answered, or ended without an answer, `time_s` after it was dialled."""
        if len(self._outcomes) == self.attempts:
            self._answered -= self._outcomes[0]
        self._outcomes.append(is_answered)
        self._answered += is_answered
        (self._answer_times if is_answered else self._failure_times).append(time_s)
        self._since += 1

    def add_talk(self, time_s: float) -> None:
        """One person and one agent have talked for `time_s`."""
        self._talk_times.append(time_s)
        self._talks += 1
        self._since += 1

    def add_wrap(self, time_s: float) -> None:
        """One agent was free again `time_s` after the call; 0 counts."""
        self._wrap_times.append(time_s)
        self._since += 1

    def experience(self) -> Experience:
        """What is known now, at most `stride` observations old."""
        if self._since >= self.stride:
            self._since = 0
            self._known = Experience(
                attempts=len(self._outcomes),
                answered=self._answered,
                answer_times_s=tuple(sorted(self._answer_times)),
                failure_times_s=tuple(sorted(self._failure_times)),
                talks=self._talks,
                talk_s=_mean(self._talk_times),
                wrap_s=_mean(self._wrap_times),
            )
        return self._known


def _mean(times_s: deque[float]) -> float | None:
    return math.fsum(times_s) / len(times_s) if times_s else None
