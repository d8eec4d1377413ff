"""`/users`: people, for admins alone; a password is hashed once and never answered, and an admin is always left."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from api.auth import EVERYTHING, MAX_PASSWORD
from api.compat.ari.speech import (
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
    need,
    read_flag,
    read_id,
    read_text,
    tell_known_time,
    tell_time,
    zone_of,
)
from api.declare import Reply
from api.exchange import Exchange, Services
from api.v1.users import MIN_PASSWORD, UserName
from tandem.domain.fields import Email
from tandem.store.users import User, create_user, delete_user, load_user_numbered, load_users, update_user

_NAME: Final[TypeAdapter[str]] = TypeAdapter(UserName)
_EMAIL: Final[TypeAdapter[str]] = TypeAdapter(Email)
_FIELDS: Final = ("username", "email", "full_name", "role", "is_active", "api_access", "password")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """Someone who may log in."""

    id: int
    username: str
    email: str
    full_name: str
    role: str
    is_active: int
    api_access: int
    last_login: str | None
    created_at: str
    updated_at: str | None


class UserFields(BaseModel):
    """Someone who will log in."""

    username: str
    password: str
    email: str
    full_name: str = ""
    role: Literal["admin", "user"] = "user"
    api_access: Literal[0, 1] = 1


class UserChanges(BaseModel):
    """What changes; null changes nothing."""

    username: str | None = None
    password: str | None = None
    email: str | None = None
    full_name: str | None = None
    role: Literal["admin", "user"] | None = None
    is_active: Literal[0, 1] | None = None
    api_access: Literal[0, 1] | None = None


def _row(user: User, zone: ZoneInfo) -> UserRow:
    return UserRow(
        id=user.user_id,
        username=user.name,
        email=user.email,
        full_name=user.full_name,
        role=user.role,
        is_active=int(user.is_active),
        api_access=int(user.api_access),
        last_login=tell_time(user.last_login_at, zone),
        created_at=tell_known_time(user.created_at, zone),
        updated_at=tell_time(user.updated_at, zone),
    )


def _check_role(exchange: Exchange, role: str | None) -> None:
    """Nobody makes an admin, or becomes one, who is none."""
    if role == "admin" and not exchange.who.may(EVERYTHING):
        raise Denied(HTTPStatus.FORBIDDEN, "Admin access required")


def _read_username(value: Any) -> str:
    try:
        return _NAME.validate_python(value)
    except ValidationError:
        rule = "must be up to 60 letters, digits or the signs _ . @ -, beginning with a letter or digit"
        raise deny_fields([("username", rule)]) from None


def _read_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Our fields of those that are there, without the password; 400 naming field and rule."""
    found: dict[str, Any] = {}
    if given.get("username") is not None:
        found["name"] = _read_username(given["username"])
    if given.get("email") is not None:
        try:
            found["email"] = _EMAIL.validate_python(given["email"])
        except ValidationError:
            raise deny_fields([("email", "must be an e-mail address")]) from None
    if given.get("full_name") is not None:
        found["full_name"] = read_text("full_name", given["full_name"], 100)
    if given.get("role") is not None:
        if given["role"] not in ("admin", "user"):
            raise deny("Invalid role. Must be: admin or user", {"role": "must be admin or user"})
        found["role"] = given["role"]
    for name in ("is_active", "api_access"):
        if given.get(name) is not None:
            found[name] = read_flag(name, given[name])
    return found


def _read_password(value: Any) -> str:
    if not isinstance(value, str) or not MIN_PASSWORD <= len(value) <= MAX_PASSWORD:
        raise deny_fields([("password", f"must be {MIN_PASSWORD} to {MAX_PASSWORD} characters")])
    return value


async def _load(services: Services, exchange: Exchange) -> User:
    user: User | None = await services.store.read(load_user_numbered, read_id(exchange.path["id"], "User"))
    if user is None:
        raise missing("User")
    return user


async def _list(services: Services, _: Exchange) -> Reply:
    zone = zone_of(services)
    rows = tuple(_row(user, zone) for user in await services.store.read(load_users))
    return answer(rows, "Users retrieved successfully")


async def _create(services: Services, exchange: Exchange) -> Reply:
    given = exchange.body
    need(given, ("username", "password", "email"))
    wanted = {"role": "user"} | _read_fields({name: given.get(name) for name in _FIELDS if name != "is_active"})
    _check_role(exchange, wanted["role"])
    hashed = await services.logins.hash(_read_password(given["password"]))
    name, role = wanted.pop("name"), wanted.pop("role")

    def work(db: Any) -> tuple[None, Reply]:
        try:
            user = create_user(db, name, hashed, role, services.now(), **wanted)
        except KeyError:
            raise _refuse_taken() from None
        return None, answer(_row(user, zone_of(services)), "User created successfully", HTTPStatus.CREATED)

    _, reply = await exchange.write(work, f"users/{name}")
    return reply


def _refuse_taken() -> Denied:
    return deny("Username already exists", {"username": "is there already"})


async def _update(services: Services, exchange: Exchange) -> Reply:
    user, given = await _load(services, exchange), exchange.body
    if all(given.get(name) is None for name in _FIELDS):
        raise deny("No valid fields to update")
    wanted = _read_fields(given)
    # Whoever sets an admin's password can be that admin.
    _check_role(exchange, user.role)
    _check_role(exchange, wanted.get("role"))
    password = given.get("password")
    hashed = await services.logins.hash(_read_password(password)) if password is not None else None

    def work(db: Any) -> tuple[None, Reply]:
        now = load_user_numbered(db, user.user_id)
        if now is None:
            raise missing("User")
        _check_role(exchange, now.role)
        try:
            changed = update_user(db, now.name, password_hash=hashed, at=services.now(), **wanted)
        except KeyError:
            raise _refuse_taken() from None
        return None, answer(_row(changed, zone_of(services)), "User updated successfully")

    _, reply = await exchange.write(work, f"users/{user.name}")
    await services.authority.load()
    return reply


async def _delete(services: Services, exchange: Exchange) -> Reply:
    user = await _load(services, exchange)
    _check_role(exchange, user.role)

    def work(db: Any) -> tuple[None, Reply]:
        now = load_user_numbered(db, user.user_id)
        if now is None:
            raise missing("User")
        delete_user(db, now.name)
        return None, done("User deleted successfully")

    _, reply = await exchange.write(work, f"users/{user.name}")
    await services.authority.load()
    return reply


_ONE: Final = "/users/{id}"
_LOST: Final = {"raises": (HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS)}

ROUTES: Final = (
    declare(
        "GET", "/users", "users/list", "List users; for admins.", _list, "list_users", (Answer[tuple[UserRow, ...]], "UserList"),
    ),
    declare(
        "POST", "/users", "users/create", "Make a user; for admins.", _create, "create_user", (Answer[UserRow], "UserAnswer"),
        body=fields_body(UserFields), status=HTTPStatus.CREATED, raises=(HTTPStatus.TOO_MANY_REQUESTS,),
    ),
    declare(
        "PUT", _ONE, "users/update", "Change a user; for admins.", _update, "update_user", (Answer[UserRow], "UserAnswer"),
        body=fields_body(UserChanges), **_LOST,
    ),
    declare("DELETE", _ONE, "users/delete", "Delete a user, never the last admin; for admins.", _delete, "delete_user", Done, **_LOST),
)  # fmt: skip
