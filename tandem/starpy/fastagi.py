"""starpy.fastagi: a FastAGI server whose commands are camelCase methods that return Deferreds; every command goes through fastagi.session and its quoting.

    from tandem.starpy import fastagi

    factory = fastagi.FastAGIFactory(main)                 # main(agi) is called for each call
    reactor.listenTCP(4573, factory, 50, "127.0.0.1")

Times are in seconds, as in starpy. A Deferred fails with what tandem.starpy.error lists.
"""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from fastagi.protocol import Limits, SessionTable
from fastagi.service import SWEEP_S, allow_networks
from fastagi.session import Session
from fastagi.wire import Response
from tandem.starpy.channel import FAILURE_CODE, LIMITS, ChannelProtocol, list_variables, log
from tandem.starpy.error import AGICommandFailure
from tandem.starpy.sequence import InSequence
from tandem.starpy.values import (
    When,
    keep_alphanumeric,
    keep_digits,
    read_code,
    read_line,
    read_number,
    to_aware,
    to_ms,
)

__all__ = ["FAILURE_CODE", "FastAGIFactory", "FastAGIProtocol", "InSequence", "list_variables", "log"]

_PLAYBACK_OPTIONS = {-1: ",skip", 0: ",noanswer", 1: ""}


class FastAGIProtocol(ChannelProtocol):
    """One call. `variables` has what Asterisk said about it: `agi_channel`, `agi_extension`, `agi_callerid`, `agi_arg_1` and so on.

    Digits that callers press come as their character's code (`ord("5")`), 0 for none, except where a method says otherwise.
    """

    # ---- the channel

    def answer(self) -> Deferred[int]:
        """Answers the channel unless it is up; 0."""
        return self._done(lambda session: session.answer())

    def hangup(self, channel: str | None = None) -> Deferred[int]:
        """Hangs this channel up, or `channel`; 1. Fails when there is no such channel."""
        return self._succeed(lambda session: session.hangup(channel), f"no channel {channel}")

    def channelStatus(self, channel: str | None = None) -> Deferred[int]:
        """0 down, 1 reserved, 2 off hook, 3 dialling, 4 ring, 5 ringing, 6 up, 7 busy. Fails when there is no such channel."""

        async def ask(session: Session) -> int:
            state = await session.channel_status(channel)
            if state is None:
                raise AGICommandFailure(FAILURE_CODE, f"no channel {channel}")
            return int(state)

        return self.carry_out(ask)

    def noop(self, message: str | None = None) -> Deferred[int]:
        """Does nothing; 0."""
        return self._command("NOOP", *([] if message is None else [message])).addCallback(read_number)

    def verbose(self, message: str, level: int | None = None) -> Deferred[int]:
        """Writes to Asterisk's console at verbosity `level`; 1."""
        return self._done(lambda session: session.verbose(message, 1 if level is None else level), 1)

    def setAutoHangup(self, time: float) -> Deferred[int]:
        """Hangs up in `time` seconds, 0 cancels; 0."""
        return self._done(lambda session: session.set_autohangup(round(time)))

    def setCallerID(self, number: str) -> Deferred[int]:
        """Sets number and name: `5550101` or `"Ann Lee" <5550101>`; 1."""
        return self._command("SET CALLERID", str(number)).addCallback(read_number)

    def setContext(self, context: str) -> Deferred[int]:
        """Where the dialplan goes on after `finish`: the context, which Asterisk does not check; 0."""
        return self._done(lambda session: session.set_context(context))

    def setExtension(self, extension: str) -> Deferred[int]:
        """Where the dialplan goes on: the extension, which Asterisk does not check; 0."""
        return self._done(lambda session: session.set_extension(str(extension)))

    def setPriority(self, priority: int | str) -> Deferred[int]:
        """Where the dialplan goes on: a priority or a label; 0."""
        return self._done(lambda session: session.set_priority(priority))

    def setMusic(self, on: bool = True, musicClass: str | None = None) -> Deferred[int]:
        """Music on hold on or off; 0."""
        return self._done(lambda session: session.set_music(bool(on), musicClass or ""))

    def tddMode(self, on: bool | None = True) -> Deferred[int]:
        """Text telephone mode on, off or (None) mate; 1. Fails where the channel has none."""
        mode: Any = {True: "on", False: "off", None: "mate"}[on]
        return self._succeed(lambda session: session.tdd_mode(mode), "the channel has no TDD mode")

    def wait(self, duration: float) -> Deferred[int]:
        """Fires in `duration` seconds with 0; Asterisk is not told."""
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

        return deferLater(cast("IReactorTime", reactor), duration, lambda: 0)

    # ---- the dialplan

    def execute(self, application: str, *options: object, **named: object) -> Deferred[str]:
        """Runs a dialplan application; its result as text (`0`, or `-1` when it failed). Fails when there is none of that name.

        Options are joined by commas, the only separator that Asterisk has known since 1.6: `comma_delimiter` is accepted and changes nothing.
        """
        named.pop("comma_delimiter", None)
        if named:
            raise TypeError(f"execute() got an unexpected keyword argument {next(iter(named))!r}")

        async def run(session: Session) -> str:
            result = await session.exec(application, ",".join(map(str, options)))
            if result == -2:
                raise AGICommandFailure(FAILURE_CODE, f"no application {application}")
            return str(result)

        return self.carry_out(run)

    def playback(self, filename: str, doAnswer: int = 1) -> Deferred[int]:
        """Plays a sound to its end: -1 only when the channel is up, 0 without answering, 1 after answering; 0.

        Asterisk succeeds also where there is no such sound: the variable PLAYBACKSTATUS tells. Fails when the caller hung up.
        """
        if doAnswer not in _PLAYBACK_OPTIONS:
            raise TypeError(f"doAnswer: must be -1, 0 or 1, got {doAnswer!r}")
        return (
            self.execute("Playback", filename + _PLAYBACK_OPTIONS[doAnswer])
            .addCallback(self.checkFailure)
            .addCallback(int)
        )

    def getVariable(self, variable: str) -> Deferred[str]:
        """A channel variable or a function such as CALLERID(num). Fails when it is not set."""
        return self._found(lambda session: session.get_variable(variable), f"{variable} is not set")

    def setVariable(self, variable: str, value: object) -> Deferred[int]:
        """Sets a channel variable or writes a function, the value as it is, quotes included; 1. The name must be the program's own."""
        return self._done(lambda session: session.set_variable(variable, str(value)), 1)

    # ---- AstDB

    def databaseGet(self, family: str, key: str) -> Deferred[str]:
        """The value. Fails when there is none."""
        return self._found(lambda session: session.database_get(family, key), f"no {family}/{key}")

    def databaseSet(self, family: str, key: str, value: object) -> Deferred[int]:
        """Stores a value; 1."""
        return self._succeed(
            lambda session: session.database_put(family, key, str(value)), f"{family}/{key} not stored"
        )

    databasePut = databaseSet

    def databaseDel(self, family: str, key: str) -> Deferred[int]:
        """Deletes a key; 1, also (in Asterisk 22) where there was none."""
        return self._succeed(lambda session: session.database_del(family, key), f"{family}/{key} not deleted")

    def databaseDeltree(self, family: str, keyTree: str | None = None) -> Deferred[int]:
        """Deletes a family or a tree in it; 1. Fails when there was nothing."""
        return self._succeed(lambda session: session.database_deltree(family, keyTree or ""), f"nothing in {family}")

    # ---- prompts and digits

    def streamFile(self, filename: str, escapeDigits: str = "", offset: int = 0) -> Deferred[tuple[int, int]]:
        """Plays a sound from sample `offset`: (digit that interrupted it, samples played so far). Fails when there is no such sound."""

        async def play(session: Session) -> tuple[int, int]:
            digit, endpos = await session.stream_file(filename, escapeDigits or "", offset or 0)
            if digit is None and endpos == (offset or 0):
                raise AGICommandFailure(FAILURE_CODE, f"nothing of {filename} was played")
            return read_code(digit), endpos

        return self.carry_out(play)

    def controlStreamFile(
        self,
        filename: str,
        escapeDigits: str,
        skipMS: int = 0,
        ffChar: str = "*",
        rewChar: str = "#",
        pauseChar: str | None = None,
    ) -> Deferred[tuple[int, int]]:
        """Plays a sound that the caller can wind by `skipMS` milliseconds: (digit, position in milliseconds)."""

        async def play(session: Session) -> tuple[int, int]:
            keys = (ffChar or "", rewChar or "", pauseChar or "")
            digit, endpos = await session.control_stream_file(filename, escapeDigits or "", skipMS, *keys)
            return read_code(digit), endpos

        return self.carry_out(play)

    def getOption(self, filename: str, escapeDigits: str, timeout: float | None = None) -> Deferred[tuple[str, int]]:
        """Plays a sound and waits (5 s where `timeout` is None) for one digit: (its character, '' for none; samples played)."""

        async def play(session: Session) -> tuple[str, int]:
            digit, endpos = await session.get_option(
                filename, escapeDigits or "", to_ms(5 if timeout is None else timeout)
            )
            return digit or "", endpos

        return self.carry_out(play)

    def getData(self, filename: str, timeout: float = 2.0, maxDigits: int | None = None) -> Deferred[tuple[str, bool]]:
        """Plays a sound and collects digits until `#`, `maxDigits` or `timeout` without one: (digits, whether time was up)."""

        async def collect(session: Session) -> tuple[str, bool]:
            digits, timed_out = await session.get_data(
                filename, to_ms(timeout), 1024 if maxDigits is None else maxDigits
            )
            return digits, timed_out

        return self.carry_out(collect)

    def waitForDigit(self, timeout: float) -> Deferred[int]:
        """The next digit's code, 0 when `timeout` (-1: none) is over."""
        return self._digit(lambda session: session.wait_for_digit(to_ms(timeout)))

    def recordFile(
        self,
        filename: str,
        format: str,
        escapeDigits: str,
        timeout: float = -1,
        offsetSamples: int | None = None,
        beep: bool = True,
        silence: int | None = None,
    ) -> Deferred[tuple[int, str, int]]:
        """Records the caller: (digit, `dtmf`, `timeout` or `hangup`, samples). Fails when the file cannot be written."""

        async def record(session: Session) -> tuple[int, str, int]:
            words = (filename, format, escapeDigits or "", to_ms(timeout), offsetSamples or 0, beep, silence or 0)
            digit, endpos, ended_by = await session.record_file(*words, hangup_is_an_end=True)
            return read_code(digit), ended_by, endpos

        return self.carry_out(record)

    def receiveChar(self, timeout: float | None = None) -> Deferred[tuple[str, bool]]:
        """The next character of a text channel: (its code as text, False), or ('0', True) when time is up or there is no text."""

        async def receive(session: Session) -> tuple[str, bool]:
            char = await session.receive_char(to_ms(timeout or 0))
            return ("0", True) if char is None else (str(ord(char)), False)

        return self.carry_out(receive)

    def receiveText(self, timeout: float | None = None) -> Deferred[str]:
        """The next text of a text channel, as Asterisk answers it: `1 (text)`. Fails on time-out."""
        return self._command("RECEIVE TEXT", to_ms(timeout or 0)).addCallback(read_line).addCallback(self.checkFailure)

    def sendText(self, text: str) -> Deferred[int]:
        """Sends text to the far end; 0, also where the channel has no text."""
        return self._succeed(lambda session: session.send_text(text), "not sent", 0)

    def sendImage(self, filename: str) -> Deferred[int]:
        """Sends an image, named without its suffix; 0, also where the channel has no images."""
        return self._succeed(lambda session: session.send_image(filename), "not sent", 0)

    # ---- saying things: each fires with the code of the digit that interrupted it, or 0

    def sayAlpha(self, string: str, escapeDigits: str | None = None) -> Deferred[int]:
        """Spells the letters and digits of a text."""
        return self._digit(lambda session: session.say_alpha(keep_alphanumeric(string), escapeDigits or ""))

    def sayDigits(self, number: object, escapeDigits: str | None = None) -> Deferred[int]:
        """Says the digits in `number` one by one."""
        return self._digit(lambda session: session.say_digits(keep_digits(number), escapeDigits or ""))

    def sayNumber(self, number: object, escapeDigits: str | None = None) -> Deferred[int]:
        """Says a whole number; of a text, the digits in it."""
        return self._digit(
            lambda session: session.say_number(
                number if isinstance(number, int) else int(keep_digits(number)), escapeDigits or ""
            )
        )

    def sayPhonetic(self, string: str, escapeDigits: str | None = None) -> Deferred[int]:
        """Spells the letters and digits of a text in the phonetic alphabet."""
        return self._digit(lambda session: session.say_phonetic(keep_alphanumeric(string), escapeDigits or ""))

    def sayDate(self, date: When, escapeDigits: str | None = None) -> Deferred[int]:
        """Says a date: seconds since 1970, a struct_time, a date or a datetime (naive: local time)."""
        return self._digit(lambda session: session.say_date(to_aware(date), escapeDigits or ""))

    def sayTime(self, time: When, escapeDigits: str | None = None) -> Deferred[int]:
        """Says a time of day."""
        return self._digit(lambda session: session.say_time(to_aware(time), escapeDigits or ""))

    def sayDateTime(
        self, time: When, escapeDigits: str = "", format: str | None = None, timezone: str | None = None
    ) -> Deferred[int]:
        """Says a time by `format` (voicemail.conf explains the letters) in `timezone`; by default `ABdY 'digits/at' IMp`."""
        more = {"date_format": format} if format else {}
        return self._digit(
            lambda session: session.say_datetime(to_aware(time), escapeDigits or "", timezone=timezone or "", **more)
        )

    def sayXXX(self, baseCommand: str, value: object, escapeDigits: str = "") -> Deferred[int]:
        """Any command that says something: `sayXXX("SAY DIGITS", 12)`."""
        return (
            self._command(baseCommand, str(value), escapeDigits or "")
            .addCallback(read_line)
            .addCallback(self.checkFailure)
            .addCallback(self.resultAsInt)
        )

    # ---- what programs build their own commands with

    def sendCommand(self, commandString: str) -> Deferred[str]:
        """Sends one line as it is, its words quoted by the program; the answer without `200 result=`. Refuses control characters."""
        return self._command(commandString.rstrip("\r\n")).addCallback(read_line)

    def checkFailure(self, result: str, failure: str = "-1") -> str:
        """`result` again; raises AGICommandFailure when its first word is `failure`."""
        if result.partition(" ")[0].strip() == failure:
            raise AGICommandFailure(FAILURE_CODE, result)
        return result

    def resultAsInt(self, result: str) -> int:
        """`result` as a number; raises AGICommandFailure when it is none."""
        try:
            return int(result.strip())
        except ValueError:
            raise AGICommandFailure(FAILURE_CODE, result) from None

    def secondResultItem(self, result: str) -> str:
        """What follows the first blank of `result`."""
        return result.split(" ", 1)[1]

    def jumpOnError(
        self,
        reason: Failure,
        difference: int = 100,
        forErrors: type[Exception] | tuple[type[Exception], ...] | None = None,
    ) -> Deferred[list[Any]]:
        """An errback: finishes, and the dialplan goes on `difference` priorities behind this AGI; other errors than `forErrors` stay errors."""
        if forErrors:
            reason.trap(*(forErrors if isinstance(forErrors, (tuple, list)) else (forErrors,)))
        sequence = InSequence()
        sequence.append(self.setContext, self.variables["agi_context"])
        sequence.append(self.setExtension, self.variables["agi_extension"])
        sequence.append(self.setPriority, int(self.variables["agi_priority"]) + difference)
        sequence.append(self.finish)
        return sequence()

    # ---- from values to starpy's shapes

    def _command(self, verb: str, *words: str | int) -> Deferred[Response]:
        return self.carry_out(lambda session: session.command(verb, *words))

    def _done(self, work: Callable[[Session], Any], result: int = 0) -> Deferred[int]:
        return self.carry_out(work).addCallback(lambda _: result)

    def _succeed(self, work: Callable[[Session], Any], why_not: str, result: int = 1) -> Deferred[int]:
        async def insist(session: Session) -> int:
            if not await work(session):
                raise AGICommandFailure(FAILURE_CODE, why_not)
            return result

        return self.carry_out(insist)

    def _found(self, work: Callable[[Session], Any], why_not: str) -> Deferred[str]:
        async def insist(session: Session) -> str:
            value: str | None = await work(session)
            if value is None:
                raise AGICommandFailure(FAILURE_CODE, why_not)
            return value

        return self.carry_out(insist)

    def _digit(self, work: Callable[[Session], Any]) -> Deferred[int]:
        return self.carry_out(work).addCallback(read_code)


class FastAGIFactory(Factory):
    """Calls `mainFunction(protocol)` for each call: a function, or one that returns a Deferred, or a coroutine function.

    A main function that raises, or whose Deferred fails, ends the AGI: the dialplan goes on. Ours: `limits`, and `peers`, the addresses or
    networks that may connect (None: all whom the listening port lets in, as in starpy).
    """

    protocol = FastAGIProtocol
    noisy = False

    def __init__(
        self,
        mainFunction: Callable[[Any], object],
        *,
        limits: Limits = LIMITS,
        peers: tuple[str, ...] | None = None,
    ) -> None:
        self.mainFunction = mainFunction
        self.sessions = SessionTable({}, limits, None if peers is None else allow_networks(peers))
        self._sweep: LoopingCall | None = None

    def startFactory(self) -> None:
        """A port listens: from now on the limits in time hold."""
        self._sweep = LoopingCall(self.sessions.sweep)
        self._sweep.start(SWEEP_S, now=False)

    def stopFactory(self) -> None:
        """No port listens any more."""
        if self._sweep is not None and self._sweep.running:
            self._sweep.stop()
