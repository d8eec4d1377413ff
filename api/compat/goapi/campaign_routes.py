"""Where a campaign's calls go and come from: its carrier, the in-group of its agents, the DID that callers reach it by, the message for machines; dials nothing."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.campaign_whole import Whole
from api.compat.goapi.destinations import lead_to_mailbox, lead_to_menu, lead_to_phone, split_prompts
from api.compat.goapi.inbound_dids import named, open_dids
from api.compat.goapi.objects import make, read_limit
from api.compat.goapi.parameters import check_special
from api.compat.goapi.speech import Said, fail, fail_code
from api.compat.goapi.tenancy import read_view
from tandem.domain.destinations import AgentDestination, Destination, HangupDestination, QueueDestination
from tandem.domain.entities import Announcement, Did, Queue
from tandem.domain.snapshot import Snapshot

ROUTES: Final = ("INGROUP", "IVR", "AGENT", "VOICEMAIL")
_DID_WORDS: Final = {"number": "did_tfn_extension", "description": "campaign_name"}


def choose_trunk(snapshot: Snapshot) -> str:
    """The PBX's outbound trunk, else the first."""
    trunk = snapshot.general.outbound_trunk or next(iter(snapshot.trunks), None)
    if trunk is None:
        raise fail("Error: Set a value for carrier_id: there is no carrier")
    return trunk


def read_route(call: Call) -> str:
    """call_route of an INBOUND or BLENDED campaign; '' where nothing is said. Another one is 40001 with the text of 10003, as in GOautodial."""
    route = call.given.text("call_route").upper()
    if route and route not in ROUTES:
        raise Said({"code": "40001", "result": f"{fail_code('10003', 'call_route').body['result']}"})
    return route


async def check_queues(call: Call) -> None:
    """Said for an in-group of another group's, as for one that is not there."""
    named = {call.given.text("closer_campaigns").split(" ")[0], call.given.text("call_route_text")} - {""}
    if named and (named & (await call.services.head.read()).queues.keys()) - (await read_view(call)).queues.keys():
        raise fail_code("41004", "closer_campaigns")


def choose_queue(call: Call, whole: Whole, route: str = "") -> str:
    """The in-group whose agents take the calls: named, or one of the campaign's own, which anybody may log in to."""
    named = call.given.text("closer_campaigns").split(" ")[0]
    if route == "INGROUP":
        named = named or call.given.text("call_route_text")
    queues = whole.view(call).queues
    if named:
        if named not in queues:
            raise fail_code("41004", "closer_campaigns")
        return named
    own = f"C{whole.code}"
    if own not in queues:
        description, fallback = call.given.text("campaign_name")[:40], HangupDestination(hangup=16)
        whole.objects.append(Queue(name=own, description=description, open_login=True, fallback=fallback))
        whole.owned.append(("queues", own))
    return own


def leave_message(call: Call, whole: Whole, sound: str) -> str:
    """The announcement that machines are left: one for each sound (`a|b`), made where there is none."""
    name = f"message-{hashlib.sha256(sound.encode()).hexdigest()[:12]}"
    for known in (sound, name):
        if known in whole.view(call).announcements:
            return known
    words = {"prompts": "am_message_exten"}
    whole.objects.append(make(Announcement, words, name=name, prompts=split_prompts(sound)))
    return name


async def _find_did(call: Call, pattern: str) -> Did | None:
    """The DID of that number, None where there is none; Said for one that is not theirs to see."""
    book = await open_dids(call)
    found = named(book.snapshot, pattern)
    if found is not None and book.find_pattern(pattern) is None:
        raise fail("DID NOT ADDED - DID already exist.")
    return found


async def lead_did(call: Call, whole: Whole, route: str, queue: str) -> None:
    """The DID of did_tfn_extension leads where `route` says, where one is given; Said for what does not fit."""
    pattern = check_special("did_tfn_extension", call.given.text("did_tfn_extension"))
    if not pattern:
        return
    call.exchange.require("dids/create")
    known = await _find_did(call, pattern)
    if known is not None:
        call.exchange.require("dids/update")
    destination = _lead(await read_view(call), route, call.given.text("call_route_text"), queue)
    if known is not None:
        whole.objects.append(replace(known, destination=destination, active=True))
        return
    description = call.given.text("campaign_name")[:40]
    whole.objects.append(make(Did, _DID_WORDS, number=pattern, description=description, destination=destination))
    whole.owned.append(("dids", pattern))


def _lead(snapshot: Snapshot, route: str, target: str, queue: str) -> Destination:
    match route:
        case "IVR":
            return lead_to_menu(snapshot, target, "call_route_text")
        case "VOICEMAIL":
            return lead_to_mailbox(snapshot, target, "call_route_text")
        case "AGENT":
            agent = lead_to_phone(snapshot, target, "call_route_text").endpoint
            return AgentDestination(agent=agent, unavailable=QueueDestination(queue=queue))
    return QueueDestination(queue=queue)


async def _suggest(call: Call) -> Mapping[str, Any]:
    """As a JSON text within the JSON, which is how GOautodial's pages read it."""
    keyword = check_special("keyword", call.given.text("keyword"))
    book = await open_dids(call)
    found = sorted(did.number for did in book.dids.values() if did.number.startswith(keyword))
    return {"data": json.dumps(found[: read_limit(call)])}


async def _tell_settings(call: Call) -> Mapping[str, Any]:
    pattern = call.given.text("did")
    if not pattern:
        raise fail_code("40001", "did")
    book = await open_dids(call)
    did_id = book.find_pattern(pattern)
    if did_id is None:
        raise fail("Error: DID doesn't exist.")
    row = book.row(did_id)
    names = ("did_id", "did_pattern", "did_route", "group_id", "menu_id", "user", "voicemail_ext")
    return {"data": {**{name: row[name] for name in names}, "group_color": ""}}


ACTIONS: Final = (
    Action(
        name="goGetSuggestedDIDs", permission="dids/read", is_scoped=True, handler=_suggest, parameters=("keyword", "limit"),
        summary="DIDs that begin so.",
    ),
    Action(
        name="goGetDIDSettings", aliases=("getDIDSettings",), permission="dids/read", is_scoped=True, handler=_tell_settings, parameters=("did",),
        summary="Where a DID leads.",
    ),
)  # fmt: skip
