"""All modules of goAPI: one line for each; whoever is not here answers `Command Not Found`. Declares no action itself."""

from typing import Final

from api.compat.goapi import inbound
from api.compat.goapi.actions import Module
from api.compat.goapi.credentials import Credentials
from api.compat.goapi.door import declare_routes
from api.declare import Route

MODULES: Final = (Module(name="goInbound", actions=inbound.ACTIONS),)


def make_routes() -> tuple[Route, ...]:
    """The routes of one door, which remembers whose password was right."""
    return declare_routes(MODULES, Credentials())
