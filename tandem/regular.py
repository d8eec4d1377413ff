"""A service that does things at intervals: none before it is started, and none after it was stopped."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall


class Regular(Service):
    """Names in its constructor what it does with `repeat`. A round that takes longer than its interval is not begun again meanwhile."""

    def __init__(self, clock: Any) -> None:
        """clock: the reactor, or what tells and keeps time in its place."""
        self._rounds: list[tuple[LoopingCall, float, bool]] = []
        self._rounds_clock = clock
        self._rounds_ends: list[Deferred[LoopingCall]] = []

    def repeat(self, work: Callable[[], object], every_s: float, *, now: bool = True) -> None:
        """Work is a function or a coroutine function, which raises nothing: an error ends its rounds. now: the first time at the start."""
        loop = LoopingCall(work)
        loop.clock = self._rounds_clock
        self._rounds.append((loop, every_s, now))

    def startService(self) -> None:
        """Begins all rounds."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's Service has no types
        self._rounds_ends = [loop.start(every_s, now=now) for loop, every_s, now in self._rounds]

    def stopService(self) -> Any:
        """What is under way goes on to its end."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's Service has no types
        self.stop_rounds()

    def stop_rounds(self) -> None:
        """Begins no more."""
        for loop, _, _ in self._rounds:
            if loop.running:
                loop.stop()

    async def finish_rounds(self) -> None:
        """Once stopped, waits for what is under way."""
        for end in self._rounds_ends:
            await end
