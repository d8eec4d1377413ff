"""The script of whoever answered a campaign's call: call id -> where a person goes, at once; never keeps them waiting for a decision.

Fails open: without a decision the dialplan goes on with the destination that the call was placed with. What a machine gets is the
dialplan's: all that is done here is to note it.
"""

from fastagi.brain import Brain, Case
from fastagi.dispatch import conclude
from fastagi.session import Session

# What AMD() calls it; HUMAN and NOTSURE are people.
MACHINE = "MACHINE"


async def campaign(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/campaign,AMDSTATUS)`: the channel's uniqueid is the call id that we chose; AMDSTATUS: '' where nobody listened."""
    environment = session.environment
    snapshot = brain.snapshot()
    case = Case(session, snapshot, brain.now(), "campaign", environment.callerid or "", environment.uniqueid)
    if environment.args[:1] == (MACHINE,):
        case.reasons.append("a machine answered" if brain.note_machine(environment.uniqueid) else "not known here")
        case.outcome = "machine"
        brain.record(case.close())
        return
    served = brain.serve_answered(environment.uniqueid)
    if served is None:
        case.reasons.append("not known here")
        await conclude(brain, case, None)
        return
    case.reasons.append(served.reason)
    await conclude(brain, case, case.follow(served.destination, case.decided_at))
