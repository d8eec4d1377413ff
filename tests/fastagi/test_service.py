"""The listener over real sockets, on uvloop's transports and on Twisted's own."""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from twisted.internet.asyncioreactor import AsyncioSelectorReactor

from fastagi.protocol import Limits
from fastagi.service import AgiService, LoopTransport, allow_networks
from fastagi.session import Session
from fastagi.testing import environment_block

BLOCK = environment_block()
DECISION = b'EXEC "Gosub" "tandem-enter,queue,1(sales)"\n'
Start = Callable[..., AgiService]


async def decide(session: Session) -> None:
    await session.exec("Gosub", "tandem-enter,queue,1(sales)")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(params=["uvloop", "twisted"])
def start(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop) -> Iterator[Start]:
    """Starts a service on the loop, on either kind of transport; stops it at the end and looks for leaks."""
    reactor = AsyncioSelectorReactor(loop)
    services: list[AgiService] = []

    def start(**options: Any) -> AgiService:
        options = {
            "port": 0,
            "scripts": {"did": decide},
            "loop": loop if request.param == "uvloop" else None,
            **options,
        }
        service = AgiService(reactor=reactor, **options)
        service.startService()
        services.append(service)
        return service

    yield start
    for service in services:
        if service.running:
            loop.run_until_complete(service.stopService().asFuture(loop))
        assert service.sessions.open == set()
    reactor.removeAll()


async def call(port: int, answer: bytes = b"200 result=0\n") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(BLOCK)
        command = await reader.readline()
        if command:
            writer.write(answer)
        return command + await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def run(loop: asyncio.AbstractEventLoop, scenario: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(asyncio.wait_for(scenario, 20))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_many_calls_at_once(start: Start, loop: asyncio.AbstractEventLoop) -> None:
    service = start()

    async def scenario() -> list[bytes]:
        return await asyncio.gather(*(call(service.port) for _ in range(300)))

    assert run(loop, scenario()) == [DECISION] * 300
    assert (service.sessions.counters.started, service.sessions.counters.finished) == (300, 300)
    assert service.host == "127.0.0.1"


def test_a_burst_waits_in_the_backlog(start: Start, loop: asyncio.AbstractEventLoop) -> None:
    """Asterisk gives up after 2 s; 200 connections come before the loop turns once."""
    service = start()
    callers = []
    for _ in range(200):
        caller = socket.create_connection(("127.0.0.1", service.port), timeout=2)
        caller.sendall(BLOCK)
        callers.append(caller)
    run(loop, until(lambda: service.sessions.counters.started == 200))
    for caller in callers:
        assert caller.recv(200) == DECISION
        caller.close()
    run(loop, until(lambda: not service.sessions.open))
    assert service.sessions.counters.hung_up == 200


def test_over_the_limit_calls_are_closed_at_once(start: Start, loop: asyncio.AbstractEventLoop) -> None:
    service = start(limits=Limits(sessions=3))

    async def scenario() -> None:
        held = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(3)]
        assert await call(service.port) == b""
        for _, writer in held:
            writer.close()
        await until(lambda: not service.sessions.open)
        assert await call(service.port) == DECISION

    run(loop, scenario())
    assert service.sessions.counters.refused == 1


def test_only_allowed_peers(start: Start, loop: asyncio.AbstractEventLoop) -> None:
    service = start(peers=("192.0.2.0/24",))
    assert run(loop, call(service.port)) == b""
    assert (service.sessions.counters.refused, service.sessions.counters.started) == (1, 0)


def test_a_socket_that_somebody_else_bound(start: Start, loop: asyncio.AbstractEventLoop) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    port = listener.getsockname()[1]
    service = start(listener=listener)
    assert service.port == port
    assert run(loop, call(port)) == DECISION


def test_a_taken_port_is_an_error_at_the_start(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        start(port=taken.getsockname()[1])


def test_connections_reset_at_each_step(start: Start, loop: asyncio.AbstractEventLoop) -> None:
    service = start()

    def reset_after(data: bytes, answers: int) -> None:
        caller = socket.create_connection(("127.0.0.1", service.port), timeout=2)
        caller.sendall(data)
        run(loop, asyncio.sleep(0.01))
        for _ in range(answers):
            caller.sendall(b"200 result=0\n")
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.close()

    for data, answers in ((b"", 0), (BLOCK[:50], 0), (BLOCK, 0), (BLOCK, 1)):
        for _ in range(5):
            reset_after(data, answers)
    run(loop, until(lambda: not service.sessions.open))
    assert service.sessions.counters.failed == 0
    assert run(loop, call(service.port)) == DECISION


def test_the_sweep_runs(start: Start, loop: asyncio.AbstractEventLoop) -> None:
    service = start(limits=Limits(environment_s=0.1))

    async def scenario() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"agi_network: yes\n")
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    assert run(loop, scenario()) == b""
    assert service.sessions.counters.timed_out == 1


def test_stopping_lets_running_sessions_finish(start: Start, loop: asyncio.AbstractEventLoop) -> None:
    service = start(stop_s=10)

    async def scenario() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(BLOCK)
        assert await reader.readline() == DECISION
        stopping = service.stopService().asFuture(loop)
        await asyncio.sleep(0.05)
        assert not stopping.done()
        with pytest.raises(OSError, match=r"refused|reset|Connect"):
            socket.create_connection(("127.0.0.1", service.port), timeout=1)
        writer.write(b"200 result=0\n")
        assert await reader.read() == b""
        await asyncio.wait_for(stopping, 2)
        writer.close()

    run(loop, scenario())
    assert service.sessions.counters.finished == 1


def test_stopping_cuts_what_does_not_finish(start: Start, loop: asyncio.AbstractEventLoop) -> None:
    service = start(stop_s=0.1)

    async def scenario() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(BLOCK)
        assert await reader.readline() == DECISION
        await asyncio.wait_for(service.stopService().asFuture(loop), 2)
        with suppress(ConnectionResetError):  # Twisted resets the connection, uvloop ends it
            assert await reader.read() == b""
        writer.close()

    run(loop, scenario())
    assert service.sessions.counters.hung_up == 1


def test_allowed_networks() -> None:
    allows = allow_networks(("127.0.0.0/8", "::1", "192.0.2.7"))
    assert [allows(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "192.0.2.7", "::ffff:192.0.2.7")] == [True] * 5
    assert [allows(host) for host in ("192.0.2.8", "::2", "", "x", "fe80::1%eth0")] == [False] * 5
    with pytest.raises(ValueError, match="nonsense"):
        allow_networks(("nonsense",))


def test_the_transport_knows_both_addresses(loop: asyncio.AbstractEventLoop) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        transport = LoopTransport(writer.transport)
        assert (transport.getPeer().host, transport.getPeer().port) == ("127.0.0.1", port)
        assert transport.getHost().host == "127.0.0.1"
        transport.loseConnection()
        server.close()

    run(loop, scenario())
