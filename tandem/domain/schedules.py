"""Opening hours: weekly spans less holidays, in the schedule's own time zone; never reads a clock and never fails on a compiled schedule.

A schedule is compiled once, when a snapshot is built, into minutes of the week; a question then costs one time zone conversion and
one bisection. Wall-clock rules: on a holiday (by local date) we are closed from 00:00 to 24:00, including the part of a span that
began the evening before; the night after a holiday's eve is otherwise untouched. Hours count by the clock on the wall, so the hour
that autumn repeats is open twice and the one that spring skips never comes.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tandem.domain.entities import Schedule
from tandem.domain.fields import WEEKDAYS

# What somebody set over the hours: open or closed whatever the clock says.
Mode = Literal["auto", "day", "night"]
_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# A closed day of the fallback has no year in Asterisk's format: a longer look ahead would close the same date this year.
LOOK_AHEAD_DAYS: Final = 365


@dataclass(frozen=True, slots=True)
class CompiledSchedule:
    """A schedule, ready to be asked.

    bounds: minutes since Monday 00:00 at which it opens, closes, opens, … ; once: `2026-12-24`; yearly: (12, 24); mode: over all of it.
    """

    name: str
    zone: ZoneInfo
    bounds: tuple[int, ...]
    once: frozenset[date]
    yearly: frozenset[tuple[int, int]]
    country: str | None
    subdivision: str | None
    mode: Mode = "auto"


@dataclass(frozen=True, slots=True)
class IftimeSpans:
    """What IFTIME() and GotoIfTime() take, `times,weekdays,mdays,months,timezone`: when open, and the closed days (they win)."""

    open: tuple[str, ...]
    closed: tuple[str, ...]


def load_zone(name: str) -> ZoneInfo:
    """The time zone of that name in the IANA database; ValueError if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise ValueError(f"{name!r} is no time zone of the IANA database (such as Europe/Berlin)") from error


def compile_schedule(schedule: Schedule, default_zone: str) -> CompiledSchedule:
    """Prepares a schedule; ValueError for an unknown time zone, country or subdivision."""
    if schedule.holiday_country is not None:
        check_holiday_region(schedule.holiday_country, schedule.holiday_subdivision)
    once = [date.fromisoformat(day) for day in schedule.holidays if len(day) == 10]
    yearly = [(int(day[:2]), int(day[3:])) for day in schedule.holidays if len(day) == 5]
    return CompiledSchedule(
        name=schedule.name,
        zone=load_zone(schedule.time_zone or default_zone),
        bounds=_merge(_weekly_spans(schedule)),
        once=frozenset(once),
        yearly=frozenset(yearly),
        country=schedule.holiday_country,
        subdivision=schedule.holiday_subdivision,
    )


def is_open(compiled: CompiledSchedule, at: datetime) -> bool:
    """Whether the schedule is open at an aware time."""
    if compiled.mode != "auto":
        return compiled.mode == "day"
    local = at.astimezone(compiled.zone)
    minute = local.weekday() * _DAY + local.hour * 60 + local.minute
    return bool(bisect_right(compiled.bounds, minute) & 1) and not is_holiday(compiled, local.date())


def describe_hours(compiled: CompiledSchedule, at: datetime) -> str:
    """`schedule office: closed (night mode)`, for log lines and explanations."""
    opened = "open" if is_open(compiled, at) else "closed"
    return f"schedule {compiled.name}: {opened}{'' if compiled.mode == 'auto' else f' ({compiled.mode} mode)'}"


def is_holiday(compiled: CompiledSchedule, day: date) -> bool:
    """Whether the schedule is closed all that local day."""
    if day in compiled.once or (day.month, day.day) in compiled.yearly:
        return True
    return compiled.country is not None and day in holiday_dates(compiled.country, compiled.subdivision, day.year)


def iftime_spans(compiled: CompiledSchedule, from_date: date) -> IftimeSpans:
    """The schedule in Asterisk's words, for the day FastAGI is gone; closed days from `from_date` on, a year ahead.

    Asterisk's time ranges include their last minute, so a span that ends at 17:30 is written `-17:29`. A span over midnight is
    split. Days with the same hours share one entry.
    """
    zone = compiled.zone.key
    days_by_times: dict[str, list[int]] = {}
    for start, end in zip(compiled.bounds[::2], compiled.bounds[1::2], strict=True):
        for day in range(start // _DAY, (end - 1) // _DAY + 1):
            first, last = max(start, day * _DAY) % _DAY, (min(end, (day + 1) * _DAY) - 1) % _DAY
            days_by_times.setdefault(f"{_clock(first)}-{_clock(last)}", []).append(day)
    days = (from_date + timedelta(days=offset) for offset in range(LOOK_AHEAD_DAYS))
    return IftimeSpans(
        open=tuple(
            f"{times},{'&'.join(_day_runs(weekdays))},*,*,{zone}" for times, weekdays in sorted(days_by_times.items())
        ),
        closed=tuple(f"*,*,{day.day},{_MONTHS[day.month - 1]},{zone}" for day in days if is_holiday(compiled, day)),
    )


# ------------------------------------------------------------------------------------------------- public holidays


def check_holiday_region(country: str, subdivision: str | None) -> None:
    """ValueError unless the `holidays` library knows the country and its subdivision."""
    import holidays  # noqa: PLC0415 - 3 MB of memory, and no schedule may have a country

    try:
        holidays.country_holidays(country, subdiv=subdivision)
    except NotImplementedError as error:
        place = country if subdivision is None else f"{country}, subdivision {subdivision}"
        raise ValueError(f"no public holidays are known for {place} (ISO 3166, such as DE and BE)") from error


@lru_cache(maxsize=256)
def holiday_dates(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    """The public holidays of one year; the cache is bounded, and warm for the years that a new snapshot meets first."""
    import holidays  # noqa: PLC0415 - as above; a new snapshot has it imported

    return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))


def warm_holidays(compiled: CompiledSchedule) -> None:
    """Computes last, this and next two years' holidays now, so that no call has to; changes no answer."""
    if compiled.country is not None:
        this_year = datetime.now(UTC).year
        for year in range(this_year - 1, this_year + 3):
            holiday_dates(compiled.country, compiled.subdivision, year)


# ------------------------------------------------------------------------------------------------------ inside


def _weekly_spans(schedule: Schedule) -> Iterable[tuple[int, int]]:
    """Spans of minutes of the week; one over Sunday's midnight comes as two."""
    for hours in schedule.hours:
        start, end = _minutes(hours.start), _minutes(hours.end)
        length = end - start if end > start else end - start + _DAY
        for weekday in hours.days:
            first = WEEKDAYS.index(weekday) * _DAY + start
            yield first, min(first + length, _WEEK)
            if first + length > _WEEK:
                yield 0, first + length - _WEEK


def _merge(spans: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    bounds: list[int] = []
    for start, end in sorted(spans):
        if bounds and start <= bounds[-1]:
            bounds[-1] = max(bounds[-1], end)
        else:
            bounds += (start, end)
    return tuple(bounds)


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _day_runs(days: list[int]) -> Iterable[str]:
    """`mon-fri`, `sun` of [0, 1, 2, 3, 4, 6]."""
    runs: list[list[int]] = []
    for day in days:
        if runs and day == runs[-1][1] + 1:
            runs[-1][1] = day
        else:
            runs.append([day, day])
    return (WEEKDAYS[first] if first == last else f"{WEEKDAYS[first]}-{WEEKDAYS[last]}" for first, last in runs)
