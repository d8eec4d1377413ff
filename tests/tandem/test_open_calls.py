"""Calls of campaigns that are up, as values: what `pace` is told of them, which last too long, and which a stop has left."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from tandem.domain.campaigns import Campaign, SavedCampaign
from tandem.domain.experience import Experience
from tandem.domain.open_calls import OpenCall, describe_calls, find_left_by, find_overlong, measure, trunk_of
from tandem.domain.pacing import Live

RINGING = OpenCall("a", 1, "carrier", "sales", 30, 100.0)
WAITING = replace(RINGING, call_id="b", answered_at=101.0)
TALKING = replace(WAITING, call_id="c", connected_at=102.0)
TOLD = replace(WAITING, call_id="d", is_unserved=True)


def told(calls: list[OpenCall]) -> Live:
    return measure(
        calls, agents_free=2, wrap_ends=(110.0,), answered_live=10, abandoned=1, experience=Experience()
    )  # fmt: skip


def test_who_has_answered_and_who_was_told_that_nobody_is_free_counts_at_once() -> None:
    """The cap is kept by the people of this moment: those whose calls are over are read from the database once a second."""
    live = told([RINGING, WAITING, TALKING, TOLD])
    assert (live.in_flight, live.dialled, live.connected) == (1, (100.0,), 3)
    assert (live.answered_live, live.abandoned) == (13, 2)
    assert (live.agents_busy, live.agents_wrapping, live.agents_free) == (1, 1, 2)
    assert (told([]).answered_live, told([]).abandoned) == (10, 1)


def test_how_a_campaign_is_doing() -> None:
    view = describe_calls(1, [RINGING, WAITING, TALKING], is_drained=True, misfit="")
    assert (view.calls, view.ringing, view.waiting, view.connected, view.is_drained) == (3, 1, 1, 1, False)
    assert describe_calls(1, [], is_drained=True, misfit="").is_drained


def test_one_that_lasts_too_long_is_found_once() -> None:
    calls = [RINGING, TALKING, replace(TALKING, call_id="e", call_timeout_s=0)]
    assert find_overlong(calls, 131.0) == []
    assert find_overlong(calls, 131.1) == [TALKING]
    assert find_overlong([replace(TALKING, is_hung_up=True)], 200.0) == []


@pytest.mark.parametrize(("state", "found"), [("stopped", [1]), ("paused", [])])
def test_a_stop_leaves_no_call(state: str, found: list[int]) -> None:
    fields = {"name": "one", "destination": {"queue": "sales"}, "trunk": "carrier"}
    campaign = TypeAdapter(Campaign).validate_python(fields)
    saved = SavedCampaign(
        campaign_id=1, campaign=campaign, state=state, epoch=0, permissions=(), author="anna", created_at=0, updated_at=0, version=1,
    )  # fmt: skip
    assert find_left_by([RINGING, TALKING], [saved]) == found
    assert find_left_by([replace(RINGING, is_hung_up=True)], [saved]) == []
    assert trunk_of(saved) == "carrier"
