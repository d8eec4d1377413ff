"""`tandem plan`, `apply` and `drift`: what documents would change, that very change applied, and where things differ.

A plan of documents is made here, in this process: a running Tandem has calls to decide. It writes nothing but the plan itself.
"""

import getpass
from pathlib import Path
from typing import Any

import click

from tandem.cli import exits
from tandem.cli.config import ask_running, tell_apply, tell_files, tell_missing_sounds, tell_objects, tell_plan
from tandem.cli.document import DOCUMENTS, read_pbx, refuse_failing_tests
from tandem.cli.main import Screen, json_option

_STYLES = {"+": "green", "-": "red", "~": "yellow", "@": "cyan"}


def say_changes(screen: Screen, lines: list[str]) -> None:
    """Lines of a plan, in colour on a terminal."""
    for line in lines:
        screen.out.print(line, markup=False, style=_STYLES.get(line[:1]))


@click.command()
@click.argument("files", nargs=-1, type=DOCUMENTS, metavar="[FILE|FOLDER]...")
@click.option("-m", "--note", default="", help="Why, for the history.")
@json_option
@click.pass_obj
def plan(screen: Screen, files: tuple[Path, ...], note: str, as_json: bool) -> None:
    """Show what making these documents the PBX would do (objects, files, modules), and keep it under an id for `apply --plan`.

    Without documents: what an apply of the newest revision would do. Changes nothing.
    """
    if not files:
        found = ask_running(screen, "GET", "plan")
        if as_json:
            screen.write_json(found)
        else:
            say_changes(screen, tell_plan(found))
        return
    planned = _make_plan(screen, files, note)
    if as_json:
        screen.write_json(planned)
        return
    shown = planned["plan"]
    if not shown["objects"]:
        screen.say(f"Nothing differs from revision {shown['head']}.")
    say_changes(screen, [*tell_objects(shown["objects"]), *tell_files(shown["files"])])
    if shown["modules"]:
        screen.say("", f"To reload: {', '.join(shown['modules'])}")
    if shown["hand_edits"]:
        screen.say("", "Edited by hand (this stops an apply; `tandem config adopt` or `discard` it):")
        say_changes(screen, tell_files(shown["hand_edits"]))
    screen.say(*tell_missing_sounds(shown))
    if shown["head"] != shown["live"]:
        screen.say("", f"Revision {shown['head']} itself is not live yet ({shown['live'] or 'none'} is).")
    counts = [sum(it["change"] == kind for it in shown["objects"]) for kind in ("added", "changed", "removed")]
    screen.say("", "Plan {}: {} to create, {} to change, {} to delete.".format(planned["plan_id"], *counts))
    screen.say(f"To do exactly this: tandem apply --plan {planned['plan_id']}")


def _make_plan(screen: Screen, files: tuple[Path, ...], note: str) -> dict[str, Any]:
    from confgen.values import ValueUnrepresentable
    from tandem.applying import Beside
    from tandem.cli.offline import open_database
    from tandem.domain.changes import ApplyRefused
    from tandem.planning import compose_plan, read_ground, view_plan
    from tandem.store.plans import save_plan
    from tandem.target import describe_target, read_dialplan

    with screen.err.status("reading"):
        read = read_pbx(screen, *files)
        refuse_failing_tests(screen, read.pbx)
        settings = screen.load_settings()
    with screen.err.status("planning"), open_database(screen) as store:
        beside = Beside(settings.asterisk.config_dir, describe_target(settings), read_dialplan())
        ground = store.run_now(read_ground, read.pbx)
        try:
            made = compose_plan(read.pbx, read.references, ground, beside, getpass.getuser(), note)
        except (ApplyRefused, ValueUnrepresentable) as error:
            screen.fail(exits.USAGE, str(error), "Nothing was changed.")
        except OSError as error:
            screen.fail(exits.FAILED, f"{beside.folder}: {error.strerror}")
        store.run_now(save_plan, made)
    return view_plan(made)


@click.command()
@click.option("--plan", "plan_id", help="Do exactly what this plan showed; refused when anything has moved since.")
@click.option("-m", "--note", default="", help="Why, for the history; default: the plan's own note.")
@click.option("--full", is_flag=True, help="Without a plan: check and verify every object, not only what changed.")
@json_option
@click.pass_obj
def apply(screen: Screen, plan_id: str | None, note: str, full: bool, as_json: bool) -> None:
    """Bring a plan (or, without one, the newest revision) into Asterisk, or leave what was live and say why (exit 1)."""
    if plan_id is None and note:
        screen.fail(exits.USAGE, "-m goes with --plan: the newest revision has its note already")
    if plan_id is not None and (full or not plan_id.isalnum()):
        screen.fail(exits.USAGE, "--full goes without --plan" if full else f"--plan: there is no plan {plan_id!r}")
    path, body = ("apply", {"full": full}) if plan_id is None else (f"plans/{plan_id}/apply", {"note": note})
    applied = ask_running(screen, "POST", path, body)
    if as_json:
        screen.write_json(applied)
    else:
        screen.say(*tell_apply(applied))


@click.command()
@json_option
@click.pass_obj
def drift(screen: Screen, as_json: bool) -> None:
    """Compare database, files on the disk and the live Asterisk; exit code 1 where they differ."""
    found = ask_running(screen, "GET", "drift")
    differs = found["head"] != found["live"] or any(found[name] for name in ("objects", "files", "asterisk"))
    if as_json:
        screen.write_json(found)
    else:
        say_changes(screen, tell_drift(found))
    if differs:
        raise SystemExit(exits.FAILED)


def tell_drift(found: dict[str, Any]) -> list[str]:
    """Where database, disk and Asterisk differ."""
    lines: list[str] = []
    if found["head"] != found["live"]:
        lines += [
            f"Not live yet: revision {found['head']} ({found['live'] or 'none'} is live).",
            *tell_objects(found["objects"]),
        ]
    if found["files"]:
        lines += ["Files on the disk are not what the live revision makes of them (- is there, + would be written):"]
        lines += tell_files(found["files"])
    if found["asterisk"]:
        lines.append("The live Asterisk does not have what it should:")
        lines += [
            f"~ {it['object']}{'.' if it['field'] else ''}{it['field']}: {it['reason']}" for it in found["asterisk"]
        ]
    return lines or [
        f"Database, files and Asterisk agree: revision {found['live']}, {found['checked']} objects asked about."
    ]
