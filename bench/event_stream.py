"""100 clients of server-sent events at 1,000 events a second: how late the reactor is; `python -m bench.event_stream`."""

import multiprocessing
import selectors
import socket
import time
from types import SimpleNamespace
from typing import Any, cast

from tandem.reactor import install_reactor

CLIENTS, RATE, SECONDS, BUDGET_S = 100, 1000, 10, 0.050
EVENT = {"event": "QueueMemberStatus", "Queue": "sales", "Interface": "PJSIP/1001", "Status": "1", "Penalty": "0",
         "CallsTaken": "12", "LastCall": "1763600000", "Paused": "0", "MemberName": "Shop floor"}  # fmt: skip


def listen(port, ready, results):
    selector = selectors.DefaultSelector()
    for _ in range(CLIENTS):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        selector.register(client, selectors.EVENT_READ)
    ready.set()
    count, ends_at = 0, time.monotonic() + SECONDS + 3
    while time.monotonic() < ends_at:
        for key, _ in selector.select(0.2):
            count += key.fileobj.recv(1 << 20).count(b"\ndata: ")
    results.put(count)


def main():
    install_reactor()
    from twisted.internet import reactor
    from twisted.internet.task import LoopingCall

    from api.auth import Authority
    from api.events import EventHub
    from api.metrics import Metrics
    from api.site import Api
    from api.v1.table import ROUTES
    from tandem.lag import LagGauge

    hub = EventHub(reactor)
    # Nobody needs a token here, and each listener is asked about all the same.
    authority = Authority(cast(Any, None))
    services = SimpleNamespace(events=hub, metrics=Metrics(), store=None, authority=authority, explain=lambda _: None)
    port = reactor.listenTCP(0, Api(services, ROUTES).make_site(reactor, trusted=True), interface="127.0.0.1")
    ready, results = multiprocessing.Event(), multiprocessing.Queue()
    clients = multiprocessing.get_context("fork").Process(
        target=listen, args=(port.getHost().port, ready, results), daemon=True
    )
    clients.start()
    lag = LagGauge(reactor)
    sent = [0]

    def publish():
        for _ in range(RATE // 100):
            sent[0] += 1
            hub.publish("queue", lambda: EVENT)

    loop = LoopingCall(publish)

    def begin():
        if hub.clients < CLIENTS:
            reactor.callLater(0.05, begin)
            return
        lag.startService()
        loop.start(0.01)
        reactor.callLater(SECONDS, end)

    def end():
        loop.stop()
        print(
            f"sent {sent[0]} events to {hub.clients} clients; lag p99 {lag.read_p99() * 1000:.1f} ms, max {lag.read_max() * 1000:.1f} ms"
        )
        lag.stopService()
        reactor.callLater(1.0, reactor.stop)

    reactor.callWhenRunning(begin)
    reactor.run()
    received = results.get(timeout=20)
    print(f"received {received} of {sent[0] * CLIENTS}")
    assert received == sent[0] * CLIENTS
    assert lag.read_p99() < BUDGET_S


if __name__ == "__main__":
    main()
