"""Looks after campaigns once a second: reads them again, takes up what a last run left open, ends calls that must not go on; never dials."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from twisted.logger import Logger

from tandem.ami.errors import AmiError
from tandem.dialer.desk import Desk
from tandem.domain.campaigns import UNPACED
from tandem.domain.experience import Tally
from tandem.domain.jumps import JumpGauge
from tandem.domain.open_calls import OpenCall, find_left_by, find_overlong, queue_of
from tandem.domain.surveys import Surveyed
from tandem.store.attempts import load_open_attempts, load_recent_attempts
from tandem.store.campaigns import DAY_S, load_campaigns, load_days, shift_due_times
from tandem.store.errors import StoreError

_log = Logger()

WATCH_EVERY_S: Final = 1.0
ABANDON_DAYS: Final = 30


class Watch:
    """hang_up: ends all calls of a campaign. kick: asks for a tick."""

    def __init__(self, desk: Desk, hang_up: Callable[[int], Awaitable[None]], kick: Callable[[], None]) -> None:
        self._desk = desk
        self._hang_up = hang_up
        self._kick = kick
        self._jumps = JumpGauge(desk.now, desk.clock.seconds)
        # By how much the clock has jumped that due times do not know of, and since when they do.
        self._jumped: tuple[float, float] | None = None

    async def refresh(self) -> None:
        """Reads the campaigns again: another process may have changed them; and the days that the abandoned share is made of."""
        desk = self._desk
        try:
            if not desk.is_loaded:
                await self._load()
            await self._follow_clock()
            rows = await desk.store.read(load_campaigns)
            desk.roster.replace(rows)
            paced = [
                one.campaign_id
                for one in desk.roster.running.values()
                if one.campaign.dial_mode not in ("fixed", *UNPACED)
            ]
            if paced:
                since = int(desk.now() // DAY_S) - ABANDON_DAYS + 1
                desk.roster.days = await desk.store.read(load_days, paced, since)
                await self._learn(paced)
            desk.lines.forget_turns()
            await desk.notes.flush()
            await self._end_long_calls()
            await self._end_stopped_calls()
            desk.problem = desk.lease.problem
            self._kick()
        except StoreError as error:
            desk.problem = f"campaigns cannot be read: {error}"
        except AmiError as error:
            _log.debug("long calls not hung up: {error}", error=error)

    async def _follow_clock(self) -> None:
        """Numbers that wait for a while wait for just that while, whatever the wall clock does. Where nodes share a database each has a clock of its own, and NTP."""
        jump = self._jumps.read()
        if jump:
            before, since = self._jumped or (0.0, self._desk.now() - 2 * WATCH_EVERY_S)
            self._jumped = (before + jump, since)
            _log.warn("the wall clock has jumped by {jump:.0f} s", jump=jump)
        if self._jumped is not None and not self._desk.lease.is_shared:
            await self._desk.store.run(shift_due_times, *self._jumped, self._desk.now())
        self._jumped = None

    async def _learn(self, paced: Iterable[int]) -> None:
        """What the last run has shown of campaigns that are new to this one."""
        for campaign_id in paced:
            if campaign_id in self._desk.board.taught:
                continue
            rest_s = self._desk.wrap_up_s(queue_of(self._desk.roster.running[campaign_id].campaign))
            attempts = await self._desk.store.read(load_recent_attempts, campaign_id, Tally().attempts)
            self._desk.board.learn(campaign_id, attempts, rest_s)

    async def _load(self) -> None:
        """The attempts that a last run left open count from the start."""
        desk = self._desk
        now, wall = desk.clock.seconds(), desk.now()

        def turn(at: float | None) -> float | None:
            """A time of the wall's clock by the reactor's."""
            return at if at is None else now - max(0.0, wall - at)

        known = {saved.campaign_id: saved.campaign for saved in await desk.store.read(load_campaigns)}
        for attempt in await desk.store.read(load_open_attempts, desk.lease.followed):
            if attempt.campaign_id is None or attempt.call_id in desk.board.calls or attempt.call_id in desk.over:
                continue
            campaign, kind, name = known.get(attempt.campaign_id), *attempt.destination.partition(" ")[::2]
            endpoint = name if kind == "endpoint" else ""
            desk.board.calls[attempt.call_id] = OpenCall(
                attempt.call_id,
                attempt.campaign_id,
                attempt.trunk,
                name if kind == "queue" else "",
                campaign.call_timeout_s if campaign is not None else 0,
                now - max(0.0, wall - attempt.started_at),
                answered_at=turn(attempt.answered_at),
                connected_at=turn(attempt.connected_at),
                # For a campaign that leads to an endpoint anyway it is the same.
                agent=endpoint,
                endpoint=endpoint,
                is_agent_first=campaign is not None and campaign.agent_first,
                surveyed=Surveyed(
                    attempt.campaign_id, attempt.number_id, attempt.phone_number, {"number": attempt.phone_number}
                ),
            )
        desk.is_loaded = True
        desk.over.clear()

    async def _end_stopped_calls(self) -> None:
        """Calls of campaigns that were stopped by another node, or by a run of ours that died before it had hung up."""
        for campaign_id in find_left_by(self._desk.board.calls.values(), self._desk.roster.resting.values()):
            await self._hang_up(campaign_id)

    async def _end_long_calls(self) -> None:
        long = find_overlong(self._desk.board.calls.values(), self._desk.clock.seconds())
        for call in long:
            call.is_hung_up = True
        if long:
            await self._desk.calls.hang_up_all([call.call_id for call in long])
