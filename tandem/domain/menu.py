"""What a menu (IVR) does with the digits of a caller, as a pure state machine; never plays, waits or counts time itself.

A round: play prompts, collect digits until `collect` says that no more can matter, hand them to `step`. Whatever a caller presses,
a menu is left after at most `invalid_retries + timeout_retries + 1` rounds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tandem.domain.destinations import Destination
from tandem.domain.entities import Menu
from tandem.domain.snapshot import Snapshot

ENTER_KEY: Final = "#"


@dataclass(frozen=True, slots=True)
class Tries:
    """How many rounds of this visit ended with a wrong key, and how many in silence."""

    invalid: int = 0
    timeout: int = 0


@dataclass(frozen=True, slots=True)
class Goto:
    """The caller chose; the destination is still to be resolved."""

    destination: Destination
    reason: str


@dataclass(frozen=True, slots=True)
class Again:
    """Play these prompts (first what was wrong, then the menu's) and collect again."""

    prompts: tuple[str, ...]
    tries: Tries
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Too many wrong keys or too much silence; the destination is still to be resolved."""

    destination: Destination
    reason: str


def collect(menu: Menu, digits: str, snapshot: Snapshot) -> float | None:
    """How many seconds to wait for one more digit, or None when the digits are complete (or can no longer become right).

    `1` and `12` may both be options: `1` waits for the inter-digit time-out, `12` and `13` are complete at once.
    """
    if not digits:
        return menu.timeout_s
    return menu.inter_digit_timeout_s if _may_grow(menu, digits, snapshot) else None


def step(menu: Menu, tries: Tries, digits: str, snapshot: Snapshot) -> Goto | Again | GiveUp:
    """What follows from the digits of one round; '' is silence. Options win over numbers inside.

    A `#` that ends the digits and means nothing itself counts as the enter key that many callers press.
    """
    if not digits:
        reason = f"nothing pressed ({tries.timeout + 1} of {menu.timeout_retries + 1})"
        if tries.timeout >= menu.timeout_retries:
            return GiveUp(menu.timeout, reason)
        return Again(menu.timeout_prompts + menu.prompts, Tries(tries.invalid, tries.timeout + 1), reason)
    for chosen in _readings(digits):
        if chosen in menu.options:
            return Goto(menu.options[chosen], f"pressed {chosen}")
        if menu.direct_dial and chosen in snapshot.numbers:
            return Goto(snapshot.numbers[chosen], f"dialled {chosen}")
    reason = f"pressed {digits}, which is no option ({tries.invalid + 1} of {menu.invalid_retries + 1})"
    if tries.invalid >= menu.invalid_retries:
        return GiveUp(menu.invalid, reason)
    return Again(menu.invalid_prompts + menu.prompts, Tries(tries.invalid + 1, tries.timeout), reason)


def _readings(digits: str) -> Iterator[str]:
    yield digits
    if digits.endswith(ENTER_KEY):
        yield digits.removesuffix(ENTER_KEY)


def _may_grow(menu: Menu, digits: str, snapshot: Snapshot) -> bool:
    if any(len(keys) > len(digits) and keys.startswith(digits) for keys in menu.options):
        return True
    return menu.direct_dial and snapshot.has_longer_number(digits)
