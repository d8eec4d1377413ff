"""The dialer on a Clock, against FakeAsterisk and a real database: limits, retries, gates, dead trunks, stop and pause, kills, slow everything."""

import itertools
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from tandem.dialer.lines import Limits
from tandem.domain.campaigns import NumberStatus
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import without_entity
from tandem.store.campaigns import StateConflict
from tandem.store.database import open_store
from tandem.store.errors import StoreError
from tests.tandem.dialer import harness
from tests.tandem.dialer.harness import START, House, Outcome

# Each statement that the engine has is in one of these; how it keeps time does not depend on the database.
ON_BOTH = (
    "everybody_is_called_once", "retries_follow", "stop_hangs_up", "reset_while_it_rings", "what_asterisk_refuses",
    "dead_trunk", "nobody_free",
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
    assert {number.attempts for number in house.numbers(campaign_id) if not number.call_id} == {0}
    house.far.script = lambda _: Outcome()
    house.advance(300, 0.25)
    house.check()
    assert house.counts(campaign_id).completed == 50
    assert house.dialer.lines.breakers["carrier"].state == "closed"


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


def test_what_a_last_run_has_learnt_is_known_to_the_next(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.facts = QueueFacts(callers=0, members_available=5, members_logged_in=5)
    campaign_id = house.make(numbers(60), concurrent_calls=5, destination={"queue": "sales"}, dial_mode="predictive")
    house.go(campaign_id)
    house.advance(90)
    before = house.dialer.board.tally(campaign_id).experience()
    house.restart()
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
