"""The demonstration's campaign: a few people are called, whoever answers talks to an agent, and each number says why it was called or not."""

import time
from typing import Any

from lab.pbx import LabPbx
from lab.sipp import HangUp, Wait, run_phone
from lab.telling import Teller, expect

TRUNK = "carrier"
FAR_HOST, FAR_PORT = "127.0.0.2", 5060
PEOPLE = ("03055510101", "03055510102", "03055510103", "03055510104")
BLOCKED, EMERGENCY = "03055519999", "112"
TALK_S = 5.0
END_S = 90.0


def run_small_campaign(teller: Teller, pbx: LabPbx) -> None:
    """Makes it, runs it to its end, and tells its story."""
    pbx.request("POST", "/api/v1/dnc", {"name": "do-not-call"})
    pbx.request("POST", "/api/v1/dnc/do-not-call/numbers", {"numbers": [BLOCKED]})
    made = pbx.request(
        "POST",
        "/api/v1/campaigns",
        {
            "name": "Callbacks", "trunk": TRUNK, "destination": {"queue": "sales"}, "dial_mode": "progressive",
            "concurrent_calls": 2, "dnc_lists": ["do-not-call"], "caller_number": "+493023125000",
        },
    )  # fmt: skip
    path = f"/api/v1/campaigns/{made['campaign_id']}"
    numbers = [{"phone_number": number} for number in (*PEOPLE, BLOCKED, EMERGENCY)]
    pbx.request("POST", f"{path}/numbers/bulk", {"numbers": numbers})
    with run_phone(pbx.asterisk, host=FAR_HOST, port=FAR_PORT, ring_s=0.5, steps=[Wait(TALK_S), HangUp()]) as people:
        pbx.request("POST", f"{path}/start")
        counts = _wait(pbx, path)
        legs = people.read_legs()
    attempts = pbx.request("GET", f"{path}/attempts")["items"]
    for attempt in sorted(attempts, key=lambda one: one["started_at"]):
        teller.say(
            f"{attempt['started_at'][11:19]}  {attempt['phone_number']}: {attempt['disposition']}, {attempt['agent'] or 'nobody'} talked to them"
        )
    for number in pbx.request("GET", f"{path}/numbers")["items"]:
        if number["phone_number"] in {BLOCKED, EMERGENCY}:
            teller.say(f"not called: {number['phone_number']}: {number['disposition']}")
    teller.say(
        f"{counts['answered_calls']} answered, {counts['connected_calls']} talked to an agent, {counts['abandoned_calls']} found nobody"
    )
    expect(
        sorted(leg.called for leg in legs) == sorted(PEOPLE),
        f"the far end was called for {[leg.called for leg in legs]}",
    )
    expect(counts["connected_calls"] == len(PEOPLE), f"not everybody talked to an agent: {counts} {attempts}")


def _wait(pbx: LabPbx, path: str) -> dict[str, Any]:
    deadline = time.monotonic() + END_S
    while True:
        counts: dict[str, Any] = pbx.request("GET", path)["counts"]
        if not counts["pending"] + counts["calling"] + counts["answered"]:
            return counts
        if time.monotonic() > deadline:
            attempts = pbx.request("GET", f"{path}/attempts")["items"]
            expect(False, f"the campaign does not end: {counts} {attempts}")
        time.sleep(0.3)
