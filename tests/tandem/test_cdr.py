"""Records to legs to CDRs: joined, measured, the same in any order and after any repetition."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tandem.domain.cdr import (
    Cdr,
    Joined,
    Leg,
    apply_records,
    compose_cdr,
    find_records_end,
    read_cdr,
    read_cel,
    split_records,
)
from tandem.domain.disposition import Disposition

TRUNKS = {"carrier"}


def write_record(row: dict[str, Any]) -> bytes:
    """As cdrel of Asterisk 22.10 writes it: a quote gets a backslash, and nothing else does."""
    values = (f'"{key}":"' + str(value).replace('"', '\\"') + '"' for key, value in row.items())
    return ("{" + ",".join(values) + "}").encode("utf-8", "surrogateescape")


def cel(
    event: str, at: float, uniqueid: str, linkedid: str = "1.1", channel: str = "", extra: str = "", **more: str
) -> bytes:
    row = {
        "eventtype": event,
        "eventtime": f"{at:.3f}",
        "num": "",
        "exten": "",
        "channame": channel,
        "uniqueid": uniqueid,
    }
    return write_record({**row, "linkedid": linkedid, "accountcode": "", **more, "eventextra": extra})


def hangup(at: float, uniqueid: str, cause: int, linkedid: str = "1.1", channel: str = "", source: str = "") -> bytes:
    why = {"hangupcause": cause, "hangupsource": source, "dialstatus": ""}
    return cel("HANGUP", at, uniqueid, linkedid, channel, json.dumps(why, separators=(",", ":")))


def cdr_line(uniqueid: str, application: str, data: str, linkedid: str = "1.1") -> bytes:
    return write_record(
        {"uniqueid": uniqueid, "linkedid": linkedid, "lastapp": application, "lastdata": data, "userfield": ""}
    )


CALLER, AGENT, OTHER = "PJSIP/carrier-00000001", "PJSIP/1001-00000002", "PJSIP/1002-00000003"
# A caller waits in a queue that rings two phones at once; one answers, the other is not needed any more.
RINGALL = [
    cel("CHAN_START", 100.0, "1.1", channel=CALLER, num="0301", exten="493012"),
    cel("ANSWER", 102.0, "1.1", channel=CALLER),
    cel("CHAN_START", 103.0, "1.2", channel=AGENT),
    cel("CHAN_START", 103.0, "1.3", channel=OTHER),
    cel("ANSWER", 110.0, "1.2", channel=AGENT),
    hangup(110.0, "1.3", 26, channel=OTHER),
    hangup(140.0, "1.2", 16, channel=AGENT, source=AGENT),
    hangup(140.5, "1.1", 16, channel=CALLER),
]
RINGALL_CDRS = [
    cdr_line("1.1", "Queue", "sales,,,,300"),
    cdr_line("1.1", "Queue", "sales,,,,300"),
    cdr_line("1.1", "Hangup", ""),
]


def read(lines: list[bytes]) -> Joined:
    book = Joined({})
    changes = [read_cel(line) or read_cdr(line) for line in lines]
    apply_records(book, [change for change in changes if change is not None])
    return book


def compose(book: Joined, call_id: str = "1.1", **more: Any) -> Cdr | None:
    return compose_cdr(call_id, book.legs_of(call_id), TRUNKS, **more)


def test_a_queue_that_rings_many_is_one_call() -> None:
    cdr = compose(read(RINGALL + RINGALL_CDRS))
    assert cdr is not None
    assert (cdr.direction, cdr.caller, cdr.called, cdr.trunk) == ("inbound", "0301", "493012", "carrier")
    assert (cdr.endpoint, cdr.queue, cdr.route) == ("1001", "sales", "Queue(sales,,,,300)")
    assert (cdr.ring_s, cdr.hold_s, cdr.talk_s, cdr.duration_s) == (2.0, 8.5, 30.0, 40.5)
    assert (cdr.disposition, cdr.cause, len(cdr.legs)) == (Disposition.ANSWERED, 16, 3)


@given(st.data())
def test_order_and_repetition_change_nothing(data: st.DataObject) -> None:
    lines = RINGALL + RINGALL_CDRS
    shuffled = data.draw(st.permutations(lines + data.draw(st.lists(st.sampled_from(lines)))))
    assert read(shuffled).legs == read(lines).legs


@given(st.data())
def test_a_call_is_not_over_before_its_last_leg(data: st.DataObject) -> None:
    for count in range(1, len(RINGALL)):
        ended = {"1.1", "1.2", "1.3"} <= {leg.uniqueid for leg in read(RINGALL[:count]).legs.values() if leg.is_over}
        assert (compose(read(RINGALL[:count])) is not None) == ended


# 1001 calls 1002 and 1001's second call to 1003 is merged into it: the third and fourth leg change their linkedid.
MERGED = [
    cel("CHAN_START", 100.0, "1.1", "1.1", "PJSIP/1001-00000001", num="1001", exten="1002"),
    cel("CHAN_START", 101.0, "1.2", "1.1", "PJSIP/1002-00000002"),
    cel("ANSWER", 105.0, "1.2", "1.1"),
    cel("ANSWER", 105.0, "1.1", "1.1"),
    cel("CHAN_START", 110.0, "1.3", "1.3", "PJSIP/1001-00000003", num="1001", exten="1003"),
    cel("CHAN_START", 111.0, "1.4", "1.3", "PJSIP/1003-00000004"),
    cel("ANSWER", 112.0, "1.4", "1.3"),
    cel("ANSWER", 112.0, "1.3", "1.3"),
    hangup(120.0, "1.1", 16, "1.1"),
    hangup(120.0, "1.3", 16, "1.3"),
    hangup(150.0, "1.4", 16, "1.1"),
    hangup(150.0, "1.2", 16, "1.1"),
]


def test_calls_that_merge_are_one() -> None:
    book = read(MERGED)
    assert book.aliases == {"1.3": "1.1"}
    assert compose(book, "1.3") is None
    cdr = compose(book)
    assert cdr is not None
    assert (len(cdr.legs), cdr.duration_s, cdr.ring_s, cdr.hold_s, cdr.talk_s) == (4, 50.0, 5.0, 0.0, 45.0)


@given(st.data())
def test_merged_in_any_order(data: st.DataObject) -> None:
    book = read(data.draw(st.permutations(MERGED)))
    assert len({leg.call_id for leg in book.legs.values()}) == 1
    expected = read(MERGED)
    (call_id,) = {leg.call_id for leg in book.legs.values()}
    assert {name: replace(leg, call_id="1.1") for name, leg in book.legs.items()} == expected.legs
    assert set(book.aliases.values()) == {call_id}


@pytest.mark.parametrize(
    ("answered", "cause", "expected"),
    [
        (True, 16, Disposition.ANSWERED),
        (False, 17, Disposition.BUSY),
        (False, 0, Disposition.CANCELLED),
        (False, 16, Disposition.CANCELLED),
        (False, 127, Disposition.CANCELLED),
        (False, 19, Disposition.NO_ANSWER),
        (False, 1, Disposition.INVALID_NUMBER),
        (False, 34, Disposition.CONGESTION),
        (False, 21, Disposition.REJECTED),
        (False, 38, Disposition.FAILED),
    ],
)
def test_dispositions(answered: bool, cause: int, expected: Disposition) -> None:
    lines = [cel("CHAN_START", 100.0, "1.1", channel=CALLER), hangup(101.0, "1.1", cause, channel=CALLER)]
    cdr = compose(read([*lines, *([cel("ANSWER", 100.5, "1.1")] if answered else [])]))
    assert cdr is not None
    assert (cdr.disposition, cdr.cause) == (expected, cause)


def test_a_lost_leg_makes_the_call_unconfirmed_until_its_end_is_found() -> None:
    book = read(RINGALL[:-1])
    assert compose(book) is None
    apply_records(book, [replace(book.legs["1.1"], is_lost=True)])
    cdr = compose(book)
    assert cdr is not None
    assert (cdr.disposition, cdr.ended_at, cdr.talk_s, cdr.ring_s) == (Disposition.UNCONFIRMED, None, 0.0, 2.0)
    end = read_cel(RINGALL[-1])
    assert end is not None
    apply_records(book, [end])
    cdr = compose(book)
    assert cdr is not None
    assert cdr.disposition == Disposition.ANSWERED


def test_an_outbound_call_of_a_phone() -> None:
    lines = [
        cel("CHAN_START", 100.0, "1.1", channel=AGENT, num="1001", exten="030555"),
        cel("CHAN_START", 100.5, "1.2", channel=CALLER),
        hangup(104.0, "1.2", 17, channel=CALLER, source=CALLER),
        hangup(104.0, "1.1", 17, channel=AGENT),
    ]
    cdr = compose(read(lines))
    assert cdr is not None
    assert (cdr.direction, cdr.endpoint, cdr.trunk, cdr.called) == ("outbound", "1001", "carrier", "030555")
    assert (cdr.disposition, cdr.ring_s, cdr.talk_s) == (Disposition.BUSY, 4.0, 0.0)


HOSTILE = st.text() | st.lists(
    st.sampled_from(
        ['"', "\\", "}", "{", "\n", "\r\n", ",", ":", '{"eventtype":"HANGUP"', '","uniqueid":"1.2', '"}\n', "x"]
    ),
    max_size=12,
).map("".join)


@example(["\n{", '\\",', ",", '\n{"eventtype":"HANGUP"', "1\\"])
@given(st.lists(HOSTILE, min_size=1, max_size=5))
def test_a_strangers_number_changes_nothing_but_the_number(numbers: list[str]) -> None:
    """Asterisk's writer leaves backslashes and line ends as they are: a number can break a line, and must not break a record."""
    records = [cel("CHAN_START", 100.0 + i, f"1.{i}", num=number, exten=number) for i, number in enumerate(numbers)]
    data = b"".join(record + b"\n" for record in records)
    assert find_records_end(data) == len(data)
    legs = [read_cel(record) for record in split_records(data)]
    assert [(leg and leg.uniqueid, leg and leg.started_at) for leg in legs] == [
        (f"1.{i}", 100.0 + i) for i in range(len(numbers))
    ]
    for leg, number in zip(legs, numbers, strict=True):
        assert leg is not None
        assert leg.caller == leg.exten
        assert leg.caller.isprintable()
        assert leg.caller == "".join(c for c in number[:80] if c.isprintable()) or '\\"' in number or len(number) > 80


def test_a_value_that_begins_as_a_record_ends_is_waited_for() -> None:
    record = cel("CHAN_START", 100.0, "1.1", num="}\n")
    assert [find_records_end(record[:cut]) for cut in range(len(record))] == [0] * len(record)
    assert find_records_end(record + b"\n") == len(record) + 1


@given(st.lists(HOSTILE, min_size=1, max_size=3), st.data())
def test_a_record_that_is_being_written_is_waited_for(numbers: list[str], data: st.DataObject) -> None:
    records = [cel("CHAN_START", 100.0, "1.1", num=number) + b"\n" for number in numbers]
    whole = b"".join(records)
    cut = data.draw(st.integers(0, len(whole)))
    ends = [sum(map(len, records[:count])) for count in range(len(records) + 1)]
    assert find_records_end(whole[:cut]) == max(end for end in ends if end <= cut)


@given(st.binary(max_size=200))
def test_whatever_stands_in_a_file(record: bytes) -> None:
    for leg in (read_cel(record), read_cdr(record)):
        assert leg is None or (isinstance(leg, Leg) and leg.uniqueid)


def test_a_strangers_text_is_cut_down() -> None:
    leg = read_cel(cel("CHAN_START", 100.0, "1.1", num="1\r\nEvent: x\x1b[2J" + "9" * 500))
    assert leg is not None
    assert leg.caller.isprintable()
    assert len(leg.caller) <= 80


def test_a_test_call_of_ours_is_nobodys():
    for half in (";1", ";2"):
        channel = f"Local/012345678901234567@tandem-probe-0000002a{half}"
        for event in ("CHAN_START", "ANSWER", "HANGUP"):
            assert read_cel(cel(event, 1.0, f"probe{half}", channel=channel)) is None
    assert read_cel(cel("CHAN_START", 1.0, "1.1", channel="PJSIP/Local/1@tandem-probe-1-0000002a")) is not None
    assert read_cel(cel("CHAN_START", 1.0, "1.1", channel="Local/100@from-admin-0000002a;1")) is not None
