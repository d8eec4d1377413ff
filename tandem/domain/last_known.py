"""What AstDB must hold so that every call finds its way without Tandem; never a destination that cannot be reached without it.

Menus stay jumps to `menu`: the dialplan takes a menu's fallback by itself once a call has fallen back. Whatever depends on the clock
becomes a *branch*, which the dialplan decides with IFTIME. Clean-up of caller ids is left out: then the number shows as sent.
"""

import hashlib
from collections.abc import Iterator
from datetime import date
from typing import Final

from tandem.domain.destinations import (
    AgentDestination,
    Destination,
    DidDestination,
    QueueDestination,
    ScheduleDestination,
)
from tandem.domain.dialplan import (
    FAMILY_ANNOUNCEMENT,
    FAMILY_BLOCK,
    FAMILY_BRANCH,
    FAMILY_DID,
    FAMILY_ENDPOINT,
    FAMILY_INTERNAL,
    FAMILY_MENU,
    FAMILY_META,
    FAMILY_PATTERN,
    FAMILY_PREFIX,
    FAMILY_QUEUE,
    FAMILY_SCHEDULE,
    FAMILY_TRUNK,
    Jump,
    encode_jump,
)
from tandem.domain.entities import Did, Queue
from tandem.domain.numbers import BlockIndex
from tandem.domain.routing import DEAD_END, INACTIVE, after_queue, jump_to, name_agent_branch
from tandem.domain.schedules import iftime_spans
from tandem.domain.snapshot import Snapshot

# ((family, key), value) of AstDB.
Entry = tuple[tuple[str, str], str]

# Destinations that lead to each other for longer end the call; the references check lets none in.
MAX_STEPS: Final = 20
# QUEUESTATUS in lower case, where app_queue gives the caller back.
QUEUE_STATUSES: Final = ("timeout", "full", "joinempty", "joinunavail", "leaveempty", "leaveunavail")


def last_known_entries(snapshot: Snapshot, today: date) -> dict[tuple[str, str], str]:
    """(family, key) -> value of everything that AstDB must hold for a revision; `today` starts the look ahead for closed days.

    The revision itself is not in it: whoever writes the entries writes that last.
    """
    return dict(iterate_entries(snapshot, today))


def iterate_entries(snapshot: Snapshot, today: date) -> Iterator[Entry]:
    """The same one by one, in microseconds each, so that 100,000 DIDs do not stall the reactor; branches before who needs them."""
    jumps = _Jumps(snapshot)
    for entry in _entries(snapshot, today, jumps):
        yield from jumps.take_branches()
        yield entry


def _entries(snapshot: Snapshot, today: date, jumps: "_Jumps") -> Iterator[Entry]:
    yield from _static_entries(snapshot, today)
    for name, announcement in snapshot.announcements.items():
        yield (FAMILY_ANNOUNCEMENT, f"{name}/then"), jumps.lead_to(announcement.then)
    for queue in snapshot.queues.values():
        yield from _queue_entries(snapshot, queue, jumps)
    for name, menu in snapshot.menus.items():
        yield (FAMILY_MENU, name), jumps.lead_to(menu.fallback)
    for number, destination in snapshot.numbers.items():
        yield (FAMILY_INTERNAL, number), jumps.lead_to(destination)
    yield from _did_entries(snapshot, jumps)


def _static_entries(snapshot: Snapshot, today: date) -> Iterator[Entry]:
    """Everything that leads nowhere."""
    for name, plan in snapshot.plans.items():
        yield (FAMILY_TRUNK, name), f"{plan.country_code},{plan.national_prefix},{plan.international_prefix}"
    for extension, endpoint in snapshot.endpoints.items():
        facts = (str(endpoint.ring_time_s), endpoint.voicemail or "", "-".join(endpoint.permissions))
        yield (FAMILY_ENDPOINT, extension), ",".join(facts)
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


def _queue_entries(snapshot: Snapshot, queue: Queue, jumps: "_Jumps") -> Iterator[Entry]:
    fallback = jumps.lead_to(queue.fallback)
    yield (FAMILY_QUEUE, queue.name), fallback
    yield (FAMILY_QUEUE, f"{queue.name}/wait"), str(queue.max_wait_s)
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
