"""The rules that need more than one object: names, numbers, targets and circles; never looks outside of the PBX it is given."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tandem.domain.destinations import (
    AgentDestination,
    AnnouncementDestination,
    ConferenceDestination,
    Destination,
    DialplanDestination,
    DidDestination,
    EndpointDestination,
    ExternalDestination,
    MenuDestination,
    QueueDestination,
    RingGroupDestination,
    ScheduleDestination,
    VoicemailDestination,
)
from tandem.domain.entities import COLLECTIONS, Pbx, Queue, QueueCallback, Schedule, Trunk
from tandem.domain.loops import find_loops, walk_destinations
from tandem.domain.numbers import number_plan, parse_did_number, pattern_regex
from tandem.domain.outbound_checks import check_route
from tandem.domain.phone_checks import FEATURE_CODES, check_phones, list_parking
from tandem.domain.problems import Location, Problem, suggest
from tandem.domain.schedules import check_holiday_region, load_zone
from tandem.domain.toll_checks import check_tolls

# Section names that mean something to Asterisk itself. A PJSIP endpoint `anonymous` would let everybody in.
RESERVED_NAMES: Final = {
    "trunks": frozenset({"anonymous", "global", "system"}),
    "queues": frozenset({"general"}),
    "penalty_rules": frozenset({"general"}),
    # What is heard where nobody names another; in guest mode it is the admin's.
    "music_classes": frozenset({"general", "default"}),
}
RESERVED_CONTEXTS: Final = frozenset({"general", "globals"})
RESERVED_CONTEXT_PREFIX: Final = "tandem-"
# Fields of `general`.
CODES: Final = ("agent_login_code", "agent_pause_code", *FEATURE_CODES.values())
_MAX_SUGGESTIONS: Final = 100


def check_pbx(pbx: Pbx) -> tuple[Problem, ...]:
    """Everything that is wrong between the objects of a PBX, in the order of the document."""
    check = _Check(pbx)
    problems = [
        *check.general(),
        *check.trunks(),
        *check.outbound_routes(),
        *check.endpoints(),
        *check.zones(),
        *check.queues(),
        *check_phones(pbx, check.unknown),
        *check_tolls(pbx),
        *check.names(),
        *check.numbers(),
        *check.codes(),
        *check.dids(),  # collects what `targets` needs
        *check.targets(),
        *check.expectations(),
        *find_loops(pbx),
    ]
    order = {collection: index for index, collection in enumerate(("general", *COLLECTIONS))}
    problems.sort(key=lambda problem: (order[str(problem.location[0])], _index_of(problem.location)))
    return tuple(problems)


def _index_of(location: Location) -> int:
    return location[1] if len(location) > 1 and isinstance(location[1], int) else -1


class _Check:
    """The checks of one PBX, over the names it has."""

    def __init__(self, pbx: Pbx) -> None:
        self._pbx = pbx
        self._known: dict[str, frozenset[str]] = {
            collection: frozenset(getattr(entity, key) for entity in getattr(pbx, collection))
            for collection, (_, key) in COLLECTIONS.items()
            if collection != "dids"
        }
        self._did_keys: dict[tuple[str, str], int] = {}
        # Looking for a near name is slow, so a document full of unknown names is not searched for ever.
        self._near: dict[tuple[str, str], str] = {}

    def general(self) -> Iterator[Problem]:
        """Country, time zone, trunks and contexts of the general settings."""
        general = self._pbx.general
        if general.country is not None:
            yield from _raised(("general", "country"), number_plan, general.country)
        yield from _raised(("general", "time_zone"), load_zone, general.time_zone)
        for field in ("outbound_trunk", "emergency_trunk"):
            if (trunk := getattr(general, field)) is not None:
                yield from self.unknown(("general", field), "trunk", "trunks", trunk)
        for index, context in enumerate(general.allowed_contexts):
            if context in RESERVED_CONTEXTS or context.startswith(RESERVED_CONTEXT_PREFIX):
                yield Problem(("general", "allowed_contexts", index), f"{context!r} is reserved")

    def trunks(self) -> Iterator[Problem]:
        """What registering and national trunks need."""
        for index, trunk in enumerate(self._pbx.trunks):
            yield from self._trunk(("trunks", index), trunk)

    def _trunk(self, at: Location, trunk: Trunk) -> Iterator[Problem]:
        if trunk.authentication == "registration":
            for field in ("username", "secret"):
                if getattr(trunk, field) is None:
                    yield Problem((*at, field), "is missing: a trunk that registers needs a username and a secret")
        if trunk.caller_id_rule != "passthrough" and not trunk.caller_ids:
            yield Problem((*at, "caller_ids"), f"must hold a number: caller_id_rule is {trunk.caller_id_rule}")
        if trunk.numbers_out == "national" and trunk.country is None and self._pbx.general.country is None:
            yield Problem((*at, "numbers_out"), "national numbers need a country, here or in general")
        if trunk.country is not None:
            yield from _raised((*at, "country"), number_plan, trunk.country)
        elif trunk.numbers == "national" and self._pbx.general.country is None:
            yield Problem((*at, "numbers"), "national numbers need a country, here or in general")

    def outbound_routes(self) -> Iterator[Problem]:
        """Trunks, schedules, patterns and countries of outbound routes, and what nobody could keep while Tandem is down."""
        inside = tuple(number for at, number in self._numbers_inside() if at[1] != "emergency_numbers")
        for index, route in enumerate(self._pbx.outbound_routes):
            at = ("outbound_routes", index)
            for place, trunk in enumerate(route.trunks):
                yield from self.unknown((*at, "trunks", place), "trunk", "trunks", trunk)
            if route.schedule is not None:
                yield from self.unknown((*at, "schedule"), "schedule", "schedules", route.schedule)
            yield from check_route(at, route, inside)

    def endpoints(self) -> Iterator[Problem]:
        """Voicemail boxes and outbound routes of endpoints."""
        for index, endpoint in enumerate(self._pbx.endpoints):
            for place, name in enumerate(endpoint.outbound_routes):
                where = ("endpoints", index, "outbound_routes", place)
                yield from self.unknown(where, "outbound route", "outbound_routes", name)
            if endpoint.voicemail is not None:
                at = ("endpoints", index, "voicemail")
                yield from self.unknown(at, "voicemail box", "voicemail_boxes", endpoint.voicemail)

    def zones(self) -> Iterator[Problem]:
        """Time zones and holiday regions, and who switches a schedule."""
        for index, box in enumerate(self._pbx.voicemail_boxes):
            if box.time_zone is not None:
                yield from _raised(("voicemail_boxes", index, "time_zone"), load_zone, box.time_zone)
        for index, schedule in enumerate(self._pbx.schedules):
            if schedule.time_zone is not None:
                yield from _raised(("schedules", index, "time_zone"), load_zone, schedule.time_zone)
            yield from _holiday_region(("schedules", index), schedule)
            for place, phone in enumerate(schedule.night_phones):
                yield from self.unknown(("schedules", index, "night_phones", place), "endpoint", "endpoints", phone)

    def queues(self) -> Iterator[Problem]:
        """Members, schedules and penalty rules of queues, and what does nothing without something else."""
        for index, queue in enumerate(self._pbx.queues):
            if queue.penalty_rule is not None:
                yield from self.unknown(
                    ("queues", index, "penalty_rule"), "penalty rule", "penalty_rules", queue.penalty_rule
                )
            for field, needed in _list_idle(queue):
                yield Problem(("queues", index, field), f"does nothing without {needed}")
            if queue.schedule is not None:
                yield from self.unknown(("queues", index, "schedule"), "schedule", "schedules", queue.schedule)
            if (queue.exit_key is None) != (queue.exit is None):
                missing = "exit_key" if queue.exit_key is None else "exit"
                yield Problem(("queues", index, missing), "is missing: a key and a destination belong together")
            if queue.callback is not None:
                yield from self._callback(("queues", index, "callback"), queue, queue.callback)
            seen: set[str] = set()
            for place, member in enumerate(queue.members):
                at = ("queues", index, "members", place, "endpoint")
                yield from self.unknown(at, "endpoint", "endpoints", member.endpoint)
                if member.endpoint in seen:
                    yield Problem(at, f"endpoint {member.endpoint} is a member already")
                seen.add(member.endpoint)
            yield from self._outside_members(("queues", index, "outside_members"), queue)

    def _callback(self, at: Location, queue: Queue, callback: QueueCallback) -> Iterator[Problem]:
        if callback.key == queue.exit_key:
            yield Problem((*at, "key"), f"{callback.key} leaves the queue already (exit_key)")
        if callback.schedule is not None:
            yield from self.unknown((*at, "schedule"), "schedule", "schedules", callback.schedule)

    def _outside_members(self, at: Location, queue: Queue) -> Iterator[Problem]:
        general, seen = self._pbx.general, set()
        if queue.outside_members and general.outbound_trunk is None:
            yield Problem(at, "needs general.outbound_trunk")
        for place, member in enumerate(queue.outside_members):
            if not re.fullmatch(r"\+?[0-9]{2,24}", member.number):
                yield Problem((*at, place, "number"), "must be 2 to 24 digits, with or without a leading +")
            elif member.number in general.emergency_numbers:
                yield Problem((*at, place, "number"), "must not be an emergency number")
            elif member.number in seen:
                yield Problem((*at, place, "number"), f"number {member.number} is a member already")
            seen.add(member.number)

    def names(self) -> Iterator[Problem]:
        """One object per name (Asterisk does not tell capitals apart everywhere), and no name that means something else."""
        for collection, (_, key) in COLLECTIONS.items():
            if key not in {"name", "mailbox"}:
                continue  # extensions and DIDs are numbers
            first: dict[str, int] = {}
            for index, entity in enumerate(getattr(self._pbx, collection)):
                name = getattr(entity, key)
                at = (collection, index, key)
                if name.lower() in RESERVED_NAMES.get(collection, ()):
                    yield Problem(at, f"{name!r} is reserved by Asterisk")
                if (before := first.setdefault(name.lower(), index)) != index:
                    yield Problem(at, f"{name!r} is taken by {collection}[{before}]")

    def numbers(self) -> Iterator[Problem]:
        """One object per number inside."""
        taken: dict[str, str] = {}
        for at, number in self._numbers_inside():
            problem = Problem(at, f"number {number} is taken by ")
            if (before := taken.setdefault(number, problem.path)) != problem.path:
                yield Problem(at, problem.message + before)

    def codes(self) -> Iterator[Problem]:
        """What is dialled after a feature code is an argument of it, so no other number may begin with one."""
        for where, code in self._codes():
            for at, number in self._numbers_inside():
                if number != code and number.startswith(code):
                    yield Problem(where, f"{number} ({Problem(at, '').path}) begins with it")

    def _codes(self) -> Iterator[tuple[Location, str]]:
        """Every feature code that is on."""
        for name in CODES:
            if code := getattr(self._pbx.general, name):
                yield ("general", name), code
        for index, schedule in enumerate(self._pbx.schedules):
            if schedule.night_code:
                yield ("schedules", index, "night_code"), schedule.night_code

    def _numbers_inside(self) -> Iterator[tuple[Location, str]]:
        general = self._pbx.general
        for index, number in enumerate(general.emergency_numbers):
            yield ("general", "emergency_numbers", index), number
        yield ("general", "voicemail_number"), general.voicemail_number
        yield from self._codes()
        for place in list_parking(general):
            yield ("general", "parking_extension"), place
        if general.directory_extension is not None:
            yield ("general", "directory_extension"), general.directory_extension
        for collection in (
            "endpoints",
            "announcements",
            "ring_groups",
            "conferences",
            "page_groups",
            "menus",
            "queues",
        ):
            for index, entity in enumerate(getattr(self._pbx, collection)):
                if entity.extension is not None:
                    yield (collection, index, "extension"), entity.extension

    def dids(self) -> Iterator[Problem]:
        """One DID per key, and patterns that mean something."""
        for index, did in enumerate(self._pbx.dids):
            at = ("dids", index, "number")
            try:
                key = _did_key(did.number)
            except ValueError as error:
                yield Problem(at, str(error))
                continue
            if (before := self._did_keys.setdefault(key, index)) != index:
                other = self._pbx.dids[before].number
                yield Problem(at, f"{did.number} is the same number as {other} (dids[{before}])")

    def expectations(self) -> Iterator[Problem]:
        """Each question once."""
        first: dict[str, int] = {}
        for index, expectation in enumerate(self._pbx.expect):
            if (before := first.setdefault(expectation.question, index)) != index:
                yield Problem(("expect", index), f"asks the same as expect[{before}]")
            if expectation.trunk is not None:
                yield from self.unknown(("expect", index, "trunk"), "trunk", "trunks", expectation.trunk)
            for place, name in enumerate(expectation.night):
                yield from self.unknown(("expect", index, "night", place), "schedule", "schedules", name)

    def targets(self) -> Iterator[Problem]:
        """Every destination leads to something that exists."""
        for location, destination in walk_destinations(self._pbx):
            yield from self._target(location, destination)

    def _target(self, at: Location, destination: Destination) -> Iterator[Problem]:  # noqa: C901, PLR0912 - one case per kind
        match destination:
            case EndpointDestination(endpoint=name):
                yield from self.unknown((*at, "endpoint"), "endpoint", "endpoints", name)
            case AgentDestination(agent=name):
                yield from self.unknown((*at, "agent"), "endpoint", "endpoints", name)
                yield from self._target((*at, "unavailable"), destination.unavailable)
            case QueueDestination(queue=name):
                yield from self.unknown((*at, "queue"), "queue", "queues", name)
            case MenuDestination(menu=name):
                yield from self.unknown((*at, "menu"), "menu", "menus", name)
            case RingGroupDestination(ring_group=name):
                yield from self.unknown((*at, "ring_group"), "ring group", "ring_groups", name)
            case ConferenceDestination(conference=name):
                yield from self.unknown((*at, "conference"), "conference", "conferences", name)
            case AnnouncementDestination(announcement=name):
                yield from self.unknown((*at, "announcement"), "announcement", "announcements", name)
            case VoicemailDestination(voicemail=name):
                yield from self.unknown((*at, "voicemail"), "voicemail box", "voicemail_boxes", name)
            case DidDestination(did=number):
                yield from self._unknown_did((*at, "did"), number)
            case ScheduleDestination(schedule=name):
                yield from self.unknown((*at, "schedule"), "schedule", "schedules", name)
                yield from self._target((*at, "open"), destination.open)
                yield from self._target((*at, "closed"), destination.closed)
            case DialplanDestination(dialplan=place):
                context = place.partition(",")[0]
                if context not in self._pbx.general.allowed_contexts:
                    yield Problem((*at, "dialplan"), f"context {context!r} is not in general.allowed_contexts")
            case ExternalDestination(trunk=None):
                if self._pbx.general.outbound_trunk is None and not self._pbx.outbound_routes:
                    yield Problem(
                        (*at, "external"), "needs a trunk, here or as general.outbound_trunk, or an outbound route"
                    )
            case ExternalDestination(trunk=str(name)):
                yield from self.unknown((*at, "trunk"), "trunk", "trunks", name)

    def unknown(self, at: Location, what: str, collection: str, name: str) -> Iterator[Problem]:
        """A problem where there is no object of that name."""
        if name in self._known[collection]:
            return
        if (collection, name) not in self._near and len(self._near) < _MAX_SUGGESTIONS:
            self._near[collection, name] = suggest(name, self._known[collection])
        yield Problem(at, f"there is no {what} {name!r}{self._near.get((collection, name), '')}")

    def _unknown_did(self, at: Location, number: str) -> Iterator[Problem]:
        """`+4930…` and `4930…` are one DID."""
        try:
            known = _did_key(number) in self._did_keys
        except ValueError as error:
            yield Problem(at, str(error))
            return
        if not known:
            yield Problem(at, f"there is no DID {number!r}")


def _list_idle(queue: Queue) -> Iterator[tuple[str, str]]:
    """(field that says something, what it needs for that) of what a queue has no use for."""
    has_prompts = bool(
        queue.periodic_every_s and (queue.periodic_prompts or (queue.callback and queue.callback.prompts))
    )
    needs = (
        ("announce_position_limit", queue.announce_position, "announce_position"),
        ("announce_beyond_limit", queue.announce_position_limit, "announce_position_limit"),
        ("announce_only_up", queue.announce_position, "announce_position"),
        ("announce_to_first", queue.announce_every_s or has_prompts, "announce_every_s or periodic_prompts"),
        ("announce_round_s", queue.announce_hold_time != "no", "announce_hold_time"),
        ("periodic_after_s", has_prompts, "periodic_prompts"),
        ("periodic_random", has_prompts, "periodic_prompts"),
        ("periodic_from_end", has_prompts, "periodic_prompts"),
        ("autopause_delay_s", queue.autopause != "no", "autopause"),
        ("autopause_busy", queue.autopause != "no", "autopause"),
        ("autopause_unavailable", queue.autopause != "no", "autopause"),
    )
    return ((field, needed) for field, is_there, needed in needs if getattr(queue, field) and not is_there)


def _holiday_region(at: Location, schedule: Schedule) -> Iterator[Problem]:
    if schedule.holiday_country is not None:
        field = "holiday_country" if schedule.holiday_subdivision is None else "holiday_subdivision"
        yield from _raised((*at, field), check_holiday_region, schedule.holiday_country, schedule.holiday_subdivision)
    elif schedule.holiday_subdivision is not None:
        yield Problem((*at, "holiday_subdivision"), "needs a holiday_country")


def _did_key(number: str) -> tuple[str, str]:
    """What makes two DIDs the same; ValueError for an invalid pattern."""
    parsed = parse_did_number(number)
    return parsed.kind, pattern_regex(parsed.key) if parsed.kind == "pattern" else parsed.key


def _raised(at: Location, check: Callable[..., object], *values: object) -> Iterable[Problem]:
    """The ValueError of a check as a problem."""
    try:
        check(*values)
    except ValueError as error:
        return (Problem(at, str(error)),)
    return ()
