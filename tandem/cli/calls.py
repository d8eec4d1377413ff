"""`tandem calls`: the last calls of the running process; never reads CDR files."""

import click

from tandem.cli.main import Screen, json_option
from tandem.cli.words import tell_call


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
@json_option
@click.pass_obj
def calls(screen: Screen, limit: int, as_json: bool) -> None:
    """What was decided for the last calls, and what became of them."""
    answer = screen.ask("GET", f"/api/v1/decisions?limit={limit}")["items"]
    if as_json:
        screen.write_json(answer)
        return
    for call in answer:
        screen.say(*tell_call(call), "")
    if not answer:
        screen.say("No calls since the start of this process.")
