"""SIPp scenarios: the files in `lab/sipp/` filled with what a caller or a phone does after the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.rtp import VOICE, make_key_packets, make_tone_packets, press_duration_s, write_pcap

SCENARIOS = Path(__file__).with_name("sipp")


@dataclass(frozen=True, slots=True)
class Wait:
    """Stay on the line for so many seconds; a hang-up by the other side ends the call there."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys (``0-9*#A-D``): as RFC 4733 telephone-events (0.2 s each), or as SIP INFO (at once)."""

    digits: str
    by: Literal["rfc4733", "info"] = "rfc4733"


@dataclass(frozen=True, slots=True)
class Speak:
    """Send a tone for so many seconds, which Asterisk takes for a voice."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Quiet:
    """Send silence for so many seconds, as a line does on which nobody speaks."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """Send BYE now."""


@dataclass(frozen=True, slots=True)
class AwaitBye:
    """Wait for the other side to hang up; after so many seconds give up (event ``gave-up``) and hang up ourselves."""

    timeout_s: float = 60.0


Step = Wait | Press | Speak | Quiet | HangUp | AwaitBye


def compose_steps(steps: Sequence[Step], target: str, from_line: str, to_line: str) -> str:
    """The XML of the steps. Waiting is a ``recv`` of BYE with a time-out, so that a hang-up is noticed at any time."""
    parts = []
    for number, step in enumerate(steps):
        match step:
            case Wait(duration_s):
                parts.append(_compose_wait(f"step-{number}", duration_s))
            case AwaitBye(timeout_s):
                parts.append(_compose_wait(f"step-{number}", timeout_s))
                parts.append(
                    '  <nop next="hangup"><action><log message="[call_id] [clock_tick] gave-up"/></action></nop>\n'
                )
            case HangUp():
                parts.append('  <nop next="hangup"/>\n')
            case Press(digits, "info"):
                for index, digit in enumerate(_check_digits(digits)):
                    cseq = 10 + number * 100 + index
                    parts.append(
                        _INFO.format(target=target, from_line=from_line, to_line=to_line, cseq=cseq, digit=digit)
                    )
            case Press(digits):
                parts.append(_compose_playing(number, press_duration_s(_check_digits(digits))))
            case Speak(duration_s) | Quiet(duration_s):
                parts.append(_compose_playing(number, duration_s))
    return "".join(parts)


def _compose_playing(number: int, duration_s: float) -> str:
    start = f'  <nop><action><exec play_pcap_audio="{_media_name(number)}"/></action></nop>\n'
    return start + _compose_wait(f"step-{number}", duration_s)


def _compose_wait(label: str, wait_s: float) -> str:
    return (
        f'  <recv request="BYE" timeout="{max(1, round(wait_s * 1000))}" ontimeout="{label}" next="bye">'
        '<action><log message="[call_id] [clock_tick] bye"/></action></recv>\n'
        f'  <label id="{label}"/>\n'
    )


def write_media(folder: Path, steps: Sequence[Step]) -> None:
    """The pcap file of each step that sends RTP; sequence numbers and timestamps go on from step to step, as one source's do."""
    for number, step in enumerate(steps):
        first_sequence = 1 + number * 3000
        if isinstance(step, Speak | Quiet):
            loudness = 0 if isinstance(step, Quiet) else VOICE
            packets = make_tone_packets(step.duration_s, first_sequence=first_sequence, loudness=loudness)
            write_pcap(folder / _media_name(number), packets)
        elif isinstance(step, Press) and step.by == "rfc4733":
            write_pcap(folder / _media_name(number), make_key_packets(step.digits, first_sequence=first_sequence))


def _media_name(number: int) -> str:
    return f"step-{number}.pcap"


def _check_digits(digits: str) -> str:
    if re.fullmatch(r"[0-9*#A-D]+", digits) is None:
        raise ValueError(f"digits: {digits!r} has something else than 0-9*#A-D")
    return digits


_INFO = """  <send retrans="500"><![CDATA[
INFO {target} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
{from_line}
{to_line}
[last_Call-ID:]
CSeq: {cseq} INFO
Max-Forwards: 70
Content-Type: application/dtmf-relay
Content-Length: [len]

Signal={digit}
Duration=160
]]></send>
  <recv response="200"/>
"""


def load_scenario(name: str, **values: str) -> str:
    """The scenario file with ``@NAME@`` and ``<!--NAME-->`` replaced."""
    text = (SCENARIOS / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value).replace(f"<!--{key}-->\n", value)
    return text


def check_line(field: str, text: str) -> str:
    """The text, if it can stand in one line of a scenario; raises `ValueError`."""
    if not text.isprintable() or "]]>" in text:
        raise ValueError(f"{field}: {text!r} has a control character or ]]>")
    return text


def check_field(text: str) -> str:
    """The text, if it can be a field of SIPp's injection file; raises `ValueError`."""
    if ";" in text:
        raise ValueError(f"fields: {text!r} has a semicolon, which separates SIPp's fields (write %3b)")
    return check_line("fields", text)
