"""RTP for SIPp to send (keys and speech, as pcap files made here) and to be counted when it arrives; ships no recording."""

from __future__ import annotations

import math
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tandem.asterisk.instance import AsteriskInstance

EVENT_PAYLOAD_TYPE = 101
"""Of telephone-event in our scenarios' SDP. Asterisk offers 101, and takes events by the number that *it* offered, whatever a called phone answers."""
PCMA_PAYLOAD_TYPE = 8
KEYS = "0123456789*#ABCD"
"""By event code (RFC 4733, section 3.2)."""
PACKET_MS = 20
KEY_MS, GAP_MS = 120, 80
"""Asterisk wants at least 80 ms and 45 ms."""
SSRC = 0x7A6D0001
VOICE = 8000
"""How loud we speak, of 32767."""

RtpPacket = tuple[int, bytes]
"""When it is sent, in ms from the start, and the packet."""


def press_duration_s(digits: str) -> float:
    """How long it takes to press them."""
    return len(digits) * (KEY_MS + GAP_MS) / 1000


def make_key_packets(digits: str, *, first_sequence: int) -> Iterator[RtpPacket]:
    """RFC 4733 telephone-events of the keys, one after the other; the end of each is sent three times, as section 2.5.1.4 asks."""
    sequence = first_sequence
    for index, digit in enumerate(digits):
        start_ms = index * (KEY_MS + GAP_MS)
        timestamp = (first_sequence * PACKET_MS + start_ms) * 8
        sent_at = [*range(0, KEY_MS, PACKET_MS), *(KEY_MS,) * 3]
        for at_ms in sent_at:
            is_end = at_ms == KEY_MS
            marker = 0x80 if at_ms == 0 else 0
            header = struct.pack(
                "!BBHII", 0x80, marker | EVENT_PAYLOAD_TYPE, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, SSRC
            )
            event = struct.pack("!BBH", KEYS.index(digit), (0x80 if is_end else 0) | 10, max(at_ms, PACKET_MS) * 8)
            yield start_ms + at_ms, header + event
            sequence += 1


def make_tone_packets(
    duration_s: float, *, first_sequence: int, frequency_hz: int = 400, loudness: int = VOICE
) -> Iterator[RtpPacket]:
    """A tone in A-law, so loud that Asterisk hears somebody speak; silence with a loudness of 0."""
    for index in range(round(duration_s * 1000 / PACKET_MS)):
        sequence = first_sequence + index
        samples = (loudness * math.sin(2 * math.pi * frequency_hz * (index * 160 + n) / 8000) for n in range(160))
        payload = bytes(encode_alaw(round(sample)) for sample in samples)
        header = struct.pack("!BBHII", 0x80, PCMA_PAYLOAD_TYPE, sequence & 0xFFFF, (sequence * 160) & 0xFFFFFFFF, SSRC)
        yield index * PACKET_MS, header + payload


def encode_alaw(sample: int) -> int:
    """One 16-bit linear sample as G.711 A-law."""
    sign, magnitude = (0x80, sample >> 3) if sample >= 0 else (0, (-sample - 1) >> 3)
    exponent = max(1, magnitude.bit_length() - 5)
    code = magnitude >> 1 if magnitude < 32 else (exponent << 4) | ((magnitude >> exponent) & 0x0F)
    return (sign | code) ^ 0x55


def is_loud(payload: bytes) -> bool:
    """Whether a third of these A-law samples are above 2000 of 32767, which no silence and no noise of a line is."""
    return 3 * sum(((code ^ 0x55) & 0x7F) >= 0x50 for code in payload) > len(payload) > 0


def write_pcap(path: Path, packets: Iterator[RtpPacket]) -> None:
    """A pcap file for SIPp's ``play_pcap_audio``, which takes the times and the RTP and puts its own addresses in."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for at_ms, rtp in packets:
            udp = struct.pack("!HHHH", 4000, 4000, 8 + len(rtp), 0) + rtp
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
            frame = bytes(12) + b"\x08\x00" + ip + udp
            file.write(struct.pack("<IIII", 1 + at_ms // 1000, at_ms % 1000 * 1000, len(frame), len(frame)) + frame)


class RtpSink:
    """A UDP port in the instance's world that counts the RTP packets arriving there, by the port they come from.

    Asterisk sends each call's RTP from a port of its own, so one sink tells many calls apart. Use as a context manager.
    """

    def __init__(self, instance: AsteriskInstance, host: str = "127.0.0.2") -> None:
        self._socket = instance.world.udp(host)
        self._socket.settimeout(0.05)
        self.port: int = self._socket.getsockname()[1]
        self._counts: Counter[int] = Counter()
        self._loud = 0
        self._is_open = True
        self._thread = threading.Thread(target=self._receive, name="rtp-sink", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_open = False
        self._thread.join()
        self._socket.close()

    def count_packets(self) -> dict[int, int]:
        """Asterisk's RTP port -> packets received from it so far."""
        return dict(self._counts)

    def count_loud(self) -> int:
        """How many of all packets held somebody's voice (or a tone), so far."""
        return self._loud

    def _receive(self) -> None:
        while self._is_open:
            try:
                packet, (_, port) = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            if len(packet) >= 12 and packet[0] >> 6 == 2:  # RFC 3550: version 2
                self._counts[port] += 1
                self._loud += packet[1] & 0x7F == PCMA_PAYLOAD_TYPE and is_loud(packet[12:])
