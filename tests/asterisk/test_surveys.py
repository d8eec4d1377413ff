"""Surveys of a whole Tandem beside a real Asterisk: people press keys, speak and hang up, and the results have what they said."""

import pytest

from lab.observe import Observer, wait_until
from lab.pbx import LabPbx
from lab.sipp import HangUp, Press, Speak, Wait, run_phone
from tests.asterisk.test_api import Site
from tests.asterisk.test_campaigns import FAR, FAR_PORT, Campaigner

pytestmark = pytest.mark.asterisk

DOCUMENT = f"""
general: {{country: DE, language: en, outbound_trunk: far}}
trunks:
  - {{name: far, hosts: ["{FAR}:{FAR_PORT}"], match: ["{FAR}"]}}
  - {{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}}
announcements: [{{name: notice, prompts: [demo-congrats]}}]
dids:
  - {{number: "+493010001", destination: {{survey: 1}}}}
  - {{number: "+493010002", destination: {{survey: 999}}}}
"""
SURVEY = {
    "name": "Delivery",
    "questions": [
        {"id": "happy", "text": "Hello <name>, happy? One yes, two no.", "timeout_s": 3, "options": {"1": {"value": "yes"}, "2": {"value": "no", "next": "why"}}, "next": "bye"},
        {"id": "why", "default_key": "1", "options": {"1": {"action": "record", "record_s": 20}}, "next": "bye"},
        {"id": "bye", "text": "One to end.", "timeout_s": 3, "options": {"1": {"action": "play", "text": "Thank you"}}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT) as pbx:
        pbx.serve()
        site = Site(pbx)
        site.wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        assert site.ask("POST", "/api/v1/surveys", SURVEY, 201)["survey_id"] == 1
        yield pbx


@pytest.fixture
def site(pbx):
    return Campaigner(pbx)


@pytest.fixture(scope="module")
def observer(pbx):
    return Observer(pbx)


def answers(site, call_id=""):
    return site.ask("GET", "/api/v1/surveys/1/answers?limit=1000" + (f"&call_id={call_id}" if call_id else ""))["items"]


def test_a_campaign_asks_and_the_answers_are_there(site, pbx):
    steps = [
        Wait(1.5),
        Press("2"),
        Wait(1),
        Speak(2.0),
        Press("#"),
        Wait(1.5),
        Press("1"),
        Wait(4),
        HangUp(),
    ]
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=steps):
        made = site.ask("POST", "/api/v1/campaigns", {"name": "s", "trunk": "far", "destination": {"survey": 1}}, 201)
        path = f"/api/v1/campaigns/{made['campaign_id']}"
        number = {"phone_number": "03012345", "data": {"name": "Anna"}}
        site.ask("POST", f"{path}/numbers/bulk", {"numbers": [number]}, 201)
        site.run(path)
    (attempt,) = site.attempts(path)
    found = wait_until(lambda: len(found := answers(site, attempt["call_id"])) == 3 and found, "three answers")
    assert [(one["question"], one["key"], one["value"]) for one in found] == [
        ("happy", "2", "no"), ("why", "1", "#"), ("bye", "1", "1"),
    ]  # fmt: skip
    assert {(one["campaign_id"], one["phone_number"]) for one in found} == {(made["campaign_id"], "03012345")}
    assert found[1]["recording"].startswith(attempt["call_id"])
    listed = site.wait_for(f"/api/v1/recordings?call_id={attempt['call_id']}", lambda page: len(page["items"]) == 1, 60)
    assert (listed["items"][0]["kind"], listed["items"][0]["name"]) == ("answer", found[1]["recording"])
    assert 1.5 < listed["items"][0]["duration_s"] < 6
    assert attempt["connected_at"] is not None
    # What she heard was hers, and spoken.
    assert "/spoken/personal/" in pbx.asterisk.read_log()


def test_whoever_hangs_up_half_way_has_answered_so_far(observer, site):
    lived = observer.call("03010001", Wait(1.5), Press("1"), Wait(0.7), HangUp())
    call_id = lived.story["uniqueid"]
    found = wait_until(lambda: answers(site, call_id), "the answer")
    assert [(one["question"], one["value"], one["campaign_id"]) for one in found] == [("happy", "yes", None)]
    counts = site.wait_for("/api/v1/surveys/1/counts", lambda counts: counts["outcomes"].get("hung-up"))
    assert counts["outcomes"]["hung-up"] == 1


def test_a_survey_that_is_gone_is_told_and_not_silence(observer):
    lived = observer.call("03010002", Wait(2), HangUp(), has_cdr=False)
    assert "survey '999' is unknown" in lived.reasons
    log = observer.pbx.asterisk.read_log
    wait_until(lambda: "tandem-last-resort" in log() or lived.sounds, "what everybody hears whose place is missing")
