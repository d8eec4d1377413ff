# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What was called today and what is locked, kept over restarts; decides nothing. Every function is work for a Store."""

from collections.abc import Mapping
from dataclasses import dataclass

import peewee

from tandem.domain.tolls import Usage
from tandem.store.outbox import Event, load_listeners, queue_events
from tandem.store.rows import load_rows


@dataclass(frozen=True, slots=True)
class TollLock:
    """A scope that calls nobody until a person unlocks it. locked_at: seconds since 1970."""

    scope: str
    locked_at: float
    reason: str


def load_tolls(db: peewee.Database) -> tuple[dict[str, Usage], dict[str, TollLock]]:
    """All of it, by scope."""
    usage = {
        row["scope"]: Usage(row["day"], row["calls"], row["seconds"])
        for row in load_rows(db, ("scope", "day", "calls", "seconds"), "toll_usage")
    }
    locks = {row["scope"]: TollLock(**row) for row in load_rows(db, ("scope", "locked_at", "reason"), "toll_locks")}
    return usage, locks


def save_tolls(db: peewee.Database, usage: Mapping[str, Usage], locks: Mapping[str, TollLock]) -> None:
    """What changed; whoever listens is told of new locks."""
    for scope, one in usage.items():
        db.execute_sql(
            "INSERT INTO toll_usage (scope, day, calls, seconds) VALUES (?, ?, ?, ?) ON CONFLICT (scope)"
            " DO UPDATE SET day = excluded.day, calls = excluded.calls, seconds = excluded.seconds",
            (scope, one.day, one.calls, one.seconds),
        )
    for lock in locks.values():
        db.execute_sql(
            "INSERT INTO toll_locks (scope, locked_at, reason) VALUES (?, ?, ?) ON CONFLICT (scope) DO NOTHING",
            (lock.scope, lock.locked_at, lock.reason),
        )
    if locks and (listeners := load_listeners(db)):
        told = (
            Event("toll.locked", lock.locked_at, {"scope": lock.scope, "reason": lock.reason})
            for lock in locks.values()
        )
        queue_events(db, listeners, list(told))


def delete_lock(db: peewee.Database, scope: str) -> None:
    """A person unlocked it: it begins anew, with nothing called today."""
    db.execute_sql("DELETE FROM toll_locks WHERE scope = ?", (scope,))
    db.execute_sql("DELETE FROM toll_usage WHERE scope = ?", (scope,))
