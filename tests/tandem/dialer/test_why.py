"""What an admin is told of a number that is not dialled: each end and each lock in words that say what to do."""

from pathlib import Path

import pytest

from tandem.domain.campaigns import SavedNumber
from tandem.domain.why import explain_number
from tandem.store.attempt_claims import load_blocked
from tandem.store.campaigns import load_campaign
from tandem.store.closed_numbers import close_numbers
from tandem.store.dnc import add_dnc_numbers, delete_dnc_numbers
from tests.tandem.dialer.harness import House, Outcome


def tell(house: House, number: SavedNumber) -> list[tuple[str, str]]:
    run = house.store.store.run_now
    key = "49" + number.phone_number.removeprefix("0")
    blocked = run(load_blocked, ["global"], [key]).get(key)
    saved = run(load_campaign, number.campaign_id)
    why = explain_number(house.snapshot, saved, number, blocked, house.dialer.weigh(saved), house.now())
    return [(reason.rule, reason.message) for reason in why.reasons]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("busy", "attempt 3 was its last (retries: 2): busy"),
        # Nobody has that number: the retries of the campaign are not for it.
        ("invalid", "attempt 1 was its last (retries: 0): invalid-number"),
        ("answer", "it was reached"),
    ],
)
def test_whatever_is_over_says_how(tmp_path: Path, kind: str, told: str) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(kind)
    campaign_id = house.make(["030100"], retry_times=2, retry_delay_s=5)
    house.go(campaign_id)
    house.advance(40, 0.25)
    (number,) = house.numbers(campaign_id)
    assert tell(house, number) == [("finished", told)]


def test_what_was_closed_was_not_reached(tmp_path: Path) -> None:
    house = House(tmp_path)
    campaign_id = house.make(["030100"])
    (number,) = house.store.store.run_now(
        close_numbers, [one.number_id for one in house.numbers(campaign_id)], house.now()
    )
    house.go(campaign_id)
    assert tell(house, number) == [("finished", "it was closed: what it was called for is done")]


def test_one_that_was_on_a_list_when_its_turn_came_needs_a_reset(tmp_path: Path) -> None:
    house = House(tmp_path)
    run = house.store.store.run_now
    run(add_dnc_numbers, "global", ["4930100"], house.now(), "test")
    campaign_id = house.make(["030100"])
    house.go(campaign_id)
    house.advance(2)
    refused = ("refused", "when its turn came it was refused: dnc global; a reset has it tried again")
    on_list = ("dnc", "it is on the list global of numbers not to be called")
    assert tell(house, house.numbers(campaign_id)[0]) == [refused, on_list]
    run(delete_dnc_numbers, "global", ["4930100"], house.now())
    assert tell(house, house.numbers(campaign_id)[0]) == [refused]
    house.do(house.dialer.commands.reset(campaign_id))
    house.advance(10)
    assert tell(house, house.numbers(campaign_id)[0]) == [("finished", "it was reached")]


def test_a_trunk_that_the_toll_guard_has_locked_is_named_and_dialled_when_it_is_unlocked(tmp_path: Path) -> None:
    house = House(tmp_path)
    locked = {"carrier"}
    house.dialer.lines.is_locked = locked.__contains__
    campaign_id = house.make(["030100"])
    house.go(campaign_id)
    house.advance(5)
    assert house.far.legs == []
    (told,) = tell(house, house.numbers(campaign_id)[0])
    assert told[0] == "trunk"
    assert "toll guard has locked trunk carrier" in told[1]
    locked.clear()
    house.advance(1)
    assert len(house.far.legs) == 1


def test_a_telephone_that_is_in_another_call_is_named(tmp_path: Path) -> None:
    house = House(tmp_path)
    campaign_id = house.make(["030100", "+4930100"], concurrent_calls=5)
    house.go(campaign_id)
    house.advance(2)
    told = [("due", "its telephone is in another call of a campaign, or may still ring")]
    assert tell(house, house.numbers(campaign_id)[1]) == told
