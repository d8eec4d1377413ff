"""`tandem import` and `export`: the PBX document in and out; never half of a document."""

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tandem.cli import exits
from tandem.cli.config import tell_apply
from tandem.cli.control import ControlFailed, NotRunning, ask
from tandem.cli.main import Screen, json_option

if TYPE_CHECKING:
    from tandem.documents import ReadPbx
    from tandem.domain.entities import Pbx

APPLY_TIMEOUT_S = 300.0


DOCUMENTS = click.Path(exists=True, path_type=Path)


def read_pbx(screen: Screen, *paths: Path) -> "ReadPbx":
    """A PBX from documents and folders of them, or exit 2 with every problem and its line."""
    from tandem.document import DocumentError
    from tandem.documents import read_pbx_files

    try:
        return read_pbx_files(paths, os.environ)
    except DocumentError as error:
        return screen.fail(exits.USAGE, *str(error).splitlines(), "Nothing was changed.")


def refuse_failing_tests(screen: Screen, pbx: "Pbx") -> None:
    """Exit 2 with every route test that fails."""
    from tandem.domain.route_tests import run_route_tests
    from tandem.domain.snapshot import build_snapshot

    if not pbx.expect:
        return
    failed = [test for test in run_route_tests(build_snapshot(0, pbx)) if test.problem]
    if failed:
        told = [f"expect {test.question}: {test.problem}" for test in failed]
        screen.fail(exits.USAGE, *told, f"{len(failed)} of {len(pbx.expect)} route tests fail. Nothing was changed.")


@click.command(name="import")
@click.argument("files", nargs=-1, required=True, type=DOCUMENTS, metavar="FILE|FOLDER...")
@click.option("-m", "--note", default="", help="Why, for the history; default: the file's name.")
@click.option("--dry-run", is_flag=True, help="Check the document and change nothing.")
@json_option
@click.pass_obj
def import_(screen: Screen, files: tuple[Path, ...], note: str, dry_run: bool, as_json: bool) -> None:
    """Make PBX documents (a file, several, a folder of them) the configuration, all of it or nothing.

    A running Tandem applies it to Asterisk at once; without one it is saved and applied at the next start.
    """
    names = ", ".join(path.name for path in files)
    with screen.err.status(f"reading {names}"):
        read = read_pbx(screen, *files)
        refuse_failing_tests(screen, read.pbx)
    if dry_run:
        screen.say(f"{names} {'is' if len(files) == 1 else 'are'} right. Nothing was changed.")
        return
    report = _import_pbx(screen, read, note or f"import of {names}")
    if as_json:
        screen.write_json(report)
    else:
        screen.say(*tell_import(report))


def _import_pbx(screen: Screen, read: "ReadPbx", note: str) -> dict[str, Any]:
    """Saves here, in this process: a running Tandem has calls to decide, and a large document takes seconds to read."""
    path = screen.load_settings().control_socket
    remedies: list[str] = []
    try:
        with screen.err.status("importing"):
            is_running = _is_running(path)
            saved = _save_pbx(screen, read, note, alone=not is_running)
        remedies.append(
            f"Revision {saved['revision']} is saved and not live: `tandem config apply` tries again, `tandem config rollback` goes back."
        )
        with screen.err.status("applying"):
            applied = (
                ask(path, "POST", "/api/v1/config/apply", b"{}", timeout_s=APPLY_TIMEOUT_S) if is_running else None
            )
    except NotRunning as error:
        screen.fail(exits.UNREACHABLE, f"{error}; the document is saved, and applied at the next start")
    except ControlFailed as error:
        screen.fail(exits.FAILED, str(error), *remedies)
    return {"saved": saved, "applied": applied}


def _is_running(control_socket: Path) -> bool:
    try:
        ask(control_socket, "GET", "/health")
    except NotRunning:
        return False
    return True


def _save_pbx(screen: Screen, read: "ReadPbx", note: str, *, alone: bool) -> dict[str, Any]:
    """One transaction. `alone`: takes the lock and migrates; else a running Tandem holds the lock, and has migrated."""
    from dataclasses import asdict
    from datetime import UTC, datetime

    from tandem.cli.offline import open_database
    from tandem.store.objects import save_pbx
    from tandem.store.secret_references import save_references

    def save(db: Any) -> Any:
        saved = save_pbx(db, read.pbx, author=getpass.getuser(), note=note, at=datetime.now(UTC))
        save_references(db, read.pbx, read.references)
        return saved

    with open_database(screen) as store:
        try:
            if alone:
                store.lock.acquire("tandem import")
                store.migrate()
            return asdict(store.run_now(save))
        finally:
            store.lock.release()


def tell_import(report: dict[str, Any]) -> list[str]:
    """What was saved, and what that meant for Asterisk."""
    saved, applied = report["saved"], report["applied"]
    if saved["added"] or saved["changed"] or saved["removed"]:
        counts = f"{saved['added']} added, {saved['changed']} changed, {saved['removed']} removed"
        lines = [f"Revision {saved['revision']}: {counts}."]
    else:
        lines = [f"Nothing differs from revision {saved['revision']}."]
    return lines + (
        ["Tandem is not running: it is applied at the next start."] if applied is None else tell_apply(applied)
    )


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--revision", type=click.IntRange(1), help="An older one; default: the newest.")
@click.option("--plain", is_flag=True, help="Write secrets that a document named by {env: …} or {file: …}, too.")
@click.pass_obj
def export(screen: Screen, file: Path | None, revision: int | None, plain: bool) -> None:
    """Write the PBX document, secrets included, to FILE (mode 0600) or standard output.

    A secret that the document named by the environment or a file is written as that name, if it still is what was found there.
    """
    from tandem.cli.offline import open_database
    from tandem.document import write_document
    from tandem.store.objects import load_pbx
    from tandem.store.secret_references import load_references

    with screen.err.status("reading the database"), open_database(screen) as store:
        try:
            pbx = store.run_now(load_pbx, revision)
            text = write_document(pbx, {} if plain else store.run_now(load_references, pbx))
        except KeyError:
            screen.fail(exits.USAGE, f"--revision: there is no revision {revision}")
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        write_private(file, text)
    except OSError as error:
        screen.fail(exits.FAILED, f"{file}: {error.strerror}")
    screen.err.print(f"written to {file}", markup=False)


def write_private(path: Path, text: str) -> None:
    """Replaces a file whole, readable for its owner only."""
    import os
    import secrets

    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
