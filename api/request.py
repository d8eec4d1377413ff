# mypy: disallow-untyped-calls=False
# (twisted.web is mostly untyped)
"""Our HTTP connection and request: refused before a body is read, with an answer in JSON whatever is wrong; never keeps a body that nobody may send."""

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request

from api.declare import ARRIVAL_S
from api.errors import Refused

if TYPE_CHECKING:
    from api.auth import Principal
    from api.declare import Route
    from api.dialect import Dialect
    from api.site import ApiSite

# For whoever is still sending when refused: so much is read and thrown away, so long, that the answer can be read.
LINGER_BYTES: Final = 256 * 1024
LINGER_S: Final = 2.0

_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SAFE_HEADERS: Final = (("x-content-type-options", "nosniff"), ("cache-control", "no-store"))


def check_target(uri: bytes, *, is_lenient: bool = False) -> str:
    """The path of a request line, decoded; Refused 400 for bad escapes, control characters or what is no path.

    is_lenient: the query is not looked at, as whoever reads it takes it for data.
    """
    path = uri.partition(b"?")[0]
    uri = path if is_lenient else uri
    if not path.startswith(b"/"):
        raise Refused(HTTPStatus.BAD_REQUEST, "the request names no path")
    if _BAD_ESCAPE.search(uri):
        raise Refused(HTTPStatus.BAD_REQUEST, "the address has a % that is no escape")
    try:
        text, whole = unquote_to_bytes(path).decode(), unquote_to_bytes(uri).decode()
    except UnicodeDecodeError:
        raise Refused(HTTPStatus.BAD_REQUEST, "the address is not UTF-8") from None
    if "//" in text:
        raise Refused(
            HTTPStatus.NOT_FOUND, "there is nothing at this path"
        )  # twisted.web would pass over the empty part
    if not whole.isprintable():
        raise Refused(HTTPStatus.BAD_REQUEST, "the address holds control characters")
    return text


class ApiRequest(Request):
    """A request that may have been admitted, with its route, before its body came."""

    channel: "ApiChannel"
    site: "ApiSite"
    admitted: "tuple[Route, Principal | None] | None" = None
    received = 0
    _dialect: "Dialect | None" = None

    @property
    def dialect(self) -> "Dialect":
        """How whoever asks is spoken to."""
        if self._dialect is None:
            self._dialect = self.channel.site.find_dialect(self, self.method, self.uri)
        return self._dialect

    def handleContentChunk(self, data: bytes) -> None:
        """A body without a length is counted while it comes."""
        self.received += len(data)
        limit = self.admitted[0].body_limit if self.admitted is not None else 0
        if self.received > limit:
            self.channel.refuse(refuse_size(limit))
            return
        super().handleContentChunk(data)

    def getRequestHostname(self) -> bytes:
        """What the client calls us decides nothing."""
        return b"localhost"

    def process(self) -> None:
        """Looks at the address before anything else does."""
        try:
            check_target(self.uri, is_lenient=self.dialect.is_lenient)
        except Refused as refused:
            self.site = self.channel.site
            self.answer_error(refused)
            return
        super().process()

    def processingFailed(self, reason: Failure) -> Failure:
        """Whatever twisted.web could not do is an answer in JSON too."""
        if not self.startedWriting:
            self.answer_error(reason.value or RuntimeError("failed"))
        elif self.channel is not None:
            self.loseConnection()
        return reason

    def answer_error(self, error: BaseException) -> None:
        """Answers and ends the request."""
        api = self.channel.site.api
        refused = api.refuse(self.dialect, error)
        body = self.dialect.encode(refused)
        self.setResponseCode(refused.status, refused.status.phrase.encode())
        for name, value in (*_SAFE_HEADERS, ("content-type", self.dialect.media_type), *refused.headers):
            self.setHeader(name.encode(), value.encode("latin-1"))
        self.setHeader(b"content-length", str(len(body)).encode())
        self.write(body)
        self.finish()


def refuse_size(limit: int) -> Refused:
    """413 with the limit."""
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body may have {limit} bytes")


class ApiChannel(HTTPChannel):
    """A connection: asks the site about each request as soon as its headers are there."""

    site: "ApiSite"
    transport: Any
    requestFactory = ApiRequest
    maxHeaders = 100
    _refused = False
    _thrown_away = 0
    _deadline: Any = None
    _allowed_s = ARRIVAL_S

    def connectionMade(self) -> None:
        """Counts the connection; the oldest idle one may have to go for it."""
        super().connectionMade()
        self.site.add_idle(self)
        self._start_deadline()

    def connectionLost(self, reason: Failure = Failure(ConnectionLost())) -> None:  # noqa: B008 - Twisted's signature
        """No longer counted."""
        self._stop_deadline()
        self.site.remove(self)
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """A new request on a connection that was kept has its time from its first byte."""
        if self._refused:
            self._throw_away(data)
            return
        if self._deadline is None and not self._handlingRequest:
            self._start_deadline()
        super().dataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002 - Twisted's signature
        """A line that is longer than all headers may be."""
        self._respondToBadRequestAndDisconnect()

    def rawDataReceived(self, data: bytes) -> None:
        """The body; what comes after a refusal goes nowhere."""
        if self._refused:
            self._throw_away(data)
            return
        super().rawDataReceived(data)

    def allHeadersReceived(self) -> None:
        """With a body to come, the request is judged now, before `100 Continue` asks for it."""
        request = self.requests[-1]
        if self.length != 0:
            try:
                request.admitted = self.site.admit(request, self._command, cast(bytes, self._path), self.length)
            except Exception as error:  # noqa: BLE001 - whatever it is has its answer in the table
                self.refuse(error)
                return
            if (allowed_s := request.admitted[0].arrival_s) > ARRIVAL_S:
                self._start_deadline(allowed_s)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """The request is whole: from here on the time is ours."""
        if self._refused:
            return
        self._stop_deadline()
        self.site.add_busy(self)
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        """Idle again."""
        self.site.add_idle(self)
        super().requestDone(request)

    def refuse(self, error: BaseException) -> None:
        """Answers, reads no more, and closes; what is still coming is thrown away for a moment, or the answer would be lost with it."""
        if self._refused:
            return
        self._refused = True
        self._stop_deadline()
        uri = cast(bytes, getattr(self, "_path", b""))  # there is none before the request line is
        method = cast(bytes, getattr(self, "_command", b""))
        dialect = self.site.find_dialect(self.requests[-1] if self.requests else None, method, uri)
        refused = self.site.api.refuse(dialect, error)
        body = dialect.encode(refused)
        headers = (
            *_SAFE_HEADERS,
            ("content-type", dialect.media_type),
            ("content-length", str(len(body))),
            ("connection", "close"),
            *refused.headers,
        )
        lines = [
            f"HTTP/1.1 {int(refused.status)} {refused.status.phrase}",
            *(f"{key}: {value}" for key, value in headers),
        ]
        self.transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        self.persistent = 0
        self.setRawMode()
        self.setTimeout(None)
        if hasattr(self.transport, "loseWriteConnection"):
            self.transport.loseWriteConnection()
        self._deadline = self.callLater(LINGER_S, self._close)
        self.site.count_refusal(refused)

    def _throw_away(self, data: bytes) -> None:
        self._thrown_away += len(data)
        if self._thrown_away > LINGER_BYTES:
            self._close()

    def _close(self) -> None:
        self._stop_deadline()
        self.transport.abortConnection()

    def abort(self) -> None:
        """Ends it at once, whatever the client still had to read."""
        self._stop_deadline()
        self.transport.abortConnection()

    def _start_deadline(self, allowed_s: float = ARRIVAL_S) -> None:
        self._stop_deadline()
        self._allowed_s = allowed_s
        self._deadline = self.callLater(allowed_s, self._too_slow)

    def _stop_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.requests:
            self.refuse(
                Refused(HTTPStatus.REQUEST_TIMEOUT, f"the request took more than {self._allowed_s:.0f} s to arrive")
            )
        else:
            self.transport.abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Request lines, headers and chunks that are none."""
        self.refuse(Refused(HTTPStatus.BAD_REQUEST, "this is not a request of HTTP/1.1 as we take it"))
