"""Sounds: what is taken and what is refused, by either program."""

import contextlib
import math
import os
import subprocess
import wave
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from tandem.loudness import choose_gain, is_silent
from tests.audio import measure_pitch, write_audio, write_tone

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
