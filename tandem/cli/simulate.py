"""`tandem simulate`: a campaign tried out on paper, with the pacing of the dialer; never places a call, needs no database and no Asterisk."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from tandem.cli import exits
from tandem.cli.main import Screen, json_option
from tandem.domain.pacing import LEGAL_ABANDON_CAP, LEGAL_WAIT_S, Mode, Policy
from tandem.domain.simulation import Scenario, Times, simulate

if TYPE_CHECKING:
    from tandem.domain.simulation import Outcome


def _parse_times(_context: click.Context, _parameter: click.Parameter, value: str) -> Times:
    mean, _, spread = value.partition(":")
    try:
        numbers = float(mean), float(spread or 0)
    except ValueError:
        raise click.BadParameter("must be a number of seconds such as 120, or 120:0.5 with a spread") from None
    try:
        return Times(*numbers)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


RATE = click.FloatRange(0, 1)


@click.command("simulate")
@click.option("--agents", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option(
    "--answer-rate", type=RATE, default=0.3, show_default=True, help="Share of the calls that a person answers."
)
@click.option(
    "--ring",
    callback=_parse_times,
    metavar="MEAN[:SPREAD]",
    default="8:0.5",
    show_default=True,
    help="Time until those answer.",
)
@click.option(
    "--ring-limit", type=click.FloatRange(1, 120), default=25, show_default=True, help="Given up after so many seconds."
)
@click.option(
    "--talk",
    callback=_parse_times,
    metavar="MEAN[:SPREAD]",
    default="120:1",
    show_default=True,
    help="Time with an agent.",
)
@click.option(
    "--wrap",
    callback=_parse_times,
    metavar="MEAN[:SPREAD]",
    default="5",
    show_default=True,
    help="Time an agent needs after a call.",
)
@click.option(
    "--patience",
    callback=_parse_times,
    metavar="MEAN[:SPREAD]",
    default="10:1",
    show_default=True,
    help="How long people wait before they hang up.",
)
@click.option("--mode", type=click.Choice(get_args(Mode)), default="predictive", show_default=True)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=None, help="Calls at once. Default: 10 for each agent."
)
@click.option(
    "--lines", type=click.FloatRange(1, 20), default=1.5, show_default=True, help="For ratio: lines per free agent."
)
@click.option(
    "--cap",
    type=RATE,
    default=LEGAL_ABANDON_CAP,
    show_default=True,
    help="Share of the answered that may be abandoned.",
)
@click.option(
    "--max-wait",
    type=click.FloatRange(0, 60),
    default=LEGAL_WAIT_S,
    show_default=True,
    help="Abandoned after waiting so many seconds.",
)
@click.option("--hours", type=click.FloatRange(0.01, 24 * 60), default=8, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same campaign.")
@click.option(
    "--log", "log_path", type=click.Path(dir_okay=False, path_type=Path), help="Write every event to this file."
)
@json_option
@click.pass_obj
def simulate_(
    screen: Screen,
    agents: int,
    answer_rate: float,
    ring: Times,
    ring_limit: float,
    talk: Times,
    wrap: Times,
    patience: Times,
    mode: Mode,
    limit: int | None,
    lines: float,
    cap: float,
    max_wait: float,
    hours: float,
    seed: int,
    log_path: Path | None,
    as_json: bool,
) -> None:
    """What a campaign would come to: how busy agents are, how many people find none.

    Times are a mean in seconds and, after a colon, their spread: 0 is always the same, 1 varies like talk times do.
    """
    scenario = Scenario(
        agents=agents,
        answer_rate=answer_rate,
        duration_s=hours * 3600,
        ring=ring,
        ring_limit_s=ring_limit,
        talk=talk,
        wrap=wrap,
        patience=patience,
    )
    policy = Policy(mode=mode, limit=limit or 10 * agents, lines_per_agent=lines, abandon_cap=cap, max_wait_s=max_wait)
    with ExitStack() as stack:
        log = None
        if log_path is not None:
            try:
                file = stack.enter_context(log_path.open("w", encoding="utf-8", newline="\n"))
            except OSError as error:
                screen.fail(exits.FAILED, f"--log: {log_path}: {error.strerror}")

            def log(line: str) -> None:
                file.write(line + "\n")

        with screen.err.status("simulating"):
            outcome = simulate(scenario, policy, seed, log)
    if as_json:
        screen.write_json(describe(outcome) | {"mode": mode, "seed": seed})
    else:
        screen.say(*tell(outcome, f"{mode}, {agents} agent{'s' * (agents > 1)}, {hours:g} h, seed {seed}"))


def describe(outcome: "Outcome") -> dict[str, Any]:
    """The outcome as JSON; shares of 1, times in seconds."""
    return {
        "talk_share": outcome.talk_share,
        "wrap_share": outcome.wrap_share,
        "calls_placed": outcome.placed,
        "answered": outcome.answered,
        "connected": outcome.connected,
        "abandoned": outcome.abandoned,
        "abandoned_share": outcome.abandoned_share,
        "wait_s": {f"p{percent}": outcome.wait_s(percent) for percent in (50, 90, 99)},
        "peak_calls": outcome.peak,
    }


def tell(outcome: "Outcome", title: str) -> list[str]:
    """The outcome in a few lines for people."""
    waits = ", ".join(f"{percent} % within {outcome.wait_s(percent):.1f} s" for percent in (50, 90, 99))
    return [
        title,
        f"  agents talk       {outcome.talk_share:7.1%} of their time, {outcome.talk_share * 60:.0f} minutes an hour",
        f"  agents wrap up    {outcome.wrap_share:7.1%}",
        f"  calls placed      {outcome.placed:6}, at most {outcome.peak} at once",
        f"  people answered   {outcome.answered:6}, {outcome.connected} talked to an agent",
        f"  abandoned         {outcome.abandoned:6}, {outcome.abandoned_share:.2%} of them",
        f"  waited            {waits}",
    ]
