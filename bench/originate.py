"""100 calls a second placed over HTTP, each followed to its CDR: a whole Tandem beside a real Asterisk, with SIPp as the carrier's far end.

The load generator is a client as any other: a token, kept connections, `POST /api/v1/calls` at fixed times whatever the answers take, and one stream of
server-sent events that tells each call's end and its CDR. In the end each CDR is read by the id that the POST answered.
"""

import json
import re
import selectors
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.http_get import is_whole
from bench.sip_calls import QUIET_LOG, read_cpu_s
from bench.whole_tandem import START_S
from lab.pbx import LabPbx
from lab.ports import find_free_port
from lab.sipp import AwaitBye, run_phone
from tandem.asterisk.install import find_asterisk

RATE = 100
CALLS = 1_500
"""15 s of them."""
CONNECTIONS = 20
FAR_HOST, FAR_PORT = "127.0.0.4", 5070
TALK_S = 0.5
FOLLOW_S = 15.0
"""So long after the last call was placed, the last CDR must be there."""
AREA = "+49302"
DOCUMENT = f"""
general: {{country: DE, outbound_trunk: carrier, allowed_contexts: [bench]}}
trunks: [{{name: carrier, hosts: ["{FAR_HOST}:{FAR_PORT}"], match: [{FAR_HOST}]}}]
"""
DIALPLAN = f"""
[bench]
exten => talk,1,Wait({TALK_S})
 same => n,Hangup()
"""


@dataclass(frozen=True, slots=True)
class OriginateRow:
    """What became of the calls. placed: answered with 202; followed: with one CDR that says answered. Times of the 202 in ms, of the CDR in s.

    cdr_s: from placing a call to the news of its CDR, with ringing and TALK_S in it. CPU per call in ms.
    """

    calls: int
    placed: int
    followed: int
    rate: float
    post_p50_ms: float
    post_p99_ms: float
    cdr_p50_s: float
    cdr_max_s: float
    tandem_ms: float
    asterisk_ms: float

    @property
    def lost(self) -> int:
        """Calls that were not placed, or have no CDR of their own."""
        return self.calls - self.followed


@dataclass(slots=True)
class _Pace:
    """The client: its connections, what was asked on them and when, and what came back."""

    pbx: LabPbx
    port: int
    token: str
    placed: dict[str, float] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    recorded: dict[str, float] = field(default_factory=dict)
    posts_s: list[float] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _idle: deque[Any] = field(default_factory=deque)
    _asked_at: dict[Any, float] = field(default_factory=dict)
    _connections: list[Any] = field(default_factory=list)

    def open(self, connections: int) -> None:
        """Connects: some for calls, one for events, which is heard before the first call."""
        for number in range(connections + 1):
            client = self.pbx.asterisk.connect("127.0.0.1", self.port)
            self._connections.append(client)
            self._selector.register(client, selectors.EVENT_READ, bytearray())
            if number:
                self._idle.append(client)
            else:
                client.sendall(self._head("GET", "/api/v1/events?kinds=call,cdr") + b"\r\n")
                while b"retry: " not in self._selector.get_key(client).data:
                    self._selector.get_key(client).data.extend(client.recv(4096))

    def close(self) -> None:
        """Ends all connections."""
        for client in self._connections:
            client.close()
        self._selector.close()

    def place(self, calls: int, rate: float) -> None:
        """Asks for so many calls, each at its time; listens meanwhile."""
        began_at = time.monotonic()
        for number in range(calls):
            due_at = began_at + number / rate
            while not self._idle or time.monotonic() < due_at:
                self.listen(max(0.0, due_at - time.monotonic()) if self._idle else START_S)
            client = self._idle.popleft()
            wanted = {
                "origin": {"external": f"{AREA}{number:07}"},
                "destination": {"dialplan": "bench,talk"},
                "account": f"bench-{number}",
            }
            body = json.dumps(wanted).encode()
            more = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            self._asked_at[client] = time.monotonic()
            self.sent_at.append(self._asked_at[client])
            client.sendall(self._head("POST", "/api/v1/calls") + more + body)

    def listen(self, seconds: float) -> None:
        """Takes what comes, for so long at most; returns after the first of it."""
        for key, _ in self._selector.select(seconds):
            client: Any = key.fileobj
            if not (data := client.recv(1 << 18)):
                raise RuntimeError("Tandem closed a connection")
            key.data.extend(data)
            if client is self._connections[0]:
                self._take_events(key.data)
            elif is_whole(bytes(key.data)):
                self._take_answer(client, bytes(key.data))
                key.data.clear()

    def _take_answer(self, client: Any, answer: bytes) -> None:
        asked_at = self._asked_at.pop(client)
        self.posts_s.append(time.monotonic() - asked_at)
        self._idle.append(client)
        if answer.startswith(b"HTTP/1.1 202 "):
            call = json.loads(answer.partition(b"\r\n\r\n")[2])
            self.placed[call["call_id"]] = asked_at
        else:
            self.refused.append(answer)

    def _take_events(self, data: bytearray) -> None:
        """Whole events; chunk sizes between them are passed over."""
        whole, gap, rest = bytes(data).rpartition(b"\n\n")
        if not gap:
            return
        data[:] = rest
        now = time.monotonic()
        for kind, text in re.findall(rb"\nevent: (\w+)\ndata: (.+)\n", whole + b"\n"):
            told = json.loads(text)
            if kind == b"cdr":
                self.recorded.setdefault(told["call_id"], now)
            elif told["kind"] == "ended":
                self.ended.add(told["call"]["call_id"])

    def _head(self, method: str, path: str) -> bytes:
        return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n".encode()

    def get(self, path: str) -> tuple[int, Any]:
        """(status, parsed body) of one GET."""
        client = self._idle[0]
        client.sendall(self._head("GET", path) + b"\r\n")
        answer = b""
        while not is_whole(answer):
            answer += client.recv(65536)
        return int(answer.split(b" ", 2)[1]), json.loads(answer.partition(b"\r\n\r\n")[2])


def run(
    rate: float = RATE, calls: int = CALLS, connections: int = CONNECTIONS, say: Callable[[str], None] = print
) -> OriginateRow:
    """One run. AsteriskUnavailable where none can run."""
    port = find_free_port()
    settings = {"http.port": str(port)}
    with LabPbx(find_asterisk(say), DOCUMENT, settings=settings, admin_dialplan=DIALPLAN) as pbx:
        asterisk = pbx.asterisk
        asterisk.write_config("logger.conf", QUIET_LOG)
        asterisk.cli("logger reload")
        with run_phone(asterisk, ring_s=0.05, steps=[AwaitBye(60)], host=FAR_HOST, port=FAR_PORT):
            pbx.serve()
            pace = _Pace(pbx, port, pbx.token)
            try:
                pace.open(connections)
                return _measure(pbx, pace, rate, calls)
            finally:
                pace.close()


def _measure(pbx: LabPbx, pace: _Pace, rate: float, calls: int) -> OriginateRow:
    assert pbx.process is not None
    pids = pbx.process.pid, pbx.asterisk.process.pid
    before_s = [read_cpu_s(pid) for pid in pids]
    pace.place(calls, rate)
    deadline = time.monotonic() + FOLLOW_S
    while not (len(pace.posts_s) == calls and pace.placed.keys() <= pace.recorded.keys() & pace.ended):
        if time.monotonic() > deadline:
            break
        pace.listen(0.1)
    tandem_s, asterisk_s = (read_cpu_s(pid) - was for pid, was in zip(pids, before_s, strict=True))
    for answer in pace.refused[:3]:
        print(answer.decode(errors="replace"), file=sys.stderr)
    followed = sum(_is_followed(pace, call_id) for call_id in pace.placed)
    posts_ms = sorted(took_s * 1000 for took_s in pace.posts_s)
    cdrs_s = [pace.recorded[call_id] - at for call_id, at in pace.placed.items() if call_id in pace.recorded] or [0.0]
    return OriginateRow(
        calls=calls,
        placed=len(pace.placed),
        followed=followed,
        rate=(calls - 1) / (pace.sent_at[-1] - pace.sent_at[0]),
        post_p50_ms=statistics.median(posts_ms),
        post_p99_ms=posts_ms[len(posts_ms) * 99 // 100],
        cdr_p50_s=statistics.median(cdrs_s),
        cdr_max_s=max(cdrs_s),
        tandem_ms=tandem_s / calls * 1000,
        asterisk_ms=asterisk_s / calls * 1000,
    )


def _is_followed(pace: _Pace, call_id: str) -> bool:
    """Whether its end and its CDR were told, and the CDR is there under its id, as a call that was answered."""
    if call_id not in pace.ended or call_id not in pace.recorded:
        return False
    status, cdr = pace.get(f"/api/v1/cdrs/{call_id}")
    return status == 200 and cdr["call_id"] == call_id and cdr["is_placed"] and cdr["disposition"] == "answered"


if __name__ == "__main__":
    print(run())
