"""A dialect: how an API that is not the native one words its errors and reads its requests; holds no route and no rule of a resource."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from api.errors import Refused, encode_refusal

ERROR_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "title": "Error",
    "description": "What is wrong; `problems` names each field and its rule.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "title": "ErrorDetail",
            "required": ["status", "message", "problems"],
            "properties": {
                "status": {"type": "integer"},
                "message": {"type": "string"},
                "problems": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}},
            },
        }
    },
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What tells whose a request is, before its body came.

    path: without the query. speaks: the dialect that its token was made for; "" for another token of ours, None for none or a wrong one.
    """

    method: str
    path: str
    query: bytes
    has_token: bool
    speaks: Callable[[], str | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialect:
    """How one API speaks.

    prefixes: the paths that are its own, by their beginning; the longest one of all dialects decides, and of equal ones the first that
    claims the request. turn_status: its status for one of
    ours. refuse: an exception and what the one table says of it -> what is answered; encode: that as a body of media_type, of which
    error_schema is the JSON schema. is_lenient: what is not known in a query is passed over, whatever it holds, and a body needs no
    Content-Type. title, description: for its OpenAPI document.
    """

    title: str
    description: str
    prefixes: tuple[str, ...]
    turn_status: Callable[[HTTPStatus], HTTPStatus] = lambda status: status
    refuse: Callable[[BaseException, Refused], Refused] = lambda _, refused: refused
    encode: Callable[[Refused], bytes] = encode_refusal
    media_type: str = "application/json"
    error_schema: Mapping[str, Any]
    claims: Callable[[Asked], bool] = lambda _: True
    is_lenient: bool = False


NATIVE: Final = Dialect(
    title="Tandem",
    description="The native API. What is changed here is the newest revision; `POST /api/v1/config/apply` brings it live.",
    prefixes=("", "/api/v1"),
    error_schema=ERROR_SCHEMA,
)


def find_dialect(dialects: Iterable[Dialect], asked: Asked) -> Dialect:
    """Whose request this is; NATIVE for what is nobody's."""
    found = [
        (-len(prefix), dialect)
        for dialect in (*dialects, NATIVE)
        for prefix in dialect.prefixes
        if not prefix or asked.path == prefix or asked.path.startswith(f"{prefix}/")
    ]
    return next(dialect for _, dialect in sorted(found, key=lambda one: one[0]) if dialect.claims(asked))
