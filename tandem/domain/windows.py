"""When a person may be called, by the clock on their own wall; never guesses a zone where the number does not say one.

A number's zones come from phonenumbers (its country and area). Where it has several (a mobile of a wide country), *all* of them must
be open: the law counts the called party's place, which nobody knows (47 CFR 64.1200(c)(1): 8 am to 9 pm at the called party's location).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import timezone as number_zones

from tandem.domain.campaigns import CallWindow
from tandem.domain.entities import Schedule
from tandem.domain.schedules import CompiledSchedule, compile_schedule, is_open, load_zone

_WEEK_MINUTES: Final = 7 * 24 * 60
# A window opens at least once a week in each zone; zones far apart may take a few turns to agree.
_MAX_TURNS: Final = 64
_UNKNOWN: Final = "Etc/Unknown"
# A number of so many zones (a toll-free one, a satellite phone) says nothing about where it rings.
MAX_ZONES: Final = 30


@lru_cache(maxsize=4096)
def find_zones(phone_number: str, country: str | None) -> tuple[str, ...]:
    """The time zones of a number as it is dialled, () where it does not say one. country: where it is dialled (ISO 3166-1)."""
    try:
        number = phonenumbers.parse(phone_number, country)
    except phonenumbers.NumberParseException:
        return ()
    zones = number_zones.time_zones_for_number(number)
    known = tuple(sorted(zone for zone in zones if zone != _UNKNOWN and _is_known(zone)))
    return known if len(known) <= MAX_ZONES else ()


def _is_known(zone: str) -> bool:
    try:
        load_zone(zone)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=512)
def _compile(window: CallWindow, zone: str) -> CompiledSchedule:
    return compile_schedule(Schedule(name="window", hours=window.hours, time_zone=zone), zone)


def zone_of_offset(minutes: int) -> tzinfo:
    """The clock that is so many minutes ahead of UTC."""
    return timezone(timedelta(minutes=minutes))


def opens_at(
    window: CallWindow,
    phone_number: str,
    country: str | None,
    default_zone: str,
    now: datetime,
    utc_offset_min: int | None = None,
) -> datetime | None:
    """`now` where the number may be called now, else when it may be again; None where its zones are never open together.

    default_zone: for numbers without a zone, where the window names none. utc_offset_min: what a client says of the number counts alone.
    """
    if utc_offset_min is not None:
        # By a clock that is shifted instead: UTC has no changes of its own that could come between.
        shift = timedelta(minutes=utc_offset_min)
        opening = next_open([_compile(window, "UTC")], now + shift)
        return opening - shift if opening is not None else None
    zones = find_zones(phone_number, country) or (window.time_zone or default_zone,)
    return next_open([_compile(window, zone) for zone in zones], now)


def next_open(schedules: Sequence[CompiledSchedule], now: datetime) -> datetime | None:
    """The first time from `now` on at which all are open; None where that is never."""
    at = now
    for _ in range(_MAX_TURNS):
        later = max(_next_opening(schedule, at) or datetime.max.replace(tzinfo=UTC) for schedule in schedules)
        if later == at:
            return at
        if later - now > timedelta(days=15):
            return None
        at = later
    return None


def _next_opening(schedule: CompiledSchedule, at: datetime) -> datetime | None:
    """`at` where it is open then, else when it opens next; None where it never does."""
    if is_open(schedule, at):
        return at
    local = at.astimezone(schedule.zone)
    monday = (local - timedelta(days=local.weekday())).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    openings = schedule.bounds[::2]
    for minutes in sorted(minute + week * _WEEK_MINUTES for minute in openings for week in range(3)):
        # Wall-clock arithmetic without a zone: the zone is applied to the result, so that a change of clocks moves nothing.
        wall = monday + timedelta(minutes=minutes)
        for fold in (0, 1):
            opening = wall.replace(tzinfo=schedule.zone, fold=fold).astimezone(UTC)
            # An opening in the hour that spring skips counts from the hour's end.
            if opening > at and is_open(schedule, opening):
                return opening
    return None
