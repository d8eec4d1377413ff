"""The script of a feature code: an agent's phone -> in or out of its queues, pause or work; never changes anything for a phone that does not wait.

Fails closed: without a jump the dialplan says that it did not work, and then nothing was changed.
"""

from typing import Final

from fastagi.brain import Brain, Case, read_trunk
from fastagi.session import ChannelGone, Session
from tandem.domain.agents import AgentEvent, AgentMissing, AgentNotThere, AgentRefused, AgentsUnavailable, read_code
from tandem.domain.dialplan import CONTEXT_AGENT

# What is heard, as extensions of the static dialplan.
HEARD: Final[dict[AgentEvent, str]] = {
    "login": "loggedin",
    "logout": "loggedout",
    "pause": "paused",
    "unpause": "working",
}
REFUSED: Final = "refused"


async def agent(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/agent,CODE,DIGITS)`: CODE is login or pause, DIGITS what was dialled after it."""
    code, digits = (*session.environment.args, "", "")[:2]
    snapshot = brain.snapshot()
    # The channel's name is Asterisk's own: a caller number is what somebody says.
    endpoint = read_trunk(session.environment.channel, snapshot.endpoints)
    case = Case(session, snapshot, brain.now(), "agent", f"{code} {digits}".strip(), endpoint)
    waits = True
    try:
        # A Tandem that was frozen reads this late, when the phone has heard that it did not work.
        await session.noop()
        if session.hung_up:
            raise ChannelGone("before anything was changed")
        try:
            wish = read_code(snapshot, code, digits)
            change = await brain.change_agent(endpoint, wish, lambda: waits and not session.hung_up)
        except (AgentRefused, AgentMissing, AgentNotThere) as refused:
            case.reasons.append(f"refused: {refused}")
            heard = REFUSED
        except AgentsUnavailable as error:
            case.reasons.append(str(error))
            case.outcome = "fallback"
            return
        else:
            case.reasons.append(" ".join(filter(None, (change.event, *change.queues, change.reason))))
            heard = HEARD[change.event]
        case.outcome = f"{CONTEXT_AGENT},{heard},1"
        await session.exec("Gosub", case.outcome)
    finally:
        waits = False
        brain.record(case.close())
