"""AMI events per second in one core: ours, panoramisk's, and the floor (cutting bytes), on one stream in one run.

The stream is 22-line events in chunks of 64 KiB, as a busy Asterisk sends them. "wanted" calls a reader that takes three headers of each
event; "nobody" has no reader for them, as for most events of a busy system.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tandem.ami.connection import AmiConnection, AmiLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tandem.ami.wire import Message

EVENTS = 40_000
CHUNK = 64 * 1024
RUNS = 3
HEADERS = ("Uniqueid", "Channel", "Cause")


def make_event(name: str, number: int) -> bytes:
    """An event of 22 lines, as a Hangup has them, of a channel of nobody's."""
    return (
        f"Event: {name}\r\nPrivilege: call,all\r\nChannel: PJSIP/trunk-{number:08x}\r\nChannelState: 6\r\nChannelStateDesc: Up\r\n"
        f"CallerIDNum: +4930{number:07}\r\nCallerIDName: Ann Lee\r\nConnectedLineNum: 1001\r\nConnectedLineName: Bob\r\nLanguage: en\r\n"
        f"AccountCode: shop\r\nContext: tandem-answered\r\nExten: s\r\nPriority: 7\r\nUniqueid: {number:032x}\r\nLinkedid: {number:032x}\r\n"
        f"Cause: 16\r\nCause-txt: Normal Clearing\r\nTechCause: 200\r\nChanVariable: A=1\r\nChanVariable: B=2\r\nSystemName: pbx1\r\n\r\n"
    ).encode()


def make_stream(events: int = EVENTS) -> list[bytes]:
    """Chunks of `events` Hangup events."""
    stream = b"".join(make_event("Hangup", number) for number in range(events))
    return [stream[start : start + CHUNK] for start in range(0, len(stream), CHUNK)]


def best_rate(make_feed: Callable[[], Callable[[bytes], object]], chunks: list[bytes], events: int) -> float:
    """Events per second of the best of some runs, each with a receiver of its own."""
    best = 0.0
    for _ in range(RUNS):
        feed = make_feed()
        start = time.perf_counter()
        for chunk in chunks:
            feed(chunk)
        best = max(best, events / (time.perf_counter() - start))
    return best


def make_floor() -> Callable[[bytes], object]:
    """Messages cut apart, nothing else."""
    return lambda chunk: chunk.split(b"\r\n\r\n")


def make_naive() -> Callable[[bytes], object]:
    """A plain pure-Python reading of every line into a dict."""

    def feed(chunk: bytes) -> None:
        for frame in chunk.decode().split("\r\n\r\n"):
            dict(line.partition(": ")[::2] for line in frame.split("\r\n"))

    return feed


def make_tandem(seen: list[int], event: bytes) -> Callable[[bytes], object]:
    """Our connection, with a reader for `event`."""

    def read(message: Message) -> None:
        for header in HEADERS:
            message.get(header)
        seen[0] += 1

    connection = AmiConnection(Clock(), {event: (read,)}, AmiLimits())
    connection.makeConnection(StringTransport())
    connection.dataReceived(b"Asterisk Call Manager/11.0.0\r\n")
    return connection.dataReceived


def make_panoramisk(seen: list[int], pattern: str) -> Callable[[bytes], object]:
    """Panoramisk's protocol and manager, with a callback for `pattern`."""

    def read(_: Manager, message: object) -> None:
        for header in HEADERS:
            message[header]
        seen[0] += 1

    manager = Manager(loop=None)
    manager.register_event(pattern, read)
    protocol = AMIProtocol()
    protocol.connection_made(None)
    protocol.factory = manager
    protocol.config = manager.config
    protocol.encoding = "utf8"
    protocol.data_received(b"Asterisk Call Manager/11.0.0\r\n")
    return protocol.data_received


def run(events: int = EVENTS) -> list[tuple[str, float]]:
    """Rows (name, events per second). Raises when a reader did not get every event, or got one it did not ask for."""
    chunks = make_stream(events)
    rows = [
        ("floor: bytes.split", best_rate(make_floor, chunks, events)),
        ("naive: every line into a dict", best_rate(make_naive, chunks, events)),
    ]
    for name, make, wanted, unwanted in (
        ("panoramisk", make_panoramisk, "Hangup", "Newchannel"),
        ("tandem", make_tandem, b"Hangup", b"Newchannel"),
    ):
        seen = [0]
        rows.append((f"{name}: nobody wants it", best_rate(lambda: make(seen, unwanted), chunks, events)))  # noqa: B023 - called here
        assert seen == [0], seen
        rows.append((f"{name}: wanted, 3 headers read", best_rate(lambda: make(seen, wanted), chunks, events)))  # noqa: B023 - called here
        assert seen == [events * RUNS], seen
    return rows


if __name__ == "__main__":
    for title, rate in run():
        print(f"{title:<34} {rate:>12,.0f} events/s")
