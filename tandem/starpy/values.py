"""starpy's values <-> ours, pure: results, digits, seconds, times of day; never does I/O."""

import time
from datetime import UTC, date, datetime

from fastagi.wire import Response

When = float | date | datetime | time.struct_time


def read_line(response: Response) -> str:
    """The answer without `200 result=`."""
    return f"{response.result} {response.text}".rstrip()


def read_number(response: Response) -> int:
    """The result as a number."""
    return int(response.result)


def read_code(digit: str | None) -> int:
    """A digit as its character's code, 0 for none."""
    return ord(digit) if digit else 0


def to_ms(seconds: float) -> int:
    """Seconds in milliseconds; -1 for a negative number: no limit."""
    return -1 if seconds < 0 else round(seconds * 1000)


def keep_digits(value: object) -> str:
    """The digits in a value. ValueError where there are none."""
    digits = "".join(char for char in str(value) if char in "0123456789")
    if not digits:
        raise ValueError(f"a number to say: must have a digit, got {value!r}")
    return digits


def keep_alphanumeric(text: str) -> str:
    """The letters and digits of a text."""
    return "".join(char for char in text if char.isalnum())


def to_aware(when: When) -> datetime:
    """A time in one of starpy's shapes as an aware one; a naive one is local."""
    if isinstance(when, datetime):
        return when.astimezone()
    if isinstance(when, date):
        return datetime.fromtimestamp(time.mktime(when.timetuple()), UTC)
    return datetime.fromtimestamp(time.mktime(when) if isinstance(when, time.struct_time) else when, UTC)
