import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import peewee
import pytest
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from tandem.store import schema
from tandem.store.database import Store, attach_store, open_store
from tandem.store.errors import StoreBusy, StoreError
from tandem.store.lock import StoreLock
from tandem.store.place import PostgresPlace
from tandem.store.schema import latest_version
from tandem.store.tables import TABLES, RevisionRow, UtcField, format_time


def write_rows(db: peewee.SqliteDatabase, count: int = 1) -> int:
    for _ in range(count):
        row = {
            "created_at": datetime.now(UTC),
            "author": "a",
            "note": "x" * 900,
            "added": 0,
            "changed": 0,
            "removed": 0,
        }
        RevisionRow.insert(**row).execute(db)
    return count


def count_rows(db: peewee.SqliteDatabase) -> int:
    return RevisionRow.select().count(db)


def refused(work: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        work()
    return caught.value


class TestOpening:
    def test_makes_a_private_database_in_wal_mode_with_full_durability(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "tandem.db")
        read = lambda db, name: db.execute_sql(f"PRAGMA {name}").fetchone()[0]  # noqa: E731
        assert [store.run_now(read, name) for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")] == [
            "wal", 2, 1, 5000]  # fmt: skip
        assert (tmp_path / "tandem.db").stat().st_mode & 0o777 == 0o600

    def test_tables_are_as_the_migrations_make_them(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "tandem.db")
        for table in TABLES:
            name = table._meta.table_name
            columns = store.run_now(
                lambda db, name=name: [row[1] for row in db.execute_sql(f"PRAGMA table_info({name})")]
            )
            assert columns == [field.column_name for field in table._meta.sorted_fields]

    def test_a_missing_folder_and_a_missing_database_are_named(self, tmp_path: Path) -> None:
        assert "check that its folder exists" in str(refused(lambda: open_store(tmp_path / "no" / "tandem.db")))
        error = refused(lambda: Store(tmp_path / "tandem.db").run_now(count_rows))
        assert str(error) == f"{tmp_path}/tandem.db: there is no database; run `tandem init`"

    def test_another_programs_database_and_another_kind_of_file_are_refused(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "other.db") as other:
            other.execute("CREATE TABLE t (a)")
        assert "the database of another program" in str(refused(lambda: open_store(tmp_path / "other.db")))
        (tmp_path / "text.db").write_text("hello, this is not a database at all\n" * 100)
        assert "this is not a database" in str(refused(lambda: open_store(tmp_path / "text.db")))

    def test_a_naive_time_is_refused(self) -> None:
        with pytest.raises(ValueError, match="must have a zone"):
            format_time(datetime(2026, 1, 1))  # noqa: DTZ001
        assert UtcField().python_value("2026-01-01T00:00:00+00:00") == datetime(2026, 1, 1, tzinfo=UTC)


class TestMigrations:
    @pytest.fixture
    def next_version(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """A package of migrations with a second one, whose text the test writes."""
        folder = tmp_path / "next_migrations"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        first = Path(schema.__file__).parent / "migrations" / "0001_first.sql"
        (folder / "0001_first.sql").write_text(first.read_text())
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(schema, "MIGRATIONS", "next_migrations")
        monkeypatch.delitem(sys.modules, "next_migrations", raising=False)
        return folder / "0002_next.sql"

    def filled(self, tmp_path: Path) -> Path:
        path = tmp_path / "tandem.db"
        open_store(path).run_now(write_rows, 3)
        return path

    def test_a_backup_is_made_before_each(self, tmp_path: Path, next_version: Path) -> None:
        next_version.write_text("SELECT 1;")
        path = tmp_path / "tandem.db"
        old = schema.list_migrations()[:1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema, "list_migrations", lambda: old)
            self.filled(tmp_path)
        next_version.write_text(
            "-- what; ever\nALTER TABLE revisions ADD COLUMN colour TEXT;\nUPDATE revisions SET colour = 'a;b';\n"
        )
        store = Store(path)
        assert store.migrate() == ["0002_next.sql"]
        assert store.migrate() == []
        assert store.run_now(lambda db: db.execute_sql("SELECT DISTINCT colour FROM revisions").fetchall()) == [
            ("a;b",)
        ]
        (backup,) = tmp_path.glob("tandem.db.before-0002-*Z")
        assert backup.stat().st_mode & 0o777 == 0o600
        with sqlite3.connect(backup) as copy:
            assert copy.execute("SELECT count(*) FROM revisions").fetchone() == (3,)
            assert copy.execute("PRAGMA user_version").fetchone() == (1,)

    def test_of_a_new_database_there_is_no_backup(self, tmp_path: Path) -> None:
        self.filled(tmp_path)
        assert list(tmp_path.glob("*.before-*")) == []

    def test_one_that_fails_changes_nothing(self, tmp_path: Path, next_version: Path) -> None:
        next_version.write_text("SELECT 1;")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema, "list_migrations", lambda: [(1, "0001_first.sql")])
            path = self.filled(tmp_path)
        next_version.write_text("ALTER TABLE revisions ADD COLUMN colour TEXT;\nINSERT INTO nowhere VALUES (1);\n")
        with pytest.raises(peewee.OperationalError, match="nowhere"):
            Store(path).migrate()
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA user_version").fetchone() == (1,)
            assert "colour" not in str(database.execute("PRAGMA table_info(revisions)").fetchall())

    def test_a_newer_schema_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        path = self.filled(tmp_path)
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 99")
        before = path.read_bytes()
        for work in (lambda: open_store(path), lambda: Store(path).run_now(count_rows)):
            assert f"its schema is version 99, and this Tandem knows {latest_version()}; use the newer Tandem" in str(
                refused(work)
            )
        assert path.read_bytes() == before

    def test_an_older_schema_is_not_used_without_migrating(self, tmp_path: Path, next_version: Path) -> None:
        next_version.write_text("SELECT 1;")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema, "list_migrations", lambda: [(1, "0001_first.sql")])
            path = self.filled(tmp_path)
        assert "older than this Tandem" in str(refused(lambda: Store(path).run_now(count_rows)))

    def test_statements_end_where_sqlite_says(self) -> None:
        script = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n DELETE FROM b;\n END;\nSELECT ';';\n-- the end;\n"
        assert [s.split()[0] for s in schema.split_statements(script.replace("-- the end;\n", ""))] == [
            "CREATE",
            "SELECT",
        ]
        with pytest.raises(ValueError, match="has no end"):
            list(schema.split_statements("SELECT 1"))


class TestTrouble:
    def test_a_full_disk_changes_nothing_and_passes(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "tandem.db")
        store.run_now(write_rows)

        def fill(db: peewee.SqliteDatabase) -> None:
            pages = db.execute_sql("PRAGMA page_count").fetchone()[0]
            db.execute_sql(f"PRAGMA max_page_count = {pages + 10}")
            write_rows(db, 1000)

        error = refused(lambda: store.run_now(fill))
        assert "the disk is full, nothing was changed" in str(error)
        assert error.remedy == "free some space"
        assert store.run_now(count_rows) == 1
        assert store.run_now(write_rows, 1000) == 1000

    @pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="mounting a small disk needs root")
    def test_a_really_full_disk(self, tmp_path: Path) -> None:
        script = (
            "import subprocess\nfrom pathlib import Path\nfrom datetime import UTC, datetime\n"
            "from tandem.store.database import open_store\nfrom tandem.store.errors import StoreError\n"
            "from tandem.store.tables import RevisionRow\n"
            f"disk = Path({str(tmp_path)!r})\n"
            "subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', str(disk)], check=True)\n"
            "store = open_store(disk / 'tandem.db')\n"
            "row = dict(created_at=datetime.now(UTC), author='a', note='x' * 900, added=0, changed=0, removed=0)\n"
            "def fill(db):\n    [RevisionRow.insert(**row).execute(db) for _ in range(18000)]\n"
            "try:\n    store.run_now(fill)\nexcept StoreError as error:\n    print(error)\n"
            "print(store.run_now(lambda db: RevisionRow.select().count(db)))\n"
        )
        done = subprocess.run(
            ["unshare", "--mount", sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        message, rows = done.stdout.splitlines()
        assert "the disk is full, nothing was changed" in message
        assert rows == "0"

    def test_a_damaged_database_is_named_and_a_repaired_one_used_again(self, tmp_path: Path) -> None:
        path = tmp_path / "tandem.db"
        store = open_store(path)
        store.run_now(write_rows, 200)
        store.run_now(lambda db: None)
        sound = path.read_bytes()
        path.write_bytes(sound[:8192] + b"\xff" * (len(sound) - 8192))
        error = refused(
            lambda: store.run_now(lambda db: db.execute_sql("SELECT sum(length(note)) FROM revisions").fetchall())
        )
        assert "the database is damaged" in str(error)
        assert "restore a backup" in error.remedy
        path.write_bytes(sound)
        assert store.run_now(count_rows) == 200

    def test_a_database_that_must_not_be_written(self, tmp_path: Path) -> None:
        path = tmp_path / "tandem.db"
        open_store(path).run_now(write_rows)
        for part in tmp_path.iterdir():
            part.chmod(0o444)
        tmp_path.chmod(0o555)
        script = (
            "import os, sys\nfrom pathlib import Path\nfrom tandem.store.database import Store\n"
            "from tandem.store.errors import StoreError\nfrom tandem.store.tables import RevisionRow\n"
            f"store = Store(Path({str(path)!r}))\n"
            "def change(db):\n    db.execute_sql('DELETE FROM revisions')\n"
            "try:\n    store.run_now(change)\nexcept StoreError as error:\n    print(error)\n"
        )
        for parent in (tmp_path, *tmp_path.parents):
            if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o005 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o005)
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        done = subprocess.run([*drop, sys.executable, "-c", script], capture_output=True, text=True, check=False)
        tmp_path.chmod(0o755)
        assert "cannot be written" in done.stdout or "cannot be opened" in done.stdout, done.stderr
        assert open_store(path).run_now(count_rows) == 1

    def test_our_own_mistakes_stay_what_they_are(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "tandem.db")
        with pytest.raises(peewee.OperationalError, match="no such table"):
            store.run_now(lambda db: db.execute_sql("SELECT * FROM nowhere"))
        with pytest.raises(ZeroDivisionError):
            store.run_now(lambda db: write_rows(db) / 0)
        assert store.run_now(count_rows) == 0


class TestLock:
    def test_one_process_at_a_time_and_the_other_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "tandem.db"
        store = open_store(path, owner="tandem serve")
        error = refused(lambda: open_store(path, owner="tandem import"))
        assert f"tandem serve (pid {os.getpid()}) is using the database" in str(error)
        assert open_store(path).run_now(count_rows) == 0  # reading needs no lock
        store.lock.release()
        open_store(path, owner="tandem import").lock.release()

    def test_a_migration_needs_it_and_a_killed_holder_lets_go(self, tmp_path: Path) -> None:
        path = tmp_path / "tandem.db"
        script = (
            "import sys\nfrom pathlib import Path\nfrom tandem.store.lock import StoreLock\n"
            f"StoreLock(Path({str(path)!r})).acquire('other')\nprint('held', flush=True)\nsys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            # It must not be StoreLock's object that keeps it: the process does, until it dies.
            assert f"other (pid {other.pid}) is using the database" in str(refused(lambda: open_store(path)))
            assert not path.exists()
            other.kill()
            other.wait()
        assert open_store(path).run_now(count_rows) == 0

    def test_a_service_starts_without_a_database_but_not_beside_another(self, tmp_path: Path) -> None:
        path = tmp_path / "tandem.db"
        store, trouble = attach_store(path, "tandem serve")
        assert "there is no database" in str(trouble)
        assert not path.exists()
        with pytest.raises(StoreBusy, match="tandem serve"):
            attach_store(path, "tandem serve")
        store.lock.release()
        open_store(path)
        store, trouble = attach_store(path, "tandem serve")
        assert (trouble, store.run_now(count_rows)) == (None, 0)
        store.lock.release()
        assert "cannot be opened" in str(attach_store(tmp_path / "unmounted" / "tandem.db", "tandem serve")[1])

    def test_may_be_taken_twice_by_its_holder(self, tmp_path: Path) -> None:
        lock = StoreLock(tmp_path / "a.db")
        lock.acquire("x")
        lock.acquire("x")
        lock.release()
        lock.release()
        assert not lock.held


class TestThreads(TestCase):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.store = open_store(tmp_path / "tandem.db")

    def setUp(self) -> None:
        self.addCleanup(self.store.stop)

    def test_work_is_one_transaction_in_a_thread_that_keeps_its_connection(self):
        import threading

        async def flow() -> None:
            names = {
                await self.store.run(lambda db: (threading.current_thread().name, id(db.connection())))
                for _ in range(3)
            }
            assert len(names) == 1
            assert "tandem-store-writer" in names.pop()[0]
            assert await self.store.run(write_rows, 2) == 2
            assert await self.store.read(count_rows) == 2
            with pytest.raises(ZeroDivisionError):
                await self.store.run(lambda db: write_rows(db) / 0)
            assert await self.store.read(count_rows) == 2

        return ensureDeferred(flow())

    def test_a_reader_cannot_write(self):
        async def flow() -> None:
            with pytest.raises(StoreError, match="cannot be written"):
                await self.store.read(write_rows)

        return ensureDeferred(flow())

    def test_nothing_lazy_comes_out(self):
        async def flow() -> None:
            for work in (
                lambda db: RevisionRow.select(),
                lambda db: RevisionRow.select().execute(db),
                lambda db: db.execute_sql("SELECT 1"),
                lambda db: [RevisionRow()],
                lambda db: {"a": RevisionRow()},
                lambda db: (n for n in (1, 2)),
                lambda db: db,
            ):
                with pytest.raises(TypeError, match="must not leave the store's thread"):
                    await self.store.run(work)

        return ensureDeferred(flow())

    def test_a_reader_does_not_wait_for_a_writer(self):
        import threading

        async def flow() -> None:
            may_end = threading.Event()
            writing = self.store.run(lambda db: (write_rows(db), may_end.wait(10)))
            assert await self.store.read(count_rows) == 0
            assert not writing.called
            may_end.set()
            await writing
            assert await self.store.read(count_rows) == 1

        return ensureDeferred(flow())

    def test_it_can_be_stopped_and_used_again(self):
        async def flow() -> None:
            await self.store.run(write_rows)
            await self.store.stop()
            await self.store.stop()
            assert await self.store.run(count_rows) == 1

        return ensureDeferred(flow())


class TestThreadsOnPostgres(TestThreads):
    @pytest.fixture(autouse=True)
    def _place(self, postgres_place: PostgresPlace) -> None:
        self.store = open_store(postgres_place)
