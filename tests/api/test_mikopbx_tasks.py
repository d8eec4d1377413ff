"""The MikoPBX auto dialer's tasks: campaigns in its words, what may not be, and who sees which."""

import sqlite3
from contextlib import closing

from tests.api.mikopbx_site import PASSWORD, POLL, as_proxied, log_in, make_task, rows_of, share_site

server, miko, native, poll = share_site()


def test_a_task_is_a_campaign(miko, native, poll):
    task = make_task(miko, poll, maxAttempt=3, tryInterval="90", timeStart=540, timeEnd=1079)
    assert (task["maxCountChannels"], task["state"], task["dialPrefix"], task["innerNumType"]) == (
        1,
        2,
        "999",
        "polling",
    )
    campaign = native.ask("GET", f"/api/v1/campaigns/{task['id']}")
    assert (campaign["state"], campaign["destination"], campaign["dial_prefix"]) == (
        "paused",
        {"survey": int(poll["id"])},
        "999",
    )
    assert (campaign["retry_times"], campaign["retry_delay_s"]) == (2, 90)
    assert campaign["call_window"]["hours"][0]["start"] == "09:00"
    assert campaign["call_window"]["hours"][0]["end"] == "18:00"
    shown = miko.data("GET", f"task/{task['id']}")
    assert [row["phone"] for row in shown["results"]] == ["79522233446", "79522233416"]
    assert {row["result"] for row in shown["results"]} == {""}
    assert {row["state"] for row in shown["results"]} == {"CreateTask"}
    assert shown["resultsPoling"] == []
    assert (shown["state"], shown["maxAttempt"]) == ("2", "3")
    audited = [
        one["action"]
        for one in native.ask("GET", "/api/v1/audit")["items"]
        if one["target"] == f"campaigns/{task['id']}"
    ]
    assert "campaigns/create" in audited


def test_states_are_turned_and_fields_change(miko, native, poll):
    task = make_task(miko, poll, state=0)
    one, campaign = f"task/{task['id']}", f"/api/v1/campaigns/{task['id']}"
    assert native.ask("GET", campaign)["state"] == "running"
    assert miko.data("PUT", one, {"state": 2})["state"] == "2"
    assert native.ask("GET", campaign)["state"] == "paused"
    assert miko.data("PUT", one, {"state": "0", "maxCountChannels": 5})["maxCountChannels"] == "5"
    assert native.ask("GET", campaign)["state"] == "running"
    assert native.ask("GET", campaign)["concurrent_calls"] == 5
    assert miko.data("PUT", one, {"maxCountChannels": 6})["state"] == "0"
    assert miko.data("PUT", one, {"state": 1})["state"] == "1"
    assert task["id"] in [shown["id"] for shown in miko.data("GET", "task?state=1")["results"]]
    # What is not said of its state stays: closed is closed.
    for body in ({"name": "Renamed", "state": None}, {"name": "Renamed again"}):
        renamed = miko.data("PUT", one, body)
        assert (renamed["name"], renamed["state"]) == (body["name"], "1")
    closed = make_task(miko, poll, crmId="opened-again", state=1, numbers=["0305559998"])
    assert miko.data("GET", f"task/{closed['id']}")["state"] == "1"
    body = {
        "crmId": "opened-again",
        "name": "Again",
        "innerNum": poll["id"],
        "innerNumType": "polling",
        "numbers": ["0305559998"],
    }
    assert miko.data("POST", "task", body)["id"] == closed["id"]
    assert miko.data("GET", f"task/{closed['id']}")["state"] == "0"
    assert miko.ask("PUT", "task/999999", {"state": 1})["data"] == {"error": "TaskNotFound"}
    other = make_task(miko, poll, crmId="by-crm", numbers=["0305559999"])
    assert miko.data("PUT", "task/999999", {"crmId": "by-crm", "name": "By id"})["id"] == other["id"]
    # A task that the path names is the one that changes, whatever the body says.
    assert miko.data("PUT", one, {"crmId": "by-crm", "name": "Mine"})["id"] == task["id"]
    assert miko.data("GET", "task/by-crm")["name"] == "By id"
    assert miko.data("DELETE", one) == []
    assert miko.data("DELETE", one) == []
    assert miko.ask("GET", one)["result"] is False


def test_offset_is_a_cursor(miko, poll):
    ids = [make_task(miko, poll)["id"] for _ in range(3)]
    assert [one["id"] for one in miko.data("GET", f"task?offset={ids[0]}&limit=1")["results"]] == [ids[1]]


def test_posting_a_known_crm_id_replaces_the_list(miko, poll):
    first = make_task(
        miko, poll, crmId="c-1", numbers=["03055510101", {"number": "03055510102", "params": {"name": "Anna"}}]
    )
    again = make_task(miko, poll, crmId="c-1", numbers=["03055510102", "03055510103", "+493055510103"])
    assert again["id"] == first["id"]
    rows = miko.data("GET", "task/c-1")["results"]
    assert [row["phone"] for row in rows] == ["03055510102", "03055510103"]


def test_an_employee_has_one_call_at_a_time_and_a_queue_is_paced_by_who_is_free(miko, native):
    endpoint = native.ask("GET", "/api/v1/endpoints")["items"][0]["extension"]
    task = miko.data(
        "POST", "task", {"name": "e", "state": 2, "innerNum": int(endpoint), "maxCountChannels": 9, "numbers": ["0301"]}
    )
    campaign = native.ask("GET", f"/api/v1/campaigns/{task['id']}")
    assert (campaign["destination"], campaign["concurrent_calls"], task["maxCountChannels"]) == (
        {"endpoint": endpoint},
        1,
        9,
    )
    queue = next(one for one in native.ask("GET", "/api/v1/queues")["items"] if one["extension"])
    task = miko.data(
        "POST",
        "task",
        {"name": "q", "state": 2, "innerNum": queue["extension"], "maxCountChannels": 9, "numbers": ["0301"]},
    )
    campaign = native.ask("GET", f"/api/v1/campaigns/{task['id']}")
    assert (campaign["destination"], campaign["dial_mode"], campaign["concurrent_calls"]) == (
        {"queue": queue["name"]},
        "progressive",
        9,
    )


def test_the_newer_columns_are_the_campaigns_own(miko, native):
    endpoint = native.ask("GET", "/api/v1/endpoints")["items"][0]["extension"]
    numbers = [
        {"number": "0305551", "clientId": 7, "TimeOffset": "5.5"}, {"number": "0305552", "clientId": "7", "TimeOffset": -12},
        {"number": "0305553", "TimeOffset": "-3.33"}, {"number": "0305554", "TimeOffset": ""}, {"number": "0305555", "TimeOffset": None},
    ]  # fmt: skip
    body = {
        "name": "n",
        "state": 2,
        "innerNum": endpoint,
        "isCallback": "1",
        "attemptUntilSignal": 1,
        "maxAttempt": 4,
        "numbers": numbers,
    }
    task = miko.data("POST", "task", body)
    assert (task["isCallback"], task["attemptUntilSignal"]) == ("1", "1")
    campaign = native.ask("GET", f"/api/v1/campaigns/{task['id']}")
    assert (campaign["agent_first"], campaign["goal"], campaign["dial_mode"], campaign["retry_times"]) == (
        True,
        "closed",
        "progressive",
        3,
    )
    shown = native.ask("GET", f"/api/v1/campaigns/{task['id']}/numbers")["items"]
    assert [(one["person"], one["utc_offset_min"]) for one in shown] == [
        ("7", 330),
        ("7", -720),
        ("", -200),
        ("", None),
        ("", None),
    ]
    rows = miko.data("GET", f"task/{task['id']}")["results"]
    assert [(row["clientId"], row["timeOffsetMinutes"]) for row in rows][:2] == [("7", "330"), ("7", "-720")]
    changed = miko.data("PUT", f"task/{task['id']}", {"isCallback": 0, "attemptUntilSignal": "0"})
    assert (changed["isCallback"], changed["attemptUntilSignal"]) == ("0", "0")
    campaign = native.ask("GET", f"/api/v1/campaigns/{task['id']}")
    assert (campaign["agent_first"], campaign["goal"]) == (False, "connected")


def test_what_cannot_be_is_said_and_nothing_is_written(miko, poll):
    before = len(miko.data("GET", "task")["results"])
    task = {"name": "x", "innerNum": poll["id"], "innerNumType": "polling", "numbers": ["1"]}
    # A poll asks whoever is called: there is no employee to call first.
    assert "nobody to call first" in miko.refused("POST", "task", {**task, "isCallback": 1})[0]
    for wrong in ("x", -13, 14.5, "5.005", "1e1", [1]):
        answer = miko.ask("POST", "task", {**task, "numbers": ["0301", {"number": "030 2", "TimeOffset": wrong}]})
        assert answer["result"] is False
        assert "TimeOffset" in answer["messages"][0]
        if not isinstance(wrong, list):
            assert answer["data"] == {"error": answer["messages"][0], "phone": "030 2"}
    assert miko.refused("POST", "task", {**task, "innerNum": ""}) == [
        'Field "innerNum" is required and cannot be empty'
    ]
    (said,) = miko.refused("POST", "task", b"{")
    assert said == "Invalid JSON request body"
    assert len(miko.data("GET", "task")["results"]) == before


def test_a_list_that_cannot_be_replaced_leaves_everything_as_it_was(miko, native, poll):
    task = make_task(miko, poll, crmId="whole-1", state=0, numbers=["03055561001", "03055561002"])
    before = miko.data("GET", "task/whole-1")
    for wrong in (
        {"innerNum": "nowhere"},
        {"numbers": ["03055561003", "x" * 30]},
        {"state": 7},
        {"maxCountChannels": 0},
    ):
        assert miko.refused(
            "POST",
            "task",
            {
                "name": "other",
                "crmId": "whole-1",
                "innerNum": poll["id"],
                "innerNumType": "polling",
                "numbers": ["1"],
                **wrong,
            },
        )
    assert miko.data("GET", "task/whole-1") == before
    assert native.ask("GET", f"/api/v1/campaigns/{task['id']}")["state"] == "running"
    # One audit entry, for it is one transaction.

    def entries():
        found = native.ask("GET", "/api/v1/audit?limit=500")["items"]
        return [one for one in found if one["target"] == f"campaigns/{task['id']}"]

    count = len(entries())
    make_task(
        miko,
        poll,
        crmId="whole-1",
        state=2,
        maxCountChannels=3,
        numbers=["03055561002", {"number": "03055561009", "timeCallAllow": "01.01.2040 10:00:00"}],
    )
    assert len(entries()) == count + 1
    assert [row["phone"] for row in miko.data("GET", "task/whole-1")["results"]] == ["03055561002", "03055561009"]
    assert native.ask("GET", f"/api/v1/campaigns/{task['id']}")["state"] == "paused"
    counts = native.ask("GET", f"/api/v1/campaigns/{task['id']}/counts")
    assert (counts["total_numbers"], counts["waiting"]) == (2, {"not-before": 1})
    # Its time is refreshed, its place in the list and its outcome stay.
    make_task(miko, poll, crmId="whole-1", state=2, numbers=["03055561009", "03055561002"])
    assert native.ask("GET", f"/api/v1/campaigns/{task['id']}/counts")["waiting"] == {}


def test_a_put_changes_what_it_names_and_nothing_else_of_a_campaign_of_another_api(miko, native):
    trunk = native.ask("GET", "/api/v1/trunks")["items"][0]["name"]
    queue = native.ask("GET", "/api/v1/queues")["items"][0]["name"]
    body = {
        "name": "theirs", "trunk": trunk, "destination": {"queue": queue}, "dial_mode": "predictive", "retry_times": 3, "retry_delay_s": 7,
        "concurrent_calls": 3, "goal": "answered", "call_window": {"hours": [{"days": ["mon", "tue"], "start": "09:00", "end": "18:00"}]},
        "retry_rules": {"busy": {"times": 1, "delay_s": 60}},
    }  # fmt: skip
    made = native.ask("POST", "/api/v1/campaigns", body, 201)
    path = f"/api/v1/campaigns/{made['campaign_id']}"
    native.ask("POST", f"{path}/numbers", {"phone_number": "03055570001"}, 201)
    native.ask("POST", f"{path}/start", status=200)
    ours = {"state", "version", "updated_at", "created_at", "started_at", "words"}

    def fields():
        return {name: value for name, value in native.ask("GET", path).items() if name not in ours}

    before = fields()
    task = f"task/{made['campaign_id']}"
    assert miko.data("PUT", task, {"state": 2})["state"] == "2"
    assert (native.ask("GET", path)["state"], fields()) == ("paused", before)
    # Also where a client sends the whole task back, as it was read.
    whole = {name: value for name, value in miko.data("GET", task).items() if name != "results"}
    miko.data("PUT", task, whole | {"name": "theirs, renamed"})
    assert fields() == before | {"name": "theirs, renamed"}
    miko.data("PUT", task, {"name": "theirs"})
    assert miko.data("PUT", task, {"state": 0})["state"] == "0"
    miko.data("PUT", task, {"maxCountChannels": 5, "tryInterval": 90})
    assert fields() == before | {"concurrent_calls": 5, "retry_delay_s": 90}
    miko.data("PUT", task, {"timeStart": 600})
    assert fields()["call_window"]["hours"][0]["start"] == "10:00"
    assert miko.data("DELETE", task) == []


def test_a_task_posted_again_with_our_id_is_the_same(miko, native, poll):
    task = make_task(miko, poll, numbers=["03055571001"])
    again = make_task(miko, poll, id=task["id"], name="Again", numbers=["03055571001", "03055571002"])
    assert (again["id"], again["name"]) == (task["id"], "Again")
    assert len(miko.data("GET", f"task/{task['id']}")["results"]) == 2
    new = make_task(miko, poll, id="999999", numbers=["03055571003"])
    assert new["id"] not in (task["id"], "999999")


def test_who_is_limited_to_some_campaigns_sees_their_tasks_and_polls_alone(server, miko, native, poll):
    theirs, other = (make_task(miko, poll, numbers=[f"0305558{number}"]) for number in range(2))
    unseen = miko.data("POST", "polling", POLL)
    native.ask(
        "POST",
        "/api/v1/user-groups",
        {"name": "berlin", "title": "Berlin", "campaigns": [int(theirs["id"])], "permissions": None},
        201,
    )
    native.ask(
        "POST",
        "/api/v1/users",
        {"name": "miko-berlin", "password": PASSWORD, "role": "admin", "user_group": "berlin"},
        201,
    )
    client, _ = log_in(server, "miko-berlin", PASSWORD.replace(" ", "+"), source="127.9.9.4")
    they = as_proxied(server, client.headers["set-cookie"])
    assert [one["id"] for one in they.data("GET", "task")["results"]] == [theirs["id"]]
    assert they.data("GET", f"task/{theirs['id']}")["id"] == theirs["id"]
    assert they.ask("GET", f"task/{other['id']}")["result"] is False
    assert they.ask("PUT", f"task/{other['id']}", {"state": 1})["data"] == {"error": "TaskNotFound"}
    assert they.data("DELETE", f"task/{other['id']}") == []
    assert miko.data("GET", f"task/{other['id']}")
    # However many rows of others are older than theirs.
    numbers = [f"030777{number:06}" for number in range(10_001)]
    make_task(miko, poll, numbers=numbers)
    with closing(sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)) as db, db:
        db.execute("UPDATE numbers SET updated_at = 1000 WHERE phone_number LIKE '030777%'")
    assert {row["taskId"] for row in they.data("GET", "results/0")["results"]} == {theirs["id"]}
    assert they.data("POST", "task-signal-close", {"phone": "03055581"})
    assert rows_of(miko, other) == {"03055581": ""}
    assert [one["id"] for one in they.data("GET", "polling")["results"]] == [poll["id"]]
    assert they.ask("GET", f"polling/{unseen['id']}")["result"] is False
    assert they.data("DELETE", f"polling/{unseen['id']}") == []
    assert miko.data("GET", f"polling/{unseen['id']}")
    # What they make is theirs, and seen by them from then on.
    made = they.data("POST", "polling", POLL)
    task = make_task(they, made, numbers=["0305559"])
    assert {one["id"] for one in they.data("GET", "task")["results"]} == {theirs["id"], task["id"]}
    assert they.data("GET", "audio") is not None
    they.ask("POST", "client", [], status=403)
    they.ask("GET", "client-by-phone/0301", status=403)
