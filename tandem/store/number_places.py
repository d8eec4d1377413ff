# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Where in a campaign's list of numbers each so many-thousandth number stands, so that a page far behind is not counted from an end; never wrong, at most unknown.

Ids of numbers are given once, upwards, and numbers come to another campaign only with their whole list. So where there are as many numbers as
before, the same last one, and the same lists feed the campaign, they are the same numbers, and what was counted of them holds. After a change they
are counted once more: not at the first page, for that one is counted from the nearer end.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

import peewee

STEP: Final = 5_000
# Lists that are remembered: a million numbers take 200 ids.
MAX_LISTS: Final = 100


@dataclass(slots=True)
class _List:
    state: tuple[object, ...]
    # The id at 0, STEP, 2 * STEP, …; empty until a second page is asked for.
    marks: list[int] = field(default_factory=list)
    is_asked: bool = False


class NumberPlaces:
    """For one thread, the one that reads."""

    def __init__(self, step: int = STEP) -> None:
        self._step = step
        self._lists: OrderedDict[int, _List] = OrderedDict()

    def find(self, db: peewee.Database, campaign_id: int, ends: tuple[int, int], total: int, place: int) -> int | None:
        """The id at the last mark that is not behind this place (from 0); None while that is not known. ends: the first and the last id."""
        known = self._lists.pop(campaign_id, None)
        fed_by = db.execute_sql(
            "SELECT list_id FROM number_lists WHERE campaign_id = ? ORDER BY list_id", (campaign_id,)
        )
        state = (total, ends[1], *(row[0] for row in fed_by.fetchall()))
        if known is None or known.state != state:
            known = _List(state)
        self._lists[campaign_id] = known
        if len(self._lists) > MAX_LISTS:
            self._lists.popitem(last=False)
        if not known.is_asked:
            known.is_asked = True
            return None
        wanted = place // self._step
        if not known.marks:
            known.marks.append(ends[0])
        while len(known.marks) <= wanted:
            sql = "SELECT number_id FROM numbers WHERE campaign_id = ? AND number_id >= ? ORDER BY number_id LIMIT 1 OFFSET ?"
            row = db.execute_sql(sql, (campaign_id, known.marks[-1], self._step)).fetchone()
            if row is None:  # behind the last number
                return None
            known.marks.append(row[0])
        return known.marks[wanted]

    def rest_of(self, place: int) -> int:
        """How many to pass over from the mark."""
        return place % self._step
