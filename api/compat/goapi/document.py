"""The table of actions as docs/goapi.md has it; a test holds the page against it."""

from collections.abc import Iterator

from api.compat.goapi.table import MODULES


def write_actions() -> str:
    """A heading and a table for each module."""
    return "\n".join(_write_all()) + "\n"


def _write_all() -> Iterator[str]:
    for place, module in enumerate(MODULES):
        if place:
            yield ""
        yield f"### {module.name}"
        yield ""
        yield "| action | permission | parameters | |"
        yield "|---|---|---|---|"
        for action in module.actions:
            names = ", ".join(f"`{name}`" for name in (action.name, *action.aliases))
            given = ", ".join(f"`{name}`" for name in action.parameters)
            yield f"| {names} | `{action.permission}` | {given} | {action.summary} |"
