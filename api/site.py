# mypy: disallow-untyped-calls=False
# (twisted.web is mostly untyped)
"""The HTTP site: one Klein application made of the declared routes, on TCP and on the command line's unix socket; holds no rule of a resource."""

import hashlib
import io
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, BinaryIO, Final, cast
from urllib.parse import parse_qsl, unquote_to_bytes

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.web.resource import getChildForRequest
from twisted.web.server import Request, Site

from api.auth import Principal, identify_peer
from api.declare import JSON, Body, Reply, Route, Sent, parse_json, read_query
from api.dialect import NATIVE, Asked, Dialect, find_dialect
from api.doors import OpenDoor, is_near
from api.errors import PermissionMissing, Refused
from api.exchange import Exchange, Services, check_scope, digest_body
from api.request import ApiChannel, ApiRequest, check_target, refuse_size
from api.uploads import is_upload, read_upload
from tandem.store.answers import Once, load_answer

MAX_CONNECTIONS: Final = 1000
IDLE_S: Final = 60.0
MAX_KEY: Final = 255
MAX_QUERY_FIELDS: Final = 50


class Api:
    """The routes and what they work with."""

    def __init__(self, services: Services, routes: Sequence[Route], doors: Sequence[OpenDoor] = ()) -> None:
        self.services = services
        self.doors = tuple(doors)
        spoken = [(NATIVE, tuple(routes)), *((door.dialect, door.routes) for door in doors)]
        self.routes = {route.operation: route for _, declared in spoken for route in declared}
        assert len(self.routes) == sum(len(declared) for _, declared in spoken), "two routes have one operation"
        self._under_way: set[Once] = set()
        self._apps = {dialect: self._declare(declared) for dialect, declared in spoken}
        self._adapters = {dialect: app.url_map.bind("localhost") for dialect, app in self._apps.items()}

    def _declare(self, routes: Sequence[Route]) -> Klein:
        app = Klein()
        app.url_map.strict_slashes = True
        app.url_map.merge_slashes = False
        for route in routes:
            for rule in route.rules:
                app.route(rule, methods=[route.method], endpoint=route.operation)(self._make_endpoint(route))
        app.handle_errors(Exception)(self._fail)
        return app

    def _make_endpoint(self, route: Route) -> Callable[..., Deferred[Any]]:
        def endpoint(request: ApiRequest, **path: str) -> Deferred[Any]:
            # Not cancelled when the client goes: half an effect would be worse than an answer that nobody reads.
            answered: Deferred[Any] = Deferred()
            running = Deferred.fromCoroutine(self._answer(route, request, path))
            running.addCallbacks(answered.callback, answered.errback)
            return answered

        return endpoint

    def make_site(self, reactor: Any, *, trusted: bool = False, max_connections: int = MAX_CONNECTIONS) -> "ApiSite":
        """A site; `trusted` for the unix socket, whose clients the file system has admitted."""
        resources = {dialect: app.resource() for dialect, app in self._apps.items()}
        return ApiSite(self, resources, reactor, trusted=trusted, max_connections=max_connections)

    def find_dialect(self, asked: Asked, *, near: bool) -> Dialect:
        """How a request is spoken to: a door that is closed to whoever asks is not there."""
        return find_dialect((door.dialect for door in self.doors if near or not door.is_near_only), asked)

    def refuse(self, dialect: Dialect, error: BaseException) -> Refused:
        """What is answered for an error, in the words of the request's API."""
        return dialect.refuse(error, self.services.refuse(error))

    def find_route(self, dialect: Dialect, method: str, path: str) -> Route:
        """The route of a request; raises werkzeug's NotFound and MethodNotAllowed."""
        operation, _ = self._adapters[dialect].match(path, method=method)
        return self.routes[operation]

    def admit(self, request: Request, route: Route, *, trusted: bool) -> Principal | None:
        """Who asks, if they may; Refused 401 or 403."""
        if trusted:
            return identify_peer(cast("Any", request).transport)
        authorization = request.requestHeaders.getRawHeaders(b"authorization") or []
        if route.permission is None and not authorization:
            return None
        if len(authorization) > 1:
            raise Refused(HTTPStatus.BAD_REQUEST, "the header Authorization is there twice")
        principal = self.services.authority.identify(authorization[0] if authorization else None)
        if route.permission is not None and not principal.may(route.permission):
            raise PermissionMissing(route.permission)
        if route.permission is not None:
            check_scope(principal, route)
        return principal

    async def _answer(self, route: Route, request: ApiRequest, path: dict[str, str]) -> Any:
        started_at = time.perf_counter()
        try:
            reply = await self._handle(route, request, path)
        except Exception as error:  # noqa: BLE001 - the supervised edge: every error has its answer
            refused = self.refuse(request.dialect, error)
            self.services.metrics.observe_http(route.operation, refused.status, time.perf_counter() - started_at)
            return self._write_refusal(request, refused)
        if reply is None:
            return b""
        self.services.metrics.observe_http(route.operation, reply.status, time.perf_counter() - started_at)
        return _write(request, reply.status, reply.media_type, reply.headers, route.encode(reply.value))

    async def _handle(self, route: Route, request: ApiRequest, path: dict[str, str]) -> Reply | None:
        site = request.site
        principal = (
            request.admitted[1] if request.admitted is not None else self.admit(request, route, trusted=site.trusted)
        )
        query = _read_query(route, request, is_lenient=request.dialect.is_lenient)
        value, body = _read_body(route, request)
        if route.body is not None and route.body.is_file and request.getHeader("idempotency-key") is not None:
            value = await deferToThread(_digest_file, body)
        source = "unix" if site.trusted else getattr(request.getClientAddress(), "host", "unknown")
        near = is_near(request, trusted=site.trusted)
        exchange = Exchange(request, route, principal, source, path, query, body, None, self.services, near)
        if exchange.principal is None and route.identify is not None:
            exchange.principal = await route.identify(self.services, exchange)
        once = exchange.once = _read_key(route, request, exchange.principal, path, value)
        if once is None:
            return await route.handler(self.services, exchange)
        return await self._handle_once(once, exchange)

    async def _handle_once(self, once: Once, exchange: Exchange) -> Reply | None:
        if any(
            (once.scope, once.route, once.key) == (other.scope, other.route, other.key) for other in self._under_way
        ):
            raise Refused(HTTPStatus.CONFLICT, "a request with this Idempotency-Key is still being worked on")
        self._under_way.add(once)
        try:
            kept = await self.services.store.read(load_answer, once, self.services.now())
            if kept is not None:
                return Reply(kept.body, kept.status, (*kept.headers, ("idempotency-replayed", "true")))
            return await exchange.route.handler(self.services, exchange)
        finally:
            self._under_way.discard(once)

    def _fail(self, request: ApiRequest, failure: Failure) -> bytes:
        refused = self.refuse(request.dialect, failure.value or RuntimeError("failed"))
        self.services.metrics.observe_http("", refused.status, 0.0)
        return self._write_refusal(request, refused)

    def _write_refusal(self, request: ApiRequest, refused: Refused) -> bytes:
        body = request.dialect.encode(refused)
        return _write(request, refused.status, request.dialect.media_type, refused.headers, body)


class ApiSite(Site):
    """Connections and what is admitted on them."""

    protocol = ApiChannel  # type: ignore[assignment]  # Twisted has a function there

    def __init__(
        self, api: Api, resources: Mapping[Dialect, Any], reactor: Any, *, trusted: bool, max_connections: int
    ) -> None:
        super().__init__(resources[NATIVE], ApiRequest, timeout=IDLE_S, reactor=reactor, parsePOSTFormSubmission=False)
        self.displayTracebacks = False
        self.noisy = False
        self.api = api
        self._resources = resources
        self.trusted = trusted
        self._max_connections = max_connections
        self._idle: OrderedDict[ApiChannel, None] = OrderedDict()
        self._busy: set[ApiChannel] = set()

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._idle) + len(self._busy)

    def getResourceFor(self, request: ApiRequest) -> Any:
        """The routes of whoever is spoken to."""
        request.site = self
        return getChildForRequest(self._resources[request.dialect], request)

    def find_dialect(self, request: ApiRequest | None, method: bytes, uri: bytes) -> Dialect:
        """How a request is spoken to, by its address and its token."""
        path, _, query = uri.partition(b"?")
        tokens = request.requestHeaders.getRawHeaders(b"authorization") or [] if request is not None else []
        asked = Asked(
            method.decode("latin-1"),
            unquote_to_bytes(path).decode("latin-1"),
            query,
            bool(tokens),
            lambda: self.api.services.authority.find_speech(tokens[0] if tokens else None),
        )
        near = request is not None and is_near(request, trusted=self.trusted)
        return self.api.find_dialect(asked, near=near)

    def log(self, request: Any) -> None:
        """No access log: addresses hold numbers of people; the metrics count, and the audit log says who changed what."""

    def add_idle(self, channel: ApiChannel) -> None:
        """A connection without a request; when there are too many, the one that is idle longest goes, so that nobody keeps others out."""
        self._busy.discard(channel)
        self._idle[channel] = None
        if self.connections > self._max_connections:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.abort()

    def add_busy(self, channel: ApiChannel) -> None:
        """Its request is being answered."""
        self._idle.pop(channel, None)
        self._busy.add(channel)

    def remove(self, channel: ApiChannel) -> None:
        """It is gone."""
        self._idle.pop(channel, None)
        self._busy.discard(channel)

    def admit(
        self, request: ApiRequest, method: bytes, uri: bytes, length: int | None
    ) -> tuple[Route, Principal | None]:
        """Judges a request by its headers, before its body."""
        dialect = self.find_dialect(request, method, uri)
        path = check_target(uri, is_lenient=dialect.is_lenient)
        route = self.api.find_route(dialect, method.decode("latin-1"), path)
        principal = self.api.admit(request, route, trusted=self.trusted)
        if length is not None and length > route.body_limit:
            raise refuse_size(route.body_limit)
        if route.body is not None and not dialect.is_lenient:
            _check_type(request, route.body)
        return route, principal

    def count_refusal(self, refused: Refused) -> None:
        """A request that was refused before its body came."""
        self.api.services.metrics.observe_http("", refused.status, 0.0)


def _check_type(request: Request, body: Body) -> None:
    given = _media_type(request)
    if body.takes_files and is_upload(given):
        return
    if given != body.media_type and body.media_type == JSON:
        more = ", multipart/form-data, audio/* or application/octet-stream" if body.takes_files else ""
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be {body.media_type}{more}")


def _media_type(request: Request) -> str:
    return (request.getHeader("content-type") or "").partition(";")[0].strip().lower()


def _read_query(route: Route, request: Request, *, is_lenient: bool) -> Any:
    if route.body is not None and route.body.is_sent:
        return None
    query = request.uri.partition(b"?")[2].decode("latin-1")
    if query.count("&") >= MAX_QUERY_FIELDS:
        raise Refused(HTTPStatus.BAD_REQUEST, f"at most {MAX_QUERY_FIELDS} query parameters are taken")
    pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given and not is_lenient:
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} is there twice", ({"field": name, "rule": "is there twice"},)
            )
        given[name] = value
    if route.query is None:
        if given and not is_lenient:
            name = next(iter(given))
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"{name} is not known here",
                ({"field": name, "rule": "is not known here"},),
            )
        return None
    return read_query(route.query, given)


def _read_body(route: Route, request: ApiRequest) -> tuple[Any, Any]:
    """(what was parsed, what it was validated to)."""
    if route.body is None:
        return None, None
    content: Any = request.content
    if route.body.is_file:
        return None, _detach(content)
    raw = content.read()
    if route.body.is_sent:
        sent = Sent(request.uri.partition(b"?")[2], raw, request.getHeader("content-type") or "")
        return None, route.body.read(sent)
    if not raw:
        if not route.body.optional:
            raise Refused(HTTPStatus.BAD_REQUEST, "a body is needed")
        value: Any = {}
    elif route.body.takes_files and is_upload(_media_type(request)):
        upload = read_upload(request.getHeader("content-type") or "", raw)
        return upload.recognise(), route.body.read(upload)
    elif route.body.media_type == JSON:
        value = parse_json(raw)
    else:
        value = raw
    return (None if isinstance(value, bytes) else value), route.body.read(value)


def _detach(content: Any) -> BinaryIO:
    """The body as a file that stays when the request goes."""
    try:
        found: BinaryIO = os.fdopen(os.dup(content.fileno()), "rb")
    except (OSError, ValueError):  # a short one is in memory
        found = io.BytesIO(content.read())
    found.seek(0, io.SEEK_END)
    if not found.tell():
        found.close()
        raise Refused(HTTPStatus.BAD_REQUEST, "a body is needed")
    found.seek(0)
    return found


def _digest_file(content: BinaryIO) -> str:
    digest = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]  # a request's content is a file
    content.seek(0)
    return digest


def _read_key(
    route: Route, request: Request, principal: Principal | None, path: dict[str, str], value: Any
) -> Once | None:
    key = request.getHeader("idempotency-key")
    if key is None or route.method != "POST" or principal is None:
        return None
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise Refused(HTTPStatus.BAD_REQUEST, f"the Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters")
    if value is None and route.body is not None:
        content: Any = request.content
        content.seek(0)
        value = content.read().decode("utf-8", "replace")
    # The operation and what varies in the path: the query is part of the body's digest.
    where = "/".join((route.operation, *path.values()))
    query = request.uri.partition(b"?")[2].decode("latin-1")
    return Once(principal.scope, where, key, digest_body([value, query]))


def _write(request: Request, status: int, media_type: str, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    request.setResponseCode(status, HTTPStatus(status).phrase.encode())
    request.setHeader(b"server", b"tandem")
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    if status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        request.setHeader(b"content-type", media_type.encode())
        request.setHeader(b"content-length", str(len(body)).encode())
    for name, value in headers:
        request.setHeader(name.encode(), value.encode("latin-1", "replace"))
    return body
