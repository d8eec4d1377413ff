"""One call through goAPI of GOautodial: a program adds a DID that leads to an in-group, and the next caller of that number talks to an agent."""

import json
from typing import Any
from urllib.parse import urlencode

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.ports import find_free_port
from lab.sipp import Caller, HangUp, Wait, place_calls, register_phones, run_phone
from lab.telling import Teller, expect
from tandem.asterisk.install import find_asterisk

CARRIER, PHONE_PORT, SECRET = "127.0.0.2", 5070, "a-secret-of-the-lab"
DOCUMENT = f"""
general: {{country: US}}
trunks: [{{name: carrier, hosts: ["{CARRIER}:5060"], match: ["{CARRIER}"]}}]
endpoints: [{{extension: "1001", secret: {SECRET}, name: Anna}}]
queues: [{{name: support, members: [{{endpoint: "1001"}}], fallback: {{hangup: busy}}}}]
"""
DID = {
    "did_pattern": "15550142", "did_description": "Support", "did_active": "Y", "did_route": "IN_GROUP", "group_id": "support", "record_call": "N",
}  # fmt: skip


def run_demo(teller: Teller) -> None:
    """The whole story; DemoFailed, or an error of the lab, when it breaks."""
    install = teller.step("An Asterisk of our own", lambda: find_asterisk(teller.say))
    port = find_free_port()
    with LabPbx(install, DOCUMENT, {"http.port": str(port)}) as pbx:
        teller.step("Tandem starts, with goAPI for this machine", pbx.serve)
        register_phones(pbx.asterisk, [("1001", SECRET)], port=PHONE_PORT)
        token = pbx.request("POST", "/api/v1/tokens", {"name": "crm", "permissions": ["dids/*"]})["secret"]
        with run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=1) as phone:
            wait_until(
                lambda: "Not in use" in pbx.asterisk.cli("queue show support"), "Anna in her queue", timeout_s=20
            )
            added = teller.step(
                "goAddDID: the number leads to support", lambda: ask(pbx, port, token, "goAddDID", **DID)
            )
            teller.say(json.dumps(added))
            expect("rebuild_conf_status" not in added, "the DID is not live")
            caller = Caller(DID["did_pattern"], caller="15550100")
            with place_calls(pbx.asterisk, [caller], steps=[Wait(4), HangUp()], host=CARRIER) as run:
                (leg,) = run.wait(timeout_s=60).legs
            (agent_leg,) = phone.wait_for("bye")
            expect(leg.is_answered and agent_leg.is_answered, "the call was not answered at both ends")
            teller.say(f"The caller waited, the agent's phone rang and answered; they talked {agent_leg.talk_s:.1f} s")
            listed = teller.step("goGetDIDsList", lambda: ask(pbx, port, token, "goGetDIDsList"))
            teller.say(json.dumps(listed))
            gone = teller.step("goDeleteDID", lambda: ask(pbx, port, token, "goDeleteDID", did_id=added["did_id"]))
            teller.say(json.dumps(gone))


def ask(pbx: LabPbx, port: int, token: str, action: str, **given: Any) -> dict[str, Any]:
    """One request, as a client of theirs makes it."""
    body = urlencode({"goUser": "crm", "goPass": token, "goAction": action, "responsetype": "json"} | given)
    argv = ["curl", "-sS", "--data", body, f"http://127.0.0.1:{port}/goAPI/goInbound/goAPI.php"]
    answer: dict[str, Any] = json.loads(pbx.asterisk.run(argv, timeout_s=60).stdout)
    expect(answer["result"] == "success", f"{action}: {answer}")
    return answer
