"""A campaign played through without a telephone: events in order of their time, chance from one seed; never waits and never dials.

`pace` is asked as the dialer asks it, at every change and, where time alone changes its answer (predictive), once a second. It is
told only what a dialer knows: not who will answer, not how long anybody will talk. The same scenario, policy and seed give the same
log, byte for byte.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from tandem.domain.experience import Tally
from tandem.domain.pacing import Live, Policy, count_free, pace

_TICK_S: Final = 1.0
_SLOW_TICK_S: Final = 60.0
_DAY_S: Final = 86_400
_WINDOW_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Times:
    """How long something lasts: a gamma distribution by mean and spread (standard deviation / mean); 0 always the same, 1 exponential."""

    mean_s: float
    spread: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.mean_s <= _DAY_S or not 0 <= self.spread <= 10:
            raise ValueError(f"must be a mean of 0 to {_DAY_S} seconds and a spread of 0 to 10")

    def draw(self, rng: random.Random) -> float:
        """One duration in seconds."""
        if self.spread == 0 or self.mean_s == 0:
            return self.mean_s
        shape = 1 / (self.spread * self.spread)
        return rng.gammavariate(shape, self.mean_s / shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The people on both sides.

    ring: from the originate to the answer of those who answer; ring_limit_s: when the dialer gives up on the others, of whom
    `fail_share` end after `fail` already (busy, not in service). changes: (from which second on, another answer rate). report_s: how often
    the dialer hears who is free; 0: at once. patience: how long who answered waits for an agent before hanging up.
    """

    agents: int
    answer_rate: float
    duration_s: float
    ring: Times = Times(8, 0.5)
    talk: Times = Times(120, 1)
    wrap: Times = Times(5)
    patience: Times = Times(10, 1)
    ring_limit_s: float = 25.0
    fail_share: float = 0.2
    fail: Times = Times(2, 0.5)
    changes: tuple[tuple[float, float], ...] = ()
    report_s: float = 0.0

    def answer_rate_at(self, now: float) -> float:
        """The share of people who would answer a call of that moment."""
        rates = [rate for since, rate in self.changes if since <= now]
        return rates[-1] if rates else self.answer_rate

    def __post_init__(self) -> None:
        if self.agents < 1:
            raise ValueError("agents: must be at least 1")
        for name in ("answer_rate", "fail_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: must be between 0 and 1")
        if not 0 < self.ring_limit_s <= 120:
            raise ValueError("ring_limit_s: must be more than 0 and at most 120")
        if not 0 <= self.report_s <= 60:
            raise ValueError("report_s: must be between 0 and 60")
        if not 0 < self.duration_s <= 366 * _DAY_S:
            raise ValueError("duration_s: must be more than 0 and at most a year")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it. Shares are of 1; waits_s are those of everybody who answered and was connected or lost, sorted."""

    placed: int
    answered: int
    connected: int
    abandoned: int
    talk_share: float
    wrap_share: float
    peak: int
    waits_s: tuple[float, ...]

    @property
    def abandoned_share(self) -> float:
        """Of the people who answered."""
        return self.abandoned / self.answered if self.answered else 0.0

    def wait_s(self, percent: float) -> float:
        """The waiting time that `percent` of them do not exceed."""
        return self.waits_s[min(len(self.waits_s) - 1, int(len(self.waits_s) * percent / 100))] if self.waits_s else 0.0


Kind = Literal["tick", "report", "answered", "failed", "lost", "ended", "ready"]


@dataclass(slots=True)
class _Campaign:
    """The state of one run; every method is one event."""

    scenario: Scenario
    policy: Policy
    rng: random.Random
    log: Callable[[str], None] | None
    now: float = 0.0
    tally: Tally = field(default_factory=Tally)
    events: list[tuple[float, int, Kind, int]] = field(default_factory=list)
    scheduled: int = 0
    placed: int = 0
    answered: int = 0
    abandoned: int = 0
    connected: int = 0
    peak: int = 0
    talked_s: float = 0.0
    wrapped_s: float = 0.0
    # Calls by number: when dialled, when answered; agents by number.
    in_flight: dict[int, float] = field(default_factory=dict)
    waiting: dict[int, float] = field(default_factory=dict)
    free: deque[int] = field(default_factory=deque)
    talking: dict[int, int] = field(default_factory=dict)
    since: dict[int, float] = field(default_factory=dict)
    wrap_ends: dict[int, float] = field(default_factory=dict)
    waits_s: list[float] = field(default_factory=list)
    # The last report of free agents: how many, when; and when calls reached an agent since.
    reported: int = 0
    reported_at: float = 0.0
    reached_at: list[float] = field(default_factory=list)
    # One day each: answered, abandoned.
    days: deque[list[int]] = field(default_factory=lambda: deque([[0, 0]], maxlen=_WINDOW_DAYS))

    def run(self) -> Outcome:
        scenario = self.scenario
        self.free.extend(range(scenario.agents))
        if scenario.report_s:
            self.schedule(0.0, "report", 0)
        self.schedule(0.0, "tick", 0)
        handlers = {
            "tick": self.tick,
            "report": self.report,
            "answered": self.answer,
            "failed": self.fail,
            "lost": self.lose,
            "ended": self.end,
            "ready": self.ready,
        }
        while self.events:
            at, _, kind, number = heapq.heappop(self.events)
            if at >= scenario.duration_s:
                break
            self.now = at
            handlers[kind](number)
            self.dial()
        self.now = scenario.duration_s
        self.talked_s += sum(self.now - self.since[agent] for agent in self.talking.values())
        self.wrapped_s += sum(self.now - self.since[agent] for agent in self.wrap_ends)
        capacity_s = scenario.agents * scenario.duration_s
        return Outcome(
            placed=self.placed,
            answered=self.answered,
            connected=self.connected,
            abandoned=self.abandoned,
            talk_share=self.talked_s / capacity_s,
            wrap_share=self.wrapped_s / capacity_s,
            peak=self.peak,
            waits_s=tuple(sorted(self.waits_s)),
        )

    def schedule(self, after_s: float, kind: Kind, number: int) -> None:
        # The serial number keeps events of the same moment in the order in which they were made.
        self.scheduled += 1
        heapq.heappush(self.events, (self.now + after_s, self.scheduled, kind, number))

    def tell(self, what: str, call: int, agent: int | None = None) -> None:
        if self.log is not None:
            self.log(f"{self.now:.3f} {what} call={call}" + ("" if agent is None else f" agent={agent}"))

    def live(self) -> Live:
        knows_wrap = self.scenario.wrap.spread == 0
        return Live(
            in_flight=len(self.in_flight),
            dialled=tuple(self.in_flight.values()),
            connected=len(self.talking) + len(self.waiting),
            waiting=len(self.waiting),
            agents_free=count_free(self.reported, self.reported_at, self.reached_at)
            if self.scenario.report_s
            else len(self.free),
            agents_busy=len(self.talking),
            agents_wrapping=len(self.wrap_ends),
            wrap_ends=tuple(self.wrap_ends.values()) if knows_wrap else (),
            answered_live=sum(answered for answered, _ in self.days),
            abandoned=sum(abandoned for _, abandoned in self.days),
            experience=self.tally.experience(),
        )

    def dial(self) -> None:
        scenario, rng = self.scenario, self.rng
        for _ in range(pace(self.policy, self.live(), self.now)):
            self.placed += 1
            call = self.placed
            self.in_flight[call] = self.now
            ring_s = scenario.ring.draw(rng)
            if rng.random() < scenario.answer_rate_at(self.now) and ring_s < scenario.ring_limit_s:
                self.schedule(ring_s, "answered", call)
            elif rng.random() < scenario.fail_share:
                self.schedule(min(scenario.ring_limit_s, scenario.fail.draw(rng)), "failed", call)
            else:
                self.schedule(scenario.ring_limit_s, "failed", call)
            self.tell("dialled", call)
        self.peak = max(self.peak, len(self.in_flight) + len(self.talking) + len(self.waiting))

    def tick(self, day: int) -> None:
        today = int(self.now // _DAY_S)
        if today != day:
            self.days.append([0, 0])
        self.schedule(_TICK_S if self.policy.mode == "predictive" else _SLOW_TICK_S, "tick", today)

    def report(self, _: int) -> None:
        self.reported, self.reported_at, self.reached_at = len(self.free), self.now, []
        self.schedule(self.scenario.report_s, "report", 0)

    def answer(self, call: int) -> None:
        self.tally.add_attempt(is_answered=True, time_s=self.now - self.in_flight.pop(call))
        self.answered += 1
        self.days[-1][0] += 1
        self.tell("answered", call)
        self.waiting[call] = self.now
        if self.free:
            self.connect()
        else:
            self.schedule(min(self.policy.max_wait_s, self.scenario.patience.draw(self.rng)), "lost", call)

    def fail(self, call: int) -> None:
        self.tally.add_attempt(is_answered=False, time_s=self.now - self.in_flight.pop(call))
        self.tell("failed", call)

    def connect(self) -> None:
        """Who has waited longest, with the agent who has been free longest."""
        call = next(iter(self.waiting))
        self.waits_s.append(self.now - self.waiting.pop(call))
        agent = self.free.popleft()
        self.connected += 1
        self.reached_at.append(self.now)
        self.talking[call] = agent
        self.since[agent] = self.now
        self.tell("connected", call, agent)
        self.schedule(self.scenario.talk.draw(self.rng), "ended", call)

    def lose(self, call: int) -> None:
        if call not in self.waiting:
            return
        self.waits_s.append(self.now - self.waiting.pop(call))
        self.abandoned += 1
        self.days[-1][1] += 1
        self.tell("abandoned", call)

    def end(self, call: int) -> None:
        agent = self.talking.pop(call)
        self.tell("ended", call, agent)
        self.tally.add_talk(self.now - self.since[agent])
        self.talked_s += self.now - self.since[agent]
        self.since[agent] = self.now
        wrap_s = self.scenario.wrap.draw(self.rng)
        self.wrap_ends[agent] = self.now + wrap_s
        self.schedule(wrap_s, "ready", agent)

    def ready(self, agent: int) -> None:
        del self.wrap_ends[agent]
        self.tally.add_wrap(self.now - self.since[agent])
        self.wrapped_s += self.now - self.since[agent]
        self.free.append(agent)
        if self.waiting:
            self.connect()


def simulate(scenario: Scenario, policy: Policy, seed: int, log: Callable[[str], None] | None = None) -> Outcome:
    """Plays the scenario through; `log` is given one line for each event, without an end of line."""
    return _Campaign(scenario, policy, random.Random(seed), log).run()  # noqa: S311 (chance that can be repeated is the point)
