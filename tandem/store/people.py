# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""The numbers of one person in a campaign: one is called at a time, and none once they were reached; never claims or ends a call. Every function is work for a Store."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import peewee

from tandem.domain.campaigns import CLOSED, REACHED, NumberStatus, SavedCampaign, SavedNumber
from tandem.domain.disposition import Disposition
from tandem.store.campaigns import bump_counts, move_count
from tandem.store.events import tell_attempts
from tandem.store.numbers import NUMBER_COLUMNS, read_number
from tandem.store.outbox import load_listeners
from tandem.store.rows import LISTED, listed, load_rows, update_rows

# A held number is looked at again so much later, should nobody release it.
PERSON_S: Final = 5.0
# So long after a call that reached nobody, what is still on its way may say that it did (a survey's end).
_SETTLES_S: Final = 2.0
_FIELDS: Final = ("status", "disposition", "due_at", "hold", "updated_at")


@dataclass(frozen=True, slots=True)
class People:
    """Those of some people who are called now, and those who were reached already."""

    called: set[str]
    reached: frozenset[str]


def load_people(db: peewee.Database, saved: SavedCampaign, people: Collection[str], now: float) -> People:
    """What is known of these people in a campaign; where only a signal ends it (`goal`), nobody counts as reached."""
    wanted = [person for person in people if person]
    if not wanted:
        return People(set(), frozenset())
    source = (
        f"numbers WHERE campaign_id = ? AND person <> '' AND person IN {LISTED}"
        " AND (call_id IS NOT NULL OR (disposition = ? AND (status = 'completed' OR updated_at > ?)))"
    )
    given = [saved.campaign_id, listed(wanted), Disposition.ANSWERED.value, now - _SETTLES_S]
    rows = load_rows(db, ("person", "status", "call_id"), source, given)
    reached = {row["person"] for row in rows if row["call_id"] is None and row["status"] == "completed"}
    called = {row["person"] for row in rows if row["call_id"] is not None or row["status"] != "completed"}
    return People(called, frozenset(reached if saved.campaign.goal != CLOSED else ()))


def load_open_of(db: peewee.Database, campaign_id: int, person: str) -> list[SavedNumber]:
    """The numbers of a person that are pending or in a call."""
    source = f"numbers WHERE campaign_id = ? AND person <> '' AND person = ? AND status IN {LISTED} ORDER BY number_id"
    open_statuses = [NumberStatus.PENDING, NumberStatus.CALLING, NumberStatus.ANSWERED]
    return [
        read_number(row) for row in load_rows(db, NUMBER_COLUMNS, source, [campaign_id, person, listed(open_statuses)])
    ]


def follow_people(db: peewee.Database, saved: SavedCampaign, ended: Mapping[str, bool], at: float) -> None:
    """Calls of people (person -> whether they were reached) are over: their other numbers are done, or may be dialled again."""
    reached = [person for person, is_reached in ended.items() if is_reached and saved.campaign.goal != CLOSED]
    if reached:
        source = f"numbers WHERE campaign_id = ? AND person <> '' AND person IN {LISTED} AND status = 'pending' AND call_id IS NULL"
        found = load_rows(db, NUMBER_COLUMNS, source, [saved.campaign_id, listed(reached)])
        finish_numbers(db, [read_number(row) for row in found], at)
    if ended:
        db.execute_sql(
            "UPDATE numbers SET due_at = ?, hold = '' WHERE campaign_id = ? AND person <> '' AND hold = 'person'"  # noqa: S608 - our own text
            f" AND status = 'pending' AND person IN {LISTED}",
            (at, saved.campaign_id, listed(ended)),
        )


def finish_numbers(db: peewee.Database, numbers: Sequence[SavedNumber], at: float) -> None:
    """Pending numbers whose persons were reached at another telephone."""
    if not numbers:
        return
    counts: dict[tuple[int, str], int] = {}
    rows: list[dict[str, Any]] = []
    for number in numbers:
        move_count(counts, number.campaign_id, number.status.value, NumberStatus.COMPLETED.value)
        rows.append(
            {
                "number_id": number.number_id, "status": NumberStatus.COMPLETED.value, "disposition": REACHED, "due_at": None,
                "hold": "", "updated_at": at,
            }
        )  # fmt: skip
    update_rows(db, "numbers", "number_id", _FIELDS, rows)
    bump_counts(db, counts)
    if listeners := load_listeners(db):
        tell_attempts(db, listeners, [], list(zip(numbers, rows, strict=True)))
