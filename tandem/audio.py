"""Runs sox or ffmpeg, each time in a process with limits of its own; never through a shell, and never on the reactor's thread.

What comes from outside is decoded once, with its format forced (neither tool may guess a playlist and open what it names), cut at a
length, and only what that gave is converted further.
"""

import os
import shutil
import subprocess
import tempfile
import threading
import wave
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tandem.domain.recordings import RecordingFormat
from tandem.domain.sounds import HEAD_BYTES, AudioKind, SoundRefused, identify_audio
from tandem.loudness import BLOCK_S, choose_gain, is_silent

# Less is nothing that anybody could hear.
MIN_S: Final = 0.05
ToolName = Literal["ffmpeg", "sox"]
# Of everything that is played: 16 kHz, 16 bits, one channel. Asterisk plays it to wideband phones, and a browser to whoever listens.
MASTER: Final = "wav16"
MASTER_RATE: Final = 16000
# All that an uploaded sound may be in; without ffmpeg there is no g722.
PROMPT_FORMATS: Final = ("alaw", "g722", "ulaw", MASTER)
_MEMORY_BYTES: Final = 1536 * 1024 * 1024
_OPEN_FILES: Final = 64
_MAX_FILE_BYTES: Final = 512 * 1024 * 1024
_TOLD_BYTES: Final = 400
_ENVIRONMENT: Final = {"LANG": "C.UTF-8", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_FFMPEG: Final = ("ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-protocol_whitelist", "file", "-threads", "1")
_FFMPEG_ENCODERS: Final[dict[RecordingFormat, tuple[str, ...]]] = {
    "wav": ("-c:a", "pcm_s16le", "-f", "wav"),
    "mp3": ("-c:a", "libmp3lame", "-q:a", "6", "-f", "mp3"),
    "ogg": ("-c:a", "libvorbis", "-q:a", "3", "-f", "ogg"),
    "opus": ("-c:a", "libopus", "-b:a", "24k", "-f", "opus"),
    "flac": ("-c:a", "flac", "-f", "flac"),
}


class ToolMissing(Exception):
    """A program that is needed is not installed; the message says which package has it."""


class ToolFailed(Exception):
    """A program ended with an error, or took too long; the message says what it said."""


class ToolStopped(Exception):
    """A program was ended because Tandem stops."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a run may take. is_background: only what nobody else wants of processor and disk."""

    wall_s: float = 60.0
    cpu_s: int = 60
    file_bytes: int = _MAX_FILE_BYTES
    is_background: bool = False


class Tools:
    """Runs programs to their end, in the caller's thread; `stop` from another one ends them."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def run(self, argv: Sequence[str], allowance: Allowance, *, stdin: bytes = b"", folder: Path | None = None) -> None:
        """Runs one program. ToolMissing, ToolFailed, ToolStopped; its output goes nowhere, but for the end of its errors."""
        if shutil.which(argv[0], path=_ENVIRONMENT["PATH"]) is None:
            raise ToolMissing(f"{argv[0]} is not installed")
        environment = {**_ENVIRONMENT, "TMPDIR": str(folder or tempfile.gettempdir())}
        # In a file, so that the limit holds for it too: a hostile file can make a decoder complain without end.
        with tempfile.TemporaryFile() as complaints, tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            with self._lock:
                if self._is_stopped:
                    raise ToolStopped(argv[0])
                process = subprocess.Popen(
                    [*_limit(allowance), *argv], stdin=given, stdout=subprocess.DEVNULL, stderr=complaints,
                    env=environment, cwd=folder, start_new_session=True,
                )  # fmt: skip
                self._running.add(process)
            try:
                status = process.wait(allowance.wall_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise ToolFailed(f"{argv[0]} took more than {allowance.wall_s:g} s") from None
            finally:
                with self._lock:
                    self._running.discard(process)
            if status == 0:
                return
            if self._is_stopped:
                raise ToolStopped(argv[0])
            complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - _TOLD_BYTES))
            told = " ".join(complaints.read().decode("utf-8", "replace").split())
            raise ToolFailed(f"{argv[0]} failed ({status}): {told}")

    def stop(self) -> None:
        """Ends whatever runs; nothing starts after it."""
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                process.kill()


def _limit(allowance: Allowance) -> list[str]:
    """util-linux and coreutils set the limits: between fork and exec, a process with threads should run nothing of its own."""
    limits = {"cpu": allowance.cpu_s, "as": _MEMORY_BYTES, "fsize": allowance.file_bytes, "nofile": _OPEN_FILES}
    words = ["prlimit", "--core=0", *(f"--{name}={value}" for name, value in limits.items())]
    if allowance.is_background:
        words += ["nice", "-n", "19"]
        if shutil.which("ionice") is not None:
            words += ["ionice", "-c", "3"]
    return words


class Converter:
    """Turns audio into audio with whichever program there is; `wanted` says which. All of it blocks."""

    def __init__(self, tools: Tools, wanted: Literal["auto", "ffmpeg", "sox"] = "auto") -> None:
        self._tools = tools
        self._wanted = wanted

    def find_tool(self) -> ToolName:
        """ffmpeg, which has more formats, or sox; ToolMissing where there is neither."""
        names: tuple[ToolName, ...] = ("ffmpeg", "sox") if self._wanted == "auto" else (self._wanted,)
        for name in names:
            if shutil.which(name, path=_ENVIRONMENT["PATH"]) is not None:
                return name
        raise ToolMissing(
            f"{' and '.join(names)} not installed: audio is converted with ffmpeg or sox (apt install sox libsox-fmt-mp3)"
        )

    def decode(self, source: Path, kind: AudioKind, target: Path, max_s: float) -> float:
        """Makes the master of a file from anywhere, as loud as any other, at most a second longer than `max_s`; how long it is, in s."""
        tool = self.find_tool()
        if tool == "sox" and kind == "opus":
            raise ToolMissing("sox reads no Opus: install ffmpeg, or give it another format")
        length = f"{max_s + 1:g}"
        if tool == "ffmpeg":
            demuxer = "ogg" if kind == "opus" else kind
            argv = [*_FFMPEG, "-t", length, "-f", demuxer, "-i", str(source), "-map", "0:a:0", "-map_metadata", "-1", "-bitexact",
                    "-t", length, "-ac", "1", "-ar", str(MASTER_RATE), "-c:a", "pcm_s16le", "-f", "wav", str(target)]  # fmt: skip
        else:
            argv = ["sox", "-V1", "-G", "-t", kind, str(source), "-t", "wav", "-e", "signed-integer", "-b", "16", str(target),
                    "trim", "0", length, "channels", "1", "rate", str(MASTER_RATE)]  # fmt: skip
        # Sox keeps what it works on in 32 bits per sample, twice; the rate is whatever the file claims.
        self._tools.run(argv, Allowance(file_bytes=_MAX_FILE_BYTES), folder=target.parent)
        self._level(tool, target)
        return read_wav_length(target)

    def decode_upload(self, source: Path, master: Path, max_s: float) -> float:
        """The same of whatever somebody has sent; SoundRefused for what is no audio, holds none, or is too long."""
        with source.open("rb") as stream:
            kind = identify_audio(stream.read(HEAD_BYTES))
        try:
            length_s = self.decode(source, kind, master, max_s)
        except ToolFailed as error:
            raise SoundRefused("file", f"cannot be read as {kind}: {error}") from error
        if length_s > max_s:
            raise SoundRefused("file", f"must be at most {max_s:g} s long")
        if length_s < MIN_S:
            raise SoundRefused("file", "holds no audio")
        return length_s

    def refuse_silence(self, master: Path) -> None:
        """SoundRefused where nobody would hear anything of a master."""
        if is_silent(_read_blocks(master)):
            raise SoundRefused("file", "holds nothing but silence")

    def _level(self, tool: ToolName, master: Path) -> None:
        """A master as loud as Asterisk's own prompts."""
        gain = choose_gain(_read_blocks(master))
        if not gain:
            return
        given = master.with_name(f"{master.name}.given")
        master.replace(given)
        if tool == "ffmpeg":
            argv = [*_FFMPEG, "-f", "wav", "-i", str(given), "-af", f"volume={gain:.2f}dB", "-bitexact",
                    "-c:a", "pcm_s16le", "-f", "wav", str(master)]  # fmt: skip
        else:
            argv = ["sox", "-V1", "-t", "wav", str(given), "-t", "wav", str(master), "gain", f"{gain:.2f}"]
        self._tools.run(argv, Allowance(), folder=master.parent)
        given.unlink()

    def encode_prompt(self, master: Path) -> tuple[str, ...]:
        """Beside a master, the files that Asterisk plays to each codec without transcoding; their suffixes."""
        stem = master.with_suffix("")
        if self.find_tool() == "ffmpeg":
            argv = [*_FFMPEG, "-f", "wav", "-i", str(master)]
            for suffix, rate, muxer in (("alaw", "8000", "alaw"), ("ulaw", "8000", "mulaw"), ("g722", "16000", "g722")):
                argv += ["-ar", rate, "-f", muxer, f"{stem}.{suffix}"]
            self._tools.run(argv, Allowance())
            return PROMPT_FORMATS
        for suffix, kind in (("alaw", "al"), ("ulaw", "ul")):
            argv = ["sox", "-V1", "-t", "wav", str(master), "-r", "8000", "-t", kind, f"{stem}.{suffix}"]
            self._tools.run(argv, Allowance())
        return ("alaw", "ulaw", MASTER)

    def encode_greeting(self, master: Path, target: Path) -> None:
        """A master as app_voicemail has greetings: 8 kHz, 16 bits, one channel."""
        if self.find_tool() == "ffmpeg":
            argv = [
                *_FFMPEG,
                "-f",
                "wav",
                "-i",
                str(master),
                "-bitexact",
                "-ar",
                "8000",
                "-c:a",
                "pcm_s16le",
                "-f",
                "wav",
                str(target),
            ]
        else:
            argv = ["sox", "-V1", "-t", "wav", str(master), "-r", "8000", "-t", "wav", str(target)]
        self._tools.run(argv, Allowance(), folder=target.parent)

    def encode_recording(self, source: Path, target: Path, form: RecordingFormat) -> None:
        """A recording in another format, in the background. What the header says of its length is not believed: a killed Asterisk left it."""
        tool = self.find_tool()
        if tool == "ffmpeg":
            argv = [*_FFMPEG, "-ignore_length", "1", "-f", "wav", "-i", str(source), "-map_metadata", "-1",
                    *_FFMPEG_ENCODERS[form], "-y", str(target)]  # fmt: skip
        elif form == "opus":
            raise ToolMissing("sox writes no Opus: install ffmpeg, or set recordings.format to another")
        else:
            argv = ["sox", "-V1", "--ignore-length", "-t", "wav", str(source), "-t", form, str(target)]
        self._tools.run(argv, Allowance(wall_s=1800, cpu_s=1800, file_bytes=4 << 30, is_background=True))


def read_wav_length(path: Path) -> float:
    """Seconds of a PCM WAV file of ours; 0 for one without audio. OSError where it cannot be read."""
    try:
        with wave.open(str(path), "rb") as audio:
            return audio.getnframes() / audio.getframerate()
    except (wave.Error, EOFError):
        return 0.0


def _read_blocks(path: Path) -> Iterator[memoryview]:
    """The samples of a PCM WAV file of ours, BLOCK_S at a time; none of one without audio."""
    with suppress(wave.Error, EOFError), wave.open(str(path), "rb") as audio:
        while frames := audio.readframes(round(audio.getframerate() * BLOCK_S)):
            yield memoryview(frames[: len(frames) // 2 * 2]).cast("h")


def sync_folder(folder: Path) -> None:
    """What was renamed in a folder stays renamed after a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path, mode: int = 0o640) -> None:
    """A finished file is on the disk, readable for its group: Asterisk's."""
    with path.open("rb") as stream:
        with suppress(PermissionError):
            os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())
