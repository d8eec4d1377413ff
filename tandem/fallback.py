"""Keeps the last-known routes in AstDB in step with Live, over AMI; never touches a family that is not ours, and no call waits for it.

After each login AstDB is read and compared, for a restored or emptied AstDB, a restart and a write that broke off all look the same
then. From there on only differences are written: new and changed entries first, then what is gone goes, and last the revision.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from itertools import islice
from typing import Any, Protocol, cast

from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.connection import Clock
from tandem.ami.errors import AmiError, AmiRefused, AmiUnanswered
from tandem.ami.wire import Message
from tandem.domain.dialplan import FAMILIES, FAMILY_META
from tandem.domain.last_known import FindFeatures, iterate_entries
from tandem.domain.snapshot import Snapshot
from tandem.regular import Regular

log = logging.getLogger(__name__)

# Entries looked at, and at most as many actions under way, before the reactor has its turn.
SLICE = 100
READ_TIMEOUT_S = 60.0
RETRY_AFTER_S = 10.0
LOOK_FOR_NEW_DAY_S = 600.0
REVISION = "revision"


class Ami(Protocol):
    """What is used of `tandem.ami.client.AmiClient`; its login needs the write class `system`."""

    @property
    def is_ready(self) -> bool:
        """Logged in."""

    def send(self, action: Action, *, timeout_s: float | None = None) -> Deferred[Message]:
        """One action, once."""

    def send_list(self, action: Action, *, timeout_s: float | None = None) -> Deferred[list[Message]]:
        """One list action, once."""

    def on_ready(self, callback: Callable[[], None]) -> None:
        """After each login."""


class Fallback(Regular):
    """Give it Live's current snapshot, and call `follow` when Live was swapped, forwards or back.

    `revision` is the one that AstDB holds completely, as far as we know; None after a (re)connect until that is sure.
    """

    name = "fallback"

    def __init__(
        self,
        ami: Ami,
        read_snapshot: Callable[[], Snapshot | None],
        now: Callable[[], datetime],
        clock: Clock,
        find_features: FindFeatures = lambda _: None,
    ) -> None:
        super().__init__(clock)
        self.revision: int | None = None
        self.last_error: AmiError | None = None
        self._ami = ami
        self._read_snapshot = read_snapshot
        self._find_features = find_features
        # What the walk that is under way has come past, and what others put meanwhile.
        self._seen: set[str] = set()
        self._now = now
        self._clock = clock
        self._known: dict[str, str] | None = None
        self._written: Snapshot | None = None
        self._written_on: date | None = None
        self._is_due = False
        self._is_doubted = True
        self._run: Deferred[None] | None = None
        self._retry: Any = None
        # Once a day: closed days have a look ahead.
        self.repeat(self.follow, LOOK_FOR_NEW_DAY_S)
        ami.on_ready(self.rebuild)

    def stopService(self) -> Deferred[None]:
        """Breaks off; the next start goes on from what AstDB holds."""
        super().stopService()
        self._is_due, self._is_doubted = False, True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self._run is not None:
            self._run.cancel()
        return succeed(None)

    def rebuild(self) -> None:
        """Forget what AstDB was known to hold, read it and write what differs. For reconnects, and for whoever doubts."""
        self._is_doubted = True
        self.revision = None
        self.follow()

    def follow(self) -> None:
        """Bring AstDB in step with Live soon; while that is under way, it starts again with the newest snapshot."""
        if not self.running or not self._ami.is_ready:
            return
        self._is_due = True
        if self._run is None:
            self._run = Deferred.fromCoroutine(self._write_until_in_step())
            self._run.addErrback(lambda failure: failure.trap(CancelledError))
            if self._run.called:
                self._run = None

    async def put(self, family: str, key: str, value: str | None) -> None:
        """One entry at once, or none from now on, beside whatever is under way: `find_features` says the same from now on. AmiError."""
        path = f"{family}/{key}"
        if value is None:
            if self._known is not None:
                self._known.pop(path, None)
            await self._send_all([actions.db_del(family, key)], may_be_refused=True)
            return
        self._seen.add(path)
        if self._known is not None:
            self._known[path] = value
        await self._send_all([actions.db_put(family, key, value)])

    async def _write_until_in_step(self) -> None:
        try:
            while self._is_due:
                self._is_due = False
                if self._is_doubted:
                    self._is_doubted = False
                    self._known = self._written = self.revision = None
                await self._write_newest()
        except AmiError as error:
            # Whatever it was, AstDB is unknown now. A lost connection calls `rebuild` when it is back; the rest is tried again.
            self._is_doubted = True
            self.revision = None
            self.last_error = error
            log.warning("last-known routes not written: %s", error)
            if not isinstance(error, AmiUnanswered) or self._ami.is_ready:
                self._retry = self._clock.callLater(RETRY_AFTER_S, self.follow)
        finally:
            self._run = None

    async def _write_newest(self) -> None:
        snapshot, today = self._read_snapshot(), self._now().date()
        if snapshot is None or (snapshot is self._written and today == self._written_on):
            return
        known = self._known = await self._read_known() if self._known is None else self._known
        marker = f"{FAMILY_META}/{REVISION}"
        seen = self._seen = {marker}
        changes = 0
        entries = iterate_entries(snapshot, today, self._find_features)
        while part := list(islice(entries, SLICE)):
            puts = list(_list_changes(part, known, seen))
            changes += len(puts)
            await self._send_all(actions.db_put(*key, value) for key, value in puts)
            known.update((f"{family}/{key}", value) for (family, key), value in puts)
            if self._is_due:  # a newer snapshot is there; what was written is known
                return
        gone = [path for path in known if path not in seen]
        for start in range(0, len(gone), SLICE):
            some = gone[start : start + SLICE]
            await self._send_all((actions.db_del(*path.split("/", 1)) for path in some), may_be_refused=True)
            for path in some:
                del known[path]
        if known.get(marker) != str(snapshot.revision):
            await self._send_all([actions.db_put(FAMILY_META, REVISION, str(snapshot.revision))])
            known[marker] = str(snapshot.revision)
        self._written, self._written_on = snapshot, today
        self.revision, self.last_error = snapshot.revision, None
        log.info(
            "last-known routes of revision %d in AstDB: %d written, %d removed", snapshot.revision, changes, len(gone)
        )

    async def _read_known(self) -> dict[str, str]:
        """`family/key` -> value of all our families, as AstDB has them now."""
        known: dict[str, str] = {}
        shared: dict[str, str] = {}  # thousands of DIDs have the same jump
        for family in FAMILIES:
            rows = await self._ami.send_list(actions.db_get_tree(family), timeout_s=READ_TIMEOUT_S)
            for start in range(0, len(rows), SLICE):
                for row in rows[start : start + SLICE]:
                    value = row.get("Val")
                    known[row.get("Key").removeprefix("/")] = shared.setdefault(value, value)
                await deferLater(cast(IReactorTime, self._clock), 0)
        return known

    async def _send_all(self, batch: Iterable[Action], *, may_be_refused: bool = False) -> None:
        """Send them all at once and wait for every answer; raises the first failure.

        `may_be_refused`: what was to be deleted is gone already.
        """
        answers = [self._ami.send(action) for action in batch]
        if not answers:
            await deferLater(cast(IReactorTime, self._clock), 0)
            return
        outcomes: Any = await DeferredList(answers, consumeErrors=True)
        for is_success, outcome in outcomes:
            if not is_success and not (may_be_refused and outcome.check(AmiRefused)):
                outcome.raiseException()


def _list_changes(
    part: list[tuple[tuple[str, str], str]], known: dict[str, str], seen: set[str]
) -> Iterator[tuple[tuple[str, str], str]]:
    """What of a part is not in AstDB yet; notes in `seen` what belongs there."""
    for entry in part:
        (family, key), value = entry
        path = f"{family}/{key}"
        seen.add(path)
        if known.get(path) != value:
            yield entry
