"""`tandem serve`: the process that decides calls; never returns before it is told to stop."""

import logging
import os
import sys
from typing import cast

import click

from tandem.cli import exits
from tandem.cli.main import Screen


def start_logging(level: str) -> None:
    """Lines on standard error for the journal, which adds times itself; Twisted's own log goes the same way."""
    from twisted.logger import ILogObserver, STDLibLogObserver, globalLogBeginner

    under_journal = "JOURNAL_STREAM" in os.environ
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(levelname)s %(name)s: %(message)s"
        if under_journal
        else "%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # At level debug peewee would write its queries with their values, and some of these are secrets.
    logging.getLogger("peewee").setLevel(logging.INFO)
    globalLogBeginner.beginLoggingTo(
        [cast(ILogObserver, STDLibLogObserver())], redirectStandardIO=False, discardBuffer=True
    )


@click.command()
@click.pass_obj
def serve(screen: Screen) -> None:
    """Decide calls until SIGTERM or SIGINT; running calls get a moment to end their decision."""
    settings = screen.load_settings()
    from tandem.reactor import install_reactor

    install_reactor()
    start_logging(settings.log.level)
    from tandem.app import run_until_stopped
    from tandem.store.errors import StoreBusy, StoreError

    try:
        why = run_until_stopped(settings)
    except StoreBusy as error:
        screen.fail(exits.BUSY, str(error))
    except StoreError as error:
        screen.fail(exits.UNREACHABLE, str(error))
    if why is not None:
        screen.fail(exits.FAILED, why)
