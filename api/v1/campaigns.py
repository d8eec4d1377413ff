"""Campaigns: list, make, change, delete; start, stop, pause, resume, reset. Never dials: `tandem.campaigning` tells whoever does."""

from collections.abc import Awaitable, Callable
from dataclasses import fields
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Self

import orjson
from pydantic import Field, StringConstraints, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from api.declare import PREFIX, Body, Frozen, Page, Reply, Route, Shown, all_optional, model_body, read_object, validate
from api.errors import Refused
from api.exchange import Commit, Exchange, Services
from api.listing import list_query, make_page
from api.times import time_of
from tandem.domain.campaigns import Campaign, CampaignCounts, CampaignState, NewNumber, SavedCampaign
from tandem.domain.fields import PhoneNumber
from tandem.domain.why import Reason, explain_campaign
from tandem.store.attempt_claims import Claim
from tandem.store.campaigns import load_campaign, load_campaigns, load_counts
from tandem.store.numbers import count_waiting
from tandem.store.user_groups import admit_campaign

PATH: Final = f"{PREFIX}/campaigns"
ONE: Final = f"{PATH}/{{campaign_id}}"
_MISSING: Final = (HTTPStatus.NOT_FOUND,)
_EDIT_FAILURES: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED)
_NO_COUNTS: Final = CampaignCounts()
_CAMPAIGN: Final[TypeAdapter[Campaign]] = TypeAdapter(Campaign)
_CAMPAIGN_FIELDS: Final = tuple(field.name for field in fields(Campaign))
_MAX_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignShown(Campaign):
    """A campaign with where it is. author: who made it; total_numbers: how many are on its list; version: counts changes."""

    campaign_id: int
    state: CampaignState
    author: str
    created_at: datetime
    updated_at: datetime | None
    version: int
    total_numbers: int
    counts: CampaignCounts

    @classmethod
    def of(cls, saved: SavedCampaign, counts: CampaignCounts | None) -> "CampaignShown":
        """A stored one."""
        counts = counts or _NO_COUNTS
        return cls(
            **{name: getattr(saved.campaign, name) for name in _CAMPAIGN_FIELDS},
            campaign_id=saved.campaign_id,
            state=saved.state,
            author=saved.author,
            created_at=datetime.fromtimestamp(saved.created_at, UTC),
            updated_at=time_of(saved.updated_at),
            version=saved.version,
            total_numbers=counts.total,
            counts=counts,
        )


class Reset(Frozen):
    """How many numbers are pending again."""

    numbers: int = Field(ge=0)


def read_id(text: str, what: str) -> int:
    """The number in a path; Refused 404 for what is none."""
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or int(text) > _MAX_ID:
        raise Refused(HTTPStatus.NOT_FOUND, f"there is no such {what}")
    return int(text)


def campaign_id_of(exchange: Exchange) -> int:
    """Which campaign the path names; one that their group does not show is none."""
    campaign_id = read_id(exchange.path["campaign_id"], "campaign")
    check_campaign_seen(exchange, campaign_id)
    return campaign_id


def check_campaign_seen(exchange: Exchange, campaign_id: int, what: str = "campaign") -> None:
    """Refused 404 where the group of whoever asks does not show it, as if it were not there."""
    if not exchange.who.sees_campaign(campaign_id):
        raise Refused(HTTPStatus.NOT_FOUND, f"there is no such {what}")


def _tag(exchange: Exchange, saved: SavedCampaign) -> str:
    return exchange.tag(b"campaign %d %d" % (saved.campaign_id, saved.version))


def _check(value: Any) -> Campaign:
    return validate(_CAMPAIGN, Campaign, value)


def _give(
    exchange: Exchange, saved: SavedCampaign, counts: CampaignCounts | None, status: int = HTTPStatus.OK
) -> Reply:
    headers = [("etag", _tag(exchange, saved))]
    if status == HTTPStatus.CREATED:
        headers.append(("location", f"{PATH}/{saved.campaign_id}"))
    return Reply(CampaignShown.of(saved, counts), status, tuple(headers))


def _commit(exchange: Exchange, status: int = HTTPStatus.OK) -> Commit[SavedCampaign]:
    """A transaction that answers the campaign as it is after it."""

    def reply(db: Any, saved: SavedCampaign) -> Reply:
        return _give(exchange, saved, load_counts(db, [saved.campaign_id]).get(saved.campaign_id), status)

    return Commit(exchange, lambda saved: f"campaigns/{saved.campaign_id}", reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsNow:
    """Where the numbers are. waiting: those of the pending ones that are not due, by what they wait for; reasons: what keeps the others."""

    total_numbers: int
    counts: CampaignCounts
    due: int
    waiting: dict[str, int]
    reasons: tuple[Reason, ...]


# --------------------------------------------------------------------------------------------------------- handlers


async def _list(services: Services, exchange: Exchange) -> Reply:
    def read(db: Any) -> tuple[list[SavedCampaign], dict[int, CampaignCounts]]:
        return load_campaigns(db), load_counts(db)

    found, counts = await services.store.read(read)
    shown = [
        CampaignShown.of(saved, counts.get(saved.campaign_id))
        for saved in found
        if exchange.who.sees_campaign(saved.campaign_id)
    ]
    return Reply(make_page(shown, exchange.query, "campaign_id"))


async def _get(services: Services, exchange: Exchange) -> Reply:
    campaign_id = campaign_id_of(exchange)

    def read(db: Any) -> tuple[SavedCampaign, CampaignCounts | None]:
        return load_campaign(db, campaign_id), load_counts(db, [campaign_id]).get(campaign_id)

    return _give(exchange, *await services.store.read(read))


async def _get_counts(services: Services, exchange: Exchange) -> Reply:
    campaign_id, now = campaign_id_of(exchange), services.now().timestamp()

    def read(db: Any) -> tuple[SavedCampaign, CampaignCounts, dict[str, int]]:
        saved = load_campaign(db, campaign_id)
        counts = load_counts(db, [campaign_id]).get(campaign_id) or _NO_COUNTS
        return saved, counts, count_waiting(db, campaign_id, now)

    saved, counts, waiting = await services.store.read(read)
    reasons = explain_campaign(saved, services.dialer.weigh(saved))
    due = counts.pending - sum(waiting.values())
    return Reply(CountsNow(total_numbers=counts.total, counts=counts, due=due, waiting=waiting, reasons=reasons))


async def _create(services: Services, exchange: Exchange) -> Reply:
    group, at = exchange.who.group, services.now().timestamp()

    def reply(db: Any, saved: SavedCampaign) -> Reply:
        if group is not None:
            admit_campaign(db, group.name, saved.campaign_id, at)
        return _give(exchange, saved, None, HTTPStatus.CREATED)

    commit: Commit[SavedCampaign] = Commit(exchange, lambda saved: f"campaigns/{saved.campaign_id}", reply)
    await services.campaigns.create(exchange.body, author=exchange.who.name, commit=commit)
    if group is not None and group.campaigns is not None:
        await services.authority.load()
    return commit.reply


async def _replace(services: Services, exchange: Exchange) -> Reply:
    return await _edit(services, exchange, lambda _: exchange.body)


async def _change(services: Services, exchange: Exchange) -> Reply:
    return await _edit(
        services, exchange, lambda saved: _check(orjson.loads(orjson.dumps(saved.campaign)) | exchange.body)
    )


async def _edit(services: Services, exchange: Exchange, make: Callable[[SavedCampaign], Campaign]) -> Reply:
    def decide(saved: SavedCampaign) -> Campaign:
        exchange.check_match(_tag(exchange, saved))
        return make(saved)

    commit = _commit(exchange)
    await services.campaigns.change(campaign_id_of(exchange), decide, commit=commit)
    return commit.reply


async def _delete(services: Services, exchange: Exchange) -> Reply:
    campaign_id = campaign_id_of(exchange)
    gone = Reply(None, HTTPStatus.NO_CONTENT)
    commit: Commit[None] = Commit(exchange, f"campaigns/{campaign_id}", lambda _db, _: gone)
    await services.campaigns.delete(
        campaign_id, commit=commit, check=lambda saved: exchange.check_match(_tag(exchange, saved))
    )
    return gone


async def _start(services: Services, exchange: Exchange) -> Reply:
    commit = _commit(exchange)
    await services.campaigns.start(campaign_id_of(exchange), exchange.who.reach, commit=commit)
    return commit.reply


def _turn(name: str) -> Callable[[Services, Exchange], Awaitable[Reply]]:
    """The handler of another change of state."""

    async def turn(services: Services, exchange: Exchange) -> Reply:
        commit = _commit(exchange)
        await getattr(services.campaigns, name)(campaign_id_of(exchange), commit=commit)
        return commit.reply

    return turn


async def _reset(services: Services, exchange: Exchange) -> Reply:
    campaign_id = campaign_id_of(exchange)
    commit: Commit[int] = Commit(exchange, f"campaigns/{campaign_id}", lambda _db, moved: Reply(Reset(numbers=moved)))
    await services.campaigns.reset(campaign_id, commit=commit)
    return commit.reply


class NumberToDial(Frozen):
    """For whom, and whom. agent: the extension of an endpoint; number_id, or a phone_number that the campaign gets if it has it not yet; without both the next that is due."""

    agent: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    number_id: Annotated[int, Field(ge=1, le=_MAX_ID)] | None = None
    phone_number: PhoneNumber | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.number_id is not None and self.phone_number is not None:
            raise ValueError("number_id and phone_number do not go together")
        return self

    @property
    def wanted(self) -> int | NewNumber | None:
        """As `Campaigns.dial_by_hand` takes it."""
        return self.number_id if self.phone_number is None else NewNumber(phone_number=self.phone_number)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialledByHand:
    """A call that is placed. call_id: of its attempt."""

    call_id: str
    number_id: int
    phone_number: str
    agent: str


async def _dial(services: Services, exchange: Exchange) -> Reply:
    campaign_id, wanted = campaign_id_of(exchange), exchange.body

    def reply(_db: Any, claim: Claim) -> Reply:
        dialled = DialledByHand(
            call_id=claim.call.call_id,
            number_id=claim.number.number_id,
            phone_number=claim.number.phone_number,
            agent=wanted.agent,
        )
        return Reply(dialled, HTTPStatus.ACCEPTED)

    commit: Commit[Claim] = Commit(exchange, lambda claim: f"numbers/{claim.number.number_id}", reply)
    await services.campaigns.dial_by_hand(campaign_id, wanted.agent, wanted.wanted, commit=commit)
    return commit.reply


# ----------------------------------------------------------------------------------------------------- declarations


_SHOWN: Final = Shown(CampaignShown)


def _action(name: str, summary: str) -> Route:
    return Route(
        is_scoped=True, method="POST", path=f"{ONE}/{name}", permission=f"campaigns/{name}", summary=summary, tag="campaigns",
        handler=_start if name == "start" else _turn(name), operation=f"{name}_campaign", answer=_SHOWN, etag=True,
        raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )  # fmt: skip


ROUTES: Final = (
    Route(
        is_scoped=True, method="GET", path=PATH, permission="campaigns/read", summary="List campaigns with their counts, newest first.", handler=_list,
        tag="campaigns", operation="list_campaigns", query=list_query(CampaignShown, "campaign_id", sort="-campaign_id"),
        answer=Shown(Page[CampaignShown], name="CampaignPage"),
    ),
    Route(
        is_scoped=True, method="POST", path=PATH, permission="campaigns/create", summary="Make a campaign; it does not dial before it is started.",
        handler=_create, tag="campaigns", operation="create_campaign", body=Body(Campaign, _check), answer=_SHOWN,
        status=HTTPStatus.CREATED, etag=True,
    ),
    Route(
        is_scoped=True, method="GET", path=ONE, permission="campaigns/read", summary="Read a campaign.", handler=_get, tag="campaigns",
        operation="get_campaign", answer=_SHOWN, raises=_MISSING, etag=True,
    ),
    Route(
        is_scoped=True, method="GET", path=f"{ONE}/counts", permission="campaigns/read", handler=_get_counts, tag="campaigns", operation="count_numbers",
        summary="Where a campaign's numbers are, and what keeps the pending ones from being dialled.", answer=Shown(CountsNow), raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="PUT", path=ONE, permission="campaigns/update", summary="Replace a campaign; while it is running only statuses, recycle rules, pause codes and description may differ.", handler=_replace,
        tag="campaigns", operation="replace_campaign", body=Body(Campaign, _check), answer=_SHOWN, raises=_EDIT_FAILURES, etag=True,
    ),
    Route(
        is_scoped=True, method="PATCH", path=ONE, permission="campaigns/update", summary="Change fields of a campaign; while it is running only statuses, recycle rules, pause codes and description.",
        handler=_change, tag="campaigns", operation="change_campaign", etag=True,
        body=Body(Campaign, read_object, schema=all_optional, name="CampaignChange"), answer=_SHOWN, raises=_EDIT_FAILURES,
    ),
    Route(
        is_scoped=True, method="DELETE", path=ONE, permission="campaigns/delete", handler=_delete, tag="campaigns", operation="delete_campaign",
        summary="Delete a campaign that is not running, with its numbers; its attempts stay.", status=HTTPStatus.NO_CONTENT,
        raises=_EDIT_FAILURES,
    ),
    _action("start", "Dial from now on, as far as whoever starts it may call."),
    _action("pause", "Dial no more; calls go on."),
    _action("resume", "Go on after a pause."),
    _action("stop", "Dial no more, hang up all calls, put what was not reached back to the beginning."),
    Route(
        is_scoped=True, method="POST", path=f"{ONE}/dial", permission="campaigns/dial", handler=_dial, tag="campaigns", operation="dial_by_hand",
        summary="Dial one number of a running campaign now, for one agent: whoever answers is connected with the agent's phone.",
        body=model_body(NumberToDial), answer=Shown(DialledByHand), status=HTTPStatus.ACCEPTED,
        raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
    ),
    Route(
        is_scoped=True, method="POST", path=f"{ONE}/reset", permission="campaigns/reset", handler=_reset, tag="campaigns", operation="reset_campaign",
        summary="Put every number back to the beginning, those that were reached too.", answer=Shown(Reset), raises=_MISSING,
    ),
)  # fmt: skip
