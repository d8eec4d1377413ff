# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Brings a database to this version's schema, one numbered migration after the other, with a backup before each; never goes back."""

import importlib.resources
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

import peewee

from tandem.store.errors import StoreError

MIGRATIONS: Final = "tandem.store.migrations"


def list_migrations() -> list[tuple[int, str]]:
    """(number, file name) of every migration, in order."""
    names = (entry.name for entry in importlib.resources.files(MIGRATIONS).iterdir())
    return sorted((int(name[:4]), name) for name in names if name.endswith(".sql"))


def latest_version() -> int:
    """The schema that this program knows."""
    return list_migrations()[-1][0]


def read_version(db: peewee.SqliteDatabase) -> int:
    """The schema of an open database; 0 for an empty one."""
    return int(db.execute_sql("PRAGMA user_version").fetchone()[0])


def check_version(path: Path, db: peewee.SqliteDatabase) -> None:
    """StoreError unless the database has exactly this program's schema."""
    refuse_newer(path, db)
    if read_version(db) < latest_version():
        raise StoreError(path, f"its schema is version {read_version(db)}, older than this Tandem", "run `tandem init`")


def refuse_newer(path: Path, db: peewee.SqliteDatabase) -> None:
    """StoreError for the schema of a newer Tandem, or of another program."""
    version, latest = read_version(db), latest_version()
    if version > latest:
        problem = f"its schema is version {version}, and this Tandem knows {latest}"
        raise StoreError(path, problem, "use the newer Tandem, or restore the backup made before its migration")
    if version == 0 and db.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(path, "this is the database of another program", "check database.path")


def migrate(path: Path, db: peewee.SqliteDatabase, now: datetime) -> list[str]:
    """Applies what is missing and returns the names; the caller holds the lock. StoreError as `refuse_newer`, or no backup possible."""
    refuse_newer(path, db)
    applied = []
    for number, name in list_migrations():
        version = read_version(db)
        if number <= version:
            continue
        if version:
            backup_database(path, db, path.with_name(f"{path.name}.before-{number:04d}-{now:%Y%m%dT%H%M%SZ}"))
        script = importlib.resources.files(MIGRATIONS).joinpath(name).read_text(encoding="utf-8")
        with db.atomic("IMMEDIATE"):
            for statement in split_statements(script):
                db.execute_sql(statement)
            db.execute_sql(f"PRAGMA user_version = {number}")
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


def backup_database(path: Path, db: peewee.SqliteDatabase, target: Path) -> None:
    """Copies an open database to a new private file, consistent and on the disk when this returns; StoreError if it cannot."""
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with closing(sqlite3.connect(target)) as copy:
                db.connection().backup(copy)
            os.fsync(handle)
        finally:
            os.close(handle)
    except (OSError, sqlite3.Error) as error:
        if not isinstance(error, FileExistsError):
            target.unlink(missing_ok=True)
        problem = f"no backup could be made before the migration ({error}), so nothing was changed"
        raise StoreError(path, problem, f"make room for {target}") from error
