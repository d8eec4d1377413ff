# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""A database of a PostgreSQL server as the Store needs it; never creates one, and never shows its password.

What SQLite gives by its nature is asked for: `write` transactions follow each other, whichever process or machine they come from
(an advisory lock that ends with each), because our work reads, decides and writes as one; `read` ones see one moment. `claim`
ones go beside each other. Nothing is kept in this process that another node would have to know.
"""

import os
import select
import socket
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any, Final

import peewee
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader

from tandem.store.dialect import translate, translate_migration
from tandem.store.errors import StoreBusy, StoreError, explain_postgres
from tandem.store.place import Kind, PostgresPlace

CONNECT_TIMEOUT_S: Final = 5
# How long a transaction waits for another one's lock, as on SQLite; how long one statement may take, and how long our own work
# between two of them: a node that hangs must not hold the others up for ever.
LOCK_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_S: Final = 60
IDLE_TIMEOUT_S: Final = 120
# Keys of our advisory locks: "tandem" as a number, and what for.
_LOCKS: Final = 0x74616E64
_WRITE_LOCK: Final = 1
_OWNER_LOCK: Final = 2
_SESSION: Final = (
    ("lock_timeout", f"{LOCK_TIMEOUT_S}s"),
    ("statement_timeout", f"{STATEMENT_TIMEOUT_S}s"),
    ("idle_in_transaction_session_timeout", f"{IDLE_TIMEOUT_S}s"),
    # A commit is on the disk when it returns, as on SQLite, whatever the server's default is.
    ("synchronous_commit", "on"),
    ("client_encoding", "UTF8"),
)
_BEGIN: Final[dict[Kind, str]] = {
    "read": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "write": "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    "claim": "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
}


class _FlagDumper(Dumper):
    """A flag is an INTEGER in our schema."""

    oid = psycopg.postgres.types["int8"].oid

    def dump(self, obj: Any) -> Buffer:
        return b"1" if obj else b"0"


class _NumericLoader(Loader):
    """The sum of an INTEGER is one; PostgreSQL gives it as an exact number of any size."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return int(text) if text.lstrip(b"-").isdigit() else float(text)


class PostgresLock:
    """One process at a time migrates, imports or serves: an advisory lock of a connection of its own.

    The server lets go of it whatever ends the process or the connection; who is told by the connection's name. When the
    connection was lost, `ensure` takes the lock again before anything is written.
    """

    def __init__(self, place: PostgresPlace) -> None:
        self._place = place
        self._owner: str | None = None
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock, as far as it knows."""
        return self._connection is not None

    def acquire(self, owner: str) -> None:
        """Takes the lock for `owner` (`tandem serve`); StoreBusy naming the holder if another has it."""
        if self._connection is not None:
            return
        # Also when the server is away: `ensure` takes it as soon as there is one.
        self._owner = owner
        connection = None
        try:
            connection = _connect(self._place, f"{owner} (pid {os.getpid()} on {socket.gethostname()})")
            if _scalar(connection, "SELECT pg_try_advisory_lock(%s, %s)", _LOCKS, _OWNER_LOCK):
                self._connection, connection = connection, None
                return
            holder = _scalar(
                connection,
                "SELECT max(application_name) FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE granted"
                " AND locktype = 'advisory' AND classid = %s AND objid = %s AND pg_locks.database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())",
                _LOCKS,
                _OWNER_LOCK,
            )
        except psycopg.Error as error:
            raise explain_postgres(self._place, error) or error from error
        finally:
            if connection is not None:
                connection.close()
        raise StoreBusy(self._place, f"{holder or 'another process'} is using the database", "wait for it, or stop it")

    def ensure(self) -> None:
        """Before something is written: takes a lock again that was lost with its connection. StoreError if it cannot be had."""
        if self._owner is None or _is_alive(self._connection):
            return
        self._drop()
        self.acquire(self._owner)

    def release(self) -> None:
        """Lets go; when it returns somebody else can have it. The server notices a closed connection a little later than we do."""
        self._owner = None
        if self._connection is not None:
            with suppress(psycopg.Error):
                _scalar(self._connection, "SELECT pg_advisory_unlock(%s, %s)", _LOCKS, _OWNER_LOCK)
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


class _Database(peewee.PostgresqlDatabase):
    """A peewee database that takes our SQL, with transactions by what they are for."""

    param = "?"

    def __init__(self, place: PostgresPlace, lock: PostgresLock) -> None:
        super().__init__(place.url, autoconnect=False, prefer_psycopg3=True)
        self.place, self.owner_lock = place, lock

    def _connect(self) -> psycopg.Connection[Any]:
        return _connect(self.place, "tandem")

    def begin(self, kind: Kind = "write") -> None:  # type: ignore[override]  # peewee names no kinds
        """Begins a transaction; one that writes waits for those that write."""
        if kind != "read":
            self.owner_lock.ensure()
        self.execute_sql(_BEGIN[kind])
        if kind == "write":
            self.execute_sql("SELECT pg_advisory_xact_lock(?, ?)", (_LOCKS, _WRITE_LOCK))

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Runs SQL that is written as SQLite takes it. ValueError for a text with NUL, which no PostgreSQL keeps."""
        try:
            return super().execute_sql(translate(sql), params or ())
        except (peewee.DataError, peewee.IntegrityError) as error:
            cause = error.__cause__ or error.__context__
            diagnosis = cause.diag if isinstance(cause, psycopg.Error) else None
            if (diagnosis is not None and diagnosis.sqlstate == "22P05") or "NUL (0x00)" in str(error):
                raise ValueError("a text must not hold the character NUL") from None
            # The server's details quote the row, and that can hold a secret: they must reach no log.
            raise type(error)((diagnosis and diagnosis.message_primary) or "refused by the database") from None


class PostgresDatabase:
    """A server's database, its lock, and one connection for each thread."""

    def __init__(self, place: PostgresPlace) -> None:
        self.place = place
        self.lock = PostgresLock(place)
        self.db = _Database(place, self.lock)

    def exists(self) -> bool:
        """Whether there is something of ours in it; StoreError if it cannot be reached."""
        self.connect(read_only=True)
        try:
            return bool(self.read_version()) or self.is_foreign()
        finally:
            self.db.close()

    def create(self) -> None:
        """Nothing: the server's admin has made it."""

    def connect(self, *, read_only: bool) -> None:  # noqa: ARG002 - as SqliteFile
        """Opens this thread's connection; it is each transaction that says whether it can write."""
        self.db.connect()
        (encoding,) = self.db.execute_sql("SHOW server_encoding").fetchone()
        if encoding != "UTF8":
            self.db.close()
            raise StoreError(self.place, f"its encoding is {encoding}", "make it anew: createdb -E UTF8 -T template0")

    def is_connected(self) -> bool:
        """Whether this thread has its connection, and the server has not left it meanwhile: that costs no transaction."""
        return not self.db.is_closed() and _is_alive(self.db.connection())

    def missing(self) -> StoreError:
        """What to say where there is nothing in it."""
        return StoreError(self.place, "there is nothing in this database", "run `tandem init`")

    def transaction(self, kind: Kind) -> AbstractContextManager[object]:
        """See the module's text."""
        transaction: AbstractContextManager[object] = self.db.atomic(kind)
        return transaction

    def explain(self, error: BaseException) -> StoreError | None:
        """What is wrong outside the program; None if it is a mistake of ours."""
        return explain_postgres(self.place, error)

    # ---------------------------------------------------------------------------------------------------- schema

    def read_version(self) -> int:
        """The schema of the open database; 0 for an empty one."""
        if self.db.execute_sql("SELECT to_regclass('schema_version')").fetchone()[0] is None:
            return 0
        return int(self.db.execute_sql("SELECT version FROM schema_version").fetchone()[0])

    def is_foreign(self) -> bool:
        """Whether there are tables and no schema of ours."""
        sql = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
        return not self.read_version() and bool(self.db.execute_sql(sql).fetchone()[0])

    def migrating(self) -> AbstractContextManager[object]:
        """One transaction for all: what fails leaves everything as it was. A backup is the admin's (docs/databases.md)."""
        return self.db.atomic("write")

    def run_migration(self, number: int, statements: Iterable[str], now: datetime) -> None:  # noqa: ARG002 - as SqliteFile
        """All statements, in PostgreSQL's words, and the new version."""
        # Filling a column of a large table takes what it takes.
        self.db.execute_sql("SET LOCAL statement_timeout = 0")
        for statement in statements:
            self.db.execute_sql(translate_migration(statement))
        self.db.execute_sql("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        self.db.execute_sql("DELETE FROM schema_version")
        self.db.execute_sql("INSERT INTO schema_version (version) VALUES (?)", (number,))


def _connect(place: PostgresPlace, name: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(
        place.url,
        # None leaves it to libpq: PGPASSWORD, ~/.pgpass, or a server that asks for none.
        password=place.password or None,
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_S,
        application_name=name,
        # A server that is gone without a word is noticed within half a minute.
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=30_000,
    )
    connection.adapters.register_dumper(bool, _FlagDumper)
    connection.adapters.register_loader("numeric", _NumericLoader)
    connection.execute(f"SELECT {', '.join(['set_config(%s, %s, false)'] * len(_SESSION))}", [*sum(_SESSION, ())])
    return connection


def _is_alive(connection: psycopg.Connection[Any] | None) -> bool:
    """Whether a connection on which nothing should come is there. A word from the server may be its last."""
    if connection is None or connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _scalar(connection: psycopg.Connection[Any], sql: str, *given: object) -> Any:
    row = connection.execute(sql.encode(), given).fetchone()
    return None if row is None else row[0]
