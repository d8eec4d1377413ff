"""Record files read by offset: torn lines, rotation, truncation, garbage; and the ledger's transactions on a real database."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandem.ami.errors import AmiConnectionLost
from tandem.domain.calls import PlacedCall
from tandem.domain.cdr import read_cel
from tandem.domain.decisions import Decision
from tandem.domain.disposition import Disposition, Evidence
from tandem.ledger import CHUNK_BYTES, Ledger, read_records, set_aside
from tandem.store.calls import record_calls, record_placed
from tandem.store.cdrs import (
    CdrQuery,
    FilePosition,
    count_cdrs,
    load_cdr,
    load_cdrs,
    load_leg_evidence,
    load_open_legs,
    load_position,
    record_legs,
    record_lost,
)
from tandem.store.database import Store, open_store
from tandem.store.place import PostgresPlace
from tandem.store.routes import MAX_ROUTE, load_routes, record_routes

BEGAN = datetime(2026, 11, 20, 12, tzinfo=UTC)


def event(
    kind: str,
    number: int,
    after_s: float = 0.0,
    channel: str = "PJSIP/carrier-00000001",
    linkedid: str = "",
    cause: int = 16,
) -> bytes:
    row = {
        "eventtype": kind,
        "eventtime": f"{BEGAN.timestamp() + number + after_s:.3f}",
        "num": f"030{number}",
        "exten": "4930",
        "channame": channel,
        "uniqueid": f"1.{number}",
        "linkedid": linkedid or f"1.{number}",
        "eventextra": f'{{\\"hangupcause\\":{cause},\\"hangupsource\\":\\"\\"}}' if kind == "HANGUP" else "",
    }
    return ("{" + ",".join(f'"{key}":"{value}"' for key, value in row.items()) + "}\n").encode()


def call(number: int, cause: int = 16) -> bytes:
    return event("CHAN_START", number) + event("ANSWER", number, 1) + event("HANGUP", number, 3, cause=cause)


def read_all(path: Path, position: FilePosition | None = None) -> tuple[list[str], FilePosition | None]:
    found = []
    while (reading := read_records(path, "cel", position)) is not None:
        found += [leg.uniqueid for leg in reading.changes]
        position = reading.position
        if reading.is_end:
            break
    return found, position


def test_lines_come_whole_and_once(tmp_path: Path) -> None:
    path = tmp_path / "cel.json"
    assert read_records(path, "cel", None) is None
    data = b"".join(map(call, range(20)))
    position, found = None, []
    path.write_bytes(b"")
    for start in range(0, len(data), 37):
        with path.open("ab") as stream:
            stream.write(data[start : start + 37])
        news, position = read_all(path, position)
        found += news
    assert found == [f"1.{number}" for number in range(20) for _ in range(3)]


def test_rotated_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "cel.json"
    path.write_bytes(call(1))
    found, position = read_all(path)
    with path.open("ab") as stream:
        stream.write(call(2))
    path.rename(tmp_path / "cel.json.1")
    found, position = read_all(path, position)  # the new file is not there yet
    assert found == ["1.2"] * 3
    path.write_bytes(call(3))
    found, position = read_all(path, position)
    assert found == ["1.3"] * 3
    with path.open("r+b") as stream:  # logrotate's copytruncate
        stream.truncate(0)
    assert read_all(path, position)[0] == []
    path.write_bytes(call(4))
    found, position = read_all(path, position)
    assert found == ["1.4"] * 3
    path.write_bytes(call(5) + call(6))  # the same inode, and longer than before
    assert read_all(path, position)[0] == ["1.5"] * 3 + ["1.6"] * 3


def test_both_files_are_rest_and_new(tmp_path: Path) -> None:
    path = tmp_path / "cel.json"
    path.write_bytes(call(1))
    _, position = read_all(path)
    with path.open("ab") as stream:
        stream.write(call(2) + b'{"torn')
    path.rename(tmp_path / "cel.json.1")
    path.write_bytes(call(3))
    found = []
    for _ in range(4):
        news, position = read_all(path, position)
        found += news
    assert found == ["1.2"] * 3 + ["1.3"] * 3


def test_rotated_more_than_once_while_nobody_read(tmp_path: Path) -> None:
    path = tmp_path / "cel.json"
    path.write_bytes(call(1))
    _, position = read_all(path)
    with path.open("ab") as stream:
        stream.write(call(2))
    for number in (3, 4, 5):
        for old in (2, 1):
            if (former := path.with_name(f"cel.json.{old}")).exists():
                former.rename(path.with_name(f"cel.json.{old + 1}"))
        path.rename(path.with_name("cel.json.1"))
        path.write_bytes(call(number))
    assert read_all(path, position)[0] == [f"1.{number}" for number in (2, 3, 4, 5) for _ in range(3)]


@given(st.lists(st.sampled_from(["write", "read", "set aside", "too short"]), max_size=40))
@settings(max_examples=150, deadline=None)
def test_nothing_is_lost_or_read_twice_when_files_are_set_aside(steps: list[str]) -> None:
    """Asterisk opens the file for each record; the reader stops and goes on anywhere, as at a restart."""
    with TemporaryDirectory() as folder:
        path, position, found, written = Path(folder) / "cel.json", None, [], 0
        for step in [*steps, "read", "read", "read"]:
            if step == "write":
                written += 1
                with path.open("ab") as stream:
                    stream.write(event("CHAN_START", written))
            elif step == "read" and (reading := read_records(path, "cel", position)) is not None:
                found += [leg.uniqueid for leg in reading.changes]
                position = reading.position
            elif step == "set aside" and position is not None:
                set_aside(path, position, limit_bytes=1)
            elif step == "too short" and path.exists() and position is not None:
                assert not set_aside(path, position, limit_bytes=1_000_000)
        assert found == [f"1.{number}" for number in range(1, written + 1)]


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "cel.json"
    path.write_bytes(b"x" * (2 * CHUNK_BYTES + 17) + b"\n" + call(1) + b"\xff\n[]\n{}\n" + call(2))
    assert read_all(path)[0] == ["1.1"] * 3 + ["1.2"] * 3


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    # These tests ask what is written, not whether a power cut loses it.
    monkeypatch.setattr("tandem.store.sqlite.PRAGMAS", ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF"))


def take(store: Store, lines: bytes, position: FilePosition | None = None) -> list[Any]:
    legs = [leg for line in lines.splitlines() if (leg := read_cel(line)) is not None]
    return store._perform("write", record_legs, legs, {"carrier"}, [position] if position else [])


def everything(store: Store) -> tuple[Any, ...]:
    def dump(db: Any) -> tuple[Any, ...]:
        tables = ("legs", "joined_calls", "cdrs")
        return tuple(tuple(db.execute_sql(f"SELECT * FROM {table} ORDER BY 1").fetchall()) for table in tables)

    return store._perform("write", dump)


def test_the_same_again_changes_nothing(store: Store) -> None:
    lines = b"".join(map(call, range(5)))
    position = FilePosition("cel", 7, 4711, b"head")
    assert len(take(store, lines, position)) == 5
    before = everything(store)
    assert take(store, lines, position) == []
    assert everything(store) == before
    assert store.run_now(load_position, "cel") == position
    assert store.run_now(load_position, "cdr") is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 11), max_size=6))
def test_cut_anywhere_into_transactions(store: Store, tmp_path: Path, cuts: list[int]) -> None:
    """However the lines are spread over readings, the CDRs are the same; calls 1 and 2 merge."""
    events = [
        event("CHAN_START", 1),
        event("ANSWER", 1, 1),
        event("CHAN_START", 2, channel="PJSIP/1001-00000002"),
        event("CHAN_START", 3, linkedid="1.2", channel="PJSIP/1002-00000003"),
        event("HANGUP", 2, 4),
        event("HANGUP", 3, 6, linkedid="1.1"),
        event("CHAN_START", 4),
        event("HANGUP", 4, 1, cause=17),
        event("HANGUP", 1, 9),
        event("CHAN_START", 5),
        event("CHAN_START", 6, linkedid="1.5"),
        event("HANGUP", 5, 5),
    ]
    store.run_now(
        lambda db: [db.execute_sql(f"DELETE FROM {table}") for table in ("legs", "joined_calls", "cdrs")] and None
    )
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(events)], strict=True):
        take(store, b"".join(events[start:end]))
    cdrs = store.run_now(load_cdrs, CdrQuery(newest_first=False))
    assert [(cdr.call_id, cdr.disposition, cdr.direction) for cdr in cdrs] == [
        ("1.1", Disposition.ANSWERED, "inbound"),
        ("1.4", Disposition.BUSY, "inbound"),
    ]
    assert store.run_now(load_open_legs) == ["1.6"]
    merged = store.run_now(load_cdr, "1.2")
    assert merged is not None
    assert (merged.call_id, [leg.uniqueid for leg in merged.legs]) == ("1.1", ["1.1", "1.2", "1.3"])


def test_lost_legs(store: Store) -> None:
    take(store, event("CHAN_START", 1) + event("ANSWER", 1, 1))
    assert store.run_now(load_leg_evidence, "1.1") is None
    (cdr,) = store.run_now(record_lost, ["1.1", "1.77"], set())
    assert (cdr.disposition, cdr.ended_at) == (Disposition.UNCONFIRMED, None)
    assert store.run_now(record_lost, ["1.1"], set()) == []
    assert store.run_now(load_leg_evidence, "1.1") == Evidence(has_channel=True, is_answered=True, is_lost=True)
    (cdr,) = take(store, event("HANGUP", 1, 9))
    assert (cdr.disposition, store.run_now(load_cdr, "1.1").duration_s) == (Disposition.ANSWERED, 9.0)
    assert store.run_now(record_lost, ["1.1"], set()) == []


def test_pages_and_filters(store: Store) -> None:
    take(store, b"".join(call(number, 17) for number in range(10)))
    query = CdrQuery(limit=4)
    pages, last = [], ""
    while page := store.run_now(load_cdrs, CdrQuery(limit=4, after_id=last)):
        pages.append([cdr.call_id for cdr in page])
        last = page[-1].call_id
    assert [call_id for page in pages for call_id in page] == [f"1.{number}" for number in reversed(range(10))]
    assert store.run_now(count_cdrs, query) == 10
    since, until = BEGAN + timedelta(seconds=3), BEGAN + timedelta(seconds=6)
    assert store.run_now(count_cdrs, CdrQuery(since=since, until=until)) == 3
    assert store.run_now(count_cdrs, CdrQuery(caller="0307")) == 1
    assert store.run_now(count_cdrs, CdrQuery(called="493")) == 10
    assert store.run_now(count_cdrs, CdrQuery(called="49%")) == 0
    assert store.run_now(count_cdrs, CdrQuery(direction="outbound")) == 0
    assert store.run_now(count_cdrs, CdrQuery(disposition=Disposition.ANSWERED)) == 10


def test_what_calls_knows_wins(store: Store) -> None:
    call_id = "a" * 32
    placed = PlacedCall(
        call_id=call_id, channel="PJSIP/1@carrier", origin="external 030", destination="queue sales", placed_at=BEGAN
    )
    store.run_now(record_placed, placed, "tandem")
    lines = (event("CHAN_START", 1) + event("HANGUP", 1, 5, cause=19)).replace(b"1.1", call_id.encode())
    (cdr,) = take(store, lines)
    assert (cdr.disposition, cdr.is_placed, cdr.direction) == (Disposition.NO_ANSWER, True, "outbound")
    ended = PlacedCall(
        call_id=call_id,
        channel="PJSIP/1@carrier",
        origin="external 030",
        destination="queue sales",
        placed_at=BEGAN,
        ended_at=BEGAN,
        disposition=Disposition.TRUNK_DEAD,
        cause=19,
    )
    assert store.run_now(record_calls, [ended]) == {call_id}
    assert store.run_now(load_cdr, call_id).disposition == Disposition.TRUNK_DEAD
    assert take(store, lines) == []
    assert store.run_now(load_cdr, call_id).disposition == Disposition.TRUNK_DEAD


def decision(uniqueid: str, *steps: str) -> Decision:
    return Decision(BEGAN, "did", uniqueid, "PJSIP/carrier-1", "4930", "030", steps, "x", 0.001, 1)


def test_routes_join_the_cdr_whenever_its_legs_come(store: Store) -> None:
    store.run_now(
        record_routes, [decision("1.1", "DID 4930", "menu main"), decision("1.9"), decision("1.1", "pressed 2")]
    )
    store.run_now(record_routes, [decision("1.1", "queue sales")])
    assert take(store, event("CHAN_START", 1) + event("CHAN_START", 2, linkedid="1.1") + event("HANGUP", 1, 1)) == []
    (cdr,) = take(store, event("HANGUP", 2, 1, linkedid="1.1"))
    assert cdr.route == "DID 4930, menu main, pressed 2, queue sales"
    assert store.run_now(load_routes, ["1.9", "1.1"]) == {"1.1": cdr.route}
    store.run_now(record_routes, [decision("1.1", "x" * MAX_ROUTE)])
    assert len(store.run_now(load_routes, ["1.1"])["1.1"]) == MAX_ROUTE


class LedgerTests(TestCase):
    @pytest.fixture(autouse=True)
    def _take(self, tmp_path: Path) -> None:
        self.store, self.path = open_store(tmp_path / "tandem.db"), tmp_path / "cel.json"

    def make(self, up: Any, max_bytes: int = 0) -> Ledger:
        async def list_channels() -> Any:
            if isinstance(up, Exception):
                raise up
            return up

        self.clock = Clock()
        ledger = Ledger(
            self.store,
            {"cel": self.path, "cdr": self.path.with_name("cdr.json")},
            self.clock,
            list_channels=list_channels,
            list_trunks=lambda: {"carrier"},
            save_routes=self.save_routes,
            max_bytes=max_bytes,
        )
        self.told: list[Any] = []
        self.decided: list[Decision] = []
        ledger.watch(self.told.append)
        self.addCleanup(self.store.stop)
        return ledger

    async def save_routes(self) -> None:
        decided, self.decided = self.decided, []
        await self.store.run(record_routes, decided)

    async def test_reads_on_after_a_restart(self) -> None:
        self.path.write_bytes(call(1) + event("CHAN_START", 2))
        ledger = self.make(())
        self.decided = [decision("1.1", "DID 4930")]
        await ledger.read()
        assert [(cdr.call_id, cdr.route) for cdr in self.told] == [("1.1", "DID 4930")]
        with self.path.open("ab") as stream:
            stream.write(event("HANGUP", 2, 1))
        again = self.make(())
        await again.read()
        await again.read()
        assert [cdr.call_id for cdr in self.told] == ["1.2"]

    async def test_legs_are_lost_only_when_asterisk_says_so_for_a_while(self) -> None:
        self.path.write_bytes(event("CHAN_START", 1) + event("CHAN_START", 2))
        ledger = self.make({"1.2"})
        await ledger.read()
        await ledger.compare()
        self.clock.advance(9)
        await ledger.compare()
        assert self.told == []
        self.clock.advance(2)
        await ledger.compare()
        assert [(cdr.call_id, cdr.disposition) for cdr in self.told] == [("1.1", Disposition.UNCONFIRMED)]

    async def test_nothing_is_lost_while_nobody_can_tell(self) -> None:
        self.path.write_bytes(event("CHAN_START", 1))
        ledger = self.make(AmiConnectionLost("CoreShowChannels", "not connected", written=False))
        await ledger.read()
        for _ in range(3):
            with pytest.raises(AmiConnectionLost):
                await ledger.compare()
            self.clock.advance(60)
        assert self.told == []

    async def test_a_record_that_came_late_is_read_before_a_leg_is_lost(self) -> None:
        self.path.write_bytes(event("CHAN_START", 1))
        ledger = self.make(())
        await ledger.read()
        await ledger.compare()
        self.clock.advance(11)
        with self.path.open("ab") as stream:
            stream.write(event("HANGUP", 1, 1))
        await ledger.compare()
        assert [cdr.disposition for cdr in self.told] == [Disposition.CANCELLED]

    async def test_a_long_file_is_set_aside_once_it_is_read(self) -> None:
        rotated = self.path.with_name("cel.json.1")
        ledger = self.make((), max_bytes=5 * len(call(1)))
        for number in range(1, 18):
            with self.path.open("ab") as stream:
                stream.write(call(number))
            await ledger.read()
            if number == 5:
                assert rotated.exists()
                assert not self.path.exists()
        assert rotated.stat().st_size < 6 * len(call(1))
        assert [cdr.call_id for cdr in self.told] == [f"1.{number}" for number in range(1, 18)]

    async def test_a_folder_that_cannot_be_written_is_told_once(self) -> None:
        self.path.write_bytes(call(1))
        ledger = self.make((), max_bytes=1)
        self.path.with_name("cel.json.1").mkdir()  # a rename fails, whoever we are
        for _ in range(3):
            await ledger.read()
        assert [cdr.call_id for cdr in self.told] == ["1.1"]
        assert ledger.problem is None


class LedgerTestsOnPostgres(LedgerTests):
    @pytest.fixture(autouse=True)
    def _take(self, tmp_path: Path, postgres_place: PostgresPlace) -> None:
        self.store, self.path = open_store(postgres_place), tmp_path / "cel.json"

    async def test_a_file_that_cannot_be_read_keeps_nothing_of_the_other_back(self) -> None:
        many = range(1, 2 + 3 * CHUNK_BYTES // len(call(1)))
        self.path.write_bytes(b"".join(map(call, many)))
        ledger = self.make(())
        loop = self.path.with_name("cdr.json")
        loop.symlink_to(loop)  # ELOOP, whoever we are
        with pytest.raises(OSError, match="symbolic links"):
            await ledger.read()
        assert sorted(cdr.call_id for cdr in self.told) == sorted(f"1.{number}" for number in many)
