"""Times of the day in UTC: each second is found exactly when the wall's clock says so, over summer time and midnight."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.day_times import DAY_S, DayTimes, Spell, list_spells

MINUTE = st.integers(0, DAY_S - 1)
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]
)
MOMENTS = st.integers(
    int(datetime(2010, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
)


def is_in(spells: list[Spell], at: datetime) -> bool:
    text = at.strftime("%H:%M:%S")
    (spell,) = [one for one in spells if one.since <= at < one.until]
    if spell.first <= spell.last:
        return spell.first <= text <= spell.last
    return text >= spell.first or text <= spell.last


@given(ZONES, MINUTE, MINUTE, MOMENTS, st.integers(0, 400 * DAY_S), st.integers(1, 400 * DAY_S))
def test_a_moment_is_found_by_the_clock_on_the_wall(
    zone: str, first: int, last: int, begin: int, into: int, rest: int
) -> None:
    since, at = datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(begin + into, UTC)
    spells = list_spells(DayTimes(first, last, zone), since, at + timedelta(seconds=rest))
    wall = at.astimezone(ZoneInfo(zone))
    second = wall.hour * 3600 + wall.minute * 60 + wall.second
    wanted = first <= second <= last if first <= last else second >= first or second <= last
    assert is_in(spells, at) == wanted
    assert all(one.until == two.since for one, two in itertools.pairwise(spells))


def test_the_change_of_summer_time_is_found_to_the_second() -> None:
    spells = list_spells(
        DayTimes(9 * 3600, 17 * 3600 - 1, "Europe/Berlin"),
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2026, 4, 1, tzinfo=UTC),
    )
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert [(one.since, one.until) for one in spells] == [
        (datetime(2026, 3, 1, tzinfo=UTC), change),
        (change, datetime(2026, 4, 1, tzinfo=UTC)),
    ]
    assert [(one.first, one.last) for one in spells] == [("08:00:00", "15:59:59"), ("07:00:00", "14:59:59")]
    assert list_spells(DayTimes(0, 1, "UTC"), change, change) == []
