# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Lists that feed campaigns with numbers; a list holds no numbers of its own: they are those of its campaign, with its id. Every function is work for a Store."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import peewee

from tandem.store.campaigns import bump_counts, load_campaign
from tandem.store.rows import LISTED_IDS, listed, load_rows

_COLUMNS: Final = (
    "list_id", "campaign_id", "name", "description", "is_active", "numbers", "created_at", "updated_at",
)  # fmt: skip


class NumberListMissing(KeyError):
    """There is no such list of numbers, or the campaign has none of that id."""


class NumberListExists(Exception):
    """The id is taken."""


class NumberListBusy(Exception):
    """A number of the list is being called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberList:
    """A list. is_active: else none of its numbers is dialled; numbers: how many it has. Times are seconds since 1970."""

    list_id: int
    campaign_id: int
    name: str
    description: str
    is_active: bool
    numbers: int
    created_at: float
    updated_at: float | None


def load_number_lists(db: peewee.Database, campaign_id: int | None = None) -> list[NumberList]:
    """All, or those of a campaign, by id."""
    where, given = ("WHERE campaign_id = ?", [campaign_id]) if campaign_id is not None else ("", [])
    return [_read(row) for row in load_rows(db, _COLUMNS, f"number_lists {where} ORDER BY list_id", given)]


def load_number_list(db: peewee.Database, list_id: int) -> NumberList:
    """One; NumberListMissing."""
    rows = load_rows(db, _COLUMNS, "number_lists WHERE list_id = ?", [list_id])
    if not rows:
        raise NumberListMissing(list_id)
    return _read(rows[0])


def load_inactive_lists(db: peewee.Database, campaign_id: int) -> frozenset[int]:
    """The lists of a campaign whose numbers are not dialled."""
    rows = load_rows(db, ("list_id",), "number_lists WHERE campaign_id = ? AND is_active = 0", [campaign_id])
    return frozenset(row["list_id"] for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadCount:
    """Numbers of a list that have this in common. is_called: since the last reset."""

    status: str
    agent_status: str
    disposition: str
    utc_offset_min: int | None
    is_called: bool
    amount: int


def count_numbers_of_list(db: peewee.Database, list_id: int) -> list[LeadCount]:
    """Every number of a list, counted."""
    columns = ("status", "agent_status", "disposition", "utc_offset_min")
    source = (
        f"(SELECT {', '.join(columns)}, CASE WHEN attempts > 0 THEN 1 ELSE 0 END AS is_called, count(*) AS amount"  # noqa: S608 - our own text
        f" FROM numbers WHERE list_id = ? GROUP BY {', '.join(columns)}, CASE WHEN attempts > 0 THEN 1 ELSE 0 END) AS counted"
    )
    rows = load_rows(db, (*columns, "is_called", "amount"), source, [list_id])
    return [LeadCount(**{**row, "is_called": bool(row["is_called"]), "disposition": row["disposition"] or ""}) for row in rows]  # fmt: skip


def create_number_list(
    db: peewee.Database,
    campaign_id: int,
    name: str,
    at: float,
    *,
    description: str = "",
    is_active: bool = True,
    list_id: int | None = None,
) -> NumberList:
    """A new, empty list; CampaignMissing, NumberListExists where the wanted id is taken."""
    load_campaign(db, campaign_id)
    if list_id is not None and load_rows(db, ("list_id",), "number_lists WHERE list_id = ?", [list_id]):
        raise NumberListExists(f"there is a list {list_id} already")
    number = list_id if list_id is not None else _next_id(db)
    db.execute_sql(
        "INSERT INTO number_lists (list_id, campaign_id, name, description, is_active, numbers, created_at)"
        " VALUES (?, ?, ?, ?, ?, 0, ?)",
        (number, campaign_id, name, description, int(is_active), at),
    )
    return load_number_list(db, number)


def _next_id(db: peewee.Database) -> int:
    """Clients choose ids of their own, which PostgreSQL's sequence does not know."""
    return int(db.execute_sql("SELECT coalesce(max(list_id), 0) + 1 FROM number_lists").fetchone()[0])


def update_number_list(
    db: peewee.Database,
    list_id: int,
    at: float,
    *,
    name: str | None = None,
    description: str | None = None,
    is_active: bool | None = None,
    campaign_id: int | None = None,
) -> NumberList:
    """What is given. Another campaign takes its numbers along; NumberListMissing, CampaignMissing, NumberListBusy."""
    before = load_number_list(db, list_id)
    active = before.is_active if is_active is None else is_active
    db.execute_sql(
        "UPDATE number_lists SET name = ?, description = ?, is_active = ?, updated_at = ? WHERE list_id = ?",
        (
            before.name if name is None else name,
            before.description if description is None else description,
            int(active),
            at,
            list_id,
        ),
    )
    if campaign_id is not None and campaign_id != before.campaign_id:
        _move(db, before, campaign_id)
    if active and not before.is_active:
        db.execute_sql(
            "UPDATE numbers SET due_at = NULL, hold = '' WHERE list_id = ? AND status = 'pending' AND hold = 'list'",
            (list_id,),
        )
    return load_number_list(db, list_id)


def _move(db: peewee.Database, before: NumberList, campaign_id: int) -> None:
    load_campaign(db, campaign_id)
    amounts = _count_idle(db, before.list_id)
    db.execute_sql("UPDATE number_lists SET campaign_id = ? WHERE list_id = ?", (campaign_id, before.list_id))
    # Windows and trunks are the campaign's: what waits for those of the old one is looked at anew.
    db.execute_sql(
        "UPDATE numbers SET due_at = NULL, hold = '' WHERE list_id = ? AND hold IN ('window', 'trunk')",
        (before.list_id,),
    )
    db.execute_sql("UPDATE numbers SET campaign_id = ? WHERE list_id = ?", (campaign_id, before.list_id))
    bump_counts(db, {(before.campaign_id, status): -amount for status, amount in amounts.items()})
    bump_counts(db, {(campaign_id, status): amount for status, amount in amounts.items()})


def delete_number_list(db: peewee.Database, list_id: int) -> NumberList:
    """Takes it and its numbers away; their attempts stay. NumberListMissing, NumberListBusy."""
    before = load_number_list(db, list_id)
    amounts = _count_idle(db, list_id)
    db.execute_sql("DELETE FROM numbers WHERE list_id = ?", (list_id,))
    db.execute_sql("DELETE FROM number_lists WHERE list_id = ?", (list_id,))
    bump_counts(db, {(before.campaign_id, status): -amount for status, amount in amounts.items()})
    return before


def _count_idle(db: peewee.Database, list_id: int) -> dict[str, int]:
    """How many numbers it has in each status; NumberListBusy while one is being called."""
    if db.execute_sql(
        "SELECT 1 FROM numbers WHERE list_id = ? AND (call_id IS NOT NULL OR status = 'calling') LIMIT 1", (list_id,)
    ).fetchone():
        raise NumberListBusy(f"a number of list {list_id} is being called")
    rows = load_rows(
        db,
        ("status", "amount"),
        "(SELECT status, count(*) AS amount FROM numbers WHERE list_id = ? GROUP BY status) AS counted",
        [list_id],
    )
    return {row["status"]: row["amount"] for row in rows}


def check_number_lists(db: peewee.Database, campaign_id: int, list_ids: Collection[int]) -> None:
    """NumberListMissing for the first that is none of the campaign's."""
    if not list_ids:
        return
    source = f"number_lists WHERE campaign_id = ? AND list_id IN {LISTED_IDS}"
    known = {row["list_id"] for row in load_rows(db, ("list_id",), source, [campaign_id, listed(list_ids)])}
    for list_id in list_ids:
        if list_id not in known:
            raise NumberListMissing(list_id)


def bump_lists(db: peewee.Database, list_ids: Iterable[int | None], sign: int = 1) -> None:
    """Adds to how many numbers lists have: one for each time that a list is named."""
    for list_id, amount in sorted(Counter(one for one in list_ids if one is not None).items()):
        db.execute_sql("UPDATE number_lists SET numbers = numbers + ? WHERE list_id = ?", (sign * amount, list_id))


def _read(row: dict[str, Any]) -> NumberList:
    return NumberList(**{**row, "is_active": bool(row["is_active"])})
