"""One AMI connection: greeting, login, actions and their answers, events out to the handlers; it never writes an action twice."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from typing import Protocol as Shape

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger

from tandem.ami import actions
from tandem.ami.errors import (
    AmiConnectionLost,
    AmiError,
    AmiForged,
    AmiLoginRefused,
    AmiOverloaded,
    AmiProtocolError,
    AmiRefused,
    AmiTimeout,
    AmiValueRefused,
)
from tandem.ami.wire import AmiParser, Message, encode_action, read_event_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.base import DelayedCall
    from twisted.python.failure import Failure

    from tandem.ami.actions import Action

    EventCallback = Callable[[Message], object]

_log = Logger()


class Clock(Shape):
    """The part of a reactor that tells and keeps time; `twisted.internet.task.Clock` in tests."""

    def seconds(self) -> float:
        """Now, in seconds from anywhere."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> DelayedCall:  # noqa: A002 - Twisted's names
        """Call later, unless cancelled."""


class _Transport(Shape):
    def write(self, data: bytes) -> None: ...

    def abortConnection(self) -> None: ...


@dataclass(frozen=True, slots=True)
class AmiLimits:
    """Times and bounds of a client; the defaults suit an Asterisk on the same machine."""

    action_timeout_s: float = 5.0
    login_timeout_s: float = 10.0
    ping_every_s: float = 5.0
    ping_timeout_s: float = 5.0
    reconnect_first_s: float = 0.5
    reconnect_max_s: float = 30.0
    window: int = 200  # actions written and not answered
    queue: int = 20_000  # actions not yet written
    list_items: int = 1_000_000  # events in the answer to one list action


def new_action_id() -> str:
    """128 random bits: no one can name the action of another, and no restart meets an old one."""
    return secrets.token_hex(16)


@dataclass(slots=True, eq=False)
class _Exchange:
    action: Action
    action_id: str
    payload: bytes
    is_list: bool
    answer: Deferred[list[Message]]
    deadline: DelayedCall | None = None
    written: bool = False
    written_at: float = 0.0  # on the clock of the reactor
    is_listing: bool = False
    # Of a list: the response, then its events.
    events: list[Message] = field(default_factory=list)


class AmiConnection(Protocol):
    """The protocol under `AmiClient`.

    Asterisk answers the actions of one session in order, each when it is done. An action that is late fails alone: whoever asked may have
    been in a hurry, and calls' events come over this connection. A dead peer is told from a busy one by a Ping, sent when nothing is under
    way, or when the deadline of the *oldest* unanswered action passes and not one byte has come since it was written. Where the same is
    then true of the Ping, the connection is cut.
    """

    def __init__(self, clock: Clock, handlers: Mapping[bytes, tuple[EventCallback, ...]], limits: AmiLimits) -> None:
        self.debris = 0  # frames that were neither event nor response: what a forged message leaves behind
        self.filtered: set[bytes] = set()  # names of the events asked for in this session
        self._link: _Transport | None = None
        self._clock = clock
        self._handlers = handlers
        self._limits = limits
        self._parser = AmiParser()
        self._greeted: Deferred[None] = Deferred()
        self._is_greeted = False
        self._is_over = False
        self._watchers: list[Deferred[None]] = []
        self._in_flight: dict[str, _Exchange] = {}
        self._queue: deque[_Exchange] = deque()
        self._listing = 0
        self._heard_at = 0.0
        self._next_ping: DelayedCall | None = None
        self._ping: _Exchange | None = None  # the one under way

    def connectionMade(self) -> None:
        """Take the transport."""
        self._link = cast("_Transport", self.transport)

    # -- login

    async def log_in(self, username: str, secret: str) -> None:
        """Wait for the greeting, answer the challenge; start the keepalive. Events are off but for `system`. Raises `AmiLoginRefused` or another `AmiError`."""
        timeout_s = self._limits.login_timeout_s
        late = self._clock.callLater(
            timeout_s, self._fail_greeting, AmiTimeout("greeting", f"none within {timeout_s:g} s", written=False)
        )
        try:
            await self._greeted
        finally:
            if late.active():
                late.cancel()
        try:
            challenge = (await self.send(actions.challenge(), timeout_s)).get("Challenge")
            await self.send(actions.login(username, secret, challenge), timeout_s)
        except AmiRefused as refusal:
            raise AmiLoginRefused(f"Asterisk refused the AMI login of {username!r}: {refusal.reason}") from refusal
        self._next_ping = self._clock.callLater(self._limits.ping_every_s, self._keep_alive)

    def _fail_greeting(self, error: AmiError) -> None:
        if not self._is_greeted:
            self._is_greeted = True
            self._greeted.errback(error)

    def _keep_alive(self) -> None:
        self._next_ping = self._clock.callLater(self._limits.ping_every_s, self._keep_alive)
        if not self._in_flight:
            self._send_ping()

    def _send_ping(self) -> None:
        """Past the window: behind what is not answered anyway it would never leave."""
        if self._link is None or self._ping is not None:
            return
        ping = self._ping = self._make_exchange(
            actions.ping(), self._limits.ping_timeout_s, new_action_id(), is_list=False
        )
        self._write(ping, self._link)
        # Its failure says nothing by itself: `_expire` and `connectionLost` have acted on it already.
        ping.answer.addErrback(lambda failure: failure.trap(AmiError) and None)

    # -- actions

    def send(self, action: Action, timeout_s: float, action_id: str = "") -> Deferred[Message]:
        """Send one action; fires with its response, or fails with an `AmiError` (`AmiRefused` for `Response: Error`)."""
        return self._enqueue(action, timeout_s, action_id, is_list=False).addCallback(lambda answer: answer[0])

    def send_list(self, action: Action, timeout_s: float, action_id: str = "") -> Deferred[list[Message]]:
        """Send a list action; fires with its events, without the response and the event that ends the list."""
        return self.send_collect(action, timeout_s, action_id).addCallback(lambda answer: answer[1:])

    def send_collect(self, action: Action, timeout_s: float, action_id: str = "") -> Deferred[list[Message]]:
        """Send a list action; fires with its response and its events, without the event that ends the list."""
        return self._enqueue(action, timeout_s, action_id, is_list=True)

    def _enqueue(self, action: Action, timeout_s: float, action_id: str, *, is_list: bool) -> Deferred[list[Message]]:
        action_id = action_id or new_action_id()
        if self._link is None:
            return fail(AmiConnectionLost(action.name, "not connected", written=False))
        if len(self._queue) >= self._limits.queue:
            return fail(AmiOverloaded(action.name, f"{self._limits.queue} actions wait already", written=False))
        try:
            exchange = self._make_exchange(action, timeout_s, action_id, is_list=is_list)
        except AmiValueRefused as error:
            return fail(error)
        self._queue.append(exchange)
        self._fill_window()
        return exchange.answer

    def _make_exchange(self, action: Action, timeout_s: float, action_id: str, *, is_list: bool) -> _Exchange:
        """Its deadline runs from now, wherever it waits."""
        payload = encode_action(action.name, (("ActionID", action_id), *action.headers), action.variables)
        exchange = _Exchange(action, action_id, payload, is_list, Deferred(lambda _: self._forget(exchange)))
        exchange.deadline = self._clock.callLater(timeout_s, self._expire, exchange, timeout_s)
        return exchange

    def _fill_window(self) -> None:
        while self._link is not None and self._queue and len(self._in_flight) < self._limits.window:
            exchange = self._queue.popleft()
            if exchange.action_id in self._in_flight:
                self._settle(exchange, AmiValueRefused(f"{exchange.action.name}: its ActionID is in use"))
                continue
            self._write(exchange, self._link)

    def _write(self, exchange: _Exchange, link: _Transport) -> None:
        exchange.written = True
        exchange.written_at = self._clock.seconds()
        self._in_flight[exchange.action_id] = exchange
        link.write(exchange.payload)

    def _forget(self, exchange: _Exchange) -> None:
        """Take an exchange out of the books: whatever still comes for it is dropped."""
        if exchange.deadline is not None and exchange.deadline.active():
            exchange.deadline.cancel()
        if self._ping is exchange:
            self._ping = None
        if exchange.is_listing:
            exchange.is_listing = False
            self._listing -= 1
        if self._in_flight.get(exchange.action_id) is exchange:
            del self._in_flight[exchange.action_id]
            self._fill_window()
        elif exchange in self._queue:
            self._queue.remove(exchange)

    def _settle(self, exchange: _Exchange, outcome: list[Message] | AmiError) -> None:
        self._forget(exchange)
        if isinstance(outcome, AmiError):
            exchange.answer.errback(outcome)
        else:
            exchange.answer.callback(outcome)

    def _expire(self, exchange: _Exchange, timeout_s: float) -> None:
        is_oldest = next(iter(self._in_flight.values()), None) is exchange
        is_silent = is_oldest and self._heard_at <= exchange.written_at
        is_ping = exchange is self._ping
        self._settle(
            exchange, AmiTimeout(exchange.action.name, f"no answer within {timeout_s:g} s", written=exchange.written)
        )
        if is_silent and is_ping:
            _log.error("Asterisk has not said a word since a Ping was sent {s:g} s ago: connection cut", s=timeout_s)
            self.abort()
        elif is_silent:
            self._send_ping()

    def when_lost(self) -> Deferred[None]:
        """Fires when the connection is over and everything pending has failed; at once where that is so already."""
        if self._is_over:
            return succeed(None)
        watcher: Deferred[None] = Deferred(lambda cancelled: self._watchers.remove(cancelled))  # noqa: PLW0108 - the list is replaced
        self._watchers.append(watcher)
        return watcher

    def abort(self) -> None:
        """Cut the connection now; what was not written never will be."""
        if self._link is not None:
            link, self._link = self._link, None
            link.abortConnection()

    # -- what comes in

    def dataReceived(self, data: bytes) -> None:
        """Cut frames and hand each to whom it belongs."""
        if self._link is None:
            return
        self._heard_at = self._clock.seconds()
        handlers = self._handlers
        try:
            for frame in self._parser.feed(data):
                name = read_event_name(frame)
                if not name:
                    self._take_response(frame)
                elif self._listing and self._take_list_event(name, frame):
                    pass
                elif name in handlers:
                    self._dispatch(handlers[name], Message(frame))
        except AmiProtocolError as error:
            _log.error("AMI connection cut: {error}", error=error)
            self._fail_greeting(error)
            self.abort()
        if not self._is_greeted and self._parser.greeting is not None:
            self._is_greeted = True
            self._greeted.callback(None)

    def _dispatch(self, callbacks: tuple[EventCallback, ...], message: Message) -> None:
        for callback in callbacks:
            try:
                callback(message)
            except AmiForged as error:
                _log.warn("AMI event not believed: {error}", error=error)
            except Exception:  # noqa: BLE001 - a reader's mistake must not end the connection
                _log.failure("a reader of the AMI event {name!r} failed", name=message.name)

    def _take_response(self, frame: bytes) -> None:
        message = Message(frame)
        if message.kind != "Response":
            self.debris += 1
            _log.warn(
                "AMI: dropped {size} bytes that are neither event nor response: the debris of a forged message?",
                size=len(frame),
            )
            return
        exchange = self._find_exchange(message)
        if exchange is None:
            _log.info("AMI: dropped a response {name!r} that nobody waits for", name=message.name[:40])
        elif exchange.is_list and exchange.action.nothing != "" and _read_reason(message) == exchange.action.nothing:
            self._settle(exchange, [message])  # an error of some actions, a success of VoicemailUsersList
        elif message.name == "Error":
            self._settle(exchange, AmiRefused(exchange.action.name, _read_reason(message)))
        elif not exchange.is_list:
            self._settle(exchange, [message])
        elif "start" in message.all("EventList"):
            exchange.is_listing = True
            exchange.events.append(message)
            self._listing += 1
        else:
            self._settle(exchange, AmiProtocolError(f"{exchange.action.name} is not answered with a list"))

    def _take_list_event(self, name: bytes, frame: bytes) -> bool:
        message = Message(frame)
        exchange = self._find_exchange(message)
        if exchange is None or not exchange.is_listing:
            return False
        # By name and header: a caller's number can bring a header `EventList` into an item, but no item is called …Complete.
        if name.endswith(b"Complete") and (end := message.all("EventList")):
            is_whole = end == ("Complete",)
            self._settle(
                exchange, exchange.events if is_whole else AmiRefused(exchange.action.name, "the list was cancelled")
            )
        elif len(exchange.events) <= self._limits.list_items:  # the first is the response
            exchange.events.append(message)
        else:
            self._settle(
                exchange,
                AmiProtocolError(f"{exchange.action.name}: a list of more than {self._limits.list_items} events"),
            )
        return True

    def _find_exchange(self, message: Message) -> _Exchange | None:
        try:
            return self._in_flight.get(message.get("ActionID"))
        except AmiForged:
            return None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail everything that waits; what was written is in doubt, and is not sent again."""
        self._is_over = True
        self._link = None
        if self._next_ping is not None and self._next_ping.active():
            self._next_ping.cancel()
        why = f"connection lost: {reason.getErrorMessage()}"
        self._fail_greeting(AmiConnectionLost("greeting", why, written=False))
        waiting = [*self._in_flight.values(), *self._queue]
        self._queue.clear()
        for exchange in waiting:
            if not exchange.answer.called:  # a callback of another may have cancelled it
                self._settle(exchange, AmiConnectionLost(exchange.action.name, why, written=exchange.written))
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(None)


def _read_reason(message: Message) -> str:
    """What a response says: `Command` puts it in Output; some texts end with a newline of their own."""
    return " ".join("; ".join(message.all("Output") or message.all("Message")).split())[:500]
