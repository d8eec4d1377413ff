"""Server-sent events: live, filtered, in order, and a client that does not read costs nothing and is told what it missed."""

import http.client
import json
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock

from api.events import FLUSH_EVERY_S, HEARTBEAT_S, MAX_BATCH, MAX_CLIENTS, MAX_WAITING_BYTES, EventHub


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

    def unregisterProducer(self):
        self.producer = None

    @property
    def channel(self):
        return self

    def abort(self):
        self.finished.errback(ConnectionDone())

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
    listener.over = hub.attach(listener, frozenset(kinds))
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


def test_a_stream_ends_when_its_time_is_over_and_no_timer_stays():
    clock = Clock()
    hub = EventHub(clock)
    ends, gone = Listener(), Listener()
    over = hub.attach(ends, frozenset(), lambda: clock.seconds() < 3, 3)
    hub.attach(gone, frozenset(), ends_in_s=60)
    gone.finished.callback(None)
    clock.advance(3)
    assert over.called
    clock.advance(HEARTBEAT_S)
    assert clock.getDelayedCalls() == []


def test_nothing_is_sent_to_who_may_no_longer_listen():
    clock, may = Clock(), {"told": True, "silent": True, "stuck": True, "other": True}
    hub = EventHub(clock)
    listeners = {name: Listener() for name in may}
    for name, listener in listeners.items():
        listener.over = hub.attach(listener, frozenset(), lambda name=name: may[name])
    listeners["stuck"].producer.pauseProducing()
    hub.publish("call", lambda: {"n": 1})
    may["told"] = may["stuck"] = False
    clock.advance(FLUSH_EVERY_S)
    assert listeners["told"].over.called
    assert listeners["stuck"].over.called
    assert [listeners[name].events for name in may] == [[], [("call", {"n": 1})], [], [("call", {"n": 1})]]
    # Without any event it is noticed too.
    may["silent"] = False
    clock.advance(HEARTBEAT_S)
    assert listeners["silent"].over.called
    assert b"still here" not in listeners["silent"].written[-1]
    assert b"still here" in listeners["other"].written[-1]
    assert hub.clients == 1


class TestTheTokenEnds:
    """Over HTTP: the stream ends with the token that opened it, cleanly, and others go on."""

    PASSWORD = "correct horse battery"

    def listen(self, client):
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=40)
        connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {client.token}"})
        response = connection.getresponse()
        assert response.status == 200
        return response

    def log_in(self, client, name):
        body = {"name": name, "password": self.PASSWORD}
        made = client.ask("POST", "/api/v1/session", body, 201, token=None)
        return client.with_secret(made["secret"])

    def make_user(self, client, name):
        client.ask("POST", "/api/v1/users", {"name": name, "password": self.PASSWORD, "role": "user"}, 201)

    def test_because_it_is_deleted(self, client):
        victim = client.with_token("events/read")
        stream, other = self.listen(victim), self.listen(client)
        token_id = victim.token.split("_")[1]
        client.ask("DELETE", f"/api/v1/tokens/{token_id}", status=204)
        assert b"still here" not in stream.read()  # to its end
        while b"tokens/delete" not in other.fp.readline():
            assert not other.closed
        other.close()

    def test_because_it_expires(self, client):
        until = datetime.now(UTC) + timedelta(seconds=2)
        body = {"name": "short", "permissions": ["events/read"], "expires_at": until.isoformat()}
        made = client.ask("POST", "/api/v1/tokens", body, 201)
        short = client.with_secret(made["secret"])
        stream = self.listen(short)
        stream.read()
        assert datetime.now(UTC) >= until
        short.ask("GET", "/api/v1/events", status=401)

    def test_because_the_user_logs_out_is_changed_or_deleted(self, client):
        self.make_user(client, "listener")
        ends = (
            lambda berta: berta.ask("DELETE", "/api/v1/session", status=204),
            lambda _: client.ask("PATCH", "/api/v1/users/listener", {"role": "user"}),
            lambda _: client.ask("PATCH", "/api/v1/users/listener", {"password": self.PASSWORD}),
            lambda _: client.ask("DELETE", "/api/v1/users/listener", status=204),
        )
        for end in ends:
            berta = self.log_in(client, "listener")
            stream = self.listen(berta)
            end(berta)
            stream.read()
            berta.ask("GET", "/api/v1/events", status=401)


def test_there_is_room_for_so_many_listeners_and_a_clear_word_for_more(client):
    streams = []
    try:
        client.ask("GET", "/api/v1/dids")
        while len(streams) <= MAX_CLIENTS:
            connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
            streams.append(connection)
            connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {client.token}"})
            response = connection.getresponse()
            if response.status != 200:
                break
        assert response.status == 503
        assert json.loads(response.read())["error"]["message"] == f"{MAX_CLIENTS} clients listen already"
    finally:
        for connection in streams:
            connection.close()


def test_over_http(client, server):
    import socket

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/api/v1/events?kinds=config", headers={"Authorization": f"Bearer {server.token}"})
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("content-type") == "text/event-stream"
    body = {"number": "+4930730", "destination": {"hangup": 16}}
    client.ask("POST", "/api/v1/dids", body, 201)
    told = {"target": ""}
    while told["target"] != "dids/+4930730":
        line = response.fp.readline()
        told = json.loads(line[6:]) if line.startswith(b"data: ") else told
    assert (told["action"], told["who"]) == ("dids/create", "token 1 (admin)")
    assert client.ask("GET", "/api/v1/monitoring/status")["event_clients"] >= 1
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    client.ask("DELETE", "/api/v1/dids/+4930730", status=204)
    client.ask("GET", "/api/v1/events?kinds=NO!", status=422)
