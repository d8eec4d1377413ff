"""Ring groups, by real calls: who rings, in which order, and who has the call."""

import pytest

from lab.sipp import (
    HangUp,
    Wait,
)
from tests.asterisk.phones.desk import rung

pytestmark = pytest.mark.asterisk


def test_all_ring_and_the_first_who_answers_has_the_call(desk):
    with desk.phones(p1001={"ring_s": 30}, p1002={"ring_s": 0.5}) as phones:
        lived = desk.call("03010060")
        phones["1002"].wait_for("bye")
        phones["1001"].wait_for("cancelled")
        invited = next(event.detail for event in phones["1002"].read_legs()[0].events if event.word == "invited")
    assert lived.leg.is_answered
    assert lived.outcomes == ["tandem-enter,group,1(all,0,,no,,)"]
    assert '"Shop: ' in invited
    assert lived.reasons[-1] == "ring group all"


def test_hunt_rings_one_after_the_other(desk):
    with desk.phones(p1001={"ring_s": 30}, p1002={}) as phones:
        assert desk.call("03010061").leg.is_answered
        assert rung(phones) == {"1001": 1, "1002": 1}
        phones["1001"].wait_for("cancelled")


def test_memory_hunt_rings_one_more_each_time(desk):
    with desk.phones(p1001={"ring_s": 30}, p1002={"ring_s": 30}) as phones:
        assert desk.call("03010062").leg.is_answered
        phones["1001"].wait_for("cancelled", count=2)
        assert rung(phones) == {"1001": 2, "1002": 1}
    desk.wait_until_reached("203")


def test_random_rings_each_once_and_then_takes_the_fallback(desk):
    with desk.phones(p1001={"refuse": 486}, p1002={"refuse": 486}) as phones:
        desk.call("03010063")
        assert rung(phones) == {"1001": 1, "1002": 1}
    desk.wait_until_reached("204")


def test_first_available_rings_only_the_first_who_is_there_and_free(desk):
    with desk.phones(p1001={}, p1002={}) as phones:
        assert desk.call("03010064").leg.is_answered
        assert rung(phones) == {"1001": 0, "1002": 1}


def test_a_number_outside_takes_a_call_only_with_a_key(desk):
    """An answering machine answers at once and presses nothing: the phone inside rings on, and gets the call."""
    with desk.outside() as outside, desk.phones(p1004={"ring_s": 3}) as phones:
        lived = desk.call("03010065", Wait(1), HangUp())
        phones["1004"].wait_for("bye")
        outside.wait_for("answered")
    assert lived.leg.is_answered
    assert lived.leg.at_ms("answered") > 2500
    # Once the phone inside has the call, the machine is not asked again.
    assert desk.count_lines("[s@tandem-confirm:3] Read(") == 1


def test_members_who_do_not_want_to_be_disturbed_are_left_out(desk):
    desk.features("1001", {"do_not_disturb": True})
    with desk.phones(p1001={}, p1002={"refuse": 486}) as phones:
        desk.call("03010060")
        assert rung(phones) == {"1001": 0, "1002": 1}
    desk.wait_until_reached("201")


def test_a_member_that_forwards_is_rung_there(desk):
    desk.features("1001", {"forward_always": "1004"})
    with desk.phones(p1001={}, p1002={"ring_s": 30}, p1004={"ring_s": 0.5}) as phones:
        lived = desk.call("03010060")
        phones["1004"].wait_for("bye")
        assert rung(phones)["1001"] == 0
    assert lived.leg.is_answered
