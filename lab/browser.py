"""A browser as a phone: SIP over a secure WebSocket with its certificate verified, media by DTLS-SRTP; never falls back to anything less.

It is in this process and its sockets are in the world of a private Asterisk.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Self

from lab.secure_media import Remote, SecureMedia
from lab.web_socket import WebSocket
from tandem.asterisk.instance import AsteriskInstance
from tandem.asterisk.namespaces import CLONE_NEWNET

DEADLINE_S: Final = 30.0


def open_media_address(instance: AsteriskInstance) -> None:
    """Gives its world an address that is not the loopback's: Asterisk tells browsers of no other one."""
    for command in (
        "ip link add media0 type veth peer name media1",
        "ip address add 192.0.2.1/32 dev media0",
        "ip link set media0 up",
        "ip link set media1 up",
    ):
        instance.run(command.split())


class BrowserFailed(RuntimeError):
    """What should have come did not come in time, or was refused."""


class Message:
    """A SIP message: its first line, its headers (names in small letters; the last of each) and its body."""

    def __init__(self, text: str) -> None:
        head, _, self.body = text.partition("\r\n\r\n")
        self.first, *lines = head.split("\r\n")
        self.lines = [(name.strip().lower(), value.strip()) for name, _, value in (it.partition(":") for it in lines)]
        self.headers = dict(self.lines)
        words = self.first.split()
        self.status = int(words[1]) if words[0] == "SIP/2.0" else 0
        self.method = words[0] if not self.status else self.headers["cseq"].split()[1]

    def answers(self, call_id: str, sequence: int) -> bool:
        """Whether it is the final answer to that request."""
        return self.status >= 200 and (self.headers["call-id"], self.headers["cseq"].split()[0]) == (
            call_id,
            str(sequence),
        )


class Browser:
    """One that has opened wss://NAME:PORT/ws. Use as a context manager.

    name: of the certificate, which `trust` must have; host, port: where Asterisk listens; our_host: where we are.
    """

    def __init__(
        self,
        instance: AsteriskInstance,
        extension: str,
        secret: str,
        *,
        name: str,
        port: int,
        trust: ssl.SSLContext,
        host: str = "127.0.0.1",
        our_host: str = "127.0.0.6",
    ) -> None:
        self._instance, self.extension, self._secret, self._our_host = instance, extension, secret, our_host
        self._place = f"{secrets.token_hex(6)}.invalid"
        self._sequence = 0
        link = instance.world.enter(
            lambda: socket.create_connection((host, port), timeout=DEADLINE_S, source_address=(our_host, 0)),
            CLONE_NEWNET,
        )
        self._cleanup = ExitStack()
        self._socket = WebSocket(link, f"wss://{name}:{port}/ws", name, trust, "sip")
        self._cleanup.callback(self._socket.close)
        self.subprotocol = self._socket.subprotocol

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._cleanup.close()

    def register(self) -> int:
        """The status of the last answer: to the password where one was asked for."""
        return self._ask("REGISTER", "sip:pbx.invalid", f"<sip:{self.extension}@pbx.invalid>").status

    def call(self, number: str) -> BrowserCall:
        """Dials, and is answered. BrowserFailed where it is refused."""
        media = self._open_media(is_offerer=True)
        to = f"<sip:{number}@pbx.invalid>"
        answer = self._ask("INVITE", f"sip:{number}@pbx.invalid", to, media.describe())
        if answer.status != 200:
            raise BrowserFailed(answer.first)
        media.begin(read_remote(answer.body))
        headers = answer.headers
        call = BrowserCall(self, media, headers["call-id"], headers["from"], headers["to"], _target(answer))
        self._send_request("ACK", call.target, headers["from"], headers["to"], headers["call-id"], self._sequence)
        return call

    def take_call(self) -> BrowserCall:
        """Waits until it is called, and answers."""
        invite = self._await(lambda message: message.method == "INVITE" and not message.status)
        media = self._open_media(is_offerer=False)
        tag = f"{invite.headers['to']};tag={secrets.token_hex(4)}"
        media.begin(read_remote(invite.body))
        self._answer(invite, "200 OK", media.describe(), to=tag)
        self._await(lambda message: message.method == "ACK")
        return BrowserCall(self, media, invite.headers["call-id"], tag, invite.headers["from"], _target(invite))

    def await_bye(self, call: BrowserCall) -> None:
        """Until the other side has hung up."""
        bye = self._await(lambda it: it.method == "BYE" and not it.status and it.headers["call-id"] == call.call_id)
        self._answer(bye, "200 OK")

    def request_bye(self, call: BrowserCall) -> None:
        """Hangs up."""
        self._sequence += 1
        self._send_request("BYE", call.target, call.ours, call.theirs, call.call_id, self._sequence)
        self._await(lambda message: message.answers(call.call_id, self._sequence))

    def _open_media(self, *, is_offerer: bool) -> SecureMedia:
        port = self._instance.world.udp(self._our_host)
        return self._cleanup.enter_context(SecureMedia(port, is_offerer=is_offerer))

    def _ask(self, method: str, uri: str, to: str, body: str = "") -> Message:
        """A request outside of a call and, where a password is wanted, once more with it."""
        call_id, ours = secrets.token_hex(12), f"<sip:{self.extension}@pbx.invalid>;tag={secrets.token_hex(4)}"
        authorization = ""
        while True:
            self._sequence += 1
            sequence = self._sequence
            self._send_request(method, uri, ours, to, call_id, sequence, body, authorization)
            answer = self._await(lambda message, sequence=sequence: message.answers(call_id, sequence))  # type: ignore[misc]  # mypy infers no lambda with a default
            if answer.status >= 300 and method == "INVITE":
                self._send_request("ACK", uri, ours, answer.headers["to"], call_id, sequence)
            if answer.status != 401 or authorization:
                return answer
            authorization = self._make_authorization(method, uri, answer.headers["www-authenticate"])

    def _make_authorization(self, method: str, uri: str, challenge: str) -> str:
        """The header of RFC 7616, with MD5, which every SIP server knows."""
        asked = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
        nonce, ours = asked["nonce"], secrets.token_hex(8)

        def digest(*words: str) -> str:
            return hashlib.md5(":".join(words).encode(), usedforsecurity=False).hexdigest()

        response = digest(
            digest(self.extension, asked["realm"], self._secret), nonce, "00000001", ours, "auth", digest(method, uri)
        )
        return (
            f'Authorization: Digest username="{self.extension}", realm="{asked["realm"]}", nonce="{nonce}", uri="{uri}",'
            f' response="{response}", algorithm=MD5, cnonce="{ours}", qop=auth, nc=00000001'
            + (f', opaque="{asked["opaque"]}"' if "opaque" in asked else "")
            + "\r\n"
        )

    def _send_request(
        self, method: str, uri: str, ours: str, to: str, call_id: str, sequence: int, body: str = "", more: str = ""
    ) -> None:
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        self._socket.send(
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/WSS {self._place};branch={branch}\r\nMax-Forwards: 70\r\n"
            f"From: {ours}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {sequence} {method}\r\n"
            f"Contact: {self._contact}\r\nExpires: 300\r\n{more}{_with_length(body)}"
        )

    @property
    def _contact(self) -> str:
        return f"<sip:{self.extension}@{self._place};transport=ws>"

    def _answer(self, request: Message, status: str, body: str = "", to: str = "") -> None:
        copied = "".join(
            f"{name}: {to if to and name == 'to' else value}\r\n"
            for name, value in request.lines
            if name in ("via", "from", "to", "call-id", "cseq", "record-route")
        )
        self._socket.send(f"SIP/2.0 {status}\r\n{copied}Contact: {self._contact}\r\n{_with_length(body)}")

    def _await(self, is_it: Callable[[Message], bool]) -> Message:
        """The first message that it is; meanwhile we say that we are there."""
        ends_at = time.monotonic() + DEADLINE_S
        while (left := ends_at - time.monotonic()) > 0:
            try:
                text = self._socket.receive(timeout_s=left)
            except TimeoutError:
                break
            if not text.strip():
                continue  # it keeps the connection alive (RFC 5626, 4.4.1)
            message = Message(text)
            if is_it(message):
                return message
            if message.method in ("OPTIONS", "NOTIFY", "UPDATE") and not message.status:
                self._answer(message, "200 OK")
        raise BrowserFailed(f"{self.extension}: what it waits for did not come in {DEADLINE_S:g} s")


class BrowserCall:
    """A call that is up. media: what was heard."""

    def __init__(self, browser: Browser, media: SecureMedia, call_id: str, ours: str, theirs: str, target: str) -> None:
        self._browser, self.media, self.call_id = browser, media, call_id
        self.ours, self.theirs, self.target = ours, theirs, target

    def await_loud(self, packets: int) -> None:
        """Until so many packets with somebody's voice have come and were decrypted. BrowserFailed."""
        ends_at = time.monotonic() + DEADLINE_S
        while self.media.loud < packets:
            if self.media.failure is not None or time.monotonic() > ends_at:
                raise BrowserFailed(
                    f"heard {self.media.loud} loud packets of {self.media.heard}"
                ) from self.media.failure
            time.sleep(0.02)

    def hang_up(self) -> None:
        """Ends it."""
        self._browser.request_bye(self)

    def await_bye(self) -> None:
        """Until the other side ends it."""
        self._browser.await_bye(self)


def read_remote(body: str) -> Remote:
    """The other side of a description. BrowserFailed where its media would not be encrypted."""
    found = dict(re.findall(r"^a=(ice-ufrag|ice-pwd|fingerprint|setup):(.*?)\r?$", body, re.MULTILINE))
    candidate = re.search(r"^a=candidate:\S+ 1 UDP \d+ (\S+) (\d+) typ host", body, re.MULTILINE | re.IGNORECASE)
    if candidate is None or "UDP/TLS/RTP/SAVPF" not in body or "a=rtcp-mux" not in body or len(found) != 4:
        raise BrowserFailed(f"this is no description of WebRTC:\n{body}")
    kind, _, fingerprint = found["fingerprint"].partition(" ")
    if kind.lower() != "sha-256":
        raise BrowserFailed(f"a fingerprint of {kind}")
    return Remote(
        ufrag=found["ice-ufrag"],
        password=found["ice-pwd"],
        fingerprint=fingerprint.replace(":", "").lower(),
        address=(candidate[1], int(candidate[2])),
        setup=found["setup"],
    )


def _target(message: Message) -> str:
    match = re.search(r"<([^>]+)>", message.headers["contact"])
    if match is None:
        raise BrowserFailed(f"no contact in {message.first}")
    return match[1]


def _with_length(body: str) -> str:
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return f"{kind}Content-Length: {len(body.encode())}\r\n\r\n{body}"
