"""Slows campaigns down before Asterisk refuses calls, ours or others'; never speeds up but by small steps."""

from collections.abc import Awaitable, Callable, Iterable

from twisted.logger import Logger

from tandem.ami.connection import Clock
from tandem.ami.errors import AmiError
from tandem.domain.overload import TaskQueue, adjust_cap, allow_speed, begin_cap, read_pressure, read_task_queues

_log = Logger()


class Brake:
    """speed: 0 to 1, of the rate that campaigns may have; pressure: 0 to 1, how busy the PBX is.

    max_cps: that rate. count_placed: how many calls were placed so far.
    """

    def __init__(
        self,
        max_cps: float,
        clock: Clock,
        count_placed: Callable[[], int],
        lag_s: Callable[[], float],
        ask_pbx: Callable[[str], Awaitable[Iterable[str]]],
    ) -> None:
        self._cap = begin_cap(max_cps)
        self.speed = self._cap.share
        self.pressure = 0.0
        self._max_cps = max_cps
        self._clock = clock
        self._count_placed = count_placed
        self._placed, self._looked_at = 0, clock.seconds()
        self._lag_s = lag_s
        self._ask_pbx = ask_pbx

    async def look(self, *, is_dialling: bool) -> None:
        """Reads the reactor's lag and, while somebody is dialled, Asterisk's task-processor queues."""
        lag_s = self._lag_s()
        queues: tuple[TaskQueue, ...] = ()
        used = self._read_used()
        if is_dialling:
            try:
                queues = read_task_queues(await self._ask_pbx("core show taskprocessors"))
                self._cap = adjust_cap(self._cap, read_pressure(queues, 0.0), used)
            except AmiError as error:
                _log.debug("task processors unknown: {error}", error=error)
        before = self.pressure
        self.pressure = read_pressure(queues, lag_s)
        self.speed = allow_speed(self._cap, self.pressure)
        if self.pressure >= 0.5 > before:
            worst = max(queues, key=lambda queue: queue.waiting / max(queue.high_water, 1), default=None)
            _log.warn(
                "the PBX is busy ({worst}, reactor {lag:.3f} s late): campaigns slow down", worst=worst, lag=lag_s
            )

    def _read_used(self) -> float:
        """The share of the rate that was dialled since this was asked last."""
        placed, now = self._count_placed(), self._clock.seconds()
        passed_s, more = now - self._looked_at, placed - self._placed
        self._placed, self._looked_at = placed, now
        return min(1.0, more / passed_s / self._max_cps) if passed_s > 0 else 0.0
