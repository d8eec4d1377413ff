"""`tandem backup` and `restore`: the whole Tandem in and out of one archive; a running one is not disturbed, and never overwritten."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tandem.cli import exits
from tandem.cli.main import Screen, json_option

if TYPE_CHECKING:
    from tandem.settings import Settings

VOICEMAIL = Path("/var/spool/asterisk/voicemail")


def _folders(settings: "Settings", *, recordings: bool, greetings: Path | None) -> dict[str, Path]:
    found = {"sounds": settings.sounds.dir}
    if recordings:
        found["recordings"] = settings.recordings.dir
    if greetings is not None:
        found["greetings"] = greetings
    return found


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--recordings", is_flag=True, help="With the recordings of calls.")
@click.option(
    "--greetings", is_flag=True, help="With voicemail, greetings and messages: the folder of --voicemail-dir."
)
@click.option(
    "--voicemail-dir", default=VOICEMAIL, show_default=True, type=click.Path(path_type=Path), help="Asterisk's."
)
@json_option
@click.pass_obj
def backup(screen: Screen, file: Path, recordings: bool, greetings: bool, voicemail_dir: Path, as_json: bool) -> None:
    """Write database, generated files and sounds to FILE (.tar.gz, mode 0600), also beside a running Tandem. It holds secrets."""
    from tandem.backup import write_backup
    from tandem.store.errors import StoreError
    from tandem.store.place import place_of

    settings = screen.load_settings()
    folders = _folders(settings, recordings=recordings, greetings=voicemail_dir if greetings else None)
    try:
        with screen.err.status("writing"):
            made = write_backup(file.absolute(), place_of(settings), settings.asterisk.config_dir, folders)
    except StoreError as error:
        screen.fail(exits.UNREACHABLE, str(error))
    except OSError as error:
        screen.fail(exits.FAILED, f"{error.filename or file}: {error.strerror}")
    if as_json:
        screen.write_json(made)
    else:
        size = file.stat().st_size / 1_000_000
        screen.say(
            f"{file}: {len(made['sha256'])} files, {size:.1f} MB. `tandem restore --verify {file}` tries it out."
        )


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--verify", is_flag=True, help="Only try it out: a scratch database, a throw-away Asterisk. Changes nothing."
)
@click.option("--replace", "replaces", is_flag=True, help="Also where a database with revisions is; that one is lost.")
@click.option(
    "--voicemail-dir", default=VOICEMAIL, show_default=True, type=click.Path(path_type=Path), help="Asterisk's."
)
@click.pass_obj
def restore(screen: Screen, file: Path, verify: bool, replaces: bool, voicemail_dir: Path) -> None:
    """Put a backup back: database, sounds, and what else is in it. Tandem must be stopped; its next start brings Asterisk in step."""
    from tandem.backup import BackupError, open_backup, restore_backup
    from tandem.store.errors import StoreBusy, StoreError
    from tandem.store.place import PostgresPlace, place_of
    from tandem.store.revisions import load_head

    settings = screen.load_settings()
    place = place_of(settings)
    try:
        with screen.err.status("reading"), open_backup(file) as (home, manifest):
            if verify:
                _verify(screen, settings, home, manifest)
                return
            from tandem.store.database import Store

            store = Store(place)
            if not isinstance(place, PostgresPlace):
                place.parent.mkdir(parents=True, exist_ok=True)
            store.lock.acquire("tandem restore")
            try:
                is_there = isinstance(place, PostgresPlace) or place.exists()
                if is_there and not replaces and store.run_now(load_head):
                    screen.fail(exits.USAGE, f"{store.place} has revisions already: --replace. Nothing was changed.")
                folders = _folders(settings, recordings=True, greetings=voicemail_dir)
                head = restore_backup(home, manifest, store, place, folders)
            finally:
                store.lock.release()
    except BackupError as error:
        screen.fail(exits.USAGE, f"{error}. Nothing was changed.")
    except StoreBusy as error:
        screen.fail(exits.BUSY, str(error))
    except StoreError as error:
        screen.fail(exits.UNREACHABLE, str(error))
    except OSError as error:
        screen.fail(exits.FAILED, f"{error.filename or file}: {error.strerror}")
    screen.say(f"Restored: revision {head} is the newest. `tandem serve` brings Asterisk in step.")


def _verify(screen: Screen, settings: "Settings", home: Path, manifest: dict[str, object]) -> None:
    from tandem.backup import verify_backup
    from tandem.domain.changes import ApplyRefused
    from tandem.store.copies import scratch_database
    from tandem.store.place import PostgresPlace, place_of
    from tandem.target import describe_target, read_dialplan

    place = place_of(settings)
    how = describe_target(settings), read_dialplan()
    try:
        if isinstance(place, PostgresPlace):
            with scratch_database(place) as beside:
                found = verify_backup(home, manifest, beside, *how)
        else:
            with tempfile.TemporaryDirectory(prefix="tandem-scratch-") as scratch:
                found = verify_backup(home, manifest, Path(scratch) / "tandem.db", *how)
    except ApplyRefused as error:
        screen.fail(exits.FAILED, str(error))
    told = [f"Revision {found.revision} is in it; the newest is {found.head}.", f"Throw-away Asterisk: {found.check}."]
    if found.differences:
        screen.say(*told)
        screen.fail(exits.FAILED, f"Not made as they were: {', '.join(found.differences)}")
    screen.say(
        *told, f"{found.files} files are made from it as they were." if found.files else "No files were written yet."
    )
