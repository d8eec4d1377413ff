"""What goes wrong with a database, in words with a remedy; never handles it."""

import sqlite3
from pathlib import Path
from typing import Final

# SQLite's primary result code -> what it means, what to do. https://www.sqlite.org/rescode.html
_MEANING: Final[dict[int, tuple[str, str]]] = {
    sqlite3.SQLITE_FULL: ("the disk is full, nothing was changed", "free some space"),
    sqlite3.SQLITE_IOERR: ("the disk reports errors, nothing was changed", "look at the disk and at the kernel's log"),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", "restore a backup (the *.before-* files beside it are some)"),
    sqlite3.SQLITE_NOTADB: ("this is not a database", "check database.path, or restore a backup"),
    sqlite3.SQLITE_READONLY: ("the database cannot be written", "check the owner of the file and of its folder"),
    sqlite3.SQLITE_PERM: ("access is denied", "check the owner of the file and of its folder"),
    sqlite3.SQLITE_CANTOPEN: ("the database cannot be opened", "check that its folder exists and who owns it"),
    sqlite3.SQLITE_BUSY: ("another process holds the database", "wait for it, or end it"),
    sqlite3.SQLITE_LOCKED: ("another process holds the database", "wait for it, or end it"),
}


class StoreError(Exception):
    """The database cannot do what was asked, for a reason outside the program."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")
        self.path, self.problem, self.remedy = path, problem, remedy


class StoreBusy(StoreError):
    """Another process holds the database's lock."""


def explain_error(path: Path, error: BaseException) -> StoreError | None:
    """The StoreError for an SQLite or peewee error; None if it is a mistake of ours (a broken constraint, wrong SQL)."""
    seen: BaseException | None = error
    while seen is not None:
        code = getattr(seen, "sqlite_errorcode", None)
        if code is not None and (meaning := _MEANING.get(code & 0xFF)) is not None:
            return StoreError(path, f"{meaning[0]} ({seen})", meaning[1])
        seen = seen.__cause__ or seen.__context__
    return None
