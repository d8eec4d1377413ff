"""The one table exception -> HTTP answer, and the one form of an error body; never lets a traceback or a secret out."""

import logging
from http import HTTPStatus
from typing import Any

import orjson
from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is refused; `problems` names each field and its rule."""

    def __init__(self, status: HTTPStatus, message: str, problems: tuple[dict[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.problems = status, message, problems


def write_json(request: Request, value: Any, status: int = HTTPStatus.OK) -> bytes:
    """Sets status and content type; the body."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"cache-control", b"no-store")
    return orjson.dumps(value)


def answer_failure(request: Request, failure: Failure) -> bytes:
    """The JSON body for what a handler raised: `{"error": {"status", "message", "problems"}}`."""
    error = failure.value
    if isinstance(error, Refused):
        return _write_error(request, error.status, error.message, error.problems)
    if isinstance(error, MethodNotAllowed):
        request.setHeader(b"allow", ", ".join(sorted(error.valid_methods or ())).encode())
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.code or 500)
        return _write_error(request, status, status.phrase)
    log.error("%s %s failed", request.method, request.uri, exc_info=error)
    return _write_error(request, HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here; the log says what")


def _write_error(
    request: Request, status: HTTPStatus, message: str, problems: tuple[dict[str, str], ...] = ()
) -> bytes:
    return write_json(
        request, {"error": {"status": int(status), "message": message, "problems": list(problems)}}, status
    )
