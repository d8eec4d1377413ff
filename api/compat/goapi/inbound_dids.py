"""DIDs of goInbound: the five functions of the vendor's article and their helpers, every check in the documented order; a DID is live at once."""

from collections.abc import Mapping
from typing import Any, Final, cast

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.destinations import (
    SERVER_IP,
    lead_to_extension,
    lead_to_mailbox,
    lead_to_menu,
    lead_to_phone,
    lead_to_queue,
)
from api.compat.goapi.objects import (
    EVERYBODY,
    columns,
    delete,
    flag,
    make,
    missing,
    read_limit,
    rename,
    save,
)
from api.compat.goapi.parameters import Given, check_special
from api.compat.goapi.speech import fail
from api.compat.goapi.tenancy import Scope, make_scope, read_scope, read_view
from tandem.domain.destinations import (
    AgentDestination,
    Destination,
    DialplanDestination,
    EndpointDestination,
    HangupDestination,
    MenuDestination,
    Place,
    QueueDestination,
    VoicemailDestination,
)
from tandem.domain.entities import Did
from tandem.domain.snapshot import Snapshot
from tandem.store.did_ids import load_did_ids, load_groups, number_dids, rename_did, save_group
from tandem.store.user_groups import UserGroup, load_user_groups

ROUTES: Final = ("EXTEN", "VOICEMAIL", "AGENT", "PHONE", "IN_GROUP", "CALLMENU", "VMAIL_NO_INST")
UNAVAILABLE: Final = ("IN_GROUP", "EXTEN", "VOICEMAIL", "PHONE", "VMAIL_NO_INST")
_RECORDING: Final = {"Y": "yes", "N": "no", "Y_QUEUESTOP": "until-queue"}
_TOLD_RECORDING: Final = {ours: theirs for theirs, ours in _RECORDING.items()}
# What each route takes, in the order of its checks.
_TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "AGENT": ("user", "user_unavailable_action"),
    "IN_GROUP": ("group_id",),
    "PHONE": ("phone", "server_ip"),
    "CALLMENU": ("menu_id",),
    "VOICEMAIL": ("voicemail_ext",),
    "VMAIL_NO_INST": ("voicemail_ext",),
    "EXTEN": ("extension", "exten_context"),
}
_CHECKED: Final = ("user", "group_id", "phone", "server_ip", "menu_id", "voicemail_ext", "extension", "exten_context")
# Names of ours hold dashes and underscores.
_IDS: Final = frozenset({"user", "group_id", "menu_id", "exten_context"})
_ROUTE_FIELDS: Final = ("did_route", "user_unavailable_action", *_CHECKED)
_BAD_ACTION: Final = (
    "Error: Default value for user_unavailable_action is IN_GROUP','EXTEN','VOICEMAIL','PHONE', or 'VMAIL_NO_INST'."
)
_BAD_ACTIVE: Final = "Error: Default value for active is Y or N only."
_BAD_ROUTE: Final = "Error: Default value for did_route are EXTEN, VOICEMAIL, AGENT, PHONE, IN_GROUP, or CALLMENU only."
_BAD_RECORDING: Final = "Error: Default value for Record Call are Y, N and Y_QUEUESTOP only."
_WORDS: Final = {
    "number": "did_pattern",
    "description": "did_description",
    "caller_id_cleanup": "filter_clean_cid_number",
    "active": "did_active",
}
_MAX_AT_ONCE: Final = 500


# ---------------------------------------------------------------------------------------------------------- reading


def _read_pattern(given: Given, current: str = "") -> str:
    """A new number; what stands there already may stay, whatever it holds."""
    value = given.line("did_pattern")
    return value if value == current else check_special("did_pattern", value)


def _read_choice(given: Given, name: str, choices: Any, message: str) -> str:
    value = given.text(name).upper()
    if value and value not in choices:
        raise fail(message)
    return value


def _read_words(given: Given) -> dict[str, str]:
    """What is given of the route and of how the call is handled; the enums in their order."""
    action = _read_choice(given, "user_unavailable_action", UNAVAILABLE, _BAD_ACTION)
    active = given.flag("did_active", _BAD_ACTIVE)
    route = _read_choice(given, "did_route", ROUTES, _BAD_ROUTE)
    return {"user_unavailable_action": action, "did_active": "" if active is None else flag(active), "did_route": route}


def _need_targets(words: Mapping[str, str]) -> None:
    for name in _TARGETS[words["did_route"]]:
        if not words.get(name):
            raise fail(f"Error: Set Value for {name}")


def _check_targets(given: Given) -> dict[str, str]:
    return {name: check_special(name, given.text(name), is_id=name in _IDS) for name in _CHECKED}


def _lead(snapshot: Snapshot, words: Mapping[str, str]) -> Destination:
    """Where the call goes; Said for what is not there."""
    if words["did_route"] != "AGENT":
        return _lead_plainly(snapshot, words["did_route"], words)
    agent = lead_to_phone(snapshot, words["user"], "user").endpoint
    unavailable, more = words["user_unavailable_action"], dict(words)
    if unavailable in ("VOICEMAIL", "VMAIL_NO_INST") and not words["voicemail_ext"]:
        # The agent's own box, where nobody says otherwise.
        more["voicemail_ext"] = snapshot.endpoints[agent].voicemail or ""
    _need_targets({**more, "did_route": unavailable})
    return AgentDestination(agent=agent, unavailable=cast(Place, _lead_plainly(snapshot, unavailable, more)))


def _lead_plainly(snapshot: Snapshot, route: str, words: Mapping[str, str]) -> Destination:
    match route:
        case "IN_GROUP":
            return lead_to_queue(snapshot, words["group_id"], "group_id")
        case "PHONE":
            return lead_to_phone(snapshot, words["phone"], "phone")
        case "CALLMENU":
            return lead_to_menu(snapshot, words["menu_id"], "menu_id")
        case "EXTEN":
            return lead_to_extension(snapshot, words["extension"], words["exten_context"], "extension")
    return lead_to_mailbox(snapshot, words["voicemail_ext"], "voicemail_ext", instructions=route == "VOICEMAIL")


# ---------------------------------------------------------------------------------------------------------- telling


def _tell_target(destination: Destination, words: dict[str, Any]) -> str:
    """Their route of ours, its target into `words`; '' for what they have no word for."""
    match destination:
        case QueueDestination(queue=name):
            words["group_id"] = name
            return "IN_GROUP"
        case MenuDestination(menu=name):
            words["menu_id"] = name
            return "CALLMENU"
        case VoicemailDestination(voicemail=mailbox):
            words["voicemail_ext"] = mailbox
            return "VOICEMAIL" if destination.instructions else "VMAIL_NO_INST"
        case EndpointDestination(endpoint=extension):
            words["phone"], words["server_ip"] = extension, SERVER_IP
            return "PHONE"
        case DialplanDestination(dialplan=place):
            words["exten_context"], _, words["extension"] = place.partition(",")
            return "EXTEN"
        case AgentDestination(agent=extension):
            words["user"] = extension
            words["user_unavailable_action"] = _tell_target(destination.unavailable, words)
            return "AGENT"
        case HangupDestination():
            words["extension"], words["exten_context"] = "9998811112", "default"
            return "EXTEN"
    return ""


def tell(did: Did, did_id: int, owner: str | None) -> dict[str, Any]:
    """The row of a DID."""
    words: dict[str, Any] = dict.fromkeys(_CHECKED, "")
    words["user_unavailable_action"] = ""
    route = _tell_target(did.destination, words)
    return {
        "did_id": did_id,
        "did_pattern": did.number,
        "did_description": did.description,
        "did_active": flag(did.active),
        "active": flag(did.active),
        "did_route": route,
        **words,
        "user_route_settings_ingroup": "AGENTDIRECT",
        "record_call": _TOLD_RECORDING[did.recording],
        "filter_clean_cid_number": did.caller_id_cleanup,
        "user_group": owner or EVERYBODY,
    }


class DidBook:
    """The DIDs that somebody sees, by their whole number."""

    def __init__(self, snapshot: Snapshot, scope: Scope, ids: Mapping[str, int], owners: Mapping[str, str]) -> None:
        self.snapshot, self.scope, self.owners, self._ids = snapshot, scope, owners, ids
        self.dids = {ids[did.number]: did for did in snapshot.dids if scope.shows(owners.get(did.number))}

    def row(self, did_id: int) -> dict[str, Any]:
        """One of them."""
        did = self.dids[did_id]
        return tell(did, did_id, self.owners.get(did.number))

    def find(self, text: str) -> int | None:
        """The number in a parameter, if there is such a DID."""
        did_id = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
        return did_id if did_id in self.dids else None

    def find_pattern(self, pattern: str) -> int | None:
        """The DID of that number, however it is written."""
        did = named(self.snapshot, pattern)
        return self.find(str(self._ids[did.number])) if did is not None else None


def named(snapshot: Snapshot, pattern: str) -> Did | None:
    """The DID that this number is; None also for what is no number."""
    try:
        return snapshot.dids.named(pattern)
    except ValueError:
        return None


def _read_beside(db: Any) -> tuple[dict[str, int], dict[str, str], list[UserGroup]]:
    return load_did_ids(db), load_groups(db, "dids"), load_user_groups(db)


async def open_dids(call: Call) -> DidBook:
    """Those that who asks may see, each with its number."""
    snapshot = await call.services.head.read()
    names = [did.number for did in snapshot.dids]

    ids, owners, groups = await call.services.read_recent("goapi dids", _read_beside)
    if any(name not in ids for name in names):
        ids = await call.services.store.run(number_dids, names)
        call.services.recent.forget()
    return DidBook(snapshot, make_scope(call, groups), ids, owners)


# --------------------------------------------------------------------------------------------------------- handlers


async def _add(call: Call) -> Mapping[str, Any]:
    given = call.given
    if not given.text("did_pattern"):
        raise fail("Error: Set a value for DID pattern.")
    if not given.text("did_description"):
        raise fail("Error: Set a value for did_description.")
    pattern = _read_pattern(given)
    description = check_special("did_description", given.line("did_description"))
    words = _read_words(given)
    if not words["did_route"]:
        raise fail(_BAD_ROUTE)
    recording = _read_choice(given, "record_call", _RECORDING, _BAD_RECORDING) or "N"
    cleanup = given.text("filter_clean_cid_number")
    _need_targets(words | {name: given.text(name) for name in _CHECKED})
    words |= _check_targets(given)
    destination = _lead(await read_view(call), words)
    owner = (await read_scope(call)).choose(given.text("user_group"))

    def decide(snapshot: Snapshot) -> Did:
        if named(snapshot, pattern) is not None:
            raise fail("DID NOT ADDED - DID already exist.")
        return make(
            Did, _WORDS, number=pattern, description=description, destination=destination, active=words["did_active"] != "N",
            recording=_RECORDING[recording], caller_id_cleanup=cleanup,
        )  # fmt: skip

    ids: dict[str, int] = {}

    def beside(db: Any) -> None:
        ids.update(number_dids(db, [pattern]))
        save_group(db, "dids", pattern, owner)

    more = await save(call, decide, beside)
    return {"did_id": ids[pattern], **more}


async def _edit(call: Call) -> Mapping[str, Any]:
    given = call.given
    if not given.text("did_id"):
        raise fail("Error: Set a value for DID ID.")
    book = await open_dids(call)
    did_id = book.find(given.text("did_id"))
    if did_id is None:
        raise missing("DID not found.")
    did, row = book.dids[did_id], book.row(did_id)
    if given.text("did_pattern") and (other := named(book.snapshot, given.text("did_pattern"))) not in (None, did):
        assert other is not None
        raise fail("Duplicate did_pattern, It must be unique!")
    pattern = _read_pattern(given, did.number) or did.number
    description = check_special("did_description", given.text("did_description")) or did.description
    words = _read_words(given)
    recording = _read_choice(given, "record_call", _RECORDING, _BAD_RECORDING) or row["record_call"]
    words |= _check_targets(given)
    destination = did.destination
    if any(words[name] for name in _ROUTE_FIELDS):
        merged = {name: words[name] or row[name] for name in _ROUTE_FIELDS}
        if not merged["did_route"]:
            raise fail(_BAD_ROUTE)
        _need_targets(merged)
        destination = _lead(await read_view(call), merged)
    changed: dict[str, Any] = {
        "number": pattern,
        "description": description,
        "destination": destination,
        "active": words["did_active"] == "Y" if words["did_active"] else did.active,
        "recording": _RECORDING[recording],
        "caller_id_cleanup": given.text("filter_clean_cid_number") or did.caller_id_cleanup,
    }
    # What goAPI has no word for stays as it is.
    kept = {name: getattr(did, name) for name in Did.__dataclass_fields__}
    new = make(Did, _WORDS, **kept | changed)

    def still(snapshot: Snapshot) -> None:
        if named(snapshot, did.number) is None:
            raise missing("DID not found.")

    def keep(snapshot: Snapshot) -> Did:
        still(snapshot)
        return new

    def move(snapshot: Snapshot) -> tuple[Did, Did]:
        still(snapshot)
        return did, new

    def move_beside(db: Any) -> None:
        rename_did(db, did.number, pattern)
        save_group(db, "dids", did.number, None)
        save_group(db, "dids", pattern, book.owners.get(did.number))

    more = await (save(call, keep) if pattern == did.number else rename(call, move, move_beside))
    return {"did_id": did_id, **more}


async def _delete(call: Call) -> Mapping[str, Any]:
    wanted = call.given.many("did_id")
    if not wanted or wanted == ("0",):
        raise fail("Error: Set a value for did id.")
    return await delete_dids(call, wanted, "Error: DID doesn't exist.")


async def delete_dids(call: Call, wanted: tuple[str, ...], lost: str) -> dict[str, Any]:
    """Takes DIDs away: all of them are known before the first one goes."""
    if len(wanted) > _MAX_AT_ONCE:
        raise fail(f"Error: at most {_MAX_AT_ONCE} DIDs at once")
    book = await open_dids(call)
    found = dict.fromkeys(book.find(text) for text in wanted)
    gone = []
    for did_id in found:
        if did_id is None:
            raise missing(lost)
        gone.append(did_id)
    more = await delete(call, *(book.dids[did_id] for did_id in gone))
    return {"did_id": gone[0] if len(gone) == 1 else gone, **more}


async def _list(call: Call) -> Mapping[str, Any]:
    book = await open_dids(call)
    rows = sorted((book.row(did_id) for did_id in book.dids), key=lambda row: row["did_pattern"])[: read_limit(call)]
    return columns(rows, ("did_id", "did_pattern", "did_description", "active", "did_active", "did_route"))


async def _info(call: Call) -> Mapping[str, Any]:
    given, pattern = call.given, call.given.text("did_pattern")
    if not given.text("did_id") and not pattern:
        raise fail("Error: Set a value for did_pattern.")
    book = await open_dids(call)
    did_id = book.find(given.text("did_id")) if given.text("did_id") else book.find_pattern(pattern)
    if did_id is None:
        raise missing("Error: DID doesn't exist.")
    row = book.row(did_id)
    shown = columns([row], ("did_id", "did_pattern", "did_description", "active", "did_active", "did_route"))
    return {"data": row, **shown}


async def _check(call: Call) -> Mapping[str, Any]:
    pattern = call.given.text("did_pattern")
    if not pattern:
        raise fail("Error: Set a value for did_pattern.")
    check_special("did_pattern", pattern)
    if named(await call.services.head.read(), pattern) is not None:
        raise fail("DID NOT ADDED - DID already exist.")
    return {}


_ALL: Final = (
    "did_pattern", "did_description", "user_unavailable_action", "did_active", "did_route", "record_call", *_CHECKED,
    "filter_clean_cid_number",
)  # fmt: skip

ACTIONS: Final = (
    Action(
        name="goAddDID", permission="dids/create", is_scoped=True, handler=_add, summary="Add a DID with its route.",
        parameters=(*_ALL, "user_group"),
    ),
    Action(
        name="goEditDID", aliases=("goEditDIDAPI",), permission="dids/update", is_scoped=True, handler=_edit, parameters=("did_id", *_ALL),
        summary="Change what is given of a DID.",
    ),
    Action(name="goDeleteDID", permission="dids/delete", is_scoped=True, handler=_delete, parameters=("did_id",), summary="Delete DIDs."),
    Action(
        name="goGetAllDID", aliases=("goGetDIDsList", "getAllDIDs", "goGetAllDIDs"), permission="dids/read", is_scoped=True, handler=_list,
        parameters=("limit",), summary="List DIDs, by number.",
    ),
    Action(
        name="goGetDIDInfo", permission="dids/read", is_scoped=True, handler=_info, parameters=("did_id", "did_pattern"), summary="Read a DID.",
    ),
    Action(
        name="goCheckDID", permission="dids/read", is_scoped=True, handler=_check, parameters=("did_pattern",), summary="Whether a number is free.",
    ),
)  # fmt: skip
