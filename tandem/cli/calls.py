"""`tandem calls`: the last calls of the running process; never reads CDR files."""

import click

from tandem.cli import exits
from tandem.cli.control import ControlFailed, NotRunning, ask
from tandem.cli.main import Screen
from tandem.cli.words import tell_call


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_obj
def calls(screen: Screen, limit: int, as_json: bool) -> None:
    """What was decided for the last calls, and what became of them."""
    settings = screen.load_settings()
    try:
        answer = ask(settings.control_socket, "GET", f"/api/v1/decisions?limit={limit}")["items"]
    except NotRunning as error:
        screen.fail(exits.UNREACHABLE, str(error))
    except ControlFailed as error:
        screen.fail(exits.FAILED, str(error))
    if as_json:
        screen.write_json(answer)
        return
    for call in answer:
        screen.say(*tell_call(call), "")
    if not answer:
        screen.say("No calls since the start of this process.")
