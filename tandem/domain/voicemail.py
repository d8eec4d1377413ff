"""Greetings and messages of voicemail boxes as values, and the text that app_voicemail writes beside a message, read; never touches a file."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, get_args

# unavail and busy: for these callers; greet: the name, said before Asterisk's own words; temp: instead of them all.
GreetingKind = Literal["unavail", "busy", "greet", "temp"]
GREETING_KINDS: Final[tuple[GreetingKind, ...]] = get_args(GreetingKind)
# app_voicemail.c, mailbox_folders
FOLDERS: Final = ("INBOX", "Old", "Urgent", "Work", "Family", "Friends", "Cust1", "Cust2", "Cust3", "Cust4", "Cust5")
# It makes them of the time and a counter.
_ID: Final = re.compile(r"[0-9A-Za-z.-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """A greeting of a box. duration_s: null where it is in a format that we do not read; changed_at: when it was recorded or uploaded."""

    kind: GreetingKind
    duration_s: float | None
    bytes: int
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceMessage:
    """A message in a box. folder: INBOX is what nobody has heard yet; caller: as the phone showed it, a stranger's words."""

    id: str
    folder: str
    caller: str
    received_at: datetime
    duration_s: int
    bytes: int


def read_message(text: str, folder: str, size: int) -> VoiceMessage | None:
    """A message by its `msg0000.txt`; None for one that has no id or no time, as while it is being written. The first line of a name wins."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator:
            found.setdefault(name.strip(), value.strip())
    if _ID.fullmatch(found.get("msg_id", "")) is None or not _is_number(found.get("origtime", "")):
        return None
    length = found.get("duration", "")
    return VoiceMessage(
        id=found["msg_id"],
        folder=folder,
        caller=found.get("callerid", "")[:200],
        received_at=datetime.fromtimestamp(int(found["origtime"]), UTC),
        duration_s=int(length) if _is_number(length) else 0,
        bytes=size,
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 11
