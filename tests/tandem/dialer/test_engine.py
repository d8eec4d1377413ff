"""The dialer on a Clock, against FakeAsterisk and a real database: limits, retries, gates, windows, stop and pause."""

import itertools
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tandem.dialer.lines import Limits
from tandem.domain.campaigns import NewNumber, NumberStatus
from tandem.store.campaigns import StateConflict
from tandem.store.closed_numbers import close_numbers
from tandem.store.dnc import add_dnc_numbers, create_dnc_list
from tests.tandem.dialer.harness import START, House, Outcome, numbers

ON_BOTH = (
    "everybody_is_called_once",
    "a_telephone_that",
    "retries_follow",
    "stop_hangs_up",
    "reset_while_it_rings",
    "outlives_a_stop",
    "closed_while",
    "what_asterisk_refuses",
)


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


def test_a_telephone_that_is_on_a_list_twice_or_on_two_is_in_one_call_at_a_time(tmp_path: Path) -> None:
    house = House(tmp_path)
    # As it is written here and there: it is one telephone all the same.
    first = house.make(["030123", "030123", "030456"], concurrent_calls=5)
    second = house.make(["+4930123", "030789"], concurrent_calls=5)
    house.go(first)
    house.go(second)
    house.advance(2)
    assert sorted(leg.number for leg in house.far.legs) == ["030123", "030456", "030789"]
    assert [(number.status, number.hold) for number in house.numbers(first)][1] == (NumberStatus.PENDING, "telephone")
    house.check()
    for _ in range(40):
        house.advance(1)
        assert sum(not leg.is_over and leg.number.endswith("30123") for leg in house.far.legs) <= 1
    assert (house.counts(first).completed, house.counts(second).completed) == (3, 2)
    house.check()


def test_a_freed_slot_is_taken_again_at_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.go(house.make(numbers(10), concurrent_calls=1))
    house.advance(30, 0.01)
    starts = [leg.at for leg in house.far.legs]
    # Ring 1 s, talk 5 s, and 50 ms at the most until the next.
    assert all(6 <= after - before <= 6.05 for before, after in itertools.pairwise(starts)), starts


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


@pytest.mark.parametrize("what", ["stop", "reset"])
def test_a_time_that_was_named_outlives_a_stop_and_a_reset(tmp_path: Path, what: str) -> None:
    house = House(tmp_path)
    later = house.now() + 600
    campaign_id = house.make(["0301", NewNumber(phone_number="0302", not_before=later)], concurrent_calls=2)
    house.go(campaign_id)
    house.advance(20)
    house.do(getattr(house.dialer.commands, what)(campaign_id))
    if what == "stop":
        house.go(campaign_id)
    house.advance(300, 0.25)
    assert "0302" not in house.far.dialled()
    house.advance(300, 0.25)
    assert [leg.number for leg in house.far.legs if leg.at >= later] == ["0302"]
    house.check()


def test_a_number_that_was_closed_while_it_is_called_stays_so_after_a_stop(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(ring_s=20)
    campaign_id = house.make(numbers(1))
    house.go(campaign_id)
    house.advance(2)
    (number,) = house.numbers(campaign_id)
    house.store.store.run_now(close_numbers, [number.number_id], house.now())
    house.do(house.dialer.commands.stop(campaign_id))
    house.advance(1)
    assert house.numbers(campaign_id)[0].status is NumberStatus.COMPLETED
    house.go(campaign_id)
    house.advance(30, 0.25)
    assert len(house.far.legs) == 1
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


def test_a_dial_string_over_a_trunk_counts_on_it_also_after_a_restart(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(talk_s=600)
    house.go(house.make(numbers(20), concurrent_calls=20, trunk=None, dial_string="PJSIP/${EXTEN}@narrow"))
    house.advance(4)
    assert house.far.live == 3
    house.restart()
    house.advance(10)
    assert (house.far.live, len(house.far.legs)) == (3, 3)
    house.check()


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


def test_who_is_put_on_a_list_between_an_attempt_and_its_retry_is_not_called_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome("busy")
    house.store.store.run_now(create_dnc_list, "robinson", house.now())
    listed = ["030100000", "030100001", "030100002"]
    campaign_id = house.make(listed, concurrent_calls=3, retry_times=1, retry_delay_s=20, dnc_lists=["robinson"])
    other = house.make(["030100001"], retry_times=1, retry_delay_s=20)
    house.go(campaign_id)
    house.go(other)
    house.advance(10)
    assert len(house.far.legs) == 4
    # Numbers of lists are the same however they are written.
    for name, number in (("global", "4930100000"), ("robinson", "4930100001")):
        house.store.store.run_now(add_dnc_numbers, name, [number], house.now(), "test")
    house.advance(60)
    house.check()
    # `robinson` is nobody else's list.
    assert house.far.dialled() == {"030100000": 1, "030100001": 3, "030100002": 2}
    assert [number.attempts for number in house.numbers(campaign_id)] == [1, 1, 2]
    assert all("dnc" in number.disposition for number in house.numbers(campaign_id)[:2])


@pytest.mark.parametrize(
    ("asked_at", "opens_after_s"),
    [
        # 02:55 in Berlin, five minutes before the hour that comes twice; and 01:55 before the one that never comes.
        (datetime(2026, 10, 25, 0, 55, tzinfo=UTC), 75 * 60),
        (datetime(2027, 3, 28, 0, 55, tzinfo=UTC), 15 * 60),
    ],
)
def test_a_window_opens_by_the_clock_on_the_wall_when_clocks_are_changed(
    tmp_path: Path, asked_at: datetime, opens_after_s: float
) -> None:
    house = House(tmp_path, wall=asked_at.timestamp() - START)
    window = {"hours": [{"days": "sun", "start": "03:10", "end": "03:20"}]}
    campaign_id = house.make(["+493012345"], call_window=window)
    house.go(campaign_id)
    house.advance(opens_after_s - 5, 5)
    assert house.far.legs == []
    assert house.numbers(campaign_id)[0].due_at == asked_at.timestamp() + opens_after_s
    house.advance(20, 1)
    assert house.numbers(campaign_id)[0].status is NumberStatus.COMPLETED
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


def test_a_call_that_lasts_too_long_is_ended(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(talk_s=10_000)
    campaign_id = house.make(numbers(1), call_timeout_s=30)
    house.go(campaign_id)
    house.advance(20)
    house.restart()
    # From its answer, and not anew from each start.
    house.advance(5)
    assert house.far.live == 1
    house.advance(10)
    assert house.far.live == 0
    assert house.numbers(campaign_id)[0].status is NumberStatus.COMPLETED


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
