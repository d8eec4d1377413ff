"""What only a server can do to a Store: be away, come back, refuse, and be shared."""

import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import peewee
import pytest

from tandem.store import postgres, schema
from tandem.store.database import Store, attach_store, open_store
from tandem.store.dialect import for_claim, for_claim_sql
from tandem.store.errors import StoreBusy, StoreError
from tandem.store.place import PostgresPlace
from tandem.store.revisions import load_head
from tandem.store.tables import RevisionRow
from tests.postgres import PASSWORD, PostgresServer, name_of, run_server

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def add(db: peewee.Database, author: str = "a") -> int:
    """Reads, decides and writes: one that saw the same head twice would fail by the key."""
    number = load_head(db) + 1
    row = {"number": number, "created_at": NOW, "author": author, "note": "", "added": 0, "changed": 0, "removed": 0}
    RevisionRow.insert(**row).execute(db)
    return number


def refused(work: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        work()
    return caught.value


def execute(server: PostgresServer, place: PostgresPlace, sql: str) -> list[tuple[object, ...]]:
    with server.connect(name_of(place)) as admin:
        cursor = admin.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    yield from run_server()


class TestOpening:
    def test_by_password_over_tcp_and_nothing_shows_it(self, postgres_server: PostgresServer) -> None:
        name = postgres_server.make_database()
        place = PostgresPlace(postgres_server.tcp_url(name), PASSWORD)
        assert open_store(place).run_now(add) == 1
        assert PASSWORD not in f"{place} {place!r} {[place]}"
        error = refused(lambda: Store(PostgresPlace(place.url, "not-" + PASSWORD)).run_now(add))
        assert str(error).startswith(f"{place}: the login was refused (")
        assert PASSWORD not in f"{error} {error!r} {error.__cause__}"
        assert "database.password_file" in error.remedy
        postgres_server.drop(place)

    def test_what_keeps_it_shut_is_named_with_its_remedy(self, postgres_server: PostgresServer) -> None:
        url = postgres_server.socket_url
        for place, problem, remedy in (
            (url("nowhere"), "there is no such database", "createdb -O"),
            (url("postgres").replace("tandem@", "nobody@"), "the login was refused", "createuser"),
            ("postgresql://tandem@127.0.0.1:1/x", "the server cannot be reached", "is PostgreSQL running?"),
            ("postgresql://tandem@/x?host=/nowhere", "the server cannot be reached", "is PostgreSQL running?"),
        ):
            error = refused(lambda place=place: open_store(PostgresPlace(place)))
            assert problem in error.problem
            assert remedy in error.remedy
            assert "\n" not in str(error)

    def test_an_empty_another_programs_and_a_wrongly_encoded_database(self, postgres_server: PostgresServer) -> None:
        place = PostgresPlace(postgres_server.socket_url(postgres_server.make_database()))
        store, trouble = attach_store(place, "tandem serve")
        store.lock.release()
        assert "there is nothing in this database; run `tandem init`" in str(trouble)
        execute(postgres_server, place, "CREATE TABLE t (a int)")
        assert "the database of another program" in str(refused(lambda: open_store(place)))
        postgres_server.drop(place)
        with postgres_server.connect("postgres") as admin:
            admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
        latin = PostgresPlace(postgres_server.socket_url("latin"))
        assert "its encoding is LATIN1" in str(refused(lambda: open_store(latin)))
        postgres_server.drop(latin)

    def test_commits_are_durable_whatever_the_server_says(self, postgres_place: PostgresPlace) -> None:
        read = lambda db, name: db.execute_sql(f"SHOW {name}").fetchone()[0]  # noqa: E731
        names = ("synchronous_commit", "lock_timeout", "statement_timeout", "client_encoding")
        assert [Store(postgres_place).run_now(read, name) for name in names] == ["on", "5s", "1min", "UTF8"]


class TestMigrations:
    @pytest.fixture
    def scripts(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        folder = tmp_path / "later_migrations"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for path in (Path(schema.__file__).parent / "migrations").glob("*.sql"):
            (folder / path.name).write_text(path.read_text())
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(schema, "MIGRATIONS", "later_migrations")
        monkeypatch.delitem(sys.modules, "later_migrations", raising=False)
        return folder

    def test_all_or_none(self, scripts: Path, postgres_server: PostgresServer, postgres_place: PostgresPlace) -> None:
        known = schema.latest_version()
        store = Store(postgres_place)
        store.run_now(add)
        (scripts / "0901_a.sql").write_text(
            "ALTER TABLE revisions ADD COLUMN user TEXT;\nUPDATE revisions SET user = 'a;b%';\n"
        )
        (scripts / "0902_b.sql").write_text("INSERT INTO nowhere VALUES (1);\n")
        assert "older than this Tandem" in str(refused(lambda: Store(postgres_place).run_now(add)))
        with pytest.raises(peewee.ProgrammingError, match="nowhere"):
            store.migrate()
        assert execute(postgres_server, postgres_place, "SELECT version FROM schema_version") == [(known,)]
        (scripts / "0902_b.sql").write_text("CREATE TABLE b (id INTEGER PRIMARY KEY AUTOINCREMENT, n REAL) ;\n")
        assert store.migrate() == ["0901_a.sql", "0902_b.sql"]
        assert store.migrate() == []
        assert store.run_now(lambda db: db.execute_sql("SELECT user FROM revisions").fetchall()) == [("a;b%",)]

    def test_a_newer_schema_is_refused(self, postgres_server: PostgresServer, postgres_place: PostgresPlace) -> None:
        execute(postgres_server, postgres_place, "UPDATE schema_version SET version = 999")
        for work in (lambda: open_store(postgres_place), lambda: Store(postgres_place).run_now(add)):
            assert "its schema is version 999" in str(refused(work))


class TestLock:
    def test_one_process_at_a_time_and_the_other_is_named(self, postgres_place: PostgresPlace) -> None:
        script = (
            "import sys\nfrom tandem.store.place import PostgresPlace\nfrom tandem.store.postgres import PostgresLock\n"
            f"lock = PostgresLock(PostgresPlace({postgres_place.url!r}))\nlock.acquire('other')\n"
            "print('held', flush=True)\nsys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(StoreBusy, match=rf"other \(pid {other.pid} on .*\) is using the database"):
                open_store(postgres_place, owner="tandem serve")
            assert open_store(postgres_place).run_now(add) == 1  # a transaction needs no lock
            other.kill()
            other.wait()
        store = Store(postgres_place)
        # The server notices the end of a process by its socket: at once, but not before the process is waited for.
        for _ in range(100):
            try:
                store.lock.acquire("tandem serve")
            except StoreBusy:
                threading.Event().wait(0.05)
            else:
                break
        assert store.lock.held
        store.lock.release()
        assert not store.lock.held

    def test_another_database_of_the_server_is_another_lock(
        self, postgres_server: PostgresServer, postgres_place: PostgresPlace
    ) -> None:
        other = postgres_server.make_place()
        stores = [open_store(place, owner="tandem serve") for place in (postgres_place, other)]
        assert all(store.lock.held for store in stores)
        for store in stores:
            store.lock.release()
        postgres_server.drop(other)

    def test_a_lost_one_is_taken_again_before_anything_is_written(
        self, postgres_server: PostgresServer, postgres_place: PostgresPlace
    ) -> None:
        store = open_store(postgres_place, owner="tandem serve")
        end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'tandem serve%' AND datname = current_database()"
        assert execute(postgres_server, postgres_place, end) == [(True,)]
        assert store.run_now(add) == 1
        with pytest.raises(StoreBusy, match="tandem serve"):
            open_store(postgres_place, owner="tandem import")
        # Somebody else was faster: what this process would write is refused.
        assert execute(postgres_server, postgres_place, end) == [(True,)]
        other = open_store(postgres_place, owner="tandem import")
        assert "tandem import" in str(refused(lambda: store.run_now(add)))
        assert other.run_now(load_head) == 1
        other.lock.release()
        assert store.run_now(add) == 2
        store.lock.release()


class TestSharing:
    """Two Stores are two nodes: nothing that one knows is known to the other but by the database."""

    def test_writers_follow_each_other(self, postgres_place: PostgresPlace) -> None:
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda n: Store(postgres_place).run_now(add, f"node {n}"), range(24)))
        assert sorted(made) == list(range(1, 25))

    def test_claims_never_meet_and_never_wait(self, postgres_place: PostgresPlace) -> None:
        store = Store(postgres_place)
        for _ in range(10):
            store.run_now(add, "free")
        inside = threading.Barrier(2, timeout=10)

        def claim(db: peewee.Database, node: str, by_text: bool) -> list[int]:
            if by_text:
                rows = db.execute_sql(
                    for_claim_sql(db, "SELECT number FROM revisions WHERE author = ? ORDER BY number LIMIT ?"),
                    ("free", 4),
                ).fetchall()
                numbers = [number for (number,) in rows]
            else:
                query = RevisionRow.select(RevisionRow.number).where(RevisionRow.author == "free")
                numbers = [
                    number
                    for (number,) in for_claim(db, query.order_by(RevisionRow.number).limit(4)).tuples().execute(db)
                ]
            RevisionRow.update(author=node).where(RevisionRow.number.in_(numbers)).execute(db)
            # Both are in their transactions now, with rows of their own.
            inside.wait()
            return numbers

        def perform(node: str, by_text: bool) -> list[int]:
            return Store(postgres_place)._perform("claim", claim, node, by_text)

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(perform, ("a", "b"), (True, False))
        assert not set(first) & set(second)
        assert len(first) == len(second) == 4

    def test_who_waits_too_long_is_told(self, postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres, "_SESSION", (("lock_timeout", "100ms"), ("statement_timeout", "300ms")))
        inside, may_end = threading.Event(), threading.Event()

        def hold(db: peewee.Database) -> int:
            inside.set()
            assert may_end.wait(10)
            return add(db)

        with ThreadPoolExecutor(1) as pool:
            holding = pool.submit(Store(postgres_place).run_now, hold)
            assert inside.wait(10)
            waiter = Store(postgres_place)
            assert "another process holds the database" in str(refused(lambda: waiter.run_now(add)))
            may_end.set()
            assert holding.result() == 1
        assert waiter.run_now(add) == 2
        slow = lambda db: db.execute_sql("SELECT pg_sleep(5)").fetchall()  # noqa: E731
        assert "the server took too long" in str(refused(lambda: waiter.run_now(slow)))

    def test_a_reader_sees_one_moment(self, postgres_place: PostgresPlace) -> None:
        def read(db: peewee.Database) -> tuple[int, int]:
            before = load_head(db)
            Store(postgres_place).run_now(add)
            return before, load_head(db)

        reader = Store(postgres_place)
        assert reader._perform("read", read) == (0, 0)
        assert reader._perform("read", load_head) == 1


class TestTrouble:
    def test_what_the_server_refuses_is_told_without_the_row(self, postgres_place: PostgresPlace) -> None:
        store = Store(postgres_place)
        sql = "INSERT INTO objects (collection, key, since, body) VALUES (?, ?, ?, ?)"
        for values, problem in (
            (("endpoints", "1", 1, '{"secret": "hunter2"'), "invalid input syntax for type json"),
            (("endpoints", "1", 1, '{"secret": "hunter2"}'), "violates foreign key constraint"),
            ((None, "hunter2", 1, "{}"), "violates not-null constraint"),
        ):
            with pytest.raises(peewee.PeeweeException, match=problem) as caught:
                store.run_now(lambda db, values=values: db.execute_sql(sql, values) and None)
            assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    def test_a_lost_connection_is_told_and_the_next_transaction_has_another(
        self, postgres_server: PostgresServer, postgres_place: PostgresPlace
    ) -> None:
        store = Store(postgres_place)
        end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'tandem'"

        def lose(db: peewee.Database) -> int:
            add(db)
            execute(postgres_server, postgres_place, end)
            return add(db)

        assert store._perform("write", add) == 1
        assert "the connection to the server was lost" in str(refused(lambda: store._perform("write", lose)))
        assert store._perform("write", load_head) == 1
        # One that was lost between two transactions costs nothing: nothing was begun.
        execute(postgres_server, postgres_place, end)
        assert store._perform("write", add) == 2

    def test_a_server_that_is_stopped_and_started(self, own_server: PostgresServer) -> None:
        store = open_store(own_server.make_place(), owner="tandem serve")
        assert store._perform("write", add) == 1
        own_server.stop(signal.SIGQUIT)
        for kind in ("write", "read", "write"):
            error = refused(lambda kind=kind: store._perform(kind, load_head))
            assert "is PostgreSQL running?" in error.remedy
        own_server.start()
        assert store._perform("write", add) == 2
        assert store.lock.held
        with pytest.raises(StoreBusy):
            open_store(store.place, owner="tandem import")
        store.lock.release()

    def test_our_own_mistakes_stay_what_they_are(self, postgres_place: PostgresPlace) -> None:
        store = Store(postgres_place)
        with pytest.raises(peewee.ProgrammingError, match="nowhere"):
            store.run_now(lambda db: db.execute_sql("SELECT * FROM nowhere"))
        with pytest.raises(ZeroDivisionError):
            store.run_now(lambda db: add(db) / 0)
        with pytest.raises(peewee.IntegrityError):
            store.run_now(lambda db: [add(db), RevisionRow.update(number=None).execute(db)])
        assert store.run_now(load_head) == 0
