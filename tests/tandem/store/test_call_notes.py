"""What is added to calls: kept beside the CDR whatever the records say later, joined with its call, and gone with it; on SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.call_notes import (
    MAX_TRANSCRIPTIONS,
    CallNotes,
    NotesChange,
    NotesRefused,
    Transcription,
    change_notes,
)
from tandem.domain.cdr import Leg
from tandem.store.call_notes import CallMissing, load_notes, save_notes
from tandem.store.cdrs import load_cdr, record_legs
from tandem.store.database import Store
from tandem.store.retention import delete_cdrs

BEGAN = datetime(2026, 11, 20, 12, tzinfo=UTC)
SAID = Transcription(
    kind="monitor", filename="a.wav", provider="example", remote_id="7", text="Guten Tag\n— ja?", metadata={"a": {"b": [1, None, "\0"]}}
)  # fmt: skip


def leg(uniqueid: str, call_id: str = "") -> Leg:
    at = BEGAN.timestamp()
    return Leg(
        uniqueid=uniqueid, call_id=call_id or uniqueid, channel=f"PJSIP/1001-{uniqueid}", started_at=at, ended_at=at + 5
    )


def test_notes_stay_when_the_cdr_is_made_anew(either_store: Store) -> None:
    either_store.run_now(record_legs, [leg("1.1")], [])
    with pytest.raises(CallMissing):
        either_store.run_now(save_notes, "1.2", NotesChange(comments="x"))
    change = NotesChange(comments="one\ntwo", accounting_code="47", transcriptions=(SAID,))
    wanted = CallNotes(comments="one\ntwo", accounting_code="47", transcriptions=(SAID,))
    assert either_store.run_now(save_notes, "1.1", change) == ("1.1", wanted)
    either_store.run_now(record_legs, [replace(leg("1.1"), account="later")], [])
    cdr = either_store.run_now(load_cdr, "1.1")
    assert cdr is not None
    assert cdr.account == "later"
    assert either_store.run_now(load_notes, ["1.1", "1.2"]) == {"1.1": wanted}
    # What is not named stays; the same file of the same provider again takes the place of what was there.
    again = replace(SAID, text="Guten Abend", remote_id="8", metadata={})
    other = replace(SAID, filename="b.wav")
    either_store.run_now(save_notes, "1.1", NotesChange(transcriptions=(again, other)))
    assert either_store.run_now(load_notes, ["1.1"]) == {"1.1": replace(wanted, transcriptions=(again, other))}
    either_store.run_now(save_notes, "1.1", NotesChange(comments=""))
    assert either_store.run_now(load_notes, ["1.1"])["1.1"].comments == ""


def test_notes_go_with_a_call_that_is_a_part_of_another(either_store: Store) -> None:
    either_store.run_now(record_legs, [leg("1.1"), leg("1.2")], [])
    either_store.run_now(save_notes, "1.1", NotesChange(comments="first"))
    either_store.run_now(
        save_notes, "1.2", NotesChange(comments="second", accounting_code="47", transcriptions=(SAID,))
    )
    either_store.run_now(record_legs, [leg("1.2", "1.1")], [])
    wanted = CallNotes(comments="first\nsecond", accounting_code="47", transcriptions=(SAID,))
    assert either_store.run_now(load_notes, ["1.1", "1.2"]) == {"1.1": wanted}
    # By its old name too.
    call_id, notes = either_store.run_now(save_notes, "1.2", NotesChange(accounting_code="48"))
    assert (call_id, notes) == ("1.1", replace(wanted, accounting_code="48"))


def test_notes_are_gone_with_their_call(either_store: Store) -> None:
    hour_later = BEGAN.timestamp() + 3600
    later = replace(leg("1.2"), started_at=hour_later, ended_at=hour_later + 5)
    either_store.run_now(record_legs, [leg("1.1"), later], [])
    for name in ("1.1", "1.2"):
        either_store.run_now(save_notes, name, NotesChange(comments="x", transcriptions=(SAID,)))
    assert either_store.run_now(delete_cdrs, BEGAN + timedelta(seconds=60), 100) == 1
    assert list(either_store.run_now(load_notes, ["1.1", "1.2"])) == ["1.2"]


@given(st.lists(st.sampled_from([f"{number}.wav" for number in range(MAX_TRANSCRIPTIONS + 4)]), max_size=30))
def test_there_are_never_too_many_nor_two_of_one_file(names: list[str]) -> None:
    notes = CallNotes()
    for name in names:
        change = NotesChange(transcriptions=(replace(SAID, filename=name),))
        is_full = len(notes.transcriptions) == MAX_TRANSCRIPTIONS
        if is_full and name not in {one.filename for one in notes.transcriptions}:
            with pytest.raises(NotesRefused):
                change_notes(notes, change)
        else:
            notes = change_notes(notes, change)
    kept = [one.filename for one in notes.transcriptions]
    assert len(kept) == len(set(kept)) <= MAX_TRANSCRIPTIONS
