"""Night modes at work: committed first, then in the snapshot that calls read, in AstDB and on the phones' lamps; never asked of the database by a call.

What was switched for a schedule that is gone stays in the database, and counts again when there is one of that name. Without a
database AstDB says what was switched last.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import DeferredLock

from tandem.ami import actions
from tandem.ami.errors import AmiError, AmiRefused
from tandem.domain.dialplan import FAMILY_NIGHT
from tandem.domain.nights import NightMode, name_device, with_modes
from tandem.domain.schedules import Mode
from tandem.domain.snapshot import Snapshot
from tandem.store.database import Store
from tandem.store.nights import load_nights, save_night

log = logging.getLogger(__name__)

Commit = Callable[[Callable[[Any], NightMode]], Awaitable[NightMode]]


class Nights:
    """The use-cases. send, ask: AMI that may write AstDB and run commands; changed: what calls read is to be dressed anew."""

    def __init__(
        self,
        store: Store,
        snapshot: Callable[[], Snapshot],
        send: Callable[[Any], Awaitable[object]],
        ask: Callable[[Any], Awaitable[list[Any]]],
        changed: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._snapshot, self._send, self._ask = store, snapshot, send, ask
        self._changed, self._now = changed, now
        # Replaced whole, so that who goes through it sees one state of it.
        self.current: Mapping[str, NightMode] = {}
        self._lock = DeferredLock()
        self._is_loaded = False
        # Device -> whether its lamp is lit, as far as Asterisk was told.
        self._lamps: dict[str, bool] = {}
        self._watchers: tuple[Callable[[NightMode], None], ...] = ()

    def watch(self, callback: Callable[[NightMode], None]) -> None:
        """Calls back with each change, once it is committed."""
        self._watchers = (*self._watchers, callback)

    async def load(self) -> None:
        """Reads what was switched before; StoreError."""
        self.current = await self._store.read(load_nights)
        self._is_loaded = True
        self._changed()

    def dress(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what is switched now."""
        return with_modes(snapshot, {name: night.mode for name, night in self.current.items()})

    def read(self, schedule: str) -> NightMode:
        """Of one schedule."""
        return self.current.get(schedule) or NightMode(schedule=schedule)

    async def change(
        self, schedule: str, decide: Callable[[Snapshot, Mode], Mode], *, by: str, commit: Commit
    ) -> NightMode:
        """What a schedule is from now on. KeyError for an unknown one, what `decide` raises, StoreError.

        `commit` does the work in a transaction of the caller's choice. Where Asterisk is away it has it after the next login.
        """
        async with self._lock:
            if not self._is_loaded:
                await self.load()
            snapshot, known = self._snapshot(), self.read(schedule)
            if schedule not in snapshot.schedules:
                raise KeyError(schedule)
            mode = decide(snapshot, known.mode)
            night = known if mode == known.mode else NightMode(schedule=schedule, mode=mode, since=self._now(), by=by)

            def work(db: Any) -> NightMode:
                save_night(db, night)
                return night

            await commit(work)
            self.current = {**self.current, schedule: night}
            self._changed()
            try:
                await self._put(schedule, night.mode)
                await self._tell_lamps()
            except AmiError as error:
                log.warning("night mode of schedule %s is not in Asterisk yet: %s", schedule, error)
        for callback in self._watchers:
            callback(night)
        log.info("schedule %s is in mode %s (%s)", schedule, night.mode, by)
        return night

    async def follow(self) -> None:
        """After each login of AMI: brings AstDB and lamps in step; without a database AstDB is believed."""
        async with self._lock:
            try:
                rows = await self._ask(actions.db_get_tree(FAMILY_NIGHT))
                there = {row.get("Key").removeprefix(f"/{FAMILY_NIGHT}/"): row.get("Val") for row in rows}
                if self._is_loaded:
                    wanted = {name: night.mode for name, night in self.current.items() if night.mode != "auto"}
                    for name in sorted(there.keys() | wanted.keys()):
                        if there.get(name) != wanted.get(name):
                            await self._put(name, wanted.get(name, "auto"))
                else:
                    modes: dict[str, Mode] = {"day": "day", "night": "night"}
                    self.current = {
                        name: NightMode(schedule=name, mode=modes[value])
                        for name, value in there.items()
                        if value in modes
                    }
                    self._changed()
                self._lamps = {}
                await self._tell_lamps()
            except AmiError as error:
                log.warning("night modes are not in Asterisk yet: %s", error)

    async def light(self) -> None:
        """After a change of the schedules: lamps of codes that are new."""
        async with self._lock:
            try:
                await self._tell_lamps()
            except AmiError as error:
                log.info("lamps of night modes are not in Asterisk yet: %s", error)

    async def _put(self, schedule: str, mode: Mode) -> None:
        if mode != "auto":
            await self._send(actions.db_put(FAMILY_NIGHT, schedule, mode))
            return
        try:
            await self._send(actions.db_del(FAMILY_NIGHT, schedule))
        except AmiRefused:
            pass  # it was not there

    async def _tell_lamps(self) -> None:
        for name, schedule in self._snapshot().schedules.items():
            device, is_lit = name_device(schedule.night_code), self.read(name).mode == "night"
            if schedule.night_code and self._lamps.get(device) != is_lit:
                await self._send(actions.command(f"devstate change {device} {'INUSE' if is_lit else 'NOT_INUSE'}"))
                self._lamps[device] = is_lit
