"""goUsers and goUserGroups: people who log in, with role, group and phone; never tells a password, nor what it is verified against."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from api.auth import EVERYTHING, MAX_PASSWORD
from api.compat.goapi.actions import Action, Call
from api.compat.goapi.dialling import list_known, need, read_choice, refuse_rule, write
from api.compat.goapi.objects import ADMINS, EVERYBODY, columns, flag
from api.compat.goapi.parameters import check_special
from api.compat.goapi.speech import Said, fail, fail_code
from api.compat.goapi.tenancy import read_scope, read_view
from api.errors import Refused
from api.v1.user_groups import check_permissions, read_group_name
from api.v1.users import MIN_PASSWORD, UserName
from tandem.store.user_groups import (
    UserGroup,
    UserGroupMissing,
    create_user_group,
    delete_user_group,
    load_user_group,
    load_user_groups,
    update_user_group,
)
from tandem.store.users import Role, User, create_user, delete_user, load_users, update_user

_NAME: Final = TypeAdapter(UserName)
# From this level on goAPI lets somebody change what there is.
ADMIN_LEVEL: Final = 8
_YES_NO: Final = frozenset({"Y", "N"})


# ----------------------------------------------------------------------------------------------------------- users


async def _seen(call: Call) -> list[User]:
    scope = await read_scope(call)
    found: list[User] = await call.services.store.read(load_users)
    return [user for user in found if scope.sees_all or (scope.group and user.user_group == scope.group)]


async def _find(call: Call, code: str = "40002") -> User:
    name, user_id = call.given.text("user"), call.given.text("user_id")
    if not name and not user_id:
        raise fail_code(code, "user")
    by_name, by_id = _index(await _seen(call))
    user = by_name.get(name) if name else by_id.get(user_id) or by_name.get(user_id)
    if user is None:
        raise fail_code("41004", "user")
    return user


def _index(users: Iterable[User]) -> tuple[dict[str, User], dict[str, User]]:
    """By name, and by id: a name may be the id of somebody else."""
    seen = tuple(users)
    return {user.name: user for user in seen}, {str(user.user_id): user for user in seen}


async def _hash(call: Call) -> str:
    secret = call.given.raw("pass")
    if not MIN_PASSWORD <= len(secret) <= MAX_PASSWORD:
        raise refuse_rule("pass", f"must be {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    hashed: str = await call.services.logins.hash(secret)
    return hashed


async def _read_fields(call: Call) -> dict[str, Any]:
    """Our fields of what is given."""
    given, scope = call.given, await read_scope(call)
    found: dict[str, Any] = {}
    if full_name := given.text("full_name"):
        found["full_name"] = check_special("full_name", full_name, allows="-'.,()")[:100]
    if email := given.text("email"):
        if "@" not in email or len(email) > 254 or " " in email:
            raise fail_code("41003", "email")
        found["email"] = email
    if active := read_choice(call, "active", _YES_NO):
        found["is_active"] = int(active == "Y")
    if phone := given.text("phone_login"):
        if phone not in (await read_view(call)).endpoints:
            raise fail_code("41004", "phone_login")
        found["extension"] = phone
    if group := given.text("user_group"):
        if group not in (ADMINS, EVERYBODY) and group not in scope.known:
            raise fail_code("41004", "user_group")
        if not scope.sees_all and group != scope.group:
            raise fail_code("41004", "user_group")
        found["user_group"] = None if group in (ADMINS, EVERYBODY) else group
    if level := given.text("user_level"):
        if level not in set("123456789"):
            raise fail_code("41002", "user_level")
        found["role"] = "admin" if int(level) >= ADMIN_LEVEL else "user"
    return found


def _check_role(call: Call, *roles: str) -> None:
    """Nobody makes an admin, or becomes one, who is none."""
    who = call.exchange.who
    if "admin" in roles and (not who.may(EVERYTHING) or who.group is not None):
        raise fail_code("10001")


async def _add(call: Call) -> Mapping[str, Any]:
    need(call, "user", "pass", "full_name", "user_group")
    name = call.given.text("user")
    try:
        _NAME.validate_python(name)
    except ValidationError:
        raise fail_code("41004", "user") from None
    fields = await _read_fields(call)
    is_admin = fields.pop("role", "admin" if call.given.text("user_group") == ADMINS else "user") == "admin"
    role: Role = "admin" if is_admin else "user"
    _check_role(call, role)
    is_active, hashed = fields.pop("is_active", 1), await _hash(call)

    def work(db: Any) -> User:
        try:
            made = create_user(db, name, hashed, role, call.services.now(), **fields)
        except UserGroupMissing:
            raise fail_code("41004", "user_group") from None
        except KeyError:
            raise fail_code("10113") from None
        return made if is_active else update_user(db, name, is_active=0)

    await write(call, f"users/{name}", work)
    return {"user created": [name]}


async def _edit(call: Call) -> Mapping[str, Any]:
    user, fields = await _find(call), await _read_fields(call)
    _check_role(call, user.role, fields.get("role", user.role))
    hashed = await _hash(call) if call.given.raw("pass") else None
    if not fields and hashed is None:
        raise fail_code("40002", "user")
    at = call.services.now()
    await write(
        call, f"users/{user.name}", lambda db: update_user(db, user.name, password_hash=hashed, at=at, **fields)
    )
    await call.services.authority.load()
    return {}


async def _delete(call: Call) -> Mapping[str, Any]:
    ids, names = call.given.many("user_id"), call.given.many("user")
    if not (wanted := ids or names):
        raise fail_code("40001", "user_id")
    by_name, by_id = _index(await _seen(call))
    seen = by_name | by_id if ids else by_id | by_name
    unknown = [text for text in wanted if text not in seen]
    if unknown:
        raise Said({"code": "10010", "result": "Error: there is no such user", "data": unknown})
    users = {seen[text].name: seen[text] for text in wanted}
    _check_role(call, *(user.role for user in users.values()))
    places = {f"users/{name}": None for name in users}

    def work(db: Any) -> None:
        for name in users:
            delete_user(db, name)

    await write(call, places, work)
    await call.services.authority.load()
    return {}


def _row(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "user": user.name,
        "full_name": user.full_name,
        "user_level": 9 if user.role == "admin" else 1,
        "user_group": user.user_group or (ADMINS if user.role == "admin" else EVERYBODY),
        "phone_login": user.extension or "",
        "email": user.email,
        "active": flag(user.is_active),
    }


_COLUMNS: Final = ("user_id", "user_group", "user", "full_name", "user_level", "phone_login", "active")


async def _list(call: Call) -> Mapping[str, Any]:
    rows = [_row(user) for user in await _seen(call)]
    return {**columns(rows, _COLUMNS), "last_count": len(rows)}


async def _info(call: Call) -> Mapping[str, Any]:
    return {"data": _row(await _find(call, "40001"))}


async def _check(call: Call) -> Mapping[str, Any]:
    need(call, "user")
    name = call.given.text("user").lower()
    if any(user.name.lower() == name for user in await call.services.store.read(load_users)):
        raise fail("Error: User already exist.")
    return {}


async def _log_in(call: Call) -> Mapping[str, Any]:
    need(call, "user_name", "user_pass")
    bad = Said({"result": "error", "message": "Invalid login credentials please try again."})
    name = call.given.text("user_name")
    try:
        user = await call.services.logins.log_in(
            name[:60], call.given.raw("user_pass")[:MAX_PASSWORD], call.exchange.source
        )
    except Refused as refused:
        if refused.status.value != 401:
            raise
        raise bad from None
    return {"data": _row(user)}


# ---------------------------------------------------------------------------------------------------------- groups


async def _seen_groups(call: Call) -> list[UserGroup]:
    scope = await read_scope(call)
    found: list[UserGroup] = await call.services.store.read(load_user_groups)
    return [group for group in found if scope.sees_all or group.name == scope.group]


async def _read_group(call: Call, before: UserGroup | None) -> dict[str, Any]:
    given = call.given
    title = given.text("group_name") or (before.title if before is not None else "")
    if not title or not title.isprintable() or len(title) > 80:
        raise fail_code("41004", "group_name")
    campaigns = before.campaigns if before is not None else None
    permissions = before.permissions if before is not None else None
    if allowed := given.text("allowed_campaigns"):
        names = [name for name in allowed.split() if name != "-"]
        if "ALL-CAMPAIGNS" in names or "-ALL-CAMPAIGNS-" in names:
            campaigns = None
        else:
            known = {one.code: one.campaign_id for one in await list_known(call)}
            if any(name not in known for name in names):
                raise fail_code("41004", "allowed_campaigns")
            campaigns = tuple(known[name] for name in names)
    if "permissions" in given and given.raw("permissions"):
        try:
            listed = json.loads(given.raw("permissions"))
        except (ValueError, RecursionError):
            raise fail_code("10011", "permissions") from None
        if listed is not None and not (isinstance(listed, list) and all(isinstance(one, str) for one in listed)):
            raise fail_code("41004", "permissions. A list of permissions such as campaigns/read, or null")
        permissions = tuple(listed) if listed is not None else None
        check_permissions(call.services, permissions)
    return {"title": title, "campaigns": campaigns, "permissions": permissions}


async def _add_group(call: Call) -> Mapping[str, Any]:
    name = call.given.text("user_group")
    if len(name) < 3 or read_group_name(name) is None or name.upper() == ADMINS:
        raise fail_code("41006", "user_group")
    if not call.given.text("group_name"):
        raise fail_code("41004", "group_name")
    _check_role(call, "admin")
    if name.lower() in {group.name.lower() for group in await call.services.store.read(load_user_groups)}:
        raise fail_code("41004", "user_group. Already exists")
    fields, at = await _read_group(call, None), call.services.now().timestamp()
    title = fields.pop("title")
    await write(call, f"user-groups/{name}", lambda db: create_user_group(db, name, title, at, **fields))
    return {}


async def _find_group(call: Call) -> UserGroup:
    need(call, "user_group")
    for group in await _seen_groups(call):
        if group.name == call.given.text("user_group"):
            return group
    raise fail_code("41004", "user_group")


async def _edit_group(call: Call) -> Mapping[str, Any]:
    group, at = await _find_group(call), call.services.now().timestamp()
    _check_role(call, "admin")
    fields = await _read_group(call, group)

    def work(db: Any) -> UserGroup:
        load_user_group(db, group.name)
        return update_user_group(db, group.name, at, **fields)

    await write(call, f"user-groups/{group.name}", work)
    await call.services.authority.load()
    return {}


async def _delete_group(call: Call) -> Mapping[str, Any]:
    group = await _find_group(call)
    _check_role(call, "admin")
    await write(call, f"user-groups/{group.name}", lambda db: delete_user_group(db, group.name))
    return {}


def _group_row(group: UserGroup, codes: Mapping[int, str]) -> dict[str, Any]:
    allowed = " ".join(codes.get(one, str(one)) for one in group.campaigns or ())
    return {
        "user_group": group.name,
        "group_name": group.title,
        "group_type": "Default" if group.campaigns is None else "Limited",
        "forced_timeclock_login": "N",
        "allowed_campaigns": " -ALL-CAMPAIGNS- -" if group.campaigns is None else f" {allowed} -",
        "permissions": json.dumps(group.permissions) if group.permissions is not None else "",
    }


async def _list_groups(call: Call) -> Mapping[str, Any]:
    rows = [_group_row(group, {}) for group in await _seen_groups(call)]
    return columns(rows, ("user_group", "group_name", "group_type", "forced_timeclock_login"))


async def _group_info(call: Call) -> Mapping[str, Any]:
    group = await _find_group(call)
    return {"data": _group_row(group, {one.campaign_id: one.code for one in await list_known(call)})}


async def _check_group(call: Call) -> Mapping[str, Any]:
    need(call, "user_group")
    name = call.given.text("user_group").lower()
    taken = {group.name.lower() for group in await call.services.store.read(load_user_groups)}
    if name in taken or name == ADMINS.lower():
        return {"result": "fail", "status": "User group already exist."}
    return {}


_FIELDS: Final = ("user", "pass", "full_name", "user_group", "active", "email", "phone_login", "user_level")
_GROUP: Final = ("user_group", "group_name", "allowed_campaigns", "permissions")
USER_ACTIONS: Final = (
    Action(is_scoped=True, name="goAddUser", permission="users/create", handler=_add, summary="Adds a user.", parameters=_FIELDS),
    Action(is_scoped=True, name="goEditUser", permission="users/update", handler=_edit, summary="Changes what is given of a user.", parameters=("user_id", *_FIELDS)),
    Action(is_scoped=True, name="goDeleteUser", permission="users/delete", handler=_delete, summary="Deletes users.", parameters=("user_id", "action")),
    Action(
        is_scoped=True, name="goGetAllUsers", permission="users/read", handler=_list, summary="Lists users.",
        aliases=("goGetAllUserLists", "goGetUsersList"),
    ),
    Action(is_scoped=True, name="goGetUserInfo", permission="users/read", handler=_info, summary="Tells a user.", parameters=("user", "user_id")),
    Action(is_scoped=True, name="goCheckUser", permission="users/read", handler=_check, summary="Whether a name is free.", parameters=("user",)),
    Action(
        is_scoped=True, name="goUserLogin", permission="session/update", handler=_log_in, summary="Whether a name and a password belong together.",
        parameters=("user_name", "user_pass"),
    ),
)  # fmt: skip
GROUP_ACTIONS: Final = (
    Action(is_scoped=True, name="goAddUserGroup", permission="groups/create", handler=_add_group, summary="Adds a group.", parameters=_GROUP),
    Action(is_scoped=True, name="goEditUserGroup", permission="groups/update", handler=_edit_group, summary="Changes what is given of a group.", parameters=_GROUP),
    Action(is_scoped=True, name="goDeleteUserGroup", permission="groups/delete", handler=_delete_group, summary="Deletes a group that nobody is in.", parameters=("user_group",)),
    Action(is_scoped=True, name="goGetAllUserGroups", permission="groups/read", handler=_list_groups, summary="Lists groups.", aliases=("goGetUserGroupsList",)),
    Action(is_scoped=True, name="goGetUserGroupInfo", permission="groups/read", handler=_group_info, summary="Tells a group.", parameters=("user_group",)),
    Action(is_scoped=True, name="goCheckUserGroups", permission="groups/read", handler=_check_group, summary="Whether a name is free.", parameters=("user_group",)),
)  # fmt: skip
