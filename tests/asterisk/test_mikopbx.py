"""A MikoPBX client's poll and task, in a whole Tandem beside a real Asterisk: a person presses keys, and polling-results has the answers."""

import json
from http.client import HTTPConnection

import pytest

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.sipp import HangUp, Press, Wait, run_phone
from tandem.cli.control import _UnixConnection
from tests.asterisk.test_api import Site
from tests.asterisk.test_campaigns import FAR, FAR_PORT

pytestmark = pytest.mark.asterisk

BASE = "/pbxcore/api/module-dialer/v1"
DOCUMENT = f"""
general: {{country: DE, language: en, outbound_trunk: far}}
trunks: [{{name: far, hosts: ["{FAR}:{FAR_PORT}"], match: ["{FAR}"]}}]
"""


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT) as pbx:
        pbx.serve()
        Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        yield pbx


def ask(pbx, method, path, body=None):
    connection: HTTPConnection = _UnixConnection(pbx.folder / "run" / "control.sock", 30)
    try:
        raw = json.dumps(body).encode() if body is not None else None
        connection.request(method, f"{BASE}/{path}", raw, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    assert answer["result"] is True, answer
    return answer["data"]


def test_polling_and_task_then_keys_then_polling_results(pbx):
    poll = ask(pbx, "POST", "polling", {
        "name": "New polling", "questions": [
            {"questionId": "1", "questionText": "Hello <name>. To order, press 1.", "nextQuestion": "2", "press": [{"key": "1", "action": "answer", "value": "order"}]},
            {"questionId": "2", "questionText": "Press 3 to end.", "press": [{"key": "3", "action": "playback", "value": "Thank you", "valueOptions": "text"}]},
        ],
    })  # fmt: skip
    steps = [Wait(1.5), Press("1", "info"), Wait(1.5), Press("3", "info"), Wait(5), HangUp()]
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.3, steps=steps) as people:
        task = ask(pbx, "POST", "task", {
            "name": "New polling task", "state": 0, "innerNum": poll["id"], "innerNumType": "polling", "maxCountChannels": 1, "dialPrefix": "9",
            "numbers": [{"number": "+4930 12345", "params": {"name": "Anna"}}],
        })  # fmt: skip
        found = wait_until(
            lambda: len(rows := ask(pbx, "GET", "polling-results/0")["results"]) == 2 and rows,
            "two answers",
            timeout_s=40,
        )
        done = wait_until(
            lambda: (one := ask(pbx, "GET", f"task/{task['id']}"))["results"][0]["result"] and one,
            "the task closes",
            timeout_s=40,
        )
        (leg,) = people.read_legs()
    assert leg.called == "9493012345"
    assert [(row["questionCrmId"], row["result"], row["exten"], row["phone"], row["taskId"]) for row in found] == [
        ("1", "order", "1", "+493012345", task["id"]), ("2", "3", "3", "+493012345", task["id"]),
    ]  # fmt: skip
    assert done["state"] == "1"
    (row,) = done["results"]
    assert (row["result"], row["state"], row["cause"].partition(" ")[0]) == (
        "SUCCESS_POLLING",
        "EVENT_POLLING_END",
        "answered",
    )
    assert [answer["id"] for answer in done["resultsPoling"]] == [answer["id"] for answer in found]
    assert row["id"] in [one["id"] for one in ask(pbx, "GET", "results/0")["results"]]


def test_whoever_is_busy_is_told_apart_by_the_cause(pbx):
    poll = ask(pbx, "POST", "polling", {"name": "x", "questions": [{"questionText": "One?"}]})
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, refuse=486):
        task = ask(
            pbx,
            "POST",
            "task",
            {"name": "b", "innerNum": poll["id"], "innerNumType": "polling", "numbers": ["03012345"]},
        )
        done = wait_until(
            lambda: (one := ask(pbx, "GET", f"task/{task['id']}"))["results"][0]["result"] and one,
            "the task closes",
            timeout_s=40,
        )
    (row,) = done["results"]
    assert row["result"] == "FAIL"
    assert row["cause"].startswith("busy")
