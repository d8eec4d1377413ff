"""People and their logins: a login answers a token of 12 hours with the permissions of the role; never answers or logs a password."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from pydantic import StringConstraints

from api.auth import EVERYTHING, MAX_PASSWORD, ROLES
from api.declare import PREFIX, Frozen, Page, Reply, Route, Shown, model_body
from api.errors import Refused, refuse_fields
from api.exchange import Exchange, Services
from api.listing import list_query, make_page
from api.v1.tokens import TokenMade
from api.v1.user_groups import GroupName
from tandem.domain.fields import matches
from tandem.store.tokens import create_token, delete_token
from tandem.store.user_groups import UserGroupMissing
from tandem.store.users import User, create_user, delete_user, load_user, load_users, update_user

_PATH: Final = f"{PREFIX}/users"
_ONE: Final = f"{_PATH}/{{name}}"
_SESSION: Final = f"{PREFIX}/session"
SESSION: Final = timedelta(hours=12)
_FAILURES: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)

UserName = Annotated[
    str,
    matches(
        "[A-Za-z0-9][A-Za-z0-9_.@-]{0,59}",
        "must be 1 to 60 letters, digits or the signs _ . @ - and begin with no sign",
    ),
]
# Long ones cost nothing; what people choose below twelve characters is guessed.
MIN_PASSWORD: Final = 12
NewPassword = Annotated[str, StringConstraints(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)]
_Extension = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,40}$")]
RoleName = Literal["admin", "user"]


class NewUser(Frozen):
    """Someone who will log in."""

    name: UserName
    password: NewPassword
    role: RoleName = "user"
    user_group: GroupName | None = None
    extension: _Extension | None = None


class UserChange(Frozen):
    """What changes; all logins of the user end."""

    password: NewPassword | None = None
    role: RoleName | None = None
    user_group: GroupName | None = None
    extension: _Extension | None = None


class PasswordChange(Frozen):
    """One's own password, before and after."""

    old_password: Annotated[str, StringConstraints(min_length=1, max_length=MAX_PASSWORD)]
    new_password: NewPassword


class Login(Frozen):
    """Who wants to log in."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=MAX_PASSWORD)]


def _missing(name: str) -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, f"there is no user {name[:60]!r}")


def _check_reach(exchange: Exchange, role: str | None, group: str | None) -> None:
    """Nobody makes or becomes an admin who is none; whom a group limits makes and changes its people alone, and no admins."""
    limits = exchange.who.group
    if role == "admin" and (limits is not None or not exchange.who.may(EVERYTHING)):
        raise Refused(HTTPStatus.FORBIDDEN, "an admin may do more than you")
    if limits is not None and group != limits.name:
        raise Refused(HTTPStatus.FORBIDDEN, f"you make and change users of the group {limits.name} alone")


async def _list(services: Services, exchange: Exchange) -> Reply:
    return Reply(make_page(await services.store.read(load_users), exchange.query, "name"))


async def _get(services: Services, exchange: Exchange) -> Reply:
    user = await services.store.read(load_user, exchange.path["name"])
    if user is None:
        raise _missing(exchange.path["name"])
    return Reply(user)


async def _create(services: Services, exchange: Exchange) -> Reply:
    wanted: NewUser = exchange.body
    _check_reach(exchange, wanted.role, wanted.user_group)
    hashed = await services.logins.hash(wanted.password)

    def work(db: Any) -> tuple[None, Reply]:
        try:
            user = create_user(
                db,
                wanted.name,
                hashed,
                wanted.role,
                services.now(),
                user_group=wanted.user_group,
                extension=wanted.extension,
            )
        except UserGroupMissing:
            raise refuse_fields([("user_group", "is no group of users")]) from None
        except KeyError:
            raise Refused(HTTPStatus.CONFLICT, f"user {wanted.name} is there already") from None
        return None, Reply(user, HTTPStatus.CREATED, (("location", f"{_PATH}/{wanted.name}"),))

    _, reply = await exchange.write(work, f"users/{wanted.name}")
    return reply


async def _change(services: Services, exchange: Exchange) -> Reply:
    wanted: UserChange = exchange.body
    name = exchange.path["name"]
    if not wanted.model_fields_set - {name for name in ("password", "role") if getattr(wanted, name) is None}:
        raise refuse_fields([("", "must have a password, a role, a group or an extension")])
    current = await services.store.read(load_user, name)
    if current is None:
        raise _missing(name)
    # Whoever sets an admin's password can be that admin.
    _check_reach(exchange, current.role, current.user_group)
    _check_reach(
        exchange, wanted.role, wanted.user_group if "user_group" in wanted.model_fields_set else current.user_group
    )
    hashed = await services.logins.hash(wanted.password) if wanted.password is not None else None
    group = wanted.model_dump(include={"user_group", "extension"}, exclude_unset=True)

    def work(db: Any) -> tuple[None, Reply]:
        try:
            changed = update_user(db, name, password_hash=hashed, role=wanted.role, at=services.now(), **group)
            return None, Reply(changed)
        except UserGroupMissing:
            raise refuse_fields([("user_group", "is no group of users")]) from None
        except KeyError:
            raise _missing(name) from None

    _, reply = await exchange.write(work, f"users/{name}")
    await services.authority.load()
    return reply


async def _delete(services: Services, exchange: Exchange) -> Reply:
    name = exchange.path["name"]
    current = await services.store.read(load_user, name)
    if current is not None:
        _check_reach(exchange, current.role, current.user_group)

    def work(db: Any) -> tuple[None, Reply]:
        try:
            delete_user(db, name)
        except KeyError:
            raise _missing(name) from None
        return None, Reply(None, HTTPStatus.NO_CONTENT)

    _, reply = await exchange.write(work, f"users/{name}")
    await services.authority.load()
    return reply


async def _log_in(services: Services, exchange: Exchange) -> Reply:
    login: Login = exchange.body
    user = await services.logins.log_in(login.name, login.password, exchange.source)
    now = services.now()

    def work(db: Any) -> tuple[None, Reply]:
        made = create_token(
            db, name="login", permissions=ROLES[user.role], at=now, expires_at=now + SESSION, user=user.name
        )
        return None, Reply(TokenMade.of(made.token, made.secret), HTTPStatus.CREATED)

    _, reply = await exchange.write(work, f"users/{user.name}", who=f"user {user.name}")
    await services.authority.load()
    return reply


async def _change_own_password(services: Services, exchange: Exchange) -> Reply:
    name, token_id = _read_login(exchange, "a password is changed under users")
    wanted: PasswordChange = exchange.body
    if not await services.logins.verify(name, wanted.old_password, exchange.source):
        raise refuse_fields([("old_password", "is wrong")])
    if wanted.new_password == wanted.old_password:
        raise refuse_fields([("new_password", "must be another")])
    hashed = await services.logins.hash(wanted.new_password)

    def work(db: Any) -> tuple[None, Reply]:
        try:
            update_user(db, name, password_hash=hashed, kept_token=token_id)
        except KeyError:
            raise _missing(name) from None
        return None, Reply(None, HTTPStatus.NO_CONTENT)

    _, reply = await exchange.write(work, f"users/{name}")
    await services.authority.load()
    return reply


async def _log_out(services: Services, exchange: Exchange) -> Reply:
    name, token_id = _read_login(exchange, "a token is deleted under tokens")

    def work(db: Any) -> tuple[None, Reply]:
        delete_token(db, token_id)
        return None, Reply(None, HTTPStatus.NO_CONTENT)

    _, reply = await exchange.write(work, f"users/{name}")
    await services.authority.load()
    return reply


def _read_login(exchange: Exchange, otherwise: str) -> tuple[str, int]:
    """Who is logged in, and by which token; Refused 409 for a token that no login made."""
    who = exchange.who
    if who.token_id is None or who.user is None:
        raise Refused(HTTPStatus.CONFLICT, f"this is no login: {otherwise}")
    return who.user, who.token_id


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="users/read", summary="List users.", handler=_list, tag="users",
        operation="list_users", query=list_query(User, "name"), answer=Shown(Page[User], name="UserPage"),
    ),
    Route(
        method="POST", path=_PATH, permission="users/create", summary="Make a user.", handler=_create, tag="users",
        operation="create_user", body=model_body(NewUser), answer=Shown(User), status=HTTPStatus.CREATED,
        raises=(HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS),
    ),
    Route(
        method="GET", path=_ONE, parameters={"name": "The name that the user logs in with."}, permission="users/read", summary="Read a user.", handler=_get, tag="users",
        operation="get_user", answer=Shown(User), raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="PATCH", path=_ONE, parameters={"name": "The name that the user logs in with."}, permission="users/update", summary="Change a user's password, role or group; all logins end.",
        handler=_change, tag="users", operation="change_user", body=model_body(UserChange), answer=Shown(User),
        raises=(*_FAILURES, HTTPStatus.TOO_MANY_REQUESTS),
    ),
    Route(
        method="DELETE", path=_ONE, parameters={"name": "The name that the user logs in with."}, permission="users/delete", summary="Delete a user; never the last admin.", handler=_delete,
        tag="users", operation="delete_user", status=HTTPStatus.NO_CONTENT, raises=_FAILURES,
    ),
    Route(
        method="POST", path=_SESSION, permission=None, summary="Log in: a token for 12 hours.", handler=_log_in, tag="users",
        operation="log_in", body=model_body(Login), answer=Shown(TokenMade), status=HTTPStatus.CREATED, max_body=4096,
        raises=(HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS),
    ),
    Route(
        is_scoped=True, method="PUT", path=f"{_SESSION}/password", permission="session/update", tag="users", operation="change_own_password",
        summary="Change one's own password; one's other logins end.", handler=_change_own_password, status=HTTPStatus.NO_CONTENT,
        body=model_body(PasswordChange), max_body=4096, raises=(*_FAILURES, HTTPStatus.TOO_MANY_REQUESTS),
    ),
    Route(
        is_scoped=True, method="DELETE", path=_SESSION, permission="session/delete", summary="Log out: the token ends.", handler=_log_out,
        tag="users", operation="log_out", status=HTTPStatus.NO_CONTENT, raises=(HTTPStatus.CONFLICT,),
    ),
)  # fmt: skip
