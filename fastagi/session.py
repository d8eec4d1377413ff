"""Session: every AGI command of Asterisk 22 as an awaitable that returns values; never touches a socket or a clock.

A command sends one line and waits for one response, because Asterisk reads the next line only after it has answered
(asterisk-notes: three commands in one write hang the session). A hang-up raises ChannelGone in the script, so that
`try/finally` works. Asterisk answers -1 for a hang-up and also for a sound that does not exist: the next command tells
them apart, so after a -1 the session asks for the channel's status before it raises.
"""

import re
from collections.abc import Callable, Coroutine, Generator
from datetime import datetime
from enum import IntEnum
from types import coroutine
from typing import Any, Literal, NamedTuple

from fastagi.wire import CommandRefused, Environment, Response, WireError, encode_command


class ChannelGone(Exception):
    """The caller hung up, or the connection to Asterisk is lost."""


class AgiError(Exception):
    """Asterisk refused a command: 510 unknown, 520 wrong usage, 503, or a gosub that failed."""

    def __init__(self, command: str, code: int, text: str) -> None:
        super().__init__(f"{command}: {code} {text}")
        self.command, self.code, self.text = command, code, text


class PlaybackFailed(AgiError):
    """A command that plays or listens failed although the caller is there: most often there is no such sound."""


class DecisionTooSlow(TimeoutError):
    """The script waited for something else than Asterisk for longer than a decision may take; the fallback is better."""


class ChannelState(IntEnum):
    """CHANNEL STATUS, as Asterisk's channelstate.h numbers it."""

    DOWN = 0
    RESERVED = 1
    OFF_HOOK = 2
    DIALING = 3
    RING = 4
    RINGING = 5
    UP = 6
    BUSY = 7
    DIALING_OFF_HOOK = 8
    PRE_RING = 9


class Playback(NamedTuple):
    """`digit` interrupted it (None: played to the end or timed out); `endpos` in samples of 1/8000 s, for CONTROL STREAM FILE in ms."""

    digit: str | None
    endpos: int


class Digits(NamedTuple):
    """What GET DATA collected, without the final `#`; `timed_out` when the caller stopped pressing before `#` or the maximum."""

    digits: str
    timed_out: bool


class Recording(NamedTuple):
    """`ended_by` is Asterisk's word: dtmf, timeout or randomerror (also for silence: timeout)."""

    digit: str | None
    endpos: int
    ended_by: str


class Utterance(NamedTuple):
    """One alternative that a speech engine heard; score 0 to 1000."""

    score: int
    text: str
    grammar: str


class Speech(NamedTuple):
    """`ended_by` is speech, digit, hangup or timeout, or empty where there is no speech object."""

    ended_by: str
    digit: str | None
    endpos: int
    heard: tuple[Utterance, ...]


_NOT_IN_CALLERID = frozenset('"<>\\')
_ENDPOS = re.compile(r"endpos=(-?[0-9]+)")


@coroutine
def _response() -> Generator[None, Response, Response]:
    """Suspends the script until the protocol sends it the response: no Deferred, no timer (they cost as much as the decision)."""
    return (yield)


class Session:
    """One AGI conversation with one channel. Await one command at a time.

    Every command can raise ChannelGone, AgiError, and CommandRefused for an argument that AGI cannot carry.
    """

    __slots__ = ("_send", "environment", "hung_up")

    def __init__(self, environment: Environment, send: Callable[[bytes], None]) -> None:
        self.environment = environment
        self.hung_up = False
        self._send = send

    async def command(self, verb: str, *words: str | int) -> Response:
        """Sends `verb` with its words, each one quoted word; the 200 response."""
        if self.hung_up:
            raise ChannelGone(f"before {verb}")
        self._send(encode_command(verb, *words))
        response = await _response()
        if response.code == 200:
            return response
        if response.code == 511:
            raise ChannelGone(f"{verb}: not permitted on a dead channel")
        raise AgiError(verb, response.code, response.text)

    async def _attend(self, verb: str, *words: str | int) -> Response:
        """A command that needs the caller; ChannelGone when its -1 was a hang-up, else PlaybackFailed."""
        response = await self.command(verb, *words)
        if response.result.startswith("-"):
            await self.command(
                "CHANNEL STATUS"
            )  # a channel that is gone answers HANGUP or 511, which raise ChannelGone
            raise PlaybackFailed(verb, response.code, f"failed: {words!r} {response.text}")
        return response

    # ---- the channel

    async def answer(self) -> None:
        """Answers the channel unless it is up."""
        await self._attend("ANSWER")

    async def hangup(self, channel: str | None = None) -> bool:
        """Asks for the hang-up of this channel, or of `channel`; False when there is no such channel."""
        return (await self.command("HANGUP", *_optional(channel))).result == "1"

    async def channel_status(self, channel: str | None = None) -> ChannelState | None:
        """The state of this channel, or of `channel`; None when there is no such channel."""
        number = _number(await self.command("CHANNEL STATUS", *_optional(channel)))
        return None if number < 0 else ChannelState(number)

    async def asyncagi_break(self) -> None:
        """Ends an AsyncAGI session; over FastAGI it does nothing."""
        await self.command("ASYNCAGI BREAK")

    async def noop(self) -> None:
        """Does nothing; shows that Asterisk still answers."""
        await self.command("NOOP")

    async def verbose(self, message: str, level: int = 1) -> None:
        """Writes `message` to Asterisk's console at verbosity `level`."""
        await self.command("VERBOSE", message, level)

    async def set_autohangup(self, seconds: int) -> None:
        """Hangs the channel up in `seconds`; 0 cancels that. The same timer as TIMEOUT(absolute)."""
        await self.command("SET AUTOHANGUP", seconds)

    async def set_callerid(self, number: str, name: str = "") -> None:
        """Sets number *and* name of the caller; to change one alone set the variable CALLERID(num) or CALLERID(name)."""
        for field, text in (("number", number), ("name", name)):
            if not _NOT_IN_CALLERID.isdisjoint(text):
                raise CommandRefused(
                    f"caller id {field}: none of {''.join(sorted(_NOT_IN_CALLERID))} may be in it, got {text!r}"
                )
        await self.command("SET CALLERID", f'"{name}" <{number}>')

    async def set_context(self, context: str) -> None:
        """Where the dialplan goes on after AGI: the context. Asterisk does not check that it exists."""
        await self.command("SET CONTEXT", context)

    async def set_extension(self, extension: str) -> None:
        """Where the dialplan goes on after AGI: the extension. Asterisk does not check that it exists."""
        await self.command("SET EXTENSION", extension)

    async def set_priority(self, priority: int | str) -> None:
        """Where the dialplan goes on after AGI: a priority or a label."""
        await self.command("SET PRIORITY", priority)

    async def set_music(self, on: bool, music_class: str = "") -> None:
        """Music on hold on or off; without a class the default one."""
        await self.command("SET MUSIC", "on" if on else "off", *_optional(music_class or None))

    async def tdd_mode(self, mode: Literal["on", "off", "mate", "tdd"]) -> bool:
        """Text telephone mode; False where the channel has none."""
        return (await self.command("TDD MODE", mode)).result == "1"

    # ---- the dialplan

    async def exec(self, application: str, arguments: str = "") -> int:
        """Runs a dialplan application: its result, -1 when it failed (or the caller hung up in it), -2 when there is none.

        `arguments` is one string as in extensions.conf; Asterisk expands no `${}` in it.
        `exec("Gosub", "ctx,exten,1(args)")` only sets where the dialplan goes on, and says -1 when that does not exist.
        """
        return _number(await self.command("EXEC", application, arguments))

    async def gosub(self, context: str, extension: str, priority: int | str, arguments: str = "") -> None:
        """Runs a subroutine to its Return() and comes back; AgiError when there is no such target or it failed."""
        response = await self.command("GOSUB", context, extension, priority, *_optional(arguments or None))
        if response.result != "0":
            raise AgiError("GOSUB", response.code, response.text)

    async def get_variable(self, name: str) -> str | None:
        """A channel variable or a function such as CALLERID(num); None when it is not set.

        Asterisk cuts it after 1,023 bytes; `get_full_variable("${NAME}")` has it whole.
        """
        return _value(await self.command("GET VARIABLE", name))

    async def get_full_variable(self, expression: str, channel: str | None = None) -> str | None:
        """`expression` with every `${…}` in it expanded, on `channel` if given; None when there is no such channel."""
        return _value(await self.command("GET FULL VARIABLE", expression, *_optional(channel)))

    async def set_variable(self, name: str, value: str) -> None:
        """Sets a channel variable or writes a function. The name is trusted: Asterisk would run a function named in it."""
        await self.command("SET VARIABLE", name, value)

    # ---- AstDB

    async def database_get(self, family: str, key: str) -> str | None:
        """The value, None when there is none."""
        return _value(await self.command("DATABASE GET", family, key))

    async def database_put(self, family: str, key: str, value: str) -> bool:
        """Whether it was stored."""
        return (await self.command("DATABASE PUT", family, key, value)).result == "1"

    async def database_del(self, family: str, key: str) -> bool:
        """False when AstDB failed. Asterisk 22 says True also where there was no such key."""
        return (await self.command("DATABASE DEL", family, key)).result == "1"

    async def database_deltree(self, family: str, keytree: str = "") -> bool:
        """Deletes a family, or one tree of keys in it; whether there was anything (which Asterisk 22 tells with a 0)."""
        return (await self.command("DATABASE DELTREE", family, *_optional(keytree or None))).result == "0"

    # ---- prompts and digits

    async def stream_file(self, file: str, escape_digits: str = "", offset: int = 0) -> Playback:
        """Plays a sound, named without its suffix, from sample `offset`; one of `escape_digits` interrupts it.

        PlaybackFailed when there is no such sound; so in all commands below.
        """
        return _playback(await self._attend("STREAM FILE", file, escape_digits, offset))

    async def control_stream_file(
        self,
        file: str,
        escape_digits: str = "",
        skip_ms: int = 3000,
        forward: str = "#",
        rewind: str = "*",
        pause: str = "",
        offset_ms: int = 0,
    ) -> Playback:
        """Plays a sound that the caller can wind by `skip_ms` with the digits `forward`, `rewind` and `pause`."""
        words = (file, escape_digits, skip_ms, forward, rewind, pause, offset_ms)
        return _playback(await self._attend("CONTROL STREAM FILE", *words))

    async def get_option(self, file: str, escape_digits: str = "", timeout_ms: int = 5000) -> Playback:
        """Plays a sound, then waits `timeout_ms` for one of `escape_digits`, which also interrupts it."""
        return _playback(await self._attend("GET OPTION", file, escape_digits, timeout_ms))

    async def get_data(self, file: str, timeout_ms: int = 5000, max_digits: int = 1024) -> Digits:
        """Plays a sound and collects digits, until `#`, `max_digits` or `timeout_ms` without one; `#` is not among them."""
        response = await self._attend("GET DATA", file, timeout_ms, max_digits)
        return Digits(response.result, response.text == "(timeout)")

    async def wait_for_digit(self, timeout_ms: int = -1) -> str | None:
        """The next digit, None after `timeout_ms` without one; -1 waits for ever."""
        return _digit(await self._attend("WAIT FOR DIGIT", timeout_ms))

    async def record_file(
        self,
        file: str,
        file_format: str,
        escape_digits: str = "",
        timeout_ms: int = -1,
        offset: int = 0,
        beep: bool = False,
        silence_s: int = 0,
        *,
        hangup_is_an_end: bool = False,
    ) -> Recording:
        """Records to `file` until an escape digit, `timeout_ms`, or `silence_s` of silence (0: any silence is fine).

        Raises AgiError when the file cannot be written, ChannelGone when the caller hangs up (what was said is in the file) unless
        `hangup_is_an_end`: then `ended_by` is hangup.
        """
        words: list[str | int] = [file, file_format, escape_digits, timeout_ms, offset]
        if beep:
            words.append("BEEP")
        if silence_s:
            words.append(f"s={silence_s}")
        response = await self.command("RECORD FILE", *words)
        ended_by = response.text.partition(")")[0].removeprefix("(")
        if ended_by in {"writefile", "waitfor"}:
            raise AgiError("RECORD FILE", response.code, response.text)
        if ended_by == "hangup" and not hangup_is_an_end:
            raise ChannelGone("in RECORD FILE")
        return Recording(_digit(response), _endpos(response), ended_by)

    async def receive_char(self, timeout_ms: int = 0) -> str | None:
        """The next character that the far end sends as text; None on time-out (0: none), or where the channel cannot."""
        try:
            return _digit(await self._attend("RECEIVE CHAR", timeout_ms))
        except PlaybackFailed:
            return None  # Asterisk 22 says (hangup) also on time-out

    async def receive_text(self, timeout_ms: int = 0) -> str | None:
        """The next text that the far end sends; None on time-out, failure or hang-up, which Asterisk does not tell apart."""
        return _value(await self.command("RECEIVE TEXT", timeout_ms))

    async def send_text(self, text: str) -> bool:
        """Sends text to the far end; False when that failed. True also where the channel has no text."""
        return _number(await self.command("SEND TEXT", text)) == 0

    async def send_image(self, image: str) -> bool:
        """Sends an image, named without its suffix; False when that failed. True also where the channel has no images."""
        return _number(await self.command("SEND IMAGE", image)) == 0

    # ---- saying things: each returns the escape digit that interrupted it, or None

    async def say_alpha(self, text: str, escape_digits: str = "") -> str | None:
        """Spells a text."""
        return _digit(await self._attend("SAY ALPHA", text, escape_digits))

    async def say_digits(self, digits: str, escape_digits: str = "") -> str | None:
        """Says digits one by one."""
        return _digit(await self._attend("SAY DIGITS", digits, escape_digits))

    async def say_phonetic(self, text: str, escape_digits: str = "") -> str | None:
        """Spells a text in the phonetic alphabet."""
        return _digit(await self._attend("SAY PHONETIC", text, escape_digits))

    async def say_number(self, number: int, escape_digits: str = "", gender: str = "") -> str | None:
        """Says a number; `gender` is the language's own letter, where it has one."""
        words: tuple[str | int, ...] = (number, escape_digits, *_optional(gender or None))
        return _digit(await self._attend("SAY NUMBER", *words))

    async def say_date(self, said_at: datetime, escape_digits: str = "") -> str | None:
        """Says the date of an aware time, in Asterisk's time zone."""
        return _digit(await self._attend("SAY DATE", _epoch(said_at), escape_digits))

    async def say_time(self, said_at: datetime, escape_digits: str = "") -> str | None:
        """Says the time of day of an aware time, in Asterisk's time zone."""
        return _digit(await self._attend("SAY TIME", _epoch(said_at), escape_digits))

    async def say_datetime(
        self, said_at: datetime, escape_digits: str = "", date_format: str = "ABdY 'digits/at' IMp", timezone: str = ""
    ) -> str | None:
        """Says an aware time by `date_format` (voicemail.conf explains the letters) in `timezone`, or in Asterisk's own."""
        words: tuple[str | int, ...] = (_epoch(said_at), escape_digits, date_format, *_optional(timezone or None))
        return _digit(await self._attend("SAY DATETIME", *words))

    # ---- speech recognition: False where there is no engine, no speech object or no such grammar

    async def speech_create(self, engine: str = "") -> bool:
        """Makes the channel's speech object, with an engine or the default one."""
        return (await self.command("SPEECH CREATE", engine)).result == "1"

    async def speech_destroy(self) -> bool:
        """Destroys the speech object."""
        return (await self.command("SPEECH DESTROY")).result == "1"

    async def speech_set(self, name: str, value: str) -> bool:
        """Sets one of the engine's settings."""
        return (await self.command("SPEECH SET", name, value)).result == "1"

    async def speech_load_grammar(self, grammar: str, path: str) -> bool:
        """Loads a grammar from a file under a name."""
        return (await self.command("SPEECH LOAD GRAMMAR", grammar, path)).result == "1"

    async def speech_unload_grammar(self, grammar: str) -> bool:
        """Unloads a grammar."""
        return (await self.command("SPEECH UNLOAD GRAMMAR", grammar)).result == "1"

    async def speech_activate_grammar(self, grammar: str) -> bool:
        """Listens for a grammar from now on."""
        return (await self.command("SPEECH ACTIVATE GRAMMAR", grammar)).result == "1"

    async def speech_deactivate_grammar(self, grammar: str) -> bool:
        """Stops listening for a grammar."""
        return (await self.command("SPEECH DEACTIVATE GRAMMAR", grammar)).result == "1"

    async def speech_recognize(self, prompt: str, timeout_s: int, offset: int = 0) -> Speech:
        """Plays a prompt and listens, for `timeout_s` after its end."""
        response = await self.command("SPEECH RECOGNIZE", prompt, timeout_s, offset)
        ended_by = response.text.partition(")")[0].removeprefix("(") if response.result == "1" else ""
        if ended_by == "hangup":
            raise ChannelGone("in SPEECH RECOGNIZE")
        digit = re.search(r" digit=(.)", response.text)
        heard = tuple(
            Utterance(int(score), text, grammar)
            for score, text, grammar in re.findall(r'score\d+=(\d+) text\d+="(.*?)" grammar\d+=(\S*)', response.text)
        )
        return Speech(ended_by, digit[1] if digit else None, _endpos(response), heard)


Script = Callable[[Session], Coroutine[Any, Any, None]]


def _optional(word: str | None) -> tuple[str, ...]:
    return () if word is None else (word,)


def _number(response: Response) -> int:
    try:
        return int(response.result)
    except ValueError as error:
        raise WireError(f"response: result should be a number, got {response.result[:80]!r}") from error


def _digit(response: Response) -> str | None:
    number = _number(response)
    return chr(number) if number > 0 else None


def _endpos(response: Response) -> int:
    match = _ENDPOS.search(response.text)
    return int(match[1]) if match else 0


def _playback(response: Response) -> Playback:
    return Playback(_digit(response), _endpos(response))


def _value(response: Response) -> str | None:
    """The text between the outermost parentheses, where the command found something (result=1)."""
    if response.result != "1":
        return None
    if not (response.text.startswith("(") and response.text.endswith(")")):
        raise WireError(f"response: a value in parentheses was expected, got {response.text[:80]!r}")
    return response.text[1:-1]


def _epoch(said_at: datetime) -> int:
    if said_at.tzinfo is None:
        raise ValueError(f"time to say: must have a time zone, got {said_at!r}")
    return int(said_at.timestamp())
