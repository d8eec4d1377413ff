"""Groups of people: which campaigns those in one see, and what they may do at most; never shown to or changed by those whom one limits."""

import re
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints

from api.declare import PREFIX, Frozen, Page, Reply, Route, Shown, model_body
from api.errors import Refused, refuse_fields
from api.exchange import Commit, Exchange, Services
from api.listing import list_query, make_page
from api.times import show_times, with_times
from tandem.domain.agent_statuses import check_label
from tandem.store.user_groups import (
    UserGroup,
    create_user_group,
    delete_user_group,
    load_user_group,
    load_user_groups,
    update_user_group,
)

_PATH: Final = f"{PREFIX}/user-groups"
_ONE: Final = f"{_PATH}/{{name}}"
_PARAMETERS: Final = {"name": "The group's name."}
_MISSING: Final = (HTTPStatus.NOT_FOUND,)
GroupShown: Final[Any] = with_times(UserGroup, "UserGroupShown")

GROUP_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,19}$"
GroupName = Annotated[str, StringConstraints(pattern=GROUP_NAME)]
_Title = Annotated[str, StringConstraints(min_length=1, max_length=80), AfterValidator(check_label)]
_Campaigns = Annotated[tuple[Annotated[int, Field(ge=1, le=2**62)], ...], Field(max_length=10_000)]
_Permissions = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^(\*|[a-z_-]+/(\*|[a-z_-]+))$")], ...], Field(max_length=500)
]


class NewUserGroup(Frozen):
    """A group. campaigns: the only ones that are seen, null for all; permissions: no more than these, null for those of the role."""

    name: GroupName
    title: _Title
    campaigns: _Campaigns | None = None
    permissions: _Permissions | None = None


class UserGroupChange(Frozen):
    """What changes, at once, also for those who are logged in."""

    title: _Title | None = None
    campaigns: _Campaigns | None = None
    permissions: _Permissions | None = None


def read_group_name(name: str) -> str | None:
    """The name, if one can be called so."""
    return name if re.fullmatch(GROUP_NAME, name) else None


def check_permissions(services: Services, permissions: tuple[str, ...] | None) -> None:
    """Refused 422 naming the first that is none."""
    known = services.permissions
    groups = {one.partition("/")[0] for one in known}
    for one in permissions or ():
        name, _, what = one.partition("/")
        if one != "*" and one not in known and not (what == "*" and name in groups):
            raise refuse_fields([("permissions", f"{one} is no permission")])


def _refuse_limited(exchange: Exchange) -> None:
    """Whoever is in a group changes none: it would be a way out of their own."""
    if exchange.who.group is not None:
        raise Refused(HTTPStatus.FORBIDDEN, "groups are changed by people who are in none")


def _show(_db: Any, group: UserGroup) -> Reply:
    return Reply(show_times(GroupShown, group))


async def _list(services: Services, exchange: Exchange) -> Reply:
    found = await services.store.read(load_user_groups)
    return Reply(make_page([show_times(GroupShown, one) for one in found], exchange.query, "name"))


async def _get(services: Services, exchange: Exchange) -> Reply:
    return _show(None, await services.store.read(load_user_group, exchange.path["name"]))


async def _create(services: Services, exchange: Exchange) -> Reply:
    _refuse_limited(exchange)
    wanted: NewUserGroup = exchange.body
    check_permissions(services, wanted.permissions)

    def reply(_db: Any, made: UserGroup) -> Reply:
        return Reply(show_times(GroupShown, made), HTTPStatus.CREATED, (("location", f"{_PATH}/{made.name}"),))

    commit: Commit[UserGroup] = Commit(exchange, f"user-groups/{wanted.name}", reply)
    at = services.now().timestamp()
    await commit(
        lambda db: create_user_group(
            db, wanted.name, wanted.title, at, campaigns=wanted.campaigns, permissions=wanted.permissions
        )
    )
    return commit.reply


async def _change(services: Services, exchange: Exchange) -> Reply:
    _refuse_limited(exchange)
    name, change, at = exchange.path["name"], exchange.body, services.now().timestamp()
    check_permissions(services, change.permissions)
    given = change.model_dump(exclude_unset=True)
    if "title" in given and given["title"] is None:
        raise refuse_fields([("title", "must not be null")])

    def work(db: Any) -> UserGroup:
        before = load_user_group(db, name)
        known = {"title": before.title, "campaigns": before.campaigns, "permissions": before.permissions}
        return update_user_group(db, name, at, **{**known, **given})

    commit: Commit[UserGroup] = Commit(exchange, f"user-groups/{name}", _show)
    await commit(work)
    await services.authority.load()
    return commit.reply


async def _delete(_services: Services, exchange: Exchange) -> Reply:
    _refuse_limited(exchange)
    name = exchange.path["name"]
    gone = Reply(None, HTTPStatus.NO_CONTENT)
    commit: Commit[UserGroup] = Commit(exchange, f"user-groups/{name}", lambda _db, _: gone)
    await commit(lambda db: delete_user_group(db, name))
    return gone


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="groups/read", summary="List groups of users.", handler=_list, tag="users",
        operation="list_user_groups", query=list_query(GroupShown, "name"), answer=Shown(Page[GroupShown], name="UserGroupPage"),
    ),
    Route(
        method="POST", path=_PATH, permission="groups/create", handler=_create, tag="users", operation="create_user_group",
        summary="Make a group: what those in it see and may do at most.", body=model_body(NewUserGroup), answer=Shown(GroupShown),
        status=HTTPStatus.CREATED, raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    ),
    Route(
        method="GET", path=_ONE, permission="groups/read", summary="Read a group of users.", handler=_get, tag="users",
        parameters=_PARAMETERS, operation="get_user_group", answer=Shown(GroupShown), raises=_MISSING,
    ),
    Route(
        method="PATCH", path=_ONE, permission="groups/update", summary="Change a group; it holds at once.", handler=_change, tag="users",
        parameters=_PARAMETERS, operation="change_user_group", body=model_body(UserGroupChange), answer=Shown(GroupShown), raises=_MISSING,
    ),
    Route(
        method="DELETE", path=_ONE, permission="groups/delete", summary="Delete a group that nobody is in.", handler=_delete, tag="users",
        parameters=_PARAMETERS, operation="delete_user_group", status=HTTPStatus.NO_CONTENT, raises=(*_MISSING, HTTPStatus.CONFLICT),
    ),
)  # fmt: skip
