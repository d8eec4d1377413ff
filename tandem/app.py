"""The composition root: builds every service, in the order in which they need each other; nobody imports it but the command line.

Start: migrations and the first snapshot, then FastAGI listens, then AMI connects. So no call is asked about before there is an answer.
Without a database the last snapshot in its file still routes calls; without Asterisk's manager they are routed with queue facts unknown.
"""

import asyncio
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from api.compat.while1.events import write_event
from confgen.verify import Check
from fastagi.brain import Brain
from fastagi.protocol import Limits
from fastagi.routes import list_scripts
from fastagi.service import AgiService
from tandem.agents import Agents
from tandem.ami import actions
from tandem.ami.boot import Boot
from tandem.applying import Applying, Beside
from tandem.audio import Converter, Tools
from tandem.callbacks import Callbacks
from tandem.calls import Calls
from tandem.campaigning import Campaigns
from tandem.decision_log import DecisionLog
from tandem.dialer.desk import Around
from tandem.dialer.lines import Limits as DialerLimits
from tandem.dialer.service import Dialer
from tandem.domain.dialplan import VOICEMAIL_CONTEXT
from tandem.domain.features import Features
from tandem.domain.open_calls import AttemptStep
from tandem.domain.snapshot import Snapshot
from tandem.domain.sounds import find_prompt_users
from tandem.editing import Head
from tandem.facts import Facts
from tandem.fallback import Fallback
from tandem.features import PhoneFeatures
from tandem.health import Health
from tandem.http import HttpService, UseCases
from tandem.importing import Imports
from tandem.in_step import InStep
from tandem.lag import LagGauge
from tandem.lease import Lease
from tandem.ledger import Ledger
from tandem.live import Live, LiveError
from tandem.nights import Nights
from tandem.outside import make_ami, make_lookup, make_poster, make_speech
from tandem.phone_wishes import PhoneWishes
from tandem.planning import Planning
from tandem.probing import Probe
from tandem.reactor import SteadyClock
from tandem.recordings import Recordings
from tandem.retention import Kept, Retention
from tandem.settings import Settings
from tandem.sounds import Sounds
from tandem.spoken import Spoken
from tandem.store.call_book import CallBook
from tandem.store.database import attach_store
from tandem.store.errors import StoreError
from tandem.store.place import place_of
from tandem.store.routes import record_routes
from tandem.stories import Stories
from tandem.surveying import Surveys
from tandem.target import describe_target, read_dialplan
from tandem.tolls import Tolls
from tandem.trunks import Trunks
from tandem.voicemail import Voicemail
from tandem.watchdog import Watchdog
from tandem.webhooks import Webhooks

log = logging.getLogger(__name__)

reactor: Any = installed_reactor
clock: Any = SteadyClock(installed_reactor)

# Recordings wait while the reactor is later than this.
BUSY_LAG_S = 0.1


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
        self.ami = make_ami(settings, settings.ami.username, settings.ami.secret, reactor, clock)
        self.config_ami = make_ami(settings, settings.ami.config_username, settings.ami.config_secret, reactor, clock)
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
        poster, trust_problem = make_poster(settings, reactor, clock)
        self.lookup = make_lookup(settings, poster, clock)
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
        speech = make_speech(settings, self.tools, reactor)
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
            spool=settings.asterisk.recordings_dir,
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
        self.voicemail = Voicemail(
            settings.asterisk.voicemail_dir / VOICEMAIL_CONTEXT,
            converter,
            cast(Any, self.config_ami.send),
            settings.sounds.max_s,
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
            after=lambda snapshot: self.in_step.follow(snapshot),  # noqa: PLW0108 - it is made further down
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
                voicemail=self.voicemail,
                tolls=self.tolls,
                trunks=self.trunks,
                callbacks=self.callbacks,
                send=cast(Any, self.ami.send),
                ask_list=cast(Any, self.ami.send_list),
                ask_system=cast(Any, self.config_ami.send_list),
                read_health=lambda: self.health.read(),  # noqa: PLW0108 - it is made further down
                list_decisions=self.decisions.list_stories,
                look_up=self.lookup.find if self.lookup is not None else None,
            ),
            reactor,
        )
        self.in_step = InStep(
            self.store,
            self.live,
            self.applying,
            self.agents,
            self.config_ami,
            reactor,
            config_dir=settings.asterisk.config_dir,
            returned=(self.features.load, self.nights.load, self.nights.follow, self.http.authority.flush),
        )
        self.health = Health(
            live=self.live,
            amis=(self.ami, self.config_ami),
            applying=self.applying,
            in_step=self.in_step,
            ledger=self.ledger,
            dialer=self.dialer,
            fallback=self.fallback,
            facts=self.facts,
            lag=self.lag,
            http=self.http,
            trust_problem=trust_problem,
        )
        self.wishes = PhoneWishes(self.store, self.agents, self.features, self.nights, self.callbacks, self.sounds)

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
        agi = self.health.agi = self._make_agi()
        for service in (
            self.lag,
            self.decisions,
            agi,
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
            self.in_step,
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
        self.ami.on("Cdr", self.decisions.take_cdr)
        self.dialer.follow(self.ami)
        self.dialer.watch_attempts(self._prepare_survey)
        self.facts.follow(self.ami)
        self.facts.watch(self.dialer.kick)
        self.facts.watch_phones(self.dialer.list_phones)
        self.ami.on_ready(self.facts.ask_again)
        self.http.follow(self.ami)
        self.decisions.watch = self.http.tell_decision
        super().startService()  # type: ignore[no-untyped-call]

    def _make_agi(self) -> AgiService:
        brain = Brain(
            snapshot=lambda: self.live.current,
            queue_facts=self.facts.read_queue,
            agent_works=self.agents.works,
            serve_answered=self.dialer.answers.serve_answered,
            note_machine=self.dialer.answers.note_machine,
            change_agent=lambda *wanted: Deferred.fromCoroutine(self.wishes.change_agent(*wanted)),
            set_features=lambda *wanted: Deferred.fromCoroutine(self.wishes.set_features(*wanted)),
            set_night=lambda *wanted: Deferred.fromCoroutine(self.wishes.set_night(*wanted)),
            keep_callback=lambda wish: Deferred.fromCoroutine(self.wishes.keep_callback(wish)),
            find_owed=self.callbacks.find_owed,
            take_back=lambda callback_id: Deferred.fromCoroutine(self.wishes.take_back(callback_id)),
            locate_dictation=lambda token: str(self.sounds.locate_dictation(token).with_suffix("")),
            keep_prompt=lambda *wanted: Deferred.fromCoroutine(self.wishes.keep_prompt(*wanted)),
            drop_prompt=self.wishes.drop_prompt,
            prompt_max_s=self.settings.sounds.max_s,
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
        return AgiService(
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

    async def _find_prompt_users(self, prompt: str) -> tuple[tuple[str, str], ...]:
        """Of the newest revision and of the live one: callers hear what that says; and surveys."""
        users = find_prompt_users(await self.head.read(), prompt)
        live = find_prompt_users(self.live.current, prompt) if self.live.is_loaded else ()
        return tuple(dict.fromkeys((*users, *live, *await self.surveys.find_prompt_users(prompt))))

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

    def _describe_asterisk(self) -> Beside:
        return Beside(self.settings.asterisk.config_dir, describe_target(self.settings), read_dialplan())


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
