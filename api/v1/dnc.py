"""Lists of numbers that must not be called: `global` holds for every campaign, others for those that name them; never dials.

A number is on a list under its key (E.164 digits without +): however it is written, it is found.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, BinaryIO, Final

from pydantic import Field, StringConstraints
from twisted.internet.threads import deferToThread

from api.csv_stream import CSV
from api.declare import PREFIX, Body, Frozen, Page, Reply, Route, Shown, model_body
from api.errors import Refused
from api.exchange import Commit, Exchange, Services
from api.listing import list_query, make_page
from api.times import show_times, with_times
from tandem.domain.number_files import BadRow, FileOptions, NumberFile
from tandem.store.dnc import MAX_PAGE, DncList, DncNumber, load_dnc_lists, load_dnc_number, load_dnc_numbers

_PATH: Final = f"{PREFIX}/dnc"
_ONE: Final = f"{_PATH}/{{name}}"
_NUMBERS: Final = f"{_ONE}/numbers"
_MISSING: Final = (HTTPStatus.NOT_FOUND,)
MAX_NUMBERS: Final = 10_000
_MAX_FILE: Final = 64 * 1024 * 1024
_MAX_TOLD: Final = 100

_Number = Annotated[str, StringConstraints(pattern=r"^\+?[0-9]{1,24}$")]
ListShown: Final[Any] = with_times(DncList, "DncListShown")
BlockedShown: Final[Any] = with_times(DncNumber, "BlockedNumber")


class NewList(Frozen):
    """A list."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]


class NumbersToBlock(Frozen):
    """Numbers as they are dialled."""

    numbers: Annotated[tuple[_Number, ...], Field(min_length=1, max_length=MAX_NUMBERS)]


class NumbersQuery(Frozen):
    """A page. after: the last number of the page before."""

    after: Annotated[
        Annotated[str, StringConstraints(max_length=40)], Field(description="The last number of the page before.")
    ] = ""
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_PAGE)], Field(description="How many at most.")] = 100


@dataclass(frozen=True, slots=True)
class BlockedPage:
    """Some of the numbers of a list, in order."""

    items: tuple[BlockedShown, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """How many numbers were put on the list or taken off it; the others were so already."""

    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class ListImported:
    """What became of a file's rows; problems: the first of those that were refused."""

    added: int
    duplicates: int
    invalid: int
    problems: tuple[BadRow, ...]


async def _list(services: Services, exchange: Exchange) -> Reply:
    found = await services.store.read(load_dnc_lists)
    return Reply(make_page([show_times(ListShown, one) for one in found], exchange.query, "name"))


async def _create(services: Services, exchange: Exchange) -> Reply:
    name = exchange.body.name

    def reply(_db: Any, made: DncList) -> Reply:
        return Reply(show_times(ListShown, made), HTTPStatus.CREATED, (("location", f"{_PATH}/{name}"),))

    commit: Commit[DncList] = Commit(exchange, f"dnc/{name}", reply)
    await services.campaigns.create_list(name, commit=commit)
    return commit.reply


async def _delete(services: Services, exchange: Exchange) -> Reply:
    gone = Reply(None, HTTPStatus.NO_CONTENT)
    commit: Commit[None] = Commit(exchange, f"dnc/{exchange.path['name']}", lambda _db, _: gone)
    await services.campaigns.delete_list(exchange.path["name"], commit=commit)
    return gone


async def _list_numbers(services: Services, exchange: Exchange) -> Reply:
    query: NumbersQuery = exchange.query
    found = await services.store.read(load_dnc_numbers, exchange.path["name"], query.after, query.limit)
    return Reply(BlockedPage(tuple(show_times(BlockedShown, one) for one in found), query.limit))


async def _contains(services: Services, exchange: Exchange) -> Reply:
    name, key = exchange.path["name"], services.campaigns.make_key()(exchange.path["number"])

    found = await services.store.read(load_dnc_number, name, key)
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "this number is not on the list")
    return Reply(show_times(BlockedShown, found))


def _tell_changed(total: int, status: int = HTTPStatus.OK) -> Any:
    return lambda _db, changed: Reply(Blocked(changed, total - changed), status)


async def _add(services: Services, exchange: Exchange) -> Reply:
    name, numbers = exchange.path["name"], exchange.body.numbers
    commit: Commit[int] = Commit(exchange, f"dnc/{name}", _tell_changed(len(numbers)))
    await services.campaigns.block_numbers(name, numbers, author=exchange.who.name, commit=commit)
    return commit.reply


async def _remove(services: Services, exchange: Exchange) -> Reply:
    name = exchange.path["name"]

    def reply(_db: Any, changed: int) -> Reply:
        if not changed:
            raise Refused(HTTPStatus.NOT_FOUND, "this number is not on the list")
        return Reply(None, HTTPStatus.NO_CONTENT)

    commit: Commit[int] = Commit(exchange, f"dnc/{name}", reply)
    await services.campaigns.unblock_numbers(name, [exchange.path["number"]], commit=commit)
    return commit.reply


async def _import(services: Services, exchange: Exchange) -> Reply:
    name = exchange.path["name"]
    numbers, bad = await deferToThread(_read_file, exchange.body)

    def reply(_db: Any, changed: int) -> Reply:
        return Reply(ListImported(changed, len(numbers) - changed, len(bad), tuple(bad[:_MAX_TOLD])))

    commit: Commit[int] = Commit(exchange, f"dnc/{name}", reply)
    await services.campaigns.block_numbers(name, numbers, author=exchange.who.name, commit=commit)
    return commit.reply


def _read_file(file: BinaryIO) -> tuple[list[str], list[BadRow]]:
    """The numbers of a CSV file, or of one with a number a line; in a thread."""
    numbers: list[str] = []
    bad: list[BadRow] = []
    with file:
        for row in NumberFile(file, FileOptions()).rows():
            if isinstance(row, BadRow):
                bad.append(row)
            else:
                numbers.append(row[1].phone_number)
    return numbers, bad


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="dnc/read", summary="Lists of numbers that must not be called.", handler=_list, tag="dnc",
        operation="list_dnc_lists", query=list_query(ListShown, "name"), answer=Shown(Page[ListShown], name="DncListPage"),
    ),
    Route(
        method="POST", path=_PATH, permission="dnc/create", summary="Make a list.", handler=_create, tag="dnc", operation="create_dnc_list",
        body=model_body(NewList), answer=Shown(ListShown), status=HTTPStatus.CREATED,
    ),
    Route(
        method="DELETE", path=_ONE, permission="dnc/delete", summary="Delete a list that no campaign names; never global.", handler=_delete,
        tag="dnc", operation="delete_dnc_list", status=HTTPStatus.NO_CONTENT, raises=(*_MISSING, HTTPStatus.CONFLICT),
    ),
    Route(
        method="GET", path=_NUMBERS, permission="dnc/read", summary="The numbers of a list.", handler=_list_numbers, tag="dnc",
        operation="list_dnc_numbers", query=NumbersQuery, answer=Shown(BlockedPage), raises=_MISSING,
    ),
    Route(
        method="POST", path=_NUMBERS, permission="dnc/create", summary="Put numbers on a list; from now on they are not dialled.",
        handler=_add, tag="dnc", operation="create_dnc_numbers", body=model_body(NumbersToBlock), answer=Shown(Blocked), raises=_MISSING,
    ),
    Route(
        method="POST", path=f"{_NUMBERS}/import", permission="dnc/create", summary="Put the numbers of a CSV file on a list.",
        handler=_import, tag="dnc", operation="import_dnc_numbers", body=Body(str, lambda value: value, media_type=CSV, is_file=True),
        answer=Shown(ListImported), max_body=_MAX_FILE, arrival_s=120.0, raises=_MISSING,
    ),
    Route(
        method="GET", path=f"{_NUMBERS}/{{number}}", permission="dnc/read", summary="Whether a number is on a list.", handler=_contains,
        tag="dnc", operation="get_dnc_number", answer=Shown(BlockedShown), raises=_MISSING,
    ),
    Route(
        method="DELETE", path=f"{_NUMBERS}/{{number}}", permission="dnc/delete", summary="Take a number off a list.", handler=_remove,
        tag="dnc", operation="delete_dnc_number", status=HTTPStatus.NO_CONTENT, raises=_MISSING,
    ),
)  # fmt: skip
