"""Dial strings, DID numbers, number plans and caller ids as pure text rules; never guesses what a number without a rule could mean.

Every rule here is plain string work, because the static dialplan does the same with `${X:n}` on the day FastAGI is gone: what is
sent is cleaned, then normalised to a *key* (E.164 digits without `+`), and keys are compared.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from phonenumbers.phonemetadata import PhoneMetadata

MAX_DIALLED: Final = 40
DEFAULT_DID: Final = "default"
# What FILTER() keeps in the dialplan, too.
_NOT_DIALLED: Final = re.compile(r"[^0-9A-Za-z+*#]+")
_NOT_CALLER: Final = re.compile(r"[^0-9+]+")
_CLEANUP: Final = re.compile(r"(?:R([0-9]{1,2}))? ?(?:L([0-9]{1,10}))?")

DidKind = Literal["exact", "prefix", "pattern", "default"]


@dataclass(frozen=True, slots=True)
class DidPattern:
    """A DID number, read. `key` is digits without `+`, `*` or `_`; of a pattern the Asterisk pattern without `_`; of default ''."""

    kind: DidKind
    key: str


@dataclass(frozen=True, slots=True)
class NumberPlan:
    """How a country writes numbers: `49`, `0`, `00`. Countries without a national prefix have ''; no international one is ''."""

    country_code: str
    national_prefix: str
    international_prefix: str


def clean_dialled(text: str) -> str:
    """What a stranger dialled, cut down to ASCII digits, letters, `+`, `*` and `#`, 40 at most."""
    if text.isalnum() and text.isascii() and len(text) <= MAX_DIALLED:
        return text
    return _NOT_DIALLED.sub("", text)[:MAX_DIALLED]


def number_key(text: str) -> str:
    """The key under which a number is found: cleaned, without a leading `+`."""
    return clean_dialled(text).removeprefix("+")


@lru_cache(maxsize=300)
def number_plan(country: str) -> NumberPlan:
    """The plan of an ISO 3166-1 country, from phonenumbers' metadata; ValueError for a country that has none.

    Where the international prefix needs a carrier's code in between, only a preferred or literal one is used.
    """
    metadata = PhoneMetadata.metadata_for_region(country, None)
    if metadata is None or not metadata.country_code:
        raise ValueError(f"{country!r} is no country with a number plan (ISO 3166-1, such as DE)")
    international = metadata.international_prefix or ""
    if not international.isdigit():
        international = re.sub("[^0-9]", "", metadata.preferred_international_prefix or "")
    national = metadata.national_prefix or ""
    return NumberPlan(str(metadata.country_code), national if national.isdigit() else "", international)


def normalise_number(text: str, plan: NumberPlan | None) -> str:
    """The key of a number that a trunk sent; without a plan the number counts as it was sent.

    With one: `+` off, else the international prefix off, else the national prefix (which may be empty) becomes the country code,
    else it stays. The dialplan's fallback has exactly this rule.
    """
    text = clean_dialled(text)
    if text.startswith("+"):
        return text[1:]
    if plan is None or not text:
        return text
    if plan.international_prefix and text.startswith(plan.international_prefix):
        return text[len(plan.international_prefix) :]
    if text.startswith(plan.national_prefix):
        return plan.country_code + text[len(plan.national_prefix) :]
    return text


def make_number_key(country: str | None) -> Callable[[str], str]:
    """What lists of numbers are compared by, with the plan of a country, or of none."""
    plan = number_plan(country) if country else None
    return lambda phone_number: normalise_number(phone_number, plan)


def clean_caller_id(number: str, rule: str) -> str:
    """The caller's number (digits and `+` only) after `R10 L1`: R keeps the right-most digits, then L takes a leading string off."""
    number = _NOT_CALLER.sub("", number)[:MAX_DIALLED]
    read = _CLEANUP.fullmatch(rule)
    if read is None:
        raise ValueError(f"{rule!r}: must be such as R10, L1 or R10 L1")
    keep, strip = read.groups()
    if keep:
        number = number[-int(keep) :] if int(keep) else ""
    return number.removeprefix(strip) if strip else number


# ------------------------------------------------------------------------------------------------- DID numbers


def parse_did_number(text: str) -> DidPattern:
    """Reads `+4930…`, `+4930*`, `_4930[2-5]XX`, `default`; ValueError for a pattern that Asterisk could not match."""
    if text == DEFAULT_DID:
        return DidPattern("default", "")
    if text.startswith("_"):
        key = text[1:].removeprefix("+")
        _pattern_positions(key)
        return DidPattern("pattern", key)
    if text.endswith("*"):
        return DidPattern("prefix", number_key(text[:-1]))
    return DidPattern("exact", number_key(text))


_POSITION: Final = re.compile(r"[0-9XZN.!-]|\[([0-9-]+)\]")
_SETS: Final = {"X": "0123456789", "Z": "123456789", "N": "23456789"}
_ANY_MORE: Final = "."  # one or more of anything
_ANY: Final = "!"  # anything, or nothing


def _pattern_positions(key: str) -> list[str]:
    """One string per position: the digits that match there, or `.` or `!`."""
    positions: list[str] = []
    at = 0
    while at < len(key):
        read = _POSITION.match(key, at)
        if read is None:
            raise ValueError(f"pattern {key!r}: {key[at]!r} at position {at + 1} is not one of 0-9 X Z N [...] . !")
        if positions and positions[-1] in {_ANY, _ANY_MORE}:
            raise ValueError(f"pattern {key!r}: nothing may follow {positions[-1]!r}")
        at = read.end()
        sign = read.group()
        if sign != "-":  # Asterisk skips dashes outside of brackets
            positions.append(_set_of(key, read.group(1)) if sign.startswith("[") else _SETS.get(sign, sign))
    if not positions:
        raise ValueError("a pattern must hold at least one digit or one of X Z N [...] . !")
    return positions


def _set_of(key: str, inside: str) -> str:
    """The digits of `2-59`, sorted."""
    if not re.fullmatch("([0-9](-[0-9])?)+", inside):
        raise ValueError(f"pattern {key!r}: [{inside}] must hold digits and ranges of digits, such as [2-57]")
    digits: set[str] = set()
    for first, last in re.findall("([0-9])(?:-([0-9]))?", inside):
        if last and last < first:
            raise ValueError(f"pattern {key!r}: the range {first}-{last} runs backwards")
        digits.update(map(str, range(int(first), int(last or first) + 1)))
    return "".join(sorted(digits))


def pattern_regex(pattern: str) -> str:
    """The anchored regular expression of an Asterisk pattern, `_` and `+` optional; the same in Python, POSIX and REGEX()."""
    key = pattern.removeprefix("_").removeprefix("+")
    return "^" + "".join(map(_position_regex, _pattern_positions(key))) + "$"


def _position_regex(digits: str) -> str:
    if digits == _ANY_MORE:
        return ".+"
    if digits == _ANY:
        return ".*"
    if len(digits) == 1:
        return digits
    return f"[{digits}]" if digits not in _SETS.values() else f"[{digits[0]}-9]"


def pattern_rank(pattern: str) -> tuple[int, ...]:
    """Sorts patterns as Asterisk does (ext_cmp_pattern in main/pbx.c).

    At the first difference the smaller set goes first, then the lower digit; `.` after every set, `!` after that, and the end of a
    pattern last.
    """
    rank: list[int] = []
    for digits in _pattern_positions(pattern.removeprefix("_").removeprefix("+")):
        if digits in {_ANY_MORE, _ANY}:
            rank.append(0x18000 if digits == _ANY_MORE else 0x28000)
        else:
            rank.append(len(digits) << 8 | ord(digits[0]))
    return (*rank, 0x30000)


# ---------------------------------------------------------------------------------------------- blocked callers


@dataclass(frozen=True, slots=True)
class BlockIndex:
    """Caller patterns, prepared: whole keys, prefixes and the lengths that prefixes have."""

    exact: frozenset[str]
    prefixes: frozenset[str]
    prefix_lengths: tuple[int, ...]

    def holds(self, caller_key: str) -> bool:
        """Whether a caller's key is blocked; an unknown caller ('') never is."""
        if caller_key in self.exact:
            return True
        for length in self.prefix_lengths:  # noqa: SIM110 - any() makes a generator: three times the cost of an empty list
            if length <= len(caller_key) and caller_key[:length] in self.prefixes:
                return True
        return False


@lru_cache(maxsize=4096)
def index_callers(patterns: tuple[str, ...]) -> BlockIndex:
    """The same, kept for the next call that asks."""
    return index_blocked(patterns)


def index_blocked(patterns: Iterable[str]) -> BlockIndex:
    """Prepares caller patterns such as `+49301234567` and `+49900*`."""
    known = frozenset(patterns)
    prefixes = frozenset(number_key(pattern[:-1]) for pattern in known if pattern.endswith("*"))
    exact = frozenset(number_key(pattern) for pattern in known if not pattern.endswith("*"))
    return BlockIndex(exact, prefixes, tuple(sorted({len(prefix) for prefix in prefixes})))
