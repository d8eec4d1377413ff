"""Server-sent events: live, filtered, in order, and a client that does not read costs nothing and is told what it missed."""

import json

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from api.events import FLUSH_EVERY_S, HEARTBEAT_S, MAX_BATCH, MAX_WAITING_BYTES, EventHub


class Listener:
    """A request whose client reads, or does not."""

    def __init__(self):
        self.written = []
        self.finished = Deferred()
        self.producer = None

    def write(self, chunk):
        self.written.append(chunk)

    def registerProducer(self, producer, streaming):
        assert streaming
        self.producer = producer

    def notifyFinish(self):
        return self.finished

    @property
    def events(self):
        found = []
        for block in b"".join(self.written).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] not in (":", ""))
            if "data" in fields:
                found.append((fields["event"], json.loads(fields["data"])))
        return found


def listen(hub, *kinds):
    listener = Listener()
    hub.attach(listener, frozenset(kinds))
    return listener


def test_each_is_encoded_once_and_sent_in_order_to_who_wants_it():
    clock, computed = Clock(), []
    hub = EventHub(clock)
    hub.publish("call", lambda: computed.append("nobody listens"))
    every, calls = listen(hub), listen(hub, "call")
    for number in range(3):
        for kind in ("call", "queue"):
            hub.publish(
                kind, lambda number=number: computed.append(number) or {"n": number, "text": "a\n\nevent: forged"}
            )
    clock.advance(FLUSH_EVERY_S)
    assert computed == [0, 0, 1, 1, 2, 2]
    assert [(kind, value["n"]) for kind, value in every.events] == [(k, n) for n in range(3) for k in ("call", "queue")]
    assert [kind for kind, _ in calls.events] == ["call"] * 3
    assert calls.events[0][1]["text"] == "a\n\nevent: forged"


def test_who_does_not_read_loses_the_oldest_and_is_told():
    clock = Clock()
    hub = EventHub(clock)
    slow, quick = listen(hub), listen(hub)
    slow.producer.pauseProducing()
    total = 0
    for _ in range(40):
        for _ in range(100):
            total += 1
            hub.publish("call", lambda: {"text": "x" * 100})
        clock.advance(FLUSH_EVERY_S)
    assert slow.events == []
    assert slow.producer._waiting_bytes <= MAX_WAITING_BYTES
    assert len(quick.events) == total
    slow.producer.resumeProducing()
    (kind, lost), *rest = slow.events
    assert (kind, lost["lost"] + len(rest)) == ("lost", total)


def test_a_flood_is_cut_and_counted():
    clock = Clock()
    hub = EventHub(clock)
    listener = listen(hub)
    for _ in range(MAX_BATCH + 10):
        hub.publish("call", dict)
    clock.advance(FLUSH_EVERY_S)
    assert len(listener.events) == MAX_BATCH
    assert hub.dropped == 10


def test_a_silent_stream_beats_and_a_gone_client_is_forgotten():
    clock = Clock()
    hub = EventHub(clock)
    listener = listen(hub)
    clock.advance(HEARTBEAT_S)
    assert b": still here" in listener.written[-1]
    listener.finished.callback(None)
    assert hub.clients == 0
    clock.advance(HEARTBEAT_S)
    assert clock.getDelayedCalls() == []


def test_over_http(client, server):
    import http.client
    import socket

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/api/v1/events?kinds=config", headers={"Authorization": f"Bearer {server.token}"})
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("content-type") == "text/event-stream"
    body = {"number": "+4930730", "destination": {"hangup": 16}}
    client.ask("POST", "/api/v1/dids", body, 201)
    lines = []
    while not any(line.startswith(b"data: ") for line in lines):
        lines.append(response.fp.readline())
    data = json.loads(next(line for line in lines if line.startswith(b"data: "))[6:])
    assert (data["action"], data["target"], data["who"]) == ("dids/create", "dids/+4930730", "token 1 (admin)")
    assert client.ask("GET", "/api/v1/monitoring/status")["event_clients"] == 1
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    client.ask("DELETE", "/api/v1/dids/+4930730", status=204)
    client.ask("GET", "/api/v1/events?kinds=NO!", status=422)
