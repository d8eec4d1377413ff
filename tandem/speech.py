"""Speaks texts through whatever engine the settings name, each text once; never gives an engine's command line to a shell."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import treq
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.threads import deferToThread
from twisted.web.client import ResponseFailed

from tandem.audio import Allowance, ToolFailed, ToolMissing, Tools

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024


class SpeechFailed(Exception):
    """The engine gave no speech; the message says why, and what to do."""


class Engine(Protocol):
    """Makes a file of speech. identity: all that decides what it says, but for text, voice and language."""

    @property
    def identity(self) -> tuple[str, ...]:
        """What engine it is."""

    async def speak(self, text: str, voice: str, language: str, target: Path) -> None:
        """Writes audio to `target`; SpeechFailed, ToolMissing."""


class CommandEngine:
    """A program: the words of its command line, with {voice}, {language}, {text} and {output} in them; the text also comes on its standard input."""

    def __init__(self, tools: Tools, words: Sequence[str], timeout_s: float) -> None:
        self.identity = ("command", *words)
        self._tools, self._words, self._timeout_s = tools, tuple(words), timeout_s

    async def speak(self, text: str, voice: str, language: str, target: Path) -> None:
        """Runs it in a thread."""
        values = {"{voice}": voice, "{language}": language, "{text}": text, "{output}": str(target)}
        argv = [_fill(word, values) for word in self._words]
        allowance = Allowance(wall_s=self._timeout_s, cpu_s=int(self._timeout_s) + 1, file_bytes=8 * MAX_ANSWER_BYTES)
        try:
            await deferToThread(self._tools.run, argv, allowance, stdin=text.encode())
        except ToolMissing as error:
            raise ToolMissing(
                f"{error}: speech takes an engine (apt install espeak-ng, or set speech.command or speech.url)"
            ) from None
        except ToolFailed as error:
            raise SpeechFailed(f"the speech engine failed for voice {voice!r}: {error}") from error


class HttpEngine:
    """A server that takes `{"text", "voice", "language"}` in a POST and answers with audio."""

    def __init__(self, reactor: Any, url: str, timeout_s: float) -> None:
        self.identity = ("http", url)
        self._reactor, self._url, self._timeout_s = reactor, url, timeout_s

    async def speak(self, text: str, voice: str, language: str, target: Path) -> None:
        """Asks it; what is answered is limited in time and size. A redirect is not followed: the settings say who is asked."""
        asked_at = self._reactor.seconds()
        asked: Deferred[bytes] = Deferred.fromCoroutine(self._ask({"text": text, "voice": voice, "language": language}))
        asked.addTimeout(self._timeout_s, self._reactor)
        try:
            audio = await asked
        except (TookTooLong, CancelledError, ConnectingCancelledError, ConnectError, ResponseFailed, OSError) as error:
            is_late = self._reactor.seconds() - asked_at >= self._timeout_s
            problem = f"took more than {self._timeout_s:g} s" if is_late else f"does not answer: {error}"
            raise SpeechFailed(f"the speech server {self._url} {problem}") from error
        await deferToThread(target.write_bytes, audio)

    async def _ask(self, question: dict[str, str]) -> bytes:
        response = await treq.post(
            self._url, json=question, allow_redirects=False, unbuffered=True, persistent=False, reactor=self._reactor
        )
        if response.code != 200:
            raise SpeechFailed(f"the speech server {self._url} answered {response.code}")
        chunks: list[bytes] = []
        left = MAX_ANSWER_BYTES

        def take(chunk: bytes) -> None:
            nonlocal left
            left -= len(chunk)
            if left < 0:
                raise SpeechFailed(f"the speech server {self._url} answered more than {MAX_ANSWER_BYTES} bytes")
            chunks.append(chunk)

        await treq.collect(response, take)
        return b"".join(chunks)


class Speech:
    """An engine and what it has said already. The cache is a folder of files; the oldest go when there is too much."""

    def __init__(self, engine: Engine, cache: Path, cache_bytes: int) -> None:
        self._engine, self._cache, self._cache_bytes = engine, cache, cache_bytes

    async def speak(self, text: str, voice: str, language: str, target: Path) -> None:
        """Audio of a text in `target`, whose folder exists; SpeechFailed, ToolMissing."""
        kept = self._cache / digest_speech(self._engine.identity, text, voice, language)
        if await deferToThread(_take, kept, target):
            return
        await self._engine.speak(text, voice, language, target)
        if not target.exists() or not target.stat().st_size:
            raise SpeechFailed(f"the speech engine said nothing for voice {voice!r}")
        await deferToThread(_keep, target, kept, self._cache_bytes)


def digest_speech(identity: Sequence[str], text: str, voice: str, language: str) -> str:
    """The name under which speech is kept: another engine, voice, language or text is other speech."""
    return hashlib.sha256(json.dumps([list(identity), voice, language, text]).encode()).hexdigest()


def _fill(word: str, values: dict[str, str]) -> str:
    """Each name once, so that a text that holds another one stays as it is."""
    for name, value in values.items():
        if name in word:
            before, _, after = word.partition(name)
            return _fill(before, values) + value + _fill(after, values)
    return word


def _take(kept: Path, target: Path) -> bool:
    try:
        shutil.copyfile(kept, target)
    except FileNotFoundError:
        return False
    with suppress(OSError):
        os.utime(kept)
    return True


def _keep(made: Path, kept: Path, most: int) -> None:
    """Whole or not at all. A full disk keeps nothing, which costs nobody anything."""
    part = kept.with_name(f".{secrets.token_hex(8)}")
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(made, part)
        part.replace(kept)
        files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in kept.parent.iterdir())
        total = sum(size for _, size, _ in files)
        for _, size, path in files[:-1]:
            if total <= most:
                break
            path.unlink(missing_ok=True)
            total -= size
    except OSError:
        part.unlink(missing_ok=True)
