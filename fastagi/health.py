"""The script that only shows that the server answers; never touches a call's route."""

from fastagi.brain import Brain
from fastagi.session import Session


async def health(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/health)`: sets TANDEM_REVISION to the live revision."""
    await session.set_variable("TANDEM_REVISION", str(brain.snapshot().revision))
