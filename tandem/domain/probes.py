"""What must not be worse after a change than before, and what a test call looks for; pure, it never asks Asterisk itself."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tandem.domain.changes import Complaint, ObjectChange
from tandem.domain.destinations import (
    AgentDestination,
    Destination,
    DialplanDestination,
    EndpointDestination,
    ExternalDestination,
    QueueDestination,
    VoicemailDestination,
)
from tandem.domain.dialplan import VOICEMAIL_CONTEXT
from tandem.domain.numbers import parse_did_number
from tandem.domain.snapshot import Snapshot

MAX_TEST_CALLS = 20
MAX_PHONES = 50


@dataclass(frozen=True, slots=True)
class Health:
    """Outbound registrations that stand (`carrier`, `carrier.2`), trunks and phones of which a contact can be reached."""

    registered: frozenset[str] = frozenset()
    reachable: frozenset[str] = frozenset()


def find_worse(before: Health, after: Health, snapshot: Snapshot) -> tuple[Complaint, ...]:
    """What stood before, is still in the PBX, and does not stand now."""
    complaints = []
    for name in sorted(before.registered - after.registered):
        trunk = snapshot.trunks.get(name.partition(".")[0])
        number = int(name.partition(".")[2] or 1)
        if trunk is not None and trunk.authentication == "registration" and number <= len(trunk.hosts):
            complaints.append(Complaint(f"trunks.{trunk.name}", "", f"was registered (as {name}) and is not any more"))
    for name in sorted(before.reachable - after.reachable):
        if name in snapshot.trunks:
            complaints.append(Complaint(f"trunks.{name}", "", "answered before and does not any more"))
        elif name in snapshot.endpoints:
            complaints.append(Complaint(f"endpoints.{name}", "", "was registered before and is not any more"))
    return tuple(complaints)


def choose_numbers(changes: Iterable[ObjectChange], snapshot: Snapshot) -> tuple[str, ...]:
    """A number to call for each DID that is new or changed and active; of a prefix or a pattern one that it answers."""
    found = []
    for change in changes:
        if change.collection != "dids" or change.change == "removed":
            continue
        did = snapshot.dids.named(change.key)
        number = "" if did is None or not did.active else sample_number(did.number)
        if number:
            found.append(number)
    return tuple(found[:MAX_TEST_CALLS])


def choose_phones(changes: Iterable[ObjectChange]) -> tuple[str, ...]:
    """Endpoints that change, of which a contact may be lost."""
    names = [it.key for it in changes if it.collection == "endpoints" and it.change == "changed"]
    return tuple(names[:MAX_PHONES])


def sample_number(did: str) -> str:
    """A number that a DID of this name answers, unless a more exact one does; empty for `default`."""
    parsed = parse_did_number(did)
    match parsed.kind:
        case "exact" | "prefix":
            return did.removesuffix("*")
        case "pattern":
            text = re.sub(r"\[([0-9])[^\]]*\]", r"\1", did.removeprefix("_").replace("-", ""))
            return text.translate({ord("X"): "0", ord("Z"): "1", ord("N"): "2", ord("."): "0", ord("!"): ""})
    return ""


def list_questions(target: Destination) -> tuple[tuple[str, str], ...]:
    """Dialplan functions, and what is wrong where one says 0 or nothing; for a channel of the live Asterisk."""
    own: tuple[tuple[str, str], ...] = ()
    match target:
        case QueueDestination(queue=name):
            own = ((f"QUEUE_EXISTS({name})", f"Asterisk has no queue {name}"),)
        case EndpointDestination(endpoint=name) | AgentDestination(agent=name):
            own = ((f"PJSIP_ENDPOINT({name},aors)", f"Asterisk has no endpoint {name}"),)
        case VoicemailDestination(voicemail=name):
            own = ((f"VM_INFO({name}@{VOICEMAIL_CONTEXT},exists)", f"Asterisk has no voicemail box {name}"),)
        case ExternalDestination(trunk=str(name)):
            own = ((f"PJSIP_ENDPOINT({name},aors)", f"Asterisk has no trunk {name}"),)
        case DialplanDestination(dialplan=place):
            own = ((f"DIALPLAN_EXISTS({place},1)", f"the dialplan has no {place}"),)
    return own
