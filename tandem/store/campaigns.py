# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Campaigns, their states and their counts; never dials, and never counts rows that it can keep count of. Every function is work for a Store."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import peewee
from pydantic import TypeAdapter

from tandem.domain.campaigns import (
    CLOSED,
    Campaign,
    CampaignCounts,
    CampaignState,
    NumberStatus,
    SavedCampaign,
    needs_stop,
)
from tandem.store.outbox import Event, load_listeners, queue_events
from tandem.store.rows import LISTED, LISTED_IDS, listed, load_rows

_CAMPAIGN: Final[TypeAdapter[Campaign]] = TypeAdapter(Campaign)
_COLUMNS: Final = (
    "campaign_id", "state", "epoch", "body", "permissions", "author", "created_at", "updated_at", "version",
)  # fmt: skip
_COUNTED: Final = frozenset(CampaignCounts.__dataclass_fields__)
DAY_S: Final = 86_400
# Why a number waits for a while, and not for a time.
_DELAYS: Final = ("retry", "trunk", "doubt")
# What no beginning anew shortens: a phone that may still ring, and a time that somebody named.
_LASTING: Final = ("doubt", "not-before")
# What a campaign's change to a state is called.
_TURNS: Final = {"running": "started", "paused": "paused", "stopped": "stopped"}


class CampaignMissing(KeyError):
    """There is no such campaign."""


class StateConflict(Exception):
    """The campaign's state does not allow it. state: what it is."""

    def __init__(self, state: CampaignState, rule: str) -> None:
        super().__init__(rule)
        self.state, self.rule = state, rule


class VersionConflict(Exception):
    """The campaign was changed meanwhile."""


@dataclass(frozen=True, slots=True)
class CampaignDay:
    """What one day (UTC, days since 1970) was like."""

    day: int
    attempts: int
    answered: int
    connected: int
    abandoned: int
    ring_s: float
    talk_s: float


# --------------------------------------------------------------------------------------------------------- loading


def load_campaigns(
    db: peewee.Database, state: str | None = None, campaign_ids: Collection[int] | None = None
) -> list[SavedCampaign]:
    """All, newest first; those in that state, or of these, where it is given."""
    where, given = "", []
    if state is not None:
        where, given = "WHERE state = ?", [state]
    elif campaign_ids is not None:
        where, given = f"WHERE campaign_id IN {LISTED_IDS}", [listed(campaign_ids)]
    rows = load_rows(db, _COLUMNS, f"campaigns {where} ORDER BY created_at DESC, campaign_id DESC", given)
    return [_read(row) for row in rows]


def load_campaign(db: peewee.Database, campaign_id: int) -> SavedCampaign:
    """One; CampaignMissing."""
    rows = load_rows(db, _COLUMNS, "campaigns WHERE campaign_id = ?", [campaign_id])
    if not rows:
        raise CampaignMissing(campaign_id)
    return _read(rows[0])


def load_states(db: peewee.Database) -> list[tuple[int, str, str]]:
    """(campaign id, name, state) of all, in the order in which they were made."""
    rows = load_rows(db, ("campaign_id", "name", "state"), "campaigns ORDER BY campaign_id")
    return [(row["campaign_id"], row["name"], row["state"]) for row in rows]


def load_counts(db: peewee.Database, campaign_ids: Collection[int] | None = None) -> dict[int, CampaignCounts]:
    """Counts by campaign, of all or of these; one without any is left out."""
    where, given = (
        (f"WHERE campaign_id IN {LISTED_IDS}", [listed(campaign_ids)]) if campaign_ids is not None else ("", [])
    )
    found: dict[int, dict[str, int]] = {}
    for row in load_rows(db, ("campaign_id", "kind", "amount"), f"campaign_counts {where}", given):
        if row["kind"] in _COUNTED:
            found.setdefault(row["campaign_id"], {})[row["kind"]] = row["amount"]
    return {campaign_id: CampaignCounts(**counts) for campaign_id, counts in found.items()}


def load_days(db: peewee.Database, campaign_ids: Collection[int], since_day: int) -> dict[int, list[CampaignDay]]:
    """Days from `since_day` on, by campaign."""
    columns = ("campaign_id", "day", "attempts", "answered", "connected", "abandoned", "ring_s", "talk_s")
    source = f"campaign_days WHERE day >= ? AND campaign_id IN {LISTED_IDS} ORDER BY day"
    found: dict[int, list[CampaignDay]] = {}
    for row in load_rows(db, columns, source, [since_day, listed(campaign_ids)]):
        found.setdefault(row.pop("campaign_id"), []).append(CampaignDay(**row))
    return found


def load_words(db: peewee.Database, campaign_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """Another system's own words for campaigns."""
    rows = load_rows(
        db, ("campaign_id", "words"), f"campaigns WHERE campaign_id IN {LISTED_IDS}", [listed(campaign_ids)]
    )
    return {row["campaign_id"]: json.loads(row["words"]) for row in rows}


# ---------------------------------------------------------------------------------------------------------- saving


def create_campaign(
    db: peewee.Database,
    campaign: Campaign,
    *,
    author: str,
    permissions: Sequence[str],
    at: float,
    words: Mapping[str, Any] | None = None,
) -> SavedCampaign:
    """A new one, stopped."""
    cursor = db.execute_sql(
        "INSERT INTO campaigns (name, state, epoch, body, permissions, author, words, created_at, version)"
        " VALUES (?, 'stopped', 0, ?, ?, ?, ?, ?, 1) RETURNING campaign_id",
        (campaign.name, _write(campaign), json.dumps(list(permissions)), author, json.dumps(words or {}), at),
    )
    return _tell(db, "created", load_campaign(db, cursor.fetchone()[0]), at)


def update_campaign(
    db: peewee.Database,
    campaign_id: int,
    campaign: Campaign,
    at: float,
    *,
    version: int | None = None,
    words: Mapping[str, Any] | None = None,
) -> SavedCampaign:
    """Other fields. CampaignMissing, VersionConflict; StateConflict for what must not change while it is running. What waited for a window waits anew."""
    before = load_campaign(db, campaign_id)
    if version is not None and before.version != version:
        raise VersionConflict
    if before.state == "running" and needs_stop(before.campaign, campaign):
        raise StateConflict(before.state, "Cannot update running campaign. Stop it first.")
    db.execute_sql(
        "UPDATE campaigns SET name = ?, body = ?, updated_at = ?, version = version + 1 WHERE campaign_id = ?",
        (campaign.name, _write(campaign), at, campaign_id),
    )
    if words is not None:
        db.execute_sql("UPDATE campaigns SET words = ? WHERE campaign_id = ?", (json.dumps(words), campaign_id))
    if campaign.call_window != before.campaign.call_window:
        release_held(db, campaign_id, "window")
    return _tell(db, "changed", load_campaign(db, campaign_id), at)


def delete_campaign(db: peewee.Database, campaign_id: int, at: float) -> None:
    """Takes it and its numbers away; attempts stay. CampaignMissing; StateConflict while it is running or calls are up."""
    before = load_campaign(db, campaign_id)
    if before.state == "running":
        raise StateConflict(before.state, "Cannot delete running campaign. Stop it first.")
    if db.execute_sql(
        "SELECT 1 FROM attempts WHERE campaign_id = ? AND ended_at IS NULL LIMIT 1", (campaign_id,)
    ).fetchone():
        advice = "They are being hung up, try again." if before.state == "stopped" else "Stop it first."
        raise StateConflict(before.state, f"Cannot delete campaign while its calls are up. {advice}")
    db.execute_sql("DELETE FROM campaigns WHERE campaign_id = ?", (campaign_id,))
    _tell(db, "deleted", before, at)


def change_state(
    db: peewee.Database,
    campaign_id: int,
    state: CampaignState,
    allowed: Collection[str],
    refusal: str,
    at: float,
    permissions: Sequence[str] | None = None,
) -> SavedCampaign:
    """Another state, from one of `allowed`; else StateConflict with `refusal`. `stopped` resets what was not reached yet."""
    before = load_campaign(db, campaign_id)
    if before.state not in allowed:
        raise StateConflict(before.state, refusal)
    db.execute_sql(
        "UPDATE campaigns SET state = ?, updated_at = ?, version = version + 1 WHERE campaign_id = ?",
        (state, at, campaign_id),
    )
    if permissions is not None:
        db.execute_sql(
            "UPDATE campaigns SET permissions = ? WHERE campaign_id = ?", (json.dumps(list(permissions)), campaign_id)
        )
    if state == "stopped":
        # Whom an agent has spoken of was reached: what was said of them stands.
        waiting = (NumberStatus.PENDING, NumberStatus.CALLING)
        _reset_numbers(db, campaign_id, at, waiting, only="agent_status = ''", lasting=(*_LASTING, CLOSED))
    what = "resumed" if before.state == "paused" and state == "running" else _TURNS[state]
    return _tell(db, what, load_campaign(db, campaign_id), at)


def reset_numbers(db: peewee.Database, campaign_id: int, at: float) -> int:
    """Every number is pending again, as of one that was stopped; how many."""
    db.execute_sql("UPDATE numbers SET agent_status = '' WHERE campaign_id = ? AND agent_status <> ''", (campaign_id,))
    moved = _reset_numbers(db, campaign_id, at, tuple(NumberStatus))
    _tell(db, "reset", load_campaign(db, campaign_id), at)
    return moved


def _reset_numbers(
    db: peewee.Database,
    campaign_id: int,
    at: float,
    statuses: Collection[str],
    *,
    only: str = "1 = 1",
    lasting: Collection[str] = _LASTING,
) -> int:
    """Numbers in these statuses are pending again, with no attempts; how many. A call of theirs that is up does not count any more.

    One whose call is answered and up stays answered. A number is not dialled again before its call is over, whatever its status;
    lasting: what one may wait for that goes on.
    """
    moved: dict[str, int] = {}
    for row in load_rows(
        db,
        ("status", "amount"),
        f"(SELECT status, count(*) AS amount FROM numbers WHERE campaign_id = ? AND status IN {LISTED}"  # noqa: S608 - our own text
        f" AND NOT (status = 'answered' AND call_id IS NOT NULL) AND {only} GROUP BY status) AS counted",
        [campaign_id, listed(statuses)],
    ):
        moved[row["status"]] = row["amount"]
    db.execute_sql(
        "UPDATE numbers SET status = 'pending', attempts = 0, updated_at = ?,"  # noqa: S608 - our own text
        f" due_at = CASE WHEN hold IN {LISTED} THEN due_at END, hold = CASE WHEN hold IN {LISTED} THEN hold ELSE '' END"
        f" WHERE campaign_id = ? AND status IN {LISTED} AND NOT (status = 'answered' AND call_id IS NOT NULL)"
        f" AND NOT (status = 'pending' AND attempts = 0 AND due_at IS NULL) AND {only}",
        [at, listed(lasting), listed(lasting), campaign_id, listed(statuses)],
    )
    db.execute_sql(
        "UPDATE campaigns SET epoch = epoch + 1, version = version + 1 WHERE campaign_id = ?", (campaign_id,)
    )
    total = sum(moved.values())
    changes: dict[tuple[int, str], int] = {(campaign_id, status): -amount for status, amount in moved.items()}
    changes[campaign_id, "pending"] = changes.get((campaign_id, "pending"), 0) + total
    bump_counts(db, changes)
    return total


def release_held(db: peewee.Database, campaign_id: int, hold: str) -> None:
    """What waits for that reason is looked at anew."""
    db.execute_sql(
        "UPDATE numbers SET due_at = NULL, hold = '' WHERE campaign_id = ? AND status = 'pending' AND hold = ?",
        (campaign_id, hold),
    )


def shift_due_times(db: peewee.Database, jump_s: float, since: float, now: float) -> None:
    """The wall clock has jumped: what waits for so long after its last attempt keeps its distance. What waits for a time of day does not.

    since, now: what was written between them, by the new clock, is right already.
    """
    db.execute_sql(
        f"UPDATE numbers SET due_at = due_at + ? WHERE status = 'pending' AND due_at IS NOT NULL AND hold IN {LISTED}"  # noqa: S608 - our own text
        " AND (updated_at IS NULL OR updated_at NOT BETWEEN ? AND ?)",
        (jump_s, listed(_DELAYS), since, now),
    )


# -------------------------------------------------------------------------------------------------------- counting


def move_count(counts: dict[tuple[int, str], int], campaign_id: int, before: str, after: str) -> None:
    """One number goes from one status to another."""
    add_count(counts, campaign_id, before, -1)
    add_count(counts, campaign_id, after, 1)


def add_count(counts: dict[tuple[int, str], int], campaign_id: int, kind: str, amount: int) -> None:
    """That many more of a kind, in what `bump_counts` takes."""
    counts[campaign_id, kind] = counts.get((campaign_id, kind), 0) + amount


def bump_counts(db: peewee.Database, changes: Mapping[tuple[int, str], int]) -> None:
    """Adds to counts: (campaign, kind) -> how many more or fewer."""
    for (campaign_id, kind), amount in sorted(changes.items()):
        if amount:
            db.execute_sql(
                "INSERT INTO campaign_counts (campaign_id, kind, amount) VALUES (?, ?, ?)"
                " ON CONFLICT (campaign_id, kind) DO UPDATE SET amount = campaign_counts.amount + excluded.amount",
                (campaign_id, kind, amount),
            )


def bump_days(db: peewee.Database, days: Mapping[tuple[int, int], CampaignDay]) -> None:
    """Adds to days: (campaign, day) -> what comes on top."""
    for (campaign_id, day), more in sorted(days.items()):
        db.execute_sql(
            "INSERT INTO campaign_days (campaign_id, day, attempts, answered, connected, abandoned, ring_s, talk_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (campaign_id, day) DO UPDATE SET"
            " attempts = campaign_days.attempts + excluded.attempts, answered = campaign_days.answered + excluded.answered,"
            " connected = campaign_days.connected + excluded.connected, abandoned = campaign_days.abandoned + excluded.abandoned,"
            " ring_s = campaign_days.ring_s + excluded.ring_s, talk_s = campaign_days.talk_s + excluded.talk_s",
            (campaign_id, day, more.attempts, more.answered, more.connected, more.abandoned, more.ring_s, more.talk_s),
        )


def _tell(db: peewee.Database, what: str, saved: SavedCampaign, at: float) -> SavedCampaign:
    """Keeps what happened to a campaign for whoever listens; the campaign."""
    if listeners := load_listeners(db):
        told = {"campaign_id": saved.campaign_id, "name": saved.campaign.name, "state": saved.state}
        queue_events(db, listeners, [Event(f"campaign.{what}", at, told)])
    return saved


def _write(campaign: Campaign) -> str:
    return _CAMPAIGN.dump_json(campaign).decode()


@lru_cache(maxsize=1024)
def _read_body(body: str) -> Campaign:
    """Read once: it is frozen, and each claim and each end of a call asks for it."""
    return _CAMPAIGN.validate_json(body)


def _read(row: dict[str, Any]) -> SavedCampaign:
    return SavedCampaign(
        campaign_id=row["campaign_id"],
        campaign=_read_body(row["body"]),
        state=row["state"],
        epoch=row["epoch"],
        permissions=tuple(json.loads(row["permissions"])),
        author=row["author"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )
