"""What AstDB must hold so that every call finds its way without Tandem; never a destination that cannot be reached without it.

Menus stay jumps to `menu`: the dialplan takes a menu's fallback by itself once a call has fallen back. Whatever depends on the clock
becomes a *branch*, which the dialplan decides with IFTIME. Clean-up of caller ids is left out: then the number shows as sent.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import date
from typing import Final

from tandem.domain.destinations import (
    AgentDestination,
    Destination,
    DidDestination,
    QueueDestination,
    ScheduleDestination,
)
from tandem.domain.dialling import plan_of
from tandem.domain.dialplan import (
    FAMILY_ANNOUNCEMENT,
    FAMILY_BLOCK,
    FAMILY_BRANCH,
    FAMILY_CODE,
    FAMILY_CONFERENCE,
    FAMILY_DID,
    FAMILY_ENDPOINT,
    FAMILY_FOLLOW,
    FAMILY_FORWARD,
    FAMILY_GROUP,
    FAMILY_INTERNAL,
    FAMILY_LIMIT,
    FAMILY_MENU,
    FAMILY_META,
    FAMILY_OPERATOR,
    FAMILY_OUTWARD,
    FAMILY_PAGE,
    FAMILY_PARKING,
    FAMILY_PATTERN,
    FAMILY_PREFIX,
    FAMILY_QUEUE,
    FAMILY_ROUTE,
    FAMILY_SCHEDULE,
    FAMILY_SPEED,
    FAMILY_TOLL,
    FAMILY_TRUNK,
    Jump,
    encode_jump,
)
from tandem.domain.entities import Did, Queue, Trunk
from tandem.domain.features import Features, features_in_force
from tandem.domain.nights import night_kind
from tandem.domain.numbers import BlockIndex, index_blocked
from tandem.domain.outbound_entities import TollGuard
from tandem.domain.phone_checks import FEATURE_CODES, list_parking
from tandem.domain.phones import Endpoint, RingGroup
from tandem.domain.routing import DEAD_END, INACTIVE, after_queue, jump_to, name_agent_branch
from tandem.domain.schedules import iftime_spans
from tandem.domain.snapshot import Snapshot
from tandem.domain.tolls import list_guards, list_limits

# What was set at the phone of an extension.
FindFeatures = Callable[[str], Features | None]
# ((family, key), value) of AstDB.
Entry = tuple[tuple[str, str], str]

_VOICEMAIL_LETTERS: Final = {"busy": "b", "no-answer": "n", "unavailable": "u"}
# Destinations that lead to each other for longer end the call; the references check lets none in.
MAX_STEPS: Final = 20
# QUEUESTATUS in lower case, where app_queue gives the caller back.
QUEUE_STATUSES: Final = ("timeout", "full", "joinempty", "joinunavail", "leaveempty", "leaveunavail")


def _find_nothing(_extension: str) -> None:
    """Nobody set anything."""


def last_known_entries(
    snapshot: Snapshot, today: date, find_features: FindFeatures = _find_nothing
) -> dict[tuple[str, str], str]:
    """(family, key) -> value of everything that AstDB must hold for a revision; `today` starts the look ahead for closed days.

    The revision itself is not in it: whoever writes the entries writes that last.
    """
    return dict(iterate_entries(snapshot, today, find_features))


def iterate_entries(snapshot: Snapshot, today: date, find_features: FindFeatures = _find_nothing) -> Iterator[Entry]:
    """The same one by one, in microseconds each, so that 100,000 DIDs do not stall the reactor; branches before who needs them."""
    jumps = _Jumps(snapshot)
    for entry in _entries(snapshot, today, find_features, jumps):
        yield from jumps.take_branches()
        yield entry


def _entries(snapshot: Snapshot, today: date, find_features: FindFeatures, jumps: "_Jumps") -> Iterator[Entry]:
    yield from _static_entries(snapshot, today)
    for endpoint in snapshot.endpoints.values():
        yield from _endpoint_entries(endpoint, find_features(endpoint.extension))
    yield from _code_entries(snapshot)
    for group in snapshot.ring_groups.values():
        yield from _group_entries(group)
        yield (FAMILY_GROUP, f"{group.name}/then"), jumps.lead_to(group.fallback)
    for name, announcement in snapshot.announcements.items():
        yield (FAMILY_ANNOUNCEMENT, f"{name}/then"), jumps.lead_to(announcement.then)
    for queue in snapshot.queues.values():
        yield from _queue_entries(snapshot, queue, jumps)
    yield from _meeting_entries(snapshot)
    for box in snapshot.voicemail_boxes.values():
        if box.operator is not None:
            yield (FAMILY_OPERATOR, box.mailbox), jumps.lead_to(box.operator)
    for name, menu in snapshot.menus.items():
        yield (FAMILY_MENU, name), jumps.lead_to(menu.fallback)
    for number, destination in snapshot.numbers.items():
        yield (FAMILY_INTERNAL, number), jumps.lead_to(destination)
    yield from _did_entries(snapshot, jumps)


def _static_entries(snapshot: Snapshot, today: date) -> Iterator[Entry]:
    """Everything that leads nowhere."""
    for name, plan in snapshot.plans.items():
        yield (FAMILY_TRUNK, name), f"{plan.country_code},{plan.national_prefix},{plan.international_prefix}"
    for name, trunk in snapshot.trunks.items():
        yield from _outward_entries(snapshot, name, trunk)
    for scope, limit in list_limits(snapshot):
        yield (FAMILY_LIMIT, scope), str(limit)
    for scope, guard in list_guards(snapshot):
        yield from _toll_entries(scope, guard)
    for index, rule in enumerate(snapshot.outbound.static, 1):
        route = rule.route
        yield (FAMILY_ROUTE, str(index)), rule.pattern
        how = (route.name, route.permission or "", str(route.strip), route.prepend, "&".join(route.trunks))
        yield (FAMILY_ROUTE, f"{index}/how"), ",".join(how)
    for name, announcement in snapshot.announcements.items():
        yield (FAMILY_ANNOUNCEMENT, name), str(len(announcement.prompts))
        for index, prompt in enumerate(announcement.prompts, 1):
            yield (FAMILY_ANNOUNCEMENT, f"{name}/{index}"), prompt
    for name, hours in snapshot.hours.items():
        spans = iftime_spans(hours, today)
        yield (FAMILY_SCHEDULE, name), str(len(spans.open))
        for index, span in enumerate(spans.open, 1):
            yield (FAMILY_SCHEDULE, f"{name}/{index}"), span
        for index, span in enumerate(spans.closed, 1):
            yield (FAMILY_SCHEDULE, f"{name}/closed/{index}"), span
    yield from _block_entries("", snapshot.blocked)


def _toll_entries(scope: str, guard: TollGuard) -> Iterator[Entry]:
    """Which numbers a scope never dials, for calls that Tandem does not decide on."""
    if guard.premium is not None or guard.countries:
        premium = "" if guard.premium is None else "yes" if guard.premium else "no"
        yield (FAMILY_TOLL, scope), f"{premium},{'&'.join(guard.countries)}"
    yield from _block_entries(f"deny/{scope}:", index_blocked(guard.denied_prefixes))
    yield from _block_entries(f"allow/{scope}:", index_blocked(guard.allowed_prefixes))


def _endpoint_entries(endpoint: Endpoint, features: Features | None) -> Iterator[Entry]:
    facts = [str(endpoint.ring_time_s), endpoint.voicemail or "", "-".join(endpoint.permissions)]
    if len(set(endpoint.voicemail_on)) < len(_VOICEMAIL_LETTERS):
        # A letter that nothing has says that the box takes no calls.
        facts.append("".join(_VOICEMAIL_LETTERS[when] for when in endpoint.voicemail_on) or "x")
    flags = "".join(letter for letter, is_set in _flags_of(endpoint) if is_set)
    if flags:
        facts += [""] * (4 - len(facts)) + [flags]
    yield (FAMILY_ENDPOINT, endpoint.extension), ",".join(facts)
    if endpoint.outbound_routes:
        yield (FAMILY_ENDPOINT, f"{endpoint.extension}/routes"), "&".join(endpoint.outbound_routes)
    in_force = features_in_force(endpoint, features)
    if not in_force.is_plain:
        yield (FAMILY_FORWARD, endpoint.extension), in_force.encode()
    if endpoint.follow_me:
        yield (FAMILY_FOLLOW, endpoint.extension), str(len(endpoint.follow_me))
    for index, step in enumerate(endpoint.follow_me, 1):
        yield (FAMILY_FOLLOW, f"{endpoint.extension}/{index}"), f"{step.number},{step.ring_time_s},{int(step.confirm)}"


def _flags_of(endpoint: Endpoint) -> Iterator[tuple[str, bool]]:
    yield "d", endpoint.devices > 1
    yield "r", endpoint.recording in ("inbound", "both")
    yield "l", endpoint.call_limit > 0


def _code_entries(snapshot: Snapshot) -> Iterator[Entry]:
    codes = {code: kind for kind, field in FEATURE_CODES.items() if (code := getattr(snapshot.general, field))}
    codes |= {
        schedule.night_code: night_kind(name) for name, schedule in snapshot.schedules.items() if schedule.night_code
    }
    for code, kind in codes.items():
        yield (FAMILY_CODE, code), kind
    if codes:
        yield (FAMILY_CODE, "lengths"), "&".join(map(str, sorted({len(code) for code in codes}, reverse=True)))
    for keys, number in snapshot.general.speed_dials.items():
        yield (FAMILY_SPEED, keys), number


def _meeting_entries(snapshot: Snapshot) -> Iterator[Entry]:
    for room in snapshot.conferences.values():
        flags = (("w", room.wait_for_moderator), ("a", room.announce_joins), ("r", room.recording))
        facts = (
            str(room.max_members),
            "".join(letter for letter, is_set in flags if is_set),
            room.music or "",
            room.pin or "",
            room.moderator_pin or "",
            room.pin_prompt or "",
            room.join_prompt or "",
            room.leave_prompt or "",
        )
        yield (FAMILY_CONFERENCE, room.name), ",".join(facts)
        for index, prompt in enumerate(room.prompts, 1):
            yield (FAMILY_CONFERENCE, f"{room.name}/{index}"), prompt
    for page in snapshot.page_groups.values():
        yield (FAMILY_PAGE, page.name), f"{len(page.members)},{int(page.duplex)},{page.prompt or ''}"
        for index, extension in enumerate(page.members, 1):
            yield (FAMILY_PAGE, f"{page.name}/{index}"), extension
        yield (FAMILY_INTERNAL, page.extension), encode_jump(Jump("page", page.name))
    general = snapshot.general
    if general.directory_extension is not None:
        yield (FAMILY_INTERNAL, general.directory_extension), encode_jump(Jump("directory", "both"))
    for place in (places := list_parking(general)):
        yield (FAMILY_INTERNAL, place), encode_jump(Jump("park" if place == places[0] else "parked", place))
    if places:
        yield (FAMILY_PARKING, places[0]), f"{general.parking_places},{general.parking_time_s}"


def _group_entries(group: RingGroup) -> Iterator[Entry]:
    strategy = group.strategy.replace("-", "")
    facts = (strategy, group.ring_time_s, len(group.members), int(group.follow_forwards), group.music or "")
    yield (FAMILY_GROUP, group.name), ",".join(map(str, facts))
    if group.caller_prefix:
        yield (FAMILY_GROUP, f"{group.name}/prefix"), group.caller_prefix
    for index, member in enumerate(group.members, 1):
        if member.endpoint is not None:
            value = f"endpoint,{member.endpoint}"
        else:
            value = f"external,{member.external},{member.trunk or ''},{int(member.confirm)}"
        yield (FAMILY_GROUP, f"{group.name}/{index}"), value


def _outward_entries(snapshot: Snapshot, name: str, trunk: Trunk) -> Iterator[Entry]:
    """How a trunk wants numbers and callers, for calls that Tandem does not decide on."""
    if trunk.numbers_out != "as-dialled" or trunk.prefix_out:
        plan = plan_of(trunk.country or snapshot.general.country)
        prefixes = (
            (plan.country_code, plan.national_prefix, plan.international_prefix) if plan is not None else ("", "", "")
        )
        yield (FAMILY_OUTWARD, name), ",".join((trunk.numbers_out, trunk.prefix_out, *prefixes))
    if trunk.caller_id_rule != "passthrough":
        yield (FAMILY_OUTWARD, f"{name}/caller"), trunk.caller_ids[0]
        if trunk.caller_id_rule == "allowed":
            for number in trunk.caller_ids:
                yield (FAMILY_OUTWARD, f"{name}/caller/{number}"), "1"


def _queue_entries(snapshot: Snapshot, queue: Queue, jumps: "_Jumps") -> Iterator[Entry]:
    fallback = jumps.lead_to(queue.fallback)
    yield (FAMILY_QUEUE, queue.name), fallback
    yield (FAMILY_QUEUE, f"{queue.name}/wait"), str(queue.max_wait_s)
    if queue.recording:
        yield (FAMILY_QUEUE, f"{queue.name}/recording"), "yes"
    rule = snapshot.penalty_rules.get(queue.penalty_rule) if queue.penalty_rule is not None else None
    if rule is not None:
        yield (FAMILY_QUEUE, f"{queue.name}/penalties"), ",".join(map(str, rule.at_first))
    if queue.exit is not None:
        yield (FAMILY_QUEUE, f"{queue.name}/exit"), jumps.lead_to(queue.exit)
    for status in QUEUE_STATUSES:
        jump = jumps.lead_to(after_queue(snapshot, queue.name, status))
        if jump != fallback:
            yield (FAMILY_QUEUE, f"{queue.name}/{status}"), jump


def _did_entries(snapshot: Snapshot, jumps: "_Jumps") -> Iterator[Entry]:
    """Routes of DIDs, in the order in which the dialplan looks them up, each with its blocked callers."""
    dids = snapshot.dids
    for key, did in dids.exact.items():
        yield (FAMILY_DID, key), jumps.lead_from(did)
        yield from _did_block_entries(snapshot, key, did)
    for key, did in dids.prefixes.items():
        yield (FAMILY_PREFIX, key), jumps.lead_from(did)
        yield from _did_block_entries(snapshot, f"{key}*", did)
    if dids.prefix_lengths:
        yield (FAMILY_META, "prefix-lengths"), "&".join(map(str, dids.prefix_lengths))
    for index, (regex, did) in enumerate(dids.patterns, 1):
        yield (FAMILY_PATTERN, str(index)), regex.pattern
        yield (FAMILY_PATTERN, f"{index}/jump"), jumps.lead_from(did)
        yield from _did_block_entries(snapshot, f"_{index}", did)
    if dids.default is not None:
        yield (FAMILY_META, "default"), jumps.lead_from(dids.default)
        yield from _did_block_entries(snapshot, "default", dids.default)


def _did_block_entries(snapshot: Snapshot, found: str, did: Did) -> Iterator[Entry]:
    if did.active and did.blocked_callers:
        yield from _block_entries(f"{found}:", snapshot.did_blocked[did.number])


def _block_entries(scope: str, blocked: BlockIndex) -> Iterator[Entry]:
    for caller in sorted(blocked.exact):
        yield (FAMILY_BLOCK, f"{scope}{caller}"), "1"
    for prefix in sorted(blocked.prefixes):
        yield (FAMILY_BLOCK, f"{scope}{prefix}*"), "1"
    if blocked.prefix_lengths:
        yield (FAMILY_BLOCK, f"{scope}lengths"), "&".join(map(str, reversed(blocked.prefix_lengths)))


class _Jumps:
    """Destination -> jump, remembering both it and the branches that it needs: thousands of DIDs lead to a few dozen places."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[tuple[Destination, int, str, str], str] = {}
        self._branches: set[str] = set()
        self._new_entries: list[Entry] = []

    def lead_from(self, did: Did) -> str:
        """The jump of a called number."""
        if not did.active:
            return self.lead_to(INACTIVE)
        return self.lead_to(did.destination, did.priority, did.language or "", did.recording)

    def lead_to(self, destination: Destination, priority: int = 0, language: str = "", recording: str = "") -> str:
        """The jump into a destination; `recording` and `language` '' keep what the call has."""
        how = (destination, priority, language, recording)
        if how not in self._known:
            jump = self._jump(destination, 0)
            self._known[how] = encode_jump(
                jump._replace(priority=max(jump.priority, priority), language=language, recording=recording)
            )
        return self._known[how]

    def take_branches(self) -> list[Entry]:
        """The entries of the branches that were met since this was asked last."""
        entries, self._new_entries = self._new_entries, []
        return entries

    def _jump(self, destination: Destination, steps: int) -> Jump:
        for step in range(steps, MAX_STEPS):
            if isinstance(destination, DidDestination):
                did = self._snapshot.dids.named(destination.did)
                if did is None:
                    break
                destination = did.destination if did.active else INACTIVE
            elif isinstance(destination, ScheduleDestination):
                return self._branch(
                    destination.schedule,
                    self._jump(destination.open, step + 1),
                    self._jump(destination.closed, step + 1),
                )
            elif isinstance(destination, QueueDestination):
                return self._queue(destination, step + 1)
            elif isinstance(destination, AgentDestination):
                return self._agent(destination, step + 1)
            else:
                return jump_to(self._snapshot, destination)
        return jump_to(self._snapshot, DEAD_END)

    def _queue(self, destination: QueueDestination, steps: int) -> Jump:
        """A queue with opening hours is a branch, too: app_queue knows none."""
        enter = jump_to(self._snapshot, destination)
        queue = self._snapshot.queues.get(destination.queue)
        if queue is not None and not queue.active:
            return self._jump(queue.closed or queue.fallback, steps)
        if queue is None or queue.schedule is None:
            return enter
        return self._branch(queue.schedule, enter, self._jump(queue.closed or queue.fallback, steps))

    def _agent(self, destination: AgentDestination, steps: int) -> Jump:
        """Without Tandem the phone rings whoever is logged in; where the call goes then is in AstDB for both ways."""
        name = name_agent_branch(destination)
        if name not in self._branches:
            self._branches.add(name)
            unavailable = self._jump(destination.unavailable, steps)
            self._new_entries.append(((FAMILY_BRANCH, f"{name}/closed"), encode_jump(unavailable)))
        return jump_to(self._snapshot, destination)

    def _branch(self, schedule: str, when_open: Jump, when_closed: Jump) -> Jump:
        """Named by what it does, so that equal branches are one and an unchanged one keeps its name."""
        parts = (schedule, encode_jump(when_open), encode_jump(when_closed))
        name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        if name not in self._branches:
            self._branches.add(name)
            keys = (name, f"{name}/open", f"{name}/closed")
            self._new_entries += [((FAMILY_BRANCH, key), value) for key, value in zip(keys, parts, strict=True)]
        return Jump("branch", name)
