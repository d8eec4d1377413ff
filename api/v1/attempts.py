"""Attempts: every call of every campaign and what became of it, also of campaigns that are gone; only read here."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field, StringConstraints

from api.csv_stream import CSV, stream_csv
from api.declare import PREFIX, Frozen, Reply, Route, Shown
from api.errors import Refused
from api.exchange import Exchange, Services
from api.times import show_times, time_of, with_times
from api.v1.campaigns import ONE as CAMPAIGN
from api.v1.campaigns import campaign_id_of, read_id
from tandem.domain.disposition import Disposition
from tandem.store.attempt_pages import MAX_PAGE, AttemptQuery, load_attempt, load_attempts
from tandem.store.attempts import ATTEMPT_COLUMNS, Attempt
from tandem.store.campaigns import load_campaign

_PATH: Final = f"{PREFIX}/attempts"
_MISSING: Final = (HTTPStatus.NOT_FOUND,)
# What only we understand.
_LEFT_OUT: Final = frozenset({"epoch", "node"})
_EXPORTED: Final = tuple(name for name in ATTEMPT_COLUMNS if name not in _LEFT_OUT)

AttemptShown: Final[Any] = with_times(Attempt, "CampaignAttempt", _LEFT_OUT)
_Prefix = Annotated[str, StringConstraints(pattern=r"^(\+?[0-9*#]{1,24})?$")]


class ExportQuery(Frozen):
    """Which attempts. since, until: when they began; phone_number: how it begins; is_open: under way, or over."""

    number_id: Annotated[Annotated[int | None, Field(ge=1, le=2**62)], Field(description="Of one number.")] = None
    disposition: Annotated[Disposition | None, Field(description="With one outcome only.")] = None
    phone_number: Annotated[_Prefix, Field(description="How the number begins.")] = ""
    since: Annotated[AwareDatetime | None, Field(description="Begun then or later.")] = None
    until: Annotated[AwareDatetime | None, Field(description="Begun before.")] = None
    is_open: Annotated[bool | None, Field(description="Under way (true), or over (false).")] = None
    newest_first: Annotated[bool, Field(description="The order: by start, newest or oldest first.")] = True


class AttemptsQuery(ExportQuery):
    """A page of them. after_id: the last attempt_id of the page before."""

    after_id: Annotated[Annotated[int, Field(ge=0, le=2**62)], Field(description="The last id of the page before.")] = 0
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_PAGE)], Field(description="How many at most.")] = 100


class AllAttemptsQuery(AttemptsQuery):
    """Of one campaign, or of all."""

    campaign_id: Annotated[Annotated[int | None, Field(ge=1, le=2**62)], Field(description="Of one campaign.")] = None


class AllExportQuery(ExportQuery):
    """Of one campaign, or of all."""

    campaign_id: Annotated[Annotated[int | None, Field(ge=1, le=2**62)], Field(description="Of one campaign.")] = None


@dataclass(frozen=True, slots=True)
class AttemptPage:
    """Some of the attempts; next_after_id begins the next page, null at the end."""

    items: tuple[AttemptShown, ...]
    limit: int
    next_after_id: int | None


def _read_query(query: Any, **more: Any) -> AttemptQuery:
    given = query.model_dump() | more
    for name in ("since", "until"):
        given[name] = given[name].timestamp() if given[name] is not None else None
    return AttemptQuery(**given)


async def _page(services: Services, query: AttemptQuery) -> Reply:
    found = await services.store.read(load_attempts, query)
    after = found[-1].attempt_id if len(found) == query.limit else None
    return Reply(AttemptPage(tuple(show_times(AttemptShown, one) for one in found), query.limit, after))


async def _list_all(services: Services, exchange: Exchange) -> Reply:
    return await _page(services, _read_query(exchange.query))


async def _list(services: Services, exchange: Exchange) -> Reply:
    campaign_id = campaign_id_of(exchange)
    await services.store.read(load_campaign, campaign_id)
    return await _page(services, _read_query(exchange.query, campaign_id=campaign_id))


async def _get(services: Services, exchange: Exchange) -> Reply:
    found = await services.store.read(load_attempt, read_id(exchange.path["attempt_id"], "attempt"))
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such attempt")
    return Reply(show_times(AttemptShown, found))


async def _export(services: Services, exchange: Exchange) -> Reply | None:
    async def pages() -> AsyncIterator[list[list[Any]]]:
        after_id: int | None = 0
        while after_id is not None:
            query = _read_query(exchange.query, after_id=after_id, limit=MAX_PAGE)
            found = await services.store.read(load_attempts, query)
            after_id = found[-1].attempt_id if len(found) == MAX_PAGE else None
            if found:
                yield [_row_of(attempt) for attempt in found]

    await stream_csv(exchange.request, "attempts.csv", _EXPORTED, pages())
    return None


def _row_of(attempt: Attempt) -> list[Any]:
    row = []
    for name in _EXPORTED:
        value = getattr(attempt, name)
        at = time_of(value) if name.endswith("_at") else None
        row.append(at.isoformat() if at is not None else value)
    return row


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="attempts/read", summary="Calls of campaigns, newest first.", handler=_list_all, tag="attempts",
        operation="list_attempts", query=AllAttemptsQuery, answer=Shown(AttemptPage),
    ),
    Route(
        method="GET", path=f"{_PATH}/export", permission="attempts/read", summary="Calls of campaigns as CSV.", handler=_export,
        tag="attempts", operation="export_attempts", query=AllExportQuery, answer=Shown(str, media_type=CSV),
    ),
    Route(
        method="GET", path=f"{_PATH}/{{attempt_id}}", permission="attempts/read", summary="One call of a campaign.", handler=_get,
        tag="attempts", operation="get_attempt", answer=Shown(AttemptShown), raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="GET", path=f"{CAMPAIGN}/attempts", permission="attempts/read", summary="Calls of a campaign, newest first.", handler=_list,
        tag="attempts", operation="list_campaign_attempts", query=AttemptsQuery, answer=Shown(AttemptPage), raises=_MISSING,
    ),
)  # fmt: skip
