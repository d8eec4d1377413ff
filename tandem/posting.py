"""Requests to addresses that others chose: each connection goes to an address that was looked up once and checked; never follows a redirect, never keeps an answer.

Twisted's own Agent, without what treq adds to it: no cookies, and an answer that nobody reads is never unpacked.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from cryptography import x509
from OpenSSL.crypto import X509
from OpenSSL.SSL import Context
from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError

# Twisted's own way to say "the system's authorities and these": what it offers in public is one or the other.
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.defer import Deferred, TimeoutError, succeed  # noqa: A004 - Twisted's own
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IProtocolFactory, IResolutionReceiver, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, RequestGenerationFailed, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer  # type: ignore[import-untyped]  # zope has no types

from tandem.domain.webhooks import IPAddress, TargetRefused, check_addresses

TIMEOUT_S: Final = 10.0
# Of an answer's body so much is passed over, so that the connection can be used again; what is longer or slower ends it.
MAX_ANSWER: Final = 16 * 1024
PASS_OVER_S: Final = 2.0
IDLE_S: Final = 15
MAX_IDLE_CONNECTIONS: Final = 4

Resolve = Callable[[str], Awaitable[Sequence[IPAddress]]]


class NotSent(Exception):
    """There was no answer; the text says why, without a word of the other side's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """retry_after_s: what the other side asks for, None where it asks for nothing."""

    status: int
    retry_after_s: float | None


def read_trust(path: Path) -> Any:
    """Whose certificates are believed: those of the system's authorities, and of the file's (PEM). ValueError where there is none in it."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{path}: there is no certificate in it (PEM)") from None
    return _SystemAnd([X509.from_cryptography(certificate) for certificate in found])


@implementer(IOpenSSLTrustRoot)
class _SystemAnd:
    """The system's authorities and some more."""

    def __init__(self, certificates: Sequence[X509]) -> None:
        self._certificates = certificates

    def _addCACertsToContext(self, context: Context) -> None:
        context.set_default_verify_paths()
        store = context.get_cert_store()
        for certificate in self._certificates if store is not None else ():
            cast("Any", store).add_cert(certificate)


class Poster:
    """resolve: the addresses of a name, the system's look-up without one. trust: whose certificates are believed, the system's without one."""

    def __init__(
        self, reactor: Any, clock: Any, *, allow_private: bool, resolve: Resolve | None = None, trust: Any = None
    ) -> None:
        self._clock = clock
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = MAX_IDLE_CONNECTIONS
        self._pool.cachedConnectionTimeout = IDLE_S
        self._pool.retryAutomatically = False
        endpoints = _Endpoints(reactor, allow_private, resolve or (lambda host: _resolve(reactor, host)), trust)
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Sends it once. TargetRefused: it may not be sent there; NotSent: no answer within 10 s, or none at all."""
        response = await self._ask(b"POST", url, headers, _Body(body))
        await self._pass_over(response)
        return Answer(response.code, _read_retry_after(response))

    async def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """The same by GET: what is told stands in the address."""
        response = await self._ask(b"GET", url, headers, None)
        await self._pass_over(response)
        return Answer(response.code, _read_retry_after(response))

    async def fetch(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Asks by GET: status and body. TargetRefused, NotSent; also NotSent for a body that is longer than 16 KB or does not end."""
        return await self._read(await self._ask(b"GET", url, headers, None))

    async def exchange(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Sends it once, as `post`, and reads the answer, as `fetch`."""
        return await self._read(await self._ask(b"POST", url, headers, _Body(body)))

    async def _read(self, response: IResponse) -> tuple[int, bytes]:
        reading = _Reading()
        cast("Any", response).deliverBody(reading)
        timer = self._clock.callLater(TIMEOUT_S, reading.abort)
        try:
            await reading.done
        finally:
            if timer.active():
                timer.cancel()
        if not reading.is_whole:
            raise NotSent("its answer is too long, or did not end")
        return response.code, reading.body

    async def _ask(self, method: bytes, url: str, headers: Mapping[str, str], body: "_Body | None") -> IResponse:
        told = Headers({name: [value] for name, value in headers.items()})
        asked = self._agent.request(method, url.encode(), told, body)
        timer = self._clock.callLater(TIMEOUT_S, asked.cancel)
        try:
            response: IResponse = await asked
        except TargetRefused:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, it was not sent
            # What a cancelled request raises depends on how far it was.
            raise NotSent(_explain(error) if timer.active() else f"no answer within {TIMEOUT_S:.0f} s") from None
        finally:
            if timer.active():
                timer.cancel()
        return response

    def stop(self) -> "Deferred[None]":
        """Ends idle connections."""
        return cast("Deferred[None]", self._pool.closeCachedConnections())

    async def _pass_over(self, response: IResponse) -> None:
        """The status is the answer: whatever becomes of the body, it was given."""
        over = _PassOver()
        cast("Any", response).deliverBody(over)
        try:
            await over.done.addTimeout(PASS_OVER_S, self._clock)
        except TimeoutError:
            over.abort()


@implementer(IBodyProducer)
class _Body:
    """A body that is in memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> "Deferred[None]":
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


class _PassOver(Protocol):
    """Lets a body go by; `done` fires when it is over, or longer than it may be."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()
        self._left = MAX_ANSWER

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        self._finish()

    def abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            (getattr(transport, "abortConnection", None) or transport.loseConnection)()
        self._finish()

    def _finish(self) -> None:
        if not self.done.called:
            self.done.callback(None)


class _Reading(_PassOver):
    """Keeps what goes by, as long as that may be."""

    def __init__(self) -> None:
        super().__init__()
        self.body = b""
        self.is_whole = False

    def dataReceived(self, data: bytes) -> None:
        if not self.done.called:
            self.body += data
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # A body without a length ends with its connection.
        self.is_whole = not self.done.called and reason.check(ResponseDone, PotentialDataLoss) is not None
        super().connectionLost(reason)


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, allow_private: bool, resolve: Resolve, trust: Any) -> None:
        self._reactor, self._allow_private, self._resolve, self._trust = reactor, allow_private, resolve, trust

    def endpointForURI(self, uri: URI) -> Any:
        """Where a connection goes: to nothing but http and https."""
        host = uri.host.decode("ascii").strip("[]")
        is_secure = uri.scheme == b"https"
        checked = _Checked(self._reactor, host, uri.port, self._resolve, (is_secure, self._allow_private))
        if not is_secure:
            return checked
        return wrapClientTLS(optionsForClientTLS(host, trustRoot=self._trust), cast("Any", checked))


@implementer(IStreamClientEndpoint)
class _Checked:
    """Looks the host up, once, checks every address, and connects to the first: what the name says a moment later does not matter."""

    def __init__(self, reactor: Any, host: str, port: int, resolve: Resolve, rules: tuple[bool, bool]) -> None:
        self._reactor, self._host, self._port, self._resolve, self._rules = reactor, host, port, resolve, rules

    def connect(self, factory: IProtocolFactory) -> "Deferred[Any]":
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        try:
            addresses: Sequence[IPAddress] = [ipaddress.ip_address(self._host)]
        except ValueError:
            addresses = await self._resolve(self._host)
        is_secure, allow_private = self._rules
        address = check_addresses(self._host, addresses, is_secure=is_secure, allow_private=allow_private)
        kind: Any = TCP6ClientEndpoint if address.version == 6 else TCP4ClientEndpoint
        return await kind(self._reactor, str(address), self._port, timeout=TIMEOUT_S).connect(factory)


@implementer(IResolutionReceiver)
class _Addresses:
    """What the reactor's resolver tells, gathered."""

    def __init__(self) -> None:
        self.found: list[IPAddress] = []
        self.done: Deferred[list[IPAddress]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        pass

    def addressResolved(self, address: Any) -> None:
        self.found.append(ipaddress.ip_address(address.host.partition("%")[0]))

    def resolutionComplete(self) -> None:
        if not self.done.called:
            self.done.callback(self.found)


def _resolve(reactor: Any, host: str) -> "Deferred[list[IPAddress]]":
    receiver = _Addresses()
    reactor.nameResolver.resolveHostName(receiver, host)
    return receiver.done


def _explain(error: Exception) -> str:
    """Why there was no answer, in our own words."""
    reasons = [reason.value for reason in getattr(error, "reasons", ())] or [error]
    if any(isinstance(reason, VerificationError) for reason in reasons):
        return "its certificate is another host's"
    if any(isinstance(reason, SSLError) and "certificate" in str(reason) for reason in reasons):
        return "its certificate is signed by nobody who is believed, or is not valid now"
    match error:
        case ResponseFailed(reasons=reasons) | RequestGenerationFailed(reasons=reasons):
            return f"the connection broke: {', '.join(type(reason.value).__name__ for reason in reasons)}"
        case DNSLookupError():
            return "its name has no address"
        case _:
            return f"not connected: {type(error).__name__}"


def _read_retry_after(response: IResponse) -> float | None:
    """Seconds; a date is passed over, since nobody's clock is ours."""
    values: Sequence[bytes] = cast("Any", response).headers.getRawHeaders(b"retry-after") or ()
    text = values[0].strip() if values else b""
    return float(text) if text.isdigit() and len(text) < 10 else None
