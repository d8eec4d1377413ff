"""What programs add by goAPI routes real calls: a DID to a queue, to an agent at work or not, to a call menu; live as soon as they are told so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from lab.observe import Observer
from lab.pbx import LabPbx
from lab.sipp import HangUp, Press, SippRun, Wait, register_phones, run_phone
from tandem.cli.control import _UnixConnection
from tests.api.goapi_site import compose_readme

pytestmark = pytest.mark.asterisk

PHONE_PORT = 5070
SECRET = "swordfish-of-the-lab"
ADMIN_DIALPLAN = "exten => _2XX,1,Answer(,i)\n same => n,Wait(60)\n same => n,Hangup()\n"
DOCUMENT = f"""
general: {{country: DE, allowed_contexts: [from-admin]}}
trunks: [{{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}}]
endpoints:
  - {{extension: 1001, secret: {SECRET}, ring_time_s: 5}}
  - {{extension: 1002, secret: {SECRET}}}
queues:
  - {{name: sales, members: [{{endpoint: 1001}}], fallback: {{dialplan: "from-admin,231"}}}}
"""


@pytest.fixture(scope="module")
def pbx(asterisk_install: Any) -> Iterator[LabPbx]:
    with LabPbx(asterisk_install, DOCUMENT, {"http.port": "8090"}, admin_dialplan=ADMIN_DIALPLAN) as pbx:
        pbx.serve()
        yield pbx


@pytest.fixture(scope="module")
def observer(pbx: LabPbx) -> Observer:
    return Observer(pbx)


@pytest.fixture(scope="module")
def phone(pbx: LabPbx) -> Iterator[SippRun]:
    register_phones(pbx.asterisk, [("1001", SECRET)], port=PHONE_PORT)
    with run_phone(pbx.asterisk, port=PHONE_PORT) as phone:
        yield phone


def ask(pbx: LabPbx, method: str, path: str, body: bytes, kind: str) -> tuple[int, bytes]:
    connection = _UnixConnection(pbx.folder / "run" / "control.sock", 60)
    connection.request(method, path, body, {"Content-Type": kind})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    return response.status, answer


def go(pbx: LabPbx, action: str, **given: Any) -> dict[str, Any]:
    """An action of goInbound that succeeds and is live: nothing waits for another apply."""
    body = urlencode({"goAction": action, "responsetype": "json"} | given).encode()
    status, answer = ask(pbx, "POST", "/goAPI/goInbound/goAPI.php", body, "application/x-www-form-urlencoded")
    found: dict[str, Any] = json.loads(answer)
    assert (status, found["result"]) == (200, "success"), found
    assert "rebuild_conf_status" not in found
    return found


def test_a_did_that_is_added_brings_a_call_to_the_queue(observer: Observer, pbx: LabPbx, phone: SippRun) -> None:
    before = len(phone.read_legs())
    go(
        pbx,
        "goAddDID",
        did_pattern="493020001",
        did_description="Sales",
        did_route="IN_GROUP",
        group_id="sales",
        did_active="Y",
    )
    lived = observer.call("03020001", Wait(1.5), HangUp())
    leg = phone.wait_for("bye", count=before + 1)[-1]
    assert leg.is_answered
    assert lived.outcomes == ["tandem-enter,queue,1(sales,0,,no,,)"]


def test_an_agent_is_rung_while_at_work_and_the_way_out_is_taken_otherwise(
    observer: Observer, pbx: LabPbx, phone: SippRun
) -> None:
    target = {"user_unavailable_action": "EXTEN", "extension": "241", "exten_context": "from-admin"}
    at_work = go(
        pbx, "goAddDID", did_pattern="493020002", did_description="Anna", did_route="AGENT", user="1001", **target
    )
    before = len(phone.read_legs())
    lived = observer.call("03020002", Wait(1.5), HangUp())
    assert phone.wait_for("bye", count=before + 1)[-1].is_answered
    assert lived.outcomes[0].startswith("tandem-enter,agent,1(1001,")
    # Nobody has registered as 1002: the phone is tried, and the way out is in AstDB.
    go(pbx, "goEditDID", did_id=at_work["did_id"], user="1002")
    lived = observer.call("03020002", Wait(1), HangUp())
    assert lived.outcomes[0].startswith("tandem-enter,agent,1(1002,")
    assert lived.leg.is_answered  # by 241 of the admin's dialplan
    go(pbx, "goEditDID", did_id=at_work["did_id"], user="1001")
    status, answer = ask(pbx, "POST", "/api/v1/agents/1001/pause", b'{"reason": "lunch"}', "application/json")
    assert status == 200, answer
    lived = observer.call("03020002", Wait(1), HangUp())
    assert lived.outcomes == ["tandem-enter,dialplan,1(241,0,,no,from-admin,)"]
    status, answer = ask(pbx, "POST", "/api/v1/agents/1001/unpause", b"{}", "application/json")
    assert status == 200, answer


def test_a_call_menu_and_an_in_group_are_in_asterisk_as_soon_as_they_are_added(
    observer: Observer, pbx: LabPbx, phone: SippRun
) -> None:
    go(pbx, "goAddIngroup", group_id="fresh", group_name="Fresh", group_color="#f00", no_agent_no_queue="Y", no_agent_action="EXTENSION", no_agent_action_value="242,from-admin")  # fmt: skip
    assert "fresh has 0 calls" in pbx.asterisk.cli("queue show fresh")
    go(
        pbx,
        "goAddIVR",
        menu_id="entrance",
        menu_name="Entrance",
        menu_prompt="vm-press",
        items="1+x+INGROUP+fresh+|2+x+INGROUP+sales+",
    )
    go(pbx, "goAddDID", did_pattern="493020003", did_description="Entrance", did_route="CALLMENU", menu_id="entrance")
    before = len(phone.read_legs())
    lived = observer.call("03020003", Wait(1.5), Press("2"), Wait(2), HangUp())
    assert phone.wait_for("bye", count=before + 1)[-1].is_answered
    assert lived.outcomes[-1] == "tandem-enter,queue,1(sales,0,,no,,)"
    lived = observer.call("03020003", Wait(1.5), Press("1"), Wait(1), HangUp())
    assert lived.outcomes[-1] == "tandem-enter,dialplan,1(242,0,,no,from-admin,)"
    did_id = go(pbx, "goGetDIDInfo", did_pattern="493020003")["data"]["did_id"]
    go(pbx, "goDeleteDID", did_id=did_id)
    assert observer.call("03020003", Wait(0.5), HangUp(), has_cdr=False).outcomes == ["fallback"]


def test_the_program_and_the_curl_line_of_the_readme(pbx: LabPbx, tmp_path: Path) -> None:
    """As they are printed, but for host, credentials and the campaign's number."""
    user = json.dumps({"name": "goAPIuser", "password": "password of a program", "role": "admin"}).encode()
    assert ask(pbx, "POST", "/api/v1/users", user, "application/json")[0] == 201
    login = ("http://127.0.0.1:8090", "goAPIuser", "password of a program")
    program, _ = compose_readme(*login, "12231978")
    path = tmp_path / "readme.php"
    path.write_text(program, encoding="utf-8")
    said = [json.loads(pbx.asterisk.run(["php", str(path)], timeout_s=60).stdout) for _ in range(2)]
    assert said[0]["result"] == "success", said
    assert said[1]["result"].startswith("Error: Campaign definition with this ID already exists")
    _, address = compose_readme(*login, "12231977")
    answer = json.loads(pbx.asterisk.run(["curl", "-sS", address], timeout_s=60).stdout)
    assert answer["result"] == "success", answer
