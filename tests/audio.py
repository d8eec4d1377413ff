"""Audio for tests: made by the programs that people make it with."""

import math
import struct
import subprocess
import wave
from itertools import pairwise
from pathlib import Path


def write_tone(
    path: Path, length_s: float = 1.0, *, rate: int = 8000, channels: int = 1, hertz: float = 440.0, volume: int = 12000
) -> Path:
    """A WAV file with a tone. volume: its highest sample."""
    frames = b"".join(
        struct.pack("<h", round(volume * math.sin(2 * math.pi * hertz * n / rate))) * channels
        for n in range(round(length_s * rate))
    )
    with wave.open(str(path), "wb") as audio:
        audio.setnchannels(channels)
        audio.setsampwidth(2)
        audio.setframerate(rate)
        audio.writeframes(frames)
    return path


def write_audio(path: Path, length_s: float = 1.0) -> Path:
    """The same in the format of the suffix: wav, mp3, ogg, opus or flac."""
    tone = write_tone(path.with_suffix(".tone.wav"), length_s, rate=44100, channels=2)
    codec = ["-c:a", "libvorbis"] if path.suffix == ".ogg" else []
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(tone), *codec, str(path)], check=True, timeout=60)
    return path


def measure_pitch(pcm: bytes, rate: int) -> float:
    """Hertz of a tone of 16-bit samples, by its zero crossings."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    crossings = sum(1 for before, after in pairwise(samples) if before < 0 <= after)
    return crossings * rate / max(1, len(samples))
