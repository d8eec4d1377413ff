"""The snapshot that calls are routed by: loaded between other work of the reactor, swapped whole, kept in a file; never changed in place.

Everything here runs in slices of a few milliseconds, because what takes longer delays calls: validation and JSON hold the
interpreter's lock, so a thread would not help. Only SQL and the disk are waited for in threads.
"""

import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from typing import Final, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from tandem.domain.entities import COLLECTIONS, Entity, General
from tandem.domain.snapshot import Snapshot, SnapshotBuilder, with_entity, with_general, without_entity
from tandem.store.bodies import GENERAL, BodyError, decode_body
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.objects import Change, load_changes, load_general, load_page
from tandem.store.revisions import load_target
from tandem.store.snapshot_file import SnapshotFileError, SnapshotWriter, decode_line, encode_lines, read_snapshot_file

Item = TypeVar("Item")
Subscriber = Callable[[Snapshot], object]

# A slice may take this long; the reactor's lag is a slice and what the collector adds.
SLICE_S: Final = 0.002
# The clock is read once for so many objects.
_BATCH: Final = 25
PAGE_OBJECTS: Final = 1000
# Up to so many changes are made one by one, each copying one index (3 ms with 100,000 DIDs); more of them load everything anew.
MAX_EDITS: Final = 20

log = Logger()


class LiveError(Exception):
    """There is nothing to route by: neither the database nor the file could be used; the message says why for both."""


class Live:
    """Holds `current`.

    degraded: why calls are routed by something older than they should be; None when all is well. unsaved: why the file could not
    be written; None when it is fine or being written.
    """

    def __init__(
        self, reactor: IReactorTime, store: Store, path: Path, dress: Callable[[Snapshot], Snapshot] = lambda it: it
    ) -> None:
        self.degraded: str | None = None
        self.unsaved: str | None = None
        self._reactor = reactor
        self._store = store
        self._path = path
        # What no revision has, and calls must see all the same; the same snapshot where nothing differs.
        self._dress = dress
        self._current: Snapshot | None = None
        self._from_file = False
        self._kept: Snapshot | None = None
        self._keeping: Deferred[None] | None = None
        self._lock = DeferredLock()
        self._subscribers: list[Subscriber] = []

    @property
    def current(self) -> Snapshot:
        """What calls are routed by; a call reads it once. LiveError before the first load."""
        if self._current is None:
            raise LiveError("nothing was loaded yet")
        return self._current

    @property
    def is_loaded(self) -> bool:
        """Whether there is a current snapshot."""
        return self._current is not None

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Calls `subscriber(snapshot)` after every swap; what is returned ends that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    async def load(self, revision: int | None = None) -> Snapshot:
        """Makes a revision current: the one given, else the one recorded as live, else (before the first apply) the head.

        With nothing current and no database, the file is used, and `degraded` says so until a later load succeeds. Raises LiveError
        if that fails too; with something current, it stays, and StoreError or BodyError is raised. KeyError for no such revision.
        """
        try:
            snapshot = await self.prepare(revision)
        except (StoreError, BodyError) as error:
            self.degraded = str(error)
            if self._current is not None:
                raise
            snapshot = await self._load_from_file(error)
            self._from_file = True
            log.warn("routing by the snapshot file: {reason}", reason=self.degraded)  # noqa: G010 - Twisted's logger
            self._swap(snapshot)
        else:
            self.adopt(snapshot)
        return snapshot

    async def prepare(self, revision: int | None = None) -> Snapshot:
        """The snapshot of a revision (chosen as `load` does), without making it current. Raises StoreError, BodyError, KeyError."""
        await self._lock.acquire()
        try:
            return await self._load_from_store(revision)
        finally:
            self._lock.release()

    def adopt(self, snapshot: Snapshot) -> None:
        """Makes what `prepare` returned current, at once."""
        self.degraded = None
        self._from_file = False
        self._swap(snapshot)

    def dress(self) -> None:
        """What no revision has is another now."""
        if self._current is not None:
            self._swap(self._current)

    async def stop(self) -> None:
        """Waits for the file."""
        if self._keeping is not None:
            await self._keeping

    # ------------------------------------------------------------------------------------------------- loading

    async def _load_from_store(self, revision: int | None) -> Snapshot:
        target = await self._store.read(load_target, revision)
        current = self._current
        if current is not None and not self._from_file:
            if current.revision == target:
                return current
            changes = await self._store.read(load_changes, current.revision, target, MAX_EDITS + 1)
            if len(changes) <= MAX_EDITS:
                return await self._edit(current, target, changes)
        body = await self._store.read(load_general, target)
        general = General() if body is None else decode_body(GENERAL, body)
        assert isinstance(general, General)
        return await self._build(target, general, self._load_bodies(target))

    async def _load_bodies(self, revision: int) -> AsyncIterator[Iterator[Entity]]:
        for collection in COLLECTIONS:
            page = await self._store.read(load_page, revision, collection, "", PAGE_OBJECTS)
            while page.last_key:
                yield map(_decode_entity, repeat(collection), page.bodies.split("\n"))
                page = await self._store.read(load_page, revision, collection, page.last_key, PAGE_OBJECTS)

    async def _load_from_file(self, reason: Exception) -> Snapshot:
        try:
            file = await deferToThread(read_snapshot_file, self._path)
            first, *lines = file.lines
            general = decode_line(first)
            assert isinstance(general, General)
            return await self._build(file.revision, general, _once(map(_decode_file_entity, lines)))
        except (SnapshotFileError, BodyError) as error:
            raise LiveError(f"{reason}; and without it: {error}") from error

    async def _build(self, revision: int, general: General, batches: AsyncIterator[Iterator[Entity]]) -> Snapshot:
        builder = SnapshotBuilder(revision, general)
        with _collector_paused():
            async for entities in batches:
                async for batch in self._slices(entities):
                    for entity in batch:
                        builder.add(entity)
            return builder.finish()

    async def _edit(self, snapshot: Snapshot, revision: int, changes: list[Change]) -> Snapshot:
        snapshot = replace(snapshot, revision=revision)
        # What goes, goes first: +4930 and 4930 are two names of one DID key.
        for change in sorted(changes, key=lambda change: change.body is not None):
            entity = None if change.body is None else decode_body(change.collection, change.body)
            if entity is None:
                snapshot = without_entity(snapshot, revision, change.collection, change.key)
            elif isinstance(entity, General):
                snapshot = with_general(snapshot, revision, entity)
            else:
                snapshot = with_entity(snapshot, revision, entity)
            await deferLater(self._reactor, 0)
        return snapshot

    async def _slices(self, items: Iterator[Item]) -> AsyncIterator[list[Item]]:
        """The items in small batches; whenever a slice of time is used up, the reactor gets its turn."""
        ends_at = time.perf_counter() + SLICE_S
        while batch := list(islice(items, _BATCH)):
            yield batch
            if time.perf_counter() >= ends_at:
                await deferLater(self._reactor, 0)
                ends_at = time.perf_counter() + SLICE_S

    # ------------------------------------------------------------------------------------------ swapping, keeping

    def _swap(self, snapshot: Snapshot) -> None:
        snapshot = self._dress(snapshot)
        if snapshot is self._current:
            return
        self._current = snapshot
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(snapshot)
            except Exception:  # noqa: BLE001 - one listener's mistake must not keep the others from hearing of it
                log.failure("a subscriber of the live snapshot failed")
        if not self._from_file and self._keeping is None:
            self._keeping = ensureDeferred(self._keep())

    async def _keep(self) -> None:
        """Writes the file until it has what is current: several swaps in a row cost one more file, not several."""
        try:
            while self._kept is not self._current and not self._from_file:
                snapshot = self.current
                await self._write_file(snapshot)
                self._kept, self.unsaved = snapshot, None
        except OSError as error:
            self.unsaved = f"{self._path}: cannot be written ({error.strerror})"
            log.error("a start without database would not route by the newest snapshot: {reason}", reason=self.unsaved)
        finally:
            self._keeping = None

    async def _write_file(self, snapshot: Snapshot) -> None:
        writer = await deferToThread(SnapshotWriter, self._path)
        try:
            slices: list[bytes] = []
            async for batch in self._slices(encode_lines(snapshot)):
                slices += batch
                if len(slices) >= PAGE_OBJECTS:
                    await deferToThread(writer.write, b"".join(slices))
                    slices.clear()
            await deferToThread(writer.write, b"".join(slices))
            await deferToThread(writer.finish)
        except BaseException:
            await deferToThread(writer.abandon)
            raise


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No collection while a snapshot is made, and none that ever looks at it.

    Its objects are in no cycle: they go when the last call lets go of them. A collection through two snapshots of 100,000 DIDs
    would stop the reactor for 50 ms. What else is alive at that moment is frozen with it; so the young garbage is collected before.
    """
    was_on = gc.isenabled()
    gc.collect(1)
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_on:
            gc.enable()


def _decode_entity(collection: str, body: str) -> Entity:
    entity = decode_body(collection, body)
    assert not isinstance(entity, General)
    return entity


def _decode_file_entity(line: bytes) -> Entity:
    entity = decode_line(line)
    assert not isinstance(entity, General)
    return entity


async def _once(item: Item) -> AsyncIterator[Item]:
    yield item
