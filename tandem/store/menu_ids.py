# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Whole numbers for menus and their keys, for clients that know no names; one that was given never names anything else. Every function is work for a Store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import peewee

from tandem.store.rows import LISTED, insert_rows, listed, load_rows

# What a menu does on a wrong key and on silence, as keys.
INVALID: Final = "i"
SILENCE: Final = "t"


@dataclass(frozen=True, slots=True)
class MenuNumbers:
    """The numbers of one menu. actions: keys, `i` or `t` -> number. Times are those of its revisions; updated_at: null until it was changed."""

    menu_id: int
    actions: Mapping[str, int]
    created_at: datetime | None
    updated_at: datetime | None


def load_menu_ids(db: peewee.Database) -> dict[str, int]:
    """Name -> number of every menu that has one, also of those that are gone."""
    return {row["name"]: row["menu_id"] for row in load_rows(db, ("name", "menu_id"), "menu_ids")}


def lacks_numbers(db: peewee.Database, menus: Mapping[str, Iterable[str]]) -> bool:
    """Whether a menu (name -> its keys) or a key of one has no number yet."""
    known = load_menu_ids(db)
    given = {(row["menu_id"], row["digits"]) for row in load_rows(db, ("menu_id", "digits"), "menu_action_ids")}
    return any(
        name not in known or any((known[name], key) not in given for key in keys) for name, keys in menus.items()
    )


def number_menus(db: peewee.Database, menus: Mapping[str, Iterable[str]]) -> None:
    """Gives a number to each menu (name -> its keys) and key that has none."""
    insert_rows(db, "menu_ids", ("name",), [{"name": name} for name in menus], "ON CONFLICT DO NOTHING")
    ids = load_menu_ids(db)
    keys = [{"menu_id": ids[name], "digits": key} for name, keys in menus.items() for key in keys]
    insert_rows(db, "menu_action_ids", ("menu_id", "digits"), keys, "ON CONFLICT DO NOTHING")


def load_menu_numbers(db: peewee.Database, names: Iterable[str]) -> dict[str, MenuNumbers]:
    """What there is of these menus."""
    wanted = listed(names)
    actions: dict[int, dict[str, int]] = {}
    for row in load_rows(db, ("menu_id", "digits", "action_id"), "menu_action_ids"):
        actions.setdefault(row["menu_id"], {})[row["digits"]] = row["action_id"]
    times = {
        row["key"]: (row["first"], row["last"])
        for row in load_rows(
            db,
            ("key", "first", "last"),
            "(SELECT objects.key, min(revisions.created_at) AS first, max(revisions.created_at) AS last"  # noqa: S608 - our own text
            " FROM objects JOIN revisions ON revisions.number = objects.since"
            f" WHERE objects.collection = 'menus' AND objects.key IN {LISTED} GROUP BY objects.key) AS made",
            [wanted],
        )
    }
    found = {}
    for row in load_rows(db, ("name", "menu_id"), f"menu_ids WHERE name IN {LISTED}", [wanted]):
        first, last = times.get(row["name"], (None, None))
        found[row["name"]] = MenuNumbers(
            row["menu_id"],
            actions.get(row["menu_id"], {}),
            datetime.fromisoformat(first) if first is not None else None,
            datetime.fromisoformat(last) if last is not None and last != first else None,
        )
    return found
