# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Which revisions there are, and which one is live; every function is work for a Store."""

from dataclasses import dataclass
from datetime import datetime

import peewee

from tandem.store.tables import LiveRow, RevisionRow


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of the PBX: who made it, when, why, and how many objects it added, changed and removed."""

    number: int
    created_at: datetime
    author: str
    note: str
    added: int
    changed: int
    removed: int


@dataclass(frozen=True, slots=True)
class LiveMark:
    """The last revision that was applied successfully, and when."""

    revision: int
    applied_at: datetime


def load_head(db: peewee.Database) -> int:
    """The newest revision; 0 when there is none."""
    return RevisionRow.select(peewee.fn.MAX(RevisionRow.number)).scalar(db) or 0


def load_revisions(db: peewee.Database, limit: int = 50) -> list[Revision]:
    """The newest revisions, newest first."""
    query = RevisionRow.select().order_by(RevisionRow.number.desc()).limit(limit).tuples()
    return [Revision(*row) for row in query.execute(db)]


def load_live(db: peewee.Database) -> LiveMark | None:
    """What is live; None before the first apply."""
    row = LiveRow.select(LiveRow.revision, LiveRow.applied_at).tuples().first(db)
    return None if row is None else LiveMark(*row)


def load_target(db: peewee.Database, revision: int | None) -> int:
    """What to route by: the revision given, else what is live, else (nothing was applied yet) the head. KeyError for an unknown one."""
    head = load_head(db)
    if revision is None:
        live = load_live(db)
        return head if live is None else live.revision
    if not 0 <= revision <= head:
        raise KeyError(revision)
    return revision


def record_live(db: peewee.Database, revision: int, at: datetime) -> None:
    """Notes that Asterisk has this revision now; KeyError for one that does not exist."""
    if not RevisionRow.select().where(RevisionRow.number == revision).exists(db):
        raise KeyError(revision)
    row = LiveRow.insert(id=1, revision=revision, applied_at=at)
    row.on_conflict(conflict_target=[LiveRow.id], preserve=[LiveRow.revision, LiveRow.applied_at]).execute(db)
