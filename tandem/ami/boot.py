"""Whether Asterisk has ended its boot, which AMI lets us in before: no call is sent into a dialplan that is not there yet."""

from typing import Any, Final

from tandem.ami.connection import Clock
from tandem.ami.events import FULLY_BOOTED

# A login without the read class `system` is never told.
UNTOLD_S: Final = 30.0


class Boot:
    """Follows one AMI client; to be made before it is started."""

    def __init__(self, ami: Any, clock: Clock) -> None:
        self._ami = ami
        self._clock = clock
        self._is_told = False
        self._since = clock.seconds()
        ami.on(FULLY_BOOTED, self._take)
        ami.on_ready(self._begin)
        ami.on_lost(self._forget)

    @property
    def is_over(self) -> bool:
        """Logged in to an Asterisk that has said so, or that has not for so long that it will not."""
        return bool(self._ami.is_ready) and (self._is_told or self._clock.seconds() - self._since >= UNTOLD_S)

    def _take(self, _message: Any) -> None:
        self._is_told = True

    def _begin(self) -> None:
        self._since = self._clock.seconds()

    def _forget(self) -> None:
        self._is_told = False
