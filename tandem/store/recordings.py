# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What is known of recordings; never touches their files. Every function is work for a Store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import peewee
from pydantic import TypeAdapter

from tandem.domain.recordings import Recording, RecordingFormat, RecordingKind
from tandem.store.outbox import Event, load_listeners, queue_events
from tandem.store.tables import RecordingRow

# Of a statement with as many placeholders: SQLite's own limit is far above.
_AT_ONCE: Final = 500
_RECORDING: Final = TypeAdapter(Recording)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingQuery:
    """Which recordings; None asks nothing. before_id: the last id of the page before. Newest first."""

    call_id: str | None = None
    kind: RecordingKind | None = None
    since: datetime | None = None
    until: datetime | None = None
    before_id: int | None = None
    limit: int = 100


def record_recordings(db: peewee.Database, recordings: Sequence[Recording]) -> None:
    """Keeps new ones; one that is known already stays as it is."""
    for recording in recordings:
        RecordingRow.insert(
            name=recording.name, call_id=recording.call_id, kind=recording.kind, path=recording.path,
            started_at=recording.started_at, duration_s=recording.duration_s, bytes=recording.bytes, format=recording.format,
            converted_at=recording.converted_at,
        ).on_conflict_ignore().execute(db)  # fmt: skip
        _tell_attempt(db, recording.call_id, recording.kind, recording.path)


def record_converted(
    db: peewee.Database, recording_id: int, path: str, size: int, form: RecordingFormat, at: datetime
) -> bool:
    """Notes where a recording is now; whether it still is one: it may have been deleted meanwhile."""
    changed = RecordingRow.update(path=path, bytes=size, format=form, converted_at=at)
    if not changed.where(RecordingRow.id == recording_id).execute(db):
        return False
    recording = load_recording(db, recording_id)
    if recording is None:
        return False
    _tell_attempt(db, recording.call_id, recording.kind, path)
    if listeners := load_listeners(db):
        told = {name: value for name, value in _RECORDING.dump_python(recording, mode="json").items() if name != "path"}
        queue_events(db, listeners, [Event("recording.ready", at.timestamp(), told)])
    return True


# Which column of an attempt names the file of a kind.
_COLUMN_OF: Final[dict[RecordingKind, str]] = {
    "mixed": "recording_file",
    "leg1": "recording_leg1",
    "leg2": "recording_leg2",
}


def _tell_attempt(db: peewee.Database, call_id: str, kind: RecordingKind, path: str | None) -> None:
    """A campaign's call says where it can be heard; a spoken answer is named by the answer itself."""
    if kind == "answer":
        return
    db.execute_sql(f"UPDATE attempts SET {_COLUMN_OF[kind]} = ? WHERE call_id = ?", (path, call_id))  # noqa: S608 - our own text


def load_waiting(db: peewee.Database, limit: int) -> list[Recording]:
    """The oldest that are not converted."""
    rows = RecordingRow.select().where(RecordingRow.converted_at.is_null()).order_by(RecordingRow.id).limit(limit)
    return [_read(row) for row in rows.tuples().execute(db)]


def load_named(db: peewee.Database, names: Collection[str]) -> list[Recording]:
    """Those of these names."""
    return [
        _read(row)
        for part in _split(names)
        for row in RecordingRow.select().where(RecordingRow.name.in_(part)).tuples().execute(db)
    ]


def load_over(db: peewee.Database, call_ids: Collection[str]) -> set[str]:
    """Which of these channels have ended, by Asterisk's own records, or were lost with it."""
    found: set[str] = set()
    for part in _split(call_ids):
        marks = ", ".join("?" * len(part))
        sql = f"SELECT uniqueid FROM legs WHERE uniqueid IN ({marks}) AND (ended_at IS NOT NULL OR is_lost = 1)"  # noqa: S608 - our marks
        found.update(row[0] for row in db.execute_sql(sql, tuple(part)).fetchall())
    return found


def load_recording(db: peewee.Database, recording_id: int) -> Recording | None:
    """One recording."""
    found = RecordingRow.select().where(RecordingRow.id == recording_id).tuples().first(db)
    return None if found is None else _read(found)


def load_recordings(db: peewee.Database, query: RecordingQuery) -> list[Recording]:
    """Some of them, newest first."""
    condition = _condition(query)
    if query.before_id is not None:
        condition &= RecordingRow.id < query.before_id
    rows = RecordingRow.select().where(condition).order_by(RecordingRow.id.desc()).limit(query.limit)
    return [_read(row) for row in rows.tuples().execute(db)]


def count_recordings(db: peewee.Database, query: RecordingQuery) -> int:
    """How many there are on all pages."""
    return int(RecordingRow.select().where(_condition(query)).count(db))


def load_expired(db: peewee.Database, before: datetime, limit: int) -> list[Recording]:
    """The oldest that began before a time."""
    rows = RecordingRow.select().where(RecordingRow.started_at < before).order_by(RecordingRow.started_at).limit(limit)
    return [_read(row) for row in rows.tuples().execute(db)]


def delete_recordings(db: peewee.Database, ids: Collection[int]) -> int:
    """Forgets these; how many there were."""
    for part in _split(ids):
        for row in (
            RecordingRow.select(RecordingRow.call_id, RecordingRow.kind)
            .where(RecordingRow.id.in_(part))
            .tuples()
            .execute(db)
        ):
            _tell_attempt(db, row[0], row[1], None)
    return sum(RecordingRow.delete().where(RecordingRow.id.in_(part)).execute(db) for part in _split(ids))


def _condition(query: RecordingQuery) -> Any:
    condition: Any = RecordingRow.id > 0
    if query.call_id is not None:
        condition &= RecordingRow.call_id == query.call_id
    if query.kind is not None:
        condition &= RecordingRow.kind == query.kind
    if query.since is not None:
        condition &= RecordingRow.started_at >= query.since
    if query.until is not None:
        condition &= RecordingRow.started_at < query.until
    return condition


def _split(values: Collection[Any]) -> list[list[Any]]:
    listed = list(values)
    return [listed[start : start + _AT_ONCE] for start in range(0, len(listed), _AT_ONCE)]


def _read(row: tuple[Any, ...]) -> Recording:
    recording_id, name, call_id, kind, path, started_at, duration_s, size, form, converted_at = row
    return Recording(
        id=recording_id, name=name, call_id=call_id, kind=kind, path=path, started_at=started_at, duration_s=duration_s,
        bytes=size, format=form, converted_at=converted_at,
    )  # fmt: skip
