"""How the ARI Dialer's API speaks: its envelope of success, of pages and of errors, its texts for ours; knows no resource."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from werkzeug.exceptions import NotFound

from api.declare import Body, Reply, Route, Shown
from api.dialect import Dialect
from api.errors import BodyUnreadable, PermissionMissing, Refused, TokenMissing
from api.exchange import Services
from tandem.campaigning import CampaignRefused
from tandem.editing import StillUsed
from tandem.store.campaigns import CampaignMissing
from tandem.store.numbers import NumberInFlight, NumberMissing
from tandem.store.users import LastAdmin

BASE: Final = "/adial/api"
SHORT: Final = "/api"
TAG: Final = "ari"
TIME: Final = "%Y-%m-%d %H:%M:%S"
PER_PAGE: Final = 20
MAX_PER_PAGE: Final = 100
_MAX_PAGE: Final = 10**9
_MAX_ID: Final = 2**63 - 1

T = TypeVar("T")

# ---------------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """Success with something to tell."""

    success: Literal[True] = True
    code: int = 200
    message: str
    data: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Success with nothing to tell."""

    success: Literal[True] = True
    code: int = 200
    message: str


@dataclass(frozen=True, slots=True)
class Pagination:
    """Where a page is; from, to: which rows, counted from 1, both 0 on an empty page."""

    total: int
    per_page: int
    current_page: int
    total_pages: int
    # `from` is a word of Python's.
    from_: Annotated[int, Field(serialization_alias="from")]
    to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paginated(Generic[T]):
    """A page; it has no code."""

    success: Literal[True] = True
    message: str
    data: tuple[T, ...]
    pagination: Pagination


def answer(data: Any, message: str, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    """Success."""
    return Reply(Answer(code=int(status), message=message, data=data), status)


def done(message: str) -> Reply:
    """Success without data."""
    return Reply(Done(message=message))


class Lenient(BaseModel):
    """A query: what is not known is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


def _clamp(default: int, most: int) -> Any:
    """A text as PHP would read a whole number, kept within 1 and `most`; empty is the default."""

    def read(value: Any) -> int:
        text = str(value).strip()
        if not text:
            return default
        digits = ""
        for char in text.lstrip("+"):
            if not (char.isascii() and char.isdecimal()) or len(digits) > 18:
                break
            digits += char
        return max(1, min(int(digits or "0"), most))

    return BeforeValidator(read)


class PageQuery(Lenient):
    """Which page; whatever is written is taken as near as it goes."""

    page: Annotated[int, _clamp(1, _MAX_PAGE), Field(ge=1)] = 1
    per_page: Annotated[int, _clamp(PER_PAGE, MAX_PER_PAGE), Field(ge=1, le=MAX_PER_PAGE)] = PER_PAGE

    @property
    def offset(self) -> int:
        """How many rows come before it."""
        return (self.page - 1) * self.per_page


def make_pagination(query: PageQuery, total: int, shown: int) -> Pagination:
    """Where a page of `shown` rows is."""
    pages = -(-total // query.per_page)
    first, last = (query.offset + 1, query.offset + shown) if shown else (0, 0)
    return Pagination(total, query.per_page, query.page, pages, first, last)


def paginate(rows: Iterable[Any], message: str, query: PageQuery, total: int) -> Reply:
    """A page of `total` rows."""
    data = tuple(rows)
    return Reply(Paginated(message=message, data=data, pagination=make_pagination(query, total, len(data))))


# ----------------------------------------------------------------------------------------------------------- errors

_TURNED: Final = {
    HTTPStatus.UNPROCESSABLE_ENTITY: HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT: HTTPStatus.BAD_REQUEST,
    HTTPStatus.PRECONDITION_FAILED: HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.BAD_REQUEST,
}
# Our fields -> theirs.
_FIELDS: Final = {
    "trunk": "trunk_value",
    "dial_string": "trunk_value",
    "destination": "agent_dest_value",
    "caller_number": "callerid",
    "caller_name": "callerid",
    "recording": "record_calls",
    "retry_delay_s": "retry_delay",
    "dial_timeout_s": "dial_timeout",
    "call_timeout_s": "call_timeout",
}


class Denied(Refused):
    """A refusal in this API's own words; errors: what goes under that name, if anything."""

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        errors: Mapping[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(status, message, headers=headers)
        self.errors = errors


def deny(message: str, errors: Mapping[str, Any] | None = None) -> Denied:
    """400."""
    return Denied(HTTPStatus.BAD_REQUEST, message, errors)


def missing(what: str) -> Denied:
    """404."""
    return Denied(HTTPStatus.NOT_FOUND, f"{what} not found")


def deny_fields(problems: Iterable[tuple[str, str]]) -> Denied:
    """400 naming each field, in this API's words, and its rule."""
    found: dict[str, str] = {}
    for name, rule in problems:
        found.setdefault(_FIELDS.get(name.partition(".")[0], name), rule)
    first = next(iter(found.items()), ("", "Bad request"))
    return deny(" ".join(first).strip(), found)


def turn_status(status: HTTPStatus) -> HTTPStatus:
    """What this API knows instead."""
    return _TURNED.get(status, status)


def _refuse(error: BaseException, refused: Refused) -> Refused:
    match error:
        case Denied():
            return error
        case TokenMissing():
            message = "Authentication required"
        case PermissionMissing(permission=permission):
            is_users = permission.startswith("users/")
            message = "Admin access required" if is_users else "Permission denied for this endpoint"
        case NotFound():
            message = "Endpoint not found"
        case BodyUnreadable():
            message = "Invalid JSON body"
        case CampaignMissing():
            message = "Campaign not found"
        case NumberMissing():
            message = "Number not found"
        case NumberInFlight():
            message = 'Cannot delete number with status "calling"'
        case LastAdmin():
            message = "Cannot delete or demote the last admin user"
        case CampaignRefused(problems=problems):
            return deny_fields(problems)
        case StillUsed(referrers=referrers):
            names = sorted({name for name, _ in referrers})
            return deny(
                f"{error.place.replace('menus/', 'IVR menu ')} is still used by {', '.join(names)}", {"used_by": names}
            )
        case _:
            return _refuse_plain(refused)
    return Denied(turn_status(refused.status), message, headers=refused.headers)


def _refuse_plain(refused: Refused) -> Denied:
    """What has no text of its own."""
    message = {
        HTTPStatus.UNAUTHORIZED: "Invalid or expired token",
        HTTPStatus.METHOD_NOT_ALLOWED: "Method not allowed",
        HTTPStatus.INTERNAL_SERVER_ERROR: "Internal server error",
    }.get(refused.status, refused.message)
    errors = {problem["field"]: problem["rule"] for problem in refused.problems if problem.get("field")}
    return Denied(turn_status(refused.status), message, errors or None, refused.headers)


def _encode(refused: Refused) -> bytes:
    body: dict[str, Any] = {"success": False, "code": int(refused.status), "message": refused.message}
    if (errors := getattr(refused, "errors", None)) is not None:
        body["errors"] = errors
    return orjson.dumps(body)


DIALECT: Final = Dialect(
    title="ARI Dialer REST API v1.0, as Tandem speaks it",
    description="The same paths are there below `/api`. What differs from the original, and why, is in docs/ari-dialer.md.",
    prefixes=(BASE, SHORT),
    turn_status=turn_status,
    refuse=_refuse,
    encode=_encode,
    error_schema={
        "type": "object",
        "title": "Error",
        "required": ["success", "code", "message"],
        "properties": {
            "success": {"const": False},
            "code": {"type": "integer"},
            "message": {"type": "string"},
            "errors": {"type": "object"},
        },
    },
    is_lenient=True,
)

# --------------------------------------------------------------------------------------------------------- requests


def _read_fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise deny("The body must be a JSON object")
    return value


def fields_body(kind: type[BaseModel]) -> Body:
    """A JSON object; `kind` says in OpenAPI what it may hold, and the handler reads it, because each refusal has its own text."""
    return Body(kind=kind, read=_read_fields, optional=True)


def need(given: Mapping[str, Any], names: Iterable[str]) -> None:
    """400 unless each of these is there: null and '' are not, 0 is."""
    lacking = [name for name in names if given.get(name) is None or given[name] == ""]
    if lacking:
        raise deny("Missing required fields", {"missing_fields": lacking})


def read_id(text: str, what: str) -> int:
    """The number in a path; 404 for what is none."""
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or int(text) > _MAX_ID:
        raise missing(what)
    return int(text)


def read_text(name: str, value: Any, most: int) -> str:
    """A text; numbers are taken for one, as clients send phone numbers so."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise deny_fields([(name, "must be a text")])
    text = str(value)
    if len(text) > most or not text.isprintable():
        raise deny_fields([(name, f"must be at most {most} characters, without control characters or line breaks")])
    return text


def read_int(name: str, value: Any) -> int:
    """A whole number, also as a text."""
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and value.isascii() and len(value) < 16:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int):
        raise deny_fields([(name, "must be a whole number")])
    return int(value)


def read_flag(name: str, value: Any) -> bool:
    """0 or 1."""
    if isinstance(value, bool):
        return value
    if value in (0, 1, "0", "1"):
        return bool(int(value))
    raise deny_fields([(name, "must be 0 or 1")])


# ------------------------------------------------------------------------------------------------------------ times


def zone_of(services: Services) -> ZoneInfo:
    """Where the clock on the wall hangs."""
    return ZoneInfo(services.live.current.general.time_zone)


def tell_time(at: float | datetime | None, zone: ZoneInfo) -> str | None:
    """`2024-12-01 10:00:00`, by the clock on that wall."""
    if at is None:
        return None
    moment = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return moment.astimezone(zone).strftime(TIME)


def tell_known_time(at: float | datetime, zone: ZoneInfo) -> str:
    """The same of a time that is always there."""
    moment = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return moment.astimezone(zone).strftime(TIME)


# ----------------------------------------------------------------------------------------------------- declarations


def declare(
    method: str,
    path: str,
    permission: str | None,
    summary: str,
    handler: Any,
    operation: str,
    answered: Any,
    **more: Any,
) -> Route:
    """A route at both of its places; answered: what it answers, as a kind or a (kind, name) for OpenAPI."""
    kind, name = answered if isinstance(answered, tuple) else (answered, "")
    return Route(
        method=method, path=BASE + path, aliases=(SHORT + path,), permission=permission, summary=summary, handler=handler,
        tag=TAG, operation=f"ari_{operation}", answer=Shown(kind, name=name), **more,
    )  # fmt: skip
