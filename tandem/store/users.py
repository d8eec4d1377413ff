# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""People who may log in: a name, an argon2id hash and a role; never sees a password. Every function is work for a Store."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import peewee

from tandem.store.tables import LoginFailureRow, TokenRow, UserRow

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
    """Someone who may log in."""

    name: str
    role: Role
    created_at: datetime
    last_login_at: datetime | None


def create_user(db: peewee.Database, name: str, password_hash: str, role: Role, at: datetime) -> User:
    """A new user; KeyError if the name is taken, whatever its capitals."""
    if UserRow.select().where(peewee.fn.LOWER(UserRow.name) == name.lower()).exists(db):
        raise KeyError(name)
    UserRow.insert(name=name, password=password_hash, role=role, created_at=at).execute(db)
    return User(name, role, at, None)


def load_users(db: peewee.Database) -> list[User]:
    """Everybody, by name."""
    query = UserRow.select(UserRow.name, UserRow.role, UserRow.created_at, UserRow.last_login_at).order_by(UserRow.name)
    return [User(*row) for row in query.tuples().execute(db)]


def load_user(db: peewee.Database, name: str) -> User | None:
    """One of them."""
    return next((user for user in load_users(db) if user.name == name), None)


def load_password_hash(db: peewee.Database, name: str) -> str | None:
    """What a password is verified against; None for a name that nobody has."""
    row = UserRow.select(UserRow.password).where(UserRow.name == name).tuples().first(db)
    return None if row is None else str(row[0])


def update_user(
    db: peewee.Database,
    name: str,
    *,
    password_hash: str | None = None,
    role: Role | None = None,
    kept_token: int | None = None,
) -> User:
    """Another password, another role, or both; ends the user's logins but `kept_token`. KeyError for nobody, LastAdmin if none would be left."""
    user = load_user(db, name)
    if user is None:
        raise KeyError(name)
    if role is not None and role != user.role:
        _keep_an_admin(db, user)
        UserRow.update(role=role).where(UserRow.name == name).execute(db)
    if password_hash is not None:
        UserRow.update(password=password_hash).where(UserRow.name == name).execute(db)
    TokenRow.delete().where(TokenRow.user == name, TokenRow.id != (kept_token or 0)).execute(db)
    return User(user.name, role or user.role, user.created_at, user.last_login_at)


def delete_user(db: peewee.Database, name: str) -> None:
    """Takes a user and all logins away; KeyError for nobody, LastAdmin if none would be left."""
    user = load_user(db, name)
    if user is None:
        raise KeyError(name)
    _keep_an_admin(db, user)
    TokenRow.delete().where(TokenRow.user == name).execute(db)
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
    if user.role == "admin" and not any(other.role == "admin" and other != user for other in load_users(db)):
        raise LastAdmin(f"{user.name} is the last admin")
