"""What is told of calls that nobody here placed, and of what left the house: answered, over, missed; from legs and CDRs alone, and decides nothing.

Each event has one id, made of what it tells: the records may be read again, or say more later, and it is told once.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import TypeAdapter

from tandem.domain.cdr import Cdr, Leg
from tandem.domain.webhooks import EventKind, name_event

_CDR: Final = TypeAdapter(Cdr)
_DID: Final = re.compile(r"(?:^|, )DID ([^,]+)")
_QUEUE: Final = re.compile(r"(?:^|, )queue ([A-Za-z0-9_.-]+)(?=,|$)")
_BLOCKED: Final = re.compile(r"(?:^|: |, )caller [^,]* is blocked")


@dataclass(frozen=True, slots=True)
class KnownCaller:
    """What another system knew of the caller, as it is kept beside the call."""

    contact_id: str = ""
    external_id: str = ""
    name: str = ""


NOBODY_KNOWN: Final = KnownCaller()


@dataclass(frozen=True, slots=True)
class PbxEvent:
    """kind: of `EventKind`; at: seconds since 1970; data: plain values for JSON."""

    kind: EventKind
    at: float
    data: Mapping[str, Any]
    id: str


def tell_answers(
    call_id: str, legs: Sequence[Leg], changed: Collection[str], trunks: Collection[str], route: str, known: KnownCaller
) -> list[PbxEvent]:
    """inbound.answered, for each party that has just answered a call that came in."""
    first = find_first(call_id, legs)
    if first is None or first.endpoint not in trunks:
        return []
    events = []
    for leg in legs:
        if leg is first or not leg.is_party or leg.answered_at is None or leg.uniqueid not in changed:
            continue
        is_outside = leg.endpoint in trunks
        data = {
            "call_id": call_id,
            "caller": first.caller,
            "called": first.exten,
            "did": find_did(route),
            "trunk": first.endpoint,
            "queue": find_queue(route),
            "endpoint": "" if is_outside else leg.endpoint,
            "is_outside": is_outside,
            "wait_s": round(max(0.0, leg.answered_at - (first.started_at or leg.answered_at)), 3),
            "contact_id": known.contact_id,
            "external_id": known.external_id,
        }
        event_id = name_event("inbound.answered", call_id, leg.uniqueid)
        events.append(PbxEvent("inbound.answered", leg.answered_at, data, event_id))
    return events


def tell_end(cdr: Cdr, known: KnownCaller) -> PbxEvent | None:
    """inbound.ended, inbound.missed or outbound.ended; None for calls inside, and for callers who were refused."""
    if cdr.ended_at is None or (cdr.direction == "internal"):
        return None
    answering = find_answering(cdr)
    kind: EventKind
    if cdr.direction == "outbound":
        kind = "outbound.ended"
    elif answering is not None:
        kind = "inbound.ended"
    elif _BLOCKED.search(cdr.route):
        return None
    else:
        kind = "inbound.missed"
    shown = _CDR.dump_python(replace(cdr, legs=()), mode="json")
    del shown["legs"]
    waited_s = cdr.duration_s if answering is None else (answering.answered_at or 0.0) - cdr.started_at.timestamp()
    more = {
        "queue": cdr.queue or find_queue(cdr.route),
        "did": find_did(cdr.route) if cdr.direction == "inbound" else "",
        "was_called": sorted({leg.endpoint for leg in cdr.legs if leg.endpoint and leg.endpoint != cdr.trunk}),
        "wait_s": round(max(0.0, waited_s), 3),
        "contact_id": known.contact_id,
    }
    return PbxEvent(kind, cdr.ended_at.timestamp(), {**shown, **more}, name_event(kind, cdr.call_id))


def find_first(call_id: str, legs: Iterable[Leg]) -> Leg | None:
    """The leg that a call began with."""
    return next((leg for leg in legs if leg.uniqueid == call_id and leg.is_party), None)


def find_answering(cdr: Cdr) -> Leg | None:
    """The first party that answered beside the one that called."""
    parties = [leg for leg in cdr.legs if leg.is_party and leg.answered_at is not None and leg.uniqueid != cdr.call_id]
    return min(parties, key=lambda leg: leg.answered_at or 0.0, default=None)


def find_did(route: str) -> str:
    """The DID by which a call came in, as the steps of its decision say; '' where none was made."""
    found = _DID.search(route)
    return found[1] if found else ""


def find_queue(route: str) -> str:
    """The last queue that a call was sent to; the DID's own does not count for a caller with a direct line."""
    found = _QUEUE.findall(route.rpartition(", direct line, ")[2])
    return found[-1] if found else ""
