"""Campaigns started, paused, stopped and reset, and numbers dialled by hand: each is one transaction, and acts when it is answered; never changes what a campaign is.

`commit` is whose transaction it is, where it is not the dialer's own.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, cast

from twisted.internet.task import deferLater
from twisted.logger import Logger

from tandem.ami.errors import AmiConnectionLost, AmiError
from tandem.dialer.demand import Demands
from tandem.dialer.desk import Desk
from tandem.dialer.outbox import Outbox
from tandem.dialer.ticks import Ticks
from tandem.domain.campaign_calls import Held, plan_number
from tandem.domain.campaigns import CampaignState, NewNumber, SavedCampaign, SavedNumber
from tandem.domain.numbers import make_number_key
from tandem.domain.originate import CallRefused, OriginateOrder
from tandem.store.attempt_claims import Claim, claim_by_hand
from tandem.store.campaigns import change_state, load_campaign, reset_numbers

_log = Logger()

# Asterisk ends a call within milliseconds; who waits for it looks so often, and so long at most.
HANG_UP_S: Final = 2.0
LOOK_S: Final = 0.02
# Does work within a transaction, and fires with what it returned.
Commit = Callable[[Callable[[Any], Any]], Awaitable[Any]]


class Commands:
    """What people do with campaigns."""

    def __init__(self, desk: Desk, demands: Demands, outbox: Outbox, ticks: Ticks) -> None:
        self._desk = desk
        self._demands = demands
        self._outbox = outbox
        self._ticks = ticks

    async def start(
        self, campaign_id: int, permissions: tuple[str, ...], *, resume: bool = False, commit: Commit | None = None
    ) -> SavedCampaign:
        """Dials from now on. CampaignMissing, StateConflict."""
        allowed, refusal = ({"paused"}, "Can only resume a paused campaign") if resume else (
            {"stopped", "paused"}, "Campaign is already running",
        )  # fmt: skip
        return await self._change(campaign_id, "running", allowed, refusal, None if resume else permissions, commit)

    async def pause(self, campaign_id: int, *, commit: Commit | None = None) -> SavedCampaign:
        """Dials no more; calls go on. Whatever was claimed before is sent when this answers, and nothing after it."""
        saved = await self._change(
            campaign_id, "paused", {"running"}, "Can only pause a running campaign", commit=commit
        )
        self._outbox.send()
        return saved

    async def stop(self, campaign_id: int, *, commit: Commit | None = None) -> SavedCampaign:
        """Dials no more, hangs up all calls, and puts what was not reached back to the beginning."""
        saved = await self._change(
            campaign_id, "stopped", {"running", "paused"}, "Campaign is already stopped", commit=commit
        )
        await self.hang_up(campaign_id)
        return saved

    async def reset(self, campaign_id: int, *, commit: Commit | None = None) -> int:
        """Every number is pending again, those that were reached too; how many. CampaignMissing."""

        def work(db: Any) -> int:
            load_campaign(db, campaign_id)
            return reset_numbers(db, campaign_id, self._desk.now())

        moved: int = await (commit or self._desk.store.run)(work)
        self._ticks.wake(campaign_id)
        return moved

    async def dial_by_hand(
        self, campaign_id: int, agent: str, wanted: int | NewNumber | None = None, *, commit: Commit | None = None
    ) -> Claim:
        """Dials one number of a campaign for one agent, or the next that is due: whoever answers is connected with the agent's phone.

        wanted: a number's id, or one that was typed, which becomes the campaign's with its attempt, or not at all.

        agent: an endpoint. Limits of the PBX and of the trunk hold as for every call. ClaimRefused, CallRefused and what `claim_by_hand` raises.
        """
        snapshot = self._desk.around.snapshot()
        if agent not in snapshot.endpoints:
            raise CallRefused("agent", f"there is no endpoint {agent}")
        if not self._desk.around.is_ready() or not self._desk.is_loaded or not self._desk.lease.is_held:
            raise AmiConnectionLost("Originate", "not connected", written=False)
        saved = self._desk.roster.running.get(campaign_id)
        if saved is not None:
            self._demands.check_room(saved)
        now, limits = self._desk.now(), self._desk.list_shared_limits()

        def plan(saved: SavedCampaign, number: SavedNumber) -> OriginateOrder | Held:
            return plan_number(snapshot, saved, number, now, agent)

        def work(db: Any) -> Claim:
            key = make_number_key(snapshot.general.country)
            return claim_by_hand(db, campaign_id, wanted, plan, key, now, self._desk.lease.node, limits)

        claim: Claim = await (commit or self._desk.store.run)(self._desk.lease.guard(work))
        self._outbox.add((claim,), agent)
        self._outbox.send()
        return claim

    async def hang_up(self, campaign_id: int) -> None:
        """Ends all calls of a campaign."""
        # What is claimed is a call already: it must be known to be hung up.
        self._outbox.send()
        calls = list(self._desk.board.of_campaign(campaign_id))
        for call in calls:
            call.is_hung_up = True
        try:
            await self._desk.calls.hang_up_all([call.call_id for call in calls])
        except AmiError as error:
            # They are marked as cancelled: whoever compares them with Asterisk's channels hangs them up then.
            _log.warn("calls of campaign {campaign} not hung up yet: {error}", campaign=campaign_id, error=error)

    async def wait_hung_up(self, campaign_ids: Collection[int]) -> None:
        """Until the calls of these campaigns that were hung up are over, which is a matter of moments; or it was long enough."""
        clock = self._desk.clock
        until = clock.seconds() + HANG_UP_S
        while clock.seconds() < until and any(
            call.is_hung_up and call.campaign_id in campaign_ids for call in self._desk.board.calls.values()
        ):
            await deferLater(cast("Any", clock), LOOK_S)

    async def _change(
        self,
        campaign_id: int,
        state: CampaignState,
        allowed: set[str],
        refusal: str,
        permissions: tuple[str, ...] | None = None,
        commit: Commit | None = None,
    ) -> SavedCampaign:
        def work(db: Any) -> SavedCampaign:
            return change_state(db, campaign_id, state, allowed, refusal, self._desk.now(), permissions)

        saved: SavedCampaign = await (commit or self._desk.store.run)(work)
        self.note_change(saved)
        return saved

    def note_change(self, saved: SavedCampaign) -> None:
        """A campaign was changed by whoever edits it."""
        self._desk.roster.put(saved)
        self._ticks.wake(saved.campaign_id)

    def forget(self, campaign_id: int) -> None:
        """A campaign was deleted; it had no calls."""
        self._desk.roster.forget(campaign_id)

    def wake(self, campaign_id: int) -> None:
        """There may be something due."""
        self._ticks.wake(campaign_id)
