"""Divides free slots between campaigns, and spreads calls over time; never hands out more than any one limit allows.

A slot is the right to place one call now. How many there are follows from `headroom` of each limit (calls at once, calls per second);
`share` respects those of the campaign, of its trunk and of all together.
"""

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A token bucket: `rate` calls per second on average, at most `burst` at once; `at` is when it held `tokens`, on a steady clock."""

    rate: float
    burst: int = 1
    tokens: float = 0.0
    at: float = -math.inf

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < math.inf:
            raise ValueError("rate: must be more than 0")
        if self.burst < 1:
            raise ValueError("burst: must be at least 1")

    def level(self, now: float) -> float:
        """The tokens at `now`; a bucket that was never used is full. A clock that goes back adds nothing."""
        return min(float(self.burst), self.tokens + self.rate * max(0.0, now - self.at))

    def available(self, now: float) -> int:
        """How many calls may be placed at `now`."""
        # Three refills of a third are one: what is missing to it is the float's, not the caller's.
        return math.floor(self.level(now) + 1e-9)

    def next_at(self, now: float) -> float:
        """When the next call may be placed: `now`, or the time to wake up at."""
        return now if self.available(now) else now + (1.0 - self.level(now)) / self.rate

    def take(self, count: int, now: float) -> "Bucket":
        """The bucket after `count` calls at `now`; raises ValueError for more than are available."""
        if not 0 <= count <= self.available(now):
            raise ValueError(f"count: {count} of {self.available(now)} available")
        return replace(self, tokens=max(0.0, self.level(now) - count), at=max(now, self.at))


def headroom(limit: int, used: int, bucket: Bucket | None, now: float) -> int:
    """How many more calls a limit on calls at once and one on calls per second allow together."""
    free = max(0, limit - used)
    return free if bucket is None else min(free, bucket.available(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One campaign that would place calls.

    want: what `pace` says, within the campaign's own headroom. weight: its priority; twice the weight, twice the calls. held: the calls
    that it has now. served: how many slots it was granted lately, in the same short time for all (the last minute, say); it decides
    whose turn it is when slots are so few that nobody holds one.
    """

    campaign: int
    trunk: str
    want: int
    weight: int = 1
    held: int = 0
    served: int = 0

    def __post_init__(self) -> None:
        if self.weight < 1:
            raise ValueError("weight: must be at least 1")
        if min(self.want, self.held, self.served) < 0:
            raise ValueError("want, held, served: must not be negative")


def share(demands: Iterable[Demand], capacity: int, trunks: Mapping[str, int]) -> dict[int, int]:
    """The slots granted to each campaign: weighted max-min fair over what each then holds, the same for any order of `demands`.

    capacity: free slots in all; trunks: free slots of each; a trunk that is not in it has none. Slot by slot, the campaign that holds
    least for its weight is next: the limits form a tree, and on a tree that gives the fair division (Megiddo 1974).
    """
    left = dict(trunks)
    grants: dict[int, int] = {}
    turns = []
    for demand in demands:
        if demand.campaign in grants:
            raise ValueError(f"campaign: {demand.campaign} is there twice")
        grants[demand.campaign] = 0
        if demand.want:
            turns.append((*_turn(demand, 0), demand.campaign, demand))
    heapq.heapify(turns)
    while turns and capacity > 0:
        *_, demand = heapq.heappop(turns)
        if left.get(demand.trunk, 0) <= 0:
            continue
        capacity -= 1
        left[demand.trunk] -= 1
        granted = grants[demand.campaign] = grants[demand.campaign] + 1
        if granted < demand.want:
            heapq.heappush(turns, (*_turn(demand, granted), demand.campaign, demand))
    return grants


def _turn(demand: Demand, granted: int) -> tuple[float, float]:
    return (demand.held + granted) / demand.weight, (demand.served + granted) / demand.weight
