"""One FastAGI connection: steps its script with what Asterisk answers, and always closes; never decides about a call.

This is the hot path. A script is a coroutine that suspends on an awaitable of our own (session.py), or on a Deferred
where it has to ask somebody else; there is no Deferred and no timer per call, one sweep looks after all of them.
Whatever goes wrong, the connection is closed and the dialplan goes on at the priority after AGI(): the fallback.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from time import perf_counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from fastagi.session import ChannelGone, DecisionTooSlow, Script, Session
from fastagi.wire import (
    HANGUP,
    MAX_ENVIRONMENT_BYTES,
    Environment,
    Response,
    ResponseReader,
    WireError,
    parse_environment,
)

logger = logging.getLogger(__name__)

WARNINGS_PER_S = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener puts up with. A decision is our computing and waiting, never the caller's listening."""

    sessions: int = 2_000
    environment_s: float = 5.0
    decision_s: float = 1.0
    idle_s: float = 900.0
    closing_s: float = 5.0


@dataclass(slots=True)
class Counters:
    """Since the start of the process. Every started session ends in one of finished, hung_up, too_slow and failed."""

    started: int = 0
    finished: int = 0
    hung_up: int = 0
    too_slow: int = 0
    failed: int = 0
    malformed: int = 0  # closed because of what came in, before or after the start
    unknown_script: int = 0
    refused: int = 0
    timed_out: int = 0
    script_s: float = 0.0
    longest_step_s: float = 0.0


class SessionTable:
    """The open sessions of one listener, its scripts, limits and counters.

    `allows` says whether a peer's address may speak to us (None: everybody the listening socket lets in);
    `clock` counts seconds from anywhere.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script],
        limits: Limits | None = None,
        allows: Callable[[str], bool] | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.scripts = scripts
        self.limits = limits or Limits()
        self.allows = allows
        self.clock = clock
        self.counters = Counters()
        self.open: set[AgiProtocol] = set()
        self.on_empty: Callable[[], None] | None = None
        self._warned_since = 0.0
        self._warnings = 0

    def discard(self, session: "AgiProtocol") -> None:
        """Forgets a session that is over; tells whoever waits for the last one."""
        self.open.discard(session)
        session.forget()
        if self.on_empty is not None and not self.open:
            self.on_empty()

    def sweep(self) -> None:
        """Enforces every limit in time; to be called a few times a second."""
        now = self.clock()
        for session in list(self.open):
            session.check_time(now)

    def abort_all(self) -> None:
        """Cuts every connection."""
        for session in list(self.open):
            session.abort()

    def warn(self, message: str, *args: object) -> None:
        """Logs a warning that strangers can cause, at most WARNINGS_PER_S a second."""
        now = self.clock()
        if now - self._warned_since >= 1.0:
            if self._warnings > WARNINGS_PER_S:
                logger.warning("%d more FastAGI warnings were left out", self._warnings - WARNINGS_PER_S)
            self._warned_since, self._warnings = now, 0
        self._warnings += 1
        if self._warnings <= WARNINGS_PER_S:
            logger.warning(message, *args)


class Phase(Enum):
    """What a connection waits for."""

    ENVIRONMENT = "the environment"
    RUNNING = "its own script, which is on the stack"
    ASTERISK = "the answer to a command"
    ELSEWHERE = "a Deferred"
    CLOSING = "the end of the connection"


# On the hot path an enum's attribute costs 85 ns, a global 14.
ENVIRONMENT, RUNNING, ASTERISK, ELSEWHERE, CLOSING = Phase


class AgiProtocol(Protocol):
    """Bytes <-> Session, for one connection of Asterisk's."""

    def __init__(self, table: SessionTable) -> None:
        self._table = table
        self._phase = ENVIRONMENT
        self._since = 0.0  # when the phase began; for ELSEWHERE when the decision began
        self._received = b""
        self._reader = ResponseReader()
        self._session: Session | None = None
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._awaited: Deferred[Any] | None = None
        self._wire: Any = None  # the transport, whose interface type mypy cannot call

    # ---- from the transport

    def connectionMade(self) -> None:
        """Admits the connection, or closes it at once so that the caller's fallback runs."""
        table = self._table
        self._wire = self.transport
        self._since = table.clock()
        table.open.add(self)
        if len(table.open) > table.limits.sessions:
            table.counters.refused += 1
            table.warn("FastAGI connection refused: %d sessions are open", table.limits.sessions)
            self._close()
        elif table.allows is not None and not table.allows(self._peer()):
            table.counters.refused += 1
            table.warn("FastAGI connection refused: %s may not connect", self._peer())
            self._close()

    def dataReceived(self, data: bytes) -> None:
        """Takes any part of the conversation."""
        phase = self._phase
        if phase is ASTERISK or phase is ELSEWHERE:
            assert self._session is not None
            if self._session.hung_up:  # the answer that a HANGUP overtook, or noise
                return
            try:
                responses = self._reader.feed(data)
            except WireError as error:
                self._malformed(error)
            else:
                if responses:
                    self._receive(responses)
        elif phase is ENVIRONMENT:
            self._received += data
            if self._received.endswith(b"\n\n") or len(self._received) > MAX_ENVIRONMENT_BYTES:
                self._start()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's signature
        """Tells the script, which may still finish something else."""
        self.connected = 0
        if self._coroutine is None:
            self._phase = CLOSING
            self._table.discard(self)
        else:
            self._hang_up("connection lost")

    # ---- from the sweep

    def check_time(self, now: float) -> None:
        """Ends a phase that takes too long."""
        phase, limits, elapsed = self._phase, self._table.limits, now - self._since
        if phase is ELSEWHERE:
            if elapsed > limits.decision_s:
                self._since, self._awaited = now, None
                self._throw(DecisionTooSlow(f"no decision within {limits.decision_s} s"))
        elif phase is ASTERISK:
            if elapsed > limits.idle_s:
                self._table.counters.timed_out += 1
                self._table.warn("FastAGI %s: no answer from Asterisk for %.0f s", self._name(), limits.idle_s)
                self._hang_up("no answer from Asterisk")
        elif phase is ENVIRONMENT:
            if elapsed > limits.environment_s:
                self._table.counters.timed_out += 1
                self._table.warn("FastAGI %s: no environment within %.0f s", self._peer(), limits.environment_s)
                self.abort()
        elif elapsed > limits.closing_s:
            self.abort()

    def abort(self) -> None:
        """Cuts the connection, whoever still wants to say something."""
        if self.connected:
            self._wire.abortConnection()

    def find_script(self, environment: Environment) -> Script | None:
        """What serves this connection: its table's script of that name; None where there is none."""
        return self._table.scripts.get(environment.network_script.partition("?")[0])

    def forget(self) -> None:
        """Cuts the reference cycles of a session that is over: the garbage collector has nothing to do."""
        self._session = None

    # ---- the conversation

    def _start(self) -> None:
        table = self._table
        try:
            if len(self._received) > MAX_ENVIRONMENT_BYTES:
                raise WireError(f"environment: longer than {MAX_ENVIRONMENT_BYTES} bytes")
            environment = parse_environment(self._received)
        except WireError as error:
            self._malformed(error)
            return
        self._received = b""
        script = self.find_script(environment)
        if script is None:
            table.counters.unknown_script += 1
            table.warn("FastAGI %s: no script %r", environment.channel, environment.network_script)
            self._close()
            return
        table.counters.started += 1
        self._session = session = Session(environment, self._send)
        self._coroutine = script(session)
        self._since = table.clock()
        self._step(self._coroutine.send, None)

    def _send(self, line: bytes) -> None:
        if self._phase is not RUNNING:
            raise RuntimeError("a command outside of its script, or a second one before the answer to the first")
        self._phase = ASTERISK
        self._wire.write(line)

    def _receive(self, responses: Sequence[Response]) -> None:
        """One answer to the command in flight, HANGUP, or both; anything else was not written by res_agi."""
        session, coroutine = self._session, self._coroutine
        assert session is not None
        assert coroutine is not None
        hangups = responses.count(HANGUP)
        if len(responses) - hangups > (self._phase is ASTERISK) or not self._reader.at_boundary():
            self._malformed(WireError("response: not to a command of ours"))
            return
        session.hung_up = hangups > 0
        if responses[0] is HANGUP:
            self._hang_up("hang-up")
            return
        self._since = self._table.clock()
        self._step(coroutine.send, responses[0])
        if session.hung_up and self._coroutine is not None:  # said behind the answer, and the script waits elsewhere
            self._hang_up("hang-up")

    def _hang_up(self, why: str) -> None:
        assert self._session is not None
        self._session.hung_up = True
        self._since, self._awaited = self._table.clock(), None
        self._throw(ChannelGone(why))

    def _throw(self, exception: Exception) -> None:
        assert self._coroutine is not None
        self._step(self._coroutine.throw, exception)

    def _resume(self, result: object, awaited: Deferred[Any]) -> None:
        """A Deferred fired; nobody cares if the script was told something else meanwhile."""
        if self._awaited is not awaited or self._coroutine is None:
            return
        self._awaited = None
        if isinstance(result, Failure):
            self._step(self._coroutine.throw, result.value)
        else:
            self._step(self._coroutine.send, result)

    def _step(self, advance: Callable[[Any], object], argument: object) -> None:
        """Runs the script to its next await or its end. The supervised edge: whatever it raises ends here."""
        counters, clock = self._table.counters, self._table.clock
        self._phase = RUNNING
        started = clock()
        try:
            awaited = advance(argument)
        except StopIteration:
            counters.finished += 1
            self._end()
        except ChannelGone:
            counters.hung_up += 1
            self._end()
        except WireError as error:
            counters.failed += 1
            self._coroutine = None
            self._malformed(error)
            self._end()
        except DecisionTooSlow as error:
            counters.too_slow += 1
            logger.warning("FastAGI %s: %s", self._name(), error)
            self._end()
        except Exception:
            counters.failed += 1
            logger.exception("FastAGI %s: its script failed", self._name())
            self._end()
        else:
            if self._phase is RUNNING:
                self._await_elsewhere(awaited)
        now = clock()
        elapsed = now - started
        counters.script_s += elapsed
        if elapsed > counters.longest_step_s:
            counters.longest_step_s = elapsed
            if elapsed > self._table.limits.decision_s:
                logger.warning("FastAGI %s: its script blocked everybody for %.2f s", self._name(), elapsed)
        if self._phase is not ELSEWHERE:
            self._since = now

    def _await_elsewhere(self, awaited: object) -> None:
        if not isinstance(awaited, Deferred):
            self._throw(TypeError(f"a script awaits its session or a Deferred, not {type(awaited).__name__}"))
            return
        self._phase = ELSEWHERE
        self._awaited = awaited
        awaited.addBoth(self._resume, awaited)

    # ---- the end

    def _malformed(self, error: WireError) -> None:
        self._table.counters.malformed += 1
        self._table.warn("FastAGI %s: session closed: %s", self._name(), error)
        self._close()
        if self._coroutine is not None:
            self._hang_up("session closed")

    def _end(self) -> None:
        self._coroutine = self._awaited = None
        self._close()
        if not self.connected:
            self._table.discard(self)

    def _close(self) -> None:
        self._phase = CLOSING
        if self.connected:
            self._wire.loseConnection()

    def _peer(self) -> str:
        return str(getattr(self._wire.getPeer(), "host", "?"))

    def _name(self) -> str:
        """The channel, for the log: its name and its id."""
        if self._session is None:
            return self._peer()
        return f"{self._session.environment.channel} ({self._session.environment.uniqueid})"
