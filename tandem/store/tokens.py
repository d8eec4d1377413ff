"""API tokens: made once, shown once, kept as a hash; never logs or returns one again. Every function is work for a Store.

A token is `tandem_<id>_<64 hex digits>`: the id finds the row, the 256 random bits are compared in constant time. So many bits need
no salt and no slow hash: there is nothing to guess.
"""

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import peewee

from tandem.store.tables import TokenRow

_TOKEN: Final = re.compile(r"tandem_([1-9][0-9]{0,17})_([0-9a-f]{64})")
_PERMISSION: Final = re.compile(r"\*|[a-z_]{1,40}/(\*|[a-z_]{1,40})")
_USE_NOTED_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token. permissions: `calls/create`, `dids/*`, `*`. user: whose login made it, None for one made by hand."""

    id: int
    name: str
    permissions: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A token and the hash that proves it, for whoever must verify without SQL."""

    token: Token
    digest: bytes

    def __repr__(self) -> str:
        return f"TokenKey({self.token!r}, digest=…)"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made; `secret` is to be shown now and cannot be had again."""

    token: Token
    secret: str

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
    row_id = TokenRow.insert(
        name=name,
        digest=_digest(random),
        permissions=json.dumps(permissions),
        created_at=at,
        expires_at=expires_at,
        user=user,
    ).execute(db)
    return NewToken(Token(row_id, name, permissions, at, None, expires_at, user), f"tandem_{row_id}_{random}")


def verify_token(db: peewee.Database, secret: str, at: datetime) -> Token | None:
    """The token that `secret` is, or None: malformed, unknown, deleted or expired. Notes the use, once a minute at most."""
    match = _TOKEN.fullmatch(secret)
    if match is None:
        return None
    row = TokenRow.select().where(TokenRow.id == int(match[1])).tuples().first(db)
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
    """All tokens with their hashes."""
    return [TokenKey(_read_token(row), bytes(row[2])) for row in TokenRow.select().tuples().execute(db)]


def split_secret(secret: str) -> tuple[int, bytes] | None:
    """(id, hash) of something that looks like a token; None for anything else."""
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


def _digest(random: str) -> bytes:
    return hashlib.sha256(bytes.fromhex(random)).digest()


def _read_token(row: tuple[int, str, bytes, str, datetime, datetime | None, datetime | None, str | None]) -> Token:
    row_id, name, _, permissions, created_at, last_used_at, expires_at, user = row
    return Token(row_id, name, tuple(json.loads(permissions)), created_at, last_used_at, expires_at, user)
