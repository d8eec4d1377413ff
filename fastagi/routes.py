"""Which script has which name: one literal table; never imports by name."""

from collections.abc import Awaitable, Callable
from functools import partial

from fastagi.brain import Brain
from fastagi.did import did
from fastagi.health import health
from fastagi.menu import menu
from fastagi.queue import queue
from fastagi.session import Session

Script = Callable[[Session], Awaitable[None]]


def list_scripts(brain: Brain) -> dict[str, Callable[[Session], Awaitable[None]]]:
    """Script name, as in `agi://host/NAME` -> the script with its collaborators."""
    return {
        "did": partial(did, brain),
        "menu": partial(menu, brain),
        "queue": partial(queue, brain),
        "health": partial(health, brain),
    }
