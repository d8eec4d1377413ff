"""`tandem campaigns`: lists, shows and turns campaigns on and off in the running process; never opens the database."""

from typing import Any
from urllib.parse import quote

import click

from tandem.cli.main import Screen, json_option
from tandem.domain.printable import escape_unprintable

_PATH = "/api/v1/campaigns"


@click.group()
def campaigns() -> None:
    """Campaigns: list, show, start, stop, pause, resume, reset."""


@campaigns.command("list")
@click.option("--state", type=click.Choice(["stopped", "running", "paused"]), help="Only those in this state.")
@json_option
@click.pass_obj
def list_(screen: Screen, state: str | None, as_json: bool) -> None:
    """All campaigns, newest first."""
    answer = screen.ask("GET", f"{_PATH}?limit=1000" + (f"&state={state}" if state else ""))
    if as_json:
        screen.write_json(answer["items"])
        return
    screen.say(*map(tell_campaign, answer["items"]))
    if not answer["items"]:
        screen.say("No campaigns.")


@campaigns.command()
@click.argument("campaign_id", type=int)
@json_option
@click.pass_obj
def show(screen: Screen, campaign_id: int, as_json: bool) -> None:
    """One campaign: where its numbers are, and what keeps those that are pending."""
    campaign = screen.ask("GET", f"{_PATH}/{campaign_id}")
    now = screen.ask("GET", f"{_PATH}/{campaign_id}/counts")
    if as_json:
        screen.write_json(campaign | {"now": now})
        return
    screen.say(tell_campaign(campaign), *tell_counts(now))


def tell_campaign(campaign: dict[str, Any]) -> str:
    """One line: `7  running  Winter  1,200 numbers, 300 pending, …`."""
    told = [f"{amount:,} {word.replace('_', ' ')}" for word, amount in campaign["counts"].items() if amount]
    line = f"{campaign['campaign_id']}  {campaign['state']}  {campaign['name']}  {campaign['total_numbers']:,} numbers"
    return escape_unprintable(", ".join([line, *told]))


def tell_counts(now: dict[str, Any]) -> list[str]:
    """What keeps pending numbers, a line each."""
    lines = [f"  {amount:,} wait: {word}" for word, amount in now["waiting"].items()]
    if now["due"]:
        reasons = [reason["message"] for reason in now["reasons"]]
        lines.append(f"  {now['due']:,} due: {'; '.join(reasons) or 'nothing keeps them'}")
    return list(map(escape_unprintable, lines))


def _add_action(name: str, help_text: str) -> None:
    @campaigns.command(name, help=help_text)
    @click.argument("campaign_id", type=int)
    @click.pass_obj
    def act(screen: Screen, campaign_id: int) -> None:
        answer = screen.ask("POST", f"{_PATH}/{campaign_id}/{quote(name)}")
        screen.say(f"{answer['numbers']:,} numbers are pending again." if name == "reset" else tell_campaign(answer))


for _name, _help in (
    ("start", "Dial from now on."),
    ("pause", "Dial no more; calls go on."),
    ("resume", "Go on after a pause."),
    ("stop", "Dial no more, hang up all calls, put what was not reached back to the beginning."),
    ("reset", "Put every number back to the beginning, those that were reached too."),
):
    _add_action(_name, _help)
