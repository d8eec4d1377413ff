# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Attempts that are over, as call detail records: numbered pages with their total, and sums; only read here. Every function is work for a Store."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import peewee

from tandem.store.attempt_claims import count_open
from tandem.store.attempts import ATTEMPT_COLUMNS, Attempt, read_attempt
from tandem.store.campaigns import load_counts
from tandem.store.dialect import is_postgres
from tandem.store.rows import LISTED, listed, load_rows

_WILDCARD: Final = re.compile("[%_!]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuery:
    """Which attempts; empty fields ask nothing. since, until: seconds since 1970, until is not included. search: a part of a number or agent."""

    campaign_id: int | None = None
    dispositions: tuple[str, ...] | None = None
    since: float | None = None
    until: float | None = None
    search: str = ""


@dataclass(frozen=True, slots=True)
class DispositionSum:
    """Attempts with one disposition. duration_s: from originate to end, billsec_s: from answer to end, both in whole seconds."""

    disposition: str
    amount: int
    duration_s: int
    billsec_s: int


def load_report_page(db: peewee.Database, query: ReportQuery, *, limit: int, offset: int) -> tuple[list[Attempt], int]:
    """A page, newest first, and how many there are in all. Of a page in the older half the index is read from its other end."""
    where, given = _conditions(query)
    total = _count(db, query, where, given)
    length = min(limit, total - offset)
    if length <= 0:
        return [], total
    is_reversed = offset > total // 2
    order, skip = ("ASC", total - offset - length) if is_reversed else ("DESC", offset)
    source = f"attempts WHERE {where} ORDER BY started_at {order}, attempt_id {order} LIMIT ? OFFSET ?"
    rows = load_rows(db, ATTEMPT_COLUMNS, source, [*given, length, skip])
    found = [read_attempt(row) for row in rows]
    return found[::-1] if is_reversed else found, total


def load_finished(db: peewee.Database, attempt_id: int) -> Attempt | None:
    """One that is over."""
    rows = load_rows(db, ATTEMPT_COLUMNS, "attempts WHERE attempt_id = ? AND ended_at IS NOT NULL", [attempt_id])
    return read_attempt(rows[0]) if rows else None


def sum_report(db: peewee.Database, query: ReportQuery) -> list[DispositionSum]:
    """Sums by disposition."""
    where, given = _conditions(query)
    # Whole seconds, as the times are shown: what a client adds up is what it is told.
    started, answered, ended = (_whole(db, column) for column in ("started_at", "answered_at", "ended_at"))
    source = (
        "(SELECT disposition, count(*) AS amount,"  # noqa: S608 - our own text
        f" sum({ended} - {started}) AS duration_s,"
        f" sum(CASE WHEN answered_at IS NULL THEN 0 ELSE {ended} - {answered} END) AS billsec_s"
        f" FROM attempts WHERE {where} GROUP BY disposition) AS sums"
    )
    columns = ("disposition", "amount", "duration_s", "billsec_s")
    return [
        DispositionSum(row["disposition"], *(int(row[name]) for name in columns[1:]))
        for row in load_rows(db, columns, source, given)
    ]


def _whole(db: peewee.Database, column: str) -> str:
    """Seconds without their fraction: a cast does that in SQLite, and rounds in PostgreSQL."""
    return f"floor({column})" if is_postgres(db) else f"CAST({column} AS INTEGER)"


def _conditions(query: ReportQuery) -> tuple[str, list[object]]:
    where: list[str] = ["ended_at IS NOT NULL"]
    given: list[object] = []
    if query.campaign_id is not None:
        where.append("campaign_id = ?")
        given.append(query.campaign_id)
    if query.dispositions is not None:
        where.append(f"disposition IN {LISTED}" if len(query.dispositions) != 1 else "disposition = ?")
        given.append(query.dispositions[0] if len(query.dispositions) == 1 else listed(query.dispositions))
    if query.since is not None:
        where.append("started_at >= ?")
        given.append(query.since)
    if query.until is not None:
        where.append("started_at < ?")
        given.append(query.until)
    if query.search:
        columns = ("caller_number", "phone_number", "agent")
        where.append("(" + " OR ".join(f"lower({column}) LIKE ? ESCAPE '!'" for column in columns) + ")")
        wanted = _WILDCARD.sub(r"!\g<0>", query.search.lower())
        given += [f"%{wanted}%"] * len(columns)
    return " AND ".join(where), given


def _count(db: peewee.Database, query: ReportQuery, where: str, given: Sequence[object]) -> int:
    """How many there are; of everything, and of a campaign, without looking at each. Whoever deletes attempts lowers `total_calls`."""
    if query == ReportQuery():
        total = db.execute_sql("SELECT count(*) FROM attempts").fetchone()[0]
        return int(total - db.execute_sql("SELECT count(*) FROM attempts WHERE ended_at IS NULL").fetchone()[0])
    if query.campaign_id is not None and query == ReportQuery(campaign_id=query.campaign_id):
        counts = load_counts(db, [query.campaign_id]).get(query.campaign_id)
        return counts.total_calls - count_open(db).get(query.campaign_id, 0) if counts is not None else 0
    # Without a search one of the indexes of what is over has all that is asked.
    return int(db.execute_sql(f"SELECT count(*) FROM attempts WHERE {where}", tuple(given)).fetchone()[0])  # noqa: S608 - our own text
