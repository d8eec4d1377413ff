"""The dialer when something fails: dead trunks, kills, lost connections, a slow Asterisk, a slow database, clocks that jump."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from api.v1.monitoring import tell_dialer
from tandem.dialer.lines import Limits
from tandem.domain.campaigns import NewNumber, NumberStatus
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import without_entity
from tandem.domain.why import explain_campaign
from tandem.store.attempts import load_open_attempts
from tandem.store.campaigns import load_campaign, load_days
from tandem.store.errors import StoreError
from tandem.store.numbers import add_numbers, delete_number
from tests.tandem.dialer.harness import House, Outcome, numbers

ON_BOTH = ("dead_trunk", "asterisk_dies")


@pytest.mark.parametrize("latency_s", [0.0, 2.0])
@pytest.mark.parametrize("slow_db_s", [0.0, 0.7])
def test_the_limit_holds_with_a_slow_asterisk_a_slow_database_pauses_and_restarts(
    tmp_path: Path, latency_s: float, slow_db_s: float
) -> None:
    house = House(tmp_path)
    house.far.latency_s = latency_s
    house.store.latency_s = slow_db_s
    campaign_id = house.make(numbers(60), concurrent_calls=6)
    house.go(campaign_id)
    house.advance(7)
    house.do(house.dialer.commands.pause(campaign_id))
    house.advance(3)
    house.do(house.dialer.commands.start(campaign_id, (), resume=True))
    house.advance(7)
    house.store.latency_s = 0.0
    house.restart()
    house.store.latency_s = slow_db_s
    house.advance(400, 0.25)
    house.check()
    counts = house.counts(campaign_id)
    assert (counts.pending, counts.calling, counts.answered) == (0, 0, 0)
    assert house.far.peak <= 6
    assert set(house.far.dialled().values()) == {1}


def test_a_dead_trunk_spends_no_attempt_and_is_probed(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome("dead", ring_s=5)
    campaign_id = house.make(numbers(50), concurrent_calls=5)
    house.go(campaign_id)
    house.advance(60, 0.25)
    house.check()
    assert house.dialer.lines.breakers["carrier"].state in {"open", "probing"}
    dead = len(house.far.legs)
    # Five at once, then single probes after 10, 20, … s.
    assert dead <= 9
    saved = house.store.store.run_now(load_campaign, campaign_id)
    breaker, reasons = house.dialer.lines.breakers["carrier"], explain_campaign(saved, house.dialer.weigh(saved))
    (told,) = [reason for reason in reasons if reason.rule == "trunk"]
    assert told.until == (breaker.retry_at if breaker.state == "open" else None)
    assert "trunk carrier" in told.message
    (shown,) = tell_dialer(house.dialer).trunks
    assert (shown.trunk, shown.breaker, shown.failures) == ("carrier", breaker.state, breaker.failures)
    assert shown.retry_at == datetime.fromtimestamp(breaker.retry_at, UTC)
    assert {number.attempts for number in house.numbers(campaign_id) if not number.call_id} == {0}
    house.far.script = lambda _: Outcome()
    house.advance(300, 0.25)
    house.check()
    assert house.counts(campaign_id).completed == 50
    assert house.dialer.lines.breakers["carrier"].state == "closed"
    assert "trunk" not in {reason.rule for reason in explain_campaign(saved, house.dialer.weigh(saved))}


def test_a_database_that_is_locked_stops_dialling_and_nothing_else(tmp_path: Path) -> None:
    house = House(tmp_path)
    campaign_id = house.make(numbers(20), concurrent_calls=2)
    house.go(campaign_id)
    house.advance(2)
    house.store.problem = StoreError(tmp_path / "tandem.db", "it is locked", "wait")
    house.advance(10)
    assert "locked" in (house.dialer.problem or "")
    assert len(house.far.legs) == 2
    house.store.problem = None
    house.advance(90)
    house.check()
    assert house.counts(campaign_id).completed == 20
    assert set(house.far.dialled().values()) == {1}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ami_cut_at_random_bytes_for_a_minute(tmp_path: Path, seed: int) -> None:
    house = House(tmp_path)
    randomness = random.Random(seed)
    campaign_id = house.make(numbers(60), concurrent_calls=6)
    house.go(campaign_id)
    for _ in range(60):
        if randomness.random() < 0.5:
            house.far.fake.cut_after = randomness.randrange(1, 4000)
        else:
            house.far.fake.cut_after_received = randomness.randrange(1, 4000)
        if randomness.random() < 0.3:
            house.far.fake.cut()
        house.advance(1, 0.1)
    # It was cut in the middle of things again and again, and dialled between.
    assert house.far.fake.logins > 10
    assert len(house.far.legs) > 25
    assert "unconfirmed" in {attempt["disposition"] for attempt in house.attempts()}
    house.far.fake.cut_after = house.far.fake.cut_after_received = None
    house.advance(600, 0.5)
    house.check()
    counts = house.counts(campaign_id)
    assert (counts.pending, counts.calling, counts.answered) == (0, 0, 0)
    assert max(house.far.dialled().values()) == 1
    assert house.far.peak <= 6
    # One whose originate was cut in half was never carried out; whether it was sent is not known, so it is not sent again.
    assert counts.completed + counts.failed == 60


def test_a_jump_of_the_wall_clock_dials_nobody_twice(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome("busy")
    campaign_id = house.make(numbers(3), concurrent_calls=3, retry_times=1, retry_delay_s=60)
    house.go(campaign_id)
    house.advance(5)
    house.wall = -3600.0
    house.advance(30)
    assert len(house.far.legs) == 3
    house.wall = 3600.0
    house.advance(20)
    # Sixty seconds after their end: neither an hour sooner nor an hour later.
    assert len(house.far.legs) == 3
    house.advance(20)
    assert set(house.far.dialled().values()) == {2}
    house.check()


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_who_waits_for_a_while_waits_for_just_that_whatever_the_clock_does(tmp_path: Path, jump: float) -> None:
    house = House(tmp_path)
    house.far.script = lambda number: Outcome("busy", ring_s=1.0 if number == "030100000" else 20.0)
    campaign_id = house.make(numbers(2), concurrent_calls=2, retry_times=1, retry_delay_s=100)
    later = house.make(["0302222222"], concurrent_calls=2)
    house.store.store.run_now(
        lambda db: (
            db.execute_sql(
                "UPDATE numbers SET due_at = ?, hold = 'not-before' WHERE campaign_id = ?", (house.now() + 1800, later)
            ).rowcount
        )
    )
    house.go(campaign_id)
    house.go(later)
    house.advance(15)
    house.wall = jump
    house.advance(285)
    gaps = {}
    for number in numbers(2):
        first, second = (leg.at for leg in house.far.legs if leg.number == number)
        gaps[number] = second - first
    # One had ended before the jump, the other ends after it.
    assert 101 <= gaps["030100000"] <= 104
    assert 120 <= gaps["030100001"] <= 123
    # A time that somebody named is a time of the clock on the wall.
    assert ("0302222222" in house.far.dialled()) == (jump > 0)
    house.check()


def test_a_trunk_that_is_taken_away_costs_no_number_its_call(tmp_path: Path) -> None:
    house = House(tmp_path)
    campaign_id = house.make(numbers(10), concurrent_calls=2)
    house.go(campaign_id)
    house.advance(2)
    whole = house.snapshot
    house.snapshot = replace(without_entity(whole, 2, "trunks", "carrier"), revision=2)
    house.advance(30)
    house.check()
    (view,) = house.dialer.describe()
    assert "there is no trunk carrier" in view.problem
    assert Counter(number.status for number in house.numbers(campaign_id)) == {
        NumberStatus.COMPLETED: 2, NumberStatus.PENDING: 8,
    }  # fmt: skip
    house.snapshot = replace(whole, revision=3)
    house.advance(60)
    assert house.counts(campaign_id).completed == 10


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_kills_and_lost_connections_at_any_moment(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    house = House(tmp_path_factory.mktemp("kills"))
    kinds = st.sampled_from(["answer", "busy", "no-answer", "dead"])
    script = {number: Outcome(data.draw(kinds), ring_s=2, talk_s=3) for number in numbers(12)}
    house.far.script = script.__getitem__
    campaign_id = house.make(list(script), concurrent_calls=4, retry_times=1, retry_delay_s=20)
    house.go(campaign_id)
    for _ in range(data.draw(st.integers(1, 6))):
        house.advance(data.draw(st.floats(0.05, 8)))
        match data.draw(st.sampled_from(["kill", "cut", "cut later", "slow"])):
            case "kill":
                house.restart()
            case "cut":
                house.far.fake.cut()
            case "cut later":
                house.far.fake.cut_after_received = data.draw(st.integers(0, 3000))
                house.far.fake.cut()
            case "slow":
                house.far.latency_s = data.draw(st.sampled_from([0.0, 2.0]))
        house.far.fake.flush()
    house.far.script = lambda number: script[number] if script[number].kind != "dead" else Outcome()
    house.advance(900, 0.5)
    house.check()
    counts = house.counts(campaign_id)
    assert (counts.pending, counts.calling, counts.answered) == (0, 0, 0)
    assert house.far.peak <= 4
    attempts = house.attempts()
    assert all(attempt["ended_at"] is not None for attempt in attempts)
    assert len({(attempt["number_id"], attempt["dial"]) for attempt in attempts}) == len(attempts)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a smaller one would take minutes
)
@given(st.data())
def test_the_times_of_an_attempt_are_in_order_whatever_is_reported_first(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """FastAGI asks where to before AMI tells of the answer, an agent's is behind the end, and the database is late."""
    house = House(tmp_path_factory.mktemp("order"))
    house.far.script = lambda _: Outcome(ring_s=10_000)
    house.facts = QueueFacts(callers=0, members_available=data.draw(st.integers(0, 9)), members_logged_in=9)
    amount = 6
    campaign_id = house.make(
        numbers(amount),
        concurrent_calls=amount,
        destination={"queue": "sales"},
        unserved="message",
        unserved_announcement="sorry",
        retry_times=0,
    )
    house.go(campaign_id)
    house.advance(1)
    house.store.latency_s = data.draw(st.sampled_from([0.0, 0.3, 2.0]))
    tell = house.far.tell

    def report(what: str, leg: Any) -> None:
        match what:
            case "response":
                tell("OriginateResponse", ActionID=leg.action_id, Response="Success", Reason="4", Uniqueid=leg.call_id)
            case "fastagi":
                house.dialer.answers.serve_answered(leg.call_id)
            case "agent":
                tell("AgentConnect", Uniqueid=leg.call_id, Interface="PJSIP/1001", MemberName="anna")
            case "end":
                house.far.end(leg)

    steps = []
    for leg in house.far.legs:
        answered_at = data.draw(st.floats(0.2, 1.5))
        # The two that Asterisk sends of every call are apart by its own threads, not by seconds, where the end is first.
        steps += [(answered_at, "response", leg), (answered_at + data.draw(st.floats(-0.2, 1.5)), "end", leg)]
        steps += [
            (data.draw(st.floats(0, 3)), what, leg)
            for what in data.draw(st.sets(st.sampled_from(["fastagi", "agent"])))
        ]
    assert len(house.far.legs) == amount
    past = 0.0
    for at, what, leg in sorted(steps, key=lambda step: step[0]):
        house.advance(at - past)
        past = at
        report(what, leg)
    house.store.latency_s = 0.0
    house.advance(15, 0.25)
    house.check()
    attempts = house.attempts("started_at", "answered_at", "connected_at", "abandoned_at", "ended_at", "disposition")
    for attempt in attempts:
        served = attempt["connected_at"] if attempt["connected_at"] is not None else attempt["abandoned_at"]
        known = [attempt["started_at"], attempt["answered_at"], served, attempt["ended_at"]]
        times = [at for at in known if at is not None]
        assert times == sorted(times), attempt
        assert (attempt["disposition"], None in known) == ("answered", False), attempt
    counts = house.counts(campaign_id)
    connected = sum(attempt["connected_at"] is not None for attempt in attempts)
    abandoned = sum(attempt["connected_at"] is None for attempt in attempts)
    assert (counts.answered_calls, counts.connected_calls, counts.abandoned_calls) == (amount, connected, abandoned)
    (days,) = house.store.store.run_now(load_days, [campaign_id], 0).values()
    assert (sum(day.connected for day in days), sum(day.abandoned for day in days)) == (connected, abandoned)


def test_a_call_whose_end_is_known_before_the_start_has_read_it_keeps_no_slot(tmp_path: Path) -> None:
    """Reading and writing have a thread each: what was open when it was read may be over when that is told."""
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(talk_s=1000)
    campaign_id = house.make(numbers(3), concurrent_calls=1)
    house.go(campaign_id)
    house.advance(3)
    (leg,) = house.far.legs
    house.kill()
    read = house.store.read

    def read_late(work: Any, *args: Any) -> Deferred[Any]:
        if work is not load_open_attempts:
            return read(work, *args)
        del house.store.read
        done: Deferred[Any] = Deferred()
        house.clock.callLater(10, read(work, *args).chainDeferred, done)
        return done

    house.store.read = read_late  # type: ignore[method-assign]  # this one read is slow
    house.start()
    house.advance(3)
    house.far.script = lambda _: Outcome()
    house.far.end(leg)
    house.advance(5)
    assert [attempt["disposition"] for attempt in house.attempts()] == ["answered"]
    assert len(house.far.legs) == 1
    house.advance(60, 0.25)
    assert house.dialer.board.calls == {}
    assert house.counts(campaign_id).completed == 3
    house.check()


def test_a_reactor_that_is_late_slows_the_dialer_down_long_before_it_stops(tmp_path: Path) -> None:
    placed = {}
    for lag_s in (0.0, 0.2, 0.6):
        folder = tmp_path / f"{lag_s}"
        folder.mkdir()
        house = House(folder, Limits(max_calls=500, max_cps=20))
        house.lag_s = lag_s
        campaign_id = house.make(numbers(400), concurrent_calls=400)
        house.advance(2)
        house.go(campaign_id)
        house.advance(2)
        before = len(house.far.legs)
        house.advance(10)
        placed[lag_s] = len(house.far.legs) - before
    assert placed[0.0] > 150
    assert 0.5 * placed[0.0] < placed[0.2] < 0.8 * placed[0.0]
    assert placed[0.6] == 0


def test_asterisk_dies_with_calls_up_and_ringing_and_nobody_is_called_within_the_ring_window(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda number: Outcome(ring_s=0.5 if number.endswith("0") else 15, talk_s=1000)
    campaign_id = house.make(numbers(2), concurrent_calls=2, retry_times=1, retry_delay_s=5, dial_timeout_s=20)
    house.go(campaign_id)
    house.advance(2)
    up, ringing = house.far.legs
    assert (up.is_up, ringing.is_up) == (True, False)
    died_at = house.clock.seconds()
    # Not a word of them, and an Asterisk that is up again and knows no channel.
    for leg in (up, ringing):
        leg.is_over = True
        house.far.live -= 1
    house.far.fake.cut()
    house.far.fake.flush()
    house.advance(40, 0.25)
    house.check()
    attempts = house.attempts()
    assert [attempt["disposition"] for attempt in attempts] == ["unconfirmed"] * 2
    assert all(attempt["ended_at"] - died_at < 30 for attempt in attempts)
    assert len(house.far.legs) == 2
    house.far.script = lambda _: Outcome()
    house.advance(60, 0.25)
    again = [leg.at - up.at for leg in house.far.legs[2:]]
    # Its ring time and a minute more, whatever the retry delay says.
    assert len(again) == 2
    assert all(80 <= after < 90 for after in again), again
    house.advance(20)
    assert house.counts(campaign_id).completed == 2
    house.check()


@pytest.mark.parametrize("again", ["added anew", "on another list"])
def test_a_telephone_in_doubt_is_in_doubt_on_every_list(tmp_path: Path, again: str) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(ring_s=15)
    first = house.make(["030100"], retry_times=0, dial_timeout_s=20)
    second = house.make(["+4930100"] if again == "on another list" else ["030200"], retry_times=0)
    house.go(first)
    house.advance(2)
    (leg,) = house.far.legs
    began_at = leg.at
    # Nothing more is heard of it, and Asterisk knows no such channel.
    leg.is_over = True
    house.far.live -= 1
    house.far.fake.cut()
    house.far.fake.flush()
    house.advance(20, 0.25)
    assert [attempt["disposition"] for attempt in house.attempts()] == ["unconfirmed"]
    (number,) = house.numbers(first)
    assert number.status is NumberStatus.FAILED
    if again == "added anew":
        run = house.store.store.run_now
        run(delete_number, number.number_id)
        run(add_numbers, second, [NewNumber(phone_number="+4930100")], house.now())
    house.go(second)
    house.advance(80 - (house.clock.seconds() - began_at) - 1, 0.25)
    assert [leg for leg in house.far.legs if leg.number.endswith("30100")] == [leg]
    assert [one.hold for one in house.numbers(second) if one.phone_number.endswith("30100")] == ["telephone"]
    house.advance(8, 0.25)
    assert [one.number for one in house.far.legs if one.number.endswith("30100")] == ["030100", "+4930100"]
    house.check()


@pytest.mark.parametrize("is_stopped_first", [True, False])
def test_a_stop_and_a_start_while_a_call_is_in_doubt_do_not_shorten_the_doubt(
    tmp_path: Path, *, is_stopped_first: bool
) -> None:
    """Whoever sees that Asterisk died stops and starts the campaign: the far end may still ring all the same."""
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(ring_s=15, talk_s=1000)
    campaign_id = house.make(numbers(1), retry_times=1, retry_delay_s=5, dial_timeout_s=20)
    house.go(campaign_id)
    house.advance(2)
    (ringing,) = house.far.legs
    ringing.is_over = True
    house.far.live -= 1
    if is_stopped_first:
        house.far.fake.is_down = True
    house.far.fake.cut()
    house.far.fake.flush()
    if not is_stopped_first:
        house.advance(30, 0.25)
        assert [attempt["disposition"] for attempt in house.attempts()] == ["unconfirmed"]
    house.do(house.dialer.commands.stop(campaign_id))
    house.go(campaign_id)
    house.far.fake.is_down = False
    house.far.script = lambda _: Outcome()
    house.advance(20, 0.25)
    assert len(house.far.legs) == 1
    (number,) = house.numbers(campaign_id)
    assert (number.status, number.hold, number.attempts) == (NumberStatus.PENDING, "doubt", 0)
    assert [attempt["disposition"] for attempt in house.attempts()] == ["unconfirmed"]
    house.advance(80, 0.25)
    again = [leg.at - ringing.at for leg in house.far.legs[1:]]
    assert len(again) == 1
    assert 80 <= again[0] < 90
    house.check()
