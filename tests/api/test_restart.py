"""What holds over a restart: ETags, kept answers, tokens, locked names and their audit."""

import stat

import pytest

from api.tags import KEY_BYTES, load_tag_key, make_tag
from tests.api.conftest import Client, Server

HANGUP = {"hangup": 16}


@pytest.fixture
def own_server(tmp_path):
    own_server = Server(tmp_path)
    own_server.start()
    yield own_server
    own_server.stop()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_what_clients_know_still_holds_after_a_restart(own_server):
    client = Client(own_server.port, own_server.token)
    client.ask("POST", "/api/v1/endpoints", {"extension": "7001", "secret": "hidden-secret-1"}, 201)
    tag = client.headers["etag"]
    client.ask("GET", "/api/v1/general")
    general = client.headers["etag"]
    did = {"number": "+4930700", "destination": HANGUP}
    client.ask("POST", "/api/v1/dids", did, 201, headers={"Idempotency-Key": "over"})
    poor = client.with_token("dids/read")
    own_server.stop()
    own_server.start()
    assert client.ask("GET", "/api/v1/endpoints/7001", status=304, headers={"If-None-Match": tag}) == b""
    assert client.ask("GET", "/api/v1/general", status=304, headers={"If-None-Match": general}) == b""
    client.ask("POST", "/api/v1/dids", did, 201, headers={"Idempotency-Key": "over"})
    assert client.headers["idempotency-replayed"] == "true"
    poor.ask("GET", "/api/v1/dids")
    poor.ask("GET", "/api/v1/endpoints", status=403)
    used = {one["name"]: one["last_used_at"] for one in client.ask("GET", "/api/v1/tokens")["items"]}
    assert used["admin"] is not None  # noted at the latest when it stopped
    # A secret that nobody is shown is covered as well: whoever held the old state is told.
    client.ask("PATCH", "/api/v1/endpoints/7001", {"secret": "hidden-secret-2"}, headers={"If-Match": tag})
    client.ask("PATCH", "/api/v1/endpoints/7001", {"name": "late"}, 412, headers={"If-Match": tag})
    assert client.ask("PATCH", "/api/v1/endpoints/7001", {"secret": "hidden-secret-1"})
    assert client.headers["etag"] == tag  # of what it is, not of when it was written


def test_the_key_is_made_once_and_for_us_alone(tmp_path):
    path = tmp_path / "state" / "etag.key"
    key = load_tag_key(path)
    assert len(key) == KEY_BYTES
    assert load_tag_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"cut")
    fresh = load_tag_key(path)
    assert fresh not in (key, b"cut")
    assert load_tag_key(path) == fresh
    assert make_tag(key, b"x") != make_tag(fresh, b"x")


def test_without_a_place_for_the_key_it_still_starts(tmp_path):
    (tmp_path / "file").write_text("")
    assert len(load_tag_key(tmp_path / "file" / "etag.key")) == KEY_BYTES
