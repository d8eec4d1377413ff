"""Answering machines beside a real Asterisk: who answers is listened to first; a person is connected, a machine is hung up on or left a message, and counted."""

import pytest

from lab.pbx import LabPbx
from lab.rtp import RtpSink
from lab.sipp import AwaitBye, HangUp, Quiet, Speak, Wait, register_phones, run_phone
from tests.asterisk.test_api import Site
from tests.asterisk.test_campaigns import FAR, FAR_PORT, PHONE_PORT, SECRET, Campaigner

pytestmark = pytest.mark.asterisk

DOCUMENT = f"""
general: {{country: DE, outbound_trunk: far}}
trunks: [{{name: far, hosts: ["{FAR}:{FAR_PORT}"], match: ["{FAR}"]}}]
endpoints: [{{extension: "1001", secret: {SECRET}}}]
announcements: [{{name: news, prompts: [hello-world]}}]
queues:
  - {{name: sales, members: [{{endpoint: "1001"}}], fallback: {{hangup: normal}}}}
"""
# amd.conf's own limits: a greeting of more than 1.5 s is a machine's, 0.8 s of silence after a short one a person's.
PERSON = [Speak(0.6), Quiet(8), AwaitBye(20)]
MACHINE = [Speak(3), Quiet(40), AwaitBye(60)]


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT) as pbx:
        pbx.serve()
        Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        register_phones(pbx.asterisk, [("1001", SECRET)], port=PHONE_PORT)
        with run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=0.3, steps=[Wait(1), HangUp()]):
            yield pbx


@pytest.fixture
def site(pbx):
    return Campaigner(pbx)


def run(site, pbx, steps, **fields):
    """(the campaign at its end, its one attempt, the far end's leg)."""
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=steps) as people:
        path = site.make(["03012345"], destination={"queue": "sales"}, **fields)
        found = site.run(path)
        people.wait_for("bye", timeout_s=30)
        (leg,) = people.read_legs()
    (attempt,) = site.attempts(path)
    return found, attempt, leg


def test_a_person_is_connected(site, pbx):
    found, attempt, _ = run(site, pbx, PERSON, on_machine="hang-up")
    assert (attempt["disposition"], attempt["agent"]) == ("answered", "1001")
    assert (found["counts"]["completed"], found["counts"]["connected_calls"], found["counts"]["machine_calls"]) == (
        1, 1, 0,
    )  # fmt: skip


def test_whoever_is_listened_to_hears_it_ring_and_silence_is_a_person(site, pbx):
    """Not a packet comes from there, so Asterisk is not sure for five seconds; whoever it is, is not hung up on."""
    with (
        RtpSink(pbx.asterisk, FAR) as sink,
        run_phone(
            pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[Wait(2), HangUp()], media_port=sink.port
        ) as people,
    ):
        path = site.make(["03012345"], destination={"queue": "sales"}, on_machine="hang-up")
        site.run(path)
        people.wait_for("hangup")
        assert sink.count_loud() > 25
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[AwaitBye(30)]):
        path = site.make(["03012345"], destination={"queue": "sales"}, on_machine="hang-up")
        assert site.run(path)["counts"]["connected_calls"] == 1


def test_a_machine_is_hung_up_on_and_is_nobody(site, pbx):
    found, attempt, leg = run(site, pbx, MACHINE, on_machine="hang-up")
    assert (attempt["disposition"], attempt["agent"], attempt["connected_at"], attempt["abandoned_at"]) == (
        "machine", "", None, None,
    )  # fmt: skip
    counts = found["counts"]
    assert (counts["no_answer"], counts["answered_calls"], counts["machine_calls"], counts["abandoned_calls"]) == (
        1, 1, 1, 0,
    )  # fmt: skip
    assert leg.at_ms("bye") - leg.at_ms("answered") < 6000
    is_there = lambda page: any(row["call_id"] == attempt["call_id"] for row in page["items"])  # noqa: E731
    page = site.wait_for("/api/v1/cdrs?disposition=machine", is_there, 60)
    assert {row["disposition"] for row in page["items"]} == {"machine"}


def test_a_machine_is_left_a_message_after_its_beep(site, pbx):
    found, attempt, leg = run(site, pbx, MACHINE, on_machine="message", machine_announcement="news", retry_times=3)
    assert attempt["disposition"] == "machine"
    # It has its message, so nobody calls again.
    assert (found["counts"]["completed"], found["counts"]["total_calls"]) == (1, 1)
    # Its own three seconds, two of silence, and all of the message.
    assert leg.at_ms("bye") - leg.at_ms("answered") > 5000
    assert "Playing 'hello-world" in pbx.asterisk.read_log()


def test_with_tandem_frozen_a_machine_is_a_machine_and_a_person_is_served(site, pbx):
    for steps, longest_ms in ((MACHINE, 9000), (PERSON, 15_000)):
        with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=1.5, steps=steps) as people:
            path = site.make(["03012345"], destination={"queue": "sales"}, on_machine="hang-up")
            site.ask("POST", f"{path}/start")
            people.wait_for("invited")
            pbx.freeze()
            try:
                people.wait_for("bye", timeout_s=30)
            finally:
                pbx.thaw()
            (leg,) = people.read_legs()
            assert leg.at_ms("bye") - leg.at_ms("answered") < longest_ms
        site.wait_for(path, lambda found: not found["counts"]["calling"] + found["counts"]["answered"], 60)


def test_a_machine_that_takes_the_call_again_is_retried_by_its_own_rule(site, pbx):
    rules = {"machine": {"times": 1, "delay_s": 1}}
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=MACHINE):
        path = site.make(["03012345"], destination={"queue": "sales"}, on_machine="hang-up", retry_rules=rules)
        found = site.run(path)
    assert [one["disposition"] for one in site.attempts(path)] == ["machine", "machine"]
    assert (found["counts"]["machine_calls"], found["counts"]["no_answer"]) == (2, 1)
