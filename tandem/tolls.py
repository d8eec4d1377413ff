"""The toll-fraud guard at work: counts calls outside, locks who called too much, tells, and waits for a person; never opens a lock by itself.

Counted in memory, because no call waits for the database; what changed is written once a second and at the end.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from twisted.internet.defer import Deferred, DeferredLock

from tandem.ami import actions
from tandem.ami.connection import Clock
from tandem.ami.errors import AmiError
from tandem.domain.calls import CallEvent
from tandem.domain.cdr import Cdr
from tandem.domain.dialplan import FAMILY_LOCK
from tandem.domain.outbound import TrunkTry
from tandem.domain.snapshot import Snapshot
from tandem.domain.tolls import MINUTE_S, PBX_SCOPE, Usage, Verdict, find_limit, judge_number, judge_usage, list_scopes
from tandem.regular import Regular
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.tolls import TollLock, delete_lock, load_tolls, save_tolls

log = logging.getLogger(__name__)

FLUSH_EVERY_S: Final = 1.0
# Calls that are remembered until their record comes; the oldest is forgotten first.
MAX_PAYERS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TollState:
    """A scope for people. calls and minutes are today's; locked_at is null where it is not locked."""

    scope: str
    calls: int
    minutes: float
    locked_at: datetime | None
    reason: str


class NotLocked(LookupError):
    """Nothing is locked there."""


class Tolls(Regular):
    """admit and check are asked for each call outside. send, ask: AMI that may write AstDB, where the dialplan looks for locks."""

    name = "tolls"

    def __init__(
        self,
        store: Store,
        snapshot: Callable[[], Snapshot],
        send: Callable[[Any], Awaitable[object]],
        ask: Callable[[Any], Awaitable[list[Any]]],
        clock: Clock,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock)
        self._store, self._snapshot, self._send, self._ask, self._now = store, snapshot, send, ask, now
        self._usage: dict[str, Usage] = {}
        self._locks: dict[str, TollLock] = {}
        self._changed: set[str] = set()
        self._new_locks: dict[str, TollLock] = {}
        self._saving = DeferredLock()
        self._is_loaded = False
        # Trunk -> when it has called so slowly again that nothing of its rate is used.
        self._free_at: dict[str, float] = {}
        # Channel (uniqueid) of a call that is up -> the endpoint that let it out.
        self._payers: dict[str, str] = {}
        self._watchers: tuple[Callable[[TollLock], None], ...] = ()
        self.repeat(self.flush, FLUSH_EVERY_S)

    def stopService(self) -> "Deferred[None]":
        """Writes what is left."""
        super().stopService()
        return Deferred.fromCoroutine(self.flush())

    def watch(self, callback: Callable[[TollLock], None]) -> None:
        """Calls back with each new lock."""
        self._watchers = (*self._watchers, callback)

    # ------------------------------------------------------------------------------------------------------ calls

    def check(self, extension: str, trunk: str, dialled: str, called: str = "") -> Verdict:
        """Whether a call may be right now, and how long; counts nothing, but locks who has called too much."""
        refusal = judge_number(self._snapshot(), extension, trunk, dialled, called)
        return Verdict(refusal) if refusal else self.check_usage(extension, trunk)

    def check_usage(self, extension: str, trunk: str) -> Verdict:
        """The same for any number."""
        snapshot, at = self._snapshot(), self._now()
        day = self._day(snapshot, at)
        scopes = {one: self._usage.get(one.name, _NOTHING) for one in list_scopes(snapshot, extension, trunk)}
        for scope, usage in scopes.items():
            if scope.name not in self._locks and (reason := judge_usage(scope, usage, day, at)):
                self._lock(scope.name, reason, at)
            if scope.name in self._locks:
                return Verdict(f"{scope.name} is locked: {self._locks[scope.name].reason}")
        return Verdict("", find_limit(scopes, day))

    def judge(
        self, extension: str, tries: Sequence[TrunkTry], dialled: str, called: str = ""
    ) -> tuple[Verdict, tuple[TrunkTry, ...]]:
        """The verdict on a call, and the trunks that it may take; counts nothing. called: `OutboundCall.number`, where that is not what was dialled."""
        verdicts = {one: self.check(extension, one.trunk, dialled, called) for one in tries}
        allowed = tuple(one for one, verdict in verdicts.items() if not verdict.refusal)
        if not allowed:
            return next(iter(verdicts.values())), ()
        # A trunk that is called too fast is passed by, not locked.
        allowed = tuple(one for one in allowed if self._has_room(one.trunk))
        if not allowed:
            return Verdict(f"too many calls within a second over {tries[-1].trunk}", is_busy=True), ()
        limits = [verdicts[one].limit_s for one in allowed if verdicts[one].limit_s]
        return Verdict("", min(limits, default=0)), allowed

    def admit(
        self, extension: str, tries: Sequence[TrunkTry], dialled: str, called: str = "", channel: str = ""
    ) -> tuple[Verdict, tuple[TrunkTry, ...]]:
        """The same, and the call is counted, over the first trunk that it may take.

        channel: the uniqueid of the one that dials. It may be another's than the endpoint's, who forwards or hands on: its minutes they are.
        """
        verdict, allowed = self.judge(extension, tries, dialled, called)
        if allowed:
            self.count(extension, allowed[0].trunk)
            if extension and channel:
                self._payers[channel] = extension
                if len(self._payers) > MAX_PAYERS:
                    del self._payers[next(iter(self._payers))]
        return verdict, allowed

    def is_locked(self, trunk: str) -> bool:
        """Whether nobody may call over a trunk."""
        return PBX_SCOPE in self._locks or f"trunk/{trunk}" in self._locks

    def count(self, extension: str, trunk: str) -> None:
        """One call more of each of its scopes."""
        snapshot, at = self._snapshot(), self._now()
        day = self._day(snapshot, at)
        for scope in list_scopes(snapshot, extension, trunk):
            kept = scope.guard.max_calls_per_minute
            self._usage[scope.name] = self._usage.get(scope.name, _NOTHING).with_call(day, at, kept)
            self._changed.add(scope.name)
        known = snapshot.trunks.get(trunk)
        if known is not None and known.max_cps:
            self._free_at[trunk] = max(at, self._free_at.get(trunk, at)) + 1 / known.max_cps

    def _has_room(self, trunk: str) -> bool:
        """Whether a trunk's rate allows a call now: no more than a second's worth at once (and always one)."""
        known = self._snapshot().trunks.get(trunk)
        if known is None or not known.max_cps:
            return True
        burst_s = max(0.0, 1 - 1 / known.max_cps)
        return self._free_at.get(trunk, 0.0) - self._now() <= burst_s

    def take_call(self, event: CallEvent) -> None:
        """A call that we place, over the API or of a campaign: whoever sends it has asked."""
        if event.kind == "placed" and event.call.is_trunk:
            trunk = event.call.channel.rpartition("@")[2]
            self.count("", trunk)
            # A campaign's calls are not asked about one by one: what they used up locks the trunk for the next tick.
            self.check_usage("", trunk)

    def take_cdr(self, cdr: Cdr) -> None:
        """How long its legs outside were: told by the records, also of a call that was up over a restart."""
        snapshot = self._snapshot()
        day = self._day(snapshot, self._now())
        # The first leg of an inbound call is the carrier's, which it pays for.
        first, legs = cdr.legs[:1], cdr.legs[1:] if cdr.direction == "inbound" else cdr.legs
        caller = next((leg.endpoint for leg in first if leg.endpoint in snapshot.endpoints), "")
        payers = [payer for leg in cdr.legs if (payer := self._payers.pop(leg.uniqueid, ""))]
        caller = payers[-1] if payers else caller
        for leg in legs:
            if leg.endpoint not in snapshot.trunks or leg.answered_at is None or leg.ended_at is None:
                continue
            seconds = max(0.0, leg.ended_at - leg.answered_at)
            for scope in list_scopes(snapshot, caller, leg.endpoint):
                usage = self._usage.get(scope.name, _NOTHING).on(day)
                self._usage[scope.name] = Usage(day, usage.calls, usage.seconds + seconds, usage.minute)
                self._changed.add(scope.name)

    # ----------------------------------------------------------------------------------------------------- people

    def list_states(self) -> tuple[TollState, ...]:
        """Every scope that called today or is locked, the locked ones first."""
        snapshot = self._snapshot()
        day = self._day(snapshot, self._now())
        names = sorted(self._usage.keys() | self._locks.keys(), key=lambda name: (name not in self._locks, name))
        return tuple(self._state(name, day) for name in names)

    async def unlock(self, scope: str, commit: Callable[[Callable[[Any], None]], Awaitable[None]]) -> None:
        """A person opens it; what it called today is forgotten. `commit` keeps that with whatever the caller keeps. NotLocked."""
        if scope not in self._locks:
            raise NotLocked(f"{scope[:80]!r} is not locked")
        async with self._saving:
            await commit(lambda db: delete_lock(db, scope))
            self._locks.pop(scope, None)
            self._new_locks.pop(scope, None)
            self._usage.pop(scope, None)
            self._changed.discard(scope)
        log.warning("toll guard: %s is unlocked", scope)
        await self._tell_dialplan(scope)

    def _state(self, name: str, day: int) -> TollState:
        usage, lock = self._usage.get(name, _NOTHING).on(day), self._locks.get(name)
        locked_at = None if lock is None else datetime.fromtimestamp(lock.locked_at, UTC)
        return TollState(
            scope=name,
            calls=usage.calls,
            minutes=round(usage.seconds / MINUTE_S, 2),
            locked_at=locked_at,
            reason=lock.reason if lock is not None else "",
        )

    # ----------------------------------------------------------------------------------------------------- inside

    def _day(self, snapshot: Snapshot, at: float) -> int:
        return datetime.fromtimestamp(at, ZoneInfo(snapshot.general.time_zone)).date().toordinal() - _EPOCH

    def _lock(self, scope: str, reason: str, at: float) -> None:
        lock = self._locks[scope] = self._new_locks[scope] = TollLock(scope, at, reason)
        log.error("toll guard: %s is locked: %s", scope, reason)
        for callback in self._watchers:
            callback(lock)
        Deferred.fromCoroutine(self._tell_dialplan(scope))

    async def follow(self) -> None:
        """Brings the dialplan's locks in step: after each login of AMI."""
        if not self._is_loaded:
            return
        try:
            rows = await self._ask(actions.db_get_tree(FAMILY_LOCK))
        except AmiError as error:
            log.warning("toll guard: the dialplan's locks cannot be read: %s", error)
            return
        there = {row.get("Key").removeprefix(f"/{FAMILY_LOCK}/") for row in rows}
        for scope in there ^ self._locks.keys():
            await self._tell_dialplan(scope)

    async def _tell_dialplan(self, scope: str) -> None:
        put = scope in self._locks
        try:
            await self._send(actions.db_put(FAMILY_LOCK, scope, "1") if put else actions.db_del(FAMILY_LOCK, scope))
        except AmiError as error:
            log.warning(
                "toll guard: the dialplan does not know yet that %s is %s: %s",
                scope,
                "locked" if put else "open",
                error,
            )

    async def flush(self) -> None:
        """Writes what changed; what cannot be written now is written later."""
        async with self._saving:
            try:
                if not self._is_loaded:
                    usage, locks = await self._store.read(load_tolls)
                    self._take_up(usage, locks)
                changed, self._changed = self._changed, set()
                new, self._new_locks = self._new_locks, {}
                if not changed and not new:
                    return
                try:
                    await self._store.run(save_tolls, {name: self._usage[name] for name in changed}, new)
                except BaseException:
                    self._changed |= changed
                    self._new_locks = new | self._new_locks
                    raise
            except StoreError as error:
                log.warning("toll guard: counters are written later: %s", error)

    def _take_up(self, usage: dict[str, Usage], locks: dict[str, TollLock]) -> None:
        """What was kept, and what was counted before it could be read."""
        for name, kept in usage.items():
            now = self._usage.get(name)
            if now is None:
                self._usage[name] = kept
            elif kept.day == now.day:
                self._usage[name] = Usage(now.day, now.calls + kept.calls, now.seconds + kept.seconds, now.minute)
        self._locks = locks | self._locks
        self._is_loaded = True
        Deferred.fromCoroutine(self.follow())


_NOTHING: Final = Usage()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC).date().toordinal()
