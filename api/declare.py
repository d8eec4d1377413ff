"""How a route is declared: method, path, permission, query, body and answer, once; validation, JSON and OpenAPI all come from this.

A resource declares its routes in a table `ROUTES` (`api.v1` has one file for each). A query and a body are a `Frozen` model, which
refuses what it does not know. An answer is a frozen dataclass, best the one that the use-case returns: it is not written down twice.
A handler takes `(services, exchange)` and returns a `Reply`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from api.errors import BodyUnreadable, refuse_fields
from tandem.domain.problems import describe_errors

PREFIX: Final = "/api/v1"
MAX_BODY: Final = 1024 * 1024
# What a request that needs no body may still send.
MAX_IDLE_BODY: Final = 64 * 1024
MAX_DEPTH: Final = 30
# From the first byte of a request to its last; one who sends slower is cut off.
ARRIVAL_S: Final = 20.0
JSON: Final = "application/json"

T = TypeVar("T")


class Frozen(BaseModel):
    """What every body and query of our own is: nothing unknown, nothing changed later."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list: `total` is how many there are, `offset` where this part begins."""

    items: tuple[T, ...]
    total: int
    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class Whole(Generic[T]):
    """All of a list."""

    items: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request's query and body as they came, for those that read them by rules of their own."""

    query: bytes
    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Body:
    """What a request brings. `read` turns the parsed JSON into the value.

    takes_files: a file may come instead, as a form with `fields` or as the bytes alone; `read` gets an `Upload` then.
    optional: none at all means the defaults. example: for the document, where the schema does not speak for itself.
    is_file: too long to be read at once: the handler gets a file, which it closes, and reads it in a thread.
    is_sent: `read` gets what was `Sent`, whatever it is, and the query is its own too (`api.compat.parameters`).
    """

    kind: Any
    read: Callable[[Any], Any]
    schema: Callable[[dict[str, Any]], dict[str, Any]] = lambda schema: schema
    optional: bool = False
    name: str = ""
    media_type: str = JSON
    takes_files: bool = False
    fields: tuple[str, ...] = ()
    example: Any = None
    is_file: bool = False
    is_sent: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What a route answers. kind: a frozen dataclass, or a `Page` or `Whole` of one: its JSON and its schema come from its fields.

    Handlers may answer a dict instead, which is written as it is; `schema` then changes the JSON schema to what it holds (objects
    without their secrets). name: in the document, the dataclass's own without it. `str` is for bytes of another `media_type`.
    """

    kind: Any
    schema: Callable[[dict[str, Any]], dict[str, Any]] = lambda schema: schema
    name: str = ""
    media_type: str = JSON

    def encode(self, value: Any) -> bytes:
        """A value of `kind` as JSON."""
        return _adapt(self.kind).dump_json(value, by_alias=True)

    def plain(self, value: Any) -> Any:
        """The same in dicts, lists and plain values, for events."""
        return _adapt(self.kind).dump_python(value, mode="json", by_alias=True)


@cache
def _adapt(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers. value: of the declared kind, or a dict or bytes as they are; kept: instead of it, what may be kept on disk."""

    value: Any = None
    status: int = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = JSON
    kept: Any = None


# A handler that has written its answer itself returns None.
Handler = Callable[[Any, Any], Awaitable[Reply | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. path: below the root, with `{name}` for what varies; permission: None for everybody, without a token.

    aliases: other paths of the same. identify: who asks, by what is in the request itself (parameters, a cookie), where no token says so;
    such a route has no permission, and its handler asks for one (`Exchange.require`) as soon as it knows what is wanted.
    is_scoped: shows and changes only what somebody may see who is limited to some campaigns; others refuse them.
    parameters: what varies in the path, in words. raises: what it may answer besides the errors that all of its kind have.
    """

    method: str
    path: str
    permission: str | None
    summary: str
    handler: Handler
    tag: str
    operation: str
    query: type[BaseModel] | None = None
    body: Body | None = None
    answer: Shown | None = None
    status: int = HTTPStatus.OK
    raises: tuple[HTTPStatus, ...] = ()
    max_body: int = MAX_BODY
    arrival_s: float = ARRIVAL_S
    etag: bool = False
    aliases: tuple[str, ...] = ()
    identify: Callable[[Any, Any], Awaitable[Any]] | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    is_scoped: bool = False

    @property
    def path_names(self) -> tuple[str, ...]:
        """What varies in the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    @property
    def rules(self) -> tuple[str, ...]:
        """The paths as werkzeug writes them."""
        return tuple(path.replace("{", "<").replace("}", ">") for path in (self.path, *self.aliases))

    @property
    def body_limit(self) -> int:
        """How many bytes a body may have."""
        return self.max_body if self.body is not None else min(MAX_IDLE_BODY, self.max_body)

    def encode(self, value: Any) -> bytes:
        """The body of an answer."""
        if isinstance(value, bytes):
            return value
        if value is None:
            return b""
        if isinstance(value, dict):
            return orjson.dumps(value)
        assert self.answer is not None, f"{self.operation} declares no answer"
        return self.answer.encode(value)


def model_body(kind: Any, *, optional: bool = False, example: Any = None) -> Body:
    """A body of our own model, strict: JSON has types."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return Body(kind=kind, read=lambda value: validate(adapter, kind, value), optional=optional, example=example)


def read_object(value: Any) -> dict[str, Any]:
    """Parsed JSON that must be an object; its fields are validated together with those that it does not change."""
    if not isinstance(value, dict):
        raise refuse_fields([("", "must be an object")])
    return value


def all_optional(schema: dict[str, Any]) -> dict[str, Any]:
    """What is changed: nothing is required, and nothing has a default, which would look like a change."""
    properties = {
        name: {part: value for part, value in field.items() if part != "default"}
        for name, field in schema["properties"].items()
    }
    return {key: value for key, value in {**schema, "properties": properties}.items() if key != "required"}


def validate(adapter: TypeAdapter[T], kind: type, value: Any) -> T:
    """`value` (parsed JSON) as the model; Refused 422 naming each field and its rule."""
    try:
        return adapter.validate_json(orjson.dumps(value), strict=True)
    except ValidationError as error:
        raise refuse_fields(_tell_errors(error, kind)) from None


def read_query(kind: type[BaseModel], given: Mapping[str, str]) -> Any:
    """The query as its model; texts are converted. Refused 422 naming each parameter and its rule."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise refuse_fields(_tell_errors(error, kind)) from None


def _tell_errors(error: ValidationError, kind: type) -> tuple[tuple[str, str], ...]:
    return tuple((problem.path, problem.message) for problem in describe_errors(error, root=kind))


# JSON can only write it so; after an odd number of backslashes it is a text about it.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def parse_json(raw: bytes) -> Any:
    """The JSON of a body; BodyUnreadable if it is none, or too deep for anybody to mean it; 422 for the character NUL, which PostgreSQL keeps nowhere."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BodyUnreadable(f"the body is no JSON: {error}") from None
    if _is_deeper(value, MAX_DEPTH):
        raise BodyUnreadable(f"the body is nested more than {MAX_DEPTH} deep")
    if _NUL.search(raw):
        raise refuse_fields([("", "must not hold the character NUL")])
    return value


def _is_deeper(value: Any, left: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    return left == 0 or any(_is_deeper(part, left - 1) for part in value)
