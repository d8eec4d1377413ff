"""goCarriers: carriers, which are trunks; nothing that a client writes goes into Asterisk's files as it is, and no secret comes out."""

import re
from collections.abc import Mapping
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.destinations import SERVER_IP
from api.compat.goapi.inbound_queues import find, find_key
from api.compat.goapi.objects import EVERYBODY, columns, delete, make, missing, read_groups, read_limit, save
from api.compat.goapi.parameters import Given, check_special, special
from api.compat.goapi.speech import fail, fail_code
from api.compat.goapi.tenancy import read_scope
from tandem.domain.entities import Trunk
from tandem.domain.snapshot import Snapshot
from tandem.store.did_ids import save_group

_CODECS: Final = {"GSM": "gsm", "ULAW": "ulaw", "ALAW": "alaw", "G722": "g722", "OPUS": "opus"}
_RAW: Final = ("registration_string", "account_entry", "globals_string", "dialplan_entry")
_WORDS: Final = {
    "name": "carrier_id",
    "description": "carrier_name",
    "hosts": "sip_server_ip",
    "username": "username",
    "secret": "password",
    "codecs": "codecs",
}
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,100}")
_LOST: Final = "Error: Carrier doesn't exist."
# What a carrier that registers has besides its host.
_OF_LOGIN: Final = ("username", "password", "reg_port")
_FIELDS: Final = (
    "carrier_type", "carrier_name", "active", "protocol", "authentication", "sip_server_ip", "reg_host", "username", "password", "reg_port",
    "codecs", "dtmf", "dialprefix", "manual_server_ip", *_RAW,
)  # fmt: skip


def _read(given: Given, before: Trunk | None = None) -> dict[str, Any]:
    """Our fields of those that are given; what would be written into Asterisk's files as it is, is refused."""
    kind = given.text("carrier_type").lower() or "manual"
    if kind not in ("manual", "copy"):
        raise fail("Error: Default value for carrier_type are manual and copy only.")
    protocol = given.text("protocol").upper()
    if protocol == "CUSTOM" or any(given.lines(name).strip() for name in _RAW):
        raise fail("Error: protocol CUSTOM is not served: nobody writes Asterisk's files from outside.")
    if protocol not in ("", "SIP", "PJSIP"):
        raise fail("Error: Default value for protocol is SIP only.")
    if given.flag("active", "Error: Default value for active is Y or N only.") is False:
        raise fail("Error: a carrier that is not active is not served: delete it.")
    if (dtmf := given.text("dtmf").lower()) not in ("", "rfc2833", "rfc4733", "auto"):
        raise fail(f"Error: dtmf {check_special('dtmf', dtmf[:20])} is not served.")
    check_special("dialprefix", given.text("dialprefix"))
    check_special("manual_server_ip", given.text("manual_server_ip"))
    found: dict[str, Any] = {}
    if name := check_special("carrier_name", given.text("carrier_name"), is_id=True):
        found["description"] = name
    if codecs := [codec.upper() for codec in given.many("codecs")]:
        unknown = [codec for codec in codecs if codec not in _CODECS]
        if unknown:
            raise fail(f"Error: Default value for codecs are {', '.join(_CODECS)} only.")
        found["codecs"] = tuple(dict.fromkeys(_CODECS[codec] for codec in codecs))
    return found | _read_login(given, before)


def _read_host(given: Given, name: str) -> str:
    """A host name or address; names have dashes."""
    value = given.text(name)
    if value and _HOST.fullmatch(value) is None:
        raise special(name)
    return value


def _read_login(given: Given, before: Trunk | None = None) -> dict[str, Any]:
    """before: the trunk that is changed: what of a registration is not given stays as it is."""
    how = given.text("authentication").lower()
    if how not in ("", "auth_ip", "auth_reg"):
        raise fail("Error: Default value for authentication are auth_ip and auth_reg only.")
    found: dict[str, Any] = {}
    address, registrar = _read_host(given, "sip_server_ip"), _read_host(given, "reg_host")
    if how == "auth_ip" or (not how and address):
        found |= {"authentication": "ip", "username": None, "secret": None}
        if not address:
            raise fail_code("40001", "sip_server_ip")
        found["hosts"] = (address,)
    elif how == "auth_reg" or registrar or any(given.text(name) for name in _OF_LOGIN):
        if not how and not registrar and before is None:
            raise fail_code("40001", "authentication")
        found |= _read_registration(given, registrar, before)
    return found


def _read_registration(given: Given, registrar: str, before: Trunk | None) -> dict[str, Any]:
    port = given.text("reg_port")
    if port and not (port.isascii() and port.isdecimal() and len(port) < 6):
        raise fail_code("41002", "reg_port")
    known = before if before is not None and before.authentication == "registration" else None
    login = {
        "reg_host": registrar or (known.hosts[0] if known is not None else ""),
        "username": given.text("username") or (known.username if known is not None else ""),
        "password": given.line("password") or (known.secret if known is not None else ""),
    }
    for name, value in login.items():
        if not value:
            raise fail_code("40001", name)
    found: dict[str, Any] = {
        "authentication": "registration",
        "username": login["username"],
        "secret": login["password"],
    }
    if registrar or port:
        host = re.sub(r":[0-9]+$", "", str(login["reg_host"]))
        found["hosts"] = (f"{host}:{port}" if port else host,)
    return found


async def _add(call: Call) -> Mapping[str, Any]:
    given = call.given
    for name in ("carrier_id", "carrier_name"):
        if not given.text(name):
            raise fail_code("40001", name)
    name = check_special("carrier_id", given.text("carrier_id"), is_id=True)
    values = _read(given)
    source = check_special("source_carrier", given.text("source_carrier"), is_id=True)
    if given.text("carrier_type").lower() == "copy":
        trunk, _, _ = await find(call, "trunks", source, _LOST)
        values = {field: getattr(trunk, field) for field in Trunk.__dataclass_fields__ if field != "name"} | values
    elif "hosts" not in values:
        raise fail_code("40001", "authentication")
    owner = (await read_scope(call)).choose(given.text("user_group"))

    def decide(snapshot: Snapshot) -> Trunk:
        if find_key(snapshot.trunks, name) is not None:
            raise fail("Error: Duplicate carrier ID found.")
        return make(Trunk, _WORDS, name=name, **values)

    return await save(call, decide, lambda db: save_group(db, "trunks", name, owner))


async def _edit(call: Call) -> Mapping[str, Any]:
    given = call.given
    if not (name := given.text("carrier_id")):
        raise fail_code("40002", "carrier_id")
    trunk, _, _ = await find(call, "trunks", name, _LOST)
    kept = {field: getattr(trunk, field) for field in Trunk.__dataclass_fields__}
    new = make(Trunk, _WORDS, **kept | _read(given, trunk))

    def decide(snapshot: Snapshot) -> Trunk:
        if name not in snapshot.trunks:
            raise missing(_LOST)
        return new

    return await save(call, decide)


async def _delete(call: Call) -> Mapping[str, Any]:
    wanted = call.given.many("carrier_id")
    if not wanted:
        raise fail_code("40001", "carrier_id")
    found = [(await find(call, "trunks", name, _LOST))[0] for name in dict.fromkeys(wanted)]
    return await delete(call, *found)


def _row(trunk: Trunk, owner: str | None) -> dict[str, Any]:
    return {
        "carrier_id": trunk.name,
        "carrier_name": trunk.description,
        "carrier_description": trunk.description,
        "server_ip": SERVER_IP,
        "protocol": "SIP",
        "authentication": "auth_ip" if trunk.authentication == "ip" else "auth_reg",
        "hosts": ",".join(trunk.hosts),
        "username": trunk.username or "",
        "codecs": ",".join(trunk.codecs),
        "registration_string": "",
        "account_entry": "",
        "globals_string": "",
        "dialplan_entry": "",
        "active": "Y",
        "user_group": owner or EVERYBODY,
    }


async def _list(call: Call) -> Mapping[str, Any]:
    snapshot = await call.services.head.read()
    scope, owners = await read_scope(call), await read_groups(call, "trunks")
    seen = scope.filter(snapshot.trunks, owners)
    rows = [_row(seen[name], owners.get(name)) for name in sorted(seen)][: read_limit(call)]
    return columns(
        rows, ("carrier_id", "carrier_name", "server_ip", "protocol", "registration_string", "active", "user_group", "dialplan_entry")
    )  # fmt: skip


async def _info(call: Call) -> Mapping[str, Any]:
    if not (name := call.given.text("carrier_id")):
        raise fail_code("40001", "carrier_id")
    trunk, _, owners = await find(call, "trunks", name, _LOST)
    return {"data": _row(trunk, owners.get(name))}


async def _check(call: Call) -> Mapping[str, Any]:
    name = check_special("carrier_id", call.given.text("carrier_id"), is_id=True)
    if not name:
        raise fail_code("40001", "carrier_id")
    if find_key((await call.services.head.read()).trunks, name) is not None:
        return {"result": "fail", "data": "Carrier already exist."}
    return {}


ACTIONS: Final = (
    Action(
        name="goAddCarrier", permission="trunks/create", is_scoped=True, handler=_add, summary="Add a carrier.",
        parameters=("carrier_id", *_FIELDS, "source_carrier", "user_group"),
    ),
    Action(
        name="goEditCarrier", permission="trunks/update", is_scoped=True, handler=_edit, parameters=("carrier_id", *_FIELDS),
        summary="Change what is given of a carrier.",
    ),
    Action(
        name="goDeleteCarrier", permission="trunks/delete", is_scoped=True, handler=_delete, parameters=("carrier_id",),
        summary="Delete carriers.",
    ),
    Action(
        name="goGetAllCarriers", aliases=("goGetCarriersList",), permission="trunks/read", is_scoped=True, handler=_list,
        parameters=("limit",), summary="List carriers, without their secrets.",
    ),
    Action(
        name="goGetCarrierInfo", permission="trunks/read", is_scoped=True, handler=_info, parameters=("carrier_id",),
        summary="Read a carrier, without its secret.",
    ),
    Action(
        name="goCheckCarriers", aliases=("goCheckCarrier",), permission="trunks/read", is_scoped=True, handler=_check,
        parameters=("carrier_id",), summary="Whether a carrier's ID is free.",
    ),
)  # fmt: skip
