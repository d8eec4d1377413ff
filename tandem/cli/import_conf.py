"""`tandem import-conf` and `import-freepbx`: another system's configuration as a PBX document; never saves or applies one."""

import glob
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tandem.cli import exits
from tandem.cli.main import Screen

if TYPE_CHECKING:
    from tandem.domain.carrying import Carried

_OUT = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the document (mode 0600); default: standard output.",
)


@click.command(name="import-conf")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("/etc/asterisk"))
@_OUT
@click.pass_obj
def import_conf(screen: Screen, folder: Path, output: Path | None) -> None:
    """Make a PBX document of an Asterisk's own pjsip.conf, voicemail.conf, queues.conf and extensions.conf in FOLDER.

    What is not in the document is told on standard error, with its place. Look it over, then `tandem plan` it.
    """
    from tandem.domain.asterisk_import import FILES, import_asterisk

    files = {name: text for name in FILES if (text := _read(folder / name)) is not None}
    if not files:
        screen.fail(exits.USAGE, f"{folder}: has none of {', '.join(FILES)}")
    _write(screen, import_asterisk(files, lambda name: _find(folder, name)), output)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _find(folder: Path, name: str) -> dict[str, str]:
    """What an `#include` of Asterisk's names: a file or a pattern, in its own folder."""
    paths = sorted(glob.glob(str(folder / name)))  # noqa: PTH207 - Asterisk's includes are patterns of glob(3), absolute ones too
    found = {str(Path(path)): _read(Path(path)) for path in paths}
    return {path.removeprefix(f"{folder}/"): text for path, text in found.items() if text is not None}


def _write(screen: Screen, carried: "Carried", output: Path | None) -> None:
    from tandem.cli.document import write_private
    from tandem.document import write_document
    from tandem.domain.entities import COLLECTIONS

    text = write_document(carried.pbx)
    for lost in carried.lost:
        screen.err.print(str(lost), markup=False, style="yellow")
    if output is None:
        click.echo(text, nl=False)
    else:
        try:
            write_private(output, text)
        except OSError as error:
            screen.fail(exits.FAILED, f"{output}: {error.strerror}")
    counts = [f"{len(found)} {name.replace('_', ' ')}" for name in COLLECTIONS if (found := getattr(carried.pbx, name))]
    screen.err.print(
        f"{', '.join(counts) or 'Nothing'} carried over; {len(carried.lost)} things were not, see above.", markup=False
    )


@click.command(name="import-freepbx")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_OUT
@click.pass_obj
def import_freepbx(screen: Screen, file: Path, output: Path | None) -> None:
    """Make a PBX document of a FreePBX backup (.tar.gz; of any version from 12 on) or of a dump of its database (.sql, .sql.gz). Needs no database server.

    What is not in the document is told on standard error, with table and row. Look it over, then `tandem plan` it.
    """
    from tandem.domain.freepbx_import import import_freepbx as carry
    from tandem.domain.freepbx_modules import read_modules
    from tandem.domain.sql_dump import read_dump
    from tandem.freepbx_files import FreepbxFileError, read_freepbx

    try:
        with screen.err.status("reading"):
            found = read_freepbx(file)
            tables = read_modules(found.modules) | read_dump(found.dump)
    except FreepbxFileError as error:
        screen.fail(exits.USAGE, f"{file}: {error}")
    except OSError as error:
        screen.fail(exits.FAILED, f"{file}: {error.strerror or error}")
    if not tables.keys() & {"users", "incoming", "trunks", "queues_config"}:
        screen.fail(exits.USAGE, f"{file}: has none of FreePBX's tables (users, incoming, trunks, queues_config)")
    _write(screen, carry(tables, found.voicemail), output)
