"""`tandem config`: plan, apply, history, show, rollback, hand edits; the running process does it, and nothing here writes a file."""

import json
from collections.abc import Iterator
from typing import Any

import click

from tandem.cli import exits
from tandem.cli.control import ControlFailed, NotRunning, ask
from tandem.cli.main import Screen, json_option

APPLY_TIMEOUT_S = 300.0


def ask_running(screen: Screen, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What the running process answers; exit 3 without one, exit 1 when it refuses."""
    settings = screen.load_settings()
    try:
        with screen.err.status("asking Tandem"):
            content = None if body is None else json.dumps(body).encode()
            return ask(settings.control_socket, method, f"/api/v1/config/{path}", content, timeout_s=APPLY_TIMEOUT_S)
    except NotRunning as error:
        screen.fail(exits.UNREACHABLE, str(error))
    except ControlFailed as error:
        screen.fail(exits.FAILED, str(error))


@click.group()
def config() -> None:
    """The configuration of Asterisk: plan a change, apply it, look back, roll back."""


@config.command()
@json_option
@click.pass_obj
def plan(screen: Screen, as_json: bool) -> None:
    """Show what an apply would change: objects, files, modules. Changes nothing."""
    found = ask_running(screen, "GET", "plan")
    if as_json:
        screen.write_json(found)
    else:
        screen.say(*tell_plan(found))


@config.command()
@click.option("--full", is_flag=True, help="Check and verify every object, not only what changed.")
@click.option("--dry-run", is_flag=True, help="Plan, check in a throw-away Asterisk, and write nothing.")
@json_option
@click.pass_obj
def apply(screen: Screen, full: bool, dry_run: bool, as_json: bool) -> None:
    """Bring the newest revision into Asterisk, or leave what was live and say why (exit 1)."""
    applied = ask_running(screen, "POST", "apply", {"full": full, "dry_run": dry_run})
    if as_json:
        screen.write_json(applied)
        return
    if dry_run:
        screen.say(*tell_plan(applied["plan"]), f"Check: {applied['check']}. Nothing was changed.")
        return
    screen.say(*tell_apply(applied))


@config.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
@json_option
@click.pass_obj
def history(screen: Screen, limit: int, as_json: bool) -> None:
    """List revisions, newest first: who, when, why, and which one is live."""
    from tandem.cli.offline import open_database
    from tandem.store.revisions import load_live, load_revisions

    with open_database(screen) as store:
        revisions, live = store.run_now(load_revisions, limit), store.run_now(load_live)
    live_number = live.revision if live is not None else None
    if as_json:
        screen.write_json([{**_as_dict(it), "is_live": it.number == live_number} for it in revisions])
        return
    for it in revisions:
        mark = "live" if it.number == live_number else ""
        counts = f"+{it.added} ~{it.changed} -{it.removed}"
        screen.say(f"{it.number:>5}  {mark:<4}  {it.created_at:%Y-%m-%d %H:%M}  {it.author}  {counts}  {it.note}")
    if not revisions:
        screen.say("No revision yet: `tandem import FILE`.")


@config.command()
@click.argument("revision", type=click.IntRange(1))
@json_option
@click.pass_obj
def show(screen: Screen, revision: int, as_json: bool) -> None:
    """Show what a revision changed."""
    from dataclasses import asdict

    from tandem.cli.offline import open_database
    from tandem.store.changes import load_object_changes
    from tandem.store.revisions import load_head

    with open_database(screen) as store:
        if revision > store.run_now(load_head):
            screen.fail(exits.USAGE, f"there is no revision {revision}")
        changes = [asdict(it) for it in store.run_now(load_object_changes, revision - 1, revision)]
    if as_json:
        screen.write_json(changes)
    else:
        screen.say(*(tell_objects(changes) or ["It changed nothing."]))


@config.command()
@click.argument("revision", type=click.IntRange(1))
@click.option("-m", "--note", default="", help="Why, for the history.")
@json_option
@click.pass_obj
def rollback(screen: Screen, revision: int, note: str, as_json: bool) -> None:
    """Make what REVISION was the newest revision again, and live. History only grows."""
    applied = ask_running(screen, "POST", "rollback", {"revision": revision, "note": note})
    if as_json:
        screen.write_json(applied)
    else:
        screen.say(f"Rolled back to what revision {revision} was.", *tell_apply(applied))


@config.command()
@json_option
@click.pass_obj
def edits(screen: Screen, as_json: bool) -> None:
    """Show what somebody changed by hand in generated files; exit code 1 when there is something."""
    found = ask_running(screen, "GET", "hand-edits")["items"]
    if as_json:
        screen.write_json(found)
    else:
        screen.say(*(tell_files(found) or ["No generated file was edited by hand."]))
    if found:
        raise SystemExit(exits.FAILED)


@config.command()
@click.pass_obj
def discard(screen: Screen) -> None:
    """Put files that were edited by hand back as they were generated; the edited ones are kept aside."""
    files = ask_running(screen, "POST", "hand-edits/discard")["files"]
    screen.say(f"Put back: {', '.join(files)}." if files else "No generated file was edited by hand.")


@config.command()
@click.pass_obj
def adopt(screen: Screen) -> None:
    """Keep what was edited by hand: our values as a new revision, other options in your own files, included after ours."""
    applied = ask_running(screen, "POST", "hand-edits/adopt")
    screen.say(*tell_apply(applied))


def tell_apply(applied: dict[str, Any]) -> list[str]:
    """What an apply did."""
    number, took = applied["revision"], f"{applied['took_s']:.1f} s"
    if not applied["reloaded"] and not applied["verified"]:
        return [f"Revision {number} is live; Asterisk's files did not have to change ({took})."]
    written, reloaded = ", ".join(applied["changed"]) or "nothing", ", ".join(applied["reloaded"])
    return [
        f"Revision {number} is live: {written} written, {reloaded or 'nothing'} reloaded ({took}).",
        f"Check before: {applied['check']}. Verified in the live Asterisk: {applied['verified']} objects.",
    ]


def tell_plan(plan: dict[str, Any]) -> list[str]:
    """What an apply would do."""
    lines = tell_objects(plan["objects"])
    lines += tell_files(plan["files"])
    if plan["modules"]:
        lines.append(f"To reload: {', '.join(plan['modules'])}")
    if not lines and plan["head"] == plan["live"]:
        lines.append(f"Nothing to do: revision {plan['head']} is live.")
    elif not plan["files"]:
        lines.append(f"Revision {plan['head']} changes no file of Asterisk's.")
    if plan["hand_edits"]:
        lines += ["", "Edited by hand (this stops an apply; `adopt` or `discard` it):", *tell_files(plan["hand_edits"])]
    return lines + tell_missing_sounds(plan)


def tell_missing_sounds(plan: dict[str, Any]) -> list[str]:
    """Where callers would hear nothing."""
    missing = [f"  {one['object']} {one['field']}: {one['sound']}" for one in plan.get("missing_sounds", ())]
    return ["", "Sounds that are not there yet (nothing is heard; `tandem sounds add`):", *missing] if missing else []


def tell_objects(changes: list[dict[str, Any]]) -> list[str]:
    """`~ endpoints.1001`, and its fields."""
    return list(_tell_objects(changes))


def tell_files(files: list[dict[str, Any]]) -> list[str]:
    """Each file and its difference."""
    lines = []
    for file in files:
        lines += ["", f"{file['name']} ({file['change']})", *file["diff"].split("\n")]
    return lines


def _tell_objects(changes: list[dict[str, Any]]) -> Iterator[str]:
    signs = {"added": "+", "changed": "~", "removed": "-"}
    for change in changes:
        name = ".".join(filter(None, (change["collection"], change["key"])))
        yield f"{signs[change['change']]} {name}"
        for field in change["fields"]:
            before, after = (value if value is not None else "none" for value in (field["before"], field["after"]))
            yield f"    {field['name']}: {before} -> {after}"


def _as_dict(revision: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(revision)
