"""`tandem route explain`: where a call would go, and why; never touches Asterisk or a call."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tandem.cli import exits
from tandem.cli.main import Screen, json_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tandem.domain.arrivals import FindFeatures
    from tandem.domain.features import Features
    from tandem.domain.snapshot import Snapshot


def _parse_at(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime:
    if value is None:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            "must be an ISO 8601 time such as 2026-12-24T10:30 or 2026-12-24T10:30+01:00"
        ) from None
    return at if at.tzinfo else at.astimezone(UTC)


@click.group()
def route() -> None:
    """Where calls go."""


@route.command()
@click.argument("did")
@click.option("--from", "caller", default="", help="The caller's number.")
@click.option("--trunk", default=None, help="The trunk that the call comes over, for its way of writing numbers.")
@click.option(
    "--endpoint",
    default=None,
    help="The endpoint that dials the number: a call inside or outside instead of one to a DID.",
)
@click.option("--at", callback=_parse_at, help="When, in ISO 8601; without a zone in this machine's. Default: now.")
@click.option(
    "--document",
    type=click.Path(exists=True, path_type=Path),
    help="Ask this PBX document instead of what is live: a routing test without Asterisk.",
)
@json_option
@click.pass_obj
def explain(
    screen: Screen,
    did: str,
    caller: str,
    trunk: str | None,
    endpoint: str | None,
    at: datetime,
    document: Path | None,
    as_json: bool,
) -> None:
    """Where a call to DID goes, step by step; with unknown queue facts, as when AMI is away.

    With --endpoint DID is any number that this endpoint dials.

    Exit code 1 when no DID matches, or the endpoint's call is refused.
    """
    from tandem.domain.destinations import QueueDestination
    from tandem.domain.dialplan import encode_jump
    from tandem.domain.explain import explain_end
    from tandem.domain.routing import describe_destination, enter_queue, jump_to, route_did

    with screen.err.status("reading"):
        snapshot = _read_document(screen, document) if document is not None else _read_live(screen)
        # A document knows of no phone what somebody set there.
        find = _read_features(screen).get if document is None else lambda _: None
    if trunk is not None and trunk not in snapshot.trunks:
        screen.fail(
            exits.USAGE, f"--trunk: there is no trunk {trunk!r}; there are {', '.join(snapshot.trunks) or 'none'}"
        )
    if endpoint is not None:
        _explain_dialled(screen, snapshot, endpoint, did, at, find, as_json=as_json)
        return
    found = route_did(snapshot, did, caller, trunk, at)
    reasons = list(found.reasons)
    destination = found.destination
    if isinstance(destination, QueueDestination):
        other = enter_queue(snapshot, destination.queue, None, at)
        if other is not None:
            reasons.append(f"queue {destination.queue} is closed, so {describe_destination(other)}")
    reasons += explain_end(snapshot, destination, find, at)
    jump = "" if destination is None else encode_jump(jump_to(snapshot, destination, priority=found.priority))
    if as_json:
        screen.write_json(
            {
                "called": did,
                "caller": caller,
                "at": at,
                "revision": snapshot.revision,
                "did": found.did.number if found.did else None,
                "reasons": reasons,
                "destination": describe_destination(destination) if destination is not None else None,
                "jump": jump,
                "language": found.language,
                "recording": found.recording,
                "caller_id": found.caller,
            }
        )
    else:
        screen.say(f"{caller or 'An anonymous caller'} calls {did} at {at.isoformat(timespec='minutes')}:")
        screen.say(*(f"  {number}. {reason}" for number, reason in enumerate(reasons, 1)))
        if destination is not None:
            screen.say(f"  -> {describe_destination(destination)}")
        if trunk is None and snapshot.plans and not did.startswith("+"):
            screen.say(
                f"Read as it stands here; for {', '.join(snapshot.plans)}'s way of writing numbers: --trunk NAME"
            )
    if destination is None:
        screen.fail(
            exits.FAILED, "No DID matches, and there is no default: the caller hears that the number is not in use."
        )


def _explain_dialled(
    screen: Screen,
    snapshot: "Snapshot",
    endpoint: str,
    number: str,
    at: datetime,
    find: "FindFeatures",
    *,
    as_json: bool,
) -> None:
    from tandem.domain.explain import explain_dialled

    if endpoint not in snapshot.endpoints:
        screen.fail(exits.USAGE, f"--endpoint: there is no endpoint {endpoint!r}")
    found = explain_dialled(snapshot, endpoint, number, at, find)
    if as_json:
        screen.write_json(
            {"called": number, "endpoint": endpoint, "at": at, "revision": snapshot.revision, **found._asdict()}
        )
    else:
        screen.say(f"Endpoint {endpoint} dials {number} at {at.isoformat(timespec='minutes')}:")
        screen.say(*(f"  {place}. {reason}" for place, reason in enumerate(found.reasons, 1)))
        if found.destination is not None:
            screen.say(f"  -> {found.destination}")
    if found.destination is None:
        screen.fail(exits.FAILED, "The call is refused.")


def _read_document(screen: Screen, path: Path) -> "Snapshot":
    from tandem.cli.document import read_pbx
    from tandem.domain.snapshot import build_snapshot

    return build_snapshot(0, read_pbx(screen, path).pbx)


def _read_features(screen: Screen) -> "Mapping[str, Features]":
    from tandem.cli.offline import open_database
    from tandem.store.features import load_features

    with open_database(screen) as store:
        return store.run_now(load_features)


def _read_live(screen: Screen) -> "Snapshot":
    from tandem.cli.offline import read_live_snapshot

    return read_live_snapshot(screen)
