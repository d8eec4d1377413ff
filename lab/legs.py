"""What one SIPp call lived through, read from what our scenarios log and SIPp counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened on a leg: milliseconds since SIPp started, one word, and what came with it."""

    at_ms: int
    word: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Leg:
    """What one SIPp call lived through, in order.

    Words: ringing, progress, invited (detail: From), called (detail: To), answered, refused (detail: the SIP code), cancelled, hangup (we sent BYE), bye
    (they did), gave-up, registered, consulted, referred.
    """

    call_id: str
    events: tuple[Event, ...]

    def at_ms(self, word: str) -> int | None:
        """When that first happened, or None."""
        return next((event.at_ms for event in self.events if event.word == word), None)

    @property
    def caller(self) -> str:
        """The user part of From: who calls a phone; '' for a leg that calls."""
        header = next((event.detail for event in self.events if event.word == "invited"), "")
        return header.partition("sip:")[2].partition("@")[0]

    @property
    def called(self) -> str:
        """The user part of To: the number that was dialled; '' for a leg that calls."""
        header = next((event.detail for event in self.events if event.word == "called"), "")
        return header.partition("sip:")[2].partition("@")[0]

    @property
    def is_answered(self) -> bool:
        """Whether the INVITE was answered with 200."""
        return self.at_ms("answered") is not None

    @property
    def refusal(self) -> int | None:
        """The final SIP code when it was not 200."""
        return next((int(event.detail) for event in self.events if event.word == "refused"), None)

    @property
    def ended_by(self) -> Literal["us", "them"] | None:
        """Who sent BYE; None when nobody did."""
        words = {event.word for event in self.events}
        return "us" if "hangup" in words else "them" if "bye" in words else None

    @property
    def talk_s(self) -> float | None:
        """From answer to BYE."""
        start, end = self.at_ms("answered"), self.at_ms("hangup") or self.at_ms("bye")
        return None if start is None or end is None else (end - start) / 1000


def parse_legs(log: str) -> tuple[Leg, ...]:
    """Legs from the lines ``<call id> <ms> <word> <detail>`` that our scenarios log; an unfinished last line is left out."""
    events: dict[str, list[Event]] = {}
    for line in log.split("\n")[:-1]:
        call_id, at_ms, word, *detail = line.strip().split(" ", 3) if line.count(" ") >= 2 else ("", "", "")
        if at_ms.isdigit():
            events.setdefault(call_id, []).append(Event(int(at_ms), word, detail[0].strip() if detail else ""))
    return tuple(Leg(call_id, tuple(found)) for call_id, found in events.items())


def parse_statistics(text: str) -> dict[str, str]:
    """Column -> value of the last line of SIPp's ``-trace_stat`` file."""
    lines = text.splitlines()
    return dict(zip(lines[0].split(";"), lines[-1].split(";"), strict=False)) if len(lines) > 1 else {}
