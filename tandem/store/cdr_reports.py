# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""CDRs counted by what they have in common: a queue, a phone, a DID, a trunk; reads what is kept, and counts nothing twice. Work for a Store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import peewee

from tandem.domain.disposition import Disposition
from tandem.store.cdrs import CdrQuery, conditions_of
from tandem.store.rows import load_rows

CountedBy = Literal["queue", "endpoint", "trunk", "direction", "disposition", "called"]
# Our own text alone is ever part of a statement.
_COLUMNS: Final[Mapping[CountedBy, str]] = {
    "queue": "queue",
    "endpoint": "endpoint",
    "trunk": "trunk",
    "direction": "direction",
    "disposition": "disposition",
    "called": "called",
}
_SUMS: Final = ("ring_s", "hold_s", "talk_s", "duration_s")
MAX_ROWS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrCount:
    """Calls that have one thing in common. key: what; answered: that were; talked: in which two parties or more were there. Sums in seconds."""

    key: str
    calls: int
    answered: int
    talked: int
    ring_s: float
    hold_s: float
    talk_s: float
    duration_s: float


def count_cdrs_by(
    db: peewee.Database, query: CdrQuery, by: CountedBy, limit: int, offset: int = 0
) -> tuple[int, list[CdrCount]]:
    """How many groups there are, and a page of them, in the order of their keys. What has none (a call without a queue) is in no group."""
    column = _COLUMNS[by]
    where, given = conditions_of(db, query)
    source = f"cdrs WHERE {' AND '.join([*where, f'{column} <> ?'])}"
    values = [*given, ""]
    total = db.execute_sql(f"SELECT count(DISTINCT {column}) FROM {source}", tuple(values)).fetchone()[0]  # noqa: S608 - our own text
    sums = ", ".join(f"sum({name}) AS {name}" for name in _SUMS)
    grouped = (
        f"SELECT {column} AS label, count(*) AS calls, sum(CASE WHEN disposition = ? THEN 1 ELSE 0 END) AS answered,"  # noqa: S608 - our own text
        f" sum(CASE WHEN talk_s > 0 THEN 1 ELSE 0 END) AS talked, {sums} FROM {source} GROUP BY {column} ORDER BY {column} LIMIT ? OFFSET ?"
    )
    columns = ("label", "calls", "answered", "talked", *_SUMS)
    rows = load_rows(db, columns, f"({grouped}) AS page ORDER BY label", [Disposition.ANSWERED, *values, limit, offset])
    return int(total), [
        CdrCount(key=row.pop("label"), **{**row, **{name: round(row[name], 3) for name in _SUMS}}) for row in rows
    ]
