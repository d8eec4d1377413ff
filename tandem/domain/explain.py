"""What a phone's call would be, step by step, without a call: for `tandem route explain` and its API; never decides otherwise than a call would."""

from datetime import datetime
from typing import NamedTuple

from tandem.domain.arrivals import FindFeatures, explain_arrival
from tandem.domain.destinations import Destination, EndpointDestination
from tandem.domain.dialplan import encode_jump, encode_tries
from tandem.domain.outbound import Caller, OutboundCall, route_outbound
from tandem.domain.routing import describe_destination, jump_to
from tandem.domain.snapshot import Snapshot


class Dialled(NamedTuple):
    """reasons: step by step; destination: in words, None where the call is refused; jump: what the dialplan is told, '' where it needs nothing."""

    reasons: tuple[str, ...]
    destination: str | None
    jump: str


def explain_end(
    snapshot: Snapshot, destination: Destination | None, find: FindFeatures, now: datetime
) -> tuple[str, ...]:
    """What the dialplan does at a destination by itself: a phone's forwards, do not disturb and follow-me."""
    if not isinstance(destination, EndpointDestination):
        return ()
    return tuple(explain_arrival(snapshot, destination.endpoint, find, now))


def explain_dialled(
    snapshot: Snapshot, extension: str, dialled: str, now: datetime, find: FindFeatures = lambda _: None
) -> Dialled:
    """What becomes of a number that an endpoint dials. Feature codes are not numbers. find: what was set at phones."""
    general = snapshot.general
    if dialled in general.emergency_numbers or snapshot.outbound.is_emergency(dialled):
        trunks = [trunk for rule in snapshot.outbound.emergency if rule.matches(dialled) for trunk in rule.route.trunks]
        trunks += [trunk for trunk in (general.emergency_trunk, general.outbound_trunk) if trunk]
        shown = ", then ".join(dict.fromkeys(trunks)) or "no trunk"
        return Dialled(("an emergency number: the dialplan dials it without Tandem",), f"{dialled} over {shown}", "")
    endpoint = snapshot.endpoints.get(extension)
    inside = snapshot.numbers.get(dialled)
    if inside is not None:
        if endpoint is None or "internal" not in endpoint.permissions:
            return Dialled(("a number inside needs the permission internal",), None, "")
        reasons = ("a number inside", *explain_end(snapshot, inside, find, now))
        return Dialled(reasons, describe_destination(inside), encode_jump(jump_to(snapshot, inside)))
    found: OutboundCall = route_outbound(snapshot, Caller(endpoint, is_phone=True), dialled, now)
    if found.refusal:
        return Dialled((*found.reasons, f"refused: {found.refusal}"), None, "")
    pin = ("asks for a PIN",) if found.route is not None and found.route.pin is not None else ()
    tries = ", then ".join(f"{one.number} over {one.trunk}" for one in found.tries)
    jump = encode_tries((one.trunk, one.number, "") for one in found.tries)
    return Dialled((*found.reasons, *pin), tries, jump)
