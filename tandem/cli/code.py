"""PBX as code: `tandem validate`, `schema` and `test`; looks at documents (or the newest revision), never changes anything."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tandem.cli import exits
from tandem.cli.document import DOCUMENTS, read_pbx
from tandem.cli.main import Screen, json_option

if TYPE_CHECKING:
    from tandem.domain.entities import Pbx


@click.command()
@click.argument("files", nargs=-1, required=True, type=DOCUMENTS, metavar="FILE|FOLDER...")
@json_option
@click.pass_obj
def validate(screen: Screen, files: tuple[Path, ...], as_json: bool) -> None:
    """Check PBX documents as a whole: files, folders of them, and what they include. Needs no database and no Asterisk.

    Every mistake is named with file, line and rule; exit code 2.
    """
    from tandem.domain.entities import COLLECTIONS

    with screen.err.status("reading"):
        read = read_pbx(screen, *files)
    counts = {name: len(getattr(read.pbx, name)) for name in COLLECTIONS if getattr(read.pbx, name)}
    if as_json:
        screen.write_json({"files": [str(path) for path in read.files], "objects": counts})
        return
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) or "no object"
    one = len(read.files) == 1
    screen.say(f"{read.files[0] if one else f'{len(read.files)} documents'} {'is' if one else 'are'} right: {told}.")


@click.command()
@click.pass_obj
def schema(screen: Screen) -> None:
    """Write the JSON Schema of PBX documents, for an editor to complete and check them.

    With yaml-language-server: `# yaml-language-server: $schema=tandem.schema.json` as a document's first line.
    """
    from tandem.domain.document_schema import describe_documents

    screen.write_json(describe_documents())


@click.command()
@click.argument("files", nargs=-1, type=DOCUMENTS, metavar="[FILE|FOLDER]...")
@json_option
@click.pass_obj
def test(screen: Screen, files: tuple[Path, ...], as_json: bool) -> None:
    """Run the route tests (`expect:`) of documents, or of the newest revision; exit code 1 when one fails."""
    from tandem.domain.route_tests import run_route_tests
    from tandem.domain.snapshot import build_snapshot

    with screen.err.status("reading"):
        pbx = read_pbx(screen, *files).pbx if files else _read_newest(screen)
        tests = run_route_tests(build_snapshot(0, pbx))
    failed = sum(bool(it.problem) for it in tests)
    if as_json:
        screen.write_json(tests)
    else:
        for it in tests:
            screen.say(f"{'FAILED' if it.problem else 'passed'}  {it.question}: {it.problem or it.expected}")
        screen.say(f"{len(tests)} route tests, {failed} failed." if tests else "There is no route test (`expect:`).")
    if failed:
        raise SystemExit(exits.FAILED)


def _read_newest(screen: Screen) -> "Pbx":
    from tandem.cli.offline import open_database
    from tandem.store.objects import load_pbx

    with open_database(screen) as store:
        return store.run_now(load_pbx)
