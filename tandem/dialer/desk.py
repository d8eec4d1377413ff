"""What the rooms of the dialer share: whom they ask, and what they know of campaigns and calls; decides nothing and sends nothing."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from twisted.logger import Logger

from tandem.ami.connection import Clock
from tandem.calls import Calls
from tandem.dialer.board import Board
from tandem.dialer.brake import Brake
from tandem.dialer.lines import Lines
from tandem.dialer.notes import Notes
from tandem.domain.campaign_checks import check_campaign_within
from tandem.domain.campaigns import SavedCampaign
from tandem.domain.open_calls import AttemptStep
from tandem.domain.pacing import count_free
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import Snapshot
from tandem.lease import Lease
from tandem.store.campaigns import CampaignDay
from tandem.store.database import Store

_log = Logger()


class QueueReader(Protocol):
    """Facts about queues."""

    def __call__(self, name: str) -> QueueFacts | None:
        """None when unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the dialer asks of others. facts_at: when queue_facts were true, by the reactor's clock. phone_state: of an endpoint, in Asterisk's words, None when unknown. ask_pbx: the lines that Asterisk's console prints for a command."""

    snapshot: Callable[[], Snapshot]
    queue_facts: QueueReader
    facts_at: Callable[[], float]
    is_ready: Callable[[], bool]
    lag_s: Callable[[], float]
    ask_pbx: Callable[[str], Awaitable[Iterable[str]]]
    phone_state: Callable[[str], str | None] = lambda _: None


@dataclass(slots=True)
class Roster:
    """The campaigns, as they were read last. idle: those without a due number -> until when (the reactor's clock) they are not asked again."""

    running: dict[int, SavedCampaign] = field(default_factory=dict)
    resting: dict[int, SavedCampaign] = field(default_factory=dict)
    days: dict[int, list[CampaignDay]] = field(default_factory=dict)
    idle: dict[int, float] = field(default_factory=dict)

    def replace(self, campaigns: Iterable[SavedCampaign]) -> None:
        """These are all."""
        rows = tuple(campaigns)
        self.running = {saved.campaign_id: saved for saved in rows if saved.state == "running"}
        self.resting = {saved.campaign_id: saved for saved in rows if saved.state != "running"}

    def put(self, saved: SavedCampaign) -> None:
        """One was changed."""
        self.forget(saved.campaign_id)
        (self.running if saved.state == "running" else self.resting)[saved.campaign_id] = saved

    def forget(self, campaign_id: int) -> None:
        """One was deleted."""
        self.running.pop(campaign_id, None)
        self.resting.pop(campaign_id, None)

    def find(self, campaign_id: int) -> SavedCampaign | None:
        """One of them, in whatever state."""
        return self.running.get(campaign_id) or self.resting.get(campaign_id)


@dataclass(slots=True)
class Desk:
    """Everything that more than one room needs. problem: why nothing is dialled; is_loaded: what a last run left open is on the board."""

    store: Store
    calls: Calls
    around: Around
    clock: Clock
    lease: Lease
    now: Callable[[], float]
    is_running: Callable[[], bool]
    lines: Lines
    brake: Brake
    notes: Notes
    board: Board = field(default_factory=Board)
    roster: Roster = field(default_factory=Roster)
    problem: str | None = None
    is_loaded: bool = False
    # Calls whose end came before that: what is read meanwhile may not know it.
    over: set[str] = field(default_factory=set)
    _watchers: tuple[Callable[[AttemptStep], None], ...] = ()
    _misfits: dict[int, tuple[tuple[int, int], str]] = field(default_factory=dict)

    def is_dialling(self) -> bool:
        """Whether there is anything to dial, and we may."""
        return bool(self.roster.running) and self.around.is_ready() and self.lease.is_held

    def watch_attempts(self, callback: Callable[[AttemptStep], None]) -> None:
        """Calls back with each step of each attempt; those of a last run have no `claimed`."""
        self._watchers = (*self._watchers, callback)

    def tell(self, step: AttemptStep) -> None:
        """Tells all who watch."""
        for callback in self._watchers:
            try:
                callback(step)
            except Exception:  # noqa: BLE001 - a watcher's mistake must not keep a claimed number from being called
                _log.failure("a watcher of attempts failed")

    def find_misfit(self, saved: SavedCampaign) -> str:
        """What a campaign needs and the live PBX has not; '' when it has everything."""
        snapshot = self.around.snapshot()
        key = (saved.version, snapshot.revision)
        known = self._misfits.get(saved.campaign_id)
        if known is None or known[0] != key:
            problems = "; ".join(f"{field}: {rule}" for field, rule in check_campaign_within(snapshot, saved.campaign))
            if problems:
                _log.warn(
                    "campaign {campaign} does not dial: {problems}", campaign=saved.campaign_id, problems=problems
                )
            known = self._misfits[saved.campaign_id] = (key, problems)
        return known[1]

    def count_free(self, queue: str, facts: QueueFacts | None) -> int:
        """Agents who are free: one whom a call of ours has reached since the report is free no more."""
        reported = facts.members_available if facts is not None else 0
        return count_free(reported, self.around.facts_at(), self.board.reached.get(queue, ()))

    def wrap_up_s(self, queue: str) -> float:
        """How long an agent of a queue rests after a call."""
        known = self.around.snapshot().queues.get(queue)
        return float(known.wrap_up_s) if known is not None else 0.0

    def list_shared_limits(self) -> dict[str, int] | None:
        """Calls at once of each trunk that other nodes use, too: the carrier counts those of all. None where there is no other node."""
        if not self.lease.is_shared:
            return None
        return {trunk.name: trunk.max_calls for trunk in self.around.snapshot().trunks.values() if trunk.max_calls}
