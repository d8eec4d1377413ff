"""What becomes of a call that comes to a phone: forwards, do not disturb, follow-me, voicemail, in words; decides nothing: the dialplan does (dialplan/tandem-forward.conf)."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from tandem.domain.destinations import EndpointDestination
from tandem.domain.features import Features, InForce, features_in_force
from tandem.domain.outbound import Caller, route_outbound
from tandem.domain.phones import Endpoint
from tandem.domain.routing import describe_destination
from tandem.domain.snapshot import Snapshot
from tandem.domain.tolls import judge_number

# What was set at the phone of an extension.
FindFeatures = Callable[[str], Features | None]

# Why a phone did not take a call, as `voicemail_on` has it -> in words.
_ENDS: Final = {"busy": "busy", "no-answer": "not answered", "unavailable": "not there"}


def explain_arrival(
    snapshot: Snapshot, extension: str, find: FindFeatures, now: datetime, forwarded: tuple[str, ...] = ()
) -> Iterator[str]:
    """The steps, one line for each; nothing for an endpoint that there is not. forwarded: who forwarded this call already."""
    endpoint = snapshot.endpoints.get(extension)
    if endpoint is None:
        return
    set_now = features_in_force(endpoint, find(extension))
    onward = (snapshot, endpoint, find, now, forwarded)
    if extension in forwarded:
        yield f"endpoint {extension} rings for {endpoint.ring_time_s} s: it has forwarded this call already"
        yield f"endpoint {extension} does not take it: {_box(snapshot, endpoint, 'no-answer')}"
    elif set_now.always:
        yield f"endpoint {extension} forwards always to {set_now.always}"
        yield from _forward(*onward, set_now.always, "unavailable")
    elif set_now.do_not_disturb and set_now.busy:
        yield f"endpoint {extension} is not to be disturbed, and forwards to {set_now.busy} when it is busy"
        yield from _forward(*onward, set_now.busy, "busy")
    elif set_now.do_not_disturb:
        yield f"endpoint {extension} is not to be disturbed: {_box(snapshot, endpoint, 'busy')}"
    else:
        yield f"endpoint {extension} rings for {endpoint.ring_time_s} s"
        for end, word in _ENDS.items():
            yield f"endpoint {extension} {word}: {_tell_end(snapshot, endpoint, set_now, end)}"


def _tell_end(snapshot: Snapshot, endpoint: Endpoint, set_now: InForce, end: str) -> str:
    """What follows when nobody took the call at the phone itself."""
    steps = [] if end == "busy" else [f"follow-me {one.number} for {one.ring_time_s} s" for one in endpoint.follow_me]
    number = getattr(set_now, end.replace("-", "_"))
    steps.append(f"forwards to {number}" if number else _box(snapshot, endpoint, end))
    return ", then ".join(steps)


def _forward(
    snapshot: Snapshot,
    endpoint: Endpoint,
    find: FindFeatures,
    now: datetime,
    forwarded: tuple[str, ...],
    number: str,
    end: str,
) -> Iterator[str]:
    """The number is dialled as the phone itself would."""
    inside = snapshot.numbers.get(number)
    if inside is not None and "internal" in endpoint.permissions:
        if isinstance(inside, EndpointDestination):
            yield from explain_arrival(snapshot, inside.endpoint, find, now, (*forwarded, endpoint.extension))
        else:
            yield describe_destination(inside)
        return
    if inside is not None:
        refusal = "it needs the permission internal"
    else:
        found = route_outbound(snapshot, Caller(endpoint, is_phone=True, is_forward=True), number, now)
        verdicts = {
            one: judge_number(snapshot, endpoint.extension, one.trunk, number, one.number) for one in found.tries
        }
        open_tries = [one for one, verdict in verdicts.items() if not verdict]
        if open_tries:
            yield f"{number} outside: {', then '.join(f'{one.number} over {one.trunk}' for one in open_tries)}"
            return
        refusal = "; ".join(found.reasons) if found.refusal else next(iter(verdicts.values()))
    yield f"endpoint {endpoint.extension} may not dial {number} ({refusal}): {_box(snapshot, endpoint, end)}"


def _box(snapshot: Snapshot, endpoint: Endpoint, end: str) -> str:
    if endpoint.voicemail in snapshot.voicemail_boxes and end in endpoint.voicemail_on:
        return f"voicemail {endpoint.voicemail}"
    return f"the caller hears that it is {_ENDS[end]}"
