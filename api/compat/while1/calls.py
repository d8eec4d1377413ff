"""`originate-call` and `channel`: calls that are placed, agent first and then the customer, and channels that are up; places nothing by itself."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from api.compat.while1.people import find_by_email, need_user
from api.compat.while1.speech import Answered, Denied, choose, paginate, read_flag, read_map, read_page, read_text
from api.declare import Reply
from api.exchange import Exchange, Services
from api.v1.toll_guard import check_tolls
from tandem.ami.errors import AmiError
from tandem.domain.calls import PlacedCall, new_call_id
from tandem.domain.destinations import (
    Destination,
    DialplanDestination,
    EndpointDestination,
    ExternalDestination,
    QueueDestination,
)
from tandem.domain.fields import Permission
from tandem.domain.originate import (
    MAX_EXTERNAL_ID,
    MAX_PROJECT,
    CallRequest,
    OriginateOrder,
    find_destination,
    plan_call,
)
from tandem.domain.snapshot import Snapshot
from tandem.monitoring import ChannelNow
from tandem.store.calls import ExternalIdUsed, record_placed

# Of the 60 s that the vendor's client waits.
RING_S: Final = 45.0
WAIT_S: Final = 50.0
# How long after its end a call still has its external_id: for a client that asks again, not for one that means another call.
KNOWN: Final = timedelta(hours=24)
# What their clients set, and our dialplan and theirs only read: prompts to leave out, and the page that an agent is shown.
VOUCHED: Final = frozenset({"SKIP_WELCOME", "SKIP_WE_ARE_RECORDING", "SKIP_ENTER_QUEUE", "BACKEND_LINK"})
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_CONTEXT: Final = re.compile(r"[A-Za-z0-9_-]{1,79}")
_EXTEN: Final = re.compile(r"[0-9A-Za-z*#+_-]{1,40}")


# ---------------------------------------------------------------------------------------------------- originate-call


async def originate_call(services: Services, exchange: Exchange) -> Answered:
    """Rings whom the call is for, then the customer; the same external_id of a project again is the same call, and no second one."""
    who = exchange.require("calls/create")
    data = read_map(exchange.body, "data")
    snapshot: Snapshot = services.live.current
    is_waiting = not read_flag(data, "async", default=True)
    request = read_request(snapshot, data, who.reach, RING_S if is_waiting else None)
    call = await _place(services, exchange, plan_call(snapshot, request))
    if is_waiting:
        call = await services.calls.wait_answered(call.call_id, WAIT_S) or call
        if call.state != "answered" and call.answered_at is None:
            raise Denied(f"The call was not answered: {call.disposition or call.state}")
    return Answered([_show_call(call)], 1)


def read_request(
    snapshot: Snapshot, data: Mapping[str, Any], reach: tuple[Permission, ...], ring_timeout_s: float | None
) -> CallRequest:
    """What `data` wants; reach: what whoever asks may dial outside. Denied naming the field."""
    project, external_id = read_text(data, "project_id", MAX_PROJECT), read_text(data, "external_id", MAX_EXTERNAL_ID)
    read_text(data, "external_info", 1000, default="")
    return CallRequest(
        origin=_read_origin(snapshot, data),
        destination=_read_customer(snapshot, data),
        caller_name=read_text(data, "caller_id_name", 79),
        presented_number=read_text(data, "outbound_number", 25, default=""),
        variables=_read_variables(data),
        inherit_variables=True,
        ring_timeout_s=ring_timeout_s,
        permissions=reach,
        project=project,
        external_id=external_id,
        vouched=VOUCHED,
    )


def _read_origin(snapshot: Snapshot, data: Mapping[str, Any]) -> Destination:
    kind = read_text(data, "type", 20)
    name = read_text(data, "destination", 200)
    match kind:
        case "user":
            return EndpointDestination(endpoint=need_user(snapshot, name, "destination").extension)
        case "user_email":
            found = find_by_email(snapshot, name)
            if found is None:
                raise Denied(f"destination: there is no user with the e-mail address {name}")
            return EndpointDestination(endpoint=found.extension)
        case "queue":
            if name not in snapshot.queues:
                raise Denied(f"destination: there is no queue {name}")
            return QueueDestination(queue=name)
        case "extension":
            inside = snapshot.numbers.get(name)
            if not isinstance(inside, EndpointDestination | QueueDestination):
                raise Denied(f"destination: there is no user and no queue at extension {name}")
            return inside
        case "context":
            return DialplanDestination(dialplan=_read_place(name, "s", "destination"))
    raise Denied("type: must be user, user_email, extension, queue or context")


def _read_place(context: str, exten: str, field: str) -> str:
    if not _CONTEXT.fullmatch(context) or not _EXTEN.fullmatch(exten):
        raise Denied(f"{field}: must be the name of a context of the dialplan")
    return f"{context},{exten}"


def _read_customer(snapshot: Snapshot, data: Mapping[str, Any]) -> Destination:
    number = re.sub(r"[ ().-]", "", read_text(data, "caller_id", 40))
    trunk = read_text(data, "outbound_trunk", 80, default="")
    if not re.fullmatch(r"\+?[0-9*#]{1,24}", number):
        raise Denied("caller_id: must be the number of the customer: digits, with or without a leading +")
    if not trunk:
        return find_destination(snapshot, number)
    if trunk not in snapshot.trunks:
        raise Denied(f"outbound_trunk: there is no trunk {trunk}")
    return ExternalDestination(external=number, trunk=trunk)


def _read_variables(data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    given = read_map(data, "vars")
    for name in given:
        if not _VARIABLE.fullmatch(name):
            raise Denied("vars: names must be letters, digits and _, not beginning with a digit")
    # True and false as PHP turns them into texts.
    texts = {name: ("1" if value else "") if isinstance(value, bool) else value for name, value in given.items()}
    return tuple((name, read_text(texts, name, 400, default="")) for name in texts)


async def _place(services: Services, exchange: Exchange, order: OriginateOrder) -> PlacedCall:
    """Places the call, or finds the one that this id had before. Denied where that was for somebody else, or is over unsent."""
    check_tolls(services, order)
    call_id = new_call_id()

    async def record(call: PlacedCall) -> None:
        def work(db: Any) -> tuple[None, Reply]:
            record_placed(db, call, services.calls.node, services.now() - KNOWN)
            return None, Reply({})

        await exchange.write(work, f"calls/{call_id}")

    try:
        placed: PlacedCall = await services.calls.place(order, call_id=call_id, record=record)
    except ExternalIdUsed as used:
        known: PlacedCall = await services.calls.find(used.call.call_id) or used.call
        if (known.origin, known.destination) != (order.origin, order.destination):
            raise Denied(f"external_id: {order.external_id} was used before, for another call") from None
        if known.is_unsent:  # its end is not in the database yet
            raise Denied("Asterisk did not take the call: it was never sent; try again in a moment") from None
        return known
    except AmiError as error:
        raise Denied(f"Asterisk did not take the call: {error}") from None
    return placed


def _show_call(call: PlacedCall) -> dict[str, Any]:
    return {
        "external_id": call.external_id,
        "project_id": call.project,
        "uniqueid": call.call_id,
        "linkedid": call.call_id,
        "status": call.state,
        "disposition": call.disposition,
    }


# ----------------------------------------------------------------------------------------------------------- channel


async def _list(services: Services, exchange: Exchange) -> Answered:
    exchange.require("monitoring/read")
    page = read_page(exchange.body)
    return paginate([_show_channel(one) for one in await services.monitor.list_channels()], page)


def _show_channel(channel: ChannelNow) -> dict[str, Any]:
    return {
        "channel": channel.channel,
        "context": channel.context,
        "exten": channel.exten,
        "state": channel.state,
        "application": channel.application,
        "caller_id": channel.caller_number,
        "caller_id_name": channel.caller_name,
        "connected_line": channel.connected_number,
        "accountcode": channel.account,
        "duration": channel.duration_s,
        "bridge_id": channel.bridge,
        "uniqueid": channel.uniqueid,
        "linkedid": channel.linkedid,
    }


async def _hang_up(services: Services, exchange: Exchange) -> Answered:
    exchange.require("channels/delete")
    name = read_text(read_map(exchange.body, "data"), "channel", 200)
    if name == "all":
        found = await services.channels.hang_up_all()
    else:
        found = [await services.channels.hang_up(name)]
    await _note(exchange, f"channels/{name}")
    return Answered([{"channel": one.channel, "uniqueid": one.uniqueid} for one in found])


async def _redirect(services: Services, exchange: Exchange) -> Answered:
    exchange.require("channels/update")
    data = read_map(exchange.body, "data")
    name = read_text(data, "channel", 200)
    place = _read_place(read_text(data, "context", 79), read_text(data, "exten", 40), "context")
    if read_text(data, "priority", 5, default="1") != "1":
        raise Denied("priority: must be 1")
    found = await services.channels.redirect(name, place)
    await _note(exchange, f"channels/{name}")
    return Answered([{"channel": found.channel, "uniqueid": found.uniqueid}])


async def _originate(services: Services, exchange: Exchange) -> Answered:
    """A phone rings, and is sent to a place of the dialplan. Never an application: `System` is one."""
    who = exchange.require("calls/create")
    data = read_map(exchange.body, "data")
    tech = read_text(data, "tech", 100)
    technology, _, name = tech.partition("/")
    if technology.upper() not in ("SIP", "PJSIP") or not name:
        raise Denied("tech: must be SIP/ and a user")
    if read_text(data, "appname", 80, default=""):
        raise Denied("appname: applications are not run; give exten and context")
    snapshot: Snapshot = services.live.current
    place = _read_place(read_text(data, "context", 79), read_text(data, "exten", 40), "context")
    request = CallRequest(
        origin=EndpointDestination(endpoint=need_user(snapshot, name, "tech").extension),
        destination=DialplanDestination(dialplan=place),
        permissions=who.reach,
    )
    return Answered([_show_call(await _place(services, exchange, plan_call(snapshot, request)))])


async def _note(exchange: Exchange, target: str) -> None:
    await exchange.write(lambda _: (None, Reply({})), target)


CHANNEL: Final = {"list": _list, "hangup": _hang_up, "originate": _originate, "redirect": _redirect}


async def channel(services: Services, exchange: Exchange) -> Answered:
    """What `action` names."""
    return await choose(exchange.body, "action", CHANNEL, "list")(services, exchange)
