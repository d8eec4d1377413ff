import gc
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.trial.unittest import TestCase

from tandem.domain.entities import Did, Pbx
from tandem.domain.snapshot import Snapshot, build_snapshot
from tandem.live import MAX_EDITS, Live, LiveError
from tandem.store.database import Store, open_store
from tandem.store.errors import StoreError
from tandem.store.objects import save_pbx
from tandem.store.place import Place, PostgresPlace
from tandem.store.revisions import record_live
from tandem.store.snapshot_file import (
    SnapshotFileError,
    SnapshotWriter,
    decode_line,
    encode_lines,
    read_snapshot_file,
)
from tests.postgres import PostgresServer, name_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WHOLE = TypeAdapter(Pbx).validate_python(
    {
        "general": {"country": "DE", "allowed_contexts": ("custom",)},
        "trunks": (
            {"name": "a", "hosts": ("192.0.2.1",), "authentication": "registration", "secret": "trunk-secret"},
            {"name": "b", "hosts": ("192.0.2.2",), "numbers": "national"},
        ),
        "endpoints": ({"extension": "1001", "secret": "phone-secret"}, {"extension": "1002", "secret": "phone-secret"}),
        "voicemail_boxes": ({"mailbox": "1001", "pin": "271828"},),
        "schedules": ({"name": "office", "hours": ({"days": "mon-fri", "start": "09:00", "end": "17:00"},)},),
        "queues": ({"name": "sales", "extension": "600", "fallback": {"hangup": 17}},),
        "dids": (
            *({"number": f"+4930{n:04}", "destination": {"queue": "sales"}} for n in range(1200)),
            {"number": "+4940*", "destination": {"endpoint": "1001"}, "blocked_callers": ("+49900*",)},
            {"number": "_4950[2-5]XX", "destination": {"endpoint": "1002"}},
            {"number": "default", "destination": {"hangup": 1}},
        ),
    }
)
SECRETS = ("phone-secret", "trunk-secret", "271828")


def plain(snapshot: Snapshot) -> list[bytes]:
    """What a snapshot holds, secrets aside and in an order of its own."""
    return sorted(encode_lines(snapshot))


class TestLive(TestCase):
    @pytest.fixture(autouse=True)
    def _take(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.place: Place = tmp_path / "tandem.db"

    def setUp(self) -> None:
        self.path = self.folder / "live.snapshot"
        self.store = open_store(self.place)
        self.addCleanup(self.store.stop)
        self.addCleanup(gc.unfreeze)
        self.live = Live(reactor, self.store, self.path)

    def save(self, pbx: Pbx) -> int:
        return self.store.run_now(save_pbx, pbx, author="test", note="", at=NOW).revision

    def lose_database(self) -> Store:
        """The same Live's next process, without a database."""
        self.hide_database()
        store = Store(self.place)
        self.addCleanup(store.stop)
        return store

    def hide_database(self) -> None:
        (self.folder / "tandem.db").rename(self.folder / "gone.db")

    def return_database(self) -> None:
        shutil.move(self.folder / "gone.db", self.folder / "tandem.db")

    def test_nothing_is_current_before_a_load_and_an_empty_database_is_an_empty_pbx(self):
        async def flow() -> None:
            assert not self.live.is_loaded
            with pytest.raises(LiveError, match="nothing was loaded yet"):
                self.live.current  # noqa: B018
            assert (await self.live.load()).revision == 0
            assert self.live.current.dids.count == 0
            await self.live.stop()

        return ensureDeferred(flow())

    def test_what_was_saved_is_what_is_routed_by(self):
        async def flow() -> None:
            self.save(WHOLE)
            assert gc.isenabled()
            snapshot = await self.live.load()
            assert gc.isenabled()
            assert snapshot is self.live.current
            assert snapshot.trunks["a"].secret == "trunk-secret"
            assert plain(snapshot) == plain(build_snapshot(1, WHOLE))
            assert [did.number for _, did in snapshot.dids.patterns] == ["_4950[2-5]XX"]
            await self.live.stop()

        return ensureDeferred(flow())

    def test_the_live_revision_comes_before_the_head_and_few_changes_share_the_rest(self):
        async def flow() -> None:
            self.save(WHOLE)
            first = await self.live.load()
            edited = replace(WHOLE, general=replace(WHOLE.general, language="de"), dids=(
                replace(WHOLE.dids[0], priority=7), *WHOLE.dids[2:], Did(number="49300001", destination={"hangup": 21}),
            ), queues=(replace(WHOLE.queues[0], extension="601"),))  # fmt: skip
            self.save(edited)
            self.store.run_now(record_live, 1, NOW)
            assert await self.live.load() is first
            second = await self.live.load(2)
            assert plain(second) == plain(build_snapshot(2, edited))
            assert second.dids.exact["49300002"] is first.dids.exact["49300002"]
            assert second.dids.exact["49300001"].number == "49300001"
            assert dict(second.numbers) == dict(build_snapshot(2, edited).numbers)
            assert first.dids.exact["49300000"].priority == 0
            # ... and back, and many at once.
            assert plain(await self.live.load(1)) == plain(build_snapshot(1, WHOLE))
            many = replace(WHOLE, dids=tuple(replace(did, priority=1) for did in WHOLE.dids[: MAX_EDITS + 1]))
            self.save(many)
            assert plain(await self.live.load(3)) == plain(build_snapshot(3, many))
            with pytest.raises(KeyError):
                await self.live.load(4)
            assert self.live.current.revision == 3
            await self.live.stop()

        return ensureDeferred(flow())

    def test_subscribers_hear_of_each_swap_and_cannot_break_it(self):
        async def flow() -> None:
            heard: list[Snapshot] = []

            def fail(snapshot: Snapshot) -> None:
                assert self.live.current is snapshot
                raise ZeroDivisionError

            self.live.subscribe(fail)
            leave = self.live.subscribe(heard.append)
            self.save(WHOLE)
            await self.live.load()
            await self.live.load()
            assert [snapshot.revision for snapshot in heard] == [1]
            assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
            leave()
            self.save(Pbx())
            await self.live.load()
            assert len(heard) == 1
            assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
            await self.live.stop()

        return ensureDeferred(flow())

    def test_what_is_prepared_routes_nothing_until_it_is_adopted(self):
        async def flow() -> None:
            heard: list[Snapshot] = []
            self.live.subscribe(heard.append)
            self.save(WHOLE)
            await self.live.load()
            self.save(Pbx())
            prepared = await self.live.prepare(2)
            assert (prepared.revision, self.live.current.revision) == (2, 1)
            self.live.adopt(prepared)
            assert self.live.current is prepared
            assert [snapshot.revision for snapshot in heard] == [1, 2]
            await self.live.stop()

        return ensureDeferred(flow())

    def test_loads_at_the_same_time_follow_each_other(self):
        async def flow() -> None:
            self.save(WHOLE)
            self.save(Pbx())
            await gatherResults([ensureDeferred(self.live.load(number)) for number in (1, 2, 1)])
            assert plain(self.live.current) == plain(build_snapshot(1, WHOLE))
            await self.live.stop()
            assert read_snapshot_file(self.path).revision == 1

        return ensureDeferred(flow())

    def test_without_a_database_the_file_routes_and_says_so_until_it_is_back(self):
        async def flow() -> None:
            self.save(WHOLE)
            await self.live.load()
            await self.live.stop()
            assert self.live.degraded is None
            assert self.path.stat().st_mode & 0o777 == 0o600
            content = self.path.read_bytes()
            assert [secret for secret in SECRETS if secret.encode() in content] == []

            live = Live(reactor, self.lose_database(), self.path)
            snapshot = await live.load()
            assert live.degraded is not None
            assert "there is no" in live.degraded
            assert plain(snapshot) == plain(build_snapshot(1, WHOLE))
            assert snapshot.trunks["b"].secret is None
            unknown = {snapshot.trunks["a"].secret, *(phone.secret for phone in snapshot.endpoints.values())}
            assert len(unknown) == 3
            assert not unknown & set(SECRETS)
            assert snapshot.voicemail_boxes["1001"].pin != "271828"
            with pytest.raises(StoreError, match="there is no"):
                await live.load()
            assert live.current is snapshot

            self.return_database()
            assert (await live.load()).trunks["a"].secret == "trunk-secret"
            assert live.degraded is None
            await live.stop()

        return ensureDeferred(flow())

    def test_without_either_both_reasons_are_told(self):
        async def flow() -> None:
            live = Live(reactor, self.lose_database(), self.path)
            with pytest.raises(LiveError, match=r"there is no.*and without it: .*live\.snapshot: cannot be read"):
                await live.load()
            assert not live.is_loaded

        return ensureDeferred(flow())

    def test_a_database_changed_by_hand_is_refused_object_by_object(self):
        async def flow() -> None:
            self.save(WHOLE)
            await self.live.load()
            await self.live.stop()
            sql = """UPDATE objects SET body = '{"name":"sales","weight":"heavy"}' WHERE collection = 'queues'"""
            self.store.run_now(lambda db: db.execute_sql(sql).rowcount)
            live = Live(reactor, self.store, self.path)
            assert plain(await live.load()) == plain(self.live.current)
            assert (
                live.degraded == "queues: weight: Input should be a valid integer, unable to parse string as an integer"
            )

        return ensureDeferred(flow())

    def test_a_file_that_cannot_be_written_is_told_and_the_old_one_stays(self):
        async def flow() -> None:
            self.save(WHOLE)
            await self.live.load()
            await self.live.stop()
            draft = self.folder / "live.snapshot.new"
            draft.mkdir()
            self.save(Pbx())
            await self.live.load()
            await self.live.stop()
            assert self.live.current.revision == 2
            assert self.live.unsaved is not None
            assert "live.snapshot: cannot be written" in self.live.unsaved
            assert read_snapshot_file(self.path).revision == 1
            draft.rmdir()
            self.save(WHOLE)
            await self.live.load()
            await self.live.stop()
            assert self.live.unsaved is None
            assert read_snapshot_file(self.path).revision == 3

        return ensureDeferred(flow())

    def test_the_reactor_runs_while_thousands_are_loaded(self):
        async def flow() -> None:
            self.save(replace(WHOLE, dids=tuple(
                Did(number=f"+49{n:07}", destination={"queue": "sales"}) for n in range(10_000))))  # fmt: skip
            turns = 0

            def tick() -> None:
                nonlocal turns, call
                turns += 1
                call = reactor.callLater(0, tick)

            call = reactor.callLater(0, tick)
            await self.live.load()
            call.cancel()
            assert turns > 20
            assert gc.get_freeze_count() > 10_000
            await self.live.stop()

        return ensureDeferred(flow())


class TestSnapshotFile:
    def write(self, path: Path) -> bytes:
        writer = SnapshotWriter(path)
        writer.write(b"".join(encode_lines(build_snapshot(5, replace(WHOLE, dids=WHOLE.dids[-5:])))))
        writer.finish()
        return path.read_bytes()

    def test_round_trips(self, tmp_path: Path) -> None:
        self.write(tmp_path / "f")
        file = read_snapshot_file(tmp_path / "f")
        assert file.revision == 5
        assert [decode_line(line) for line in file.lines if line.startswith(b"dids")] == list(WHOLE.dids[-5:])

    def test_nothing_damaged_is_used(self, tmp_path: Path) -> None:
        path = tmp_path / "f"
        content = self.write(path)

        @given(st.integers(0, len(content) - 1), st.integers(1, 255))
        def flip(at: int, mask: int) -> None:
            path.write_bytes(content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :])
            with pytest.raises(SnapshotFileError, match="damaged"):
                read_snapshot_file(path)

        @given(st.integers(0, len(content) - 1))
        def cut(at: int) -> None:
            path.write_bytes(content[:at])
            with pytest.raises(SnapshotFileError, match="damaged"):
                read_snapshot_file(path)

        flip()
        cut()

    @pytest.mark.parametrize(("header", "reason"), [(b'{"format":2,"revision":1}', "has format 2"), (b"[]", "is not a snapshot"), (b"x", "is not a snapshot")])  # fmt: skip
    def test_another_format_is_named(self, tmp_path: Path, header: bytes, reason: str) -> None:
        writer = SnapshotWriter(tmp_path / "f")
        writer.write(header + b"\n")
        writer.finish()
        with pytest.raises(SnapshotFileError, match=reason):
            read_snapshot_file(tmp_path / "f")

    def test_an_unfinished_one_leaves_the_old_one(self, tmp_path: Path) -> None:
        content = self.write(tmp_path / "f")
        writer = SnapshotWriter(tmp_path / "f")
        writer.write(b"half")
        assert (tmp_path / "f").read_bytes() == content
        writer.abandon()
        assert [path.name for path in tmp_path.iterdir()] == ["f"]
        SnapshotWriter(tmp_path / "f")  # as one that a killed process left
        assert self.write(tmp_path / "f") == content


class TestLiveOnPostgres(TestLive):
    @pytest.fixture(autouse=True)
    def _take(self, tmp_path: Path, postgres_server: PostgresServer) -> Iterator[None]:
        self.folder, self.server, self.place = tmp_path, postgres_server, postgres_server.make_place()
        yield
        if not postgres_server.drop(self.place):
            postgres_server.drop(PostgresPlace(postgres_server.socket_url("gone")))

    def hide_database(self) -> None:
        self.server.rename(self.place, "gone")

    def return_database(self) -> None:
        self.server.rename(PostgresPlace(self.server.socket_url("gone")), name_of(self.place))
