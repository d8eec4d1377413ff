# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""The calls that Tandem placed; a call is here before anything is sent, and ends once. Every function is work for a Store.

Many calls go in and out as one JSON text: sqlite3 lets go of the interpreter's lock at every row, and gets it back late from a busy reactor.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any, Final

import peewee

from tandem.domain.calls import PlacedCall
from tandem.domain.disposition import Disposition
from tandem.store.tables import format_time

_COLUMNS: Final = tuple(field.name for field in fields(PlacedCall))
_TIMES: Final = ("placed_at", "ringing_at", "answered_at", "ended_at")
_ROW: Final = f"json_array({', '.join(_COLUMNS)})"
_VALUES: Final = ", ".join(f"json_extract(value, '$.{column}')" for column in _COLUMNS)
_UPDATES: Final = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS if column != "call_id")


def record_placed(db: peewee.SqliteDatabase, call: PlacedCall) -> None:
    """Keeps a call that is about to be sent; an error if its id was used before."""
    _insert(db, [call], "")


def record_placed_calls(db: peewee.SqliteDatabase, calls: Sequence[PlacedCall]) -> None:
    """The same for several at once: all or none."""
    _insert(db, calls, "")


def record_calls(db: peewee.SqliteDatabase, calls: Sequence[PlacedCall]) -> frozenset[str]:
    """Keeps what became of calls; the ids of those that this ends. A call that is over stays as it is, so that each ends once."""
    ending = [call.call_id for call in calls if call.ended_at is not None]
    over = set(
        json.loads(
            _scalar(
                db,
                "SELECT json_group_array(call_id) FROM placed_calls WHERE ended_at IS NOT NULL"
                " AND call_id IN (SELECT value FROM json_each(?))",
                (json.dumps(ending),),
            )
        )
    )
    _insert(db, calls, f"ON CONFLICT (call_id) DO UPDATE SET {_UPDATES} WHERE placed_calls.ended_at IS NULL")
    ended = frozenset(ending) - over
    if ended:
        # The CDR may have been made before, from less evidence.
        db.execute_sql(
            "UPDATE cdrs SET disposition = placed_calls.disposition FROM placed_calls"
            " WHERE placed_calls.call_id = cdrs.call_id AND cdrs.call_id IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(ended)),),
        )
    return ended


def load_call(db: peewee.SqliteDatabase, call_id: str) -> PlacedCall | None:
    """One call; None where there is none."""
    return next(iter(load_named_calls(db, [call_id])), None)


def load_named_calls(db: peewee.SqliteDatabase, call_ids: Iterable[str]) -> list[PlacedCall]:
    """Those of these calls that are known."""
    return _select(db, "WHERE call_id IN (SELECT value FROM json_each(?))", (json.dumps(list(call_ids)),))


def load_open_calls(db: peewee.SqliteDatabase) -> list[PlacedCall]:
    """Every call whose end is not known."""
    return _select(db, "WHERE ended_at IS NULL", ())


def load_calls(db: peewee.SqliteDatabase, limit: int = 100, before: datetime | None = None) -> list[PlacedCall]:
    """The last calls, newest first; `before` a time, for the next page."""
    where = "WHERE placed_at < ?" if before is not None else ""
    given: tuple[object, ...] = (format_time(before), limit) if before is not None else (limit,)
    inner = f"(SELECT * FROM placed_calls {where} ORDER BY placed_at DESC LIMIT ?)"  # noqa: S608 - our own text
    return sorted(_select(db, "", given, inner), key=lambda call: call.placed_at, reverse=True)


def _insert(db: peewee.SqliteDatabase, calls: Sequence[PlacedCall], conflict: str) -> None:
    bodies = [asdict(call) for call in calls]
    for body in bodies:
        body.update((name, format_time(body[name])) for name in _TIMES if body[name] is not None)
    db.execute_sql(
        f"INSERT INTO placed_calls ({', '.join(_COLUMNS)}) SELECT {_VALUES} FROM json_each(?) WHERE true {conflict}",  # noqa: S608 - our own text
        (json.dumps(bodies),),
    )


def _select(
    db: peewee.SqliteDatabase, where: str, given: tuple[object, ...], source: str = "placed_calls"
) -> list[PlacedCall]:
    text = _scalar(db, f"SELECT json_group_array({_ROW}) FROM {source} {where}", given)  # noqa: S608 - our own text
    return [_read(dict(zip(_COLUMNS, row, strict=True))) for row in json.loads(text)]


def _read(body: dict[str, Any]) -> PlacedCall:
    times = {name: datetime.fromisoformat(body[name]) for name in _TIMES if body[name] is not None}
    call = PlacedCall(**{**body, **times, "is_trunk": bool(body["is_trunk"]), "is_unsent": bool(body["is_unsent"])})
    return call if call.disposition is None else replace(call, disposition=Disposition(call.disposition))


def _scalar(db: peewee.SqliteDatabase, sql: str, given: tuple[object, ...]) -> str:
    text: str = db.execute_sql(sql, given).fetchone()[0]
    return text
