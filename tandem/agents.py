"""Agents: who is logged in to which queue, who pauses and why. A wish is committed first, then Asterisk is brought in step; never the other way round.

Without an answer of Asterisk's nothing is changed, so whoever asks for something while it is away is told so.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from twisted.internet.defer import DeferredLock

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.errors import AmiError
from tandem.domain.agents import AgentChange, AgentPause, AgentSessions, AgentWish, AgentWithdrawn, Roster
from tandem.domain.snapshot import Snapshot
from tandem.members import PREFIX, plan_members, read_present, send_plan
from tandem.monitoring import DEVICE_STATES, AgentNow, read_agents, to_state_word
from tandem.store.agents import forget_agents, load_agent_sessions, save_agent_change
from tandem.store.database import Store
from tandem.store.errors import StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")
Commit = Callable[[Callable[[Any], T]], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class AgentQueue:
    """A queue of an agent. is_member: as configured, else it logged in by itself; since: of the login or logout, null where nobody knows."""

    queue: str
    is_member: bool
    is_logged_in: bool
    since: datetime | None
    penalty: int
    calls_taken: int
    last_call_at: datetime | None


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent. device: Asterisk's device state; times are null for never or unknown; calls_taken: since Asterisk added it, over all queues."""

    extension: str
    name: str
    device: str
    is_logged_in: bool
    logged_in_since: datetime | None
    is_paused: bool
    pause_reason: str
    paused_since: datetime | None
    is_in_call: bool
    calls_taken: int
    last_call_at: datetime | None
    queues: tuple[AgentQueue, ...]


class Agents:
    """The use-cases. They raise AmiError and StoreError, and what `Roster.decide` does. send, ask: AMI that may change queue members."""

    def __init__(
        self,
        store: Store,
        snapshot: Callable[[], Snapshot],
        send: Callable[[Action], Awaitable[object]],
        ask: Callable[[Action], Awaitable[list[Any]]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._snapshot = snapshot
        self._send = send
        self._ask = ask
        self._now = now
        # A change and a comparison of everybody must not see each other half done.
        self._lock = DeferredLock()
        self._watchers: tuple[Callable[[AgentChange], None], ...] = ()
        # What was asked for, as it was read last; None before that.
        self._sessions: AgentSessions | None = None
        # Told why Asterisk could not be brought in step; to call `sync` again.
        self.retry: Callable[[str], object] = log.warning

    def watch(self, callback: Callable[[AgentChange], None]) -> None:
        """Calls back with each change, once it is committed."""
        self._watchers = (*self._watchers, callback)

    async def change(
        self,
        extension: str,
        wish: AgentWish,
        *,
        by: str,
        commit: Commit[AgentChange],
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> AgentChange:
        """What the wish came to. `commit` does the work in a transaction of the caller's choice; AgentWithdrawn where it is not wanted any more by then."""
        async with self._lock:
            snapshot, at = self._snapshot(), self._now()
            rows = await self._ask(actions.queue_status())

            def work(db: Any) -> AgentChange:
                if not is_wanted():
                    raise AgentWithdrawn
                change = Roster(snapshot, load_agent_sessions(db)).decide(extension, wish, at, by)
                save_agent_change(db, change)
                return change

            change = await commit(work)
            for callback in self._watchers:
                callback(change)
            try:
                await self._bring_in_step(snapshot, rows, extension)
            except (AmiError, StoreError) as error:
                # It is committed, so it will be: Asterisk is brought in step with what is.
                self.retry(f"queue members are not in step: {error}")
        log.info("agent %s: %s %s %s (%s)", extension, change.event, ", ".join(change.queues), change.reason, by)
        return change

    async def sync(self) -> int:
        """Brings all members in step; how many changes were made. Without the database Asterisk keeps those that it has."""
        async with self._lock:
            snapshot = self._snapshot()
            rows = await self._ask(actions.queue_status())
            try:
                logins, pauses = Roster(snapshot, await self._store.read(load_agent_sessions)).list_stale()
                if logins or pauses:
                    await self._store.run(forget_agents, logins, pauses)
                return await self._bring_in_step(snapshot, rows)
            except StoreError as error:
                log.warning("queue members are left as they are: %s", error)
                return 0

    async def _bring_in_step(self, snapshot: Snapshot, rows: list[Any], only: str | None = None) -> int:
        self._sessions = await self._store.read(load_agent_sessions)
        roster = Roster(snapshot, self._sessions)
        return await send_plan(plan_members(snapshot, roster, read_present(rows, snapshot.queues), only), self._send)

    async def list_agents(self) -> list[Agent]:
        """Every agent, as they are now."""
        rows = await self._ask(actions.queue_status())
        sessions = await self._store.read(load_agent_sessions)
        agents = describe_agents(self._snapshot(), sessions, rows)
        if all(agent.is_logged_in for agent in agents):
            return agents
        # Asterisk tells the device of a member; of somebody who is in no queue it must be asked.
        devices = {
            row.get("Device"): to_state_word(row.get("State")) for row in await self._ask(actions.device_state_list())
        }
        return describe_agents(self._snapshot(), sessions, rows, devices)

    def works(self, endpoint: str) -> bool:
        """Whether its agent is logged in somewhere and does not pause, without asking anybody; yes where that is not known."""
        return self._sessions is None or Roster(self._snapshot(), self._sessions).works(endpoint)

    async def read_sessions(self) -> AgentSessions:
        """What was asked for."""
        return await self._store.read(load_agent_sessions)


def describe_agents(
    snapshot: Snapshot, sessions: AgentSessions, rows: list[Any], devices: dict[str, str] | None = None
) -> list[Agent]:
    """Every agent, from the answer to QueueStatus and the device states of those who are in no queue."""
    roster = Roster(snapshot, sessions)
    present: dict[str, dict[str, AgentNow]] = {}
    for now in read_agents(rows):
        present.setdefault(now.interface, {})[now.queue] = now
    return [
        _describe(snapshot, roster, endpoint, present.get(f"{PREFIX}{endpoint}", {}), devices or {})
        for endpoint in roster.list_agents()
    ]


def _describe(
    snapshot: Snapshot, roster: Roster, endpoint: str, present: dict[str, AgentNow], devices: dict[str, str]
) -> Agent:
    entered = set(roster.list_entered(endpoint))
    queues = []
    for name in roster.list_queues(endpoint):
        now, asked = present.get(name), roster.sessions.logins.get((endpoint, name))
        penalty = roster.read_penalty(endpoint, name)
        queues.append(
            AgentQueue(
                name,
                penalty is not None,
                name in entered,
                _time(asked.since if asked is not None else now.logged_in_at if now is not None else 0),
                penalty or 0,
                now.calls_taken if now is not None else 0,
                _time(now.last_call_at if now is not None else 0),
            )
        )
    asked_pause = roster.read_pause(endpoint)
    ours = [now for name, now in present.items() if name in snapshot.queues]
    paused = [now for now in ours if now.is_paused]
    if asked_pause is None:  # what others did to it
        since = max((now.paused_at for now in paused), default=0)
        asked_pause = AgentPause(endpoint, bool(paused), next((now.pause_reason for now in paused), ""), since, "")
    return Agent(
        extension=endpoint,
        name=snapshot.endpoints[endpoint].name,
        device=next((now.status for now in ours), devices.get(f"{PREFIX}{endpoint}", DEVICE_STATES[0])),
        is_logged_in=bool(entered),
        logged_in_since=min((queue.since for queue in queues if queue.is_logged_in and queue.since), default=None),
        is_paused=asked_pause.is_paused,
        pause_reason=asked_pause.reason,
        paused_since=_time(asked_pause.since if asked_pause.is_paused else 0),
        is_in_call=any(now.is_in_call for now in ours),
        calls_taken=sum(queue.calls_taken for queue in queues),
        last_call_at=max((queue.last_call_at for queue in queues if queue.last_call_at), default=None),
        queues=tuple(queues),
    )


def _time(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
