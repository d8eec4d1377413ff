"""Options of app_queue, as queues.conf and FreePBX keep them, -> fields of a queue; pure, and changes no value without a word."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, get_args

from pydantic import TypeAdapter

from tandem.domain.fields import AbsentWhen
from tandem.domain.queues import Queue

# What a caller may wait at the most, in s: the nearest to app_queue's "without a limit".
NO_LIMIT_S: Final = 86400
_NUMBERS: Final = {
    "timeout": "ring_time_s", "retry": "retry_s", "wrapuptime": "wrap_up_s", "maxlen": "max_callers", "weight": "weight",
    "servicelevel": "service_level_s", "announce-frequency": "announce_every_s", "min-announce-frequency": "announce_min_s",
    "memberdelay": "member_delay_s", "autopausedelay": "autopause_delay_s", "penaltymemberslimit": "penalty_members_limit",
}  # fmt: skip
_FLAGS: Final = {
    "reportholdtime": "report_hold_time", "ringinuse": "ring_in_use", "timeoutrestart": "timeout_restart",
    "announce-position-only-up": "announce_only_up", "announce-to-first-user": "announce_to_first",
    "autopausebusy": "autopause_busy", "autopauseunavail": "autopause_unavailable",
}  # fmt: skip
# Fields that say nothing without another one.
_IDLE: Final = (
    ("announce_to_first", "announce_every_s"), ("announce_only_up", "announce_position"), ("autopause_delay_s", "autopause"),
    ("autopause_busy", "autopause"), ("autopause_unavailable", "autopause"),
)  # fmt: skip
_YES: Final = frozenset({"yes", "true", "y", "t", "1", "on"})
_NO: Final = frozenset({"no", "false", "n", "f", "0", "off"})
# When a member is nobody: app_queue's words -> ours, and its words for several at once (parse_empty_options of app_queue.c; the last is FreePBX's).
_ABSENT_WORDS: Final = {when.replace("-", ""): when for when in get_args(AbsentWhen)}
_LOOSE: Final = frozenset({"penalty", "invalid"})
_STRICT: Final = _LOOSE | {"paused", "unavailable"}
_ABSENT_SETS: Final = {"loose": _LOOSE, "strict": _STRICT, "ultrastrict": _STRICT | {"in-use", "ringing"}}
_STRATEGIES: Final = frozenset(
    {"ringall", "leastrecent", "fewestcalls", "random", "rrmemory", "rrordered", "linear", "wrandom"}
)
# All that is read here.
KNOWN: Final = frozenset(
    {*_NUMBERS, *_FLAGS, "strategy", "autopause", "announce-holdtime", "announce-position", "announce-position-limit", "joinempty", "leavewhenempty"}
)  # fmt: skip


def read_queue_options(find: Callable[[str], str | None], lose: Callable[[str], None]) -> dict[str, Any]:
    """find: an option's text, '' or None where there is none; lose: told of what is not as it was. Asterisk's own defaults where ours are others."""

    def get(option: str) -> str:
        return find(option) or ""

    strategy = get("strategy").lower() or "ringall"
    if strategy not in _STRATEGIES:
        lose(f"strategy {strategy[:40]} is ringall now")
        strategy = "ringall"
    position = get("announce-position").lower()
    values: dict[str, Any] = {
        "strategy": strategy,
        "autopause": _say(get("autopause"), "all"),
        "announce_hold_time": _say(get("announce-holdtime"), "once"),
        "announce_position": position in {*_YES, "limit", "more"},
    }
    values |= _read_absent(get("joinempty"), get("leavewhenempty"), lose)
    if position in {"limit", "more"}:
        option = "announce-position-limit"
        values["announce_position_limit"] = (
            _read_number(option, get(option) or "5", "announce_position_limit", lose) or 5
        )
        values["announce_beyond_limit"] = position == "more"
    values |= {field: get(option).lower() in _YES for option, field in _FLAGS.items() if get(option)}
    for option, field in _NUMBERS.items():
        if text := get(option):
            values[field] = _read_number(option, text, field, lose)
    for field, needed in _IDLE:
        if values.get(needed) in {None, False, "no"}:
            values.pop(field, None)
    return values


def _read_absent(join: str, leave: str, lose: Callable[[str], None]) -> dict[str, Any]:
    """Who waits where nobody is there, and whom that means; app_queue has two meanings, a queue of ours one."""
    joins = _read_empty("joinempty", join, _NO, lose)
    leaves = _read_empty("leavewhenempty", leave, _YES, lose)
    if joins and leaves and joins != leaves:
        lose(f"leavewhenempty = {leave[:80]} means whom joinempty = {join[:80]} means, now")
    values: dict[str, Any] = {"join_when_empty": not joins, "leave_when_empty": bool(leaves)}
    if absent := joins or leaves:
        values["absent_when"] = tuple(when for when in get_args(AbsentWhen) if when in absent)
    return values


def _read_empty(option: str, text: str, strictly: frozenset[str], lose: Callable[[str], None]) -> frozenset[str]:
    """When a member is nobody for this option: never, where it is empty. strictly: the words for `penalty, invalid, paused`."""
    absent: frozenset[str] = frozenset()
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        if word in _ABSENT_WORDS:
            absent |= {_ABSENT_WORDS[word]}
        elif word in _ABSENT_SETS:
            absent = _ABSENT_SETS[word]
        elif word in _YES | _NO:
            absent = _LOOSE | {"paused"} if word in strictly else frozenset()
        else:
            lose(f"{option}: {word[:40]} is no word of app_queue's")
    return absent


def _read_number(option: str, text: str, field: str, lose: Callable[[str], None]) -> int | None:
    low, high = _limits()[field]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        lose(f"{option} = {text[:40]} is no number: it is as it comes")
        return None
    # A timeout of 0 is none at all: the longest is nearest to it.
    nearest = high if option == "timeout" and int(text) == 0 else min(max(int(text), low), high)
    if nearest != int(text):
        lose(f"{option} = {text} is {nearest} now")
    return nearest


@cache
def _limits() -> dict[str, tuple[int, int]]:
    """Field -> the least and the most that it takes."""
    fields = TypeAdapter(Queue).json_schema()["properties"]
    return {
        name: (fields[name]["minimum"], fields[name]["maximum"])
        for name in (*_NUMBERS.values(), "announce_position_limit")
    }


def _say(word: str, third: str) -> str:
    """`yes`, `no` or the third word of an option that has three."""
    return third if word.lower() == third else "yes" if word.lower() in _YES else "no"
