"""What revisions changed, field by field, and a rollback; every function is work for a Store, and secrets are masked."""

from datetime import datetime
from typing import Any, Final

import orjson
import peewee

from tandem.domain.changes import MASK, FieldChange, ObjectChange, show_value
from tandem.domain.problems import SECRET_FIELDS
from tandem.store.objects import Difference, Saved, load_bodies, load_changes, load_pbx, save_pbx

MAX_SHOWN_OBJECTS: Final = 1000


def load_object_changes(db: peewee.Database, before: int, after: int) -> tuple[ObjectChange, ...]:
    """What makes revision `after` of revision `before`, field by field, with secrets masked."""
    new = {(it.collection, it.key): it.body for it in load_changes(db, before, after, MAX_SHOWN_OBJECTS)}
    old = {(it.collection, it.key): it.body for it in load_changes(db, after, before, MAX_SHOWN_OBJECTS)}
    changes = []
    for name in sorted(new.keys() | old.keys()):
        was, will = old.get(name), new.get(name)
        if was == will:
            continue
        if was is None or will is None:
            changes.append(ObjectChange(*name, "added" if was is None else "removed"))
        else:
            changes.append(ObjectChange(*name, "changed", tuple(compare_bodies(was, will))))
    return tuple(changes)


def describe_difference(db: peewee.Database, difference: Difference) -> tuple[ObjectChange, ...]:
    """A difference to the head, field by field, with secrets masked."""
    before = load_bodies(db, difference.changed)
    changes = [
        *(ObjectChange(*name, "added") for name in difference.added),
        *(ObjectChange(*name, "removed") for name in difference.removed),
        *(
            ObjectChange(*name, "changed", tuple(compare_bodies(before[name], body)))
            for name, body in difference.changed.items()
        ),
    ]
    return tuple(sorted(changes, key=lambda change: (change.collection, change.key))[:MAX_SHOWN_OBJECTS])


def compare_bodies(before: str, after: str) -> list[FieldChange]:
    """The fields in which two bodies differ."""
    was, will = orjson.loads(before), orjson.loads(after)
    return [
        FieldChange(name, _show(name, was.get(name)), _show(name, will.get(name)))
        for name in {**was, **will}
        if was.get(name) != will.get(name)
    ]


def _show(name: str, value: Any) -> str | None:
    if value is None:
        return None
    return MASK if name in SECRET_FIELDS else show_value(value)


def save_rollback(db: peewee.Database, revision: int, *, author: str, at: datetime, note: str = "") -> Saved:
    """Makes an older revision's objects the head; note: why."""
    note = ": ".join(filter(None, (f"rollback to revision {revision}", note)))
    return save_pbx(db, load_pbx(db, revision), author=author, note=note, at=at)
