"""The While1 Voice API beside a real Asterisk: the agent rings first and then the customer, the CDR by external_id, and the vendor's own PHP."""

import ast
import contextlib
import html
import json
import re
import shutil
import sqlite3
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest

from api.compat.php_names import build_query
from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.ports import find_free_port
from lab.sipp import AwaitBye, Caller, HangUp, Press, Wait, place_calls, register_phones, run_phone
from tests.asterisk.test_api import Site
from tests.beside import lacks

pytestmark = pytest.mark.asterisk

SEED = next(iter((Path(__file__).parents[3] / "shared" / "specs" / "seeds").glob("004_*.txt")), None)
CARRIER, PHONE_PORT = "127.0.0.2", 5070
DOCUMENT = f"""
general: {{country: DE, outbound_trunk: carrier, allowed_contexts: [from-admin]}}
trunks: [{{name: carrier, hosts: ["{CARRIER}:5060"], match: ["{CARRIER}"]}}, {{name: default-trunk, hosts: ["{CARRIER}:5060"], match: ["127.0.0.9"]}}]
voicemail_boxes: [{{mailbox: "1001", pin: "471147", email: anna@example.com}}]
endpoints:
  - {{extension: "1001", secret: secret-1001, name: anna, voicemail: "1001", permissions: [internal, international]}}
  - {{extension: "1002", secret: secret-1002, name: ben}}
queues:
  - {{name: test-queue, members: [{{endpoint: "1001"}}], join_when_empty: true, fallback: {{hangup: busy}}}}
  - {{name: remote-queue, join_when_empty: true, fallback: {{hangup: busy}}}}
dids: [{{number: "+493010001", destination: {{queue: remote-queue}}}}]
"""
# Where a call of the type `context` begins: whoever is rung by the admin's own dialplan.
DIALPLAN = "exten => s,1,Answer(,i)\n same => n,NoOp(shown ${BACKEND_LINK})\n same => n,Wait(60)\n same => n,Hangup()\n"
CALL = {
    "project_id": 1, "caller_id": "0305550100", "caller_id_name": "John Doe", "type": "user", "destination": "anna", "external_id": "x",
    "outbound_number": "+49302555", "outbound_trunk": "default-trunk", "vars": {"BACKEND_LINK": "https://crm.example/?id=1"},
}  # fmt: skip


class Voice:
    def __init__(self, pbx):
        self.site = Site(pbx)

    def ask(self, name, params):
        body = build_query(params).encode()
        return self.site.ask("POST", f"/api/{name}", body)

    def get(self, name, params):
        answer = self.ask(name, params)
        assert not answer["has_error"], answer
        return answer["results"]


@pytest.fixture(scope="module")
def port():
    return find_free_port()


@pytest.fixture(scope="module")
def pbx(asterisk_install, port):
    # The customer is there before the trunk is: one that Asterisk has found dead is asked again after a minute only.
    with (
        LabPbx(asterisk_install, DOCUMENT, {"http.port": str(port)}, admin_dialplan=DIALPLAN) as pbx,
        run_phone(pbx.asterisk, host=CARRIER, port=5060, ring_s=0.3, steps=[Wait(1), HangUp()]) as customer,
    ):
        pbx.serve()
        Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        register_phones(pbx.asterisk, [("1001", "secret-1001")], port=PHONE_PORT)
        with run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=0.5) as phone:
            pbx.phone, pbx.customer = phone, customer
            yield pbx


@pytest.fixture
def voice(pbx):
    return Voice(pbx)


def wait_cdr(voice, external_id):
    deadline = time.monotonic() + 30
    while not (found := voice.get("cdr", {"filters": {"external_id": external_id}})):
        assert time.monotonic() < deadline, "no CDR came"
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(
    ("kind", "name", "waiting"),
    [("user", "anna", 0), ("user_email", "anna@example.com", 1), ("extension", "1001", 0), ("queue", "test-queue", 0)],
)
def test_the_agent_rings_first_and_then_the_customer(pbx, voice, kind, name, waiting):
    before = len(pbx.phone.read_legs()), len(pbx.customer.read_legs())
    external_id = f"{kind}-call"
    data = {**CALL, "type": kind, "destination": name, "external_id": external_id, "async": waiting}
    (placed,) = voice.get("originate-call", {"data": data})
    assert placed["external_id"] == external_id
    assert waiting or placed["status"] in ("answered", "ended")
    # The same again is the same call.
    (again,) = voice.get("originate-call", {"data": data})
    assert again["uniqueid"] == placed["uniqueid"]
    refused = voice.ask("originate-call", {"data": {**data, "caller_id": "0305550199"}})
    assert refused["messages"] == [f"external_id: {external_id} was used before, for another call"]
    (cdr,) = wait_cdr(voice, external_id)
    assert (cdr["id"], cdr["project_id"], cdr["call_status"]) == (placed["uniqueid"], "1", "ANSWERED")
    agent, customer = pbx.phone.read_legs()[before[0] :], pbx.customer.read_legs()[before[1] :]
    assert (len(agent), len(customer)) == (1, 1)
    assert agent[0].is_answered
    assert customer[0].is_answered
    assert voice.site.ask("GET", f"/api/v1/cdrs?external_id={external_id}")["items"][0]["call_id"] == cdr["id"]


def wait_customer(pbx, before):
    """The customer's first leg after so many, once it was answered."""
    return wait_until(lambda: [leg for leg in pbx.customer.read_legs()[before:] if leg.is_answered], "the customer")[0]


def read_channels(pbx, beginning):
    """Each channel of that name with its variables, as Asterisk's console shows them."""
    names = [line.partition("!")[0] for line in pbx.asterisk.cli("core show channels concise").splitlines()]
    return [pbx.asterisk.cli(f"core show channel {name}") for name in names if name.startswith(beginning)]


def test_variables_are_those_of_the_agent_and_of_the_customer_and_notes_are_kept(pbx, voice):
    data = {
        **CALL,
        "external_id": "seen",
        "async": 0,
        "vars": {"BACKEND_LINK": "https://crm.example/?id=1&x=2", "SKIP_WELCOME": "1"},
    }
    voice.get("originate-call", {"data": data})
    # The customer talks for a second.
    shown = wait_until(lambda: read_channels(pbx, "PJSIP/default-trunk-"), "the customer's channel")
    for channel in (*shown, *read_channels(pbx, "PJSIP/1001-")):
        assert "BACKEND_LINK=https://crm.example/?id=1&x=2" in channel
        assert "SKIP_WELCOME=1" in channel
    (cdr,) = wait_cdr(voice, "seen")
    said = {
        "type": "monitor",
        "filename": "a.wav",
        "provider": "example",
        "remote_id": "7",
        "text": "Good morning",
        "metadata": {"n": "1"},
    }
    row = {"id": cdr["id"], "comments": "wants a call back", "accounting_code": "4711", "transcriptions": [said]}
    assert voice.get("cdr", {"action": "save", "data": [row]}) == [{"id": cdr["id"], "result": 1}]
    (cdr,) = voice.get("cdr", {"filters": {"external_id": "seen", "has_transcription": 1}})
    assert {name: cdr[name] for name in row} == row


def test_a_call_for_a_context_is_its_dialplans_and_then_the_customers(pbx, voice):
    before, mark = len(pbx.customer.read_legs()), len(pbx.asterisk.read_log())
    data = {**CALL, "type": "context", "destination": "from-admin", "external_id": "context-call", "async": 0}
    (placed,) = voice.get("originate-call", {"data": data})
    assert placed["status"] in ("answered", "ended")
    assert wait_customer(pbx, before).called == "0305550100"
    assert 'NoOp("Local/s@from-admin' in pbx.asterisk.read_log()[mark:]
    assert "shown https://crm.example/?id=1" in pbx.asterisk.read_log()[mark:]
    (cdr,) = wait_cdr(voice, "context-call")
    assert (cdr["id"], cdr["direction"], cdr["trunk"]) == (placed["uniqueid"], "OUT", "default-trunk")


def change_calls(pbx, external_id, what):
    """Of the calls that are over and have this id."""
    sql = f"UPDATE placed_calls SET {what} WHERE external_id = ? AND ended_at IS NOT NULL"
    with contextlib.closing(sqlite3.connect(pbx.folder / "tandem.db", isolation_level=None, timeout=20)) as db:
        return db.execute(sql, (external_id,)).rowcount


@pytest.mark.parametrize(
    ("name", "what"), [("unsent", "is_unsent = 1"), ("old", "ended_at = '2024-03-01T10:00:00.000000+00:00'")]
)
def test_an_id_is_free_again_where_nobody_was_called_or_long_after(pbx, voice, name, what):
    before, data = len(pbx.phone.read_legs()), {**CALL, "external_id": f"{name}-call", "async": 0}
    (first,) = voice.get("originate-call", {"data": data})
    wait_cdr(voice, data["external_id"])
    wait_until(lambda: change_calls(pbx, data["external_id"], what) == 1, "the call is over")
    (second,) = voice.get("originate-call", {"data": data})
    assert second["uniqueid"] != first["uniqueid"]
    # One new call, and that one is known again.
    assert voice.get("originate-call", {"data": data})[0]["uniqueid"] == second["uniqueid"]
    wait_until(lambda: len(wait_cdr(voice, data["external_id"])) == 2, "both CDRs")
    assert [leg.is_answered for leg in pbx.phone.read_legs()[before:]] == [True, True]


def test_whoever_does_not_answer_is_told_at_once(voice):
    answer = voice.ask("originate-call", {"data": {**CALL, "destination": "ben", "external_id": "nobody", "async": 0}})
    assert answer["has_error"]
    assert answer["messages"][0].startswith("The call was not answered: ")


def test_channels_are_listed_redirected_and_hung_up(pbx, voice):
    voice.get(
        "originate-call",
        {"data": {**CALL, "type": "context", "destination": "from-admin", "external_id": "ctx", "caller_id": "1001"}},
    )
    data = {"tech": "SIP/anna", "context": "from-admin", "exten": "100"}
    (placed,) = voice.get("channel", {"action": "originate", "data": data})

    def find():
        return [one for one in voice.get("channel", {"action": "list"}) if one["uniqueid"] == placed["uniqueid"]]

    deadline = time.monotonic() + 20
    while not (found := find()) or found[0]["state"] != "up":
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    name = found[0]["channel"]
    voice.get(
        "channel",
        {"action": "redirect", "data": {"channel": name, "context": "from-admin", "exten": "100", "priority": 1}},
    )
    refused = voice.ask(
        "channel", {"action": "redirect", "data": {"channel": name, "context": "tandem-jump", "exten": "s"}}
    )
    assert refused["messages"] == ["dialplan: context tandem-jump is not in general.allowed_contexts"]
    assert voice.get("channel", {"action": "hangup", "data": {"channel": name}}) == [
        {"channel": name, "uniqueid": placed["uniqueid"]}
    ]
    while find():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert voice.ask("channel", {"action": "hangup", "data": {"channel": name}})["messages"] == [
        "there is no such channel"
    ]
    voice.get("channel", {"action": "hangup", "data": {"channel": "all"}})


def test_phones_and_queues_as_they_are_now(pbx, voice):
    shown = voice.get("users-status", {"type": "sip"})
    assert (shown["1001"]["status"], shown["1001"]["ip"], shown["1001"]["port"]) == ("OK", "127.0.0.3", PHONE_PORT)
    assert shown["1002"]["status"] != "OK"
    wanted = {"username", "dnid", "in_use", "limit", "status", "ip", "port", "useragent", "extension", "remote_id"}
    assert wanted <= set(shown["1001"])
    assert "pagination" not in voice.ask("users-status", {"type": "sip"})
    whole = voice.get("queues", {"action": "read", "data": {"get_info": 1, "get_db_reports": 1}})
    assert set(whole["test-queue"]["info"]) >= {"calls", "completed", "abandoned", "holdtime"}
    info = voice.get("queues", {"action": "info", "data": {"queue_status": 1}})
    assert set(info) == {"test-queue", "remote-queue"}
    # As the vendor's example asks, blank and all: with the calls of that time.
    filters = {"queues": ["test-queue"], "date_between": ["2023-01-01 00:00:00", " 2099-01-01 23:59:59"]}
    counted = voice.get("queues", {"action": "info", "data": {"queue_status": True}, "filters": filters})["test-queue"]
    assert set(counted) == {*info["test-queue"], "db_reports"}
    entire = {"data": {"get_db_reports": 1}, "filters": filters}
    assert counted["db_reports"] == voice.get("queues", entire)["test-queue"]["db_reports"]
    pause = {"action": "pause", "data": [{"agent_name": "anna", "reason": "lunch", "paused": 1}]}
    assert voice.get("queues", pause) == [{"agent_name": "anna", "user_id": "1001", "result": 1}]
    agent = voice.site.ask("GET", "/api/v1/agents/1001")
    assert (agent["is_paused"], agent["pause_reason"]) == (True, "lunch")
    pause["data"][0]["paused"] = 0
    voice.get("queues", pause)
    assert not voice.site.ask("GET", "/api/v1/agents/1001")["is_paused"]


def go(voice, module, action, **given):
    """An action of goAPI, as its programs send it."""
    answer = voice.site.ask(
        "POST", f"/goAPI/{module}/goAPI.php?{urlencode({'goAction': action, 'responsetype': 'json'} | given)}"
    )
    assert answer["result"] == "success", answer
    return answer


def dial(voice, method, path, body=None):
    """A request of a MikoPBX client."""
    answer = voice.site.ask(method, f"/pbxcore/api/module-dialer/v1/{path}", body)
    assert answer["result"] is True, answer
    return answer["data"]


def test_what_comes_in_by_any_door_is_in_one_database_one_engine_and_one_log(pbx, voice):
    """An IVR by the native API, a DID for it by goAPI, a task by MikoPBX, an originate by While1."""
    menu = {
        "name": "welcome", "prompts": ["hello-world"], "options": {"1": {"queue": "test-queue"}}, "invalid": {"hangup": "normal"},
        "timeout": {"hangup": "normal"}, "fallback": {"hangup": "normal"},
    }  # fmt: skip
    voice.site.ask("POST", "/api/v1/menus", menu, 201)
    did = {"did_pattern": "03010009", "did_description": "Shop", "did_route": "CALLMENU", "menu_id": "welcome"}
    assert "rebuild_conf_status" not in go(voice, "goInbound", "goAddDID", **did)
    before = len(pbx.phone.read_legs())
    steps = [Wait(2), Press("1"), Wait(3), HangUp()]
    with place_calls(pbx.asterisk, [Caller("03010009", "0305550144")], steps=steps, host=CARRIER) as run:
        (caller,) = run.wait(timeout_s=60).legs
    assert caller.is_answered
    assert [leg.is_answered for leg in pbx.phone.read_legs()[before:]] == [True]

    poll = dial(
        voice,
        "POST",
        "polling",
        {"name": "One", "questions": [{"questionText": "One?", "press": [{"key": "1", "action": "answer"}]}]},
    )
    body = {"name": "Task", "state": 0, "innerNum": poll["id"], "innerNumType": "polling", "numbers": ["0305550145"]}
    task = dial(voice, "POST", "task", body)
    wait_until(lambda: dial(voice, "GET", f"task/{task['id']}")["state"] == "1", "the task closes", timeout_s=40)
    data = {**CALL, "external_id": "any-door", "caller_id": "0305550146", "async": 0}
    (placed,) = voice.get("originate-call", {"data": data})
    wait_cdr(voice, "any-door")

    # One engine: the task is a campaign like any other, which goAPI lists, reports and deletes.
    shown = go(voice, "goCampaigns", "goGetAllCampaigns")
    code = shown["campaign_id"][shown["campaign_name"].index("Task")]
    assert [row[1] for row in go(voice, "goReports", "goExportCallReport", campaign_id=code)["rows"]] == ["0305550145"]
    # One set of CDRs, by any door.
    # A campaign's first leg is the number's.
    wanted = {
        "0305550144": ("inbound", "caller"),
        "0305550145": ("outbound", "caller"),
        "0305550146": ("outbound", "called"),
    }

    def find():
        found = {}
        for number, (direction, side) in wanted.items():
            native = voice.site.ask("GET", f"/api/v1/cdrs?{side}={number}")["items"]
            theirs = voice.get("cdr", {"filters": {"telephone": number}})
            if (
                len(native) == 1
                and [row["id"] for row in theirs] == [native[0]["call_id"]]
                and native[0]["direction"] == direction
            ):
                found[number] = native[0]
        return len(found) == len(wanted) and found

    cdrs = wait_until(find, "a CDR of each call", timeout_s=40)
    assert (cdrs["0305550144"]["queue"], cdrs["0305550146"]["call_id"]) == ("test-queue", placed["uniqueid"])
    # One audit log: each change has its native name, whoever's words it was said in.
    done = {(one["action"], one["target"]) for one in voice.site.ask("GET", "/api/v1/audit?limit=100")["items"]}
    assert {("menus/create", "menus/welcome"), ("dids/create", "dids/03010009")} <= done, done
    assert {action for action, _ in done} >= {"surveys/create", "campaigns/create", "calls/create"}, done
    go(voice, "goCampaigns", "goDeleteCampaign", campaign_id=code)
    assert voice.site.ask("GET", "/api/v1/campaigns")["items"] == []


def test_members_that_are_saved_are_in_asterisk(pbx, voice):
    members = {
        "anna": {"type": "sip", "penalty": 2, "order": 1, "is_active": 1},
        "1002": {"type": "sip", "order": 2, "is_active": 1},
    }
    saved = voice.get("queues", {"action": "save", "data": {"test-queue": {"members": members}}})
    assert list(saved["test-queue"]["members"]) == ["1001", "1002"]
    shown = pbx.asterisk.cli("queue show test-queue")
    assert "PJSIP/1001" in shown
    assert "PJSIP/1002" in shown
    members["1002"]["is_active"] = 0
    voice.get("queues", {"action": "save", "data": {"test-queue": {"members": members}}})
    assert "PJSIP/1002" not in pbx.asterisk.cli("queue show test-queue")


def test_a_number_outside_is_a_member_and_several_queues_are_saved_or_none(pbx, voice):
    members = {
        "test-queue": {"anna": {"type": "sip", "is_active": 1}},
        "remote-queue": {
            "0305550177": {"type": "remote", "penalty": 3, "is_active": 1}, "ben": {"type": "fallback", "is_active": 1},
        },
    }  # fmt: skip
    revision = voice.site.ask("GET", "/api/v1/config/plan")["head"]
    wrong = {**members, "remote-queue": {"112": {"type": "remote", "is_active": 1}}}
    answer = voice.ask("queues", {"action": "save", "data": {name: {"members": rows} for name, rows in wrong.items()}})
    assert answer["messages"] == ["queues/remote-queue outside_members[0].number: must not be an emergency number"]
    assert voice.site.ask("GET", "/api/v1/config/plan")["head"] == revision
    saved = voice.get("queues", {"action": "save", "data": {name: {"members": rows} for name, rows in members.items()}})
    shown = {who: (row["type"], row["penalty"]) for who, row in saved["remote-queue"]["members"].items()}
    assert shown == {"0305550177": ("remote", 3), "1002": ("fallback", 0)}
    assert voice.site.ask("GET", "/api/v1/queues/remote-queue")["fallback"] == {"endpoint": "1002"}
    assert "Local/0305550177@tandem-outside-member" in pbx.asterisk.cli("queue show remote-queue")
    # Somebody who calls is connected with it.
    before = len(pbx.customer.read_legs())
    with place_calls(pbx.asterisk, [Caller("+493010001", "0305550188")], steps=[AwaitBye()], host=CARRIER) as run:
        (leg,) = run.wait().legs
    assert leg.is_answered
    assert wait_customer(pbx, before).called == "0305550177"
    voice.get(
        "queues", {"action": "save", "data": {"remote-queue": {"members": {"ben": {"type": "sip", "is_active": 1}}}}}
    )
    assert "Local/" not in pbx.asterisk.cli("queue show remote-queue")


# ------------------------------------------------------------------------------------------------ the vendor's own PHP


def read_seed():
    return html.unescape(SEED.read_text(encoding="utf-8"))


def run_php(pbx, code, tmp_path):
    script = tmp_path / "program.php"
    script.write_text("<?php\n" + code)
    done = pbx.asterisk.run(["php", str(script)], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def compose_programs(port, token):
    """Each sending example of the page with its parameters before it; only host, scheme, key and token are other ones."""
    text = read_seed()
    params = re.search(r"^\$params = array\(.*?^\);$", text, re.MULTILINE | re.DOTALL)[0]
    hashing = re.search(r"^\$params\['api_hash'\] = .*$", text, re.MULTILINE)[0]
    client = re.search(r"^function curlPost.*?^}$", text, re.MULTILINE | re.DOTALL)[0]
    sending = re.findall(r"^\$url = .*?^echo .*?$", text, re.MULTILINE | re.DOTALL)
    assert len(sending) == 3
    for number, example in enumerate(sending):
        known = params.replace("asdf1234", f"php-{number}").replace("0123456789", "0305550100")
        program = f"{known}\n{hashing}\n{client}\n{example}"
        program = program.replace(
            "https://[YOUR-PBX-URL]/api/endpoint_name", f"http://127.0.0.1:{port}/api/originate-call"
        )
        yield program.replace("your_api_token", token)


def test_the_vendors_examples_run_as_printed(pbx, voice, port, tmp_path):
    if SEED is None:
        lacks("the vendor's page")
    assert shutil.which("php"), "php-cli is missing: make tools installs it"
    body = {"name": "php", "permissions": ["*"], "dialect": "while1"}
    token = Site(pbx).ask("POST", "/api/v1/tokens", body, 201)["secret"]
    for number, program in enumerate(compose_programs(port, token)):
        answer = run_php(pbx, program, tmp_path)
        assert answer["has_error"] is False, answer
        assert answer["results"][0]["external_id"] == f"php-{number}"
        (cdr,) = wait_cdr(voice, f"php-{number}")
        assert cdr["project_id"] == "1"
    # The page's other header, with a form that it is not.
    given = {"Authorization": f"Bearer {token}", "Content-Type": "text/xml"}
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.sock = pbx.asterisk.connect("127.0.0.1", port)
    connection.request("POST", "/api/cdr", build_query({"filters": {"external_id": "php-0"}}), given)
    assert json.loads(connection.getresponse().read())["pagination"]["row_count"] == 1
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.sock = pbx.asterisk.connect("127.0.0.1", port)
    connection.request("GET", "/api/cdr?page=1", headers={"Authorization": f"Bearer {token}"})
    assert json.loads(connection.getresponse().read())["pagination"]["current_page"] == 1


def test_the_program_of_the_page_runs_as_printed(pbx, port, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "while1.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    made = re.findall(r"-d '(\{.*?\})'", page)[0]
    token = Site(pbx).ask("POST", "/api/v1/tokens", json.loads(made), 201)["secret"]
    for printed, ours in (("https://pbx.example/api", f"http://127.0.0.1:{port}/api"), ("tandem_2_…", token)):
        assert program.count(printed) == 1
        program = program.replace(printed, ours)
    script = tmp_path / "program.py"
    script.write_text(program, encoding="utf-8")
    done = pbx.asterisk.run([sys.executable, str(script)], check=False, timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    placed, found = (ast.literal_eval(line) for line in done.stdout.splitlines())
    assert placed[0]["external_id"] == "order-4711"
    assert [cdr["id"] for cdr in found] in ([placed[0]["uniqueid"]], [])  # the call may still be up
