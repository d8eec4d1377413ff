"""What a call lived through, seen from all sides: its caller's SIPp leg, Asterisk's log, and the story Tandem tells; never decides what is right."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from lab.pbx import LabPbx
from lab.sipp import CARRIER_HOST, Caller, HangUp, Leg, SippRun, Step, Wait, place_calls

T = TypeVar("T")

BRIEFLY: tuple[Step, ...] = (Wait(0.3), HangUp())
_STEP = re.compile(r'Executing \[(\S+?)@(\S+?):\d+\] (\w+)\("([^"]*)", "(.*)"\)')
# Playback() and AGI say it a little differently.
_PLAYING = re.compile(r"<([^>]+)> Playing '([^'.]+)[^']*' .*\(language '?(\w+)")


class NotObserved(AssertionError):
    """Something that should be seen was not, within its time."""


def wait_until(look: Callable[[], T], what: str, *, timeout_s: float = 30.0, every_s: float = 0.05) -> T:
    """The first true value of `look`. NotObserved with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise NotObserved(f"{what}: not within {timeout_s:g} s (the last was {seen!r})")
        time.sleep(every_s)
    return seen


@dataclass(frozen=True, slots=True)
class Lived:
    """One call. steps: (extension@context, application, its data); sounds: (file, language), both of the caller's channel, in order."""

    leg: Leg
    story: Mapping[str, Any]
    steps: tuple[tuple[str, str, str], ...]
    sounds: tuple[tuple[str, str], ...]

    @property
    def reached(self) -> str:
        """The first extension of the admin's context that the call came to; '' for none."""
        return next((place.partition("@")[0] for place, _, _ in self.steps if place.endswith("@from-admin")), "")

    @property
    def reasons(self) -> list[str]:
        """All reasons of all decisions."""
        return [reason for decision in self.story["decisions"] for reason in decision["reasons"]]

    @property
    def outcomes(self) -> list[str]:
        """The outcome of each decision."""
        return [decision["outcome"] for decision in self.story["decisions"]]

    def data(self, application: str) -> list[str]:
        """The arguments of each execution of an application."""
        return [data for _, name, data in self.steps if name == application]


class Observer:
    """Places calls, each from a number that nobody called this PBX from before, and tells what became of them."""

    def __init__(self, pbx: LabPbx) -> None:
        self.pbx = pbx

    def call(self, called: str, *steps: Step, **options: Any) -> Lived:
        """One call to its end; `steps` default to a moment on the line. options: of `place_calls`."""
        return self.call_all({called: steps}, **options)[called]

    def call_all(
        self, cases: Mapping[str, Sequence[Step]], *, has_cdr: bool = True, **options: Any
    ) -> dict[str, Lived]:
        """Calls to different numbers at the same time, each with its steps; `called/x` tells two calls of one number apart."""
        callers = {called: f"03055{next(self.pbx.callers):05}" for called in cases}
        mark = len(self.pbx.asterisk.read_log())
        with ExitStack() as stack:
            runs: dict[str, SippRun] = {}
            for called, steps in cases.items():
                caller = Caller(called.partition("/")[0], callers[called])
                placed = place_calls(
                    self.pbx.asterisk, [caller], steps=steps or BRIEFLY, **{"host": CARRIER_HOST} | options
                )
                runs[called] = stack.enter_context(placed)
                placed.wait_until_listening(self.pbx.asterisk)  # or the next one could choose the same port
            legs = {called: run.wait().legs for called, run in runs.items()}
        stories = self.find_stories(callers.values(), has_cdr=has_cdr)
        log = self.pbx.asterisk.read_log()[mark:]  # a restarted Asterisk gives the same names to its channels again
        return {called: _assemble(legs[called][0], stories[caller], log) for called, caller in callers.items()}

    def find_stories(self, callers: Iterable[str], *, has_cdr: bool = True) -> dict[str, Any]:
        """Caller number -> its story, each with a CDR unless none is expected."""
        missing = set(callers)
        found: dict[str, Any] = {}

        def look() -> bool:
            for story in self.pbx.request("GET", "/api/v1/decisions?limit=100")["items"]:
                if story["decisions"] and (story["records"] or not has_cdr):
                    found[story["decisions"][0]["caller"]] = story
            missing.difference_update(found)
            return not missing

        wait_until(look, f"a story with a CDR of each of these callers: {missing}")
        return found

    def wait_until_idle(self, *, timeout_s: float = 30.0) -> None:
        """No channel is left in Asterisk."""
        wait_until(
            lambda: "0 active channels" in self.pbx.asterisk.cli("core show channels count"),
            "no active channel",
            timeout_s=timeout_s,
        )


def _assemble(leg: Leg, story: Mapping[str, Any], log: str) -> Lived:
    channel = story["decisions"][0]["channel"]
    steps = tuple(
        (f"{exten}@{context}", application, data)
        for exten, context, application, name, data in _STEP.findall(log)
        if name == channel
    )
    sounds = tuple((sound, language) for name, sound, language in _PLAYING.findall(log) if name == channel)
    return Lived(leg, story, steps, sounds)
