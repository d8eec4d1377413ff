"""The composition root: builds every service, in the order in which they need each other; nobody imports it but the command line.

Start: migrations and the first snapshot, then FastAGI listens, then AMI connects. So no call is asked about before there is an answer.
Without a database the last snapshot in its file still routes calls; without Asterisk's manager they are routed with queue facts unknown.
"""

import asyncio
import gc
import logging
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.server import Site

from api.control import Control, UseCases
from api.errors import Refused
from confgen.apply import HandEdited, apply_snapshot
from fastagi.brain import Brain
from fastagi.protocol import Limits
from fastagi.routes import list_scripts
from fastagi.service import AgiService
from tandem.ami import actions
from tandem.ami.client import AmiClient
from tandem.ami.errors import AmiConnectionLost, AmiError, AmiRefused
from tandem.ami.wire import Message
from tandem.decision_log import DecisionLog
from tandem.document import DocumentError, read_document
from tandem.facts import Facts
from tandem.fallback import Fallback
from tandem.lag import LagGauge
from tandem.live import Live, LiveError
from tandem.members import sync_members
from tandem.settings import Settings
from tandem.store.bodies import BodyError
from tandem.store.database import attach_store
from tandem.store.errors import StoreError
from tandem.store.objects import save_pbx
from tandem.store.revisions import load_head, load_live, record_live
from tandem.stories import Stories, describe_story
from tandem.target import describe_target, read_dialplan

log = logging.getLogger(__name__)

reactor: Any = installed_reactor

RELOAD_TIMEOUT_S = 60.0
# What Asterisk says of a module that is not installed, and of one that is not loaded.
MODULE_MISSING = ("Module not found", "No such module")
# A call makes no cycles: with Python's own thresholds the collector took 5 % of the time of a decision, and found nothing.
COLLECT_AFTER = (10_000, 20, 20)
# Whatever kept Asterisk from being brought in step is tried again so much later.
RETRY_AFTER_S = 10.0
RECOVER_EVERY_S = 5.0


class Tandem(MultiService):
    """Everything that runs in `tandem serve`. `prepare` first, then `startService`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.settings = settings
        # With a database in trouble it still starts: calls are routed by the snapshot file, and /health says why.
        self.store, _ = attach_store(settings.database.path, "tandem serve")
        self.live = Live(reactor, self.store, settings.snapshot_path)
        self.stories = Stories(settings.calls_kept)
        self.decisions = DecisionLog(self.stories, reactor)
        self.lag = LagGauge(reactor)
        self.ami = self._make_ami(settings.ami.username, settings.ami.secret)
        self.config_ami = self._make_ami(settings.ami.config_username, settings.ami.config_secret)
        self.facts = Facts(cast(Any, self.ami.send_list), reactor)
        self.fallback = Fallback(self.config_ami, self._read_current, lambda: datetime.now(UTC), reactor)
        self._applying = DeferredLock()
        self._stepping = DeferredLock()
        self.agi: AgiService | None = None
        self._has_applied = False
        self.apply_problem: str | None = None
        self.step_problem: str | None = None

    async def prepare(self) -> None:
        """Migrations are done; loads the first snapshot. LiveError when there is nothing to route by."""
        await self.live.load()

    def startService(self) -> None:  # noqa: N802
        """Listens, connects, and brings Asterisk in step once its manager is there."""
        gc.set_threshold(*COLLECT_AFTER)
        brain = Brain(
            snapshot=lambda: self.live.current, queue_facts=self.facts.read_queue, record=self.decisions.record
        )
        fastagi = self.settings.fastagi
        self.agi = AgiService(
            list_scripts(brain),
            reactor,
            host=fastagi.host,
            port=fastagi.port,
            loop=asyncio.get_running_loop(),
            limits=Limits(
                sessions=fastagi.max_sessions, decision_s=fastagi.decision_deadline_s, idle_s=fastagi.idle_timeout_s
            ),
            peers=tuple(map(str, fastagi.allowed_peers)),
        )
        for service in (self.lag, self.decisions, self.agi, self.ami, self.config_ami, self.facts, self.fallback):
            service.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.live.subscribe(lambda _: self.fallback.follow())
        self.ami.on("Cdr", self._take_cdr)
        self.ami.on_ready(self.facts.ask_again)
        self.config_ami.on_ready(self._bring_in_step)
        # Asterisk lets us in before its queues are loaded. A forged event costs nothing: whoever is in step is left alone.
        self.config_ami.on("FullyBooted", lambda _: Deferred.fromCoroutine(self._bring_in_step()))
        super().startService()  # type: ignore[no-untyped-call]
        self._listen_control()
        self._recovery = LoopingCall(lambda: Deferred.fromCoroutine(self._recover()))
        self._recovery.start(RECOVER_EVERY_S, now=False)

    def _make_ami(self, username: str, secret: Any) -> AmiClient:
        ami = self.settings.ami
        endpoint: Any = HostnameEndpoint(reactor, ami.host.encode(), ami.port)
        client = AmiClient(endpoint, username, secret.get_secret_value() if secret is not None else "", clock=reactor)
        client.setName(f"ami {username}")  # type: ignore[no-untyped-call]
        return client

    def _listen_control(self) -> None:
        path = self.settings.control_socket
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        use_cases = UseCases(
            read_health=self.read_health,
            list_calls=self.list_calls,
            apply_head=self.apply_head,
            import_document=self.import_document,
        )
        path.unlink(missing_ok=True)
        port = reactor.listenUNIX(str(path), Site(Control(use_cases).resource()), mode=0o600)
        reactor.addSystemEventTrigger("before", "shutdown", port.stopListening)

    def _take_cdr(self, event: Message) -> None:
        self.decisions.flush()
        self.stories.record_cdr(event.items())

    def _read_current(self) -> Any:
        return self.live.current if self.live.is_loaded else None

    # -------------------------------------------------------------------------------------------------- use-cases

    def read_health(self) -> dict[str, Any]:
        """Live (it answers), ready (calls are decided as they should be), and the reasons why not."""
        reasons = [
            reason
            for reason in (
                self.live.degraded and f"routing without database: {self.live.degraded}",
                self.live.unsaved,
                None if self.ami.is_ready else f"no AMI login as {self.settings.ami.username}{_why(self.ami)}",
                None
                if self.config_ami.is_ready
                else f"no AMI login as {self.settings.ami.config_username}{_why(self.config_ami)}",
                self.apply_problem,
                self.step_problem,
                None
                if self.fallback.revision == self.live.current.revision
                else "the last-known routes in AstDB are not written yet",
            )
            if reason
        ]
        return {
            "live": True,
            "ready": not reasons,
            "reasons": reasons,
            "revision": self.live.current.revision,
            "dids": self.live.current.dids.count,
            "overview": asdict(overview) if (overview := self.facts.read_overview()) is not None else None,
            "reactor_lag_s": {"p99": self.lag.read_p99(), "max": self.lag.read_max()},
            "fastagi": asdict(self.agi.sessions.counters) if self.agi is not None else {},
        }

    def list_calls(self, limit: int) -> list[dict[str, Any]]:
        """The last calls, newest first."""
        self.decisions.flush()
        return [describe_story(story) for story in islice(self.stories, limit)]

    async def import_document(self, text: str, note: str) -> dict[str, Any]:
        """Saves a PBX document as the head and applies it. DocumentError and StoreError change nothing."""
        try:
            pbx = read_document(text, "import")
        except DocumentError as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(map(str, error.problems))) from error
        saved = await self.store.run(save_pbx, pbx, author="control socket", note=note, at=datetime.now(UTC))
        return {"saved": asdict(saved), "applied": await self.apply_head()}

    async def apply_head(self) -> dict[str, Any]:
        """Brings the head live: Asterisk's files first, then routing, then the last-known routes and queue members."""
        async with self._applying:
            return await self._apply_head()

    async def _apply_head(self) -> dict[str, Any]:
        try:
            snapshot = await self.live.prepare(await self.store.read(load_head))
            asterisk = self.settings.asterisk
            target = describe_target(self.settings)
            applied = await apply_snapshot(
                snapshot, target, asterisk.config_dir, self._reload, static_files=read_dialplan()
            )
            await self.store.run(record_live, snapshot.revision, datetime.now(UTC))
            self.live.adopt(snapshot)
            self._has_applied, self.apply_problem = True, None
            log.info("revision %d is live; reloaded: %s", snapshot.revision, ", ".join(applied.reloaded) or "nothing")
        except (OSError, StoreError, AmiError, ValueError, HandEdited) as error:
            # What Asterisk has, and what calls are routed by, is the revision before; the next apply, by hand or start, tries again.
            self.apply_problem = f"the newest revision is not live: {error}"
            log.warning("%s", self.apply_problem)
            raise Refused(HTTPStatus.CONFLICT, self.apply_problem) from error
        try:
            await self._sync_members()
        except AmiError as error:
            self._try_later(f"queue members are not in step: {error}")
        return asdict(applied)

    # ---------------------------------------------------------------------------------------------------- asterisk

    async def _recover(self) -> None:
        """Where calls are routed by the snapshot file, looks whether the database is back."""
        if self.live.degraded is None:
            return
        try:
            await self.live.load()
        except (StoreError, BodyError, LiveError) as error:
            log.warning("still routing without database: %s", error)
        else:
            log.info("the database is back")
            if self.config_ami.is_ready:
                await self._bring_in_step()

    async def _bring_in_step(self) -> None:
        """After each AMI login and each boot: Asterisk may have been reinstalled, restored or restarted meanwhile."""
        async with self._stepping:
            try:
                if self.live.degraded is None and await self._is_behind():
                    await self.apply_head()
                else:
                    await self._sync_members()
                self.step_problem = None
            except AmiConnectionLost as error:
                log.info("Asterisk went away while it was brought in step: %s", error)
            except Refused as error:
                # It is told in apply_problem. What only a person can mend is not tried again and again.
                if isinstance(error.__cause__, AmiError):
                    reactor.callLater(RETRY_AFTER_S, self._try_again)
            except Exception as error:
                log.exception("Asterisk could not be brought in step")
                self._try_later(f"Asterisk could not be brought in step: {error}")

    def _try_later(self, problem: str) -> None:
        log.warning("%s", problem)
        self.step_problem = problem
        reactor.callLater(RETRY_AFTER_S, self._try_again)

    def _try_again(self) -> None:
        if self.running and self.config_ami.is_ready:
            Deferred.fromCoroutine(self._bring_in_step())

    async def _is_behind(self) -> bool:
        """Also once after each start: a new version of Tandem brings new templates and a new dialplan, and has a look at every file."""
        head, live = await self.store.read(load_head), await self.store.read(load_live)
        has_files = (self.settings.asterisk.config_dir / "current").exists()
        return bool(head) and (live is None or live.revision != head or not has_files or not self._has_applied)

    async def _sync_members(self) -> None:
        await sync_members(self.live.current, self.config_ami.send, cast(Any, self.config_ami.send_list))

    async def _reload(self, module: str) -> None:
        try:
            await self.config_ami.send(actions.module_reload(module), timeout_s=RELOAD_TIMEOUT_S)
        except AmiRefused as error:
            # Anything else, such as "A reload is in progress", means that the files were not read.
            if not error.reason.startswith(MODULE_MISSING):
                raise
            log.warning("Asterisk has no module %s: what it would read is not in use", module)


def _why(ami: AmiClient) -> str:
    return f": {ami.last_error}" if ami.last_error is not None else ""


def run_until_stopped(settings: Settings) -> str | None:
    """Runs the reactor until a signal; None, or why it could not start. StoreBusy when another Tandem holds the database."""
    failures: list[str] = []
    tandem = Tandem(settings)

    async def start() -> None:
        await tandem.prepare()
        tandem.startService()

    def fail(failure: Failure) -> None:
        if failure.check(LiveError, OSError) is None:
            log.error("Tandem cannot start", exc_info=failure.value)
        failures.append(f"Tandem cannot start: {failure.value}")
        reactor.stop()

    async def stop() -> None:
        if tandem.running:
            await cast(Any, tandem).stopService()
        await tandem.live.stop()
        await tandem.store.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()).addErrback(fail))
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    reactor.run()
    return failures[0] if failures else None
