"""In-groups of goInbound, which are queues: add, edit, delete, list, info, check; agents may log in to those that are made here."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.destinations import find_message, lead, split_prompts, tell
from api.compat.goapi.inbound_dids import delete_dids, named
from api.compat.goapi.objects import (
    EVERYBODY,
    change_all,
    columns,
    delete,
    flag,
    make,
    missing,
    read_groups,
    read_limit,
)
from api.compat.goapi.parameters import Given, check_special
from api.compat.goapi.speech import fail
from api.compat.goapi.tenancy import Scope, read_scope, read_view
from tandem.domain.destinations import AnnouncementDestination, Destination, HangupDestination
from tandem.domain.entities import Announcement, Entity, Menu, Queue
from tandem.domain.snapshot import Snapshot
from tandem.store.did_ids import save_group

# Their order of agents -> ours; Asterisk knows no levels of users and no ranks of campaigns, so those are the order of the members.
_STRATEGIES: Final = {
    "random": "random",
    "ring_all": "ringall",
    "longest_wait_time": "leastrecent",
    "oldest_call_finish": "leastrecent",
    "oldest_call_start": "rrmemory",
    "fewest_calls": "fewestcalls",
    "fewest_calls_campaign": "fewestcalls",
    "overall_user_level": "linear",
    "inbound_group_rank": "linear",
    "campaign_rank": "linear",
}
_TOLD_STRATEGIES: Final = {
    "random": "random",
    "wrandom": "random",
    "ringall": "ring_all",
    "leastrecent": "longest_wait_time",
    "rrmemory": "oldest_call_start",
    "fewestcalls": "fewest_calls",
    "linear": "inbound_group_rank",
}
_WORDS: Final = {
    "name": "group_id",
    "description": "group_name",
    "weight": "queue_priority",
    "max_wait_s": "drop_call_seconds",
    "music": "moh_context",
}
_LAUNCHES: Final = ("NONE", "SCRIPT", "WEBFORM", "WEBFORMTWO", "FORM", "EMAIL")
_EXISTS: Final = "GROUP NOT ADDED - there is already a Inbound in the system with this ID"
_LOST: Final = "Error: In-group doesn't exist."
ALWAYS_OPEN: Final = "24hours"
# A call's way out: (the parameter of the action, its values -> the parameter of the target).
_AFTER_HOURS: Final = {
    "HANGUP": "",
    "MESSAGE": "after_hours_message_filename",
    "EXTENSION": "after_hours_exten",
    "VOICEMAIL": "after_hours_voicemail",
    "IN_GROUP": "afterhours_xfer_group",
    "CALLMENU": "after_hours_callmenu",
}
_DROP: Final = {
    "HANGUP": "",
    "MESSAGE": "drop_exten",
    "VOICEMAIL": "voicemail_ext",
    "VMAIL_NO_INST": "voicemail_ext",
    "IN_GROUP": "drop_inbound_group",
    "CALLMENU": "drop_callmenu",
}
_NO_AGENT: Final = ("CALLMENU", "INGROUP", "DID", "MESSAGE", "EXTENSION", "VOICEMAIL")
_IN_BOTH: Final = (
    "group_name", "group_color", "active", "fronter_display", "get_call_launch", "next_agent_call", "queue_priority", "drop_call_seconds",
    "moh_context", "call_time_id", "after_hours_action", *sorted({*_AFTER_HOURS.values()} - {""}), "drop_action",
    *sorted({*_DROP.values()} - {""}), "no_agent_no_queue", "no_agent_action", "no_agent_action_value",
)  # fmt: skip


def _read_plain(given: Given) -> dict[str, Any]:
    """Our fields of those that are given and lead nowhere."""
    found: dict[str, Any] = {}
    for name, least in (("group_name", 2), ("group_color", 2)):
        value = check_special(name, given.text(name), allows="#" if name == "group_color" else "")
        if value and len(value) < least:
            raise fail(f"Error: {name} must be at least {least} characters.")
        if value and name == "group_name":
            found["description"] = value
    active = given.flag("active", "Error: Default value for active is Y or N only.")
    if active is not None:
        found["active"] = active
    given.flag("fronter_display", "Error: Default value for fronter_display is Y or N only.")
    if (launch := given.text("get_call_launch").upper()) and launch not in _LAUNCHES:
        raise fail(f"Error: Default value for get_call_launch are {', '.join(_LAUNCHES)} only.")
    if order := given.text("next_agent_call").lower():
        if order not in _STRATEGIES:
            raise fail(f"Error: Default value for next_agent_call are {', '.join(_STRATEGIES)} only.")
        found["strategy"] = _STRATEGIES[order]
    for name, field, low, high in (("queue_priority", "weight", 0, 99), ("drop_call_seconds", "max_wait_s", 5, 86400)):
        if given.line(name):
            found[field] = read_int(given, name, low, high)
    if music := check_special("moh_context", given.text("moh_context"), is_id=True):
        found["music"] = music
    return found


def read_int(given: Given, name: str, low: int, high: int) -> int:
    """A whole number within its limits; Said for anything else."""
    text = given.line(name)
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 9 or not low <= int(text) <= high:
        raise fail(f"Error: {name} must be a number from {low} to {high}.")
    return int(text)


def _read_leads(
    given: Given, snapshot: Snapshot, told: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[Announcement, ...]]:
    """(our fields of where callers go whom the in-group does not serve, announcements that are to be made).

    told: the row of an in-group that is changed. What is sent back as it was told stays as it is, for goAPI has no word for all of it.
    """
    found: dict[str, Any] = {}
    made: dict[str, Announcement] = {}
    if hours := check_special("call_time_id", given.text("call_time_id"), is_id=True):
        if hours != ALWAYS_OPEN and hours not in snapshot.schedules:
            raise fail(f"Error: call_time_id {hours[:60]} doesn't exist.")
        found["schedule"] = None if hours == ALWAYS_OPEN else hours
    for parameter, targets, field in (
        ("after_hours_action", _AFTER_HOURS, "closed"),
        ("drop_action", _DROP, "timeout"),
    ):
        action = given.text(parameter).upper()
        if action and not _is_told(given, told, parameter, targets.get(action, "")):
            if action not in targets:
                raise fail(f"Error: Default value for {parameter} are {', '.join(targets)} only.")
            name = targets[action]
            value = check_special(name, given.text(name), is_id=True, allows=",|") if name else ""
            if name and not value:
                raise fail(f"Error: Set Value for {name}")
            found[field] = _lead(snapshot, made, action, value, name)
    nobody = given.text("no_agent_no_queue").upper()
    if nobody and nobody not in ("Y", "N", "NO_PAUSED"):
        raise fail("Error: Default value for no_agent_no_queue are N, Y and NO_PAUSED only.")
    if nobody:
        found["join_when_empty"] = nobody == "N"
    action = given.text("no_agent_action").upper()
    if action and not _is_told(given, told, "no_agent_action", "no_agent_action_value"):
        if action not in _NO_AGENT:
            raise fail(f"Error: Default value for no_agent_action are {', '.join(_NO_AGENT)} only.")
        value = check_special("no_agent_action_value", given.text("no_agent_action_value"), is_id=True, allows=",|")
        if not value:
            raise fail("Error: Set Value for no_agent_action_value")
        found["join_empty"] = found["leave_empty"] = _lead(snapshot, made, action, value, "no_agent_action_value")
    return found, tuple(made.values())


def _is_told(given: Given, told: Mapping[str, Any], *names: str) -> bool:
    return bool(told) and all(given.text(name) == str(told[name]) for name in names if name)


def _lead(snapshot: Snapshot, made: dict[str, Announcement], action: str, value: str, field: str) -> Destination:
    """As `lead`; sounds that no announcement has yet become one, which hangs up behind them."""
    if action != "MESSAGE":
        return lead(snapshot, action, value, "", field)
    if (known := find_message(snapshot, value)) is not None:
        return known
    name = f"message-{hashlib.sha256(value.encode()).hexdigest()[:12]}"
    if name not in snapshot.announcements:
        made[name] = make(Announcement, {"prompts": field}, name=name, prompts=split_prompts(value))
    return AnnouncementDestination(announcement=name)


def _check_id(text: str) -> str:
    value = check_special("group_id", text, is_id=True)
    if not 2 <= len(value) <= 20:
        raise fail("Error: Group ID must be 2 to 20 characters.")
    if " " in value:
        raise fail("Error: Special characters found in group_id")
    return value


async def _add(call: Call) -> Mapping[str, Any]:
    given = call.given
    for name, word in (("group_id", "Group ID"), ("group_name", "Group Name"), ("group_color", "Group Color")):
        if not given.text(name):
            raise fail(f"Error: Set a value for {word}.")
    name = _check_id(given.text("group_id"))
    plain = _read_plain(given)
    leads, announcements = _read_leads(given, await read_view(call), {})
    owner = (await read_scope(call)).choose(given.text("user_group"))

    def decide(snapshot: Snapshot) -> list[Entity]:
        if find_key(snapshot.queues, name) is not None:
            raise fail(_EXISTS)
        values = {"fallback": HangupDestination(), "open_login": True, "strategy": "leastrecent"} | plain | leads
        return [*announcements, make(Queue, _WORDS, name=name, **values)]

    return await change_all(call, decide, lambda db: save_group(db, "queues", name, owner))


def find_key(objects: Mapping[str, Any], name: str) -> str | None:
    """The object of that name; Asterisk does not tell capitals apart everywhere."""
    return next((known for known in objects if known.lower() == name.lower()), None)


async def find(call: Call, collection: str, name: str, lost: str) -> tuple[Any, Scope, dict[str, str]]:
    """(the object, who sees what, whose all of its kind are); Said with `lost` for none, or for one that is not theirs to see."""
    snapshot = await call.services.head.read()
    scope, owners = await read_scope(call), await read_groups(call, collection)
    found = scope.filter(getattr(snapshot, collection), owners).get(name)
    if found is None:
        raise missing(lost)
    return found, scope, owners


async def _edit(call: Call) -> Mapping[str, Any]:
    given = call.given
    if not (name := given.text("group_id")):
        raise fail("Error: Set a value for Group ID.")
    queue, _, _ = await find(call, "queues", name, _LOST)
    snapshot = await call.services.head.read()
    leads, announcements = _read_leads(given, await read_view(call), _row(snapshot, queue, None))
    changes = _read_plain(given) | leads
    kept = {field: getattr(queue, field) for field in Queue.__dataclass_fields__}
    new = make(Queue, _WORDS, **kept | changes)

    def decide(snapshot: Snapshot) -> list[Entity]:
        if name not in snapshot.queues:
            raise missing(_LOST)
        return [*announcements, new]

    return await change_all(call, decide)


async def _delete(call: Call) -> Mapping[str, Any]:
    if not (name := call.given.text("group_id")):
        raise fail("Error: Set a value for Group ID.")
    queue, _, _ = await find(call, "queues", name, _LOST)
    return await delete(call, queue)


async def _delete_any(call: Call) -> Mapping[str, Any]:
    """Of all three kinds, as the vendor's own pages delete."""
    given = call.given
    wanted, kind = given.text("inbound_id"), given.text("type").lower()
    if not wanted:
        raise fail("Error: Inbound ID Not Defined.")
    permissions = {"ingroup": "queues/delete", "ivr": "menus/delete", "did": "dids/delete"}
    if kind not in permissions:
        raise fail("Error: Default value for type are ingroup, ivr and did only.")
    call.exchange.require(permissions[kind])
    if kind == "did":
        snapshot = await call.services.head.read()
        by_id = wanted.replace(",", "").isdecimal() and named(snapshot, wanted) is None
        if not by_id:
            raise missing("Error: Call DID doesn't exist or insufficient rights.")
        return await delete_dids(
            call, given.many("inbound_id"), "Error: Call DID doesn't exist or insufficient rights."
        )
    collection, lost = {"ingroup": ("queues", _LOST), "ivr": ("menus", "Error: Call menu doesn't exist.")}[kind]
    found: Queue | Menu
    found, _, _ = await find(call, collection, wanted, lost)
    return await delete(call, found)


def _row(snapshot: Snapshot, queue: Queue, owner: str | None) -> dict[str, Any]:
    closed, timeout = _tell(snapshot, queue.closed), _tell(snapshot, queue.timeout or queue.fallback)
    empty = _tell(snapshot, queue.join_empty)
    return {
        "group_id": queue.name,
        "group_name": queue.description,
        "group_color": "",
        "active": flag(queue.active),
        "next_agent_call": _TOLD_STRATEGIES[queue.strategy],
        "queue_priority": queue.weight,
        "drop_call_seconds": queue.max_wait_s,
        "drop_action": _spell(timeout[0]),
        **_target(_DROP, _spell(timeout[0]), timeout[1]),
        "moh_context": queue.music,
        "call_time_id": queue.schedule or ALWAYS_OPEN,
        "after_hours_action": _spell(closed[0]) if queue.closed is not None else "",
        **_target(_AFTER_HOURS, _spell(closed[0]), closed[1]),
        "no_agent_no_queue": "N" if queue.join_when_empty else "Y",
        "no_agent_action": empty[0] if queue.join_empty is not None else "",
        "no_agent_action_value": f"{empty[1]},{empty[2]}" if empty[0] == "EXTENSION" else empty[1],
        "user_group": owner or EVERYBODY,
    }


def _tell(snapshot: Snapshot, destination: Destination | None) -> tuple[str, str, str]:
    """As `tell`; in-groups have a word for announcements: their sounds, or the name of one that goes on behind them."""
    if not isinstance(destination, AnnouncementDestination) or destination.announcement not in snapshot.announcements:
        return tell(snapshot, destination)
    announcement = snapshot.announcements[destination.announcement]
    is_all = isinstance(announcement.then, HangupDestination)
    return "MESSAGE", "|".join(announcement.prompts) if is_all else announcement.name, ""


def _spell(route: str) -> str:
    """In-groups write IN_GROUP where menus write INGROUP."""
    return "IN_GROUP" if route == "INGROUP" else route


def _target(names: Mapping[str, str], action: str, value: str) -> dict[str, str]:
    return {name: value if name == names.get(action) else "" for name in sorted({*names.values()} - {""})}


async def _list(call: Call) -> Mapping[str, Any]:
    snapshot = await call.services.head.read()
    scope, owners = await read_scope(call), await read_groups(call, "queues")
    seen = scope.filter(snapshot.queues, owners)
    rows = [_row(snapshot, seen[name], owners.get(name)) for name in sorted(seen)][: read_limit(call)]
    return columns(rows, ("group_id", "group_name", "queue_priority", "active", "call_time_id"))


async def _info(call: Call) -> Mapping[str, Any]:
    if not (name := call.given.text("group_id")):
        raise fail("Error: Set a value for Group ID.")
    queue, _, owners = await find(call, "queues", name, _LOST)
    return {"data": _row(await call.services.head.read(), queue, owners.get(name))}


async def _check(call: Call) -> Mapping[str, Any]:
    name = _check_id(call.given.text("group_id"))
    if find_key((await call.services.head.read()).queues, name) is not None:
        return {"result": "fail", "status": _EXISTS}
    return {}


ACTIONS: Final = (
    Action(
        name="goAddIngroup", aliases=("goAddInbound",), permission="queues/create", is_scoped=True, handler=_add, summary="Add an in-group.",
        parameters=("group_id", *_IN_BOTH, "user_group"),
    ),
    Action(
        name="goEditIngroup", aliases=("goEditInbound",), permission="queues/update", is_scoped=True, handler=_edit, parameters=("group_id", *_IN_BOTH),
        summary="Change what is given of an in-group.",
    ),
    Action(
        name="goDeleteIngroup", permission="queues/delete", is_scoped=True, handler=_delete, parameters=("group_id",), summary="Delete an in-group.",
    ),
    Action(
        name="goDeleteInbound", permission="dids/read", is_scoped=True, handler=_delete_any, parameters=("inbound_id", "type"),
        summary="Delete an in-group, a call menu or DIDs (type ingroup, ivr, did); takes the permission to delete those.",
    ),
    Action(
        name="goGetAllIngroup", aliases=("goGetAllInboundList",), permission="queues/read", is_scoped=True, handler=_list, parameters=("limit",),
        summary="List in-groups.",
    ),
    Action(
        name="goGetIngroupInfo", aliases=("goGetInboundInfo",), permission="queues/read", is_scoped=True, handler=_info, parameters=("group_id",),
        summary="Read an in-group.",
    ),
    Action(
        name="goCheckIngroup", aliases=("goCheckInbound",), permission="queues/read", is_scoped=True, handler=_check, parameters=("group_id",),
        summary="Whether an in-group's ID is free.",
    ),
)  # fmt: skip
