"""`/campaigns`: list, make, change, delete, start, stop, pause, resume, stats; every effect is one of `tandem.campaigning`."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel
from pydantic.dataclasses import dataclass

from api.compat.ari.menus import load_names
from api.compat.ari.speech import (
    Answer,
    Done,
    Lenient,
    answer,
    declare,
    deny,
    done,
    fields_body,
    need,
    read_id,
    tell_known_time,
    tell_time,
    zone_of,
)
from api.compat.ari.words import FIELDS, Dictionary
from api.declare import Reply
from api.exchange import Commit, Exchange, Services
from tandem.domain.campaigns import CampaignCounts, SavedCampaign
from tandem.store.campaigns import load_campaign, load_campaigns, load_counts, load_words

_NO_COUNTS: Final = CampaignCounts()
_REQUIRED: Final = ("name", "trunk_type", "trunk_value", "agent_dest_type", "agent_dest_value")


@dataclass(frozen=True, slots=True)
class Stats:
    """Numbers by where they are, and calls."""

    total: int
    pending: int
    calling: int
    answered: int
    completed: int
    failed: int
    no_answer: int
    busy: int
    total_calls: int
    answered_calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRow:
    """A campaign."""

    id: int
    name: str
    description: str
    trunk_type: str
    trunk_value: str
    callerid: str | None
    agent_dest_type: str
    agent_dest_value: str
    record_calls: int
    status: str
    concurrent_calls: int
    retry_times: int
    retry_delay: int
    dial_timeout: int
    call_timeout: int
    created_at: str
    updated_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignWithStats(CampaignRow):
    """A campaign with its counters."""

    stats: Stats


@dataclass(frozen=True, slots=True)
class CampaignState:
    """What a campaign does now."""

    campaign_id: int
    status: Literal["stopped", "running", "paused"]


class CampaignFields(BaseModel):
    """What a campaign is made of; only the first five are needed."""

    name: str
    trunk_type: Literal["custom", "pjsip", "sip"]
    trunk_value: str
    agent_dest_type: Literal["custom", "exten", "ivr", "queue"]
    agent_dest_value: str
    description: str = ""
    callerid: str | None = None
    record_calls: Literal[0, 1] = 0
    concurrent_calls: int = 1
    retry_times: int = 0
    retry_delay: int = 300
    dial_timeout: int = 30
    call_timeout: int = 3600


class CampaignChanges(BaseModel):
    """What changes; null changes nothing."""

    name: str | None = None
    trunk_type: Literal["custom", "pjsip", "sip"] | None = None
    trunk_value: str | None = None
    agent_dest_type: Literal["custom", "exten", "ivr", "queue"] | None = None
    agent_dest_value: str | None = None
    description: str | None = None
    callerid: str | None = None
    record_calls: Literal[0, 1] | None = None
    concurrent_calls: int | None = None
    retry_times: int | None = None
    retry_delay: int | None = None
    dial_timeout: int | None = None
    call_timeout: int | None = None


class StatusQuery(Lenient):
    """Only campaigns in this state; of one that does not exist there are none."""

    status: str = ""


def tell_stats(counts: CampaignCounts | None) -> Stats:
    """The counters."""
    counts = counts or _NO_COUNTS
    return Stats(**{name: getattr(counts, name) for name in Stats.__dataclass_fields__})


class _Teller:
    """Turns stored campaigns into rows."""

    def __init__(self, services: Services, menu_ids: Mapping[str, int]) -> None:
        self.dictionary = Dictionary(services.live.current, menu_ids)
        self.zone: ZoneInfo = zone_of(services)

    def fields(self, saved: SavedCampaign, words: Mapping[str, Any]) -> dict[str, Any]:
        """What a row holds."""
        return {
            "id": saved.campaign_id,
            **self.dictionary.tell(saved.campaign, words),
            "status": saved.state,
            "created_at": tell_known_time(saved.created_at, self.zone),
            "updated_at": tell_time(saved.updated_at, self.zone),
        }

    def row(self, db: Any, saved: SavedCampaign) -> CampaignRow:
        """A row, within a transaction."""
        return CampaignRow(**self.fields(saved, load_words(db, [saved.campaign_id]).get(saved.campaign_id, {})))


async def load_rows_with_stats(
    services: Services, state: str | None = None, campaign_ids: Collection[int] | None = None
) -> tuple[CampaignWithStats, ...]:
    """Campaigns, newest first, with their counters: three queries, whatever their number."""
    menu_ids = await load_names(services)

    def read(db: Any) -> tuple[list[SavedCampaign], Mapping[int, CampaignCounts], Mapping[int, Mapping[str, Any]]]:
        found = (
            [load_campaign(db, one) for one in campaign_ids] if campaign_ids is not None else load_campaigns(db, state)
        )
        ids = [saved.campaign_id for saved in found]
        return found, load_counts(db, ids), load_words(db, ids)

    found, counts, words = await services.store.read(read)
    teller = _Teller(services, menu_ids)
    return tuple(
        CampaignWithStats(
            **teller.fields(saved, words.get(saved.campaign_id, {})), stats=tell_stats(counts.get(saved.campaign_id))
        )
        for saved in found
    )


def campaign_id_of(exchange: Exchange) -> int:
    """Which campaign the path names."""
    return read_id(exchange.path["id"], "Campaign")


# --------------------------------------------------------------------------------------------------------- handlers


async def _list(services: Services, exchange: Exchange) -> Reply:
    status = exchange.query.status
    found = await load_rows_with_stats(services, status or None)
    return answer(found, "Campaigns retrieved successfully")


async def _get(services: Services, exchange: Exchange) -> Reply:
    (row,) = await load_rows_with_stats(services, campaign_ids=[campaign_id_of(exchange)])
    return answer(row, "Campaign retrieved successfully")


async def _create(services: Services, exchange: Exchange) -> Reply:
    given = exchange.body
    need(given, _REQUIRED)
    teller = _Teller(services, await load_names(services))
    campaign, words = teller.dictionary.read(given, None, {})
    commit: Commit[SavedCampaign] = Commit(
        exchange,
        lambda saved: f"campaigns/{saved.campaign_id}",
        lambda db, saved: answer(teller.row(db, saved), "Campaign created successfully", HTTPStatus.CREATED),
    )
    await services.campaigns.create(campaign, author=exchange.who.name, commit=commit, words=words)
    return commit.reply


async def _update(services: Services, exchange: Exchange) -> Reply:
    campaign_id, given = campaign_id_of(exchange), exchange.body
    teller = _Teller(services, await load_names(services))

    def read(db: Any) -> tuple[SavedCampaign, Mapping[str, Any]]:
        return load_campaign(db, campaign_id), load_words(db, [campaign_id])[campaign_id]

    saved, words = await services.store.read(read)
    if saved.state == "running":
        raise deny("Cannot update running campaign. Stop it first.")
    if all(given.get(name) is None for name in FIELDS):
        raise deny("No valid fields to update")
    campaign, words = teller.dictionary.read(given, saved.campaign, words)

    def decide(now: SavedCampaign) -> Any:
        if now.version != saved.version:
            raise deny("The campaign was changed meanwhile. Try again.")
        return campaign

    commit: Commit[SavedCampaign] = Commit(
        exchange,
        f"campaigns/{campaign_id}",
        lambda db, after: answer(teller.row(db, after), "Campaign updated successfully"),
    )
    await services.campaigns.change(campaign_id, decide, commit=commit, words=words)
    return commit.reply


async def _delete(services: Services, exchange: Exchange) -> Reply:
    campaign_id = campaign_id_of(exchange)
    gone = done("Campaign deleted successfully")
    commit: Commit[None] = Commit(exchange, f"campaigns/{campaign_id}", lambda _db, _: gone)
    await services.campaigns.delete(campaign_id, commit=commit)
    return gone


def _turn(name: str, word: str) -> Callable[[Services, Exchange], Awaitable[Reply]]:
    """The handler of a change of state."""

    async def turn(services: Services, exchange: Exchange) -> Reply:
        campaign_id = campaign_id_of(exchange)
        commit: Commit[SavedCampaign] = Commit(
            exchange,
            f"campaigns/{campaign_id}",
            lambda _db, saved: answer(CampaignState(campaign_id, saved.state), f"Campaign {word} successfully"),
        )
        reach = (exchange.who.reach,) if name == "start" else ()
        await getattr(services.campaigns, name)(campaign_id, *reach, commit=commit)
        return commit.reply

    return turn


async def _stats(services: Services, exchange: Exchange) -> Reply:
    campaign_id = campaign_id_of(exchange)

    def read(db: Any) -> CampaignCounts | None:
        load_campaign(db, campaign_id)
        return load_counts(db, [campaign_id]).get(campaign_id)

    return answer(tell_stats(await services.store.read(read)), "Campaign statistics retrieved successfully")


# ----------------------------------------------------------------------------------------------------- declarations

_ONE: Final = "/campaigns/{id}"
_LOST: Final = {"raises": (HTTPStatus.NOT_FOUND,)}


def _action(name: str, word: str, summary: str) -> Any:
    return declare(
        "POST", f"{_ONE}/{name}", f"campaigns/{name}", summary, _turn(name, word), f"{name}_campaign",
        (Answer[CampaignState], "CampaignStateAnswer"), **_LOST,
    )  # fmt: skip


ROUTES: Final = (
    declare(
        "GET", "/campaigns", "campaigns/list", "List campaigns with their counters, newest first.", _list, "list_campaigns",
        (Answer[tuple[CampaignWithStats, ...]], "CampaignList"), query=StatusQuery,
    ),
    declare(
        "POST", "/campaigns", "campaigns/create", "Make a campaign; it is stopped.", _create, "create_campaign",
        (Answer[CampaignRow], "CampaignAnswer"), body=fields_body(CampaignFields), status=HTTPStatus.CREATED,
    ),
    declare(
        "GET", _ONE, "campaigns/view", "Read a campaign with its counters.", _get, "get_campaign",
        (Answer[CampaignWithStats], "CampaignDetail"), **_LOST,
    ),
    declare(
        "PUT", _ONE, "campaigns/update", "Change fields of a campaign that is not running.", _update, "update_campaign",
        (Answer[CampaignRow], "CampaignAnswer"), body=fields_body(CampaignChanges), **_LOST,
    ),
    declare(
        "DELETE", _ONE, "campaigns/delete", "Delete a campaign that is not running, with its numbers.", _delete,
        "delete_campaign", Done, **_LOST,
    ),
    _action("start", "started", "Dial from now on."),
    _action("stop", "stopped", "Dial no more, hang up, put numbers that were not reached back to the beginning."),
    _action("pause", "paused", "Dial no more; calls go on."),
    _action("resume", "resumed", "Go on after a pause."),
    declare(
        "GET", f"{_ONE}/stats", "campaigns/stats", "Read the counters of a campaign.", _stats, "get_campaign_stats",
        (Answer[Stats], "StatsAnswer"), **_LOST,
    ),
)  # fmt: skip
