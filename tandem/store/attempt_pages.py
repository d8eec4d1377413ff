# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Attempts, which are a campaign's CDRs, a page at a time; only read here. Every function is work for a Store."""

from dataclasses import dataclass
from typing import Final

import peewee

from tandem.store.attempts import ATTEMPT_COLUMNS, Attempt, read_attempt
from tandem.store.rows import load_rows

MAX_PAGE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptQuery:
    """Which attempts; empty fields ask nothing. after_id: the last attempt_id of the page before. since, until: seconds since 1970.

    phone_number: the beginning of one. is_open: under way or over.
    """

    campaign_id: int | None = None
    number_id: int | None = None
    disposition: str | None = None
    phone_number: str = ""
    since: float | None = None
    until: float | None = None
    is_open: bool | None = None
    after_id: int = 0
    limit: int = 100
    newest_first: bool = True


def load_attempts(db: peewee.Database, query: AttemptQuery) -> list[Attempt]:
    """A page in the order of their start."""
    order, sign = ("DESC", "<") if query.newest_first else ("ASC", ">")
    pairs: list[tuple[str, object]] = []
    for column, value in (
        ("campaign_id", query.campaign_id),
        ("number_id", query.number_id),
        ("disposition", query.disposition),
    ):
        if value is not None:
            pairs.append((f"{column} = ?", value))
    if query.phone_number:
        pairs.append(("substr(phone_number, 1, length(?)) = ?", query.phone_number))
    if query.since is not None:
        pairs.append(("started_at >= ?", query.since))
    if query.until is not None:
        pairs.append(("started_at < ?", query.until))
    if query.after_id:
        after = "(SELECT started_at, attempt_id FROM attempts WHERE attempt_id = ?)"
        pairs.append((f"(started_at, attempt_id) {sign} {after}", query.after_id))
    where = [condition for condition, _ in pairs]
    if query.is_open is not None:
        where.append("ended_at IS NULL" if query.is_open else "ended_at IS NOT NULL")
    given = [value for condition, value in pairs for _ in range(condition.count("?"))]
    source = f"attempts {'WHERE ' + ' AND '.join(where) if where else ''} ORDER BY started_at {order}, attempt_id {order} LIMIT ?"
    rows = load_rows(db, ATTEMPT_COLUMNS, source, [*given, max(0, min(query.limit, MAX_PAGE))])
    return [read_attempt(row) for row in rows]


def load_attempt(db: peewee.Database, attempt_id: int) -> Attempt | None:
    """One."""
    rows = load_rows(db, ATTEMPT_COLUMNS, "attempts WHERE attempt_id = ?", [attempt_id])
    return read_attempt(rows[0]) if rows else None
