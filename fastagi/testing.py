"""AgiCaller: plays Asterisk and its caller in memory, for fast tests of scripts; never opens a socket or starts a reactor.

The script runs on the real protocol, session and wire over a fake transport. A short example:

    call = AgiCaller(extension="4930123", digits="2").run(menu)
    assert call.executed == ("Gosub", "tandem-enter,queue,1(sales)")
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from fastagi.protocol import AgiProtocol, Limits, SessionTable
from fastagi.session import ChannelGone, Script, Session

Answer = str | Callable[[tuple[str, ...]], str]

# The commands that res_agi also takes from a channel that has hung up.
_DEAD = (
    "ASYNCAGI BREAK", "DATABASE DEL", "DATABASE DELTREE", "DATABASE GET", "DATABASE PUT", "EXEC", "GET FULL VARIABLE",
    "GET VARIABLE", "NOOP", "SET VARIABLE", "SPEECH DESTROY", "SPEECH UNLOAD GRAMMAR", "VERBOSE",
)  # fmt: skip
_LIVE = (
    "ANSWER", "CHANNEL STATUS", "CONTROL STREAM FILE", "GET DATA", "GET OPTION", "GOSUB", "HANGUP", "RECEIVE CHAR",
    "RECEIVE TEXT", "RECORD FILE", "SAY ALPHA", "SAY DATE", "SAY DATETIME", "SAY DIGITS", "SAY NUMBER", "SAY PHONETIC",
    "SAY TIME", "SEND IMAGE", "SEND TEXT", "SET AUTOHANGUP", "SET CALLERID", "SET CONTEXT", "SET EXTENSION", "SET MUSIC",
    "SET PRIORITY", "SPEECH ACTIVATE GRAMMAR", "SPEECH CREATE", "SPEECH DEACTIVATE GRAMMAR", "SPEECH LOAD GRAMMAR",
    "SPEECH RECOGNIZE", "SPEECH SET", "STREAM FILE", "TDD MODE", "WAIT FOR DIGIT",
)  # fmt: skip
COMMANDS = frozenset(_DEAD + _LIVE)
SILENCE = "."


def split_words(line: str) -> tuple[str, ...]:
    r"""The words of a command line as res_agi's parse_args reads them: blanks part words unless quoted or behind a `\`."""
    words: list[str] = []
    word: list[str] | None = None
    quoted = escaped = False
    for char in line:
        if char == "\\" and not escaped:
            escaped = True
        elif char == '"' and not escaped:
            quoted = not quoted
            if quoted and word is None:
                word = []
        elif char in " \t" and not quoted and not escaped:
            if word is not None:
                words.append("".join(word))
            word = None
        else:
            word = [*(word or ()), char]
            escaped = False
    if word is not None:
        words.append("".join(word))
    return tuple(words)


def split_command(words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The command's name in capitals and its arguments; the name is empty when Asterisk has no such command."""
    for length in (3, 2, 1):
        name = " ".join(words[:length]).upper()
        if name in COMMANDS:
            return name, words[length:]
    return "", words


def environment_block(
    *,
    script: str = "did",
    extension: str = "4930123",
    callerid: str | None = "4930999",
    calleridname: str | None = None,
    context: str = "from-trunk",
    channel: str = "PJSIP/trunk-00000001",
    uniqueid: str = "1763600000.1",
    language: str = "en",
    dnid: str | None = None,
    priority: int = 1,
    args: Iterable[str] = (),
) -> bytes:
    """What Asterisk 22 sends first; values go in as they are, also those that no parser should accept."""
    lines = [
        "agi_network: yes",
        f"agi_network_script: {script}",
        f"agi_request: agi://127.0.0.1:4573/{script}",
        f"agi_channel: {channel}",
        f"agi_language: {language}",
        f"agi_type: {channel.partition('/')[0]}",
        f"agi_uniqueid: {uniqueid}",
        "agi_version: 22.10.1",
        f"agi_callerid: {'unknown' if callerid is None else callerid}",
        f"agi_calleridname: {'unknown' if calleridname is None else calleridname}",
        "agi_callingpres: 0",
        "agi_callingani2: 0",
        "agi_callington: 0",
        "agi_callingtns: 0",
        f"agi_dnid: {extension if dnid is None else dnid}",
        "agi_rdnis: unknown",
        f"agi_context: {context}",
        f"agi_extension: {extension}",
        f"agi_priority: {priority}",
        "agi_enhanced: 0.0",
        "agi_accountcode: ",
        "agi_threadid: 139912",
        *(f"agi_arg_{number}: {value}" for number, value in enumerate(args, 1)),
    ]
    return ("\n".join(lines) + "\n\n").encode()


class MemoryTransport:
    """Keeps what the protocol writes until it is taken."""

    def __init__(self, peer: str = "127.0.0.1") -> None:
        self.written = bytearray()
        self.closing = False
        self._peer = IPv4Address("TCP", peer, 40_000)

    def write(self, data: bytes) -> None:
        """Keeps it, unless the connection is being closed."""
        if not self.closing:
            self.written += data

    def loseConnection(self) -> None:
        """Remembers it."""
        self.closing = True

    abortConnection = loseConnection

    def getPeer(self) -> IPv4Address:
        """Where the fake Asterisk is."""
        return self._peer

    getHost = getPeer

    def take_lines(self) -> list[str]:
        """The whole lines written since the last time, without their newlines."""
        whole, newline, rest = bytes(self.written).rpartition(b"\n")
        self.written = bytearray(rest)
        return whole.decode().split("\n") if newline else []


@dataclass(slots=True)
class AgiCall:
    """What happened in one call so far.

    `commands` are word tuples as res_agi reads them; `executions` the EXECs among them as (application, arguments);
    `played` the files of all prompts. `error` is what the script raised, except ChannelGone. `finished` says that the
    script is over and the connection closed. A script that waits for a Deferred: fire it, then call `go_on()`.
    """

    variables: dict[str, str]
    database: dict[tuple[str, str], str]
    go_on: Callable[[], None] = field(default=lambda: None, repr=False)
    commands: list[tuple[str, ...]] = field(default_factory=list)
    executions: list[tuple[str, str]] = field(default_factory=list)
    played: list[str] = field(default_factory=list)
    hung_up: bool = False
    finished: bool = False
    error: Exception | None = None

    @property
    def executed(self) -> tuple[str, str] | None:
        """The last EXEC: the decision, where a script decides with one."""
        return self.executions[-1] if self.executions else None


class AgiCaller:
    """A caller and the Asterisk it is in; `run` it through a script, as often as you like.

    `digits` are the presses in order, `.` for staying silent through one prompt or wait; behind the last one the caller
    stays silent. A prompt with escape digits takes one press (another digit is lost, as in Asterisk), one without takes
    none. `hangup_at` is the number of the command, from 1, during which the caller hangs up (0: right after the
    environment): told by that command's `-1`, by a HANGUP `line` alone, or by the connection being `lost`.
    A prompt in `missing_sounds` fails. `answers` overrides: the beginning of a command, its words parted by one space -> the response line, or a function
    of the words that gives it; the longest beginning wins. `environment` are the arguments of environment_block.
    """

    def __init__(
        self,
        *,
        digits: str = "",
        hangup_at: int | None = None,
        hangup_by: Literal["result", "line", "lost"] = "result",
        variables: Mapping[str, str] | None = None,
        database: Mapping[tuple[str, str], str] | None = None,
        missing_sounds: Iterable[str] = (),
        answers: Mapping[str, Answer] | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = perf_counter,
        chunk_bytes: int = 65_536,
        **environment: object,
    ) -> None:
        self.environment = environment
        self.digits, self.hangup_at, self.hangup_by = digits, hangup_at, hangup_by
        self.variables, self.database = dict(variables or {}), dict(database or {})
        self.missing_sounds = frozenset(missing_sounds)
        self.answers = sorted((answers or {}).items(), key=lambda item: -len(item[0]))
        self.limits, self.clock, self.chunk_bytes = limits, clock, chunk_bytes
        self.table: SessionTable | None = None

    def run(self, script: Script) -> AgiCall:
        """Plays one call to its end, or until the script waits for a Deferred."""
        call = AgiCall(variables=dict(self.variables), database=dict(self.database))
        name = str(self.environment.get("script", "did")).partition("?")[0]
        self.table = SessionTable({name: _watch(script, call)}, self.limits, clock=self.clock)
        return self.connect(AgiProtocol(self.table), self.table, call)

    def connect(self, protocol: AgiProtocol, table: SessionTable, call: AgiCall | None = None) -> AgiCall:
        """Plays one call with a protocol that a factory of yours has built, in that factory's table."""
        self.table = table
        play = _Play(self, protocol, call or AgiCall(variables=dict(self.variables), database=dict(self.database)))
        play.start()
        return play.call


def _watch(script: Script, call: AgiCall) -> Script:
    async def watched(session: Session) -> None:
        try:
            await script(session)
        except ChannelGone:
            raise
        except Exception as error:
            call.error = error
            raise

    return watched


class _Play:
    """One run of an AgiCaller."""

    def __init__(self, caller: AgiCaller, protocol: AgiProtocol, call: AgiCall) -> None:
        self.caller, self.protocol, self.call = caller, protocol, call
        call.go_on = self._pump
        self.presses = deque(caller.digits)
        self.transport = MemoryTransport()

    def start(self) -> None:
        self.protocol.makeConnection(self.transport)  # type: ignore[no-untyped-call]
        self._deliver(environment_block(**self.caller.environment))  # type: ignore[arg-type]  # a test may leave any of it out
        if self.caller.hangup_at == 0:
            self._hang_up("line")
        self._pump()

    def _deliver(self, data: bytes) -> None:
        step = self.caller.chunk_bytes
        for start in range(0, len(data), step):
            self.protocol.dataReceived(data[start : start + step])

    def _pump(self) -> None:
        while not self.call.finished:
            for line in self.transport.take_lines():
                self._hear(line)
            if self.transport.closing:
                self._lose(ConnectionDone())
            elif not self.transport.written:
                return

    def _hear(self, line: str) -> None:
        words = split_words(line)
        self.call.commands.append(words)
        dying = len(self.call.commands) == self.caller.hangup_at
        name, arguments = split_command(words)
        response = self._overridden(words) or self._respond(name, arguments)
        if dying and self.caller.hangup_by == "lost":
            self._hang_up("lost")
        elif dying and name in _DEAD:
            self._hang_up("line", after=response)
        elif dying and self.caller.hangup_by == "result":
            self._hang_up(
                "line", after="200 result=-1 endpos=0" if name.endswith(("FILE", "OPTION")) else "200 result=-1"
            )
        elif dying:
            self._hang_up("line", before="511 Command Not Permitted on a dead channel")
        else:
            self._deliver(f"{response}\n".encode())

    def _hang_up(self, how: str, *, after: str = "", before: str = "") -> None:
        self.call.hung_up = True
        if how == "lost":
            self._lose(ConnectionLost())
        else:
            self._deliver("".join(f"{line}\n" for line in (after, "HANGUP", before) if line).encode())

    def _lose(self, why: Exception) -> None:
        self.transport.closing = True
        self.protocol.connectionLost(Failure(why))
        self.call.finished = self.caller.table is not None and not self.caller.table.open

    def _overridden(self, words: tuple[str, ...]) -> str | None:
        line = " ".join(words)
        for beginning, answer in self.caller.answers:
            if line.startswith(beginning):
                return answer if isinstance(answer, str) else answer(words)
        return None

    # ---- what Asterisk answers

    def _respond(self, name: str, arguments: tuple[str, ...]) -> str:
        match name.split():
            case []:
                return "510 Invalid or unknown command"
            case ["EXEC"]:
                self.call.executions.append((arguments[0], arguments[1] if len(arguments) > 1 else ""))
                return "200 result=0"
            case ["GOSUB"]:
                return "100 result=0 Trying...\n200 result=0 Gosub complete"
            case ["SET", "VARIABLE"]:
                self.call.variables[arguments[0]] = arguments[1]
                return "200 result=1"
            case ["GET", "VARIABLE"]:
                return _found(self.call.variables.get(arguments[0]))
            case ["DATABASE", verb]:
                return self._respond_database(verb, arguments)
            case (
                ["STREAM", _] | ["CONTROL", *_] | ["GET", "OPTION" | "DATA"] | ["SAY", _] | ["RECORD", _] | ["WAIT", *_]
            ):
                return self._respond_listening(name, arguments)
            case ["CHANNEL", "STATUS"]:
                return "200 result=6"
            case ["HANGUP"] | ["VERBOSE"] | ["SET", "CALLERID"] | ["GET", "FULL", "VARIABLE"]:
                return "200 result=1"
            case _:
                return "200 result=0"

    def _respond_listening(self, name: str, arguments: tuple[str, ...]) -> str:
        match name.split():
            case ["SAY", _]:
                return f"200 result={self._press(arguments[1])}"
            case ["RECORD", "FILE"]:
                digit = self._press(arguments[2])
                return f"200 result={digit} ({'dtmf' if digit else 'timeout'}) endpos=8000"
            case ["WAIT", "FOR", "DIGIT"]:
                return f"200 result={self._press('0123456789*#ABCD')}"
            case _ if arguments[0] in self.caller.missing_sounds:
                return "200 result=-1 endpos=0"
            case ["GET", "DATA"]:
                self.call.played.append(arguments[0])
                return self._collect(int(arguments[2]) if len(arguments) > 2 else 1024)
            case _:
                self.call.played.append(arguments[0])
                return f"200 result={self._press(arguments[1])} endpos=8000"

    def _respond_database(self, verb: str, arguments: tuple[str, ...]) -> str:
        database = self.call.database
        match verb:
            case "GET":
                return _found(database.get((arguments[0], arguments[1])))
            case "PUT":
                database[arguments[0], arguments[1]] = arguments[2]
                return "200 result=1"
            case "DEL":
                database.pop((arguments[0], arguments[1]), None)
                return "200 result=1"
            case _:
                tree = arguments[1] if len(arguments) > 1 else ""
                gone = [key for key in database if key[0] == arguments[0] and key[1].startswith(tree)]
                for key in gone:
                    del database[key]
                return f"200 result={int(not gone)}"  # the wrong way round, as Asterisk 22 does it

    def _press(self, escape_digits: str) -> int:
        """The code of the press that a command with these escape digits gets, 0 for none."""
        if not escape_digits or not self.presses:
            return 0
        digit = self.presses.popleft()
        return ord(digit) if digit in escape_digits and digit != SILENCE else 0

    def _collect(self, max_digits: int) -> str:
        collected = ""
        while self.presses and len(collected) < max_digits:
            digit = self.presses.popleft()
            if digit == SILENCE:
                return f"200 result={collected} (timeout)"
            if digit == "#":
                return f"200 result={collected}"
            collected += digit
        return f"200 result={collected}" + ("" if len(collected) == max_digits else " (timeout)")


def _found(value: str | None) -> str:
    return "200 result=0" if value is None else f"200 result=1 ({value})"
