"""`tandem init --asterisk` and `tandem uninstall`: sets Asterisk's own files up for guest or owner mode and takes it back; never without a backup."""

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tandem.cli import exits
from tandem.cli.main import Screen

if TYPE_CHECKING:
    from tandem.settings import Settings


def choose_secret_files(settings_path: Path, values: dict[str, str]) -> dict[str, str]:
    """The settings that name the two AMI secrets, beside the settings file, where the admin named none."""
    chosen = dict(values)
    for key, name in (("ami.secret", "ami.secret"), ("ami.config_secret", "ami-config.secret")):
        if key not in values and f"{key}_file" not in values:
            chosen[f"{key}_file"] = str(settings_path.parent / name)
    return chosen


def make_secret_files(values: dict[str, str]) -> None:
    """A file with 128 random bits for each AMI login that has none yet, readable for its owner alone."""
    for key in ("ami.secret_file", "ami.config_secret_file"):
        path = Path(values[key]) if key in values else None
        if path is not None and not path.exists():
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                stream.write(secrets.token_hex(16) + "\n")


def install_host_files(screen: Screen, settings: "Settings") -> None:
    """Brings Asterisk's files to what the settings' mode needs; says what changed."""
    from confgen.host_files import AmiUsers, make_record_folders, plan_install, write_host_file
    from confgen.host_records import HostConflict
    from tandem.asterisk.base_config import MODULES
    from tandem.domain.records import RecordFiles

    ami, asterisk = settings.ami, settings.asterisk
    if ami.secret is None or ami.config_secret is None:
        screen.fail(exits.USAGE, "ami.secret_file and ami.config_secret_file must be set")
    records = RecordFiles(asterisk.cel_file, asterisk.cdr_file)
    users = AmiUsers(
        ami.username, ami.secret.get_secret_value(), ami.config_username, ami.config_secret.get_secret_value()
    )
    try:
        files = plan_install(
            asterisk.mode, asterisk.etc_dir, asterisk.config_dir, users, records, MODULES, asterisk.sip_bind
        )
        for folder in make_record_folders(records):
            screen.say(f"Asterisk: {folder} (its group may write: Tandem sets long files aside)")
        for file in files:
            if file.is_changed:
                write_host_file(file)
                screen.say(f"Asterisk: {file.path} ({'made' if file.before is None else 'changed; backup beside it'})")
        asterisk.config_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    except HostConflict as error:
        screen.fail(exits.USAGE, f"{asterisk.etc_dir}/{error}", "Nothing of Asterisk's was changed.")
    except OSError as error:
        screen.fail(exits.FAILED, f"{error.filename or asterisk.etc_dir}: {error.strerror}")
    if any(file.is_changed for file in files):
        # A module that had no file when Asterisk started has not loaded, and no reload loads it.
        screen.say("Asterisk reads them when you restart it; `tandem check` says whether it has all that is needed.")


@click.command()
@click.pass_obj
def uninstall(screen: Screen) -> None:
    """Take back what init did to Asterisk's files, and our generated ones; database, settings and your own files stay."""
    import shutil

    from confgen.host_files import plan_uninstall, remove_backups, remove_record_folders, write_host_file
    from tandem.domain.records import RecordFiles

    asterisk = screen.load_settings().asterisk
    try:
        files = plan_uninstall(asterisk.etc_dir)
        for file in files:
            write_host_file(file)
            screen.say(f"Asterisk: {file.path} ({'removed' if file.after is None else 'as it was'})")
        remove_backups(files)
        for folder in remove_record_folders(RecordFiles(asterisk.cel_file, asterisk.cdr_file)):
            screen.say(f"Asterisk: {folder} (stays: there are records in it)")
        for name in ("current", "live"):
            (asterisk.config_dir / name).unlink(missing_ok=True)
        shutil.rmtree(asterisk.config_dir / "generations", ignore_errors=True)
        if asterisk.config_dir.is_dir() and not any(asterisk.config_dir.iterdir()):
            asterisk.config_dir.rmdir()
    except OSError as error:
        screen.fail(exits.FAILED, f"{error.filename or asterisk.etc_dir}: {error.strerror}")
    screen.say("Asterisk reads its files when you `asterisk -rx 'core reload'`. Database and settings are still there.")
