"""One request as a handler sees it: validated, with who asks; writes its effect, its audit entry and its kept answer in one transaction."""

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from http import HTTPStatus
from secrets import token_bytes
from typing import Any, Generic, TypeVar

import orjson

from api.auth import Authority, Logins, Principal
from api.declare import Reply, Route
from api.errors import PermissionMissing, Refused, TokenMissing, explain
from api.events import EventHub
from api.metrics import Metrics
from api.recent import Recent
from api.tags import KEY_BYTES, make_tag
from tandem.domain.problems import HIDDEN_FIELDS
from tandem.editing import Author, Head
from tandem.live import Live
from tandem.settings import ApiSettings
from tandem.store.answers import Answer, Once, record_answer
from tandem.store.audit import AuditEntry, record_audit
from tandem.store.database import Store
from tandem.store.number_places import NumberPlaces
from tandem.stories import Story

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What handlers work with, from the composition root."""

    store: Store
    live: Live
    head: Head
    authority: Authority
    logins: Logins
    events: EventHub
    metrics: Metrics
    now: Callable[[], datetime]
    read_health: Callable[[], dict[str, Any]]
    list_decisions: Callable[[int], list[Story]]
    applying: Any
    monitor: Any
    planning: Any = None
    channels: Any = None
    calls: Any = None
    sounds: Any = None
    surveys: Any = None
    recordings: Any = None
    voicemail: Any = None
    # All that routes ask for, so that a token for what does not exist is refused.
    permissions: frozenset[str] = frozenset()
    tag_key: bytes = field(default_factory=lambda: token_bytes(KEY_BYTES), repr=False)
    campaigns: Any = None
    imports: Any = None
    dialer: Any = None
    agents: Any = None
    features: Any = None
    nights: Any = None
    states: Any = None
    tolls: Any = None
    trunks: Any = None
    callbacks: Any = None
    allow_private_webhooks: bool = False
    look_up: Callable[[str, str], Any] | None = None
    note: Callable[[AuditEntry], object] = lambda _: None
    explain: Callable[[BaseException], Refused | None] = lambda _: None
    apis: ApiSettings = field(default_factory=ApiSettings)
    places: NumberPlaces = field(default_factory=NumberPlaces)
    recent: Recent = field(default_factory=Recent)

    def refuse(self, error: BaseException) -> Refused:
        """What is answered for an error, in our own words."""
        return self.explain(error) or explain(error)

    async def read_recent(self, key: Hashable, work: Callable[..., T], *args: Any, version: int | None = None) -> T:
        """What `work(db, *args)` finds, or found a moment ago (`api.recent`). key: of work and args; version: without one every write makes it old."""
        at, now = self.recent.writes if version is None else version, self.now().timestamp()
        return await self.recent.read(self.store, now, key, at, work, *args)


@dataclass(slots=True)
class Exchange:
    """path, query and body are validated; once: the Idempotency-Key, where there is one.

    is_near: who asks is on this machine. action: what the audit log says was done, where the route does not say it (`require`).
    """

    request: Any
    route: Route
    principal: Principal | None
    source: str
    path: Mapping[str, str]
    query: Any
    body: Any
    once: Once | None
    services: Services
    is_near: bool = False
    action: str = ""

    @property
    def who(self) -> Principal:
        """Who asks; only for routes that need a permission."""
        assert self.principal is not None
        return self.principal

    def require(self, permission: str) -> Principal:
        """Who asks, if they may do this; Refused 401 or 403. The audit log knows it by this name."""
        if self.principal is None:
            raise TokenMissing(HTTPStatus.UNAUTHORIZED, "who asks must be known for that")
        if not self.principal.may(permission):
            raise PermissionMissing(permission)
        check_scope(self.principal, self.route)
        self.action = permission
        return self.principal

    @property
    def author(self) -> Author:
        """For the history."""
        return Author(self.who.name, self.services.now)

    async def write(
        self,
        work: Callable[[Any], tuple[T, Reply]],
        target: str | Callable[[T], str | Mapping[str, int | None]],
        revision: Callable[[T], int | None] = lambda _: None,
        who: str = "",
    ) -> tuple[T, Reply]:
        """Does `work(db) -> (result, reply)` in one transaction with the audit entry and the kept answer.

        target: what it changed; several things with the revision of each have an audit entry of their own.
        """

        def perform(db: Any) -> tuple[T, Reply, list[AuditEntry]]:
            result, reply = work(db)
            place = target if isinstance(target, str) else target(result)
            places = {place: revision(result)} if isinstance(place, str) else place
            return result, reply, self._record(db, reply, places, who)

        result, reply, entries = await self.services.store.run(perform)
        self.services.recent.forget()
        for entry in entries:
            self.services.events.publish("config", partial(asdict, entry))
        return result, reply

    def _record(self, db: Any, reply: Reply, places: Mapping[str, int | None], who: str) -> list[AuditEntry]:
        """Within a transaction: the audit entries and the kept answer."""
        at = self.services.now()
        action = self.action or self.route.permission or self.route.operation
        name = who or (self.principal.name if self.principal is not None else "nobody")
        entries = [
            AuditEntry(at=at, who=name, source=self.source, action=action, target=target[:200], revision=revision)
            for target, revision in places.items()
        ]
        for entry in entries:
            record_audit(db, entry)
        if self.once is not None:
            kept = self.route.encode(reply.value if reply.kept is None else reply.kept)
            record_answer(db, self.once, Answer(int(reply.status), reply.headers, kept), at)
        return entries

    def tag(self, representation: bytes) -> str:
        """The ETag of an object with all its fields, also those that are not shown."""
        return make_tag(self.services.tag_key, representation)

    def check_match(self, current: str | None) -> None:
        """Refused 412 when `If-Match` names another state than `current` (None: there is none)."""
        wanted = self.request.getHeader("if-match")
        if wanted is None:
            return
        tags = {tag.strip() for tag in wanted.split(",")}
        if current is None or ("*" not in tags and current not in tags):
            raise Refused(HTTPStatus.PRECONDITION_FAILED, "it was changed meanwhile: read it again")

    def is_fresh(self, current: str) -> bool:
        """Whether `If-None-Match` already names this state."""
        held = self.request.getHeader("if-none-match") or ""
        return current in {tag.strip().removeprefix("W/") for tag in held.split(",")}


class Commit(Generic[T]):
    """An exchange's transaction as use-cases take it: does their work, and keeps the audit entry and the answer with it.

    reply: the answer to what the work returned, made within the transaction.
    """

    def __init__(
        self,
        exchange: Exchange,
        target: str | Callable[[T], str | Mapping[str, int | None]],
        reply: Callable[[Any, T], Reply],
    ) -> None:
        self._exchange, self._target, self._make_reply = exchange, target, reply
        self._reply: Reply | None = None

    async def __call__(self, work: Callable[[Any], T]) -> T:
        """Does `work(db)`; once."""

        def perform(db: Any) -> tuple[T, Reply]:
            result = work(db)
            return result, self._make_reply(db, result)

        result, self._reply = await self._exchange.write(perform, self._target)
        return result

    @property
    def reply(self) -> Reply:
        """What was answered."""
        assert self._reply is not None, "nothing was committed"
        return self._reply


def check_scope(principal: Principal, route: Route) -> None:
    """Fails closed: what does not know groups shows everybody's. Refused 403 for who is limited to some campaigns."""
    if principal.campaigns is not None and not route.is_scoped:
        raise Refused(HTTPStatus.FORBIDDEN, "this shows more than the campaigns of your group")


def digest_body(value: Any) -> bytes:
    """What a repeated request is recognised by: the parsed body, whatever its spaces and order.

    Without secrets: a fast hash of a password would undo the slow one.
    """
    return hashlib.sha256(orjson.dumps(_without_secrets(value), option=orjson.OPT_SORT_KEYS)).digest()


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_secrets(part) for name, part in value.items() if name not in HIDDEN_FIELDS}
    if isinstance(value, list):
        return [_without_secrets(part) for part in value]
    return value
