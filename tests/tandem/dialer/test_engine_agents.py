"""The dialer and who takes its calls: agents that are free, reserved, or not there; machines; what it has learnt of answers."""

from pathlib import Path

import pytest

from tandem.domain.routing import QueueFacts
from tests.tandem.dialer.harness import House, Outcome, numbers

ON_BOTH = ("nobody_free", "short_call")


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
