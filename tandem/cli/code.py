"""PBX as code: `tandem validate` and `schema`; reads files alone, never a database."""

from pathlib import Path

import click

from tandem.cli.document import DOCUMENTS, read_pbx
from tandem.cli.main import Screen


@click.command()
@click.argument("files", nargs=-1, required=True, type=DOCUMENTS, metavar="FILE|FOLDER...")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
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
