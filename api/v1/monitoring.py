"""How the PBX is now: status, channels, queues, agents; `/health` and `/metrics`. Only read here."""

from dataclasses import dataclass, fields
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from api.declare import PREFIX, Page, Reply, Route, Shown
from api.errors import Refused
from api.exchange import Exchange, Services
from api.listing import list_query, make_page
from api.times import time_of
from api.v1.events import open_stream
from tandem.domain.breaker import CLOSED, BreakerState
from tandem.domain.campaigns import CampaignView
from tandem.facts import Overview
from tandem.monitoring import AgentNow, ChannelNow, MessagesNow, QueueNow
from tandem.store.errors import StoreError
from tandem.trunks import TrunkHealth

_PATH: Final = f"{PREFIX}/monitoring"


@dataclass(frozen=True, slots=True)
class Lag:
    """How late the reactor was in the last minute, in seconds."""

    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """live: it answers; ready: calls are decided as they should be; reasons: why not, for those who may read it."""

    live: bool
    ready: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Health):
    """The same and more; head: null while there is no database; overview: null while AMI is away; fastagi: its counters."""

    revision: int
    head: int | None
    dids: int
    overview: Overview | None
    reactor_lag_s: Lag
    fastagi: dict[str, float]
    event_clients: int


async def _health(services: Services, exchange: Exchange) -> Reply:
    health = services.read_health()
    may = exchange.principal is not None and exchange.principal.may("monitoring/read")
    return Reply(Health(live=health["live"], ready=health["ready"], reasons=tuple(health["reasons"]) if may else ()))


async def _status(services: Services, _: Exchange) -> Reply:
    health = services.read_health()
    try:
        head = (await services.head.read()).revision
    except StoreError:
        head = None  # the reasons say it already
    return Reply(
        Status(
            live=health["live"],
            ready=health["ready"],
            reasons=tuple(health["reasons"]),
            revision=health["revision"],
            head=head,
            dids=health["dids"],
            overview=health["overview"],
            reactor_lag_s=Lag(**health["reactor_lag_s"]),
            fastagi=health["fastagi"],
            event_clients=services.events.clients,
        )
    )


async def _channels(services: Services, exchange: Exchange) -> Reply:
    return Reply(make_page(await services.monitor.list_channels(), exchange.query, "uniqueid"))


async def _queues(services: Services, exchange: Exchange) -> Reply:
    return Reply(make_page(await services.monitor.list_queues(), exchange.query, "queue"))


async def _messages(services: Services, exchange: Exchange) -> Reply:
    mailbox = exchange.path["mailbox"]
    if mailbox not in services.live.current.voicemail_boxes:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such voicemail box in the live revision")
    return Reply(await services.monitor.count_messages(mailbox))


async def _agents(services: Services, exchange: Exchange) -> Reply:
    return Reply(make_page(await services.monitor.list_agents(), exchange.query, "interface"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkNow:
    """A trunk as the dialer sees it. breaker: open while it shows no sign of life; retry_at: when a single call tries it again."""

    trunk: str
    calls: int
    breaker: BreakerState
    failures: int
    retry_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkStateShown(TrunkHealth):
    """The same, and what we think of it. breaker: of the dialer, open while it shows no sign of life; is_locked: by the toll guard."""

    breaker: BreakerState
    is_locked: bool


async def _trunks(services: Services, exchange: Exchange) -> Reply:
    breakers = services.dialer.lines.breakers
    shown = [
        TrunkStateShown(
            **{field.name: getattr(health, field.name) for field in fields(health)},
            breaker=breakers.get(health.trunk, CLOSED).state,
            is_locked=services.tolls.is_locked(health.trunk),
        )
        for health in services.trunks.read_all()
    ]
    return Reply(make_page(shown, exchange.query, "trunk"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DialerNow:
    """The dialer. speed: 0 to 1, what the PBX allows; pressure: 0 to 1, how busy it is; problem: why it does not dial."""

    calls: int
    speed: float
    pressure: float
    problem: str | None
    campaigns: tuple[CampaignView, ...]
    trunks: tuple[TrunkNow, ...]


def tell_dialer(dialer: Any) -> DialerNow:
    """What the dialer does, campaign by campaign and trunk by trunk."""
    calls = dialer.board.count_trunks()
    trunks = (
        TrunkNow(
            trunk=name,
            calls=calls.get(name, 0),
            breaker=breaker.state,
            failures=breaker.failures,
            retry_at=time_of(breaker.retry_at or None),
        )
        for name in sorted({*calls, *dialer.lines.breakers} - {""})
        for breaker in (dialer.lines.breakers.get(name, CLOSED),)
    )
    return DialerNow(
        calls=len(dialer.board.calls),
        speed=dialer.brake.speed,
        pressure=dialer.brake.pressure,
        problem=dialer.problem,
        campaigns=tuple(dialer.describe()),
        trunks=tuple(trunks),
    )


async def _campaigns(services: Services, _: Exchange) -> Reply:
    return Reply(tell_dialer(services.dialer))


async def _stream(services: Services, exchange: Exchange) -> Reply | None:
    may, ends_in_s = open_stream(services, exchange, services.states.clients)
    await services.states.attach(exchange.request, may, ends_in_s)
    return None


async def _metrics(services: Services, _: Exchange) -> Reply:
    return Reply(services.metrics.encode(), media_type="text/plain; version=0.0.4; charset=utf-8")


_AWAY: Final = (HTTPStatus.SERVICE_UNAVAILABLE,)

ROUTES: Final = (
    Route(
        method="GET", path=f"{PREFIX}/monitoring/voicemail/{{mailbox}}", permission="monitoring/read", handler=_messages, tag="monitoring",
        operation="count_messages", summary="How many messages are in a voicemail box.", parameters={"mailbox": "The number of the box."},
        answer=Shown(MessagesNow), raises=(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    ),
    Route(
        method="GET", path="/health", permission=None, summary="Whether it is live and ready; the reasons with monitoring/read.",
        handler=_health, tag="monitoring", operation="read_health", answer=Shown(Health),
    ),
    Route(
        method="GET", path="/metrics", permission="metrics/read", summary="For Prometheus.", handler=_metrics, tag="monitoring",
        operation="read_metrics", answer=Shown(str, media_type="text/plain"),
    ),
    Route(
        method="GET", path=f"{_PATH}/status", permission="monitoring/read", summary="How Tandem is.", handler=_status,
        tag="monitoring", operation="read_status", answer=Shown(Status),
    ),
    Route(
        method="GET", path=f"{_PATH}/campaigns", permission="monitoring/read", summary="The dialer, its campaigns and trunks.",
        handler=_campaigns, tag="monitoring", operation="list_campaign_states", answer=Shown(DialerNow),
    ),
    Route(
        method="GET", path=f"{_PATH}/stream", permission="monitoring/read", handler=_stream, tag="monitoring", operation="stream_states",
        summary="Server-sent events: `state` has all campaigns, channels, queues, agents and trunks, each `change` what changed since, twice a second at most.",
        answer=Shown(str, media_type="text/event-stream"),
    ),
    Route(
        method="GET", path=f"{_PATH}/channels", permission="monitoring/read", summary="Channels that are up.", handler=_channels,
        tag="monitoring", operation="list_channels", query=list_query(ChannelNow, "uniqueid"), answer=Shown(Page[ChannelNow], name="Channels"), raises=_AWAY,
    ),
    Route(
        method="GET", path=f"{_PATH}/queues", permission="monitoring/read", summary="Queues and who waits.", handler=_queues,
        tag="monitoring", operation="list_queue_states", query=list_query(QueueNow, "queue"), answer=Shown(Page[QueueNow], name="QueueStates"), raises=_AWAY,
    ),
    Route(
        method="GET", path=f"{_PATH}/trunks", permission="monitoring/read", handler=_trunks, tag="monitoring", operation="list_trunk_states",
        summary="Trunks: registrations, far ends and how long they take to answer, channels; asked every ten seconds.",
        query=list_query(TrunkStateShown, "trunk"), answer=Shown(Page[TrunkStateShown], name="TrunkStates"),
    ),
    Route(
        method="GET", path=f"{_PATH}/agents", permission="monitoring/read", summary="Members of queues.", handler=_agents,
        tag="monitoring", operation="list_agents", query=list_query(AgentNow, "interface"), answer=Shown(Page[AgentNow], name="Agents"), raises=_AWAY,
    ),
)  # fmt: skip
