"""Lists that feed campaigns with numbers: list, make, change, delete. A list that is not active is not dialled; never holds numbers of its own."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints

from api.declare import PREFIX, Frozen, Page, Reply, Route, Shown, model_body
from api.exchange import Commit, Exchange, Services
from api.listing import list_query, make_page
from api.times import show_times, with_times
from api.v1.campaigns import check_campaign_seen, read_id
from tandem.domain.agent_statuses import check_label
from tandem.store.number_lists import NumberList, load_number_list, load_number_lists

_PATH: Final = f"{PREFIX}/lists"
_ONE: Final = f"{_PATH}/{{list_id}}"
_MISSING: Final = (HTTPStatus.NOT_FOUND,)
_PARAMETERS: Final = {"list_id": "The list's number."}
ListShown: Final[Any] = with_times(NumberList, "NumberListShown")

_Name = Annotated[str, StringConstraints(min_length=1, max_length=60), AfterValidator(check_label)]
_Prose = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Id = Annotated[int, Field(ge=1, le=2**62)]


class NewNumberList(Frozen):
    """A list. list_id: a number of one's own; without it the next is given."""

    campaign_id: _Id
    name: _Name
    description: _Prose = ""
    is_active: bool = True
    list_id: _Id | None = None


class NumberListChange(Frozen):
    """What changes. campaign_id: it feeds another campaign from now on, and takes its numbers along."""

    campaign_id: _Id | None = None
    name: _Name | None = None
    description: _Prose | None = None
    is_active: bool | None = None


async def _list_id_of(services: Services, exchange: Exchange) -> int:
    list_id = read_id(exchange.path["list_id"], "list")
    if exchange.who.campaigns is not None:
        one = await services.store.read(load_number_list, list_id)
        check_campaign_seen(exchange, one.campaign_id, "list")
    return list_id


def _show(_db: Any, one: NumberList) -> Reply:
    return Reply(show_times(ListShown, one))


async def _list(services: Services, exchange: Exchange) -> Reply:
    found = await services.store.read(load_number_lists)
    seen = [one for one in found if exchange.who.sees_campaign(one.campaign_id)]
    return Reply(make_page([show_times(ListShown, one) for one in seen], exchange.query, "list_id"))


async def _get(services: Services, exchange: Exchange) -> Reply:
    return _show(None, await services.store.read(load_number_list, await _list_id_of(services, exchange)))


async def _create(services: Services, exchange: Exchange) -> Reply:
    given = exchange.body.model_dump()
    check_campaign_seen(exchange, given["campaign_id"])

    def reply(_db: Any, made: NumberList) -> Reply:
        return Reply(show_times(ListShown, made), HTTPStatus.CREATED, (("location", f"{_PATH}/{made.list_id}"),))

    commit: Commit[NumberList] = Commit(exchange, lambda made: f"lists/{made.list_id}", reply)
    await services.campaigns.create_number_list(given.pop("campaign_id"), given.pop("name"), commit=commit, **given)
    return commit.reply


async def _change(services: Services, exchange: Exchange) -> Reply:
    list_id = await _list_id_of(services, exchange)
    if exchange.body.campaign_id is not None:
        check_campaign_seen(exchange, exchange.body.campaign_id)
    commit: Commit[NumberList] = Commit(exchange, f"lists/{list_id}", _show)
    await services.campaigns.change_number_list(list_id, commit=commit, **exchange.body.model_dump(exclude_unset=True))
    return commit.reply


async def _delete(services: Services, exchange: Exchange) -> Reply:
    list_id = await _list_id_of(services, exchange)
    gone = Reply(None, HTTPStatus.NO_CONTENT)
    commit: Commit[NumberList] = Commit(exchange, f"lists/{list_id}", lambda _db, _: gone)
    await services.campaigns.delete_number_lists([list_id], commit=commit)
    return gone


ROUTES: Final = (
    Route(
        is_scoped=True, method="GET", path=_PATH, permission="lists/read", summary="Lists that feed campaigns with numbers.", handler=_list, tag="lists",
        operation="list_number_lists", query=list_query(ListShown, "list_id"), answer=Shown(Page[ListShown], name="NumberListPage"),
    ),
    Route(
        is_scoped=True, method="POST", path=_PATH, permission="lists/create", summary="Make a list; numbers are added to its campaign with its list_id.",
        handler=_create, tag="lists", operation="create_number_list", body=model_body(NewNumberList), answer=Shown(ListShown),
        status=HTTPStatus.CREATED, raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    ),
    Route(
        is_scoped=True, method="GET", path=_ONE, permission="lists/read", summary="Read a list.", handler=_get, tag="lists", parameters=_PARAMETERS,
        operation="get_number_list", answer=Shown(ListShown), raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="PATCH", path=_ONE, permission="lists/update", handler=_change, tag="lists", operation="change_number_list",
        summary="Change a list: its numbers are dialled while it is active, by the campaign that it feeds.", parameters=_PARAMETERS,
        body=model_body(NumberListChange), answer=Shown(ListShown), raises=(*_MISSING, HTTPStatus.CONFLICT),
    ),
    Route(
        is_scoped=True, method="DELETE", path=_ONE, permission="lists/delete", handler=_delete, tag="lists", operation="delete_number_list",
        summary="Delete a list with its numbers, unless one is being called; their attempts stay.", parameters=_PARAMETERS,
        status=HTTPStatus.NO_CONTENT, raises=(*_MISSING, HTTPStatus.CONFLICT),
    ),
)  # fmt: skip
