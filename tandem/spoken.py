"""Texts as files that Asterisk plays: each spoken and converted once, whole or not at all; never a sound of the admin's, those are rows.

A file is named after what it says, so two surveys that say the same share it, and one that is being played is never replaced.
"""

import logging
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThread

from tandem.audio import MASTER, Converter, ToolFailed, sync_file
from tandem.domain.sounds import HEAD_BYTES, choose_voice, identify_audio
from tandem.speech import Speech, SpeechFailed, digest_speech

log = logging.getLogger(__name__)

FOLDER: Final = "spoken"
# What is said to one person goes here, and is taken away when it is so old.
PERSONAL: Final = "personal"
PERSONAL_S: Final = 86_400.0
SWEEP_EVERY_S: Final = 3600.0
AT_ONCE: Final = 2


class Spoken:
    """The texts in `folder`/spoken; max_s: how long one may take to say."""

    def __init__(self, folder: Path, speech: Speech, converter: Converter, max_s: float) -> None:
        self._folder, self._speech, self._converter, self._max_s = folder / FOLDER, speech, converter, max_s
        self._turns = DeferredSemaphore(AT_ONCE)
        self._ready: set[Path] = set()
        self._swept_at = 0.0

    def locate(self, text: str, voice: str, language: str, *, personal: bool = False) -> Path:
        """Where a text is once it is spoken, without a suffix."""
        name = digest_speech(("spoken",), text, choose_voice(voice, language), language)[:40]
        return self._folder / PERSONAL / name if personal else self._folder / name

    def is_ready(self, path: Path) -> bool:
        """Whether it can be played."""
        if path not in self._ready and path.with_name(f"{path.name}.{MASTER}").exists():
            self._ready.add(path)
        return path in self._ready

    async def speak(self, text: str, voice: str, language: str, *, personal: bool = False) -> Path:
        """The same, and it is there then; SpeechFailed, ToolMissing."""
        path = self.locate(text, voice, language, personal=personal)
        if self.is_ready(path) and not personal:
            return path
        await self._turns.acquire()
        work = self._folder / f".{secrets.token_hex(8)}"
        try:
            if await deferToThread(path.with_name(f"{path.name}.{MASTER}").exists):
                self._ready.add(path)
                return path
            await deferToThread(work.mkdir, parents=True)
            await self._speech.speak(text, choose_voice(voice, language), language, work / "source")
            await deferToThread(self._make, work, path)
        except ToolFailed as error:
            raise SpeechFailed(f"what the speech engine gave cannot be read: {error}") from error
        finally:
            await deferToThread(shutil.rmtree, work, ignore_errors=True)
            self._turns.release()
        self._ready.add(path)
        if personal:
            self._sweep()
        return path

    def _make(self, work: Path, path: Path) -> None:
        """In a thread: the files beside each other, the one that is_ready asks for last."""
        source, master = work / "source", work / f"{path.name}.{MASTER}"
        with source.open("rb") as stream:
            kind = identify_audio(stream.read(HEAD_BYTES))
        self._converter.decode(source, kind, master, self._max_s)
        formats = self._converter.encode_prompt(master)
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix in sorted(formats, key=lambda one: one == MASTER):
            made = work / f"{path.name}.{suffix}"
            sync_file(made)
            made.replace(path.parent / made.name)

    def _sweep(self) -> None:
        """What was said to one person, and long ago."""
        now = time.time()
        if now - self._swept_at < SWEEP_EVERY_S:
            return
        self._swept_at = now
        self._ready = {path for path in self._ready if path.parent.name != PERSONAL}
        Deferred.fromCoroutine(self._forget_old(now - PERSONAL_S)).addErrback(
            lambda failure: log.warning("old spoken texts stay: %s", failure.value)
        )

    async def _forget_old(self, before: float) -> None:
        def work() -> None:
            for path in (self._folder / PERSONAL).iterdir():
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        path.unlink()

        await deferToThread(work)
