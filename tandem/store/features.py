# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What people set at their phones, kept over restarts; decides nothing. Every function is work for a Store."""

from typing import Any

import peewee

from tandem.domain.features import Features
from tandem.store.rows import load_rows

_COLUMNS = (
    "extension",
    "do_not_disturb",
    "forward_always",
    "forward_busy",
    "forward_no_answer",
    "forward_unavailable",
    "since",
    "author",
)


def load_features(db: peewee.Database) -> dict[str, Features]:
    """All of it, by extension."""
    return {row["extension"]: _read(row) for row in load_rows(db, _COLUMNS, "phone_features")}


def _read(row: dict[str, Any]) -> Features:
    disturbed = row["do_not_disturb"]
    return Features(
        extension=row["extension"],
        do_not_disturb=None if disturbed is None else bool(disturbed),
        always=row["forward_always"],
        busy=row["forward_busy"],
        no_answer=row["forward_no_answer"],
        unavailable=row["forward_unavailable"],
        since=row["since"],
        by=row["author"],
    )


def save_features(db: peewee.Database, features: Features) -> None:
    """Of one endpoint; a row goes where nothing is set any more."""
    db.execute_sql("DELETE FROM phone_features WHERE extension = ?", (features.extension,))
    if features.is_as_configured:
        return
    disturbed = features.do_not_disturb
    db.execute_sql(
        "INSERT INTO phone_features (extension, do_not_disturb, forward_always, forward_busy, forward_no_answer,"
        " forward_unavailable, since, author) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            features.extension,
            None if disturbed is None else int(disturbed),
            features.always,
            features.busy,
            features.no_answer,
            features.unavailable,
            features.since,
            features.by,
        ),
    )
