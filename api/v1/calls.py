"""Calls that Tandem places: place, follow, hang up; and what was decided for the last calls. Never sends one twice."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from api.declare import PREFIX, Frozen, Page, Reply, Route, Shown, Whole, model_body
from api.errors import Refused, refuse_fields
from api.exchange import Exchange, Services
from api.listing import list_query, make_page
from api.v1.toll_guard import check_tolls
from tandem.ami.errors import AmiRefused
from tandem.domain.calls import PlacedCall, is_call_id, new_call_id
from tandem.domain.destinations import Destination
from tandem.domain.fields import matches
from tandem.domain.originate import MAX_EXTERNAL_ID, MAX_PROJECT, CallRefused, CallRequest, plan_call, plan_transfer
from tandem.store.audit import AuditEntry
from tandem.store.calls import ExternalIdUsed, record_placed
from tandem.stories import Story

_PATH: Final = f"{PREFIX}/calls"
_ONE: Final = f"{_PATH}/{{call_id}}"

_Label = Annotated[str, StringConstraints(max_length=79)]
_Number = Annotated[str, StringConstraints(max_length=25)]


class Transfer(Frozen):
    """Where to."""

    destination: Destination


class NewCall(Frozen):
    """A call to place. origin (endpoint, external or queue) is called first; destination is whom they are connected to then."""

    origin: Destination
    destination: Destination
    caller_number: Annotated[_Number, Field(description="What the origin is shown.")] = ""
    caller_name: _Label = ""
    presented_number: Annotated[_Number, Field(description="What the destination is shown.")] = ""
    variables: Annotated[
        dict[str, str], Field(description="Channel variables; their names must be in general.allowed_variables.")
    ] = Field(default_factory=dict)
    inherit_variables: Annotated[
        bool, Field(description="Whether the channels that the origin dials have them too.")
    ] = False
    ring_timeout_s: Annotated[float | None, Field(ge=5, le=300)] = None
    account: Annotated[
        str, matches("[A-Za-z0-9_.-]{0,20}", "must be at most 20 letters, digits or the signs _ . -")
    ] = ""
    project: Annotated[str, Field(max_length=MAX_PROJECT, description="Whose external_id it is.")] = ""
    external_id: Annotated[
        str, Field(max_length=MAX_EXTERNAL_ID, description="What you call it: a project has one call for each.")
    ] = ""


class DecisionsQuery(Frozen):
    """How many."""

    limit: Annotated[int, Field(ge=1, le=1000, description="How many at most.")] = 20


async def _list(services: Services, exchange: Exchange) -> Reply:
    return Reply(make_page(services.calls.list_open(), exchange.query, "call_id"))


async def _get(services: Services, exchange: Exchange) -> Reply:
    return Reply(await _find(services, exchange))


async def _find(services: Services, exchange: Exchange) -> PlacedCall:
    call_id = exchange.path["call_id"]
    call: PlacedCall | None = await services.calls.find(call_id) if is_call_id(call_id) else None
    if call is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such call")
    return call


async def _create(services: Services, exchange: Exchange) -> Reply:
    wanted: NewCall = exchange.body
    request = CallRequest(
        origin=wanted.origin,
        destination=wanted.destination,
        caller_number=wanted.caller_number,
        caller_name=wanted.caller_name,
        presented_number=wanted.presented_number,
        variables=tuple(wanted.variables.items()),
        inherit_variables=wanted.inherit_variables,
        ring_timeout_s=wanted.ring_timeout_s,
        permissions=exchange.who.reach,
        account=wanted.account,
        project=wanted.project,
        external_id=wanted.external_id,
    )
    try:
        order = plan_call(services.live.current, request)
    except CallRefused as refused:
        raise refuse_fields([(refused.field, refused.rule)]) from None
    check_tolls(services, order)
    call_id = new_call_id()
    location = (("location", f"{_PATH}/{call_id}"),)

    async def record(call: PlacedCall) -> None:
        """The call, the kept answer and the audit entry, in one transaction."""

        def work(db: Any) -> tuple[None, Reply]:
            record_placed(db, call, services.calls.node)
            return None, Reply(call, HTTPStatus.ACCEPTED, location)

        await exchange.write(work, f"calls/{call_id}")

    # Without a key, calls that come together are kept in one transaction; their audit entries follow.
    is_alone = exchange.once is not None or order.external_id != ""
    try:
        call = await services.calls.place(order, call_id=call_id, record=record if is_alone else None)
    except ExternalIdUsed as used:
        raise Refused(HTTPStatus.CONFLICT, f"{used}: {_PATH}/{used.call.call_id}") from None
    except AmiRefused as refused:
        raise Refused(HTTPStatus.BAD_GATEWAY, str(refused)) from None
    if not is_alone:
        services.note(
            AuditEntry(
                at=services.now(), who=exchange.who.name, source=exchange.source, action="calls/create",
                target=f"calls/{call_id}",
            )
        )  # fmt: skip
    return Reply(call, HTTPStatus.ACCEPTED, location)


async def _delete(services: Services, exchange: Exchange) -> Reply:
    call = await _find(services, exchange)
    if not await services.calls.hang_up(call.call_id):
        raise Refused(HTTPStatus.CONFLICT, "this call is over")
    _, reply = await exchange.write(lambda _: (None, Reply(None, HTTPStatus.NO_CONTENT)), f"calls/{call.call_id}")
    return reply


async def transfer_call(services: Services, exchange: Exchange, call: PlacedCall, destination: Destination) -> None:
    """Takes a call that is answered somewhere else; CallRefused, AmiError; Refused 409 where nobody has answered, or it is over."""
    jump = plan_transfer(services.live.current, destination, exchange.who.reach)
    if not await services.calls.transfer(call.call_id, jump):
        raise Refused(HTTPStatus.CONFLICT, "this call is not up")
    await exchange.write(lambda _: (None, Reply()), f"calls/{call.call_id}")


async def _transfer(services: Services, exchange: Exchange) -> Reply:
    call = await _find(services, exchange)
    await transfer_call(services, exchange, call, exchange.body.destination)
    return Reply(None, HTTPStatus.NO_CONTENT)


async def _list_decisions(services: Services, exchange: Exchange) -> Reply:
    return Reply(Whole(tuple(services.list_decisions(exchange.query.limit))))


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="calls/read", summary="Calls of ours that are up, newest first.", handler=_list,
        tag="calls", operation="list_calls", query=list_query(PlacedCall, "call_id", sort="-placed_at", more={"state": str}), answer=Shown(Page[PlacedCall], name="CallPage"),
    ),
    Route(
        method="POST", path=_PATH, permission="calls/create", summary="Place a call.", handler=_create, tag="calls",
        operation="create_call", body=model_body(NewCall, example={"origin": {"endpoint": "1001"}, "destination": {"external": "+493055512"}}), answer=Shown(PlacedCall), status=HTTPStatus.ACCEPTED, max_body=64 * 1024,
        raises=(HTTPStatus.BAD_GATEWAY,),
    ),
    Route(
        method="GET", path=_ONE, parameters={"call_id": "The id that POST answered."}, permission="calls/read", summary="A call and what became of it.", handler=_get, tag="calls",
        operation="get_call", answer=Shown(PlacedCall), raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="DELETE", path=_ONE, parameters={"call_id": "The id that POST answered."}, permission="calls/delete", summary="Hang a call up, with all its legs.", handler=_delete,
        tag="calls", operation="hang_up_call", status=HTTPStatus.NO_CONTENT, raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    ),
    Route(
        method="POST", path=f"{_ONE}/transfer", parameters={"call_id": "The id that POST answered."}, permission="calls/transfer",
        summary="Take whoever was called first, and has answered, somewhere else; the other leg ends.", handler=_transfer, tag="calls",
        operation="transfer_call", body=model_body(Transfer, example={"destination": {"queue": "sales"}}), status=HTTPStatus.NO_CONTENT,
        raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    ),
    Route(
        method="GET", path=f"{PREFIX}/decisions", permission="decisions/read", summary="What was decided for the last calls, newest first.",
        handler=_list_decisions, tag="calls", operation="list_decisions", query=DecisionsQuery, answer=Shown(Whole[Story], name="StoryList"),
    ),
)  # fmt: skip
