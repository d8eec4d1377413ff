# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""The numbers of campaigns: add, list, delete; never changes one whose call is under way. Every function is work for a Store."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import peewee

from tandem.domain.campaigns import NewNumber, NumberStatus, SavedNumber
from tandem.store.campaigns import bump_counts, load_campaign, load_counts
from tandem.store.rows import LISTED, insert_rows, listed, load_rows

NUMBER_COLUMNS: Final = (
    "number_id", "campaign_id", "phone_number", "status", "attempts", "dials", "due_at", "hold", "call_id", "disposition",
    "last_attempt_at", "data", "variables", "created_at", "updated_at",
)  # fmt: skip
_INSERTED: Final = (
    "campaign_id", "phone_number", "status", "attempts", "dials", "due_at", "hold", "disposition", "data", "variables",
    "created_at",
)  # fmt: skip
MAX_PAGE: Final = 1000


class NumberMissing(KeyError):
    """There is no such number."""


class NumberInFlight(Exception):
    """Its call is under way. status: where it is."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Added:
    """What became of numbers that were added: the ids of new ones, and how many were on the list already."""

    number_ids: tuple[int, ...]
    duplicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberQuery:
    """Which numbers; empty fields ask nothing. phone_number: the beginning of one."""

    campaign_id: int
    status: str | None = None
    phone_number: str = ""
    limit: int = 100
    offset: int = 0


def add_numbers(
    db: peewee.Database, campaign_id: int, numbers: Sequence[NewNumber], at: float, *, dedupe: bool = False
) -> Added:
    """Adds numbers at the list's end; CampaignMissing. dedupe: those that the campaign has already are left out."""
    load_campaign(db, campaign_id)
    wanted = list(numbers)
    if dedupe:
        known = {
            row["phone_number"]
            for row in load_rows(
                db,
                ("phone_number",),
                f"numbers WHERE campaign_id = ? AND phone_number IN {LISTED}",
                [campaign_id, listed({number.phone_number for number in wanted})],
            )
        }
        fresh: dict[str, NewNumber] = {}
        for number in wanted:
            if number.phone_number not in known:
                fresh.setdefault(number.phone_number, number)
        wanted = list(fresh.values())
    last = db.execute_sql("SELECT coalesce(max(number_id), 0) FROM numbers").fetchone()[0]
    insert_rows(db, "numbers", _INSERTED, [_write(campaign_id, number, at) for number in wanted])
    bump_counts(db, {(campaign_id, "pending"): len(wanted)})
    added = load_rows(
        db, ("number_id",), "numbers WHERE number_id > ? AND campaign_id = ? ORDER BY number_id", [last, campaign_id]
    )
    return Added(tuple(row["number_id"] for row in added), len(numbers) - len(wanted))


def load_numbers(db: peewee.Database, query: NumberQuery) -> tuple[list[SavedNumber], int]:
    """A page in the list's order, and how many there are in all."""
    where, given = ["campaign_id = ?"], [query.campaign_id]
    if query.status is not None:
        where.append("status = ?")
        given.append(query.status)  # type: ignore[arg-type]
    if query.phone_number:
        where.append("substr(phone_number, 1, length(?)) = ?")
        given += [query.phone_number, query.phone_number]  # type: ignore[list-item]
    condition = " AND ".join(where)
    limit, offset = max(0, min(query.limit, MAX_PAGE)), max(0, query.offset)
    rows = load_rows(
        db, NUMBER_COLUMNS, f"numbers WHERE {condition} ORDER BY number_id LIMIT ? OFFSET ?", [*given, limit, offset]
    )
    return [read_number(row) for row in rows], _count(db, query, condition, given)


def _count(db: peewee.Database, query: NumberQuery, condition: str, given: Sequence[object]) -> int:
    if query.phone_number:
        return int(db.execute_sql(f"SELECT count(*) FROM numbers WHERE {condition}", tuple(given)).fetchone()[0])  # noqa: S608 - our own text
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


def delete_number(db: peewee.Database, number_id: int) -> SavedNumber:
    """Takes one off the list; NumberMissing, NumberInFlight."""
    number = load_number(db, number_id)
    if number.call_id or number.status is NumberStatus.CALLING:
        raise NumberInFlight(number.status.value if not number.call_id else "calling")
    db.execute_sql("DELETE FROM numbers WHERE number_id = ?", (number_id,))
    bump_counts(db, {(number.campaign_id, number.status.value): -1})
    return number


def read_number(row: dict[str, Any]) -> SavedNumber:
    """A row as a value."""
    known = {
        "status": NumberStatus(row["status"]),
        "call_id": row["call_id"] or "",
        "data": json.loads(row["data"]) if row["data"] is not None else None,
        "variables": json.loads(row["variables"]) if row["variables"] is not None else {},
    }
    return SavedNumber(**{**row, **known})


def _write(campaign_id: int, number: NewNumber, at: float) -> dict[str, Any]:
    return {
        "campaign_id": campaign_id,
        "phone_number": number.phone_number,
        "status": "pending",
        "attempts": 0,
        "dials": 0,
        "due_at": number.not_before,
        "hold": "" if number.not_before is None else "not-before",
        "disposition": "",
        "data": json.dumps(number.data) if number.data is not None else None,
        "variables": json.dumps(number.variables) if number.variables else None,
        "created_at": at,
    }
