"""Stored values with seconds since 1970 -> the same with times, as every answer has them; writes no kind down twice."""

from collections.abc import Hashable
from dataclasses import fields, make_dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

T = TypeVar("T")

_SUFFIX: Final = "_at"


def with_times(kind: type[Any], name: str, leave_out: frozenset[str] = frozenset()) -> type[Any]:
    """A frozen dataclass like `kind`, whose fields that end in `_at` are times instead of seconds."""
    hints = get_type_hints(kind, include_extras=True)
    found = [
        (field.name, _type_of(field.name, hints[field.name])) for field in fields(kind) if field.name not in leave_out
    ]
    made = make_dataclass(name, found, frozen=True, slots=True, kw_only=True)
    made.__doc__ = (kind.__doc__ or "").replace("Times are seconds since 1970.", "").strip()
    return made


def _type_of(name: str, annotation: Any) -> Any:
    if not name.endswith(_SUFFIX):
        return annotation
    return datetime | None if type(None) in get_args(annotation) else datetime


@cache
def _names(shown: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cast(Any, shown)))


def show_times(shown: type[T], value: Any) -> T:
    """A stored value as its `with_times`."""
    return shown(
        **{
            name: time_of(getattr(value, name)) if name.endswith(_SUFFIX) else getattr(value, name)
            for name in _names(cast(Any, shown))
        }
    )


def time_of(seconds: float | None) -> datetime | None:
    """Seconds since 1970 as a time."""
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
