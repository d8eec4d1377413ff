"""`/monitoring`: what is up right now; asks Asterisk, and answers with what is there where Asterisk is away."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, Literal

from pydantic.dataclasses import dataclass

from api.compat.ari.campaigns import CampaignWithStats, load_rows_with_stats
from api.compat.ari.cdr import sum_up
from api.compat.ari.speech import Answer, Denied, answer, declare, tell_known_time, zone_of
from api.declare import Reply
from api.exchange import Exchange, Services
from tandem.ami.errors import AmiError
from tandem.monitoring import ChannelNow
from tandem.store.attempt_reports import ReportQuery, sum_report
from tandem.store.campaigns import load_campaigns
from tandem.store.errors import StoreError

# AMI's words in small letters -> ARI's (res_ari uses ast_state2str's, as AMI does).
_STATES: Final = {
    word.lower(): word
    for word in (
        "Down", "Rsrvd", "OffHook", "Dialing", "Ring", "Ringing", "Up", "Busy", "Dialing Offhook", "Pre-ring", "Mute", "Unknown",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """Whether Asterisk and the database answer, and how much is going on."""

    asterisk: bool
    database: bool
    active_channels: int
    active_campaigns: int
    timestamp: str


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a channel."""

    name: str
    number: str


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel."""

    id: str
    name: str
    state: str
    caller: Party
    connected: Party
    creationtime: str


@dataclass(frozen=True, slots=True)
class Channels:
    """All of them."""

    channels: tuple[ChannelRow, ...]
    count: int


@dataclass(frozen=True, slots=True)
class TodayStats:
    """Calls of today, by how they ended."""

    total_calls: int
    answered: int
    no_answer: int
    busy: int
    failed: int


@dataclass(frozen=True, slots=True)
class Realtime:
    """Running campaigns, channels, and today's calls."""

    campaigns: tuple[CampaignWithStats, ...]
    channels: tuple[ChannelRow, ...]
    channel_count: int
    today_stats: TodayStats
    timestamp: str


def _row(channel: ChannelNow, now: datetime) -> ChannelRow:
    made_at = now - timedelta(seconds=channel.duration_s)
    return ChannelRow(
        id=channel.uniqueid,
        name=channel.channel,
        state=_STATES.get(channel.state, "Unknown"),
        caller=Party(channel.caller_name, channel.caller_number),
        connected=Party(channel.connected_name, channel.connected_number),
        creationtime=made_at.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
    )


async def _load_channels(services: Services) -> tuple[ChannelRow, ...]:
    now = services.now()
    return tuple(_row(channel, now) for channel in await services.monitor.list_channels())


async def _status(services: Services, _: Exchange) -> Reply:
    try:
        channels, has_asterisk = len(await services.monitor.list_channels()), True
    except AmiError:
        channels, has_asterisk = 0, False
    try:
        campaigns, has_database = len(await services.store.read(load_campaigns, "running")), True
    except StoreError:
        campaigns, has_database = 0, False
    timestamp = tell_known_time(services.now(), zone_of(services))
    status = SystemStatus(has_asterisk, has_database, channels, campaigns, timestamp)
    return answer(status, "System status retrieved successfully")


async def _channels(services: Services, _: Exchange) -> Reply:
    try:
        found = await _load_channels(services)
    except AmiError as error:
        raise Denied(HTTPStatus.SERVICE_UNAVAILABLE, f"Failed to get channels: {error}") from None
    return answer(Channels(found, len(found)), "Active channels retrieved successfully")


async def _realtime(services: Services, _: Exchange) -> Reply:
    try:
        channels = await _load_channels(services)
    except AmiError:
        channels = ()
    zone, now = zone_of(services), services.now()
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    today = sum_up(await services.store.read(sum_report, ReportQuery(since=midnight.timestamp())))
    stats = TodayStats(today.total_calls, today.answered, today.no_answer, today.busy, today.failed)
    campaigns = await load_rows_with_stats(services, "running")
    told = Realtime(campaigns, channels, len(channels), stats, tell_known_time(now, zone))
    return answer(told, "Real-time data retrieved successfully")


def _declare(
    name: Literal["status", "channels", "realtime"], summary: str, handler: Any, kind: Any, **more: Any
) -> Any:
    return declare(
        "GET", f"/monitoring/{name}", f"monitoring/{name}", summary, handler, f"read_{name}", (Answer[kind], f"{name.title()}Answer"),
        **more,
    )  # fmt: skip


ROUTES: Final = (
    _declare("status", "Whether Asterisk and the database answer.", _status, SystemStatus),
    _declare("channels", "Channels that are up.", _channels, Channels, raises=(HTTPStatus.SERVICE_UNAVAILABLE,)),
    _declare("realtime", "Running campaigns, channels, today's calls.", _realtime, Realtime),
)
