"""A declared dataclass is what is answered: JSON and schema say the same of each field, properties and times among them."""

import json
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime

import pytest
from jsonschema import Draft202012Validator

from api.declare import Page, Shown, parse_json
from api.errors import Refused
from api.openapi import describe_api
from api.v1.table import ROUTES
from tandem.domain.calls import PlacedCall
from tandem.domain.cdr import Cdr, Leg
from tandem.domain.decisions import Decision
from tandem.domain.disposition import Disposition
from tandem.stories import CallRecord, Story

AT = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)
LEG = Leg(uniqueid="1.1", call_id="1.1", channel="PJSIP/a-1", started_at=AT.timestamp(), ended_at=AT.timestamp() + 2.5)
CDR = Cdr(
    call_id="1.1", direction="inbound", is_placed=False, caller="+4930", called="100", trunk="carrier", endpoint="", queue="",
    route="menu", account="", started_at=AT, answered_at=None, ended_at=AT, ring_s=1, hold_s=0, talk_s=0, duration_s=1.5,
    disposition=Disposition.BUSY, cause=17, legs=(LEG,),
)  # fmt: skip
CALL = PlacedCall(call_id="0" * 32, channel="PJSIP/1", origin="endpoint 1", destination="queue sales", placed_at=AT)
DECISION = Decision(AT, "did", "1.1", "PJSIP/a-1", "100", "", ("DID",), "queue", 0.0004, 3)
RECORD = CallRecord("1.1", "1.1", "PJSIP/a-1", "", "1", "2", "BUSY", "2026-11-20 21:30:00", 1, 0, "Dial")


@pytest.fixture(scope="module")
def document():
    return describe_api(ROUTES)


def check(document, name, answered):
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answered)
    return answered


def test_times_of_a_leg_are_told_as_times(document):
    answered = check(document, "Cdr", json.loads(Shown(Cdr).encode(CDR)))
    assert answered["legs"][0]["started_at"] == "2026-11-20T21:30:00Z"
    assert answered["legs"][0]["ended_at"] == "2026-11-20T21:30:02.500000Z"
    assert answered["legs"][0]["answered_at"] is None
    assert set(answered) == {field.name for field in fields(Cdr)}


def test_where_a_call_is_stands_among_its_fields(document):
    shown = Shown(Page[PlacedCall])
    calls = (CALL, replace(CALL, ringing_at=AT), replace(CALL, ended_at=AT, disposition=Disposition.BUSY))
    answered = check(document, "CallPage", json.loads(shown.encode(Page(calls, 3, 0, 3))))
    assert [call["state"] for call in answered["items"]] == ["placed", "ringing", "ended"]
    assert answered == shown.plain(Page(calls, 3, 0, 3))


def test_a_story_holds_its_decisions_and_records(document):
    answered = check(document, "Story", Shown(Story).plain(Story("1.1", [DECISION], [RECORD])))
    assert answered["decisions"][0]["reasons"] == ["DID"]
    assert answered["records"][0]["talk_s"] == 0


@pytest.mark.parametrize("route", [route for route in ROUTES if route.answer], ids=lambda route: route.operation)
def test_an_answer_says_that_each_of_its_fields_is_there(route, document):
    """A client that reads an answer must not have to ask of each field whether it came."""
    kind = getattr(route.answer.kind, "__origin__", route.answer.kind)
    if is_dataclass(kind):
        schema = document["components"]["schemas"][route.answer.name or kind.__name__]
        assert set(schema["required"]) == set(schema["properties"])


@pytest.mark.parametrize("text", ["a\0", "\\\0", "\0" * 3, "\\" * 4 + "\0"])
def test_a_nul_in_a_body_is_refused_wherever_it_is(text: str) -> None:
    for value in (text, {"a": [{"b": text}]}, {text: 1}):
        with pytest.raises(Refused, match="must not hold the character NUL") as refused:
            parse_json(json.dumps(value).encode())
        assert refused.value.status == 422


@pytest.mark.parametrize("text", ["\\u0000", "\\" * 3 + "u0000", "u0000", "\x01"])
def test_a_text_about_nul_is_not(text: str) -> None:
    assert parse_json(json.dumps([text]).encode()) == [text]
