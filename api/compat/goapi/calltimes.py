"""goCalltimes: call times, which are schedules; what a schedule of ours says besides weekly hours is kept and not told."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, cast

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.inbound_queues import find, find_key
from api.compat.goapi.objects import EVERYBODY, columns, delete, make, missing, read_groups, read_limit, save
from api.compat.goapi.parameters import Given, check_special
from api.compat.goapi.speech import fail
from api.compat.goapi.tenancy import read_scope
from tandem.domain.entities import OpenHours, Schedule
from tandem.domain.fields import WEEKDAYS
from tandem.domain.snapshot import Snapshot
from tandem.store.did_ids import save_group

_DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_DEFAULT: Final = "default"
_ALL_DAYS: Final = (_DEFAULT, *_DAYS)
_TIMES: Final = tuple(f"ct_{day}_{end}" for day in _ALL_DAYS for end in ("start", "stop"))
_AUDIO: Final = tuple(f"{day}_audio" for day in _ALL_DAYS)
_WORDS: Final = {"name": "call_time_id", "description": "call_time_name", "hours": "ct_default_start"}
_LOST: Final = "Error: Calltime doesn't exist."
_END: Final = 2400
_SEVERAL: Final = 2


def _read_time(given: Given, name: str) -> int | None:
    """HHMM; a stop beyond 2400 is the next day's, which a stop before its start is for us."""
    text = given.line(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 4):
        raise fail(f"Error: {name} must be a number or combination of number")
    value = int(text)
    if value % 100 > 59:
        raise fail(f"Error: {name} must be a time such as 900 or 1730")
    if value > _END and not name.endswith("_start"):
        value -= _END
    if value > _END:
        raise fail(f"Error: {name} must be a time such as 900 or 1730")
    return value


def _tell(value: int) -> str:
    return f"{value // 100:02}:{value % 100:02}"


def _open(days: tuple[Any, ...], start: int, stop: int) -> tuple[OpenHours, ...]:
    """0 and 2400 is always, 2400 and 2400 is never; a stop before the start is the next day's."""
    if start >= _END or start == stop:
        return ()
    return (OpenHours(days=days, start=_tell(start), end=_tell(stop)),)


def _read(given: Given, before: Schedule | None) -> dict[str, Any]:
    """Our fields of those that are given; before: the call time that is changed, of which a day that nothing is said of keeps its hours."""
    found: dict[str, Any] = {}
    if name := check_special("call_time_name", given.text("call_time_name")):
        found["description"] = name
    check_special("call_time_comments", given.text("call_time_comments"))
    for name in _AUDIO:
        if check_special(name, given.text(name), is_id=True):
            raise fail(f"Error: {name} is not served: an in-group says what is heard after hours.")
    wanted = {name: value for name in _TIMES if (value := _read_time(given, name)) is not None}
    if not wanted:
        return found
    current = {"ct_default_start": 0, "ct_default_stop": _END} if before is None else _times(before)
    times = dict.fromkeys(_TIMES, 0) | current | wanted
    hours: list[OpenHours] = []
    for day in _DAYS:
        fields, days = [f"ct_{day}_start", f"ct_{day}_stop"], cast("tuple[Any, ...]", (day[:3],))
        start, stop = (times[name] for name in fields)
        if (start, stop) == (0, 0):
            fields += ["ct_default_start", "ct_default_stop"]
            start, stop = times["ct_default_start"], times["ct_default_stop"]
        if before is not None and not any(name in wanted and wanted[name] != current[name] for name in fields):
            hours += [OpenHours(days=days, start=one.start, end=one.end) for one in _hours_of(before, day)]
        else:
            hours += _open(days, start, stop)
    found["hours"] = tuple(hours)
    return found


def _hours_of(schedule: Schedule, day: str) -> list[OpenHours]:
    return [hours for hours in schedule.hours if day[:3] in hours.days]


def _times(schedule: Schedule) -> dict[str, int]:
    """Default and days, as their fields: what most days have is the default, and they say nothing themselves; of several hours of a day the first."""
    of_days = {day: _hours_of(schedule, day) for day in _DAYS}
    told = {
        day: (_number(hours[0].start), _number(hours[0].end)) if hours else (_END, _END)
        for day, hours in of_days.items()
    }
    plain = {day for day, hours in of_days.items() if len(hours) < _SEVERAL}
    (default, _), *_ = Counter(told[day] for day in _DAYS if day in plain).most_common(1) or [((_END, _END), 0)]
    times = {"ct_default_start": default[0], "ct_default_stop": default[1]}
    for day, (start, stop) in told.items():
        is_default = day in plain and (start, stop) == default
        times |= {f"ct_{day}_start": 0 if is_default else start, f"ct_{day}_stop": 0 if is_default else stop}
    return times


def _number(time: str) -> int:
    return int(time.replace(":", ""))


async def _add(call: Call) -> Mapping[str, Any]:
    given = call.given
    for name, word in (("call_time_id", "Call Time ID"), ("call_time_name", "Call Time Name")):
        if not given.text(name):
            raise fail(f"Error: Set a value for {word}.")
    name = check_special("call_time_id", given.text("call_time_id"), is_id=True)
    if len(name) < 3:
        raise fail("Error: Call Time ID must be at least 3 characters.")
    values = _read(given, None)
    owner = (await read_scope(call)).choose(given.text("user_group"))

    def decide(snapshot: Snapshot) -> Schedule:
        if find_key(snapshot.schedules, name) is not None or name == "24hours":
            raise fail("Error: Add failed, Call Time already already exist!")
        return make(Schedule, _WORDS, name=name, **{"hours": _open(WEEKDAYS, 0, _END)} | values)

    return await save(call, decide, lambda db: save_group(db, "schedules", name, owner))


def _name(given: Given) -> str:
    if not (name := given.text("call_time_id")):
        raise fail("Error: Set a value for Call Time ID.")
    return name


async def _edit(call: Call) -> Mapping[str, Any]:
    name = _name(call.given)
    schedule, _, _ = await find(call, "schedules", name, _LOST)
    kept = {field: getattr(schedule, field) for field in Schedule.__dataclass_fields__}
    new = make(Schedule, _WORDS, **kept | _read(call.given, schedule))

    def decide(snapshot: Snapshot) -> Schedule:
        if name not in snapshot.schedules:
            raise missing(_LOST)
        return new

    return await save(call, decide)


async def _delete(call: Call) -> Mapping[str, Any]:
    schedule, _, _ = await find(call, "schedules", _name(call.given), _LOST)
    return await delete(call, schedule)


def _row(schedule: Schedule, owner: str | None) -> dict[str, Any]:
    return {
        "call_time_id": schedule.name,
        "call_time_name": schedule.description,
        "call_time_comments": "",
        **_times(schedule),
        "user_group": owner or EVERYBODY,
    }


async def _list(call: Call) -> Mapping[str, Any]:
    snapshot = await call.services.head.read()
    scope, owners = await read_scope(call), await read_groups(call, "schedules")
    seen = scope.filter(snapshot.schedules, owners)
    rows = [_row(seen[name], owners.get(name)) for name in sorted(seen)][: read_limit(call)]
    return columns(rows, ("call_time_id", "call_time_name", *_TIMES, "user_group"))


async def _info(call: Call) -> Mapping[str, Any]:
    schedule, _, owners = await find(call, "schedules", _name(call.given), _LOST)
    return _row(schedule, owners.get(schedule.name))


async def _check(call: Call) -> Mapping[str, Any]:
    name = check_special("call_time_id", _name(call.given), is_id=True)
    if find_key((await call.services.head.read()).schedules, name) is not None:
        return {"result": "fail", "data": "Call Time already exist."}
    return {}


_FIELDS: Final = ("call_time_name", "call_time_comments", *_AUDIO, *_TIMES)

ACTIONS: Final = (
    Action(
        name="goAddCalltime", permission="schedules/create", is_scoped=True, handler=_add, summary="Add a call time.",
        parameters=("call_time_id", *_FIELDS, "user_group"),
    ),
    Action(
        name="goEditCalltime", permission="schedules/update", is_scoped=True, handler=_edit, parameters=("call_time_id", *_FIELDS),
        summary="Change what is given of a call time.",
    ),
    Action(
        name="goDeleteCalltime", permission="schedules/delete", is_scoped=True, handler=_delete, parameters=("call_time_id",),
        summary="Delete a call time.",
    ),
    Action(
        name="goGetAllCalltimes", aliases=("getAllCalltimes",), permission="schedules/read", is_scoped=True, handler=_list,
        parameters=("limit",), summary="List call times.",
    ),
    Action(
        name="goGetCalltimesInfo", aliases=("getCalltimesInfo", "goGetCalltimeInfo"), permission="schedules/read", is_scoped=True,
        handler=_info, parameters=("call_time_id",), summary="Read a call time.",
    ),
    Action(
        name="goCheckCalltimes", aliases=("goCheckCalltime",), permission="schedules/read", is_scoped=True, handler=_check,
        parameters=("call_time_id",), summary="Whether a call time's ID is free.",
    ),
)  # fmt: skip
