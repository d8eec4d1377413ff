"""The script of a person who answered a campaign's call: call id -> where they go, at once; never keeps them waiting for a decision.

Fails open: without a decision the dialplan goes on with the destination that the call was placed with.
"""

from fastagi.brain import Brain, Case
from fastagi.dispatch import conclude
from fastagi.session import Session


async def campaign(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/campaign)`: the channel's uniqueid is the call id that we chose."""
    environment = session.environment
    snapshot = brain.snapshot()
    case = Case(session, snapshot, brain.now(), "campaign", environment.callerid or "", environment.uniqueid)
    served = brain.serve_answered(environment.uniqueid)
    if served is None:
        case.reasons.append("not known here")
        await conclude(brain, case, None)
        return
    case.reasons.append(served.reason)
    await conclude(brain, case, case.follow(served.destination, case.decided_at))
