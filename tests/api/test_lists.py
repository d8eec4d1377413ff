"""Lists that feed campaigns, what agents say of a call, and calls by hand, over HTTP."""

import pytest

from tests.api.test_campaigns import CAMPAIGN, PATH, problems

LISTS = "/api/v1/lists"


@pytest.fixture
def campaign(client):
    made = client.ask("POST", PATH, CAMPAIGN, 201)
    yield made["campaign_id"]
    client.ask("POST", f"{PATH}/{made['campaign_id']}/stop", status=(200, 404, 409))
    client.ask("DELETE", f"{PATH}/{made['campaign_id']}", status=(204, 404))


def test_made_read_changed_deleted(client, campaign):
    made = client.ask("POST", LISTS, {"campaign_id": campaign, "name": "Spring"}, 201)
    path = f"{LISTS}/{made['list_id']}"
    assert client.headers["location"] == path
    headers = {"Idempotency-Key": "list-once"}
    body = {"campaign_id": campaign, "name": "once"}
    once = client.ask("POST", LISTS, body, 201, headers=headers)
    assert client.ask("POST", LISTS, body, 201, headers=headers) == once
    client.ask("DELETE", f"{LISTS}/{once['list_id']}", status=204)
    made = client.ask("GET", path)
    assert (made["is_active"], made["numbers"], made["description"]) == (True, 0, "")
    assert client.ask("GET", path) == made
    numbers = f"{PATH}/{campaign}/numbers"
    one = client.ask(
        "POST", numbers, {"phone_number": "030123", "list_id": made["list_id"], "data": {"city": "Bonn"}}, 201
    )
    assert one["list_id"] == made["list_id"]
    client.ask("POST", numbers, {"phone_number": "030124"}, 201)
    assert client.ask("GET", f"{numbers}?list_id={made['list_id']}")["total"] == 1
    assert client.ask("GET", f"{numbers}?text=bonn")["items"] == [one]
    assert client.ask("GET", path)["numbers"] == 1
    changed = client.ask("PATCH", path, {"is_active": False, "description": "of the fair"})
    assert (changed["is_active"], changed["name"], changed["description"]) == (False, "Spring", "of the fair")
    reasons = client.ask("GET", f"/api/v1/numbers/{one['number_id']}/why")["reasons"]
    assert "list" in [reason["rule"] for reason in reasons]
    assert [item["list_id"] for item in client.ask("GET", f"{LISTS}?campaign_id={campaign}")["items"]] == [
        made["list_id"]
    ]
    client.ask("DELETE", path, status=204)
    client.ask("GET", path, status=404)
    client.ask("GET", f"/api/v1/numbers/{one['number_id']}", status=404)
    assert client.ask("GET", numbers)["total"] == 1
    audit = client.ask("GET", "/api/v1/audit?limit=3")["items"]
    assert audit[0]["action"] == "lists/delete"


def test_a_file_of_numbers_is_read_into_a_list(client, campaign):
    made = client.ask("POST", LISTS, {"campaign_id": campaign, "name": "of a file"}, 201)
    path, csv = f"{PATH}/{campaign}/numbers/import", b"phone,data.city\n030777,Bonn\n030778,Ulm\n"
    headers = {"Content-Type": "text/csv"}
    client.ask("POST", f"{path}?list_id=4711471&wait_s=10", raw=csv, headers=headers, status=404)
    report = client.ask("POST", f"{path}?list_id={made['list_id']}&wait_s=10", raw=csv, headers=headers, status=202)
    assert (report["state"], report["added"]) == ("finished", 2)
    assert client.ask("GET", f"{LISTS}/{made['list_id']}")["numbers"] == 2
    found = client.ask("GET", f"{PATH}/{campaign}/numbers?list_id={made['list_id']}")["items"]
    assert [one["data"] for one in found] == [{"city": "Bonn"}, {"city": "Ulm"}]


def test_what_does_not_fit_is_refused_and_nothing_is_kept(client, campaign):
    client.ask("POST", LISTS, {"campaign_id": 2**40, "name": "x"}, 404)
    assert "name" in problems(client.ask("POST", LISTS, {"campaign_id": campaign, "name": "a\nb"}, 422))
    made = client.ask("POST", LISTS, {"campaign_id": campaign, "name": "x", "list_id": 990001}, 201)
    assert made["list_id"] == 990001
    client.ask("POST", LISTS, {"campaign_id": campaign, "name": "x", "list_id": 990001}, 409)
    assert client.ask("POST", LISTS, {"campaign_id": campaign, "name": "y"}, 201)["list_id"] == 990002
    other = client.ask("POST", PATH, CAMPAIGN, 201)["campaign_id"]
    client.ask("POST", f"{PATH}/{other}/numbers", {"phone_number": "030123", "list_id": 990001}, 404)
    client.ask("PATCH", f"{LISTS}/990001", {"campaign_id": 2**40}, 404)
    assert client.ask("PATCH", f"{LISTS}/990001", {"campaign_id": other})["campaign_id"] == other
    client.ask("DELETE", f"{PATH}/{other}", status=204)
    client.ask("GET", f"{LISTS}/990001", status=404)  # gone with its campaign
    for odd in ("x", "0", "-1", "9" * 30):
        client.ask("GET", f"{LISTS}/{odd}", status=404)


def test_what_is_known_of_a_number_is_changed(client, campaign):
    one = client.ask("POST", f"{PATH}/{campaign}/numbers", {"phone_number": "030123", "data": {"city": "Bonn"}}, 201)
    path = f"/api/v1/numbers/{one['number_id']}"
    changed = client.ask("PATCH", path, {"data": {"city": "Köln"}})
    assert (changed["data"], changed["phone_number"]) == ({"city": "Köln"}, "030123")
    assert client.ask("PATCH", path, {"phone_number": "030999"})["phone_number"] == "030999"
    assert "phone_number" in problems(client.ask("PATCH", path, {"phone_number": "x"}, 422))
    client.ask("PATCH", path, {"data": "x" * 5000}, 422)
    client.ask("PATCH", "/api/v1/numbers/4711471", {"data": 1}, 404)


def test_what_an_agent_says_and_calls_by_hand_are_refused_where_there_is_nothing_to_say_it_of(client, campaign):
    one = client.ask("POST", f"{PATH}/{campaign}/numbers", {"phone_number": "030123"}, 201)
    path = f"/api/v1/numbers/{one['number_id']}/status"
    client.ask("PUT", path, {"status": "SALE"}, 409)
    assert "status" in problems(client.ask("PUT", path, {"status": "NOPE"}, 422))
    assert "call_again_at" in problems(client.ask("PUT", path, {"status": "CALLBK"}, 422))
    client.ask("PUT", "/api/v1/numbers/4711471/status", {"status": "SALE"}, 404)
    dial = f"{PATH}/{campaign}/dial"
    assert "agent" in problems(client.ask("POST", dial, {"agent": "4711471"}, 422))
    client.ask("POST", dial, {"agent": "1001"}, 503)  # no Asterisk here
    client.ask("POST", f"{PATH}/4711471/dial", {"agent": "1001"}, 503)


def test_statuses_recycle_rules_and_pause_codes_are_the_campaigns(client):
    made = client.ask(
        "POST", PATH,
        CAMPAIGN | {
            "dial_mode": "manual",
            "statuses": {"HOT": {"name": "Hot lead", "is_sale": True}},
            "recycle_rules": {"NP": {"times": 2, "delay_s": 600}},
            "pause_codes": {"LUNCH": {"name": "Lunch", "billable": "half"}},
        },
        201,
    )  # fmt: skip
    assert made["statuses"]["HOT"]["is_selectable"] is True
    one = f"{PATH}/{made['campaign_id']}"
    client.ask("POST", f"{one}/start")
    changed = client.ask("PATCH", one, {"pause_codes": {}})
    assert (changed["state"], changed["pause_codes"]) == ("running", {})
    client.ask("PATCH", one, {"pause_codes": {}, "priority": 1}, 409)
    client.ask("POST", f"{one}/stop")
    for wrong, field in (
        ({"statuses": {"low": {"name": "x"}}}, "statuses"),
        ({"recycle_rules": {"NEVER": {"times": 1, "delay_s": 1}}}, "recycle_rules.NEVER"),
        ({"dial_mode": "inbound"}, "trunk"),
    ):
        found = problems(client.ask("PATCH", one, wrong, 422))
        assert any(name.startswith(field) for name in found), found
    inbound = client.ask("POST", PATH, {"name": "In", "dial_mode": "inbound", "destination": {"queue": "sales"}}, 201)
    assert inbound["trunk"] is None
    for campaign_id in (made["campaign_id"], inbound["campaign_id"]):
        client.ask("DELETE", f"{PATH}/{campaign_id}", status=204)
