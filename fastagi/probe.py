"""The script of a test call after a change: decides as for a real call and looks for its target; never enters it, so no phone rings."""

from fastagi.brain import Brain
from fastagi.session import ChannelGone, Session
from tandem.domain.probes import list_questions
from tandem.domain.routing import route_did


async def probe(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/probe,ID)`; a call of an unknown id is a stranger's, and is told nothing."""
    call = brain.find_probe(session.environment.args[0] if session.environment.args else "")
    if call is None:
        return
    route = route_did(brain.snapshot(), call.called, "", None, brain.now())
    if route.destination is None:
        call.problem = "a test call found no DID"
        return
    try:
        for question, problem in list_questions(route.destination):
            if await session.get_full_variable(f"${{{question}}}") in (None, "", "0"):
                call.problem = f"a test call came to {route.reasons[-1]}, and {problem}"
                return
    except ChannelGone:
        call.problem = "a test call was cut off"
        raise
    call.problem = ""
