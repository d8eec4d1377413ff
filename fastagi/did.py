"""The script of an inbound call: called number, caller and trunk -> where the call goes; never asks anything but the snapshot.

Fails open: whatever goes wrong here, the priority after AGI() sends the call to its last-known destination.
"""

from fastagi.brain import Brain, Case, read_trunk
from fastagi.dispatch import conclude
from fastagi.session import Session
from tandem.domain.routing import route_did


async def did(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/did,CALLED,CALLER,TRUNK)`, all cleaned by the dialplan; without arguments the channel's own extension and caller."""
    environment = session.environment
    snapshot = brain.snapshot()
    now = brain.now()
    if len(environment.args) >= 3:
        called, caller, trunk = environment.args[:3]
    else:
        called, caller = environment.extension, environment.callerid or ""
        trunk = read_trunk(environment.channel, snapshot.trunks)
    route = route_did(snapshot, called, caller, trunk, now)
    case = Case(session, snapshot, now, "did", called, caller, list(route.reasons))
    await conclude(brain, case, route.destination, route.priority, route.language, route.recording, route.caller)
