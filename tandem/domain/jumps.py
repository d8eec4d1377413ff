"""How far the wall clock has jumped, seen beside a clock that never does; no I/O: both clocks are handed over."""

from collections.abc import Callable
from typing import Final

# NTP slews by a thousandth or less: what is more than this between two looks, some seconds apart, is a jump.
JUMP_S: Final = 2.0


class JumpGauge:
    """wall, steady: seconds from anywhere. Between two looks the two should go on by the same."""

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float]) -> None:
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()

    def read(self) -> float:
        """By how many seconds the wall clock has jumped since the last look; less than 0 is back, 0.0 is not at all."""
        offset = self._wall() - self._steady()
        jump, self._offset = offset - self._offset, offset
        return jump if abs(jump) >= JUMP_S else 0.0
