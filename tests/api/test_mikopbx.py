"""The MikoPBX auto dialer's API over HTTP: its login, envelope and types, polls, sounds; the vendor's printed examples as printed; hostile input."""

import json
import re
from pathlib import Path

import pytest

from tests.api.conftest import Client, Server
from tests.api.mikopbx_site import PASSWORD, POLL, Miko, as_proxied, log_in, share_site
from tests.audio import write_tone
from tests.beside import lacks

SEEDS = Path(__file__).parents[3] / "shared" / "specs" / "seeds"
server, miko, native, poll = share_site()


# ----------------------------------------------------------------------------------------------------------- login


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


def test_no_page_in_a_browser_on_this_machine_is_a_program(server, miko):
    """Without this, whoever's page is open there could have anybody called: JSON is read whatever its type, so no browser asks before it sends."""
    for headers in (
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"},
        {"Host": f"127.0.0.1.evil.example:{server.port}"}, {"Host": "[::1"}, {"Host": ""},
    ):  # fmt: skip
        miko.ask("POST", "polling", POLL, status=401, headers=headers)
    for host in ("localhost", f"127.0.0.1:{server.port}", "[::1]:80"):
        miko.data("GET", "polling", headers={"Host": host})


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
    # Of a file that is not there (any more) the text is spoken.
    gone = str(Path(name).with_name("gone.wav"))
    assert miko.refused("POST", "polling", {"name": "f", "questions": [{"questionFile": gone}]})
    spoken = miko.data(
        "POST",
        "polling",
        {"name": "g", "questions": [{"questionFile": gone, "questionText": "Hello", "lang": "ru-RU"}]},
    )
    question = native.ask("GET", f"/api/v1/surveys/{spoken['id']}")["questions"][0]
    assert (question["sound"], question["text"]) == (None, "Hello")
    mixed = [{"questionText": "Hello", "lang": "en-US"}, {"questionText": "Hallo", "lang": "de-DE"}]
    assert "questions[1].lang" in miko.refused("POST", "polling", {"name": "h", "questions": mixed})[0]
    assert f"surveys/{made['id']}" in miko.refused("DELETE", "audio/1.mp3")[0]
    miko.data("DELETE", f"polling/{made['id']}")
    assert miko.data("DELETE", "audio/1.mp3") == []
    assert miko.data("DELETE", "audio/1.mp3") == []
    assert upload(miko, b"")["messages"] == ["error upload file: file is empty"]
    assert upload(miko, b"no audio at all")["result"] is False


# ---------------------------------------------------------------------------------------------------------- hostile

HOSTILE = ["'; DROP TABLE numbers; --", "a\r\nb", "a;b[c]", "\0", "\ud800", "x" * 1_000_000, 10**30, -1, 1.5, True, [], {}, [[[[]]]], {"a": {"b": []}}]  # fmt: skip
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
