"""Who asks, and whether they may: tokens, passwords and their limits; never keeps a secret and never waits for SQL on a request.

Tokens are verified from memory: the reactor must be able to refuse a request before it reads a body. Only this process changes
them (it holds the database's lock), and whatever does so calls `load`.
"""

import hmac
import logging
import pwd
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any, Final, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThread

from api.errors import Refused, TokenMissing
from tandem.domain.fields import Permission
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.tokens import Token, TokenKey, load_token_keys, record_token_uses, split_secret
from tandem.store.user_groups import UserGroup
from tandem.store.users import Role, User, load_lock, load_password_hash, record_failure, record_login

log = logging.getLogger(__name__)

EVERYTHING: Final = "*"
# What a role may do. People with the role user see what there is, place calls and run campaigns; secrets are shown to nobody.
ROLES: Final[dict[Role, tuple[str, ...]]] = {
    "admin": (EVERYTHING,),
    "user": (
        "session/update",
        "session/delete",
        "calls/read",
        "calls/create",
        "calls/delete",
        "calls/transfer",
        "decisions/read",
        "calls/national",
        "cdrs/read",
        *(f"campaigns/{action}" for action in ("read", "start", "stop", "pause", "resume")),
        "campaigns/dial",
        "numbers/read",
        "numbers/status",
        "lists/read",
        "attempts/read",
        "dnc/read",
        "customers/read",
        "agents/read",
        "features/read",
        "night_modes/read",
        "monitoring/read",
        "events/read",
        "routes/explain",
        *(
            f"{group}/read"
            for group in (
                "dids",
                "queues",
                "penalty_rules",
                "music_classes",
                "menus",
                "schedules",
                "announcements",
                "ring_groups",
                "conferences",
                "page_groups",
                "endpoints",
            )
        ),
        # In the words of the ARI Dialer's API, where everybody runs campaigns and only users are for admins. Changing menus is left out:
        # that changes the PBX.
        *(f"campaigns/{action}" for action in ("list", "view", "stats", "create", "update", "delete")),
        *(f"numbers/{action}" for action in ("list", "view", "add", "bulk_add", "delete")),
        *(f"cdr/{action}" for action in ("list", "view", "stats")),
        *(f"monitoring/{action}" for action in ("status", "channels", "realtime")),
        *(f"tokens/{action}" for action in ("list", "create", "revoke")),
        "ivr/list",
        "ivr/view",
    ),
}

_CHALLENGE: Final = (("www-authenticate", 'Bearer realm="tandem"'),)
LOGINS_PER_MINUTE: Final = 10
MAX_SOURCES: Final = 10_000
# Each takes 64 MiB and a core for 50 ms.
PARALLEL_HASHES: Final = 2
MAX_WAITING_LOGINS: Final = 20
MAX_PASSWORD: Final = 256


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. name: for audit; scope: whose idempotency keys these are; user: who is logged in; token_id: None on the socket.

    expires_at: of the token; owner_id, owner: whose it is, None for a login and for a token of nobody's; group: of users, which limits them.
    """

    name: str
    scope: str
    permissions: tuple[str, ...]
    token_id: int | None = None
    user: str | None = None
    expires_at: datetime | None = None
    owner_id: int | None = None
    group: UserGroup | None = None
    owner: str | None = None

    @property
    def campaigns(self) -> tuple[int, ...] | None:
        """The only campaigns that they see; None for all."""
        return self.group.campaigns if self.group is not None else None

    def sees_campaign(self, campaign_id: int | None) -> bool:
        """Whether their group leaves them this campaign; None is one that is gone."""
        return self.campaigns is None or campaign_id in self.campaigns

    def may(self, permission: str) -> bool:
        """Whether one of the permissions covers this one, which may itself be `group/*` or `*`."""
        return covers(self.permissions, permission)

    @property
    def reach(self) -> tuple[Permission, ...]:
        """How far they may call."""
        return tuple(one for one in get_args(Permission) if self.may(f"calls/{one}"))


SOCKET: Final = Principal("control socket", "socket", (EVERYTHING,))
# pid, uid and gid of unix(7)'s SO_PEERCRED.
_PEER: Final = struct.Struct("3i")


def identify_peer(transport: Any) -> Principal:
    """Who connected to the control socket: they may everything, and history and audit name them (`control socket (root)`).

    transport: Twisted's, of a unix socket; who is behind one without a socket, or whose peer is gone, is not told.
    """
    try:
        peer = transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        _, uid, _ = _PEER.unpack(peer)
    except (AttributeError, OSError, struct.error):
        return SOCKET
    return replace(SOCKET, name=f"{SOCKET.name} ({_name_user(uid)})")


@cache
def _name_user(uid: int) -> str:
    """Looked up once: who asks for users elsewhere than in a file would have every call wait for the answer."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def limit_permissions(held: Iterable[str], most: Iterable[str]) -> tuple[str, ...]:
    """What both allow: a token never gives more than its owner may do by now."""
    held, most = tuple(held), tuple(most)
    return (
        *(one for one in held if covers(most, one)),
        *(one for one in most if covers(held, one) and one not in held),
    )


def covers(held: Iterable[str], wanted: str) -> bool:
    """Whether what is held includes what is wanted."""
    group = wanted.partition("/")[0]
    return any(one in (EVERYTHING, wanted, f"{group}/*") for one in held)


class Authority:
    """Knows the tokens, and notes their use now and then."""

    def __init__(self, store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._now = now
        self._keys: dict[int, TokenKey] | None = None
        self._ids: dict[bytes, int] = {}
        self._uses: dict[int, datetime] = {}
        # Another one after every change of tokens, users or groups.
        self.generation = 0
        # Told when tokens may have gone: what was opened with one ends with it.
        self.watch: Callable[[], object] = lambda: None

    async def load(self) -> None:
        """Reads the tokens; StoreError leaves those known before. After every change of tokens, users or groups."""
        self.generation += 1
        keys = await self._store.read(load_token_keys)
        self._ids = {key.digest: key.token.id for key in keys}
        self._keys = {key.token.id: key for key in keys}
        self.watch()

    async def flush(self) -> None:
        """Notes the uses since the last time, and tries again to read tokens that could not be read."""
        try:
            if self._keys is None:
                await self.load()
            uses, self._uses = self._uses, {}
            if uses:
                await self._store.run(record_token_uses, uses, self._now())
        except StoreError as error:
            log.warning("tokens: %s", error)

    def find_speech(self, authorization: bytes | None) -> str | None:
        """The dialect that a token was made for, "" for none in particular; None for what is no valid token."""
        try:
            return self._find_key(authorization).token.dialect
        except Refused:
            return None

    def identify(self, authorization: bytes | None) -> Principal:
        """Whose token the header `Authorization` has. Refused 401 for none or a wrong one, 503 while they could not be read."""
        key = self._find_key(authorization)
        token = key.token
        self._uses[token.id] = self._now()
        name = f"user {token.user}" if token.user is not None else f"token {token.id} ({token.name})"
        return Principal(
            name,
            f"token {token.id}",
            _hold(key),
            token.id,
            token.user,
            token.expires_at,
            token.owner_id,
            key.group,
            key.owner,
        )

    def _find_key(self, authorization: bytes | None) -> TokenKey:
        if authorization is None:
            raise TokenMissing(
                HTTPStatus.UNAUTHORIZED, "a token is needed: `Authorization: Bearer tandem_…`", headers=_CHALLENGE
            )
        scheme, _, secret = authorization.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or (found := split_secret(secret.strip())) is None:
            raise refuse_unknown("the header Authorization holds no token of ours")
        if self._keys is None:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the database cannot be read, so no token can be verified")
        # Finding a hash tells nothing by its time: nobody can choose the hash of what they guess.
        token_id, digest = (found[0] or self._ids.get(found[1], 0)), found[1]
        key = self._keys.get(token_id)
        # An unknown id takes the same way, so that time does not tell which ids there are.
        matches = hmac.compare_digest(digest, key.digest if key is not None else bytes(32))
        if key is None or not matches or self._is_over(key.token):
            raise refuse_unknown("this token is unknown, deleted or expired")
        return key

    def find_last_use(self, token: Token) -> datetime | None:
        """When a token was used last, also if that is not in the database yet."""
        return self._uses.get(token.id, token.last_used_at)

    def may_still(self, principal: Principal, permission: str) -> bool:
        """Whether someone who was admitted would be now: the token is there, has not expired and covers the permission."""
        if principal.token_id is None:
            return True
        key = (self._keys or {}).get(principal.token_id)
        return key is not None and not self._is_over(key.token) and covers(_hold(key), permission)

    def _is_over(self, token: Token) -> bool:
        return token.expires_at is not None and token.expires_at <= self._now()


def _hold(key: TokenKey) -> tuple[str, ...]:
    """What a token allows by now: never more than its owner may."""
    held = key.token.permissions
    return limit_by_group(held if key.role is None else limit_permissions(held, ROLES[key.role]), key.group)


def limit_by_group(held: tuple[str, ...], group: UserGroup | None) -> tuple[str, ...]:
    """What is left of permissions for somebody in a group; their own login they always keep."""
    if group is None or group.permissions is None:
        return held
    return limit_permissions(held, (*group.permissions, "session/update", "session/delete"))


def refuse_unknown(message: str) -> Refused:
    """401, with what would help."""
    return Refused(HTTPStatus.UNAUTHORIZED, message, headers=_CHALLENGE)


def refuse_busy(message: str, retry_s: int) -> Refused:
    """429, with when to come back."""
    return Refused(HTTPStatus.TOO_MANY_REQUESTS, message, headers=(("retry-after", str(max(1, retry_s))),))


class Logins:
    """Passwords: hashed in threads, few at a time, limited by address and by name."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._store = store
        self._now = now
        self._hasher = hasher or PasswordHasher()
        # What a name that nobody has is verified against, so that it takes as long.
        self._nobody = self._hasher.hash("nobody has this password")
        self._hashing = DeferredSemaphore(PARALLEL_HASHES)
        self._sources: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def hash(self, password: str) -> str:
        """The argon2id hash of a new password."""
        hashed: str = await self._in_thread(self._hasher.hash, password)
        return hashed

    async def log_in(self, name: str, password: str, source: str) -> User:
        """Who has this name and password. Refused 401 (which of the two was wrong is not told), 429 while locked or too fast."""
        if await self.verify(name, password, source):
            user = await self._store.run(record_login, name, self._now())
            if user is not None:
                return user
        raise refuse_unknown("name or password is wrong")

    async def verify(self, name: str, password: str, source: str) -> bool:
        """Whether this is the password of that name; a wrong one counts towards its lock. Refused 429 while locked or too fast."""
        self._limit(source)
        now = self._now()
        locked_until = await self._store.read(load_lock, name, now)
        if locked_until is not None:
            raise refuse_busy("too many wrong passwords for this name", int((locked_until - now).total_seconds()))
        hashed = await self._store.read(load_password_hash, name)
        matches = await self._in_thread(self._verify, hashed or self._nobody, password)
        if hashed is not None and matches:
            return True
        await self._store.run(record_failure, name, self._now())
        log.warning("wrong name or password from %s", source)
        return False

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def _limit(self, source: str) -> None:
        """A bucket of LOGINS_PER_MINUTE for each address."""
        now = self._now().timestamp()
        left, at = self._sources.pop(source, (float(LOGINS_PER_MINUTE), now))
        left = min(float(LOGINS_PER_MINUTE), left + (now - at) * LOGINS_PER_MINUTE / 60)
        self._sources[source] = (max(0.0, left - 1), now)
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        if left < 1:
            raise refuse_busy("too many logins from this address", 60 // LOGINS_PER_MINUTE)

    async def _in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        if len(self._hashing.waiting) >= MAX_WAITING_LOGINS:
            raise refuse_busy("too many logins at once", 5)
        running: Deferred[Any] = self._hashing.run(deferToThread, work, *args)
        return await running
