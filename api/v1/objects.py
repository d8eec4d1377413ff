"""The objects of the PBX: list, get, create, replace, change, delete, all of the head; never applies anything.

A secret (of an endpoint or trunk, a voicemail box's PIN) is written and never shown. So a replace without one keeps what there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import Annotated, Any, Final, get_args, get_origin
from urllib.parse import quote

import orjson
from pydantic import Field, TypeAdapter, create_model

from api.declare import PREFIX, Body, Frozen, Page, Reply, Route, Shown, validate
from api.errors import Refused, refuse_fields
from api.exchange import Exchange, Services
from tandem.domain.entities import COLLECTIONS, Entity, General
from tandem.domain.problems import SECRET_FIELDS
from tandem.domain.snapshot import Snapshot, name_of
from tandem.editing import find_object, list_objects
from tandem.store.objects import Saved

_FIND_FAILURES: Final = (HTTPStatus.NOT_FOUND,)
_EDIT_FAILURES: Final = (HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED)
# A filter is a field with one plain value.
_PLAIN: Final = (str, int, float, bool)


@dataclass(frozen=True, slots=True)
class Resource:
    """How a collection is called in a path and in words. `adapter` validates its objects."""

    collection: str
    path: str
    word: str
    kind: type[Any]
    key: str
    adapter: TypeAdapter[Any]

    @property
    def secrets(self) -> frozenset[str]:
        """Fields that are written and never shown."""
        return SECRET_FIELDS & {field.name for field in fields(self.kind)}


def show(entity: Entity | General) -> dict[str, Any]:
    """An object without its secrets."""
    value: dict[str, Any] = orjson.loads(orjson.dumps(entity))
    for name in SECRET_FIELDS:
        value.pop(name, None)
    return value


class _ListQuery(Frozen):
    """What every list takes."""

    limit: Annotated[int, Field(ge=1, le=1000, description="How many at most.")] = 100
    offset: Annotated[int, Field(ge=0, le=10**9, description="How many to pass over.")] = 0
    q: Annotated[
        str, Field(max_length=100, description="Only those with this text in name, number or description.")
    ] = ""


def declare_resource(resource: Resource) -> Iterator[Route]:
    """Its six routes."""
    path, one = f"{PREFIX}/{resource.path}", f"{PREFIX}/{resource.path}/{{{resource.key}}}"
    word, plural, tag = resource.word, resource.path.replace("-", " "), resource.path
    name = resource.word.title().replace(" ", "")
    shown = Shown(resource.kind, schema=_without_secrets, name=f"{name}Shown")
    listed = Shown(Page[Any], schema=lambda schema: _with_items(schema, f"{name}Shown"), name=f"{name}Page")
    group = resource.path.replace("-", "_")
    snake = resource.word.replace(" ", "_")

    def check(value: Any) -> Any:
        return validate(resource.adapter, resource.kind, value)

    def give(entity: Entity, exchange: Exchange, status: int = HTTPStatus.OK) -> Reply:
        tag_now = exchange.tag(orjson.dumps(entity))
        headers = [("etag", tag_now)]
        if status == HTTPStatus.CREATED:
            headers.append(("location", f"{path}/{quote(name_of(entity), safe='+*')}"))
        return Reply(show(entity), status, tuple(headers))

    def find(snapshot: Snapshot, exchange: Exchange) -> Entity:
        wanted = exchange.path[resource.key]
        entity = find_object(snapshot, resource.collection, wanted)
        if entity is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is no {word} {wanted[:60]!r}")
        return entity

    async def save(exchange: Exchange, decide: Any, status: int = HTTPStatus.OK) -> Reply:
        made: list[Entity] = []
        replies: list[Reply] = []

        def choose(snapshot: Snapshot) -> Entity:
            made.append(decide(snapshot))
            return made[-1]

        async def commit(work: Any) -> Saved:
            def perform(db: Any) -> tuple[Saved, Reply]:
                saved = work(db)
                reply = give(made[-1], exchange, status)
                return saved, Reply(
                    reply.value, reply.status, (*reply.headers, ("tandem-revision", str(saved.revision)))
                )

            target = f"{resource.collection}/{name_of(made[-1])}"
            saved, reply = await exchange.write(perform, target, lambda saved: saved.revision if saved.is_new else None)
            replies.append(reply)
            return saved

        await exchange.services.head.edit(choose, exchange.author, commit)
        return replies[-1]

    async def list_all(services: Services, exchange: Exchange) -> Reply:
        snapshot = await services.head.read()
        return Reply(_list_page(list_objects(snapshot, resource.collection), exchange.query, resource.key))

    async def get(services: Services, exchange: Exchange) -> Reply:
        reply = give(find(await services.head.read(), exchange), exchange)
        if exchange.is_fresh(reply.headers[0][1]):
            return Reply(None, HTTPStatus.NOT_MODIFIED, reply.headers)
        return reply

    async def create(services: Services, exchange: Exchange) -> Reply:  # noqa: ARG001 - as all handlers
        def decide(snapshot: Snapshot) -> Entity:
            entity: Entity = exchange.body
            if find_object(snapshot, resource.collection, name_of(entity)) is not None:
                raise Refused(HTTPStatus.CONFLICT, f"{word} {name_of(entity)} is there already")
            return entity

        return await save(exchange, decide, HTTPStatus.CREATED)

    async def replace(services: Services, exchange: Exchange) -> Reply:  # noqa: ARG001 - as all handlers
        def decide(snapshot: Snapshot) -> Entity:
            current = find(snapshot, exchange)
            exchange.check_match(exchange.tag(orjson.dumps(current)))
            given = dict(exchange.body)
            for secret in resource.secrets:
                given.setdefault(secret, getattr(current, secret))
            return _keep_key(check(given), current)

        return await save(exchange, decide)

    async def change(services: Services, exchange: Exchange) -> Reply:  # noqa: ARG001 - as all handlers
        def decide(snapshot: Snapshot) -> Entity:
            current = find(snapshot, exchange)
            exchange.check_match(exchange.tag(orjson.dumps(current)))
            return _keep_key(check({**orjson.loads(orjson.dumps(current)), **exchange.body}), current)

        return await save(exchange, decide)

    async def delete(services: Services, exchange: Exchange) -> Reply:
        def look(snapshot: Snapshot) -> None:
            exchange.check_match(exchange.tag(orjson.dumps(find(snapshot, exchange))))

        async def commit(work: Any) -> Saved:
            saved, _ = await exchange.write(
                lambda db: (work(db), Reply(None, HTTPStatus.NO_CONTENT)),
                f"{resource.collection}/{exchange.path[resource.key]}",
                lambda saved: saved.revision,
            )
            return saved

        await services.head.delete(resource.collection, exchange.path[resource.key], look, exchange.author, commit)
        return Reply(None, HTTPStatus.NO_CONTENT)

    whole = Body(resource.kind, check, name=name)
    loose = Body(resource.kind, _read_object, schema=_optional_secrets, name=f"{name}Replacement")
    part = Body(resource.kind, _read_object, schema=_all_optional, name=f"{name}Change")
    yield Route(
        method="GET", path=path, permission=f"{group}/read", summary=f"List {plural}.", handler=list_all, tag=tag,
        operation=f"list_{group}", query=_query_model(resource), answer=listed,
    )  # fmt: skip
    yield Route(
        method="POST", path=path, permission=f"{group}/create", summary=f"Make a {word}.", handler=create, tag=tag,
        operation=f"create_{snake}", body=whole, answer=shown, status=HTTPStatus.CREATED, raises=(HTTPStatus.CONFLICT,), etag=True,
    )  # fmt: skip
    yield Route(
        method="GET", path=one, permission=f"{group}/read", summary=f"Read a {word}.", handler=get, tag=tag,
        operation=f"get_{snake}", answer=shown, raises=(*_FIND_FAILURES, HTTPStatus.NOT_MODIFIED), etag=True,
    )  # fmt: skip
    yield Route(
        method="PUT", path=one, permission=f"{group}/update", summary=f"Replace a {word}; a secret that is not given is kept.",
        handler=replace, tag=tag, operation=f"replace_{snake}", body=loose, answer=shown,
        raises=(*_FIND_FAILURES, *_EDIT_FAILURES), etag=True,
    )  # fmt: skip
    yield Route(
        method="PATCH", path=one, permission=f"{group}/update", summary=f"Change fields of a {word}; the others stay as they are.",
        handler=change, tag=tag, operation=f"change_{snake}", body=part, answer=shown,
        raises=(*_FIND_FAILURES, *_EDIT_FAILURES), etag=True,
    )  # fmt: skip
    yield Route(
        method="DELETE", path=one, permission=f"{group}/delete", summary=f"Delete a {word} that nothing leads to.",
        handler=delete, tag=tag, operation=f"delete_{snake}", status=HTTPStatus.NO_CONTENT,
        raises=(*_FIND_FAILURES, *_EDIT_FAILURES),
    )  # fmt: skip


def _read_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refuse_fields([("", "must be an object")])
    return value


def _keep_key(entity: Entity, current: Entity) -> Entity:
    if name_of(entity) != name_of(current):
        key = COLLECTIONS[next(c for c, (kind, _) in COLLECTIONS.items() if type(entity) is kind)][1]
        raise refuse_fields(
            [(key, f"must be {name_of(current)!r} as in the path: make a new one, then delete this one")]
        )
    return entity


def _list_page(entities: list[Any], query: Any, key: str) -> dict[str, Any]:
    filters = {
        name: value for name, value in query.model_dump().items() if name not in {*_ListQuery.model_fields, "sort"}
    }
    wanted = {name: value for name, value in filters.items() if value is not None}
    if query.q:
        text = query.q.casefold()
        entities = [
            entity
            for entity in entities
            if any(text in str(getattr(entity, name, "") or "").casefold() for name in (key, "name", "description"))
        ]
    for name, value in wanted.items():
        entities = [entity for entity in entities if getattr(entity, name) == value]
    field = query.sort.removeprefix("-")
    # None sorts before everything; equal ones by key.
    entities = sorted(entities, key=lambda entity: getattr(entity, key))
    entities.sort(
        key=lambda entity: ((value := getattr(entity, field)) is not None, value if value is not None else 0),
        reverse=query.sort.startswith("-"),
    )
    page = entities[query.offset : query.offset + query.limit]
    return {
        "items": [show(entity) for entity in page],
        "total": len(entities),
        "offset": query.offset,
        "limit": query.limit,
    }


def _plain_fields(kind: type[Any]) -> dict[str, Any]:
    """Fields that hold one plain value and are no secret: name -> type."""
    found: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in SECRET_FIELDS:
            continue
        if (plain := _plain_type(field.type)) is not None:
            found[field.name] = plain
    return found


def _plain_type(annotation: Any) -> Any:
    """str, int, float or bool behind Annotated, Literal and `| None`; None for anything else."""
    if get_origin(annotation) is Annotated:
        return _plain_type(get_args(annotation)[0])
    if annotation in _PLAIN:
        return annotation
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return str
    if len(arguments) == 1 and get_origin(annotation) not in (tuple, dict, list):
        return _plain_type(arguments[0])
    return None


def _query_model(resource: Resource) -> type[Any]:
    plain = _plain_fields(resource.kind)
    sorts = "|".join(plain)
    filters: dict[str, Any] = {
        name: (Annotated[kind | None, Field(description=f"Only those whose {name} is this.", **_limit(kind))], None)
        for name, kind in plain.items()
    }
    sort = Annotated[str, Field(pattern=f"^-?({sorts})$", description="The field to sort by; with - backwards.")]
    filters["sort"] = (sort, resource.key)
    return create_model(f"{resource.kind.__name__}Query", __base__=_ListQuery, **filters)


def _limit(kind: type) -> dict[str, Any]:
    return {"max_length": 100} if kind is str else {}


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


def _all_optional(schema: dict[str, Any]) -> dict[str, Any]:
    """What is changed: nothing is required, and nothing has a default, which would look like a change."""
    properties = {
        name: {part: value for part, value in field.items() if part != "default"}
        for name, field in schema["properties"].items()
    }
    return {key: value for key, value in {**schema, "properties": properties}.items() if key != "required"}


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

    async def commit(work: Any) -> Saved:
        def perform(db: Any) -> tuple[Saved, Reply]:
            saved = work(db)
            headers = (("etag", exchange.tag(orjson.dumps(made[-1]))), ("tandem-revision", str(saved.revision)))
            return saved, Reply(show(made[-1]), headers=headers)

        saved, reply = await exchange.write(perform, "general", lambda saved: saved.revision)
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
        body=Body(General, _read_object, schema=_all_optional, name="GeneralChange"),
        answer=Shown(General, schema=_without_secrets, name="GeneralShown"), raises=_EDIT_FAILURES,
    ),
)  # fmt: skip

_PATHS: Final = {
    "dids": ("dids", "DID"),
    "endpoints": ("endpoints", "endpoint"),
    "trunks": ("trunks", "trunk"),
    "menus": ("menus", "menu"),
    "queues": ("queues", "queue"),
    "voicemail_boxes": ("voicemail", "voicemail box"),
    "schedules": ("schedules", "schedule"),
    "announcements": ("announcements", "announcement"),
}

RESOURCES: Final = tuple(
    Resource(
        collection,
        path,
        word,
        COLLECTIONS[collection][0],
        COLLECTIONS[collection][1],
        TypeAdapter(COLLECTIONS[collection][0]),
    )
    for collection, (path, word) in _PATHS.items()
)

ROUTES: Final[tuple[Route, ...]] = (
    *(route for resource in RESOURCES for route in declare_resource(resource)),
    *_GENERAL_ROUTES,
)
