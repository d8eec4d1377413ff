# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What others added to calls that are over; never changes a CDR. Every function is work for a Store."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import peewee

from tandem.domain.call_notes import CallNotes, NotesChange, Transcription, change_notes
from tandem.store.dialect import replacing
from tandem.store.rows import LISTED, insert_rows, listed, load_rows

_NOTES: Final = ("call_id", "comments", "accounting_code")
_TRANSCRIPTION: Final = ("call_id", "kind", "filename", "provider", "remote_id", "text", "metadata")


class CallMissing(Exception):
    """There is no such call, or it is not over."""


def find_call_id(db: peewee.Database, name: str) -> str:
    """The call_id of a CDR, also by the linkedid of a call that was joined to it; CallMissing."""
    joined = load_rows(db, ("call_id",), "joined_calls WHERE linkedid = ?", [name])
    call_id: str = joined[0]["call_id"] if joined else name
    if not load_rows(db, ("call_id",), "cdrs WHERE call_id = ?", [call_id]):
        raise CallMissing(name)
    return call_id


def load_notes(db: peewee.Database, call_ids: Iterable[str]) -> dict[str, CallNotes]:
    """By call_id, for those of these calls that have any."""
    wanted = [listed(call_ids)]
    notes = load_rows(db, _NOTES, f"call_notes WHERE call_id IN {LISTED}", wanted)
    source = f"transcriptions WHERE call_id IN {LISTED} ORDER BY transcription_id"
    said: dict[str, list[Transcription]] = {}
    for row in load_rows(db, _TRANSCRIPTION, source, wanted):
        said.setdefault(row["call_id"], []).append(_read(row))
    told = {row["call_id"]: row for row in notes}
    return {
        call_id: CallNotes(
            comments=told[call_id]["comments"] if call_id in told else "",
            accounting_code=told[call_id]["accounting_code"] if call_id in told else None,
            transcriptions=tuple(said.get(call_id, ())),
        )
        for call_id in told.keys() | said.keys()
    }


def save_notes(db: peewee.Database, name: str, change: NotesChange) -> tuple[str, CallNotes]:
    """The call_id and its notes as they are now; CallMissing, NotesRefused."""
    call_id = find_call_id(db, name)
    before = load_notes(db, [call_id]).get(call_id, CallNotes())
    after = change_notes(before, change)
    row = {"call_id": call_id, "comments": after.comments, "accounting_code": after.accounting_code}
    insert_rows(db, "call_notes", _NOTES, [row], replacing(_NOTES, "call_id"))
    if after.transcriptions != before.transcriptions:
        db.execute_sql("DELETE FROM transcriptions WHERE call_id = ?", (call_id,))
        insert_rows(db, "transcriptions", _TRANSCRIPTION, [_write(call_id, one) for one in after.transcriptions])
    return call_id, after


def move_notes(db: peewee.Database, gone: str, kept: str) -> None:
    """What was added to a call that turned out to be a part of another; comments of both stay, one under the other."""
    found = load_notes(db, [gone, kept])
    if gone not in found:
        return
    ours, theirs = found.get(kept, CallNotes()), found[gone]
    row = {
        "call_id": kept,
        "comments": "\n".join(text for text in (ours.comments, theirs.comments) if text),
        "accounting_code": theirs.accounting_code if ours.accounting_code is None else ours.accounting_code,
    }
    insert_rows(db, "call_notes", _NOTES, [row], replacing(_NOTES, "call_id"))
    db.execute_sql("DELETE FROM call_notes WHERE call_id = ?", (gone,))
    db.execute_sql("UPDATE transcriptions SET call_id = ? WHERE call_id = ?", (kept, gone))


def _read(row: Mapping[str, Any]) -> Transcription:
    words = {name: row[name] for name in ("kind", "filename", "provider", "remote_id", "text")}
    return Transcription(**words, metadata=json.loads(row["metadata"]))


def _write(call_id: str, one: Transcription) -> dict[str, Any]:
    words = {name: getattr(one, name) for name in ("kind", "filename", "provider", "remote_id", "text")}
    return {"call_id": call_id, **words, "metadata": json.dumps(dict(one.metadata))}
