"""What goes wrong with a database, in words with a remedy; never handles it."""

import sqlite3
from typing import Final

import psycopg

from tandem.store.place import Place

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

    def __init__(self, place: Place, problem: str, remedy: str) -> None:
        super().__init__(f"{place}: {problem}; {remedy}")
        self.place, self.problem, self.remedy = place, problem, remedy


class LeaseLost(StoreError):
    """The node counts as dead: it may write nothing that others would trip over."""


class StoreBusy(StoreError):
    """Another process holds the database's lock."""


def explain_sqlite(place: Place, error: BaseException) -> StoreError | None:
    """The StoreError for an SQLite or peewee error; None if it is a mistake of ours (a broken constraint, wrong SQL)."""
    seen: BaseException | None = error
    while seen is not None:
        code = getattr(seen, "sqlite_errorcode", None)
        if code is not None and (meaning := _MEANING.get(code & 0xFF)) is not None:
            return StoreError(place, f"{meaning[0]} ({seen})", meaning[1])
        seen = seen.__cause__ or seen.__context__
    return None


# SQLSTATE, or its class -> what it means, what to do. https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATES: Final[dict[str, tuple[str, str]]] = {
    "53100": _MEANING[sqlite3.SQLITE_FULL],
    "53300": ("the server has no connection left", "raise max_connections, or close other clients"),
    "58": _MEANING[sqlite3.SQLITE_IOERR],
    "XX001": ("the database is damaged", "restore a backup"),
    "XX002": ("the database is damaged", "restore a backup"),
    "25006": ("the database cannot be written", "use the primary server, not a standby"),
    "42501": ("access is denied", "the tables must belong to the user of database.url"),
    "55P03": _MEANING[sqlite3.SQLITE_BUSY],
    "40P01": ("another process holds the database", "try again"),
    "40001": ("another process holds the database", "try again"),
    "57014": ("the server took too long", "look at its load; try again"),
    "08": ("the connection to the server was lost", "is PostgreSQL running? Its log says more"),
    "57P": ("the connection to the server was lost", "is PostgreSQL running? Its log says more"),
    "25P03": ("the server ended a transaction that stood still", "look at the load of this machine; try again"),
}
# What libpq says when a connection cannot be made has no code: its words, the meaning, what to do.
_REFUSALS: Final = (
    ("password", "the login was refused", "check the user in database.url and database.password_file"),
    ("authentication", "the login was refused", "check the user in database.url, and the server's pg_hba.conf"),
    ("pg_hba.conf", "the login was refused", "the server's pg_hba.conf must allow this host and user"),
    ("role", "the login was refused", "make the user: createuser --pwprompt NAME, as the server's admin"),
    ("database", "there is no such database", "make it: createdb -O USER NAME, as the server's admin"),
    ("certificate", "the server's certificate is not trusted", "check sslmode and sslrootcert in database.url"),
    ("too many", *_SQLSTATES["53300"]),
)
_AWAY: Final = ("the server cannot be reached", "is PostgreSQL running? Check database.url")


def explain_postgres(place: Place, error: BaseException) -> StoreError | None:
    """The same for an error of psycopg; its words hold no password, but they can take several lines."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, psycopg.Error):
            break
        seen = seen.__cause__ or seen.__context__
    if seen is None:
        return None
    words = " ".join(str(seen).split())
    code = seen.sqlstate
    if code is not None:
        meaning = next((_SQLSTATES[code[:length]] for length in (5, 3, 2) if code[:length] in _SQLSTATES), None)
    elif "connection failed" in words or "connection timeout" in words or "connection is bad" in words:
        meaning = next((found[1:] for found in _REFUSALS if found[0] in words.rpartition("FATAL:")[2]), _AWAY)
    else:
        lost = isinstance(seen, psycopg.OperationalError | psycopg.InterfaceError)
        meaning = _SQLSTATES["08"] if lost else None
    return None if meaning is None else StoreError(place, f"{meaning[0]} ({words})", meaning[1])
