"""Uploaded and spoken sounds: converted, kept beside their row, and in place whole or not at all; never replaces a file that a call is playing.

A new sound waits in a folder named after its version until its row is committed; then its files are renamed into place, one by one:
a call that has one open plays on. What was between the two when the process died is finished at the next start.

Asterisk finds them without its own folders being touched: it is given an absolute path, puts the channel's language before the last
part of it, and falls back to the path without one (main/file.c, fileexists_test).
"""

import logging
import secrets
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.threads import deferToThread

from tandem.audio import MASTER, PROMPT_FORMATS, Converter, sync_file, sync_folder
from tandem.domain.sounds import (
    HEAD_BYTES,
    Sound,
    check_sound_name,
    check_speech,
    choose_voice,
    identify_audio,
)
from tandem.editing import StillUsed
from tandem.speech import Speech
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.sounds import SoundMissing, delete_sound, load_sound, load_version, record_sound

log = logging.getLogger(__name__)
T = TypeVar("T")

WAITING: Final = ".waiting"
# How the files begin that Asterisk writes while a phone dictates; they are no recordings of calls.
_DICTATED: Final = "prompt-"
# Conversions at the same time, and how many more may wait for their turn.
AT_ONCE: Final = 2
MAX_WAITING: Final = 16

# What saves within a transaction of the caller's choice.
Commit = Callable[[Callable[[Any], None]], Awaitable[T]]
# Who plays a prompt, as (`menus/main`, `prompts`).
FindUsers = Callable[[str], Awaitable[tuple[tuple[str, str], ...]]]


class SoundsBusy(Exception):
    """Too many sounds are being converted already."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sound that was converted and is not in place yet."""

    sound: Sound
    folder: Path


class Sounds(Service):
    """The sounds of `folder`. find_users: asked before one is deleted; spool: where Asterisk records what phones dictate, None for nowhere."""

    name = "sounds"

    def __init__(
        self,
        store: Store,
        folder: Path,
        converter: Converter,
        speech: Speech,
        now: Callable[[], datetime],
        find_users: FindUsers,
        max_s: float,
        spool: Path | None = None,
    ) -> None:
        self.folder = folder
        self._spool = spool
        self._store, self._converter, self._speech, self._now = store, converter, speech, now
        self._find_users, self._max_s = find_users, max_s
        self._turns = DeferredSemaphore(AT_ONCE)
        self._lock = DeferredLock()
        self.recovered: Deferred[None] | None = None

    def startService(self) -> None:
        """Finishes what the last process began."""
        super().startService()  # type: ignore[no-untyped-call]
        self.recovered = Deferred.fromCoroutine(self._recover())

    # ------------------------------------------------------------------------------------------------ new ones

    async def convert(self, name: str, language: str, content: bytes) -> Waiting:
        """A sound from the bytes of a file. SoundRefused, ToolMissing, SoundsBusy; nothing is left of what is refused."""
        check_sound_name(name, language)
        kind = identify_audio(content[:HEAD_BYTES])

        async def write(source: Path) -> str:
            await deferToThread(source.write_bytes, content)
            return kind

        return await self._take_turn(name, language, "", "", write)

    async def speak(self, name: str, language: str, text: str, voice: str, default_language: str) -> Waiting:
        """A sound from a text; in `default_language` where none is named. SoundRefused, ToolMissing, SpeechFailed, SoundsBusy."""
        check_sound_name(name, language)
        check_speech(text, voice)
        spoken = language or default_language
        chosen = choose_voice(voice, spoken)

        async def write(source: Path) -> str:
            await self._speech.speak(text, chosen, spoken, source)
            return "speech"

        return await self._take_turn(name, language, text, chosen, write)

    def locate_dictation(self, token: str) -> Path:
        """Where Asterisk records a prompt, with its suffix."""
        assert self._spool is not None
        return self._spool / f"{_DICTATED}{token}.{MASTER}"

    async def take(self, name: str, language: str, token: str, commit: Commit[T]) -> T:
        """A sound of what Asterisk has recorded, new or in place of the one that was there; the recording goes, whatever becomes of it.

        SoundRefused (of silence, too: nobody records that on purpose), SoundsBusy, ToolMissing, StoreError, OSError leave all as it was.
        """
        try:
            known = await self._store.read(load_sound, name, language)
            content = await deferToThread(self.locate_dictation(token).read_bytes)
            waiting = await self.convert(name, language, content)
            await self._refuse_silence(waiting)
        finally:
            await self.drop(token)
        return await self.save(waiting, commit, is_new=known is None)

    async def _refuse_silence(self, waiting: Waiting) -> None:
        try:
            await deferToThread(self._converter.refuse_silence, waiting.folder / f"{waiting.sound.name}.{MASTER}")
        except BaseException:
            await deferToThread(shutil.rmtree, waiting.folder, ignore_errors=True)
            raise

    async def drop(self, token: str) -> None:
        """What Asterisk has recorded is not wanted."""
        await deferToThread(self.locate_dictation(token).unlink, missing_ok=True)

    async def _take_turn(
        self, name: str, language: str, text: str, voice: str, write: Callable[[Path], Awaitable[str]]
    ) -> Waiting:
        if len(self._turns.waiting) >= MAX_WAITING:
            raise SoundsBusy("too many sounds are being converted; try again later")
        await self._turns.acquire()
        version = secrets.token_hex(16)
        folder = self.folder / WAITING / version
        try:
            await deferToThread(folder.mkdir, parents=True)
            source = folder / "source"
            made_of = await write(source)
            length_s, formats, size = await deferToThread(self._make, folder, name)
        except BaseException:
            await deferToThread(shutil.rmtree, folder, ignore_errors=True)
            raise
        finally:
            self._turns.release()
        sound = Sound(
            name=name, language=language, version=version, source=made_of, text=text, voice=voice, duration_s=length_s,
            bytes=size, formats=formats, created_at=self._now(),
        )  # fmt: skip
        return Waiting(sound, folder)

    def _make(self, folder: Path, name: str) -> tuple[float, tuple[str, ...], int]:
        """In a thread: the files of a sound beside its source, which goes; (s, suffixes, bytes)."""
        source, master = folder / "source", folder / f"{name}.{MASTER}"
        length_s = self._converter.decode_upload(source, master, self._max_s)
        source.unlink()
        formats = self._converter.encode_prompt(master)
        paths = [folder / f"{name}.{suffix}" for suffix in formats]
        for path in paths:
            sync_file(path)
        sync_folder(folder)
        return length_s, formats, sum(path.stat().st_size for path in paths)

    async def save(self, waiting: Waiting, commit: Commit[T], *, is_new: bool) -> T:
        """Puts a sound in place once `commit(work)` has kept its row. SoundExists, SoundMissing, StoreError leave all as it was."""
        await self._lock.acquire()
        try:
            try:
                result = await commit(lambda db: record_sound(db, waiting.sound, is_new=is_new))
            except BaseException:
                await deferToThread(shutil.rmtree, waiting.folder, ignore_errors=True)
                raise
            await deferToThread(self._put_in_place, waiting.sound)
            return result
        finally:
            self._lock.release()

    async def delete(self, sound: Sound, commit: Commit[T]) -> T:
        """Takes a sound away. StillUsed while it is played somewhere and no sound for all languages would be heard instead."""
        await self._lock.acquire()
        try:
            users = await self._find_users(sound.prompt)
            common = await self._store.read(load_sound, sound.name, "")
            if users and (not sound.language or common is None):
                raise StillUsed(f"sounds/{sound.name}", users)
            result = await commit(lambda db: delete_sound(db, sound.name, sound.language))
            await deferToThread(self._take_away, sound)
            return result
        finally:
            self._lock.release()

    # ------------------------------------------------------------------------------------------------- reading

    async def find(self, name: str, language: str) -> Sound:
        """One sound; SoundMissing."""
        sound = await self._store.read(load_sound, name, language)
        if sound is None:
            raise SoundMissing(f"sound {name}")
        return sound

    def locate(self, sound: Sound, suffix: str = MASTER) -> Path:
        """One of its files."""
        return self.folder / sound.language / f"{sound.name}.{suffix}"

    # --------------------------------------------------------------------------------------------------- files

    def _put_in_place(self, sound: Sound) -> None:
        """In a thread. Done again, it does what is left."""
        folder, target = self.folder / WAITING / sound.version, self.folder / sound.language
        target.mkdir(exist_ok=True)
        for suffix in sound.formats:
            with suppress(FileNotFoundError):
                (folder / f"{sound.name}.{suffix}").replace(self.locate(sound, suffix))
        # An older one may have had more formats, and Asterisk would go on playing those.
        self._take_away(sound, but=sound.formats)
        sync_folder(target)
        shutil.rmtree(folder, ignore_errors=True)

    def _take_away(self, sound: Sound, but: tuple[str, ...] = ()) -> None:
        for suffix in set(PROMPT_FORMATS) - set(but):
            self.locate(sound, suffix).unlink(missing_ok=True)

    async def _recover(self) -> None:
        """Puts in place what was committed, and takes away what was not."""
        try:
            if self._spool is not None:
                await deferToThread(_drop_dictated, self._spool)
            folders = await deferToThread(_list_folders, self.folder / WAITING)
            for folder in folders:
                sound = await self._store.read(load_version, folder.name)
                if sound is None:
                    await deferToThread(shutil.rmtree, folder, ignore_errors=True)
                else:
                    await deferToThread(self._put_in_place, sound)
                    log.info("sound %s was put in place after a restart", sound.name)
        except (OSError, StoreError) as error:
            log.warning("sounds that were being saved could not be looked at: %s", error)


def _list_folders(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _drop_dictated(spool: Path) -> None:
    """What phones dictated that were on the line when the last process died: nobody can keep it any more."""
    for path in spool.glob(f"{_DICTATED}*.{MASTER}"):
        path.unlink(missing_ok=True)
