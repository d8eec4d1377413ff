"""Who calls goAPI: goUser with a password or a token of ours; keeps no password, only a keyed hash of those that were right a while ago.

Every request brings the password. Hashing it as slowly as a login does each time would cost 50 ms of a core per request, and the limit of
logins would lock the program out. Nor is the database asked about the same person each time (`api.recent`).
"""

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from http import HTTPStatus
from secrets import token_bytes
from typing import Any, Final

from api.auth import MAX_PASSWORD, ROLES, Principal, limit_by_group
from api.compat.goapi.speech import Said, fail_login
from api.errors import Refused
from api.exchange import Exchange, Services
from tandem.store.tokens import split_secret
from tandem.store.user_groups import UserGroup, load_user_group
from tandem.store.users import User, load_password_hash, load_user

# How long a right password is not hashed again, and of how many people that is known.
REMEMBERED_S: Final = 600.0
_MAX_REMEMBERED: Final = 1000
_MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class _Right:
    mark: bytes
    at: float


@dataclass(frozen=True, slots=True)
class _Person:
    """Somebody as the database has them. stored: the hash of their password, None for who may not log in."""

    user: User
    group: UserGroup | None
    stored: str | None = field(repr=False)


class Credentials:
    """Verifies; one for each door."""

    def __init__(self) -> None:
        self._key = token_bytes(32)
        self._right: OrderedDict[str, _Right] = OrderedDict()

    async def identify(self, services: Services, exchange: Exchange, name: str, secret: str) -> Principal:
        """Who this is. Said for a wrong name or secret (which of them is not told), 429 while there were too many wrong ones."""
        if not name or not secret or len(name) > _MAX_NAME or len(secret) > MAX_PASSWORD or "\0" in name + secret:
            raise fail_login()
        if split_secret(secret) is not None:
            return self._identify_token(services, name, secret)
        now = services.now().timestamp()
        person = await self._find(services, name)
        stored = person.stored if person is not None else None
        # BLAKE2b with a key is a MAC by itself (RFC 7693), and costs a tenth of OpenSSL's HMAC.
        mark = hashlib.blake2b(f"{name}\0{stored}\0{secret}".encode("utf-8", "surrogatepass"), key=self._key).digest()
        if stored is None or not self._is_right(name, mark, now):
            if not await self._verify(services, exchange, name, secret) or person is None:
                raise fail_login()
            self._remember(name, mark, now)
        if person is None or not person.user.api_access:
            raise fail_login()
        user, group = person.user, person.group
        who, permissions = f"user {user.name}", limit_by_group(ROLES[user.role], group)
        return Principal(who, who, permissions, user=user.name, owner_id=user.user_id, group=group)

    @staticmethod
    async def _find(services: Services, name: str) -> _Person | None:
        try:
            found: _Person = await services.read_recent(
                ("goapi person", name), _load, name, version=services.authority.generation
            )
        except _NobodyError:
            return None
        return found

    async def _verify(self, services: Services, exchange: Exchange, name: str, secret: str) -> bool:
        try:
            return await services.logins.verify(name, secret, exchange.source)
        except Refused as refused:
            if refused.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            told = {"result": "error", "message": "Too many login attempts, try again later"}
            raise Said(told, refused.status, refused.headers) from None

    def _identify_token(self, services: Services, name: str, secret: str) -> Principal:
        """A token is somebody's: goUser must be its owner. One that is nobody's stands for itself."""
        try:
            principal = services.authority.identify(b"Bearer " + secret.encode())
        except Refused as refused:
            if refused.status != HTTPStatus.UNAUTHORIZED:
                raise
            raise fail_login() from None
        owner = principal.user
        if owner is None and principal.owner_id is not None:
            owner = principal.owner or ""
        if owner is not None and not hmac.compare_digest(owner.encode(), name.encode()):
            raise fail_login()
        return principal

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


def _load(db: Any, name: str) -> _Person:
    user = load_user(db, name)
    if user is None:
        raise _NobodyError
    group = load_user_group(db, user.user_group) if user.user_group is not None else None
    return _Person(user, group, load_password_hash(db, name))
