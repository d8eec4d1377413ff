"""`tandem numbers`: reads files of numbers into a campaign of the running process, and says why a number is not dialled; never opens the database."""

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from tandem.cli import exits
from tandem.cli.main import Screen, json_option
from tandem.domain.printable import escape_unprintable

# The upload of a gigabyte, and the look at its layout.
_UPLOAD_S = 900.0
_ASK_EVERY_S = 0.5


@click.group()
def numbers() -> None:
    """Numbers of campaigns: import, why."""


def _read_map(_context: object, _parameter: object, given: tuple[str, ...]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for pair in given:
        target, equals, column = pair.partition("=")
        if not equals or not target or not column:
            raise click.BadParameter(f"{pair!r} is not TARGET=COLUMN, such as phone_number=Telefon")
        columns[{"phone": "phone_number"}.get(target, target)] = column
    return columns


@numbers.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--campaign", "campaign_id", type=int, required=True, help="The campaign's number.")
@click.option(
    "--map",
    "columns",
    multiple=True,
    callback=_read_map,
    help="TARGET=COLUMN where a column's name does not say it: phone, name, data.NAME, variables.NAME, not_before.",
)
@click.option("--preview", is_flag=True, help="Look at every row and change nothing.")
@click.option("--keep-duplicates", is_flag=True, help="Add numbers that are on the list already, too.")
@click.option("--delimiter", type=click.Choice([",", ";", "tab", "|"]), help="Else found out.")
@click.option("--encoding", type=click.Choice(["utf-8", "windows-1252", "latin-1"]), help="Else found out.")
@click.option("--time-zone", help="Of times without an offset; else the PBX's own.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON document.")
@click.pass_obj
def import_(
    screen: Screen,
    file: Path,
    campaign_id: int,
    columns: dict[str, str],
    preview: bool,
    keep_duplicates: bool,
    delimiter: str | None,
    encoding: str | None,
    time_zone: str | None,
    as_json: bool,
) -> None:
    """Read a CSV FILE of numbers into a campaign."""
    wanted = {
        "columns": json.dumps(columns) if columns else None,
        "preview": "true" if preview else None,
        "dedupe": "false" if keep_duplicates else None,
        "delimiter": "\t" if delimiter == "tab" else delimiter,
        "encoding": encoding,
        "time_zone": time_zone,
        "wait_s": 1,
    }
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    path = f"/api/v1/campaigns/{campaign_id}"
    with file.open("rb") as content:
        report = screen.ask(
            "POST", f"{path}/numbers/import?{query}", content, content_type="text/csv", timeout_s=_UPLOAD_S
        )
    with screen.err.status("reading") as status:
        while report["state"] == "running":
            status.update(f"{report['rows']:,} rows, {report['bytes_read'] * 100 // max(report['bytes_total'], 1)} %")
            time.sleep(_ASK_EVERY_S)
            report = screen.ask("GET", f"{path}/imports/{report['import_id']}")
    if as_json:
        screen.write_json(report)
    else:
        screen.say(*tell_report(report))
    if report["state"] != "finished":
        raise SystemExit(exits.FAILED)


def tell_report(report: dict[str, Any]) -> list[str]:
    """What became of a file."""
    would = "would be " if report["is_preview"] else ""
    mapping = ", ".join(f"{column} is {target}" for target, column in report["layout"]["mapping"].items())
    lines = [
        f"{mapping}; {report['layout']['encoding']}",
        f"{report['rows']:,} rows: {report['added']:,} {would}added, {report['duplicates']:,} duplicates, {report['invalid']:,} refused",
    ]
    if report["layout"]["ignored"]:
        lines.append(f"ignored columns: {', '.join(report['layout']['ignored'])}")
    lines += [f"line {one['line']}: {one['field']} {one['rule']}".replace(":  ", ": ") for one in report["problems"]]
    if report["invalid"] > len(report["problems"]):
        lines.append(f"and {report['invalid'] - len(report['problems']):,} more")
    if report["error"]:
        lines.append(report["error"])
    return list(map(escape_unprintable, lines))


@numbers.command()
@click.argument("number_id", type=int)
@json_option
@click.pass_obj
def why(screen: Screen, number_id: int, as_json: bool) -> None:
    """Every rule that keeps a number from being dialled now, and when it may be."""
    answer = screen.ask("GET", f"/api/v1/numbers/{number_id}/why")
    if as_json:
        screen.write_json(answer)
        return
    screen.say(*map(escape_unprintable, tell_why(answer)))


def tell_why(answer: dict[str, Any]) -> list[str]:
    """A line for each rule, and when it may be dialled."""
    if not answer["reasons"]:
        return ["Nothing keeps it: it is dialled when it is its turn."]
    lines = [f"{reason['rule']}: {reason['message']}" for reason in answer["reasons"]]
    if answer["callable_at"] is None:
        return [*lines, "Nobody can say when it may be dialled."]
    local = ", ".join(f"{one['at']} {one['time_zone']}" for one in answer["callable_at_local"])
    return [*lines, f"From {answer['callable_at']} on ({local})."]
