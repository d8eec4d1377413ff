"""API tokens: made once, shown once, kept as a hash; never logs or returns one again. Every function is work for a Store.

A token is `tandem_<id>_<64 hex digits>`: the id finds the row, the 256 random bits are compared in constant time. So many bits need
no salt and no slow hash: there is nothing to guess. The 64 digits alone are the same token, for clients that expect just these.
"""

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import peewee

from tandem.store.tables import TokenRow, UserRow
from tandem.store.user_groups import UserGroup, load_user_groups
from tandem.store.users import Role

_TOKEN: Final = re.compile(r"tandem_([1-9][0-9]{0,17})_([0-9a-f]{64})")
_DIGITS: Final = re.compile("[0-9a-f]{64}")
_PERMISSION: Final = re.compile(r"\*|[a-z_]{1,40}/(\*|[a-z_]{1,40})")
_USE_NOTED_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token. permissions: `calls/create`, `dids/*`, `*`. user: whose login made it, None for one made by hand.

    dialect: the API that it speaks where two have the same path, '' for none in particular.
    owner_id: whose it is, None for nobody's; hint: the first and last 8 of its 64 digits, '' for an old one; updated_at: when it was revoked.
    """

    id: int
    name: str
    permissions: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    user: str | None = None
    owner_id: int | None = None
    hint: str = ""
    is_active: bool = True
    updated_at: datetime | None = None
    dialect: str = ""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A token and the hash that proves it, for whoever must verify without SQL. role: the owner's, None without one; group: the owner's, or theirs who logged in; owner: their name, None for nobody's."""

    token: Token
    digest: bytes
    role: Role | None = None
    group: UserGroup | None = None
    owner: str | None = None

    def __repr__(self) -> str:
        return f"TokenKey({self.token!r}, digest=…)"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made; `secret` is to be shown now and cannot be had again; `digits` is its short form."""

    token: Token
    secret: str

    @property
    def digits(self) -> str:
        """The 64 digits alone, which are the same token."""
        return self.secret.rpartition("_")[2]

    def __repr__(self) -> str:
        return f"NewToken({self.token!r}, secret=…)"


def create_token(
    db: peewee.Database,
    *,
    name: str,
    permissions: tuple[str, ...],
    at: datetime,
    expires_at: datetime | None = None,
    user: str | None = None,
    owner_id: int | None = None,
    dialect: str = "",
) -> NewToken:
    """A new token; ValueError naming the field for a bad name, an unknown form of permission, none at all, or an end in the past."""
    if not 0 < len(name) <= 80 or not name.isprintable():
        raise ValueError("name: must be 1 to 80 printable characters")
    if not permissions:
        raise ValueError("permissions: must not be empty; `*` allows everything")
    for permission in permissions:
        if not _PERMISSION.fullmatch(permission):
            raise ValueError(f"permissions: {permission!r} must be group/action, group/* or *")
    if expires_at is not None and expires_at <= at:
        raise ValueError("expires_at: must be in the future")
    random = secrets.token_hex(32)
    hint = random[:8] + random[-8:]
    row_id = TokenRow.insert(
        name=name,
        digest=_digest(random),
        permissions=json.dumps(permissions),
        created_at=at,
        expires_at=expires_at,
        user=user,
        owner_id=owner_id,
        hint=hint,
        is_active=1,
        dialect=dialect,
    ).execute(db)
    token = Token(row_id, name, permissions, at, None, expires_at, user, owner_id, hint, dialect=dialect)
    return NewToken(token, f"tandem_{row_id}_{random}")


def verify_token(db: peewee.Database, secret: str, at: datetime) -> Token | None:
    """The token that `secret` is, or None: malformed, unknown, deleted or expired. Notes the use, once a minute at most."""
    match = _TOKEN.fullmatch(secret)
    if match is None:
        return None
    row = TokenRow.select().where((TokenRow.id == int(match[1])) & (TokenRow.is_active == 1)).tuples().first(db)
    # An unknown id takes the same way, so that time does not tell which ids there are.
    matches = hmac.compare_digest(_digest(match[2]), bytes(row[2]) if row is not None else bytes(32))
    if row is None or not matches:
        return None
    token = _read_token(row)
    if token.expires_at is not None and token.expires_at <= at:
        return None
    if token.last_used_at is None or at - token.last_used_at >= _USE_NOTED_EVERY:
        TokenRow.update(last_used_at=at).where(TokenRow.id == token.id).execute(db)
    return token


def load_tokens(db: peewee.Database) -> list[Token]:
    """All tokens, oldest first."""
    return [_read_token(row) for row in TokenRow.select().order_by(TokenRow.id).tuples().execute(db)]


def load_token_keys(db: peewee.Database) -> list[TokenKey]:
    """Every token that is taken, with its hash: neither revoked, nor of somebody who may not use one."""
    roles = {
        row[0]: row[1]
        for row in UserRow.select(UserRow.user_id, UserRow.role)
        .where((UserRow.is_active == 1) & (UserRow.api_access == 1))
        .tuples()
        .execute(db)
    }
    groups = {group.name: group for group in load_user_groups(db)}
    people = list(UserRow.select(UserRow.user_id, UserRow.name, UserRow.user_group).tuples().execute(db))
    owners = {row[0]: row[1] for row in people}
    members = {key: groups[row[2]] for row in people if row[2] is not None for key in row[:2]}
    keys = []
    for row in TokenRow.select().where(TokenRow.is_active == 1).tuples().execute(db):
        token = _read_token(row)
        if token.owner_id is None or token.owner_id in roles:
            group = members.get(token.user) or members.get(token.owner_id)
            keys.append(TokenKey(token, bytes(row[2]), roles.get(token.owner_id), group, owners.get(token.owner_id)))
    return keys


def split_secret(secret: str) -> tuple[int | None, bytes] | None:
    """(id, hash) of something that looks like a token; the id is None for the 64 digits alone. None for anything else."""
    if _DIGITS.fullmatch(secret):
        return None, _digest(secret)
    match = _TOKEN.fullmatch(secret)
    return None if match is None else (int(match[1]), _digest(match[2]))


def record_token_uses(db: peewee.Database, uses: dict[int, datetime], now: datetime) -> None:
    """Notes when tokens were used last; logins that ended are taken away."""
    for token_id, at in uses.items():
        TokenRow.update(last_used_at=at).where(TokenRow.id == token_id).execute(db)
    TokenRow.delete().where(TokenRow.user.is_null(False), TokenRow.expires_at < now).execute(db)


def delete_token(db: peewee.Database, token_id: int) -> bool:
    """Takes a token away at once; whether there was one."""
    return bool(TokenRow.delete().where(TokenRow.id == token_id).execute(db))


def load_token(db: peewee.Database, token_id: int) -> Token | None:
    """One."""
    row = TokenRow.select().where(TokenRow.id == token_id).tuples().first(db)
    return None if row is None else _read_token(row)


def revoke_token(db: peewee.Database, token_id: int, at: datetime) -> None:
    """Ends a token and keeps its row; once more changes nothing."""
    TokenRow.update(is_active=0, updated_at=at).where((TokenRow.id == token_id) & (TokenRow.is_active == 1)).execute(db)


def _digest(random: str) -> bytes:
    return hashlib.sha256(bytes.fromhex(random)).digest()


def _read_token(row: tuple[Any, ...]) -> Token:
    row_id, name, _, permissions, *dates_and_owner, is_active, updated_at, dialect = row
    made_at, used_at, ends_at, user, owner_id, hint = dates_and_owner
    held = tuple(json.loads(permissions))
    return Token(
        row_id, name, held, made_at, used_at, ends_at, user, owner_id, hint, bool(is_active), updated_at, dialect
    )
