"""The AMI wire, pure: bytes to frames to messages, and the one escaping of actions; it must never let a value become a second header.

Asterisk writes a greeting line, then frames: lines `Name: value` ended by CR LF, closed by an empty line. There is no escape for CR and LF,
in either direction. So control characters in what we send are refused here, and what we read may hold lines that a *stranger* wrote: PJSIP
unescapes `%0d%0a` in a caller's number and Asterisk prints it raw. Readers therefore follow three rules:

- `Message.get` raises `AmiForged` when a header is there twice: text injected into an event can only add headers before the true ones.
- An event forged whole looks perfect. It is believed only where its identifiers are ours (ActionID, ChannelId: 128 random bits each).
- A value may hold anything, single CR or LF included: bound and check it before it goes anywhere.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from tandem.ami.errors import AmiForged, AmiProtocolError, AmiValueRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LINE_END = b"\r\n"
FRAME_END = b"\r\n\r\n"
EVENT = b"Event: "
GREETING = b"Asterisk Call Manager/"

MAX_GREETING_BYTES = 256
MAX_LINE_READ_BYTES = 64 * 1024
MAX_FRAME_BYTES = 16 * 1024 * 1024  # the output of one CLI command is a single frame

# Measured on Asterisk 22: a line of 1,023 bytes is "too long" (and the rest of the action is then run without it), the 129th line is "too many".
MAX_LINE_SENT_BYTES = 1022
MAX_LINES_SENT = 128

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_VARIABLE = re.compile(r"_{0,2}[A-Za-z][A-Za-z0-9_]{0,78}|(?:CALLERID|CHANNEL|CONNECTEDLINE|CDR)\([A-Za-z_-]{1,40}\)")
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SEPARATORS = re.compile(r'[\\",()\[\]]')


class AmiParser:
    """Incremental parser: feed it chunks, it yields whole frames (without the closing empty line).

    Cutting is all it does: a frame that nobody wants is never read beyond its first line.
    """

    __slots__ = ("_buffer", "_searched", "greeting")

    def __init__(self, *, expects_greeting: bool = True) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self.greeting: str | None = None if expects_greeting else ""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the frames that `data` completes. Raises `AmiProtocolError` after the good ones; the connection is then of no more use.

        The iterator must be exhausted before the next call.
        """
        if self._buffer:
            self._buffer += data
            if self.greeting is not None and self._buffer.find(FRAME_END, max(0, self._searched - 3)) < 0:
                self._searched = len(self._buffer)
                self._check_rest()
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        if self.greeting is None:
            data = self._take_greeting(data)
            if self.greeting is None:
                self._buffer += data
                return
        frames = data.split(FRAME_END)
        rest = frames.pop()
        self._buffer += rest
        self._searched = len(rest)
        for frame in frames:
            if len(frame) > MAX_LINE_READ_BYTES:
                _check_size(frame)
            if not frame.startswith(LINE_END):
                if frame:
                    yield frame
            elif stripped := _strip_blank_lines(frame):  # some actions of Asterisk end with one empty line too many
                yield stripped
        self._check_rest()

    def _check_rest(self) -> None:
        if len(self._buffer) > MAX_FRAME_BYTES + len(FRAME_END) - 1:
            raise AmiProtocolError(f"a message of more than {MAX_FRAME_BYTES} bytes")

    def _take_greeting(self, data: bytes) -> bytes:
        if not (data.startswith(GREETING) or GREETING.startswith(data)):
            raise AmiProtocolError("no greeting of the Asterisk Call Manager: is this the AMI port?")
        end = data.find(LINE_END, 0, MAX_GREETING_BYTES)
        if end < 0:
            if len(data) >= MAX_GREETING_BYTES:
                raise AmiProtocolError(f"a greeting of more than {MAX_GREETING_BYTES} bytes")
            return data
        self.greeting = data[:end].decode("ascii", "backslashreplace")
        return data[end + 2 :]


def _strip_blank_lines(frame: bytes) -> bytes:
    while frame.startswith(LINE_END):
        frame = frame[2:]
    return frame


def _check_size(frame: bytes) -> None:
    if len(frame) > MAX_FRAME_BYTES:
        raise AmiProtocolError(f"a message of more than {MAX_FRAME_BYTES} bytes")
    if any(len(line) > MAX_LINE_READ_BYTES for line in frame.split(LINE_END)):
        raise AmiProtocolError(f"a line of more than {MAX_LINE_READ_BYTES} bytes")


def read_event_name(frame: bytes) -> bytes:
    """Name of the event in `frame`; empty for anything else. Reads the first line only."""
    if not frame.startswith(EVENT):
        return b""
    end = frame.find(LINE_END, 7)
    return frame[7:end] if end >= 0 else frame[7:]


class Message:
    """One frame, read on demand. Header names are compared as Asterisk spells them; values are UTF-8 with U+FFFD for what is not."""

    __slots__ = ("_lines",)

    def __init__(self, frame: bytes) -> None:
        self._lines = b"\r\n%b\r\n" % frame  # so that every line has an end on both sides

    @property
    def frame(self) -> bytes:
        """The bytes it was made of."""
        return self._lines[2:-2]

    @property
    def kind(self) -> str:
        """Name of the first header: `Event`, `Response` or `Action`; anything else is the debris of a forged message."""
        return self._first_line()[0]

    @property
    def name(self) -> str:
        """Value of the first header: the event's name, the action's, or `Success`, `Error`, `Goodbye`, `Follows`."""
        return self._first_line()[1]

    def _first_line(self) -> tuple[str, str]:
        kind, _, name = _decode(self._lines[2 : self._lines.find(LINE_END, 2)]).partition(": ")
        return kind, name

    def get(self, header: str, default: str = "") -> str:
        """Value of a header that Asterisk writes at most once. Raises `AmiForged` when it is there twice (see the module's rules)."""
        key = _encode_key(header)
        lines = self._lines
        start = lines.find(key)
        if start < 0:
            return default
        if lines.rfind(key) != start:
            raise AmiForged(f"{self.name[:40]!r}: header {header} is there twice")
        start += len(key)
        return lines[start : lines.find(LINE_END, start)].decode("utf-8", "replace")

    def all(self, header: str) -> tuple[str, ...]:
        """Values of a header that Asterisk repeats (`Output`, `ChanVariable`), in order."""
        values = self._lines.split(_encode_key(header))[1:]
        return tuple(_decode(value.partition(LINE_END)[0]) for value in values)

    def items(self) -> list[tuple[str, str]]:
        """Every header in order, repetitions included; a line without a colon has an empty name."""
        pairs = []
        for line in self._lines[2:-2].split(LINE_END):
            name, colon, value = _decode(line).partition(":")
            pairs.append((name, value.removeprefix(" ")) if colon else ("", name))
        return pairs

    def __repr__(self) -> str:
        # Values may be secrets, or a stranger's text: not for logs.
        return f"<Message {self.kind} {self.name!r} {len(self._lines) - 4} bytes>"


@lru_cache(maxsize=1024)
def _encode_key(header: str) -> bytes:
    return b"\r\n%b: " % header.encode()


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def encode_action(
    name: str, headers: Sequence[tuple[str, str]] = (), variables: Sequence[tuple[str, str]] = ()
) -> bytes:
    """Write one action. `variables` become one quoted `Variable` line each (Originate).

    Raises `AmiValueRefused` for anything Asterisk would read otherwise than given: control characters and line separators, leading
    blanks (Asterisk skips them), a header twice (it takes the first that is not empty), lines and actions that are too long.
    """
    _check_headers(name, tuple(header for header, _ in headers), with_variables=bool(variables))
    lines = [("Action", name), *headers]
    lines += (("Variable", _quote_variable(name, variable, value)) for variable, value in variables)
    if len(lines) > MAX_LINES_SENT:
        raise AmiValueRefused(f"{name}: {len(lines)} lines; Asterisk takes {MAX_LINES_SENT}")
    # All values at once: an action has twenty, and a campaign sends a thousand actions a second.
    if _REFUSED.search("".join([value for _, value in lines])):
        header = next(header for header, value in lines if _REFUSED.search(value))
        raise AmiValueRefused(
            f"{name}: header {header} holds a control character or line separator; AMI has no escape for it"
        )
    text = "".join([f"{header}: {value}\r\n" for header, value in lines])
    if ":  " in text:
        _check_blanks(name, lines)
    if len(payload := text.encode()) > MAX_LINE_SENT_BYTES:
        _check_lengths(name, lines)
    return payload + LINE_END


@lru_cache(maxsize=256)
def _check_headers(action: str, headers: tuple[str, ...], *, with_variables: bool) -> None:
    seen = {"action", *(("variable",) if with_variables else ())}
    for header in headers:
        if not _NAME.fullmatch(header):
            raise AmiValueRefused(f"{action}: {header!r} is not a header name")
        if header.lower() in seen:
            raise AmiValueRefused(f"{action}: header {header} is given twice")
        seen.add(header.lower())


def _check_blanks(action: str, lines: Sequence[tuple[str, str]]) -> None:
    for header, value in lines:
        if value.startswith(" "):
            raise AmiValueRefused(f"{action}: header {header} begins with a blank, which Asterisk would drop")


def _check_lengths(action: str, lines: Sequence[tuple[str, str]]) -> None:
    for header, value in lines:
        if (size := len(f"{header}: {value}".encode())) > MAX_LINE_SENT_BYTES:
            raise AmiValueRefused(
                f"{action}: header {header} makes a line of {size} bytes; Asterisk takes {MAX_LINE_SENT_BYTES}"
            )


def _quote_variable(action: str, variable: str, value: str) -> str:
    # `A=1,B=2` sets two variables, a bare `"` vanishes, a bracket hides commas. A backslash makes the next character literal
    # (ast_app_separate_args), which was verified for all of these. A function name outside the list would be *called*.
    if not _VARIABLE.fullmatch(variable):
        raise AmiValueRefused(f"{action}: {variable[:80]!r} is not a variable name we set")
    return f"{variable}={_SEPARATORS.sub(lambda found: chr(92) + found[0], value)}"
