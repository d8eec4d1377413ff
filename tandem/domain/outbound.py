"""Which way a call outside goes, decided from a snapshot alone; never does I/O, and never lets out what nobody permitted.

What no outbound route has goes over `general.outbound_trunk`, as far as the endpoint's permissions reach.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final, Literal, NamedTuple

from tandem.domain.dialling import OUTSIDE, classify_number, plan_of, write_for_trunk
from tandem.domain.entities import Endpoint
from tandem.domain.outbound_entities import OutboundRoute
from tandem.domain.schedules import is_open
from tandem.domain.snapshot import Snapshot

# unknown: no way there; forbidden: not for this endpoint; closed: not at this time; pin: nobody is there to press it.
Refusal = Literal["", "unknown", "forbidden", "closed", "pin"]


class TrunkTry(NamedTuple):
    """One trunk and the number as it is sent there."""

    trunk: str
    number: str


class OutboundCall(NamedTuple):
    """The decision. tries: in order, none where it is refused; route: None where `general.outbound_trunk` has it.

    number: what is called, behind the route's `strip` and `prepend` and before any trunk writes it in its own way: the toll guard
    cannot tell a country from what only that carrier reads. '' where it is refused.
    """

    route: OutboundRoute | None
    tries: tuple[TrunkTry, ...]
    refusal: Refusal
    reasons: tuple[str, ...]
    number: str = ""


class Caller(NamedTuple):
    """Who wants to call outside: an endpoint that dials, or (`is_phone` off) a destination that somebody configured.

    is_forward: the endpoint forwards: it may what it may dial, but nobody is at its keys.
    """

    endpoint: Endpoint | None
    is_phone: bool
    is_forward: bool = False

    @property
    def permissions(self) -> Collection[str]:
        """How far it may dial; an endpoint that is not known nowhere."""
        return self.endpoint.permissions if self.endpoint is not None else ()


CONFIGURED: Final = Caller(None, is_phone=False)


def route_outbound(
    snapshot: Snapshot, caller: Caller, dialled: str, now: datetime | None, *, at_any_time: bool = False
) -> OutboundCall:
    """Decides on a number outside, cleaned by the dialplan; `now` is aware, or None where nobody can tell: then no schedule is open.

    at_any_time: each of them is. A route that is closed or not for the caller leaves the number to the next one that has it; where none
    is left, the first one's reason is the refusal.
    """
    if not OUTSIDE.fullmatch(dialled):
        return OutboundCall(None, (), "unknown", (f"{dialled or 'nothing'} is no number outside",))
    general = snapshot.general
    reasons: list[str] = []
    first: Refusal = ""
    for route in snapshot.outbound.find(dialled, plan_of(general.country), general.country):
        refusal, reason = _judge(snapshot, caller, route, dialled, now, at_any_time)
        reasons.append(f"route {route.name}{reason}")
        if not refusal:
            number = shape_number(route, dialled)
            return OutboundCall(
                route, tuple(try_trunk(snapshot, name, number) for name in route.trunks), "", tuple(reasons), number
            )
        first = first or refusal
        if refusal == "pin":
            break  # a wider route behind it must not let out what a PIN keeps in
    if first:
        return OutboundCall(None, (), first, tuple(reasons))
    return _default(snapshot, caller, dialled)


def _judge(
    snapshot: Snapshot, caller: Caller, route: OutboundRoute, dialled: str, now: datetime | None, at_any_time: bool
) -> tuple[Refusal, str]:
    """Why a route is none for this call: ('', '') where it is one."""
    if route.emergency:
        return "", ""
    if caller.is_phone:
        allowed = caller.endpoint.outbound_routes if caller.endpoint is not None else ()
        if allowed and route.name not in allowed:
            return "forbidden", " is not for this endpoint"
        needed = route.permission or classify_number(dialled, snapshot.general)
        if not reaches(caller.permissions, needed):
            return "forbidden", f" needs the permission {needed}"
    if route.pin is not None and (caller.is_forward or not caller.is_phone):
        return "pin", " needs a PIN, and nobody is there to press it"
    if route.schedule is not None and not at_any_time:
        hours = snapshot.hours.get(route.schedule)
        if now is None or hours is None or not is_open(hours, now):
            return "closed", f" is closed by schedule {route.schedule}"
    return "", ""


def _default(snapshot: Snapshot, caller: Caller, dialled: str) -> OutboundCall:
    general = snapshot.general
    trunk = general.outbound_trunk
    if trunk is None:
        return OutboundCall(None, (), "unknown", (f"no outbound route has {dialled}, and there is no outbound trunk",))
    if caller.is_phone:
        if caller.endpoint is not None and caller.endpoint.outbound_routes:
            return OutboundCall(None, (), "forbidden", (f"no outbound route of this endpoint has {dialled}",))
        needed = classify_number(dialled, general)
        if not reaches(caller.permissions, needed):
            return OutboundCall(None, (), "forbidden", (f"the outbound trunk needs the permission {needed}",))
    return OutboundCall(None, (try_trunk(snapshot, trunk, dialled),), "", ("the outbound trunk",), dialled)


def try_trunk(snapshot: Snapshot, name: str, number: str) -> TrunkTry:
    """A trunk with the number as it wants it; one that is missing is left to the dialplan."""
    trunk = snapshot.trunks.get(name)
    return TrunkTry(name, number if trunk is None else write_for_trunk(number, trunk, snapshot.general))


def reaches(permissions: Collection[str], needed: str) -> bool:
    """Whether these permissions are enough: who may call abroad may call at home."""
    return needed in permissions or (needed == "national" and "international" in permissions)


def shape_number(route: OutboundRoute, dialled: str) -> str:
    """The number behind a route's `strip` and `prepend`."""
    return route.prepend + dialled[route.strip :]
