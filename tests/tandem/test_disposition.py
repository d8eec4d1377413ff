"""The one table of dispositions, and that evidence counts the same in any order and any number of times."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.disposition import DISPOSITION_BY_CAUSE, Disposition, Evidence, classify, merge_evidence

TRUNK = Evidence(is_trunk=True)
CHANNEL = Evidence(has_channel=True)
RUNG = Evidence(has_channel=True, has_rung=True)
REQUEST = Evidence(has_channel=True, is_far_hangup=True)
FAILED, TIMED_OUT, ANSWERED = Evidence(response="failed"), Evidence(response="timed-out"), Evidence(response="answered")


def gone(cause: int = 0, tech_cause: int = 0) -> Evidence:
    return Evidence(has_channel=True, is_hung_up=True, cause=cause, tech_cause=tech_cause)


# As they were seen on a real Asterisk 22 (tests/asterisk/test_calls.py makes these calls).
SEEN = {
    "200 and BYE": ([CHANNEL, RUNG, ANSWERED, REQUEST, gone()], Disposition.ANSWERED),
    "200, hung up by us": ([CHANNEL, RUNG, ANSWERED, gone(16)], Disposition.ANSWERED),
    "200 and a machine": ([CHANNEL, ANSWERED, Evidence(is_machine=True), gone(16)], Disposition.MACHINE),
    "a machine whose end nobody saw": (
        [CHANNEL, Evidence(is_machine=True, is_answered=True), Evidence(is_lost=True)],
        Disposition.MACHINE,
    ),
    "486": ([CHANNEL, RUNG, REQUEST, FAILED, gone(17, 486)], Disposition.BUSY),
    "480": ([CHANNEL, RUNG, REQUEST, FAILED, gone(19, 480)], Disposition.NO_ANSWER),
    "480 without ringing": ([TRUNK, CHANNEL, REQUEST, FAILED, gone(19, 480)], Disposition.NO_ANSWER),
    "404": ([CHANNEL, REQUEST, FAILED, gone(1, 404)], Disposition.INVALID_NUMBER),
    "410": ([CHANNEL, REQUEST, FAILED, gone(22, 410)], Disposition.INVALID_NUMBER),
    "484": ([CHANNEL, REQUEST, FAILED, gone(28, 484)], Disposition.INVALID_NUMBER),
    "403": ([CHANNEL, REQUEST, FAILED, gone(21, 403)], Disposition.REJECTED),
    "603": ([CHANNEL, RUNG, REQUEST, FAILED, gone(21, 603)], Disposition.REJECTED),
    "503": ([CHANNEL, REQUEST, FAILED, gone(34, 503)], Disposition.CONGESTION),
    "500": ([CHANNEL, REQUEST, FAILED, gone(38, 500)], Disposition.FAILED),
    "rings for ever": ([CHANNEL, RUNG, TIMED_OUT, gone(19, 480)], Disposition.NO_ANSWER),
    "dead trunk": ([TRUNK, CHANNEL, TIMED_OUT, gone(19, 480)], Disposition.TRUNK_DEAD),
    "dead phone": ([CHANNEL, TIMED_OUT, gone(19, 480)], Disposition.FAILED),
    "trunk without a contact": ([TRUNK, FAILED], Disposition.TRUNK_DEAD),
    "phone not registered": ([FAILED], Disposition.FAILED),
    "hung up by us while it rang": ([CHANNEL, RUNG, FAILED, gone(16)], Disposition.CANCELLED),
    "cancelled, and busy won": ([RUNG, Evidence(is_cancelled=True), REQUEST, FAILED, gone(17, 486)], Disposition.BUSY),
    "never sent": ([Evidence(is_unsent=True)], Disposition.FAILED),
    "Asterisk refused": ([Evidence(is_refused=True)], Disposition.FAILED),
    "Asterisk died": ([CHANNEL, RUNG, ANSWERED, Evidence(is_lost=True, has_gap=True)], Disposition.UNCONFIRMED),
    "time-out in a gap": ([TRUNK, TIMED_OUT, Evidence(has_gap=True), gone(19)], Disposition.NO_ANSWER),
    "nothing but a gap": ([Evidence(has_gap=True)], Disposition.UNCONFIRMED),
    "end known from the record": ([Evidence(has_gap=True), gone(34)], Disposition.CONGESTION),
}


def merge(pieces: list[Evidence]) -> Evidence:
    return reduce(merge_evidence, pieces, Evidence())


@pytest.mark.parametrize("story", SEEN)
def test_what_was_seen(story: str) -> None:
    pieces, disposition = SEEN[story]
    assert classify(merge(pieces)) == disposition


@given(st.data())
def test_order_and_repetition_change_nothing(data: st.DataObject) -> None:
    pieces, disposition = data.draw(st.sampled_from(list(SEEN.values())))
    again = data.draw(st.lists(st.sampled_from(pieces)))
    shuffled = data.draw(st.permutations(pieces + again))
    assert merge(shuffled) == merge(pieces)
    assert classify(merge(shuffled)) == disposition


@given(st.builds(Evidence), st.builds(Evidence), st.builds(Evidence))
def test_evidence_only_grows(one: Evidence, other: Evidence, third: Evidence) -> None:
    assert merge_evidence(one, other) == merge_evidence(other, one)
    assert merge_evidence(one, merge_evidence(other, third)) == merge_evidence(merge_evidence(one, other), third)
    assert merge_evidence(one, one) == one
    assert isinstance(classify(merge([one, other, third])), Disposition)  # there is always one


@pytest.mark.parametrize("cause", range(1, 128))
def test_every_cause_of_a_refused_call(cause: int) -> None:
    expected = DISPOSITION_BY_CAUSE.get(cause, Disposition.FAILED)
    assert classify(merge([CHANNEL, REQUEST, FAILED, gone(cause)])) == expected
