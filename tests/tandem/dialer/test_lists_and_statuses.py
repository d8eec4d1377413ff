"""What feeds campaigns and what agents say, in the dialer: lists that are not active, recycling, callbacks, calls by hand, campaigns that do not dial."""

import pytest

from tandem.ami.errors import AmiConnectionLost
from tandem.campaigning import CampaignRefused, Campaigns
from tandem.domain.agent_statuses import StatusRefused
from tandem.domain.campaigns import NewNumber, NumberStatus
from tandem.domain.originate import CallRefused
from tandem.domain.why import explain_number
from tandem.store.attempt_claims import ClaimRefused
from tandem.store.campaigns import CampaignMissing, StateConflict, load_campaign
from tandem.store.closed_numbers import close_numbers
from tandem.store.dnc import add_dnc_numbers, load_dnc_numbers
from tandem.store.number_lists import (
    NumberListBusy,
    NumberListExists,
    NumberListMissing,
    create_number_list,
    load_number_list,
)
from tandem.store.numbers import NumberInFlight, NumberMissing, NumberQuery, add_numbers, load_number, load_numbers
from tests.tandem.dialer.harness import House, Outcome


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def use_cases(house):
    return Campaigns(lambda: house.snapshot, house.dialer.commands, house.now)


def commit(house):
    async def run(work):
        return await house.store.run(work)

    return run


def run(house, work, *args, **kwargs):
    return house.store.store.run_now(work, *args, **kwargs)


def feed(house, campaign_id, phone_numbers, *, is_active=True, **given):
    made = run(house, create_number_list, campaign_id, "spring", house.now(), is_active=is_active, **given)
    added = [NewNumber(phone_number=one, list_id=made.list_id) for one in phone_numbers]
    run(house, add_numbers, campaign_id, added, house.now())
    return made.list_id


def why(house, number):
    saved = run(house, load_campaign, number.campaign_id)
    is_active = number.list_id is None or run(house, load_number_list, number.list_id).is_active
    return explain_number(
        house.snapshot, saved, number, None, house.dialer.weigh(saved), house.now(), is_list_active=is_active
    )


def change(house, list_id, **changes):
    return house.do(use_cases(house).change_number_list(list_id, commit=commit(house), **changes))


def say(house, number_id, code, **given):
    return house.do(use_cases(house).set_status(number_id, code, author="test", commit=commit(house), **given))


def test_an_inactive_list_is_not_dialled_says_so_and_goes_on_when_it_is_active(house):
    campaign_id = house.make(["030100"], concurrent_calls=5)
    list_id = feed(house, campaign_id, ["030201", "030202"], is_active=False)
    other = feed(house, campaign_id, ["030301"])
    house.go(campaign_id)
    house.advance(20)
    assert house.far.dialled() == {"030100": 1, "030301": 1}
    held = [one for one in house.numbers(campaign_id) if one.list_id == list_id]
    assert [(one.status, one.hold) for one in held] == [(NumberStatus.PENDING, "list")] * 2
    answer = why(house, held[0])
    assert [(reason.rule, reason.until) for reason in answer.reasons] == [("list", None)]
    assert answer.callable_at is None
    change(house, list_id, is_active=True)
    house.advance(20)
    assert house.far.dialled() == {"030100": 1, "030301": 1, "030201": 1, "030202": 1}
    assert run(house, load_number_list, other).numbers == 1
    house.check()


def test_a_list_switched_off_between_a_call_and_its_retry_is_not_dialled_again(house):
    campaign_id = house.make([], retry_times=3, retry_delay_s=5)
    list_id = feed(house, campaign_id, ["030201"])
    house.far.script = lambda _: Outcome("busy")
    house.go(campaign_id)
    house.advance(3)
    assert house.far.dialled() == {"030201": 1}
    change(house, list_id, is_active=False)
    house.advance(30)
    assert house.far.dialled() == {"030201": 1}
    change(house, list_id, is_active=True)
    house.advance(4)
    assert house.far.dialled() == {"030201": 2}


def test_a_list_moves_with_its_numbers_and_is_deleted_with_them_but_never_while_one_is_called(house):
    first, second = house.make(["030100"], concurrent_calls=3), house.make([])
    list_id = feed(house, first, ["030201", "030202"], list_id=1007)
    assert list_id == 1007
    with pytest.raises(NumberListExists):
        run(house, create_number_list, second, "again", house.now(), list_id=1007)
    with pytest.raises(NumberListMissing):  # it is the first one's
        run(house, add_numbers, second, [NewNumber(phone_number="030", list_id=1007)], house.now())
    change(house, list_id, campaign_id=second)
    assert [one.phone_number for one in house.numbers(second)] == ["030201", "030202"]
    assert (house.counts(first).pending, house.counts(second).pending) == (1, 2)
    house.check()
    house.go(second)
    house.advance(0.5)
    with pytest.raises(NumberListBusy):
        change(house, list_id, campaign_id=first)
    with pytest.raises(NumberListBusy):
        house.do(use_cases(house).delete_number_lists([list_id], commit=commit(house)))
    house.advance(30)
    house.do(use_cases(house).delete_number_lists([list_id], commit=commit(house)))
    assert house.numbers(second) == []
    assert house.counts(second).total == 0
    assert house.counts(second).total_calls == 2  # attempts stay
    house.check()


def test_numbers_are_found_by_list_status_and_what_is_known_of_them(house):
    campaign_id = house.make(["030100"])
    list_id = feed(house, campaign_id, [])
    known = [
        NewNumber(phone_number="030201", list_id=list_id, data={"last_name": 'O"Hara', "city": "100% Berlin"}),
        NewNumber(phone_number="030202", list_id=list_id, data={"last_name": "Ärmel"}),
    ]
    run(house, add_numbers, campaign_id, known, house.now())

    def find(**query):
        found, total = run(house, load_numbers, NumberQuery(campaign_id=campaign_id, **query))
        assert len(found) == total
        return [one.phone_number for one in found]

    assert find(list_id=list_id) == ["030201", "030202"]
    assert find(text='o"hara') == ["030201"]
    assert find(text="Ärmel", list_id=list_id) == ["030202"]
    assert find(text="100%") == ["030201"]
    assert find(text="1_0") == []
    assert find(agent_status="SALE") == []
    assert find(list_id=list_id, phone_number="030202") == ["030202"]


def test_what_an_agent_says_is_followed_when_the_call_is_over(house):
    campaign_id = house.make(
        ["030100", "030200"], concurrent_calls=2, recycle_rules={"NP": {"times": 1, "delay_s": 60}}
    )
    house.go(campaign_id)
    house.advance(3)
    first, second = house.numbers(campaign_id)
    assert first.status is NumberStatus.ANSWERED
    assert say(house, first.number_id, "NP").status is NumberStatus.ANSWERED  # its call is up
    house.advance(10)
    first, second = house.numbers(campaign_id)
    assert (first.status, first.agent_status, first.hold) == (NumberStatus.PENDING, "NP", "retry")
    assert second.status is NumberStatus.COMPLETED
    # Said after the end, it holds just the same.
    assert say(house, second.number_id, "NP").status is NumberStatus.PENDING
    house.check()
    house.advance(40)
    assert house.far.dialled() == {"030100": 1, "030200": 1}
    house.advance(40)
    assert house.far.dialled() == {"030100": 2, "030200": 2}
    # The rule allows one further attempt.
    assert say(house, first.number_id, "NP").status is NumberStatus.COMPLETED
    assert [one["agent_status"] for one in house.attempts("agent_status")].count("NP") == 3
    house.check()


def test_an_agent_corrects_what_was_said_and_a_stop_does_not_call_whom_one_has_spoken_of(house):
    campaign_id = house.make(["030100"], recycle_rules={"NP": {"times": 5, "delay_s": 600}})
    house.go(campaign_id)
    house.advance(10)
    (one,) = house.numbers(campaign_id)
    assert say(house, one.number_id, "NP").status is NumberStatus.PENDING
    assert say(house, one.number_id, "SALE").status is NumberStatus.COMPLETED
    assert say(house, one.number_id, "NP").status is NumberStatus.PENDING
    house.do(house.dialer.commands.stop(campaign_id))
    house.go(campaign_id)
    house.advance(60)
    assert house.far.dialled() == {"030100": 1}
    house.do(house.dialer.commands.reset(campaign_id))
    (one,) = house.numbers(campaign_id)
    assert (one.agent_status, one.attempts) == ("", 0)
    house.check()


def test_a_campaign_is_deleted_at_once_after_its_stop_and_never_under_a_call(house):
    house.far.script = lambda _: Outcome(talk_s=100)
    cases, gone = use_cases(house), []
    for is_reachable in (True, False):
        campaign_id = house.make(["030100", "030200"], concurrent_calls=2)
        house.go(campaign_id)
        house.advance(3)
        house.do(house.dialer.commands.pause(campaign_id))
        with pytest.raises(StateConflict, match="Stop it first"):
            house.do(cases.delete(campaign_id, commit=commit(house)))
        house.far.fake.is_down = not is_reachable
        if not is_reachable:
            house.far.fake.cut()
        house.do(house.dialer.commands.stop(campaign_id))
        if not is_reachable:
            with pytest.raises(StateConflict, match="being hung up, try again"):
                house.do(cases.delete(campaign_id, commit=commit(house)))
            house.far.fake.is_down = False
            house.advance(90, 0.25)
        house.do(cases.delete(campaign_id, commit=commit(house)))
        gone.append(campaign_id)
        assert house.far.live == 0
    with pytest.raises(CampaignMissing):
        run(house, load_campaign, gone[0])
    # What was called stays told, each call once.
    assert len([one for one in house.attempts() if one["ended_at"] is not None]) == 4


def test_a_callback_that_was_named_while_the_call_was_up_outlives_a_stop(house):
    house.far.script = lambda _: Outcome(talk_s=100)
    campaign_id = house.make(["030100"])
    house.go(campaign_id)
    house.advance(3)
    (one,) = house.numbers(campaign_id)
    later = house.now() + 300
    say(house, one.number_id, "CALLBK", call_again_at=later)
    house.do(house.dialer.commands.stop(campaign_id))
    house.advance(1)
    (one,) = house.numbers(campaign_id)
    assert (one.status, one.hold) == (NumberStatus.PENDING, "not-before")
    house.go(campaign_id)
    house.advance(310, 0.25)
    assert [leg.at > later - 1 for leg in house.far.legs] == [False, True]
    house.check()


def test_a_number_that_was_closed_is_not_called_again_whatever_an_agent_says_of_it(house):
    campaign_id = house.make(["030100"], recycle_rules={"NP": {"times": 5, "delay_s": 1}})
    house.go(campaign_id)
    house.advance(3)
    (one,) = house.numbers(campaign_id)
    run(house, close_numbers, [one.number_id], house.now())
    say(house, one.number_id, "NP")
    house.advance(30)
    assert house.far.dialled() == {"030100": 1}
    assert house.numbers(campaign_id)[0].status is NumberStatus.COMPLETED
    house.check()


def test_a_callback_is_called_at_its_time_and_a_do_not_call_never_again(house):
    campaign_id = house.make(
        ["030100", "030200"], concurrent_calls=2, recycle_rules={"DNC": {"times": 5, "delay_s": 1}}
    )
    house.go(campaign_id)
    house.advance(10)
    first, second = house.numbers(campaign_id)
    with pytest.raises(StatusRefused, match="call_again_at is missing"):
        say(house, first.number_id, "CALLBK")
    with pytest.raises(StatusRefused, match="call_again_at does not go with SALE"):
        say(house, first.number_id, "SALE", call_again_at=house.now() + 60)
    with pytest.raises(StatusRefused, match="status must be one of"):
        say(house, first.number_id, "NOPE")
    called_back = say(house, first.number_id, "CALLBK", call_again_at=house.now() + 60)
    assert (called_back.status, called_back.hold) == (NumberStatus.PENDING, "not-before")
    say(house, second.number_id, "DNC")
    assert [one.number for one in run(house, load_dnc_numbers, "global", "", 10)] == ["4930200"]
    house.advance(50)
    assert house.far.dialled() == {"030100": 1, "030200": 1}
    house.advance(30)
    assert house.far.dialled() == {"030100": 2, "030200": 1}
    house.check()


def test_a_number_that_nobody_called_cannot_be_spoken_of_and_one_nobody_answered_keeps_its_retry(house):
    campaign_id = house.make(["030100"], retry_times=2, retry_delay_s=60)
    (one,) = house.numbers(campaign_id)
    with pytest.raises(ClaimRefused, match="was not called yet"):
        say(house, one.number_id, "SALE")
    house.far.script = lambda _: Outcome("busy")
    house.go(campaign_id)
    house.advance(5)
    said = say(house, one.number_id, "B")
    assert (said.status, said.hold, said.agent_status) == (NumberStatus.PENDING, "retry", "B")
    house.check()


def test_a_campaign_by_hand_dials_only_what_is_asked_for_and_connects_the_agent(house):
    campaign_id = house.make(["030100", "030200", "030300"], dial_mode="manual", destination={"queue": "sales"})

    def dial(number_id=None, agent="1001", campaign=campaign_id):
        return house.do(use_cases(house).dial_by_hand(campaign, agent, number_id, commit=commit(house)))

    with pytest.raises(ClaimRefused, match="not running"):
        dial()
    house.go(campaign_id)
    house.advance(20)
    assert house.far.dialled() == {}
    first, second, _ = house.numbers(campaign_id)
    assert [reason.rule for reason in why(house, first).reasons] == ["manual"]
    with pytest.raises(CallRefused, match="no endpoint 4711"):
        dial(agent="4711")
    with pytest.raises(NumberMissing):
        dial(4711)
    claim = dial(second.number_id)
    assert claim.order.destination == "endpoint 1001"
    house.advance(1.5)
    served = house.dialer.answers.serve_answered(claim.call.call_id)
    assert (served.destination.endpoint, served.is_unserved) == ("1001", False)
    with pytest.raises(ClaimRefused, match="has its 1 calls"):
        dial()
    # A kill forgets nothing of it.
    house.restart()
    house.advance(0.2)
    assert house.dialer.answers.serve_answered(claim.call.call_id).destination.endpoint == "1001"
    house.advance(20)
    assert house.far.dialled() == {"030200": 1}
    assert dial().number.phone_number == "030100"
    with pytest.raises((NumberInFlight, ClaimRefused)):
        dial(first.number_id)
    house.advance(20)
    # One that was reached is called again where somebody asks for it.
    assert dial(second.number_id).number.phone_number == "030200"
    house.advance(20)
    assert house.far.dialled() == {"030100": 1, "030200": 2}
    house.check()


def test_by_hand_every_gate_holds_but_the_numbers_own_time(house):
    campaign_id = house.make(
        ["112", "030100"], dial_mode="manual", destination={"queue": "sales"}, concurrent_calls=9,
        call_window={"hours": [{"days": ["mon"], "start": "18:00", "end": "19:00"}]},
    )  # fmt: skip
    list_id = feed(house, campaign_id, ["030200"], is_active=False)
    house.go(campaign_id)
    emergency, windowed, listed = house.numbers(campaign_id)
    cases = use_cases(house)
    for number, told in ((windowed, "call window is closed"), (listed, "list is not active")):
        with pytest.raises(ClaimRefused, match=told):
            house.do(cases.dial_by_hand(campaign_id, "1001", number.number_id, commit=commit(house)))
    house.do(house.dialer.commands.pause(campaign_id))
    house.do(cases.change(campaign_id, lambda saved: _without_window(saved.campaign), commit=commit(house)))
    house.go(campaign_id)
    with pytest.raises(ClaimRefused, match="emergency number"):
        house.do(cases.dial_by_hand(campaign_id, "1001", emergency.number_id, commit=commit(house)))
    run(house, add_dnc_numbers, "global", ["4930100"], house.now(), "test")
    with pytest.raises(ClaimRefused, match="dnc global"):
        house.do(cases.dial_by_hand(campaign_id, "1001", windowed.number_id, commit=commit(house)))
    change(house, list_id, is_active=True)
    house.ami.stopService()
    with pytest.raises(AmiConnectionLost):
        house.do(cases.dial_by_hand(campaign_id, "1001", listed.number_id, commit=commit(house)))
    assert house.far.dialled() == {}
    assert run(house, load_number, listed.number_id).dials == 0
    house.check()


def test_nobody_dials_by_hand_what_may_still_ring(house):
    house.far.script = lambda _: Outcome(ring_s=15)
    campaign_id = house.make(["030100"], retry_times=1, retry_delay_s=5, dial_timeout_s=20)
    house.go(campaign_id)
    house.advance(2)
    (leg,) = house.far.legs
    leg.is_over = True
    house.far.live -= 1
    house.far.fake.cut()
    house.advance(30, 0.25)
    (one,) = house.numbers(campaign_id)
    assert one.hold == "doubt"
    cases = use_cases(house)
    for wanted in (one.number_id, NewNumber(phone_number="030100")):
        with pytest.raises(ClaimRefused, match="may still ring"):
            house.do(cases.dial_by_hand(campaign_id, "1001", wanted, commit=commit(house)))
    assert len(house.far.legs) == 1
    house.check()


def test_a_typed_number_is_the_campaigns_with_its_call_or_not_at_all(house):
    campaign_id = house.make(["030100"], dial_mode="manual", destination={"queue": "sales"}, concurrent_calls=9)

    def dial(phone_number):
        typed = NewNumber(phone_number=phone_number)
        return house.do(use_cases(house).dial_by_hand(campaign_id, "1001", typed, commit=commit(house)))

    (known,) = house.numbers(campaign_id)
    with pytest.raises(ClaimRefused, match="not running"):
        dial("030200")
    house.go(campaign_id)
    with pytest.raises(ClaimRefused, match="emergency number"):
        dial("112")
    run(house, add_dnc_numbers, "global", ["4930300"], house.now(), "test")
    with pytest.raises(ClaimRefused, match="dnc global"):
        dial("030300")
    assert house.numbers(campaign_id) == [known]
    assert dial("030100").number.number_id == known.number_id
    new = dial("030200").number
    house.advance(20)
    assert [one.number_id for one in house.numbers(campaign_id)] == [known.number_id, new.number_id]
    assert house.far.dialled() == {"030100": 1, "030200": 1}
    house.check()


def _without_window(campaign):
    from dataclasses import replace

    return replace(campaign, call_window=None)


def test_a_campaign_that_takes_calls_needs_no_trunk_and_never_dials(house):
    campaign_id = house.make(["030100"], dial_mode="inbound", trunk=None, destination={"queue": "sales"})
    house.go(campaign_id)
    house.advance(10)
    (one,) = house.numbers(campaign_id)
    assert house.far.dialled() == {}
    assert ("refused", "dial_mode: is inbound: the campaign only takes calls") in [
        (reason.rule, reason.message) for reason in why(house, one).reasons
    ]
    with pytest.raises(ClaimRefused, match="only takes calls"):
        house.do(use_cases(house).dial_by_hand(campaign_id, "1001", one.number_id, commit=commit(house)))
    for wrong in ({"trunk": "carrier"}, {"destination": {"endpoint": "1001"}}):
        saved = run(house, load_campaign, campaign_id)
        house.do(house.dialer.commands.stop(campaign_id)) if saved.state == "running" else None
        with pytest.raises(CampaignRefused):
            house.do(
                use_cases(house).change(
                    campaign_id, lambda saved, wrong=wrong: _with(saved, wrong), commit=commit(house)
                )
            )


def _with(saved, changes):
    from pydantic import TypeAdapter

    from tandem.domain.campaigns import Campaign

    adapter = TypeAdapter(Campaign)
    return adapter.validate_python(adapter.dump_python(saved.campaign, mode="json") | changes)


def test_statuses_rules_and_pause_codes_may_change_while_a_campaign_runs_and_nothing_else(house):
    from tandem.store.campaigns import StateConflict

    campaign_id = house.make(["030100"], destination={"queue": "sales"})
    house.go(campaign_id)
    cases = use_cases(house)

    def edit(**changes):
        return house.do(cases.change(campaign_id, lambda saved: _with(saved, changes), commit=commit(house)))

    assert edit(statuses={"HOT": {"name": "Hot lead", "is_sale": True}}).state == "running"
    assert edit(recycle_rules={"HOT": {"times": 1, "delay_s": 5}}, pause_codes={"LUNCH": {"name": "Lunch"}}).version
    with pytest.raises(CampaignRefused, match="is no status that agents may say"):
        edit(recycle_rules={"COLD": {"times": 1, "delay_s": 5}})
    with pytest.raises(StateConflict):
        edit(concurrent_calls=9)
