"""What of the PBX somebody sees and changes by their group of users; session_user is a claim of the client's and opens nothing.

Admins see all. Everybody else sees what is everybody's (`---ALL---`) and what is their own group's, and changes only that; the rest is
answered as if it were not there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from api.auth import EVERYTHING
from api.compat.goapi.actions import Call
from api.compat.goapi.objects import ADMINS, EVERYBODY
from api.compat.goapi.speech import fail
from tandem.store.user_groups import UserGroup, load_user_groups

T = TypeVar("T")


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
