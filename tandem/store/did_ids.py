# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Whole numbers for DIDs, for clients that know no names, and whose an object is; never touches an object. Every function is work for a Store."""

from collections.abc import Iterable

import peewee

from tandem.store.rows import insert_rows, load_rows


def load_did_ids(db: peewee.Database) -> dict[str, int]:
    """The DID's number -> its whole number, also of those that are gone."""
    return {row["name"]: row["did_id"] for row in load_rows(db, ("name", "did_id"), "did_ids")}


def number_dids(db: peewee.Database, names: Iterable[str]) -> dict[str, int]:
    """The same, once each of these has one."""
    insert_rows(db, "did_ids", ("name",), [{"name": name} for name in names], "ON CONFLICT DO NOTHING")
    return load_did_ids(db)


def rename_did(db: peewee.Database, old: str, new: str) -> None:
    """A DID that is written differently keeps its number; one that the new name had is never used again."""
    db.execute_sql("DELETE FROM did_ids WHERE name = ?", (new,))
    db.execute_sql("UPDATE did_ids SET name = ? WHERE name = ?", (new, old))


def load_groups(db: peewee.Database, collection: str) -> dict[str, str]:
    """Name -> group of the objects of a collection that are somebody's."""
    rows = load_rows(db, ("name", "user_group"), "object_groups WHERE collection = ?", (collection,))
    return {row["name"]: row["user_group"] for row in rows}


def save_group(db: peewee.Database, collection: str, name: str, user_group: str | None) -> None:
    """Says whose an object is; None: everybody's."""
    db.execute_sql("DELETE FROM object_groups WHERE collection = ? AND name = ?", (collection, name))
    if user_group is not None:
        row = {"collection": collection, "name": name, "user_group": user_group}
        insert_rows(db, "object_groups", ("collection", "name", "user_group"), [row])
