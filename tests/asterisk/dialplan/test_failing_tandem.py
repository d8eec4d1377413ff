"""Every way in which Tandem can fail costs a call the guard at most."""

import pytest

from lab.sipp import HangUp, Wait
from tests.asterisk.dialplan.bare import GUARD_S, Pbx22, agi, frozen_agi


@pytest.mark.asterisk
def test_a_decision_is_one_jump_and_no_timer_is_left_over(pbx: Pbx22) -> None:
    decision = 'EXEC Gosub "tandem-enter,dialplan,1(500,0,de,,own,+4930777)"'
    with agi(pbx, {"did": [decision]}) as server:
        leg, story = pbx.call_one("03010001", steps=(Wait(GUARD_S + 1.5), HangUp()))
    assert server.results == ["200 result=0"]
    assert (story.reached, leg.ended_by) == ("500", "us")
    assert leg.talk_s > GUARD_S + 1
    assert not [place for place in story.places if place.startswith("T@")]
    assert leg.at_ms("ringing") is not None


@pytest.mark.asterisk
def test_a_frozen_tandem_costs_the_guard_and_no_more(pbx: Pbx22) -> None:
    with frozen_agi(pbx):
        leg, story = pbx.call_one("03010003", steps=(Wait(1), HangUp()))
    assert story.reached == "502"  # not asked about the menu again
    assert GUARD_S - 0.5 < (leg.at_ms("answered") - leg.at_ms("ringing")) / 1000 < GUARD_S + 1
    assert leg.ended_by == "us"


@pytest.mark.asterisk
def test_a_tandem_that_freezes_after_its_decision_costs_no_call(pbx: Pbx22) -> None:
    decision = "EXEC Gosub tandem-enter,queue,1(sales,0,,,,)"
    with agi(pbx, {"did": [decision]}, stays=True):
        leg, story = pbx.call_one("03010005")
    assert (story.reached, leg.ended_by) == ("500", "us")


@pytest.mark.asterisk
@pytest.mark.parametrize(
    "answers",
    [
        {},  # closes without a word
        {"did": ["VERBOSE hello 1"]},  # dies between two commands
        {"did": ["EXEC Gosub tandem-enter,ghost,1(x)"]},  # a target that is missing
        {"did": ["EXEC Gosub tandem-ghost,x,1(x)"]},
        {"did": ["nonsense"]},
    ],
)
def test_a_tandem_that_does_not_decide_is_passed_by_at_once(pbx: Pbx22, answers: dict[str, list[str]]) -> None:
    with agi(pbx, answers):
        leg, story = pbx.call_one("03010005")
    assert (story.reached, leg.ended_by) == ("500", "us")


@pytest.mark.asterisk
def test_a_caller_who_hangs_up_while_tandem_is_frozen_is_gone(pbx: Pbx22) -> None:
    with frozen_agi(pbx):
        leg, story = pbx.call_one("03010005", answer_timeout_s=0.7)
        assert len(story.data("AGI")) == 1  # and h did not ask again
    assert not leg.is_answered
    assert leg.at_ms("ringing") is not None


@pytest.mark.asterisk
def test_a_menu_whose_tandem_freezes_goes_to_its_fallback(pbx: Pbx22) -> None:
    with agi(pbx, {"did": ["EXEC Gosub tandem-enter,menu,1(main,0,,,,)"]}) as server:
        assert pbx.call_one("03010005")[1].reached == "502"
    assert [lines[1] for lines in server.environments] == ["agi_network_script: did", "agi_network_script: menu"]
    assert "agi_arg_1: main" in server.environments[1]


@pytest.mark.asterisk
def test_after_a_queue_tandem_is_asked_and_without_it_the_queue_knows(pbx: Pbx22) -> None:
    with agi(pbx, {"did": ["EXEC Gosub tandem-enter,queue,1(sales,0,,,,)"]}) as server:
        leg, story = pbx.call_one("03010005", steps=(Wait(6), HangUp()))
    assert [line for line in server.environments[1] if line.startswith("agi_arg")] == [
        "agi_arg_1: sales",
        "agi_arg_2: TIMEOUT",
    ]
    assert (story.reached, leg.ended_by) == ("503", "us")
    assert len(story.data("StackPop")) == 2  # a frame for each jump would pile up
