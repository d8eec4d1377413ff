# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Webhooks; a secret leaves here when it is made, and for whoever signs. Every function is work for a Store; times are seconds since 1970."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import peewee

from tandem.domain.webhooks import Keys, Webhook, new_secret
from tandem.store.rows import load_rows

_COLUMNS: Final = tuple(field.name for field in fields(Webhook))
_KEYS: Final = ("secret", "old_secret", "old_secret_until")
# After a rotation a receiver has so long to learn the new secret.
OVERLAP_S: Final = 24 * 3600.0
# Each has connections of its own, so that none ever waits for another.
MAX_WEBHOOKS: Final = 100


class WebhookMissing(KeyError):
    """There is no such webhook."""


class TooManyWebhooks(Exception):
    """There are as many as there may be."""


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook with what its deliveries are signed with."""

    webhook: Webhook
    keys: Keys


def load_webhooks(db: peewee.Database) -> list[Webhook]:
    """All."""
    return [_read(row) for row in load_rows(db, _COLUMNS, "webhooks ORDER BY id")]


def load_webhook(db: peewee.Database, webhook_id: int) -> Webhook:
    """One; WebhookMissing."""
    rows = load_rows(db, _COLUMNS, "webhooks WHERE id = ?", [webhook_id])
    if not rows:
        raise WebhookMissing(webhook_id)
    return _read(rows[0])


def load_targets(db: peewee.Database, now: float) -> list[Target]:
    """The active ones, to be sent to."""
    found = []
    for row in load_rows(db, (*_COLUMNS, *_KEYS), "webhooks WHERE active = 1 ORDER BY id"):
        secret, old, until = (row.pop(name) for name in _KEYS)
        found.append(Target(_read(row), Keys((secret, old) if old and until > now else (secret,))))
    return found


def create_webhook(
    db: peewee.Database,
    *,
    url: str,
    events: Sequence[str],
    description: str,
    active: bool,
    author: str,
    at: float,
    form: str = "json",
) -> tuple[Webhook, str]:
    """A new one, and its secret. TooManyWebhooks."""
    if db.execute_sql("SELECT count(*) FROM webhooks").fetchone()[0] >= MAX_WEBHOOKS:
        raise TooManyWebhooks(f"there may be {MAX_WEBHOOKS} webhooks")
    secret = new_secret()
    cursor = db.execute_sql(
        "INSERT INTO webhooks (url, events, description, active, problem, author, secret, old_secret, old_secret_until,"
        " created_at, updated_at, version, format) VALUES (?, ?, ?, ?, '', ?, ?, '', 0, ?, ?, 1, ?) RETURNING id",
        (url, json.dumps(list(events)), description, int(active), author, secret, at, at, form),
    )
    return load_webhook(db, cursor.fetchone()[0]), secret


def update_webhook(db: peewee.Database, webhook_id: int, at: float, **changes: Any) -> Webhook:
    """Other url, events, description or active. WebhookMissing."""
    after = {name: getattr(load_webhook(db, webhook_id), name) for name in ("url", "events", "description", "active")}
    after.update(changes)
    db.execute_sql(
        "UPDATE webhooks SET url = ?, events = ?, description = ?, active = ?, problem = '', updated_at = ?, version = version + 1"
        " WHERE id = ?",
        (after["url"], json.dumps(list(after["events"])), after["description"], int(after["active"]), at, webhook_id),
    )
    return load_webhook(db, webhook_id)


def rotate_secret(db: peewee.Database, webhook_id: int, at: float) -> tuple[Webhook, str]:
    """A new secret; for a day deliveries are signed with the old one, too. WebhookMissing."""
    secret = new_secret()
    db.execute_sql(
        "UPDATE webhooks SET old_secret = secret, old_secret_until = ?, secret = ?, updated_at = ?, version = version + 1 WHERE id = ?",
        (at + OVERLAP_S, secret, at, webhook_id),
    )
    return load_webhook(db, webhook_id), secret


def deactivate_webhook(db: peewee.Database, webhook_id: int, problem: str, at: float) -> None:
    """Sends no more, because of `problem`; nothing if it is inactive or gone already."""
    db.execute_sql(
        "UPDATE webhooks SET active = 0, problem = ?, updated_at = ?, version = version + 1 WHERE id = ? AND active = 1",
        (problem, at, webhook_id),
    )


def delete_webhook(db: peewee.Database, webhook_id: int) -> None:
    """Takes it away, with its deliveries. WebhookMissing."""
    load_webhook(db, webhook_id)
    db.execute_sql("DELETE FROM webhooks WHERE id = ?", (webhook_id,))


def _read(row: dict[str, Any]) -> Webhook:
    return Webhook(**{**row, "events": tuple(json.loads(row["events"])), "active": bool(row["active"])})
