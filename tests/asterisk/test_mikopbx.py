"""A MikoPBX client's polls and tasks, in a whole Tandem beside a real Asterisk: people press keys, employees are called first or are busy, signals close, and the results say so."""

import contextlib
import json
import re
import sys
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.ports import find_free_port
from lab.sipp import AwaitBye, HangUp, Press, Wait, register_phones, run_phone
from tandem.cli.control import _UnixConnection
from tandem.domain.sounds import choose_voice
from tandem.speech import digest_speech
from tests.asterisk.test_api import Site
from tests.asterisk.test_campaigns import FAR, FAR_PORT

pytestmark = pytest.mark.asterisk

BASE = "/pbxcore/api/module-dialer/v1"
SECRET = "swordfish-of-the-lab"
# 1001 presses 1 and talks for a while, 1002 presses 2, 1003 is busy for as long as a test wants; 1004 is not there.
DOCUMENT = f"""
general: {{country: DE, language: en, outbound_trunk: far}}
trunks: [{{name: far, hosts: ["{FAR}:{FAR_PORT}"], match: ["{FAR}"]}}]
announcements: [{{name: news, prompts: [demo-congrats, demo-congrats]}}]
endpoints:
  - {{extension: "1001", secret: {SECRET}}}
  - {{extension: "1002", secret: {SECRET}}}
  - {{extension: "1003", secret: {SECRET}}}
  - {{extension: "1004", secret: {SECRET}}}
queues:
  - {{name: desk, extension: "2001", members: [{{endpoint: "1001"}}], fallback: {{hangup: normal}}}}
"""
EMPLOYEES = {
    "1001": [Wait(2), Press("1"), Wait(4), HangUp()],
    "1002": [Wait(2), Press("2"), AwaitBye()],
    "1003": [AwaitBye()],
}


class Crm(ThreadingHTTPServer):
    """The client's own server: keeps what it is told, and says what becomes of an order. Listens where Asterisk is."""

    daemon_threads = True

    def __init__(self, listening):
        self.told = []
        super().__init__(("127.0.0.1", 0), self.Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            body = b'{"result": "is on its way"}'
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass


@pytest.fixture(scope="module")
def crm_port():
    return find_free_port()


@pytest.fixture
def crm(pbx, crm_port):
    crm = Crm(pbx.asterisk.listen("127.0.0.1", crm_port))
    thread = threading.Thread(target=crm.serve_forever, daemon=True)
    thread.start()
    yield crm
    crm.shutdown()
    crm.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def pbx(asterisk_install, crm_port):
    port = str(find_free_port())
    settings = {"http.port": port, "apis.mikopbx.crm_url": f"http://127.0.0.1:{crm_port}/answers"}
    with LabPbx(asterisk_install, DOCUMENT, settings) as pbx:
        pbx.port = port
        pbx.serve()
        Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        with contextlib.ExitStack() as phones:
            pbx.employees = {}
            for place, (extension, steps) in enumerate(EMPLOYEES.items()):
                port = 5070 + 10 * place
                register_phones(pbx.asterisk, [(extension, SECRET)], port=port)
                pbx.employees[extension] = phones.enter_context(
                    run_phone(pbx.asterisk, port=port, ring_s=0.3, steps=steps)
                )
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
    steps = [Wait(1.5), Press("1"), Wait(1.5), Press("3"), Wait(5), HangUp()]
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


def test_answers_are_sent_to_the_crm_and_what_it_says_is_heard(pbx, crm):
    press = [{"key": "1", "action": "answer", "value": "pizza"}]
    send = {"key": "2", "action": "send_crm", "crmResponseTemplate": "Your order <result>"}
    poll = ask(pbx, "POST", "polling", {"name": "s", "questions": [
        {"questionId": "what", "questionText": "What?", "nextQuestion": "sure", "press": press},
        {"questionId": "sure", "questionText": "Sure?", "press": [send]},
    ]})  # fmt: skip
    mark = len(pbx.asterisk.read_log())
    steps = [Wait(1.5), Press("1"), Wait(1.5), Press("2"), AwaitBye()]
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=steps) as people:
        task = run_task(pbx, "0301234501", innerNum=poll["id"], innerNumType="polling")
        assert closed_row(pbx, task)["result"] == "SUCCESS_POLLING"
        (leg,) = people.read_legs()
    (told,) = crm.told
    assert (told["phone_number"], told["survey_id"]) == ("0301234501", int(poll["id"]))
    assert [(one["question"], one["key"], one["value"]) for one in told["answers"]] == [
        ("what", "1", "pizza"), ("sure", "2", "2"),
    ]  # fmt: skip
    # It was said to the end, and the call ended by itself.
    survey = Site(pbx).ask("GET", f"/api/v1/surveys/{poll['id']}")
    language = survey["language"] or "en"
    voice = choose_voice(survey["voice"], language)
    spoken = digest_speech(("spoken",), "Your order is on its way", voice, language)[:40]
    assert f"/{spoken}." in pbx.asterisk.read_log()[mark:]
    assert leg.at_ms("bye") is not None


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


def run_task(pbx, number, **fields):
    return ask(pbx, "POST", "task", {"name": "t", "state": 0, "numbers": [number], **fields})


def closed_row(pbx, task, timeout_s=40):
    """The task's only number, once it has its result."""

    def look():
        (row,) = ask(pbx, "GET", f"task/{task['id']}")["results"]
        return row["result"] and row

    return wait_until(look, "the row closes", timeout_s=timeout_s)


def test_a_called_person_presses_keys_as_telephone_events_and_by_info(pbx):
    """Payload 101 is the one that Asterisk offered; SIP INFO is the other way that phones have."""
    poll = ask(pbx, "POST", "polling", {"name": "k", "questions": [
        {"questionId": "1", "questionText": "One?", "timeout": 10, "nextQuestion": "2", "press": [{"key": "42#", "action": "answer"}]},
        {"questionId": "2", "questionText": "Two?", "timeout": 10, "press": [{"key": "7", "action": "answer"}]},
    ]})  # fmt: skip
    steps = [Wait(2), Press("42#"), Wait(2), Press("7", "info"), Wait(5), HangUp()]
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=steps):
        task = run_task(pbx, "0301234500", innerNum=poll["id"], innerNumType="polling")
        assert closed_row(pbx, task)["result"] == "SUCCESS_POLLING"
    answers = ask(pbx, "GET", f"task/{task['id']}")["resultsPoling"]
    assert [(one["questionCrmId"], one["exten"]) for one in answers] == [("1", "42#"), ("2", "7")]


def test_the_employee_first_and_then_the_client(pbx):
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.5) as clients:
        task = run_task(pbx, "0301234501", innerNum="1001", isCallback=1, dialPrefix="9")
        row = closed_row(pbx, task)
        (client,) = clients.wait_for("bye")
    employee = pbx.employees["1001"].read_legs()[-1]
    # The employee sees whom they will talk to, and hangs up; the client was called after they pressed 1.
    assert "0301234501" in employee.caller
    assert client.called == "90301234501"
    assert employee.talk_s - client.talk_s > 2.2
    assert (row["result"], row["inDialState"], row["cause"].partition(" ")[0]) == (
        "SUCCESS_USER_H",
        "ANSWER",
        "answered",
    )


def test_somebody_of_a_queue_first_and_then_the_client(pbx):
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.5) as clients:
        row = closed_row(pbx, run_task(pbx, "0301234510", innerNum="2001", isCallback=1))
        (client,) = clients.wait_for("bye")
    assert pbx.employees["1001"].read_legs()[-1].talk_s - client.talk_s > 2.2
    assert (row["result"], row["inDialState"]) == ("SUCCESS_USER_H", "ANSWER")


def test_an_employee_who_does_not_accept_is_not_connected(pbx):
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.5) as clients:
        task = run_task(pbx, "0301234502", innerNum="1002", isCallback=1)
        row = closed_row(pbx, task)
        assert clients.read_legs() == ()
    assert (row["result"], row["state"]) == ("FAIL_USER_BUSY", "UserCancelCallback")


def test_a_client_who_is_busy_after_the_employee_has_accepted(pbx):
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, refuse=486):
        row = closed_row(pbx, run_task(pbx, "0301234503", innerNum="1001", isCallback=1))
    assert (row["result"], row["cause"].partition(" ")[0]) == ("FAIL", "busy")


def test_nobody_is_called_while_the_employee_talks(pbx):
    site = Site(pbx)
    call = site.ask(
        "POST", "/api/v1/calls", {"origin": {"endpoint": "1003"}, "destination": {"announcement": "news"}}, 202
    )
    site.wait_for(f"/api/v1/calls/{call['call_id']}", lambda one: one["state"] == "answered")
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[Wait(6), HangUp()]) as clients:
        task = run_task(pbx, "0301234504", innerNum="1003")
        (number,) = site.ask("GET", f"/api/v1/campaigns/{task['id']}/numbers")["items"]
        why = f"/api/v1/numbers/{number['number_id']}/why"
        site.wait_for(
            why,
            lambda found: (
                [one["message"] for one in found["reasons"]] == ["no agent is free for it (free: 0; mode: progressive)"]
            ),
        )
        assert clients.read_legs() == ()
        site.ask("DELETE", f"/api/v1/calls/{call['call_id']}", status=204)
        clients.wait_for("answered", timeout_s=20)
        row = closed_row(pbx, task)
    assert row["result"] == "SUCCESS_CLIENT_H"


def test_who_answers_when_the_employee_is_not_there_is_told(pbx):
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=2, steps=[Wait(30), HangUp()]) as clients:
        task = run_task(pbx, "0301234505", innerNum="1003")
        clients.wait_for("invited", timeout_s=20)
        site = Site(pbx)
        call = site.ask(
            "POST", "/api/v1/calls", {"origin": {"endpoint": "1003"}, "destination": {"announcement": "news"}}, 202
        )
        row = closed_row(pbx, task)
        site.ask("DELETE", f"/api/v1/calls/{call['call_id']}", status=204)
        (client,) = clients.wait_for("bye")
    assert row["result"] == "FAIL_USER_BUSY"
    # They heard why, which takes a moment, and were not silenced.
    assert client.at_ms("bye") - client.at_ms("answered") > 1000


def test_a_task_for_a_phone_that_is_not_there_waits(pbx):
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT) as clients:
        task = run_task(pbx, "0301234506", innerNum="1004")
        site = Site(pbx)
        (number,) = site.ask("GET", f"/api/v1/campaigns/{task['id']}/numbers")["items"]
        site.wait_for(
            f"/api/v1/numbers/{number['number_id']}/why",
            lambda found: [one["rule"] for one in found["reasons"]] == ["agents"],
        )
        assert clients.read_legs() == ()
    ask(pbx, "DELETE", f"task/{task['id']}")


def test_a_signal_closes_the_row_of_a_call_that_goes_on_and_it_is_not_tried_again(pbx):
    poll = ask(
        pbx,
        "POST",
        "polling",
        {
            "name": "s",
            "questions": [{"questionText": "One?", "timeout": 2, "press": [{"key": "1", "action": "answer"}]}],
        },
    )
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[Wait(3), HangUp()]) as clients:
        fields = {
            "innerNum": poll["id"],
            "innerNumType": "polling",
            "maxAttempt": 5,
            "tryInterval": 1,
            "attemptUntilSignal": 1,
        }
        task = run_task(pbx, "0301234507", **fields)
        # One call after the other, until the signal.
        clients.wait_for("answered", count=2, timeout_s=40)
        signal = {"phone": "+49301234507", "taskId": task["id"]}
        assert ask(pbx, "POST", "task-signal-close", {**signal, "phone": "0301234507"})["taskId"] == task["id"]
        row = closed_row(pbx, task)
        clients.wait_for("hangup", count=2)
        assert row["result"] == "SUCCESS_EXTERNAL_SIGNAL"
        # The task is closed with it: nothing is open, so nothing can be dialled.
        assert ask(pbx, "GET", f"task/{task['id']}")["state"] == "1"
        assert len(clients.read_legs()) == 2


def test_a_client_with_two_telephones_is_called_at_one(pbx):
    poll = ask(
        pbx,
        "POST",
        "polling",
        {
            "name": "c",
            "questions": [{"questionText": "Hello <NAME>, one?", "press": [{"key": "1", "action": "answer"}]}],
        },
    )
    ask(
        pbx,
        "POST",
        "client",
        [{"crmId": "c-1", "name": "Anna", "phones": ["0301234508", "0301234509"], "properties": []}],
    )
    numbers = [{"number": f"030123450{last}", "clientId": "c-1"} for last in (8, 9)]
    with run_phone(
        pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[Wait(2.5), Press("1"), Wait(4), HangUp()]
    ) as clients:
        task = run_task(pbx, "", innerNum=poll["id"], innerNumType="polling", maxCountChannels=2, numbers=numbers)
        done = wait_until(
            lambda: (one := ask(pbx, "GET", f"task/{task['id']}"))["state"] == "1" and one,
            "the task closes",
            timeout_s=40,
        )
        assert [leg.called for leg in clients.read_legs()] == ["0301234508"]
    assert [(row["result"], row["clientId"]) for row in done["results"]] == [
        ("SUCCESS_POLLING", "c-1"),
        ("SUCCESS_ANOTHER_PHONE", "c-1"),
    ]


def test_the_program_of_the_documentation_runs_as_printed(pbx):
    """Apart from the address and the token."""
    page = (Path(__file__).parents[2] / "docs" / "mikopbx.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    site = Site(pbx)
    token = site.ask(
        "POST",
        "/api/v1/tokens",
        {"name": "doc", "permissions": ["surveys/*", "campaigns/*", "numbers/read", "calls/national"]},
        201,
    )
    program = program.replace("127.0.0.1:8080", f"127.0.0.1:{pbx.port}").replace(
        '"tandem_…"', json.dumps(token["secret"])
    )
    path = pbx.folder / "program.py"
    path.write_text(program, encoding="utf-8")
    output = pbx.folder / "program.out"
    steps = [Wait(2), Press("1"), Wait(4), HangUp()]
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=steps), output.open("wb") as file:
        running = pbx.asterisk.popen([sys.executable, "-u", str(path)], stdout=file, stderr=file)
        try:
            wait_until(
                lambda: "+493055510101 1 order" in output.read_text(), "the program prints the answer", timeout_s=60
            )
            assert running.poll() is None
        finally:
            running.kill()
            running.wait()
