"""The API of a whole Tandem beside a real Asterisk: hostile values, a changed DID, calls placed once, what Asterisk says right now."""

import json
import time

import pytest

from lab.pbx import LabPbx
from tandem.cli.control import _UnixConnection
from tests.api.schemathesis import NEED_ASTERISK, command

pytestmark = pytest.mark.asterisk

DOCUMENT = """
general: {allowed_contexts: [from-admin]}
endpoints: [{extension: "1001", secret: secret-1001}]
queues:
  - {name: sales, members: [{endpoint: "1001"}], join_when_empty: true, fallback: {hangup: busy}}
dids: [{number: "+4930100", destination: {queue: sales}}]
"""
NASTY = 'a;b [c] ${EXTEN} \\ "q" #include $[1+1] => é漢😀'


class Site:
    def __init__(self, pbx):
        self.socket = pbx.folder / "run" / "control.sock"

    def ask(self, method, path, body=None, status=200, **headers):
        connection = _UnixConnection(self.socket, 60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, path, content, {"Content-Type": "application/json", **named} if content else named)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        assert response.status == status, (method, path, response.status, answer[:1000])
        return json.loads(answer) if answer and response.getheader("content-type") == "application/json" else answer

    def wait_for(self, path, holds, timeout_s=20.0):
        deadline = time.monotonic() + timeout_s
        while not holds(found := self.ask("GET", path)):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT) as pbx:
        pbx.serve()
        Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        yield pbx


@pytest.fixture
def site(pbx):
    return Site(pbx)


def test_hostile_values_reach_asterisk_as_they_are(site, pbx):
    site.ask("POST", "/api/v1/endpoints", {"extension": "1002", "secret": "s;c#r[e]t$", "name": NASTY}, 201)
    site.ask("PATCH", "/api/v1/dids/+4930100", {"description": NASTY, "destination": {"endpoint": "1002"}})
    plan = site.ask("GET", "/api/v1/config/plan")
    assert {(one["collection"], one["key"]) for one in plan["objects"]} == {("endpoints", "1002"), ("dids", "+4930100")}
    assert "s;c#r[e]t$" not in json.dumps(plan)
    applied = site.ask("POST", "/api/v1/config/apply", {})
    assert applied["live"]
    assert site.ask("POST", "/api/v1/config/apply", {})["reloaded"] == []
    shown = pbx.asterisk.cli("pjsip show endpoint 1002")
    assert NASTY in shown or "callerid" in shown
    explained = site.ask("GET", "/api/v1/routes/explain?did=%2B4930100")
    assert explained["destination"] == "endpoint 1002"
    back = site.ask("POST", "/api/v1/config/rollback", {"revision": 1})
    assert back["live"]
    assert "1002" not in pbx.asterisk.cli("pjsip show endpoints")


def test_a_call_is_placed_once_and_followed_to_its_cdr(site):
    call = {"origin": {"endpoint": "1001"}, "destination": {"dialplan": "from-admin,100"}, "account": "lab"}
    first = site.ask("POST", "/api/v1/calls", call, 202, Idempotency_Key="one")
    again = site.ask("POST", "/api/v1/calls", call, 202, Idempotency_Key="one")
    assert again == {**first, **{name: again[name] for name in ("state", "ended_at", "disposition", "cause")}}
    site.ask("POST", "/api/v1/calls", {**call, "account": "other"}, 409, Idempotency_Key="one")
    path = f"/api/v1/calls/{first['call_id']}"
    ended = site.wait_for(path, lambda found: found["state"] == "ended")
    assert ended["disposition"] not in (None, "answered")  # nobody has registered as 1001
    site.ask("DELETE", path, status=409)
    refused = site.ask("POST", "/api/v1/calls", {**call, "origin": {"external": "+1900"}}, 422)
    assert refused["error"]["problems"][0]["field"]
    audit = site.ask("GET", "/api/v1/audit")["items"]
    assert [entry["target"] for entry in audit].count(f"calls/{first['call_id']}") == 1


def test_schemathesis_finds_nothing_beside_an_asterisk_either(asterisk_install, tmp_path):
    """The operations that need one; a configuration that Asterisk refuses is an answer as declared."""
    with LabPbx(asterisk_install, DOCUMENT, settings={"http.port": "8089"}) as pbx:
        pbx.serve()
        site = Site(pbx)
        token = site.ask("POST", "/api/v1/tokens", {"name": "fuzz", "permissions": ["*"]}, 201)["secret"]
        only = "|".join(f"^{name}$" for name in NEED_ASTERISK)
        argv = command("http://127.0.0.1:8089", token, "fuzzing", only=only, max_examples=5)
        done = pbx.asterisk.run(argv, timeout_s=240, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert site.ask("GET", "/health")["live"]
        assert "Traceback" not in pbx.read_log()


def test_what_asterisk_says_right_now(site):
    (queue,) = site.ask("GET", "/api/v1/monitoring/queues")["items"]
    assert (queue["queue"], queue["callers"]) == ("sales", 0)
    site.wait_for("/api/v1/monitoring/agents", lambda found: [one["queue"] for one in found["items"]] == ["sales"])
    assert site.ask("GET", "/api/v1/monitoring/channels")["items"] == []
    metrics = site.ask("GET", "/metrics").decode()
    assert "tandem_ami_connected 1.0" in metrics
    assert site.ask("GET", "/health") == {"live": True, "ready": True, "reasons": []}
