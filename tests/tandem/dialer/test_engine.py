"""The dialer on a Clock, against FakeAsterisk and a real database: limits, retries, gates, dead trunks, stop and pause, kills, slow everything."""

import itertools
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from tandem.dialer.lines import Limits
from tandem.domain.campaigns import NumberStatus
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import without_entity
from tandem.domain.why import explain_campaign
from tandem.store.campaigns import StateConflict, load_campaign, load_days
from tandem.store.database import open_store
from tandem.store.errors import StoreError
from tests.tandem.dialer import harness
from tests.tandem.dialer.harness import START, House, Outcome

# Each statement that the engine has is in one of these; how it keeps time does not depend on the database.
ON_BOTH = (
    "everybody_is_called_once", "retries_follow", "stop_hangs_up", "reset_while_it_rings", "what_asterisk_refuses",
    "dead_trunk", "nobody_free", "short_call", "asterisk_dies",
)  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    is_on_both = any(name in metafunc.function.__name__ for name in ON_BOTH)
    metafunc.parametrize("_fast", ["sqlite", "postgres"] if is_on_both else ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "postgres":
        place = request.getfixturevalue("postgres_place")
        monkeypatch.setattr(harness, "open_store", lambda _: open_store(place))
    monkeypatch.setattr("tandem.store.sqlite.PRAGMAS", ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF"))


def numbers(amount: int, start: int = 0) -> list[str]:
    return [f"0301{number:05}" for number in range(start, start + amount)]


def test_everybody_is_called_once_and_never_more_than_the_limit(tmp_path: Path) -> None:
    house = House(tmp_path)
    campaign_id = house.make(numbers(40), concurrent_calls=5)
    house.go(campaign_id)
    house.advance(60)
    house.check()
    counts = house.counts(campaign_id)
    assert (counts.completed, counts.total_calls, counts.answered_calls) == (40, 40, 40)
    assert house.far.peak == 5
    assert set(house.far.dialled().values()) == {1}


def test_a_freed_slot_is_taken_again_at_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.go(house.make(numbers(10), concurrent_calls=1))
    house.advance(30, 0.01)
    starts = [leg.at for leg in house.far.legs]
    # Ring 1 s, talk 5 s, and 50 ms at the most until the next.
    assert all(6 <= after - before <= 6.05 for before, after in itertools.pairwise(starts)), starts


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


def test_retries_follow_the_rules_of_their_disposition(tmp_path: Path) -> None:
    kinds = {"030100000": "busy", "030100001": "no-answer", "030100002": "invalid", "030100003": "congestion"}
    house = House(tmp_path)
    house.far.script = lambda number: Outcome(kinds[number])
    campaign_id = house.make(
        list(kinds), concurrent_calls=10, retry_times=2, retry_delay_s=60,
        retry_rules={"busy": {"times": 3, "delay_s": 20}, "congestion": {"times": 0, "delay_s": 1}},
    )  # fmt: skip
    house.go(campaign_id)
    house.advance(400, 0.5)
    house.check()
    assert house.far.dialled() == {"030100000": 4, "030100001": 3, "030100002": 1, "030100003": 1}
    assert [number.status for number in house.numbers(campaign_id)] == [
        NumberStatus.BUSY, NumberStatus.NO_ANSWER, NumberStatus.FAILED, NumberStatus.FAILED,
    ]  # fmt: skip
    busy = [leg.at for leg in house.far.legs if leg.number == "030100000"]
    # 20 s after the end of the attempt, which rang for one.
    assert all(21 <= after - before < 23 for before, after in itertools.pairwise(busy))


def test_a_retry_survives_a_restart(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome("busy")
    campaign_id = house.make(numbers(1), retry_times=1, retry_delay_s=100)
    house.go(campaign_id)
    house.advance(10)
    house.restart()
    house.advance(80, 0.5)
    assert len(house.far.legs) == 1
    house.advance(30, 0.5)
    assert len(house.far.legs) == 2
    assert house.numbers(campaign_id)[0].status is NumberStatus.BUSY


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
    assert {number.attempts for number in house.numbers(campaign_id) if not number.call_id} == {0}
    house.far.script = lambda _: Outcome()
    house.advance(300, 0.25)
    house.check()
    assert house.counts(campaign_id).completed == 50
    assert house.dialer.lines.breakers["carrier"].state == "closed"
    assert "trunk" not in {reason.rule for reason in explain_campaign(saved, house.dialer.weigh(saved))}


def test_stop_hangs_up_and_resets_and_does_not_dial_twice_at_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda number: Outcome(ring_s=3 if number.endswith(("0", "1")) else 1, talk_s=100)
    campaign_id = house.make(numbers(10), concurrent_calls=4)
    house.go(campaign_id)
    house.advance(2)
    before = {number.phone_number: number.status for number in house.numbers(campaign_id)}
    assert Counter(before.values()) == {NumberStatus.CALLING: 2, NumberStatus.ANSWERED: 2, NumberStatus.PENDING: 6}
    house.do(house.dialer.commands.stop(campaign_id))
    house.advance(0.2)
    assert house.far.live == 0
    house.check()
    after = house.numbers(campaign_id)
    assert Counter(number.status for number in after) == {NumberStatus.COMPLETED: 2, NumberStatus.PENDING: 8}
    assert {number.attempts for number in after if number.status is NumberStatus.PENDING} == {0}
    with pytest.raises(StateConflict, match="already stopped"):
        house.do(house.dialer.commands.stop(campaign_id))
    house.go(campaign_id)
    house.advance(1)
    assert house.far.peak <= 4
    house.check()


def test_pause_lets_calls_go_on(tmp_path: Path) -> None:
    house = House(tmp_path)
    campaign_id = house.make(numbers(10), concurrent_calls=2)
    house.go(campaign_id)
    house.advance(2)
    house.do(house.dialer.commands.pause(campaign_id))
    house.advance(20)
    assert len(house.far.legs) == 2
    assert house.counts(campaign_id).completed == 2
    house.do(house.dialer.commands.start(campaign_id, (), resume=True))
    house.advance(60)
    assert house.counts(campaign_id).completed == 10


def test_pause_resume_and_stop_act_within_200_ms_of_the_clock(tmp_path: Path) -> None:
    """Of the clock that everything here waits by: whatever waits for a turn of its own (a tick, a look once a second) is seen, and whoever else is on the machine is not."""
    house = House(tmp_path, Limits(max_calls=500, max_cps=2000))
    house.far.script = lambda _: Outcome(talk_s=10_000)
    campaign_id = house.make(numbers(900), concurrent_calls=200)
    house.go(campaign_id)
    house.advance(5, 0.01)
    assert house.far.live == 200
    # Slots are free all the time from here on: whoever is hung up is followed by the next.
    ending = iter(house.far.legs[:190])

    def end_one() -> None:
        if (leg := next(ending, None)) is not None:
            house.far.end(leg)
            house.clock.callLater(0.03, end_one)

    end_one()

    def act(command: Any) -> float:
        """When it was answered."""
        answered: list[float] = []
        done = Deferred.fromCoroutine(command)
        done.addCallback(lambda _: answered.append(house.clock.seconds()))
        for _ in range(20):
            house.far.fake.flush()
            if answered:
                break
            house.clock.advance(0.01)
        assert answered, "not within 200 ms"
        return answered[0]

    commands = house.dialer.commands
    for turn in range(3):
        # Not in step with any loop's own seconds.
        house.advance(0.47 + 0.31 * turn, 0.01)
        asked_at = house.clock.seconds()
        assert act(commands.pause(campaign_id)) - asked_at <= 0.2
        sent = len(house.far.legs)
        house.advance(1.3, 0.01)
        assert len(house.far.legs) == sent
        asked_at = house.clock.seconds()
        assert act(commands.start(campaign_id, (), resume=True)) - asked_at <= 0.2
        house.advance(0.2, 0.01)
        assert len(house.far.legs) > sent
        assert house.far.legs[sent].at - asked_at <= 0.2
    up = house.far.live
    assert up > 150
    asked_at, sent = house.clock.seconds(), len(house.far.legs)
    answered_at = act(commands.stop(campaign_id))
    house.advance(0.2 - (answered_at - asked_at), 0.01)
    assert (house.far.live, len(house.far.legs)) == (0, sent)
    assert house.clock.seconds() - asked_at <= 0.2 + 1e-6
    house.advance(20, 0.1)
    assert len(house.far.legs) == sent
    assert house.counts(campaign_id).calling + house.counts(campaign_id).answered == 0
    house.check()


def test_nothing_leaves_after_the_answer_to_a_pause(tmp_path: Path) -> None:
    house = House(tmp_path, Limits(max_calls=500, max_cps=2000))
    campaign_id = house.make(numbers(300), concurrent_calls=300)
    left: list[int] = []
    sent: list[int] = []

    def pause() -> None:
        left.append(len(house.dialer._outbox))
        done = Deferred.fromCoroutine(house.dialer.commands.pause(campaign_id))
        done.addCallback(lambda _: (house.far.fake.flush(), sent.append(len(house.far.legs))))

    # After the first turn of a claim that takes several.
    house.dialer.watch_attempts(
        lambda step: house.clock.callLater(0, pause) if step.kind == "claimed" and not left else None
    )
    house.dialer.watch_attempts(lambda step: left.append(-1) if step.kind == "claimed" and not left else None)
    # A rate that was worked up to.
    house.dialer.brake.speed = 1.0
    house.go(campaign_id)
    house.advance(10)
    assert left[1] > 0
    assert sent == [len(house.far.legs)] == [len(house.attempts())]
    assert sent[0] < 300
    house.check()


def test_a_call_that_is_reset_while_it_rings_is_not_dialled_again_before_its_end(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(ring_s=20)
    campaign_id = house.make(numbers(1))
    house.go(campaign_id)
    house.advance(1)
    house.do(house.dialer.commands.reset(campaign_id))
    house.advance(10)
    assert (len(house.far.legs), house.far.peak) == (1, 1)
    house.check()


def test_limits_of_trunk_and_of_all_and_rates(tmp_path: Path) -> None:
    house = House(tmp_path, Limits(max_calls=8, max_cps=1000))
    narrow = house.make(numbers(50), concurrent_calls=50, trunk="narrow")
    wide = house.make(numbers(50, 100), concurrent_calls=50)
    house.go(narrow)
    house.go(wide)
    house.advance(4)
    live = Counter("narrow" if int(leg.number[4:]) < 100 else "wide" for leg in house.far.legs if not leg.is_over)
    assert live == {"narrow": 3, "wide": 5}
    slow = house.make(numbers(50, 200), concurrent_calls=50, trunk="slow")
    house.do(house.dialer.commands.pause(wide))
    house.go(slow)
    house.advance(60)
    times = [leg.at for leg in house.far.legs if int(leg.number[4:]) >= 200]
    assert len(times) > 10
    assert all(after - before >= 0.45 for before, after in itertools.pairwise(times))
    assert house.far.peak <= 8


def test_campaigns_share_by_priority(tmp_path: Path) -> None:
    house = House(tmp_path, Limits(max_calls=12, max_cps=1000))
    house.far.script = lambda _: Outcome(talk_s=1000)
    ids = [
        house.make(numbers(100, 100 * number), concurrent_calls=100, priority=priority)
        for number, priority in enumerate((1, 2, 3))
    ]
    # All three are there when the first slot is given.
    house.far.fake.is_down = True
    house.far.fake.cut()
    house.far.fake.flush()
    for campaign_id in ids:
        house.go(campaign_id)
    house.far.fake.is_down = False
    house.advance(60, 0.5)
    live = Counter(int(leg.number[4:]) // 100 for leg in house.far.legs)
    assert [live[number] for number in range(3)] == [2, 4, 6]


def test_what_asterisk_refuses_and_what_may_not_be_dialled(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda number: Outcome("refused" if number == "030123" else "answer")
    campaign_id = house.make(["030123", "112", "+4930999"], concurrent_calls=5)
    house.go(campaign_id)
    house.advance(20)
    found = {number.phone_number: (number.status, number.disposition) for number in house.numbers(campaign_id)}
    assert found["030123"] == (NumberStatus.FAILED, "failed")
    assert found["112"][0] is NumberStatus.FAILED
    assert "emergency" in found["112"][1]
    assert found["+4930999"][0] is NumberStatus.COMPLETED
    house.check()


def test_a_window_is_waited_for_in_the_called_partys_zone(tmp_path: Path) -> None:
    house = House(tmp_path)
    window = {"hours": [{"days": "mon-fri", "start": "09:00", "end": "20:00"}]}
    campaign_id = house.make(["+493012345", "+12125550123"], concurrent_calls=5, call_window=window)
    house.go(campaign_id)
    house.advance(20)
    german, american = house.numbers(campaign_id)
    assert german.status is NumberStatus.COMPLETED
    assert (american.status, american.hold) == (NumberStatus.PENDING, "window")
    assert american.due_at == START + 3600
    house.advance(61 * 60, 5)
    assert house.numbers(campaign_id)[1].status is NumberStatus.COMPLETED
    house.check()


def test_a_busy_pbx_is_left_alone(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.output = ("cdr_engine  9000  1500  1500  4500  5000  0  0",)
    campaign_id = house.make(numbers(100), concurrent_calls=50)
    house.advance(3)
    house.go(campaign_id)
    house.advance(2)
    begun = len(house.far.legs)
    house.advance(10)
    assert len(house.far.legs) == begun
    assert begun <= 10
    assert house.dialer.brake.pressure == 1.0
    house.output = ("cdr_engine  9000  0  1500  4500  5000  0  0",)
    house.advance(60)
    house.advance(100, 0.25)
    assert house.counts(campaign_id).completed == 100


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


def test_nobody_free_hears_the_message_and_counts_as_abandoned(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.facts = QueueFacts(callers=0, members_available=1, members_logged_in=3)
    house.facts_at = house.clock.seconds()
    campaign_id = house.make(
        numbers(3),
        concurrent_calls=3,
        destination={"queue": "sales"},
        unserved="message",
        unserved_announcement="sorry",
    )
    house.go(campaign_id)
    house.advance(1.5)
    first, second, third = (leg.call_id for leg in house.far.legs)
    served = [house.dialer.answers.serve_answered(call_id) for call_id in (first, second)]
    assert [one.is_unserved for one in served] == [False, True]  # three have answered, and one agent is free
    house.far.tell("AgentConnect", Uniqueid=first, Interface="PJSIP/1001", MemberName="anna")
    assert house.dialer.answers.serve_answered(third).is_unserved is True
    assert house.dialer.answers.serve_answered("0" * 32) is None
    house.advance(20)
    counts = house.counts(campaign_id)
    assert (counts.answered_calls, counts.connected_calls, counts.abandoned_calls) == (3, 1, 2)
    assert [attempt["agent"] for attempt in house.attempts("agent")] == ["1001", "", ""]
    house.check()


def test_a_machine_is_counted_waits_for_no_agent_and_is_no_answer_to_learn_from(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.facts = QueueFacts(callers=0, members_available=1, members_logged_in=1)
    campaign_id = house.make(
        numbers(3), concurrent_calls=3, destination={"queue": "sales"}, on_machine="hang-up", unserved="message",
        unserved_announcement="sorry",
    )  # fmt: skip
    house.go(campaign_id)
    house.advance(1.5)
    first, second, third = (leg.call_id for leg in house.far.legs)
    assert [house.dialer.answers.note_machine(call_id) for call_id in (first, second, "0" * 32)] == [True, True, False]
    house.dialer.answers.note_machine(first)  # told twice is counted once
    # Two machines answered before: the one agent is this person's.
    assert house.dialer.answers.serve_answered(third).is_unserved is False
    house.far.tell("AgentConnect", Uniqueid=third, Interface="PJSIP/1001", MemberName="anna")
    house.advance(20)
    counts = house.counts(campaign_id)
    assert (counts.answered_calls, counts.machine_calls, counts.connected_calls, counts.abandoned_calls) == (3, 2, 1, 0)
    assert (counts.completed, counts.no_answer) == (1, 2)
    assert [attempt["disposition"] for attempt in house.attempts("disposition")] == ["machine", "machine", "answered"]
    assert list(house.dialer.board.tally(campaign_id)._outcomes) == [False, False, True]
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


def test_progressive_reserves_an_agent_for_each_call(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.facts = QueueFacts(callers=0, members_available=3, members_logged_in=3)
    campaign_id = house.make(numbers(50), concurrent_calls=20, destination={"queue": "sales"}, dial_mode="progressive")
    other = house.make(numbers(50, 100), concurrent_calls=20, destination={"queue": "sales"}, dial_mode="progressive")
    house.go(campaign_id)
    house.go(other)
    house.advance(0.9)
    assert len(house.far.legs) == 3
    house.facts = None  # AMI away: nobody is dialled for agents of whom nothing is known
    house.advance(30)
    assert len(house.far.legs) == 3


def test_an_agent_who_was_reached_since_the_last_report_is_not_counted_on(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(ring_s=0.2, talk_s=0.5)
    house.facts = QueueFacts(callers=0, members_available=1, members_logged_in=1)
    house.facts_at = house.clock.seconds()
    house.go(house.make(numbers(9), concurrent_calls=9, destination={"queue": "sales"}, dial_mode="progressive"))
    house.advance(0.4)
    (leg,) = house.far.legs
    house.far.tell("AgentConnect", Uniqueid=leg.call_id, Interface="PJSIP/1001", MemberName="anna")
    house.advance(1.5)
    assert leg.is_over
    assert len(house.far.legs) == 1
    house.facts_at = house.clock.seconds()
    house.advance(0.5)
    assert len(house.far.legs) == 2


def test_an_agent_who_is_rung_for_one_person_is_not_kept_for_that_person_twice(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(ring_s=0.2, talk_s=60)
    house.facts = QueueFacts(callers=0, members_available=2, members_logged_in=2)
    house.facts_at = house.clock.seconds()
    house.go(
        house.make(
            numbers(9), concurrent_calls=9, destination={"queue": "sales"}, dial_mode="ratio", lines_per_agent=2,
            unserved="message", unserved_announcement="sorry",
        )
    )  # fmt: skip
    house.advance(0.4)
    first, second, third, fourth = (leg.call_id for leg in house.far.legs)
    serve = house.dialer.answers.serve_answered
    assert not serve(first).is_unserved
    house.far.tell("AgentCalled", Uniqueid=first, Interface="PJSIP/1001")
    # The next report has one agent who is free, and one caller: the one whom the other agent's phone rings for.
    house.facts, house.facts_at = (
        QueueFacts(callers=1, members_available=1, members_logged_in=2),
        house.clock.seconds() + 0.01,
    )
    house.advance(0.05)
    assert not serve(second).is_unserved
    assert serve(third).is_unserved
    # Who is rung in vain has nobody again, and is first in the line.
    house.far.tell("AgentRingNoAnswer", Uniqueid=first, Interface="PJSIP/1001")
    house.facts = QueueFacts(callers=2, members_available=2, members_logged_in=2)
    assert serve(fourth).is_unserved


@pytest.mark.parametrize("is_stopped", [False, True])
def test_what_a_last_run_has_learnt_is_known_to_the_next(tmp_path: Path, is_stopped: bool) -> None:
    house = House(tmp_path)
    house.facts = QueueFacts(callers=0, members_available=5, members_logged_in=5)
    campaign_id = house.make(numbers(60), concurrent_calls=5, destination={"queue": "sales"}, dial_mode="predictive")
    house.go(campaign_id)
    house.advance(90)
    before = house.dialer.board.tally(campaign_id).experience()
    if is_stopped:
        house.do(house.dialer.commands.stop(campaign_id))
        house.advance(2)
    house.restart()
    if is_stopped:
        # It dials, and has a tally, before anybody has looked into the database.
        house.advance(2)
        house.go(campaign_id)
    house.advance(2)
    after = house.dialer.board.tally(campaign_id).experience()
    assert before.attempts >= 40
    assert (after.attempts >= before.attempts, after.answered >= before.answered) == (True, True)


def test_a_call_that_lasts_too_long_is_ended(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(talk_s=10_000)
    campaign_id = house.make(numbers(1), call_timeout_s=30)
    house.go(campaign_id)
    house.advance(10)
    house.restart()
    house.advance(45)
    assert house.far.live == 0
    assert house.numbers(campaign_id)[0].status is NumberStatus.COMPLETED


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


def test_an_agent_who_took_a_short_call_while_the_database_was_slow_counts(tmp_path: Path) -> None:
    """The end is kept first: it was the call's own transaction, and what the agent did waits behind another note."""
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(ring_s=10_000)
    house.facts = QueueFacts(callers=0, members_available=2, members_logged_in=2)
    campaign_id = house.make(numbers(2), concurrent_calls=2, destination={"queue": "sales"})
    house.go(campaign_id)
    house.advance(1)
    for leg in house.far.legs:
        house.far.tell(
            "OriginateResponse", ActionID=leg.action_id, Response="Success", Reason="4", Uniqueid=leg.call_id
        )
    house.advance(1)
    house.store.latency_s = 2.0
    for leg in house.far.legs:
        house.far.tell("AgentConnect", Uniqueid=leg.call_id, Interface="PJSIP/1001", MemberName="anna")
        house.advance(0.4)
    for leg in house.far.legs:
        house.far.end(leg)
    house.advance(20)
    counts = house.counts(campaign_id)
    assert (counts.connected_calls, counts.abandoned_calls) == (2, 0)
    attempts = house.attempts("connected_at", "abandoned_at", "agent")
    assert [(one["connected_at"] is not None, one["abandoned_at"], one["agent"]) for one in attempts] == [
        (True, None, "1001")
    ] * 2


def test_a_campaign_keeps_its_own_rate_and_another_has_what_is_left(tmp_path: Path) -> None:
    house = House(tmp_path, Limits(max_calls=500, max_cps=20))
    house.far.script = lambda _: Outcome(talk_s=1000)
    slow = house.make(numbers(100), concurrent_calls=200, max_cps=2)
    fast = house.make(numbers(300, 100), concurrent_calls=200)
    house.go(slow)
    house.go(fast)
    house.advance(10, 0.02)
    times: dict[str, list[float]] = {"slow": [], "fast": []}
    for leg in house.far.legs:
        times["slow" if int(leg.number[4:]) < 100 else "fast"].append(leg.at)
    assert all(after - before >= 0.45 for before, after in itertools.pairwise(times["slow"]))
    assert 18 <= len(times["slow"]) <= 21
    both = sorted(times["slow"] + times["fast"])
    # Each rate is kept, and not only not passed. In any second at most what a second allows and the tenth that a bucket holds.
    assert max(sum(at <= other < at + 1 for other in both) for at in both) <= 22
    # Nothing has ended, and four looks a second would have been half of it.
    assert len(both) > 140


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
