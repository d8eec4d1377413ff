"""CDRs are found by the DID, by what is kept beside them and by the time of day; the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tandem.domain.call_notes import NotesChange, Transcription
from tandem.domain.cdr import Leg
from tandem.domain.day_times import DayTimes
from tandem.domain.decisions import Decision
from tandem.domain.recordings import Recording
from tandem.store.call_notes import save_notes
from tandem.store.cdrs import CdrQuery, count_cdrs, load_cdrs, record_legs
from tandem.store.database import Store
from tandem.store.recordings import record_recordings
from tandem.store.routes import record_routes

# Berlin's clock is one hour ahead on the first day, and two from the second on.
BEGAN = datetime(2026, 3, 28, 8, 30, tzinfo=UTC)
SAID = Transcription(kind="monitor", text="Guten Tag")


def leg(uniqueid: str, at: datetime, exten: str = "", call_id: str = "", channel: str = "PJSIP/carrier-1") -> Leg:
    began = at.timestamp()
    return Leg(
        uniqueid=uniqueid,
        call_id=call_id or uniqueid,
        channel=channel,
        exten=exten,
        started_at=began,
        ended_at=began + 5,
    )


def recording(call_id: str, kind: Any) -> Recording:
    return Recording(
        id=0, name=f"{call_id}-{kind}", call_id=call_id, kind=kind, path="x", started_at=BEGAN, duration_s=1.0, bytes=1, format="wav", converted_at=None
    )  # fmt: skip


def decision(uniqueid: str, *reasons: str) -> Decision:
    return Decision(
        decided_at=BEGAN, script="did", uniqueid=uniqueid, channel="", called="", caller="", reasons=reasons, outcome="", computing_s=0.0, revision=1
    )  # fmt: skip


def test_calls_are_found(either_store: Store) -> None:
    def find(**asked: Any) -> list[str]:
        query = CdrQuery(**asked, newest_first=False)
        found = [cdr.call_id for cdr in either_store.run_now(load_cdrs, query)]
        assert either_store.run_now(count_cdrs, query) == len(found)
        return found

    assert find(day_times=DayTimes(0, 1, "UTC")) == []
    either_store.run_now(
        record_routes, [decision("1.0", "DID _0305XX", "queue sales"), decision("1.1", "DID _0305XXX", "DID _0305XX")]
    )
    legs = [leg(f"1.{day}", BEGAN + timedelta(days=day), f"03055{day}") for day in range(3)]
    either_store.run_now(record_legs, [*legs, leg("1.01", BEGAN, "", "1.0", "PJSIP/1001-1")], ["carrier"])
    either_store.run_now(
        record_recordings, [recording("1.01", "leg2"), recording("1.1", "mixed"), recording("1.2", "answer")]
    )
    either_store.run_now(save_notes, "1.2", NotesChange(transcriptions=(SAID,)))
    everything = ["1.0", "1.1", "1.2"]
    assert (find(ended_after=""), find(ended_after="1.0"), find(ended_after="1.2")) == (everything, ["1.1", "1.2"], [])
    assert (find(ended_after="9.9"), find(ended_after="1.0", caller="030552")) == ([], find(caller="030552"))
    assert (find(is_recorded=True), find(is_recorded=False)) == (["1.0", "1.1"], ["1.2"])
    assert (find(has_answers=True), find(has_answers=False)) == (["1.2"], ["1.0", "1.1"])
    assert (find(has_transcription=True), find(has_transcription=False)) == (["1.2"], ["1.0", "1.1"])
    assert (find(did="030550"), find(dids=("030551", "030552", "03055")), find(did="'")) == (
        ["1.0"],
        ["1.1", "1.2"],
        [],
    )
    assert (find(did="_0305XX"), find(did="_0305XXX"), find(did="_0305")) == (["1.0"], ["1.1"], [])
    nine, ten = DayTimes(9 * 3600, 10 * 3600 - 1, "Europe/Berlin"), DayTimes(10 * 3600, 11 * 3600 - 1, "Europe/Berlin")
    assert (find(day_times=nine), find(day_times=ten)) == (["1.0"], ["1.1", "1.2"])
    night = DayTimes(10 * 3600, 9 * 3600, "Europe/Berlin")
    assert (find(day_times=night), find(day_times=DayTimes(0, 86_399, "Asia/Kolkata"))) == (["1.1", "1.2"], everything)
    assert find(day_times=ten, since=BEGAN + timedelta(days=2), until=BEGAN + timedelta(days=3)) == ["1.2"]
    assert find(day_times=ten, since=BEGAN + timedelta(days=1), is_recorded=True, did="030551") == ["1.1"]
