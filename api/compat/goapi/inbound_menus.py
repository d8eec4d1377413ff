"""Call menus of goInbound (IVR), which are menus: add, edit, delete, list, info, options, check; never writes dialplan of a client's."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.destinations import lead, split_prompts, tell
from api.compat.goapi.inbound_queues import find, find_key, read_int
from api.compat.goapi.objects import EVERYBODY, change_all, columns, delete, make, missing, read_groups, read_limit
from api.compat.goapi.parameters import Given, check_special
from api.compat.goapi.speech import fail
from api.compat.goapi.tenancy import read_scope, read_view
from tandem.domain.destinations import AnnouncementDestination, Destination, HangupDestination, MenuDestination
from tandem.domain.entities import Announcement, Entity, Menu
from tandem.domain.routing import describe_destination
from tandem.domain.snapshot import Snapshot
from tandem.store.did_ids import save_group

# How keys that are no digits are written.
_KEYS: Final = {"A": "#", "B": "*", "D": "TIMEOUT", "E": "INVALID", "C": "TIMECHECK", "T": "TIMEOUT", "I": "INVALID"}
_TIMEOUT: Final = "TIMEOUT"
_INVALID: Final = "INVALID"
_MAX_OPTIONS: Final = 30
_WORDS: Final = {
    "name": "menu_id",
    "description": "menu_name",
    "prompts": "menu_prompt",
    "timeout_s": "menu_timeout",
    "timeout_retries": "menu_repeat",
    "invalid_retries": "menu_repeat",
    "timeout_prompts": "menu_timeout_prompt",
    "invalid_prompts": "menu_invalid_prompt",
    "options": "option_value",
}
_LOST: Final = "Error: Call menu doesn't exist."
_EXISTS: Final = "Error: Call menu ID already exists."
_GOODBYE: Final = "vm-goodbye"
_PLAIN: Final = (
    "menu_name",
    "menu_prompt",
    "menu_timeout",
    "menu_timeout_prompt",
    "menu_invalid_prompt",
    "menu_repeat",
)
_NOT_SERVED: Final = ("menu_time_check", "track_in_vdac", "tracking_group", "custom_dialplan_entry")
_ARRAYS: Final = ("route_option", "route_desc", "route_menu", "option_route_value", "option_route_context")


def _read_plain(given: Given) -> dict[str, Any]:
    """Our fields of those that are given."""
    found: dict[str, Any] = {}
    if name := check_special("menu_name", given.text("menu_name")):
        found["description"] = name
    for parameter, field in (
        ("menu_prompt", "prompts"),
        ("menu_timeout_prompt", "timeout_prompts"),
        ("menu_invalid_prompt", "invalid_prompts"),
    ):
        if text := check_special(parameter, given.text(parameter), is_id=True, allows="|"):
            found[field] = () if text == "NONE" else split_prompts(text)
    if given.line("menu_timeout"):
        found["timeout_s"] = float(read_int(given, "menu_timeout", 1, 60))
    if given.line("menu_repeat"):
        found["timeout_retries"] = found["invalid_retries"] = read_int(given, "menu_repeat", 0, 9)
    if given.text("menu_time_check") not in ("", "N"):
        raise fail("Error: menu_time_check is not served: lead the DID over opening hours instead.")
    if given.text("track_in_vdac") not in ("", "1", "N", "Y"):
        raise fail("Error: Default value for track_in_vdac is 0 or 1 only.")
    check_special("tracking_group", given.text("tracking_group"), is_id=True)
    if given.lines("custom_dialplan_entry").strip() not in ("", "0"):
        raise fail("Error: custom_dialplan_entry is not served: nobody writes dialplan from outside.")
    return found


class _Option(tuple[str, str, str, str]):
    """(key, route, value, context)."""

    __slots__ = ()


def _read_items(given: Given) -> list[_Option]:
    """The options of `items` (`value+description+route+target+context`, one after the other with `|` between), or of the five arrays."""
    if text := given.line("items"):
        rows = [part.split("+") if "+" in part else part.split(" ") for part in text.split("|") if part.strip()]
        found = [(row + [""] * 5)[:5] for row in rows]
    else:
        arrays = [given.listed(name) for name in _ARRAYS]
        length = max(map(len, arrays))
        padded = [list(array) + [""] * (length - len(array)) for array in arrays]
        found = [list(row) for row in zip(*padded, strict=True)]
    if len(found) > _MAX_OPTIONS:
        raise fail(f"Error: a call menu has at most {_MAX_OPTIONS} options")
    return [
        _Option(
            (_read_key(key), check_special("route", route.strip().upper(), is_id=True), value.strip(), context.strip())
        )
        for key, _, route, value, context in found
        if key.strip() and route.strip()
    ]


def _read_key(text: str) -> str:
    key = text.strip().upper()
    return _KEYS.get(key, key)


def _lead_all(
    snapshot: Snapshot, options: Iterable[_Option], own: str
) -> tuple[dict[str, Destination], list[Announcement]]:
    """(key -> where it leads, announcements that are to be made: prompts before a hang-up become one of their own). own: the menu, which may not be there yet."""
    found: dict[str, Destination] = {}
    announcements: dict[str, str] = {}
    for key, route, value, context in options:
        if key == "TIMECHECK":
            raise fail("Error: option TIMECHECK is not served: lead the DID over opening hours instead.")
        if key in found:
            raise fail(f"Error: option {check_special('option_value', key[:20], allows='#*')} is there twice")
        check_special("option_route_value", value, is_id=True, allows="+|,")
        check_special("option_route_context", context, is_id=True, allows=",")
        if route == "CALLMENU" and value == own:
            found[key] = MenuDestination(menu=own)
        elif route == "HANGUP" and value and value != _GOODBYE:
            name = f"hangup-{hashlib.sha256(value.encode()).hexdigest()[:12]}"
            announcements[name] = value
            found[key] = AnnouncementDestination(announcement=name)
        elif route == "INGROUP":
            found[key] = lead(snapshot, route, value, "", "option_route_value")
        else:
            found[key] = lead(snapshot, route, value, context, "option_route_value")
    made = [
        make(Announcement, {"prompts": "option_route_value"}, name=name, prompts=split_prompts(text))
        for name, text in announcements.items()
        if name not in snapshot.announcements
    ]
    return found, made


async def _add(call: Call) -> Mapping[str, Any]:
    given = call.given
    for name, word in (("menu_id", "Menu ID"), ("menu_name", "Menu Name"), ("menu_prompt", "Menu Prompt")):
        if not given.text(name):
            raise fail(f"Error: Set a value for {word}.")
    name = check_special("menu_id", given.text("menu_id"), is_id=True)
    if len(name) < 4:
        raise fail("Error: Menu ID must be at least 4 characters.")
    plain = _read_plain(given)
    options = _read_items(given)
    owner = (await read_scope(call)).choose(given.text("user_group"))
    snapshot = await call.services.head.read()
    if find_key(snapshot.menus, name) is not None:
        raise fail(_EXISTS)
    leads, announcements = _lead_all(await read_view(call), options, name)
    values = _spread(
        leads, {"invalid": HangupDestination(), "timeout": HangupDestination(), "fallback": HangupDestination()}
    )

    def decide(now: Snapshot) -> list[Entity]:
        if find_key(now.menus, name) is not None:
            raise fail(_EXISTS)
        return [*announcements, make(Menu, _WORDS, name=name, **values | plain)]

    return await change_all(call, decide, lambda db: save_group(db, "menus", name, owner))


def _spread(leads: Mapping[str, Destination], values: dict[str, Any]) -> dict[str, Any]:
    """Our fields of what keys, silence and wrong keys do."""
    options = {key: destination for key, destination in leads.items() if key not in (_TIMEOUT, _INVALID)}
    found = values | {"options": options}
    for key, field in ((_TIMEOUT, "timeout"), (_INVALID, "invalid")):
        if key in leads:
            found[field] = leads[key]
    return found


async def _edit(call: Call) -> Mapping[str, Any]:
    given = call.given
    if not (name := given.text("menu_id")):
        raise fail("Error: Set a value for Menu ID.")
    menu, _, _ = await find(call, "menus", name, _LOST)
    changes, announcements = _read_plain(given), list[Announcement]()
    if options := _read_items(given):
        leads, announcements = _lead_all(await read_view(call), options, name)
        changes |= _spread(leads, {})
    kept = {field: getattr(menu, field) for field in Menu.__dataclass_fields__}
    new = make(Menu, _WORDS, **kept | changes)

    def decide(snapshot: Snapshot) -> list[Entity]:
        if name not in snapshot.menus:
            raise missing(_LOST)
        return [*announcements, new]

    return await change_all(call, decide)


async def _delete(call: Call) -> Mapping[str, Any]:
    if not (name := call.given.text("menu_id")):
        raise fail("Error: Set a value for Menu ID.")
    menu, _, _ = await find(call, "menus", name, _LOST)
    return await delete(call, menu)


def _row(menu: Menu, owner: str | None) -> dict[str, Any]:
    return {
        "menu_id": menu.name,
        "menu_name": menu.description,
        "menu_prompt": "|".join(menu.prompts),
        "menu_timeout": int(menu.timeout_s),
        "menu_timeout_prompt": "|".join(menu.timeout_prompts),
        "menu_invalid_prompt": "|".join(menu.invalid_prompts),
        "menu_repeat": menu.timeout_retries,
        "menu_time_check": "0",
        "call_time_id": "",
        "track_in_vdac": "0",
        "tracking_group": "CALLMENU",
        "custom_dialplan_entry": "",
        "user_group": owner or EVERYBODY,
    }


async def _list(call: Call) -> Mapping[str, Any]:
    snapshot = await call.services.head.read()
    scope, owners = await read_scope(call), await read_groups(call, "menus")
    seen = scope.filter(snapshot.menus, owners)
    rows = [_row(seen[name], owners.get(name)) for name in sorted(seen)][: read_limit(call)]
    return columns(rows, ("menu_id", "menu_name", "menu_prompt", "menu_timeout"))


async def _info(call: Call) -> Mapping[str, Any]:
    if not (name := call.given.text("menu_id")):
        raise fail("Error: Set a value for Menu ID.")
    menu, _, owners = await find(call, "menus", name, _LOST)
    return {"data": _row(menu, owners.get(name))}


async def _options(call: Call) -> Mapping[str, Any]:
    if not (name := call.given.text("menu_id")):
        raise fail("Error: Set a value for Menu ID.")
    menu, _, _ = await find(call, "menus", name, _LOST)
    snapshot = await call.services.head.read()
    rows = []
    for key, destination in (*sorted(menu.options.items()), (_TIMEOUT, menu.timeout), (_INVALID, menu.invalid)):
        route, value, context = tell(snapshot, destination)
        rows.append(
            {
                "menu_id": name, "option_value": key, "option_description": describe_destination(destination), "option_route": route,
                "option_route_value": value, "option_route_value_context": context,
            }
        )  # fmt: skip
    names = (
        "menu_id",
        "option_value",
        "option_description",
        "option_route",
        "option_route_value",
        "option_route_value_context",
    )
    return columns(rows, names)


async def _check(call: Call) -> Mapping[str, Any]:
    name = check_special("menu_id", call.given.text("menu_id"), is_id=True)
    if not name:
        raise fail("Error: Set a value for Menu ID.")
    if find_key((await call.services.head.read()).menus, name) is not None:
        return {"result": "fail", "status": _EXISTS}
    return {}


_ALL: Final = ("menu_id", *_PLAIN, *_NOT_SERVED, "items", *_ARRAYS)

ACTIONS: Final = (
    Action(
        name="goAddIVR", aliases=("goAddIVRmenu",), permission="menus/create", is_scoped=True, handler=_add, parameters=(*_ALL, "user_group"),
        summary="Add a call menu.",
    ),
    Action(
        name="goEditIVR", permission="menus/update", is_scoped=True, handler=_edit, parameters=_ALL,
        summary="Change what is given of a call menu; options are replaced together.",
    ),
    Action(
        name="goDeleteIVR", permission="menus/delete", is_scoped=True, handler=_delete, parameters=("menu_id",), summary="Delete a call menu.",
    ),
    Action(
        name="goGetAllIVR", aliases=("goGetIVRMenusList",), permission="menus/read", is_scoped=True, handler=_list, parameters=("limit",),
        summary="List call menus.",
    ),
    Action(
        name="goGetIVRInfo", permission="menus/read", is_scoped=True, handler=_info, parameters=("menu_id",), summary="Read a call menu.",
    ),
    Action(
        name="goGetIVROptions", permission="menus/read", is_scoped=True, handler=_options, parameters=("menu_id",), summary="What its keys do.",
    ),
    Action(
        name="goCheckIVR", permission="menus/read", is_scoped=True, handler=_check, parameters=("menu_id",), summary="Whether a menu's ID is free.",
    ),
)  # fmt: skip
