"""`/routes/explain`: where a call would go, and why; never touches a call. Who calls is asked only where that is wanted."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, Field, StringConstraints

from api.declare import PREFIX, Frozen, Reply, Route, Shown
from api.errors import refuse_fields
from api.exchange import Exchange, Services
from tandem.domain.arrivals import FindFeatures
from tandem.domain.contacts import Contact, greet
from tandem.domain.destinations import QueueDestination
from tandem.domain.dialplan import encode_jump
from tandem.domain.explain import explain_dialled, explain_end
from tandem.domain.fields import matches
from tandem.domain.routing import describe_destination, enter_queue, jump_to, route_did
from tandem.domain.snapshot import Snapshot

_Number = Annotated[
    str, matches("[+0-9A-Za-z*#_.-]{0,40}", "must be at most 40 digits, letters or the signs + * # _ . -")
]


class ExplainQuery(Frozen):
    """A call that somebody might make."""

    did: Annotated[_Number, Field(description="The called number, as the carrier sends it.")]
    caller: Annotated[_Number, Field(description="The caller's number; empty for an anonymous one.")] = ""
    trunk: Annotated[
        Annotated[str, StringConstraints(max_length=40)] | None,
        Field(description="The trunk it comes from, for its way of writing numbers."),
    ] = None
    endpoint: Annotated[
        Annotated[str, StringConstraints(max_length=20)] | None,
        Field(description="The endpoint that dials the number: a call inside or outside instead of one to a DID."),
    ] = None
    at: Annotated[AwareDatetime | None, Field(description="When; now without it.")] = None
    head: Annotated[bool, Field(description="By the newest revision instead of the live one.")] = False
    look_up: Annotated[bool, Field(description="Asks who the caller is, as a call would, where lookup.url is set.")] = (
        False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Where it would go. reasons: step by step; destination: null where no DID matches, or an endpoint's call is refused; jump: what the dialplan is told.

    contact: who the caller is; null where nobody was asked, or nobody knew in time.
    """

    called: str
    caller: str
    at: datetime
    revision: int
    did: str | None
    reasons: tuple[str, ...]
    destination: str | None
    jump: str
    language: str | None
    recording: str
    caller_id: str
    contact: Contact | None


async def _explain(services: Services, exchange: Exchange) -> Reply:
    query: ExplainQuery = exchange.query
    snapshot = services.nights.dress(await services.head.read()) if query.head else services.live.current
    if query.trunk is not None and query.trunk not in snapshot.trunks:
        raise refuse_fields([("trunk", f"there is no trunk {query.trunk!r}")])
    at = (query.at or services.now()).astimezone(UTC)
    if query.endpoint is not None:
        return _explain_endpoint(snapshot, query.endpoint, query.did, at, services.features.current.get)
    found = route_did(snapshot, query.did, query.caller, query.trunk, at)
    contact = await _look_up(services, query) if query.look_up and found.destination is not None else None
    reasons = list(found.reasons)
    if contact is not None:
        greeting = greet(snapshot, found, contact, at)
        found = greeting.route
        reasons += greeting.reasons
    destination = found.destination
    if isinstance(destination, QueueDestination):
        other = enter_queue(snapshot, destination.queue, None, at)
        if other is not None:
            reasons.append(f"queue {destination.queue} is closed, so {describe_destination(other)}")
    reasons += explain_end(snapshot, destination, services.features.current.get, at)
    jump = "" if destination is None else encode_jump(jump_to(snapshot, destination, priority=found.priority))
    return Reply(
        Explained(
            called=query.did,
            caller=query.caller,
            at=at,
            revision=snapshot.revision,
            did=found.did.number if found.did else None,
            reasons=tuple(reasons),
            destination=describe_destination(destination) if destination is not None else None,
            jump=jump,
            language=found.language,
            recording=found.recording,
            caller_id=found.caller,
            contact=contact,
        )
    )


async def _look_up(services: Services, query: ExplainQuery) -> Contact | None:
    if services.look_up is None or not query.caller:
        return None
    found = services.look_up(query.caller, query.did)
    contact: Contact | None = await found if hasattr(found, "addBoth") else found
    return contact


def _explain_endpoint(snapshot: Snapshot, endpoint: str, number: str, at: datetime, find: FindFeatures) -> Reply:
    if endpoint not in snapshot.endpoints:
        raise refuse_fields([("endpoint", f"there is no endpoint {endpoint!r}")])
    found = explain_dialled(snapshot, endpoint, number, at, find)
    return Reply(
        Explained(
            called=number,
            caller=endpoint,
            at=at,
            revision=snapshot.revision,
            did=None,
            reasons=found.reasons,
            destination=found.destination,
            jump=found.jump,
            language="",
            recording="",
            caller_id="",
            contact=None,
        )
    )


ROUTES: Final = (
    Route(
        method="GET", path=f"{PREFIX}/routes/explain", permission="routes/explain", summary="Where a call would go, and why.",
        handler=_explain, tag="routes", operation="explain_route", query=ExplainQuery, answer=Shown(Explained),
    ),
)  # fmt: skip
