"""How the While1 Voice API speaks: its envelope, its pages, its texts for our refusals, and which requests are its own; knows no resource.

Every answer is HTTP 200, also a refusal: the vendor's own sample client throws the body of anything else away.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import orjson

from api.compat.parameters import Parameters
from api.compat.php_names import as_list
from api.declare import Reply
from api.dialect import Asked, Dialect
from api.errors import PermissionMissing, Refused
from api.exchange import Exchange, Services
from tandem.domain.originate import CallRefused
from tandem.editing import EditRefused
from tandem.settings import ApiSettings

NAME: Final = "while1"
BASE: Final = "/api"
PAGE_SIZE: Final = 100
_MAX_PAGE: Final = 10**7
# Paths that no other API has; `/api/cdr` is the ARI Dialer's too, but only for GET.
OWN: Final = frozenset(
    f"{BASE}/{name}"
    for name in ("originate-call", "channel", "queues", "users-status", "reports", "inbound-routes", "schedule")
)
SHARED: Final = f"{BASE}/cdr"
_OWN_PARAMETERS: Final = frozenset({b"filters", b"action", b"data", b"api_hash"})
DEPRECATED: Final = (
    "API Username and Password are deprecated. Please use 'Authorization: Bearer $token' header"  # `$token` is theirs
)
# Our fields, by their beginning -> theirs.
_FIELDS: Final = (
    ("origin", "destination"),
    ("destination.trunk", "outbound_trunk"),
    ("destination", "caller_id"),
    ("caller_name", "caller_id_name"),
    ("presented_number", "outbound_number"),
    ("caller_number", "caller_id"),
    ("project", "project_id"),
    ("variables", "vars"),
)

# How a message begins -> its code. Others begin with the field that is wrong.
_CODES: Final = (
    ("Token does not match", "token"),
    ("Hash does not match", "hash"),
    ("Signature does not match", "signature"),
    ("Username or password", "credentials"),
    ("API Username and Password", "credentials"),
    ("You do not have permission", "permission"),
    ("This action must be sent by POST", "method"),
    ("Invalid ", "invalid"),
    ("No Queues found", "not_found"),
    ("Queue pause error", "pause"),
    ("Asterisk did not take the call", "pbx"),
    ("The call was not answered", "not_answered"),
)
_FIELD_FIRST: Final = re.compile(r"([A-Za-z0-9_.\[\]/ +-]{1,80}): ")

T = TypeVar("T")


class Denied(Refused):
    """A refusal in this API's own words."""

    def __init__(self, *messages: str) -> None:
        super().__init__(HTTPStatus.OK, messages[0])
        self.messages = messages


def _is_ours(asked: Asked) -> bool:
    """A While1 token speaks While1; without a valid token, the paths that only it has, its own parameters of `cdr`, and whoever sends `api_username`."""
    speaks = asked.speaks()
    if speaks is not None:
        return speaks == NAME
    if asked.path in OWN or (asked.path == SHARED and asked.method == "POST"):
        return True
    names = {name.partition(b"[")[0] for name, _ in parse_qsl(asked.query, keep_blank_values=True)}
    if asked.path == SHARED and names & _OWN_PARAMETERS:
        return True
    return not asked.has_token and b"api_username" in names


def _refuse(error: BaseException, refused: Refused) -> Refused:
    match error:
        case Denied():
            return error
        case PermissionMissing(permission=permission):
            return Denied(f"You do not have permission for this: {permission}")
        case CallRefused(field=field, rule=rule):
            return Denied(f"{_name_field(field)}: {rule}")
        case EditRefused(problems=problems):
            return Denied(*(f"{place} {field}: {rule}" for place, field, rule in problems))
    match refused.status:
        case HTTPStatus.UNAUTHORIZED:
            return Denied("Token does not match")
        case HTTPStatus.NOT_FOUND if not refused.problems and refused.message == "there is nothing at this path":
            return Denied("Invalid endpoint")
    found = [f"{_name_field(one['field'])}: {one['rule']}" for one in refused.problems if one.get("field")]
    return Denied(*(found or [refused.message]))


def _name_field(field: str) -> str:
    for ours, theirs in _FIELDS:
        if field == ours or field.startswith(f"{ours}."):
            return f"{theirs}.{field.partition('.')[2]}" if ours == "variables" and "." in field else theirs
    return field


def _encode(refused: Refused) -> bytes:
    return _encode_messages(list(_messages_of(refused)))


def _encode_with_codes(refused: Refused) -> bytes:
    return _encode_messages(key_messages(_messages_of(refused)))


def _messages_of(refused: Refused) -> Sequence[str]:
    return getattr(refused, "messages", (refused.message,))


def _encode_messages(messages: Any) -> bytes:
    return orjson.dumps({"has_error": True, "messages": messages, "pagination": [], "results": []})


def key_messages(messages: Iterable[str]) -> dict[str, str]:
    """Messages by a code each: the field that is wrong, or what went wrong; the second of a code has `_2` behind it."""
    keyed: dict[str, str] = {}
    for message in messages:
        code = next((code for beginning, code in _CODES if message.startswith(beginning)), None)
        if code is None:
            field = _FIELD_FIRST.match(message)
            code = field[1] if field else "error"
        same = sum(known == code or known.rpartition("_")[0] == code for known in keyed)
        keyed[f"{code}_{same + 1}" if same else code] = message
    return keyed


def make_dialect(settings: ApiSettings) -> Dialect:
    """How it speaks, by the settings: messages as a list, or by codes."""
    return replace(DIALECT, encode=_encode_with_codes) if settings.while1.message_codes else DIALECT


DIALECT: Final = Dialect(
    title="While1 Voice API, as Tandem speaks it",
    description="What differs from the original, and why, is in docs/while1.md.",
    prefixes=(BASE,),
    turn_status=lambda _: HTTPStatus.OK,
    refuse=_refuse,
    encode=_encode,
    error_schema={"type": "object", "title": "Error", "required": ["has_error", "messages", "pagination", "results"]},
    claims=_is_ours,
    is_lenient=True,
)

# ---------------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Answered:
    """Success. results: a list, or an object keyed by name; total: of all pages, None where there are none; messages: what went wrong beside it."""

    results: Any
    total: int | None = None
    page: int = 1
    messages: tuple[str, ...] = ()


def encode_answer(answered: Answered, warnings: Sequence[str], *, has_codes: bool = False) -> Reply:
    """The envelope of success. has_codes: what went wrong beside it stands under codes."""
    messages = key_messages(answered.messages) if has_codes and answered.messages else list(answered.messages)
    body: dict[str, Any] = {"has_error": bool(answered.messages), "messages": messages}
    if warnings:
        body["warnings"] = list(warnings)
    if answered.total is not None:
        pages = -(-answered.total // PAGE_SIZE)
        body["pagination"] = {
            "row_count": answered.total,
            "page_size": PAGE_SIZE,
            "current_page": answered.page if pages else 0,
            "max_page": pages,
        }
    elif answered.messages:
        body["pagination"] = []
    body["results"] = answered.results
    return Reply(body)


def paginate(rows: Sequence[Any], page: int) -> Answered:
    """One page of rows that are all there."""
    return Answered(list(rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]), len(rows), page)


# --------------------------------------------------------------------------------------------------------- requests

Action = Callable[[Services, Exchange], Awaitable[Answered]]


def read_map(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A map of parameters; none at all is an empty one. Denied for anything else."""
    value = given.get(name)
    if value in (None, "", [], {}):
        return {}
    if not isinstance(value, dict):
        raise Denied(f"{name}: must be a map of names and values")
    return value


def read_rows(given: Mapping[str, Any], name: str, most: int) -> list[Mapping[str, Any]]:
    """A list of maps. Denied for anything else, and for none."""
    rows = as_list(given.get(name) or [])
    if not rows or len(rows) > most or not all(isinstance(row, dict) for row in rows):
        raise Denied(f"{name}: must be a list of 1 to {most} maps")
    return rows


def read_text(given: Mapping[str, Any], name: str, most: int, *, default: str | None = None) -> str:
    """A text, or a whole number as one; default: where it may be missing. Denied naming the field."""
    value = given.get(name)
    if value is None or value == "":
        if default is None:
            raise Denied(f"{name}: is missing")
        return default
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Denied(f"{name}: must be a text")
    text = str(value)
    if len(text) > most or not text.isprintable():
        raise Denied(f"{name}: must be at most {most} characters, without control characters or line breaks")
    return text


def read_flag(given: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """0 or 1, as PHP's programs write true and false."""
    value = given.get(name)
    if value is None or value == "":
        return default
    if isinstance(value, bool):
        return value
    if str(value) in ("0", "1") and isinstance(value, str | int):
        return str(value) == "1"
    raise Denied(f"{name}: must be 0 or 1")


def read_page(given: Mapping[str, Any]) -> int:
    """Which page, counted from 1."""
    text = read_text(given, "page", 10, default="1")
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= _MAX_PAGE:
        raise Denied("page: must be a whole number from 1")
    return int(text)


def read_filters(given: Mapping[str, Any], known: Sequence[str]) -> Mapping[str, Any]:
    """The filters that are set. Denied for one that is not known here."""
    filters = read_map(given, "filters")
    for name in filters:
        if name not in known:
            shown = name if name.isprintable() and len(name) <= 40 else "?"
            raise Denied(f"Invalid filter: {shown}")
    return {name: value for name, value in filters.items() if value not in (None, "", [], {})}


def choose(given: Parameters, name: str, actions: Mapping[str, T], default: str | None = None) -> T:
    """What a parameter names. Denied for a name that is none."""
    word = read_text(given, name, 40, default=default)
    if word not in actions:
        raise Denied(f"Invalid {name} {word}")
    return actions[word]
