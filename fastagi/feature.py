"""The script of a phone's feature code: do not disturb, or a forward -> set, and heard so; never changes anything for a phone that does not wait.

Fails closed: without a jump the dialplan says that it did not work, and then nothing was changed.
"""

from typing import Final

from fastagi.brain import Brain, Case, read_trunk
from fastagi.session import ChannelGone, Session
from tandem.domain.agents import AgentsUnavailable
from tandem.domain.dialplan import CONTEXT_FEATURE
from tandem.domain.features import FeatureRefused, is_on, read_feature_code

# What is heard, as extensions of the static dialplan.
ON: Final = "on"
OFF: Final = "off"
REFUSED: Final = "refused"


async def feature(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/feature,KIND,DIGITS)`: KIND as `tandem.domain.features.read_feature_code` has it, DIGITS what was dialled after the code."""
    kind, digits = (*session.environment.args, "", "")[:2]
    snapshot = brain.snapshot()
    # The channel's name is Asterisk's own: a caller number is what somebody says.
    endpoint = read_trunk(session.environment.channel, snapshot.endpoints)
    case = Case(session, snapshot, brain.now(), "feature", f"{kind} {digits}".strip(), endpoint)
    try:
        # A Tandem that was frozen reads this late, when the phone has heard that it did not work.
        await session.noop()
        if session.hung_up:
            raise ChannelGone("before anything was changed")
        try:
            features = await brain.set_features(endpoint, read_feature_code(kind, digits))
        except (FeatureRefused, KeyError) as refused:
            case.reasons.append(f"refused: {refused}")
            heard = REFUSED
        except AgentsUnavailable as error:
            case.reasons.append(str(error))
            case.outcome = "fallback"
            return
        else:
            heard = ON if is_on(snapshot.endpoints[endpoint], features, kind) else OFF
            case.reasons.append(f"{kind} {digits} {heard}".replace("  ", " "))
        case.outcome = f"{CONTEXT_FEATURE},{heard},1"
        await session.exec("Gosub", case.outcome)
    finally:
        brain.record(case.close())
