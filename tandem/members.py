"""Keeps the dynamic members of our queues in step with Live and with who is logged in; touches no queue that is not ours.

Members are dynamic because a reload of queues.conf takes pause reason and login time from a static one (asterisk-notes). A pause is
only touched where somebody asked Tandem for one, or for its end.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.errors import AmiRefused
from tandem.domain.agents import Roster
from tandem.domain.snapshot import Snapshot
from tandem.facts import Fields

log = logging.getLogger(__name__)

PREFIX = "PJSIP/"


@dataclass(frozen=True, slots=True)
class Membership:
    """One member of one queue; `interface` is `PJSIP/extension`. pause: (paused, reason), None where nobody asked for one."""

    queue: str
    interface: str
    penalty: int
    pause: tuple[bool, str] | None = None


def list_wanted(roster: Roster) -> dict[tuple[str, str], Membership]:
    """(queue, interface) -> membership, as configured and as asked for."""
    wanted = {}
    for queue, endpoint, penalty in roster.list_members():
        asked = roster.read_pause(endpoint)
        pause = (asked.is_paused, asked.reason) if asked is not None else None
        interface = f"{PREFIX}{endpoint}"
        wanted[queue, interface] = Membership(queue, interface, penalty, pause)
    return wanted


def read_present(rows: Iterable[Fields], ours: Iterable[str]) -> dict[tuple[str, str], Membership]:
    """(queue, interface) -> membership, from the `QueueMember` rows of a QueueStatus; dynamic PJSIP members of our queues only."""
    queues = set(ours)
    present = {}
    for row in rows:
        if row.get("Event") != "QueueMember" or row.get("Membership") != "dynamic":
            continue
        queue, interface = row.get("Queue"), row.get("Location")
        if queue in queues and interface.startswith(PREFIX):
            pause = (row.get("Paused") == "1", row.get("PausedReason"))
            present[queue, interface] = Membership(queue, interface, int(row.get("Penalty")), pause)
    return present


def plan_members(
    snapshot: Snapshot, roster: Roster, present: dict[tuple[str, str], Membership], only: str | None = None
) -> list[Action]:
    """What to send so that Asterisk has what is wanted; empty when it has. only: one endpoint."""
    wanted = list_wanted(roster)
    meant = {key for key in {*present, *wanted} if only in (None, key[1].removeprefix(PREFIX))}
    plan = [actions.queue_remove(*key) for key in present if key in meant and key not in wanted]
    for key, member in wanted.items():
        if key in meant:
            plan.extend(_plan_member(snapshot, member, present.get(key)))
    return plan


def _plan_member(snapshot: Snapshot, member: Membership, known: Membership | None) -> Iterable[Action]:
    is_paused, reason = member.pause or (False, "")
    if known is None:
        endpoint = snapshot.endpoints.get(member.interface.removeprefix(PREFIX))
        name = endpoint.name if endpoint is not None else ""
        yield actions.queue_add(
            member.queue, member.interface, member_name=name, penalty=member.penalty, paused=is_paused
        )
        if is_paused and reason:
            yield actions.queue_pause(member.interface, paused=True, queue=member.queue, reason=reason)
        return
    if known.penalty != member.penalty:
        headers = (("Queue", member.queue), ("Interface", member.interface), ("Penalty", str(member.penalty)))
        yield Action("QueuePenalty", headers)
    if member.pause is not None and known.pause != member.pause and (is_paused or (known.pause or (False,))[0]):
        yield actions.queue_pause(member.interface, paused=is_paused, queue=member.queue, reason=reason)


async def send_plan(plan: Iterable[Action], send: Callable[[Action], Awaitable[object]]) -> int:
    """How many changes were made. A queue that Asterisk does not have yet is logged and left for the next time."""
    changes = 0
    for action in plan:
        try:
            await send(action)
            changes += 1
        except AmiRefused as error:
            log.warning("queue member: %s %s", dict(action.headers), error)
    return changes
