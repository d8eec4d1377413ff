"""What does not fit together about phones: forwards, follow-me, members of ring groups, speed dials; never looks at calls."""

from collections.abc import Callable, Iterator
from typing import Final

from tandem.domain.entities import General, Pbx
from tandem.domain.meetings import Conference
from tandem.domain.phones import Endpoint, RingGroup
from tandem.domain.problems import Location, Problem

# (place, kind in words, collection, name) -> a problem where there is no such object.
Unknown = Callable[[Location, str, str, str], Iterator[Problem]]

# What a phone dials -> the field of `general` that has the code. A kind that begins with forward-, is dnd or is record is for FastAGI; each other one
# has an extension of its own in the dialplan.
FEATURE_CODES: Final = {
    "dnd": "do_not_disturb_code",
    "forward-always": "forward_always_code",
    "forward-busy": "forward_busy_code",
    "forward-no_answer": "forward_no_answer_code",
    "forward-unavailable": "forward_unavailable_code",
    "speed": "speed_dial_code",
    "pickup": "pickup_code",
    "pickupcall": "pickup_call_code",
    "intercom": "intercom_code",
    "echo": "echo_code",
    "record": "record_prompt_code",
}


def check_phones(pbx: Pbx, unknown: Unknown) -> Iterator[Problem]:
    """All of it."""
    for index, endpoint in enumerate(pbx.endpoints):
        yield from _endpoint(pbx, ("endpoints", index), endpoint)
    for index, group in enumerate(pbx.ring_groups):
        yield from _group(("ring_groups", index), group, unknown)
    for index, page in enumerate(pbx.page_groups):
        for place, member in enumerate(page.members):
            yield from unknown(("page_groups", index, "members", place), "endpoint", "endpoints", member)
    for index, room in enumerate(pbx.conferences):
        yield from _conference(("conferences", index), room)
    for place, phone in enumerate(pbx.general.record_prompt_phones):
        yield from unknown(("general", "record_prompt_phones", place), "endpoint", "endpoints", phone)
    for keys, number in pbx.general.speed_dials.items():
        if number[0] in "*#":
            yield Problem(("general", "speed_dials", keys), "must be a number and no feature code")


def _conference(at: Location, room: Conference) -> Iterator[Problem]:
    if room.wait_for_moderator and room.moderator_pin is None:
        yield Problem((*at, "moderator_pin"), "is missing: nobody could be the moderator that all wait for")
    if room.pin is not None and room.pin == room.moderator_pin:
        yield Problem((*at, "moderator_pin"), "must be another one than the pin")
    if room.pin_prompt is not None and room.pin is None and room.moderator_pin is None:
        yield Problem((*at, "pin_prompt"), "needs a pin or a moderator_pin")
    for field in ("join_prompt", "leave_prompt"):
        if getattr(room, field) is not None and not room.announce_joins:
            yield Problem((*at, field), "needs announce_joins")


def list_parking(general: General) -> tuple[str, ...]:
    """The number that parks, and those of the places; of as many digits as the first, where that goes."""
    if general.parking_extension is None:
        return ()
    first, digits = int(general.parking_extension), len(general.parking_extension)
    return tuple(f"{first + place:0{digits}}" for place in range(general.parking_places + 1))


def _endpoint(pbx: Pbx, at: Location, endpoint: Endpoint) -> Iterator[Problem]:
    for field in ("forward_always", "forward_busy", "forward_no_answer", "forward_unavailable"):
        number = getattr(endpoint, field)
        if number is None:
            continue
        if number == endpoint.extension:
            yield Problem((*at, field), "must be another number than the endpoint's own")
        elif number in pbx.general.emergency_numbers:
            yield Problem((*at, field), "must not be an emergency number")
        elif not number.lstrip("+").isdigit():
            yield Problem((*at, field), "must be a number: digits, with or without a leading +")
    if endpoint.webrtc and endpoint.media_encryption == "sdes":
        yield Problem((*at, "media_encryption"), "must not be sdes of a browser (webrtc), which only takes dtls")
    for index, step in enumerate(endpoint.follow_me):
        if step.number == endpoint.extension:
            yield Problem((*at, "follow_me", index, "number"), "must be another number than the endpoint's own")
        elif step.number in pbx.general.emergency_numbers:
            yield Problem((*at, "follow_me", index, "number"), "must not be an emergency number")


def _group(at: Location, group: RingGroup, unknown: Unknown) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, member in enumerate(group.members):
        here = (*at, "members", index)
        if (member.endpoint is None) == (member.external is None):
            yield Problem(here, "must have either an endpoint or an external number")
            continue
        if member.endpoint is not None:
            yield from unknown((*here, "endpoint"), "endpoint", "endpoints", member.endpoint)
            if member.trunk is not None:
                yield Problem((*here, "trunk"), "is for external numbers only")
        elif member.trunk is not None:
            yield from unknown((*here, "trunk"), "trunk", "trunks", member.trunk)
        number = member.endpoint or member.external or ""
        if number in seen:
            yield Problem(here, f"{number} is a member already")
        seen.add(number)
