"""One tick at a time: what campaigns may dial is claimed in one transaction, and then sent; never sends what is not committed.

A tick follows whatever frees a slot at once. Limits are counted again in the claim's transaction, so that nothing that is late
(Asterisk, the database, a pause) can pass them.
"""

from collections.abc import Callable
from typing import Any, Final, cast

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tandem.dialer.demand import Demands
from tandem.dialer.desk import Desk
from tandem.dialer.outbox import Outbox
from tandem.domain.campaign_calls import Held, plan_number
from tandem.domain.campaigns import SavedCampaign, SavedNumber
from tandem.domain.numbers import make_number_key
from tandem.domain.originate import OriginateOrder
from tandem.store.attempt_claims import Claimed, claim_numbers
from tandem.store.errors import StoreError

_log = Logger()

# A campaign without a due number is asked again so much later, unless somebody adds one meanwhile.
IDLE_S: Final = 1.0
# What a bucket holds is a tenth of a second's worth: as often it is emptied, so that a rate is kept and not only not passed.
REFILL_EVERY_S: Final = 0.1
# Calls sent in one turn of the reactor: each takes a fifth of a millisecond.
TURN_CALLS: Final = 20


class Ticks:
    """When campaigns are looked at, and what is done then."""

    def __init__(self, desk: Desk, demands: Demands, outbox: Outbox) -> None:
        self._desk = desk
        self._demands = demands
        self._outbox = outbox
        self._is_ticking = False
        self._again = False
        self._due: DelayedCall | None = None
        self._refill: DelayedCall | None = None

    def wake(self, campaign_id: int) -> None:
        """There may be something due in a campaign."""
        self._desk.roster.idle.pop(campaign_id, None)
        self.kick()

    def kick(self) -> None:
        """A tick, as soon as the reactor has a turn; many at once are one."""
        if self._is_ticking:
            self._again = True
        elif self._due is None and self._desk.is_running() and self._desk.is_loaded:
            self._due = self._desk.clock.callLater(0, self._tick)

    def _tick(self) -> None:
        self._due = None
        self._is_ticking = True
        Deferred.fromCoroutine(self._tick_once()).addBoth(lambda _: self._after_tick())

    def _after_tick(self) -> None:
        self._is_ticking = False
        again, self._again = self._again, False
        if again and self._desk.is_running():
            self.kick()
        self._follow_rates()

    def _follow_rates(self) -> None:
        """A rate that allows nothing now is looked at when it does: the next tick of the clock would waste half of it."""
        desk = self._desk
        refilled_at = desk.lines.refilled_at() if self._refill is None and desk.is_dialling() else None
        if refilled_at is not None and desk.is_running():
            wait_s = max(REFILL_EVERY_S, refilled_at - desk.clock.seconds())
            self._refill = desk.clock.callLater(wait_s, self._take_refill)

    def _take_refill(self) -> None:
        self._refill = None
        self.kick()

    async def _tick_once(self) -> None:
        try:
            await self._dial()
        except StoreError as error:
            problem = f"campaigns do not dial: {error}"
            if problem != self._desk.problem:
                _log.warn("{problem}", problem=problem)
            self._desk.problem = problem
        except Exception:  # noqa: BLE001 - the next tick may do better
            self._desk.problem = "campaigns do not dial: see the log"
            _log.failure("a tick of the dialer failed")

    async def _dial(self) -> None:
        desk = self._desk
        if not desk.is_dialling():
            return
        wanted = self._demands.divide()
        if not wanted:
            return
        term = desk.lease.term
        claimed: Claimed = await desk.store.run(
            desk.lease.guard(claim_numbers),
            wanted,
            self._make_plan(),
            make_number_key(desk.around.snapshot().general.country),
            desk.now(),
            desk.lease.node,
            desk.list_shared_limits(),
        )
        now = desk.clock.seconds()
        for campaign_id in claimed.drained:
            desk.roster.idle[campaign_id] = now + IDLE_S
        if claimed.held or claimed.refused:
            self._again = True
        self._outbox.add(claimed.claims)
        if desk.lease.term != term:
            self._outbox.drop()
        self._outbox.send(TURN_CALLS)
        while self._outbox:
            # The reactor has other work between them.
            await deferLater(cast("Any", desk.clock), 0)
            self._outbox.send(TURN_CALLS)

    def stop(self) -> None:
        """No tick follows."""
        for call in (self._due, self._refill):
            if call is not None and call.active():
                call.cancel()

    def _make_plan(self) -> Callable[[SavedCampaign, SavedNumber], OriginateOrder | Held]:
        """What the claim asks for each number; it runs in the store's thread, so it holds values only."""
        snapshot, now = self._desk.around.snapshot(), self._desk.now()
        return lambda saved, number: plan_number(snapshot, saved, number, now)
