"""Runs the route tests of a PBX: where calls would come to, decided as for real calls; never does I/O, never looks at a clock.

A call is followed as its caller would: opening hours as of `at` and `night`, keys at menus as they are pressed, queues as if nobody waited in
them (what is not known lets callers in). It ends where it waits for somebody, or for keys that the test does not press.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from tandem.domain.changes import ApplyRefused, Complaint
from tandem.domain.destinations import (
    AnnouncementDestination,
    Destination,
    MenuDestination,
    QueueDestination,
)
from tandem.domain.entities import Expectation, Menu
from tandem.domain.menu import Again, Tries, collect, step
from tandem.domain.nights import with_modes
from tandem.domain.routing import INACTIVE, describe_destination, enter_queue, resolve, route_did
from tandem.domain.snapshot import Snapshot

V = TypeVar("V")

# More places than any call passes that ever ends: 20 menus with 20 rounds each.
_MAX_PLACES: Final = 400
_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RouteTest:
    """What became of a test. problem: in words, empty where it passed; steps: how the call went."""

    question: str
    expected: str
    problem: str
    steps: tuple[str, ...]


def run_route_tests(snapshot: Snapshot) -> tuple[RouteTest, ...]:
    """Every test of the PBX."""
    return tuple(run_route_test(snapshot, expectation) for expectation in snapshot.expect.values())


def refuse_failing(snapshot: Snapshot) -> None:
    """ApplyRefused names every test that fails, what was expected and where the call would go."""
    failed = [
        Complaint(f"expect {test.question}", "", test.problem) for test in run_route_tests(snapshot) if test.problem
    ]
    if failed:
        raise ApplyRefused("tests", tuple(failed))


def run_route_test(snapshot: Snapshot, expectation: Expectation) -> RouteTest:
    """One test."""
    # By the clock where the test does not say otherwise, whatever is switched now.
    snapshot = with_modes(snapshot, dict.fromkeys(expectation.night, "night"))
    hours = _Watched(snapshot.hours)
    walk = _Walk(replace(snapshot, hours=hours), expectation)
    problem = walk.go()
    by_clock = hours.asked.difference(expectation.night)
    if by_clock and expectation.at is None:
        problem = f"depends on schedule {', '.join(sorted(by_clock))}: say when, as in `at: 2026-12-24T10:30`"
    expected = describe_destination(expectation.destination)
    return RouteTest(expectation.question, expected, problem, tuple(walk.steps))


class _Watched(Mapping[str, V]):
    """Notes which schedules were asked."""

    def __init__(self, inner: Mapping[str, V]) -> None:
        self._inner = inner
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> V:
        self.asked.add(name)
        return self._inner[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)


class _Walk:
    """One call on its way."""

    def __init__(self, snapshot: Snapshot, expectation: Expectation) -> None:
        self._snapshot = snapshot
        self._expectation = expectation
        self._now = _read_moment(expectation.at, snapshot.general.time_zone)
        self._keys = list(expectation.keys)
        self._tries = Tries()
        # Where the call has been since the last key.
        self._passed: list[str] = []
        self.steps: list[str] = []

    def go(self) -> str:
        """What is wrong, or nothing."""
        asked = self._expectation
        route = route_did(self._snapshot, asked.did, asked.caller or "", asked.trunk, self._now)
        self.steps += route.reasons
        place: Destination = INACTIVE if route.destination is None else route.destination
        for _ in range(_MAX_PLACES):
            resolved = resolve(self._snapshot, place, self._now)
            if resolved.destination is not place:
                self.steps += resolved.reasons
            place, onward = resolved.destination, self._leave(resolved.destination)
            if onward is None:
                break
            place = onward
        else:
            return f"is still on its way after {_MAX_PLACES} places: {self.steps[-1]}"
        reached, wanted = describe_destination(place), describe_destination(asked.destination)
        if self._keys:
            return f"comes to {reached}, where nobody hears the keys {', '.join(key or 'none' for key in self._keys)}"
        if wanted in {reached, *self._passed}:
            return ""
        without = " (no DID matches)" if route.destination is None else ""
        return f"comes to {reached}{without}, not to {wanted}: {'; '.join(self.steps)}"

    def _leave(self, place: Destination) -> Destination | None:
        """Where the call goes on from here; None where it stays."""
        match place:
            case MenuDestination(menu=name) if name in self._snapshot.menus:
                return self._press(self._snapshot.menus[name]) if self._keys else None
            case AnnouncementDestination(announcement=name) if name in self._snapshot.announcements:
                self._pass(place)
                return self._snapshot.announcements[name].then
            case QueueDestination(queue=name):
                other = enter_queue(self._snapshot, name, None, self._now)
                if other is not None:
                    self.steps.append(f"queue {name} is closed, so {describe_destination(other)}")
                return other
        return None

    def _pass(self, place: Destination) -> None:
        if not self._keys:
            self._passed.append(describe_destination(place))

    def _press(self, menu: Menu) -> Destination:
        """One round at a menu; what is pressed beyond it is heard by the next."""
        pressed = self._keys.pop(0)
        digits = ""
        for digit in pressed:
            digits += digit
            if collect(menu, digits, self._snapshot) is None:
                break
        if rest := pressed[len(digits) :]:
            self._keys.insert(0, rest)
        outcome = step(menu, self._tries, digits, self._snapshot)
        self.steps.append(f"menu {menu.name}: {outcome.reason}")
        if isinstance(outcome, Again):
            self._tries = outcome.tries
            return MenuDestination(menu=menu.name)
        self._tries = Tries()
        self.steps.append(describe_destination(outcome.destination))
        return outcome.destination


def _read_moment(text: str | None, time_zone: str) -> datetime:
    if text is None:
        return _ANY_TIME
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(time_zone))
