"""How many lines campaigns take of a whole Tandem beside a real Asterisk: agents in a queue, two campaigns that want more than there is, a disk that is full."""

import os
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing
from itertools import accumulate, dropwhile

import pytest

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.rtp import RtpSink
from lab.sipp import AwaitBye, HangUp, Wait, register_phones, run_phone
from tests.asterisk.test_api import Site
from tests.asterisk.test_campaigns import Campaigner

pytestmark = pytest.mark.asterisk

FAR, FAR_PORT, PHONE_PORT = "127.0.0.5", 5060, 5070
SECRET = "swordfish-of-the-lab"
AGENTS = ("1001", "1002")
LINES = 4
DOCUMENT = f"""
general: {{country: DE, outbound_trunk: far, allowed_contexts: [from-admin]}}
trunks: [{{name: far, hosts: ["{FAR}:{FAR_PORT}"], match: ["{FAR}"]}}]
endpoints: [{{extension: "1001", secret: {SECRET}}}, {{extension: "1002", secret: {SECRET}}}]
announcements:
  - {{name: sorry, prompts: [vm-goodbye]}}
  - {{name: news, prompts: [beep]}}
queues:
  - {{name: sales, members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}], fallback: {{hangup: normal}}}}
"""


def serve(pbx):
    pbx.serve()
    Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT, settings={"dialer.max_calls": str(LINES), "dialer.max_cps": "20"}) as pbx:
        serve(pbx)
        phones = []
        for number, agent in enumerate(AGENTS):
            register_phones(pbx.asterisk, [(agent, SECRET)], port=PHONE_PORT + 10 * number)
            phones.append(run_phone(pbx.asterisk, port=PHONE_PORT + 10 * number, ring_s=0.2, steps=[Wait(3), HangUp()]))
        yield pbx
        for phone in phones:
            phone.__exit__()


@pytest.fixture
def site(pbx):
    return Campaigner(pbx)


def list_ends(leg):
    """When it ended, by each event that says so; the far end tells it a moment after Asterisk does."""
    return [at for word in ("bye", "hangup", "cancelled", "refused") if (at := leg.at_ms(word)) is not None]


def count_lines(legs):
    """How many of the far end's lines were in use at once, at the most; ends before beginnings where both are at the same moment.

    A leg that was taken back in the moment in which it was answered has no end that the far end could tell.
    """
    moves = []
    for leg in legs:
        moves += [(leg.at_ms("invited"), 1), (max(list_ends(leg), default=float("inf")), -1)]
    return max(accumulate(move for _, move in sorted(moves)))


def run(site, pbx, amount, *, far=None, **fields):
    """A campaign to its end: its counts, its attempts, the far end's legs."""
    with run_phone(
        pbx.asterisk, host=FAR, port=FAR_PORT, **({"ring_s": 0.2, "steps": [AwaitBye(30)]} | (far or {}))
    ) as people:
        path = site.make([f"0301000{number:02}" for number in range(amount)], destination={"queue": "sales"}, **fields)
        site.wait_for(
            "/api/v1/monitoring/agents", lambda found: [one["status"] for one in found["items"]] == ["not-in-use"] * 2
        )
        counts = site.run(path, 90)["counts"]
        wait_until(lambda: all(map(list_ends, people.read_legs())), "every leg has ended")
        legs = people.read_legs()
    attempts = site.attempts(path)
    # Each was dialled once, and each that was answered found somebody or was told that nobody is there.
    assert sorted(leg.called for leg in legs) == sorted(attempt["phone_number"] for attempt in attempts)
    assert counts["completed"] == counts["total_calls"] == counts["answered_calls"] == amount
    told = [attempt for attempt in attempts if attempt["abandoned_at"] is not None]
    served = [attempt for attempt in attempts if attempt["connected_at"] is not None]
    assert (counts["connected_calls"], counts["abandoned_calls"]) == (len(served), len(told))
    assert len(served) + len(told) == amount
    assert {attempt["agent"] for attempt in served} <= set(AGENTS)
    return counts, attempts, legs


@pytest.mark.parametrize("mode", ["progressive", "predictive"])
def test_an_agent_is_reserved_before_anybody_is_dialled(site, pbx, mode):
    """Predictive, too, as long as it knows too little to win."""
    counts, attempts, legs = run(site, pbx, 5, dial_mode=mode, concurrent_calls=LINES)
    assert counts["abandoned_calls"] == 0
    assert count_lines(legs) == len(AGENTS)
    assert Counter(attempt["agent"] for attempt in attempts).keys() == set(AGENTS)


def test_ratio_dials_ahead_up_to_its_limit_and_tells_whom_nobody_can_take(site, pbx):
    with RtpSink(pbx.asterisk, FAR) as sink:
        # It rings longer than a dialer that goes easy on a busy machine takes for three calls, and agents talk longer than that.
        counts, attempts, legs = run(
            site, pbx, 6, dial_mode="ratio", lines_per_agent=3, abandon_cap=0.1, concurrent_calls=3, unserved="message",
            unserved_announcement="sorry", far={"media_port": sink.port, "ring_s": 1.5},
        )  # fmt: skip
        heard = sink.count_packets()
    assert count_lines(legs) <= 3
    assert counts["abandoned_calls"] > 0
    assert counts["connected_calls"] >= len(AGENTS)
    told = [attempt for attempt in attempts if attempt["abandoned_at"] is not None]
    # Nobody was left without a word: half a second of it each, at fifty packets a second.
    assert sum(heard.values()) > 25 * len(told)
    assert all(attempt["connected_at"] is None and attempt["agent"] == "" for attempt in told)


def teach(pbx, path, *, answered, failed):
    """Gives a campaign a history of an hour ago: so many who talked with an agent for a second and a half, so many whom nobody reached."""
    campaign_id, began = int(path.rpartition("/")[2]), time.time() - 3600
    rows = []
    for number in range(answered + failed):
        at = began + number
        is_answered = number * answered // (answered + failed) != (number + 1) * answered // (answered + failed)
        times = (at + 0.5, at + 0.7, at + 2.2, "answered") if is_answered else (None, None, at + 3, "no-answer")
        rows.append((f"{campaign_id:08x}{number:024x}", campaign_id, at, *times))
    with closing(sqlite3.connect(pbx.folder / "tandem.db", timeout=20)) as database, database:
        database.executemany(
            "INSERT INTO attempts (call_id, campaign_id, dial, epoch, node, phone_number, caller_number, trunk, destination, agent, cause, tech_cause,"
            " started_at, answered_at, connected_at, ended_at, disposition)"
            " VALUES (?, ?, 1, 0, 'tandem', '0309', '', 'far', 'queue sales', '', 0, 0, ?, ?, ?, ?, ?)",
            rows,
        )
        database.execute(
            "INSERT INTO campaign_days VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
            (campaign_id, int(began // 86400), len(rows), answered, answered, 0.5 * answered, 1.5 * answered),
        )


def test_predictive_dials_ahead_of_agents_and_keeps_under_its_cap(site, pbx):
    """It knows a list where one in ten answers; here everybody does: ever fewer are risked, until an agent is reserved for each again."""
    amount, cap, known = 40, 0.1, 100
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.3, steps=[AwaitBye(30)]) as people:
        path = site.make(
            [f"0304000{number:02}" for number in range(amount)], destination={"queue": "sales"}, dial_mode="predictive",
            concurrent_calls=LINES, abandon_cap=cap, unserved="message", unserved_announcement="sorry",
        )  # fmt: skip
        teach(pbx, path, answered=known, failed=900)
        site.wait_for(
            "/api/v1/monitoring/agents", lambda found: [one["status"] for one in found["items"]] == ["not-in-use"] * 2
        )
        counts = site.run(path, 180)["counts"]
        wait_until(lambda: all(map(list_ends, people.read_legs())), "every leg has ended")
        legs = people.read_legs()
    assert sorted(leg.called for leg in legs) == [f"0304000{number:02}" for number in range(amount)]
    assert len(AGENTS) < count_lines(legs) <= LINES
    assert (
        counts["completed"]
        == counts["answered_calls"]
        == counts["connected_calls"] + counts["abandoned_calls"]
        == amount
    )
    assert counts["abandoned_calls"] <= cap * (known + amount), counts


def list_shared(legs):
    """Those from the first one on of the campaign that was started last: until then the other has all lines, however long that takes."""
    return list(dropwhile(lambda leg: leg.called[5] != "1", sorted(legs, key=lambda leg: leg.at_ms("invited"))))


def test_campaigns_share_the_lines_by_their_priority(site, pbx):
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.1, steps=[Wait(0.8), HangUp()]) as people:
        paths = [
            site.make(
                [f"03020{number}{n:03}" for n in range(60)], destination={"announcement": "news"}, concurrent_calls=20,
                priority=priority,
            )
            for number, priority in enumerate((1, 3))
        ]  # fmt: skip
        for path in paths:
            site.ask("POST", f"{path}/start")
        wait_until(lambda: len(list_shared(people.read_legs())) >= 40, "forty calls of both", timeout_s=60)
        for path in paths:
            site.ask("POST", f"{path}/stop")
        for path in paths:
            site.wait_for(path, lambda found: not found["counts"]["calling"] + found["counts"]["answered"])
        legs = people.read_legs()
    assert count_lines(legs) == LINES
    # One call in four.
    shares = Counter(leg.called[5] for leg in list_shared(legs)[:40])
    assert 7 <= shares["0"] <= 13, shares
    assert set(Counter(leg.called for leg in legs).values()) == {1}


@pytest.fixture
def disk(tmp_path):
    """A disk of 24 MB, mounted before any world is made that shall see it."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="mounts a small file system")
def test_a_disk_that_is_full_stops_dialling_says_so_and_dials_nobody_twice(asterisk_install, disk):
    numbers = [f"03030{number:03}" for number in range(60)]
    settings = {"dialer.max_calls": "10", "database.path": str(disk / "tandem.db")}
    with LabPbx(asterisk_install, DOCUMENT, settings=settings) as pbx:
        serve(pbx)
        site = Campaigner(pbx)
        with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.1, steps=[Wait(0.5), HangUp()]) as people:
            path = site.make(numbers, destination={"announcement": "news"}, concurrent_calls=3)
            site.ask("POST", f"{path}/start")
            people.wait_for("answered", count=3)
            # Or the next rows find room in the log that is there.
            with closing(sqlite3.connect(disk / "tandem.db", timeout=20)) as other:
                assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            ballast = disk / "ballast"
            subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=4k"], capture_output=True, check=False)
            assert os.statvfs(disk).f_bavail == 0
            wait_until(
                lambda: any(
                    "the disk is full" in reason for reason in site.ask("GET", "/api/v1/monitoring/status")["reasons"]
                ),
                "the reason",
            )
            stuck = len(people.read_legs())
            time.sleep(3)
            # What was claimed before is at most its limit; nothing more is dialled.
            assert len(people.read_legs()) <= stuck + 3
            assert len(people.read_legs()) < 60
            ballast.unlink()
            found = site.wait_for(path, lambda found: found["counts"]["completed"] == 60, 90)
            legs = people.read_legs()
        assert found["counts"]["total_calls"] == 60
        assert sorted(leg.called for leg in legs) == numbers
        assert "Traceback" not in pbx.read_log()
