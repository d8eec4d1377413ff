"""Every endpoint of the ARI Dialer's document, with the keys and types that it shows; its shell and Python examples, run as printed."""

import os
import subprocess
import sys
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from api.compat.ari.table import ROUTES
from tests.api.ari_document import compare, list_endpoints, list_examples, read_answers
from tests.api.ari_site import CAMPAIGN, add_attempts, write
from tests.api.conftest import Client

# Of the PBX in ari.yaml.
ZONE = ZoneInfo("Europe/Berlin")
# What our answers hold besides.
EXTRA = {
    *("code", "dial_timeout", "call_timeout", "user_id", "permissions", "updated_at"),
    *("id", "skipped", "duplicates", "errors", "name"),
}

# The original tells whole campaigns here, whatever the document shows.
MORE = {("GET", "/api/monitoring/realtime"): CAMPAIGN.keys() | {"created_at"}}


@pytest.fixture(scope="module")
def filled(site, ari):
    """A campaign whose caller goes to a menu, with a number, and a call that is over; a user and a token that was used."""
    ari.ask("POST", "/users", {"username": "other", "password": "secure_password", "email": "o@example.com"}, 201)
    menu = next(menu for menu in ari.get("/ivr")["data"] if menu["name"] == "main")
    campaign = ari.make(agent_dest_type="ivr", agent_dest_value=str(menu["id"]))
    campaign_id = campaign["id"]
    ari.ask("PUT", f"/campaigns/{campaign_id}", {"retry_times": 1})
    number = ari.data(
        "POST", f"/campaigns/{campaign_id}/numbers", {"phone_number": "1234567890", "data": {"name": "John Doe"}}, 201
    )
    now = time.time()
    # Today, as the PBX means it: not yesterday, in the first minutes of a day.
    midnight = datetime.now(ZONE).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    began = max(now - 300, midnight)
    add_attempts(
        site,
        [
            {
                "campaign_id": campaign_id, "number_id": number["id"], "started_at": began, "answered_at": min(began + 5, now),
                "ended_at": now, "disposition": "answered", "agent": "100", "recording_file": "recording-123456.wav",
            }
        ],
    )  # fmt: skip
    called = "UPDATE numbers SET last_attempt_at = ?, updated_at = ?, attempts = 1 WHERE number_id = ?"
    write(site, (called, (began, now, number["id"])))
    return {"menu": menu["id"], "campaign": campaign_id, "number": number["id"]}


def run_all(ari, filled):
    """(method, path of the document) -> our answer, for every endpoint but the channels, for which Asterisk is needed."""
    found = {}
    campaign, number, menu = filled["campaign"], filled["number"], filled["menu"]

    def ask(method, path, body=None, status=200, *, named=None, **ids):
        real = path.removeprefix("/api")
        for name, value in ids.items():
            real = real.replace(f":{name}", str(value), 1)
        found[method, named or path] = ari.ask(method, real, body, status)
        return found[method, named or path].get("data")

    started = {"name": "My API Token", "permissions": ["campaigns/*", "cdr/*"], "expires_at": "2090-12-31 23:59:59"}
    ask("POST", "/api/tokens", started, 201)
    tokens = ask("GET", "/api/tokens")
    ask("DELETE", "/api/tokens/:id", id=tokens[0]["id"])
    made = ask("POST", "/api/campaigns", CAMPAIGN, 201)
    ask("GET", "/api/campaigns")
    ask("GET", "/api/campaigns/:id", id=campaign)
    ask("PUT", "/api/campaigns/:id", {"name": "Updated Name", "concurrent_calls": 10, "record_calls": 1}, id=made["id"])
    for action in ("start", "pause", "resume"):
        ask("POST", f"/api/campaigns/:id/{action}", id=made["id"])
    ask("GET", "/api/monitoring/realtime")
    ask("POST", "/api/campaigns/:id/stop", id=made["id"])
    ask("DELETE", "/api/campaigns/:id", id=made["id"])
    ask("GET", "/api/campaigns/:id/stats", id=campaign)
    one = {"phone_number": "1234567890", "data": {"name": "John Doe", "custom_field": "value"}}
    ask("POST", "/api/campaigns/:id/numbers", one, 201, id=campaign)
    many = [
        {"phone_number": "1234567890", "data": {"name": "John Doe"}},
        {"phone_number": "0987654321", "data": {"name": "Jane Smith"}},
    ]
    ask("POST", "/api/campaigns/:id/numbers/bulk", {"numbers": many}, 201, id=campaign)
    ask("GET", "/api/campaigns/:id/numbers", id=campaign)
    ask("GET", "/api/numbers/:id", id=number)
    spare = ari.data("POST", f"/campaigns/{campaign}/numbers", {"phone_number": "1"}, 201)
    ask("DELETE", "/api/numbers/:id", id=spare["id"])
    calls = ask("GET", "/api/cdr")
    ask("GET", "/api/cdr/:id", id=calls[0]["id"])
    ask("GET", "/api/cdr/stats")
    ask("GET", "/api/monitoring/status")
    ask("GET", "/api/ivr")
    ask("GET", "/api/ivr/:id", id=menu)
    user = {"username": "newuser", "password": "secure_password", "email": "user@example.com", "full_name": "New User"}
    user_id = ask("POST", "/api/users", {**user, "role": "user", "api_access": 1}, 201)["id"]
    ask("GET", "/api/users")
    ask("PUT", "/api/users/:id", {"email": "new@example.com", "role": "user", "is_active": 1}, id=user_id)
    ask("DELETE", "/api/users/:id", id=user_id)
    return found


# These need an Asterisk: tests/asterisk/test_api.py.
WITH_ASTERISK = {("GET", "/api/monitoring/channels"), ("DELETE", "/api/ivr/:id")}


def test_every_endpoint_answers_with_the_documents_keys_and_types(ari, filled):
    answers, shown = run_all(ari, filled), read_answers()
    assert answers.keys() | WITH_ASTERISK == set(list_endpoints())
    assert shown.keys() == set(list_endpoints())
    for endpoint, answer in answers.items():
        compare(shown[endpoint], answer, EXTRA | MORE.get(endpoint, set()), " ".join(endpoint))
        # With the number of the numbers, which is its own in the example.
        assert answer["message"].lstrip("0123456789") == shown[endpoint]["message"].lstrip("0123456789"), endpoint
        if endpoint == ("GET", "/api/tokens"):
            assert answer["data"][-1]["last_used"] is not None  # the token that asks
        if "code" in shown[endpoint]:
            assert answer["code"] == shown[endpoint]["code"]


def test_every_endpoint_is_declared_at_both_of_its_places(ari):
    declared = {(route.method, path) for route in ROUTES for path in (route.path, *route.aliases)}
    for method, path in list_endpoints():
        parts = path.replace(":id", "{id}")
        assert {(method, parts), (method, f"/adial{parts}")} <= declared
    short = Client(ari.client.port, ari.client.token).ask("GET", "/api/campaigns")
    assert short["data"] == ari.get("/campaigns")["data"]


# ------------------------------------------------------------------------------------------- the examples, as printed


def prepare(text, site, token):
    """The example with our address and token in the place of its own; nothing else is changed."""
    assert "http://your-server/adial/api" in text
    text = text.replace("http://your-server/adial/api", f"http://127.0.0.1:{site.port}/adial/api")
    found = [name for name in ("your_api_token_here", "your_token_here") if name in text]
    assert len(found) == 1
    return text.replace(found[0], token)


def run(command, text, tmp_path):
    path = tmp_path / "example"
    path.write_text(text)
    done = subprocess.run(
        [*command, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # Where the PBX is, `date` says the day that its reports mean by it.
        env={**os.environ, "no_proxy": "*", "TZ": str(ZONE)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def token(ari):
    return ari.data("POST", "/tokens", {"permissions": ["campaigns/*", "numbers/*", "cdr/*", "monitoring/*"]}, 201)[
        "token"
    ]


@pytest.fixture(scope="module")
def first(site, ari, filled):
    """The campaign that the examples know as 1."""
    assert filled["campaign"] == 1
    yield 1
    if ari.data("GET", "/campaigns/1")["status"] != "stopped":
        ari.ask("POST", "/campaigns/1/stop")


@pytest.mark.parametrize("number", range(5))
def test_the_shell_examples_run_as_printed(site, ari, first, token, tmp_path, number):
    examples = list_examples("bash")
    assert len(examples) == 5
    told = run(["bash"], prepare(examples[number], site, token), tmp_path)
    assert '"success":true' in told
    assert '"success":false' not in told
    if number == 0:
        assert ari.data("GET", "/campaigns/1")["status"] == "running"
        ari.ask("POST", "/campaigns/1/stop")
    elif number == 1:
        assert "2 numbers added successfully" in told
    elif number == 3:
        assert '"total_calls":1,"answered":1' in told  # today's call, by a range of one day
    elif number == 4:
        made = ari.get("/campaigns")["data"][0]
        assert f"Created campaign ID: {made['id']}\n" in told
        assert (made["name"], made["status"], made["concurrent_calls"]) == ("New Sales Campaign", "running", 5)
        assert made["stats"]["total"] == 3
        assert made["trunk_value"] == "my_trunk"
        ari.ask("POST", f"/campaigns/{made['id']}/stop")


def test_the_python_class_runs_as_printed(site, ari, filled, token, tmp_path):
    (text,) = list_examples("python")
    # Its other methods, which its own example does not call.
    more = (
        "\nassert [one['id'] for one in api.get_campaigns('running')['data']] == [campaign_id]"
        "\nassert api.stop_campaign(campaign_id)['data'] == {'campaign_id': campaign_id, 'status': 'stopped'}"
        "\nassert api.get_campaigns('running')['data'] == []"
        "\ncdr = api.get_cdr()\nassert cdr['pagination']['total'] == len(cdr['data']) == 1"
        "\nassert api.get_cdr(campaign_id=campaign_id)['pagination']['total'] == 0\n"
    )
    told = run([sys.executable], prepare(text, site, token) + more, tmp_path)
    assert '"name": "Python Campaign"' in told
    made = ari.get("/campaigns")["data"][0]
    assert (made["trunk_value"], made["concurrent_calls"], made["stats"]["pending"]) == ("trunk1", 3, 2)
