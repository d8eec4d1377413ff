# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Which schedules somebody holds open or closed, kept over restarts; decides nothing. Every function is work for a Store."""

import peewee

from tandem.domain.nights import NightMode
from tandem.store.rows import load_rows


def load_nights(db: peewee.Database) -> dict[str, NightMode]:
    """All of them, by schedule."""
    rows = load_rows(db, ("schedule", "mode", "since", "author"), "night_modes")
    return {
        row["schedule"]: NightMode(schedule=row["schedule"], mode=row["mode"], since=row["since"], by=row["author"])
        for row in rows
    }


def save_night(db: peewee.Database, night: NightMode) -> None:
    """Of one schedule; a row goes where it is by the clock again."""
    db.execute_sql("DELETE FROM night_modes WHERE schedule = ?", (night.schedule,))
    if night.mode != "auto":
        db.execute_sql(
            "INSERT INTO night_modes (schedule, mode, since, author) VALUES (?, ?, ?, ?)",
            (night.schedule, night.mode, night.since, night.by),
        )
