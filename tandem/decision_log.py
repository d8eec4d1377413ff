"""Takes the decisions of calls: one line in the log each, the stories, and the database; never on the way of a call.

A call only appends to a list. Lines are formatted and written together a few times a second: a log record for each call would cost
more than the decision itself.
"""

import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import TextIO

from twisted.internet.defer import Deferred, DeferredLock

from tandem.ami.connection import Clock
from tandem.ami.wire import Message
from tandem.domain.decisions import Decision, format_decision
from tandem.regular import Regular
from tandem.stories import Stories, Story

log = logging.getLogger("tandem.calls")

FLUSH_EVERY_S = 0.2
SAVE_AGAIN_S = 1.0
# While the database is away; of more, the oldest are forgotten: their CDRs name the last application instead.
MAX_UNSAVED = 100_000


class DecisionLog(Regular):
    """Writes the lines that `tandem.calls` has at level info, and keeps stories.

    keep: puts decisions where they outlive us, all or none, each batch once.
    """

    def __init__(
        self,
        stories: Stories,
        clock: Clock,
        keep: Callable[[Sequence[Decision]], Awaitable[object]],
        stream: TextIO | None = None,
    ) -> None:
        super().__init__(clock)
        self._stories = stories
        self._clock = clock
        self._keep = keep
        self._stream = stream
        self._waiting: list[Decision] = []
        self._unsaved: list[Decision] = []
        self._saving = DeferredLock()
        self._tried_at = float("-inf")
        self._is_failing = False
        # A bound method of the list: what a call pays is one append.
        self.record = self._waiting.append
        # Told of each decision when it is written, not while the call waits.
        self.watch: Callable[[Decision], object] = lambda _: None
        self.repeat(self._work, FLUSH_EVERY_S, now=False)

    def stopService(self) -> "Deferred[None]":
        """Writes and keeps what is left."""
        super().stopService()
        return Deferred.fromCoroutine(self.save())

    def flush(self) -> None:
        """Writes what came since the last time; a log that cannot be written loses lines, never calls."""
        if not self._waiting:
            return
        decisions = self._waiting[:]
        self._waiting.clear()
        self._unsaved += decisions
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

    def list_stories(self, limit: int) -> list[Story]:
        """The last calls, newest first."""
        self.flush()
        return list(islice(self._stories, limit))

    def take_cdr(self, event: Message) -> None:
        """Of a call that may have been decided a moment ago."""
        self.flush()
        self._stories.record_cdr(event.items())

    async def save(self) -> None:
        """Keeps every decision made until now; what cannot be kept is tried again later."""
        self.flush()
        async with self._saving:
            batch, self._unsaved = self._unsaved, []
            if not batch:
                return
            self._tried_at = self._clock.seconds()
            try:
                await self._keep(batch)
            except Exception as error:  # noqa: BLE001 - calls go on without it
                self._unsaved = (batch + self._unsaved)[-MAX_UNSAVED:]
                if not self._is_failing:
                    log.warning("decisions are not kept: %s", error)
                self._is_failing = True
            else:
                self._is_failing = False

    def _work(self) -> None:
        self.flush()
        is_time = not self._is_failing or self._clock.seconds() - self._tried_at >= SAVE_AGAIN_S
        # What comes while it saves goes together the next time.
        if self._unsaved and not self._saving.locked and is_time:
            Deferred.fromCoroutine(self.save())
