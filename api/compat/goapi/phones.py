"""goPhones: phones, which are endpoints; their secrets are written and never shown."""

from collections.abc import Mapping
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.destinations import SERVER_IP
from api.compat.goapi.inbound_queues import find
from api.compat.goapi.objects import EVERYBODY, columns, delete, make, missing, read_groups, read_limit, save
from api.compat.goapi.parameters import Given, check_special
from api.compat.goapi.speech import fail, fail_code
from api.compat.goapi.tenancy import read_scope, read_view
from tandem.domain.entities import Endpoint
from tandem.domain.snapshot import Snapshot
from tandem.store.did_ids import save_group

_PROTOCOLS: Final = ("SIP", "PJSIP", "EXTERNAL")
_STATUSES: Final = ("ACTIVE", "SUSPENDED", "CLOSED", "PENDING", "ADMIN")
_WORDS: Final = {"extension": "extension", "name": "fullname", "secret": "pass", "voicemail": "voicemail_id"}
_LOST: Final = "Error: Phone doesn't exist."
_FIELDS: Final = ("pass", "fullname", "voicemail_id", "protocol", "status", "active", "server_ip", "dialplan_number")


def _read(given: Given, snapshot: Snapshot) -> dict[str, Any]:
    """Our fields of those that are given."""
    found: dict[str, Any] = {}
    if secret := given.line("pass"):
        found["secret"] = secret
    if name := check_special("fullname", given.text("fullname")):
        found["name"] = name
    if box := check_special("voicemail_id", given.text("voicemail_id")):
        if box not in snapshot.voicemail_boxes:
            raise fail(f"Error: voicemail_id {box[:60]} doesn't exist.")
        found["voicemail"] = box
    if (protocol := given.text("protocol").upper()) and protocol not in _PROTOCOLS:
        raise fail(f"Error: Default value for protocol are {', '.join(_PROTOCOLS)} only.")
    if (status := given.text("status").upper()) and status not in _STATUSES:
        raise fail(f"Error: Default value for status are {', '.join(_STATUSES)} only.")
    active = given.flag("active", "Error: Default value for active is Y or N only.")
    if active is False or status in ("SUSPENDED", "CLOSED"):
        raise fail("Error: a phone that is not active is not served: delete it, or change its pass.")
    check_special("server_ip", given.text("server_ip"))
    check_special("dialplan_number", given.text("dialplan_number"))
    return found


async def _add(call: Call) -> Mapping[str, Any]:
    given = call.given
    for name in ("extension", "pass"):
        if not given.text(name):
            raise fail_code("40001", name)
    extension = check_special("extension", given.text("extension"))
    values = _read(given, await read_view(call))
    owner = (await read_scope(call)).choose(given.text("user_group"))

    def decide(snapshot: Snapshot) -> Endpoint:
        if extension in snapshot.endpoints:
            raise fail_code("10116")
        return make(Endpoint, _WORDS, extension=extension, **values)

    return await save(call, decide, lambda db: save_group(db, "endpoints", extension, owner))


async def _edit(call: Call) -> Mapping[str, Any]:
    given = call.given
    if not (extension := given.text("extension")):
        raise fail_code("40002", "extension")
    endpoint, _, _ = await find(call, "endpoints", extension, _LOST)
    kept = {field: getattr(endpoint, field) for field in Endpoint.__dataclass_fields__}
    new = make(Endpoint, _WORDS, **kept | _read(given, await read_view(call)))

    def decide(snapshot: Snapshot) -> Endpoint:
        if extension not in snapshot.endpoints:
            raise missing(_LOST)
        return new

    return await save(call, decide)


async def _delete(call: Call) -> Mapping[str, Any]:
    wanted = call.given.many("extension")
    if not wanted:
        raise fail_code("40001", "extension")
    found = [(await find(call, "endpoints", extension, _LOST))[0] for extension in dict.fromkeys(wanted)]
    return await delete(call, *found)


def _row(endpoint: Endpoint, owner: str | None) -> dict[str, Any]:
    return {
        "extension": endpoint.extension,
        "dialplan_number": endpoint.extension,
        "voicemail_id": endpoint.voicemail or "",
        "fullname": endpoint.name,
        "protocol": "SIP",
        "server_ip": SERVER_IP,
        "status": "ACTIVE",
        "active": "Y",
        "messages": 0,
        "old_messages": 0,
        "user_group": owner or EVERYBODY,
    }


async def _list(call: Call) -> Mapping[str, Any]:
    snapshot = await call.services.head.read()
    scope, owners = await read_scope(call), await read_groups(call, "endpoints")
    seen = scope.filter(snapshot.endpoints, owners)
    rows = [_row(seen[name], owners.get(name)) for name in sorted(seen)][: read_limit(call)]
    return columns(rows, ("extension", "protocol", "server_ip", "active", "fullname", "messages", "old_messages"))


async def _info(call: Call) -> Mapping[str, Any]:
    extension = call.given.text("extension") or call.given.text("exten_id")
    if not extension:
        raise fail_code("40001", "extension")
    endpoint, _, owners = await find(call, "endpoints", extension, _LOST)
    return _row(endpoint, owners.get(extension))


async def _check(call: Call) -> Mapping[str, Any]:
    extension = check_special("phone_login", call.given.text("phone_login") or call.given.text("extension"))
    if not extension:
        raise fail_code("40001", "phone_login")
    if extension in (await call.services.head.read()).numbers:
        return {"result": "fail", "data": "Phone login already in use."}
    return {}


ACTIONS: Final = (
    Action(
        name="goAddPhones", aliases=("goAddPhone",), permission="endpoints/create", is_scoped=True, handler=_add, summary="Add a phone.",
        parameters=("extension", *_FIELDS, "user_group"),
    ),
    Action(
        name="goEditPhone", permission="endpoints/update", is_scoped=True, handler=_edit, parameters=("extension", *_FIELDS),
        summary="Change what is given of a phone.",
    ),
    Action(
        name="goDeletePhone", permission="endpoints/delete", is_scoped=True, handler=_delete, parameters=("extension",),
        summary="Delete phones.",
    ),
    Action(
        name="goGetAllPhones", aliases=("goGetPhonesList",), permission="endpoints/read", is_scoped=True, handler=_list,
        parameters=("limit",), summary="List phones.",
    ),
    Action(
        name="goGetPhoneInfo", permission="endpoints/read", is_scoped=True, handler=_info, parameters=("extension", "exten_id"),
        summary="Read a phone.",
    ),
    Action(
        name="goCheckPhoneLogin", permission="endpoints/read", is_scoped=True, handler=_check, parameters=("phone_login", "extension"),
        summary="Whether a number inside is free.",
    ),
)  # fmt: skip
