"""Where a call goes, decided from a snapshot alone; never does I/O and never raises for anything that a caller can send.

A decision follows DIDs and schedules to a *target*, which the dialplan can enter, and says why in a few words per step.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from tandem.domain.destinations import (
    AgentDestination,
    AnnouncementDestination,
    ConferenceDestination,
    Destination,
    DialplanDestination,
    DidDestination,
    DirectoryDestination,
    EndpointDestination,
    ExternalDestination,
    HangupDestination,
    MenuDestination,
    QueueDestination,
    RingGroupDestination,
    ScheduleDestination,
    SurveyDestination,
    VoicemailDestination,
)
from tandem.domain.dialplan import Jump, JumpKind
from tandem.domain.entities import Did
from tandem.domain.hangup_causes import HANGUP_CAUSE_BY_NAME
from tandem.domain.loops import MAX_CHAIN
from tandem.domain.numbers import clean_caller_id, index_callers, normalise_number
from tandem.domain.schedules import describe_hours, is_open
from tandem.domain.snapshot import Snapshot

# A destination that the dialplan can enter: all but `did` and `schedule`.
Target = (
    EndpointDestination
    | AgentDestination
    | QueueDestination
    | MenuDestination
    | VoicemailDestination
    | DialplanDestination
    | ExternalDestination
    | AnnouncementDestination
    | RingGroupDestination
    | ConferenceDestination
    | DirectoryDestination
    | SurveyDestination
    | HangupDestination
)

# How many destinations `resolve` looks at: the longest chain that the references check allows, and what it leads to.
MAX_STEPS: Final = MAX_CHAIN + 1
BLOCKED: Final = HangupDestination(hangup=HANGUP_CAUSE_BY_NAME["rejected"])
INACTIVE: Final = HangupDestination(hangup=HANGUP_CAUSE_BY_NAME["unallocated"])
DEAD_END: Final = HangupDestination(hangup=HANGUP_CAUSE_BY_NAME["no-route"])


class Route(NamedTuple):
    """The decision on a called number.

    destination: None where no DID matches (the dialplan's fallback then decides). caller: a number to set, '' to keep what came.
    A tuple, because this is made for every call and a frozen dataclass costs three times as much.
    """

    did: Did | None
    destination: Target | None
    language: str
    recording: str
    priority: int
    caller: str
    reasons: tuple[str, ...]


class Resolved(NamedTuple):
    """Where a destination leads right now, and by which steps."""

    destination: Target
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What AMI says about a queue right now: callers waiting, members logged in, and those of them that could take a call."""

    callers: int
    members_available: int
    members_logged_in: int


def route_did(snapshot: Snapshot, called: str, caller: str, trunk: str | None, now: datetime) -> Route:
    """Decides on a call from a trunk; `called` and `caller` are what the carrier sent, `now` is aware.

    A blocked caller is rejected (cause 21), an inactive DID is an unallocated number (cause 1).
    """
    plan = snapshot.plans.get(trunk) if trunk is not None else None
    key = normalise_number(called, plan)
    did = snapshot.dids.find(key)
    # Block lists may be written as a number is dialled abroad or as the trunk shows it.
    caller_key = normalise_number(caller, plan)
    as_sent = caller_key if plan is None else normalise_number(caller, None)
    if snapshot.blocked.holds(caller_key) or (as_sent != caller_key and snapshot.blocked.holds(as_sent)):
        return Route(did, BLOCKED, "", "", 0, "", (f"caller {caller_key} is blocked",))
    if did is None:
        return Route(None, None, "", "", 0, "", (f"no DID for {key}",))
    if not did.active:
        return Route(did, INACTIVE, "", "", 0, "", (f"DID {did.number} is inactive",))
    if did.blocked_callers:
        index = snapshot.did_blocked[did.number]
        if index.holds(caller_key) or index.holds(as_sent):
            return Route(did, BLOCKED, "", "", 0, "", (f"DID {did.number}: caller {caller_key} is blocked",))
    wanted, why = did.destination, ""
    if did.allowed_callers or did.caller_routes or not caller_key:
        wanted, why = _choose_by_caller(snapshot, did, (caller_key, as_sent))
    destination, reasons = resolve(snapshot, wanted, now)
    return Route(
        did,
        destination,
        did.language or "",
        did.recording,
        did.priority,
        clean_caller_id(caller, did.caller_id_cleanup) if did.caller_id_cleanup else "",
        (f"DID {did.number}{why}", *reasons),
    )


def _choose_by_caller(snapshot: Snapshot, did: Did, keys: tuple[str, str]) -> tuple[Destination, str]:
    """Where a DID sends a caller with these keys (one that shows no number has empty ones), and why, where that is not its destination."""
    if not keys[0]:
        if did.anonymous is not None:
            return did.anonymous, ": the caller shows no number"
        if did.allowed_callers or snapshot.general.anonymous_callers == "reject":
            return BLOCKED, ": callers without a number are rejected"
        return did.destination, ""
    if did.allowed_callers and not any(map(index_callers(did.allowed_callers).holds, keys)):
        return BLOCKED, f": caller {keys[0]} is not allowed"
    for route in did.caller_routes:
        if any(map(index_callers(route.callers).holds, keys)):
            return route.destination, f": caller {keys[0]} has a route"
    return did.destination, ""


def resolve(snapshot: Snapshot, destination: Destination, now: datetime) -> Resolved:
    """Follows DIDs and schedules to a target; the last reason names it.

    What the references check refuses (a missing object, a circle) ends the call with `no-route`: it cannot be reached by a valid PBX.
    """
    if not isinstance(destination, ScheduleDestination | DidDestination):  # nearly every call
        return Resolved(destination, (describe_destination(destination),))
    reasons: list[str] = []
    for _ in range(MAX_STEPS):
        if isinstance(destination, ScheduleDestination):
            hours = snapshot.hours.get(destination.schedule)
            if hours is None:
                break
            reasons.append(describe_hours(hours, now))
            destination = destination.open if is_open(hours, now) else destination.closed
        elif isinstance(destination, DidDestination):
            did = snapshot.dids.named(destination.did)
            if did is None:
                break
            if not did.active:
                return Resolved(INACTIVE, (*reasons, f"DID {did.number} is inactive"))
            reasons.append(f"DID {did.number}")
            destination = did.destination
        else:
            return Resolved(destination, (*reasons, describe_destination(destination)))
    return Resolved(DEAD_END, (*reasons, f"{describe_destination(destination)} leads nowhere"))


def enter_queue(snapshot: Snapshot, queue_name: str, facts: QueueFacts | None, now: datetime) -> Destination | None:
    """None where a caller may go in; else where to instead (still to be resolved).

    Unknown facts fail open: app_queue itself has the same limits. An unknown queue is entered too: the dialplan handles a missing one.
    """
    queue = snapshot.queues.get(queue_name)
    if queue is None:
        return None
    if not queue.active:
        return queue.closed or queue.fallback
    hours = snapshot.hours.get(queue.schedule) if queue.schedule is not None else None
    if hours is not None and not is_open(hours, now):
        return queue.closed or queue.fallback
    if facts is None:
        return None
    if queue.max_callers and facts.callers >= queue.max_callers:
        return queue.full or queue.fallback
    if not queue.join_when_empty and "unavailable" in queue.absent_when and facts.members_logged_in <= 0:
        return queue.join_empty or queue.fallback
    return None


def after_queue(snapshot: Snapshot, queue_name: str, status: str) -> Destination:
    """Where a caller goes whom the queue gave up on (QUEUESTATUS: TIMEOUT, FULL, JOINEMPTY, LEAVEEMPTY…), still to be resolved."""
    queue = snapshot.queues.get(queue_name)
    if queue is None:
        return DEAD_END
    match status.upper():
        case "TIMEOUT":
            chosen = queue.timeout
        case "FULL":
            chosen = queue.full
        case "JOINEMPTY" | "JOINUNAVAIL":
            chosen = queue.join_empty
        case "LEAVEEMPTY" | "LEAVEUNAVAIL":
            chosen = queue.leave_empty
        case _:
            chosen = None
    return chosen or queue.fallback


def jump_to(
    snapshot: Snapshot,
    destination: Destination,
    priority: int = 0,
    language: str = "",
    recording: str = "",
    caller: str = "",
) -> Jump:
    """The jump into a target; TypeError for `did` and `schedule`, which `resolve` follows first.

    In a queue the higher one of the caller's priority and the queue's own counts.
    """
    kind, target, option = _jump_parts(destination)
    if kind == "queue" and target in snapshot.queues:
        priority = max(priority, snapshot.queues[target].priority)
    return Jump(kind, target, priority, language, recording, option, caller)


def _jump_parts(destination: Destination) -> tuple[JumpKind, str, str]:  # noqa: C901, PLR0912 - one case per kind
    match destination:
        case QueueDestination(queue=name):
            return "queue", name, ""
        case EndpointDestination(endpoint=extension):
            return "endpoint", extension, ""
        case AgentDestination(agent=extension):
            return "agent", extension, name_agent_branch(destination)
        case MenuDestination(menu=name):
            return "menu", name, ""
        case VoicemailDestination(voicemail=mailbox):
            return "voicemail", mailbox, "" if destination.instructions else "s"
        case DialplanDestination(dialplan=place):
            context, _, exten = place.partition(",")
            return "dialplan", exten, context
        case ExternalDestination(external=number):
            return "external", number, destination.trunk or ""
        case AnnouncementDestination(announcement=name):
            return "announcement", name, ""
        case RingGroupDestination(ring_group=name):
            return "group", name, ""
        case ConferenceDestination(conference=name):
            return "conference", name, ""
        case DirectoryDestination(directory=part):
            return "directory", part, ""
        case SurveyDestination(survey=number):
            return "survey", str(number), ""
        case HangupDestination(hangup=cause):
            return "hangup", str(cause), ""
        case _:
            raise TypeError(f"{describe_destination(destination)} must be resolved before a jump")


@lru_cache(maxsize=4096)
def name_agent_branch(destination: AgentDestination) -> str:
    """Under which id AstDB keeps where a call goes when nobody answers; named by what it does, so that equal ones are one."""
    return hashlib.sha256(repr(destination).encode()).hexdigest()[:16]


_CAUSE_NAMES: Final = {cause: name for name, cause in HANGUP_CAUSE_BY_NAME.items()}


def describe_destination(destination: Destination) -> str:  # noqa: C901, PLR0912 - one case per kind
    """`queue sales`, `voicemail 1001`, `external +49301234`, `hang up (busy)`: for log lines and explanations."""
    match destination:
        case MenuDestination(menu=name):
            return f"menu {name}"
        case QueueDestination(queue=name):
            return f"queue {name}"
        case EndpointDestination(endpoint=name):
            return f"endpoint {name}"
        case AgentDestination(agent=name):
            return f"agent {name}"
        case VoicemailDestination(voicemail=name):
            return f"voicemail {name}"
        case AnnouncementDestination(announcement=name):
            return f"announcement {name}"
        case RingGroupDestination(ring_group=name):
            return f"ring group {name}"
        case ConferenceDestination(conference=name):
            return f"conference {name}"
        case DirectoryDestination(directory=part):
            return f"directory by {part} name"
        case SurveyDestination(survey=number):
            return f"survey {number}"
        case ExternalDestination(external=name):
            return f"external {name}"
        case DialplanDestination(dialplan=name):
            return f"dialplan {name}"
        case DidDestination(did=name):
            return f"DID {name}"
        case ScheduleDestination(schedule=name):
            return f"schedule {name}"
        case HangupDestination(hangup=cause):
            return f"hang up ({_CAUSE_NAMES.get(cause, cause)})"
