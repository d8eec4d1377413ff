"""The FastAGI listener: sockets, allowed peers, sweep, graceful stop; never looks at what is said on a connection.

The protocol is a Twisted one. Where the reactor runs on asyncio, its sockets are served by the loop's own transports
under a small ITransport: with uvloop that took half the CPU per session of Twisted's own transport (asterisk-notes).
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from fastagi.protocol import AgiProtocol, Limits, SessionTable
from fastagi.session import Script

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.0/8", "::1/128")
BACKLOG = 1_024
SWEEP_S = 0.25


def allow_networks(networks: tuple[str, ...]) -> Callable[[str], bool]:
    """Says of an address whether it lies in one of `networks` (addresses or prefixes). ValueError names a bad one."""
    parsed = tuple(ip_network(network) for network in networks)

    @lru_cache(maxsize=1_024)
    def allows(host: str) -> bool:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in parsed)

    return allows


class AgiService(Service):
    """Listens for Asterisk's FastAGI connections.

    `listener` is a listening socket to use instead of binding `host` and `port` (0: any port, see `port` after the
    start). `loop` is the asyncio loop under the reactor, None for any other reactor.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script],
        reactor: Any,  # IReactorTime and IReactorSocket at once
        *,
        host: str = "127.0.0.1",
        port: int = 4573,
        listener: socket.socket | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        limits: Limits | None = None,
        peers: tuple[str, ...] = LOOPBACK,
        stop_s: float = 5.0,
    ) -> None:
        self.sessions = SessionTable(scripts, limits, allow_networks(peers))
        self.host, self.port = host, port
        self._peers = peers
        self._reactor, self._loop, self._listener = reactor, loop, listener
        self._stop_s = stop_s
        self._server: Deferred[asyncio.Server] | None = None
        self._port: Any = None
        self._sweep = LoopingCall(self.sessions.sweep)
        self._sweep.clock = reactor

    def startService(self) -> None:
        """Binds and listens; OSError when the address is taken. Connections that come now wait for the loop to turn."""
        super().startService()  # type: ignore[no-untyped-call]
        listener = self._listener or _listen(self.host, self.port)
        self._listener = None
        self.host, self.port = listener.getsockname()[:2]
        if set(LOOPBACK) <= set(self._peers) and allow_networks(LOOPBACK)(self.host):
            self.sessions.allows = None  # only this host reaches a loopback address: nothing to ask about each peer
        if self._loop is not None:
            server = self._loop.create_server(lambda: LoopAgiProtocol(self.sessions), sock=listener, backlog=BACKLOG)
            self._server = Deferred.fromCoroutine(_as_deferred(self._loop, server))
        else:
            listener.setblocking(False)
            self._port = self._reactor.adoptStreamPort(listener.fileno(), listener.family, AgiFactory(self.sessions))
            listener.close()
        self._sweep.start(SWEEP_S, now=False)
        logger.info("FastAGI listens on %s port %d", self.host, self.port)

    async def _stop(self) -> None:
        if self._server is not None:
            (await self._server).close()
        if self._port is not None:
            await self._port.stopListening()
        if self.sessions.open:
            emptied: Deferred[None] = Deferred()
            self.sessions.on_empty = lambda: None if emptied.called else emptied.callback(None)
            timer = self._reactor.callLater(self._stop_s, self.sessions.abort_all)
            await emptied
            if timer.active():
                timer.cancel()
        if self._sweep.running:
            self._sweep.stop()

    def stopService(self) -> Deferred[None]:
        """Stops accepting at once; fires when the running sessions are over, at the latest a moment after `stop_s`."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


async def _as_deferred(loop: asyncio.AbstractEventLoop, starting: Any) -> asyncio.Server:
    return cast("asyncio.Server", await Deferred.fromFuture(asyncio.ensure_future(starting, loop=loop)))


class AgiFactory(Factory):
    """Makes one AgiProtocol for each connection that a Twisted port accepts."""

    noisy = False

    def __init__(self, sessions: SessionTable) -> None:
        self._sessions = sessions

    def buildProtocol(self, addr: object) -> AgiProtocol:  # noqa: ARG002, N802 - Twisted's signature
        """A new protocol in the same table."""
        return AgiProtocol(self._sessions)


class LoopTransport:
    """An asyncio transport in ITransport's words, as far as AgiProtocol speaks them."""

    __slots__ = ("_transport", "abortConnection", "loseConnection", "write", "writeSequence")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.write = transport.write
        self.writeSequence = transport.writelines
        self.loseConnection = transport.close
        self.abortConnection = transport.abort

    def getPeer(self) -> IPv4Address | IPv6Address:
        """The address of the far end."""
        return _address(self._transport.get_extra_info("peername"))

    def getHost(self) -> IPv4Address | IPv6Address:
        """The address of our end."""
        return _address(self._transport.get_extra_info("sockname"))


def _address(name: tuple[Any, ...] | None) -> IPv4Address | IPv6Address:
    host, port = (name or ("?", 0))[:2]
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


class LoopAgiProtocol(AgiProtocol, asyncio.Protocol):
    """The same protocol under asyncio's names: no object and no call in between."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As makeConnection."""
        self.makeConnection(LoopTransport(cast("asyncio.Transport", transport)))  # type: ignore[no-untyped-call]

    data_received = AgiProtocol.dataReceived

    def eof_received(self) -> None:
        """Asterisk never half-closes: the loop closes the transport."""

    def connection_lost(self, error: Exception | None) -> None:
        """As connectionLost."""
        self.connectionLost(connectionDone if error is None else Failure(ConnectionLost(str(error))))

    def pause_writing(self) -> None:
        """One short line is in flight at most: nothing to pause."""

    def resume_writing(self) -> None:
        """See pause_writing."""
