# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Saves and loads the objects of the PBX by revision; never applies one. Every function is work for a Store.

Objects are ordered by collection and key, not as the document had them: no rule depends on their order, and so a document that was
only sorted differently is the same revision.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import peewee

from tandem.domain.entities import COLLECTIONS, Entity, General, Pbx
from tandem.store.bodies import GENERAL, decode_body, encode_body
from tandem.store.revisions import load_head
from tandem.store.rows import LISTED, insert_rows, listed
from tandem.store.tables import RevisionRow

_AT_REVISION = "since <= :revision AND (until IS NULL OR until > :revision)"


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving did. With no difference, revision is the head as it was."""

    revision: int
    added: int
    changed: int
    removed: int

    @property
    def is_new(self) -> bool:
        """Whether there was anything to save."""
        return bool(self.added or self.changed or self.removed)


class HeadMoved(Exception):
    """Somebody else made a revision since `expected` was read."""

    def __init__(self, expected: int, head: int) -> None:
        super().__init__(f"revision {expected} is no longer the newest: {head} is")
        self.expected, self.head = expected, head


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of one collection, as one text with a body per line, and the last key; empty at the end.

    One row instead of many: sqlite3 lets go of the interpreter's lock for every row and must get it back from a busy reactor.
    """

    bodies: str
    last_key: str


@dataclass(frozen=True, slots=True)
class Change:
    """An object that two revisions do not have alike; body is None where the second does not have it."""

    collection: str
    key: str
    body: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What makes one PBX of another: bodies of objects that are new, of those that change, and names of those that go."""

    added: Mapping[tuple[str, str], str]
    changed: Mapping[tuple[str, str], str]
    removed: tuple[tuple[str, str], ...]


def save_pbx(db: peewee.Database, pbx: Pbx, *, author: str, note: str, at: datetime) -> Saved:
    """Makes `pbx` the head, object by object; the same PBX again is no new revision. ValueError for a name that is there twice."""
    return _save_difference(db, compare_head(db, pbx), author=author, note=note, at=at)


def compare_head(db: peewee.Database, pbx: Pbx) -> Difference:
    """What makes `pbx` of the head. ValueError for a name that is there twice."""
    left = _encode_pbx(pbx)
    changed: dict[tuple[str, str], str] = {}
    removed: list[tuple[str, str]] = []
    for collection, key, body in db.execute_sql("SELECT collection, key, body FROM objects WHERE until IS NULL"):
        new = left.pop((collection, key), None)
        if new is None:
            removed.append((collection, key))
        elif new != body:
            changed[collection, key] = new
    return Difference(left, changed, tuple(removed))


def save_difference(
    db: peewee.Database, difference: Difference, *, expected: int, author: str, note: str, at: datetime
) -> Saved:
    """Makes what was compared with revision `expected` the head; HeadMoved if that is not the head any more."""
    head = load_head(db)
    if head != expected:
        raise HeadMoved(expected, head)
    return _save_difference(db, difference, author=author, note=note, at=at)


def load_bodies(db: peewee.Database, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """These objects as the head has them; those that it does not have are left out."""
    keys: dict[str, list[str]] = {}
    for collection, key in names:
        keys.setdefault(collection, []).append(key)
    sql = f"SELECT key, body FROM objects WHERE collection = ? AND key IN {LISTED} AND until IS NULL"  # noqa: S608 - our constant
    return {
        (collection, key): body
        for collection, wanted in keys.items()
        for key, body in db.execute_sql(sql, (collection, listed(wanted))).fetchall()
    }


def _save_difference(db: peewee.Database, difference: Difference, *, author: str, note: str, at: datetime) -> Saved:
    added, changed, removed = difference.added, difference.changed, difference.removed
    saved = Saved(load_head(db), len(added), len(changed), len(removed))
    if not saved.is_new:
        return saved
    revision = saved.revision + 1
    RevisionRow.insert(
        number=revision,
        created_at=at,
        author=author,
        note=note,
        added=saved.added,
        changed=saved.changed,
        removed=saved.removed,
    ).execute(db)
    gone: dict[str, list[str]] = {}
    for collection, key in (*changed, *removed):
        gone.setdefault(collection, []).append(key)
    for collection, keys in gone.items():
        db.execute_sql(
            f"UPDATE objects SET until = ? WHERE collection = ? AND key IN {LISTED} AND until IS NULL",  # noqa: S608 - our constant
            (revision, collection, listed(keys)),
        )
    insert_rows(
        db,
        "objects",
        ("collection", "key", "since", "body"),
        [
            {"collection": collection, "key": key, "since": revision, "body": body}
            for (collection, key), body in {**changed, **added}.items()
        ],
    )
    return Saved(revision, saved.added, saved.changed, saved.removed)


def save_object(
    db: peewee.Database, entity: Entity | General, *, expected: int, author: str, note: str, at: datetime
) -> Saved:
    """A new head with this object as it is here, new or changed; the same again is no new revision.

    `expected` is the revision by which the object was checked: HeadMoved if it is not the head any more.
    """
    collection, key = _place_of(entity)
    return _save_edit(db, collection, key, encode_body(entity), expected=expected, author=author, note=note, at=at)


def delete_object(
    db: peewee.Database, collection: str, key: str, *, expected: int, author: str, note: str, at: datetime
) -> Saved:
    """A new head without an object; KeyError if the head has none of that name, HeadMoved as `save_object`."""
    return _save_edit(db, collection, key, None, expected=expected, author=author, note=note, at=at)


def _save_edit(
    db: peewee.Database,
    collection: str,
    key: str,
    body: str | None,
    *,
    expected: int,
    author: str,
    note: str,
    at: datetime,
) -> Saved:
    head = load_head(db)
    if head != expected:
        raise HeadMoved(expected, head)
    name = (collection, key)
    row = db.execute_sql("SELECT body FROM objects WHERE collection = ? AND key = ? AND until IS NULL", name).fetchone()
    if row is None and body is None:
        raise KeyError(key)
    if row is not None and row[0] == body:
        return Saved(head, 0, 0, 0)
    saved = Saved(head + 1, int(row is None), int(row is not None and body is not None), int(body is None))
    RevisionRow.insert(
        number=saved.revision,
        created_at=at,
        author=author,
        note=note,
        added=saved.added,
        changed=saved.changed,
        removed=saved.removed,
    ).execute(db)
    db.execute_sql(
        "UPDATE objects SET until = ? WHERE collection = ? AND key = ? AND until IS NULL", (saved.revision, *name)
    )
    if body is not None:
        db.execute_sql(
            "INSERT INTO objects (collection, key, since, body) VALUES (?, ?, ?, ?)", (*name, saved.revision, body)
        )
    return saved


def _place_of(entity: Entity | General) -> tuple[str, str]:
    if isinstance(entity, General):
        return GENERAL, ""
    collection = next(name for name, (kind, _) in COLLECTIONS.items() if type(entity) is kind)
    return collection, getattr(entity, COLLECTIONS[collection][1])


def load_pbx(db: peewee.Database, revision: int | None = None) -> Pbx:
    """The PBX at a revision, or at the head; an empty one before the first. KeyError for a revision that does not exist."""
    head = load_head(db)
    chosen = head if revision is None else revision
    if not 0 <= chosen <= head:
        raise KeyError(chosen)
    found: dict[str, list[Any]] = {}
    sql = f"SELECT collection, body FROM objects WHERE {_AT_REVISION} ORDER BY collection, key"  # noqa: S608 - our constant
    for collection, body in db.execute_sql(sql, {"revision": chosen}):
        found.setdefault(collection, []).append(decode_body(collection, body))
    (general,) = found.pop(GENERAL, [General()])
    return Pbx(general=general, **{collection: tuple(entities) for collection, entities in found.items()})


def load_page(db: peewee.Database, revision: int, collection: str, after_key: str, limit: int) -> Page:
    """The next objects of a collection at a revision, in the order of their keys; pages fit together whatever is written meanwhile."""
    sql = (
        "SELECT group_concat(body, char(10)), max(key) FROM (SELECT key, body FROM objects "  # noqa: S608 - our constant
        f"WHERE collection = :collection AND key > :after AND {_AT_REVISION} ORDER BY key LIMIT :limit) AS page"
    )
    values = {"collection": collection, "after": after_key, "revision": revision, "limit": limit}
    bodies, last_key = db.execute_sql(sql, values).fetchone()
    return Page(bodies or "", last_key or "")


def load_general(db: peewee.Database, revision: int) -> str | None:
    """The body of the general settings at a revision; None where nothing was saved yet."""
    sql = f"SELECT body FROM objects WHERE collection = '{GENERAL}' AND {_AT_REVISION}"  # noqa: S608 - our constants
    row = db.execute_sql(sql, {"revision": revision}).fetchone()
    return None if row is None else row[0]


def load_changes(db: peewee.Database, before: int, after: int, limit: int) -> list[Change]:
    """What makes revision `after` of revision `before`, in either direction; at most `limit` of it."""
    sql = (
        "SELECT named.collection, named.key, o.body FROM ("
        "SELECT collection, key FROM objects WHERE since > :low AND since <= :high UNION "
        "SELECT collection, key FROM objects WHERE until > :low AND until <= :high LIMIT :limit) AS named "
        "LEFT JOIN objects AS o ON o.collection = named.collection AND o.key = named.key "
        "AND o.since <= :revision AND (o.until IS NULL OR o.until > :revision) "
        # What came and went in between is in neither.
        "WHERE o.body IS NOT NULL OR EXISTS (SELECT 1 FROM objects AS old WHERE old.collection = named.collection "
        "AND old.key = named.key AND old.since <= :before AND (old.until IS NULL OR old.until > :before))"
    )
    low, high = sorted((before, after))
    values = {"low": low, "high": high, "revision": after, "before": before, "limit": limit}
    return [Change(*row) for row in db.execute_sql(sql, values).fetchall()]


def _encode_pbx(pbx: Pbx) -> dict[tuple[str, str], str]:
    encoded = {(GENERAL, ""): encode_body(pbx.general)}
    for collection, key, body in _bodies_of(pbx):
        if (collection, key) in encoded:
            raise ValueError(f"{collection}: {key} is there twice")
        encoded[collection, key] = body
    return encoded


def _bodies_of(pbx: Pbx) -> Iterator[tuple[str, str, str]]:
    named: Mapping[str, tuple[type, str]] = COLLECTIONS
    for collection, (_, key) in named.items():
        for entity in getattr(pbx, collection):
            yield collection, getattr(entity, key), encode_body(entity)
