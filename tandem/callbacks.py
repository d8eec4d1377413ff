"""Calls back who asked a queue for it, one try at a time; never sends one that is not kept as being called, and never ends a call that talks.

A try is a call of `tandem.calls` like any other: kept before it is sent, followed over restarts. What came of it stands in AstDB, where the
dialplan writes it, whether Tandem was there or not.
"""

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from tandem.ami import actions
from tandem.ami.connection import Clock
from tandem.ami.errors import AmiError
from tandem.calls import Calls
from tandem.domain.callbacks import (
    DOUBT,
    Callback,
    CallbackBusy,
    CallbackMissing,
    CallbackRefused,
    CallbackWish,
    Waiting,
    cancel,
    come_back,
    conclude,
    expire,
    find_place,
    find_ways,
    is_number_of,
    is_time,
    plan_callback,
    refuse,
    start_callback,
)
from tandem.domain.calls import PlacedCall
from tandem.domain.dialplan import FAMILY_CALLBACK
from tandem.domain.outbound import TrunkTry
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import Snapshot
from tandem.domain.tolls import Verdict
from tandem.lease import Lease
from tandem.regular import Regular
from tandem.store.audit import AuditEntry, record_audit
from tandem.store.callbacks import (
    claim_callback,
    keep_callback,
    load_callback,
    load_open_callbacks,
    save_callback,
)
from tandem.store.database import Store
from tandem.store.errors import StoreError

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 2.0
# Of the channel that stands in the queue: the other half of the one whose id we chose.
_HALF: Final = ";2"


class Callbacks(Regular):
    """ask: a list action of AMI; send: one that may write AstDB. is_ready: whether both can be asked, and there is a snapshot.

    judge: the toll guard's verdict on a call, which counts nothing (`Tolls.judge`).
    """

    name = "callbacks"

    def __init__(
        self,
        store: Store,
        calls: Calls,
        lease: Lease,
        snapshot: Callable[[], Snapshot],
        queue_facts: Callable[[str], QueueFacts | None],
        *,
        ask: Callable[[Any], Awaitable[list[Any]]],
        send: Callable[[Any], Awaitable[object]],
        judge: Callable[[str, Sequence[TrunkTry], str, str], tuple[Verdict, tuple[TrunkTry, ...]]],
        is_ready: Callable[[], bool],
        clock: Clock,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock)
        self._store, self._calls, self._lease = store, calls, lease
        self._snapshot, self._queue_facts = snapshot, queue_facts
        self._ask, self._send, self._judge, self._is_ready, self._now = ask, send, judge, is_ready, now
        # As of the last look: whoever is taken off it is looked up again.
        self._owed: list[Callback] = []
        self._watchers: tuple[Callable[[Callback], None], ...] = ()
        self._is_looking = False
        # What is open when it stops is taken up at the next start.
        self.repeat(self.look, LOOK_EVERY_S)

    def watch(self, callback: Callable[[Callback], None]) -> None:
        """Calls back with each change, once it is committed."""
        self._watchers = (*self._watchers, callback)

    # -------------------------------------------------------------------------------------------------- use-cases

    async def request(self, wish: CallbackWish) -> Callback:
        """Keeps what a caller wants; the one that the number is owed already, where there is one. CallbackRefused, StoreError."""
        snapshot, now = self._snapshot(), self._now()
        callback = start_callback(snapshot, wish, secrets.token_hex(8), now)
        if (verdict := self._look_for_way(snapshot, callback, now)).refusal and not verdict.is_busy:
            raise CallbackRefused(f"the toll guard refuses it: {verdict.refusal}", is_final=True)
        setting = snapshot.queues[wish.queue].callback
        assert setting is not None
        node = self._lease.node

        def work(db: Any) -> Callback:
            kept = keep_callback(db, callback, node, setting.max_waiting)
            if kept is callback:
                record_audit(
                    db,
                    AuditEntry(
                        at=datetime.fromtimestamp(now, UTC),
                        who=f"queue {wish.queue}",
                        source="phone",
                        action="callbacks/create",
                        target=f"callbacks/{callback.callback_id}",
                    ),
                )
            return kept

        kept = await self._store.run(work)
        self._owed.append(kept)
        self._tell(kept)
        return kept

    def find_owed(self, queue: str, caller: str, trunk: str) -> str:
        """The callback that this queue owes who calls now, as `trunk` sent them; '' for none."""
        if not self._owed:  # nearly every call
            return ""
        snapshot = self._snapshot()
        found = (one for one in self._owed if one.queue == queue and is_number_of(snapshot, one, caller, trunk))
        return next((one.callback_id for one in found), "")

    async def take_back(self, callback_id: str) -> int:
        """The caller has called again: they are owed nothing more, and have their place in the queue, 1 for the head; 0 where it is over. StoreError."""
        known, call = await self._read(callback_id)
        if known is None or not known.is_open:
            return 0
        is_talking = call is not None and call.answered_at is not None
        after = come_back(known, self._now(), is_talking=is_talking)
        try:
            await self._store.run(save_callback, known, after)
        except CallbackBusy:
            # A try has begun or ended at this moment.
            return await self.take_back(callback_id)
        self._tell(after)
        if call is not None and not is_talking:
            await self._hang_up(after)
        try:
            rows = await self._ask(actions.queue_status())
        except AmiError as error:
            log.warning("callback %s: its caller is put at the head: %s", callback_id, error)
            return 1
        return find_place(read_waiting(rows, self._owed, self._now()).get(known.queue, ()), known)

    async def cancel(
        self, callback_id: str, commit: Callable[[Callable[[Any], Callback]], Awaitable[Callback]]
    ) -> Callback:
        """A person does not want it any more; an agent who rings for it is let off. CallbackMissing, CallbackBusy, StoreError."""
        known, call = await self._read(callback_id)
        if known is None:
            raise CallbackMissing(callback_id)
        if not known.is_open or (call is not None and call.answered_at is not None):
            raise CallbackBusy("it is over, or an agent has answered")
        after = cancel(known, self._now())

        def work(db: Any) -> Callback:
            save_callback(db, known, after)
            return after

        done = await commit(work)
        self._tell(done)
        if call is not None:
            await self._hang_up(done)
        return done

    async def _read(self, callback_id: str) -> tuple[Callback | None, PlacedCall | None]:
        """One, and the call of its try, where it has one now."""
        known = await self._store.read(load_callback, callback_id)
        is_calling = known is not None and known.state == "calling"
        return known, await self._calls.find(known.call_id) if known is not None and is_calling else None

    async def _hang_up(self, callback: Callback) -> None:
        """An agent who rings for it is let off."""
        try:
            await self._calls.hang_up(callback.call_id)
        except AmiError as error:
            log.warning("callback %s: its call is ended as soon as it is seen: %s", callback.callback_id, error)

    def _look_for_way(self, snapshot: Snapshot, callback: Callback, now: float) -> Verdict:
        """The toll guard's word on dialling the caller now."""
        ways = find_ways(snapshot, callback.number, now)
        if ways is None:
            return Verdict("")
        if not ways.tries:
            return Verdict("; ".join(ways.reasons))
        return self._judge("", ways.tries, callback.number, ways.number)[0]

    # ------------------------------------------------------------------------------------------------------- tries

    async def look(self) -> None:
        """Concludes what is over, and begins what is due; what cannot be done now is done the next time."""
        if self._is_looking or not self._is_ready() or not self._lease.is_held:
            return
        self._is_looking = True
        try:
            found = self._owed = await self._store.read(load_open_callbacks, self._lease.followed)
            if found:
                await self._conclude([one for one in found if one.state == "calling"])
                await self._begin([one for one in found if one.state == "waiting"], found)
        except (StoreError, AmiError) as error:
            log.warning("callbacks wait: %s", error)
        except Exception:
            log.exception("callbacks could not be followed")
        finally:
            self._is_looking = False

    async def _conclude(self, calling: Sequence[Callback]) -> None:
        for one in calling:
            call = await self._calls.find(one.call_id)
            if call is not None and call.ended_at is None:
                continue
            rows = await self._ask(actions.db_get(FAMILY_CALLBACK, one.call_id))
            # An agent has answered, or may have, and AstDB does not know: it was lost, or is another node's.
            in_doubt = DOUBT if call is None or call.answered_at is not None else None
            outcome = rows[0].get("Val") if rows else in_doubt
            queue = self._snapshot().queues.get(one.queue)
            await self._save(one, conclude(one, queue.callback if queue is not None else None, outcome, self._now()))
            if rows:
                await self._send(actions.db_del(FAMILY_CALLBACK, one.call_id))

    async def _begin(self, waiting: Sequence[Callback], found: Sequence[Callback]) -> None:
        snapshot, now = self._snapshot(), self._now()
        due: list[Callback] = []
        for one in waiting:
            queue = snapshot.queues.get(one.queue)
            if now >= one.expires_at:
                await self._save(one, expire(one, now))
            elif queue is None or (now >= one.next_at and is_time(snapshot, queue, self._queue_facts(one.queue), now)):
                due.append(one)
        if not due:
            return
        in_queues = read_waiting(await self._ask(actions.queue_status()), found, now)
        for one in due:
            others = in_queues.setdefault(one.queue, [])
            await self._try(snapshot, one, find_place(others, one), now)
            others.append(Waiting(one.joined_at, one.priority))

    async def _try(self, snapshot: Snapshot, one: Callback, place: int, now: float) -> None:
        try:
            order = plan_callback(snapshot, one, place, now)
        except CallbackRefused as refused:
            await self._save(one, refuse(one, refused.rule, now))
            return
        verdict = self._look_for_way(snapshot, one, now)
        if verdict.refusal:
            # No agent is rung for nobody. A lock is opened by a person, a trunk is free again in a moment: so it waits.
            if not verdict.is_busy and one.outcome != verdict.refusal:
                await self._save(one, replace(one, outcome=verdict.refusal))
            return

        async def record(call: PlacedCall) -> None:
            await self._store.run(self._lease.guard(claim_callback), one, call, self._lease.node)

        try:
            call = await self._calls.place(order, record=record)
        except CallbackBusy:
            return  # cancelled meanwhile
        except AmiError as error:
            log.warning("callback %s was not sent: %s", one.callback_id, error)
            return
        log.info("callback %s: queue %s at place %s, call %s", one.callback_id, one.queue, place, call.call_id)
        kept = await self._store.read(load_callback, one.callback_id)
        if kept is not None:
            self._tell(kept)

    async def _save(self, before: Callback, after: Callback) -> None:
        try:
            await self._store.run(save_callback, before, after)
        except CallbackBusy:
            return  # cancelled meanwhile
        log.info("callback %s: %s %s", after.callback_id, after.state, after.outcome)
        self._tell(after)

    def _tell(self, callback: Callback) -> None:
        for watcher in self._watchers:
            watcher(callback)


def read_waiting(rows: Iterable[Any], known: Iterable[Callback], now: float) -> dict[str, list[Waiting]]:
    """Queue -> who waits in it, of the answer to QueueStatus; who stands in for a caller has waited as long as that caller."""
    stand_ins: Mapping[str, Callback] = {one.call_id: one for one in known if one.state == "calling"}
    found: dict[str, list[Waiting]] = {}
    for row in rows:
        if row.get("Event") != "QueueEntry":
            continue
        stand_in = stand_ins.get(row.get("Uniqueid").removesuffix(_HALF))
        wait, priority = row.get("Wait"), row.get("Priority")
        joined_at = stand_in.joined_at if stand_in is not None else now - (int(wait) if wait.isdecimal() else 0)
        found.setdefault(row.get("Queue"), []).append(Waiting(joined_at, int(priority) if priority.isdecimal() else 0))
    return found
