"""Runs campaigns: claims numbers as fast as limits, agents and the PBX allow, places their calls, and serves those who answer; never sends what is not committed.

Its rooms: `demand` says how many each campaign may dial, `ticks` claims them, `outbox` sends them, `answers` follows their calls,
`commands` are people's, `watch` looks after what must not be left alone, and `desk` is what they share. What a crash left open is
`tandem.calls`' to follow up; here it only counts.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from tandem.ami.connection import Clock
from tandem.calls import Calls
from tandem.dialer.answers import Answers
from tandem.dialer.board import Board
from tandem.dialer.brake import Brake
from tandem.dialer.commands import Commands
from tandem.dialer.demand import Demands
from tandem.dialer.desk import Around, Desk
from tandem.dialer.lines import Limits, Lines
from tandem.dialer.notes import Notes
from tandem.dialer.outbox import Outbox
from tandem.dialer.ticks import Ticks
from tandem.dialer.watch import WATCH_EVERY_S, Watch
from tandem.domain.campaigns import CampaignView, SavedCampaign
from tandem.domain.open_calls import AttemptStep, describe_calls
from tandem.domain.why import Conditions
from tandem.lease import Lease
from tandem.regular import Regular
from tandem.store.database import Store

TICK_EVERY_S: Final = 0.25
# A queue of Asterisk's fills within a second.
BRAKE_EVERY_S: Final = 0.25


class Dialer(Regular):
    """Campaigns that are running, and their calls. commands: what people do with them."""

    name = "dialer"

    def __init__(
        self,
        store: Store,
        calls: Calls,
        around: Around,
        clock: Clock,
        *,
        limits: Limits | None = None,
        lease: Lease | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock)
        lines = Lines(limits or Limits(), clock, now)
        self._desk = desk = Desk(
            store,
            calls,
            around,
            clock,
            lease or Lease(store, "tandem", clock),
            now,
            lambda: bool(self.running),
            lines,
            Brake(lines.limits.max_cps, clock, lambda: lines.claimed, around.lag_s, around.ask_pbx),
            Notes(store),
        )
        self._demands = Demands(desk)
        self._outbox = Outbox(desk)
        self._ticks = Ticks(desk, self._demands, self._outbox)
        self.commands = Commands(desk, self._demands, self._outbox, self._ticks)
        self.answers = Answers(desk, self._ticks.wake)
        self.watch = Watch(desk, self.commands.hang_up, self._ticks.kick)
        self.repeat(self.kick, TICK_EVERY_S)
        self.repeat(lambda: self.brake.look(is_dialling=desk.is_dialling()), BRAKE_EVERY_S)
        self.repeat(self.watch.refresh, WATCH_EVERY_S)

    def follow(self, ami: Any) -> None:
        """Hears from Asterisk who took a call."""
        self.answers.follow(ami)
        ami.on_lost(self.lines.forget_probes)

    def watch_attempts(self, callback: Callable[[AttemptStep], None]) -> None:
        """Calls back with each step of each attempt; those of a last run have no `claimed`."""
        self._desk.watch_attempts(callback)

    async def stopService(self) -> None:
        """Dials no more; calls go on, and are taken up at the next start."""
        super().stopService()
        self._ticks.stop()
        self._outbox.send()
        await self._desk.notes.flush()

    def kick(self) -> None:
        """A tick, as soon as the reactor has a turn; many at once are one."""
        self._ticks.kick()

    @property
    def board(self) -> Board:
        """Its calls that are up."""
        return self._desk.board

    @property
    def lines(self) -> Lines:
        """Limits, rates and breakers."""
        return self._desk.lines

    @property
    def brake(self) -> Brake:
        """How busy the PBX is."""
        return self._desk.brake

    @property
    def problem(self) -> str | None:
        """Why nothing is dialled; None where nothing is wrong."""
        return self._desk.problem

    @property
    def running_campaigns(self) -> int:
        """How many campaigns dial."""
        return len(self._desk.roster.running)

    def describe(self) -> list[CampaignView]:
        """How the running campaigns are doing."""
        board, roster = self._desk.board, self._desk.roster
        return [
            describe_calls(
                campaign_id,
                list(board.of_campaign(campaign_id)),
                is_drained=campaign_id in roster.idle,
                misfit=self._desk.find_misfit(roster.running[campaign_id]) if campaign_id in roster.running else "",
            )
            for campaign_id in sorted({*roster.running, *(call.campaign_id for call in board.calls.values())})
        ]

    def list_phones(self) -> set[str]:
        """The endpoints whose phones a running campaign waits for."""
        return self._demands.list_phones()

    def weigh(self, saved: SavedCampaign) -> Conditions:
        """What keeps a campaign's numbers from being dialled now, or does not, whatever the number."""
        return self._demands.weigh(saved)
