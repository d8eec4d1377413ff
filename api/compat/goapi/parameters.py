"""The parameters of a goAPI action, read by PHP's `empty()` and goAPI's rules of characters; knows no action."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from api.compat.goapi.speech import Said, fail
from api.compat.parameters import Parameters, read_parameters
from api.compat.php_names import split_pairs
from api.declare import Sent

MAX_TEXT: Final = 64 * 1024
# The address wins for these, the body for all others (request_order GP).
FROM_ADDRESS: Final = frozenset({"goAction", "responsetype", "session_user"})
# goAPI's one class of special characters, as its bytes behave: these signs, and any text with one of the bytes C2, A3 or AC.
_SPECIAL: Final = re.compile(rb"[#$%&'()*+,\-<=>?@^_{|}~\xc2\xa3\xac]")
_SPECIAL_IN_IDS: Final = re.compile(rb"[#$%&'()*+,<=>?@^{|}~\xc2\xa3\xac]")
# More than goAPI refuses: what Asterisk's files would read.
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f;\[\]"\\`]')
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
_NOT_IN_LINES: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Given:
    """What was given. repeated: the values of plain names that were sent more than once, in order.

    file_names: what the client calls the files, to be told, never to be a path.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    file_names: Mapping[str, str] = field(default_factory=dict)
    is_json: bool = False

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def raw(self, name: str) -> str:
        """As sent; '' where there is none. For passwords. Said for what is no single value."""
        value = self.values.get(name)
        if isinstance(value, dict | list):
            raise fail(f"Error: {name} must be a single value")
        if isinstance(value, bool):
            return "1" if value else ""
        return "" if value is None else str(value)

    def text(self, name: str) -> str:
        """A line of text without blanks around it; '' for what PHP calls empty, which '0' is too. Said with control characters."""
        value = self.line(name)
        return "" if value == "0" else value

    def line(self, name: str) -> str:
        """The same, and '0' is a value."""
        return _check_line(name, self.raw(name).strip(" "))

    def lines(self, name: str) -> str:
        """A text that may have several lines."""
        value = self.raw(name)
        if _NOT_IN_LINES.search(value):
            raise special(name)
        return value

    def flag(self, name: str, message: str) -> bool | None:
        """Y or N, however written; None where it is empty. Said with `message` for anything else."""
        value = self.text(name).upper()
        if value not in ("", "Y", "N"):
            raise fail(message)
        return None if not value else value == "Y"

    def many(self, name: str) -> tuple[str, ...]:
        """`k[]=a&k[]=b`, `k[0]=a`, `k=a&k=b`, `k=a,b` and `k=a`: what is not empty, in order."""
        found = self.repeated.get(name) or self.listed(name)
        parts = [part.strip(" ") for one in found for part in one.split(",")]
        return tuple(_check_line(name, part) for part in parts if part)

    def listed(self, name: str) -> tuple[str, ...]:
        """The values of an array as they are, empty ones too, so that arrays of one form keep step with each other."""
        value = self.values.get(name)
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
        found = []
        for one in inside:
            if isinstance(one, dict | list):
                raise fail(f"Error: {name} must be a list of single values")
            if one is not None:
                found.append(_check_line(name, str(one)))
        return tuple(found)


def _check_line(name: str, value: str) -> str:
    if len(value) > MAX_TEXT or _CONTROL.search(value):
        raise special(name)
    return value


def special(name: str) -> Said:
    """GoAPI's text for characters that it does not take."""
    return fail(f"Error: Special characters found in {name}")


def check_special(name: str, value: str, *, is_id: bool = False, allows: str = "") -> str:
    """`value`, unless it holds a character that goAPI or Asterisk's files do not take; ids may have dashes and underscores."""
    pattern = _SPECIAL_IN_IDS if is_id else _SPECIAL
    left = value
    for sign in allows:
        left = left.replace(sign, "")
    if pattern.search(left.encode()) or _UNSAFE.search(left):
        raise special(name)
    return value


def _collect(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    repeated: dict[str, list[str]] = {}
    for name, value in pairs:
        repeated.setdefault(name, []).append(value)
    return repeated


def read_given(sent: Sent) -> Given:
    """All parameters of a request; BodyUnreadable for what is none."""
    found: Parameters = read_parameters(sent, query_wins=FROM_ADDRESS)
    repeated = _collect(split_pairs(sent.query))
    if found.transport == "form":
        # One source wins for each name: what is in both is not twice as much.
        inside = _collect(split_pairs(sent.content.rstrip(b"\r\n")))
        repeated |= {
            name: values for name, values in inside.items() if name not in repeated or name not in FROM_ADDRESS
        }
    many = {name: tuple(values) for name, values in repeated.items() if len(values) > 1 and "[" not in name}
    files = {name: file.content for name, file in found.files.items()}
    names = {name: file.name for name, file in found.files.items()}
    return Given(dict(found), many, files, names, found.transport == "json")
