"""How many people would be left without an agent if the calls in flight were answered; never decides, that is pacing's part.

Calls are answered, and agents become free, independently. Each call has a chance of its own, by its age; the number of answers is
taken for the binomial one with as many trials and the same mean. By Hoeffding (1956, theorem 3) that can only raise the expectation
of a convex function, and max(0, answers - agents) is one: what is returned is never below the true value of the model.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

# What is left of a distribution after this does not matter.
_NEGLIGIBLE: Final = 1e-9


def expect_abandoned(calls: int, answers: float, agents: int, freed: Sequence[float] = (1.0,)) -> float:
    """The expected number of answered people for whom there is no agent.

    calls: in flight; answers: how many of them are expected to be answered. agents: free for certain (negative: people wait already).
    freed: the chance that 0, 1, 2… more agents are free in time (`spread_freed`).
    """
    shortages = _shortages(calls, answers, agents)
    return math.fsum(chance * shortage for chance, shortage in zip(freed, shortages, strict=False))


def spread_freed(*groups: tuple[int, float]) -> list[float]:
    """The chance that 0, 1, 2… agents become free, of groups of (agents, the chance of each); cut where the rest does not matter."""
    freed = [1.0]
    for agents, chance in groups:
        if agents and chance > 0:
            freed = _add(freed, _cut(_binomial(agents, agents * chance)))
    return freed


def _cut(masses: Iterable[float]) -> list[float]:
    """Up to where next to nothing is left."""
    kept, left = [], 1.0
    for mass in masses:
        kept.append(mass)
        left -= mass
        if left < _NEGLIGIBLE:
            break
    return kept


def _add(one: list[float], other: list[float]) -> list[float]:
    total = [0.0] * (len(one) + len(other) - 1)
    for i, p in enumerate(one):
        for k, q in enumerate(other):
            total[i + k] += p * q
    return total


def _shortages(calls: int, answers: float, agents: int) -> Iterator[float]:
    """E[max(0, X - s)] of X ~ Binomial with `calls` trials and mean `answers`, for s = agents, agents + 1… without end."""
    for s in range(agents, 0):
        yield answers - s
    yield from islice(_losses(calls, answers), max(0, agents), None)


def _losses(calls: int, answers: float) -> Iterator[float]:
    loss, above = answers, 1.0
    for mass in _binomial(calls, answers):
        yield loss
        above -= mass
        loss = max(0.0, loss - max(0.0, above))
    while True:
        yield 0.0


def _binomial(trials: int, mean: float) -> Iterator[float]:
    """P(X = 0), P(X = 1)… P(X = trials); in logarithms, as P(X = 0) of some thousand calls is below what a float can hold."""
    # The smallest mean, of two trials, is a chance of 0 in a float.
    chance = mean / trials if trials else 0.0
    if not 0.0 < chance < 1.0:
        certain = 0 if chance <= 0.0 else trials
        yield from (float(k == certain) for k in range(trials + 1))
        return
    log_odds = math.log(chance) - math.log1p(-chance)
    log_mass = trials * math.log1p(-chance)
    for k in range(trials + 1):
        yield math.exp(log_mass)
        if k < trials:
            log_mass += log_odds + math.log((trials - k) / (k + 1))
