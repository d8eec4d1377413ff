"""The script after Queue(): why the queue gave the caller back -> where the call goes now; never decides for a call that was served.

Fails open: without an answer the dialplan takes the queue's own destination for this status from AstDB.
"""

from fastagi.brain import Brain, Case
from fastagi.dispatch import conclude
from fastagi.session import Session
from tandem.domain.routing import after_queue


async def queue(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/queue,NAME,QUEUESTATUS)` with app_queue's words: TIMEOUT, FULL, JOINEMPTY, LEAVEEMPTY, JOINUNAVAIL, LEAVEUNAVAIL, CONTINUE."""
    environment = session.environment
    name, status = (*environment.args, "", "")[:2]
    snapshot = brain.snapshot()
    case = Case(session, snapshot, brain.now(), "queue", name, environment.callerid or "")
    if name not in snapshot.queues:
        case.reasons.append(f"queue {name!r} is unknown")
        await conclude(brain, case, None)
        return
    case.reasons.append(f"queue {name}: {status or 'left'}")
    await conclude(brain, case, case.follow(after_queue(snapshot, name, status), case.decided_at))
