# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Groups of people: which campaigns those in one see and what they may do at most; never gives anybody more than their role. Every function is work for a Store."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import peewee

from tandem.store.campaigns import load_campaign
from tandem.store.rows import load_rows

_COLUMNS: Final = ("name", "title", "campaigns", "permissions", "created_at", "updated_at")


class UserGroupMissing(KeyError):
    """There is no such group."""


class UserGroupExists(Exception):
    """The name is taken, whatever its capitals."""


class UserGroupUsed(Exception):
    """Somebody is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserGroup:
    """A group. campaigns: the only ones that those in it see and change, null for all; permissions: no more than these, null for no limit. Times are seconds since 1970."""

    name: str
    title: str
    campaigns: tuple[int, ...] | None
    permissions: tuple[str, ...] | None
    created_at: float
    updated_at: float | None


def load_user_groups(db: peewee.Database) -> list[UserGroup]:
    """All, by name."""
    return [_read(row) for row in load_rows(db, _COLUMNS, "user_groups ORDER BY name")]


def load_user_group(db: peewee.Database, name: str) -> UserGroup:
    """One; UserGroupMissing."""
    rows = load_rows(db, _COLUMNS, "user_groups WHERE name = ?", [name])
    if not rows:
        raise UserGroupMissing(name)
    return _read(rows[0])


def create_user_group(
    db: peewee.Database,
    name: str,
    title: str,
    at: float,
    *,
    campaigns: Sequence[int] | None = None,
    permissions: Sequence[str] | None = None,
) -> UserGroup:
    """A new one; UserGroupExists, CampaignMissing."""
    if load_rows(db, ("name",), "user_groups WHERE lower(name) = lower(?)", [name]):
        raise UserGroupExists(f"there is a group {name} already")
    _check_campaigns(db, campaigns)
    db.execute_sql(
        "INSERT INTO user_groups (name, title, campaigns, permissions, created_at) VALUES (?, ?, ?, ?, ?)",
        (name, title, _write(campaigns), _write(permissions), at),
    )
    return load_user_group(db, name)


def update_user_group(
    db: peewee.Database,
    name: str,
    at: float,
    *,
    title: str,
    campaigns: Sequence[int] | None,
    permissions: Sequence[str] | None,
) -> UserGroup:
    """All of it anew; UserGroupMissing, CampaignMissing."""
    load_user_group(db, name)
    _check_campaigns(db, campaigns)
    db.execute_sql(
        "UPDATE user_groups SET title = ?, campaigns = ?, permissions = ?, updated_at = ? WHERE name = ?",
        (title, _write(campaigns), _write(permissions), at, name),
    )
    return load_user_group(db, name)


def delete_user_group(db: peewee.Database, name: str) -> UserGroup:
    """Takes it away; UserGroupMissing, UserGroupUsed while somebody is in it."""
    before = load_user_group(db, name)
    users = load_rows(db, ("name",), "users WHERE user_group = ? ORDER BY name LIMIT 5", [name])
    if users:
        raise UserGroupUsed(f"in group {name} are {', '.join(row['name'] for row in users)}")
    db.execute_sql("DELETE FROM user_groups WHERE name = ?", (name,))
    return before


def admit_campaign(db: peewee.Database, name: str, campaign_id: int, at: float) -> None:
    """Those in a group see a campaign too, which one of them has just made."""
    group = load_user_group(db, name)
    if group.campaigns is None or campaign_id in group.campaigns:
        return
    # Campaigns that are gone meanwhile are nobody's: their ids are never used again.
    alive = {row["campaign_id"] for row in load_rows(db, ("campaign_id",), "campaigns")}
    kept = (*(one for one in group.campaigns if one in alive), campaign_id)
    db.execute_sql("UPDATE user_groups SET campaigns = ?, updated_at = ? WHERE name = ?", (_write(kept), at, name))


def _check_campaigns(db: peewee.Database, campaigns: Sequence[int] | None) -> None:
    for campaign_id in campaigns or ():
        load_campaign(db, campaign_id)


def _write(values: Sequence[Any] | None) -> str | None:
    return json.dumps(list(values)) if values is not None else None


def _read(row: dict[str, Any]) -> UserGroup:
    lists = {
        name: tuple(json.loads(row[name])) if row[name] is not None else None for name in ("campaigns", "permissions")
    }
    return UserGroup(**{**row, **lists})
