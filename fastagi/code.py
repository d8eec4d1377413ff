"""What the scripts of codes that phones dial have in common: something is changed for the phone and heard there; never changes anything for one that does not wait.

Fails closed: without a jump the dialplan says that it did not work, and then nothing was changed.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from fastagi.brain import Brain, Case, read_trunk
from fastagi.session import ChannelGone, Session
from tandem.domain.agents import AgentsUnavailable

# What is heard, as an extension of the static dialplan, of a phone that may not do so.
REFUSED: Final = "refused"


class CodeRefused(Exception):
    """The phone may not have that; says why."""


async def serve_code(
    brain: Brain,
    session: Session,
    script: str,
    context: str,
    change: Callable[[Case, str, str, str], Awaitable[str]],
) -> None:
    """`AGI(agi://…/SCRIPT,CODE,DIGITS)`: CODE says which one, DIGITS what was dialled after it.

    change: case, endpoint, code and digits -> the extension of `context` that is heard; CodeRefused, AgentsUnavailable.
    """
    code, digits = (*session.environment.args, "", "")[:2]
    snapshot = brain.snapshot()
    # The channel's name is Asterisk's own: a caller number is what somebody says.
    endpoint = read_trunk(session.environment.channel, snapshot.endpoints)
    case = Case(session, snapshot, brain.now(), script, f"{code} {digits}".strip(), endpoint)
    try:
        # A Tandem that was frozen reads this late, when the phone has heard that it did not work.
        await session.noop()
        if session.hung_up:
            raise ChannelGone("before anything was changed")
        try:
            heard = await change(case, endpoint, code, digits)
        except CodeRefused as refused:
            case.reasons.append(f"refused: {refused}")
            heard = REFUSED
        except AgentsUnavailable as error:
            case.reasons.append(str(error))
            case.outcome = "fallback"
            return
        case.outcome = f"{context},{heard},1"
        await session.exec("Gosub", case.outcome)
    finally:
        brain.record(case.close())
