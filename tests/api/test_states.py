"""The stream of states: all of it first, then what changes, a few times a second; a slow reader costs nothing and misses nothing."""

import http.client
import json
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from api.events import HEARTBEAT_S
from api.states import EVERY_S, SHARE, StateHub
from tests.api.test_events import Listener


class World:
    """States that a test changes; a reading takes `takes_s`."""

    def __init__(self, takes_s=0.0):
        self.clock = Clock()
        self.states = {"queues": {"sales": ({"callers": 0}, {"callers": 0, "wait": 1})}, "agents": {}}
        self.read_at = []
        self.takes_s = takes_s
        self.failure = None
        self.hub = StateHub(self.read, self.clock)

    async def read(self):
        self.read_at.append(self.clock.seconds())
        if self.takes_s:
            done = Deferred()
            self.clock.callLater(self.takes_s, done.callback, None)
            await done
        if self.failure is not None:
            raise self.failure
        return {section: dict(found) for section, found in self.states.items()}

    def put(self, section, key, compared, **more):
        self.states[section] = {**self.states[section], key: (compared, {**compared, **more})}

    def listen(self, **more):
        listener = Listener()
        listener.over = self.hub.attach(listener, **more)
        return listener

    def pass_time(self, seconds):
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)


def test_all_of_it_then_changes_alone():
    world = World()
    first = world.listen()
    world.pass_time(0.1)
    assert first.events == [("state", {"queues": [{"callers": 0, "wait": 1}], "agents": []})]
    world.pass_time(2)
    world.put("queues", "sales", {"callers": 0}, wait=9)  # what changes by itself is no change
    world.pass_time(2)
    assert len(first.events) == 1
    world.put("queues", "sales", {"callers": 3}, wait=12)
    world.put("agents", "1001", {"paused": True})
    world.pass_time(1)
    assert first.events[1:] == [
        ("change", {"queues": {"changed": [{"callers": 3, "wait": 12}], "removed": []}, "agents": {"changed": [{"paused": True}], "removed": []}})
    ]  # fmt: skip
    world.states["queues"] = {}
    late = world.listen()
    assert late.events[0] == ("state", {"queues": [{"callers": 3, "wait": 12}], "agents": [{"paused": True}]})
    world.pass_time(1)
    assert first.events[2:] == late.events[1:] == [("change", {"queues": {"changed": [], "removed": ["sales"]}})]


def test_a_client_is_sent_two_a_second_however_much_happens():
    world = World()
    listener = world.listen()
    for number in range(200):
        world.put("queues", "sales", {"callers": number})
        world.pass_time(0.05)
    assert 15 <= len(listener.events) <= 10 / EVERY_S + 1


def test_who_does_not_read_is_told_all_of_it_when_it_does():
    world = World()
    slow = world.listen()
    world.pass_time(0.1)
    slow.producer.pauseProducing()
    for number in range(1, 50):
        world.put("queues", "sales", {"callers": number})
        world.pass_time(EVERY_S)
    assert len(slow.events) == 1
    slow.producer.resumeProducing()
    assert slow.events[1:] == [("state", {"queues": [{"callers": 49}], "agents": []})]
    world.put("queues", "sales", {"callers": 50})
    world.pass_time(1)
    assert [kind for kind, _ in slow.events] == ["state", "state", "change"]


def test_nobody_is_asked_for_nobody_and_slow_answers_are_asked_for_less_often():
    world = World(takes_s=1.0)
    world.pass_time(5)
    assert world.read_at == []
    listener = world.listen()
    world.pass_time(20)
    gaps = [later - earlier for earlier, later in zip(world.read_at, world.read_at[1:], strict=False)]
    assert gaps
    assert all(gap >= 1.0 / SHARE for gap in gaps)
    listener.finished.callback(None)
    world.pass_time(10)
    asked = len(world.read_at)
    world.pass_time(HEARTBEAT_S + 20)
    assert len(world.read_at) == asked
    assert world.clock.getDelayedCalls() == []
    # What was known when somebody listened last is old.
    world.put("queues", "sales", {"callers": 77})
    again = world.listen()
    world.pass_time(2)
    assert again.events == [("state", {"queues": [{"callers": 77}], "agents": []})]


def test_it_ends_with_the_right_to_listen():
    world, may = World(), {"told": True}
    told = world.listen(may=lambda: may["told"])
    world.pass_time(0.1)
    may["told"] = False
    world.put("queues", "sales", {"callers": 1})
    world.pass_time(1)
    assert told.over.called
    assert len(told.events) == 1
    assert world.hub.clients == 0


def listen(client, path="/api/v1/monitoring/stream"):
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=40)
    connection.request("GET", path, headers={"Authorization": f"Bearer {client.token}"})
    response = connection.getresponse()
    assert (response.status, response.getheader("content-type")) == (200, "text/event-stream")
    return response


def read_event(stream):
    lines = iter(stream.fp.readline, b"")
    for line in lines:
        if line.startswith(b"event: "):
            kind = line[7:].strip().decode()
            return kind, json.loads(next(lines)[6:])
    raise AssertionError("the stream has ended")


def test_over_http_a_campaign_that_is_made_is_told_and_asterisk_is_said_to_be_away(client):
    stream = listen(client)
    kind, state = read_event(stream)
    assert kind == "state"
    assert set(state) == {"asterisk", "campaigns", "channels", "queues", "agents", "trunks"}
    (asterisk,) = state["asterisk"]
    assert not asterisk["is_connected"]
    assert "connect" in asterisk["problem"]
    assert (state["channels"], state["queues"], state["agents"]) == ([], [], [])
    made = client.ask(
        "POST",
        "/api/v1/campaigns",
        {"name": "of the stream", "trunk": "carrier", "destination": {"queue": "sales"}},
        201,
    )
    try:
        kind, change = read_event(stream)
        assert kind == "change"
        (campaign,) = change["campaigns"]["changed"]
        assert (campaign["campaign_id"], campaign["name"], campaign["state"], campaign["calls"]) == (
            made["campaign_id"], "of the stream", "stopped", 0,
        )  # fmt: skip
        assert campaign["counts"]["pending"] == 0
    finally:
        client.ask("DELETE", f"/api/v1/campaigns/{made['campaign_id']}", status=204)
        stream.close()


def await_campaigns(stream, what, wanted):
    """Reads changes until one says this of campaigns; another test's campaign, or how Asterisk is, may be told in between."""
    while True:
        kind, change = read_event(stream)
        assert kind == "change"
        if wanted in [str(one["campaign_id"]) if what == "changed" else one for one in change["campaigns"][what]]:
            return


def test_a_hundred_clients_are_told_all_and_then_each_change_in_its_order(client):
    streams = [listen(client) for _ in range(100)]
    try:
        assert {read_event(stream)[0] for stream in streams} == {"state"}
        body = {"name": "for everybody", "trunk": "carrier", "destination": {"queue": "sales"}}
        made = client.ask("POST", "/api/v1/campaigns", body, 201)
        path = f"/api/v1/campaigns/{made['campaign_id']}"
        for stream in streams:
            await_campaigns(stream, "changed", str(made["campaign_id"]))
        client.ask("DELETE", path, status=204)
        for stream in streams:
            await_campaigns(stream, "removed", str(made["campaign_id"]))
        # The API has its turn meanwhile, and who goes away leaves nothing behind.
        assert client.ask("GET", "/api/v1/monitoring/status")
    finally:
        for stream in streams:
            stream.close()


def test_over_http_it_ends_when_the_token_expires(client):
    until = datetime.now(UTC) + timedelta(seconds=2)
    body = {"name": "short", "permissions": ["monitoring/read"], "expires_at": until.isoformat()}
    short = client.with_secret(client.ask("POST", "/api/v1/tokens", body, 201)["secret"])
    assert b"event: state" in listen(short).read()
    assert datetime.now(UTC) >= until


def test_agents_without_asterisk_are_refused_and_nothing_changes(client):
    for path in ("/api/v1/agents", "/api/v1/agents/1001"):
        client.ask("GET", path, status=503)
    for action in ("login", "logout", "pause", "unpause"):
        client.ask("POST", f"/api/v1/agents/1001/{action}", status=503)
    client.ask("POST", "/api/v1/agents/1001/login", {"queues": ["a b"]}, 422)
    client.ask("POST", "/api/v1/agents/1001/pause", {"reason": "a\nb"}, 422)
    who = [entry["action"] for entry in client.ask("GET", "/api/v1/audit?limit=1000")["items"]]
    assert not {"agents/login", "agents/pause"} & set(who)


def test_trunks_without_asterisk_are_unknown(client):
    trunks = client.ask("GET", "/api/v1/monitoring/trunks")["items"]
    assert {trunk["state"] for trunk in trunks} == {"unknown"}
    assert {(trunk["breaker"], trunk["is_locked"], trunk["channels"]) for trunk in trunks} == {("closed", False, 0)}
    metrics = client.ask("GET", "/metrics").decode()
    assert f'tandem_trunk_channels{{trunk="{trunks[0]["trunk"]}"}} 0.0' in metrics
    assert "tandem_trunk_up{" not in metrics
