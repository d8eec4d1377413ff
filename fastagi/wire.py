"""Bytes of AGI <-> values: environment, command line, response line; never does I/O and never passes hostile input on.

The environment and every response can carry a stranger's bytes: PJSIP unescapes `%0d%0a` in From and in the request URI,
and res_agi prints the result raw. So the environment must be exactly the sequence of lines that Asterisk writes, each
within its limits (an extra, missing, repeated or moved line is a forgery), and a response must be exactly one line.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

MAX_ENVIRONMENT_BYTES = 16_384
MAX_RESPONSE_BYTES = 65_536
# res_agi.c reads a command with fgets into AGI_BUF_LEN = 2048 bytes: 2,046 and a newline, and it splits the line into at most 127 words.
MAX_COMMAND_BYTES = 2_047
MAX_WORDS = 127

_CONTROL = bytes(range(0x20)) + b"\x7f"


class WireError(ValueError):
    """Asterisk, or a stranger through it, sent something that is not AGI; the message names field and rule."""


class CommandRefused(ValueError):
    """We were asked to send something that AGI cannot carry; the message names word and rule."""


class Environment(NamedTuple):
    """What Asterisk says about the channel when a FastAGI session starts.

    None stands where Asterisk says "unknown". Everything that the far end of the call chooses (callerid, calleridname,
    dnid, rdnis, extension) is untrusted text without control characters, of bounded length.
    """

    network_script: str
    request: str
    channel: str
    language: str
    type: str
    uniqueid: str
    version: str
    callerid: str | None
    calleridname: str | None
    callingpres: int
    callingani2: int
    callington: int
    callingtns: int
    dnid: str | None
    rdnis: str | None
    context: str
    extension: str
    priority: int
    enhanced: bool
    accountcode: str
    threadid: str
    args: tuple[str, ...]


def _text(limit: int) -> str:
    return rf"([^\x00-\x1f\x7f]{{0,{limit}}})"


def _known(limit: int) -> str:
    return rf"(?:unknown|{_text(limit)})"


_NUMBER = r"(-?[0-9]{1,9})"
_MAX_ARGS = 64
_ARG_LIMIT = 1_024

# Asterisk's own order, res_agi.c setup_env(): name, pattern of the value, its rule in words.
_FIELDS: tuple[tuple[str, str, str], ...] = (
    ("network", "yes", "must be yes"),
    ("network_script", _text(256), "at most 256 characters, none of them a control character"),
    ("request", _text(1_024), "at most 1024 characters, none of them a control character"),
    ("channel", r"([^\x00-\x1f\x7f]{1,256})", "1 to 256 characters, none of them a control character"),
    ("language", _text(64), "at most 64 characters, none of them a control character"),
    ("type", _text(64), "at most 64 characters, none of them a control character"),
    ("uniqueid", r"([^\x00-\x1f\x7f]{1,160})", "1 to 160 characters, none of them a control character"),
    ("version", _text(128), "at most 128 characters, none of them a control character"),
    ("callerid", _known(128), "at most 128 characters, none of them a control character"),
    ("calleridname", _known(256), "at most 256 characters, none of them a control character"),
    ("callingpres", _NUMBER, "must be a whole number"),
    ("callingani2", _NUMBER, "must be a whole number"),
    ("callington", _NUMBER, "must be a whole number"),
    ("callingtns", _NUMBER, "must be a whole number"),
    ("dnid", _known(128), "at most 128 characters, none of them a control character"),
    ("rdnis", _known(128), "at most 128 characters, none of them a control character"),
    ("context", _text(80), "at most 80 characters, none of them a control character"),
    ("extension", _text(80), "at most 80 characters, none of them a control character"),
    ("priority", _NUMBER, "must be a whole number"),
    ("enhanced", r"(0\.0|1\.0)", "must be 0.0 or 1.0"),
    ("accountcode", _text(128), "at most 128 characters, none of them a control character"),
    ("threadid", r"(-?[0-9]{1,20})", "must be a whole number"),
)
_ARG_LINE = rf"agi_arg_[0-9]{{1,2}}: [^\x00-\x1f\x7f]{{0,{_ARG_LIMIT}}}\n"


def _line(name: str, pattern: str) -> str:
    line = rf"agi_{name}: {pattern}\n"
    return f"(?:{line})?" if name == "network_script" else line  # AGI(agi://host) without a path sends none


_ENVIRONMENT = re.compile(
    "".join(_line(name, pattern) for name, pattern, _ in _FIELDS) + rf"((?:{_ARG_LINE}){{0,{_MAX_ARGS}}})\n"
)


def parse_environment(block: bytes) -> Environment:
    r"""The environment in `block`, from its first line to its empty one (`\n\n` ends it).

    Bytes that are not UTF-8 become U+FFFD. Raises WireError unless it is what Asterisk writes, line for line.
    """
    text = block.decode("utf-8", "replace")
    match = _ENVIRONMENT.fullmatch(text)
    if match is None:
        raise WireError(_explain_environment(text))
    (
        script, request, channel, language, kind, uniqueid, version, callerid, calleridname, pres, ani2, ton, tns,
        dnid, rdnis, context, extension, priority, enhanced, accountcode, threadid, args,
    ) = match.groups()  # fmt: skip
    return Environment(
        script or "", request, channel, language, kind, uniqueid, version, callerid, calleridname,
        int(pres), int(ani2), int(ton), int(tns), dnid, rdnis, context, extension, int(priority),
        enhanced == "1.0", accountcode, threadid, _parse_args(args) if args else (),
    )  # fmt: skip


def _parse_args(lines: str) -> tuple[str, ...]:
    args = []
    for number, line in enumerate(lines.split("\n")[:-1], 1):
        name, _, value = line.partition(": ")
        if name != f"agi_arg_{number}":
            raise WireError(f"{name}: out of sequence, agi_arg_{number} was expected")
        args.append(value)
    return tuple(args)


def _explain_environment(text: str) -> str:
    """Which line is wrong, and the rule it breaks; off the hot path."""
    lines = text.split("\n")
    position = 0
    for name, pattern, rule in _FIELDS:
        line = lines[position] if position < len(lines) else ""
        if name == "network_script" and not line.startswith("agi_network_script: "):
            continue
        if not line.startswith(f"agi_{name}: "):
            return f"line {position + 1} should be agi_{name}, got {line[:80]!r}"
        if re.fullmatch(f"agi_{name}: {pattern}", line) is None:
            return f"agi_{name}: {rule}, got {line[:160]!r}"
        position += 1
    for line in lines[position:-2]:
        if re.fullmatch(_ARG_LINE, line + "\n") is None:
            return f"line {position + 1} should be agi_arg_N of at most {_ARG_LIMIT} characters or the end, got {line[:80]!r}"
        position += 1
    return f"not ended by one empty line, or more than {_MAX_ARGS} arguments"


def quote_word(text: str) -> str:
    r"""`text` as one word of a command: in double quotes, with `\` before `\` and `"`, as res_agi's parse_args undoes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# Nearly every call gets a jump that was sent before.
@lru_cache(maxsize=1_024)
def encode_command(verb: str, *words: str | int) -> bytes:
    """The line to send for `verb` and its words; numbers go bare, texts quoted.

    Raises CommandRefused for a control character (a newline would be a second command), for text that is not Unicode,
    and for a line that Asterisk would cut (MAX_COMMAND_BYTES).
    """
    line = verb
    for word in words:
        line += " " + (quote_word(word) if isinstance(word, str) else str(word))
    try:
        encoded = line.encode()
    except UnicodeEncodeError as error:
        raise CommandRefused(f"{verb}: a lone surrogate in {line[:80]!r}") from error
    if len(encoded.translate(None, _CONTROL)) != len(encoded):
        raise CommandRefused(f"{verb}: a control character in {line[:80]!r}")
    if len(encoded) >= MAX_COMMAND_BYTES:
        raise CommandRefused(f"{verb}: {len(encoded) + 1} bytes, Asterisk reads at most {MAX_COMMAND_BYTES}")
    if len(words) > MAX_WORDS - 4:
        raise CommandRefused(f"{verb}: {len(words)} words, Asterisk reads at most {MAX_WORDS - 4} behind the verb")
    return encoded + b"\n"


class Response(NamedTuple):
    """One answer: `200 result=RESULT TEXT`. `result` is empty for 510, 511 and 520; TEXT is `(value)`, `endpos=…` or both."""

    code: int
    result: str
    text: str


HANGUP = Response(0, "", "HANGUP")  # the caller is gone; Asterisk says so between commands

_RESPONSE = re.compile(r"([1-5][0-9]{2})(?: result=([^ ]{0,1024}))?(?:[ -](.*))?", re.DOTALL)
_REASON = re.compile(
    r"\([a-z]+\) [a-z]+="
)  # `(dtmf) endpos=…`, `(digit) digit=…`: the other texts that begin with a parenthesis


def parse_response(line: str) -> Response:
    """One response line without its newline. Raises WireError when it is none, or is the first line of several."""
    if line == "HANGUP":
        return HANGUP
    match = _RESPONSE.fullmatch(line)
    if match is None:
        raise WireError(f"response: neither a response nor HANGUP: {line[:80]!r}")
    code, result, text = match.groups()
    text = text or ""
    if text.startswith("(") and not text.endswith(")") and _REASON.match(text) is None:
        raise WireError(f"response: a value with a newline in it: {line[:80]!r}")
    return Response(int(code), result or "", text)


# What ends nearly every session, read beforehand.
_COMMON = {f"200 result={result}\n".encode(): (Response(200, result, ""),) for result in ("-1", "0", "1")}


class ResponseReader:
    """Bytes in any chunks -> whole responses; joins 520's lines into one, drops the provisional `100 Trying`."""

    __slots__ = ("_rest", "_usage")

    def __init__(self) -> None:
        self._rest = b""
        self._usage: list[str] | None = None

    def feed(self, data: bytes) -> Sequence[Response]:
        """The responses that `data` completes. Raises WireError; the reader is of no use afterwards."""
        if not self._rest and self._usage is None and (known := _COMMON.get(data)) is not None:
            return known
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_RESPONSE_BYTES:
            raise WireError(f"response: longer than {MAX_RESPONSE_BYTES} bytes")
        responses = []
        for raw in lines:
            if len(raw) > MAX_RESPONSE_BYTES:
                raise WireError(f"response: longer than {MAX_RESPONSE_BYTES} bytes")
            response = self._read_line(raw.decode("utf-8", "replace"))
            if response is not None:
                responses.append(response)
        return responses

    def at_boundary(self) -> bool:
        """Whether nothing is left over but, at most, the beginning of HANGUP."""
        return not self._rest or b"HANGUP".startswith(self._rest)

    def _read_line(self, line: str) -> Response | None:
        if self._usage is None:
            if line.startswith("520-"):
                self._usage = [line[4:]]
                return None
            response = parse_response(line)
            return None if response.code == 100 else response
        if not line.startswith("520 "):
            self._usage.append(line)
            if sum(map(len, self._usage)) > MAX_RESPONSE_BYTES:
                raise WireError(f"response: usage longer than {MAX_RESPONSE_BYTES} bytes")
            return None
        usage, self._usage = "\n".join(self._usage), None
        return Response(520, "", usage)
