"""How the MikoPBX auto dialer speaks: its envelope, loose types, and HTTP 200 for every refusal but of who asks; knows no resource."""

import json
import os
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from api.compat.mikopbx.session import identify
from api.compat.parameters import AnyJson, json_body
from api.declare import MAX_BODY, Reply, Route, Shown
from api.dialect import Dialect
from api.errors import BodyUnreadable, PermissionMissing, Refused
from api.exchange import Exchange, Services

BASE: Final = "/pbxcore/api/module-dialer/v1"
Action = Callable[[Services, Exchange], Awaitable[Any]]


class Failed(Exception):
    """What is answered with `result: false`; data is what goes with it."""

    def __init__(self, *messages: str, data: Any = ()) -> None:
        super().__init__(*messages)
        self.messages, self.data = messages, data


def encode(result: bool, data: Any, messages: Any = ()) -> bytes:
    """The envelope, as PHP prints it: four blanks, ASCII alone."""
    body = {"result": result, "data": data, "messages": messages, "function": "", "processor": "", "pid": os.getpid()}
    return json.dumps(body, indent=4).encode()


def _encode_refusal(refused: Refused) -> bytes:
    return encode(False, [], [refused.message] if refused.status == HTTPStatus.OK else {"error": [refused.message]})


def _refuse(error: BaseException, refused: Refused) -> Refused:
    if isinstance(error, BodyUnreadable):
        return Refused(HTTPStatus.OK, "Invalid JSON request body")
    if refused.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        return Refused(HTTPStatus.OK, refused.message)
    if refused.status == HTTPStatus.UNAUTHORIZED:
        return Refused(HTTPStatus.UNAUTHORIZED, "The user isn't authenticated.", headers=refused.headers)
    if refused.status == HTTPStatus.FORBIDDEN:
        return Refused(HTTPStatus.FORBIDDEN, f"The route is not allowed: {refused.message}")
    return refused


DIALECT: Final = Dialect(
    title="The MikoPBX auto dialer's API, as Tandem speaks it",
    description="Polls, tasks and their results; docs/mikopbx.md says what is the same and what is better.",
    prefixes=("/pbxcore/api", "/admin-cabinet"),
    refuse=_refuse,
    encode=_encode_refusal,
    error_schema={"type": "object", "title": "Error", "required": ["result", "data", "messages"]},
    is_lenient=True,
)


def serve(permission: str, action: Action) -> Callable[[Services, Exchange], Awaitable[Reply]]:
    """A handler that answers in the envelope: what an action gives, or what is wrong with the request."""

    async def handle(services: Services, exchange: Exchange) -> Reply:
        try:
            exchange.require(permission)
            return Reply(encode(True, await action(services, exchange)))
        except Failed as failed:
            return Reply(encode(False, list(failed.data) if failed.data == () else failed.data, list(failed.messages)))
        except PermissionMissing:
            raise
        except Exception as error:
            refused = services.refuse(error)
            if (
                refused.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
                or refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            ):
                raise
            rules = [
                " ".join(filter(None, (one.get("object"), one.get("field"), one["rule"]))) for one in refused.problems
            ]
            return Reply(encode(False, [], rules or [refused.message]))

    return handle


def declare(
    method: str,
    path: str,
    permission: str,
    action: Action,
    summary: str,
    max_body: int = MAX_BODY,
    *,
    is_scoped: bool = True,
) -> Route:
    """A route of the module; is_scoped as in `Route`."""
    name = f"mikopbx_{method.lower()}_{path.strip('/').replace('/', '_').replace('{', '').replace('}', '').replace('-', '_')}"
    names = {part[1:-1]: "As the vendor has it." for part in path.split("/") if part.startswith("{")}
    return Route(
        method=method, path=path, permission=None, summary=summary, handler=serve(permission, action), tag="mikopbx", operation=name,
        body=json_body(), answer=Shown(dict[str, Any], name="MikoPbxAnswer"), identify=identify, parameters=names, max_body=max_body,
        is_scoped=is_scoped,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------ loose types


def read_object(exchange: Exchange) -> dict[str, Any]:
    """The body, which must be an object."""
    body: AnyJson = exchange.body
    if not isinstance(body.value, dict):
        raise Failed("Invalid JSON request body")
    return body.value


def read_text(given: Any, field: str, most: int = 255) -> str:
    """A text, or a number as one; None is ''. NUL, which PostgreSQL keeps nowhere, and half a surrogate pair are refused."""
    if given is None:
        return ""
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise Failed(f"{field} must be a text")
    text = str(given)
    if len(text) > most or "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise Failed(f"{field} must be at most {most} characters, without NUL")
    return text


def read_int(given: Any, field: str, default: int, least: int, most: int) -> int:
    """A whole number, or a text of digits; the default for none."""
    text = read_text(given, field, 20).strip()
    if not text:
        return default
    number = int(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdecimal() else None
    if number is None or not least <= number <= most:
        raise Failed(f"{field} must be a whole number from {least} to {most}")
    return number


def read_list(given: Any, field: str, most: int) -> list[Any]:
    """A list."""
    if not isinstance(given, list) or len(given) > most:
        raise Failed(f"{field} must be a list of at most {most}")
    return given


def path_id(exchange: Exchange) -> str:
    """What a path names."""
    return read_text(exchange.path["id"], "id", 64)
