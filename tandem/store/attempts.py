# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Attempts as they are kept, and what is loaded of them; claimed in `attempt_claims`, who took which is in `attempt_notes`, closed in `attempt_ends`. Every function is work for a Store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import peewee

from tandem.store.rows import LISTED, listed, load_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One originate for one number, and what became of it. agent_status: what an agent said of it; is_far_hangup: whoever was called first ended it. Times are seconds since 1970."""

    attempt_id: int
    call_id: str
    campaign_id: int | None
    number_id: int | None
    dial: int
    epoch: int
    node: str
    phone_number: str
    caller_number: str
    trunk: str
    destination: str
    agent: str
    started_at: float
    answered_at: float | None
    connected_at: float | None
    abandoned_at: float | None
    ended_at: float | None
    disposition: str | None
    cause: int
    tech_cause: int
    recording_file: str | None
    recording_leg1: str | None
    recording_leg2: str | None
    agent_status: str = ""
    is_far_hangup: bool = False


ATTEMPT_COLUMNS: Final = tuple(field.name for field in fields(Attempt))


def read_attempt(row: Mapping[str, Any]) -> Attempt:
    """A row of ATTEMPT_COLUMNS as a value."""
    return Attempt(**{**row, "is_far_hangup": bool(row["is_far_hangup"])})


def load_end(db: peewee.Database, number_id: int, dial: int) -> float | None:
    """When that attempt ended; None while it has not."""
    rows = load_rows(db, ("ended_at",), "attempts WHERE number_id = ? AND dial = ?", [number_id, dial])
    return rows[0]["ended_at"] if rows else None


def load_open_attempts(db: peewee.Database, node: str | None = None) -> list[Attempt]:
    """Those that are under way; of those whose calls one node follows, where it is given."""
    where, given = (
        ("AND call_id IN (SELECT call_id FROM placed_calls WHERE ended_at IS NULL AND node = ?)", [node])
        if node is not None
        else ("", [])
    )
    rows = load_rows(db, ATTEMPT_COLUMNS, f"attempts WHERE ended_at IS NULL {where} ORDER BY attempt_id", given)
    return [read_attempt(row) for row in rows]


def load_recent_attempts(db: peewee.Database, campaign_id: int, limit: int) -> list[Attempt]:
    """The last attempts of a campaign, oldest first."""
    source = "attempts WHERE campaign_id = ? ORDER BY started_at DESC, attempt_id DESC LIMIT ?"
    return [read_attempt(row) for row in reversed(load_rows(db, ATTEMPT_COLUMNS, source, [campaign_id, limit]))]


def load_attempts_named(db: peewee.Database, call_ids: Iterable[str]) -> list[Attempt]:
    """Those of these calls that are attempts."""
    rows = load_rows(db, ATTEMPT_COLUMNS, f"attempts WHERE call_id IN {LISTED}", [listed(call_ids)])
    return [read_attempt(row) for row in rows]
