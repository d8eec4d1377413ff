# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Legs and CDRs, and how far Asterisk's records were read; all of one reading in one transaction. Every function is work for a Store."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final

import peewee

from tandem.domain.cdr import Cdr, Direction, Joined, Leg, apply_records, compose_cdr
from tandem.domain.day_times import DayTimes, list_spells
from tandem.domain.disposition import Disposition, Evidence
from tandem.store.call_notes import move_notes
from tandem.store.calls import load_named_calls
from tandem.store.dialect import replacing
from tandem.store.pbx_events import load_contacts, move_contact, tell_records
from tandem.store.routes import load_routes
from tandem.store.rows import insert_rows, load_rows
from tandem.store.tables import format_time

_LEG_COLUMNS: Final = tuple(field.name for field in fields(Leg))
_CDR_COLUMNS: Final = tuple(field.name for field in fields(Cdr) if field.name != "legs")
_CDR_TIMES: Final = ("started_at", "answered_at", "ended_at")
_JOIN_COLUMNS: Final = ("linkedid", "call_id")
_JOIN: Final = replacing(_JOIN_COLUMNS, "linkedid")
_MOVE: Final = replacing(("inode", "offset", "head"), "name")
MAX_PAGE: Final = 1000
# A CDR is there when its call has ended, so that who asks for what is new asks in this order.
_BY_END: Final = "coalesce(ended_at, started_at), call_id"


@dataclass(frozen=True, slots=True)
class FilePosition:
    """How far a file was read. head: its first bytes, to know it again."""

    name: str
    inode: int
    offset: int
    head: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrQuery:
    """Which CDRs; empty fields ask nothing.

    after_id: the last call_id of the page before; with its start in after_start that call may be gone by now. caller, called: the
    beginning of a number. project, external_id: as whoever placed the call named it; projects: one of these, "" of a call that has none.
    did, dids: came in by this DID or one of these, as it was decided or dialled. is_recorded: whether there are recordings of it;
    has_answers: whether there are of what a caller answered. day_times: begun at these times of day.
    number, number_like: the caller's or the called one, whole or a part of it; dispositions: one of these; offset: how many to pass over.
    ended_after: in the order of their ends, those behind the call of this id, "" all of them; one whose end nobody knows counts as of its start.
    """

    after_id: str = ""
    after_start: datetime | None = None
    limit: int = 100
    since: datetime | None = None
    until: datetime | None = None
    direction: Direction | None = None
    disposition: Disposition | None = None
    caller: str = ""
    called: str = ""
    project: str = ""
    external_id: str = ""
    endpoint: str = ""
    call_id: str = ""
    number: str = ""
    number_like: str = ""
    caller_exact: str = ""
    called_exact: str = ""
    dispositions: tuple[Disposition, ...] = ()
    projects: tuple[str, ...] = ()
    did: str = ""
    dids: tuple[str, ...] = ()
    has_transcription: bool | None = None
    is_recorded: bool | None = None
    has_answers: bool | None = None
    day_times: DayTimes | None = None
    offset: int = 0
    ended_after: str | None = None
    newest_first: bool = True


# ------------------------------------------------------------------------------------------------------- recording


def record_legs(
    db: peewee.Database,
    changes: Sequence[Leg],
    trunks: Collection[str],
    positions: Iterable[FilePosition] = (),
) -> list[Cdr]:
    """Takes what records say and how far files were read; the CDRs that are complete now, new or corrected.

    trunks: names of trunks. The same again changes nothing.
    """
    written = _take(db, changes, trunks) if changes else []
    for position in positions:
        sql = f"INSERT INTO record_files (name, inode, offset, head) VALUES (?, ?, ?, ?) {_MOVE}"  # noqa: S608 - our own text
        db.execute_sql(
            sql,
            (position.name, position.inode, position.offset, position.head),
        )
    return written


def record_lost(db: peewee.Database, uniqueids: Iterable[str], trunks: Collection[str]) -> list[Cdr]:
    """Notes that these legs are gone and no record says how; their CDRs, *unconfirmed*. One whose end is known stays as it is."""
    open_legs = [leg for leg in _load_legs_named(db, uniqueids) if not leg.is_over]
    return record_legs(db, [replace(leg, is_lost=True) for leg in open_legs], trunks)


def _take(db: peewee.Database, changes: Sequence[Leg], trunks: Collection[str]) -> list[Cdr]:
    book = _load_book(db, changes)
    before = dict(book.legs)
    apply_records(book, changes)
    if not book.changed:
        return []
    _save_legs(db, [book.legs[uniqueid] for uniqueid in sorted(book.changed)])
    _save_joins(db, book.absorbed)
    touched = {book.legs[uniqueid].call_id for uniqueid in book.changed}
    placed = {
        call.call_id: call for call in load_named_calls(db, touched | {leg.uniqueid for leg in book.legs.values()})
    }
    routes = load_routes(db, book.legs)
    known = load_contacts(db, touched)
    cdrs, unfinished = [], []
    calls = {call_id: legs for call_id, legs in book.by_call().items() if call_id in touched}
    steps = {
        call_id: ", ".join(routes[leg.uniqueid] for leg in legs if leg.uniqueid in routes)
        for call_id, legs in calls.items()
    }
    for call_id in sorted(touched):
        # A call of ours that merged with an older one is still one of ours.
        cdr = compose_cdr(call_id, calls[call_id], trunks, placed.get(call_id), steps[call_id])
        if cdr is None:
            unfinished.append(call_id)
        elif call_id in known and not cdr.external_id:
            cdrs.append(replace(cdr, external_id=known[call_id].external_id))
        else:
            cdrs.append(cdr)
    if before:
        gone = json.dumps([*unfinished, *book.absorbed])
        db.execute_sql("DELETE FROM cdrs WHERE call_id IN (SELECT value FROM json_each(?))", (gone,))
    _save_cdrs(db, cdrs)
    silent = {uniqueid for uniqueid, leg in before.items() if leg.answered_at is not None}
    tell_records(db, calls, book.changed - silent, trunks, steps, placed, cdrs, known)
    return cdrs


def _load_book(db: peewee.Database, changes: Sequence[Leg]) -> Joined:
    uniqueids = json.dumps(sorted({change.uniqueid for change in changes}))
    linkedids = {change.call_id for change in changes}
    joined = "joined_calls WHERE linkedid IN (SELECT value FROM json_each(?))"
    rows = load_rows(db, ("linkedid", "call_id"), joined, (json.dumps(sorted(linkedids)),))
    aliases: dict[str, str] = {row["linkedid"]: row["call_id"] for row in rows}
    calls = json.dumps(sorted({aliases.get(linkedid, linkedid) for linkedid in linkedids}))
    legs = _select_legs(
        db,
        "call_id IN (SELECT value FROM json_each(?) UNION SELECT call_id FROM legs WHERE uniqueid IN (SELECT value FROM json_each(?)))",
        (calls, uniqueids),
    )
    return Joined({leg.uniqueid: leg for leg in legs}, aliases)


def _save_legs(db: peewee.Database, legs: Sequence[Leg]) -> None:
    rows = [{column: getattr(leg, column) for column in _LEG_COLUMNS} for leg in legs]
    insert_rows(db, "legs", _LEG_COLUMNS, rows, replacing(_LEG_COLUMNS, "uniqueid"))


def _save_joins(db: peewee.Database, absorbed: Mapping[str, str]) -> None:
    for gone, kept in absorbed.items():
        db.execute_sql("UPDATE joined_calls SET call_id = ? WHERE call_id = ?", (kept, gone))
        move_notes(db, gone, kept)
        move_contact(db, gone, kept)
        insert_rows(db, "joined_calls", _JOIN_COLUMNS, [{"linkedid": gone, "call_id": kept}], _JOIN)


def _save_cdrs(db: peewee.Database, cdrs: Sequence[Cdr]) -> None:
    bodies = []
    for cdr in cdrs:
        body: dict[str, Any] = {column: getattr(cdr, column) for column in _CDR_COLUMNS}
        body.update((name, format_time(body[name])) for name in _CDR_TIMES if body[name] is not None)
        bodies.append(body)
    insert_rows(db, "cdrs", _CDR_COLUMNS, bodies, replacing(_CDR_COLUMNS, "call_id"))


# --------------------------------------------------------------------------------------------------------- loading


def load_position(db: peewee.Database, name: str) -> FilePosition | None:
    """How far that file was read; None for never."""
    row = db.execute_sql("SELECT name, inode, offset, head FROM record_files WHERE name = ?", (name,)).fetchone()
    return None if row is None else FilePosition(row[0], row[1], row[2], bytes(row[3]))


def load_open_legs(db: peewee.Database) -> list[str]:
    """The uniqueids of legs whose end no record has told."""
    rows = load_rows(db, ("uniqueid",), "legs WHERE ended_at IS NULL AND is_lost = 0")
    return [row["uniqueid"] for row in rows]


def load_leg_evidence(db: peewee.Database, uniqueid: str) -> Evidence | None:
    """What the records say of a leg that is over; None where they say no end."""
    leg = next(iter(_load_legs_named(db, [uniqueid])), None)
    if leg is None or not leg.is_over:
        return None
    return Evidence(
        has_channel=True,
        is_answered=leg.answered_at is not None,
        is_hung_up=leg.ended_at is not None,
        is_far_hangup=leg.is_far_hangup,
        cause=leg.cause,
        is_lost=leg.is_lost,
    )


def load_cdr(db: peewee.Database, call_id: str) -> Cdr | None:
    """One CDR with its legs; also by the linkedid of a call that was joined to another."""
    row = db.execute_sql("SELECT call_id FROM joined_calls WHERE linkedid = ?", (call_id,)).fetchone()
    kept = call_id if row is None else row[0]
    found = _select_cdrs(db, "SELECT * FROM cdrs WHERE call_id = ?", [kept])
    if not found:
        return None
    legs = sorted(_select_legs(db, "call_id = ?", (kept,)), key=lambda leg: (leg.started_at or 0.0, leg.uniqueid))
    return replace(found[0], legs=tuple(legs))


def load_cdrs(db: peewee.Database, query: CdrQuery) -> list[Cdr]:
    """The CDRs that a query asks for, in the order of their start (of their end with ended_after), without legs."""
    where, given = conditions_of(db, query)
    order, sign = ("DESC", "<") if query.newest_first else ("ASC", ">")
    if query.after_start is not None:
        where.append(f"(started_at, call_id) {sign} (?, ?)")
        given += [format_time(query.after_start), query.after_id]
    elif query.after_id:
        where.append(f"(started_at, call_id) {sign} (SELECT started_at, call_id FROM cdrs WHERE call_id = ?)")  # noqa: S608 - our own text
        given.append(query.after_id)
    by = f"started_at {order}, call_id {order}" if query.ended_after is None else _BY_END
    sql = f"SELECT * FROM cdrs {_where(where)} ORDER BY {by} LIMIT ? OFFSET ?"  # noqa: S608 - our own text
    return _select_cdrs(db, sql, [*given, max(0, min(query.limit, MAX_PAGE)), query.offset])


def count_cdrs(db: peewee.Database, query: CdrQuery) -> int:
    """How many there are, whatever the page."""
    where, given = conditions_of(db, query)
    return int(_scalar(db, f"SELECT count(*) FROM cdrs {_where(where)}", tuple(given)))  # noqa: S608 - our own text


def conditions_of(db: peewee.Database, query: CdrQuery) -> tuple[list[str], list[object]]:
    """What stands behind WHERE, and its values; pages and their order are the caller's."""
    pairs: list[tuple[str, object]] = []
    if query.since is not None:
        pairs.append(("started_at >= ?", format_time(query.since)))
    if query.until is not None:
        pairs.append(("started_at < ?", format_time(query.until)))
    if query.direction is not None:
        pairs.append(("direction = ?", query.direction))
    if query.disposition is not None:
        pairs.append(("disposition = ?", query.disposition))
    pairs += _exact_conditions(query)
    for column, beginning in (("caller", query.caller), ("called", query.called)):
        if beginning:
            pairs.append((f"substr({column}, 1, length(?)) = ?", beginning))
    given: list[object] = []
    for condition, value in pairs:
        given += [value] * condition.count("?")
    conditions = [condition for condition, _ in pairs] + _kept_conditions(query)
    for clauses in (_did_clauses(query), _day_clauses(db, query)):
        if clauses is not None:
            conditions.append(f"({' OR '.join(clause for clause, _ in clauses) or '0 = 1'})")
            given += [value for _, values in clauses for value in values]
    return conditions, given


_RECORDED: Final = (
    "(EXISTS (SELECT 1 FROM recordings WHERE recordings.call_id = cdrs.call_id AND kind {kind} 'answer') OR EXISTS"
    " (SELECT 1 FROM legs JOIN recordings ON recordings.call_id = legs.uniqueid WHERE legs.call_id = cdrs.call_id AND kind {kind} 'answer'))"
)
_TRANSCRIBED: Final = "EXISTS (SELECT 1 FROM transcriptions WHERE transcriptions.call_id = cdrs.call_id)"


def _kept_conditions(query: CdrQuery) -> list[str]:
    """By what is kept beside a call."""
    return [
        condition if wanted else f"NOT {condition}"
        for wanted, condition in (
            (query.has_transcription, _TRANSCRIBED), (query.is_recorded, _RECORDED.format(kind="<>")), (query.has_answers, _RECORDED.format(kind="=")),
        )
        if wanted is not None
    ]  # fmt: skip


_Clauses = list[tuple[str, tuple[object, ...]]]


def _did_clauses(query: CdrQuery) -> _Clauses | None:
    """Where Tandem was away and decided nothing, the number itself must do."""
    dids = (query.did, *query.dids) if query.did else query.dids
    clause = "(direction = 'inbound' AND (called = ? OR substr(route || ',', 1, length(?)) = ?))"
    return [(clause, (did, f"DID {did},", f"DID {did},")) for did in dids] if dids else None


def _day_clauses(db: peewee.Database, query: CdrQuery) -> _Clauses | None:
    if query.day_times is None:
        return None
    bounds = db.execute_sql("SELECT min(started_at), max(started_at) FROM cdrs").fetchone()
    if bounds[0] is None:
        return []
    oldest, newest = (datetime.fromisoformat(text) for text in bounds)
    since, until = max(oldest, query.since or oldest), newest + timedelta(seconds=1)
    clauses: _Clauses = []
    for spell in list_spells(query.day_times, since, min(until, query.until or until)):
        both = "AND" if spell.first <= spell.last else "OR"
        clause = f"(started_at >= ? AND started_at < ? AND (substr(started_at, 12, 8) >= ? {both} substr(started_at, 12, 8) <= ?))"
        clauses.append((clause, (format_time(spell.since), format_time(spell.until), spell.first, spell.last)))
    return clauses


def _exact_conditions(query: CdrQuery) -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for column, name in (
        ("project", query.project), ("external_id", query.external_id), ("endpoint", query.endpoint), ("call_id", query.call_id),
        ("caller", query.caller_exact), ("called", query.called_exact),
    ):  # fmt: skip
        if name:
            pairs.append((f"{column} = ?", name))
    if query.number:
        pairs.append(("(caller = ? OR called = ?)", query.number))
    if query.number_like:
        like = "%" + re.sub("([%_!])", r"!\1", query.number_like) + "%"
        pairs.append(("(caller LIKE ? ESCAPE '!' OR called LIKE ? ESCAPE '!')", like))
    if query.ended_after:
        pairs.append((f"({_BY_END}) > (SELECT {_BY_END} FROM cdrs WHERE call_id = ?)", query.ended_after))  # noqa: S608 - our own text
    if query.projects:
        pairs.append(("project IN (SELECT value FROM json_each(?))", json.dumps(query.projects)))
    if query.dispositions:
        pairs.append(("disposition IN (SELECT value FROM json_each(?))", json.dumps(query.dispositions)))
    return pairs


def _where(conditions: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _select_cdrs(db: peewee.Database, sql: str, given: Sequence[object]) -> list[Cdr]:
    return [_read_cdr(row) for row in load_rows(db, _CDR_COLUMNS, f"({sql}) AS page", given)]


def _read_cdr(body: dict[str, Any]) -> Cdr:
    times = {name: datetime.fromisoformat(body[name]) for name in _CDR_TIMES if body[name] is not None}
    known = {"is_placed": bool(body["is_placed"]), "disposition": Disposition(body["disposition"])}
    return Cdr(**{**body, **times, **known})


def _load_legs_named(db: peewee.Database, uniqueids: Iterable[str]) -> list[Leg]:
    return _select_legs(db, "uniqueid IN (SELECT value FROM json_each(?))", (json.dumps(list(uniqueids)),))


def _select_legs(db: peewee.Database, where: str, given: tuple[object, ...]) -> list[Leg]:
    return [_read_leg(row) for row in load_rows(db, _LEG_COLUMNS, f"legs WHERE {where}", given)]


def _read_leg(body: dict[str, Any]) -> Leg:
    return Leg(**{**body, "is_far_hangup": bool(body["is_far_hangup"]), "is_lost": bool(body["is_lost"])})


def _scalar(db: peewee.Database, sql: str, given: tuple[object, ...]) -> Any:
    return db.execute_sql(sql, given).fetchone()[0]
