"""Campaigns of a whole Tandem beside a real Asterisk: what a person hears who answers, who takes the call, what is recorded, what the lists say."""

import sqlite3
import time
from contextlib import closing
from itertools import pairwise

import pytest

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.rtp import RtpSink
from lab.sipp import AwaitBye, HangUp, Wait, register_phones, run_phone
from tests.asterisk.test_api import Site

pytestmark = pytest.mark.asterisk

FAR, FAR_PORT, PHONE_PORT = "127.0.0.5", 5060, 5070
SECRET = "swordfish-of-the-lab"
# 1001 picks up, 1002 rings and never does, 1003 is not there.
DOCUMENT = f"""
general: {{country: DE, outbound_trunk: far, allowed_contexts: [from-admin]}}
trunks: [{{name: far, hosts: ["{FAR}:{FAR_PORT}"], match: ["{FAR}"]}}]
endpoints:
  - {{extension: "1001", secret: {SECRET}}}
  - {{extension: "1002", secret: {SECRET}, ring_time_s: 30}}
  - {{extension: "1003", secret: {SECRET}}}
announcements:
  - {{name: sorry, prompts: [vm-goodbye, demo-congrats]}}
  - {{name: news, prompts: [demo-congrats]}}
menus:
  - {{name: main, prompts: [demo-congrats], options: {{1: {{endpoint: "1001"}}}}, invalid: {{hangup: normal}}, timeout: {{hangup: normal}}, fallback: {{hangup: normal}}}}
queues:
  - {{name: sales, members: [{{endpoint: "1001"}}], fallback: {{hangup: normal}}}}
  - {{name: slow, members: [{{endpoint: "1002"}}], fallback: {{hangup: normal}}}}
  - {{name: nobody, members: [{{endpoint: "1003"}}], join_when_empty: true, leave_when_empty: false, fallback: {{hangup: normal}}}}
"""
# What a person hears before anybody speaks to them. 50 RTP packets are a second.
DESTINATIONS = {
    "a phone that rings": {"destination": {"endpoint": "1002"}},
    "a phone that is not there": {"destination": {"endpoint": "1003"}},
    "a queue whose agent rings": {"destination": {"queue": "slow"}},
    "a queue without anybody": {"destination": {"queue": "nobody"}},
    "nobody free": {"destination": {"queue": "nobody"}, "unserved": "message", "unserved_announcement": "sorry"},
    "a menu": {"destination": {"menu": "main"}},
    "an announcement": {"destination": {"announcement": "news"}},
    "the admin's dialplan": {"destination": {"dialplan": "from-admin,100"}},
}


class Campaigner(Site):
    """The API, as somebody uses it who runs campaigns."""

    def make(self, numbers, **fields):
        made = self.ask("POST", "/api/v1/campaigns", {"name": "lab", "trunk": "far"} | fields, 201)
        path = f"/api/v1/campaigns/{made['campaign_id']}"
        self.ask("POST", f"{path}/numbers/bulk", {"numbers": [{"phone_number": number} for number in numbers]}, 201)
        return path

    def run(self, path, timeout_s=60.0):
        """From start to the last call; the campaign then."""
        self.ask("POST", f"{path}/start")
        done = lambda found: not (found["counts"]["pending"] + found["counts"]["calling"] + found["counts"]["answered"])  # noqa: E731
        return self.wait_for(path, done, timeout_s)

    def attempts(self, path):
        return self.ask("GET", f"{path}/attempts")["items"]


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT) as pbx:
        pbx.serve()
        Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        register_phones(pbx.asterisk, [("1001", SECRET)], port=PHONE_PORT)
        register_phones(pbx.asterisk, [("1002", SECRET)], port=PHONE_PORT + 10)
        with (
            run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=0.3, steps=[Wait(1), HangUp()]),
            run_phone(pbx.asterisk, port=PHONE_PORT + 10, ring_s=3600),
        ):
            yield pbx


@pytest.fixture
def site(pbx):
    return Campaigner(pbx)


@pytest.mark.parametrize("kind", DESTINATIONS)
def test_whoever_answers_hears_something_within_two_seconds(site, pbx, kind):
    """A person who hangs up after two seconds has heard more than half a second of sound by then."""
    with (
        RtpSink(pbx.asterisk, FAR) as sink,
        run_phone(
            pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[Wait(2), HangUp()], media_port=sink.port
        ) as person,
    ):
        path = site.make(["03012345"], **DESTINATIONS[kind])
        site.run(path)
        (leg,) = person.read_legs()
        heard = sum(sink.count_packets().values())
    assert leg.is_answered
    assert heard > 25, (kind, heard, pbx.read_log()[-2000:])
    (attempt,) = site.attempts(path)
    needs_agent = "queue" in DESTINATIONS[kind]["destination"] or "endpoint" in DESTINATIONS[kind]["destination"]
    assert (attempt["disposition"], attempt["connected_at"] is None, attempt["abandoned_at"] is not None) == (
        "answered",
        needs_agent,
        needs_agent,
    )


def test_with_tandem_frozen_whoever_answers_is_served_all_the_same(site, pbx):
    with (
        RtpSink(pbx.asterisk, FAR) as sink,
        run_phone(
            pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=1.5, steps=[Wait(5), HangUp()], media_port=sink.port
        ) as person,
    ):
        path = site.make(["03012345"], destination={"announcement": "news"})
        site.ask("POST", f"{path}/start")
        person.wait_for("invited")
        pbx.freeze()
        try:
            person.wait_for("hangup")
            heard = sum(sink.count_packets().values())
        finally:
            pbx.thaw()
    assert heard > 100, heard
    site.wait_for(path, lambda found: found["counts"]["completed"] == 1)


def test_an_agent_of_a_queue_takes_each_call_and_is_named(site, pbx):
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[AwaitBye(20)]) as people:
        path = site.make(
            [f"0301000{number}" for number in range(4)], destination={"queue": "sales"}, dial_mode="progressive",
            concurrent_calls=4,
        )  # fmt: skip
        found = site.run(path)
        legs = people.read_legs()
    assert (found["counts"]["completed"], found["counts"]["connected_calls"], found["counts"]["abandoned_calls"]) == (
        4,
        4,
        0,
    )
    assert len(legs) == 4
    assert all(leg.ended_by == "them" for leg in legs)
    attempts = site.attempts(path)
    assert {attempt["agent"] for attempt in attempts} == {"1001"}
    # One agent, so one call after the other.
    spans = sorted((attempt["answered_at"], attempt["ended_at"]) for attempt in attempts)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_pause_and_stop_act_at_once(site, pbx):
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[AwaitBye(60)]) as people:
        path = site.make(
            [f"030200{number:02}" for number in range(10)], destination={"endpoint": "1002"}, concurrent_calls=2
        )
        site.ask("POST", f"{path}/start")
        people.wait_for("answered", count=2)
        site.ask("POST", f"{path}/pause")
        time.sleep(0.5)
        assert all(leg.at_ms("bye") is None for leg in people.read_legs())
        site.ask("POST", f"{path}/resume")
        site.ask("POST", f"{path}/stop")
        # They would stay for a minute: how soon they are gone is proven by the clock (tests/tandem/dialer), here that they are.
        people.wait_for("bye", count=2, timeout_s=20)
        assert len(people.read_legs()) == 2
    found = site.wait_for(path, lambda found: not found["counts"]["answered"] + found["counts"]["calling"])
    assert (found["state"], found["counts"]["pending"], found["counts"]["completed"]) == ("stopped", 8, 2)
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[AwaitBye(60)]) as people:
        site.ask("POST", f"{path}/start")
        people.wait_for("answered", count=1)
        site.ask("POST", f"{path}/stop")
        # Not refused for calls that are on their way out.
        site.ask("DELETE", path, status=204)
        site.ask("GET", path, status=404)


def test_a_database_that_is_locked_for_ten_seconds_loses_nothing_and_dials_nobody_twice(site, pbx):
    numbers = [f"030400{number:02}" for number in range(40)]
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[Wait(0.5), HangUp()]) as people:
        path = site.make(numbers, destination={"announcement": "news"}, concurrent_calls=4)
        site.ask("POST", f"{path}/start")
        people.wait_for("answered", count=4)
        with closing(sqlite3.connect(pbx.folder / "tandem.db", isolation_level=None, timeout=20)) as other:
            other.execute("BEGIN EXCLUSIVE")
            dialled = len(people.read_legs())
            assert dialled < 36
            time.sleep(10)
            # What was claimed before is at most its limit; ten seconds would be enough for all of them.
            assert len(people.read_legs()) <= dialled + 4
            other.execute("ROLLBACK")
        found = site.wait_for(path, lambda found: found["counts"]["completed"] == 40, 60)
        legs = people.read_legs()
    assert found["counts"]["total_calls"] == 40
    assert sorted(leg.called for leg in legs) == numbers


def test_both_sides_are_recorded(site, pbx):
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[Wait(2), HangUp()]):
        path = site.make(["03033333"], destination={"announcement": "news"}, recording=True)
        site.run(path)
    (attempt,) = site.attempts(path)
    folder = pbx.asterisk.spool / "monitor"
    names = wait_until(
        lambda: len(found := sorted(path.name for path in folder.rglob(f"{attempt['call_id']}*"))) >= 3 and found,
        "three files",
    )
    assert len(names) == 3
    named = ("recording_file", "recording_leg1", "recording_leg2")
    site.wait_for(f"{path}/attempts", lambda found: all(found["items"][0][name] for name in named), 60)
    found = site.ask("GET", f"/api/v1/recordings?call_id={attempt['call_id']}")["items"]
    assert sorted(one["kind"] for one in found) == ["leg1", "leg2", "mixed"]
    site.ask("DELETE", f"/api/v1/recordings/{found[0]['id']}", status=204)
    assert sum(site.attempts(path)[0][name] is None for name in named) == 1
