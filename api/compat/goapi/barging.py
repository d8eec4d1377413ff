"""goBarging: a supervisor's phone hears an agent's call, whispers to the agent, or speaks with both; never without an entry in the audit log."""

from collections.abc import Mapping
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.dialling import need
from api.compat.goapi.objects import columns
from api.compat.goapi.speech import fail_code
from api.compat.goapi.tenancy import read_phones
from api.v1.listening import place_listening
from tandem.domain.listening import Ear
from tandem.store.users import load_user, load_users

_EARS: Final[Mapping[str, Ear]] = {
    "": "listen", "LISTEN": "listen", "MONITOR": "listen", "WHISPER": "whisper", "BARGE": "barge",
}  # fmt: skip


async def _extension_of(call: Call, name: str) -> str:
    """The phone of a user, or of an agent by its extension."""
    wanted = call.given.text(name)
    for user in await call.services.store.read(load_users):
        if user.name == wanted and user.extension is not None:
            return str(user.extension)
    if wanted not in call.services.live.current.endpoints:
        raise fail_code("41004", name)
    return wanted


async def _listen(call: Call, default: Ear) -> Mapping[str, Any]:
    need(call, "goUserAgent")
    stage = call.given.text("stage").upper()
    if stage not in _EARS:
        raise fail_code("41006", "stage. LISTEN, WHISPER or BARGE")
    listener = call.given.text("phone_login")
    if not listener and call.exchange.who.user is not None:
        own = await call.services.store.read(load_user, call.exchange.who.user)
        listener = own.extension or "" if own is not None else ""
    if not listener:
        raise fail_code("40001", "phone_login")
    agent, is_seen = await _extension_of(call, "goUserAgent"), await read_phones(call)
    if not is_seen(agent):
        raise fail_code("41004", "goUserAgent")
    if not is_seen(listener):
        raise fail_code("41004", "phone_login")
    placed = await place_listening(call.services, call.exchange, listener, agent, _EARS[stage] if stage else default)
    return {"data": {"uniqueid": placed.call_id, "agent": agent, "phone_login": listener}}


async def _monitor(call: Call) -> Mapping[str, Any]:
    return await _listen(call, "listen")


async def _barge(call: Call) -> Mapping[str, Any]:
    return await _listen(call, "barge")


async def _on_call(call: Call) -> Mapping[str, Any]:
    users = {user.extension: user for user in await call.services.store.read(load_users) if user.extension is not None}
    endpoints = call.services.live.current.endpoints
    found, is_seen = {}, await read_phones(call)
    for one in await call.services.monitor.list_channels():
        extension = one.channel.partition("/")[2].rpartition("-")[0]
        if extension in endpoints and one.bridge and is_seen(extension):
            found[extension] = one
    rows = [
        {
            "user": users[extension].name if extension in users else extension, "extension": extension,
            "phone_number": one.connected_number, "uniqueid": one.linkedid, "call_time": one.duration_s,
        }
        for extension, one in sorted(found.items())
    ]  # fmt: skip
    return {**columns(rows, ("user", "extension", "phone_number", "uniqueid", "call_time")), "data": rows}


_WHO: Final = ("goUserAgent", "phone_login", "stage")
ACTIONS: Final = (
    Action(name="goMonitorAgent", permission="agents/listen", handler=_monitor, summary="Hears an agent's call.", parameters=_WHO),
    Action(name="goBarge", permission="agents/listen", handler=_barge, summary="Speaks in an agent's call.", parameters=_WHO),
    Action(name="goGetAgentsOnCall", permission="monitoring/read", handler=_on_call, summary="Agents who are in a call."),
)  # fmt: skip
