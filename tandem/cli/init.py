"""`tandem init`: settings file, database, first admin token; never overwrites any of them."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from tandem.cli import exits
from tandem.cli.host import choose_secret_files, install_host_files, make_secret_files
from tandem.cli.main import Screen


def _parse_setting(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise click.BadParameter(f"{key!r} must be KEY=VALUE, such as fastagi.port=4573")
    return {key: value for key, _, value in pairs}


@click.command()
@click.option("--set", "values", multiple=True, callback=_parse_setting, metavar="KEY=VALUE", help="A setting's value.")
@click.option(
    "--asterisk",
    "mode",
    type=click.Choice(["guest", "owner"]),
    help="Set Asterisk's own files up too: guest adds a marked block to yours, owner writes them whole. Backups are kept.",
)
@click.pass_obj
def init(screen: Screen, values: dict[str, str], mode: str | None) -> None:
    """Make a settings file with every setting explained, the database, and the first admin token.

    What is there already stays as it is, so this can be run again.
    """
    from tandem.settings import DEFAULT_PATH, PATH_VARIABLE, write_settings_template

    path = screen.settings_path or Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if mode is not None and not path.exists():
            values = choose_secret_files(path, {"asterisk.mode": mode, **values})
        write_settings_template(path, values)
        if mode is not None:
            make_secret_files(values)
        screen.say(f"Settings: {path}")
        is_new = True
    except FileExistsError:
        screen.say(f"Settings: {path} (kept as it is{', --set was not written' if values else ''})")
        is_new = False
    except ValueError as error:
        screen.fail(exits.USAGE, f"--set: {error}")
    except OSError as error:
        screen.fail(exits.FAILED, f"{path}: {error.strerror}")
    screen.settings_path = path
    try:
        _make_database(screen, is_new=is_new)
    except (SystemExit, OSError) as error:
        if is_new:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            screen.fail(exits.FAILED, f"{error.filename}: {error.strerror}")
        raise
    if mode is not None:
        install_host_files(screen, screen.load_settings())


def _make_database(screen: Screen, *, is_new: bool) -> None:
    from tandem.cli.offline import open_database
    from tandem.store.errors import StoreBusy
    from tandem.store.place import place_of
    from tandem.store.tokens import create_token, load_tokens

    settings = screen.load_settings()
    place = place_of(settings)
    for folder in (*([place.parent] if isinstance(place, Path) else []), settings.state_dir):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with open_database(screen) as store:
        try:
            store.lock.acquire("tandem init")
        except StoreBusy:
            if is_new:
                raise
            # A running Tandem has migrated it.
            screen.say(f"Database: {place} (kept as it is, Tandem is running)")
            return
        try:
            for migration in store.migrate():
                screen.say(f"Database: {place} ({migration})")
            if store.run_now(load_tokens):
                return
            made = store.run_now(create_token, name="admin", permissions=("*",), at=datetime.now(UTC))
        finally:
            store.lock.release()
    screen.say("", f"Admin token, shown only now: {made.secret}")
    screen.say("", "Next: set the AMI secrets in the settings, `tandem import FILE`, `tandem serve`, `tandem check`.")
