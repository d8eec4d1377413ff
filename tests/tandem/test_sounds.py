"""Sounds: what is taken and what is refused, by either program; in place whole or not at all, whenever the process dies."""

import contextlib
import errno
import math
import os
import shutil
import struct
import subprocess
import tempfile
import wave
from array import array
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tandem.audio import Allowance, Converter, ToolFailed, ToolMissing, Tools, ToolStopped, read_wav_length
from tandem.document import read_document
from tandem.domain.changes import MissingSound
from tandem.domain.snapshot import build_snapshot
from tandem.domain.sounds import (
    SoundRefused,
    check_sound_name,
    check_speech,
    choose_voice,
    find_missing_sounds,
    find_prompt_users,
    identify_audio,
    locate_prompt,
)
from tandem.editing import StillUsed
from tandem.loudness import choose_gain, is_silent
from tandem.sounds import WAITING, Sounds
from tandem.speech import CommandEngine, HttpEngine, Speech, SpeechFailed, digest_speech
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
from tests.audio import measure_pitch, write_audio, write_tone

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TOOLS = ("ffmpeg", "sox")


# ------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("name", ["", "1a", "-a", "a/b", "../a", "a.b", "a b", "ä", "a" * 41, "a\n", "a\0", ".."])
def test_a_name_that_could_be_more_than_a_name_is_refused(name):
    with pytest.raises(SoundRefused, match=r"^name must be a letter"):
        check_sound_name(name, "")


@pytest.mark.parametrize("language", ["EN", "e", "..", "en/..", "de_de", "de-DE", "en\n"])
def test_so_is_a_language(language):
    with pytest.raises(SoundRefused, match=r"^language must be"):
        check_sound_name("a", language)


@given(st.text(max_size=60), st.text(max_size=10))
def test_whatever_passes_stays_in_its_folder(name, language):
    try:
        check_sound_name(name, language)
    except SoundRefused:
        return
    path = Path("/sounds") / language / f"{name}.alaw"
    assert os.path.normpath(path) == str(path)
    assert str(path).startswith("/sounds/")


def test_voices_and_texts():
    assert choose_voice("", "pt_BR") == "pt-br"
    assert choose_voice("de+f3", "en") == "de+f3"
    check_speech("Grüß Gott,\n今日は", "de+f3")
    for text, voice, field in (
        ("  ", "", "text"),
        ("x" * 4001, "", "text"),
        ("a\x1b[", "", "text"),
        ("a", "-x", "voice"),
    ):
        with pytest.raises(SoundRefused) as refused:
            check_speech(text, voice)
        assert refused.value.field == field


def test_prompts_of_ours_are_paths_and_others_are_not():
    assert locate_prompt("tandem/welcome", "/var/lib/tandem-sounds") == "/var/lib/tandem-sounds/welcome"
    assert locate_prompt("custom/welcome", "/x") == "custom/welcome"
    assert locate_prompt("tandemwelcome", "/x") == "tandemwelcome"


def test_whoever_plays_a_prompt_is_named():
    snapshot = build_snapshot(
        1,
        read_document("""
announcements: [{name: closed, prompts: [tandem/shut, tandem/shut]}]
menus:
  - name: main
    prompts: [tandem/hello]
    invalid_prompts: [tandem/no]
    timeout_prompts: [tandem/hello]
    options: {1: {announcement: closed}}
    invalid: {announcement: closed}
    timeout: {announcement: closed}
    fallback: {announcement: closed}
queues:
  - name: shop
    join_when_empty: yes
    periodic_prompts: [tandem/wait]
    periodic_every_s: 20
    caller_prompt: tandem/now
    member_prompt: tandem/wait
    callback: {key: "5", prompts: [tandem/press], accepted_prompts: [tandem/shut]}
    fallback: {hangup: normal}
"""),
    )
    assert find_prompt_users(snapshot, "tandem/shut") == (
        ("announcements/closed", "prompts"),
        ("queues/shop", "callback.accepted_prompts"),
    )
    queued = [("queues/shop", field) for field in ("periodic_prompts", "caller_prompt", "member_prompt")]
    assert find_prompt_users(snapshot, "tandem/wait") == (queued[0], queued[2])
    assert find_prompt_users(snapshot, "tandem/now") == (queued[1],)
    assert find_prompt_users(snapshot, "tandem/press") == (("queues/shop", "callback.prompts"),)
    assert find_prompt_users(snapshot, "tandem/hello") == (("menus/main", "prompts"), ("menus/main", "timeout_prompts"))
    assert find_prompt_users(snapshot, "tandem/no") == (("menus/main", "invalid_prompts"),)
    assert find_prompt_users(snapshot, "tandem/hell") == ()
    assert find_missing_sounds(snapshot, {"hello", "shut", "press", "wait"}) == (
        MissingSound("menus/main", "invalid_prompts", "tandem/no"),
        MissingSound("queues/shop", "caller_prompt", "tandem/now"),
    )
    assert len(find_missing_sounds(snapshot, ())) == 9


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "opus", "flac"])
def test_a_file_is_what_its_first_bytes_say(tmp_path, suffix):
    assert identify_audio(write_audio(tmp_path / f"a.{suffix}", 0.2).read_bytes()[:64]) == suffix


@given(st.binary(max_size=64))
def test_anything_else_is_refused_with_the_rule(head):
    kind, rule = "", ""
    try:
        kind = identify_audio(head)
    except SoundRefused as refused:
        rule = str(refused)
    assert kind in ("wav", "mp3", "ogg", "opus", "flac") or rule.startswith("file must be audio: wav, mp3, ogg")


# ------------------------------------------------------------------------------------------------------ programs


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "flac", "opus"])
def test_audio_becomes_what_asterisk_plays(tmp_path, tool, suffix):
    source = write_audio(tmp_path / f"source.{suffix}", 1.5)
    converter, master = Converter(Tools(), tool), tmp_path / "hello.wav16"
    if (tool, suffix) == ("sox", "opus"):
        with pytest.raises(ToolMissing, match="sox reads no Opus: install ffmpeg"):
            converter.decode(source, "opus", master, 10)
        return
    assert converter.decode(source, suffix, master, 10) == pytest.approx(1.5, abs=0.12)  # mp3 pads
    with wave.open(str(master)) as audio:
        assert (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) == (16000, 1, 2)
        audio.setpos(4000)  # mp3 begins with a moment of noise
        assert measure_pitch(audio.readframes(16000), 16000) == pytest.approx(440, abs=15)
    formats = converter.encode_prompt(master)
    assert set(formats) == {"alaw", "ulaw", "wav16", *({"g722"} if tool == "ffmpeg" else ())}
    for name in ("alaw", "ulaw", *({"g722"} & set(formats))):  # 8,000 bytes a second, all three
        assert (tmp_path / f"hello.{name}").stat().st_size == pytest.approx(8000 * read_wav_length(master), abs=200)
    # It is that tone still, not noise of a wrong companding.
    decoded = tmp_path / "decoded.raw"
    subprocess.run(
        ["sox", "-t", "al", "-r", "8000", "-c", "1", tmp_path / "hello.alaw", "-t", "s16", decoded], check=True
    )
    assert measure_pitch(decoded.read_bytes()[4000:20000], 8000) == pytest.approx(440, abs=15)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(("peak", "pause_s"), [(900, 3.0), (30000, 0.0), (4990, 1.0)])
def test_whatever_comes_is_as_loud_as_asterisks_prompts(tmp_path, tool, peak, pause_s):
    """-19 dB where somebody speaks, however long they are silent before."""
    source, master = tmp_path / "source.wav", tmp_path / "a.wav16"
    tone = ["synth", "1", "sine", "440", "gain", f"{20 * math.log10(peak / 32768):.2f}", "pad", f"{pause_s:g}"]
    subprocess.run(["sox", "-n", "-r", "16000", "-b", "16", source, *tone], check=True, timeout=60)
    assert Converter(Tools(), tool).decode(source, "wav", master, 10) == pytest.approx(1 + pause_s, abs=0.01)
    with wave.open(str(master)) as audio:
        audio.setpos(round(16000 * (pause_s + 0.1)))
        samples = memoryview(audio.readframes(12800)).cast("h")
    heard_db = 10 * math.log10(sum(one * one for one in samples) / len(samples) / 32768**2)
    assert heard_db == pytest.approx(-19, abs=0.6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav16", "source.wav"]


@given(st.lists(st.lists(st.integers(-32768, 32767), max_size=40), max_size=40))
def test_no_gain_clips_and_silence_has_none(blocks):
    gain = choose_gain(memoryview(array("h", block)) for block in blocks)
    peak = max((abs(one) for block in blocks for one in block), default=0)
    assert gain <= 20
    assert not gain or peak * 10 ** (gain / 20) <= 32767
    silence = [memoryview(array("h", [0] * len(block))) for block in blocks]
    assert choose_gain(silence) == 0
    assert is_silent(silence)


@pytest.mark.parametrize(("peak", "silent"), [(0, True), (50, True), (150, False), (32000, False)])
def test_one_loud_moment_is_no_silence(peak, silent):
    """-55 dB of full scale is 58."""
    quiet, other = memoryview(array("h", [0, 1] * 800)), memoryview(array("h", [peak, -peak] * 800))
    assert is_silent([quiet, other, quiet]) == silent


@pytest.mark.parametrize("tool", TOOLS)
def test_no_more_is_decoded_than_may_be(tmp_path, tool):
    """A few kilobytes can be hours of silence."""
    source, tone = tmp_path / "long.flac", tmp_path / "silence.raw"
    with tone.open("wb") as stream:
        stream.truncate(2 * 8000 * 3600 * 3)
    subprocess.run(["sox", "-t", "s16", "-r", "8000", "-c", "1", tone, source], check=True, timeout=120)
    assert source.stat().st_size < 1_000_000
    master = tmp_path / "long.wav16"
    assert Converter(Tools(), tool).decode(source, "flac", master, 5) == pytest.approx(6, abs=0.1)
    assert master.stat().st_size < 7 * 32000


@pytest.mark.parametrize("tool", TOOLS)
def test_a_decoder_opens_nothing_that_a_file_names(tmp_path, tool):
    (tmp_path / "secret.wav").write_bytes(write_tone(tmp_path / "tone.wav").read_bytes())
    playlist = tmp_path / "list.mp3"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/secret.wav\n")
    length_s = 0.0
    with contextlib.suppress(ToolFailed):
        length_s = Converter(Tools(), tool).decode(playlist, "mp3", tmp_path / "out.wav16", 5)
    assert length_s < 0.05


def test_a_program_has_limits_of_its_own(tmp_path):
    tools = Tools()
    with pytest.raises(ToolFailed, match=r"sleep took more than 0\.2 s"):
        tools.run(["sleep", "30"], Allowance(wall_s=0.2))
    with pytest.raises(ToolFailed, match=r"dd failed"):
        tools.run(["dd", "if=/dev/zero", f"of={tmp_path}/big", "bs=65536", "count=64"], Allowance(file_bytes=1 << 20))
    assert (tmp_path / "big").stat().st_size <= 1 << 20
    with pytest.raises(ToolFailed, match="python3 failed"):
        tools.run(["python3", "-c", "bytearray(4 << 30)"], Allowance())
    with pytest.raises(ToolMissing, match="no-such-program is not installed"):
        tools.run(["no-such-program"], Allowance())
    # Words stay words.
    tools.run(["touch", f"{tmp_path}/a; touch b"], Allowance(), folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a; touch b", "big"]
    tools.stop()
    with pytest.raises(ToolStopped):
        tools.run(["true"], Allowance())


# ------------------------------------------------------------------------------------------------------- the use-case


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
        again.stopService()  # type: ignore[no-untyped-call]

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


class HttpSpeechCase(TestCase):
    """A server that speaks, well or badly."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.asked: list[bytes] = []
        self.audio = write_tone(self.folder / "tone.wav").read_bytes()
        root = Resource()
        for name, render in (("good", self.answer), ("endless", self.answer_endless), ("silent", self.answer_nothing), ("wrong", self.answer_wrong), ("moved", self.answer_moved)):  # fmt: skip
            child = Resource()
            child.render_POST = render  # type: ignore[attr-defined]
            root.putChild(name.encode(), child)
        port: Any = reactor.listenTCP(0, Site(root), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}"

    def answer(self, request: Any) -> bytes:
        self.asked.append(request.content.read())
        return self.audio

    def answer_endless(self, request: Any) -> int:
        def more() -> None:
            if not request.finished and request.channel is not None:
                request.write(b"x" * 1_000_000)
                reactor.callLater(0, more)  # type: ignore[attr-defined]

        request.notifyFinish().addErrback(lambda _: None)
        more()
        return NOT_DONE_YET

    def answer_nothing(self, request: Any) -> int:
        request.notifyFinish().addErrback(lambda _: None)
        return NOT_DONE_YET

    def answer_wrong(self, request: Any) -> bytes:
        request.setResponseCode(500)
        return b"no"

    def answer_moved(self, request: Any) -> bytes:
        request.redirect(f"{self.url}/good".encode())
        return b""

    async def speak(self, path: str, timeout_s: float = 10.0) -> Path:
        engine = HttpEngine(reactor, f"{self.url}/{path}", timeout_s)
        target = self.folder / "out"
        await Speech(engine, self.folder / "cache", 1000).speak("hello", "en", "en", target)
        return target

    async def test_it_is_asked_and_answers(self) -> None:
        assert (await self.speak("good")).read_bytes() == self.audio
        assert self.asked == [b'{"text":"hello","voice":"en","language":"en"}']

    async def test_what_it_may_not_do(self) -> None:
        for path, rule in (
            ("wrong", "answered 500"),
            ("moved", "answered 302"),
            ("missing", "answered 404"),
            ("endless", "more than 33554432 bytes"),
        ):
            with pytest.raises(SpeechFailed, match=rule):
                await self.speak(path)
        with pytest.raises(SpeechFailed, match=r"took more than 0\.3 s"):
            await self.speak("silent", 0.3)
        self.url = "http://127.0.0.1:1"
        with pytest.raises(SpeechFailed, match="does not answer"):
            await self.speak("good")
        assert self.asked == []


def test_other_speech_has_another_name():
    base = (("command", "espeak"), "hello", "en", "en")
    names = {digest_speech(*base), digest_speech(("command", "other"), *base[1:]), digest_speech(base[0], "hallo", "en", "en"),
             digest_speech(base[0], "hello", "de", "en"), digest_speech(base[0], "hello", "en", "de")}  # fmt: skip
    assert len(names) == 5
