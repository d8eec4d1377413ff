"""The HTTP API as a service: hands the use-cases to `api`, listens on the unix socket and, if the settings say so, on TCP; holds no use-case."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString

from api.auth import Authority, Logins
from api.compat.table import DOORS
from api.declare import Shown
from api.doors import open_doors
from api.errors import MAX_PROBLEMS, Refused
from api.events import EventHub
from api.exchange import Services
from api.metrics import Metrics
from api.site import Api, ApiSite
from api.states import StateHub
from api.tags import load_tag_key
from api.v1.table import PERMISSIONS, ROUTES
from confgen.apply import HandEdited
from confgen.values import ValueUnrepresentable
from tandem.agents import Agents
from tandem.ami.wire import Message
from tandem.applying import Applying
from tandem.callbacks import Callbacks
from tandem.calls import Calls
from tandem.campaign_events import CampaignEvents
from tandem.campaigning import Campaigns
from tandem.certificates import list_expiries
from tandem.channels import Channels
from tandem.dialer.service import Dialer
from tandem.domain.agents import AgentChange
from tandem.domain.callbacks import Callback
from tandem.domain.calls import CallEvent
from tandem.domain.cdr import Cdr
from tandem.domain.changes import ApplyBusy, ApplyRefused, PlanOutdated, RevisionChanged
from tandem.domain.decisions import Decision
from tandem.domain.features import FORWARD_KINDS, Features
from tandem.domain.nights import NightMode
from tandem.editing import Head
from tandem.features import PhoneFeatures
from tandem.importing import Imports
from tandem.ledger import Ledger
from tandem.live import Live
from tandem.monitoring import Monitor
from tandem.nights import Nights
from tandem.planning import Planning
from tandem.recordings import Recordings
from tandem.regular import Regular
from tandem.settings import Settings
from tandem.sounds import Sounds
from tandem.states_now import StatesNow
from tandem.store.audit import AuditEntry, record_audit
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.stories import Story
from tandem.surveying import Surveys
from tandem.tolls import Tolls
from tandem.trunks import TrunkHealth, Trunks
from tandem.voicemail import Voicemail

log = logging.getLogger(__name__)

FLUSH_EVERY_S: Final = 0.5
# Connections that the kernel keeps for us; with fewer, a burst waits for its second SYN, a second later.
BACKLOG: Final = 1024
TOKEN_USES_EVERY_S: Final = 60.0
# AMI events that are passed on, under the kind that our clients know. Their text may be a stranger's; it is data here, and no more.
_PASSED_ON: Final = {
    "QueueCallerJoin": "queue",
    "QueueCallerLeave": "queue",
    "QueueCallerAbandon": "queue",
    "QueueMemberStatus": "queue",
    "QueueMemberPause": "queue",
    "Newchannel": "channel",
    "Hangup": "channel",
    "DeviceStateChange": "device",
}
# What the events say, in the words of the answers.
_CALL_EVENT: Final = Shown(CallEvent)
_CDR: Final = Shown(Cdr)
_DECISION: Final = Shown(Decision)


def explain_apply(error: BaseException) -> Refused | None:
    """The answers for what `tandem.applying` raises; `api` itself does not know it."""
    match error:
        case ApplyRefused(problems=problems):
            told = tuple({"object": one.object, "field": one.field, "rule": one.reason} for one in problems)
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)[:2000], told[:MAX_PROBLEMS])
        case HandEdited() | ApplyBusy():
            return Refused(HTTPStatus.CONFLICT, str(error))
        case RevisionChanged() | PlanOutdated():
            return Refused(HTTPStatus.PRECONDITION_FAILED, str(error))
        case ValueUnrepresentable(path=path, rule=rule):
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), ({"field": path, "rule": rule},))
        case OSError():
            return Refused(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """What the composition root has built."""

    store: Store
    live: Live
    head: Head
    applying: Applying
    planning: Planning
    calls: Calls
    campaigns: Campaigns
    imports: Imports
    dialer: Dialer
    ledger: Ledger
    agents: Agents
    features: PhoneFeatures
    nights: Nights
    sounds: Sounds
    surveys: Surveys
    recordings: Recordings
    voicemail: Voicemail
    tolls: Tolls
    trunks: Trunks
    callbacks: Callbacks
    send: Callable[[Any], Awaitable[Any]]
    ask_list: Callable[[Any], Awaitable[list[Any]]]
    ask_system: Callable[[Any], Awaitable[list[Any]]]
    read_health: Callable[[], dict[str, Any]]
    list_decisions: Callable[[int], list[Story]]
    look_up: Callable[[str, str], Any] | None = None


class HttpService(Regular):
    """Listens, and tells Prometheus and event listeners what happens."""

    name = "http"

    def __init__(self, settings: Settings, use: UseCases, reactor: Any) -> None:
        super().__init__(reactor)
        self.problem: str | None = None
        self._settings = settings
        self._use = use
        self._reactor = reactor
        self._ports: list[Any] = []
        self._notes: list[AuditEntry] = []
        self.sites: list[ApiSite] = []
        self.events = EventHub(reactor)
        monitor = Monitor(use.ask_list, use.ask_system, use.send)
        self.states = StateHub(
            StatesNow(monitor, use.agents, use.dialer, use.store, lambda: use.live.current, use.trunks.read_all).read,
            reactor,
        )
        self.metrics = Metrics(self._read_gauges)
        self.authority = Authority(use.store)
        self.authority.watch = self._review
        # Other systems' APIs that are switched on, with their routes.
        doors = open_doors(DOORS, settings.apis)
        compat = [route for door in doors for route in door.routes]
        services = Services(
            store=use.store,
            live=use.live,
            head=use.head,
            authority=self.authority,
            logins=Logins(use.store),
            events=self.events,
            metrics=self.metrics,
            now=lambda: datetime.now(UTC),
            read_health=use.read_health,
            list_decisions=use.list_decisions,
            applying=use.applying,
            planning=use.planning,
            monitor=monitor,
            channels=Channels(monitor, use.send, lambda: use.live.current.general),
            calls=use.calls,
            sounds=use.sounds,
            surveys=use.surveys,
            recordings=use.recordings,
            voicemail=use.voicemail,
            tag_key=load_tag_key(settings.etag_key),
            permissions=PERMISSIONS | {route.permission for route in compat if route.permission is not None},
            campaigns=use.campaigns,
            imports=use.imports,
            dialer=use.dialer,
            agents=use.agents,
            features=use.features,
            nights=use.nights,
            states=self.states,
            tolls=use.tolls,
            trunks=use.trunks,
            callbacks=use.callbacks,
            allow_private_webhooks=settings.webhooks.allow_private,
            look_up=use.look_up,
            note=self._notes.append,
            explain=explain_apply,
            apis=settings.apis,
        )
        self.api = Api(services, ROUTES, doors)
        self._campaign_events = CampaignEvents(use.store, use.dialer, self.events, self.metrics)
        use.campaigns.watch(self._campaign_events.tell_change)
        use.imports.watch(self._campaign_events.tell_import)
        use.dialer.watch_attempts(self._campaign_events.take_step)
        self.repeat(self._flush_notes, FLUSH_EVERY_S)
        self.repeat(self._flush_tokens, TOKEN_USES_EVERY_S)
        self.repeat(self._campaign_events.flush, FLUSH_EVERY_S)

    def startService(self) -> None:
        """Listens; tokens are read at once."""
        self._use.calls.watch(self._tell_call)
        self._use.ledger.watch(self._tell_cdr)
        self._use.agents.watch(self._tell_agent)
        self._use.features.watch(self._tell_features)
        self._use.nights.watch(self._tell_night)
        self._use.trunks.watch(lambda health: self.events.publish("trunk", lambda: asdict(health)))
        self._use.callbacks.watch(self._tell_callback)
        self._use.tolls.watch(
            lambda lock: self.events.publish(
                "toll", lambda: {"event": "locked", "scope": lock.scope, "reason": lock.reason}
            )
        )
        self._use.store.watch = self.metrics.observe_sql
        super().startService()
        self._listen_socket()
        if self._settings.http.port is not None:
            Deferred.fromCoroutine(self._listen_tcp())

    async def stopService(self) -> None:
        """Takes no more requests, ends event streams, writes what is left."""
        super().stopService()
        self.events.close()
        self.states.close()
        for port in self._ports:
            await port.stopListening()
        await self._flush_notes()
        await self.authority.flush()

    def follow(self, ami: Any) -> None:
        """Passes on what Asterisk tells."""
        for event, kind in _PASSED_ON.items():
            ami.on(event, lambda message, event=event, kind=kind: self._tell_event(kind, event, message))

    def tell_decision(self, decision: Decision) -> None:
        """A decision of FastAGI."""
        self.metrics.observe_decision(decision.script, decision.computing_s)
        self.events.publish("decision", lambda: _DECISION.plain(decision))

    # ----------------------------------------------------------------------------------------------- listening

    def _listen_socket(self) -> None:
        path = self._settings.control_socket
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        site = self._make_site(trusted=True)
        self._ports.append(self._reactor.listenUNIX(str(path), site, mode=0o600))

    async def _listen_tcp(self) -> None:
        http = self._settings.http
        host = quoteStringArgument(http.host)
        if http.tls_certificate is not None:
            key, certificate = (quoteStringArgument(str(path)) for path in (http.tls_key, http.tls_certificate))
            where = f"ssl:{http.port}:interface={host}:privateKey={key}:certKey={certificate}"
        else:
            where = f"tcp{'6' if ':' in http.host else ''}:{http.port}:interface={host}"
        try:
            endpoint = serverFromString(self._reactor, f"{where}:backlog={BACKLOG}")
            self._ports.append(await endpoint.listen(self._make_site(trusted=False)))
        except Exception as error:
            log.exception("the HTTP API cannot listen on %s port %s", http.host, http.port)
            self.problem = f"the HTTP API cannot listen on {http.host} port {http.port}: {error}"

    def _make_site(self, *, trusted: bool) -> ApiSite:
        site = self.api.make_site(self._reactor, trusted=trusted, max_connections=self._settings.http.max_connections)
        self.sites.append(site)
        return site

    # ------------------------------------------------------------------------------------------------- telling

    def _tell_call(self, event: CallEvent) -> None:
        self.events.publish("call", lambda: _CALL_EVENT.plain(event))

    def _tell_cdr(self, cdr: Cdr) -> None:
        self.metrics.count_call(str(cdr.disposition))
        self.events.publish("cdr", lambda: _CDR.plain(cdr))

    def _tell_agent(self, change: AgentChange) -> None:
        told = {name: getattr(change, name) for name in ("event", "endpoint", "queues", "reason", "by")}
        self.events.publish("agent", lambda: told)

    def _tell_features(self, features: Features) -> None:
        told = {name: getattr(features, name) for name in ("extension", "do_not_disturb", *FORWARD_KINDS, "by")}
        self.events.publish("features", lambda: told)

    def _tell_night(self, night: NightMode) -> None:
        self.events.publish("night", lambda: {name: getattr(night, name) for name in ("schedule", "mode", "by")})

    def _tell_callback(self, callback: Callback) -> None:
        told = {
            name: getattr(callback, name) for name in ("callback_id", "queue", "number", "state", "tries", "outcome")
        }
        self.events.publish("callback", lambda: told)

    def _review(self) -> None:
        self.events.review()
        self.states.review()

    def _tell_event(self, kind: str, event: str, message: Message) -> None:
        self.events.publish(kind, lambda: {"event": event, **dict(message.items())})

    def _read_gauges(self) -> Iterator[tuple[str, str, float | Mapping[str, float]]]:
        health = self._use.read_health()
        yield "tandem_ready", "1 when calls are decided as they should be", float(health["ready"])
        yield "tandem_live_revision", "The revision that Asterisk has", float(health["revision"])
        yield "tandem_ami_connected", "1 when both AMI logins are there", float(health["ami"])
        yield (
            "tandem_reactor_lag_p99_seconds",
            "How late the reactor was in the last minute",
            health["reactor_lag_s"]["p99"],
        )
        yield "tandem_reactor_lag_max_seconds", "The worst of the last minute", health["reactor_lag_s"]["max"]
        yield "tandem_calls_open", "Placed calls that are not over", float(len(self._use.calls.list_open()))
        dialer = self._use.dialer
        yield "tandem_campaign_calls_open", "Calls of campaigns that are not over", float(len(dialer.board.calls))
        yield "tandem_campaigns_running", "Campaigns that dial", float(dialer.running_campaigns)
        yield "tandem_dialer_speed", "What the PBX allows the dialer, 0 to 1", dialer.brake.speed
        yield "tandem_dialer_pressure", "How busy the PBX is, 0 to 1", dialer.brake.pressure
        shut = sum(breaker.state != "closed" for breaker in dialer.lines.breakers.values())
        trunks = self._use.trunks.read_all()
        known = {one.trunk: float(one.state == "up") for one in trunks if one.state != "unknown"}
        yield "tandem_trunk_up", "1 when it is registered and its far end answers; absent where nobody knows", known
        delays = {one.trunk: min(rtts) / 1000 for one in trunks if (rtts := _list_rtts(one))}
        yield "tandem_trunk_rtt_seconds", "How long the quickest far end took for its last answer", delays
        yield "tandem_trunk_channels", "Channels that are up", {one.trunk: float(one.channels) for one in trunks}
        yield "tandem_trunks_dead", "Trunks without a sign of life", float(shut)
        yield "tandem_http_connections", "Connections to the API", float(sum(site.connections for site in self.sites))
        for setting, left_s in list_expiries(self._settings):
            name = setting.replace(".", "_")
            yield f"tandem_{name}_expires_in_seconds", f"Until {setting} has expired", left_s
        listeners = self.events.clients + self.states.clients
        yield "tandem_event_clients", "Listeners of server-sent events", float(listeners)
        yield "tandem_events_dropped", "Events that were too many for a batch", float(self.events.dropped)
        for name, value in health["fastagi"].items():
            yield f"tandem_fastagi_{name}", "A counter of the FastAGI server", float(value)

    # ------------------------------------------------------------------------------------------------ flushing

    def _flush_notes(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._write_notes())

    async def _write_notes(self) -> None:
        """Audit entries of what was not a transaction of its own; kept until the database takes them."""
        if not self._notes:
            return
        notes = self._notes[:]
        try:
            await self._use.store.run(_record_all, notes)
            del self._notes[: len(notes)]
        except StoreError as error:
            log.warning("the audit log cannot be written: %s", error)

    def _flush_tokens(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.authority.flush())


def _list_rtts(health: TrunkHealth) -> list[float]:
    return [host.rtt_ms for host in health.hosts if host.rtt_ms is not None]


def _record_all(db: Any, notes: list[AuditEntry]) -> None:
    for note in notes:
        record_audit(db, note)
