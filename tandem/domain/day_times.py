"""Times of the day by a clock on the wall, as what they are in UTC while that clock keeps its distance; pure, and knows nothing of calls."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAY_S: Final = 86_400
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayTimes:
    """From the second `first` to the end of the second `last` of every day (0 to 86,399) in a time zone; over midnight where last is before first."""

    first: int
    last: int
    time_zone: str


@dataclass(frozen=True, slots=True)
class Spell:
    """While `since` <= time < `until`, the times of day are these in UTC: `HH:MM:SS`, both included, over midnight where last is before first."""

    since: datetime
    until: datetime
    first: str
    last: str


def list_spells(times: DayTimes, since: datetime, until: datetime) -> list[Spell]:
    """What times of day are in UTC between two times: as many spells as the clock keeps its distance for. Times must have a zone."""
    zone = ZoneInfo(times.time_zone)
    return [
        Spell(begin, end, _tell(times.first - offset), _tell(times.last - offset))
        for begin, end, offset in _list_offsets(zone, since.astimezone(UTC), until.astimezone(UTC))
    ]


def _list_offsets(zone: ZoneInfo, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime, int]]:
    """(from, until, seconds ahead of UTC), one after the other."""
    begin, at = since, since
    while at < until:
        following = min(at + _DAY, until)
        if _offset(zone, following) != _offset(zone, at):
            change = _find_change(zone, at, following)
            yield begin, change, _offset(zone, at)
            begin = change
        at = following
    if begin < until:
        yield begin, until, _offset(zone, begin)


def _find_change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second with another distance than `before`; there is one change between the two."""
    low, high = int(before.timestamp()), -int(-after.timestamp() // 1)
    offset = _offset(zone, before)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, datetime.fromtimestamp(middle, UTC)) == offset:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


def _offset(zone: ZoneInfo, at: datetime) -> int:
    distance = at.astimezone(zone).utcoffset()
    assert distance is not None
    return int(distance.total_seconds())


def _tell(second: int) -> str:
    hours, rest = divmod(second % DAY_S, 3600)
    return f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
