"""The tables as peewee sees them; never makes or changes one, which migrations do, and is bound to no database: queries name theirs."""

from datetime import UTC, datetime

from peewee import BlobField, CompositeKey, Field, FloatField, IntegerField, Model, TextField


class UtcField(Field):
    """An aware time, kept as ISO 8601 text in UTC; a naive one is refused."""

    field_type = "TEXT"

    def db_value(self, value: datetime | None) -> str | None:
        """The text of a time."""
        return None if value is None else format_time(value)

    def python_value(self, value: str | None) -> datetime | None:
        """The time of a text."""
        return None if value is None else datetime.fromisoformat(value)


def format_time(at: datetime) -> str:
    """`2026-11-20T21:30:00.000000+00:00`: sorts as text. ValueError for a naive time."""
    if at.tzinfo is None:
        raise ValueError("a time must have a zone")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


class RevisionRow(Model):
    """A state of the whole PBX."""

    number = IntegerField(primary_key=True)
    created_at = UtcField()
    author = TextField()
    note = TextField()
    added = IntegerField()
    changed = IntegerField()
    removed = IntegerField()

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "revisions"


class ObjectRow(Model):
    """An object from the revision `since` to the one before `until`."""

    collection = TextField()
    key = TextField()
    since = IntegerField()
    until = IntegerField(null=True)
    body = TextField()

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "objects"
        primary_key = CompositeKey("collection", "key", "since")


class LiveRow(Model):
    """The revision that Asterisk has; one row at most."""

    id = IntegerField(primary_key=True)
    revision = IntegerField()
    applied_at = UtcField()

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "live"


class TokenRow(Model):
    """An API token, without the token."""

    id = IntegerField(primary_key=True)
    name = TextField()
    digest = BlobField()
    permissions = TextField()
    created_at = UtcField()
    last_used_at = UtcField(null=True)
    expires_at = UtcField(null=True)
    user = TextField(null=True)
    owner_id = IntegerField(null=True)
    hint = TextField()
    is_active = IntegerField()
    updated_at = UtcField(null=True)
    dialect = TextField()

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "tokens"


class UserRow(Model):
    """Someone who may log in."""

    user_id = IntegerField(primary_key=True)
    name = TextField()
    password = TextField()
    role = TextField()
    created_at = UtcField()
    last_login_at = UtcField(null=True)
    updated_at = UtcField(null=True)
    email = TextField()
    full_name = TextField()
    is_active = IntegerField()
    api_access = IntegerField()
    user_group = TextField(null=True)
    extension = TextField(null=True)

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "users"


class LoginFailureRow(Model):
    """Wrong passwords for a name, whether anybody has it or not."""

    name = TextField(primary_key=True)
    failures = IntegerField()
    last_at = UtcField()
    locked_until = UtcField(null=True)

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "login_failures"


class AuditRow(Model):
    """A change that somebody made."""

    id = IntegerField(primary_key=True)
    at = UtcField()
    who = TextField()
    source = TextField()
    action = TextField()
    target = TextField()
    revision = IntegerField(null=True)

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "audit"


class AnswerRow(Model):
    """What a request with an Idempotency-Key was answered."""

    scope = TextField()
    route = TextField()
    key = TextField()
    digest = BlobField()
    created_at = UtcField()
    status = IntegerField()
    headers = TextField()
    body = BlobField()

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "answers"
        primary_key = CompositeKey("scope", "route", "key")


class SoundRow(Model):
    """A sound that was uploaded or spoken, in one language."""

    name = TextField()
    language = TextField()
    version = TextField()
    source = TextField()
    text = TextField()
    voice = TextField()
    duration_s = FloatField()
    bytes = IntegerField()
    formats = TextField()
    created_at = UtcField()

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "sounds"
        primary_key = CompositeKey("name", "language")


class RecordingRow(Model):
    """One file of a recorded call."""

    id = IntegerField(primary_key=True)
    name = TextField()
    call_id = TextField()
    kind = TextField()
    path = TextField()
    started_at = UtcField()
    duration_s = FloatField()
    bytes = IntegerField()
    format = TextField()
    converted_at = UtcField(null=True)

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "recordings"


class RouteRow(Model):
    """What was decided for a channel."""

    uniqueid = TextField(primary_key=True)
    route = TextField()
    decided_at = UtcField()

    class Meta:  # noqa: D106 - peewee's way to name a table
        table_name = "routes"


TABLES = (
    RevisionRow,
    ObjectRow,
    LiveRow,
    TokenRow,
    UserRow,
    LoginFailureRow,
    AuditRow,
    AnswerRow,
    RouteRow,
    SoundRow,
    RecordingRow,
)
