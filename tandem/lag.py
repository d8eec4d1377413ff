"""How late the reactor is: one timer, the last minute's lateness; never acts on it."""

from collections import deque
from itertools import islice
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from tandem.ami.connection import Clock

EVERY_S = 0.1
KEPT = 600


class LagGauge(Service):
    """Measures the lateness of a timer that should fire every 100 ms, in seconds, over the last minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lags: deque[float] = deque(maxlen=KEPT)
        self._due_at = 0.0
        self._loop = LoopingCall(self._tick)
        self._loop.clock = cast(Any, clock)

    def startService(self) -> None:
        """Starts the timer."""
        super().startService()  # type: ignore[no-untyped-call]
        self._due_at = self._clock.seconds() + EVERY_S
        self._loop.start(EVERY_S, now=False)

    def stopService(self) -> None:
        """Stops it."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._loop.running:
            self._loop.stop()

    def _tick(self) -> None:
        now = self._clock.seconds()
        self._lags.append(max(0.0, now - self._due_at))
        self._due_at = now + EVERY_S

    def read_recent(self) -> float:
        """Worst of the last second."""
        return max(islice(reversed(self._lags), round(1 / EVERY_S)), default=0.0)

    def read_max(self) -> float:
        """Worst of the last minute."""
        return max(self._lags, default=0.0)

    def read_p99(self) -> float:
        """Ninety-nine of a hundred were no later."""
        ordered = sorted(self._lags)
        return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] if ordered else 0.0
