"""The script of an agent's feature code: its phone -> in or out of its queues, pause or work; never decides who may."""

from typing import Final

from fastagi.brain import Brain, Case
from fastagi.code import CodeRefused, serve_code
from fastagi.session import Session
from tandem.domain.agents import AgentEvent, AgentMissing, AgentNotThere, AgentRefused, read_code
from tandem.domain.dialplan import CONTEXT_AGENT

# What is heard, as extensions of the static dialplan.
HEARD: Final[dict[AgentEvent, str]] = {
    "login": "loggedin",
    "logout": "loggedout",
    "pause": "paused",
    "unpause": "working",
}


async def agent(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/agent,CODE,DIGITS)`: CODE is login or pause."""
    waits = True

    async def change(case: Case, endpoint: str, code: str, digits: str) -> str:
        try:
            wish = read_code(case.snapshot, code, digits)
            changed = await brain.change_agent(endpoint, wish, lambda: waits and not session.hung_up)
        except (AgentRefused, AgentMissing, AgentNotThere) as refused:
            raise CodeRefused(str(refused)) from refused
        case.reasons.append(" ".join(filter(None, (changed.event, *changed.queues, changed.reason))))
        return HEARD[changed.event]

    try:
        await serve_code(brain, session, "agent", CONTEXT_AGENT, change)
    finally:
        waits = False
