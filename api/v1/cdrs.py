"""CDRs: every call of the PBX, joined; only read here."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field, StringConstraints

from api.csv_stream import CSV, stream_csv
from api.declare import PREFIX, Frozen, Reply, Route, Shown
from api.errors import Refused
from api.exchange import Exchange, Services
from tandem.domain.cdr import Cdr, Direction
from tandem.domain.disposition import Disposition
from tandem.store.cdr_reports import MAX_ROWS, CdrCount, CountedBy, count_cdrs_by
from tandem.store.cdrs import MAX_PAGE, CdrQuery, count_cdrs, load_cdr, load_cdrs

_Number = Annotated[str, StringConstraints(max_length=40)]
_Label = Annotated[str, StringConstraints(max_length=80)]
# A call's legs are no cell.
_EXPORTED: Final = tuple(field.name for field in fields(Cdr) if field.name != "legs")


class ExportQuery(Frozen):
    """Which calls."""

    since: Annotated[AwareDatetime | None, Field(description="Begun not before.")] = None
    until: Annotated[AwareDatetime | None, Field(description="Begun before.")] = None
    direction: Annotated[Direction | None, Field(description="As seen from the PBX.")] = None
    disposition: Annotated[Disposition | None, Field(description="How it ended.")] = None
    caller: Annotated[_Number, Field(description="How the caller's number begins.")] = ""
    called: Annotated[_Number, Field(description="How the called number begins.")] = ""
    project: Annotated[_Label, Field(description="The project of whoever placed it.")] = ""
    external_id: Annotated[_Label, Field(description="What whoever placed it calls it.")] = ""
    did: Annotated[_Label, Field(description="The DID by which it came in.")] = ""
    is_recorded: Annotated[bool | None, Field(description="Whether there are recordings of it.")] = None
    has_transcription: Annotated[bool | None, Field(description="Whether a transcription was added to it.")] = None
    newest_first: Annotated[bool, Field(description="Or oldest first.")] = True


class CdrsQuery(ExportQuery):
    """Which calls, and which page of them."""

    after_id: Annotated[
        str, StringConstraints(max_length=80), Field(description="The last call_id of the page before.")
    ] = ""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE, description="How many at most.")] = 100


class CountQuery(Frozen):
    """What is counted together, which calls, and which page."""

    by: Annotated[
        CountedBy, Field(description="What the calls of a row have in common; a call that has none is in no row.")
    ]
    since: Annotated[AwareDatetime | None, Field(description="Begun not before.")] = None
    until: Annotated[AwareDatetime | None, Field(description="Begun before.")] = None
    direction: Annotated[Direction | None, Field(description="As seen from the PBX.")] = None
    project: Annotated[_Label, Field(description="The project of whoever placed it.")] = ""
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS, description="How many at most.")] = 100
    offset: Annotated[int, Field(ge=0, le=10**9, description="How many to pass over.")] = 0


@dataclass(frozen=True, slots=True)
class CdrPage:
    """Some of the CDRs; the next page begins after the last call_id of this one. `total` is how many there are in all."""

    items: tuple[Cdr, ...]
    total: int
    limit: int


@dataclass(frozen=True, slots=True)
class CdrCounts:
    """Calls by what they have in common, in the order of their keys. `total` is how many keys there are in all."""

    items: tuple[CdrCount, ...]
    total: int
    limit: int


async def _list(services: Services, exchange: Exchange) -> Reply:
    query = CdrQuery(**exchange.query.model_dump())

    def read(db: Any) -> tuple[int, list[Cdr]]:
        return count_cdrs(db, query), load_cdrs(db, query)

    total, found = await services.store.read(read)
    return Reply(CdrPage(tuple(found), total, query.limit))


async def _export(services: Services, exchange: Exchange) -> Reply | None:
    given = exchange.query.model_dump()

    async def pages() -> AsyncIterator[list[list[Any]]]:
        query = CdrQuery(**given, limit=MAX_PAGE)
        while found := await services.store.read(load_cdrs, query):
            yield [[_cell_of(getattr(cdr, name)) for name in _EXPORTED] for cdr in found]
            query = replace(query, after_id=found[-1].call_id, after_start=found[-1].started_at)

    await stream_csv(exchange.request, "cdrs.csv", _EXPORTED, pages())
    return None


def _cell_of(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


async def _count(services: Services, exchange: Exchange) -> Reply:
    given = exchange.query.model_dump()
    by, limit, offset = given.pop("by"), given.pop("limit"), given.pop("offset")
    total, found = await services.store.read(count_cdrs_by, CdrQuery(**given), by, limit, offset)
    return Reply(CdrCounts(tuple(found), total, limit))


async def _get(services: Services, exchange: Exchange) -> Reply:
    cdr = await services.store.read(load_cdr, exchange.path["call_id"])
    if cdr is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such call")
    return Reply(cdr)


ROUTES: Final = (
    Route(
        method="GET", path=f"{PREFIX}/cdrs", permission="cdrs/read", summary="Calls that are over.", handler=_list, tag="cdrs",
        operation="list_cdrs", query=CdrsQuery, answer=Shown(CdrPage),
    ),
    Route(
        method="GET", path=f"{PREFIX}/cdrs/export", permission="cdrs/read", summary="Calls that are over, as CSV.", handler=_export, tag="cdrs",
        operation="export_cdrs", query=ExportQuery, answer=Shown(str, media_type=CSV),
    ),
    Route(
        method="GET", path=f"{PREFIX}/cdrs/count", permission="cdrs/read", summary="Calls that are over, counted by queue, endpoint and more.",
        handler=_count, tag="cdrs", operation="count_cdrs", query=CountQuery, answer=Shown(CdrCounts),
    ),
    Route(
        method="GET", path=f"{PREFIX}/cdrs/{{call_id}}", parameters={"call_id": "The linkedid of its first channel; of a placed call its id."}, permission="cdrs/read", summary="A call with its legs.", handler=_get,
        tag="cdrs", operation="get_cdr", answer=Shown(Cdr), raises=(HTTPStatus.NOT_FOUND,),
    ),
)  # fmt: skip
