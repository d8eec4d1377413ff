"""How late the reactor is: one timer, the last minute's lateness; never acts on it."""

from collections import deque
from itertools import islice

from tandem.ami.connection import Clock
from tandem.regular import Regular

EVERY_S = 0.1
KEPT = 600


class LagGauge(Regular):
    """Measures the lateness of a timer that should fire every 100 ms, in seconds, over the last minute."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._clock = clock
        self._lags: deque[float] = deque(maxlen=KEPT)
        self._due_at = 0.0
        self.repeat(self._tick, EVERY_S, now=False)

    def startService(self) -> None:
        """Starts the timer."""
        self._due_at = self._clock.seconds() + EVERY_S
        super().startService()

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
