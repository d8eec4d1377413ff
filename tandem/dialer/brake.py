"""Slows campaigns down before Asterisk refuses calls, ours or others'; never speeds up but by small steps."""

from collections.abc import Awaitable, Callable, Iterable

from twisted.logger import Logger

from tandem.ami.errors import AmiError
from tandem.domain.overload import TaskQueue, adjust_speed, read_pressure, read_task_queues

_log = Logger()


class Brake:
    """speed: 0 to 1, of the rate that campaigns may have; pressure: 0 to 1, how busy the PBX is."""

    def __init__(self, lag_s: Callable[[], float], ask_pbx: Callable[[str], Awaitable[Iterable[str]]]) -> None:
        self.speed = 1.0
        self.pressure = 0.0
        self._lag_s = lag_s
        self._ask_pbx = ask_pbx

    async def look(self, *, is_dialling: bool) -> None:
        """Reads the reactor's lag and, while somebody is dialled, Asterisk's task-processor queues."""
        lag_s = self._lag_s()
        queues: tuple[TaskQueue, ...] = ()
        if is_dialling:
            try:
                queues = read_task_queues(await self._ask_pbx("core show taskprocessors"))
            except AmiError as error:
                _log.debug("task processors unknown: {error}", error=error)
        before = self.pressure
        self.pressure = read_pressure(queues, lag_s)
        self.speed = adjust_speed(self.speed, self.pressure)
        if self.pressure >= 0.5 > before:
            worst = max(queues, key=lambda queue: queue.waiting / max(queue.high_water, 1), default=None)
            _log.warn(
                "the PBX is busy ({worst}, reactor {lag:.3f} s late): campaigns slow down", worst=worst, lag=lag_s
            )
