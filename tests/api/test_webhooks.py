"""Webhooks over HTTP and in the whole process: the secret is seen once, deliveries are listed and replayed, and a kill loses none."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks import Webhook as Verifier

from tests.api.conftest import Client, Server

PATH = "/api/v1/webhooks"
CAMPAIGN = {"name": "told", "trunk": "carrier", "destination": {"queue": "sales"}}


class Receiver:
    """Answers with `status`; None: takes requests and does not answer before `let_go`."""

    def __init__(self):
        self.status = 204
        self.got = []
        self.gate = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.status
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                if status is None:
                    receiver.gate.wait(60)
                    return
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.got]

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def wait_for(is_so, what):
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def make(client, receiver, *events, **more):
    return client.ask("POST", PATH, {"url": receiver.url, "events": list(events), **more}, 201)


def list_deliveries(client, webhook_id, query=""):
    return client.ask("GET", f"{PATH}/{webhook_id}/deliveries{query}")["items"]


def test_a_secret_is_seen_once_and_verifies(server, client, receiver):
    key = {"Idempotency-Key": "hook-1"}
    body = {"url": receiver.url, "events": ["campaign.created", "campaign.created"], "description": "crm"}
    made = client.ask("POST", PATH, body, 201, headers=key)
    secret, one = made["secret"], f"{PATH}/{made['id']}"
    assert client.headers["location"] == one
    assert made["events"] == ["campaign.created"]
    assert secret.startswith("whsec_")
    assert client.ask("POST", PATH, body, 201, headers=key)["secret"] is None
    campaign = client.ask("POST", "/api/v1/campaigns", CAMPAIGN, 201)
    wait_for(lambda: receiver.got, "nothing was sent")
    headers, sent = receiver.got[0]
    told = Verifier(secret).verify(sent, headers)
    assert told["data"] == {"campaign_id": campaign["campaign_id"], "name": "told", "state": "stopped"}
    # A new one; the old one goes on for a day.
    new = client.ask("POST", f"{one}/rotate")["secret"]
    assert new != secret
    tested = client.ask("POST", f"{one}/test", status=202)
    assert tested["kind"] == "webhook.test"
    wait_for(lambda: len(receiver.got) == 2, "no test was sent")
    headers, sent = receiver.got[1]
    assert Verifier(new).verify(sent, headers)["kind"] == "webhook.test"
    assert Verifier(secret).verify(sent, headers)
    wait_for(lambda: len(list_deliveries(client, made["id"], "?state=delivered")) == 2, "not written")
    page = client.ask("GET", f"{one}/deliveries?limit=1")["items"]
    assert [found["kind"] for found in page] == ["webhook.test"]
    assert [found["kind"] for found in list_deliveries(client, made["id"], f"?before={page[0]['id']}")] == [
        "campaign.created"
    ]
    # Nowhere else.
    for path in (PATH, one, f"{one}/deliveries", "/api/v1/audit?limit=1000"):
        text = json.dumps(client.ask("GET", path))
        for hidden in (secret, new):
            assert hidden.removeprefix("whsec_") not in text
    log = (server.folder / "log").read_text()
    assert secret.removeprefix("whsec_") not in log
    audit = client.ask("GET", "/api/v1/audit?limit=1000")["items"]
    target = f"webhooks/{made['id']}"
    assert {"webhooks/create", "webhooks/update"} <= {entry["action"] for entry in audit if entry["target"] == target}
    client.ask("DELETE", one, status=204)
    client.ask("DELETE", one, status=404)


def test_changes_are_checked_and_hold_their_etag(client, receiver):
    made = make(client, receiver, "call.ended")
    one = f"{PATH}/{made['id']}"
    client.ask("GET", one)
    tag = client.headers["etag"]
    assert client.ask("GET", one, status=304, headers={"If-None-Match": tag}) == b""
    changed = client.ask("PATCH", one, {"active": False, "events": ["call.answered"]}, headers={"If-Match": tag})
    assert (changed["active"], changed["events"], changed["url"]) == (False, ["call.answered"], receiver.url)
    client.ask("PATCH", one, {"active": True}, 412, headers={"If-Match": tag})
    client.ask("DELETE", one, status=412, headers={"If-Match": tag})
    for action in ("test", "replay", "deliveries/1/replay"):
        client.ask("POST", f"{one}/{action}", status=409)
    for wrong, field in (
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "http://example.com/"}, "url"),
        ({"url": "https://a:b@example.com/"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["call.lost"]}, "events[0]"),
        ({"secret": "whsec_mine"}, "secret"),
        ({"description": "a\nb"}, "description"),
    ):
        problems = client.ask("PATCH", one, wrong, 422)["error"]["problems"]
        assert problems[0]["field"] == field
        client.ask("POST", PATH, {"url": receiver.url, "events": ["call.ended"]} | wrong, 422)
    for odd in ("x", "0", "9" * 30):
        client.ask("GET", f"{PATH}/{odd}", status=404)


def test_nobody_has_sent_to_him_what_he_may_not_read(client, receiver):
    some = client.with_token("webhooks/*", "calls/read")
    made = make(some, receiver, "call.ended")
    for events in (["campaign.started"], ["call.ended", "number.finished"], ["attempt.ended"], ["recording.ready"]):
        some.ask("POST", PATH, {"url": receiver.url, "events": events}, 403)
        some.ask("PATCH", f"{PATH}/{made['id']}", {"events": events}, 403)
    other = make(client, receiver, "campaign.created")
    some.ask("PATCH", f"{PATH}/{other['id']}", {"url": "https://mine.example/"}, 403)
    some.ask("POST", f"{PATH}/{other['id']}/rotate", status=403)
    some.ask("GET", f"{PATH}/{other['id']}/deliveries", status=403)


def test_what_was_given_up_is_replayed(client, receiver):
    receiver.status = 410
    made = make(client, receiver, "campaign.created")
    one = f"{PATH}/{made['id']}"
    client.ask("POST", f"{one}/test", status=202)
    wait_for(lambda: not client.ask("GET", one)["active"], "410 was not heard")
    assert client.ask("GET", one)["problem"] == "it answered 410 Gone"
    (dead,) = list_deliveries(client, made["id"], "?state=dead")
    assert (dead["last_status"], dead["attempts"]) == (410, 1)
    receiver.status = 200
    assert client.ask("PATCH", one, {"active": True})["problem"] == ""
    assert client.ask("POST", f"{one}/replay", {"since": "2100-01-01T00:00:00Z"}, 202) == {"deliveries": 0}
    assert client.ask("POST", f"{one}/replay", status=202) == {"deliveries": 1}
    wait_for(lambda: list_deliveries(client, made["id"], "?state=delivered"), "not replayed")
    client.ask("POST", f"{one}/deliveries/{dead['id']}/replay", status=202)
    wait_for(lambda: len(receiver.got) == 3, "not sent once more")
    assert len(set(receiver.ids())) == 1
    client.ask("POST", f"{one}/deliveries/{dead['id'] + 999}/replay", status=404)


def test_a_kill_between_commit_and_answer_loses_nothing_and_repeats_nothing_else(tmp_path, receiver):
    server = Server(tmp_path)
    server.start()
    try:
        client = Client(server.port, server.token)
        webhook_id = make(client, receiver, "campaign.created")["id"]
        for _ in range(3):
            client.ask("POST", "/api/v1/campaigns", CAMPAIGN, 201)
        wait_for(lambda: len(list_deliveries(client, webhook_id, "?state=delivered")) == 3, "not delivered")
        receiver.status = None
        for _ in range(12):
            client.ask("POST", "/api/v1/campaigns", CAMPAIGN, 201)
        wait_for(lambda: len(receiver.got) > 3, "none is on its way")
        pending = {one["event_id"] for one in list_deliveries(client, webhook_id, "?state=pending")}
        assert len(pending) == 12
        server.process.kill()
        server.process.wait()
        before = len(receiver.got)
        receiver.status = 204
        server.start()
        wait_for(
            lambda: len(list_deliveries(client, webhook_id, "?state=delivered")) == 15, "not delivered after the kill"
        )
        again = receiver.ids()[before:]
        assert sorted(again) == sorted(pending)
        numbers = [json.loads(body)["data"]["campaign_id"] for _, body in receiver.got[before:]]
        assert len(set(numbers)) == 12
    finally:
        receiver.gate.set()
        server.stop()
