# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Numbers whose purpose was fulfilled elsewhere: found by a telephone, and closed; never ends a call. Every function is work for a Store."""

from collections.abc import Collection, Sequence
from typing import Any

import peewee

from tandem.domain.campaigns import CLOSED, OPEN_STATUSES, NumberStatus, SavedNumber
from tandem.store.campaigns import bump_counts, move_count
from tandem.store.numbers import NUMBER_COLUMNS, NumberMissing, read_number
from tandem.store.rows import LISTED, LISTED_IDS, listed, load_rows, update_rows


def load_same_telephone(db: peewee.Database, campaign_ids: Collection[int], ending: str) -> list[SavedNumber]:
    """The numbers of these campaigns that end in these ten digits, or are these fewer; in any status, with + or without."""
    source, given = f"numbers WHERE campaign_id IN {LISTED_IDS} AND phone_number", [listed(campaign_ids)]
    if len(ending) < 10:
        source, given = f"{source} IN {LISTED}", [*given, listed([ending, f"+{ending}"])]
    else:
        source, given = f"{source} LIKE ?", [*given, f"%{ending}"]
    return [read_number(row) for row in load_rows(db, NUMBER_COLUMNS, f"{source} ORDER BY number_id", given)]


def close_numbers(db: peewee.Database, number_ids: Sequence[int], at: float) -> tuple[SavedNumber, ...]:
    """They are not dialled any more, until a reset: those that wait are completed now, those in a call when it is over; as they are then.

    What is over already stays as it was. NumberMissing, and nothing is written, where one is not there.
    """
    before = _load(db, number_ids)
    if missing := set(number_ids) - {number.number_id for number in before}:
        raise NumberMissing(min(missing))
    rows: list[dict[str, Any]] = []
    counts: dict[tuple[int, str], int] = {}
    for number in before:
        if number.status not in OPEN_STATUSES:
            continue
        row = {
            "number_id": number.number_id, "status": number.status.value, "due_at": None, "hold": CLOSED,
            "disposition": number.disposition, "updated_at": at,
        }  # fmt: skip
        if not number.call_id and number.status is NumberStatus.PENDING:
            row |= {"status": NumberStatus.COMPLETED.value, "hold": "", "disposition": CLOSED}
            move_count(counts, number.campaign_id, number.status.value, NumberStatus.COMPLETED.value)
        rows.append(row)
    update_rows(db, "numbers", "number_id", ("status", "due_at", "hold", "disposition", "updated_at"), rows)
    bump_counts(db, counts)
    return tuple(_load(db, number_ids))


def _load(db: peewee.Database, number_ids: Collection[int]) -> list[SavedNumber]:
    source = f"numbers WHERE number_id IN {LISTED_IDS} ORDER BY number_id"
    return [read_number(row) for row in load_rows(db, NUMBER_COLUMNS, source, [listed(number_ids)])]
