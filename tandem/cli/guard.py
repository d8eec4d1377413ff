"""`tandem guard`: what the toll guard counted and locked, and unlocking it, by the running process; never unlocks on its own."""

import json
from typing import Any

import click

from tandem.cli.main import Screen, json_option

_PATH = "/api/v1/toll_guard"


@click.group()
def guard() -> None:
    """The toll guard: what called too much is locked until somebody unlocks it."""


@guard.command("list")
@json_option
@click.pass_obj
def list_(screen: Screen, as_json: bool) -> None:
    """What called outside today, the locked ones first."""
    items: list[dict[str, Any]] = screen.ask("GET", _PATH)["items"]
    if as_json:
        screen.write_json(items)
        return
    for item in items:
        state = f"LOCKED since {item['locked_at']}: {item['reason']}" if item["locked_at"] else "open"
        screen.say(f"{item['scope']}  {item['calls']} calls  {item['minutes']:g} minutes  {state}")
    if not items:
        screen.say("Nobody called outside today.")


@guard.command()
@click.argument("scope")
@click.pass_obj
def unlock(screen: Screen, scope: str) -> None:
    """Unlock SCOPE: pbx, endpoint/1001 or trunk/carrier; what it called today is forgotten."""
    screen.ask("POST", f"{_PATH}/unlock", json.dumps({"scope": scope}).encode())
    screen.say(f"{scope} is unlocked.")
