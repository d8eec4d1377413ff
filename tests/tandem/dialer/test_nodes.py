"""Two whole Tandem, each with its own Asterisk and its own clock, on one PostgreSQL: who dials what, and what becomes of the calls of one that dies or sleeps."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem.dialer.lines import Limits
from tandem.lease import BEAT_EVERY_S, LEASE_S, VALID_S
from tandem.store.attempt_claims import ClaimRefused
from tandem.store.database import open_store
from tandem.store.errors import StoreError
from tandem.store.nodes import load_nodes
from tandem.store.place import PostgresPlace
from tandem.store.rows import load_rows
from tests.tandem.dialer import harness
from tests.tandem.dialer.harness import House, Outcome, numbers

Build = Callable[[str], House]


@pytest.fixture
def build(postgres_place: PostgresPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    monkeypatch.setattr(harness, "open_store", lambda _: open_store(postgres_place))
    houses: list[House] = []

    def make(node: str) -> House:
        houses.append(House(tmp_path, node=node))
        return houses[-1]

    yield make
    for house in houses:
        house.store.store._db.close()


def advance(houses: tuple[House, ...], seconds: float, step_s: float = 0.05, watch: Callable[[], None] = int) -> None:
    for _ in range(round(seconds / step_s)):
        for house in houses:
            house.advance(step_s, step_s)
        watch()


def dialled(*houses: House) -> dict[str, int]:
    return {
        number: sum(house.far.dialled().get(number, 0) for house in houses)
        for house in houses
        for number in house.far.dialled()
    }


def open_calls(house: House, column: str = "node") -> list[Any]:
    rows = house.store.store.run_now(load_rows, (column,), "placed_calls WHERE ended_at IS NULL ORDER BY placed_at")
    return [row[column] for row in rows]


def test_two_nodes_share_a_list_and_its_limit(build: Build) -> None:
    one, two = build("one"), build("two")
    # Each PBX may have so many, all together 6: whichever is first leaves two to the other.
    for house in (one, two):
        house.dialer.lines.limits = Limits(max_calls=4)
    campaign_id = one.make(numbers(60), concurrent_calls=6)
    one.go(campaign_id)
    peaks: list[int] = []
    advance((one, two), 75, watch=lambda: peaks.append(one.far.live + two.far.live))
    assert one.far.legs
    assert two.far.legs
    assert dialled(one, two) == dict.fromkeys(numbers(60), 1)
    assert max(peaks) == 6
    assert one.counts(campaign_id).completed == 60
    claimed = {row["node"]: row["amount"] for row in one.store.store.run_now(
        load_rows, ("node", "amount"), "(SELECT node, count(*) AS amount FROM attempts GROUP BY node) AS counted"
    )}  # fmt: skip
    assert claimed == {"one": len(one.far.legs), "two": len(two.far.legs)}


def test_a_trunks_limit_counts_the_calls_of_all_nodes(build: Build) -> None:
    one, two = build("one"), build("two")
    one.go(one.make(numbers(12), concurrent_calls=10, trunk="narrow"))
    peaks: list[int] = []
    advance((one, two), 40, watch=lambda: peaks.append(one.far.live + two.far.live))
    assert max(peaks) == 3
    assert dialled(one, two) == dict.fromkeys(numbers(12), 1)


def test_who_dials_by_hand_waits_for_a_trunk_that_another_node_fills(build: Build) -> None:
    one, two = build("one"), build("two")
    one.far.script = lambda _: Outcome(talk_s=600)
    one.go(one.make(numbers(3), concurrent_calls=10, trunk="narrow"))
    by_hand = two.make(["030900"], trunk="narrow", dial_mode="manual", destination={"queue": "sales"})
    advance((one,), 3)
    advance((one, two), 3)
    two.go(by_hand)
    assert one.far.live == 3
    with pytest.raises(ClaimRefused, match="trunk narrow has its 3 calls"):
        two.do(two.dialer.commands.dial_by_hand(by_hand, "1001"))
    for leg in list(one.far.legs):
        one.far.leave(leg)
    advance((one, two), 2)
    two.do(two.dialer.commands.dial_by_hand(by_hand, "1001"))
    advance((one, two), 2)
    assert dialled(two) == {"030900": 1}


def test_stopped_at_one_node_is_hung_up_at_the_other(build: Build) -> None:
    one, two = build("one"), build("two")
    for house in (one, two):
        house.far.script = lambda _: Outcome(talk_s=600)
    campaign_id = one.make(numbers(30), concurrent_calls=8)
    one.go(campaign_id)
    advance((one, two), 5)
    assert one.far.live + two.far.live == 8
    two.do(two.dialer.commands.stop(campaign_id))
    advance((one, two), 3)
    assert one.far.live + two.far.live == 0
    advance((one, two), 5)
    counts = one.counts(campaign_id)
    assert (counts.calling, counts.answered, counts.total_calls) == (0, 0, 8)


def test_what_a_dead_node_left_is_closed_by_the_other_after_its_lease_and_not_before(build: Build) -> None:
    one, two = build("one"), build("two")
    # One half of them talk when it dies, the other half ring.
    one.far.script = lambda number: Outcome(ring_s=1.0 if int(number) % 2 else 600.0, talk_s=600.0)
    campaign_id = one.make(numbers(40), concurrent_calls=10, retry_times=1, retry_delay_s=1, dial_timeout_s=30)
    one.go(campaign_id)
    one.advance(4)
    assert len(one.far.legs) == 10
    advance((one, two), 2 * BEAT_EVERY_S)
    at_death = dialled(one, two)
    one.kill()
    advance((two,), LEASE_S - BEAT_EVERY_S - 1)
    assert open_calls(two) == ["one"] * 10
    assert dialled(one, two) == at_death  # its slots are still taken
    advance((two,), 2 * BEAT_EVERY_S + 2)
    assert [node for node in open_calls(two) if node == "one"] == []
    assert [node.node for node in two.store.store.run_now(load_nodes)] == ["two"]
    advance((two,), 400, 0.25)
    two.far.legs.extend(one.far.legs)
    two.check()
    attempts = two.attempts("node", "disposition", "ended_at", "number_id")
    assert all(attempt["ended_at"] is not None for attempt in attempts)
    left = [attempt["disposition"] for attempt in attempts if attempt["node"] == "one"]
    assert sorted(left) == ["answered"] * 5 + ["unconfirmed"] * 5
    # Who may still have rung was dialled once more, after the ring window; who talked was not.
    counts = two.counts(campaign_id)
    assert (counts.completed, counts.total_calls, counts.pending) == (40, 45, 0)


def test_a_node_that_is_back_before_its_lease_ends_finds_its_calls(build: Build) -> None:
    one, two = build("one"), build("two")
    one.far.script = lambda _: Outcome(talk_s=60)
    campaign_id = one.make(numbers(5), concurrent_calls=5)
    one.go(campaign_id)
    one.advance(4)
    advance((one, two), 6)
    one.kill()
    advance((two,), 10)
    one.advance(10)
    one.start()
    advance((one, two), 90)
    assert one.counts(campaign_id).completed == 5
    assert {attempt["disposition"] for attempt in one.attempts()} == {"answered"}
    assert len(one.far.legs) == 5
    assert not two.far.legs


def test_a_node_that_slept_sends_nothing_of_what_others_took_over(build: Build) -> None:
    one, two = build("one"), build("two")
    campaign_id = one.make(numbers(5), concurrent_calls=5, retry_times=1, retry_delay_s=1, dial_timeout_s=5)
    advance((one, two), 2 * BEAT_EVERY_S)
    one.go(campaign_id)
    slept = LEASE_S + 3 * BEAT_EVERY_S
    two.dialer.running = 0  # who dials is not left to luck
    one.store.hold_next_answer(slept - 1)
    one.clock.advance(0)
    assert open_calls(two) == ["one"] * 5
    assert not one.far.legs
    # It sleeps between the commit and the originates, while the other one buries it and closes what it had claimed.
    advance((two,), slept)
    assert open_calls(two) == []
    one.clock.advance(slept)
    one.far.fake.flush()
    assert not one.far.legs
    two.dialer.running = 1
    advance((one, two), 120, 0.25)
    assert two.counts(campaign_id).completed == 5
    assert dialled(one, two) == dict.fromkeys(numbers(5), 1)
    assert not one.dialer.board.calls


def test_a_second_run_of_the_same_name_ends_the_first(build: Build) -> None:
    one, twin = build("one"), build("one")
    advance((one, twin), BEAT_EVERY_S + 1)
    assert twin.lease.is_held
    assert not one.lease.is_held
    assert "another Tandem has the name one" in str(one.lease.problem)
    campaign_id = twin.make(numbers(6))
    twin.go(campaign_id)
    advance((one, twin), 60)
    assert len(twin.far.legs) == 6
    assert not one.far.legs
    assert "another Tandem" in str(one.dialer.problem)


def test_without_the_database_a_lease_ends_and_nobody_is_buried(build: Build) -> None:
    one, two = build("one"), build("two")
    advance((one, two), 2 * BEAT_EVERY_S)
    for house in (one, two):
        house.store.problem = StoreError(Path("x"), "the server is away", "wait")
    advance((one, two), VALID_S + 1)
    assert not one.lease.is_held
    advance((one, two), 5 * LEASE_S, 0.5)
    for house in (one, two):
        house.store.problem = None
    advance((two,), BEAT_EVERY_S + 1)  # the other one is a little later
    advance((one, two), BEAT_EVERY_S + 1)
    assert [node.node for node in one.store.store.run_now(load_nodes)] == ["one", "two"]
    assert one.lease.is_held
    assert two.lease.is_held
