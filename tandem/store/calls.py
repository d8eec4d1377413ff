# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""The calls that Tandem placed; a call is here before anything is sent, and ends once. Every function is work for a Store."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import peewee

from tandem.domain.calls import PlacedCall
from tandem.domain.disposition import Disposition
from tandem.store.dialect import replacing
from tandem.store.rows import insert_rows, load_rows
from tandem.store.tables import format_time

_COLUMNS: Final = tuple(field.name for field in fields(PlacedCall))
_TIMES: Final = ("placed_at", "ringing_at", "answered_at", "ended_at")
_FLAGS: Final = ("is_trunk", "is_unsent", "is_far_hangup", "is_machine")
_UPDATE: Final = replacing(_COLUMNS, "call_id", where="placed_calls.ended_at IS NULL")


class ExternalIdUsed(Exception):
    """The project has had a call of this external_id: `call`."""

    def __init__(self, call: PlacedCall) -> None:
        super().__init__(f"external_id {call.external_id!r} was used before")
        self.call = call


def find_external_call(db: peewee.Database, project: str, external_id: str) -> PlacedCall | None:
    """The call that a project knows by this id."""
    return next(iter(_select(db, "WHERE external_id = ? AND project = ?", (external_id, project))), None)


def record_placed(db: peewee.Database, call: PlacedCall, node: str, free_before: datetime | None = None) -> None:
    """Keeps a call that is about to be sent; an error if its id was used before. node: who follows it up. Raises ExternalIdUsed.

    free_before: with it a call that certainly was never sent, or ended before then, gives its id to this one; without it none ever does.
    """
    if call.external_id and (known := find_external_call(db, call.project, call.external_id)) is not None:
        if free_before is None or known.ended_at is None or not (known.is_unsent or known.ended_at < free_before):
            raise ExternalIdUsed(known)
        db.execute_sql("UPDATE placed_calls SET external_id = '' WHERE call_id = ?", (known.call_id,))
    record_placed_calls(db, [call], node)


def record_placed_calls(db: peewee.Database, calls: Sequence[PlacedCall], node: str) -> None:
    """The same for several at once: all or none."""
    rows = [_write(call) for call in calls]
    for row in rows:
        row["node"] = node
    insert_rows(db, "placed_calls", (*_COLUMNS, "node"), rows)


def record_calls(db: peewee.Database, calls: Sequence[PlacedCall]) -> frozenset[str]:
    """Keeps what became of calls; the ids of those that this ends. A call that is over stays as it is, so that each ends once."""
    ending = [call.call_id for call in calls if call.ended_at is not None]
    known = "placed_calls WHERE ended_at IS NOT NULL AND call_id IN (SELECT value FROM json_each(?))"
    over = {row["call_id"] for row in load_rows(db, ["call_id"], known, (json.dumps(ending),))}
    # Who follows a call is not for the call to say: another node may have taken it over.
    insert_rows(db, "placed_calls", _COLUMNS, [_write(call) for call in calls], _UPDATE)
    ended = frozenset(ending) - over
    if ended:
        # The CDR may have been made before, from less evidence.
        db.execute_sql(
            "UPDATE cdrs SET disposition = placed_calls.disposition FROM placed_calls"
            " WHERE placed_calls.call_id = cdrs.call_id AND cdrs.call_id IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(ended)),),
        )
    return ended


def load_call(db: peewee.Database, call_id: str) -> PlacedCall | None:
    """One call; None where there is none."""
    return next(iter(load_named_calls(db, [call_id])), None)


def load_named_calls(db: peewee.Database, call_ids: Iterable[str]) -> list[PlacedCall]:
    """Those of these calls that are known."""
    return _select(db, "WHERE call_id IN (SELECT value FROM json_each(?))", (json.dumps(list(call_ids)),))


def load_open_calls(db: peewee.Database, node: str | None = None) -> list[PlacedCall]:
    """Every call whose end is not known; of those that one node follows, where it is given."""
    mine, given = ("AND node = ?", (node,)) if node is not None else ("", ())
    return _select(db, f"WHERE ended_at IS NULL {mine}", given)


def load_calls(db: peewee.Database, limit: int = 100, before: datetime | None = None) -> list[PlacedCall]:
    """The last calls, newest first; `before` a time, for the next page."""
    where = "WHERE placed_at < ?" if before is not None else ""
    given: tuple[object, ...] = (format_time(before), limit) if before is not None else (limit,)
    inner = f"(SELECT * FROM placed_calls {where} ORDER BY placed_at DESC LIMIT ?) AS page"  # noqa: S608 - our own text
    return sorted(_select(db, "", given, inner), key=lambda call: call.placed_at, reverse=True)


def _write(call: PlacedCall) -> dict[str, Any]:
    # Not asdict, which copies every value: that was 40 % of a dialled number's time.
    row: dict[str, Any] = {column: getattr(call, column) for column in _COLUMNS}
    for name in _TIMES:
        if row[name] is not None:
            row[name] = format_time(row[name])
    return row


def _select(
    db: peewee.Database, where: str, given: tuple[object, ...], source: str = "placed_calls"
) -> list[PlacedCall]:
    return [_read(row) for row in load_rows(db, _COLUMNS, f"{source} {where}", given)]


def _read(body: dict[str, Any]) -> PlacedCall:
    times = {name: datetime.fromisoformat(body[name]) for name in _TIMES if body[name] is not None}
    flags = {name: bool(body[name]) for name in _FLAGS}
    known = Disposition(body["disposition"]) if body["disposition"] is not None else None
    return PlacedCall(**{**body, **times, **flags, "disposition": known})
