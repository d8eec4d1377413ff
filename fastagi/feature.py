"""The script of a phone's feature code: do not disturb, or a forward -> set, and heard so; never decides what a phone may set."""

from typing import Final

from fastagi.brain import Brain, Case
from fastagi.code import CodeRefused, serve_code
from fastagi.session import Session
from tandem.domain.dialplan import CONTEXT_FEATURE
from tandem.domain.features import FeatureRefused, is_on, read_feature_code

# What is heard, as extensions of the static dialplan.
ON: Final = "on"
OFF: Final = "off"


async def feature(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/feature,KIND,DIGITS)`: KIND as `tandem.domain.features.read_feature_code` has it."""

    async def change(case: Case, endpoint: str, kind: str, digits: str) -> str:
        try:
            features = await brain.set_features(endpoint, read_feature_code(kind, digits))
        except (FeatureRefused, KeyError) as refused:
            raise CodeRefused(str(refused)) from refused
        heard = ON if is_on(case.snapshot.endpoints[endpoint], features, kind) else OFF
        case.reasons.append(f"{kind} {digits} {heard}".replace("  ", " "))
        return heard

    await serve_code(brain, session, "feature", CONTEXT_FEATURE, change)
