from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.domain.experience import Experience
from tandem.domain.pacing import (
    ENOUGH_ATTEMPTS,
    SMALLEST_PREDICTIVE_TEAM,
    Live,
    Policy,
    abandon_budget,
    count_free,
    is_over_cap,
    may_predict,
    pace,
)

NOW = 1000.0
KNOWN = Experience(
    attempts=1000,
    answered=300,
    answer_times_s=tuple(4 + k / 10 for k in range(60)),
    failure_times_s=tuple(10 + k / 5 for k in range(60)),
    talks=500,
    talk_s=60.0,
    wrap_s=5.0,
)
KNOWN_AGENTS = st.integers(0, 60)


@st.composite
def experiences(draw):
    attempts = draw(st.integers(0, 2000))
    times = st.lists(st.floats(0, 100), max_size=30).map(sorted).map(tuple)
    means = st.none() | st.floats(0, 600)
    return Experience(
        attempts=attempts,
        answered=draw(st.integers(0, attempts)),
        answer_times_s=draw(times),
        failure_times_s=draw(times),
        talks=draw(st.sampled_from([0, 1_000_000])),
        talk_s=draw(means),
        wrap_s=draw(means),
    )


@st.composite
def lives(draw, agents_free=KNOWN_AGENTS):
    small = st.integers(0, 40)
    in_flight = draw(st.integers(0, 120))
    wrapping = draw(small)
    answered_live = draw(st.integers(0, 20_000))
    return Live(
        in_flight=in_flight,
        # The caller may know more or fewer times than calls: facts come from different places.
        dialled=tuple(draw(st.lists(st.floats(NOW - 60, NOW + 1), max_size=in_flight))),
        connected=draw(small),
        waiting=draw(st.integers(0, 5)),
        agents_free=draw(agents_free),
        agents_busy=draw(small),
        agents_wrapping=wrapping,
        wrap_ends=tuple(draw(st.lists(st.floats(NOW - 5, NOW + 60), max_size=wrapping))),
        answered_live=answered_live,
        abandoned=draw(st.integers(0, max(1, answered_live // 20))),
        experience=draw(experiences()),
    )


modes = st.sampled_from(["fixed", "progressive", "ratio", "predictive"])
policies = st.builds(
    Policy,
    mode=modes,
    limit=st.integers(0, 300),
    lines_per_agent=st.floats(1, 10),
    abandon_cap=st.floats(0, 0.2),
    max_wait_s=st.floats(0, 10),
)
unknown_or_not = st.none() | KNOWN_AGENTS


@settings(deadline=None)
@given(policies, lives(unknown_or_not))
def test_it_is_never_negative_and_never_above_what_the_limit_leaves(policy, live):
    placed = pace(policy, live, NOW)
    assert 0 <= placed <= max(0, policy.limit - live.in_flight - live.connected)
    assert placed == pace(policy, live, NOW)


@settings(deadline=None)
@given(policies, lives())
def test_fixed_fills_up_to_the_limit_whatever_the_agents_do(policy, live):
    fixed = replace(policy, mode="fixed")
    assert pace(fixed, live, NOW) == max(0, policy.limit - live.in_flight - live.connected)
    assert pace(fixed, replace(live, agents_free=None), NOW) == pace(fixed, live, NOW)


@settings(deadline=None)
@given(policies.filter(lambda policy: policy.mode != "fixed"), lives(st.none()))
def test_with_unknown_agents_nothing_is_placed(policy, live):
    assert pace(policy, live, NOW) == 0


@settings(deadline=None)
@given(policies, lives())
def test_progressive_has_an_agent_for_every_call_even_if_all_are_answered(policy, live):
    placed = pace(replace(policy, mode="progressive"), live, NOW)
    assert placed == 0 or live.in_flight + placed + live.waiting <= live.agents_free


@settings(deadline=None)
@given(policies, lives())
def test_ratio_and_predictive_place_at_least_what_progressive_does(policy, live):
    progressive = pace(replace(policy, mode="progressive"), live, NOW)
    assert pace(policy, live, NOW) >= progressive


@settings(deadline=None)
@given(policies, lives())
def test_ratio_is_so_many_lines_per_free_agent(policy, live):
    policy = replace(policy, mode="ratio")
    placed = pace(policy, live, NOW)
    assert placed == 0 or live.in_flight + placed <= policy.lines_per_agent * live.agents_free + 1e-6


def test_ratio_in_figures():
    policy = Policy(mode="ratio", limit=100, lines_per_agent=2.5)
    assert pace(policy, Live(agents_free=4), NOW) == 10
    assert pace(policy, Live(agents_free=4, in_flight=7), NOW) == 3
    assert pace(policy, Live(agents_free=4, waiting=2), NOW) == 5
    assert pace(policy, Live(agents_free=0, agents_busy=9), NOW) == 0


@settings(deadline=None)
@given(policies, lives())
def test_over_the_cap_every_mode_with_agents_is_progressive(policy, live):
    live = replace(live, abandoned=live.abandoned + int(policy.abandon_cap * live.answered_live) + 1)
    assert is_over_cap(policy, live)
    assert policy.mode == "fixed" or pace(policy, live, NOW) == pace(replace(policy, mode="progressive"), live, NOW)


@settings(deadline=None)
@given(policies, lives())
def test_predictive_without_budget_knowledge_or_team_is_progressive(policy, live):
    predictive, progressive = replace(policy, mode="predictive"), replace(policy, mode="progressive")
    for changed in (
        replace(live, abandoned=live.abandoned + int(policy.abandon_cap * live.answered_live) + 1),
        replace(live, experience=replace(live.experience, attempts=ENOUGH_ATTEMPTS - 1)),
        replace(live, agents_free=min(live.agents_free, SMALLEST_PREDICTIVE_TEAM - 1), agents_busy=0, agents_wrapping=0, wrap_ends=()),
    ):  # fmt: skip
        assert not may_predict(predictive, changed)
        assert pace(predictive, changed, NOW) == pace(progressive, changed, NOW)


@settings(deadline=None)
@given(policies, lives(), st.integers(1, 20))
def test_more_of_what_helps_never_means_fewer_calls(policy, live, more):
    placed = pace(policy, live, NOW)
    assert pace(policy, replace(live, agents_free=live.agents_free + more), NOW) >= placed
    assert pace(replace(policy, limit=policy.limit + more), live, NOW) >= placed
    assert pace(replace(policy, abandon_cap=min(1.0, policy.abandon_cap + more / 100)), live, NOW) >= placed
    assert pace(policy, replace(live, agents_busy=live.agents_busy + more), NOW) >= placed


@settings(deadline=None)
@given(policies, lives(), st.integers(1, 20))
def test_more_of_what_hurts_never_means_more_calls(policy, live, more):
    placed = pace(policy, live, NOW)
    assert pace(policy, replace(live, waiting=live.waiting + more), NOW) <= placed
    assert pace(policy, replace(live, abandoned=live.abandoned + more), NOW) <= placed
    assert pace(policy, replace(live, connected=live.connected + more), NOW) <= placed


@settings(deadline=None)
@given(policies, lives())
def test_what_was_placed_is_not_placed_again(policy, live):
    placed = pace(policy, live, NOW)
    after = replace(live, in_flight=live.in_flight + placed, dialled=(*live.dialled, *[NOW] * placed))
    assert pace(policy, after, NOW) == 0


@settings(deadline=None)
@given(policies, lives(), st.floats(-1e6, 1e6))
def test_only_differences_of_times_count(policy, live, shift):
    def rounded(at):
        return float(round(at))

    live = replace(live, dialled=tuple(map(rounded, live.dialled)), wrap_ends=tuple(map(rounded, live.wrap_ends)))
    policy = replace(policy, max_wait_s=float(round(policy.max_wait_s)))
    live = replace(live, experience=replace(live.experience, answer_times_s=(8.0,)))
    shift = rounded(shift)
    shifted = replace(
        live,
        dialled=tuple(at + shift for at in live.dialled),
        wrap_ends=tuple(at + shift for at in live.wrap_ends),
    )
    assert pace(policy, shifted, NOW + shift) == pace(policy, live, NOW)


def test_predictive_dials_ahead_of_agents_who_will_be_free():
    live = Live(agents_free=0, agents_busy=100, connected=100, answered_live=2000, abandoned=10, experience=KNOWN)
    policy = Policy(mode="predictive", limit=300)
    assert pace(replace(policy, mode="progressive"), live, NOW) == 0
    ahead = pace(policy, live, NOW)
    assert ahead > 0
    # Whose wrapping is known to end in time is as good as free.
    wrapping = replace(live, agents_busy=90, agents_wrapping=10, wrap_ends=tuple([NOW + 3] * 10))
    assert pace(policy, wrapping, NOW) > ahead
    assert pace(policy, replace(wrapping, wrap_ends=tuple([NOW + 60] * 10)), NOW) < pace(policy, wrapping, NOW)


def test_a_call_that_has_rung_for_long_counts_for_less():
    live = Live(
        in_flight=30, agents_free=4, agents_busy=30, connected=30, answered_live=2000, abandoned=10, experience=KNOWN
    )
    policy = Policy(mode="predictive", limit=200)
    fresh = pace(policy, replace(live, dialled=(NOW,) * 30), NOW)
    assert fresh == pace(policy, live, NOW)
    assert pace(policy, replace(live, dialled=(NOW - 12,) * 30), NOW) > fresh


@given(lives())
def test_the_budget_is_never_more_than_the_cap_leaves(live):
    policy = Policy(mode="predictive")
    budget = abandon_budget(policy, live)
    if budget >= 1:
        assert live.abandoned + budget <= policy.abandon_cap * live.answered_live


def test_an_agent_who_took_a_call_since_the_report_is_not_free():
    assert count_free(3, NOW, [NOW - 1, NOW, NOW + 1]) == 1
    assert count_free(3, NOW, []) == 3
    assert count_free(1, NOW, [NOW + 1] * 5) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("limit", -1), ("lines_per_agent", 0.9), ("abandon_cap", -0.1), ("abandon_cap", 1.1), ("max_wait_s", -1)],
)
def test_a_policy_that_makes_no_sense_is_refused_by_field(field, value):
    with pytest.raises(ValueError, match=field):
        Policy(**{field: value})
