"""Brings a database to this version's schema, one numbered migration after the other, never goes back.

The scripts are SQLite's; `tandem.store.dialect` makes PostgreSQL's of them.
"""

import importlib.resources
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final, Protocol

from tandem.store.errors import StoreError
from tandem.store.place import Place

MIGRATIONS: Final = "tandem.store.migrations"


class Base(Protocol):
    """What is needed of an open database, SQLite's or PostgreSQL's."""

    @property
    def place(self) -> Place:
        """Where it is."""

    def read_version(self) -> int:
        """The schema; 0 for an empty one."""

    def is_foreign(self) -> bool:
        """Whether there are tables and no schema of ours."""

    def migrating(self) -> AbstractContextManager[object]:
        """Around all migrations."""

    def run_migration(self, number: int, statements: Iterable[str], now: datetime) -> None:
        """All statements and the new version, or nothing; with a backup before where that is our business."""


def list_migrations() -> list[tuple[int, str]]:
    """(number, file name) of every migration, in order."""
    names = (entry.name for entry in importlib.resources.files(MIGRATIONS).iterdir())
    return sorted((int(name[:4]), name) for name in names if name.endswith(".sql"))


def latest_version() -> int:
    """The schema that this program knows."""
    return list_migrations()[-1][0]


def check_version(base: Base) -> None:
    """StoreError unless the database has exactly this program's schema."""
    refuse_newer(base)
    if (version := base.read_version()) < latest_version():
        raise StoreError(base.place, f"its schema is version {version}, older than this Tandem", "run `tandem init`")


def refuse_newer(base: Base) -> None:
    """StoreError for the schema of a newer Tandem, or of another program."""
    version, latest = base.read_version(), latest_version()
    if version > latest:
        problem = f"its schema is version {version}, and this Tandem knows {latest}"
        raise StoreError(base.place, problem, "use the newer Tandem, or restore the backup made before its migration")
    if base.is_foreign():
        raise StoreError(base.place, "this is the database of another program", "check database.path or database.url")


def migrate(base: Base, now: datetime) -> list[str]:
    """Applies what is missing and returns the names; the caller holds the lock. StoreError as `refuse_newer`, or no backup possible."""
    refuse_newer(base)
    version = base.read_version()
    applied = []
    with base.migrating():
        for number, name in list_migrations():
            if number > version:
                script = importlib.resources.files(MIGRATIONS).joinpath(name).read_text(encoding="utf-8")
                base.run_migration(number, split_statements(script), now)
                applied.append(name)
    return applied


def split_statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: sqlite3's executescript would end our transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"this statement has no end: {statement.strip()[:80]}")
