"""One call through the MikoPBX auto dialer's API: a poll and a task for it; the called person presses a key, and the client has their answer."""

import json
from http.client import HTTPConnection
from typing import Any

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.ports import find_free_port
from lab.sipp import HangUp, Press, Wait, run_phone
from lab.telling import Teller, expect
from tandem.asterisk.install import find_asterisk

BASE, CARRIER, CLIENT = "/pbxcore/api/module-dialer/v1", "127.0.0.2", "+493055510101"
DOCUMENT = f"""
general: {{country: DE, language: en, outbound_trunk: carrier}}
trunks: [{{name: carrier, hosts: ["{CARRIER}:5060"], match: ["{CARRIER}"]}}]
"""
MAY = ["surveys/*", "campaigns/*", "numbers/read", "calls/national"]
POLL = {
    "crmId": "demo", "name": "Orders", "questions": [
        {"questionId": "1", "questionText": "Hello <name>. To order, press 1.", "press": [{"key": "1", "action": "answer", "value": "order"}]},
    ],
}  # fmt: skip


def run_demo(teller: Teller) -> None:
    """The whole story; DemoFailed, or an error of the lab, when it breaks."""
    install = teller.step("An Asterisk of our own", lambda: find_asterisk(teller.say))
    port = find_free_port()
    with LabPbx(install, DOCUMENT, {"http.port": str(port)}) as pbx:
        teller.step("Tandem starts, with the auto dialer's API for this machine", pbx.serve)
        token = pbx.request("POST", "/api/v1/tokens", {"name": "crm", "permissions": MAY})["secret"]
        poll = teller.step("POST polling: one question", lambda: ask(pbx, port, token, "POST", "polling", POLL))
        teller.say(json.dumps(poll))
        with run_phone(
            pbx.asterisk, host=CARRIER, port=5060, ring_s=1, steps=[Wait(2), Press("1"), Wait(5), HangUp()]
        ) as client:
            body = {
                "name": "Orders", "state": 0, "innerNum": poll["id"], "innerNumType": "polling", "maxCountChannels": 1,
                "numbers": [{"number": CLIENT, "params": {"name": "Anna"}}],
            }  # fmt: skip
            task = teller.step(
                "POST task: Anna is called and asked", lambda: ask(pbx, port, token, "POST", "task", body)
            )
            (answer,) = wait_until(
                lambda: ask(pbx, port, token, "GET", "polling-results/0")["results"], "her answer", timeout_s=60
            )
            expect((answer["phone"], answer["result"]) == (CLIENT, "order"), f"another answer: {answer}")
            teller.say("Her telephone rang, she heard the question and pressed 1; GET polling-results says:")
            teller.say(json.dumps(answer))
            done = wait_until(
                lambda: (one := ask(pbx, port, token, "GET", f"task/{task['id']}"))["results"][0]["result"] and one,
                "the task's end",
                timeout_s=60,
            )
            (leg,) = client.read_legs()
        expect(leg.is_answered, "the call was not answered")
        (row,) = done["results"]
        expect((row["result"], done["state"]) == ("SUCCESS_POLLING", "1"), f"the task did not close: {done}")
        teller.say(f"GET task: the number is {row['result']} ({row['cause']}), and the task has closed itself")


def ask(pbx: LabPbx, port: int, token: str, method: str, path: str, body: Any = None) -> Any:
    """One request, as a client of theirs makes it; the answer's data."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.sock = pbx.asterisk.connect("127.0.0.1", port, timeout_s=60)
    raw = json.dumps(body) if body is not None else None
    connection.request(method, f"{BASE}/{path}", raw, {"Authorization": f"Bearer {token}"})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    expect(answer["result"] is True, f"{method} {path}: {answer['messages']}")
    return answer["data"]
