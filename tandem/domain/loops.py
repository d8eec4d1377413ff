"""Finds circles that a call could follow for ever, over a whole PBX; never follows one itself (chains of any length are walked flat).

*Automatic* steps are those that need nobody: a DID and both branches of a schedule, an agent who is unavailable, an announcement's `then`, a ring group's `fallback`, a menu's `timeout` and
`invalid`, a queue's `closed`, `full`, `join_empty`, `leave_empty`. A queue's own `timeout` is no circle: the caller has waited,
members could answer, and waiting on is a thing people want. A key that the caller presses is none either.

*Fallback* steps are those on the day FastAGI is gone: there a menu is its `fallback`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from tandem.domain.destinations import (
    AgentDestination,
    AnnouncementDestination,
    Destination,
    DidDestination,
    MenuDestination,
    QueueDestination,
    RingGroupDestination,
    ScheduleDestination,
)
from tandem.domain.entities import Did, Pbx, Queue
from tandem.domain.numbers import parse_did_number
from tandem.domain.problems import Location, Problem

# Where a call is: ("menu", "main"). DIDs by kind and key: ("DID exact", "49301").
Place = tuple[str, str]
Steps = Mapping[Place, tuple[Place, ...]]

_NAMED_PLACES: Final = (
    ("announcement", "announcements"),
    ("ring group", "ring_groups"),
    ("menu", "menus"),
    ("queue", "queues"),
)
_DID: Final = "DID"
# tandem.domain.routing.resolve gives up after this many DIDs and schedules.
MAX_CHAIN: Final = 20
_MAX_TOLD: Final = 10


def find_loops(pbx: Pbx) -> Iterator[Problem]:
    """A problem per circle of automatic steps, per circle of fallback steps, and per chain of DIDs and schedules that is too long."""
    dids = _referred_dids(pbx)
    places = _places(pbx) | {place: ("dids", index) for place, (index, _) in dids.items()}
    behind = {place: did.destination for place, (_, did) in dids.items()}
    automatic = _steps(pbx, {menu.name: (menu.timeout, menu.invalid) for menu in pbx.menus}, behind)
    seen: set[frozenset[Place]] = set()
    for circle in _circles(automatic):
        seen.add(frozenset(circle))
        yield Problem(places[circle[0]], f"leads back to itself without an exit: {_told(circle)}")
    fallback = _steps(pbx, {menu.name: (menu.fallback,) for menu in pbx.menus}, behind)
    for circle in _circles(fallback):
        menu = next((place for place in circle if place[0] == "menu"), None)
        if menu is not None and frozenset(circle) not in seen:
            told = _told(circle)
            yield Problem((*places[menu], "fallback"), f"leads back to itself while FastAGI is gone: {told}")
    if not seen:  # a circle has no end, so it is no long chain besides
        yield from _long_chains(pbx, behind)


def walk_destinations(pbx: Pbx) -> Iterator[tuple[Location, Destination]]:
    """Every destination that an object of the PBX names, and where it stands; branches of schedules stay inside."""
    for index, announcement in enumerate(pbx.announcements):
        yield ("announcements", index, "then"), announcement.then
    for index, group in enumerate(pbx.ring_groups):
        yield ("ring_groups", index, "fallback"), group.fallback
    for index, box in enumerate(pbx.voicemail_boxes):
        if box.operator is not None:
            yield ("voicemail_boxes", index, "operator"), box.operator
    for index, menu in enumerate(pbx.menus):
        for keys, destination in menu.options.items():
            yield ("menus", index, "options", keys), destination
        yield ("menus", index, "invalid"), menu.invalid
        yield ("menus", index, "timeout"), menu.timeout
        yield ("menus", index, "fallback"), menu.fallback
    for index, queue in enumerate(pbx.queues):
        yield ("queues", index, "fallback"), queue.fallback
        for field in ("exit", "closed", "timeout", "full", "join_empty", "leave_empty"):
            if (destination := getattr(queue, field)) is not None:
                yield ("queues", index, field), destination
    for index, did in enumerate(pbx.dids):
        yield from _walk_did(("dids", index), did)
    for index, expectation in enumerate(pbx.expect):
        yield ("expect", index, "destination"), expectation.destination


def _walk_did(at: Location, did: Did) -> Iterator[tuple[Location, Destination]]:
    yield (*at, "destination"), did.destination
    if did.anonymous is not None:
        yield (*at, "anonymous"), did.anonymous
    for place, route in enumerate(did.caller_routes):
        yield (*at, "caller_routes", place, "destination"), route.destination


def _referred_dids(pbx: Pbx) -> dict[Place, tuple[int, Did]]:
    """The DIDs to which something leads: no other can be part of a circle or a chain, and there may be 100,000 others."""
    referred = {
        place
        for _, destination in walk_destinations(pbx)
        for place in _next_places(destination)
        if place[0].startswith(_DID)
    }
    if not referred:
        return {}
    found = ((_did_place(did.number), index, did) for index, did in enumerate(pbx.dids))
    return {place: (index, did) for place, index, did in found if place in referred}


def _places(pbx: Pbx) -> dict[Place, Location]:
    places: dict[Place, Location] = {}
    for kind, collection in _NAMED_PLACES:
        for index, entity in enumerate(getattr(pbx, collection)):
            places[kind, entity.name] = (collection, index)
    return places


def _steps(pbx: Pbx, menu_steps: Mapping[str, tuple[Destination, ...]], behind: Mapping[Place, Destination]) -> Steps:
    destinations: dict[Place, tuple[Destination, ...]] = {
        **{("announcement", announcement.name): (announcement.then,) for announcement in pbx.announcements},
        **{("ring group", group.name): (group.fallback,) for group in pbx.ring_groups},
        **{("menu", name): there for name, there in menu_steps.items()},
        **{("queue", queue.name): tuple(_leaves(queue)) for queue in pbx.queues},
        **{place: (destination,) for place, destination in behind.items()},
    }
    return {place: tuple(_next_places(*there)) for place, there in destinations.items()}


def _leaves(queue: Queue) -> Iterator[Destination]:
    """Where a caller can be sent who has not waited."""
    yield queue.fallback
    for destination in (queue.closed, queue.full, queue.join_empty, queue.leave_empty):
        if destination is not None:
            yield destination


def _next_places(*destinations: Destination) -> Iterator[Place]:
    for destination in destinations:
        match destination:
            case QueueDestination(queue=name):
                yield "queue", name
            case MenuDestination(menu=name):
                yield "menu", name
            case AnnouncementDestination(announcement=name):
                yield "announcement", name
            case RingGroupDestination(ring_group=name):
                yield "ring group", name
            case AgentDestination():
                yield from _next_places(destination.unavailable)
            case ScheduleDestination():
                yield from _next_places(destination.open, destination.closed)
            case DidDestination(did=number):
                if (place := _did_place(number)) is not None:
                    yield place


def _did_place(number: str) -> Place | None:
    """None for an invalid pattern, which is reported elsewhere."""
    try:
        parsed = parse_did_number(number)
    except ValueError:
        return None
    return f"{_DID} {parsed.kind}", parsed.key


def _circles(steps: Steps) -> Iterator[list[Place]]:
    """A circle for every step back into the path that led to it; depth first, with a stack of our own."""
    done: set[Place] = set()
    for start in steps:
        path = {} if start in done else {start: iter(steps[start])}
        while path:
            last, following = next(reversed(path.items()))
            here = next(following, None)
            if here is None:
                done.add(last)
                del path[last]
            elif here in path:
                order = list(path)
                yield order[order.index(here) :]
            elif here not in done:
                path[here] = iter(steps.get(here, ()))


def _told(circle: list[Place]) -> str:
    shown = [_name_place(place) for place in circle]
    if len(shown) > _MAX_TOLD:
        shown[_MAX_TOLD:] = [f"{len(shown) - _MAX_TOLD} more"]
    return " -> ".join([*shown, shown[0]])


def _name_place(place: Place) -> str:
    kind, name = place
    return f"{kind.removesuffix(' exact')} {name}".rstrip()


def _long_chains(pbx: Pbx, behind: Mapping[Place, Destination]) -> Iterator[Problem]:
    """Destinations behind which more than MAX_CHAIN DIDs and schedules stand one after the other."""
    for location, destination in walk_destinations(pbx):
        length = 0
        level = [destination]
        while level and length <= MAX_CHAIN:
            length += max(map(_chain_steps, level))
            level = [behind[place] for place in set(_next_places(*level)) if place in behind]
        if length > MAX_CHAIN:
            yield Problem(location, f"follows more than {MAX_CHAIN} DIDs and schedules, one after the other")


def _chain_steps(destination: Destination) -> int:
    """How many steps `resolve` takes at most before it looks at another object's destination."""
    match destination:
        case ScheduleDestination():
            return 1 + max(_chain_steps(destination.open), _chain_steps(destination.closed))
        case DidDestination():
            return 1
        case AgentDestination():
            return _chain_steps(destination.unavailable)
        case _:
            return 0
