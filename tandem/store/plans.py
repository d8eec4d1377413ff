# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Plans that somebody may apply; never applies one. Every function is work for a Store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import peewee

from tandem.domain.secret_references import References, SecretReference
from tandem.store.objects import Difference
from tandem.store.rows import insert_rows, load_rows

KEPT: Final = 100
_COLUMNS: Final = (
    "plan_id", "created_at", "author", "note", "head", "live", "ground", "difference", "secret_references", "shown", "revision",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it is kept. head, live, ground: what it was made for; shown: JSON of how it was shown."""

    plan_id: str
    created_at: datetime
    author: str
    note: str
    head: int
    live: int | None
    ground: str
    difference: Difference
    references: References
    shown: Mapping[str, Any]
    revision: int | None = None


def save_plan(db: peewee.Database, plan: Plan) -> None:
    """Keeps a plan, and only the newest of all."""
    difference = {
        "added": [[*name, body] for name, body in plan.difference.added.items()],
        "changed": [[*name, body] for name, body in plan.difference.changed.items()],
        "removed": plan.difference.removed,
    }
    references = [[*place, it.kind, it.name] for place, it in plan.references.items()]
    row = {
        "plan_id": plan.plan_id,
        "created_at": plan.created_at.isoformat(),
        "author": plan.author,
        "note": plan.note,
        "head": plan.head,
        "live": plan.live,
        "ground": plan.ground,
        "difference": orjson.dumps(difference).decode(),
        "secret_references": orjson.dumps(references).decode(),
        "shown": orjson.dumps(plan.shown).decode(),
        "revision": None,
    }
    insert_rows(db, "plans", _COLUMNS, [row])
    db.execute_sql(
        "DELETE FROM plans WHERE plan_id NOT IN (SELECT plan_id FROM plans ORDER BY created_at DESC, plan_id LIMIT ?)",
        (KEPT,),
    )


def load_plan(db: peewee.Database, plan_id: str) -> Plan:
    """KeyError where there is none of this id."""
    rows = load_rows(db, _COLUMNS, "plans WHERE plan_id = ?", [plan_id])
    if not rows:
        raise KeyError(plan_id)
    row = rows[0]
    difference = orjson.loads(row["difference"])
    return Plan(
        plan_id=row["plan_id"],
        created_at=datetime.fromisoformat(row["created_at"]),
        author=row["author"],
        note=row["note"],
        head=row["head"],
        live=row["live"],
        ground=row["ground"],
        difference=Difference(
            {(collection, key): body for collection, key, body in difference["added"]},
            {(collection, key): body for collection, key, body in difference["changed"]},
            tuple((collection, key) for collection, key in difference["removed"]),
        ),
        references={
            (collection, key, field): SecretReference(kind, name)
            for collection, key, field, kind, name in orjson.loads(row["secret_references"])
        },
        shown=orjson.loads(row["shown"]),
        revision=row["revision"],
    )


def record_applied(db: peewee.Database, plan_id: str, revision: int) -> None:
    """Notes as what a plan was applied."""
    db.execute_sql("UPDATE plans SET revision = ? WHERE plan_id = ?", (revision, plan_id))
