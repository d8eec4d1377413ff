"""Whose name and password a request brings, for APIs that send them with every one; keeps no password, only a keyed hash of those that were right a while ago.

Hashing a password as slowly as a login does each time would cost 50 ms of a core per request, and the limit of logins would lock the program out.
Nor is the database asked about the same person each time (`api.recent`). A token of ours is no password here.
"""

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any, Final

from api.auth import ROLES, limit_by_group
from api.exchange import Exchange, Services
from tandem.store.user_groups import UserGroup, load_user_group
from tandem.store.users import User, load_password_hash, load_user

# How long a right password is not hashed again, and of how many people that is known.
REMEMBERED_S: Final = 600.0
_MAX_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the database has them. stored: the hash of their password, None for who may not log in."""

    user: User
    group: UserGroup | None
    stored: str | None = field(repr=False)

    @property
    def permissions(self) -> tuple[str, ...]:
        """What their role allows, and their group leaves of it."""
        return limit_by_group(ROLES[self.user.role], self.group)


@dataclass(frozen=True, slots=True)
class _Right:
    mark: bytes
    at: float


class Passwords:
    """Verifies; one for each door."""

    def __init__(self) -> None:
        self._key = token_bytes(32)
        self._right: OrderedDict[str, _Right] = OrderedDict()

    async def find(self, services: Services, exchange: Exchange, name: str, secret: str) -> Person | None:
        """Who this is; None for a wrong name or password, or who may not use the API. Refused 429 while there were too many wrong ones."""
        now = services.now().timestamp()
        person = await _find(services, name)
        stored = person.stored if person is not None else None
        # BLAKE2b with a key is a MAC by itself (RFC 7693), and costs a tenth of OpenSSL's HMAC.
        mark = hashlib.blake2b(f"{name}\0{stored}\0{secret}".encode("utf-8", "surrogatepass"), key=self._key).digest()
        if stored is None or not self._is_right(name, mark, now):
            if not await services.logins.verify(name, secret, exchange.source) or person is None:
                return None
            self._remember(name, mark, now)
        if person is None or not person.user.is_active or not person.user.api_access:
            return None
        return person

    def _is_right(self, name: str, mark: bytes, now: float) -> bool:
        """Whether it was right a while ago; the mark holds the stored hash too, so a new password ends it."""
        known = self._right.get(name)
        return known is not None and now - known.at < REMEMBERED_S and hmac.compare_digest(known.mark, mark)

    def _remember(self, name: str, mark: bytes, now: float) -> None:
        self._right.pop(name, None)
        self._right[name] = _Right(mark, now)
        if len(self._right) > _MAX_REMEMBERED:
            self._right.popitem(last=False)


class _NobodyError(Exception):
    """Nobody has this name: nothing to remember, for they may be made the next moment."""


async def _find(services: Services, name: str) -> Person | None:
    try:
        found: Person = await services.read_recent(("person", name), _load, name, version=services.authority.generation)
    except _NobodyError:
        return None
    return found


def _load(db: Any, name: str) -> Person:
    user = load_user(db, name)
    if user is None:
        raise _NobodyError
    group = load_user_group(db, user.user_group) if user.user_group is not None else None
    return Person(user, group, load_password_hash(db, name))
