"""Prompts that phones record: which one a phone means that dialled the code, and whether it may; pure, never touches a file."""

import re
from dataclasses import dataclass
from typing import Final

from tandem.domain.snapshot import Snapshot
from tandem.domain.sounds import PROMPT_PREFIX

# 12 is the prompt tandem/prompt-12 for all languages, 12* the same in the phone's language alone.
_DIGITS: Final = re.compile(r"([0-9]{1,10})([*]?)")


class DictationRefused(ValueError):
    """A phone may not record this, or there is no such prompt; the message says why."""


@dataclass(frozen=True, slots=True)
class Dictation:
    """The sound that a phone records; language '': for every language that has none of its own."""

    name: str
    language: str

    @property
    def prompt(self) -> str:
        """How menus and announcements name it."""
        return PROMPT_PREFIX + self.name


def plan_dictation(snapshot: Snapshot, endpoint: str, digits: str) -> Dictation:
    """What a phone records that dialled the code and these digits; DictationRefused. Only phones that are named may: callers hear it."""
    caller = snapshot.endpoints.get(endpoint)
    if caller is None or endpoint not in snapshot.general.record_prompt_phones:
        raise DictationRefused(f"phone {endpoint} is none of general.record_prompt_phones")
    found = _DIGITS.fullmatch(digits)
    if found is None:
        raise DictationRefused(
            "after the code must come the prompt's number, 1 to 10 digits, and * for the phone's language alone"
        )
    language = (caller.language or snapshot.general.language) if found[2] else ""
    return Dictation(f"prompt-{found[1]}", language)
