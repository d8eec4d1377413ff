"""Keeps the dynamic members of our queues in step with Live; never touches a member's pause, and no queue that is not ours.

Members are dynamic because a reload of queues.conf takes pause reason and login time from a static one (asterisk-notes).
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.errors import AmiRefused
from tandem.domain.snapshot import Snapshot
from tandem.facts import Fields

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Membership:
    """One member of one queue; `interface` is `PJSIP/extension`."""

    queue: str
    interface: str
    penalty: int


def list_wanted(snapshot: Snapshot) -> dict[tuple[str, str], Membership]:
    """(queue, interface) -> membership, as configured."""
    return {
        (queue.name, f"PJSIP/{member.endpoint}"): Membership(queue.name, f"PJSIP/{member.endpoint}", member.penalty)
        for queue in snapshot.queues.values()
        for member in queue.members
    }


def read_present(rows: Iterable[Fields], ours: Iterable[str]) -> dict[tuple[str, str], Membership]:
    """(queue, interface) -> membership, from the `QueueMember` rows of a QueueStatus; dynamic PJSIP members of our queues only."""
    queues = set(ours)
    present = {}
    for row in rows:
        if row.get("Event") != "QueueMember" or row.get("Membership") != "dynamic":
            continue
        queue, interface = row.get("Queue"), row.get("Location")
        if queue in queues and interface.startswith("PJSIP/"):
            present[queue, interface] = Membership(queue, interface, int(row.get("Penalty")))
    return present


def plan_members(snapshot: Snapshot, present: dict[tuple[str, str], Membership]) -> list[Action]:
    """What to send so that Asterisk has what is configured; empty when it has."""
    wanted = list_wanted(snapshot)
    plan = [actions.queue_remove(*key) for key in present if key not in wanted]
    for key, member in wanted.items():
        known = present.get(key)
        if known is None:
            endpoint = snapshot.endpoints.get(member.interface.removeprefix("PJSIP/"))
            name = endpoint.name if endpoint is not None else ""
            plan.append(actions.queue_add(*key, member_name=name, penalty=member.penalty))
        elif known.penalty != member.penalty:
            headers = (("Queue", member.queue), ("Interface", member.interface), ("Penalty", str(member.penalty)))
            plan.append(Action("QueuePenalty", headers))
    return plan


async def sync_members(
    snapshot: Snapshot,
    send: Callable[[Action], Awaitable[object]],
    ask: Callable[[Action], Awaitable[list[Fields]]],
) -> int:
    """Brings members in step; how many changes were made. A queue that Asterisk does not have yet is logged and left for the next time."""
    present = read_present(await ask(actions.queue_status()), snapshot.queues)
    changes = 0
    for action in plan_members(snapshot, present):
        try:
            await send(action)
            changes += 1
        except AmiRefused as error:
            log.warning("queue member: %s %s", dict(action.headers), error)
    return changes
