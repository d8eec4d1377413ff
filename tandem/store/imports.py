# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Files of numbers that were read into campaigns: how far, and what became of their rows; each batch with its numbers in one transaction. Every function is work for a Store."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import peewee
from pydantic import TypeAdapter

from tandem.domain.campaigns import NewNumber
from tandem.domain.number_files import BadRow, Layout
from tandem.store.numbers import add_numbers
from tandem.store.rows import load_rows

ImportState = Literal["running", "finished", "failed", "cancelled"]
# Of the rows that are refused, so many are told one by one; the others are counted.
MAX_PROBLEMS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """A file on its way into a campaign.

    bytes_read of bytes_total says how far it is. rows: those with something in them; added + duplicates + invalid of them are done.
    problems: the first refused rows. error: why it ended early. is_preview: nothing is added; `added` would be. Times are seconds since 1970.
    """

    import_id: str
    campaign_id: int
    state: ImportState
    is_preview: bool
    author: str
    layout: Layout
    bytes_total: int
    bytes_read: int = 0
    rows: int = 0
    added: int = 0
    duplicates: int = 0
    invalid: int = 0
    problems: tuple[BadRow, ...] = ()
    sample: tuple[NewNumber, ...] = ()
    error: str = ""
    created_at: float
    ended_at: float | None = None


_REPORT: Final[TypeAdapter[ImportReport]] = TypeAdapter(ImportReport)


def note_rows(
    report: ImportReport, rows: int, added: int, duplicates: int, bad: Sequence[BadRow], bytes_read: int
) -> ImportReport:
    """The report with another batch."""
    return replace(
        report,
        rows=report.rows + rows,
        added=report.added + added,
        duplicates=report.duplicates + duplicates,
        invalid=report.invalid + len(bad),
        problems=(*report.problems, *bad)[:MAX_PROBLEMS],
        bytes_read=bytes_read,
    )


def record_import(db: peewee.Database, report: ImportReport) -> ImportReport:
    """Keeps a report, new or newer."""
    body = _REPORT.dump_json(report).decode()
    db.execute_sql(
        "INSERT INTO imports (import_id, campaign_id, state, created_at, body) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (import_id) DO UPDATE SET state = excluded.state, body = excluded.body",
        (report.import_id, report.campaign_id, report.state, report.created_at, body),
    )
    return report


def add_batch(
    db: peewee.Database,
    report: ImportReport,
    numbers: Sequence[NewNumber],
    bad: Sequence[BadRow],
    bytes_read: int,
    at: float,
    *,
    dedupe: bool,
) -> ImportReport:
    """Adds a batch and counts it; CampaignMissing."""
    added = add_numbers(db, report.campaign_id, numbers, at, dedupe=dedupe)
    rows = len(numbers) + len(bad)
    return record_import(
        db, note_rows(report, rows, len(numbers) - added.duplicates, added.duplicates, bad, bytes_read)
    )


def load_imports(db: peewee.Database, campaign_id: int, limit: int = 100) -> list[ImportReport]:
    """Those of a campaign, newest first."""
    source = "imports WHERE campaign_id = ? ORDER BY created_at DESC, import_id LIMIT ?"
    return [_REPORT.validate_json(row["body"]) for row in load_rows(db, ("body",), source, [campaign_id, limit])]


def load_import(db: peewee.Database, campaign_id: int, import_id: str) -> ImportReport | None:
    """One."""
    rows = load_rows(db, ("body",), "imports WHERE import_id = ? AND campaign_id = ?", [import_id, campaign_id])
    return _REPORT.validate_json(rows[0]["body"]) if rows else None
