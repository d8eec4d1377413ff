"""The objects of the PBX: list, get, create, replace, change, delete, all of the head; never applies anything.

A secret (of an endpoint or trunk, a voicemail box's PIN) is written and never shown. So a replace without one keeps what there is.
"""

from collections.abc import Callable
from dataclasses import fields
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import orjson
from pydantic import TypeAdapter

from api.declare import PREFIX, Body, Page, Reply, Route, Shown, all_optional, read_object, validate
from api.errors import Refused, refuse_fields
from api.exchange import Exchange, Services
from api.listing import list_query, make_page
from tandem.domain.entities import COLLECTIONS, Entity, General
from tandem.domain.problems import SECRET_FIELDS
from tandem.domain.snapshot import Snapshot, name_of
from tandem.editing import find_object, list_objects
from tandem.store.objects import Saved

_FIND_FAILURES: Final = (HTTPStatus.NOT_FOUND,)
_EDIT_FAILURES: Final = (HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED)
# Saves within a transaction.
Work = Callable[[Any], Saved]


def show(entity: Entity | General) -> dict[str, Any]:
    """An object without its secrets."""
    value: dict[str, Any] = orjson.loads(orjson.dumps(entity))
    for name in SECRET_FIELDS:
        value.pop(name, None)
    return value


class Resource:
    """The six routes of a collection. path and word: how it is called in a path and in words."""

    def __init__(self, collection: str, path: str, word: str) -> None:
        self.collection, self.path, self.word = collection, path, word
        self.kind: type[Any]
        self.kind, self.key = COLLECTIONS[collection]
        self.secrets = SECRET_FIELDS & {field.name for field in fields(self.kind)}
        self._adapter: TypeAdapter[Any] = TypeAdapter(self.kind)

    # -------------------------------------------------------------------------------------------- handlers

    async def list_all(self, services: Services, exchange: Exchange) -> Reply:
        """Some of them, in the order wanted."""
        snapshot = await services.head.read()
        page = make_page(list_objects(snapshot, self.collection), exchange.query, self.key, show)
        return Reply(orjson.dumps(page))

    async def get(self, services: Services, exchange: Exchange) -> Reply:
        """One of them, unless the client has it already."""
        reply = self._give(self._find(await services.head.read(), exchange), exchange)
        if exchange.is_fresh(reply.headers[0][1]):
            return Reply(None, HTTPStatus.NOT_MODIFIED, reply.headers)
        return reply

    async def create(self, services: Services, exchange: Exchange) -> Reply:
        """A new one; 409 where there is one of that name."""

        def decide(snapshot: Snapshot) -> Entity:
            entity: Entity = exchange.body
            if find_object(snapshot, self.collection, name_of(entity)) is not None:
                raise Refused(HTTPStatus.CONFLICT, f"{self.word} {name_of(entity)} is there already")
            return entity

        return await self._save(services, exchange, decide, HTTPStatus.CREATED)

    async def replace(self, services: Services, exchange: Exchange) -> Reply:
        """All fields anew, but for secrets that are not given."""

        def decide(snapshot: Snapshot) -> Entity:
            current = self._match(snapshot, exchange)
            given = {**{name: getattr(current, name) for name in self.secrets}, **exchange.body}
            return self._keep_key(self.check(given), current)

        return await self._save(services, exchange, decide)

    async def change(self, services: Services, exchange: Exchange) -> Reply:
        """Only the fields that are given."""

        def decide(snapshot: Snapshot) -> Entity:
            current = self._match(snapshot, exchange)
            return self._keep_key(self.check({**orjson.loads(orjson.dumps(current)), **exchange.body}), current)

        return await self._save(services, exchange, decide)

    async def delete(self, services: Services, exchange: Exchange) -> Reply:
        """Takes one away that nothing leads to."""
        name = exchange.path[self.key]
        gone = Reply(None, HTTPStatus.NO_CONTENT)

        async def commit(work: Work) -> Saved:
            saved, _ = await exchange.write(lambda db: (work(db), gone), f"{self.collection}/{name}", _revision_of)
            return saved

        await services.head.delete(
            self.collection, name, lambda snapshot: self._match(snapshot, exchange), exchange.author, commit
        )
        return gone

    # -------------------------------------------------------------------------------------------- what they share

    def check(self, value: Any) -> Any:
        """Parsed JSON as an object; Refused names each field and its rule."""
        return validate(self._adapter, self.kind, value)

    def _find(self, snapshot: Snapshot, exchange: Exchange) -> Entity:
        wanted = exchange.path[self.key]
        entity = find_object(snapshot, self.collection, wanted)
        if entity is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is no {self.word} {wanted[:60]!r}")
        return entity

    def _match(self, snapshot: Snapshot, exchange: Exchange) -> Entity:
        """The one that is to be changed, if it is still as the client knows it."""
        entity = self._find(snapshot, exchange)
        exchange.check_match(exchange.tag(orjson.dumps(entity)))
        return entity

    def _keep_key(self, entity: Entity, current: Entity) -> Entity:
        if name_of(entity) != name_of(current):
            rule = f"must be {name_of(current)!r} as in the path: make a new one, then delete this one"
            raise refuse_fields([(self.key, rule)])
        return entity

    def _give(self, entity: Entity, exchange: Exchange, status: int = HTTPStatus.OK) -> Reply:
        headers = [("etag", exchange.tag(orjson.dumps(entity)))]
        if status == HTTPStatus.CREATED:
            headers.append(("location", f"{PREFIX}/{self.path}/{quote(name_of(entity), safe='+*')}"))
        return Reply(show(entity), status, tuple(headers))

    async def _save(
        self, services: Services, exchange: Exchange, decide: Callable[[Snapshot], Entity], status: int = HTTPStatus.OK
    ) -> Reply:
        made: list[Entity] = []
        replies: list[Reply] = []

        def choose(snapshot: Snapshot) -> Entity:
            made.append(decide(snapshot))
            return made[-1]

        async def commit(work: Work) -> Saved:
            def perform(db: Any) -> tuple[Saved, Reply]:
                saved = work(db)
                return saved, _with_revision(self._give(made[-1], exchange, status), saved)

            saved, reply = await exchange.write(perform, f"{self.collection}/{name_of(made[-1])}", _revision_of)
            replies.append(reply)
            return saved

        await services.head.edit(choose, exchange.author, commit)
        return replies[-1]

    # -------------------------------------------------------------------------------------------- declarations

    def declare(self) -> tuple[Route, ...]:
        """list, get, create, replace, change, delete."""
        path = f"{PREFIX}/{self.path}"
        one = f"{path}/{{{self.key}}}"
        group, snake, name = self.path.replace("-", "_"), self.word.lower().replace(" ", "_"), self.kind.__name__
        names = {self.key: f"The {self.key} of the {self.word}."}
        # Plain values: what is shown has no secrets, and the kind has.
        shown = Shown(self.kind, schema=_without_secrets, name=f"{name}Shown")
        listed = Shown(Page[Any], schema=lambda schema: _with_items(schema, f"{name}Shown"), name=f"{name}Page")
        whole = Body(self.kind, self.check, name=name, example=_EXAMPLES[self.collection])
        loose = Body(self.kind, read_object, schema=_optional_secrets, name=f"{name}Replacement")
        part = Body(self.kind, read_object, schema=all_optional, name=f"{name}Change")
        return (
            Route(
                method="GET", path=path, permission=f"{group}/read", summary=f"List {self.path}.", handler=self.list_all,
                tag=group, operation=f"list_{group}", query=list_query(self.kind, self.key), answer=listed,
            ),
            Route(
                method="POST", path=path, permission=f"{group}/create", summary=f"Make a {self.word}.", handler=self.create,
                tag=group, operation=f"create_{snake}", body=whole, answer=shown, status=HTTPStatus.CREATED, etag=True,
            ),
            Route(
                method="GET", path=one, parameters=names, permission=f"{group}/read", summary=f"Read a {self.word}.", handler=self.get, tag=group,
                operation=f"get_{snake}", answer=shown, raises=(*_FIND_FAILURES, HTTPStatus.NOT_MODIFIED), etag=True,
            ),
            Route(
                method="PUT", path=one, parameters=names, permission=f"{group}/update", tag=group, operation=f"replace_{snake}",
                summary=f"Replace a {self.word}; a secret that is not given is kept.", handler=self.replace, body=loose,
                answer=shown, raises=(*_FIND_FAILURES, *_EDIT_FAILURES), etag=True,
            ),
            Route(
                method="PATCH", path=one, parameters=names, permission=f"{group}/update", tag=group, operation=f"change_{snake}",
                summary=f"Change fields of a {self.word}; the others stay as they are.", handler=self.change, body=part,
                answer=shown, raises=(*_FIND_FAILURES, *_EDIT_FAILURES), etag=True,
            ),
            Route(
                method="DELETE", path=one, parameters=names, permission=f"{group}/delete", tag=group, operation=f"delete_{snake}",
                summary=f"Delete a {self.word} that nothing leads to.", handler=self.delete, status=HTTPStatus.NO_CONTENT,
                raises=(*_FIND_FAILURES, *_EDIT_FAILURES),
            ),
        )  # fmt: skip


def _revision_of(saved: Saved) -> int | None:
    return saved.revision if saved.is_new else None


def _with_revision(reply: Reply, saved: Saved) -> Reply:
    return Reply(reply.value, reply.status, (*reply.headers, ("tandem-revision", str(saved.revision))))


# ------------------------------------------------------------------------------------------------------ schemas


def _with_items(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """A page of these."""
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
    return {**schema, "properties": {**schema["properties"], "items": items}}


def _without_secrets(schema: dict[str, Any]) -> dict[str, Any]:
    """What is answered: every field but the secrets, and all of them always."""
    properties = {name: value for name, value in schema["properties"].items() if name not in SECRET_FIELDS}
    return {**schema, "properties": properties, "required": list(properties)}


def _optional_secrets(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "required": [name for name in schema.get("required", ()) if name not in SECRET_FIELDS]}


# ------------------------------------------------------------------------------------------------------ general

_GENERAL: Final = TypeAdapter(General)
_GENERAL_PATH: Final = f"{PREFIX}/general"


async def _get_general(services: Services, exchange: Exchange) -> Reply:
    general = (await services.head.read()).general
    tag = exchange.tag(orjson.dumps(general))
    if exchange.is_fresh(tag):
        return Reply(None, HTTPStatus.NOT_MODIFIED, (("etag", tag),))
    return Reply(show(general), headers=(("etag", tag),))


async def _change_general(services: Services, exchange: Exchange) -> Reply:
    made: list[General] = []
    replies: list[Reply] = []

    def decide(snapshot: Snapshot) -> General:
        exchange.check_match(exchange.tag(orjson.dumps(snapshot.general)))
        made.append(validate(_GENERAL, General, {**orjson.loads(orjson.dumps(snapshot.general)), **exchange.body}))
        return made[-1]

    async def commit(work: Work) -> Saved:
        def perform(db: Any) -> tuple[Saved, Reply]:
            saved = work(db)
            reply = Reply(show(made[-1]), headers=(("etag", exchange.tag(orjson.dumps(made[-1]))),))
            return saved, _with_revision(reply, saved)

        saved, reply = await exchange.write(perform, "general", _revision_of)
        replies.append(reply)
        return saved

    await services.head.edit(decide, exchange.author, commit)
    return replies[-1]


_GENERAL_ROUTES: Final = (
    Route(
        method="GET", path=_GENERAL_PATH, permission="general/read", summary="What holds for the whole PBX.",
        handler=_get_general, tag="general", operation="get_general", answer=Shown(General, schema=_without_secrets, name="GeneralShown"),
        raises=(HTTPStatus.NOT_MODIFIED,), etag=True,
    ),
    Route(
        method="PATCH", path=_GENERAL_PATH, permission="general/update", summary="Change what holds for the whole PBX.",
        handler=_change_general, tag="general", operation="change_general", etag=True,
        body=Body(General, read_object, schema=all_optional, name="GeneralChange"),
        answer=Shown(General, schema=_without_secrets, name="GeneralShown"), raises=_EDIT_FAILURES,
    ),
)  # fmt: skip

# What a person would send; each is the least that makes sense.
_EXAMPLES: Final[dict[str, Any]] = {
    "dids": {"number": "+493012345", "description": "Sales", "destination": {"queue": "sales"}},
    "endpoints": {"extension": "1001", "name": "Anna", "secret": "at least eight signs", "permissions": ["internal", "national"]},
    "trunks": {
        "name": "carrier", "authentication": "registration", "hosts": ["sip.carrier.example"], "username": "account", "secret": "of the carrier",
    },
    "outbound_routes": {
        "name": "national", "patterns": ["_0[1-9]X.", "+49*"], "trunks": ["carrier", "backup"], "permission": "national",
    },
    "menus": {
        "name": "main", "prompts": ["custom/welcome"], "options": {"1": {"queue": "sales"}, "2": {"endpoint": "1001"}},
        "invalid": {"queue": "sales"}, "timeout": {"queue": "sales"}, "fallback": {"queue": "sales"},
    },
    "music_classes": {"name": "waltzes", "sounds": ["tandem/waltz", "tandem/second-waltz"], "order": "random"},
    "penalty_rules": {"name": "widen", "changes": [{"after_s": 0, "max_penalty": 0}, {"after_s": 30, "max_penalty": 5}]},
    "queues": {"name": "sales", "members": [{"endpoint": "1001"}], "fallback": {"voicemail": "1001"}},
    "voicemail_boxes": {"mailbox": "1001", "name": "Anna", "pin": "471147"},
    "schedules": {
        "name": "office", "time_zone": "Europe/Berlin", "hours": [{"days": ["mon", "fri"], "start": "09:00", "end": "17:00"}], "holidays": ["12-25"],
    },
    "announcements": {"name": "closed", "prompts": ["custom/closed"]},
    "conferences": {"name": "team", "extension": "640", "pin": "4711", "moderator_pin": "0815"},
    "page_groups": {"name": "floor", "extension": "650", "members": ["1001", "1002"]},
    "ring_groups": {
        "name": "desk", "extension": "600", "members": [{"endpoint": "1001"}, {"external": "+493055501"}], "fallback": {"voicemail": "1001"},
    },
}  # fmt: skip

RESOURCES: Final = (
    Resource("dids", "dids", "DID"),
    Resource("endpoints", "endpoints", "endpoint"),
    Resource("trunks", "trunks", "trunk"),
    Resource("outbound_routes", "outbound_routes", "outbound route"),
    Resource("menus", "menus", "menu"),
    Resource("music_classes", "music-classes", "music class"),
    Resource("penalty_rules", "penalty-rules", "penalty rule"),
    Resource("queues", "queues", "queue"),
    Resource("voicemail_boxes", "voicemail", "voicemail box"),
    Resource("schedules", "schedules", "schedule"),
    Resource("announcements", "announcements", "announcement"),
    Resource("ring_groups", "ring-groups", "ring group"),
    Resource("conferences", "conferences", "conference"),
    Resource("page_groups", "page-groups", "page group"),
)

ROUTES: Final[tuple[Route, ...]] = (
    *(route for resource in RESOURCES for route in resource.declare()),
    *_GENERAL_ROUTES,
)
