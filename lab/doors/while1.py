"""One call through the While1 Voice API: an agent's phone rings, then the customer's, and the CDR is found by the caller's own id."""

import json
import time
from http.client import HTTPConnection
from typing import Any

from lab.pbx import LabPbx
from lab.ports import find_free_port
from lab.sipp import HangUp, Wait, register_phones, run_phone
from lab.telling import DemoFailed, Teller, expect
from tandem.asterisk.install import find_asterisk

CARRIER, PHONE_PORT, CUSTOMER = "127.0.0.2", 5070, "0305550100"
DOCUMENT = f"""
general: {{country: DE, outbound_trunk: carrier}}
trunks: [{{name: carrier, hosts: ["{CARRIER}:5060"], match: ["{CARRIER}"]}}]
endpoints: [{{extension: "1001", secret: a-secret-of-the-lab, name: anna, permissions: [internal, national]}}]
"""
CALL = {
    "project_id": 1, "caller_id": CUSTOMER, "caller_id_name": "John Doe", "type": "user", "destination": "anna", "external_id": "demo-1", "async": 0,
}  # fmt: skip


def run_demo(teller: Teller) -> None:
    """The whole story; DemoFailed, or an error of the lab, when it breaks."""
    install = teller.step("An Asterisk of our own", lambda: find_asterisk(teller.say))
    port = find_free_port()
    # The customer's telephone is there before the trunk is, or Asterisk could find it dead for a minute.
    with (
        LabPbx(install, DOCUMENT, {"http.port": str(port)}) as pbx,
        run_phone(pbx.asterisk, host=CARRIER, port=5060, ring_s=1, steps=[Wait(2), HangUp()]) as customer,
    ):
        teller.step("Tandem starts, with the While1 Voice API for this machine", pbx.serve)
        register_phones(pbx.asterisk, [("1001", "a-secret-of-the-lab")], port=PHONE_PORT)
        body = {"name": "while1", "permissions": ["calls/*", "cdrs/read"], "dialect": "while1"}
        token = pbx.request("POST", "/api/v1/tokens", body)["secret"]
        with run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=1) as phone:
            placed = teller.step(
                "POST /api/originate-call, with async 0: the answer comes when the agent has answered",
                lambda: ask(pbx, port, token, "originate-call", {"data": CALL})["results"][0],
            )
            teller.say(json.dumps(placed))
            (agent_leg,), (customer_leg,) = phone.wait_for("bye"), customer.wait_for("hangup")
            expect(agent_leg.is_answered and customer_leg.is_answered, "the call was not answered at both ends")
            teller.say(
                f"The agent's phone rang and answered, then the customer's; they talked {customer_leg.talk_s:.1f} s"
            )
            again = ask(pbx, port, token, "originate-call", {"data": CALL})["results"][0]
            expect(again["uniqueid"] == placed["uniqueid"], "the same external_id placed a second call")
            teller.say("The same request once more is the same call: nobody is called twice")
            found = teller.step("GET /api/cdr, by external_id", lambda: wait_cdr(pbx, port, token))
            teller.say(json.dumps(found))


def ask(pbx: LabPbx, port: int, token: str, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """One request, as a client of theirs makes it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.sock = pbx.asterisk.connect("127.0.0.1", port, timeout_s=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("POST", f"/api/{name}", json.dumps(params), headers)
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    expect(not answer["has_error"], f"{name}: {answer['messages']}")
    return answer


def wait_cdr(pbx: LabPbx, port: int, token: str) -> dict[str, Any]:
    """The CDR, which Asterisk writes when the last leg is gone."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        results = ask(pbx, port, token, "cdr", {"filters": {"external_id": CALL["external_id"]}})["results"]
        if results:
            found: dict[str, Any] = results[0]
            return found
        time.sleep(0.2)
    raise DemoFailed("there is no CDR of the call")
