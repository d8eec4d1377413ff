"""What of the PBX somebody sees and changes by their group of users; session_user is a claim of the client's and opens nothing.

Admins see all. Everybody else sees what is everybody's (`---ALL---`) and what is their own group's, and changes only that; the rest is
answered as if it were not there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from api.auth import EVERYTHING
from api.compat.goapi.actions import Call
from api.compat.goapi.objects import ADMINS, EVERYBODY, read_groups
from api.compat.goapi.speech import fail
from tandem.domain.destinations import (
    Destination,
    EndpointDestination,
    MenuDestination,
    QueueDestination,
    VoicemailDestination,
)
from tandem.domain.snapshot import Snapshot
from tandem.store.user_groups import UserGroup, load_user_groups

T = TypeVar("T")
# What a call can be led to, or asked about, and is somebody's.
_OWNED: Final = ("queues", "menus", "voicemail_boxes", "endpoints", "schedules")


@dataclass(frozen=True, slots=True)
class Scope:
    """group: of whoever asks; '' where they have none."""

    group: str
    sees_all: bool
    known: frozenset[str]

    def shows(self, owner: str | None) -> bool:
        """Whether an object of this group (None: everybody's) is theirs to see."""
        return self.sees_all or owner is None or owner == self.group

    def filter(self, objects: Mapping[str, T], owners: Mapping[str, str]) -> dict[str, T]:
        """Those of the objects, by name, that are theirs to see."""
        return {name: one for name, one in objects.items() if self.shows(owners.get(name))}

    def choose(self, wanted: str) -> str | None:
        """Whose a new object is: as wanted, or their own group's where nothing is said; None for everybody's. Said for another group's."""
        if not wanted:
            return None if self.sees_all or not self.group else self.group
        if wanted == EVERYBODY and (self.sees_all or not self.group):
            return None
        if wanted not in self.known or not (self.sees_all or wanted == self.group):
            raise fail("Error: Invalid User Group")
        return wanted


async def read_scope(call: Call) -> Scope:
    """Of whoever asks."""
    return make_scope(call, await call.services.read_recent("user groups", load_user_groups))


def make_scope(call: Call, groups: Iterable[UserGroup]) -> Scope:
    """The same, where the groups that there are were read together with something else."""
    who = call.exchange.who
    sees_all = who.group is None and who.may(EVERYTHING)
    group = who.group.name if who.group is not None else ADMINS if sees_all else ""
    return Scope(group, sees_all, frozenset({ADMINS, *(one.name for one in groups)}))


async def read_view(call: Call) -> Snapshot:
    """The newest revision without what is another group's: where whoever asks may lead calls. What is not in it does not exist for them."""
    snapshot: Snapshot = await call.services.head.read()
    scope = await read_scope(call)
    if scope.sees_all:
        return snapshot
    seen: dict[str, Any] = {
        name: scope.filter(getattr(snapshot, name), await read_groups(call, name)) for name in _OWNED
    }
    owners = await read_groups(call, "dids")
    if hidden := {number for number, owner in owners.items() if not scope.shows(owner)}:
        dids = snapshot.dids
        seen["dids"] = replace(
            dids,
            exact={key: did for key, did in dids.exact.items() if did.number not in hidden},
            prefixes={key: did for key, did in dids.prefixes.items() if did.number not in hidden},
            patterns=tuple(one for one in dids.patterns if one[1].number not in hidden),
            default=None if dids.default is None or dids.default.number in hidden else dids.default,
        )
    seen["numbers"] = {number: found for number, found in snapshot.numbers.items() if _is_seen(found, seen)}
    return replace(snapshot, **seen)


def _is_seen(destination: Destination, seen: Mapping[str, Any]) -> bool:
    match destination:
        case QueueDestination(queue=name):
            return name in seen["queues"]
        case MenuDestination(menu=name):
            return name in seen["menus"]
        case EndpointDestination(endpoint=extension):
            return extension in seen["endpoints"]
        case VoicemailDestination(voicemail=mailbox):
            return mailbox in seen["voicemail_boxes"]
    return True


async def read_phones(call: Call) -> Callable[[str], bool]:
    """Whether an extension is a phone that whoever asks sees: agents are their phones."""
    scope, owners = await read_scope(call), await read_groups(call, "endpoints")
    return lambda extension: scope.shows(owners.get(extension))
