# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Who changed what, when and from where; only ever appended to, and never with a value in it. Every function is work for a Store."""

from dataclasses import dataclass
from datetime import datetime

import peewee

from tandem.store.tables import AuditRow


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change. action is the permission that it took; revision the one that it made, if any; id is 0 before it is kept."""

    id: int = 0
    at: datetime
    who: str
    source: str
    action: str
    target: str
    revision: int | None = None


def record_audit(db: peewee.Database, entry: AuditEntry) -> None:
    """Keeps an entry, in the transaction of what it tells."""
    AuditRow.insert(
        at=entry.at,
        who=entry.who,
        source=entry.source,
        action=entry.action,
        target=entry.target,
        revision=entry.revision,
    ).execute(db)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries; empty fields ask nothing. target: how it begins."""

    who: str = ""
    action: str = ""
    target: str = ""
    source: str = ""
    since: datetime | None = None
    until: datetime | None = None


def load_audit(
    db: peewee.Database, limit: int, offset: int = 0, wanted: AuditFilter = AuditFilter()
) -> list[AuditEntry]:
    """The newest entries, newest first."""
    query = _select(wanted).order_by(AuditRow.id.desc()).limit(limit).offset(offset)
    rows = query.tuples().execute(db)
    names = ("id", "at", "who", "source", "action", "target", "revision")
    return [AuditEntry(**dict(zip(names, row, strict=True))) for row in rows]


def count_audit(db: peewee.Database, wanted: AuditFilter = AuditFilter()) -> int:
    """How many there are."""
    return int(_select(wanted).count(db))


def _select(wanted: AuditFilter) -> "peewee.ModelSelect[AuditRow]":
    query = AuditRow.select()
    for name in ("who", "action", "source"):
        if text := getattr(wanted, name):
            query = query.where(getattr(AuditRow, name) == text)
    if wanted.target:
        query = query.where(peewee.fn.SUBSTR(AuditRow.target, 1, len(wanted.target)) == wanted.target)
    if wanted.since is not None:
        query = query.where(AuditRow.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditRow.at < wanted.until)
    return query
