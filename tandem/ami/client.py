"""The AMI client as a service: stays logged in, tells who listens, and never sends again what a lost connection left in doubt.

    client = AmiClient(endpoint, "tandem-dialer", secret)
    client.on("Hangup", hung_up)              # a Message, one call per event; before or after the start
    client.on_ready(ask_state_again)          # after each login: events were missed, so ask
    client.on_lost(forget_facts)
    response = await client.send(actions.db_put("did", "4930", "…"))
    members = await client.send_list(actions.queue_status())

While there is no connection, `send` fails at once with `AmiConnectionLost(written=False)`: whoever asked decides whether to ask again.
"""

from __future__ import annotations

import inspect
import random
from typing import TYPE_CHECKING, cast

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tandem.ami import actions
from tandem.ami.connection import AmiConnection, AmiLimits, new_action_id
from tandem.ami.errors import AmiConnectionLost, AmiError, AmiLoginRefused, AmiRefused, AmiValueRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
    from twisted.python.failure import Failure

    from tandem.ami.actions import Action
    from tandem.ami.connection import Clock, EventCallback
    from tandem.ami.wire import Message

    StateCallback = Callable[[], Awaitable[object] | None]

__all__ = ["AmiClient", "AmiLimits", "new_action_id"]

_log = Logger()


class AmiClient(Service):
    """One login, kept up. `endpoint` decides where to; `clock` is the reactor where it is not given.

    With `filters`, Asterisk is asked to send only the events somebody listens to; a login without the `system` class is refused that
    (logged), and gets them all.
    """

    name = "ami"

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        username: str,
        secret: str,
        *,
        clock: Clock | None = None,
        limits: AmiLimits = AmiLimits(),  # noqa: B008 - frozen
        filters: bool = True,
    ) -> None:
        if clock is None:
            from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

            clock = cast("Clock", reactor)
        self.limits = limits
        self.last_error: AmiError | None = None  # why there is no connection, when there is none
        self._endpoint = endpoint
        self.username = username
        self._secret = secret
        self._clock = clock
        self._filters = filters
        self._handlers: dict[bytes, tuple[EventCallback, ...]] = {}
        self._ready_callbacks: list[StateCallback] = []
        self._lost_callbacks: list[StateCallback] = []
        self._waiting: list[Deferred[None]] = []
        self._open: AmiConnection | None = None  # the last one made, logged in or not
        self._connection: AmiConnection | None = None  # logged in
        self._life: Deferred[None] | None = None
        self._run: object = None  # which start we are in; a callback may stop us while we run it

    # -- for users

    @property
    def is_ready(self) -> bool:
        """Logged in, as far as we know."""
        return self._connection is not None

    def when_ready(self) -> Deferred[None]:
        """Fires once logged in (at once where that is so already); fails with `AmiLoginRefused` when Asterisk refuses the login."""
        if self.is_ready:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def send(self, action: Action, *, timeout_s: float | None = None, action_id: str = "") -> Deferred[Message]:
        """Send one action, once. Fires with its response; fails with an `AmiError`.

        `action_id` (from `new_action_id`) is for who must know it before the answer, as for an originate.
        """
        if self._connection is None:
            return fail(AmiConnectionLost(action.name, "not connected", written=False))
        return self._connection.send(action, timeout_s or self.limits.action_timeout_s, action_id)

    def send_list(self, action: Action, *, timeout_s: float | None = None) -> Deferred[list[Message]]:
        """Send one list action; fires with the events of its answer. They go to nobody else."""
        if self._connection is None:
            return fail(AmiConnectionLost(action.name, "not connected", written=False))
        return self._connection.send_list(action, timeout_s or self.limits.action_timeout_s)

    def on(self, event: str, callback: EventCallback) -> Callable[[], None]:
        """Call `callback(message)` for each event of that name; what it raises is logged. Returns the function that ends it."""
        if not event.isascii() or not event.isalnum():
            raise AmiValueRefused(f"{event!r} is not the name of an event")
        name = event.encode()
        is_new = name not in self._handlers
        self._handlers[name] = (*self._handlers.get(name, ()), callback)
        if is_new and self._connection is not None:
            self._supervise(self._set_filters(self._connection), "setting an event filter")

        def end() -> None:
            left = [other for other in self._handlers.get(name, ()) if other is not callback]
            if left:
                self._handlers[name] = tuple(left)
            else:
                self._handlers.pop(name, None)

        return end

    def on_ready(self, callback: StateCallback) -> None:
        """Call (or await) `callback()` after each login from now on."""
        self._ready_callbacks.append(callback)

    def on_lost(self, callback: StateCallback) -> None:
        """Call (or await) `callback()` whenever a login is lost."""
        self._lost_callbacks.append(callback)

    # -- life

    def startService(self) -> None:
        """Connect, and keep connected."""
        super().startService()  # type: ignore[no-untyped-call]
        self._run = run = object()
        self._life = Deferred.fromCoroutine(self._keep_connected(run))
        self._life.addErrback(lambda failure: failure.trap(CancelledError))

    def stopService(self) -> Deferred[None]:
        """Close the connection; everything pending fails. Fires when it is closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._life is not None:
            self._run = None
            self._life.cancel()
            self._life = None
        if self._open is None:
            return succeed(None)
        self._open.abort()
        return self._open.when_lost()

    async def _keep_connected(self, run: object) -> None:
        pause_s = self.limits.reconnect_first_s
        while self._run is run:
            try:
                connection = await self._connect()
            except CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever kept us from connecting is told, and tried again
                self._tell_failure(error)
                if isinstance(error, AmiLoginRefused):
                    pause_s = self.limits.reconnect_max_s
            else:
                pause_s = self.limits.reconnect_first_s
                await self._serve(connection)
            if self._run is not run:
                return
            jittered_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads reconnects, hides nothing
            await deferLater(cast("IReactorTime", self._clock), jittered_s)
            pause_s = min(pause_s * 2, self.limits.reconnect_max_s)

    async def _connect(self) -> AmiConnection:
        factory = Factory.forProtocol(lambda: AmiConnection(self._clock, self._handlers, self.limits))
        factory.noisy = False
        connecting = cast("Deferred[AmiConnection]", self._endpoint.connect(factory))  # type: ignore[call-arg, misc]  # zope
        connection = await connecting.addTimeout(self.limits.login_timeout_s, cast("IReactorTime", self._clock))
        self._open = connection
        try:
            await connection.log_in(self.username, self._secret)
            await self._set_filters(connection)
            # Without a listener yet, there is no filter that would let nothing through: `on` sets the first one.
            await connection.send(actions.events("on"), self.limits.login_timeout_s)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _set_filters(self, connection: AmiConnection) -> None:
        new = sorted(name.decode() for name in self._handlers.keys() - connection.filtered) if self._filters else []
        connection.filtered.update(name.encode() for name in new)
        try:
            for start in range(0, len(new), 20):  # a line holds 1,022 bytes
                await connection.send(actions.filter_events(new[start : start + 20]), self.limits.login_timeout_s)
        except AmiRefused as refusal:
            _log.info("AMI user {user!r} gets every event: {reason}", user=self.username, reason=refusal.reason)

    async def _serve(self, connection: AmiConnection) -> None:
        self._connection = connection
        self.last_error = None
        _log.info("AMI: logged in as {user!r}", user=self.username)
        lost = connection.when_lost()
        try:
            self._supervise(self._set_filters(connection), "setting an event filter")  # for who came during the login
            self._tell(self._ready_callbacks, "on_ready")
            self._answer_waiting(None)
            await lost
            self._tell_failure(AmiError("connection lost"))
        finally:
            self._connection = None
            connection.abort()
            self._tell(self._lost_callbacks, "on_lost")

    # -- telling

    def _tell_failure(self, error: Exception) -> None:
        self.last_error = error if isinstance(error, AmiError) else AmiError(f"cannot connect: {error}")
        _log.warn("AMI: {error}; trying again", error=self.last_error)
        if isinstance(error, AmiLoginRefused):
            self._answer_waiting(error)

    def _answer_waiting(self, error: AmiLoginRefused | None) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            if error is None:
                deferred.callback(None)
            else:
                deferred.errback(error)

    def _tell(self, callbacks: list[StateCallback], what: str) -> None:
        for callback in tuple(callbacks):
            self._supervise(_call(callback), f"an {what} callback")

    def _supervise(self, work: Coroutine[Deferred[object], object, object], what: str) -> None:
        Deferred.fromCoroutine(work).addErrback(self._log_failure, what)

    def _log_failure(self, failure: Failure, what: str) -> None:
        if failure.check(AmiConnectionLost):
            _log.info("AMI: {what} ended with its connection", what=what)
        else:
            _log.failure("AMI: {what} failed", failure, what=what)


async def _call(callback: StateCallback) -> None:
    result = callback()
    if inspect.isawaitable(result):
        await result
