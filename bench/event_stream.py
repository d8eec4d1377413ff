"""Asterisk tells 10,000 events a second while a campaign runs, and 100 clients of server-sent events are told a tenth of them: how late the reactor is, and whether each client gets each event.

The whole of Tandem, logged in to an AMI that is played by `tandem.ami.testing` in a process of its own; the clients are in a third one, and log in with a
token over TCP. Nine of ten events are of calls that are none of Tandem's, but of kinds that it reads. The campaign's calls are answered and ended at once.
`python -m bench.event_stream PORT SECRET RATE SECONDS` plays that AMI: it begins at SIGUSR1, and says how many events it sent.
"""

import json
import math
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass

from bench.sip_calls import read_cpu_s
from bench.whole_tandem import ROOT, START_S, WholeTandem
from lab.ports import find_free_port

CLIENTS, RATE, SECONDS = 100, 10_000, 10
TOLD_ONE_IN = 10
CALLS_AT_ONCE = 50
BURSTS_PER_S = 100
MARK = b"\ndata: "
NUMBERS_PER_S = 1_000
"""More than the campaign can dial meanwhile."""
SETTLE_S = 3.0
"""For the last events to reach the last client."""
EVENT = {"Queue": "sales", "Interface": "PJSIP/1001", "Status": "1", "Penalty": "0", "CallsTaken": "12", "LastCall": "1763600000",
         "Paused": "0", "MemberName": "Shop floor"}  # fmt: skip
STRANGERS = ("Newchannel", "DialState", "DialEnd", "HangupRequest", "Hangup")
DOCUMENT = """
general: {country: DE}
trunks: [{name: carrier, hosts: ["192.0.2.1"]}]
endpoints: [{extension: "1001", secret: "swordfish-1001"}]
"""
CAMPAIGN = {
    "name": "meanwhile", "trunk": "carrier", "destination": {"endpoint": "1001"}, "concurrent_calls": CALLS_AT_ONCE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StreamRow:
    """Events that Asterisk told, those of them for clients, and those that all clients together got; the reactor's lag meanwhile; CPU of Tandem, of one core.

    attempts: calls that the campaign placed meanwhile.
    """

    sent: int
    told: int
    received: int
    clients: int
    took_s: float
    lag_p99_ms: float
    lag_max_ms: float
    cpu_share: float
    attempts: int

    @property
    def events_per_s(self) -> float:
        """The rate that was held."""
        return self.sent / self.took_s

    @property
    def lost(self) -> int:
        """What a client should have got and did not, over all of them."""
        return self.told * self.clients - self.received


def play_ami(port: int, secret: str, rate: int, seconds: float) -> None:
    """Lets Tandem in; at SIGUSR1 tells it events for so long, then prints how many, and how long it took."""
    from twisted.internet import reactor
    from twisted.internet.task import LoopingCall

    from bench.ami_events import make_event
    from bench.dialer import answer_originates
    from tandem.ami.testing import FakeAsterisk, FakeSession, encode_message

    asterisk = FakeAsterisk(username="", secret=secret)
    answer_originates(asterisk)
    told = encode_message([("Event", "QueueMemberStatus"), *EVENT.items()])
    turn = [told, *(make_event(STRANGERS[number % len(STRANGERS)], number) for number in range(1, TOLD_ONE_IN))]
    heard: dict[FakeSession, bytes] = {}
    sent, began_at = 0, 0.0

    def tell() -> None:
        nonlocal sent
        elapsed_s = min(time.monotonic() - began_at, seconds)
        turns = max(0, math.ceil((elapsed_s * rate - sent) / TOLD_ONE_IN))
        sent += turns * TOLD_ONE_IN
        for session, events in heard.items():
            session.write(events * turns)
        if elapsed_s >= seconds:
            loop.stop()
            print(sent, time.monotonic() - began_at, flush=True)

    loop = LoopingCall(tell)

    def begin() -> None:
        nonlocal began_at
        began_at = time.monotonic()
        # What a session's filters let through is the same each time.
        heard.update(
            (session, b"".join(event for event in turn if session.wants(event))) for session in asterisk.sessions
        )
        loop.start(1 / BURSTS_PER_S)

    signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(begin))
    reactor.listenTCP(port, asterisk, interface="127.0.0.1")
    print("listens", flush=True)
    reactor.run()


@contextmanager
def playing_ami(port: int, secret: str, rate: int, seconds: float):
    """That AMI in a process of its own, once it listens."""
    argv = [sys.executable, "-m", "bench.event_stream", str(port), secret, str(rate), str(seconds)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError("the played AMI does not listen")
            yield process
        finally:
            process.terminate()


class Listeners:
    """The clients: each has its connection, and counts what it gets."""

    def __init__(self, tandem: WholeTandem, clients: int) -> None:
        self.received = 0
        self._selector = selectors.DefaultSelector()
        for _ in range(clients):
            client = socket.create_connection(("127.0.0.1", tandem.port), timeout=START_S)
            client.sendall(tandem.request("/api/v1/events?kinds=queue"))
            # A mark may be cut in two: the end of what came waits for more.
            self._selector.register(client, selectors.EVENT_READ, bytearray())

    def __enter__(self) -> "Listeners":
        return self

    def __exit__(self, *exc_info: object) -> None:
        for key in tuple(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()

    def wait_until_heard(self) -> None:
        """Until each has the greeting of its stream."""
        deadline = time.monotonic() + START_S
        while not all(b"retry: " in key.data for key in self._selector.get_map().values()):
            if time.monotonic() > deadline:
                raise RuntimeError("not every client is let in")
            self.listen(0.05, counts=False)

    def listen(self, seconds: float, *, counts: bool = True) -> None:
        """Takes what comes for so long."""
        ends_at = time.monotonic() + seconds
        while (left_s := ends_at - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                data = key.fileobj.recv(1 << 18)
                if not data:
                    raise RuntimeError("a stream was ended")
                key.data.extend(data)
                if counts:
                    self.received += key.data.count(MARK)
                    del key.data[: 1 - len(MARK)]


def run(clients: int = CLIENTS, rate: int = RATE, seconds: float = SECONDS) -> StreamRow:
    """One run."""
    ami_port = find_free_port()
    with (
        WholeTandem({"ami.port": ami_port, "dialer.max_cps": 2000}, DOCUMENT) as tandem,
        playing_ami(ami_port, tandem.secret, rate, seconds) as asterisk,
        Listeners(tandem, clients) as listeners,
    ):
        listeners.wait_until_heard()
        tandem.wait_for_ami()
        campaign = _start_campaign(tandem, round(seconds * NUMBERS_PER_S))
        tandem.begin_lag()
        before_s = read_cpu_s(tandem.process.pid)
        asterisk.send_signal(signal.SIGUSR1)
        listeners.listen(seconds)
        lag = tandem.end_lag()
        cpu_s = read_cpu_s(tandem.process.pid) - before_s
        assert asterisk.stdout is not None
        sent, took_s = asterisk.stdout.readline().split()
        told = int(sent) // TOLD_ONE_IN
        attempts = json.loads(tandem.get(campaign))["counts"]["total_calls"]
        deadline = time.monotonic() + SETTLE_S
        while listeners.received < told * clients and time.monotonic() < deadline:
            listeners.listen(0.1)
    return StreamRow(
        sent=int(sent),
        told=told,
        received=listeners.received,
        clients=clients,
        took_s=float(took_s),
        lag_p99_ms=lag["lag_p99_ms"],
        lag_max_ms=lag["lag_max_ms"],
        cpu_share=cpu_s / seconds,
        attempts=attempts,
    )


def _start_campaign(tandem: WholeTandem, numbers: int) -> str:
    """Its path; it dials from now on."""
    path = f"/api/v1/campaigns/{tandem.post('/api/v1/campaigns', CAMPAIGN)['campaign_id']}"
    added = [{"phone_number": f"030{number:07}"} for number in range(numbers)]
    tandem.post(f"{path}/numbers/bulk", {"numbers": added})
    tandem.post(f"{path}/start")
    return path


if __name__ == "__main__":
    if sys.argv[1:]:
        play_ami(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    else:
        print(run())
