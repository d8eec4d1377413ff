"""Options of app_queue, as queues.conf and FreePBX keep them, -> fields of a queue; pure, and changes no value without a word."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter

from tandem.domain.entities import Queue

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
        "join_when_empty": (get("joinempty") or "yes").lower() in {"yes", "true", "1"},
        "leave_when_empty": get("leavewhenempty").lower() not in {"no", "false", "0", ""},
    }
    if position in {"limit", "more"}:
        values["announce_position_limit"] = get("announce-position-limit") or "5"
        values["announce_beyond_limit"] = position == "more"
    values |= {field: get(option).lower() in _YES for option, field in _FLAGS.items() if get(option)}
    for option, field in _NUMBERS.items():
        if text := get(option):
            values[field] = _read_number(option, text, field, lose)
    for field, needed in _IDLE:
        if values.get(needed) in {None, False, "no"}:
            values.pop(field, None)
    return values


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
    return {name: (fields[name]["minimum"], fields[name]["maximum"]) for name in _NUMBERS.values()}


def _say(word: str, third: str) -> str:
    """`yes`, `no` or the third word of an option that has three."""
    return third if word.lower() == third else "yes" if word.lower() in _YES else "no"
