"""starpy.manager: one AMI connection whose actions are methods that return Deferreds, and events for those that registered; every byte goes through tandem.ami.

    from tandem.starpy import manager

    manager.AMIFactory("dialer", "secret").login("127.0.0.1", 5038).addCallback(main)      # main(ami)

The login is by challenge, so the secret is never sent. Unlike tandem.ami.client, a connection that is lost stays lost unless `on_reconnect` is given.
"""

import logging
import random
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.python.failure import Failure

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.connection import AmiConnection, AmiLimits, Clock, new_action_id
from tandem.ami.errors import AmiConnectionLost, AmiError, AmiForged, AmiLoginRefused, AmiRefused, AmiValueRefused
from tandem.ami.wire import GREETING, Message
from tandem.starpy.error import AMICommandFailure, AMIConnectionGone
from tandem.starpy.manager_actions import ManagerActions
from tandem.starpy.messages import Reply, Request, build_action, read_message

__all__ = ["AMIFactory", "AMIProtocol", "log"]

log = logging.getLogger("AMI")

Handler = Callable[["AMIProtocol", Reply], object]
EventCallback = Callable[[Message], object]
EventName = str | None

# starpy waits for ever for an answer; a connection on which nothing at all is heard for so long is dead.
LIMITS = AmiLimits(action_timeout_s=60.0)
MAX_CALLBACKS = 1_000


class AMIProtocol(ManagerActions, AmiConnection):
    """One AMI login. Messages and events are dicts with lower-case keys: `{"event": "Hangup", "channel": …}`."""

    id: str | None = None

    def __init__(self, *args: object, **named: object) -> None:  # noqa: ARG002 - starpy's takes anything, too
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

        AmiConnection.__init__(self, cast("Clock", reactor), _Wanted(self), LIMITS)
        self.count = 0
        self.hostName = socket.gethostname()
        self.is_logged_in = self.is_leaving = False
        self.eventTypeCallbacks: dict[EventName, list[Handler]] = {}
        self.actionIDCallbacks: OrderedDict[str, Callable[[Reply], object]] = OrderedDict()

    @property
    def amiVersion(self) -> str | None:
        """The version of AMI that Asterisk greets with, such as `11.0.0`."""
        greeting = self._parser.greeting
        return greeting.removeprefix(GREETING.decode()).strip() if greeting else None

    # ---- events

    def registerEvent(self, event: EventName | tuple[EventName, ...] | list[EventName], function: Handler) -> None:
        """Calls `function(protocol, event)` for each event of that name, of those names, or (None) for every event."""
        for name in _list_names(event):
            self.eventTypeCallbacks.setdefault(name, []).append(function)

    def deregisterEvent(
        self, event: EventName | tuple[EventName, ...] | list[EventName], function: Handler | None = None
    ) -> bool:
        """Ends that, for one function or (None) for all of these events; False when nothing was registered for one of them."""
        known = True
        for name in _list_names(event):
            handlers = self.eventTypeCallbacks.pop(name, None)
            known = known and handlers is not None
            left = [handler for handler in handlers or () if function is not None and handler != function]
            if left:
                self.eventTypeCallbacks[name] = left
        return known

    def take_event(self, message: Message) -> None:
        """One event, to whoever wants it. Raises AmiForged for one that a stranger wrote part of: nobody gets it."""
        event = read_message(message)
        callback = self.actionIDCallbacks.get(event.get("actionid", ""))
        if callback is not None:
            self._tell(callback, event)
        for name in (event["event"], None):
            for handler in tuple(self.eventTypeCallbacks.get(name, ())):
                self._tell(handler, self, event)

    def _tell(self, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except Exception:  # the program's mistake must not end the connection
            log.exception("%r failed", function)

    # ---- actions

    def generateActionId(self) -> str:
        """128 random bits: nobody can name the action of another."""
        return new_action_id()

    def send_action(self, action: Action, *, action_id: str = "", answer_s: float | None = None) -> Deferred[Reply]:
        """Sends one action, once; fires with its answer, also with one whose response is Error."""
        self.count += 1
        action_id = action_id or new_action_id()
        answer = self.send(action, answer_s or LIMITS.action_timeout_s, action_id)
        return answer.addCallback(read_message).addErrback(self._read_failure, action_id)

    def sendDeferred(self, message: Request) -> Deferred[Reply]:
        """Sends any action: a dict, or a list of pairs. Fires with its answer, also with one whose response is Error."""
        action, action_id = build_action(message)
        return self.send_action(action, action_id=action_id)

    def sendMessage(self, message: Request, responseCallback: Callable[[Reply], object] | None = None) -> str:
        """Sends any action; its ActionID. `responseCallback` gets its answer and every event with that ActionID.

        It hears nothing when the connection is lost, which is logged: use sendDeferred.
        """
        action, action_id = build_action(message)
        action_id = action_id or new_action_id()
        answer = self.send_action(action, action_id=action_id)
        if responseCallback is not None:
            self.actionIDCallbacks[action_id] = responseCallback
            if len(self.actionIDCallbacks) > MAX_CALLBACKS:
                self.actionIDCallbacks.popitem(last=False)
            answer.addCallback(responseCallback)
        answer.addErrback(lambda failure: log.warning("%s: %s", action.name, failure.getErrorMessage()))
        return action_id

    def collectDeferred(self, message: Request, stopEvent: str) -> Deferred[list[Reply]]:  # noqa: ARG002 - starpy's signature
        """Sends a list action; fires with its response and its events, which registered functions get first.

        `stopEvent` is not needed: Asterisk marks the end of each list. A forged event is left out.
        """
        self.count += 1
        action, action_id = build_action(message)
        action_id = action_id or new_action_id()
        answer = self.send_collect(action, LIMITS.action_timeout_s, action_id)
        return answer.addCallback(self._read_list).addErrback(self._fail, action_id)

    def _read_list(self, messages: list[Message]) -> list[Reply]:
        replies = [read_message(messages[0])]
        for message in messages[1:]:
            try:
                if message.name.encode() in self._handlers:
                    self.take_event(message)
                replies.append(read_message(message))
            except AmiForged as error:
                log.warning("event not believed: %s", error)
        return replies

    def _read_failure(self, failure: Failure, action_id: str) -> Reply:
        if isinstance(failure.value, AmiRefused):
            return _refusal(failure.value.reason, action_id)
        return self._fail(failure, action_id)

    def _fail(self, failure: Failure, action_id: str) -> NoReturn:
        raise _translate(failure.value, action_id)

    # ---- login and its end

    def connectionMade(self) -> None:
        """Logs in."""
        super().connectionMade()
        self.login().addCallbacks(self._tell_login, self._tell_refusal)

    def login(self) -> Deferred[Reply]:
        """Done by itself when the connection is made, with the factory's username and secret."""
        return Deferred.fromCoroutine(self._log_in())

    async def _log_in(self) -> Reply:
        factory = cast("AMIFactory", self.factory)
        self.id = factory.id
        if not self.is_logged_in:
            try:
                await self.log_in(factory.username, factory.secret)
                await self.send(actions.events("on"), LIMITS.login_timeout_s)
            except AmiError as error:
                raise _translate(error, "") from error
            self.is_logged_in = True
        return {"response": "Success", "message": "Authentication accepted"}

    def _tell_login(self, _: Reply) -> None:
        cast("AMIFactory", self.factory).settle_login(self)

    def _tell_refusal(self, failure: Failure) -> None:
        log.info("login failed: %s", failure.getErrorMessage())
        self.abort()
        cast("AMIFactory", self.factory).settle_login(failure)

    def logoff(self) -> Deferred[Reply]:
        """Says good-bye; Asterisk closes the connection."""
        self.is_leaving = True
        return self.send_action(actions.logoff()).addCallback(self.errorUnlessResponse, "Goodbye")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fails whatever waits; forgets who was registered."""
        super().connectionLost(reason)
        self.eventTypeCallbacks.clear()
        self.actionIDCallbacks.clear()


class _Wanted(Mapping[bytes, tuple[EventCallback, ...]]):
    """Which events a protocol is to be told: those that somebody registered for, or all when somebody wants all."""

    def __init__(self, protocol: AMIProtocol) -> None:
        self._protocol = protocol

    def __getitem__(self, name: bytes) -> tuple[EventCallback, ...]:
        protocol = self._protocol
        registered = protocol.eventTypeCallbacks
        if None in registered or protocol.actionIDCallbacks or name.decode("utf-8", "replace") in registered:
            return (protocol.take_event,)
        raise KeyError(name)

    def __iter__(self) -> Iterator[bytes]:
        return (name.encode() for name in self._protocol.eventTypeCallbacks if name is not None)

    def __len__(self) -> int:
        return len(self._protocol.eventTypeCallbacks)


class AMIFactory(ClientFactory):
    """Makes the connection: `login` fires with its AMIProtocol, logged in.

    `plaintext_login` is accepted and changes nothing: the secret is never sent. `on_reconnect(deferred)` is called whenever a connection that was
    logged in is lost without logoff; Tandem then connects again until it succeeds, and `deferred` fires with the new protocol. Without it a lost
    connection stays lost.
    """

    protocol = AMIProtocol
    noisy = False

    def __init__(
        self,
        username: str,
        secret: str,
        id: str | None = None,
        plaintext_login: bool = True,  # noqa: ARG002 - starpy's signature; the secret is never sent
        on_reconnect: Callable[[Deferred[AMIProtocol]], object] | None = None,
    ) -> None:
        self.username, self.secret, self.id = username, secret, id
        self.on_reconnect = on_reconnect
        self.loginDefer: Deferred[AMIProtocol] = Deferred()
        self._open: AMIProtocol | None = None  # logged in
        self._pause_s = 0.0  # before the next attempt; 0 while none is to follow

    def login(
        self, ip: str = "localhost", port: int = 5038, timeout: float = 5, bindAddress: tuple[str, int] | None = None
    ) -> Deferred[AMIProtocol]:
        """Connects and logs in. Fails with Twisted's connection errors, or with AMICommandFailure when the login is refused."""
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

        self.loginDefer = Deferred()
        connect = cast("Any", reactor).connectTCP
        connect(ip, port, self, timeout=timeout, bindAddress=bindAddress)
        return self.loginDefer

    def settle_login(self, outcome: AMIProtocol | Failure) -> None:
        """A protocol tells how its login ended."""
        self._open = outcome if isinstance(outcome, AMIProtocol) else None
        self._pause_s = 0.0
        if isinstance(outcome, Failure):
            self._fail_login(outcome)
        elif not self.loginDefer.called:
            self.loginDefer.callback(outcome)

    def _fail_login(self, failure: Failure) -> None:
        if not self.loginDefer.called:
            self.loginDefer.errback(failure)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Nobody answers: told, or tried again where a lost connection is to come back."""
        if self._pause_s:
            self._connect_later(connector)
        else:
            self._fail_login(reason)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:  # noqa: ARG002 - starpy's and Twisted's shape
        """A connection is over; made again where somebody asked for that."""
        lost, self._open = self._open, None
        if lost is None or lost.is_leaving or self.on_reconnect is None:
            return
        self.loginDefer = Deferred()
        self._pause_s = LIMITS.reconnect_first_s
        self._connect_later(connector)
        self.on_reconnect(self.loginDefer)

    def _connect_later(self, connector: Any) -> None:
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

        pause_s = self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads reconnects, hides nothing
        self._pause_s = min(self._pause_s * 2, LIMITS.reconnect_max_s)
        cast("Any", reactor).callLater(pause_s, connector.connect)


def _list_names(event: EventName | tuple[EventName, ...] | list[EventName]) -> tuple[EventName, ...]:
    return (event,) if event is None or isinstance(event, str) else tuple(event)


def _refusal(reason: str, action_id: str) -> Reply:
    return {"response": "Error", "message": reason} | ({"actionid": action_id} if action_id else {})


def _translate(error: BaseException | None, action_id: str) -> BaseException:
    """An error of tandem.ami under starpy's name; what was refused before it was sent, and errors of others, stay what they are."""
    if isinstance(error, AmiRefused):
        return AMICommandFailure(_refusal(error.reason, action_id))
    if isinstance(error, AmiConnectionLost):
        return AMIConnectionGone(_refusal(str(error), action_id))
    if isinstance(error, AmiLoginRefused):
        return AMICommandFailure("Unable to log in", _refusal(str(error), action_id))
    if isinstance(error, AmiError) and not isinstance(error, AmiValueRefused):
        return AMICommandFailure(_refusal(str(error), action_id))
    return error or RuntimeError("a failure without an error")
