"""CSV files of numbers into campaigns: begun by a request, read beside calls, followed by its report; never keeps a client waiting for all of it."""

from collections.abc import Awaitable
from http import HTTPStatus
from typing import Annotated, Any, Final, cast
from zoneinfo import ZoneInfo

import orjson
from pydantic import AfterValidator, Field
from twisted.internet.defer import Deferred

from api.csv_stream import CSV
from api.declare import Body, Frozen, Reply, Route, Shown, Whole
from api.errors import Refused, refuse_fields
from api.exchange import Commit, Exchange, Services
from api.times import show_times, with_times
from api.v1.campaigns import ONE as CAMPAIGN
from api.v1.campaigns import campaign_id_of
from tandem.domain.fields import TimeZone
from tandem.domain.number_files import Delimiter, Encoding, FileOptions
from tandem.store.imports import ImportReport

_PATH: Final = f"{CAMPAIGN}/imports"
_MISSING: Final = (HTTPStatus.NOT_FOUND,)
_MAX_FILE: Final = 1024 * 1024 * 1024

ImportShown: Final[Any] = with_times(ImportReport, "Import")


def _check_columns(value: str) -> str:
    try:
        columns = orjson.loads(value) if value else {}
    except orjson.JSONDecodeError:
        raise ValueError('must be JSON such as {"phone_number": "Telefon"}') from None
    if not isinstance(columns, dict) or not all(isinstance(one, str) for one in columns.values()):
        raise ValueError("must be an object of texts")
    return value


class ImportQuery(Frozen):
    """How to read the file; what is not said is found out."""

    preview: Annotated[bool, Field(description="Look at every row and change nothing.")] = False
    dedupe: Annotated[bool, Field(description="Leave out what is on the list already, or twice in the file.")] = True
    columns: Annotated[
        str,
        Field(
            max_length=10_000,
            description='JSON: which column is what, as in {"phone_number": "Telefon", "data.town": "Ort"}.',
        ),
        AfterValidator(_check_columns),
    ] = ""
    delimiter: Annotated[
        Delimiter | None, Field(description="What parts the fields; found out by itself where it is left out.")
    ] = None
    encoding: Annotated[
        Encoding | None, Field(description="Of the text; found out by itself where it is left out.")
    ] = None
    header: Annotated[bool | None, Field(description="Whether the first line names the columns.")] = None
    time_zone: Annotated[TimeZone | None, Field(description="Of times without an offset; else the PBX's own.")] = None
    list_id: Annotated[int | None, Field(ge=1, le=2**62, description="The list of the campaign that they are of.")] = (
        None
    )
    wait_s: Annotated[float, Field(ge=0, le=30, description="How long to wait for the end before answering.")] = 2.0


async def _begin(services: Services, exchange: Exchange) -> Reply:
    query: ImportQuery = exchange.query
    campaign_id = campaign_id_of(exchange)
    options = FileOptions(
        columns=orjson.loads(query.columns) if query.columns else {},
        delimiter=query.delimiter,
        encoding=query.encoding,
        has_header=query.header,
        list_id=query.list_id,
        zone=_read_zone(query.time_zone or services.live.current.general.time_zone),
    )

    def reply(_db: Any, report: ImportReport) -> Reply:
        return Reply(_show(report), HTTPStatus.ACCEPTED, _location(report))

    commit: Commit[ImportReport] = Commit(exchange, f"campaigns/{campaign_id}/imports", reply)
    report = await services.imports.begin(
        campaign_id,
        exchange.body,
        options,
        author=exchange.who.name,
        commit=None if query.preview else commit,
        dedupe=query.dedupe,
    )
    await _wait(services.imports.wait(report.import_id), query.wait_s)
    report = await services.imports.find(campaign_id, report.import_id) or report
    return Reply(_show(report), HTTPStatus.ACCEPTED, _location(report))


def _read_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise refuse_fields([("time_zone", "is no time zone of the IANA database (such as Europe/Berlin)")]) from None


async def _wait(ending: Awaitable[None], wait_s: float) -> None:
    """Until it ends, or for so long; it goes on all the same."""
    from twisted.internet import reactor  # noqa: PLC0415 - the application chooses the reactor before

    waiting: Deferred[Any] = Deferred.fromCoroutine(cast("Any", ending))
    await waiting.addTimeout(wait_s, cast("Any", reactor), onTimeoutCancel=lambda *_: None)


def _location(report: ImportReport) -> tuple[tuple[str, str], ...]:
    return (("location", f"{_PATH}/{report.import_id}".replace("{campaign_id}", str(report.campaign_id))),)


def _show(report: ImportReport) -> Any:
    return show_times(ImportShown, report)


async def _list(services: Services, exchange: Exchange) -> Reply:
    return Reply(Whole(tuple(map(_show, await services.imports.list_all(campaign_id_of(exchange))))))


async def _find(services: Services, exchange: Exchange) -> ImportReport:
    report: ImportReport | None = await services.imports.find(campaign_id_of(exchange), exchange.path["import_id"])
    if report is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such import")
    return report


async def _get(services: Services, exchange: Exchange) -> Reply:
    return Reply(_show(await _find(services, exchange)))


async def _cancel(services: Services, exchange: Exchange) -> Reply:
    report = await _find(services, exchange)
    if not services.imports.cancel(report.import_id):
        raise Refused(HTTPStatus.CONFLICT, f"this import is {report.state}")
    gone = Reply(None, HTTPStatus.NO_CONTENT)
    await exchange.write(lambda _: (None, gone), f"campaigns/{report.campaign_id}/imports/{report.import_id}")
    return gone


_SHOWN: Final = Shown(ImportShown)

ROUTES: Final = (
    Route(
        is_scoped=True, method="POST", path=f"{CAMPAIGN}/numbers/import", permission="numbers/import", tag="numbers", operation="import_numbers",
        summary="Read a CSV file of numbers into a campaign, or look at what that would do.", handler=_begin, query=ImportQuery,
        body=Body(str, lambda value: value, media_type=CSV, is_file=True), answer=_SHOWN, status=HTTPStatus.ACCEPTED,
        max_body=_MAX_FILE, arrival_s=600.0, raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="GET", path=_PATH, permission="numbers/read", summary="The files that were read into a campaign, newest first.",
        handler=_list, tag="numbers", operation="list_imports", answer=Shown(Whole[ImportShown], name="ImportList"), raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="GET", path=f"{_PATH}/{{import_id}}", permission="numbers/read", summary="How far a file is, and what became of its rows.",
        handler=_get, tag="numbers", operation="get_import", answer=_SHOWN, raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="DELETE", path=f"{_PATH}/{{import_id}}", permission="numbers/import", handler=_cancel, tag="numbers",
        operation="cancel_import", summary="End the reading of a file; what was added stays.", status=HTTPStatus.NO_CONTENT,
        raises=(*_MISSING, HTTPStatus.CONFLICT),
    ),
)  # fmt: skip
