"""One number of a campaign -> one order to originate, and where the person goes who answers; pure, and never through a channel that hides the cause, but for a dial string of the admin's own."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, cast

from tandem.domain.campaigns import Campaign, Hold, SavedCampaign, SavedNumber
from tandem.domain.destinations import (
    AnnouncementDestination,
    Destination,
    DialplanDestination,
    EndpointDestination,
    ExternalDestination,
    QueueDestination,
)
from tandem.domain.dialling import present_caller
from tandem.domain.dialplan import (
    ASTERISK_AGI_ENDS,
    CONTEXT_AGENT_FIRST,
    CONTEXT_CAMPAIGN,
    EXTEN_LISTEN,
    VARIABLE_DIAL_OPTIONS,
    VARIABLE_LAST_RESORT,
    VARIABLE_MACHINE,
    VARIABLE_MACHINE_PROMPTS,
    VARIABLE_RECORDING,
    VARIABLE_RECORDING_LEGS,
    VARIABLE_RING,
    VARIABLE_SORRY,
)
from tandem.domain.fields import Permission
from tandem.domain.originate import (
    RING_TIMEOUT_S,
    CallRefused,
    CallRequest,
    OriginateOrder,
    check_reach,
    complete_order,
    plan_call,
)
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import Snapshot
from tandem.domain.tolls import judge_number
from tandem.domain.windows import opens_at

# A window that never opens is looked at again so much later: somebody may have mended it.
NEVER_S: Final = 7 * 86_400.0
# Asterisk's words for the state of a phone (devicestate.c): free, and with somebody or ringing. A phone that is not there is neither.
PHONE_FREE: Final = "NOT_INUSE"
PHONE_TAKEN: Final = frozenset({"INUSE", "BUSY", "RINGING", "RINGINUSE", "ONHOLD"})
# The cause of an agent's leg who was called first and did not press 1 (dialplan/tandem-campaign.conf): non-selected user clearing.
REFUSED_BY_AGENT: Final = 26
# What a person hears who cannot be served, where the campaign names no announcement of its own.
SORRY_PROMPTS: Final = "sorry&vm-goodbye"


@dataclass(frozen=True, slots=True)
class Held:
    """A number is not dialled now: until when (seconds since 1970), and why."""

    until: float
    hold: Hold


def plan_number(
    snapshot: Snapshot, saved: SavedCampaign, number: SavedNumber, now: float, agent: str = ""
) -> OriginateOrder | Held:
    """The order for a number whose turn it is, or why not yet; CallRefused: never."""
    window, general = saved.campaign.call_window, snapshot.general
    if window is not None:
        at = datetime.fromtimestamp(now, UTC)
        opening = opens_at(window, number.phone_number, general.country, general.time_zone, at, number.utc_offset_min)
        if opening is None:
            return Held(now + NEVER_S, "window")
        if opening > at:
            return Held(opening.timestamp(), "window")
    return plan_campaign_call(snapshot, saved, number, agent)


def plan_campaign_call(
    snapshot: Snapshot, saved: SavedCampaign, number: SavedNumber, agent: str = ""
) -> OriginateOrder:
    """The order for a number; CallRefused naming the field and the rule: such a number is never dialled.

    agent: the endpoint that it is dialled for by hand, and that whoever answers is connected with; '' for the campaign's destination.
    """
    campaign = saved.campaign
    if campaign.dial_mode == "inbound":
        raise CallRefused("dial_mode", "is inbound: the campaign only takes calls")
    technology, _, place = (campaign.dial_string or "").partition("/")
    trunk = place.partition("@")[2] if technology == "PJSIP" else campaign.trunk
    dialled = number.phone_number
    if campaign.dial_prefix:
        # How far a call goes is the number's, not what is dialled before it.
        if dialled in snapshot.general.emergency_numbers or snapshot.outbound.is_emergency(dialled):
            raise CallRefused("phone_number", "must not be an emergency number: those are dialled at a phone")
        check_reach(snapshot.general, "phone_number", dialled, saved.permissions)
        _check_tolls(snapshot, dialled, trunk or "")
        dialled = campaign.dial_prefix + dialled.removeprefix("+")
    number_called = ExternalDestination(external=dialled, trunk=trunk)
    if campaign.agent_first and not agent:
        return _plan_agent_first(snapshot, saved, number, number_called)
    request = CallRequest(
        origin=number_called,
        destination=EndpointDestination(endpoint=agent) if agent else campaign.destination,
        variables=tuple(number.variables.items()),
        ring_timeout_s=float(campaign.dial_timeout_s),
        permissions=cast("tuple[Permission, ...]", saved.permissions),
        caller_number=campaign.caller_number,
        caller_name=campaign.caller_name,
        account=f"c{saved.campaign_id}",
    )
    order = _plan_local(snapshot, request, place) if technology == "Local" else plan_call(snapshot, request)
    ours = _own(snapshot, campaign, is_by_hand=bool(agent))
    exten = EXTEN_LISTEN if VARIABLE_MACHINE in dict(ours) else order.exten
    known = snapshot.trunks.get(order.channel.rpartition("@")[2]) if order.is_trunk else None
    shown = (present_caller(known, campaign.caller_number) if known is not None else "") or campaign.caller_number
    variables = (*order.variables, *ours)
    return replace(order, context=CONTEXT_CAMPAIGN, exten=exten, caller_number=shown, variables=variables)


def _plan_agent_first(
    snapshot: Snapshot, saved: SavedCampaign, number: SavedNumber, called: ExternalDestination
) -> OriginateOrder:
    """The agent's phone rings with the number's digits on it; the number sees the campaign's."""
    campaign = saved.campaign
    request = CallRequest(
        origin=campaign.destination,
        destination=called,
        variables=tuple(number.variables.items()),
        permissions=cast("tuple[Permission, ...]", saved.permissions),
        caller_number=number.phone_number,
        presented_number=campaign.caller_number,
        account=f"c{saved.campaign_id}",
    )
    check_reach(snapshot.general, "phone_number", number.phone_number, saved.permissions)
    order = plan_call(snapshot, request)
    ours = [(VARIABLE_RING, str(campaign.dial_timeout_s)), (VARIABLE_DIAL_OPTIONS, "r")]
    return replace(order, context=CONTEXT_AGENT_FIRST, variables=(*order.variables, *ours, *_recording(campaign)))


def _plan_local(snapshot: Snapshot, request: CallRequest, place: str) -> OriginateOrder:
    """By way of the admin's own dialplan, which sees the number as an extension; its permissions hold all the same."""
    assert isinstance(request.origin, ExternalDestination)
    number, general = request.origin.external, snapshot.general
    context = place.partition("@")[2].removesuffix("/n")
    if context not in general.allowed_contexts:
        raise CallRefused("dial_string", f"context {context} is not in general.allowed_contexts")
    if number in general.emergency_numbers or snapshot.outbound.is_emergency(number):
        raise CallRefused("phone_number", "must not be an emergency number: those are dialled at a phone")
    check_reach(general, "phone_number", number, request.permissions)
    _check_tolls(snapshot, number, "")
    # /n: the Local channel stays, and with it the id that we chose.
    return complete_order(snapshot, request, f"Local/{number}@{context}/n", number, RING_TIMEOUT_S)


def _check_tolls(snapshot: Snapshot, number: str, trunk: str) -> None:
    """What is dialled before a number, or by way of whom, hides it from nobody."""
    if guarded := judge_number(snapshot, "", trunk, number):
        raise CallRefused("phone_number", f"the toll guard refuses it: {guarded}")


def _own(snapshot: Snapshot, campaign: Campaign, *, is_by_hand: bool) -> tuple[tuple[str, str], ...]:
    """Variables of ours: ringing for whoever waits for a phone to be picked up, recording, what is heard when nobody does, and what a machine gets.

    An agent who dialled by hand hears who answers.
    """
    chosen = snapshot.announcements.get(campaign.unserved_announcement or "")
    variables = [
        (ASTERISK_AGI_ENDS, "yes"),
        (VARIABLE_LAST_RESORT, "1"),
        (VARIABLE_DIAL_OPTIONS, "r"),
        (VARIABLE_SORRY, "&".join(chosen.prompts) if chosen is not None else SORRY_PROMPTS),
    ]
    if campaign.on_machine != "connect" and not is_by_hand:
        left = snapshot.announcements.get(campaign.machine_announcement or "")
        # Without its message, which somebody has taken away meanwhile, a machine is hung up on.
        is_left = campaign.on_machine == "message" and left is not None
        variables.append((VARIABLE_MACHINE, "message" if is_left else "hang-up"))
        if is_left and left is not None:
            variables.append((VARIABLE_MACHINE_PROMPTS, "&".join(left.prompts)))
    return (*variables, *_recording(campaign))


def _recording(campaign: Campaign) -> tuple[tuple[str, str], ...]:
    return ((VARIABLE_RECORDING, "yes"), (VARIABLE_RECORDING_LEGS, "yes")) if campaign.recording else ()


@dataclass(frozen=True, slots=True)
class Served:
    """Where an answered person goes. is_unserved: nobody is free, and they are told so."""

    destination: Destination
    reason: str
    is_unserved: bool = False


def tell_taken(campaign: Campaign, state: str | None) -> Served | None:
    """Where somebody goes who has answered for an endpoint whose phone is taken by now; None where it may ring, also where nothing is known of it."""
    if state not in PHONE_TAKEN:
        return None
    if campaign.unserved_announcement is not None:
        told: Destination = AnnouncementDestination(announcement=campaign.unserved_announcement)
    else:
        told = DialplanDestination(dialplan=f"{CONTEXT_CAMPAIGN},busy")
    return Served(told, f"the phone is not free ({state})", is_unserved=True)


def choose_destination(campaign: Campaign, facts: QueueFacts | None, *, free: int, waiting: int, rung: int) -> Served:
    """Where somebody goes who has just answered.

    free: the queue's agents, less those whom calls of ours have reached since `facts` was told; waiting: others of ours whom the next free
    ones will take; rung: those for whom agents are being rung, who are callers of the queue but take nobody more.

    Unknown facts fail open: the queue may well serve them, and its own limits hold.
    """
    destination = campaign.destination
    if (
        campaign.unserved == "wait"
        or campaign.unserved_announcement is None
        or not isinstance(destination, QueueDestination)
    ):
        return Served(destination, "campaign")
    if facts is None:
        return Served(destination, f"queue {destination.queue} unknown")
    if free > max(waiting, facts.callers - rung):
        return Served(destination, f"queue {destination.queue} has {free} free")
    message = AnnouncementDestination(announcement=campaign.unserved_announcement)
    return Served(message, f"nobody free in queue {destination.queue}", is_unserved=True)
