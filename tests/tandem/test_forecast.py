import itertools
import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tandem.domain.experience import Experience, Tally, answer_chances
from tandem.domain.forecast import expect_abandoned, spread_freed

chances = st.lists(st.floats(0, 1), max_size=6)
groups = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=2)


def exact(answering, agents, finishing):
    """The same expectation, by going through every way it can come."""
    total = 0.0
    for outcome in itertools.product((0, 1), repeat=len(answering) + len(finishing)):
        weight = math.prod(p if seen else 1 - p for p, seen in zip(answering + finishing, outcome, strict=True))
        answered, freed = sum(outcome[: len(answering)]), sum(outcome[len(answering) :])
        total += weight * max(0, answered - agents - freed)
    return total


def each(groups):
    return [chance for count, chance in groups for _ in range(count)]


@example([5e-324, 0.0], 0, [])
@given(chances, st.integers(-3, 7), groups)
def test_it_is_never_below_the_true_expectation(answering, agents, groups):
    expected = expect_abandoned(len(answering), sum(answering), agents, spread_freed(*groups))
    assert expected >= exact(answering, agents, each(groups)) - 1e-6


@given(st.integers(0, 6), st.floats(0, 1), st.integers(-3, 7), groups)
def test_it_is_the_true_expectation_when_all_calls_are_alike(calls, chance, agents, groups):
    expected = expect_abandoned(calls, calls * chance, agents, spread_freed(*groups))
    assert expected == pytest.approx(exact([chance] * calls, agents, each(groups)), abs=1e-6)


@given(st.integers(1, 400), st.floats(0.01, 0.99), st.integers(-5, 100), st.integers(0, 100), st.floats(0, 1))
def test_calls_cost_and_agents_help(calls, chance, agents, busy, finish):
    freed = spread_freed((busy, finish))
    value = expect_abandoned(calls, calls * chance, agents, freed)
    assert value >= 0
    assert expect_abandoned(calls + 1, (calls + 1) * chance, agents, freed) >= value - 1e-6
    assert expect_abandoned(calls, calls * chance, agents + 1, freed) <= value + 1e-6
    assert expect_abandoned(calls, calls * chance, agents, spread_freed((busy + 1, finish))) <= value + 1e-6


def test_ten_thousand_calls_are_not_too_many():
    expected = expect_abandoned(10_000, 5_000, 4_900, spread_freed((200, 0.5)))
    assert expected == pytest.approx(math.sqrt(2550 / (2 * math.pi)), rel=0.02)


@given(groups)
def test_the_agents_who_become_free_are_a_distribution(groups):
    freed = spread_freed(*groups)
    assert sum(freed) == pytest.approx(1.0)
    assert sum(k * chance for k, chance in enumerate(freed)) == pytest.approx(sum(each(groups)), abs=1e-6)


def test_the_answer_rate_is_cautious_and_learns():
    rates = [Experience(attempts=n, answered=n // 5).cautious_answer_rate for n in (0, 10, 100, 1000, 100_000)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1.0
    assert 0.2 < rates[-1] < 0.203


def test_a_call_is_answered_less_likely_the_longer_it_rings():
    experience = Experience(
        attempts=10_000, answered=4_000, answer_times_s=(5.0,) * 50, failure_times_s=(25.0,) * 50
    )  # fmt: skip
    by_age = answer_chances(experience)
    assert by_age[0] == pytest.approx(0.4, abs=0.01)
    assert by_age[6] < 0.02
    # Those that fail at once are gone after a moment: what still rings is better than average.
    sooner = answer_chances(
        Experience(
            attempts=10_000, answered=4_000, answer_times_s=(9.0,) * 50, failure_times_s=(1.0,) * 25 + (25.0,) * 25
        )
    )
    assert sooner[2] > 0.5


@given(st.integers(0, 200), st.lists(st.floats(0, 120), max_size=40).map(sorted), st.lists(st.floats(0, 120), max_size=40).map(sorted))  # fmt: skip
def test_chances_are_chances(answered, answer_times, failure_times):
    experience = Experience(
        attempts=200, answered=answered, answer_times_s=tuple(answer_times), failure_times_s=tuple(failure_times)
    )
    assert all(0 <= chance <= 1 for chance in answer_chances(experience))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 99)), max_size=80))
def test_a_tally_is_what_a_count_of_the_last_attempts_says(seen):
    tally = Tally(attempts=20, samples=5, stride=1)
    for is_answered, time_s in seen:
        tally.add_attempt(is_answered=is_answered, time_s=time_s)
    known = tally.experience()
    assert known.attempts == len(seen[-20:])
    assert known.answered == sum(is_answered for is_answered, _ in seen[-20:])
    assert list(known.answer_times_s) == sorted([t for is_answered, t in seen if is_answered][-5:])
    assert list(known.failure_times_s) == sorted([t for is_answered, t in seen if not is_answered][-5:])


def test_a_tally_knows_nothing_at_first_and_means_later():
    tally = Tally(stride=1)
    assert tally.experience() == Experience()
    rng = random.Random(1)
    times = [rng.expovariate(1 / 60) for _ in range(50)]
    for time_s in times:
        tally.add_talk(time_s)
        tally.add_wrap(0.0)
    known = tally.experience()
    assert known.talk_s == pytest.approx(sum(times) / 50)
    assert known.wrap_s == 0.0
