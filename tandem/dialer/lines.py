"""How many lines there are for campaigns right now: calls at once and calls a second, of all, of each trunk and campaign, and trunks that are dead; never counts a call itself."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from twisted.logger import Logger

from tandem.ami.connection import Clock
from tandem.domain.breaker import CLOSED, Breaker, allow, note_end, note_lost, note_sent
from tandem.domain.campaigns import SavedCampaign
from tandem.domain.entities import Trunk
from tandem.domain.open_calls import trunk_of
from tandem.domain.shares import Bucket, headroom

_log = Logger()

# Whose turn it was counts for so long: else a new campaign would have all of them.
TURNS_S: Final = 60.0
_ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds for all campaigns together: calls at once, calls per second."""

    max_calls: int = 200
    max_cps: float = 50.0


class Lines:
    """Rates, breakers and turns. clock: steady, for rates; now: the wall clock, for what people are shown of a breaker."""

    def __init__(self, limits: Limits, clock: Clock, now: Callable[[], float]) -> None:
        self.limits = limits
        self.breakers: dict[str, Breaker] = {}
        # How many calls were claimed so far.
        self.claimed = 0
        # Whether the toll guard has locked a trunk: its campaigns wait.
        self.is_locked: Callable[[str], bool] = lambda _: False
        self._clock = clock
        self._now = now
        self._buckets: dict[str, Bucket] = {}
        self._turns: dict[int, int] = {}
        self._turns_since = clock.seconds()

    def breaker_of(self, trunk: str) -> Breaker:
        """How a trunk is."""
        return self.breakers.get(trunk, CLOSED)

    def turns_of(self, campaign_id: int) -> int:
        """How many calls it was granted lately."""
        return self._turns.get(campaign_id, 0)

    def room_in_all(self, used: int, speed: float) -> int:
        """How many calls may be placed now, at `speed` (0 to 1) of the rate."""
        bucket = self._bucket(_ALL, self.limits.max_cps * speed)
        return headroom(self.limits.max_calls, used, bucket, self._clock.seconds()) if speed > 0 else 0

    def room_on_trunk(self, name: str, trunk: Trunk | None, used: int) -> int:
        """How many may go over a trunk now; None is a trunk without limits of its own."""
        if self.is_locked(name):
            return 0
        limit = trunk.max_calls if trunk is not None and trunk.max_calls else self.limits.max_calls
        bucket = self._bucket(f"trunk {name}", trunk.max_cps) if trunk is not None and trunk.max_cps else None
        room = headroom(limit, used, bucket, self._clock.seconds())
        allowed = allow(self.breaker_of(name), self._now())
        return room if allowed is None else min(room, allowed)

    def room_of_campaign(self, saved: SavedCampaign, wanted: int) -> int:
        """Of those that a campaign wants, how many its own rate allows."""
        rate = saved.campaign.max_cps
        if not rate:
            return wanted
        return min(wanted, self._bucket(f"campaign {saved.campaign_id}", rate).available(self._clock.seconds()))

    def note_claim(self, saved: SavedCampaign) -> None:
        """One call is as good as placed."""
        now, trunk = self._clock.seconds(), trunk_of(saved)
        self.claimed += 1
        self._turns[saved.campaign_id] = self.turns_of(saved.campaign_id) + 1
        for name in (_ALL, f"trunk {trunk}", f"campaign {saved.campaign_id}"):
            bucket = self._buckets.get(name)
            if bucket is not None:
                self._buckets[name] = replace(bucket, tokens=bucket.level(now) - 1.0, at=max(now, bucket.at))
        if trunk in self.breakers:
            self.breakers[trunk] = note_sent(self.breakers[trunk], self._now())

    def note_end(self, trunk: str, *, is_dead: bool) -> None:
        """A call over a trunk is over."""
        before = self.breaker_of(trunk)
        after = note_end(before, is_dead=is_dead, now=self._now())
        if after.state != before.state:
            _log.warn("trunk {trunk}: {before} -> {after}", trunk=trunk, before=before.state, after=after.state)
        self.breakers[trunk] = after

    def refilled_at(self) -> float | None:
        """When the next of the rates that allow no call now allows one; None where each allows some."""
        now = self._clock.seconds()
        return min(
            (bucket.next_at(now) for bucket in self._buckets.values() if not bucket.available(now)), default=None
        )

    def forget_probes(self) -> None:
        """Asterisk went away: how probes ended will never be known."""
        self.breakers = {trunk: note_lost(breaker, self._now()) for trunk, breaker in self.breakers.items()}

    def forget_turns(self) -> None:
        """Now and then."""
        if self._clock.seconds() - self._turns_since > TURNS_S:
            self._turns.clear()
            self._turns_since = self._clock.seconds()

    def _bucket(self, name: str, rate: float) -> Bucket:
        """The bucket of that name, at that rate; a new rate keeps what it held."""
        rate = max(rate, 0.01)
        # A tenth of a second's worth at once: what a tick is late is made up for, and no more.
        burst = max(1, round(rate / 10))
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = Bucket(rate=rate, burst=burst)
        elif bucket.rate != rate:
            now = self._clock.seconds()
            bucket = Bucket(rate=rate, burst=burst, tokens=min(float(burst), bucket.level(now)), at=now)
        self._buckets[name] = bucket
        return bucket
