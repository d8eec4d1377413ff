"""The API of a whole Tandem beside a real Asterisk: hostile values, a changed DID, calls placed once, what Asterisk says right now."""

import json
import re
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
HOSTILE = (
    NASTY,
    "#include /etc/passwd",
    "[general](+)",
    "; all of it a comment",
    "${SHELL(touch /tmp/x)}",
    "x)\\;y,z|&<1>",
    "*/--;;--",
    "'; DROP TABLE objects; --",
    "no",
    "017",
    "\u0301combining \u202e",
)


class Site:
    def __init__(self, pbx):
        self.socket = pbx.folder / "run" / "control.sock"

    def ask(self, method, path, body=None, status=200, **headers):
        connection = _UnixConnection(self.socket, 60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        media_type = "application/yaml" if isinstance(body, bytes) else "application/json"
        connection.request(method, path, content, {"Content-Type": media_type, **named} if content else named)
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
    assert show_name(pbx, "1002") == NASTY
    assert read_passwords(pbx)["1002"] == "s;c#r[e]t$"
    explained = site.ask("GET", "/api/v1/routes/explain?did=%2B4930100")
    assert explained["destination"] == "endpoint 1002"
    back = site.ask("POST", "/api/v1/config/rollback", {"revision": 1})
    assert back["live"]
    assert "1002" not in pbx.asterisk.cli("pjsip show endpoints")


def show_name(pbx, extension):
    """The caller's name of an endpoint as Asterisk has it."""
    shown = pbx.asterisk.cli(f"pjsip show endpoint {extension}")
    name = re.search(r'^ callerid +: (?:"((?:[^"\\]|\\.)*)" )?<?\d+>?$', shown, re.MULTILINE)
    assert name is not None, shown
    return re.sub(r"\\(.)", r"\1", name[1] or "")


def read_passwords(pbx):
    shown = {
        name: pbx.asterisk.cli(f"pjsip show auth {name}")
        for name in re.findall(r"^ +Auth: +(\w+)/", pbx.asterisk.cli("pjsip show auths"), re.MULTILINE)
    }
    return {name: re.search(r"^ password +: (.*)$", text, re.MULTILINE)[1] for name, text in shown.items()}


def test_every_hostile_text_is_taken_whole_or_refused_and_makes_nothing(site, pbx):
    """Through create, check, switch, reload and the live comparison; no object, option or dialplan line but what was asked for."""
    before = set(re.findall(r"^ +Endpoint: +(\S+)", pbx.asterisk.cli("pjsip show endpoints"), re.MULTILINE))
    taken = {}
    for number, text in enumerate(HOSTILE):
        extension, secret = f"20{number:02}", f"{text} and some"
        body = {"extension": extension, "secret": secret, "name": text}
        if not text.isprintable():
            error = site.ask("POST", "/api/v1/endpoints", body, 422)["error"]
            assert {problem["field"] for problem in error["problems"]} == {"name", "secret"}
            continue
        site.ask("POST", "/api/v1/endpoints", body, 201)
        site.ask(
            "POST",
            "/api/v1/voicemail",
            {"mailbox": extension, "pin": "471100", "name": text.replace(",", "").replace("|", "")},
            201,
        )
        queue = {
            "name": f"h{number}",
            "description": text,
            "members": [{"endpoint": extension}],
            "fallback": {"hangup": 16},
        }
        site.ask("POST", "/api/v1/queues", queue, 201)
        trunk = {
            "name": f"t{number}",
            "hosts": ["127.0.0.9:5060"],
            "username": text,
            "secret": secret,
            "description": text,
        }
        site.ask("POST", "/api/v1/trunks", trunk, 201)
        taken[extension] = (text, secret, f"t{number}")
    assert len(taken) == len(HOSTILE) - 1
    applied = site.ask("POST", "/api/v1/config/apply", {})
    assert (applied["live"], applied["check"]) == (True, "passed")
    passwords = read_passwords(pbx)
    for extension, (text, secret, trunk) in taken.items():
        assert show_name(pbx, extension) == text
        assert passwords[extension] == passwords[trunk] == secret
    after = set(re.findall(r"^ +Endpoint: +([^\s/]+)", pbx.asterisk.cli("pjsip show endpoints"), re.MULTILINE))
    assert after - {name.partition("/")[0] for name in before} == taken.keys() | {trunk for *_, trunk in taken.values()}
    assert site.ask("POST", "/api/v1/config/rollback", {"revision": 1})["live"]
    assert not any(name in pbx.asterisk.cli("pjsip show endpoints") for name in taken)


def test_every_order_to_asterisk_is_done_once_for_a_key(site):
    """The POSTs that tests/api cannot try without one."""
    document = DOCUMENT.encode()
    revision = site.ask("GET", "/api/v1/monitoring/status")["head"]
    for path, body, other in (
        ("config/apply", {"full": False}, {"full": True}),
        ("config/rollback", {"revision": 1}, {"revision": revision + 1}),
        ("config/hand-edits/discard", None, None),
        ("config/import?note=again", document, document + b"menus: []\n"),
    ):
        first = site.ask("POST", f"/api/v1/{path}", body, Idempotency_Key=path)
        assert site.ask("POST", f"/api/v1/{path}", body, Idempotency_Key=path) == first  # its took_s too
        if other is not None:
            site.ask("POST", f"/api/v1/{path}", other, 409, Idempotency_Key=path)
    actions = [entry["action"] for entry in site.ask("GET", "/api/v1/audit?limit=4")["items"]]
    assert actions == ["config/import", "config/apply", "config/rollback", "config/apply"]
    assert {entry["source"] for entry in site.ask("GET", "/api/v1/audit")["items"]} == {"unix"}


def test_a_hand_edit_is_adopted_once_for_a_key(site, pbx):
    path = pbx.asterisk.etc / "tandem/current/queues.conf"

    def edit(before, after):
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    edit("strategy = rrmemory", "strategy = linear")
    first = site.ask("POST", "/api/v1/config/hand-edits/adopt", Idempotency_Key="adopt")
    assert first["live"]
    assert site.ask("GET", "/api/v1/queues/sales")["strategy"] == "linear"
    # What is edited since is not what this key was for.
    edit("strategy = linear", "strategy = random")
    assert site.ask("POST", "/api/v1/config/hand-edits/adopt", Idempotency_Key="adopt") == first  # its took_s too
    assert site.ask("GET", "/api/v1/queues/sales")["strategy"] == "linear"
    assert [one["name"] for one in site.ask("GET", "/api/v1/config/hand-edits")["items"]] == ["queues.conf"]
    assert site.ask("GET", "/api/v1/monitoring/status")["head"] == first["revision"]
    audit = site.ask("GET", "/api/v1/audit")["items"]
    assert sum(entry["revision"] == first["revision"] for entry in audit) == 1
    site.ask("POST", "/api/v1/config/hand-edits/discard")
    assert site.ask("POST", "/api/v1/config/rollback", {"revision": 1})["live"]


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


def test_the_ari_dialers_api_sees_asterisk_and_applies_what_it_deletes(site, pbx):
    """The keys and types are those of its document; a menu that it deletes is gone from the newest revision and from the live one."""
    from tests.api.ari_document import compare, read_answers

    base = "/adial/api"
    assert site.ask("GET", f"{base}/monitoring/status")["data"]["asterisk"] is True
    menu = {"name": "short", "prompts": ["vm-press"], "options": {"1": {"endpoint": "1001"}}}
    menu |= {key: {"endpoint": "1001"} for key in ("invalid", "timeout", "fallback")}
    site.ask("POST", "/api/v1/menus", menu, 201)
    site.ask("POST", "/api/v1/config/apply", {})
    made = next(menu for menu in site.ask("GET", f"{base}/ivr")["data"] if menu["name"] == "short")
    assert site.ask("GET", "/api/v1/config/plan")["objects"] == []
    pbx.asterisk.cli("dialplan add extension 100,1,Wait,60 into somewhere")
    pbx.asterisk.cli("channel originate Local/100@somewhere application Wait 60")
    shown = site.wait_for(f"{base}/monitoring/channels", lambda answer: answer["data"]["count"] > 0)
    compare(read_answers()["GET", "/api/monitoring/channels"], shown, {"code", "name"})
    pbx.asterisk.cli("channel request hangup all")
    deleted = site.ask("DELETE", f"{base}/ivr/{made['id']}")
    compare(read_answers()["DELETE", "/api/ivr/:id"], deleted, {"code"})
    plan = site.ask("GET", "/api/v1/config/plan")
    assert plan["live"] == plan["head"]
    site.ask("GET", f"{base}/ivr/{made['id']}", status=404)
