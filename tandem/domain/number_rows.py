"""Numbers as clients send them, one at a time: JSON text or parsed values -> NewNumber, or what is wrong with it; pure, and never holds the interpreter for a whole list.

`json` and pydantic keep the interpreter for as long as one call of theirs takes. Item by item, in a thread, the reactor gets its turns.
"""

import json
from collections.abc import Generator, Iterator
from datetime import datetime, tzinfo
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from tandem.domain.campaigns import NewNumber
from tandem.domain.problems import describe_errors

_NUMBER: Final[TypeAdapter[NewNumber]] = TypeAdapter(NewNumber)
_SPACE: Final = " \t\n\r"


class NotJson(ValueError):
    """The text is no JSON, or not of the form that is wanted."""


def read_new_number(value: Any, zone: tzinfo | None = None) -> NewNumber | tuple[tuple[str, str], ...]:
    """A number, or (field, rule) for everything that is wrong. not_before: ISO 8601; without an offset it is of `zone`, if there is one."""
    if not isinstance(value, dict):
        return (("", "must be an object"),)
    given = value.get("not_before")
    if given is not None:
        at = read_time(given, zone)
        if at is None:
            return (("not_before", "must be a time such as 2026-03-01T09:00:00+01:00"),)
        value = {**value, "not_before": at}
    try:
        return _NUMBER.validate_python(value)
    except ValidationError as error:
        return tuple((problem.path, problem.message) for problem in describe_errors(error, root=NewNumber))


def read_time(text: Any, zone: tzinfo | None) -> float | None:
    """An ISO 8601 time as seconds since 1970; None for what is none, or has no offset where no zone is known."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=zone)
        return at.timestamp() if at.tzinfo is not None and at.year >= 1970 else None
    except (ValueError, OverflowError):
        return None


# ------------------------------------------------------------------------------------------------------------- JSON


def split_items(text: str, name: str) -> Iterator[Any]:
    """The items of the list `name` in a JSON object `{"numbers": […]}`, or of a bare list; NotJson wherever it stops being one."""
    at = _skip(text, 0)
    if text.startswith("[", at):
        end = yield from _split_list(text, at)
    elif text.startswith("{", at):
        end = yield from _split_object(text, at, name)
    else:
        raise NotJson(f"the body must be an object with the list {name}")
    if _skip(text, end) != len(text):
        raise NotJson(f"there is something after the end, at character {end}")


def _split_object(text: str, at: int, name: str) -> Generator[Any, None, int]:
    at, is_found = _skip(text, at + 1), False
    while not text.startswith("}", at):
        key, at = _decode(text, at)
        at = _skip(text, at)
        if not isinstance(key, str) or not text.startswith(":", at):
            raise NotJson(f"a name and a colon are missing at character {at}")
        if key != name:
            raise NotJson(f"{key[:40]!r} is not known here")
        if is_found:
            raise NotJson(f"{name} is there twice")
        is_found, at = True, _skip(text, at + 1)
        if not text.startswith("[", at):
            raise NotJson(f"{name} must be a list")
        at = yield from _split_list(text, at)
        at = _skip(text, at)
        if text.startswith(",", at) and not text.startswith("}", _skip(text, at + 1)):
            at = _skip(text, at + 1)
        elif not text.startswith("}", at):
            raise NotJson(f"the object does not end at character {at}")
    if not is_found:
        raise NotJson(f"{name} is missing")
    return at + 1


def _split_list(text: str, at: int) -> Generator[Any, None, int]:
    at = _skip(text, at + 1)
    if text.startswith("]", at):
        return at + 1
    while True:
        value, at = _decode(text, at)
        yield value
        at = _skip(text, at)
        if text.startswith("]", at):
            return at + 1
        if not text.startswith(",", at):
            raise NotJson(f"the list does not go on at character {at}")
        at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _decode(text: str, at: int) -> tuple[Any, int]:
    try:
        return _decoder().raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise NotJson(f"the body is no JSON: {error}") from None


@cache
def _decoder() -> json.JSONDecoder:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.JSONDecoder(parse_constant=refuse)
