"""Copies of a whole database while others write to it, and a database made of one; never a half copy, never a password in an argument.

SQLite by its own backup API, PostgreSQL by pg_dump and pg_restore: either is one consistent state.
"""

import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tandem.store.errors import StoreError
from tandem.store.place import Place, PostgresPlace

_TIMEOUT_S: Final = 3600
# The owner's programs are newer than what is on the PATH, if anything is.
_PROGRAMS: Final = "/usr/lib/postgresql"


def copy_database(place: Place, path: Path) -> None:
    """A copy of the database as it is at one moment. StoreError; nothing is left at `path` then."""
    try:
        if isinstance(place, PostgresPlace):
            _run(place, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={path}", place.url)
        else:
            _copy_sqlite(place, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def restore_database(place: Place, copy: Path) -> None:
    """Puts a copy in the database's place, whole or not at all. Whoever calls holds the database's lock. StoreError."""
    if isinstance(place, PostgresPlace):
        options = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error")
        _run(place, "pg_restore", *options, f"--dbname={place.url}", str(copy))
        return
    _check_sqlite(copy)
    fresh = place.with_name(f".{place.name}.restored")
    try:
        shutil.copyfile(copy, fresh)
        fresh.chmod(0o600)
        with fresh.open("rb") as stream:
            os.fsync(stream.fileno())
        # What belongs to the old file would be applied to the new one.
        for suffix in ("-wal", "-shm"):
            place.with_name(place.name + suffix).unlink(missing_ok=True)
        fresh.replace(place)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StoreError(
            place, f"cannot be replaced ({error.strerror})", "look at the folder's owner and space"
        ) from error


@contextmanager
def scratch_database(place: PostgresPlace) -> Iterator[PostgresPlace]:
    """An empty database on the same server, gone afterwards; StoreError where we may not make one."""
    name = f"tandem_scratch_{secrets.token_hex(6)}"
    url = urlsplit(place.url)
    try:
        with psycopg.connect(place.url, password=place.password or None, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
            try:
                yield PostgresPlace(urlunsplit(url._replace(path=f"/{name}")), place.password)
            finally:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    except psycopg.Error as error:
        raise StoreError(place, f"no scratch database: {error}", "let its user make databases (CREATEDB)") from error


def _copy_sqlite(source: Path, target: Path) -> None:
    if not source.exists():
        raise StoreError(source, "there is no database", "`tandem init` makes one")
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            reading.backup(writing)
    except sqlite3.Error as error:
        raise StoreError(source, f"cannot be copied ({error})", "see `tandem check`") from error
    _check_sqlite(target)


def _check_sqlite(path: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            found = db.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise StoreError(path, f"is damaged ({found})", "take another copy")


def _run(place: PostgresPlace, program: str, *arguments: str) -> None:
    environ = {**os.environ, "PGPASSWORD": place.password} if place.password else dict(os.environ)
    argv = [_find_program(place, program), *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, env=environ)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(place, f"{program}: {error}", "see the server's log") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StoreError(place, f"{program}: {said}", "see the server's log")


def _find_program(place: PostgresPlace, program: str) -> str:
    found = sorted(Path(_PROGRAMS).glob(f"*/bin/{program}"), key=lambda path: float(path.parts[-3]))
    path = str(found[-1]) if found else shutil.which(program)
    if path is None:
        raise StoreError(place, f"{program} is not installed", "install the client programs of PostgreSQL")
    return path
