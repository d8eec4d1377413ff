"""What the command line asks the running process over its unix socket; never reachable over a network, and holds no rule of its own.

The socket's folder and file belong to Tandem's user alone (0700, 0600): whoever can open it is Tandem's admin.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO, cast

from klein import Klein
from klein.resource import KleinResource
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.server import Request

from api.errors import Refused, answer_failure, write_json

MAX_CALLS = 1000


@dataclass(frozen=True, slots=True)
class UseCases:
    """Plain callables from the composition root; each returns what orjson can write."""

    read_health: Callable[[], dict[str, Any]]
    list_calls: Callable[[int], list[dict[str, Any]]]
    apply_head: Callable[[], Awaitable[dict[str, Any]]]
    import_document: Callable[[str, str], Awaitable[dict[str, Any]]]


class Control:
    """The routes of the control socket."""

    app = Klein()

    def __init__(self, use_cases: UseCases) -> None:
        self._use_cases = use_cases

    def resource(self) -> KleinResource:
        """For `twisted.web.server.Site`."""
        return self.app.resource()

    @app.handle_errors(Exception)
    def _failed(self, request: Request, failure: Failure) -> bytes:
        return answer_failure(request, failure)

    @app.route("/health", methods=["GET"])
    def health(self, request: Request) -> bytes:
        """Live, ready, and the reasons why not."""
        return write_json(request, self._use_cases.read_health())

    @app.route("/calls", methods=["GET"])
    def calls(self, request: Request) -> bytes:
        """The last calls, newest first; `?limit=` 1 to 1000."""
        text = (request.args or {}).get(b"limit", [b"20"])[0].decode("ascii", "replace")
        limit = min(max(int(text), 1), MAX_CALLS) if text.isdecimal() and len(text) < 6 else 20
        return write_json(request, self._use_cases.list_calls(limit))

    @app.route("/apply", methods=["POST"])
    def apply(self, request: Request) -> Deferred[bytes]:
        """Brings the head revision live."""

        async def run() -> bytes:
            return write_json(request, await self._use_cases.apply_head())

        return Deferred.fromCoroutine(run())

    @app.route("/import", methods=["POST"])
    def import_document(self, request: Request) -> Deferred[bytes]:
        """Makes the PBX document in the body the head and brings it live; `?note=` for the history."""
        note = (request.args or {}).get(b"note", [b""])[0].decode("utf-8", "replace")
        body = cast(BinaryIO, request.content).read()

        async def run() -> bytes:
            try:
                text = body.decode("utf-8")
            except UnicodeDecodeError as error:
                raise Refused(HTTPStatus.BAD_REQUEST, f"the document is not UTF-8: {error}") from None
            return write_json(request, await self._use_cases.import_document(text, note))

        return Deferred.fromCoroutine(run())
