"""Takes the decisions of calls: one line in the log each, and the stories; never on the way of a call.

A call only appends to a list. Lines are formatted and written together a few times a second: a log record for each call would cost
more than the decision itself.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO, cast

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from tandem.ami.connection import Clock
from tandem.domain.decisions import Decision, format_decision
from tandem.stories import Stories

log = logging.getLogger("tandem.calls")

FLUSH_EVERY_S = 0.2


class DecisionLog(Service):
    """Writes the lines that `tandem.calls` has at level info, and keeps stories."""

    def __init__(self, stories: Stories, clock: Clock, stream: TextIO | None = None) -> None:
        self._stories = stories
        self._stream = stream
        self._waiting: list[Decision] = []
        # A bound method of the list: what a call pays is one append.
        self.record = self._waiting.append
        # Told of each decision when it is written, not while the call waits.
        self.watch: Callable[[Decision], object] = lambda _: None
        self._loop = LoopingCall(self.flush)
        self._loop.clock = cast(Any, clock)

    def startService(self) -> None:
        """Starts to flush regularly."""
        super().startService()  # type: ignore[no-untyped-call]
        self._loop.start(FLUSH_EVERY_S, now=False)

    def stopService(self) -> None:
        """Writes what is left."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._loop.running:
            self._loop.stop()
        self.flush()

    def flush(self) -> None:
        """Writes what came since the last time; a log that cannot be written loses lines, never calls."""
        if not self._waiting:
            return
        decisions = self._waiting[:]
        self._waiting.clear()
        for decision in decisions:
            self._stories.record_decision(decision)
            self.watch(decision)
        if log.isEnabledFor(logging.INFO):
            stream = self._stream or sys.stderr
            try:
                stream.write("".join(f"CALL {format_decision(decision)}\n" for decision in decisions))
                stream.flush()
            except OSError:
                log.debug("decisions could not be written")
