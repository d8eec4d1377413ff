"""The script of an inbound call: called number, caller and trunk -> where the call goes; asks the snapshot, and where the settings say so who is calling.

Fails open: whatever goes wrong here, the priority after AGI() sends the call to its last-known destination, and a caller of whom nobody
says anything in time is a caller like any other.
"""

from time import perf_counter

from fastagi.brain import Brain, Case, read_trunk
from fastagi.dispatch import conclude
from fastagi.session import AgiError, ChannelGone, Session
from fastagi.wire import CommandRefused
from tandem.domain.contacts import NOBODY, greet
from tandem.domain.destinations import HangupDestination
from tandem.domain.routing import Route, route_did


async def did(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/did,CALLED,CALLER,TRUNK)`, all cleaned by the dialplan; without arguments the channel's own extension and caller."""
    environment = session.environment
    snapshot = brain.snapshot()
    now = brain.now()
    if len(environment.args) >= 3:
        called, caller, trunk = environment.args[:3]
    else:
        called, caller = environment.extension, environment.callerid or ""
        # `anonymous`, `unavailable`: whoever shows no digit shows no number, for the DID as for the fallback.
        caller = caller if any(map(str.isdigit, caller)) else ""
        trunk = read_trunk(environment.channel, snapshot.trunks)
    route = route_did(snapshot, called, caller, trunk, now)
    case = Case(session, snapshot, now, "did", called, caller, list(route.reasons))
    if brain.look_up is not None and caller and route.destination is not None:
        route = await _look_up(brain, case, route)
    await conclude(brain, case, route.destination, route.priority, route.language, route.recording, route.caller)


async def _look_up(brain: Brain, case: Case, route: Route) -> Route:
    """The route of this caller, as far as somebody knows them. Callers who are refused anyway are nobody's business."""
    if brain.look_up is None or isinstance(route.destination, HangupDestination):
        return route
    started = perf_counter()
    try:
        found = brain.look_up(case.caller, case.called)
        if hasattr(found, "addBoth"):
            found = await found
        case.listening_s += perf_counter() - started
        if found is None or found == NOBODY:
            case.reasons.append("caller is not known" if found == NOBODY else "caller was not looked up in time")
            return route
        case.contact = found
        greeting = greet(case.snapshot, route, found, case.decided_at)
        case.reasons.extend(greeting.reasons)
        for name, value in greeting.variables:
            await _set(case, name, value)
    except ChannelGone:
        case.outcome = "caller hung up while they were looked up"
        brain.record(case.close())
        raise
    return greeting.route


async def _set(case: Case, name: str, value: str) -> None:
    try:
        await case.session.set_variable(name, value)
    except (AgiError, CommandRefused) as error:
        case.reasons.append(f"{name} is not set ({error})")
