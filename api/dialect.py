"""A dialect: how an API that is not the native one words its errors and reads its requests; holds no route and no rule of a resource."""

from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one API speaks.

    prefixes: the paths that are its own, by their beginning; the longest one of all dialects decides. turn_status: its status for one of
    ours. refuse: an exception and what the one table says of it -> what is answered; encode: that as a body, of which error_schema is
    the JSON schema. is_lenient: what is not known in a query is passed over, and a body needs no Content-Type. title, description: for
    its OpenAPI document.
    """

    title: str
    description: str
    prefixes: tuple[str, ...]
    turn_status: Callable[[HTTPStatus], HTTPStatus] = lambda status: status
    refuse: Callable[[BaseException, Refused], Refused] = lambda _, refused: refused
    encode: Callable[[Refused], bytes] = encode_refusal
    error_schema: Mapping[str, Any]
    is_lenient: bool = False


NATIVE: Final = Dialect(
    title="Tandem",
    description="The native API. What is changed here is the newest revision; `POST /api/v1/config/apply` brings it live.",
    prefixes=("", "/api/v1"),
    error_schema=ERROR_SCHEMA,
)


def find_dialect(dialects: Sequence[Dialect], path: str) -> Dialect:
    """Whose path this is; NATIVE for what is nobody's."""
    found = [
        (len(prefix), dialect)
        for dialect in (NATIVE, *dialects)
        for prefix in dialect.prefixes
        if not prefix or path == prefix or path.startswith(f"{prefix}/")
    ]
    return max(found, key=lambda one: one[0])[1]
