# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""The one door to SQL: work goes in as a function, plain values come out; never lets a model, a query or a cursor leave its thread.

No call waits for it: calls are routed from the snapshot.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

import peewee
import psycopg
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from tandem.store.errors import StoreBusy, StoreError
from tandem.store.place import Kind, Place
from tandem.store.postgres import PostgresDatabase
from tandem.store.schema import check_version, latest_version, migrate, refuse_newer
from tandem.store.sqlite import SqliteFile

P = ParamSpec("P")
T = TypeVar("T")

_DRIVER_ERRORS: Final = (peewee.PeeweeException, sqlite3.Error, psycopg.Error)
_LAZY: Final = (peewee.Model, peewee.Node, peewee.CursorWrapper, peewee.Database)


class Store:
    """A database and its two threads: one writes, one reads, each keeps its connection.

    Work is a function `work(db, *args) -> plain values`. `run` gives it a transaction beside which nobody else writes, `read` a
    consistent view in which it cannot write. Nothing is opened before it is needed, and a database that could not be opened or was
    lost is tried again the next time, so a Store may outlive its trouble.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._base = SqliteFile(place) if isinstance(place, Path) else PostgresDatabase(place)
        self.lock = self._base.lock
        self._db: peewee.Database = self._base.db
        self._writer: ThreadPool | None = None
        self._reader: ThreadPool | None = None
        self._trigger: Any = None
        # Told of each piece of work in a thread, which it was ("writer", "reader") and how long it took, in that thread.
        self.watch: Callable[[str, float], object] = lambda _thread, _took_s: None

    @property
    def is_postgres(self) -> bool:
        """Whether the database is a server's; work asks `dialect.is_postgres(db)`."""
        return isinstance(self._base, PostgresDatabase)

    def migrate(self, *, create: bool = True) -> list[str]:
        """Creates the schema or brings it to this version, under the lock; the names of the migrations that were applied."""
        try:
            if not (exists := self._base.exists()) and not create:
                raise self._base.missing()
            if exists and self._is_current():
                return []
            ours = not self.lock.held
            self.lock.acquire("a migration")
            try:
                self._base.create()
                self._base.connect(read_only=False)
                return migrate(self._base, datetime.now(UTC))
            finally:
                self._db.close()
                if ours:
                    self.lock.release()
        except (*_DRIVER_ERRORS, OSError) as error:
            raise self._base.explain(error) or error from error

    def _is_current(self) -> bool:
        try:
            self._base.connect(read_only=True)
            refuse_newer(self._base)
            return self._base.read_version() == latest_version()
        finally:
            self._db.close()

    def run(
        self, work: Callable[Concatenate[peewee.Database, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> "Deferred[T]":
        """Does `work` in the writer's thread; fires with its result, or StoreError, or what it raised after rolling back."""
        if self._writer is None:
            self._writer = self._start_thread("tandem-store-writer")
        return self._defer(self._writer, lambda: self._perform("write", work, *args, **kwargs))

    def claim(
        self, work: Callable[Concatenate[peewee.Database, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> "Deferred[T]":
        """As `run`, but beside other nodes' transactions on PostgreSQL: for work that locks every row it decides by (`for_claim`)."""
        if self._writer is None:
            self._writer = self._start_thread("tandem-store-writer")
        return self._defer(self._writer, lambda: self._perform("claim", work, *args, **kwargs))

    def read(
        self, work: Callable[Concatenate[peewee.Database, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> "Deferred[T]":
        """The same in the reader's thread, which no write delays; StoreError if `work` tries to write."""
        if self._reader is None:
            self._reader = self._start_thread("tandem-store-reader")
        return self._defer(self._reader, lambda: self._perform("read", work, *args, **kwargs))

    def run_now(self, work: Callable[Concatenate[peewee.Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same in this thread, for commands without a reactor; the connection is closed again."""
        try:
            return self._perform("write", work, *args, **kwargs)
        finally:
            self._db.close()

    def stop(self) -> "Deferred[None]":
        """Closes what was opened, after the work that is under way, and lets go of the lock."""
        pools = [pool for pool in (self._writer, self._reader) if pool is not None]
        self._writer = self._reader = None
        if self._trigger is not None:
            from twisted.internet import reactor  # noqa: PLC0415 - the application chooses the reactor before

            with suppress(KeyError, ValueError):  # it is what is running this
                cast("Any", reactor).removeSystemEventTrigger(self._trigger)
            self._trigger = None

        def finish(_: object) -> None:
            for pool in pools:
                pool.stop()
            self.lock.release()

        closing: Deferred[Any] = gatherResults([self._defer(pool, self._db.close) for pool in pools])
        return closing.addBoth(finish)

    def _start_thread(self, name: str) -> ThreadPool:
        from twisted.internet import reactor  # noqa: PLC0415 - the application chooses the reactor before

        pool = ThreadPool(minthreads=1, maxthreads=1, name=name)
        pool.start()
        # Else a process that ends by an error would wait for the thread for ever.
        if self._trigger is None:
            self._trigger = cast("Any", reactor).addSystemEventTrigger("during", "shutdown", self.stop)
        return pool

    def _defer(self, pool: ThreadPool, work: Callable[[], T]) -> "Deferred[T]":
        from twisted.internet import reactor  # noqa: PLC0415 - the application chooses the reactor before

        def timed() -> T:
            started_at = time.perf_counter()
            try:
                return work()
            finally:
                self.watch(str(pool.name).removeprefix("tandem-store-"), time.perf_counter() - started_at)

        return deferToThreadPool(reactor, pool, timed)

    def _perform(
        self, kind: Kind, work: Callable[Concatenate[peewee.Database, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            if not self._base.is_connected():
                self._db.close()
                self._base.connect(read_only=kind == "read")
                check_version(self._base)
            with self._base.transaction(kind):
                result = work(self._db, *args, **kwargs)
                _refuse_lazy(result)
                return result
        except StoreError:
            self._db.close()
            raise
        except _DRIVER_ERRORS as error:
            if (explained := self._base.explain(error)) is None:
                raise
            # The next one starts afresh: the file may have been replaced meanwhile, or the server restarted.
            self._db.close()
            raise explained from error


def open_store(place: Place, owner: str | None = None) -> Store:
    """A database of this version, made or migrated if it must be; with `owner` (`tandem serve`) the lock is kept.

    Raises StoreError: another process holds the lock, a newer schema, a damaged or unreachable database.
    """
    store = Store(place)
    if owner is not None:
        store.lock.acquire(owner)
    try:
        store.migrate()
    except BaseException:
        store.lock.release()
        raise
    return store


def attach_store(place: Place, owner: str) -> tuple[Store, StoreError | None]:
    """A Store for a service that must start whatever the database's state, and what is wrong with it.

    Keeps the lock for `owner`; raises StoreBusy if another process has it. Never creates a database: an empty one in the place
    of a lost one would route no call at all, where the snapshot file still routes them.
    """
    store = Store(place)
    try:
        store.lock.acquire(owner)
        store.migrate(create=False)
    except StoreBusy:
        raise
    except StoreError as error:
        return store, error
    return store, None


def _refuse_lazy(result: object) -> None:
    """TypeError if a result would still need the connection."""
    members: object = result.values() if isinstance(result, dict) else result
    kinds = {type(result), *(map(type, members) if isinstance(members, list | tuple | set | type({}.values())) else ())}
    for kind in kinds:
        if issubclass(kind, _LAZY) or hasattr(kind, "__next__"):
            raise TypeError(f"a {kind.__name__} must not leave the store's thread: return plain values")
