"""Options of app_queue -> fields of a queue: what its words mean, and that nothing changes without a word."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tandem.domain.entities import Queue
from tandem.domain.fields import AbsentWhen
from tandem.domain.queue_options import KNOWN, read_queue_options

WORDS = get_args(AbsentWhen)
STRICT = ("penalty", "paused", "invalid", "unavailable")


def read(**options: str) -> tuple[Queue, list[str]]:
    lost: list[str] = []
    values = read_queue_options({key.replace("_", "-"): text for key, text in options.items()}.get, lost.append)
    given_ones = {field: value for field, value in values.items() if value is not None}
    return TypeAdapter(Queue).validate_python({"name": "sales", "fallback": {"hangup": "normal"}, **given_ones}), lost


# parse_empty_options of app_queue.c: `no` and `yes` mean the opposite of each other in the two options.
@pytest.mark.parametrize(
    ("joinempty", "leavewhenempty", "joins", "leaves", "absent"),
    [
        ("", "", True, False, STRICT),
        ("yes", "no", True, False, STRICT),
        ("no", "", False, False, ("penalty", "paused", "invalid")),
        ("", "yes", True, True, ("penalty", "paused", "invalid")),
        ("strict", "strict", False, True, STRICT),
        ("Loose", "", False, False, ("penalty", "invalid")),
        ("ultrastrict", "", False, False, (*STRICT, "in-use", "ringing")),
        ("paused, inuse,wrapup", "", False, False, ("paused", "in-use", "wrap-up")),
        ("inuse,strict,unknown", "", False, False, (*STRICT, "unknown")),
        ("inuse,yes", "", True, False, STRICT),
    ],
)
def test_who_waits_where_nobody_is_there(
    joinempty: str, leavewhenempty: str, joins: bool, leaves: bool, absent: tuple[str, ...]
) -> None:
    queue, lost = read(joinempty=joinempty, leavewhenempty=leavewhenempty)
    assert (queue.join_when_empty, queue.leave_when_empty, set(queue.absent_when)) == (joins, leaves, set(absent))
    assert lost == []


def test_what_differs_and_what_is_no_word_is_told() -> None:
    queue, lost = read(
        joinempty="loose", leavewhenempty="strict", announce_position="limit", announce_position_limit="5000"
    )
    assert queue.absent_when == ("penalty", "invalid")
    assert lost == [
        "leavewhenempty = strict means whom joinempty = loose means, now",
        "announce-position-limit = 5000 is 1000 now",
    ]
    queue, lost = read(joinempty="paused,lunch")
    assert (queue.absent_when, lost) == (("paused",), ["joinempty: lunch is no word of app_queue's"])
    queue, lost = read(announce_position="more", announce_position_limit="many")
    assert (queue.announce_position_limit, queue.announce_beyond_limit) == (5, True)
    assert lost == ["announce-position-limit = many is no number: it is as it comes"]


@given(st.sets(st.sampled_from(WORDS), min_size=1))
def test_each_set_of_words_is_carried(absent: set[str]) -> None:
    text = ",".join(when.replace("-", "") for when in absent)
    for options in ({"joinempty": text}, {"leavewhenempty": text}, {"joinempty": text, "leavewhenempty": text}):
        queue, lost = read(**options)
        assert (set(queue.absent_when), lost) == (absent, [])


@given(st.dictionaries(st.sampled_from(sorted(KNOWN)), st.text(max_size=20)))
def test_whatever_is_written_there_is_a_queue_of_ours(options: dict[str, str]) -> None:
    read(**options)
