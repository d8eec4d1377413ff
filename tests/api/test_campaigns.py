"""Campaigns over HTTP: fields and their rules, states, what the audit log and a repeated request see."""

import pytest

PATH = "/api/v1/campaigns"
CAMPAIGN = {"name": "Winter", "trunk": "carrier", "destination": {"queue": "sales"}}


@pytest.fixture
def campaign(client):
    made = client.ask("POST", PATH, CAMPAIGN, 201)
    yield made
    client.ask("POST", f"{PATH}/{made['campaign_id']}/stop", status=(200, 404, 409))
    client.ask("DELETE", f"{PATH}/{made['campaign_id']}", status=(204, 404))


def one(campaign, more=""):
    return f"{PATH}/{campaign['campaign_id']}{more}"


def problems(answer):
    return {problem["field"]: problem["rule"] for problem in answer["error"]["problems"]}


def test_made_read_changed_replaced_deleted(client):
    made = client.ask("POST", PATH, CAMPAIGN | {"retry_rules": {"busy": {"times": 3, "delay_s": 60}}}, 201)
    assert client.headers["location"] == one(made)
    assert made["state"] == "stopped"
    assert made["total_numbers"] == 0
    tag = client.headers["etag"]
    assert client.ask("GET", one(made)) == made
    assert client.headers["etag"] == tag
    changed = client.ask("PATCH", one(made), {"concurrent_calls": 7}, headers={"If-Match": tag})
    assert changed["concurrent_calls"] == 7
    assert changed["retry_rules"] == {"busy": {"times": 3, "delay_s": 60}}
    client.ask("PATCH", one(made), {"concurrent_calls": 8}, 412, headers={"If-Match": tag})
    client.ask("DELETE", one(made), status=412, headers={"If-Match": tag})
    replaced = client.ask("PUT", one(made), CAMPAIGN)
    assert replaced["concurrent_calls"] == 1
    assert replaced["retry_rules"] == {}
    client.ask("DELETE", one(made), status=204)
    client.ask("GET", one(made), status=404)
    client.ask("PATCH", one(made), {"name": "x"}, 404)
    for odd in ("x", "9" * 30, "%C2%B2", "-1", "9223372036854775808"):
        client.ask("GET", f"{PATH}/{odd}", status=404)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"trunk": "nowhere"}, "trunk"),
        ({"trunk": None}, "trunk"),
        ({"dial_string": "Local/${EXTEN}@default"}, "trunk"),
        ({"trunk": None, "dial_string": "Local/${EXTEN}@default"}, "dial_string"),
        ({"trunk": None, "dial_string": "PJSIP/${EXTEN}@nowhere"}, "dial_string"),
        ({"trunk": None, "dial_string": "SIP/${EXTEN}@carrier"}, "dial_string"),
        ({"destination": {"queue": "nobody"}}, "destination.queue"),
        ({"destination": {"announcement": "nothing"}}, "destination.announcement"),
        ({"destination": {"menu": "main"}, "dial_mode": "predictive"}, "dial_mode"),
        ({"unserved": "message"}, "unserved_announcement"),
        ({"unserved_announcement": "nothing"}, "unserved_announcement"),
        ({"dnc_lists": ["nothing"]}, "dnc_lists"),
        ({"concurrent_calls": 0}, "concurrent_calls"),
        ({"concurrent_calls": "2"}, "concurrent_calls"),
        ({"name": "a\nb"}, "name"),
        ({"caller_name": 'a"b'}, "caller_name"),
        ({"retry_rules": {"answered": {"times": 1, "delay_s": 1}}}, "retry_rules.answered"),
        ({"call_window": {"hours": [{"days": "mon", "times": "9"}]}}, "call_window.hours"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_whatever_is_wrong_is_named(client, campaign, wrong, field):
    for answer in (
        client.ask("POST", PATH, CAMPAIGN | wrong, 422),
        client.ask("PUT", one(campaign), CAMPAIGN | wrong, 422),
        client.ask("PATCH", one(campaign), wrong, 422),
    ):
        assert any(name.startswith(field) for name in problems(answer)), answer
    assert client.ask("GET", one(campaign))["version"] == campaign["version"]


def test_states(client, campaign):
    def act(name, status=200):
        return client.ask("POST", one(campaign, f"/{name}"), status=status)

    act("pause", 409)
    act("resume", 409)
    act("stop", 409)
    assert act("start")["state"] == "running"
    assert problems(act("start", 409)) == {"state": "is running"}
    client.ask("PATCH", one(campaign), {"name": "x"}, 409)
    client.ask("DELETE", one(campaign), status=409)
    assert act("pause")["state"] == "paused"
    assert act("resume")["state"] == "running"
    assert act("pause")["state"] == "paused"
    assert client.ask("PATCH", one(campaign), {"name": "Summer"})["name"] == "Summer"
    assert act("start")["state"] == "running"
    assert act("stop")["state"] == "stopped"
    assert act("reset") == {"numbers": 0}
    for name in ("start", "stop", "pause", "resume", "reset"):
        client.ask("POST", f"{PATH}/999999/{name}", status=404)


def test_listed_filtered_sorted(client):
    made = [client.ask("POST", PATH, CAMPAIGN | {"name": f"list {n}", "priority": n}, 201) for n in (3, 9, 6)]
    found = client.ask("GET", f"{PATH}?q=list&sort=priority&limit=2")
    assert [item["priority"] for item in found["items"]] == [3, 6]
    assert found["total"] == 3
    newest_first = [item["campaign_id"] for item in client.ask("GET", f"{PATH}?q=list")["items"]]
    assert newest_first == [item["campaign_id"] for item in reversed(made)]
    assert client.ask("GET", f"{PATH}?name=list%209&state=stopped&trunk=carrier")["total"] == 1
    client.ask("GET", f"{PATH}?sort=destination", status=422)
    for item in made:
        client.ask("DELETE", one(item), status=204)


def test_a_repeated_request_does_nothing_and_the_audit_log_knows_who(client):
    headers = {"Idempotency-Key": "campaign-once"}
    first = client.ask("POST", PATH, CAMPAIGN, 201, headers=headers)
    assert client.ask("POST", PATH, CAMPAIGN, 201, headers=headers) == first
    assert client.headers["idempotency-replayed"] == "true"
    started = client.ask("POST", one(first, "/start"), headers=headers)
    assert client.ask("POST", one(first, "/start"), headers=headers) == started
    client.ask("POST", one(first, "/stop"))
    client.ask("DELETE", one(first), status=204)
    entries = client.ask("GET", "/api/v1/audit?limit=5")["items"]
    found = [entry["action"] for entry in entries if entry["target"] == f"campaigns/{first['campaign_id']}"]
    assert found == ["campaigns/delete", "campaigns/stop", "campaigns/start", "campaigns/create"]
