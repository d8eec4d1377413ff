"""The MikoPBX auto dialer's API over HTTP: its login, envelope and types, polls, tasks, results and sounds; the vendor's printed examples as printed; hostile input."""

import base64
import io
import json
import re
import sqlite3
import zipfile
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from openpyxl import Workbook

from api.compat.mikopbx.results import CHANGED, tell_result
from tandem.domain.surveys import SurveyVisit
from tandem.store.attempts import Attempt
from tests.api.conftest import Client, Server
from tests.audio import write_tone
from tests.beside import lacks

BASE = "/pbxcore/api/module-dialer/v1"
SEEDS = Path(__file__).parents[3] / "shared" / "specs" / "seeds"
# Of the vendor's document, where that is not beside us.
POLL = {
    "name": "New polling",
    "questions": [
        {"questionId": "1", "questionText": "To order, press 1. To unsubscribe, press 3.", "nextQuestion": "", "lang": "en-US", "press": [
            {"key": "1", "action": "playback", "value": '"Thank you"', "valueOptions": "text"},
            {"key": "3", "action": "answer", "value": "no"}]},
    ],
}  # fmt: skip
PASSWORD = "correct horse battery"


class Miko:
    """A client as the vendor's users write them."""

    def __init__(self, port, cookie=None, source="127.0.0.1"):
        self.port, self.cookie, self.source = port, cookie, source

    def ask(self, method, path, body=None, status=200, headers=()):
        """The body goes as curl -d sends it: as a form, by its type."""
        given = {"Content-Type": "application/x-www-form-urlencoded", **dict(headers)}
        if self.cookie is not None:
            given["Cookie"] = self.cookie
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(self.source, 0))
        try:
            connection.request(method, path if path.startswith("/") else f"{BASE}/{path}", raw, given)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        assert response.status == status, (method, path, response.status, answer[:500])
        return json.loads(answer)

    def data(self, method, path, body=None, **more):
        answer = self.ask(method, path, body, **more)
        assert answer["result"] is True, answer
        assert set(answer) == {"result", "data", "messages", "function", "processor", "pid"}
        return answer["data"]

    def refused(self, method, path, body=None):
        answer = self.ask(method, path, body)
        assert answer["result"] is False, answer
        return answer["messages"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(
        tmp_path_factory.mktemp("mikopbx"),
        **{
            "apis.mikopbx.serve": "everywhere",
            "apis.mikopbx.trust_loopback": "true",
            "dialer.enabled": "false",
            "apis.mikopbx.crm_url": "https://crm.example/answers",
        },
    )
    server.start()
    yield server
    server.stop()
    assert "Traceback" not in (server.folder / "log").read_text()


@pytest.fixture
def miko(server):
    return Miko(server.port)


@pytest.fixture
def native(server):
    return Client(server.port, server.token)


def as_proxied(server, cookie=None):
    """Somebody who is not on this machine."""
    client = Miko(server.port, cookie)
    ask = client.ask
    client.ask = lambda *a, headers=(), **k: ask(*a, headers={**dict(headers), "X-Forwarded-For": "192.0.2.1"}, **k)
    return client


@pytest.fixture
def poll(miko):
    return miko.data("POST", "polling", POLL)


def rows_of(miko, task):
    return {row["phone"]: row["result"] for row in miko.data("GET", f"task/{task['id']}")["results"]}


def make_task(miko, poll, **more):
    body = {"name": "New polling task", "state": 2, "innerNum": poll["id"], "innerNumType": "polling", "maxCountChannels": 1, "dialPrefix": "999",
            "numbers": [{"number": "79522233446"}, "79522233416"], **more}  # fmt: skip
    return miko.data("POST", "task", body)


# ----------------------------------------------------------------------------------------------------------- login


def log_in(server, name, password, raw=None, source="127.0.0.1"):
    client = Miko(server.port, source=source)
    body = raw or f"&login={name}&password={password}&".encode()
    return client, client.ask(
        "POST", "/admin-cabinet/session/start", body, headers={"X-Requested-With": "XMLHttpRequest"}
    )


def test_a_session_is_a_cookie_that_may_come_back_with_its_attributes(server, native):
    native.ask("POST", "/api/v1/users", {"name": "miko-admin", "password": PASSWORD, "role": "admin"}, 201)
    client, answer = log_in(server, "miko-admin", PASSWORD.replace(" ", "+"), source="127.9.9.1")
    assert answer == {"success": True, "reload": False, "message": []}
    cookie = client.headers["set-cookie"]
    assert cookie.startswith("PHPSESSID=tandem_")
    assert "HttpOnly" in cookie
    for echoed in (cookie, cookie.partition(";")[0]):
        assert as_proxied(server, echoed).data("GET", "polling")["results"] is not None
    as_proxied(server).ask("GET", "polling", status=401)
    as_proxied(server, "PHPSESSID=tandem_1_" + "0" * 64).ask("GET", "polling", status=401)
    as_proxied(server, "PHPSESSID=" + "x" * 3000).ask("GET", "polling", status=401)
    answer = as_proxied(server).ask("GET", "polling", status=401)
    assert answer["messages"] == {"error": ["The user isn't authenticated."]}


def test_wrong_passwords_are_told_so_and_then_not_looked_at(server):
    source = "127.9.9.2"
    for _ in range(10):
        answer = log_in(server, "nobody", "wrong", source=source)[1]
        if answer["success"]:
            break
        assert answer["message"]["error"]
    assert log_in(server, "nobody", "wrong", source=source)[1] == {
        "success": True,
        "reload": "session/index",
        "message": [],
    }
    for raw in (b"{}", b"login=", b"login=%00&password=x", b"login[]=x&password=y"):
        assert log_in(server, "", "", raw, source="127.9.9.3")[1]["success"] is False


def test_a_token_of_ours_does_too_as_far_as_it_goes(server, native):
    made = native.ask("POST", "/api/v1/tokens", {"name": "t", "permissions": ["surveys/read"]}, 201)
    client = as_proxied(server)
    headers = {"Authorization": f"Bearer {made['secret']}"}
    client.data("GET", "polling", headers=headers)
    for method, path, body in (
        ("POST", "polling", POLL), ("DELETE", "polling/1", None), ("GET", "task", None), ("POST", "task", {}), ("PUT", "task/1", {}),
        ("DELETE", "task/1", None), ("GET", "results/0", None), ("GET", "audio", None), ("DELETE", "audio/x", None),
        ("GET", "/pbxcore/api/sip/getPeersStatuses", None),
    ):  # fmt: skip
        client.ask(method, path, body, status=403, headers=headers)


def test_without_trust_a_local_program_logs_in_too_and_without_a_crm_nothing_is_sent_there(tmp_path):
    server = Server(tmp_path)
    server.start()
    try:
        made = Client(server.port, server.token).ask(
            "POST", "/api/v1/tokens", {"name": "t", "permissions": ["surveys/*"]}, 201
        )
        poll = {"name": "x", "questions": [{"questionText": "Q", "press": [{"key": "1", "action": "send_crm"}]}]}
        answer = Miko(server.port).ask("POST", "polling", poll, headers={"Authorization": f"Bearer {made['secret']}"})
        assert answer["messages"] == [
            "questions[0].press[0].action: send_crm has nowhere to send to, apis.mikopbx.crm_url is not set"
        ]
        Miko(server.port).ask("GET", "polling", status=401)
    finally:
        server.stop()


# ----------------------------------------------------------------------------------------------------------- polls


def test_a_poll_is_a_survey(miko, native, poll):
    assert poll["name"] == "New polling"
    survey = native.ask("GET", f"/api/v1/surveys/{poll['id']}")
    (question,) = survey["questions"]
    assert (question["id"], survey["language"]) == ("1", "en")
    assert question["options"]["1"]["action"] == "play"
    assert question["options"]["1"]["text"] == '"Thank you"'
    assert {"id": poll["id"], "crmId": poll["id"], "name": "New polling"} in miko.data("GET", "polling")["results"]
    shown = miko.data("GET", f"polling/{poll['id']}")
    assert shown["questions"][0]["press"] == POLL["questions"][0]["press"]
    assert miko.data("DELETE", f"polling/{poll['id']}") == []
    assert miko.data("DELETE", f"polling/{poll['id']}") == []
    assert miko.ask("GET", f"polling/{poll['id']}")["result"] is False


def test_a_known_crm_id_replaces_the_poll(miko):
    first = miko.data("POST", "polling", {**POLL, "crmId": "crm-7"})
    second = miko.data("POST", "polling", {**POLL, "crmId": "crm-7", "name": "Other"})
    assert (second["id"], second["crmId"]) == (first["id"], "crm-7")
    assert miko.data("GET", "polling/crm-7")["name"] == "Other"


def test_every_action_and_field_is_translated(miko, native):
    inside = native.ask("GET", "/api/v1/endpoints")["items"][0]["extension"]
    poll = {
        "name": "All", "questions": [
            {"questionId": "a", "questionText": "A?", "lang": "en-US", "timeout": "7", "defPress": "b", "nextQuestion": "b", "press": [
                {"key": "0", "action": ""}, {"key": "1", "action": "answer", "value": "yes"}, {"key": "2", "action": "dial", "value": inside},
                {"key": "3", "action": "restart", "nextQuestion": "a"},
                {"key": "5", "action": "send_crm", "crmResponseTemplate": "Your order: <result>", "nextQuestion": "a"},
                {"key": "4", "action": "playback_record", "value": "Speak", "valueOptions": "20", "needRecognize": "1", "recognizeLabel": "Why"}]},
            {"questionId": "b", "defPress": "1", "press": [{"key": "1", "action": "answer", "value": "x"}], "nextQuestion": "c"},
            {"questionId": "c", "questionText": "Sure?", "type": "confirmation", "defPress": "a", "press": []},
        ],
    }  # fmt: skip
    made = miko.data("POST", "polling", poll)
    a, b, c = native.ask("GET", f"/api/v1/surveys/{made['id']}")["questions"]
    assert [a["options"][key]["action"] for key in "01234"] == ["next", "answer", "transfer", "restart", "record"]
    assert (a["timeout_s"], a["on_timeout"], a["next"]) == (7, "b", "b")
    assert a["options"]["2"]["destination"] == {"endpoint": inside}
    assert (a["options"]["4"]["record_s"], a["options"]["4"]["label"]) == (20, "Why")
    send = a["options"]["5"]
    assert (send["action"], send["url"], send["text"], send["next"]) == (
        "send",
        "https://crm.example/answers",
        "Your order: <result>",
        None,
    )
    assert (b["default_key"], b["text"]) == ("1", "")
    assert (c["read_back"], c["timeout_s"], c["on_timeout"]) == (True, 10, "a")


# ----------------------------------------------------------------------------------------------------------- tasks


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
    assert miko.data("PUT", one, {"name": "Renamed"})["name"] == "Renamed"
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


# --------------------------------------------------------------------------------------------------------- clients


def test_a_client_is_a_contact_and_is_found_by_any_of_their_telephones(miko, native):
    clients = [
        {"crmId": 71, "name": "Anna", "phones": ["+49 30 55571001", "030/55571002"], "properties": [{"key": "ORDER", "value": 4711}, {"key": "City", "value": "Köln"}]},
        {"crmId": "b", "name": "Ben", "phones": [], "properties": None},
    ]  # fmt: skip
    saved = miko.data("POST", "client", clients)
    assert [(one["crmId"], one["name"], [row["phone"] for row in one["phones"]]) for one in saved] == [
        ("71", "Anna", ["+493055571001", "03055571002"]), ("b", "Ben", []),
    ]  # fmt: skip
    assert saved[0]["properties"] == [
        {"clientId": "71", "key": "ORDER", "value": "4711"},
        {"clientId": "71", "key": "City", "value": "Köln"},
    ]
    expected = [{"key": "NAME", "value": "Anna"}, {"key": "ORDER", "value": "4711"}, {"key": "City", "value": "Köln"}]
    for phone in ("3055571001", "+493055571001", "0049305-557-1001", "03055571002"):
        assert miko.data("GET", f"client-by-phone/{phone}") == expected
    assert miko.data("GET", "client-by-phone/030999") == []
    assert miko.refused("GET", "client-by-phone/x")
    native_one = native.ask("GET", "/api/v1/customers/71")
    assert native_one == {
        "person": "71",
        "name": "Anna",
        "phone_numbers": ["+493055571001", "03055571002"],
        "properties": {"ORDER": "4711", "City": "Köln"},
    }
    miko.data("POST", "client", [{**clients[0], "name": "Anna B.", "phones": ["0301"], "properties": []}])
    assert miko.data("GET", "client-by-phone/03055571002") == []
    assert miko.data("GET", "client-by-phone/0301") == [{"key": "NAME", "value": "Anna B."}]
    assert native.ask("GET", "/api/v1/audit?limit=1")["items"][0]["target"] == "customers/71"
    assert miko.data("DELETE", "client/71") == miko.data("DELETE", "client/71") == []
    native.ask("GET", "/api/v1/customers/71", status=404)
    assert [one["person"] for one in native.ask("GET", "/api/v1/customers")["items"]] == ["b"]


@pytest.mark.parametrize(
    "body",
    [{}, "x", [1], [{}], [{"crmId": ""}], [{"crmId": "c", "phones": "x"}], [{"crmId": "c", "phones": ["x"]}], [{"crmId": "c", "properties": [1]}],
     [{"crmId": "c", "properties": [{"value": "no key"}]}], [{"crmId": "c", "name": "a\r\nb"}], [{"crmId": "c\0"}], [{"crmId": "c" * 65}],
     [{"crmId": "ok"}, {"crmId": "c", "phones": ["1" * 41]}], [{"crmId": "c", "phones": ["1"] * 51}]],
)  # fmt: skip
def test_clients_that_cannot_be_are_refused_all_of_them(miko, native, body):
    assert miko.refused("POST", "client", body)
    native.ask("GET", "/api/v1/customers/ok", status=404)
    native.ask("GET", "/api/v1/customers/c", status=404)


# ---------------------------------------------------------------------------------------------------------- groups


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


# --------------------------------------------------------------------------------------------------------- results


def test_results_are_passed_by_a_cursor_and_by_time(miko, poll, server):
    task = make_task(miko, poll, numbers=[f"0305552{number:04}" for number in range(30)])
    with closing(sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)) as db, db:
        db.execute(
            "UPDATE numbers SET status = 'failed', disposition = 'busy', updated_at = 4000000000.5 WHERE campaign_id = ?",
            (task["id"],),
        )
    page = miko.data("GET", "results/4000000000")
    rows = page["results"]
    assert len(rows) == 30
    assert {(row["result"], row["cause"], row["taskId"]) for row in rows} == {("FAIL", "busy", task["id"])}
    # By time alone the same again, since it is inclusive; by the cursor what is behind.
    assert len(miko.data("GET", f"results/{rows[-1]['changeTime']}")["results"]) == 30
    assert miko.data("GET", f"results/{page['next']}")["results"] == []
    middle = f"{rows[9]['changeTime']}:{rows[9]['id']}"
    assert [row["id"] for row in miko.data("GET", f"results/{middle}")["results"]] == [row["id"] for row in rows[10:]]
    for wrong in ("x", "-1", "1e9", "1:2:3", "%00", "9" * 40):
        assert miko.refused("GET", f"results/{wrong}")
        assert miko.refused("GET", f"polling-results/{wrong}")
    assert miko.data("GET", "polling-results/0") == {"results": [], "next": ""}


def attempt(**fields):
    """One that is over, to an employee."""
    made = {
        "attempt_id": 1, "call_id": "c", "campaign_id": 1, "number_id": 1, "dial": 1, "epoch": 0, "node": "", "phone_number": "0301", "caller_number": "",
        "trunk": "far", "destination": "endpoint 1001", "agent": "", "started_at": 1.0, "answered_at": 2.0, "connected_at": None, "abandoned_at": None,
        "ended_at": 9.0, "disposition": "answered", "cause": 16, "tech_cause": 0, "recording_file": None, "recording_leg1": None, "recording_leg2": None,
    }  # fmt: skip
    return Attempt(**(made | fields))


ABANDONED = {"abandoned_at": 9.0}


@pytest.mark.parametrize(
    ("result", "fields", "is_callback"),
    [
        ("SUCCESS", {"destination": "menu main", "connected_at": 2.0}, False),
        ("SUCCESS_CLIENT_H", {"connected_at": 3.0, "is_far_hangup": True}, False),
        ("SUCCESS_USER_H", {"connected_at": 3.0}, False),
        ("SUCCESS_USER_H", {"destination": "queue sales", "connected_at": 3.0}, False),
        ("FAIL_USER_NO_ANSWER", {**ABANDONED, "cause": 19}, False),
        ("FAIL_USER_BUSY", {**ABANDONED, "cause": 17}, False),
        # Told that nobody is free, and hung up while it was said.
        ("FAIL_USER_BUSY", {"abandoned_at": 2.5, "is_far_hangup": True}, False),
        ("FAIL_CLIENT_H_BEFORE_ANSWER", {**ABANDONED, "is_far_hangup": True}, False),
        ("FAIL_PROVIDER", {"disposition": "trunk-dead"}, False),
        ("FAIL", {"disposition": "busy", "cause": 17, "is_far_hangup": True}, False),
        ("FAIL", {"disposition": "no-answer"}, False),
        ("SUCCESS_CLIENT_H", {"connected_at": 3.0}, True),
        ("SUCCESS_USER_H", {"connected_at": 3.0, "is_far_hangup": True}, True),
        ("FAIL", {"disposition": "busy", "cause": 17}, True),
        ("FAIL_USER_BUSY", {"disposition": "cancelled", "cause": 26}, True),
        ("FAIL_USER_BUSY", {"disposition": "cancelled", "cause": 17, "is_far_hangup": True}, True),
        ("FAIL_USER_NO_ANSWER", {"disposition": "cancelled", "cause": 0}, True),
        ("FAIL_USER_H_BEFORE_CLIENT_ANSWER", {"disposition": "cancelled", "cause": 16, "is_far_hangup": True}, True),
    ],
)  # fmt: skip
def test_every_documented_result(result, fields, is_callback):
    assert tell_result(attempt(**fields), None, "", is_callback=is_callback) == result


@pytest.mark.parametrize(
    ("result", "disposition", "outcome"),
    [
        ("SUCCESS_EXTERNAL_SIGNAL", "closed", "completed"), ("SUCCESS_ANOTHER_PHONE", "reached-elsewhere", None), ("SUCCESS_POLLING", "answered", "completed"),
        ("SUCCESS_POLLING", "answered", "transferred"), ("FAIL_POLLING", "answered", "hung-up"), ("FAIL_POLLING", "answered", "gave-up"),
        ("FAIL_ROUTE", "trunk: there is no trunk far", None), ("FAIL", "dnc global", None),
    ],
)  # fmt: skip
def test_every_documented_result_of_polls_and_of_numbers_that_were_not_called(result, disposition, outcome):
    visit = SurveyVisit(
        visit_id="v", survey_id=1, call_id="c", campaign_id=1, number_id=1, phone_number="0301", started_at=1.0, ended_at=2.0, outcome=outcome or "",
    )  # fmt: skip
    made = attempt(destination="survey 1") if outcome else None
    assert tell_result(made, visit if outcome else None, disposition) == result


def test_a_page_of_results_is_read_by_an_index_alone(server):
    with closing(sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)) as db:
        sql = f"SELECT number_id FROM numbers WHERE {CHANGED} >= 1 AND ({CHANGED} > 1 OR number_id > 1) ORDER BY {CHANGED}, number_id LIMIT 9"
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert len(plan) == 1
    assert "INDEX numbers_changed" in plan[0]


def test_a_signal_closes_the_open_rows_of_a_number_and_of_its_client(miko, native, poll):
    anna = {"clientId": 'A"%7'}
    numbers = [
        {"number": "+4930555420 01", **anna}, {"number": "030555420 02", **anna}, {"number": "03055542003", "clientId": 'a"%7'}, "03055542004",
    ]  # fmt: skip
    task, other = (make_task(miko, poll, numbers=numbers) for _ in range(2))
    signal = {"phone": "8 (493) 055-54-2001"[1:], "taskId": int(task["id"])}
    assert miko.data("POST", "task-signal-close", signal) == signal
    closed = "SUCCESS_EXTERNAL_SIGNAL"
    assert rows_of(miko, task) == {
        "+493055542001": closed, "03055542002": closed, "03055542003": "", "03055542004": "",
    }  # fmt: skip
    assert set(rows_of(miko, other).values()) == {""}
    assert miko.data("POST", "task-signal-close", {"phone": "03055542004"})
    assert rows_of(miko, task)["03055542004"] == rows_of(miko, other)["03055542004"] == closed
    (row,) = [one for one in miko.data("GET", f"task/{task['id']}")["results"] if one["phone"] == "03055542004"]
    assert (row["state"], row["cause"], row["closeTime"]) == ("endCall", "closed", row["changeTime"])
    # Again, and of whom nobody knows: nothing to close, as there.
    for again in (signal, {"phone": "1"}):
        assert miko.data("POST", "task-signal-close", again) == again
    assert native.ask("GET", "/api/v1/audit?limit=1")["items"][0]["action"] == "numbers/update"


def test_a_signal_without_a_number_or_for_no_task_is_refused(miko):
    for body in ({}, {"phone": ""}, {"phone": "x"}, {"phone": ["1"]}, {"phone": "+"}, {"phone": "1" * 41}):
        assert miko.refused("POST", "task-signal-close", body), body
    answer = miko.ask("POST", "task-signal-close", {"phone": "0301", "taskId": "nowhere"})
    assert (answer["result"], answer["data"]) == (False, {"error": "TaskNotFound"})


# ---------------------------------------------------------------------------------------------------- spreadsheets


def write_sheet(*rows):
    book = Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def send_sheet(miko, content):
    head = b'--b\r\nContent-Disposition: form-data; name="x"; filename="1.xlsx"\r\n\r\n'
    return miko.ask(
        "POST",
        "upload-xls",
        head + content + b"\r\n--b--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )


def test_a_row_of_a_spreadsheet_is_one_client(miko, poll):
    sheet = write_sheet(
        ("Name", "Telephone", "Another"), ("Anna", 79522233446, "+7 (952) 223-34-16"), (), ("Ben 2", "030.555/420 01", "03055542001"),
        ("Carl", True, 12.5), ("Dora", 3055542002.0, "=1+1"), ("Emil", "12", "1" * 25),
    )  # fmt: skip
    expected = [
        {"number": "79522233446", "clientId": 2}, {"number": "+79522233416", "clientId": 2}, {"number": "03055542001", "clientId": 4},
        {"number": "3055542002", "clientId": 6},
    ]  # fmt: skip
    encoded = base64.encodebytes(sheet)
    for content in (sheet, encoded, b"data:application/vnd.ms-excel;base64," + encoded):
        assert send_sheet(miko, content) == expected
    task = make_task(miko, poll, numbers=expected)
    rows = miko.data("GET", f"task/{task['id']}")["results"]
    assert [(row["phone"], row["clientId"]) for row in rows] == [
        (one["number"], str(one["clientId"])) for one in expected
    ]


def test_what_is_no_spreadsheet_is_refused(miko):
    sheet = write_sheet(("0301",))
    far = rewrite(sheet, "xl/worksheets/sheet1.xml", lambda xml: xml.replace(b'r="1"', b'r="99999999"'))
    bomb = rewrite(sheet, "xl/styles.xml", lambda _: b" " * (33 * 1024 * 1024))
    entity = b'<!DOCTYPE x [<!ENTITY a "0301">]>'
    entities = rewrite(sheet, "xl/worksheets/sheet1.xml", lambda xml: entity + xml)
    cut, damaged = sheet[: len(sheet) // 2], sheet.replace(b"xl/workbook.xml", b"xl/workbook.xm_")
    old = base64.b64decode("0M8R4KGxGuE=") + b"x" * 1000
    answers = [
        send_sheet(miko, content)
        for content in (b"", b"PK", b"PK\3\4" + b"x" * 99, old, cut, damaged, entities, far, bomb)
    ]
    assert all(answer["result"] is False for answer in answers), answers
    assert "rows" in answers[-2]["messages"][0]
    assert "32 MiB" in answers[-1]["messages"][0]
    assert miko.refused("POST", "upload-xls", b"{}") == ["error upload file: file is empty"]


def rewrite(sheet, name, change):
    """The file with one part changed."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sheet)) as before, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as after:
        for part in before.namelist():
            content = before.read(part)
            after.writestr(part, change(content) if part == name else content)
    return made.getvalue()


# ---------------------------------------------------------------------------------------------------------- sounds


def upload(miko, content, name="1.mp3"):
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: audio/mpeg\r\n\r\n'
    raw = head.encode() + content + b"\r\n--b--\r\n"
    return miko.ask("POST", "audio", raw, headers={"Content-Type": "multipart/form-data; boundary=b"})


def test_an_uploaded_file_is_usable_in_a_poll(miko, native, tmp_path):
    tone = write_tone(tmp_path / "1.wav", 0.5).read_bytes()
    name = upload(miko, tone)["data"]["filename"]
    assert upload(miko, tone)["data"]["filename"] == name
    assert name in [one["path"] for one in miko.data("GET", "audio")]
    made = miko.data("POST", "polling", {"name": "f", "questions": [{"questionFile": name, "press": [
        {"key": "1", "action": "playback", "value": name, "valueOptions": "file"}]}]})  # fmt: skip
    question = native.ask("GET", f"/api/v1/surveys/{made['id']}")["questions"][0]
    assert question["sound"] == question["options"]["1"]["sound"] == f"tandem/{Path(name).stem}"
    for path in ("/etc/passwd", "../x.wav", f"{name}/../../x"):
        assert miko.refused("POST", "polling", {"name": "f", "questions": [{"questionFile": path}]})
    assert miko.data("DELETE", "audio/1.mp3") == []
    assert miko.data("DELETE", "audio/1.mp3") == []
    assert upload(miko, b"")["messages"] == ["error upload file: file is empty"]
    assert upload(miko, b"no audio at all")["result"] is False


# ---------------------------------------------------------------------------------------------------------- hostile

HOSTILE = ["'; DROP TABLE numbers; --", "a\r\nb", "a;b[c]", "\0", "\ud800", "x" * 100_000, 10**30, -1, 1.5, True, [], {}, [[[[]]]], {"a": {"b": []}}]  # fmt: skip
TASK_FIELDS = ("crmId", "name", "state", "innerNum", "innerNumType", "maxCountChannels", "dialPrefix", "maxAttempt", "tryInterval", "attemptUntilSignal",
               "timeStart", "timeEnd", "isCallback", "numbers")  # fmt: skip
NUMBER_FIELDS = ("number", "params", "timeCallAllow", "clientId", "TimeOffset")
QUESTION_FIELDS = (
    "questionId",
    "questionText",
    "questionFile",
    "lang",
    "timeout",
    "defPress",
    "type",
    "nextQuestion",
    "press",
)
PRESS_FIELDS = (
    "key",
    "action",
    "value",
    "valueOptions",
    "nextQuestion",
    "recognizeLabel",
    "needRecognize",
    "crmResponseTemplate",
)
CLIENT_FIELDS = ("crmId", "name", "phones", "properties")


def test_hostile_values_of_every_field_are_answered_in_the_envelope(miko, poll):
    bodies = []
    for value in HOSTILE:
        task = {"name": "h", "state": 2, "innerNum": poll["id"], "innerNumType": "polling", "numbers": ["0301"]}
        bodies += [("task", {**task, name: value}) for name in TASK_FIELDS]
        bodies += [("task", {**task, "numbers": [{"number": "0301", name: value}]}) for name in NUMBER_FIELDS]
        question = {"questionId": "q", "questionText": "Q"}
        bodies += [("polling", {"name": "h", "questions": [{**question, name: value}]}) for name in QUESTION_FIELDS]
        press = {"key": "1", "action": "answer"}
        bodies += [
            ("polling", {"name": "h", "questions": [{**question, "press": [{**press, name: value}]}]})
            for name in PRESS_FIELDS
        ]
        press = {"key": "1", "action": "send_crm", "crmResponseTemplate": value}
        client = {"crmId": "h", "phones": ["0301"]}
        bodies += [("client", [{**client, name: value}]) for name in CLIENT_FIELDS]
        bodies += [
            ("client", [{**client, "properties": [{"key": "k", "value": "v", name: value}]}])
            for name in ("key", "value")
        ]
        bodies += [("task-signal-close", {"phone": "0301", name: value}) for name in ("phone", "taskId")]
        bodies += [
            ("polling", {"name": "h", "questions": [{**question, "press": [press]}]}),
            ("client", value),
            ("client", [value]),
            ("task-signal-close", value),
        ]
        bodies += [
            ("polling", {"name": value, "questions": [question]}),
            ("polling", {"name": "h", "questions": value}),
            ("task", value),
        ]
    refused = 0
    for path, body in bodies:
        answer = miko.ask("POST", path, body)
        assert set(answer) == {"result", "data", "messages", "function", "processor", "pid"}
        refused += not answer["result"]
    assert refused > len(bodies) / 2
    assert miko.data("GET", "task")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"[1]", b'"x"', b"null", b"1" * 5000, b"[" * 5000, b'{"name": "\\u0000"}']
)
def test_bodies_that_are_no_object_are_refused(miko, raw):
    for method, path in (("POST", "polling"), ("POST", "task")):
        answer = miko.ask(method, path, raw)
        assert answer["result"] is False


def test_unknown_routes_are_404_in_the_envelope(miko):
    assert miko.ask("GET", "nothing", status=404)["result"] is False
    assert miko.data("POST", "polling", b"\xef\xbb\xbf" + json.dumps(POLL).encode())["id"]


# ------------------------------------------------------------------------------------------------ the printed examples


def test_the_printed_examples_run_as_printed(miko, poll):
    found = list(SEEDS.glob("003_*.txt"))
    if not found:
        lacks("the vendor's document")
    text = found[0].read_text(encoding="utf-8")
    curls = re.findall(r"JSON='(\{.*?\})';\s*curl -X POST -d \"\$JSON\" http://127.0.0.1(\S+)", text, re.DOTALL)
    assert curls
    for body, path in curls:
        made = miko.data("POST", path, body.encode())
        assert made["name"] == json.loads(body)["name"]
    # Its shell quoting is broken: what is meant is what stands between the outer quotes.
    body, path = re.findall(r"JSON=\"(\{.*?\})\";\s*curl -X POST -d \"\$JSON\" http://127.0.0.1(\S+)", text, re.DOTALL)[
        0
    ]
    task = json.loads(body) | {"innerNum": poll["id"], "state": 2}
    made = miko.data("POST", path, task)
    assert (made["innerNumType"], made["maxCountChannels"], made["dialPrefix"]) == ("polling", 1, "999")
    for path in re.findall(r"^curl '?http://127.0.0.1(/[^' ]+)'?$", text, re.MULTILINE):
        assert miko.data("GET", path)
