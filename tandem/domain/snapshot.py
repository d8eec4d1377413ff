"""One revision of a whole PBX, indexed for the calls that read it; never changes once it is finished.

The builder takes objects one by one, so that a loader can do it in chunks between other work of the reactor. A single edit copies
the one index that it touches. Objects are expected to have passed `tandem.domain.references.check_pbx`.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from tandem.domain.entities import (
    COLLECTIONS,
    Announcement,
    AnnouncementDestination,
    Destination,
    Did,
    Endpoint,
    EndpointDestination,
    Entity,
    General,
    Menu,
    MenuDestination,
    Pbx,
    Queue,
    QueueDestination,
    Schedule,
    Trunk,
    VoicemailBox,
)
from tandem.domain.numbers import (
    BlockIndex,
    NumberPlan,
    index_blocked,
    number_plan,
    parse_did_number,
    pattern_rank,
    pattern_regex,
)
from tandem.domain.schedules import CompiledSchedule, compile_schedule, warm_holidays

COLLECTION_OF: Final[Mapping[type, str]] = {kind: collection for collection, (kind, _) in COLLECTIONS.items()}

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class DidIndex:
    """DIDs by key: exact, then the longest prefix (which may be the whole number), then patterns in Asterisk's order, then default."""

    exact: Mapping[str, Did]
    prefixes: Mapping[str, Did]
    prefix_lengths: tuple[int, ...]
    patterns: tuple[tuple[re.Pattern[str], Did], ...]
    default: Did | None

    @property
    def count(self) -> int:
        """How many DIDs there are."""
        return len(self.exact) + len(self.prefixes) + len(self.patterns) + (self.default is not None)

    def __iter__(self) -> Iterator[Did]:
        yield from self.exact.values()
        yield from self.prefixes.values()
        for _, did in self.patterns:
            yield did
        if self.default is not None:
            yield self.default

    def find(self, key: str) -> Did | None:
        """The DID that answers a called number's key."""
        did = self.exact.get(key)
        if did is not None:
            return did
        for length in self.prefix_lengths:
            if length <= len(key) and (did := self.prefixes.get(key[:length])) is not None:
                return did
        for regex, did in self.patterns:
            if regex.match(key):
                return did
        return self.default

    def named(self, number: str) -> Did | None:
        """The DID that the document calls by this number (`+4930*`, `default`…), active or not."""
        parsed = parse_did_number(number)
        match parsed.kind:
            case "exact":
                return self.exact.get(parsed.key)
            case "prefix":
                return self.prefixes.get(parsed.key)
            case "default":
                return self.default
            case "pattern":
                regex = pattern_regex(parsed.key)
                return next((did for known, did in self.patterns if known.pattern == regex), None)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A revision of the PBX. Mappings are by name, in the order of the document; treat them as read-only.

    numbers: number inside -> destination; number_list: the same numbers, sorted; plans: trunk -> number plan, for trunks that send
    national numbers; hours: compiled schedules; blocked and did_blocked (by DID number as written): callers nobody wants.
    """

    revision: int
    general: General
    trunks: Mapping[str, Trunk]
    endpoints: Mapping[str, Endpoint]
    voicemail_boxes: Mapping[str, VoicemailBox]
    schedules: Mapping[str, Schedule]
    announcements: Mapping[str, Announcement]
    menus: Mapping[str, Menu]
    queues: Mapping[str, Queue]
    dids: DidIndex
    numbers: Mapping[str, Destination]
    number_list: tuple[str, ...]
    plans: Mapping[str, NumberPlan]
    hours: Mapping[str, CompiledSchedule]
    blocked: BlockIndex
    did_blocked: Mapping[str, BlockIndex]

    def has_longer_number(self, digits: str) -> bool:
        """Whether some number inside begins with these digits and goes on."""
        at = bisect_left(self.number_list, digits)
        if at < len(self.number_list) and self.number_list[at] == digits:
            at += 1
        return at < len(self.number_list) and self.number_list[at].startswith(digits)


class SnapshotBuilder:
    """Takes a PBX object by object and hands out the finished snapshot; each `add` costs microseconds, and so does `finish`."""

    def __init__(self, revision: int, general: General) -> None:
        self._revision = revision
        self._general = general
        self._collections: dict[str, dict[str, Entity]] = {name: {} for name in COLLECTIONS if name != "dids"}
        self._exact: dict[str, Did] = {}
        self._prefixes: dict[str, Did] = {}
        self._patterns: list[Did] = []
        self._default: Did | None = None
        self._did_blocked: dict[str, BlockIndex] = {}
        self._block_indices: dict[tuple[str, ...], BlockIndex] = {}
        self._destinations: dict[Destination, Destination] = {}

    def add(self, entity: Entity) -> None:
        """Takes one object; a second one of the same name or DID key replaces the first. ValueError for an invalid DID pattern."""
        if isinstance(entity, Did):
            self._add_did(entity)
        else:
            collection = COLLECTION_OF[type(entity)]
            self._collections[collection][name_of(entity)] = entity

    def _add_did(self, did: Did) -> None:
        # Thousands of DIDs go to a few dozen places: equal destinations become one object. Nobody can see the difference.
        shared = self._destinations.setdefault(did.destination, did.destination)
        if shared is not did.destination:
            object.__setattr__(did, "destination", shared)
        parsed = parse_did_number(did.number)
        if parsed.kind == "exact":
            self._exact[parsed.key] = did
        elif parsed.kind == "prefix":
            self._prefixes[parsed.key] = did
        elif parsed.kind == "default":
            self._default = did
        else:
            self._patterns.append(did)
        if did.blocked_callers:
            if did.blocked_callers not in self._block_indices:
                self._block_indices[did.blocked_callers] = index_blocked(did.blocked_callers)
            self._did_blocked[did.number] = self._block_indices[did.blocked_callers]

    def finish(self) -> Snapshot:
        """The snapshot; the builder is spent. ValueError for an unknown time zone, country or holiday region."""
        return _assemble(
            self._revision,
            self._general,
            self._collections,
            DidIndex(
                self._exact, self._prefixes, _lengths(self._prefixes), _sort_patterns(self._patterns), self._default
            ),
            self._did_blocked,
        )


def build_snapshot(revision: int, pbx: Pbx) -> Snapshot:
    """The snapshot of a whole PBX at once; for documents and tests (100,000 DIDs take the reactor too long)."""
    builder = SnapshotBuilder(revision, pbx.general)
    for collection in COLLECTIONS:
        for entity in getattr(pbx, collection):
            builder.add(entity)
    return builder.finish()


def with_general(snapshot: Snapshot, revision: int, general: General) -> Snapshot:
    """The same PBX under other general settings."""
    return _assemble(revision, general, _collections_of(snapshot), snapshot.dids, snapshot.did_blocked)


def with_entity(snapshot: Snapshot, revision: int, entity: Entity) -> Snapshot:
    """The next revision, in which this object is new or replaces the one of its name or DID key."""
    if isinstance(entity, Did):
        return _with_did(snapshot, revision, entity)
    collection, name = COLLECTION_OF[type(entity)], name_of(entity)
    collections = _collections_of(snapshot)
    collections[collection] = {**collections[collection], name: entity}
    return _assemble(revision, snapshot.general, collections, snapshot.dids, snapshot.did_blocked)


def without_entity(snapshot: Snapshot, revision: int, collection: str, name: str) -> Snapshot:
    """The next revision, without the object of that name (for DIDs: its number); KeyError if there is none."""
    if collection == "dids":
        did = snapshot.dids.named(name)
        if did is None:
            raise KeyError(name)
        return _without_did(snapshot, revision, did)
    collections = _collections_of(snapshot)
    left = dict(collections[collection])
    del left[name]
    collections[collection] = left
    return _assemble(revision, snapshot.general, collections, snapshot.dids, snapshot.did_blocked)


def name_of(entity: Entity) -> str:
    """What names an object: its name, extension, mailbox or number."""
    name: str = getattr(entity, COLLECTIONS[COLLECTION_OF[type(entity)]][1])
    return name


# ------------------------------------------------------------------------------------------------------ inside


def _assemble(
    revision: int,
    general: General,
    collections: Mapping[str, Mapping[str, Entity]],
    dids: DidIndex,
    did_blocked: Mapping[str, BlockIndex],
) -> Snapshot:
    """Everything that follows from the objects; small next to the DIDs, so it is made anew each time."""
    trunks = _only(Trunk, collections["trunks"])
    schedules = _only(Schedule, collections["schedules"])
    endpoints = _only(Endpoint, collections["endpoints"])
    queues, menus = _only(Queue, collections["queues"]), _only(Menu, collections["menus"])
    announcements = _only(Announcement, collections["announcements"])
    numbers = _numbers_inside(endpoints, queues, menus, announcements)
    hours = {name: compile_schedule(schedule, general.time_zone) for name, schedule in schedules.items()}
    for compiled in hours.values():
        warm_holidays(compiled)
    return Snapshot(
        revision=revision,
        general=general,
        trunks=trunks,
        endpoints=endpoints,
        voicemail_boxes=_only(VoicemailBox, collections["voicemail_boxes"]),
        schedules=schedules,
        announcements=announcements,
        menus=menus,
        queues=queues,
        dids=dids,
        numbers=numbers,
        number_list=tuple(sorted(numbers)),
        plans=_number_plans(general, trunks),
        hours=hours,
        blocked=index_blocked(general.blocked_callers),
        did_blocked=did_blocked,
    )


def _only(kind: type[Value], collection: Mapping[str, Entity]) -> Mapping[str, Value]:
    """Tells mypy what `add` has sorted already; no copy."""
    del kind
    return collection  # type: ignore[return-value]


def _collections_of(snapshot: Snapshot) -> dict[str, Mapping[str, Entity]]:
    return {name: getattr(snapshot, name) for name in COLLECTIONS if name != "dids"}


def _number_plans(general: General, trunks: Mapping[str, Trunk]) -> Mapping[str, NumberPlan]:
    plans: dict[str, NumberPlan] = {}
    for name, trunk in trunks.items():
        country = trunk.country or general.country
        if trunk.numbers == "national" and country is not None:
            plans[name] = number_plan(country)
    return plans


def _numbers_inside(
    endpoints: Mapping[str, Endpoint],
    queues: Mapping[str, Queue],
    menus: Mapping[str, Menu],
    announcements: Mapping[str, Announcement],
) -> Mapping[str, Destination]:
    numbers: dict[str, Destination] = {number: EndpointDestination(endpoint=number) for number in endpoints}
    for name, queue in queues.items():
        if queue.extension is not None:
            numbers[queue.extension] = QueueDestination(queue=name)
    for name, menu in menus.items():
        if menu.extension is not None:
            numbers[menu.extension] = MenuDestination(menu=name)
    for name, announcement in announcements.items():
        if announcement.extension is not None:
            numbers[announcement.extension] = AnnouncementDestination(announcement=name)
    return numbers


def _sort_patterns(dids: list[Did]) -> tuple[tuple[re.Pattern[str], Did], ...]:
    """One DID per pattern (the last one added), in the order in which Asterisk would try them."""
    by_regex = {pattern_regex(did.number): did for did in dids}
    ordered = sorted(by_regex.items(), key=lambda item: (pattern_rank(item[1].number), item[0]))
    return tuple((re.compile(regex), did) for regex, did in ordered)


def _lengths(prefixes: Mapping[str, Did]) -> tuple[int, ...]:
    return tuple(sorted({len(prefix) for prefix in prefixes}, reverse=True))


def _with_did(snapshot: Snapshot, revision: int, did: Did) -> Snapshot:
    replaced = snapshot.dids.named(did.number)
    base = snapshot if replaced is None else _without_blocked(snapshot, replaced.number)
    index, parsed = base.dids, parse_did_number(did.number)
    match parsed.kind:
        case "exact":
            exact = dict(index.exact)  # copies six times as fast as {**exact}
            exact[parsed.key] = did
            index = replace(index, exact=exact)
        case "prefix":
            prefixes = {**index.prefixes, parsed.key: did}
            index = replace(index, prefixes=prefixes, prefix_lengths=_lengths(prefixes))
        case "pattern":
            index = replace(index, patterns=_sort_patterns([known for _, known in index.patterns] + [did]))
        case "default":
            index = replace(index, default=did)
    blocked = base.did_blocked
    if did.blocked_callers:
        blocked = {**blocked, did.number: index_blocked(did.blocked_callers)}
    return replace(base, revision=revision, dids=index, did_blocked=blocked)


def _without_did(snapshot: Snapshot, revision: int, did: Did) -> Snapshot:
    index, parsed = snapshot.dids, parse_did_number(did.number)
    match parsed.kind:
        case "exact":
            exact = dict(index.exact)
            del exact[parsed.key]
            index = replace(index, exact=exact)
        case "prefix":
            prefixes = {key: known for key, known in index.prefixes.items() if known is not did}
            index = replace(index, prefixes=prefixes, prefix_lengths=_lengths(prefixes))
        case "pattern":
            index = replace(index, patterns=tuple(entry for entry in index.patterns if entry[1] is not did))
        case "default":
            index = replace(index, default=None)
    return replace(_without_blocked(snapshot, did.number), revision=revision, dids=index)


def _without_blocked(snapshot: Snapshot, number: str) -> Snapshot:
    if number not in snapshot.did_blocked:
        return snapshot
    return replace(
        snapshot, did_blocked={known: index for known, index in snapshot.did_blocked.items() if known != number}
    )
