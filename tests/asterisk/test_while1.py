"""The While1 Voice API beside a real Asterisk: the agent rings first and then the customer, the CDR by external_id, and the vendor's own PHP."""

import html
import json
import re
import shutil
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest

from api.compat.php_names import build_query
from lab.pbx import LabPbx
from lab.ports import find_free_port
from lab.sipp import HangUp, Wait, register_phones, run_phone
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
queues: [{{name: test-queue, members: [{{endpoint: "1001"}}], join_when_empty: true, fallback: {{hangup: busy}}}}]
"""
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
    with LabPbx(asterisk_install, DOCUMENT, {"http.port": str(port)}) as pbx:
        pbx.serve()
        Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        register_phones(pbx.asterisk, [("1001", "secret-1001")], port=PHONE_PORT)
        with run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=0.5) as phone, run_phone(
            pbx.asterisk, host=CARRIER, port=5060, ring_s=0.3, steps=[Wait(1), HangUp()]
        ) as customer:  # fmt: skip
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
    info = voice.get("queues", {"action": "info", "data": {"queue_status": 1}})
    assert set(info) == {"test-queue"}
    pause = {"action": "pause", "data": [{"agent_name": "anna", "reason": "lunch", "paused": 1}]}
    assert voice.get("queues", pause) == [{"agent_name": "anna", "user_id": "1001", "result": 1}]
    agent = voice.site.ask("GET", "/api/v1/agents/1001")
    assert (agent["is_paused"], agent["pause_reason"]) == (True, "lunch")
    pause["data"][0]["paused"] = 0
    voice.get("queues", pause)
    assert not voice.site.ask("GET", "/api/v1/agents/1001")["is_paused"]


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
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.sock = pbx.asterisk.connect("127.0.0.1", port)
    connection.request("GET", "/api/cdr?page=1", headers={"Authorization": f"Bearer {token}"})
    assert json.loads(connection.getresponse().read())["pagination"]["current_page"] == 1
