# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""People who may log in: a name, an argon2id hash and a role; never sees a password. Every function is work for a Store."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import peewee

from tandem.store.tables import LoginFailureRow, TokenRow, UserRow
from tandem.store.user_groups import load_user_group

Role = Literal["admin", "user"]

# So many failures are free; each further one locks the name twice as long, up to LOCK_MAX.
FREE_FAILURES: Final = 5
LOCK_FIRST: Final = timedelta(seconds=30)
LOCK_MAX: Final = timedelta(minutes=15)
# Failures of names that nobody tries any more are forgotten, and there are never more of them than this.
FORGET_AFTER: Final = timedelta(days=1)
MAX_NAMES: Final = 10_000


class LastAdmin(Exception):
    """The only admin left would be gone."""


@dataclass(frozen=True, slots=True)
class User:
    """Someone who may log in. user_group: whose limits hold for them, null for none. extension: of the phone where they work as an agent. is_active: whether at all; api_access: whether tokens that are theirs are taken; updated_at: null until then."""

    user_id: int
    name: str
    role: Role
    created_at: datetime
    last_login_at: datetime | None
    updated_at: datetime | None = None
    email: str = ""
    full_name: str = ""
    is_active: bool = True
    api_access: bool = True
    user_group: str | None = None
    extension: str | None = None


_COLUMNS: Final = (
    UserRow.user_id, UserRow.name, UserRow.role, UserRow.created_at, UserRow.last_login_at, UserRow.updated_at, UserRow.email,
    UserRow.full_name, UserRow.is_active, UserRow.api_access, UserRow.user_group, UserRow.extension,
)  # fmt: skip
# What `update_user` may change besides the password.
CHANGEABLE: Final = frozenset(
    {"name", "role", "email", "full_name", "is_active", "api_access", "user_group", "extension"}
)


def create_user(
    db: peewee.Database,
    name: str,
    password_hash: str,
    role: Role,
    at: datetime,
    *,
    email: str = "",
    full_name: str = "",
    api_access: bool = True,
    user_group: str | None = None,
    extension: str | None = None,
) -> User:
    """A new user; UserGroupMissing; KeyError if the name is taken, whatever its capitals."""
    _keep_names_apart(db, name)
    if user_group is not None:
        load_user_group(db, user_group)
    user_id = UserRow.insert(
        name=name,
        password=password_hash,
        role=role,
        created_at=at,
        email=email,
        full_name=full_name,
        is_active=1,
        api_access=int(api_access),
        user_group=user_group,
        extension=extension,
    ).execute(db)
    made = load_user_numbered(db, user_id)
    assert made is not None
    return made


def load_users(db: peewee.Database) -> list[User]:
    """Everybody, by name."""
    return [_read(row) for row in UserRow.select(*_COLUMNS).order_by(UserRow.name).tuples().execute(db)]


def load_user(db: peewee.Database, name: str) -> User | None:
    """One of them."""
    return next((user for user in load_users(db) if user.name == name), None)


def load_user_numbered(db: peewee.Database, user_id: int) -> User | None:
    """The one with this id."""
    return next((user for user in load_users(db) if user.user_id == user_id), None)


def load_password_hash(db: peewee.Database, name: str) -> str | None:
    """What a password is verified against; None for a name that nobody has, or nobody who may log in."""
    query = UserRow.select(UserRow.password).where((UserRow.name == name) & (UserRow.is_active == 1))
    row = query.tuples().first(db)
    return None if row is None else str(row[0])


def update_user(
    db: peewee.Database,
    name: str,
    /,
    *,
    password_hash: str | None = None,
    role: Role | None = None,
    kept_token: int | None = None,
    at: datetime | None = None,
    **changes: Any,
) -> User:
    """Another password, another role, or other fields (CHANGEABLE); ends the user's logins but `kept_token`.

    KeyError for nobody, or with the new name if it is taken; UserGroupMissing; LastAdmin if none would be left who may log in.
    """
    user = load_user(db, name)
    if user is None:
        raise KeyError(name)
    assert changes.keys() <= CHANGEABLE
    wanted = changes | ({"role": role} if role is not None else {})
    if wanted.get("role", user.role) != "admin" or not wanted.get("is_active", user.is_active):
        _keep_an_admin(db, user)
    if wanted.get("name", name).lower() != name.lower():
        _keep_names_apart(db, wanted["name"])
    if wanted.get("user_group") is not None:
        load_user_group(db, wanted["user_group"])
    if password_hash is not None:
        wanted["password"] = password_hash
    if wanted:
        UserRow.update(**wanted, updated_at=at).where(UserRow.user_id == user.user_id).execute(db)
    TokenRow.delete().where(TokenRow.user == name, TokenRow.id != (kept_token or 0)).execute(db)
    changed = load_user_numbered(db, user.user_id)
    assert changed is not None
    return changed


def delete_user(db: peewee.Database, name: str) -> None:
    """Takes a user, all logins and all tokens away; KeyError for nobody, LastAdmin if none would be left."""
    user = load_user(db, name)
    if user is None:
        raise KeyError(name)
    _keep_an_admin(db, user)
    TokenRow.delete().where((TokenRow.user == name) | (TokenRow.owner_id == user.user_id)).execute(db)
    UserRow.delete().where(UserRow.name == name).execute(db)


def load_lock(db: peewee.Database, name: str, at: datetime) -> datetime | None:
    """Until when nobody can log in by this name; None when one can."""
    row = LoginFailureRow.select(LoginFailureRow.locked_until).where(LoginFailureRow.name == name).tuples().first(db)
    until: datetime | None = row[0] if row is not None else None
    return until if until is not None and until > at else None


def record_login(db: peewee.Database, name: str, at: datetime) -> User | None:
    """A right password: forgets the failures. The user, None if deleted meanwhile."""
    LoginFailureRow.delete().where(LoginFailureRow.name == name).execute(db)
    UserRow.update(last_login_at=at).where(UserRow.name == name).execute(db)
    return load_user(db, name)


def record_failure(db: peewee.Database, name: str, at: datetime) -> datetime | None:
    """A wrong password: until when the name is locked now."""
    LoginFailureRow.delete().where(LoginFailureRow.last_at < at - FORGET_AFTER).execute(db)
    row = LoginFailureRow.select(LoginFailureRow.failures).where(LoginFailureRow.name == name).tuples().first(db)
    if row is None and LoginFailureRow.select().count(db) >= MAX_NAMES:
        return at + LOCK_FIRST
    failures = (row[0] if row is not None else 0) + 1
    excess = failures - FREE_FAILURES
    until = None if excess < 0 else at + min(LOCK_FIRST * 2 ** min(excess, 10), LOCK_MAX)
    row = LoginFailureRow.insert(name=name, failures=failures, last_at=at, locked_until=until)
    kept = [LoginFailureRow.failures, LoginFailureRow.last_at, LoginFailureRow.locked_until]
    row.on_conflict(conflict_target=[LoginFailureRow.name], preserve=kept).execute(db)
    return until


def _keep_an_admin(db: peewee.Database, user: User) -> None:
    """Unless another admin who may log in is left."""
    others = (other for other in load_users(db) if other.user_id != user.user_id)
    if user.role == "admin" and user.is_active and not any(it.role == "admin" and it.is_active for it in others):
        raise LastAdmin(f"{user.name} is the last admin")


def _keep_names_apart(db: peewee.Database, name: str) -> None:
    if UserRow.select().where(peewee.fn.LOWER(UserRow.name) == name.lower()).exists(db):
        raise KeyError(name)


def _read(row: tuple[Any, ...]) -> User:
    user = User(*row)
    return replace(user, is_active=bool(user.is_active), api_access=bool(user.api_access))
