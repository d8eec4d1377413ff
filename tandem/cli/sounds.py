"""`tandem sounds`: list, add, remove, by the running process; reads the file that is given and nothing else."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from tandem.cli import exits
from tandem.cli.control import ControlFailed, NotRunning, ask
from tandem.cli.main import Screen, json_option

_PATH = "/api/v1/sounds"
CONVERT_TIMEOUT_S = 300.0
_language = click.option(
    "--language", default="", help="Such as de or pt_BR; without it, for every language that has none of its own."
)


@click.group()
def sounds() -> None:
    """Sounds for menus and announcements: one that is added as `welcome` is the prompt tandem/welcome."""


@sounds.command("list")
@json_option
@click.pass_obj
def list_(screen: Screen, as_json: bool) -> None:
    """The sounds that were added."""
    items: list[dict[str, Any]] = []
    while True:
        page = _ask(screen, "GET", f"{_PATH}?limit=1000&offset={len(items)}")
        items += page["items"]
        if not page["items"] or len(items) >= page["total"]:
            break
    if as_json:
        screen.write_json(items)
        return
    for sound in items:
        language = sound["language"] or "any language"
        said = f"  {sound['text'][:60]!r}" if sound["text"] else ""
        screen.say(
            f"tandem/{sound['name']}  {language}  {sound['duration_s']:.1f} s  from {sound['source']}  {sound['bytes']} bytes{said}"
        )
    if not items:
        screen.say("No sounds yet: `tandem sounds add NAME FILE`, or `tandem sounds add NAME --text TEXT`.")


@sounds.command()
@click.argument("name")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--text", help="Speak this instead of taking a file.")
@click.option("--voice", default="", help="A voice of the speech engine; else the language's.")
@click.option("--replace", is_flag=True, help="Take the place of the one that there is.")
@_language
@json_option
@click.pass_obj
def add(
    screen: Screen,
    name: str,
    file: Path | None,
    text: str | None,
    voice: str,
    replace: bool,
    language: str,
    as_json: bool,
) -> None:
    """Add a sound: a wav, mp3, ogg or flac file, or a text to speak."""
    if (file is None) == (text is None):
        raise click.UsageError("give either a file or --text")
    if voice and text is None:
        raise click.UsageError("--voice goes with --text")
    if file is not None:
        content, kind = file.read_bytes(), "application/octet-stream"
    else:
        wanted = {"name": name, "language": language, "text": text, "voice": voice}
        content, kind = json.dumps(wanted).encode(), "application/json"
    method, path = ("PUT", f"{_PATH}/{quote(name, safe='')}") if replace else ("POST", _PATH)
    query = {"language": language} if replace else {"name": name, "language": language}
    with screen.err.status("converting"):
        sound = _ask(screen, method, f"{path}?{urlencode(query)}", content, kind)
    if as_json:
        screen.write_json(sound)
        return
    screen.say(f"tandem/{sound['name']}: {sound['duration_s']:.1f} s, in {', '.join(sound['formats'])}")


@sounds.command()
@click.argument("name")
@_language
@click.pass_obj
def remove(screen: Screen, name: str, language: str) -> None:
    """Delete a sound that nothing plays."""
    _ask(screen, "DELETE", f"{_PATH}/{quote(name, safe='')}?{urlencode({'language': language})}")
    screen.say(f"tandem/{name} is gone.")


def _ask(screen: Screen, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
    settings = screen.load_settings()
    try:
        return ask(settings.control_socket, method, path, body, timeout_s=CONVERT_TIMEOUT_S, content_type=kind)
    except NotRunning as error:
        screen.fail(exits.UNREACHABLE, str(error))
    except ControlFailed as error:
        screen.fail(exits.FAILED, str(error))
