"""Which calls may be placed: every rule, with the field it names; nothing outside without a permission."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tandem.ami.wire import encode_action
from tandem.calls import _originate
from tandem.domain.destinations import Destination
from tandem.domain.entities import General, Pbx
from tandem.domain.originate import (
    CallRefused,
    CallRequest,
    OriginateOrder,
    classify_number,
    find_destination,
    plan_call,
)
from tandem.domain.snapshot import Snapshot, build_snapshot

DOCUMENT: dict[str, Any] = {
    "general": {
        "country": "DE",
        "outbound_trunk": "carrier",
        "emergency_numbers": ["112", "110"],
        "allowed_contexts": ["own"],
        "allowed_variables": ["NOTE"],
    },
    "trunks": [{"name": "carrier", "hosts": ["192.0.2.1"]}, {"name": "other", "hosts": ["192.0.2.2"]}],
    "endpoints": [
        {"extension": "1001", "secret": "swordfish1", "ring_time_s": 33, "permissions": ["internal", "national"]},
        {"extension": "1002", "secret": "swordfish2"},
    ],
    "menus": [
        {
            "name": "main",
            "extension": "4000",
            "prompts": ["hello"],
            "options": {},
            **{key: {"hangup": "normal"} for key in ("invalid", "timeout", "fallback")},
        }
    ],
    "queues": [{"name": "sales", "priority": 7, "fallback": {"hangup": "normal"}}],
}
DESTINATION: TypeAdapter[Any] = TypeAdapter(Destination)


def snapshot(**general: Any) -> Snapshot:
    document = {**DOCUMENT, "general": {**DOCUMENT["general"], **general}}
    return build_snapshot(5, TypeAdapter(Pbx).validate_python(document))


SNAPSHOT = snapshot()


def plan(origin: dict[str, Any], destination: dict[str, Any], base: Snapshot = SNAPSHOT, **more: Any) -> OriginateOrder:
    request = CallRequest(
        origin=DESTINATION.validate_python(origin), destination=DESTINATION.validate_python(destination), **more
    )
    return plan_call(base, request)


def test_orders() -> None:
    order = plan({"endpoint": "1001"}, {"external": "030123456"})
    assert (order.channel, order.ring_timeout_s, order.is_trunk, order.revision) == ("PJSIP/1001", 33.0, False, 5)
    assert order.jump == "tandem-enter,external,1(030123456,0,,,,1001)"
    assert (order.caller_number, order.origin, order.destination) == (
        "030123456",
        "endpoint 1001",
        "external 030123456",
    )
    order = plan({"external": "+4930123", "trunk": "other"}, {"queue": "sales"}, permissions=("national",))
    assert (order.channel, order.ring_timeout_s, order.is_trunk) == ("PJSIP/+4930123@other", 60.0, True)
    assert order.jump == "tandem-enter,queue,1(sales,7,,,,+4930123)"
    order = plan({"queue": "sales"}, {"menu": "main"}, presented_number="4711", ring_timeout_s=20)
    assert order.channel == "Local/s@tandem-queue-first/n"
    assert order.variables == (("TANDEM_JUMP", "tandem-enter,menu,1(main,0,,,,4711)"), ("TANDEM_QUEUE_FIRST", "sales"))


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("origin.endpoint: there is no endpoint 1009", {"endpoint": "1009"}, {"queue": "sales"}, {}),
    ("origin.queue: there is no queue nope", {"queue": "nope"}, {"queue": "sales"}, {}),
    ("origin: must be", {"menu": "main"}, {"queue": "sales"}, {}),
    ("origin.external: needs the permission national", {"external": "030123"}, {"queue": "sales"}, {}),
    ("origin.external: needs the permission international", {"external": "0044123"}, {"queue": "sales"}, {"permissions": ("national",)}),
    ("origin.external: must not be an emergency", {"external": "112"}, {"queue": "sales"}, {"permissions": ("international",)}),
    ("origin.external: must be 2 to 24", {"external": "*21#"}, {"queue": "sales"}, {"permissions": ("international",)}),
    ("origin.trunk: there is no trunk nope", {"external": "030123", "trunk": "nope"}, {"queue": "sales"}, {"permissions": ("national",)}),
    ("destination.external: needs the permission national", {"endpoint": "1002"}, {"external": "030123"}, {}),
    ("destination.external: needs the permission international", {"endpoint": "1001"}, {"external": "+44123"}, {}),
    ("destination.external: must not be an emergency", {"endpoint": "1001"}, {"external": "110"}, {}),
    ("destination.endpoint: there is no", {"endpoint": "1001"}, {"endpoint": "1009"}, {}),
    ("destination.queue: there is no", {"endpoint": "1001"}, {"queue": "nope"}, {}),
    ("destination.menu: there is no", {"endpoint": "1001"}, {"menu": "nope"}, {}),
    ("destination.voicemail: there is no", {"endpoint": "1001"}, {"voicemail": "99"}, {}),
    ("destination.announcement: there is no", {"endpoint": "1001"}, {"announcement": "nope"}, {}),
    ("destination.dialplan: context secret is not", {"endpoint": "1001"}, {"dialplan": "secret,100"}, {}),
    ("destination: must be", {"endpoint": "1001"}, {"hangup": "busy"}, {}),
    ("caller_number: must be", {"endpoint": "1001"}, {"queue": "sales"}, {"caller_number": "12\r\n"}),
    ("presented_number: must be", {"endpoint": "1001"}, {"queue": "sales"}, {"presented_number": "1,2)"}),
    ("caller_name: must be", {"endpoint": "1001"}, {"queue": "sales"}, {"caller_name": 'A" <1>'}),
    ("caller_name: must be", {"endpoint": "1001"}, {"queue": "sales"}, {"caller_name": "ä" * 40}),
    ("account: must be", {"endpoint": "1001"}, {"queue": "sales"}, {"account": "a b"}),
    ("ring_timeout_s: must be", {"endpoint": "1001"}, {"queue": "sales"}, {"ring_timeout_s": 4.9}),
    ("ring_timeout_s: must be", {"endpoint": "1001"}, {"queue": "sales"}, {"ring_timeout_s": float("nan")}),
    ("variables.OTHER: is not in", {"endpoint": "1001"}, {"queue": "sales"}, {"variables": (("OTHER", "1"),)}),
    ("variables.TANDEM_JUMP: is not in", {"endpoint": "1001"}, {"queue": "sales"}, {"variables": (("TANDEM_JUMP", "x"),)}),
    ("variables: is not in", {"endpoint": "1001"}, {"queue": "sales"}, {"variables": (("A\r\nB", "1"),)}),
    ("variables.NOTE: is given twice", {"endpoint": "1001"}, {"queue": "sales"}, {"variables": (("NOTE", "1"), ("NOTE", "2"))}),
    ("variables.NOTE: must not hold", {"endpoint": "1001"}, {"queue": "sales"}, {"variables": (("NOTE", "1\n2"),)}),
    ("variables.NOTE: must be at most", {"endpoint": "1001"}, {"queue": "sales"}, {"variables": (("NOTE", "é" * 201),)}),
    ("variables: must be at most", {"endpoint": "1001"}, {"queue": "sales"}, {"variables": (("NOTE", "1"),) * 31}),
]  # fmt: skip


@pytest.mark.parametrize(("message", "origin", "destination", "more"), REFUSED)
def test_refusals(message: str, origin: dict[str, Any], destination: dict[str, Any], more: dict[str, Any]) -> None:
    with pytest.raises(CallRefused) as caught:
        plan(origin, destination, **more)
    assert str(caught.value).startswith(message)
    assert str(caught.value) == f"{caught.value.field}: {caught.value.rule}"


def test_outside_without_a_trunk() -> None:
    with pytest.raises(CallRefused, match=r"destination\.trunk: is missing"):
        plan({"endpoint": "1001"}, {"external": "030123"}, snapshot(outbound_trunk=None))


def test_the_guard_of_a_phone_that_is_called_first_has_a_say() -> None:
    guarded = {
        "extension": "1003",
        "secret": "swordfish3",
        "permissions": ["national"],
        "toll_guard": {"denied_prefixes": ["+4933*"]},
    }
    base = build_snapshot(
        5, TypeAdapter(Pbx).validate_python({**DOCUMENT, "endpoints": [*DOCUMENT["endpoints"], guarded]})
    )
    with pytest.raises(CallRefused, match=r"destination\.external: the toll guard refuses it: endpoint/1003 must not"):
        plan({"endpoint": "1003"}, {"external": "033123456"}, base)
    assert plan({"endpoint": "1001"}, {"external": "033123456"}, base).channel == "PJSIP/1001"


@pytest.mark.parametrize(
    ("number", "country", "expected"),
    [
        ("030123", "DE", "national"),
        ("+4930123", "DE", "national"),
        ("004930123", "DE", "national"),
        ("+44123", "DE", "international"),
        ("0044123", "DE", "international"),
        ("030123", None, "international"),
        ("01144123", "US", "international"),
        ("2125550100", "US", "national"),
    ],
)
def test_how_far_a_number_is(number: str, country: str | None, expected: str) -> None:
    assert classify_number(number, General(country=country)) == expected


def test_plain_numbers() -> None:
    assert find_destination(SNAPSHOT, "4000").menu == "main"
    assert find_destination(SNAPSHOT, "+4930123").external == "+4930123"
    for hostile in ("", "1,2", "a", "+", "1\n2", "1" * 25):
        with pytest.raises(CallRefused):
            find_destination(SNAPSHOT, hostile)


@pytest.mark.parametrize("name", ["TANDEM_JUMP", "note", "A", "A-B", "CHANNEL(x)", "1AB"])
def test_variables_that_nobody_may_allow(name: str) -> None:
    with pytest.raises(ValidationError):
        General(allowed_variables=(name,))


@given(st.text(max_size=60), st.text(max_size=100), st.text(max_size=500))
def test_what_is_planned_can_be_sent(number: str, name: str, value: str) -> None:
    """A refusal, or an order whose every value AMI can carry in one piece."""
    try:
        order = plan(
            {"endpoint": "1001"},
            {"queue": "sales"},
            caller_number=number,
            caller_name=name,
            variables=(("NOTE", value),),
        )
    except CallRefused:
        return
    action = _originate(order, "0" * 32)
    written = encode_action(action.name, (("ActionID", "1"), *action.headers), action.variables)
    assert written.count(b"\r\n") == 1 + 1 + len(action.headers) + len(action.variables) + 1


def test_a_place_of_the_dialplan_may_be_called_first() -> None:
    order = plan({"dialplan": "own,s"}, {"endpoint": "1002"})
    assert (order.channel, order.is_trunk, order.origin) == ("Local/s@own/n", False, "dialplan own,s")
    with pytest.raises(CallRefused, match=r"origin\.dialplan: context other is not in"):
        plan({"dialplan": "other,s"}, {"endpoint": "1002"})


def test_what_whoever_wants_it_calls_it() -> None:
    order = plan({"endpoint": "1001"}, {"endpoint": "1002"}, project="p" * 40, external_id="é" * 80)
    assert (order.project, order.external_id) == ("p" * 40, "é" * 80)
    for field, value in (("project", "p" * 41), ("external_id", "e" * 81), ("project", "a\nb"), ("external_id", "\0")):
        with pytest.raises(CallRefused, match=f"{field}: must be at most"):
            plan({"endpoint": "1001"}, {"endpoint": "1002"}, **{field: value})


def test_variables_are_inherited_where_that_is_wanted() -> None:
    more = {"variables": (("NOTE", "x"),), "inherit_variables": True}
    order = plan({"endpoint": "1001"}, {"endpoint": "1002"}, **more)
    assert order.variables[0] == ("__NOTE", "x")
    # Ours are of this channel alone.
    assert not any(name.startswith("_") for name, _ in order.variables[1:])
    action = _originate(order, "0" * 32)
    assert b"Variable: __NOTE=x\r\n" in encode_action(action.name, action.headers, action.variables)
    for variables in ((("__NOTE", "x"),), (("OTHER", "x"),), (("NOTE", "x"), ("NOTE", "y"))):
        with pytest.raises(CallRefused, match="variables"):
            plan({"endpoint": "1001"}, {"endpoint": "1002"}, variables=variables, inherit_variables=True)


def test_an_api_vouches_for_names_of_variables() -> None:
    more = {"variables": (("LINK", "x"), ("NOTE", "y")), "vouched": frozenset({"LINK"})}
    assert plan({"endpoint": "1001"}, {"endpoint": "1002"}, **more).variables[:2] == (("LINK", "x"), ("NOTE", "y"))
    with pytest.raises(CallRefused, match=r"variables\.LINK"):
        plan({"endpoint": "1001"}, {"endpoint": "1002"}, variables=(("LINK", "x"),))
