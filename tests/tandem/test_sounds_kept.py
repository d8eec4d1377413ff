"""Sounds that are uploaded, dictated and spoken: in place whole or not at all, whenever the process dies."""

import contextlib
import errno
import os
import shutil
import struct
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from tandem.audio import Converter, ToolMissing, Tools, read_wav_length
from tandem.domain.sounds import (
    SoundRefused,
)
from tandem.editing import StillUsed
from tandem.sounds import WAITING, Sounds
from tandem.speech import CommandEngine, Speech, SpeechFailed
from tandem.store.database import open_store
from tandem.store.errors import StoreError
from tandem.store.sounds import (
    SoundExists,
    SoundMissing,
    SoundQuery,
    count_sounds,
    load_sound,
    load_sounds,
    record_sound,
)
from tests.audio import write_tone

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


class SoundsCase(TestCase):
    """Sounds in a folder, with a real database and real programs."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.users: tuple[tuple[str, str], ...] = ()
        self.store = open_store(self.folder / "tandem.db")
        self.addCleanup(self.store.stop)
        self.tools = Tools()
        self.calls = self.folder / "calls"
        words = ("sh", "-c", 'echo "$0" >>"$3"; exec espeak-ng -v "$1" -w "$2" --stdin', "{text}", "{voice}", "{output}", str(self.calls))  # fmt: skip
        self.sounds = self.make_sounds(CommandEngine(self.tools, words, 20))

    def make_sounds(self, engine: Any, spool: Path | None = None) -> Sounds:
        async def find_users(prompt: str) -> tuple[tuple[str, str], ...]:
            return self.users if prompt == "tandem/hello" else ()

        speech = Speech(engine, self.folder / "cache", 10_000_000)
        return Sounds(
            self.store, self.folder / "sounds", Converter(self.tools), speech, lambda: NOW, find_users, max_s=5, spool=spool,
        )  # fmt: skip

    async def commit(self, work: Any) -> str:
        await self.store.run(work)
        return "kept"

    async def upload(
        self, name: str = "hello", length_s: float = 1.0, language: str = "", *, is_new: bool = True
    ) -> Any:
        content = write_tone(self.folder / "upload.wav", length_s).read_bytes()
        waiting = await self.sounds.convert(name, language, content)
        assert await self.sounds.save(waiting, self.commit, is_new=is_new) == "kept"
        return waiting.sound

    def list_files(self) -> list[str]:
        root = self.folder / "sounds"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    async def test_upload_replace_and_delete(self) -> None:
        sound = await self.upload()
        assert (sound.duration_s, sound.source, sound.prompt) == (1.0, "wav", "tandem/hello")
        assert self.list_files() == ["hello.alaw", "hello.g722", "hello.ulaw", "hello.wav16"]
        assert await self.sounds.find("hello", "") == sound
        assert self.sounds.locate(sound).stat().st_mode & 0o777 == 0o640
        playing = self.sounds.locate(sound, "alaw").open("rb")
        self.addCleanup(playing.close)
        before = playing.read(100)
        longer = await self.upload(length_s=2.0, is_new=False)
        # Whoever plays the old one plays it to its end.
        assert len(before + playing.read()) == 8000
        assert self.sounds.locate(longer, "alaw").stat().st_size == 16000
        assert longer.version != sound.version
        await self.upload(language="de")
        assert self.list_files()[:2] == ["de/hello.alaw", "de/hello.g722"]
        assert await self.store.read(count_sounds, SoundQuery(q="ELL")) == 2
        assert [one.language for one in await self.store.read(load_sounds, SoundQuery(language="de"))] == ["de"]
        for language in ("de", ""):
            await self.sounds.delete(await self.sounds.find("hello", language), self.commit)
        assert self.list_files() == []
        with pytest.raises(SoundMissing):
            await self.sounds.find("hello", "")

    async def test_one_that_is_there_and_one_that_is_not(self) -> None:
        await self.upload()
        with pytest.raises(SoundExists):
            await self.upload(length_s=3.0)
        assert (await self.sounds.find("hello", "")).duration_s == 1.0
        with pytest.raises(SoundMissing):
            await self.upload(language="de", is_new=False)
        assert not list((self.folder / "sounds" / WAITING).iterdir())

    async def test_what_is_refused_leaves_nothing(self) -> None:
        tone = write_tone(self.folder / "tone.wav").read_bytes()
        header = tone[:44]
        cases = (
            ("file must be audio", b""),
            ("file must be audio", b"#!/bin/sh\nreboot\n" * 10),
            ("file must be audio", b"#EXTM3U\nhttp://127.0.0.1/\n"),
            ("file must be audio", b"PK\x03\x04" + b"\0" * 100),
            ("file must be at most 5 s long", write_tone(self.folder / "long.wav", 7).read_bytes()),
            ("file (holds no audio|cannot be read as wav)", header[:40] + bytes(4)),
            ("file (holds no audio|cannot be read as wav)", b"RIFF\xff\xff\xff\xffWAVE" + os.urandom(2000)),
            ("file (holds no audio|cannot be read as flac)", b"fLaC" + os.urandom(5000)),
            ("file (holds no audio|cannot be read as mp3)", b"ID3" + os.urandom(2000)),
            # A rate that would make one second of it fill a disk.
            (
                "file (holds no audio|cannot be read as wav)",
                header[:24] + struct.pack("<II", 1, 2) + header[32:40] + bytes(4),
            ),
        )
        for rule, content in cases:
            with pytest.raises(SoundRefused, match=rule):
                await self.sounds.convert("hello", "", content)
        with pytest.raises(SoundRefused, match=r"^name "):
            await self.sounds.convert("../hello", "", tone)
        assert self.list_files() == []
        assert await self.store.read(count_sounds, SoundQuery()) == 0

    async def test_it_is_kept_while_it_is_played(self) -> None:
        await self.upload()
        await self.upload(language="de")
        self.users = (("menus/main", "prompts"),)
        common, german = await self.sounds.find("hello", ""), await self.sounds.find("hello", "de")
        with pytest.raises(StillUsed) as refused:
            await self.sounds.delete(common, self.commit)
        assert str(refused.value) == "sounds/hello is still used by menus/main"
        # The one for all languages is heard instead.
        await self.sounds.delete(german, self.commit)
        self.users = ()
        await self.sounds.delete(common, self.commit)

    async def test_a_transaction_that_fails_leaves_the_old_one(self) -> None:
        sound = await self.upload()
        bytes_before = self.sounds.locate(sound).read_bytes()
        waiting = await self.sounds.convert("hello", "", write_tone(self.folder / "b.wav", 2).read_bytes())

        async def fail(work: Any) -> None:
            def perform(db: Any) -> None:
                work(db)
                raise StoreError(self.folder, "the disk is full", "free some space")

            await self.store.run(perform)

        with pytest.raises(StoreError):
            await self.sounds.save(waiting, fail, is_new=False)
        assert self.sounds.locate(sound).read_bytes() == bytes_before
        assert await self.sounds.find("hello", "") == sound
        assert not list((self.folder / "sounds" / WAITING).iterdir())

    async def test_a_kill_between_the_transaction_and_the_files(self) -> None:
        await self.upload()
        committed = await self.sounds.convert("hello", "", write_tone(self.folder / "b.wav", 2).read_bytes())
        await self.store.run(record_sound, committed.sound, is_new=False)
        # Some of the files were in place already.
        (committed.folder / "hello.alaw").replace(self.folder / "sounds" / "hello.alaw")
        forgotten = await self.sounds.convert("other", "", write_tone(self.folder / "c.wav", 1).read_bytes())
        again = self.make_sounds(CommandEngine(self.tools, ("false", "{output}"), 5))
        again.startService()
        assert again.recovered is not None
        await again.recovered
        assert not forgotten.folder.exists()
        assert self.list_files() == ["hello.alaw", "hello.g722", "hello.ulaw", "hello.wav16"]
        assert read_wav_length(again.locate(committed.sound)) == 2.0
        assert again.locate(committed.sound, "alaw").stat().st_size == 16000
        again.stopService()  # type: ignore[no-untyped-call]  # Twisted's Service has no types

    # ----------------------------------------------------------------------------------------------- dictated

    def dictate(self, token: str, content: bytes) -> Path:
        """As Asterisk leaves it."""
        spool = self.folder / "spool"
        spool.mkdir(exist_ok=True)
        self.sounds = self.make_sounds(CommandEngine(self.tools, ("false", "{output}"), 5), spool)
        path = self.sounds.locate_dictation(token)
        path.write_bytes(content)
        return path

    def list_kept(self) -> dict[str, bytes]:
        root = self.folder / "sounds"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    async def test_what_is_dictated_replaces_what_was_there(self) -> None:
        await self.upload()
        recorded = self.dictate("a", write_tone(self.folder / "a.wav", 2).read_bytes())
        assert await self.sounds.take("hello", "", "a", self.commit) == "kept"
        assert (await self.sounds.find("hello", "")).duration_s == 2.0
        assert not recorded.exists()

    async def test_silence_and_a_full_disk_leave_what_callers_hear(self) -> None:
        await self.upload()
        sound, before = await self.sounds.find("hello", ""), self.list_kept()
        silence, tone = (write_tone(self.folder / "a.wav", 1, volume=volume).read_bytes() for volume in (15, 12000))
        assert silence[44:].strip(b"\0")  # a line's own noise, not zeros

        def refuse(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        for content, fault, message in (
            (silence, contextlib.nullcontext(), "file holds nothing but silence"),
            (bytes(44), contextlib.nullcontext(), "file must be audio"),
            (tone, patch.object(os, "fsync", refuse), "No space left"),
        ):
            recorded = self.dictate("a", content)
            with fault, pytest.raises((SoundRefused, OSError), match=message):
                await self.sounds.take("hello", "", "a", self.commit)
            assert not recorded.exists()
            assert self.list_kept() == before
            assert not list((self.folder / "sounds" / WAITING).iterdir())
            assert await self.sounds.find("hello", "") == sound

    async def test_what_was_dictated_when_the_process_died_goes_at_the_next_start(self) -> None:
        left = self.dictate("left", b"RIFF")
        call = left.with_name("1763600000.7-20261120-mixed.wav16")
        call.write_bytes(b"RIFF")
        self.sounds.startService()
        assert self.sounds.recovered is not None
        await self.sounds.recovered
        assert list(left.parent.iterdir()) == [call]
        self.sounds.stopService()  # type: ignore[no-untyped-call]  # Twisted's Service has no types

    async def test_many_at_once_take_turns(self) -> None:
        content = write_tone(self.folder / "a.wav", 0.3).read_bytes()
        made = await gatherResults(
            [Deferred.fromCoroutine(self.sounds.convert(f"s{n}", "", content)) for n in range(5)], consumeErrors=True
        )
        assert len({waiting.sound.version for waiting in made}) == 5

    # ---------------------------------------------------------------------------------------------- speech

    async def speak(self, text: str, voice: str = "", language: str = "") -> Any:
        waiting = await self.sounds.speak("said", language, text, voice, "en")
        is_new = await self.store.read(load_sound, "said", language) is None
        await self.sounds.save(waiting, self.commit, is_new=is_new)
        return waiting.sound

    async def test_a_text_is_spoken_once(self) -> None:
        text = "Good morning; $(reboot) `id` -w /etc/passwd"
        sound = await self.speak(text)
        assert 1 < sound.duration_s < 15
        assert (sound.source, sound.voice, sound.text) == ("speech", "en", text)
        await self.speak(text)
        assert self.calls.read_text().splitlines() == [text]
        await self.speak(text, voice="en+f3")
        await self.speak("Guten Morgen", language="de")
        assert len(self.calls.read_text().splitlines()) == 3
        assert (await self.sounds.find("said", "de")).voice == "de"
        with pytest.raises(SpeechFailed, match="failed for voice 'nobody'"):
            await self.sounds.speak("said", "", "hello", "nobody", "en")

    async def test_without_an_engine_the_remedy_is_told(self) -> None:
        self.sounds = self.make_sounds(CommandEngine(self.tools, ("no-engine-here", "{output}"), 5))
        with pytest.raises(ToolMissing, match="no-engine-here is not installed: speech takes an engine"):
            await self.sounds.speak("said", "", "hello", "", "en")
        self.sounds = self.make_sounds(CommandEngine(self.tools, ("true", "{output}"), 5))
        with pytest.raises(SpeechFailed, match="said nothing"):
            await self.sounds.speak("said", "", "hello", "", "en")
        assert self.list_files() == []
