"""FreePBX's time groups -> schedules, and what of them no schedule can say; pure.

A line is `08:00-16:59|mon-fri|*|*`: times with their last minute, weekdays, days of the month, months. Weekly lines are hours. A group of
whole days of the year alone (`*|*|25|dec`) is a schedule that is open all the time but on these: whoever asks swaps the two sides.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tandem.domain.carrying import cut_text, name_freely
from tandem.domain.fields import WEEKDAYS
from tandem.domain.freepbx_source import Source

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ALL_DAY: Final = {"days": WEEKDAYS, "start": "00:00", "end": "24:00"}
MAX_DATES: Final = 366


class Times(NamedTuple):
    """Of one group: weekly hours, or dates (`12-25`) of whole days, and the lines that are neither."""

    hours: tuple[dict[str, Any], ...]
    dates: tuple[str, ...]
    lost: tuple[str, ...]


def take_times(source: Source) -> None:
    """A schedule for each time group in each time zone in which a condition asks for it; names ("schedule", "group/zone")."""
    taken = source.taken.setdefault("schedule", set())
    zones: dict[str, dict[str, None]] = {}
    for row in source.rows("timeconditions"):
        if row.get("mode", "time-group") in {"", "time-group"}:
            zones.setdefault(row.get("time", ""), {})[read_zone(row)] = None
    for row in source.rows("outbound_routes"):
        if row.get("time_group_id", "") not in {"", "0"}:
            zones.setdefault(row.get("time_group_id", ""), {})[read_zone(row)] = None
    lines: dict[str, list[str]] = {}
    for row in source.rows("timegroups_details"):
        lines.setdefault(row.get("timegroupid", ""), []).append(row.get("time", ""))
    for row in source.rows("timegroups_groups"):
        number = row.get("id", "")
        place = f"timegroups_groups {number}"
        times = read_times(lines.get(number, []))
        for line in times.lost:
            source.carrier.lose(place, f"{line[:60]} is neither weekly hours nor whole days of every year: left out")
        if times.dates and not times.hours:
            source.only_dates.add(number)
        for zone in zones.get(number, {"": None}):
            name = name_freely(row.get("description", ""), taken, "times")
            hours = times.hours or (({**_ALL_DAY},) if times.dates else ())
            values = {"name": name, "description": cut_text(row.get("description", "")), "time_zone": zone, "hours": hours,
                      "holidays": times.dates if not times.hours else ()}  # fmt: skip
            if source.carrier.add("schedules", place, values):
                source.names["schedule", f"{number}/{zone}"] = name


def read_zone(row: dict[str, str]) -> str:
    """'' for the PBX's own."""
    zone = row.get("timezone", "")
    return "" if zone == "default" else zone


def read_times(lines: list[str]) -> Times:
    """The lines of one group. Where there are weekly hours, dates beside them are lost: a schedule is never open on a date alone."""
    hours: list[dict[str, Any]] = []
    dates: dict[str, str] = {}
    lost: list[str] = []
    for line in lines:
        times, weekdays, days, months = (*(part.strip().lower() for part in line.split("|")), "*", "*", "*", "*")[:4]
        spans = list(_read_spans(times))
        month_list = _expand(months, _MONTHS)
        day_list = (
            [str(day) for day in range(1, 32)] if days == "*" else _expand(days, [str(day) for day in range(1, 32)])
        )
        day_names = _expand(weekdays, WEEKDAYS)
        if not (spans and month_list and day_list and day_names):
            lost.append(line)
        elif len(month_list) == 12 and len(day_list) == 31:
            hours += ({"days": tuple(day_names), "start": start, "end": end} for start, end in spans)
        elif spans == [("00:00", "24:00")] and len(day_names) == 7:
            dates |= dict.fromkeys(_list_dates(month_list, day_list), line)
        else:
            lost.append(line)
    if hours:
        lost += dict.fromkeys(dates.values())
        dates = {}
    return Times(tuple(hours), tuple(dates)[:MAX_DATES], tuple(lost))


def _read_spans(text: str) -> Iterator[tuple[str, str]]:
    """One, or two of one that passes midnight: Asterisk means the same weekday on both sides of it."""
    if text == "*":
        yield "00:00", "24:00"
        return
    found = re.fullmatch(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", text)
    if found is None:
        return
    start, last = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    if start >= 1440 or last >= 1440:
        return
    if start <= last:
        yield _clock(start), _clock(last + 1)
    else:
        yield _clock(start), "24:00"
        yield "00:00", _clock(last + 1)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _expand(text: str, values: tuple[str, ...] | list[str]) -> list[str]:
    """All of `*`, one, or a range, which may pass the end; nothing of what is none."""
    if text == "*":
        return list(values)
    first, _, last = text.partition("-")
    if first not in values or (last or first) not in values:
        return []
    start, end = values.index(first), values.index(last or first)
    length = (end - start) % len(values) + 1
    return [values[(start + offset) % len(values)] for offset in range(length)]


def _list_dates(months: list[str], days: list[str]) -> Iterator[str]:
    for month in months:
        number = _MONTHS.index(month) + 1
        for day in days:
            if int(day) <= _LENGTHS[number - 1]:
                yield f"{number:02}-{int(day):02}"
