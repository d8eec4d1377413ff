"""Night modes: a schedule that somebody holds open or closed whatever the clock says; pure, never keeps or tells it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from tandem.domain.schedules import Mode
from tandem.domain.snapshot import Snapshot

_KIND: Final = "night-"
# What may follow the code of a phone; without any, night mode is turned over.
_MODE_BY_KEY: Final[Mapping[str, Mode]] = {"0": "auto", "1": "day", "2": "night"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NightMode:
    """Of one schedule. auto: by the clock; day: open; night: closed. since: seconds since 1970; by: who switched it last."""

    schedule: str
    mode: Mode = "auto"
    since: float = 0.0
    by: str = ""


class NightRefused(ValueError):
    """A phone may not switch this, or not so; the message says why."""


def night_kind(schedule: str) -> str:
    """The kind of a schedule's feature code in AstDB."""
    return f"{_KIND}{schedule}"


def read_night_kind(kind: str) -> str | None:
    """The schedule of such a kind; None for the code of something else."""
    return kind.removeprefix(_KIND) if kind.startswith(_KIND) else None


def name_device(code: str) -> str:
    """The device that a phone's lamp for the code shows: in use while it is night."""
    return f"Custom:tandem{code}"


def read_night_digits(snapshot: Snapshot, schedule: str, endpoint: str, digits: str, now: Mode) -> Mode:
    """What the schedule is to be for a phone that dialled its code and these digits. KeyError for no such schedule, NightRefused."""
    phones = snapshot.schedules[schedule].night_phones
    caller = snapshot.endpoints.get(endpoint)
    if caller is None or (endpoint not in phones if phones else "internal" not in caller.permissions):
        raise NightRefused(f"phone {endpoint} may not switch schedule {schedule}")
    if not digits:
        return "auto" if now == "night" else "night"
    if digits not in _MODE_BY_KEY:
        raise NightRefused("after the code must come 0 (by the clock), 1 (day), 2 (night) or nothing")
    return _MODE_BY_KEY[digits]


def with_modes(snapshot: Snapshot, modes: Mapping[str, Mode]) -> Snapshot:
    """The snapshot with its schedules held so; those that are not named go by the clock. The same one where nothing differs."""
    hours = {
        name: compiled if compiled.mode == (mode := modes.get(name, "auto")) else replace(compiled, mode=mode)
        for name, compiled in snapshot.hours.items()
    }
    if all(hours[name] is compiled for name, compiled in snapshot.hours.items()):
        return snapshot
    return replace(snapshot, hours=hours)
