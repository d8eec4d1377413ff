"""The conversation under a FastAGIProtocol: commands in any number, sent one at a time; knows none of starpy's verbs.

starpy writes a command at once, also while another one waits for its answer, which hangs the session in Asterisk (asterisk-notes: three commands in
one write). Here each waits for the one before, and the script that AgiProtocol steps is the loop that carries them out.
"""

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from fastagi.protocol import ASTERISK, AgiProtocol, Limits, SessionTable
from fastagi.session import AgiError, ChannelGone, Script, Session
from fastagi.wire import Environment, WireError
from tandem.starpy.error import AGIChannelGone, AGICommandFailure

T = TypeVar("T")
Work = Callable[[Session], Awaitable[Any]]

log = logging.getLogger("FastAGI")

FAILURE_CODE = -1
# A program may wait for itself as long as it likes, and EXEC Dial lasts as long as its call; a dead peer is TCP's to notice.
LIMITS = Limits(decision_s=inf, idle_s=inf)


def list_variables(environment: Environment) -> dict[str, str]:
    """The environment in starpy's shape: `agi_` and the name in lower case -> the text that Asterisk sent."""
    fields = environment._asdict()
    args = fields.pop("args")
    fields["enhanced"] = "1.0" if environment.enhanced else "0.0"
    if not environment.network_script:
        del fields["network_script"]
    variables = {"agi_network": "yes"}
    variables |= {f"agi_{name}": "unknown" if value is None else str(value) for name, value in fields.items()}
    return variables | {f"agi_arg_{number}": value for number, value in enumerate(args, 1)}


class ChannelProtocol(AgiProtocol):
    """One connection of Asterisk's; `variables` is filled when the factory's `mainFunction(protocol)` is called."""

    def __init__(self, *args: object, **named: object) -> None:  # noqa: ARG002 - starpy's takes anything, too
        super().__init__(SessionTable({}, LIMITS))
        self.variables: dict[str, str] = {}
        self.lostConnectionDeferred: Deferred[None] | None = None
        self._commands: deque[tuple[Work, Deferred[Any]]] = deque()
        self._idle: Deferred[None] | None = None
        self._is_finishing = self._is_over = False

    # ---- from the transport

    def connectionMade(self) -> None:
        """Joins the factory's table, which has the limits."""
        self._table = getattr(self.factory, "sessions", self._table)
        if ITCPTransport.providedBy(self.transport):
            cast("Any", self.transport).setTcpKeepAlive(True)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tells whoever waits, first the commands, then `onClose`."""
        super().connectionLost(reason)
        lost, self.lostConnectionDeferred = self.lostConnectionDeferred, None
        if lost is not None and not lost.called:
            lost.errback(reason)

    def find_script(self, environment: Environment) -> Script | None:  # noqa: ARG002 - any name: the program decides
        """The one script there is."""
        return self._serve

    # ---- for programs

    def onClose(self) -> Deferred[None]:
        """Fails (as in starpy) when the connection is over."""
        if self.lostConnectionDeferred is None:
            self.lostConnectionDeferred = Deferred()
        return self.lostConnectionDeferred

    def finish(self) -> None:
        """Ends the AGI application: the dialplan goes on. Commands that were asked for and not sent yet are sent first."""
        self._is_finishing = True
        if self._idle is not None:
            self._idle.callback(None)
        elif self._phase is ASTERISK and not self._commands:
            self._wire.loseConnection()

    def carry_out(self, work: Callable[[Session], Awaitable[T]]) -> Deferred[T]:
        """Runs `work(session)` when everything asked for before is done; fires with what it returns."""
        if self._is_over or self._is_finishing:
            return fail(AGIChannelGone(FAILURE_CODE, "the connection is over"))
        answer: Deferred[T] = Deferred()
        self._commands.append((work, answer))
        if self._idle is not None:
            self._idle.callback(None)
        return answer

    # ---- the loop

    async def _serve(self, session: Session) -> None:
        self.variables = list_variables(session.environment)
        self._start_main()
        try:
            while True:
                while self._commands:
                    await self._answer(session, *self._commands.popleft())
                if self._is_finishing:
                    return
                self._idle = Deferred()
                try:
                    await self._idle
                finally:
                    self._idle = None
        finally:
            self._is_over = True
            while self._commands:
                _fail(self._commands.popleft()[1], AGIChannelGone(FAILURE_CODE, "the connection is over"))

    async def _answer(self, session: Session, work: Work, answer: Deferred[Any]) -> None:
        if answer.called:  # cancelled before its turn
            return
        try:
            outcome = await work(session)
        except ChannelGone as gone:
            if session.hung_up:
                self._is_over = True
                _fail(answer, AGIChannelGone(FAILURE_CODE, str(gone)))
                raise
            _fail(answer, AGICommandFailure(511, str(gone)))
        except AgiError as error:
            _fail(answer, AGICommandFailure(FAILURE_CODE if error.code == 200 else error.code, error.text))
        except WireError as error:
            self._is_over = True
            _fail(answer, AGIChannelGone(FAILURE_CODE, str(error)))
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
            _fail(answer, error)
        else:
            if not answer.called:
                answer.callback(outcome)

    def _start_main(self) -> None:
        try:
            outcome = cast("Any", self.factory).mainFunction(self)
        except Exception:
            log.exception("%s: the main function failed", self.variables["agi_channel"])
            self.finish()
            return
        if inspect.iscoroutine(outcome):
            outcome = Deferred.fromCoroutine(outcome)
        if isinstance(outcome, Deferred):
            outcome.addErrback(self._end_main)

    def _end_main(self, failure: Failure) -> None:
        """A main function that failed has nobody left who would end the call's stay here: the dialplan goes on."""
        if failure.check(ConnectionDone):
            log.info("%s: %s", self.variables["agi_channel"], failure.getErrorMessage())
        else:
            log.error("%s: the main function failed\n%s", self.variables["agi_channel"], failure.getTraceback())
        self.finish()


def _fail(answer: Deferred[Any], error: Exception) -> None:
    if not answer.called:
        answer.errback(error)
