"""goVoicemails: voicemail boxes; their PINs are written and never shown."""

from collections.abc import Mapping
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.inbound_queues import find
from api.compat.goapi.objects import EVERYBODY, columns, delete, make, missing, read_groups, read_limit, save
from api.compat.goapi.parameters import Given, check_special
from api.compat.goapi.speech import fail
from api.compat.goapi.tenancy import read_scope
from tandem.domain.entities import VoicemailBox
from tandem.domain.snapshot import Snapshot
from tandem.store.did_ids import save_group

_WORDS: Final = {"mailbox": "voicemail_id", "pin": "pass", "name": "fullname", "email": "email"}
_LOST: Final = "Error: Voicemail doesn't exist."
_DUPLICATE: Final = "Error: Add failed, Duplicate voicemail ID found!"
_FIELDS: Final = ("pass", "fullname", "email", "active", "delete_vm_after_email")


def _read(given: Given) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if pin := given.line("pass"):
        found["pin"] = pin
    if name := check_special("fullname", given.text("fullname")):
        found["name"] = name
    if email := given.text("email"):
        found["email"] = email
    if given.flag("active", "Error: Default value for active is Y or N only.") is False:
        raise fail("Error: a voicemail that is not active is not served: delete it.")
    if given.flag("delete_vm_after_email", "Error: Default value for delete_vm_after_email is Y or N only."):
        raise fail("Error: delete_vm_after_email Y is not served.")
    return found


async def _add(call: Call) -> Mapping[str, Any]:
    given = call.given
    for name, word in (("voicemail_id", "Voicemail ID"), ("pass", "Password"), ("fullname", "Full Name")):
        if not given.text(name):
            raise fail(f"Error: Set a value for {word}.")
    mailbox = check_special("voicemail_id", given.text("voicemail_id"))
    if len(mailbox) < 3:
        raise fail("Error: Voicemail ID must be at least 3 digits.")
    values = _read(given)
    owner = (await read_scope(call)).choose(given.text("user_group"))

    def decide(snapshot: Snapshot) -> VoicemailBox:
        if mailbox in snapshot.voicemail_boxes:
            raise fail(_DUPLICATE)
        return make(VoicemailBox, _WORDS, mailbox=mailbox, **values)

    return await save(call, decide, lambda db: save_group(db, "voicemail_boxes", mailbox, owner))


def _name(given: Given) -> str:
    if not (mailbox := given.text("voicemail_id")):
        raise fail("Error: Set a value for Voicemail ID.")
    return mailbox


async def _edit(call: Call) -> Mapping[str, Any]:
    mailbox = _name(call.given)
    box, _, _ = await find(call, "voicemail_boxes", mailbox, _LOST)
    kept = {field: getattr(box, field) for field in VoicemailBox.__dataclass_fields__}
    new = make(VoicemailBox, _WORDS, **kept | _read(call.given))

    def decide(snapshot: Snapshot) -> VoicemailBox:
        if mailbox not in snapshot.voicemail_boxes:
            raise missing(_LOST)
        return new

    return await save(call, decide)


async def _delete(call: Call) -> Mapping[str, Any]:
    box, _, _ = await find(call, "voicemail_boxes", _name(call.given), _LOST)
    return await delete(call, box)


def _row(box: VoicemailBox, owner: str | None) -> dict[str, Any]:
    return {
        "voicemail_id": box.mailbox,
        "fullname": box.name,
        "email": box.email or "",
        "active": "Y",
        "messages": 0,
        "old_messages": 0,
        "delete_vm_after_email": "N",
        "user_group": owner or EVERYBODY,
    }


async def _list(call: Call) -> Mapping[str, Any]:
    snapshot = await call.services.head.read()
    scope, owners = await read_scope(call), await read_groups(call, "voicemail_boxes")
    seen = scope.filter(snapshot.voicemail_boxes, owners)
    rows = [_row(seen[name], owners.get(name)) for name in sorted(seen)][: read_limit(call)]
    names = ("voicemail_id", "fullname", "active", "messages", "old_messages", "delete_vm_after_email", "user_group")
    return columns(rows, names)


async def _info(call: Call) -> Mapping[str, Any]:
    box, _, owners = await find(call, "voicemail_boxes", _name(call.given), _LOST)
    return {"data": _row(box, owners.get(box.mailbox))}


async def _check(call: Call) -> Mapping[str, Any]:
    mailbox = check_special("voicemail_id", _name(call.given))
    if mailbox in (await call.services.head.read()).voicemail_boxes:
        return {"result": "fail", "data": _DUPLICATE}
    return {}


ACTIONS: Final = (
    Action(
        name="goAddVoicemail", permission="voicemail/create", is_scoped=True, handler=_add, summary="Add a voicemail box.",
        parameters=("voicemail_id", *_FIELDS, "user_group"),
    ),
    Action(
        name="goEditVoicemail", permission="voicemail/update", is_scoped=True, handler=_edit, parameters=("voicemail_id", *_FIELDS),
        summary="Change what is given of a voicemail box.",
    ),
    Action(
        name="goDeleteVoicemail", permission="voicemail/delete", is_scoped=True, handler=_delete, parameters=("voicemail_id",),
        summary="Delete a voicemail box.",
    ),
    Action(
        name="goGetAllVoicemails", aliases=("getAllVoicemails",), permission="voicemail/read", is_scoped=True, handler=_list,
        parameters=("limit",), summary="List voicemail boxes.",
    ),
    Action(
        name="goGetVoicemailInfo", aliases=("getVoicemailInfo",), permission="voicemail/read", is_scoped=True, handler=_info,
        parameters=("voicemail_id",), summary="Read a voicemail box.",
    ),
    Action(
        name="goCheckVoicemail", permission="voicemail/read", is_scoped=True, handler=_check, parameters=("voicemail_id",),
        summary="Whether a voicemail box's ID is free.",
    ),
)  # fmt: skip
