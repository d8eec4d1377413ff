"""Brings Asterisk in step with the database, whenever one of them comes back; never gives up, and never tries again what only a person can mend."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock

from confgen.values import ValueUnrepresentable
from tandem.agents import Agents
from tandem.ami.client import AmiClient
from tandem.ami.errors import AmiConnectionLost, AmiError
from tandem.applying import Applying
from tandem.domain.changes import ApplyRefused, ApplyStopped, HandEdited
from tandem.domain.snapshot import Snapshot
from tandem.live import Live, LiveError
from tandem.regular import Regular
from tandem.store.bodies import BodyError
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.revisions import load_head, load_live

log = logging.getLogger(__name__)

# Whatever kept Asterisk from being brought in step is tried again so much later.
RETRY_AFTER_S = 10.0
RECOVER_EVERY_S = 5.0


class InStep(Regular):
    """ami: the one that may configure. config_dir: where our generations of files are. returned: what else to read once the database is back.

    problem: why Asterisk is not in step, in words; None where it is.
    """

    def __init__(
        self,
        store: Store,
        live: Live,
        applying: Applying,
        agents: Agents,
        ami: AmiClient,
        reactor: Any,
        *,
        config_dir: Path,
        returned: Sequence[Callable[[], Awaitable[object]]],
    ) -> None:
        super().__init__(reactor)
        self._store, self._live, self._applying, self._agents, self._ami = store, live, applying, agents, ami
        self._reactor, self._config_dir, self._returned = reactor, config_dir, returned
        self._lock = DeferredLock()
        self.repeat(self._recover, RECOVER_EVERY_S, now=False)
        # Whether there is something in the database that was not read when it came back.
        self._is_stale = False
        self.has_applied = False
        self.problem: str | None = None
        agents.retry = self.try_later

    def startService(self) -> None:
        """From now on at each AMI login and each boot: Asterisk may have been reinstalled, restored or restarted meanwhile."""
        super().startService()
        self._ami.on_ready(self.bring)
        # Asterisk lets us in before its queues are loaded. A forged event costs nothing: whoever is in step is left alone.
        self._ami.on("FullyBooted", lambda _: Deferred.fromCoroutine(self.bring()))

    async def bring(self) -> None:
        """Applies the newest revision where it is not live, else only compares the queues' members."""
        async with self._lock:
            try:
                if self._live.degraded is None and await self._is_behind():
                    await self._applying.apply_head()
                    self.has_applied = True
                else:
                    await self._agents.sync()
                self.problem = None
            except AmiConnectionLost as error:
                log.info("Asterisk went away while it was brought in step: %s", error)
            except ApplyStopped as error:
                log.info("Asterisk is not brought in step any more: %s", error)
            except (ApplyRefused, HandEdited, ValueUnrepresentable) as error:
                # It is told in applying.problem. What only a person can mend is not tried again and again.
                log.warning("the newest revision is not live: %s", error)
            except Exception as error:
                log.exception("Asterisk could not be brought in step")
                self.try_later(f"Asterisk could not be brought in step: {error}")

    async def follow(self, _snapshot: Snapshot) -> None:
        """After each apply: what is in step with the live revision but in no file; AstDB follows every swap by itself."""
        self.has_applied = True
        try:
            await self._agents.sync()
        except AmiError as error:
            self.try_later(f"queue members are not in step: {error}")

    def try_later(self, problem: str) -> None:
        """Tells of it, and brings it in step a moment later."""
        log.warning("%s", problem)
        self.problem = problem
        self._reactor.callLater(RETRY_AFTER_S, self._try_again)

    def _try_again(self) -> None:
        if self.running and self._ami.is_ready:
            Deferred.fromCoroutine(self.bring())

    async def _is_behind(self) -> bool:
        """Also once after each start: a new version of Tandem brings new templates and a new dialplan, and has a look at every file."""
        head, live = await self._store.read(load_head), await self._store.read(load_live)
        has_files = (self._config_dir / "current").exists()
        return bool(head) and (live is None or live.revision != head or not has_files or not self.has_applied)

    async def _recover(self) -> None:
        """Where calls are routed by the snapshot file, looks whether the database is back."""
        if self._live.degraded is not None:
            self._is_stale = True
        if not self._is_stale:
            return
        try:
            if self._live.degraded is not None:
                await self._live.load()
            for read in self._returned:
                await read()
        except (StoreError, BodyError, LiveError, AmiError) as error:
            log.warning("still without all that the database has: %s", error)
            return
        self._is_stale = False
        log.info("the database is back")
        if self._ami.is_ready:
            await self.bring()
