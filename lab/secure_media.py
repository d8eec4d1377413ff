"""The media of a browser: ICE, DTLS and SRTP on one UDP port, as WebRTC has them; carries A-law alone, and never takes or sends a packet that is not encrypted.

ICE is RFC 8445 with one candidate, the keys are those of RFC 5764, and of SRTP (RFC 3711) there is the profile that all must have.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import ipaddress
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from OpenSSL import SSL

from lab.certificates import make_certificate
from lab.rtp import PCMA_PAYLOAD_TYPE, is_loud, make_tone_packets

PROFILE: Final = b"SRTP_AES128_CM_SHA1_80"
KEY_BYTES, SALT_BYTES, TAG_BYTES = 16, 14, 10
RTP_HEADER_BYTES = 12
STUN_COOKIE: Final = 0x2112A442
STUN_REQUEST, STUN_ANSWER = 0x0001, 0x0101
USERNAME, INTEGRITY, XOR_ADDRESS, PRIORITY, USE_CANDIDATE = 0x0006, 0x0008, 0x0020, 0x0024, 0x0025
FINGERPRINT, CONTROLLED, CONTROLLING = 0x8028, 0x8029, 0x802A
FINGERPRINT_MASK: Final = 0x5354554E
CHECK_S, TICK_S = 0.2, 0.02


class MediaFailed(Exception):
    """The other side is not who its description says, or speaks another profile."""


@dataclass(frozen=True, slots=True)
class Remote:
    """What the other side's description says: its ICE name and password, the SHA-256 of its certificate (hex, no colons), its address and its DTLS role."""

    ufrag: str
    password: str
    fingerprint: str
    address: tuple[str, int]
    setup: str


class SrtpKeys:
    """One direction's session keys, from its master key and salt (RFC 3711, section 4.3), for fewer than 65536 packets."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._key, self._auth, self._salt = (
            _keystream(key, _xor(salt + b"\0\0", bytes((0,) * 7 + (label,) + (0,) * 8)), bytes(size))
            for label, size in ((0, KEY_BYTES), (1, 20), (2, SALT_BYTES))
        )

    def protect(self, packet: bytes) -> bytes:
        """An RTP packet (header of 12 bytes) as SRTP."""
        secret = packet[:RTP_HEADER_BYTES] + self._crypt(packet[:RTP_HEADER_BYTES], packet[RTP_HEADER_BYTES:])
        return secret + self._tag(secret)

    def unprotect(self, packet: bytes) -> bytes:
        """SRTP as an RTP packet. MediaFailed unless its tag is right."""
        secret, tag = packet[:-TAG_BYTES], packet[-TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(secret)):
            raise MediaFailed("an SRTP packet's tag is wrong")
        return secret[:RTP_HEADER_BYTES] + self._crypt(secret[:RTP_HEADER_BYTES], secret[RTP_HEADER_BYTES:])

    def _crypt(self, header: bytes, payload: bytes) -> bytes:
        sequence, ssrc = header[2:4], header[8:12]
        return _keystream(
            self._key, _xor(self._salt + b"\0\0", b"\0" * 4 + ssrc + b"\0" * 4 + sequence + b"\0\0"), payload
        )

    def _tag(self, secret: bytes) -> bytes:
        return hmac.digest(self._auth, secret + bytes(4), "sha1")[:TAG_BYTES]


def _keystream(key: bytes, counter: bytes, payload: bytes) -> bytes:
    return Cipher(AES(key), CTR(counter)).encryptor().update(payload)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


class SecureMedia:
    """A UDP port that becomes a WebRTC media stream; speaks a tone once it is up. Use as a context manager.

    is_offerer: whether our description came first: then we control ICE, and the other side chooses who begins with DTLS.
    """

    def __init__(self, port: socket.socket, *, is_offerer: bool) -> None:
        self._socket, self._is_offerer = port, is_offerer
        self._socket.settimeout(TICK_S)
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(16)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = make_certificate(key, "browser.invalid")
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
        self._context = SSL.Context(SSL.DTLS_METHOD)
        self._context.use_certificate(certificate)
        self._context.use_privatekey(key)
        self._context.set_tlsext_use_srtp(PROFILE)
        # It is signed by nobody: who it is of, the fingerprint says, below.
        self._context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        self.profile = b""
        self.heard = self.loud = 0
        self.failure: Exception | None = None
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="secure-media", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_open = False
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def describe(self) -> str:
        """The SDP of it."""
        host, port = self._socket.getsockname()
        colons = ":".join(self.fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()
        lines = (
            *("v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"),
            f"m=audio {port} UDP/TLS/RTP/SAVPF {PCMA_PAYLOAD_TYPE}",
            *(f"a=rtpmap:{PCMA_PAYLOAD_TYPE} PCMA/8000", "a=ptime:20", "a=sendrecv", "a=rtcp-mux"),
            *(f"a=ice-ufrag:{self.ufrag}", f"a=ice-pwd:{self.password}"),
            f"a=candidate:1 1 UDP 2130706431 {host} {port} typ host",
            *(f"a=fingerprint:sha-256 {colons}", f"a=setup:{'actpass' if self._is_offerer else 'active'}"),
        )
        return "".join(f"{line}\r\n" for line in lines)

    def begin(self, remote: Remote) -> None:
        """Goes on by itself, in a thread; what it comes to is in `profile`, `heard`, `loud` and `failure`."""
        self._remote = remote
        self._is_client = not self._is_offerer or remote.setup == "passive"
        self._thread.start()

    def _run(self) -> None:
        try:
            sending, receiving = self._shake_hands()
            self._talk(sending, receiving)
        except (MediaFailed, SSL.Error, OSError) as error:
            self.failure = error

    def _shake_hands(self) -> tuple[SrtpKeys, SrtpKeys]:
        """ICE and then DTLS: the keys to send with and those to receive with."""
        connection = SSL.Connection(self._context, None)
        connection.set_ciphertext_mtu(1200)
        (connection.set_connect_state if self._is_client else connection.set_accept_state)()
        check_at, self._is_checked = 0.0, False
        while self._is_open:
            if not self._is_checked and time.monotonic() >= check_at:
                self._send(self._make_check())
                check_at = time.monotonic() + CHECK_S
            if (packet := self._receive()) and 20 <= packet[0] < 64:
                connection.bio_write(packet)
            if self._is_checked:
                is_done = self._go_on(connection)
                if is_done:
                    return self._take_keys(connection)
        raise MediaFailed("closed before it was up")

    def _go_on(self, connection: SSL.Connection) -> bool:
        """A step of the handshake; whether it is done."""
        is_done = True
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            is_done = False
            if connection.DTLSv1_get_timeout() == 0:
                connection.DTLSv1_handle_timeout()
        try:
            while True:
                self._send(connection.bio_read(65536))
        except SSL.WantReadError:
            return is_done

    def _take_keys(self, connection: SSL.Connection) -> tuple[SrtpKeys, SrtpKeys]:
        peer = connection.get_peer_certificate(as_cryptography=True)
        if peer is None or peer.fingerprint(hashes.SHA256()).hex() != self._remote.fingerprint:
            raise MediaFailed("the certificate is not the one of the description")
        if (profile := connection.get_selected_srtp_profile()) != PROFILE:
            raise MediaFailed(f"the profile is {profile!r}")
        keying = connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (KEY_BYTES + SALT_BYTES))
        keys, salts = keying[: 2 * KEY_BYTES], keying[2 * KEY_BYTES :]
        client = SrtpKeys(keys[:KEY_BYTES], salts[:SALT_BYTES])
        server = SrtpKeys(keys[KEY_BYTES:], salts[SALT_BYTES:])
        self.profile = profile
        return (client, server) if self._is_client else (server, client)

    def _talk(self, sending: SrtpKeys, receiving: SrtpKeys) -> None:
        started = time.monotonic()
        tone = _speak()
        at_s, packet = next(tone)
        while self._is_open:
            while time.monotonic() - started >= at_s:
                self._send(sending.protect(packet))
                at_s, packet = next(tone)
            arrived = self._receive()
            # With one port for both, what is of RTCP is told by its type (RFC 5761).
            if arrived and 128 <= arrived[0] < 192 and not 192 <= arrived[1] < 224:
                payload = receiving.unprotect(arrived)[RTP_HEADER_BYTES:]
                self.heard += 1
                self.loud += arrived[1] & 0x7F == PCMA_PAYLOAD_TYPE and is_loud(payload)

    def _send(self, packet: bytes) -> None:
        self._socket.sendto(packet, self._remote.address)

    def _receive(self) -> bytes:
        """A packet that is not ICE's, which is dealt with; nothing where none came."""
        try:
            packet, sender = self._socket.recvfrom(2048)
        except TimeoutError:
            return b""
        if packet[0] >= 4:
            return packet
        kind, transaction = struct.unpack("!H", packet[:2])[0], packet[8:20]
        if kind == STUN_REQUEST and _is_signed(packet, self.password):
            number = int(ipaddress.IPv4Address(sender[0])) ^ STUN_COOKIE
            address = struct.pack("!BBHI", 0, 1, sender[1] ^ (STUN_COOKIE >> 16), number)
            self._send(_make_stun(STUN_ANSWER, transaction, ((XOR_ADDRESS, address),), self.password))
        elif kind == STUN_ANSWER and _is_signed(packet, self._remote.password):
            self._is_checked = True
        return b""

    def _make_check(self) -> bytes:
        role = CONTROLLING if self._is_offerer else CONTROLLED
        attributes = (
            (USERNAME, f"{self._remote.ufrag}:{self.ufrag}".encode()),
            (PRIORITY, struct.pack("!I", 1862270975)),
            (role, secrets.token_bytes(8)),
            *(((USE_CANDIDATE, b""),) if self._is_offerer else ()),
        )
        return _make_stun(STUN_REQUEST, secrets.token_bytes(12), attributes, self._remote.password)


def _speak() -> Iterator[tuple[float, bytes]]:
    """(seconds from the start, packet), for ever."""
    for second in count():
        for at_ms, packet in make_tone_packets(1.0, first_sequence=50 * second):
            yield second + at_ms / 1000, packet


def _make_stun(kind: int, transaction: bytes, attributes: tuple[tuple[int, bytes], ...], password: str) -> bytes:
    """A message of RFC 8489 with its two checksums."""
    body = b"".join(_attribute(name, value) for name, value in attributes)
    signed = hmac.digest(password.encode(), _stun_head(kind, transaction, len(body) + 24) + body, hashlib.sha1)
    body += _attribute(INTEGRITY, signed)
    head = _stun_head(kind, transaction, len(body) + 8)
    return head + body + _attribute(FINGERPRINT, struct.pack("!I", binascii.crc32(head + body) ^ FINGERPRINT_MASK))


def _stun_head(kind: int, transaction: bytes, length: int) -> bytes:
    return struct.pack("!HHI", kind, length, STUN_COOKIE) + transaction


def _attribute(name: int, value: bytes) -> bytes:
    return struct.pack("!HH", name, len(value)) + value + bytes(-len(value) % 4)


def _is_signed(packet: bytes, password: str) -> bool:
    """Whether a message has been signed with the password."""
    at = 20
    while at + 4 <= len(packet):
        name, length = struct.unpack("!HH", packet[at : at + 4])
        if name == INTEGRITY:
            head = _stun_head(struct.unpack("!H", packet[:2])[0], packet[8:20], at + 4)
            expected = hmac.digest(password.encode(), head + packet[20:at], hashlib.sha1)
            return hmac.compare_digest(packet[at + 4 : at + 24], expected)
        at += 4 + length + -length % 4
    return False
