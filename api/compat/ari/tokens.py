"""`/tokens` and the index: a token is shown once, kept as a hash, and never gives more than whoever makes it has."""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel
from pydantic.dataclasses import dataclass

from api.auth import EVERYTHING, Principal, covers
from api.compat.ari.speech import (
    TIME,
    Answer,
    Denied,
    Done,
    answer,
    declare,
    deny,
    deny_fields,
    done,
    fields_body,
    missing,
    read_id,
    read_text,
    tell_known_time,
    tell_time,
    zone_of,
)
from api.declare import Reply
from api.errors import TokenMissing
from api.exchange import Exchange, Services
from tandem.store.tokens import Token, create_token, load_token, load_tokens, revoke_token
from tandem.store.users import load_user, load_user_numbered

_WARNING: Final = "Save this token securely. It will not be shown again."
_MAX_PERMISSIONS: Final = 100
_MAX_NAME: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token without its secret. permissions: JSON as a text."""

    id: int
    user_id: int | None
    token: str
    name: str
    permissions: str
    is_active: int
    last_used: str | None
    expires_at: str | None
    created_at: str
    updated_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMade:
    """A token just made; the id is more than the original tells, and the token is null when the answer is a repeated one."""

    id: int
    token: str | None
    name: str
    message: str


class TokenFields(BaseModel):
    """A token to make; all of it may be left out. expires_at: YYYY-MM-DD HH:MM:SS in the time zone of the PBX."""

    name: str = "API Token"
    permissions: list[str] | None = None
    expires_at: str | None = None


@dataclass(frozen=True, slots=True)
class IndexUser:
    """Who asks; id 0 is nobody who could log in."""

    id: int
    username: str
    role: str


@dataclass(frozen=True, slots=True)
class Index:
    """What there is."""

    name: str
    version: str
    user: IndexUser
    endpoints: dict[str, str]


def _row(token: Token, used_at: datetime | None, zone: ZoneInfo) -> TokenRow:
    first, last = (token.hint[:8], token.hint[8:]) if token.hint else (f"tandem_{token.id}", "")
    return TokenRow(
        id=token.id,
        user_id=token.owner_id,
        token=f"{first}...{last}",
        name=token.name,
        permissions=json.dumps(token.permissions),
        is_active=int(token.is_active),
        last_used=tell_time(used_at, zone),
        expires_at=tell_time(token.expires_at, zone),
        created_at=tell_known_time(token.created_at, zone),
        updated_at=tell_time(token.updated_at, zone),
    )


def _own(db: Any, who: Principal) -> int | None:
    """Whose tokens are one's own: the owner of the token that asks, or who is logged in; None for whoever has no name."""
    if who.user is not None:
        user = load_user(db, who.user)
        return user.user_id if user is not None else None
    return who.owner_id


async def _list(services: Services, exchange: Exchange) -> Reply:
    def read(db: Any) -> list[Token]:
        own = _own(db, exchange.who)
        return [token for token in load_tokens(db) if token.user is None and token.owner_id == own]

    zone = zone_of(services)
    found = reversed(await services.store.read(read))
    rows = tuple(_row(token, services.authority.find_last_use(token), zone) for token in found)
    return answer(rows, "API tokens retrieved successfully")


def _read_permissions(given: Mapping[str, Any], who: Principal, known: Collection[str]) -> tuple[str, ...]:
    """What the new token may do, of what is `known`; nothing, and an empty list, mean all that its maker may."""
    wanted = given.get("permissions")
    if wanted is None or wanted == []:
        return who.permissions
    if not isinstance(wanted, list) or len(wanted) > _MAX_PERMISSIONS or not all(isinstance(it, str) for it in wanted):
        raise deny_fields([("permissions", f"must be a list of up to {_MAX_PERMISSIONS} names such as campaigns/*")])
    for permission in wanted:
        if not any(covers((permission,), one) for one in known):
            raise deny_fields([("permissions", f"{permission[:80]!r} covers nothing that there is")])
        if not covers(who.permissions, permission):
            raise Denied(HTTPStatus.FORBIDDEN, f"{permission[:80]} is more than you have yourself")
    reach = tuple(f"calls/{one}" for one in who.reach)
    # Whoever starts a campaign must be allowed to call outside, which this API has no name for.
    return (*wanted, *(one for one in reach if covers(wanted, "campaigns/start") and not covers(wanted, one)))


def _read_expiry(value: Any, zone: ZoneInfo, now: datetime) -> datetime | None:
    if value is None or value == "":
        return None
    found: datetime | None = None
    for pattern in (TIME, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"):
        try:
            found = datetime.strptime(str(value), pattern).replace(tzinfo=zone).astimezone(UTC)
            break
        except (ValueError, OverflowError):
            continue
    if found is None:
        raise deny("Invalid expires_at. Use YYYY-MM-DD HH:MM:SS", {"expires_at": "must be a time"})
    if found <= now:
        raise deny_fields([("expires_at", "must be in the future")])
    return found


async def _create(services: Services, exchange: Exchange) -> Reply:
    given, who, now = exchange.body, exchange.who, services.now()
    name = read_text("name", given.get("name") or "API Token", _MAX_NAME)
    permissions = _read_permissions(given, who, services.permissions)
    expires_at = _read_expiry(given.get("expires_at"), zone_of(services), now)

    def work(db: Any) -> tuple[None, Reply]:
        try:
            made = create_token(
                db, name=name, permissions=permissions, at=now, expires_at=expires_at, owner_id=_own(db, who)
            )
        except ValueError as error:
            field, _, rule = str(error).partition(": ")
            raise deny_fields([(field, rule)]) from None
        shown, kept = (
            answer(
                TokenMade(id=made.token.id, token=digits, name=name, message=_WARNING),
                "API token created successfully",
                HTTPStatus.CREATED,
            )
            for digits in (made.digits, None)
        )
        return None, Reply(shown.value, shown.status, kept=kept.value)

    _, reply = await exchange.write(work, f"tokens ({name})")
    await services.authority.load()
    return reply


async def _revoke(services: Services, exchange: Exchange) -> Reply:
    token_id, who = read_id(exchange.path["id"], "Token"), exchange.who

    def work(db: Any) -> tuple[None, Reply]:
        token = load_token(db, token_id)
        if token is None or token.user is not None:
            raise missing("Token")
        if token.owner_id != _own(db, who) and not who.may(EVERYTHING):
            raise Denied(HTTPStatus.FORBIDDEN, "You do not have permission to revoke this token")
        revoke_token(db, token_id, services.now())
        return None, done("API token revoked successfully")

    _, reply = await exchange.write(work, f"tokens/{token_id}")
    await services.authority.load()
    return reply


async def _index(services: Services, exchange: Exchange) -> Reply:
    who = exchange.principal
    if who is None:
        raise TokenMissing(HTTPStatus.UNAUTHORIZED, "a token is needed")

    def read(db: Any) -> Any:
        own = _own(db, who)
        return load_user_numbered(db, own) if own is not None else None

    user = await services.store.read(read)
    role = user.role if user is not None else ("admin" if who.may(EVERYTHING) else "user")
    told = IndexUser(user.user_id if user is not None else 0, user.name if user is not None else who.name, role)
    groups = ("campaigns", "numbers", "cdr", "monitoring", "ivr", "users", "tokens")
    return answer(Index("ARI Dialer API", "1.0", told, {group: f"/api/{group}" for group in groups}), "ARI Dialer API")


_ONE: Final = "/tokens/{id}"

ROUTES: Final = (
    declare("GET", "", None, "What there is, for whoever has a token.", _index, "read_index", (Answer[Index], "IndexAnswer")),
    declare(
        "GET", "/tokens", "tokens/list", "List one's own tokens, newest first.", _list, "list_tokens",
        (Answer[tuple[TokenRow, ...]], "TokenList"),
    ),
    declare(
        "POST", "/tokens", "tokens/create", "Make a token; it is shown only now.", _create, "create_token",
        (Answer[TokenMade], "TokenMadeAnswer"), body=fields_body(TokenFields), status=HTTPStatus.CREATED,
    ),
    declare(
        "DELETE", _ONE, "tokens/revoke", "Revoke a token; its row is kept.", _revoke, "revoke_token", Done,
        raises=(HTTPStatus.NOT_FOUND,),
    ),
)  # fmt: skip
