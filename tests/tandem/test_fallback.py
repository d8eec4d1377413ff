"""AstDB is brought in step with Live: only differences are written, the revision last, and whatever breaks off is done again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandem.ami.client import AmiClient, AmiLimits
from tandem.ami.testing import FakeAsterisk, error
from tandem.domain.entities import Pbx
from tandem.domain.last_known import last_known_entries
from tandem.domain.snapshot import Snapshot, build_snapshot
from tandem.fallback import RETRY_AFTER_S, SLICE, Fallback

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def make_snapshot(revision: int, dids: int, destination: str = "1001") -> Snapshot:
    pbx: dict[str, Any] = {
        "endpoints": [{"extension": "1001", "secret": "swordfish"}, {"extension": "1002", "secret": "swordfish"}],
        "dids": [{"number": f"+4930{index:06}", "destination": {"endpoint": destination}} for index in range(dids)],
    }
    return build_snapshot(revision, TypeAdapter(Pbx).validate_python(pbx))


def flatten(snapshot: Snapshot, now: datetime = NOW) -> dict[str, str]:
    entries = {f"{family}/{key}": value for (family, key), value in last_known_entries(snapshot, now.date()).items()}
    return {**entries, "tandem-meta/revision": str(snapshot.revision)}


class FallbackTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asterisk = FakeAsterisk()
        self.client = AmiClient(
            self.asterisk.endpoint,
            self.asterisk.username,
            self.asterisk.secret,
            clock=self.clock,
            limits=AmiLimits(ping_every_s=10_000),
        )
        self.snapshot = make_snapshot(1, 20)
        self.now = NOW
        self.fallback = Fallback(self.client, lambda: self.snapshot, lambda: self.now, self.clock)
        self.client.startService()
        self.fallback.startService()

    def tearDown(self) -> None:
        self.fallback.stopService()
        self.client.stopService()
        self.asterisk.flush()

    def settle(self) -> None:
        for _ in range(200):
            self.asterisk.flush()
            self.clock.advance(0)

    def written(self) -> list[str]:
        """What was put or deleted so far, in order."""
        return [
            f"{message.name} {message.get('Family')}/{message.get('Key')}"
            for message in self.asterisk.received
            if message.name in {"DBPut", "DBDel", "DBDelTree"}
        ]

    def test_an_empty_astdb_is_filled_and_the_revision_comes_last(self) -> None:
        self.settle()
        assert self.asterisk.astdb == flatten(self.snapshot)
        assert self.written()[-1] == "DBPut tandem-meta/revision"
        assert self.fallback.revision == 1

    def test_what_is_there_already_is_not_written_again(self) -> None:
        self.asterisk.astdb.update(flatten(self.snapshot), **{"somebody/else": "1"})
        self.settle()
        assert self.written() == []
        assert self.fallback.revision == 1

    def test_strangers_in_our_families_go_and_other_families_stay(self) -> None:
        self.asterisk.astdb.update({"tandem-did/999": "tandem-enter,queue,1(old,0,,,,)", "cidname/1": "Ann"})
        self.settle()
        assert self.asterisk.astdb == {**flatten(self.snapshot), "cidname/1": "Ann"}

    def test_a_swap_writes_the_difference_only(self) -> None:
        self.settle()
        before = len(self.written())
        self.snapshot = make_snapshot(2, 21)
        self.fallback.follow()
        self.settle()
        assert self.written()[before:] == ["DBPut tandem-did/4930000020", "DBPut tandem-meta/revision"]

    def test_a_rollback_takes_back_what_was_written(self) -> None:
        self.settle()
        first = self.snapshot
        self.snapshot = make_snapshot(2, 30, "1002")
        self.fallback.follow()
        self.settle()
        self.snapshot = first
        self.fallback.follow()
        self.settle()
        assert self.asterisk.astdb == flatten(first)
        assert self.written()[-1] == "DBPut tandem-meta/revision"

    def test_a_connection_lost_at_any_byte_is_made_good_after_the_next_login(self) -> None:
        self.settle()
        for cut_after in range(150, 4000, 171):
            self.snapshot = make_snapshot(self.snapshot.revision + 1, 25, "1002" if cut_after % 2 else "1001")
            self.asterisk.cut()
            self.asterisk.flush()
            self.asterisk.cut_after_received = cut_after
            self.clock.advance(60)
            self.settle()
            if self.asterisk.astdb != flatten(self.snapshot):
                assert self.fallback.revision != self.snapshot.revision
            self.clock.advance(60)
            self.settle()
            assert self.asterisk.astdb == flatten(self.snapshot), f"cut after {cut_after} bytes"
            assert self.fallback.revision == self.snapshot.revision

    def test_a_restored_astdb_is_repaired_after_a_reconnect(self) -> None:
        self.settle()
        self.asterisk.astdb.clear()
        self.asterisk.cut()
        self.asterisk.flush()
        self.clock.advance(60)
        self.settle()
        assert self.asterisk.astdb == flatten(self.snapshot)

    def test_a_rebuild_on_demand_repairs_while_connected(self) -> None:
        self.settle()
        del self.asterisk.astdb["tandem-did/4930000007"]
        self.fallback.rebuild()
        self.settle()
        assert self.asterisk.astdb == flatten(self.snapshot)

    def test_a_swap_in_the_middle_of_writing_ends_with_the_newest(self) -> None:
        self.snapshot = make_snapshot(1, 8 * SLICE)
        put = self.asterisk.answer

        def swap(message: Any) -> Any:
            if len(self.asterisk.astdb) == SLICE + 100:
                self.snapshot = make_snapshot(2, 10, "1002")
                self.fallback.follow()
            return put(message)

        self.asterisk.answer = swap
        self.settle()
        assert self.asterisk.astdb == flatten(self.snapshot)
        assert self.snapshot.revision == 2
        assert len(self.asterisk.sent("DBPut")) < 4 * SLICE, "the older snapshot was written to its end"

    def test_never_more_than_a_slice_is_under_way(self) -> None:
        self.snapshot = make_snapshot(1, 8 * SLICE)
        sizes: list[int] = []
        put = self.asterisk.answer

        def count(message: Any) -> Any:
            sizes.append(len(self.client._connection._queue))
            return put(message)

        self.asterisk.answer = count
        self.settle()
        assert self.asterisk.astdb == flatten(self.snapshot)
        assert max(sizes) < SLICE

    def test_a_refusal_is_told_and_tried_again(self) -> None:
        self.asterisk.answers["DBPut"] = lambda _: error("Permission denied")
        self.settle()
        assert "Permission denied" in str(self.fallback.last_error)
        assert self.fallback.revision is None
        del self.asterisk.answers["DBPut"]
        self.clock.advance(RETRY_AFTER_S)
        self.settle()
        assert self.asterisk.astdb == flatten(self.snapshot)
        assert self.fallback.last_error is None

    def test_after_a_failure_nothing_that_was_known_is_believed(self) -> None:
        self.settle()
        self.snapshot = make_snapshot(2, 30)
        self.asterisk.answers["DBPut"] = lambda _: error("Permission denied")
        self.fallback.follow()
        self.settle()
        assert self.fallback.revision is None
        del self.asterisk.astdb["tandem-did/4930000003"]
        del self.asterisk.answers["DBPut"]
        self.clock.advance(RETRY_AFTER_S)
        self.settle()
        assert self.asterisk.astdb == flatten(self.snapshot)

    def test_what_somebody_else_deleted_already_is_gone_and_no_failure(self) -> None:
        self.settle()
        self.snapshot = make_snapshot(2, 10)
        del self.asterisk.astdb["tandem-did/4930000015"]
        self.fallback.follow()
        self.settle()
        assert (self.fallback.revision, self.fallback.last_error) == (2, None)
        assert self.asterisk.astdb == flatten(self.snapshot)

    def test_a_new_day_looks_ahead_again(self) -> None:
        schedule = {"name": "office", "holidays": ["2027-06-01"], "hours": []}
        pbx = {
            "endpoints": [{"extension": "1001", "secret": "swordfish"}],
            "schedules": [schedule],
            "dids": [
                {
                    "number": "+4930",
                    "destination": {"schedule": "office", "open": {"endpoint": "1001"}, "closed": {"hangup": 17}},
                }
            ],
        }
        self.snapshot = build_snapshot(1, TypeAdapter(Pbx).validate_python(pbx))
        self.settle()
        assert "tandem-schedule/office/closed/1" not in self.asterisk.astdb
        self.now += timedelta(days=200)
        self.clock.advance(600)
        self.settle()
        assert self.asterisk.astdb["tandem-schedule/office/closed/1"] == "*,*,1,jun,UTC"

    def test_an_equal_snapshot_under_a_new_revision_writes_the_revision_alone(self) -> None:
        self.settle()
        before = len(self.written())
        self.snapshot = replace(self.snapshot, revision=9)
        self.fallback.follow()
        self.settle()
        assert self.written()[before:] == ["DBPut tandem-meta/revision"]
