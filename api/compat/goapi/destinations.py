"""Where calls go, in goAPI's words and in ours: routes of DIDs, options of call menus, what in-groups do with callers; decides nothing else."""

from typing import Final

from pydantic import ValidationError

from api.compat.goapi.parameters import check_special
from api.compat.goapi.speech import fail
from tandem.domain.destinations import (
    AnnouncementDestination,
    Destination,
    DialplanDestination,
    DidDestination,
    EndpointDestination,
    ExternalDestination,
    HangupDestination,
    MenuDestination,
    QueueDestination,
    VoicemailDestination,
)
from tandem.domain.snapshot import Snapshot

# The one server that there is, as its phones and carriers are shown.
SERVER_IP: Final = "127.0.0.1"
# Contexts of GOautodial from which a number inside is dialled.
INSIDE: Final = frozenset({"default", "trunkinbound", "tandem-from-endpoint"})


def lead_to_queue(snapshot: Snapshot, name: str, field: str) -> QueueDestination:
    """An in-group."""
    if name not in snapshot.queues:
        raise _unknown(field, name)
    return QueueDestination(queue=name)


def lead_to_menu(snapshot: Snapshot, name: str, field: str) -> MenuDestination:
    """A call menu."""
    if name not in snapshot.menus:
        raise _unknown(field, name)
    return MenuDestination(menu=name)


def lead_to_mailbox(snapshot: Snapshot, mailbox: str, field: str, *, instructions: bool = True) -> VoicemailDestination:
    """A voicemail box."""
    if mailbox not in snapshot.voicemail_boxes:
        raise _unknown(field, mailbox)
    return VoicemailDestination(voicemail=mailbox, instructions=instructions)


def lead_to_phone(snapshot: Snapshot, extension: str, field: str) -> EndpointDestination:
    """A phone; of its servers there is but one."""
    if extension not in snapshot.endpoints:
        raise _unknown(field, extension)
    return EndpointDestination(endpoint=extension)


def lead_to_extension(snapshot: Snapshot, extension: str, context: str, field: str) -> Destination:
    """A place in the admin's dialplan, or a number inside."""
    if context in snapshot.general.allowed_contexts:
        try:
            return DialplanDestination(dialplan=f"{context},{extension}")
        except ValidationError:
            raise fail(f"Error: {field} must be an extension of the dialplan: digits, letters, * # + _ -") from None
    if context in INSIDE:
        found = snapshot.numbers.get(extension)
        if found is None:
            raise _unknown(field, extension)
        return found
    raise fail(f"Error: context {context} is not one that calls may go to (general.allowed_contexts)")


def _unknown(field: str, name: str) -> Exception:
    return fail(f"Error: {field} {name[:60]} doesn't exist.")


def split_extension(text: str) -> tuple[str, str]:
    """(extension, context) of `exten,context`, which goAPI writes in this order."""
    extension, _, context = text.partition(",")
    return extension.strip(), context.strip() or "default"


def lead(snapshot: Snapshot, route: str, value: str, context: str, field: str) -> Destination:
    """An option of a call menu, or what an in-group does with a caller; `field` is named where it is wrong.

    IN_GROUP and INGROUP are the same: goAPI has both spellings. Announcements before a hang-up are not made here.
    """
    match route:
        case "IN_GROUP" | "INGROUP":
            return lead_to_queue(snapshot, value, field)
        case "CALLMENU":
            return lead_to_menu(snapshot, value, field)
        case "VOICEMAIL" | "VMAIL_NO_INST":
            return lead_to_mailbox(snapshot, value, field, instructions=route == "VOICEMAIL")
        case "PHONE":
            return lead_to_phone(snapshot, value, field)
        case "EXTENSION" | "EXTEN":
            extension, inside = split_extension(value)
            return lead_to_extension(snapshot, extension, context or inside, field)
        case "DID":
            try:
                found = snapshot.dids.named(value)
            except ValueError:
                found = None
            if found is None:
                raise _unknown(field, value)
            return DidDestination(did=found.number)
        case "HANGUP":
            return HangupDestination()
    raise fail(f"Error: route {check_special('route', route[:20])} is not served")


def find_message(snapshot: Snapshot, prompts: str) -> Destination | None:
    """Prompts (`a|b`) and then a hang-up: the announcement that does just that; or that has this name."""
    wanted = split_prompts(prompts)
    for announcement in snapshot.announcements.values():
        if announcement.prompts == wanted and isinstance(announcement.then, HangupDestination):
            return AnnouncementDestination(announcement=announcement.name)
    return AnnouncementDestination(announcement=prompts) if prompts in snapshot.announcements else None


def split_prompts(text: str) -> tuple[str, ...]:
    """The sounds of `a|b`."""
    return tuple(part.strip() for part in text.split("|") if part.strip())


def tell(snapshot: Snapshot, destination: Destination | None) -> tuple[str, str, str]:
    """(route, value, context) in the words of call menus and in-groups; route '' for what they have no word for."""
    match destination:
        case QueueDestination(queue=name):
            return "INGROUP", name, ""
        case MenuDestination(menu=name):
            return "CALLMENU", name, ""
        case VoicemailDestination(voicemail=mailbox):
            return ("VOICEMAIL" if destination.instructions else "VMAIL_NO_INST"), mailbox, ""
        case EndpointDestination(endpoint=extension):
            return "PHONE", extension, SERVER_IP
        case DialplanDestination(dialplan=place):
            context, _, extension = place.partition(",")
            return "EXTENSION", extension, context
        case ExternalDestination(external=number):
            return "EXTENSION", number, "default"
        case DidDestination(did=number):
            return "DID", number, ""
        case HangupDestination():
            return "HANGUP", "", ""
        case AnnouncementDestination(announcement=name) if name in snapshot.announcements:
            return "HANGUP", "|".join(snapshot.announcements[name].prompts), ""
    return "", "", ""
