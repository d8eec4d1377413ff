"""Customers: people with their telephones and what is known of them, by the client's own ids; never dials."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from api.declare import PREFIX, Frozen, Reply, Route, Shown, Whole, model_body
from api.exchange import Commit, Exchange, Services
from tandem.domain.customers import Customer
from tandem.store.customers import MAX_PAGE, load_customer, load_customer_page

_PATH: Final = f"{PREFIX}/customers"
_ONE: Final = f"{_PATH}/{{person}}"
_MISSING: Final = (HTTPStatus.NOT_FOUND,)
_PARAMETERS: Final = {"person": "The client's own id."}
_MAX_AT_ONCE: Final = 1000
_SHOWN: Final = Shown(Whole[Customer], name="Customers")
_Number = Annotated[str, StringConstraints(pattern=r"^(\+?[0-9*#]{1,24})?$")]


class CustomersToSave(Frozen):
    """People, new or anew: what was known of them before is gone. All or none."""

    customers: Annotated[tuple[Customer, ...], Field(max_length=_MAX_AT_ONCE)]


class CustomersQuery(Frozen):
    """A page, by their ids. after: the last one of the page before."""

    phone_number: Annotated[_Number, Field(description="Whose telephone ends in the same ten digits.")] = ""
    after: Annotated[
        Annotated[str, StringConstraints(max_length=64)], Field(description="The last id of the page before.")
    ] = ""
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_PAGE)], Field(description="How many at most.")] = 100


async def _list(services: Services, exchange: Exchange) -> Reply:
    query: CustomersQuery = exchange.query
    found = await services.store.read(load_customer_page, query.after, query.limit, query.phone_number)
    return Reply(Whole(tuple(found)))


async def _get(services: Services, exchange: Exchange) -> Reply:
    return Reply(await services.store.read(load_customer, exchange.path["person"]))


async def _save(services: Services, exchange: Exchange) -> Reply:
    commit: Commit[list[Customer]] = Commit(
        exchange,
        lambda saved: "customers/" + ",".join(one.person for one in saved),
        lambda _db, saved: Reply(Whole(tuple(saved))),
    )
    await services.campaigns.save_customers(exchange.body.customers, commit=commit)
    return commit.reply


async def _delete(services: Services, exchange: Exchange) -> Reply:
    gone = Reply(None, HTTPStatus.NO_CONTENT)
    commit: Commit[Any] = Commit(exchange, f"customers/{exchange.path['person']}", lambda _db, _: gone)
    await services.campaigns.delete_customer(exchange.path["person"], commit=commit)
    return gone


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="customers/read", summary="People, with their telephones.", handler=_list, tag="customers",
        operation="list_customers", query=CustomersQuery, answer=_SHOWN,
    ),
    Route(
        method="PUT", path=_PATH, permission="customers/create", summary="Make people, or replace those that are there.", handler=_save, tag="customers",
        operation="save_customers", body=model_body(CustomersToSave), answer=_SHOWN,
    ),
    Route(
        method="GET", path=_ONE, permission="customers/read", summary="Read a person.", handler=_get, tag="customers", parameters=_PARAMETERS,
        operation="get_customer", answer=Shown(Customer), raises=_MISSING,
    ),
    Route(
        method="DELETE", path=_ONE, permission="customers/delete", summary="Delete a person; numbers of campaigns stay.", handler=_delete, tag="customers",
        parameters=_PARAMETERS, operation="delete_customer", status=HTTPStatus.NO_CONTENT, raises=_MISSING,
    ),
)  # fmt: skip
