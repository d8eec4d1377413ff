# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What a request with an Idempotency-Key was answered, for 24 hours; never holds a secret. Every function is work for a Store."""

import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import peewee

from tandem.store.tables import AnswerRow

KEPT: Final = timedelta(hours=24)


class OtherBody(Exception):
    """The key was used before, for another body."""


@dataclass(frozen=True, slots=True)
class Once:
    """A request that must be done once. scope: whose key it is; route: method and path; digest: of the body."""

    scope: str
    route: str
    key: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def load_answer(db: peewee.Database, once: Once, at: datetime) -> Answer | None:
    """The answer of the first time; None if this is it. OtherBody if the body was another one."""
    row = (
        AnswerRow.select(AnswerRow.digest, AnswerRow.status, AnswerRow.headers, AnswerRow.body)
        .where(
            AnswerRow.scope == once.scope,
            AnswerRow.route == once.route,
            AnswerRow.key == once.key,
            AnswerRow.created_at >= at - KEPT,
        )
        .tuples()
        .first(db)
    )
    if row is None:
        return None
    digest, status, headers, body = row
    if not hmac.compare_digest(bytes(digest), once.digest):
        raise OtherBody(once.key)
    return Answer(status, tuple((name, value) for name, value in json.loads(headers)), bytes(body))


def record_answer(db: peewee.Database, once: Once, answer: Answer, at: datetime) -> None:
    """Keeps an answer, in the transaction of its effect, in the place of one that is too old."""
    AnswerRow.delete().where(
        AnswerRow.scope == once.scope, AnswerRow.route == once.route, AnswerRow.key == once.key
    ).execute(db)
    AnswerRow.insert(
        scope=once.scope,
        route=once.route,
        key=once.key,
        digest=once.digest,
        created_at=at,
        status=answer.status,
        headers=json.dumps(answer.headers),
        body=answer.body,
    ).execute(db)
