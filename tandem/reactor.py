"""Installs the reactor: Twisted's asyncio reactor on a uvloop loop; must run before anything imports twisted.internet.reactor.

FastAGI sockets are served by uvloop itself (fastagi.service), which is where the speed is; everything else is plain Twisted.
"""

import asyncio
import sys

import uvloop

# How long a thread of ours may keep the reactor from the interpreter, which it gives away whenever it reads or writes a socket: 5 ms is Python's.
SWITCH_S = 0.001


def install_reactor() -> None:
    """Idempotent; RuntimeError if another reactor is there already, since klein and treq install one when imported too early."""
    if "twisted.internet.reactor" in sys.modules:
        from twisted.internet import reactor  # noqa: PLC0415
        from twisted.internet.asyncioreactor import AsyncioSelectorReactor  # noqa: PLC0415

        if isinstance(reactor, AsyncioSelectorReactor):
            return
        raise RuntimeError(f"{type(reactor).__name__} was installed before Tandem's reactor")
    sys.setswitchinterval(SWITCH_S)
    from twisted.internet import asyncioreactor  # noqa: PLC0415

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
