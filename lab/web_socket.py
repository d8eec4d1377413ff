"""A WebSocket over TLS in one thread, blocking: text messages in order; never opens one whose certificate is not believed.

The protocol is that of `websockets`. Its own blocking client reads in a second thread, and Python's TLS loses what is sent while another
thread reads the tickets of TLS 1.3 (3 of 100 requests never arrived, with Python 3.11).
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque

from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri


class WebSocketFailed(RuntimeError):
    """It was not opened, or it was closed by the other side."""


class WebSocket:
    """An open one. link: connected, and closed by us; name: whose certificate it must be. WebSocketFailed, OSError."""

    def __init__(self, link: socket.socket, uri: str, name: str, trust: ssl.SSLContext, subprotocol: str) -> None:
        try:
            self._link = trust.wrap_socket(link, server_hostname=name)
        except BaseException:
            link.close()
            raise
        self._texts: deque[str] = deque()
        self._protocol = ClientProtocol(parse_uri(uri), subprotocols=[subprotocol])  # type: ignore[list-item]  # Subprotocol is a str by another name
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        # The answer, and what may have come with it.
        while self._protocol.handshake_exc is None and not self._read():
            pass
        self.subprotocol = self._protocol.subprotocol

    def close(self) -> None:
        """At once; the other side sees the connection end."""
        self._link.close()

    def send(self, text: str) -> None:
        """One message."""
        self._protocol.send_text(text.encode())
        self._flush()

    def receive(self, *, timeout_s: float) -> str:
        """The next message. TimeoutError."""
        ends_at = time.monotonic() + timeout_s
        while not self._texts:
            if (left := ends_at - time.monotonic()) <= 0:
                raise TimeoutError
            self._link.settimeout(left)
            self._read()
        return self._texts.popleft()

    def _read(self) -> bool:
        """Takes in what came; whether there was an event in it."""
        arrived = self._link.recv(65536)
        if arrived:
            self._protocol.receive_data(arrived)
        else:
            self._protocol.receive_eof()
        events = self._protocol.events_received()
        self._flush()
        if error := self._protocol.handshake_exc:
            self.close()
            raise WebSocketFailed(f"not opened: {error}") from error
        for event in events:
            if getattr(event, "opcode", None) is Opcode.TEXT:
                self._texts.append(event.data.decode())  # type: ignore[union-attr]  # of the events only frames are asked for their data
        if not arrived and not self._texts:
            raise WebSocketFailed("closed by the other side")
        return bool(events)

    def _flush(self) -> None:
        for packet in self._protocol.data_to_send():
            if packet:
                self._link.sendall(packet)
