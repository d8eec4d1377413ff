"""Members of a queue in While1's words: users, numbers outside (`remote`), and whom callers come to when no member answers (`fallback`); saves nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from api.compat.while1.people import find_user
from api.compat.while1.speech import Denied, read_flag, read_text
from tandem.domain.destinations import Destination, EndpointDestination, ExternalDestination
from tandem.domain.entities import Endpoint, OutsideMember, Queue, QueueMember
from tandem.domain.snapshot import Snapshot

_TYPES: Final = ("sip", "remote", "fallback")


@dataclass(frozen=True, slots=True)
class Members:
    """Who answers a queue's calls. fallback: None leaves the queue's own, which every queue has."""

    users: tuple[QueueMember, ...]
    outside: tuple[OutsideMember, ...]
    fallback: Destination | None

    def put_into(self, queue: Queue) -> Queue:
        """The queue with these members."""
        fallback = queue.fallback if self.fallback is None else self.fallback
        return replace(queue, members=self.users, outside_members=self.outside, fallback=fallback)


def show_members(queue: Queue, endpoints: Mapping[str, Endpoint]) -> dict[str, Any]:
    """By user or number, in their order."""
    rows = [(member.endpoint, "sip", endpoints[member.endpoint].name, member.penalty) for member in queue.members]
    rows += [(member.number, "remote", member.number, member.penalty) for member in queue.outside_members]
    match queue.fallback:
        case EndpointDestination(endpoint=extension) if extension not in {row[0] for row in rows}:
            rows.append((extension, "fallback", endpoints[extension].name if extension in endpoints else "", 0))
        case ExternalDestination(external=number, trunk=None) if number not in {row[0] for row in rows}:
            rows.append((number, "fallback", number, 0))
    return {
        who: {"type": kind, "name": name, "penalty": penalty, "order": place, "is_active": 1}
        for place, (who, kind, name, penalty) in enumerate(rows, 1)
    }


def read_members(snapshot: Snapshot, queue: str, given: Mapping[str, Any]) -> Members:
    """What a client wants them to be; Denied naming member and field."""
    users, outside, fallbacks = [], [], []
    for place, (who, row) in enumerate(given.items(), 1):
        shown = who if who.isprintable() and len(who) <= 40 else "?"
        at = f"{queue}.members.{shown}"
        if not isinstance(row, dict):
            raise Denied(f"{at}: must be a map of settings")
        named = {f"{at}.{name}": value for name, value in row.items()}
        kind = read_text(named, f"{at}.type", 20, default="sip")
        if kind not in _TYPES:
            raise Denied(f"{at}.type: must be sip, remote or fallback")
        if named.get(f"{at}.is_active") in (None, ""):
            raise Denied(f"{at}.is_active: is missing")
        penalty, order = _read_number(named, f"{at}.penalty", 0), _read_number(named, f"{at}.order", place)
        endpoint = None if kind == "remote" else find_user(snapshot, who)
        if endpoint is None and (kind == "sip" or not _is_number(who)):
            raise Denied(f"{at}: must be {'a number outside' if kind == 'remote' else 'a user of this PBX'}")
        if not read_flag(named, f"{at}.is_active", default=True):
            continue
        if kind == "fallback":
            fallbacks.append(_lead_to(endpoint, who))
        elif endpoint is not None:
            users.append((order, QueueMember(endpoint=endpoint.extension, penalty=penalty)))
        else:
            outside.append((order, OutsideMember(number=who, penalty=penalty)))
    if len(fallbacks) > 1:
        raise Denied(f"{queue}.members: only one of them can be the fallback")
    return Members(
        tuple(member for _, member in sorted(users, key=lambda row: row[0])),
        tuple(member for _, member in sorted(outside, key=lambda row: row[0])),
        fallbacks[0] if fallbacks else None,
    )


def _lead_to(endpoint: Endpoint | None, number: str) -> Destination:
    return (
        ExternalDestination(external=number) if endpoint is None else EndpointDestination(endpoint=endpoint.extension)
    )


def _is_number(text: str) -> bool:
    digits = text.removeprefix("+")
    return digits.isascii() and digits.isdecimal() and 2 <= len(digits) <= 24


def _read_number(given: Mapping[str, Any], name: str, default: int) -> int:
    text = read_text(given, name, 3, default=str(default))
    if not (text.isascii() and text.isdecimal()):
        raise Denied(f"{name}: must be a whole number from 0 to 999")
    return int(text)
