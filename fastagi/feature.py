"""The script of a phone's feature code: do not disturb, a forward or a night mode -> set, and heard so; never decides what a phone may set."""

from typing import Final

from fastagi.brain import Brain, Case
from fastagi.code import CodeRefused, serve_code
from fastagi.session import Session
from tandem.domain.dialplan import CONTEXT_FEATURE
from tandem.domain.features import FeatureRefused, is_on, read_feature_code
from tandem.domain.nights import NightRefused, read_night_kind

# What is heard, as extensions of the static dialplan.
ON: Final = "on"
OFF: Final = "off"


async def feature(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/feature,KIND,DIGITS)`: KIND as `read_feature_code` or `read_night_kind` has it."""

    async def change(case: Case, endpoint: str, kind: str, digits: str) -> str:
        try:
            heard = ON if await _set(brain, case, endpoint, kind, digits) else OFF
        except (FeatureRefused, NightRefused, KeyError) as refused:
            raise CodeRefused(str(refused)) from refused
        case.reasons.append(f"{kind} {digits} {heard}".replace("  ", " "))
        return heard

    await serve_code(brain, session, "feature", CONTEXT_FEATURE, change)


async def _set(brain: Brain, case: Case, endpoint: str, kind: str, digits: str) -> bool:
    """Does what the code is for; whether that is on now."""
    schedule = read_night_kind(kind)
    if schedule is not None:
        return (await brain.set_night(endpoint, schedule, digits)).mode == "night"
    features = await brain.set_features(endpoint, read_feature_code(kind, digits))
    return is_on(case.snapshot.endpoints[endpoint], features, kind)
