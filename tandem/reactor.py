"""Installs the reactor: Twisted's asyncio reactor on a uvloop loop; must run before anything imports twisted.internet.reactor.

FastAGI sockets are served by uvloop itself (fastagi.service), which is where the speed is; everything else is plain Twisted.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import uvloop

# How long a thread of ours may keep the reactor from the interpreter, which it gives away whenever it reads or writes a socket: 5 ms is Python's.
SWITCH_S = 0.001
# A call makes no cycles: with Python's own thresholds the collector took 5 % of the time of a decision, and found nothing; of a start it takes a quarter.
COLLECT_AFTER = (10_000, 20, 20)


class SteadyClock:
    """The reactor's timers, and what they are measured by: a clock that never jumps.

    With the wall clock, which an admin or NTP may set, an hour back would stop every rate and every waiting time for an hour.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    @staticmethod
    def seconds() -> float:
        """Seconds from anywhere, never backwards."""
        return time.monotonic()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> Any:  # noqa: A002 - Twisted's names
        """Call later, unless cancelled; see `install_reactor`."""
        return self._reactor.callLater(delay, callable, *args)


def install_reactor() -> None:
    """Idempotent; RuntimeError if another reactor is there already, since klein and treq install one when imported too early.

    Its time is the steady clock's: Twisted keeps the moment at which each timer is due, by `reactor.seconds`, which is the wall clock. When that
    is set back by an hour, every timer that waits, and every LoopingCall with it, is an hour late: ticks, beats, the watchdog.
    """
    if "twisted.internet.reactor" in sys.modules:
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it
        from twisted.internet.asyncioreactor import AsyncioSelectorReactor  # noqa: PLC0415 - importing it installs it

        if isinstance(reactor, AsyncioSelectorReactor):
            return
        raise RuntimeError(f"{type(reactor).__name__} was installed before Tandem's reactor")
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*COLLECT_AFTER)
    from twisted.internet import asyncioreactor  # noqa: PLC0415 - importing it installs it

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    from twisted.internet import reactor as installed  # noqa: PLC0415 - importing it installs it

    cast("Any", installed).seconds = time.monotonic
