"""`tandem check`: settings, database, Asterisk's manager and its records, FastAGI: each with its remedy; never changes anything."""

import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tandem.cli import exits
from tandem.cli.main import Screen, json_option

if TYPE_CHECKING:
    from tandem.settings import Settings

TIMEOUT_S = 5.0
LOOK_AGAIN_S = 0.2
# What Asterisk sends first when it asks for the script `health`.
AGI_ENVIRONMENT = (
    "agi_network: yes\nagi_network_script: health\nagi_request: agi://health\nagi_channel: Check/1\nagi_language: en\n"
    "agi_type: Check\nagi_uniqueid: check.1\nagi_version: 22\nagi_callerid: unknown\nagi_calleridname: unknown\n"
    "agi_callingpres: 0\nagi_callingani2: 0\nagi_callington: 0\nagi_callingtns: 0\nagi_dnid: unknown\n"
    "agi_rdnis: unknown\nagi_context: check\nagi_extension: s\nagi_priority: 1\nagi_enhanced: 0.0\n"
    "agi_accountcode: \nagi_threadid: 0\n\n"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. remedy: what to do when it is not well."""

    what: str
    well: bool
    found: str
    remedy: str = ""


@click.command()
@click.option(
    "--wait",
    "wait_s",
    default=0.0,
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    help="Look again for so long, until all is well: a Tandem that has just started brings Asterisk in step first.",
)
@json_option
@click.pass_obj
def check(screen: Screen, wait_s: float, as_json: bool) -> None:
    """Look at everything that Tandem needs; exit code 1 when something is not well."""
    settings = screen.load_settings()
    ends_at = time.monotonic() + wait_s
    with screen.err.status("looking"):  # up to TIMEOUT_S for each that does not answer
        while True:
            findings = [Finding("settings", well=True, found="valid"), *list_findings(settings)]
            if all(finding.well for finding in findings) or time.monotonic() >= ends_at:
                break
            time.sleep(LOOK_AGAIN_S)
    if as_json:
        screen.write_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            screen.out.print("[green]well[/]   " if finding.well else "[red]NOT[/]    ", end="")
            screen.say(f"{finding.what}: {finding.found}")
            if not finding.well:
                screen.say(f"         {finding.remedy}")
    if not all(finding.well for finding in findings):
        raise SystemExit(exits.FAILED)


def list_findings(settings: "Settings") -> Iterator[Finding]:
    """Looks at one thing after the other, each within TIMEOUT_S."""
    yield check_database(settings)
    for username, secret, privilege in (
        (settings.ami.username, settings.ami.secret, "call,agent,originate,reporting,cdr"),
        (settings.ami.config_username, settings.ami.config_secret, "system,config,command,reporting,agent"),
    ):
        yield check_ami(settings, username, secret.get_secret_value() if secret is not None else None, privilege)
    yield from list_record_findings(settings)
    yield from list_certificate_findings(settings)
    yield from list_browser_findings(settings)
    yield check_fastagi(settings)
    yield check_process(settings)


def check_database(settings: "Settings") -> Finding:
    """Whether the database opens and has the schema of this version."""
    from tandem.cli.offline import read_database

    found, remedy = read_database(settings)
    return Finding("database", not remedy, found, remedy)


def check_ami(settings: "Settings", username: str, secret: str | None, privilege: str) -> Finding:
    """Logs in with the challenge, as Tandem does, and off again."""
    from tandem.ami.probe import AmiProbeFailed, probe_login

    what = f"AMI login {username}"
    if secret is None:
        return Finding(
            what, well=False, found="no secret is set", remedy="set ami.secret_file and ami.config_secret_file"
        )
    place = f"{settings.ami.host} port {settings.ami.port}"
    try:
        version, _ = probe_login(settings.ami.host, settings.ami.port, username, secret, timeout_s=TIMEOUT_S)
    except ConnectionError as error:
        return Finding(what, False, f"{place}: {error}", "is Asterisk running, and enabled=yes in manager.conf?")
    except AmiProbeFailed as error:
        remedy = (
            f"manager.conf needs [{username}] with this secret, permit of this host, and read and write = {privilege}"
        )
        return Finding(what, False, f"{place}: {error}", remedy)
    return Finding(what, well=True, found=f"{place}, {version}")


def list_record_findings(settings: "Settings") -> Iterator[Finding]:
    """Whether Asterisk records what CDRs are made from, and where Tandem can read it; nothing where it cannot be asked."""
    from tandem.ami import actions
    from tandem.ami.probe import AmiProbeFailed, probe_login
    from tandem.cli.records import INIT, check_record, describe_folder

    ami, asterisk = settings.ami, settings.asterisk
    if ami.config_secret is None:
        return
    for kind, file in (("cel", asterisk.cel_file), ("cdr", asterisk.cdr_file)):
        what = f"{kind.upper()} record"
        found, remedy = describe_folder(file, must_rotate=settings.retention.record_file_mb > 0)
        if not remedy:
            questions = [
                actions.command(f"{kind} show status"),
                actions.module_check(f"{kind}_custom"),
                actions.get_config(f"{kind}_custom.conf"),
            ]
            try:
                _, answers = probe_login(
                    *(ami.host, ami.port, ami.config_username, ami.config_secret.get_secret_value()),
                    timeout_s=TIMEOUT_S,
                    questions=questions,
                )
            except (ConnectionError, AmiProbeFailed):
                return  # the login's own finding says why
            found, remedy = check_record(kind, file, *answers)
        if remedy == INIT:
            remedy = f"`tandem init --asterisk {asterisk.mode}` (as root) adds what is missing; then restart Asterisk"
        yield Finding(what, not remedy, found, remedy)


def list_certificate_findings(settings: "Settings") -> Iterator[Finding]:
    """Each certificate of the settings: whether its files can be used, and for how long."""
    from tandem.certificates import list_pairs, look_at_pair

    for pair in list_pairs(settings):
        found, remedy = look_at_pair(pair).describe(datetime.now(UTC))
        yield Finding(pair.setting, not remedy, found if remedy else f"{pair.certificate} {found}", remedy)


def list_browser_findings(settings: "Settings") -> Iterator[Finding]:
    """Whether browsers come in, where Asterisk was given endpoints for them; nothing where it cannot be asked."""
    from tandem.ami import actions
    from tandem.ami.probe import AmiProbeFailed, probe_login
    from tandem.cli.browsers import count_browsers, find_door, find_remedy, try_door

    ami, asterisk = settings.ami, settings.asterisk
    count = count_browsers(asterisk.config_dir)
    if ami.config_secret is None or not count:
        return
    try:
        _, (config,) = probe_login(
            *(ami.host, ami.port, ami.config_username, ami.config_secret.get_secret_value()),
            timeout_s=TIMEOUT_S,
            questions=[actions.get_config("http.conf")],
        )
    except (ConnectionError, AmiProbeFailed):
        return  # the login's own finding says why
    found, problem = try_door(find_door(config), ami.host, timeout_s=TIMEOUT_S)
    remedy = f"{problem}: {find_remedy(asterisk.mode)}" if problem else ""
    yield Finding("browsers", not problem, f"{count} endpoints, {found}", remedy)


def check_fastagi(settings: "Settings") -> Finding:
    """Runs the script `health` as Asterisk would."""
    host, port = settings.fastagi.host, settings.fastagi.port
    what, place = "FastAGI", f"{host} port {port}"
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
            connection.sendall(AGI_ENVIRONMENT.encode())
            line = connection.makefile("rb").readline()
    except OSError as error:
        return Finding(what, False, f"{place}: {error}", "start Tandem (`systemctl start tandem`, or `tandem serve`)")
    if b"TANDEM_REVISION" not in line:
        return Finding(
            what, False, f"{place} closed the session", "does fastagi.allowed_peers hold this host? The log says why"
        )
    return Finding(what, well=True, found=f"{place} decides")


def check_process(settings: "Settings") -> Finding:
    """What the running process says of itself."""
    from tandem.cli.control import ControlFailed, NotRunning, ask

    try:
        health = ask(settings.control_socket, "GET", "/api/v1/monitoring/status", timeout_s=TIMEOUT_S)
    except (NotRunning, ControlFailed) as error:
        return Finding("process", False, str(error), "start Tandem (`systemctl start tandem`, or `tandem serve`)")
    if health["reasons"]:
        return Finding("process", False, "; ".join(health["reasons"]), "the log of Tandem says more")
    found = f"ready, revision {health['revision']}"
    if (overview := health["overview"]) is not None:
        found += (
            f", {overview['channels']} channels up, {overview['callers_waiting']} callers waiting, "
            f"{overview['phones_reachable']} of {overview['phones']} phones and trunks that Asterisk has heard of reachable"
        )
    return Finding("process", well=True, found=found)
