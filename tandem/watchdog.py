"""Tells systemd that we are ready and alive (sd_notify(3)); never says alive from anywhere but the reactor, so a frozen one is killed.

A killed Tandem costs a call nothing: the dialplan falls through to the last-known route. A frozen one costs each call the guard's
4 s, so WatchdogSec in systemd/tandem.service is short.
"""

import logging
import os
import socket
from collections.abc import Mapping
from functools import partial

from tandem.ami.connection import Clock
from tandem.regular import Regular

log = logging.getLogger(__name__)


class Watchdog(Regular):
    """READY=1 at the start, WATCHDOG=1 twice in each WATCHDOG_USEC, STOPPING=1 at the end; does nothing without NOTIFY_SOCKET."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        super().__init__(clock)
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        every_s = read_watchdog_period(environ)
        if self._address and every_s is not None:
            self.repeat(partial(self._say, "WATCHDOG=1"), every_s / 2)

    def startService(self) -> None:
        """Says that calls are decided from now on."""
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            self._say("READY=1")
        super().startService()

    def stopService(self) -> None:
        """Says that this is an orderly end."""
        super().stopService()
        if self._socket is not None:
            self._say("STOPPING=1")
            self._socket.close()
            self._socket = None

    def _say(self, line: str) -> None:
        """One datagram. A full or missing socket is systemd's trouble: it must not become a call's."""
        assert self._socket is not None
        # A leading @ is an address in the abstract namespace (unix(7)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            self._socket.sendto(line.encode(), address)
        except OSError as error:
            log.warning("systemd was not told %s: %s", line, error)


def read_watchdog_period(environ: Mapping[str, str]) -> float | None:
    """WATCHDOG_USEC in seconds; None where systemd expects nothing of this process (sd_watchdog_enabled(3))."""
    period = environ.get("WATCHDOG_USEC", "")
    if not period.isdecimal() or int(period) == 0 or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(period) / 1_000_000
