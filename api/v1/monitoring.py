"""How the PBX is now: status, channels, queues, agents; `/health` and `/metrics`. Only read here."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final

from api.declare import PREFIX, Frozen, Reply, Route, Shown
from api.exchange import Exchange, Services
from tandem.store.errors import StoreError

_PATH: Final = f"{PREFIX}/monitoring"


class Lag(Frozen):
    """How late the reactor was in the last minute, in seconds."""

    p99: float
    max: float


class Health(Frozen):
    """live: it answers; ready: calls are decided as they should be; reasons: why not, for those who may read it."""

    live: bool
    ready: bool
    reasons: tuple[str, ...]


class Overview(Frozen):
    """How the PBX is doing, at most a minute ago."""

    channels: int
    callers_waiting: int
    members_paused: int
    phones: int
    phones_reachable: int


class Status(Health):
    """The same and more; head: null while there is no database; overview: null while AMI is away; fastagi: its counters."""

    revision: int
    head: int | None
    dids: int
    overview: Overview | None
    reactor_lag_s: Lag
    fastagi: dict[str, int]
    event_clients: int


class ChannelShown(Frozen):
    """A channel that is up."""

    uniqueid: str
    linkedid: str
    channel: str
    state: str
    caller_number: str
    caller_name: str
    connected_number: str
    connected_name: str
    context: str
    exten: str
    application: str
    account: str
    bridge: str
    duration_s: int


class QueueStateShown(Frozen):
    """A queue now."""

    queue: str
    strategy: str
    callers: int
    completed: int
    abandoned: int
    hold_s: int
    talk_s: int
    service_level_percent: float
    longest_wait_s: int


class AgentShown(Frozen):
    """A member of a queue now; last_call_at in seconds since 1970."""

    queue: str
    interface: str
    name: str
    penalty: int
    calls_taken: int
    last_call_at: int
    is_in_call: bool
    is_paused: bool
    pause_reason: str
    status: str


class Channels(Frozen):
    """Every channel."""

    items: tuple[ChannelShown, ...]


class QueueStates(Frozen):
    """Every queue."""

    items: tuple[QueueStateShown, ...]


class Agents(Frozen):
    """Every member of every queue."""

    items: tuple[AgentShown, ...]


async def _health(services: Services, exchange: Exchange) -> Reply:
    health = services.read_health()
    may = exchange.principal is not None and exchange.principal.may("monitoring/read")
    return Reply({"live": health["live"], "ready": health["ready"], "reasons": health["reasons"] if may else []})


async def _status(services: Services, _: Exchange) -> Reply:
    health = services.read_health()
    try:
        head = (await services.head.read()).revision
    except StoreError:
        head = None  # the reasons say it already
    known: dict[str, Any] = {name: health[name] for name in Status.model_fields if name in health}
    return Reply({**known, "head": head, "event_clients": services.events.clients})


async def _channels(services: Services, _: Exchange) -> Reply:
    return Reply({"items": [asdict(row) for row in await services.monitor.list_channels()]})


async def _queues(services: Services, _: Exchange) -> Reply:
    return Reply({"items": [asdict(row) for row in await services.monitor.list_queues()]})


async def _agents(services: Services, _: Exchange) -> Reply:
    return Reply({"items": [asdict(row) for row in await services.monitor.list_agents()]})


async def _metrics(services: Services, _: Exchange) -> Reply:
    return Reply(services.metrics.encode(), media_type="text/plain; version=0.0.4; charset=utf-8")


_AWAY: Final = (HTTPStatus.SERVICE_UNAVAILABLE,)

ROUTES: Final = (
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
        method="GET", path=f"{_PATH}/channels", permission="monitoring/read", summary="Channels that are up.", handler=_channels,
        tag="monitoring", operation="list_channels", answer=Shown(Channels), raises=_AWAY,
    ),
    Route(
        method="GET", path=f"{_PATH}/queues", permission="monitoring/read", summary="Queues and who waits.", handler=_queues,
        tag="monitoring", operation="list_queue_states", answer=Shown(QueueStates), raises=_AWAY,
    ),
    Route(
        method="GET", path=f"{_PATH}/agents", permission="monitoring/read", summary="Members of queues.", handler=_agents,
        tag="monitoring", operation="list_agents", answer=Shown(Agents), raises=_AWAY,
    ),
)  # fmt: skip
