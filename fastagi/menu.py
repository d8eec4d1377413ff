"""The script of a call that reaches a menu from the dialplan; never plays anything itself, fastagi.hearing does.

Fails open: without a decision the dialplan takes the menu's own fallback from AstDB.
"""

from fastagi.brain import Brain, Case
from fastagi.dispatch import conclude
from fastagi.session import Session
from tandem.domain.destinations import MenuDestination


async def menu(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/menu,NAME)`."""
    environment = session.environment
    name = environment.args[0] if environment.args else ""
    snapshot = brain.snapshot()
    case = Case(session, snapshot, brain.now(), "menu", name, environment.callerid or "")
    if name not in snapshot.menus:
        case.reasons.append(f"menu {name!r} is unknown")
        await conclude(brain, case, None)
        return
    await conclude(brain, case, case.follow(MenuDestination(menu=name), case.decided_at))
