# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Lists of numbers that must not be called; never dials, and never changes a number of a campaign. Every function is work for a Store.

A number is kept as its key (E.164 digits without +), so that however it is written it is found. `global` holds for every campaign.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import peewee

from tandem.store.campaigns import load_campaigns
from tandem.store.rows import LISTED, insert_rows, listed, load_rows

GLOBAL: Final = "global"
MAX_PAGE: Final = 1000
# json keeps the interpreter for as long as one text takes.
_BATCH: Final = 5000


class ListMissing(KeyError):
    """There is no such list."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class ListExists(Exception):
    """There is one of that name already."""


class ListUsed(Exception):
    """Campaigns have it, or it is `global`; `campaigns` are their ids."""

    def __init__(self, name: str, campaigns: Sequence[int]) -> None:
        used = f"used by campaign {', '.join(map(str, campaigns))}" if campaigns else "every campaign's"
        super().__init__(f"list {name} is {used}")
        self.campaigns = tuple(campaigns)


@dataclass(frozen=True, slots=True)
class DncList:
    """A list. Times are seconds since 1970; updated_at: when numbers were last added or taken off, 0 for never."""

    name: str
    numbers: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class DncNumber:
    """A number on a list, by its key. added_at: seconds since 1970."""

    number: str
    added_at: float
    author: str


def load_dnc_lists(db: peewee.Database, name: str | None = None) -> list[DncList]:
    """All lists, or the one of that name (none where there is none)."""
    where, given = ("WHERE name = ?", [name]) if name is not None else ("", [])
    columns = ("name", "numbers", "created_at", "updated_at")
    source = (
        "(SELECT name, (SELECT count(*) FROM dnc_numbers WHERE list = name) AS numbers, created_at, updated_at"  # noqa: S608 - our own text
        f" FROM dnc_lists {where}) AS lists ORDER BY name"
    )
    return [DncList(**row) for row in load_rows(db, columns, source, given)]


def create_dnc_list(db: peewee.Database, name: str, at: float) -> DncList:
    """A new, empty one; ListExists."""
    if load_dnc_lists(db, name):
        raise ListExists(f"list {name} is there already")
    db.execute_sql("INSERT INTO dnc_lists (name, created_at, updated_at) VALUES (?, ?, 0)", (name, at))
    return DncList(name, 0, at, 0.0)


def delete_dnc_list(db: peewee.Database, name: str) -> None:
    """Takes a list and its numbers away; ListMissing; ListUsed while a campaign has it."""
    check_dnc_lists(db, [name])
    users = [saved.campaign_id for saved in load_campaigns(db) if name in saved.campaign.dnc_lists]
    if name == GLOBAL or users:
        raise ListUsed(name, sorted(users))
    db.execute_sql("DELETE FROM dnc_lists WHERE name = ?", (name,))


def check_dnc_lists(db: peewee.Database, names: Collection[str]) -> None:
    """ListMissing for the first that is none."""
    known = {row["name"] for row in load_rows(db, ("name",), f"dnc_lists WHERE name IN {LISTED}", [listed(names)])}
    for name in names:
        if name not in known:
            raise ListMissing(name)


def add_dnc_numbers(db: peewee.Database, name: str, keys: Iterable[str], at: float, author: str) -> int:
    """Puts numbers on a list; how many were not on it. ListMissing."""
    check_dnc_lists(db, [name])
    wanted = sorted(set(keys))
    fresh = set(wanted) - find_dnc_numbers(db, name, wanted)
    rows = [{"list": name, "number_key": key, "added_at": at, "author": author} for key in sorted(fresh)]
    insert_rows(
        db,
        "dnc_numbers",
        ("list", "number_key", "added_at", "author"),
        rows,
        "ON CONFLICT (list, number_key) DO NOTHING",
    )
    db.execute_sql("UPDATE dnc_lists SET updated_at = ? WHERE name = ?", (at, name))
    return len(fresh)


def delete_dnc_numbers(db: peewee.Database, name: str, keys: Iterable[str], at: float) -> int:
    """Takes numbers off a list; how many were on it. ListMissing."""
    check_dnc_lists(db, [name])
    found = find_dnc_numbers(db, name, keys)
    db.execute_sql(f"DELETE FROM dnc_numbers WHERE list = ? AND number_key IN {LISTED}", (name, listed(found)))  # noqa: S608 - our own text
    db.execute_sql("UPDATE dnc_lists SET updated_at = ? WHERE name = ?", (at, name))
    return len(found)


def find_dnc_numbers(db: peewee.Database, name: str, keys: Iterable[str]) -> set[str]:
    """Those of these that are on the list."""
    rows = load_rows(
        db, ("number_key",), f"dnc_numbers WHERE list = ? AND number_key IN {LISTED}", [name, listed(set(keys))]
    )
    return {row["number_key"] for row in rows}


def load_dnc_number(db: peewee.Database, name: str, key: str) -> DncNumber | None:
    """One number of a list; ListMissing."""
    check_dnc_lists(db, [name])
    source = "dnc_numbers WHERE list = ? AND number_key = ?"
    rows = load_rows(db, ("number_key", "added_at", "author"), source, [name, key])
    return DncNumber(key, rows[0]["added_at"], rows[0]["author"]) if rows else None


def load_dnc_numbers(db: peewee.Database, name: str, after: str = "", limit: int = 100) -> list[DncNumber]:
    """A page in the order of the keys, after the last key of the page before; ListMissing."""
    check_dnc_lists(db, [name])
    rows = load_rows(
        db,
        ("number_key", "added_at", "author"),
        "dnc_numbers WHERE list = ? AND number_key > ? ORDER BY number_key LIMIT ?",
        [name, after, max(0, min(limit, MAX_PAGE))],
    )
    return [DncNumber(row["number_key"], row["added_at"], row["author"]) for row in rows]
