# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Who took which call, and who was told that nobody is free: kept with the attempt, also where its end was kept first; never closes one. Every function is work for a Store."""

from collections.abc import Sequence

import peewee

from tandem.domain.disposition import Disposition
from tandem.store.campaigns import DAY_S, CampaignDay, bump_counts, bump_days
from tandem.store.rows import load_rows

_READ = ("campaign_id", "connected_at", "abandoned_at", "ended_at", "disposition")


def note_connected(db: peewee.Database, notes: Sequence[tuple[str, float, str]]) -> None:
    """(call id, when, who): an agent, or what was to be heard, was there. The first one counts."""
    for call_id, at, agent in notes:
        for row in load_rows(db, _READ, "attempts WHERE call_id = ? AND connected_at IS NULL", [call_id]):
            ended_at, abandoned_at = row["ended_at"], row["abandoned_at"]
            if ended_at is None:
                _write(db, call_id, "connected_at = ?, agent = ?", at, agent[:80])
            elif row["disposition"] == Disposition.ANSWERED.value and abandoned_at == ended_at:
                # It was closed as if nobody had come, because the database was slow or the talk was short.
                _write(db, call_id, "connected_at = ?, agent = ?, abandoned_at = NULL", min(at, ended_at), agent[:80])
                _move_to_connected(db, row["campaign_id"], ended_at, max(0.0, ended_at - at))


def note_abandoned(db: peewee.Database, notes: Sequence[tuple[str, float]]) -> None:
    """(call id, when): an answered person was told that nobody is free."""
    for call_id, at in notes:
        for row in load_rows(db, _READ, "attempts WHERE call_id = ? AND connected_at IS NULL", [call_id]):
            ended_at, abandoned_at = row["ended_at"], row["abandoned_at"]
            # Closed as if nobody had come: they heard so before they were gone.
            if abandoned_at is None if ended_at is None else abandoned_at == ended_at:
                _write(db, call_id, "abandoned_at = ?", at if ended_at is None else min(at, ended_at))


def _write(db: peewee.Database, call_id: str, what: str, at: float, *more: object) -> None:
    """Whoever was served had answered, whatever was reported first."""
    db.execute_sql(
        f"UPDATE attempts SET {what}, answered_at = CASE WHEN answered_at > ? THEN ? ELSE answered_at END WHERE call_id = ?",  # noqa: S608 - our own text
        (at, *more, at, at, call_id),
    )


def _move_to_connected(db: peewee.Database, campaign_id: int | None, ended_at: float, talk_s: float) -> None:
    if campaign_id is None:
        return
    bump_counts(db, {(campaign_id, "connected_calls"): 1, (campaign_id, "abandoned_calls"): -1})
    day = int(ended_at // DAY_S)
    bump_days(db, {(campaign_id, day): CampaignDay(day, 0, 0, 1, -1, 0.0, talk_s)})
