from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.domain.entities import Schedule
from tandem.domain.fields import WEEKDAYS
from tandem.domain.schedules import compile_schedule, iftime_spans, is_holiday, is_open
from tests.strategies import instants, schedules

BERLIN = ZoneInfo("Europe/Berlin")


def opened(at: str, *hours, zone=BERLIN, **fields) -> bool:
    schedule = Schedule(
        name="office",
        time_zone=zone.key,
        hours=tuple(dict(zip(("days", "start", "end"), part.split(), strict=True)) for part in hours),
        **fields,
    )
    return is_open(compile_schedule(schedule, "UTC"), datetime.fromisoformat(at).replace(tzinfo=zone))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-06-01T08:59:59", False),
        ("2026-06-01T09:00:00", True),
        ("2026-06-01T17:29:59", True),
        ("2026-06-01T17:30:00", False),
        ("2026-06-06T12:00:00", False),
    ],
)
def test_the_end_is_exclusive(at, expected):
    assert opened(at, "mon-fri 09:00 17:30") is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-06-05T21:59", False),
        ("2026-06-05T22:00", True),
        ("2026-06-06T01:59", True),
        ("2026-06-06T02:00", False),
        ("2026-06-08T01:00", True),  # the night from Sunday to Monday
        ("2026-06-09T01:00", False),
    ],
)
def test_a_span_runs_over_midnight_and_over_the_end_of_the_week(at, expected):
    assert opened(at, "fri 22:00 02:00", "sun 22:00 02:00") is expected


def test_whole_days():
    for hours in ("mon-sun 00:00 24:00", "mon-sun 00:00 00:00"):
        assert opened("2026-06-01T00:00", hours)
        assert opened("2026-06-07T23:59", hours)
    assert not opened("2026-06-01T12:00")


def test_holidays_win():
    hours = "mon-sun 00:00 24:00"
    assert not opened("2026-12-25T12:00", hours, holiday_country="DE")
    assert opened("2026-03-08T12:00", hours, holiday_country="DE")
    assert not opened("2026-03-08T12:00", hours, holiday_country="DE", holiday_subdivision="BE")
    assert not opened("2026-06-01T12:00", hours, holidays=("06-01",))
    assert opened("2027-06-01T12:00", hours, holidays=("2026-06-01",))
    # The holiday begins and ends at midnight, in the schedule's own time zone.
    assert opened("2026-05-31T23:59", "mon-sun 22:00 02:00", holidays=("06-01",))
    assert not opened("2026-06-01T00:00", "mon-sun 22:00 02:00", holidays=("06-01",))
    assert opened("2026-06-02T00:00", "mon-sun 22:00 02:00", holidays=("06-01",))


def test_wall_clocks_rule_when_the_clocks_change():
    compiled = compile_schedule(
        Schedule(name="a", hours=({"days": "sun", "start": "02:00", "end": "03:00"},)), "Europe/Berlin"
    )
    spring, autumn = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)
    minutes = [spring + timedelta(minutes=minute) for minute in range(180)]
    assert not any(is_open(compiled, at) for at in minutes)  # 02:30 never comes
    minutes = [autumn + timedelta(minutes=minute) for minute in range(180)]
    assert sum(is_open(compiled, at) for at in minutes) == 120  # and comes twice


def test_the_default_zone_counts_where_a_schedule_has_none():
    schedule = Schedule(name="a", hours=({"days": "mon", "start": "09:00", "end": "10:00"},))
    at = datetime(2026, 6, 1, 7, 30, tzinfo=UTC)
    assert is_open(compile_schedule(schedule, "Europe/Berlin"), at)
    assert not is_open(compile_schedule(schedule, "UTC"), at)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"time_zone": "Europe/Atlantis"}, "no time zone"),
        ({"holiday_country": "QQ"}, "no public holidays are known for QQ"),
        ({"holiday_country": "DE", "holiday_subdivision": "XX"}, "subdivision XX"),
    ],
)
def test_unknown_places_are_refused(fields, told):
    with pytest.raises(ValueError, match=told):
        compile_schedule(Schedule(name="a", **fields), "UTC")


def test_spans_for_the_dialplan():
    schedule = Schedule(
        name="office",
        time_zone="Europe/Berlin",
        hours=(
            {"days": "mon-fri", "start": "09:00", "end": "17:30"},
            {"days": "sun", "start": "09:00", "end": "17:30"},
            {"days": "sat", "start": "22:00", "end": "02:00"},
        ),
        holidays=("12-24",),
    )
    spans = iftime_spans(compile_schedule(schedule, "UTC"), date(2026, 6, 1))
    assert spans.open == (
        "00:00-01:59,sun,*,*,Europe/Berlin",
        "09:00-17:29,mon-fri&sun,*,*,Europe/Berlin",
        "22:00-23:59,sat,*,*,Europe/Berlin",
    )
    assert spans.closed == ("*,*,24,dec,Europe/Berlin",)


def spans_say_open(spans, at: datetime) -> bool:
    return not any(matches(span, at) for span in spans.closed) and any(matches(span, at) for span in spans.open)


def matches(span: str, at: datetime) -> bool:
    """Asterisk's own rule: every field must match, a range includes both of its ends."""
    times, weekdays, day, month, zone = span.split(",")
    local = at.astimezone(ZoneInfo(zone))
    if times != "*" and not times[:5] <= f"{local:%H:%M}" <= times[6:]:
        return False
    if day != "*" and (int(day), month) != (local.day, f"{local:%b}".lower()):
        return False
    return weekdays == "*" or any(
        WEEKDAYS.index(part[:3]) <= local.weekday() <= WEEKDAYS.index(part[-3:]) for part in weekdays.split("&")
    )


@settings(deadline=None)
@given(schedules(), instants, st.integers(0, 360 * 24 * 60))
def test_the_dialplan_agrees_for_a_year(schedule, start, minutes):
    compiled = compile_schedule(schedule, "Asia/Kathmandu")
    at = start + timedelta(days=1, minutes=minutes)
    spans = iftime_spans(compiled, start.date())
    assert spans_say_open(spans, at) == is_open(compiled, at)


@settings(deadline=None)
@given(schedules(), instants)
def test_open_is_what_the_hours_say(schedule, at):
    """Against the definition, without compiling anything."""
    compiled = compile_schedule(schedule, "UTC")
    local = at.astimezone(compiled.zone)
    clock, today = f"{local:%H:%M}", WEEKDAYS[local.weekday()]
    yesterday = WEEKDAYS[local.weekday() - 1]
    within = any(
        (today in hours.days and hours.start <= clock and (clock < hours.end or hours.end <= hours.start))
        or (yesterday in hours.days and hours.end <= hours.start and clock < hours.end)
        for hours in schedule.hours
    )
    assert is_open(compiled, at) == (within and not is_holiday(compiled, local.date()))
