"""The commands of `tandem` and what they have in common; none is imported before it is run, so that each is quick."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

import click
import orjson
from rich.console import Console

from tandem.cli import exits

if TYPE_CHECKING:
    from tandem.settings import Settings

COMMANDS: Final = {
    "apply": "plan.apply",
    "backup": "backup.backup",
    "calls": "calls.calls",
    "campaigns": "campaigns.campaigns",
    "check": "check.check",
    "config": "config.config",
    "drift": "plan.drift",
    "export": "document.export",
    "guard": "guard.guard",
    "import": "document.import_",
    "import-conf": "import_conf.import_conf",
    "import-freepbx": "import_conf.import_freepbx",
    "init": "init.init",
    "numbers": "numbers.numbers",
    "plan": "plan.plan",
    "restore": "backup.restore",
    "route": "route.route",
    "schema": "code.schema",
    "serve": "serve.serve",
    "simulate": "simulate.simulate_",
    "sounds": "sounds.sounds",
    "survey": "survey.survey",
    "test": "code.test",
    "uninstall": "host.uninstall",
    "validate": "code.validate",
}
"""Name -> its module in this folder, and its name there."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


json_option: Final = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


class Screen:
    """Where a command writes: words for people, or one JSON document with `--json`."""

    def __init__(self, settings_path: Path | None) -> None:
        self.settings_path = settings_path
        self.out = Console(highlight=False, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    def load_settings(self) -> "Settings":
        """The settings, or exit 2 with every problem."""
        from tandem.settings import SettingsError, load_settings

        try:
            return load_settings(self.settings_path, os.environ)
        except SettingsError as error:
            self.fail(exits.USAGE, *map(str, error.problems))

    def ask(self, method: str, path: str, body: bytes | BinaryIO | None = None, **options: Any) -> Any:
        """The answer of the running Tandem, or its refusal as the command's end."""
        from tandem.cli.control import ControlFailed, NotRunning, ask

        try:
            return ask(self.load_settings().control_socket, method, path, body, **options)
        except NotRunning as error:
            self.fail(exits.UNREACHABLE, str(error))
        except ControlFailed as error:
            self.fail(exits.FAILED, str(error))

    def say(self, *lines: str) -> None:
        """Plain lines on standard output; nothing in them is markup."""
        for line in lines:
            self.out.print(line, markup=False)

    def write_json(self, value: Any) -> None:
        """One JSON document on standard output."""
        sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    def fail(self, code: int, *lines: str) -> NoReturn:
        """Says what went wrong on standard error, and ends with `code`."""
        for line in lines:
            self.err.print(line, style="red", markup=False)
        raise SystemExit(code)


class Commands(click.Group):
    """A group of COMMANDS; each is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's name
        """All of their names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's names
        """The command of that name, or None."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(".")
        found = getattr(import_module(f"tandem.cli.{module}"), name)
        assert isinstance(found, click.Command)
        return found


@click.group(cls=Commands, context_settings=CONTEXT, epilog=exits.HELP)
@click.option(
    "--settings",
    "settings_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file; else the one that TANDEM_SETTINGS names, else /etc/tandem/tandem.yaml.",
)
@click.version_option(package_name="tandem-pbx", prog_name="tandem")
@click.pass_context
def main(context: click.Context, settings_path: Path | None) -> None:
    """The brain beside an Asterisk PBX."""
    context.obj = Screen(settings_path)
