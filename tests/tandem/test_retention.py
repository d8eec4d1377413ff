"""What is too old goes in small transactions with room for others between; what is not over, or not too old, stays."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tandem.domain.calls import PlacedCall
from tandem.domain.cdr import Leg
from tandem.domain.decisions import Decision
from tandem.domain.disposition import Disposition
from tandem.retention import EVERY_S, PAUSE_S, ROUTES_KEPT, ROWS_AT_ONCE, Kept, Retention
from tandem.store.answers import KEPT, Answer, Once, load_answer, record_answer
from tandem.store.audit import AuditEntry, count_audit, record_audit
from tandem.store.calls import load_calls, record_placed_calls
from tandem.store.cdrs import CdrQuery, count_cdrs, load_cdr, load_cdrs, load_open_legs, record_legs, record_lost
from tandem.store.database import Store, open_store
from tandem.store.place import PostgresPlace
from tandem.store.routes import load_routes, record_routes
from tests.postgres import PostgresServer, name_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def leg(uniqueid: str, age: timedelta, call_id: str = "", **more: Any) -> Leg:
    began = (NOW - age).timestamp()
    whole = Leg(
        uniqueid=uniqueid, call_id=call_id or uniqueid, channel="PJSIP/1001-1", started_at=began, ended_at=began + 5
    )
    return replace(whole, **more)


def placed(number: int, age: timedelta, disposition: Disposition | None = Disposition.BUSY) -> PlacedCall:
    return PlacedCall(
        call_id=f"{number:032x}",
        channel="PJSIP/1001",
        origin="endpoint 1001",
        destination="queue sales",
        placed_at=NOW - age,
        ended_at=NOW if disposition is not None else None,
        disposition=disposition,
    )


def count(store: Store, table: str) -> int:
    return int(store.run_now(lambda db: db.execute_sql(f"SELECT count(*) FROM {table}").fetchone()[0]))


class RetentionTests(TestCase):
    @pytest.fixture(autouse=True)
    def _take(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tandem.store.sqlite.PRAGMAS", ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF"))
        self.store = open_store(tmp_path / "tandem.db")
        self.clock = Clock()

    def take_away(self) -> Callable[[], object]:
        """Puts the database out of reach; what is returned brings it back."""
        path = self.store.place
        away = path.with_name("away.db")
        path.rename(away)
        return lambda: away.rename(path)

    def start(self, **days: int) -> Retention:
        kept = Kept.in_days(**{"cdrs": 10, "placed_calls": 20, "audit": 30, "webhook_deliveries": 7, **days})
        retention = Retention(self.store, kept, self.clock, now=lambda: NOW)
        self.addCleanup(self.store.stop)
        retention.startService()
        self.addCleanup(retention.stopService)
        return retention

    async def finish(self, retention: Retention) -> None:
        """Lets it go on until it waits for its next turn; the clock is ours, the database's thread is not."""
        for _ in range(1000):
            await deferToThread(lambda: None)
            await self.store.read(lambda db: None)
            waiting = [call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls()]
            if waiting and min(waiting) > 2 * PAUSE_S:
                return
            self.clock.advance(PAUSE_S)
        raise AssertionError("it never ends")

    async def test_only_what_is_too_old_goes(self) -> None:
        old, young = 11 * DAY, 9 * DAY
        run = self.store.run
        await run(
            record_legs, [leg("1.1", old), leg("1.2", old, "1.1"), leg("2.1", young), leg("2.2", young, "2.1")], ()
        )
        await run(record_legs, [leg("3.1", old, ended_at=None)], ())  # still up
        await run(record_legs, [leg("4.1", old), leg("5.1", old), leg("5.1", old, "4.1")], ())  # merged
        await run(record_legs, [Leg(uniqueid="6.1", call_id="6.1", application="Dial(x)")], ())
        await run(record_lost, ["6.1"], ())
        await run(record_placed_calls, [placed(1, 21 * DAY), placed(2, 19 * DAY), placed(3, 21 * DAY, None)], "tandem")
        for age in (31, 29):
            entry = AuditEntry(at=NOW - age * DAY, who="x", source="unix", action="dids/update", target="dids/1")
            await run(record_audit, entry)
        for key, age in (("old", KEPT * 1.1), ("young", KEPT * 0.9)):
            await run(record_answer, Once("s", "POST /x", key, b"d"), Answer(200, (), b""), NOW - age)
        for uniqueid, age in (("1.1", ROUTES_KEPT * 1.1), ("2.1", ROUTES_KEPT * 0.9)):
            decision = Decision(NOW - age, "did", uniqueid, "PJSIP/x", "49", "030", ("DID 49",), "x", 0.001, 1)
            await run(record_routes, [decision])
        await self.finish(self.start())
        assert [cdr.call_id for cdr in await self.store.read(load_cdrs, CdrQuery())] == ["2.1"]
        assert await self.store.read(load_cdr, "5.1") is None
        assert await self.store.read(load_open_legs) == ["3.1"]
        assert {call.call_id for call in await self.store.read(load_calls)} == {f"{number:032x}" for number in (2, 3)}
        assert await self.store.read(count_audit) == 1
        assert await self.store.read(load_answer, Once("s", "POST /x", "young", b"d"), NOW) is not None
        assert await self.store.read(load_routes, ["1.1", "2.1"]) == {"2.1": "DID 49"}
        rows = {table: count(self.store, table) for table in ("legs", "joined_calls", "cdrs", "answers")}
        assert rows == {"legs": 3, "joined_calls": 0, "cdrs": 1, "answers": 1}

    async def test_a_little_at_a_time_and_others_have_their_turn(self) -> None:
        total = 2 * ROWS_AT_ONCE + 50
        await self.store.run(record_legs, [leg(f"{number}.1", 11 * DAY) for number in range(total)], ())
        retention = self.start()
        left = []
        while not left or left[-1]:
            # Our own work, put in after it began, is done before it has ended.
            left.append(await self.store.run(count_cdrs, CdrQuery()))
            self.clock.advance(PAUSE_S)
        steps = [before - after for before, after in zip([total, *left], left, strict=False)]
        assert max(steps) == ROWS_AT_ONCE
        assert sum(1 for step in steps if step) == 3
        await self.finish(retention)

    async def test_zero_is_for_ever_and_the_next_turn_comes(self) -> None:
        await self.store.run(record_legs, [leg("1.1", 4000 * DAY)], ())
        retention = self.start(cdrs=0)
        await self.finish(retention)
        assert await self.store.read(count_cdrs, CdrQuery()) == 1
        await self.store.run(record_placed_calls, [placed(1, 21 * DAY)], "tandem")
        self.clock.advance(EVERY_S)
        await self.finish(retention)
        assert await self.store.read(load_calls) == []

    async def test_a_database_in_trouble_is_tried_again(self) -> None:
        await self.store.run(record_placed_calls, [placed(1, 21 * DAY)], "tandem")
        await self.store.stop()
        bring_back = self.take_away()
        retention = self.start()
        while not self.clock.getDelayedCalls():  # until it has failed, and waits for its next turn
            await deferToThread(time.sleep, 0.005)
        bring_back()
        self.clock.advance(EVERY_S)
        await self.finish(retention)
        assert await self.store.read(load_calls) == []


class RetentionOnPostgresTests(RetentionTests):
    @pytest.fixture(autouse=True)
    def _take(self, postgres_server: PostgresServer, postgres_place: PostgresPlace) -> None:
        self.server, self.place = postgres_server, postgres_place
        self.store = open_store(postgres_place)
        self.clock = Clock()

    def take_away(self) -> Callable[[], object]:
        self.server.rename(self.place, "away")
        away = PostgresPlace(self.server.socket_url("away"))
        return lambda: self.server.rename(away, name_of(self.place))
