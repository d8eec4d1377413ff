"""People with several telephones, agents who are called first, phones that must be free, and goals, on a Clock against FakeAsterisk and a real database."""

from dataclasses import replace
from pathlib import Path

import pytest

from api.compat.mikopbx.results import tell_result
from tandem.domain.campaigns import CLOSED, REACHED, NewNumber, NumberStatus
from tandem.domain.customers import Customer
from tandem.domain.surveys import Survey, SurveyVisit
from tandem.store.attempts import ATTEMPT_COLUMNS, read_attempt
from tandem.store.campaigns import load_campaign
from tandem.store.closed_numbers import close_numbers
from tandem.store.customers import save_customers
from tandem.store.number_lists import NumberListMissing
from tandem.store.numbers import add_numbers
from tandem.store.rows import load_rows
from tandem.store.surveys import create_survey, record_visits
from tandem.store.whole_campaigns import WholeCampaign, save_whole_campaign
from tests.tandem.dialer.harness import House, Outcome

FREE, TALKING = "NOT_INUSE", "INUSE"
MENU = {"dialplan": "own,100"}


# Each statement that people have is in one of these.
ON_BOTH = (
    "either_database",
    "three_telephones",
    "reserved",
    "until_the_signal_every",
    "is_known_of_a_person",
    "and_then_the_number",
)


def of(person: str, *numbers: str) -> list[NewNumber]:
    return [NewNumber(phone_number=number, person=person) for number in numbers]


def statuses(house: House, campaign_id: int) -> list[tuple[str, str]]:
    return [(number.status.value, number.disposition) for number in house.numbers(campaign_id)]


def results(house: House, *, is_callback: bool = False) -> list[str]:
    rows = house.store.store.run_now(load_rows, ATTEMPT_COLUMNS, "attempts ORDER BY attempt_id")
    return [tell_result(read_attempt(row), None, "", is_callback=is_callback) for row in rows]


# ---------------------------------------------------------------------------------------------------------- people


def test_a_person_with_three_telephones_is_called_at_one_and_no_more_once_reached(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda number: Outcome("busy" if number == "0301" else "answer", talk_s=10)
    campaign_id = house.make(
        [*of("anna", "0301", "0302", "0303"), *of("ben", "0304")], concurrent_calls=10, destination=MENU
    )
    house.go(campaign_id)
    house.advance(0.9)
    # Of Anna one at a time, although there is room for all.
    assert sorted(house.far.dialled()) == ["0301", "0304"]
    held = [number.hold for number in house.numbers(campaign_id)]
    assert held == ["", "person", "person", ""]
    house.advance(30)
    house.check()
    assert house.far.dialled() == {"0301": 1, "0302": 1, "0304": 1}
    assert statuses(house, campaign_id) == [
        ("busy", "busy"), ("completed", "answered"), ("completed", REACHED), ("completed", "answered"),
    ]  # fmt: skip
    assert tell_result(None, None, REACHED) == "SUCCESS_ANOTHER_PHONE"


def test_a_telephone_that_is_added_later_of_a_person_who_was_reached_is_not_dialled(tmp_path: Path) -> None:
    house = House(tmp_path)
    campaign_id = house.make(of("anna", "0301"), destination=MENU)
    house.go(campaign_id)
    house.advance(10)
    house.store.store.run_now(add_numbers, campaign_id, [*of("anna", "0302"), *of("ben", "0303")], house.now())
    house.advance(10)
    house.check()
    assert house.far.dialled() == {"0301": 1, "0303": 1}
    assert statuses(house, campaign_id)[1] == ("completed", REACHED)
    # A reset makes all of it undone, and the next round holds it again.
    house.do(house.dialer.commands.reset(campaign_id))
    house.advance(30)
    house.check()
    assert sum(house.far.dialled().values()) == 4


def test_people_are_people_within_a_campaign_alone_and_after_a_restart(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome("answer", talk_s=20)
    one, two = (
        house.make(of("anna", *numbers), concurrent_calls=5, destination=MENU)
        for numbers in (("0301", "0302"), ("0303", "0304"))
    )
    for campaign_id in (one, two):
        house.go(campaign_id)
    house.advance(3)
    house.restart()
    house.advance(40)
    house.check()
    assert house.far.dialled() == {"0301": 1, "0303": 1}


def test_every_telephone_of_a_person_is_tried_while_nobody_answers(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome("no-answer")
    campaign_id = house.make(
        of("anna", "0301", "0302", "0303"), concurrent_calls=5, retry_times=1, retry_delay_s=20, destination=MENU
    )
    house.go(campaign_id)
    house.advance(120)
    house.check()
    assert house.far.dialled() == {"0301": 2, "0302": 2, "0303": 2}
    # In turn, before any of them is tried again.
    assert [leg.number for leg in house.far.legs[:3]] == ["0301", "0302", "0303"]


def test_what_is_known_of_a_person_is_known_in_their_survey(tmp_path: Path) -> None:
    house = House(tmp_path)
    customer = Customer(person="anna", name="Anna", properties={"Order": "4711"})
    house.store.store.run_now(save_customers, [customer], house.now())
    campaign_id = house.make([NewNumber(phone_number="0301", person="anna", data={"Order": "12"})], destination=MENU)
    house.go(campaign_id)
    house.advance(1.5)
    surveyed = house.dialer.answers.find_surveyed(house.far.legs[0].call_id)
    # What the number says of itself wins.
    assert surveyed.known == {"Order": "12", "name": "Anna", "number": "0301"}


def test_a_whole_list_is_replaced_on_either_database_and_what_is_in_a_call_stays(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda number: Outcome("busy" if number == "0302" else "answer", talk_s=100)
    campaign_id = house.make(["0301", "0302", "0303", "0304"], concurrent_calls=2, destination=MENU)
    house.go(campaign_id)
    house.advance(1.5)
    saved = house.store.store.run_now(load_campaign, campaign_id)
    numbers = [
        NewNumber(phone_number="+490302", person="b"),
        NewNumber(phone_number="0304", data={"a": 1}),
        NewNumber(phone_number="0305", not_before=house.now() + 50),
    ]
    whole = WholeCampaign(
        campaign=replace(saved.campaign, concurrent_calls=3), author="test", words={}, permissions=("national",), campaign_id=campaign_id,
        numbers=numbers, known_by=lambda number: number[-2:],
    )  # fmt: skip
    house.store.store.run_now(save_whole_campaign, whole, house.now())
    found = house.numbers(campaign_id)
    # 0301 is not on the new list, and is in a call; 0302 keeps its outcome.
    assert [(one.phone_number, one.status.value) for one in found[:2]] == [("0301", "answered"), ("0302", "busy")]
    assert {one.phone_number for one in found} in (
        {"0301", "0302", "0303", "0304", "0305"},
        {"0301", "0302", "0304", "0305"},
    )
    assert (found[1].person, found[-1].hold) == ("b", "not-before")
    house.check()
    after = house.store.store.run_now(load_campaign, campaign_id)
    assert (after.state, after.campaign.concurrent_calls, after.permissions) == ("running", 3, saved.permissions)
    bad = replace(whole, numbers=[NewNumber(phone_number="1", list_id=999)])
    with pytest.raises(NumberListMissing):
        house.store.store.run_now(save_whole_campaign, bad, house.now())
    assert [one.number_id for one in house.numbers(campaign_id)] == [one.number_id for one in found]
    house.check()


# ----------------------------------------------------------------------------------------------------------- goals


def test_a_goal_of_connected_calls_again_who_answered_and_reached_nobody(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.phones["1001"] = FREE
    house.far.script = lambda number: Outcome("hung-up" if number == "0301" else "answer", talk_s=3)
    campaign_id = house.make(["0301"], goal="connected", retry_times=2, retry_delay_s=10)
    house.go(campaign_id)
    house.advance(6)
    assert statuses(house, campaign_id) == [("pending", "answered")]
    house.advance(11)
    (second,) = house.far.legs[1:]
    house.advance(1)
    house.far.connect(second)
    house.advance(30)
    house.check()
    assert statuses(house, campaign_id) == [("completed", "answered")]
    assert house.far.dialled() == {"0301": 2}
    assert results(house) == ["FAIL_CLIENT_H_BEFORE_ANSWER", "SUCCESS_CLIENT_H"]


def test_who_reached_nobody_to_the_end_has_failed(tmp_path: Path) -> None:
    house = House(tmp_path)
    campaign_id = house.make(["0301"], goal="connected", retry_times=1, retry_delay_s=5)
    house.go(campaign_id)
    house.advance(40)
    house.check()
    assert statuses(house, campaign_id) == [("failed", "answered")]
    assert house.far.dialled() == {"0301": 2}
    assert results(house) == ["FAIL_USER_NO_ANSWER"] * 2


def test_until_the_signal_every_call_is_followed_by_another_whatever_came_of_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    campaign_id = house.make(
        [*of("anna", "0301", "0302"), "0303"],
        goal="closed",
        retry_times=20,
        retry_delay_s=5,
        concurrent_calls=5,
        destination=MENU,
    )
    house.go(campaign_id)
    house.advance(60)
    dialled = house.far.dialled()
    assert min(dialled.values()) >= 2
    ids = [number.number_id for number in house.numbers(campaign_id)]
    house.store.store.run_now(close_numbers, ids, house.now())
    house.advance(20)
    before = house.far.dialled()
    house.advance(60)
    house.check()
    assert house.far.dialled() == before
    assert statuses(house, campaign_id) == [("completed", CLOSED)] * 3


def test_until_the_signal_or_the_last_attempt(tmp_path: Path) -> None:
    house = House(tmp_path)
    campaign_id = house.make(["0301"], goal="closed", retry_times=2, retry_delay_s=5, destination=MENU)
    house.go(campaign_id)
    house.advance(90)
    house.check()
    assert house.far.dialled() == {"0301": 3}
    assert statuses(house, campaign_id) == [("completed", "answered")]


@pytest.mark.parametrize("is_visit_first", [True, False])
@pytest.mark.parametrize(("outcome", "dialled"), [("completed", 1), ("transferred", 1), ("hung-up", 2), ("gave-up", 2)])
def test_a_survey_that_is_not_done_is_asked_again(
    tmp_path: Path, outcome: str, dialled: int, is_visit_first: bool
) -> None:
    """Its visit and its call are stored in either order."""
    house = House(tmp_path)
    survey = house.store.store.run_now(
        create_survey, Survey(name="s", questions=({"id": "a", "text": "A?"},)), author="test", at=house.now()
    )
    campaign_id = house.make(
        of("anna", "0301", "0302"),
        goal="connected",
        retry_times=1,
        retry_delay_s=30,
        destination={"survey": survey.survey_id},
        concurrent_calls=1,
    )
    house.go(campaign_id)
    house.advance(2)
    (leg,) = house.far.legs
    number = house.numbers(campaign_id)[0]
    visit = SurveyVisit(
        visit_id="v" * 32, survey_id=survey.survey_id, call_id=leg.call_id, campaign_id=campaign_id, number_id=number.number_id,
        phone_number="0301", started_at=house.now(), ended_at=house.now() + 3, outcome=outcome,
    )  # fmt: skip
    if is_visit_first:
        house.store.store.run_now(record_visits, [visit], [])
    house.far.end(leg)
    house.advance(0.1)
    house.store.store.run_now(record_visits, [visit], [])
    house.check()
    status, disposition = statuses(house, campaign_id)[0]
    assert (status, disposition) == ("completed" if dialled == 1 else "pending", "answered")
    house.advance(60)
    house.check()
    if dialled == 1:
        assert house.far.dialled() == {"0301": 1}
        assert statuses(house, campaign_id)[1] == ("completed", REACHED)
    else:
        assert house.far.dialled() == {"0301": 2, "0302": 2}
        assert statuses(house, campaign_id)[0] == ("failed", "answered")


# ------------------------------------------------------------------------------------------------- an employee's phone


@pytest.mark.parametrize("state", [TALKING, "RINGING", "BUSY", "ONHOLD", "UNAVAILABLE", None])
def test_nobody_is_dialled_while_the_phone_of_the_employee_is_not_free(tmp_path: Path, state: str | None) -> None:
    house = House(tmp_path)
    if state is not None:
        house.phones["1001"] = state
    campaign_id = house.make(["0301", "0302"], dial_mode="progressive", concurrent_calls=5)
    house.go(campaign_id)
    house.advance(5)
    assert house.far.legs == []
    house.phones["1001"] = FREE
    house.advance(1)
    assert len(house.far.legs) == 1


def test_an_employee_is_reserved_for_one_call_of_all_campaigns(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.phones["1001"] = FREE
    house.far.script = lambda _: Outcome(talk_s=4)
    campaigns = [house.make([f"030{at}1", f"030{at}2"], dial_mode="progressive", concurrent_calls=9) for at in range(3)]
    for campaign_id in campaigns:
        house.go(campaign_id)
    house.advance(60)
    house.check()
    assert house.far.peak == 1
    assert sum(house.far.dialled().values()) == 6
    assert house.dialer.list_phones() == {"1001"}


def test_whoever_answers_while_the_employee_talks_is_told_at_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.phones["1001"] = FREE
    campaign_id = house.make(["0301"], dial_mode="progressive")
    house.go(campaign_id)
    house.advance(1.2)
    house.phones["1001"] = TALKING
    served = house.dialer.answers.serve_answered(house.far.legs[0].call_id)
    assert (served.is_unserved, served.destination.dialplan) == (True, "tandem-campaign,busy")
    house.advance(20)
    house.check()
    assert results(house) == ["FAIL_USER_BUSY"]


def test_who_hung_up_is_told(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.far.script = lambda number: Outcome("hung-up" if number == "0301" else "answer", talk_s=3)
    house.go(house.make(["0301", "0302"]))
    for at in range(2):
        while len(house.far.legs) <= at or not house.far.legs[at].is_up:
            house.advance(0.5)
        house.far.connect(house.far.legs[at])
    house.advance(10)
    assert results(house) == ["SUCCESS_CLIENT_H", "SUCCESS_USER_H"]


# ---------------------------------------------------------------------------------------------------- agents first


def test_an_agent_who_is_called_first_and_then_the_number(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.phones["1001"] = FREE
    house.far.script = lambda _: Outcome("hung-up", talk_s=8)
    campaign_id = house.make(
        ["0301"], agent_first=True, dial_mode="progressive", caller_number="+49305550", dial_prefix="9"
    )
    house.go(campaign_id)
    house.advance(1.5)
    (leg,) = house.far.legs
    assert leg.number == "1001"
    (sent,) = house.far.fake.sent("Originate")
    assert (sent.get("Context"), sent.get("CallerID")) == ("tandem-agent-first", '"" <0301>')
    variables = " ".join(sent.all("Variable")).replace("\\", "")
    assert "tandem-enter,external,1(90301,0,,,carrier,+49305550)" in variables
    assert "TANDEM_RING" in variables
    # The employee's answer is not the number's.
    assert statuses(house, campaign_id) == [("calling", "")]
    assert house.counts(campaign_id).answered_calls == 0
    house.far.connect(leg, "PJSIP/carrier-00000009")
    house.advance(15)
    house.check()
    counts = house.counts(campaign_id)
    assert (counts.answered_calls, counts.connected_calls, counts.abandoned_calls) == (1, 1, 0)
    assert statuses(house, campaign_id) == [("completed", "answered")]
    assert house.attempts("agent", "destination") == [{"agent": "1001", "destination": "endpoint 1001"}]
    assert results(house, is_callback=True) == ["SUCCESS_USER_H"]


@pytest.mark.parametrize(
    ("cause", "is_far", "disposition", "result"),
    [("17", False, "busy", "FAIL"), ("19", False, "no-answer", "FAIL"), ("20", False, "no-answer", "FAIL"), ("34", False, "congestion", "FAIL"),
     ("26", False, "cancelled", "FAIL_USER_BUSY"), ("16", True, "cancelled", "FAIL_USER_H_BEFORE_CLIENT_ANSWER")],
)  # fmt: skip
def test_why_an_agents_number_was_not_reached(
    tmp_path: Path, cause: str, is_far: bool, disposition: str, result: str
) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(talk_s=100)
    campaign_id = house.make(["0301"], agent_first=True, retry_times=1, retry_delay_s=1000)
    house.go(campaign_id)
    house.advance(3)
    (leg,) = house.far.legs
    (house.far.leave if is_far else house.far.end)(leg, cause)
    house.advance(1)
    house.check()
    assert statuses(house, campaign_id) == [("pending", disposition)]
    assert results(house, is_callback=True) == [result]
    assert house.counts(campaign_id).abandoned_calls == 0


@pytest.mark.parametrize(("kind", "result"), [("busy", "FAIL_USER_BUSY"), ("no-answer", "FAIL_USER_NO_ANSWER")])
def test_an_agent_who_does_not_take_the_call_costs_the_number_nothing_but_the_attempt(
    tmp_path: Path, kind: str, result: str
) -> None:
    house = House(tmp_path)
    house.far.script = lambda _: Outcome(kind)
    if kind == "no-answer":
        house.far.script = lambda _: Outcome("answer", ring_s=1000)
    campaign_id = house.make(["0301"], agent_first=True, retry_times=1, retry_delay_s=1000)
    house.go(campaign_id)
    house.advance(3)
    if kind == "no-answer":
        (leg,) = house.far.legs
        house.far.tell(
            "OriginateResponse", ActionID=leg.action_id, Response="Failure", Reason="3", Uniqueid=leg.call_id
        )
        house.far.end(leg, "0")
        house.advance(1)
    house.check()
    assert statuses(house, campaign_id) == [("pending", "cancelled")]
    assert results(house, is_callback=True) == [result]
    assert NumberStatus.PENDING.value == "pending"
