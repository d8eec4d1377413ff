# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""The numbers of campaigns: add, list, delete; never changes one whose call is under way. Every function is work for a Store."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import peewee
from pydantic_core import to_json

from tandem.domain.campaigns import NewNumber, NumberStatus, SavedNumber
from tandem.store.campaigns import bump_counts, load_campaign, load_counts
from tandem.store.dialect import is_postgres
from tandem.store.number_lists import bump_lists, check_number_lists
from tandem.store.number_places import NumberPlaces
from tandem.store.rows import LISTED, listed, load_rows

NUMBER_COLUMNS: Final = (
    "number_id", "campaign_id", "phone_number", "status", "attempts", "dials", "due_at", "hold", "call_id", "disposition",
    "last_attempt_at", "data", "variables", "created_at", "updated_at", "list_id", "agent_status", "person", "utc_offset_min",
)  # fmt: skip
MAX_PAGE: Final = 1000
# Rows in a statement: SQLite takes 32,766 values.
_AT_ONCE: Final = 500


class NumberMissing(KeyError):
    """There is no such number."""


class NumberInFlight(Exception):
    """Its call is under way. status: where it is."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Added:
    """What became of numbers that were added: the ids of new ones, and which of them (from 0) were on the list already."""

    number_ids: tuple[int, ...]
    duplicate_at: tuple[int, ...] = ()

    @property
    def duplicates(self) -> int:
        """How many were on the list already."""
        return len(self.duplicate_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberQuery:
    """Which numbers; empty fields ask nothing. phone_number: the beginning of one; the order is then that of the phone numbers.

    text: somewhere in what the client knows of it (`data`), whatever its capitals.

    after_id: the last number_id of the page before, which is faster than an offset; 0 for the first page.
    """

    campaign_id: int
    status: str | None = None
    phone_number: str = ""
    list_id: int | None = None
    agent_status: str | None = None
    text: str = ""
    limit: int = 100
    offset: int = 0
    after_id: int = 0

    @property
    def is_narrow(self) -> bool:
        """Whether it asks for what nobody keeps count of."""
        return self.list_id is not None or self.agent_status is not None or bool(self.text)


def add_numbers(
    db: peewee.Database, campaign_id: int, numbers: Sequence[NewNumber], at: float, *, dedupe: bool = False
) -> Added:
    """Adds numbers at the list's end; CampaignMissing, NumberListMissing. dedupe: those that the campaign has already are left out."""
    load_campaign(db, campaign_id)
    check_number_lists(db, campaign_id, {number.list_id for number in numbers if number.list_id is not None})
    wanted, duplicate_at = _without_known(db, campaign_id, numbers) if dedupe else (list(numbers), ())
    last = db.execute_sql("SELECT coalesce(max(number_id), 0) FROM numbers").fetchone()[0]
    _insert(db, campaign_id, wanted, at)
    bump_counts(db, {(campaign_id, "pending"): len(wanted)})
    bump_lists(db, (number.list_id for number in wanted))
    added = load_rows(
        db, ("number_id",), "numbers WHERE number_id > ? AND campaign_id = ? ORDER BY number_id", [last, campaign_id]
    )
    return Added(tuple(row["number_id"] for row in added), duplicate_at)


def _without_known(
    db: peewee.Database, campaign_id: int, numbers: Sequence[NewNumber]
) -> tuple[list[NewNumber], tuple[int, ...]]:
    """Those that are not on the list yet, each once; and where the others stand."""
    seen = find_phone_numbers(db, campaign_id, {number.phone_number for number in numbers})
    fresh, duplicate_at = [], []
    for index, number in enumerate(numbers):
        if number.phone_number in seen:
            duplicate_at.append(index)
        else:
            seen.add(number.phone_number)
            fresh.append(number)
    return fresh, tuple(duplicate_at)


def find_number(db: peewee.Database, campaign_id: int, phone_number: str) -> int | None:
    """The campaign's first number with this phone number, by its id."""
    source = "numbers WHERE campaign_id = ? AND phone_number = ? ORDER BY number_id LIMIT 1"
    return next((row["number_id"] for row in load_rows(db, ("number_id",), source, [campaign_id, phone_number])), None)


def find_phone_numbers(
    db: peewee.Database, campaign_id: int, phone_numbers: Collection[str], list_id: int | None = None
) -> set[str]:
    """Those of these that the campaign has, or one list of it."""
    source, given = f"numbers WHERE campaign_id = ? AND phone_number IN {LISTED}", [campaign_id, listed(phone_numbers)]
    if list_id is not None:
        source, given = f"{source} AND list_id = ?", [*given, list_id]
    return {row["phone_number"] for row in load_rows(db, ("phone_number",), source, given)}


def load_numbers(
    db: peewee.Database, query: NumberQuery, places: NumberPlaces | None = None
) -> tuple[list[SavedNumber], int]:
    """A page in the list's order, and how many there are in all. places: what makes pages far behind as quick as others."""
    where, given = _conditions(query)
    total = _count(db, query, where, given)
    # By the beginning of a phone number they come in the order of its index, so that no page has to sort a million rows.
    order = "phone_number, number_id" if query.phone_number else "number_id"
    if query.after_id:
        after = "(SELECT phone_number, number_id FROM numbers WHERE number_id = ?)" if query.phone_number else "?"
        where.append(f"({order}) > {after}" if query.phone_number else f"number_id > {after}")
        given.append(query.after_id)
    limit, offset = max(0, min(query.limit, MAX_PAGE)), max(0, query.offset)
    is_backwards = False
    if offset and not query.phone_number and not query.after_id:
        is_whole = query.status is None and not query.is_narrow
        start = _find_start(db, query.campaign_id, total, offset, places) if is_whole else None
        if start is not None:
            where.append("number_id >= ?")
            given.append(start[0])
            offset = start[1]
        elif offset > total // 2:
            # Counted from the nearer end: each row that is passed over takes its time.
            is_backwards, ends_at = True, min(offset + limit, total)
            limit, offset = max(0, ends_at - offset), total - ends_at
    # The index alone tells which rows a page far behind passes over.
    page = f"SELECT number_id FROM numbers WHERE {' AND '.join(where)} ORDER BY {order}{' DESC' if is_backwards else ''} LIMIT ? OFFSET ?"  # noqa: S608 - our own text
    source = f"numbers WHERE number_id IN ({page}) ORDER BY {order}"
    rows = load_rows(db, NUMBER_COLUMNS, source, [*given, limit, offset])
    return [read_number(row) for row in rows], total


def _find_start(
    db: peewee.Database, campaign_id: int, total: int, offset: int, places: NumberPlaces | None
) -> tuple[int, int] | None:
    """An id near the offset, not behind it, and how many numbers to pass over from there; None where that is not known."""
    sql = "SELECT (SELECT min(number_id) FROM numbers WHERE campaign_id = ?), (SELECT max(number_id) FROM numbers WHERE campaign_id = ?)"
    first, last = db.execute_sql(sql, (campaign_id, campaign_id)).fetchone()
    if first is None:
        return None
    if last - first + 1 == total:  # no gap: the offset can be added
        return first + offset, 0
    # A server's sequences give ids to transactions that end in another order.
    if places is None or offset >= total or is_postgres(db):
        return None
    found = places.find(db, campaign_id, (first, last), total, offset)
    return (found, places.rest_of(offset)) if found is not None else None


def _conditions(query: NumberQuery) -> tuple[list[str], list[object]]:
    where: list[str] = []
    given: list[object] = []
    if query.phone_number:
        # A plus keeps the planner from the index of the campaign. `:` follows on 9, the last sign of a number.
        where += ["+campaign_id = ?", "phone_number >= ?", "phone_number < ?"]
        given += [query.campaign_id, query.phone_number, f"{query.phone_number}:"]
    else:
        where.append("campaign_id = ?")
        given.append(query.campaign_id)
    for name in ("status", "list_id", "agent_status"):
        if (value := getattr(query, name)) is not None:
            where.append(f"{name} = ?")
            given.append(value)
    if query.text:
        where.append("lower(data) LIKE lower(?) ESCAPE '!'")
        # As it stands in JSON, where a quote and a backslash have another before them.
        wanted = to_json(query.text).decode()[1:-1]
        given.append("%" + re.sub(r"([!%_])", r"!\1", wanted) + "%")
    return where, given


def _count(db: peewee.Database, query: NumberQuery, where: Sequence[str], given: Sequence[object]) -> int:
    if query.phone_number or query.is_narrow:
        sql = f"SELECT count(*) FROM numbers WHERE {' AND '.join(where)}"  # noqa: S608 - our own text
        return int(db.execute_sql(sql, tuple(given)).fetchone()[0])
    counts = load_counts(db, [query.campaign_id]).get(query.campaign_id)
    if counts is None:
        return 0
    if query.status is None:
        return counts.total
    return int(getattr(counts, query.status)) if query.status in tuple(NumberStatus) else 0


def load_number(db: peewee.Database, number_id: int) -> SavedNumber:
    """One; NumberMissing."""
    rows = load_rows(db, NUMBER_COLUMNS, "numbers WHERE number_id = ?", [number_id])
    if not rows:
        raise NumberMissing(number_id)
    return read_number(rows[0])


def load_numbers_called(db: peewee.Database, call_ids: Collection[str]) -> list[SavedNumber]:
    """The numbers that these attempts were for, as they are now."""
    source = f"numbers WHERE number_id IN (SELECT number_id FROM attempts WHERE call_id IN {LISTED}) ORDER BY number_id"  # noqa: S608 - our own text
    return [read_number(row) for row in load_rows(db, NUMBER_COLUMNS, source, [listed(call_ids)])]


def count_waiting(db: peewee.Database, campaign_id: int, now: float) -> dict[str, int]:
    """Pending numbers that are not due: why they wait -> how many; `in-call` for those whose last call is not over."""
    rows = load_rows(
        db,
        ("hold", "amount"),
        "(SELECT hold, count(*) AS amount FROM numbers WHERE campaign_id = ? AND status = 'pending' AND due_at IS NOT NULL"
        " AND due_at > ? AND call_id IS NULL GROUP BY hold) AS held",
        [campaign_id, now],
    )
    waiting = {row["hold"] or "not-before": row["amount"] for row in rows}
    in_call = db.execute_sql(
        "SELECT count(*) FROM attempts JOIN numbers ON numbers.call_id = attempts.call_id"
        " AND numbers.number_id = attempts.number_id"
        " WHERE attempts.campaign_id = ? AND attempts.ended_at IS NULL AND numbers.status = 'pending'",
        (campaign_id,),
    ).fetchone()[0]
    return waiting | ({"in-call": int(in_call)} if in_call else {})


def delete_number(db: peewee.Database, number_id: int) -> SavedNumber:
    """Takes one off the list; NumberMissing, NumberInFlight."""
    number = load_number(db, number_id)
    if number.call_id or number.status is NumberStatus.CALLING:
        raise NumberInFlight(number.status.value if not number.call_id else "calling")
    db.execute_sql("DELETE FROM numbers WHERE number_id = ?", (number_id,))
    bump_counts(db, {(number.campaign_id, number.status.value): -1})
    bump_lists(db, [number.list_id], -1)
    return number


def update_number(db: peewee.Database, number_id: int, at: float, wanted: NewNumber) -> SavedNumber:
    """What is known of a number, but for its list and its time; NumberMissing, NumberInFlight. One that was refused for its phone number stays so until a reset."""
    number = load_number(db, number_id)
    if number.call_id or number.status is NumberStatus.CALLING:
        raise NumberInFlight(number.status.value if not number.call_id else "calling")
    db.execute_sql(
        "UPDATE numbers SET phone_number = ?, data = ?, variables = ?, person = ?, utc_offset_min = ?, updated_at = ? WHERE number_id = ?",
        (
            wanted.phone_number,
            _write(wanted.data),
            _write(dict(wanted.variables) or None),
            wanted.person,
            wanted.utc_offset_min,
            at,
            number_id,
        ),
    )
    return load_number(db, number_id)


def _write(value: Any) -> str | None:
    return to_json(value).decode() if value is not None else None


def read_number(row: dict[str, Any]) -> SavedNumber:
    """A row as a value."""
    known = {
        "status": NumberStatus(row["status"]),
        "call_id": row["call_id"] or "",
        "data": json.loads(row["data"]) if row["data"] is not None else None,
        "variables": json.loads(row["variables"]) if row["variables"] is not None else {},
    }
    return SavedNumber(**{**row, **known})


def _insert(db: peewee.Database, campaign_id: int, numbers: Sequence[NewNumber], at: float) -> None:
    """Plain values instead of one JSON text: a million rows have to go in, and reading JSON costs SQLite four times what the row does."""
    for start in range(0, len(numbers), _AT_ONCE):
        batch = numbers[start : start + _AT_ONCE]
        values = ", ".join(["(?, ?, 'pending', 0, 0, ?, ?, '', ?, ?, ?, ?, ?, ?)"] * len(batch))
        given: list[object] = []
        for number in batch:
            given += (
                campaign_id,
                number.phone_number,
                number.not_before,
                "" if number.not_before is None else "not-before",
                _write(number.data),
                _write(number.variables or None),
                at,
                number.list_id,
                number.person,
                number.utc_offset_min,
            )
        columns = (
            "campaign_id, phone_number, status, attempts, dials, due_at, hold, disposition, data, variables, created_at,"
            " list_id, person, utc_offset_min"
        )
        db.execute_sql(f"INSERT INTO numbers ({columns}) VALUES {values}", tuple(given))  # noqa: S608 - our own text
