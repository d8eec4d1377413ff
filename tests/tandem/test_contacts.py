"""What a system beside us says of a caller: read with care, and what it makes of a call."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.document import read_document
from tandem.domain.contacts import MAX_PRIORITY, NOBODY, Contact, Greeting, greet, read_contact
from tandem.domain.destinations import DialplanDestination, EndpointDestination, QueueDestination
from tandem.domain.routing import route_did
from tandem.domain.snapshot import build_snapshot

SNAPSHOT = build_snapshot(
    7,
    read_document(
        """
general: {country: DE, allowed_contexts: [from-admin]}
endpoints: [{extension: "1001", secret: not-a-secret-1}, {extension: "1002", secret: not-a-secret-2}]
queues:
  - {name: sales, extension: "300", members: [{endpoint: "1001"}], priority: 3, fallback: {hangup: busy}}
  - {name: vip, members: [{endpoint: "1002"}], fallback: {hangup: busy}}
dids: [{number: "+49301000", destination: {queue: sales}, priority: 7, language: de}]
""",
        "test",
    ),
)
NOW = datetime(2026, 11, 16, 11, 0, tzinfo=UTC)
WHOLE = {
    "id": 4711, "name": "Jane Doe", "queue_position": 50, "direct_line": "SIP/1001", "backend_link": "https://crm.example/?id=4711",
    "route_identifier": "gold", "outbound_number": "+49302555", "language": "ro", "external_id": "c-1",
}  # fmt: skip


def read(**given: Any) -> Contact:
    found = read_contact(json.dumps(given).encode())
    assert found is not None
    return found


def welcome(contact: Contact) -> Greeting:
    route = route_did(SNAPSHOT, "+49301000", "0305550100", None, NOW)
    return greet(SNAPSHOT, route, contact, NOW)


def test_everything_that_is_said_is_read() -> None:
    assert read(**WHOLE) == Contact(
        contact_id="4711", name="Jane Doe", priority=50, direct_line="SIP/1001", backend_link="https://crm.example/?id=4711",
        route_identifier="gold", outbound_number="+49302555", language="ro", external_id="c-1",
    )  # fmt: skip


def test_all_null_is_nobody() -> None:
    assert read(**dict.fromkeys(WHOLE)) == NOBODY
    assert read() == NOBODY
    assert read(other="x") == NOBODY


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"7", b"{", b"\xff\xfe", b"<html>", b"[" * 100_000])
def test_what_is_no_answer(body: bytes) -> None:
    assert read_contact(body) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", ["x"]), ("id", True), ("id", "a\nb"), ("id", "x" * 201), ("id", 10**40), ("name", {"a": 1}), ("name", "a\r\nAction: x"), ("name", "\u202e"),
        ("queue_position", -1), ("queue_position", 101), ("queue_position", "high"), ("queue_position", 5.5), ("queue_position", True),
        ("direct_line", "SIP/1001&SIP/1002"), ("direct_line", "Local/1@a,b"), ("direct_line", "PJSIP/${x}"), ("direct_line", "IAX2/x"),
        ("backend_link", "javascript:alert(1)"), ("backend_link", "https://a b"), ("backend_link", "https://" + "x" * 400),
        ("outbound_number", "abc"), ("outbound_number", "1"), ("language", "../../etc"), ("language", "EN"), ("external_id", "a\0b"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_value_costs_only_that(name: str, value: Any) -> None:
    found = read(**{**WHOLE, name: value})
    assert found == read(**{**WHOLE, name: None})
    assert found != NOBODY


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=4)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(WHOLE)), _JSON))
def test_no_answer_breaks_a_call(given: dict[str, Any]) -> None:
    contact = read(**given)
    greeting = welcome(contact)
    assert all(value.isprintable() and len(value) <= 400 for _, value in greeting.variables)
    assert 7 <= greeting.route.priority <= MAX_PRIORITY
    assert greeting.route.destination is not None


def test_what_is_known_becomes_the_calls() -> None:
    greeting = welcome(read(**WHOLE))
    route = greeting.route
    assert (route.destination, route.priority, route.language) == (EndpointDestination(endpoint="1001"), 50, "ro")
    assert dict(greeting.variables) == {
        "CALLERID(name)": "Jane Doe",
        "__BACKEND_LINK": "https://crm.example/?id=4711",
        "__ROUTE_IDENTIFIER": "gold",
        "__OUTBOUND_NUMBER": "+49302555",
        "__CONTACT_ID": "4711",
        # Where the DID leads, for when that phone does not answer.
        "TANDEM_OTHERWISE": "tandem-enter,queue,1(sales,50,ro,no,,)",
    }
    assert greeting.reasons == ("caller is contact 4711", "direct line", "endpoint 1001")


def test_the_higher_priority_counts() -> None:
    assert welcome(read(queue_position=5)).route.priority == 7
    assert welcome(read(queue_position=100)).route.priority == MAX_PRIORITY
    assert welcome(read(queue_position="99")).route.priority == MAX_PRIORITY


@pytest.mark.parametrize(
    ("line", "destination"),
    [
        ("SIP/1002", EndpointDestination(endpoint="1002")), ("pjsip/1002", EndpointDestination(endpoint="1002")),
        ("Local/1002", EndpointDestination(endpoint="1002")), ("Local/300", QueueDestination(queue="sales")), ("vip", QueueDestination(queue="vip")),
        ("Local/100@from-admin", DialplanDestination(dialplan="from-admin,100")), ("Local/100@from-admin/n", DialplanDestination(dialplan="from-admin,100")),
    ],
)  # fmt: skip
def test_a_line_of_their_own(line: str, destination: Any) -> None:
    assert welcome(read(direct_line=line)).route.destination == destination


@pytest.mark.parametrize(
    "line",
    ["SIP/9999", "Local/9999", "nothing", "Local/s@tandem-jump", "SIP/100@from-admin", "SIP/vip", "PJSIP/+4930555@x"],
)
def test_a_line_that_is_none_changes_nothing(line: str) -> None:
    greeting = welcome(read(direct_line=line))
    assert greeting.route.destination == QueueDestination(queue="sales")
    assert greeting.reasons == (f"direct line {line} is not known",)
    assert greeting.variables == ()
