"""Server-sent events: each encoded once, sent to all in batches, bounded for each client; never waits for a slow one."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer  # type: ignore[import-untyped]  # zope has no types

from tandem.ami.connection import Clock

FLUSH_EVERY_S: Final = 0.05
HEARTBEAT_S: Final = 15.0
MAX_CLIENTS: Final = 200
# What is published; a listener who asks for anything else is told.
KINDS: Final = (
    "call",
    "cdr",
    "decision",
    "config",
    "campaign",
    "agent",
    "features",
    "night",
    "queue",
    "channel",
    "device",
    "toll",
    "trunk",
    "callback",
)
# What waits for a client that reads slowly; older events go first, and the client is told how many.
MAX_WAITING_BYTES: Final = 256 * 1024
# A flush holds so many events at most.
MAX_BATCH: Final = 2000


@implementer(IPushProducer)
class Client:
    """One listener. may: whether it still may listen. What becomes of that which it cannot read at once is a subclass's."""

    def __init__(self, request: Any, may: Callable[[], bool]) -> None:
        self.may = may
        self.over: Deferred[None] = Deferred()
        self.request = request
        self.is_paused = False

    def send(self, chunk: bytes, count: int) -> None:  # noqa: ARG002 - a subclass asks
        """Writes `count` events, but not to one that reads slower than we write."""
        if not self.is_paused:
            self.request.write(chunk)

    def pauseProducing(self) -> None:
        """The client reads slower than we write."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """It reads again."""
        self.is_paused = False

    def stopProducing(self) -> None:
        """Gone; the hub hears of it too."""
        self.is_paused = True

    def end(self) -> None:
        """Nothing more; what waits for one who does not read is thrown away."""
        is_stuck = self.is_paused
        self.stopProducing()
        self.request.unregisterProducer()
        if is_stuck:
            self.request.channel.abort()
        elif not self.over.called:
            self.over.callback(None)


class EventClient(Client):
    """A listener to events. kinds: which it wants; empty means all."""

    def __init__(self, request: Any, kinds: frozenset[str], may: Callable[[], bool]) -> None:
        super().__init__(request, may)
        self.kinds = kinds
        self.lost = 0
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = 0
        self._told_lost = 0

    def send(self, chunk: bytes, count: int) -> None:
        """Writes now, or keeps for when the client reads again."""
        if not self.is_paused:
            self.request.write(chunk)
            return
        self._waiting.append((chunk, count))
        self._waiting_bytes += len(chunk)
        while self._waiting_bytes > MAX_WAITING_BYTES and self._waiting:
            dropped, lost = self._waiting.popleft()
            self._waiting_bytes -= len(dropped)
            self.lost += lost

    def resumeProducing(self) -> None:
        """It reads again."""
        super().resumeProducing()
        if self.lost > self._told_lost:
            told = orjson.dumps({"lost": self.lost - self._told_lost})
            self._told_lost = self.lost
            self.request.write(b"event: lost\ndata: " + told + b"\n\n")
        while self._waiting and not self.is_paused:
            chunk, _ = self._waiting.popleft()
            self._waiting_bytes -= len(chunk)
            self.request.write(chunk)

    def stopProducing(self) -> None:
        """Gone; the hub hears of it too."""
        super().stopProducing()
        self._waiting.clear()


C = TypeVar("C", bound=Client)


class Hub(Generic[C]):
    """Whoever listens, for as long as they may and are there."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._clients: set[C] = set()
        self._heartbeat: Any = None

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._clients)

    def admit(self, client: C, ends_in_s: float | None = None) -> Deferred[None]:
        """Answers its request until the client goes, or may no longer listen: asked before each sending, and after `ends_in_s`.

        What it returns is called back then; the request is to be finished by the caller.
        """
        request = client.request
        if ends_in_s is not None:
            ending = self._clock.callLater(max(0.0, ends_in_s), self.review)
            request.notifyFinish().addBoth(lambda _: ending.cancel() if ending.active() else None)
        self._clients.add(client)
        request.registerProducer(client, True)
        client.send(b": tandem\nretry: 2000\n\n", 0)
        request.notifyFinish().addBoth(lambda _: self._forget(client))
        if self._heartbeat is None:
            self._heartbeat = self._clock.callLater(HEARTBEAT_S, self._beat)
        return client.over

    def _forget(self, client: C) -> None:
        self._clients.discard(client)
        if not client.over.called:
            client.over.callback(None)

    def review(self) -> None:
        """Ends the streams of those who may no longer listen."""
        for client in tuple(self._clients):
            if not client.may():
                self._clients.discard(client)
                client.end()

    def close(self) -> None:
        """Ends all streams."""
        if self._heartbeat is not None and self._heartbeat.active():
            self._heartbeat.cancel()
        self._heartbeat = None
        for client in tuple(self._clients):
            client.request.loseConnection()
        self._clients.clear()

    def _beat(self) -> None:
        """Finds out who is gone, and keeps the rest from thinking that we are."""
        self.review()
        self._heartbeat = self._clock.callLater(HEARTBEAT_S, self._beat) if self._clients else None
        for client in tuple(self._clients):
            client.send(b": still here\n\n", 0)


class EventHub(Hub[EventClient]):
    """Takes events and hands them out."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._batch: list[tuple[str, bytes]] = []
        self._flushing: Any = None
        self.dropped = 0
        self._next_id = 0

    def publish(self, kind: str, value: Callable[[], Any]) -> None:
        """An event for whoever listens; `value` is only computed if somebody does."""
        if not self._clients:
            return
        if len(self._batch) >= MAX_BATCH:
            self.dropped += 1
            return
        self._next_id += 1
        data = orjson.dumps(value(), default=str)
        self._batch.append((kind, b"id: %d\nevent: %s\ndata: %s\n\n" % (self._next_id, kind.encode(), data)))
        if self._flushing is None:
            self._flushing = self._clock.callLater(FLUSH_EVERY_S, self._flush)

    def attach(
        self,
        request: Any,
        kinds: frozenset[str],
        may: Callable[[], bool] = lambda: True,
        ends_in_s: float | None = None,
    ) -> Deferred[None]:
        """Answers the request with events of these kinds; as `admit`."""
        return self.admit(EventClient(request, kinds, may), ends_in_s)

    def close(self) -> None:
        """Ends all streams."""
        if self._flushing is not None and self._flushing.active():
            self._flushing.cancel()
        self._flushing = None
        super().close()

    def _flush(self) -> None:
        self._flushing = None
        self.review()
        batch, self._batch = self._batch, []
        joined: dict[frozenset[str], tuple[bytes, int]] = {}
        for client in tuple(self._clients):
            if client.kinds not in joined:
                chunks = [chunk for kind, chunk in batch if not client.kinds or kind in client.kinds]
                joined[client.kinds] = b"".join(chunks), len(chunks)
            chunk, count = joined[client.kinds]
            if count:
                client.send(chunk, count)
