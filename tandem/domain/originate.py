"""Whether a call may be placed and how: a request and a snapshot give one order or one refusal; never sends it, and never says yes to a call outside by default.

The first leg goes straight to `PJSIP/…`, because a Local channel that dials hides the truth about it (asterisk-notes). Only where a
queue is called first there is one, for app_queue needs a caller: its outcome is answered or not, no more.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from tandem.domain.destinations import (
    AnnouncementDestination,
    ConferenceDestination,
    Destination,
    DialplanDestination,
    EndpointDestination,
    ExternalDestination,
    MenuDestination,
    QueueDestination,
    RingGroupDestination,
    SurveyDestination,
    VoicemailDestination,
)
from tandem.domain.dialling import OUTSIDE, classify_number, present_caller
from tandem.domain.dialplan import (
    CONTEXT_ORIGINATED,
    CONTEXT_QUEUE_FIRST,
    VARIABLE_JUMP,
    VARIABLE_QUEUE_FIRST,
    encode_jump,
)
from tandem.domain.entities import General
from tandem.domain.fields import Permission
from tandem.domain.outbound import CONFIGURED, reaches, route_outbound, try_trunk
from tandem.domain.routing import describe_destination, jump_to
from tandem.domain.snapshot import Snapshot
from tandem.domain.tolls import judge_number

RING_TIMEOUT_S: Final = 60.0
MIN_RING_TIMEOUT_S: Final = 5.0
MAX_RING_TIMEOUT_S: Final = 300.0
MAX_VARIABLES: Final = 30
MAX_VALUE_BYTES: Final = 400  # escaped, a value may double, and AMI's line ends at 1,022
MAX_NAME_BYTES: Final = 79
MAX_PROJECT: Final = 40
MAX_EXTERNAL_ID: Final = 80

_CALLER: Final = re.compile(r"\+?[0-9*#]{0,24}")
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_.-]{0,20}")


class CallRefused(ValueError):
    """A call that is not placed: `field` of the request, and the `rule` that it breaks."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field, self.rule = field, rule


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """A call that somebody wants.

    origin: who is called first: endpoint, external or queue. destination: whom they are connected to, once they answer: endpoint,
    external, queue, menu, voicemail, announcement or dialplan. caller_number, caller_name: what the origin is shown; empty is the
    destination, where it has a number. presented_number: what the destination is shown; empty is the origin's number.
    ring_timeout_s: 5 to 300; None is the endpoint's own, or 60. permissions: what the requester may dial outside; an endpoint that
    is called first has its own besides. account: accountcode of every leg. project, external_id: what whoever wants it calls it.
    vouched: names of variables that an API knows to be harmless, besides general.allowed_variables. inherit_variables: every channel
    that the called one dials has them too (Asterisk's `__NAME`), which is how a queue's member or the destination gets them.
    """

    origin: Destination
    destination: Destination
    caller_number: str = ""
    caller_name: str = ""
    presented_number: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    ring_timeout_s: float | None = None
    permissions: tuple[Permission, ...] = ()
    account: str = ""
    project: str = ""
    external_id: str = ""
    vouched: frozenset[str] = frozenset()
    inherit_variables: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginateOrder:
    """One originate, ready to be sent: every value was checked. origin, destination: in words; is_trunk: the first leg goes outside."""

    channel: str
    jump: str
    context: str
    exten: str
    caller_number: str
    caller_name: str
    account: str
    variables: tuple[tuple[str, str], ...]
    ring_timeout_s: float
    origin: str
    destination: str
    is_trunk: bool
    revision: int
    project: str = ""
    external_id: str = ""


def plan_call(snapshot: Snapshot, request: CallRequest) -> OriginateOrder:
    """The order for a request; CallRefused naming field and rule."""
    permissions = _permissions(snapshot, request)
    return complete_order(snapshot, request, *_plan_origin(snapshot, request.origin, permissions))


def complete_order(
    snapshot: Snapshot, request: CallRequest, channel: str, number: str, ring_timeout_s: float
) -> OriginateOrder:
    """The order for a first leg that was checked: `channel`, its number, and how long it rings by default."""
    permissions = _permissions(snapshot, request)
    payer = request.origin.endpoint if isinstance(request.origin, EndpointDestination) else ""
    check_destination(snapshot, request.destination, permissions, payer)
    presented = request.presented_number or number
    for field, value in (("caller_number", request.caller_number), ("presented_number", presented)):
        if not _CALLER.fullmatch(value):
            raise CallRefused(field, "must be up to 24 digits (also * and #), with or without a leading +")
    check_caller_name(request.caller_name)
    if not _ACCOUNT.fullmatch(request.account):
        raise CallRefused("account", "must be up to 20 letters, digits or the signs _ . -")
    jump = encode_jump(jump_to(snapshot, request.destination, caller=presented))
    ours = [(VARIABLE_JUMP, jump)]
    if isinstance(request.origin, QueueDestination):
        ours.append((VARIABLE_QUEUE_FIRST, request.origin.queue))
    caller = request.caller_number or _number_of(request.destination)
    trunk = snapshot.trunks.get(channel.rpartition("@")[2]) if isinstance(request.origin, ExternalDestination) else None
    return OriginateOrder(
        channel=channel,
        jump=jump,
        context=CONTEXT_ORIGINATED,
        exten="s",
        caller_number=(present_caller(trunk, caller) if trunk is not None else "") or caller,
        caller_name=request.caller_name,
        account=request.account,
        variables=(*_check_variables(snapshot.general, request), *ours),
        ring_timeout_s=_check_timeout(request.ring_timeout_s, ring_timeout_s),
        origin=describe_destination(request.origin),
        destination=describe_destination(request.destination),
        is_trunk=isinstance(request.origin, ExternalDestination),
        revision=snapshot.revision,
        project=_check_word("project", request.project, MAX_PROJECT),
        external_id=_check_word("external_id", request.external_id, MAX_EXTERNAL_ID),
    )


def plan_transfer(snapshot: Snapshot, destination: Destination, permissions: Collection[str]) -> str:
    """The jump that takes a call of ours to another destination; CallRefused naming field and rule."""
    check_destination(snapshot, destination, permissions)
    return encode_jump(jump_to(snapshot, destination))


def find_destination(snapshot: Snapshot, number: str) -> Destination:
    """What a plain number means: the object that has it inside, else the number outside."""
    inside = snapshot.numbers.get(number)
    if inside is not None:
        return inside
    if not OUTSIDE.fullmatch(number):
        raise CallRefused("number", "must be a number inside, or 2 to 24 digits with or without a leading +")
    return ExternalDestination(external=number)


# ------------------------------------------------------------------------------------------------------ first leg


def _plan_origin(snapshot: Snapshot, origin: Destination, permissions: frozenset[str]) -> tuple[str, str, float]:
    """Channel, the origin's number, and how long it rings."""
    match origin:
        case EndpointDestination(endpoint=extension):
            endpoint = snapshot.endpoints.get(extension)
            if endpoint is None:
                raise CallRefused("origin.endpoint", f"there is no endpoint {extension}")
            return f"PJSIP/{extension}", extension, float(endpoint.ring_time_s)
        case ExternalDestination(external=number):
            trunk, dialled = _check_outside(snapshot, "origin", origin, permissions)
            return f"PJSIP/{dialled}@{trunk}", number, RING_TIMEOUT_S
        case QueueDestination(queue=name):
            if name not in snapshot.queues:
                raise CallRefused("origin.queue", f"there is no queue {name}")
            # /n: the Local channel stays, and with it the id that we chose.
            return f"Local/s@{CONTEXT_QUEUE_FIRST}/n", "", RING_TIMEOUT_S
        case DialplanDestination(dialplan=place):
            context, _, exten = place.partition(",")
            if context not in snapshot.general.allowed_contexts:
                raise CallRefused("origin.dialplan", f"context {context} is not in general.allowed_contexts")
            return f"Local/{exten}@{context}/n", "", RING_TIMEOUT_S
    raise CallRefused("origin", "must be an endpoint, an external number, a queue or a place of the dialplan")


def _permissions(snapshot: Snapshot, request: CallRequest) -> frozenset[str]:
    own: tuple[str, ...] = ()
    if isinstance(request.origin, EndpointDestination):
        endpoint = snapshot.endpoints.get(request.origin.endpoint)
        own = endpoint.permissions if endpoint is not None else ()
    return frozenset((*own, *request.permissions))


# --------------------------------------------------------------------------------------------------------- outside


def _check_outside(
    snapshot: Snapshot, field: str, destination: ExternalDestination, permissions: Collection[str], payer: str = ""
) -> tuple[str, str]:
    """The trunk of a call outside that is allowed, and the number as it is sent there. payer: as of `check_destination`."""
    general, number = snapshot.general, destination.external
    if not OUTSIDE.fullmatch(number):
        raise CallRefused(f"{field}.external", "must be 2 to 24 digits, with or without a leading +")
    if number in general.emergency_numbers or snapshot.outbound.is_emergency(number):
        raise CallRefused(f"{field}.external", "must not be an emergency number: those are dialled at a phone")
    if destination.trunk is not None:
        trunk, dialled = try_trunk(snapshot, destination.trunk, number)
        called = number
    else:
        # Nobody knows when it will be dialled: a route with opening hours is no way.
        found = route_outbound(snapshot, CONFIGURED, number, None)
        if found.refusal == "unknown":
            raise CallRefused(f"{field}.trunk", "is missing, and general.outbound_trunk is not set")
        if found.refusal:
            raise CallRefused(f"{field}.external", "; ".join(found.reasons))
        trunk, dialled = found.tries[0]
        called = found.number
    if trunk not in snapshot.trunks:
        raise CallRefused(f"{field}.trunk", f"there is no trunk {trunk}")
    check_reach(general, f"{field}.external", number, permissions)
    if guarded := judge_number(snapshot, payer, trunk, number, called):
        raise CallRefused(f"{field}.external", f"the toll guard refuses it: {guarded}")
    return trunk, dialled


def check_reach(general: General, field: str, number: str, permissions: Collection[str]) -> None:
    """CallRefused unless `permissions` reach as far as the number is."""
    needed = classify_number(number, general)
    if not reaches(permissions, needed):
        raise CallRefused(field, f"needs the permission {needed}")


# ----------------------------------------------------------------------------------------------------- second leg


def check_destination(  # noqa: C901, PLR0912 - one case per kind
    snapshot: Snapshot, destination: Destination, permissions: Collection[str], payer: str = ""
) -> None:
    """CallRefused unless a call can be connected with it. payer: the endpoint whose toll guard has a say, '' for none."""
    match destination:
        case EndpointDestination(endpoint=name):
            known, kind = name in snapshot.endpoints, "endpoint"
        case QueueDestination(queue=name):
            known, kind = name in snapshot.queues, "queue"
        case MenuDestination(menu=name):
            known, kind = name in snapshot.menus, "menu"
        case VoicemailDestination(voicemail=name):
            known, kind = name in snapshot.voicemail_boxes, "voicemail box"
        case AnnouncementDestination(announcement=name):
            known, kind = name in snapshot.announcements, "announcement"
        case RingGroupDestination(ring_group=name):
            known, kind = name in snapshot.ring_groups, "ring_group"
        case ConferenceDestination(conference=name):
            known, kind = name in snapshot.conferences, "conference"
        case DialplanDestination(dialplan=place):
            name = place.partition(",")[0]
            if name not in snapshot.general.allowed_contexts:
                raise CallRefused("destination.dialplan", f"context {name} is not in general.allowed_contexts")
            return
        case SurveyDestination():
            # Whoever saves one looks whether it is there: surveys are not of the snapshot.
            return
        case ExternalDestination():
            _check_outside(snapshot, "destination", destination, permissions, payer)
            return
        case _:
            raise CallRefused(
                "destination", "must be an endpoint, external number, queue, menu, survey or place of the dialplan"
            )
    if not known:
        raise CallRefused(f"destination.{kind.split()[0]}", f"there is no {kind} {name}")


def _number_of(destination: Destination) -> str:
    match destination:
        case EndpointDestination(endpoint=number) | ExternalDestination(external=number):
            return number
    return ""


# ------------------------------------------------------------------------------------------------------- the rest


def check_caller_name(name: str) -> None:
    """CallRefused for a name that a phone cannot be shown."""
    if len(name.encode()) > MAX_NAME_BYTES or not name.isprintable() or re.search(r'["<>\\]', name):
        rule = f'must be at most {MAX_NAME_BYTES} bytes, without control characters and without " < > \\'
        raise CallRefused("caller_name", rule)


def _check_timeout(wanted: float | None, default: float) -> float:
    if wanted is None:
        return default
    # Also false for NaN.
    if not MIN_RING_TIMEOUT_S <= wanted <= MAX_RING_TIMEOUT_S:
        raise CallRefused("ring_timeout_s", f"must be from {MIN_RING_TIMEOUT_S:g} to {MAX_RING_TIMEOUT_S:g}")
    return wanted


def _check_word(field: str, value: str, most: int) -> str:
    if len(value) > most or not value.isprintable():
        raise CallRefused(field, f"must be at most {most} characters, without control characters or line breaks")
    return value


def _check_variables(general: General, request: CallRequest) -> tuple[tuple[str, str], ...]:
    variables = request.variables
    if len(variables) > MAX_VARIABLES:
        raise CallRefused("variables", f"must be at most {MAX_VARIABLES}")
    seen: set[str] = set()
    for name, value in variables:
        # An unknown name is not repeated unless it is harmless: it may hold anything.
        shown = f"variables.{name}" if name.isidentifier() and name.isascii() and len(name) <= 80 else "variables"
        if name not in general.allowed_variables and name not in request.vouched:
            raise CallRefused(shown, "is not in general.allowed_variables")
        if name in seen:
            raise CallRefused(shown, "is given twice")
        seen.add(name)
        if not value.isprintable() or value.startswith(" "):
            raise CallRefused(shown, "must not hold control characters or line breaks, nor begin with a blank")
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise CallRefused(shown, f"must be at most {MAX_VALUE_BYTES} bytes in UTF-8")
    prefix = "__" if request.inherit_variables else ""
    return tuple((f"{prefix}{name}", value) for name, value in variables)
