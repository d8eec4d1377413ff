"""The composition root: builds every service, in the order in which they need each other; nobody imports it but the command line.

Start: migrations and the first snapshot, then FastAGI listens, then AMI connects. So no call is asked about before there is an answer.
Without a database the last snapshot in its file still routes calls; without Asterisk's manager they are routed with queue facts unknown.
"""

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from api.compat.while1.events import write_event
from confgen.values import ValueUnrepresentable
from confgen.verify import Check
from fastagi.brain import Brain
from fastagi.protocol import Limits
from fastagi.routes import list_scripts
from fastagi.service import AgiService
from tandem.agents import Agents
from tandem.ami import actions
from tandem.ami.boot import Boot
from tandem.ami.client import AmiClient
from tandem.ami.errors import AmiConnectionLost, AmiError
from tandem.ami.wire import Message
from tandem.applying import Applying, Beside
from tandem.audio import Converter, Tools
from tandem.callbacks import Callbacks
from tandem.calls import Calls
from tandem.campaigning import Campaigns
from tandem.decision_log import DecisionLog
from tandem.dialer.desk import Around
from tandem.dialer.lines import Limits as DialerLimits
from tandem.dialer.service import Dialer
from tandem.document import read_document
from tandem.domain.agents import AgentChange, AgentsUnavailable, AgentWish
from tandem.domain.callbacks import Callback, CallbackWish
from tandem.domain.changes import AppliedView, ApplyRefused, ApplyStopped, HandEdited
from tandem.domain.entities import Pbx
from tandem.domain.features import Features, FeatureWish
from tandem.domain.nights import NightMode, read_night_digits
from tandem.domain.open_calls import AttemptStep
from tandem.domain.route_tests import refuse_failing
from tandem.domain.schedules import Mode
from tandem.domain.snapshot import Snapshot, build_snapshot
from tandem.domain.sounds import find_prompt_users
from tandem.editing import Head
from tandem.facts import Facts
from tandem.fallback import Fallback
from tandem.features import PhoneFeatures
from tandem.http import HttpService, UseCases
from tandem.importing import Imports
from tandem.lag import LagGauge
from tandem.lease import Lease
from tandem.ledger import Ledger
from tandem.live import Live, LiveError
from tandem.lookups import CallerLookup
from tandem.nights import Nights
from tandem.planning import Planning
from tandem.posting import Poster, read_trust
from tandem.probing import Probe
from tandem.reactor import SteadyClock
from tandem.recordings import Recordings
from tandem.retention import Kept, Retention
from tandem.settings import Settings
from tandem.sounds import Sounds
from tandem.speech import CommandEngine, Engine, HttpEngine, Speech
from tandem.spoken import Spoken
from tandem.store.audit import AuditEntry, record_audit
from tandem.store.bodies import BodyError
from tandem.store.call_book import CallBook
from tandem.store.database import attach_store
from tandem.store.errors import StoreError
from tandem.store.objects import Saved, save_pbx
from tandem.store.place import place_of
from tandem.store.revisions import load_head, load_live
from tandem.store.routes import record_routes
from tandem.stories import Stories, Story
from tandem.surveying import Surveys
from tandem.target import describe_target, read_dialplan
from tandem.tolls import Tolls
from tandem.trunks import Trunks
from tandem.watchdog import Watchdog
from tandem.webhooks import Webhooks

log = logging.getLogger(__name__)

reactor: Any = installed_reactor
clock: Any = SteadyClock(installed_reactor)

# A call makes no cycles: with Python's own thresholds the collector took 5 % of the time of a decision, and found nothing.
COLLECT_AFTER = (10_000, 20, 20)
# Whatever kept Asterisk from being brought in step is tried again so much later.
RETRY_AFTER_S = 10.0
RECOVER_EVERY_S = 5.0
# Recordings wait while the reactor is later than this.
BUSY_LAG_S = 0.1
# Of the time of a decision.
LOOKUP_SHARE = 0.8


class Tandem(MultiService):
    """Everything that runs in `tandem serve`. `prepare` first, then `startService`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.settings = settings
        # With a database in trouble it still starts: calls are routed by the snapshot file, and /health says why.
        self.store, _ = attach_store(place_of(settings), "tandem serve")
        self.live = Live(reactor, self.store, settings.snapshot_path, self._dress)
        self.stories = Stories(settings.calls_kept)
        self.decisions = DecisionLog(
            self.stories, clock, keep=lambda decisions: self.store.run(record_routes, decisions)
        )
        self.lag = LagGauge(clock)
        self.ami = self._make_ami(settings.ami.username, settings.ami.secret)
        self.config_ami = self._make_ami(settings.ami.config_username, settings.ami.config_secret)
        self.boot = Boot(self.ami, clock)
        self.facts = Facts(cast(Any, self.ami.send_list), clock, cast(Any, self.ami.send))
        self.fallback = Fallback(
            self.config_ami,
            self._read_current,
            lambda: datetime.now(UTC),
            clock,
            self._find_features,
        )
        self.features = PhoneFeatures(self.store, lambda: self.live.current, self.fallback.put)
        self.nights = Nights(
            self.store,
            lambda: self.live.current,
            self.config_ami.send,
            cast(Any, self.config_ami.send_list),
            self.live.dress,
        )
        self.lease = Lease(self.store, settings.dialer.node, clock)
        book = CallBook(self.store, self.lease.node, is_shared=self.lease.is_shared)
        self.calls = Calls(cast(Any, self.ami), book, clock, node=self.lease.node)
        self.lease.on_taken_over(self.calls.take_up)
        self.ledger = Ledger(
            self.store,
            {"cel": settings.asterisk.cel_file, "cdr": settings.asterisk.cdr_file},
            clock,
            list_channels=self._list_channels,
            list_trunks=lambda: self.live.current.trunks if self.live.is_loaded else (),
            save_routes=self.decisions.save,
            max_bytes=settings.retention.record_file_mb * 1024 * 1024,
        )
        self.retention = Retention(
            self.store,
            Kept.in_days(
                cdrs=settings.retention.cdrs_days,
                placed_calls=settings.retention.placed_calls_days,
                audit=settings.retention.audit_days,
                webhook_deliveries=settings.retention.webhook_deliveries_days,
            ),
            reactor,
        )
        poster = Poster(reactor, clock, allow_private=settings.webhooks.allow_private, trust=self._read_trust())
        self.lookup = self._make_lookup(poster)
        self.webhooks = Webhooks(
            self.store,
            poster,
            clock,
            phrase=lambda _, delivery: write_event(delivery, self.live.current, settings.apis.while1.project_id),
            max_pending=settings.webhooks.max_pending,
            lease=self.lease,
        )
        self.dialer = Dialer(
            self.store,
            self.calls,
            Around(
                snapshot=lambda: self.live.current,
                queue_facts=self.facts.read_queue,
                facts_at=self.facts.read_at,
                phone_state=self.facts.read_phone,
                is_ready=lambda: settings.dialer.enabled and self.boot.is_over and self.live.is_loaded,
                lag_s=self.lag.read_recent,
                ask_pbx=self._ask_pbx,
            ),
            clock,
            limits=DialerLimits(max_calls=settings.dialer.max_calls, max_cps=settings.dialer.max_cps),
            lease=self.lease,
        )
        self.agents = Agents(
            self.store, lambda: self.live.current, self.config_ami.send, cast(Any, self.config_ami.send_list)
        )
        self.agents.retry = self._try_later
        self.tolls = Tolls(
            self.store,
            lambda: self.live.current,
            self.config_ami.send,
            cast(Any, self.config_ami.send_list),
            clock,
        )
        self.dialer.lines.is_locked = self.tolls.is_locked
        self.trunks = Trunks(
            cast(Any, self.config_ami.send_list),
            lambda: self.live.current.trunks if self.live.is_loaded else {},
            clock,
        )
        self.callbacks = Callbacks(
            self.store,
            self.calls,
            self.lease,
            lambda: self.live.current,
            self.facts.read_queue,
            ask=cast(Any, self.config_ami.send_list),
            send=self.config_ami.send,
            judge=self.tolls.judge,
            is_ready=lambda: self.boot.is_over and self.config_ami.is_ready and self.live.is_loaded,
            clock=clock,
        )
        self.campaigns = Campaigns(lambda: self.live.current, self.dialer.commands)
        self.imports = Imports(self.store, self.campaigns)
        self.head = Head(self.store, self.live)
        self.tools = Tools()
        converter = Converter(self.tools, settings.sounds.converter)
        speech = self._make_speech()
        self.surveys = Surveys(
            self.store,
            Spoken(settings.sounds.dir, speech, converter, settings.sounds.max_s),
            lambda: self.live.current,
            clock,
            exchange=poster.exchange,
        )
        self.sounds = Sounds(
            self.store,
            settings.sounds.dir,
            converter,
            speech,
            now=lambda: datetime.now(UTC),
            find_users=self._find_prompt_users,
            max_s=settings.sounds.max_s,
        )
        self.recordings = Recordings(
            self.store,
            converter,
            reactor,
            spool=settings.asterisk.recordings_dir,
            archive=settings.recordings.dir,
            form=settings.recordings.format,
            keep_days=settings.recordings.keep_days,
            is_busy=lambda: self.lag.read_recent() > BUSY_LAG_S,
        )
        self.probe = (
            Probe(
                cast(Any, self.config_ami.send_list),
                cast(Any, self.config_ami.send),
                cast(Any, self.ami.send),
                lambda: self.ami.is_ready,
                reactor,
                within_s=settings.asterisk.probe_s,
            )
            if settings.asterisk.probe_s
            else None
        )
        self.applying = Applying(
            self.store,
            self.live,
            self.config_ami,
            self._describe_asterisk,
            Check(settings.asterisk.check),
            reactor,
            after=self._follow,
            forget=self.head.forget,
            probe=self.probe,
        )
        self.planning = Planning(
            self.store, self.live, self.config_ami, self._describe_asterisk, self.applying, self.head.forget
        )
        self.http = HttpService(
            settings,
            UseCases(
                store=self.store,
                live=self.live,
                head=self.head,
                applying=self.applying,
                planning=self.planning,
                calls=self.calls,
                campaigns=self.campaigns,
                imports=self.imports,
                dialer=self.dialer,
                ledger=self.ledger,
                agents=self.agents,
                features=self.features,
                nights=self.nights,
                sounds=self.sounds,
                surveys=self.surveys,
                recordings=self.recordings,
                tolls=self.tolls,
                trunks=self.trunks,
                callbacks=self.callbacks,
                send=cast(Any, self.ami.send),
                ask_list=cast(Any, self.ami.send_list),
                ask_system=cast(Any, self.config_ami.send_list),
                read_health=self.read_health,
                list_decisions=self.list_calls,
                import_document=self.import_document,
                look_up=self.lookup.find if self.lookup is not None else None,
            ),
            reactor,
        )
        self.agi: AgiService | None = None
        self._stepping = DeferredLock()
        self._has_applied = False
        self.step_problem: str | None = None

    async def prepare(self) -> None:
        """Migrations are done; loads the first snapshot, and the tokens if they can be had. LiveError when there is nothing to route by."""
        await self.live.load()
        try:
            await self.features.load()
            await self.nights.load()
        except StoreError as error:
            log.warning(
                "forwards, do not disturb and night modes are as AstDB has them until the database is back: %s", error
            )
        # Or whoever asks first is told that there is no database.
        await self.http.authority.flush()
        log.info("%s", self.applying.describe_start())

    def startService(self) -> None:
        """Listens, connects, and brings Asterisk in step once its manager is there."""
        gc.set_threshold(*COLLECT_AFTER)
        brain = Brain(
            snapshot=lambda: self.live.current,
            queue_facts=self.facts.read_queue,
            agent_works=self.agents.works,
            serve_answered=self.dialer.answers.serve_answered,
            note_machine=self.dialer.answers.note_machine,
            change_agent=lambda *wanted: Deferred.fromCoroutine(self._change_agent(*wanted)),
            set_features=lambda *wanted: Deferred.fromCoroutine(self._set_features(*wanted)),
            set_night=lambda *wanted: Deferred.fromCoroutine(self._set_night(*wanted)),
            keep_callback=lambda wish: Deferred.fromCoroutine(self._keep_callback(wish)),
            find_owed=self.callbacks.find_owed,
            take_back=lambda callback_id: Deferred.fromCoroutine(self._take_back(callback_id)),
            record=self.decisions.record,
            admit=self.tolls.admit,
            sounds_dir=str(self.settings.sounds.dir),
            find_probe=self.probe.find if self.probe is not None else lambda _: None,
            find_survey=self.surveys.find,
            find_surveyed=self.dialer.answers.find_surveyed,
            speak_survey=self.surveys.play,
            note_visit=self.surveys.note_visit,
            note_answer=self.surveys.note_answer,
            send_answers=self.surveys.send_answers,
            recordings_dir=str(self.settings.asterisk.recordings_dir),
            look_up=self.lookup.find if self.lookup is not None else None,
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
            self.lease,
            self.calls,
            self.ledger,
            self.tolls,
            self.trunks,
            self.sounds,
            self.surveys,
            self.recordings,
            self.dialer,
            self.callbacks,
            self.retention,
            self.webhooks,
            self.http,
            # Last: systemd hears of it when everything listens.
            Watchdog(os.environ, reactor),
        ):
            service.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.live.subscribe(lambda _: self.fallback.follow())
        self.live.subscribe(lambda _: Deferred.fromCoroutine(self.nights.light()))
        self.config_ami.on_ready(lambda: Deferred.fromCoroutine(self.nights.follow()))
        self.calls.watch(self.tolls.take_call)
        self.ledger.watch(self.tolls.take_cdr)
        self.config_ami.on_ready(lambda: Deferred.fromCoroutine(self.tolls.follow()))
        self.config_ami.on_ready(self.trunks.follow)
        self.ami.on("Cdr", self._take_cdr)
        self.dialer.follow(self.ami)
        self.dialer.watch_attempts(self._prepare_survey)
        self.facts.follow(self.ami)
        self.facts.watch(self.dialer.kick)
        self.facts.watch_phones(self.dialer.list_phones)
        self.ami.on_ready(self.facts.ask_again)
        self.http.follow(self.ami)
        self.decisions.watch = self.http.tell_decision
        self.config_ami.on_ready(self._bring_in_step)
        # Asterisk lets us in before its queues are loaded. A forged event costs nothing: whoever is in step is left alone.
        self.config_ami.on("FullyBooted", lambda _: Deferred.fromCoroutine(self._bring_in_step()))
        super().startService()  # type: ignore[no-untyped-call]
        self._recovery = LoopingCall(lambda: Deferred.fromCoroutine(self._recover()))
        self._recovery.start(RECOVER_EVERY_S, now=False)

    def _make_ami(self, username: str, secret: Any) -> AmiClient:
        ami = self.settings.ami
        endpoint: Any = HostnameEndpoint(reactor, ami.host.encode(), ami.port)
        client = AmiClient(endpoint, username, secret.get_secret_value() if secret is not None else "", clock=clock)
        client.setName(f"ami {username}")  # type: ignore[no-untyped-call]
        return client

    def _read_trust(self) -> Any:
        """Of webhooks' receivers. A file that is no good costs those that need it, not the calls."""
        path = self.settings.webhooks.ca_file
        self.trust_problem: str | None = None
        try:
            return read_trust(path) if path is not None else None
        except ValueError as error:
            self.trust_problem = f"webhooks.ca_file: {error}"
            log.error("%s", self.trust_problem)
            return None

    def _make_lookup(self, poster: Poster) -> CallerLookup | None:
        lookup = self.settings.lookup
        if not lookup.url:
            return None
        return CallerLookup(
            poster,
            clock,
            url=lookup.url,
            token=lookup.token.get_secret_value() if lookup.token is not None else "",
            # The rest of a decision takes time, too; without one the call would take its last-known route.
            deadline_s=min(lookup.deadline_s, LOOKUP_SHARE * self.settings.fastagi.decision_deadline_s),
            keep_s=lookup.keep_s,
        )

    def _make_speech(self) -> Speech:
        settings = self.settings.speech
        engine: Engine = (
            HttpEngine(reactor, settings.url, settings.timeout_s)
            if settings.engine == "http" and settings.url is not None
            else CommandEngine(self.tools, settings.command, settings.timeout_s)
        )
        return Speech(engine, self.settings.state_dir / "speech", settings.cache_mb * 1024 * 1024)

    async def _find_prompt_users(self, prompt: str) -> tuple[tuple[str, str], ...]:
        """Of the newest revision and of the live one: callers hear what that says."""
        users = find_prompt_users(await self.head.read(), prompt)
        live = find_prompt_users(self.live.current, prompt) if self.live.is_loaded else ()
        return tuple(dict.fromkeys((*users, *live)))

    def _take_cdr(self, event: Message) -> None:
        self.decisions.flush()
        self.stories.record_cdr(event.items())

    def _prepare_survey(self, step: AttemptStep) -> None:
        if step.kind == "claimed":
            self.surveys.prepare(self.dialer.answers.find_surveyed(step.call_id))

    async def _list_channels(self) -> frozenset[str]:
        rows = await self.ami.send_list(actions.core_show_channels())
        return frozenset(row.get("Uniqueid") for row in rows)

    async def _ask_pbx(self, line: str) -> Sequence[str]:
        answer = await self.config_ami.send(actions.command(line))
        return answer.all("Output")

    def _find_features(self, extension: str) -> Features | None:
        return self.features.current.get(extension)

    def _dress(self, snapshot: Snapshot) -> Snapshot:
        return self.nights.dress(snapshot)

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
                self.applying.problem,
                self.step_problem,
                None
                if self._has_applied or self.applying.problem or not self.live.current.revision
                else "Asterisk has not been brought in step since the start",
                self.ledger.problem,
                self.http.problem,
                self.trust_problem,
                self.dialer.problem,
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
            "overview": self.facts.read_overview(),
            "reactor_lag_s": {"p99": self.lag.read_p99(), "max": self.lag.read_max()},
            "ami": self.ami.is_ready and self.config_ami.is_ready,
            "fastagi": asdict(self.agi.sessions.counters) if self.agi is not None else {},
        }

    def list_calls(self, limit: int) -> list[Story]:
        """The last calls, newest first."""
        self.decisions.flush()
        return list(islice(self.stories, limit))

    async def import_document(self, text: str, note: str, *, author: str) -> tuple[Saved, AppliedView]:
        """Saves a PBX document as the head and applies it. DocumentError, ApplyRefused by its route tests and StoreError change nothing."""
        # In a thread, so that calls get their turns: a document of 100,000 DIDs takes seconds.
        pbx = await deferToThread(_read_tested, text)
        saved = await self.store.run(save_pbx, pbx, author=author, note=note, at=datetime.now(UTC))
        self.head.forget()
        return saved, await self.applying.apply_head()

    async def _change_agent(self, endpoint: str, wish: AgentWish, is_wanted: Callable[[], bool]) -> AgentChange:
        """As a phone asks for it, by a feature code."""
        by = f"phone {endpoint}"

        async def commit(work: Callable[[Any], AgentChange]) -> AgentChange:
            return await self.store.run(record_by_phone, work, by)

        try:
            return await self.agents.change(endpoint, wish, by=by, commit=commit, is_wanted=is_wanted)
        except (AmiError, StoreError) as error:
            raise AgentsUnavailable(str(error)) from error

    async def _set_features(self, endpoint: str, wish: FeatureWish) -> Features:
        """As a phone asks for it, by a feature code."""
        by = f"phone {endpoint}"

        async def commit(work: Callable[[Any], Features]) -> Features:
            return await self.store.run(record_features_by_phone, work, by)

        try:
            return await self.features.change(endpoint, wish, by=by, commit=commit)
        except StoreError as error:
            raise AgentsUnavailable(str(error)) from error

    async def _set_night(self, endpoint: str, schedule: str, digits: str) -> NightMode:
        """As a phone asks for it, by a feature code."""
        by = f"phone {endpoint}"

        def decide(snapshot: Snapshot, now: Mode) -> Mode:
            return read_night_digits(snapshot, schedule, endpoint, digits, now)

        async def commit(work: Callable[[Any], NightMode]) -> NightMode:
            return await self.store.run(record_night_by_phone, work, by)

        try:
            return await self.nights.change(schedule, decide, by=by, commit=commit)
        except StoreError as error:
            raise AgentsUnavailable(str(error)) from error

    async def _keep_callback(self, wish: CallbackWish) -> Callback:
        """As a caller in a queue asks for it."""
        try:
            return await self.callbacks.request(wish)
        except StoreError as error:
            raise AgentsUnavailable(str(error)) from error

    async def _take_back(self, callback_id: str) -> int:
        """As a caller is back who is owed a callback."""
        try:
            return await self.callbacks.take_back(callback_id)
        except StoreError as error:
            log.warning("callback %s stays: %s", callback_id, error)
            return 0

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
            await self.features.load()
            await self.nights.load()
            await self.nights.follow()
            await self.http.authority.flush()
            if self.config_ami.is_ready:
                await self._bring_in_step()

    async def _bring_in_step(self) -> None:
        """After each AMI login and each boot: Asterisk may have been reinstalled, restored or restarted meanwhile."""
        async with self._stepping:
            try:
                if self.live.degraded is None and await self._is_behind():
                    await self.applying.apply_head()
                    self._has_applied = True
                else:
                    await self._sync_members()
                self.step_problem = None
            except AmiConnectionLost as error:
                log.info("Asterisk went away while it was brought in step: %s", error)
            except ApplyStopped as error:
                log.info("Asterisk is not brought in step any more: %s", error)
            except (ApplyRefused, HandEdited, ValueUnrepresentable) as error:
                # It is told in applying.problem. What only a person can mend is not tried again and again.
                log.warning("the newest revision is not live: %s", error)
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

    def _describe_asterisk(self) -> Beside:
        return Beside(self.settings.asterisk.config_dir, describe_target(self.settings), read_dialplan())

    async def _follow(self, _snapshot: Snapshot) -> None:
        """What is in step with the live revision but in no file; AstDB follows every swap by itself."""
        self._has_applied = True
        try:
            await self._sync_members()
        except AmiError as error:
            self._try_later(f"queue members are not in step: {error}")

    async def _sync_members(self) -> None:
        await self.agents.sync()


def record_by_phone(db: Any, work: Callable[[Any], AgentChange], by: str) -> AgentChange:
    """An agent's change and its audit entry, within one transaction; only of what changed something."""
    change = work(db)
    if change.logins or change.pause is not None:
        target = f"agents/{change.endpoint}/{change.event}"
        action = "agents/login" if change.event in ("login", "logout") else "agents/pause"
        record_audit(
            db, AuditEntry(at=datetime.now(UTC), who=by, source="phone", action=action, target=target, revision=None)
        )
    return change


def _read_tested(text: str) -> Pbx:
    pbx = read_document(text, "import")
    if pbx.expect:
        refuse_failing(build_snapshot(0, pbx))
    return pbx


def record_night_by_phone(db: Any, work: Callable[[Any], NightMode], by: str) -> NightMode:
    """What a phone has switched and its audit entry, within one transaction."""
    night = work(db)
    record_audit(
        db,
        AuditEntry(
            at=datetime.now(UTC),
            who=by,
            source="phone",
            action="night_modes/update",
            target=f"night_modes/{night.schedule}/{night.mode}",
            revision=None,
        ),
    )
    return night


def record_features_by_phone(db: Any, work: Callable[[Any], Features], by: str) -> Features:
    """What a phone has set and its audit entry, within one transaction."""
    features = work(db)
    target = f"features/{features.extension}"
    record_audit(
        db,
        AuditEntry(
            at=datetime.now(UTC), who=by, source="phone", action="features/update", target=target, revision=None
        ),
    )
    return features


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
        await tandem.applying.stop()
        tandem.tools.stop()
        if tandem.running:
            await cast(Any, tandem).stopService()
        await tandem.live.stop()
        await tandem.store.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()).addErrback(fail))
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    reactor.run()
    return failures[0] if failures else None
