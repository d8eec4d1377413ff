"""What an action of goAPI is, and what its handler works with; declares none itself.

A module is one file with a table `ACTIONS` and one line in `api.compat.goapi.table`. A handler takes a `Call` and returns what is answered
besides `"result": "success"`, or raises what `api.compat.goapi.speech` has for it; whatever else it raises gets its words there too.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from api.compat.goapi.parameters import Given
from api.declare import MAX_BODY
from api.exchange import Exchange, Services


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an action: by whom (`exchange.who`, who may do it), and with what."""

    services: Services
    exchange: Exchange
    given: Given


Handler = Callable[[Call], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action. permission: of the native API, for what is done; parameters: all that it reads, in the order of its checks.

    is_scoped: shows and changes only what somebody may see whose group is limited to some campaigns; others refuse them.
    """

    name: str
    permission: str
    handler: Handler
    summary: str
    parameters: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    is_scoped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """The actions behind one address. max_body: more than a form's where files are sent."""

    name: str
    actions: tuple[Action, ...]
    max_body: int = MAX_BODY

    def find(self, name: str) -> Action | None:
        """The action of exactly this name."""
        return next((action for action in self.actions if name == action.name or name in action.aliases), None)
