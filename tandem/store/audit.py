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


def load_audit(db: peewee.Database, limit: int, offset: int = 0) -> list[AuditEntry]:
    """The newest entries, newest first."""
    rows = AuditRow.select().order_by(AuditRow.id.desc()).limit(limit).offset(offset).tuples().execute(db)
    names = ("id", "at", "who", "source", "action", "target", "revision")
    return [AuditEntry(**dict(zip(names, row, strict=True))) for row in rows]


def count_audit(db: peewee.Database) -> int:
    """How many there are."""
    return int(AuditRow.select().count(db))
