from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.shares import Bucket, Demand, headroom, share

TRUNKS = ["north", "south", "unknown"]


@st.composite
def demand_lists(draw):
    campaigns = draw(st.lists(st.integers(1, 50), unique=True, max_size=8))
    small = st.integers(0, 30)
    return [
        Demand(
            campaign=campaign,
            trunk=draw(st.sampled_from(TRUNKS)),
            want=draw(small),
            weight=draw(st.integers(1, 10)),
            held=draw(small),
            served=draw(small),
        )
        for campaign in campaigns
    ]


trunk_limits = st.fixed_dictionaries({"north": st.integers(-2, 30), "south": st.integers(-2, 30)})


@given(demand_lists(), st.integers(-2, 60), trunk_limits, st.randoms())
def test_no_limit_is_passed_and_the_order_does_not_matter(demands, capacity, trunks, rng):
    grants = share(demands, capacity, trunks)
    assert set(grants) == {demand.campaign for demand in demands}
    for demand in demands:
        assert 0 <= grants[demand.campaign] <= demand.want
    assert sum(grants.values()) <= max(0, capacity)
    for trunk in TRUNKS:
        assert sum(grants[d.campaign] for d in demands if d.trunk == trunk) <= max(0, trunks.get(trunk, 0))
    shuffled = demands[:]
    rng.shuffle(shuffled)
    assert share(shuffled, capacity, trunks) == grants


@given(demand_lists(), st.integers(0, 60), trunk_limits)
def test_no_slot_is_left_that_somebody_could_use(demands, capacity, trunks):
    grants = share(demands, capacity, trunks)
    for demand in demands:
        trunk_used = sum(grants[d.campaign] for d in demands if d.trunk == demand.trunk)
        assert (
            grants[demand.campaign] == demand.want
            or sum(grants.values()) == capacity
            or trunk_used >= max(0, trunks.get(demand.trunk, 0))
        )


@given(demand_lists(), st.integers(0, 60), trunk_limits)
def test_it_is_max_min_fair(demands, capacity, trunks):
    """Who could take another's last slot and is not satisfied holds, with one more, no less for its weight than the other does."""
    grants = share(demands, capacity, trunks)
    for poor in demands:
        if grants[poor.campaign] == poor.want or trunks.get(poor.trunk, 0) <= 0:
            continue
        trunk_full = sum(grants[d.campaign] for d in demands if d.trunk == poor.trunk) >= trunks[poor.trunk]
        for rich in demands:
            if rich is poor or grants[rich.campaign] == 0 or (trunk_full and rich.trunk != poor.trunk):
                continue
            assert (rich.held + grants[rich.campaign] - 1) / rich.weight <= (poor.held + grants[poor.campaign]) / poor.weight  # fmt: skip


def test_twice_the_weight_twice_the_calls():
    demands = [Demand(campaign=1, trunk="t", want=99), Demand(campaign=2, trunk="t", want=99, weight=2)]
    assert share(demands, 30, {"t": 99}) == {1: 10, 2: 20}


def test_what_one_does_not_want_goes_to_the_others():
    demands = [Demand(campaign=k, trunk="t", want=want) for k, want in ((1, 2), (2, 50), (3, 50))]
    assert share(demands, 30, {"t": 30}) == {1: 2, 2: 14, 3: 14}


def test_a_full_trunk_does_not_hold_up_the_others():
    demands = [Demand(campaign=1, trunk="full", want=50), Demand(campaign=2, trunk="free", want=50)]
    assert share(demands, 20, {"full": 3, "free": 50}) == {1: 3, 2: 17}


@given(st.lists(st.integers(1, 10), min_size=2, max_size=6))
def test_with_one_slot_at_a_time_everyone_has_its_turn_by_weight(weights):
    """Calls that are over at once: nobody holds anything, so only `served` can tell whose turn it is."""
    demands = [Demand(campaign=k, trunk="t", want=1, weight=weight) for k, weight in enumerate(weights)]
    for _ in range(10 * sum(weights)):
        grants = share(demands, 1, {"t": 1})
        demands = [replace(demand, served=demand.served + grants[demand.campaign]) for demand in demands]
    assert [demand.served for demand in demands] == [10 * weight for weight in weights]


def test_a_campaign_is_there_once():
    with pytest.raises(ValueError, match="campaign"):
        share([Demand(campaign=1, trunk="t", want=1)] * 2, 1, {"t": 1})


@given(
    st.floats(0.01, 500),
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 100)), max_size=60),
)
def test_a_bucket_never_gives_more_than_its_rate_and_burst(rate, burst, steps):
    bucket, now, taken = Bucket(rate=rate, burst=burst), 0.0, 0
    for wait_s, want in steps:
        now += wait_s
        count = min(want, bucket.available(now))
        bucket = bucket.take(count, now)
        taken += count
        assert taken <= burst + rate * now + 1e-3


@given(st.floats(0.01, 500), st.integers(1, 50), st.floats(0, 1e6))
def test_it_says_when_the_next_call_may_go(rate, burst, now):
    bucket = Bucket(rate=rate, burst=burst)
    assert bucket.next_at(now) == now
    empty = bucket.take(burst, now)
    later = empty.next_at(now)
    assert now < later <= now + 1 / rate + 1e-6
    assert empty.available(later + 1e-9 * max(1.0, later)) >= 1


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing():
    bucket = Bucket(rate=10, burst=5).take(5, 100.0)
    assert bucket.available(50.0) == 0
    assert bucket.take(0, 50.0).available(100.1) == 1


def test_more_than_is_available_is_refused():
    with pytest.raises(ValueError, match="count"):
        Bucket(rate=1, burst=2).take(3, 0.0)


@pytest.mark.parametrize(("field", "value"), [("rate", 0), ("rate", -1), ("burst", 0)])
def test_a_bucket_that_makes_no_sense_is_refused_by_field(field, value):
    with pytest.raises(ValueError, match=field):
        Bucket(**{"rate": 1.0, field: value})


@given(st.integers(0, 50), st.integers(0, 60), st.integers(1, 20))
def test_both_kinds_of_limit_hold_together(limit, used, burst):
    bucket = Bucket(rate=1, burst=burst)
    assert headroom(limit, used, bucket, 0.0) == min(max(0, limit - used), burst)
    assert headroom(limit, used, None, 0.0) == max(0, limit - used)
