"""The composition root: builds every service, in the order in which they need each other; nobody imports it but the command line.

Start: migrations and the first snapshot, then FastAGI listens, then AMI connects. So no call is asked about before there is an answer.
Without a database the last snapshot in its file still routes calls; without Asterisk's manager they are routed with queue facts unknown.
"""

import asyncio
import logging
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.endpoints import HostnameEndpoint
from twisted.python.failure import Failure
from twisted.web.server import Site

from api.control import Control, UseCases
from confgen.apply import apply_snapshot
from fastagi.brain import Brain
from fastagi.protocol import Limits
from fastagi.routes import list_scripts
from fastagi.service import AgiService
from tandem.ami import actions
from tandem.ami.client import AmiClient
from tandem.ami.errors import AmiError, AmiRefused
from tandem.ami.wire import Message
from tandem.calls import CallRecords, Calls
from tandem.decision_log import DecisionLog
from tandem.document import read_document
from tandem.facts import Facts
from tandem.fallback import Fallback
from tandem.lag import LagGauge
from tandem.ledger import Ledger
from tandem.live import Live, LiveError
from tandem.members import sync_members
from tandem.settings import Settings
from tandem.store.calls import load_call, load_open_calls, record_calls, record_placed_calls
from tandem.store.cdrs import load_leg_evidence
from tandem.store.database import Store, attach_store
from tandem.store.errors import StoreError
from tandem.store.objects import save_pbx
from tandem.store.revisions import load_head, load_live, record_live
from tandem.stories import Stories, describe_story
from tandem.target import describe_target, read_dialplan

log = logging.getLogger(__name__)

reactor: Any = installed_reactor

RELOAD_TIMEOUT_S = 60.0


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
        self.calls = Calls(cast(Any, self.ami), keep_calls(self.store), reactor)
        self.ledger = Ledger(
            self.store,
            {"cel": settings.asterisk.cel_file, "cdr": settings.asterisk.cdr_file},
            reactor,
            list_channels=self._list_channels,
            list_trunks=lambda: self.live.current.trunks if self.live.is_loaded else (),
            find_route=self._find_route,
        )
        self._applying = DeferredLock()
        self.agi: AgiService | None = None
        self.apply_problem: str | None = None

    async def prepare(self) -> None:
        """Migrations are done; loads the first snapshot. LiveError when there is nothing to route by."""
        await self.live.load()

    def startService(self) -> None:  # noqa: N802
        """Listens, connects, and brings Asterisk in step once its manager is there."""
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
        for service in (
            self.lag,
            self.decisions,
            self.agi,
            self.ami,
            self.config_ami,
            self.facts,
            self.fallback,
            self.calls,
            self.ledger,
        ):
            service.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.ami.on("Cdr", self._take_cdr)
        self.config_ami.on_ready(self._bring_in_step)
        super().startService()  # type: ignore[no-untyped-call]
        self._listen_control()

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

    def _find_route(self, uniqueid: str) -> str:
        self.decisions.flush()
        return self.stories.find_route(uniqueid)

    async def _list_channels(self) -> frozenset[str]:
        rows = await self.ami.send_list(actions.core_show_channels())
        return frozenset(row.get("Uniqueid") for row in rows)

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
                self.ledger.problem,
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
            "reactor_lag_s": {"p99": self.lag.read_p99(), "max": self.lag.read_max()},
            "fastagi": asdict(self.agi.sessions.counters) if self.agi is not None else {},
        }

    def list_calls(self, limit: int) -> list[dict[str, Any]]:
        """The last calls, newest first."""
        self.decisions.flush()
        return [describe_story(story) for story in islice(self.stories, limit)]

    async def import_document(self, text: str, note: str) -> dict[str, Any]:
        """Saves a PBX document as the head and applies it. DocumentError and StoreError change nothing."""
        pbx = read_document(text, "import")
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
            self.fallback.follow()
            await self._sync_members()
            self.apply_problem = None
            log.info("revision %d is live; reloaded: %s", snapshot.revision, ", ".join(applied.reloaded) or "nothing")
            return asdict(applied)
        except (OSError, StoreError, AmiError, ValueError) as error:
            self.apply_problem = f"the newest revision is not live: {error}"
            raise

    # ---------------------------------------------------------------------------------------------------- asterisk

    async def _bring_in_step(self) -> None:
        """After each AMI login: Asterisk may have been reinstalled, restored or restarted meanwhile."""
        try:
            head, live = await self.store.read(load_head), await self.store.read(load_live)
            if head and (live is None or live.revision != head or not self._has_files()):
                await self.apply_head()
            else:
                await self._sync_members()
        except Exception as error:
            log.exception("Asterisk could not be brought in step")
            self.apply_problem = f"Asterisk could not be brought in step: {error}"

    def _has_files(self) -> bool:
        return (self.settings.asterisk.config_dir / "current").exists()

    async def _sync_members(self) -> None:
        try:
            await sync_members(self.live.current, self.config_ami.send, cast(Any, self.config_ami.send_list))
        except AmiError as error:
            log.warning("queue members are not in step: %s", error)

    async def _reload(self, module: str) -> None:
        try:
            await self.config_ami.send(actions.module_reload(module), timeout_s=RELOAD_TIMEOUT_S)
        except AmiRefused:
            log.warning("Asterisk has no module %s: what it would read is not in use", module)


def keep_calls(store: Store) -> CallRecords:
    """The store's functions for Calls."""
    return CallRecords(
        save_placed=lambda calls: store.run(record_placed_calls, calls),
        save_changes=lambda calls: store.run(record_calls, calls),
        load=lambda call_id: store.read(load_call, call_id),
        load_open=lambda: store.read(load_open_calls),
        find_end=lambda call_id: store.read(load_leg_evidence, call_id),
    )


def _why(ami: AmiClient) -> str:
    return f": {ami.last_error}" if ami.last_error is not None else ""


def run_until_stopped(settings: Settings) -> str | None:
    """Runs the reactor until a signal; None, or why it could not start."""
    failures: list[str] = []
    try:
        tandem = Tandem(settings)
    except StoreError as error:
        return str(error)

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
