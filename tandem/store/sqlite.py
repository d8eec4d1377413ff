# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""An SQLite file as the Store needs it; never opened by two connections of one thread.

It runs in WAL mode with `synchronous=FULL`: a commit is on the disk when it returns. NORMAL would be faster, but after a power
cut the last commits may be gone, and a dialer that has placed a call must not forget that it claimed the number. No call waits for
it: calls are routed from the snapshot.
"""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Final

import peewee

from tandem.store.errors import StoreError, explain_sqlite
from tandem.store.lock import StoreLock
from tandem.store.place import Kind

# How long a transaction waits for another process's; in a thread of ours, so nobody else waits.
BUSY_TIMEOUT_S: Final = 5
PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # 16 MB of log before it is written back: pages that an import touches again and again go to their place once.
    "PRAGMA wal_autocheckpoint = 4000",
)


class SqliteFile:
    """The file at a path, its lock beside it, and one connection for each thread."""

    def __init__(self, path: Path) -> None:
        self.place = path
        self.lock = StoreLock(path)
        self.db = peewee.SqliteDatabase(str(path), autoconnect=False, timeout=BUSY_TIMEOUT_S)
        self._is_new = False

    def exists(self) -> bool:
        """Whether there is a file with something in it."""
        return self.place.exists() and self.place.stat().st_size > 0

    def create(self) -> None:
        """An empty private file where there is none: it will hold SIP secrets, and SQLite gives the files beside it the same mode."""
        os.close(os.open(self.place, os.O_WRONLY | os.O_CREAT, 0o600))

    def connect(self, *, read_only: bool) -> None:
        """Opens this thread's connection."""
        if not self.place.exists():
            raise self.missing()
        self.db.connect()
        for pragma in PRAGMAS:
            self.db.execute_sql(pragma)
        if read_only:
            self.db.execute_sql("PRAGMA query_only = ON")

    def is_connected(self) -> bool:
        """Whether this thread has its connection."""
        return not self.db.is_closed()

    def missing(self) -> StoreError:
        """What to say where there is none."""
        return StoreError(self.place, "there is no database", "run `tandem init`")

    def transaction(self, kind: Kind) -> AbstractContextManager[object]:
        """`write` and `claim` are IMMEDIATE: a deferred one that turns into a write fails with "database is locked" at once."""
        transaction: AbstractContextManager[object] = self.db.atomic("DEFERRED" if kind == "read" else "IMMEDIATE")
        return transaction

    def explain(self, error: BaseException) -> StoreError | None:
        """What is wrong outside the program; None if it is a mistake of ours."""
        if isinstance(error, OSError):
            return StoreError(self.place, f"cannot be made ({error.strerror})", "check its folder, and who owns that")
        return explain_sqlite(self.place, error)

    # ---------------------------------------------------------------------------------------------------- schema

    def read_version(self) -> int:
        """The schema of the open database; 0 for an empty one."""
        return int(self.db.execute_sql("PRAGMA user_version").fetchone()[0])

    def is_foreign(self) -> bool:
        """Whether there are tables and no schema of ours."""
        return not self.read_version() and bool(self.db.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()[0])

    def migrating(self) -> AbstractContextManager[object]:
        """Around all migrations: here each is a transaction of its own."""
        return nullcontext()

    def run_migration(self, number: int, statements: Iterable[str], now: datetime) -> None:
        """A backup, then all statements and the new version, or nothing. Of a database that was made just now there is nothing to keep."""
        self._is_new = self._is_new or not self.read_version()
        if not self._is_new:
            self._backup(self.place.with_name(f"{self.place.name}.before-{number:04d}-{now:%Y%m%dT%H%M%SZ}"))
        with self.db.atomic("IMMEDIATE"):
            for statement in statements:
                self.db.execute_sql(statement)
            self.db.execute_sql(f"PRAGMA user_version = {number}")

    def _backup(self, target: Path) -> None:
        """Copies the open database to a new private file, consistent and on the disk when this returns; StoreError if it cannot."""
        try:
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with closing(sqlite3.connect(target)) as copy:
                    self.db.connection().backup(copy)
                os.fsync(handle)
            finally:
                os.close(handle)
        except (OSError, sqlite3.Error) as error:
            if not isinstance(error, FileExistsError):
                target.unlink(missing_ok=True)
            problem = f"no backup could be made before the migration ({error}), so nothing was changed"
            raise StoreError(self.place, problem, f"make room for {target}") from error
