# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Which secrets a document named by the environment or a file; never looks there. Every function is work for a Store."""

import hashlib

import peewee

from tandem.domain.entities import COLLECTIONS, Pbx
from tandem.domain.secret_references import References, SecretReference
from tandem.store.rows import insert_rows, load_rows

_FIELDS = ("collection", "key", "field", "kind", "name", "digest")


def save_references(db: peewee.Database, pbx: Pbx, references: References) -> None:
    """Keeps the references of the document that `pbx` is from. One of before stays while an older revision alone has its secret, which is exported by that name."""
    before = {(row["collection"], row["key"], row["field"]): row for row in load_rows(db, _FIELDS, "secret_references")}
    now = _read_secrets(pbx, before)
    for place, row in before.items():
        if place in references or (place in now and _digest(now[place]) == row["digest"]):
            db.execute_sql("DELETE FROM secret_references WHERE collection = ? AND key = ? AND field = ?", place)
    secrets = _read_secrets(pbx, references)
    rows = [
        {
            **dict(zip(_FIELDS, (*place, reference.kind, reference.name), strict=False)),
            "digest": _digest(secrets[place]),
        }
        for place, reference in references.items()
        if place in secrets
    ]
    insert_rows(db, "secret_references", _FIELDS, rows)


def load_references(db: peewee.Database, pbx: Pbx) -> References:
    """The references that still lead to what `pbx` has."""
    kept = {(row["collection"], row["key"], row["field"]): row for row in load_rows(db, _FIELDS, "secret_references")}
    secrets = _read_secrets(pbx, kept)
    return {
        place: SecretReference(row["kind"], row["name"])
        for place, row in kept.items()
        if place in secrets and _digest(secrets[place]) == row["digest"]
    }


def _read_secrets(
    pbx: Pbx, places: "References | dict[tuple[str, str, str], dict[str, str]]"
) -> dict[tuple[str, str, str], str]:
    found: dict[tuple[str, str, str], str] = {}
    wanted: dict[str, dict[str, list[str]]] = {}
    for collection, key, field in places:
        wanted.setdefault(collection, {}).setdefault(key, []).append(field)
    for collection, fields in wanted.items():
        if collection not in COLLECTIONS:
            continue
        for entity in getattr(pbx, collection):
            key = getattr(entity, COLLECTIONS[collection][1])
            for field in fields.get(key, ()):
                if isinstance(secret := getattr(entity, field, None), str):
                    found[collection, key, field] = secret
    return found


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
