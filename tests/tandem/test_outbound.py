"""Outbound routes as pure functions: which route has a number, who may use it, and what a number is; the dialplan's copies are tried in tests/asterisk."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.document import DocumentError, read_document, write_document
from tandem.domain.destinations import EndpointDestination, ExternalDestination
from tandem.domain.dialling import find_region, present_caller, read_dial_pattern, write_e164, write_for_trunk
from tandem.domain.entities import Trunk
from tandem.domain.explain import explain_dialled
from tandem.domain.last_known import last_known_entries
from tandem.domain.numbers import number_plan
from tandem.domain.originate import CallRefused, CallRequest, plan_call
from tandem.domain.outbound import CONFIGURED, Caller, route_outbound
from tandem.domain.snapshot import build_snapshot, with_entity, without_entity

DOCUMENT = """
general: {country: DE, outbound_trunk: b}
trunks: [{name: a, hosts: [192.0.2.1]}, {name: b, hosts: [192.0.2.2]}]
outbound_routes:
  - {name: all, patterns: ["_X."], trunks: [b], position: 900, permission: international}
  - {name: berlin, patterns: ["+4930*"], strip: 1, prepend: "0049", trunks: [a, b]}
  - {name: desk, patterns: ["+49301234"], trunks: [b]}
  - {name: day, patterns: ["0800*"], trunks: [a], schedule: office, position: 5}
  - {name: night, patterns: ["0800*"], trunks: [b], position: 6}
  - {name: france, countries: [FR], trunks: [a]}
  - {name: off, patterns: ["0800*"], trunks: [a], position: 1, active: no}
  - {name: pin, patterns: ["0700*"], trunks: [a], pin: 4711}
  - {name: rescue, patterns: ["0110"], strip: 1, trunks: [a], emergency: yes, permission: international}
  - {name: down, patterns: ["+4989*", "_089."], trunks: [a, b], static: yes, permission: national}
schedules: [{name: office, hours: [{days: mon-fri, start: "09:00", end: "17:00"}]}]
endpoints:
  - {extension: 1001, secret: not-a-secret-1, permissions: [internal, national, international]}
  - {extension: 1002, secret: not-a-secret-2, permissions: [internal, national]}
  - {extension: 1003, secret: not-a-secret-3, permissions: [international], outbound_routes: [berlin, france]}
"""
PBX = read_document(DOCUMENT, "test")
SNAPSHOT = build_snapshot(7, PBX)
NOON = datetime(2026, 11, 16, 11, 0, tzinfo=UTC)
NIGHT = datetime(2026, 11, 16, 22, 0, tzinfo=UTC)


def route(number, extension="1001", now=NOON, snapshot=SNAPSHOT):
    caller = Caller(snapshot.endpoints.get(extension), is_phone=True) if extension else CONFIGURED
    return route_outbound(snapshot, caller, number, now)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("030555", [("a", "004930555"), ("b", "004930555")]),
        ("+49301234", [("b", "+49301234")]),
        ("00491234", [("b", "00491234")]),
        ("+33155501", [("a", "+33155501")]),
        ("0033155501", [("a", "0033155501")]),
        ("0800555", [("a", "0800555")]),
        ("+44", [("b", "+44")]),
    ],
)
def test_the_first_route_that_has_a_number_takes_it(number, expected):
    assert route(number).tries == tuple(expected)


def test_a_closed_route_leaves_the_number_to_the_next():
    assert route("0800555", now=NIGHT).route.name == "night"
    assert route("0800555", now=None).route.name == "night"


@pytest.mark.parametrize(
    ("number", "extension", "refusal"),
    [
        ("+33155501", "1002", "forbidden"),
        ("0123", "1002", "forbidden"),  # the route for all needs international
        ("0800555", "1003", "forbidden"),
        ("030555", "nobody", "forbidden"),
        ("030555", "1003", ""),
        ("+33155501", "1003", ""),
        ("0110", "1003", ""),
        ("0700555", "", "pin"),
        ("*72", "1001", "unknown"),
        ("1", "1001", "unknown"),
        ("", "1001", "unknown"),
    ],
)
def test_who_may_dial_what(number, extension, refusal):
    found = route(number, extension)
    assert (found.refusal, bool(found.tries)) == (refusal, not refusal)
    assert found.reasons


def test_nobody_presses_the_pin_of_a_forward():
    caller = Caller(SNAPSHOT.endpoints["1001"], is_phone=True, is_forward=True)
    assert route_outbound(SNAPSHOT, caller, "0700555", NOON).refusal == "pin"
    assert route_outbound(SNAPSHOT, caller, "030555", NOON).tries == route("030555").tries


def test_without_a_route_the_outbound_trunk_has_it_as_far_as_permissions_reach():
    snapshot = without_entity(SNAPSHOT, 8, "outbound_routes", "all")
    assert route("0123", "1002", snapshot=snapshot).tries == (("b", "0123"),)
    assert route("00123", "1002", snapshot=snapshot).refusal == "forbidden"
    assert route("0123", "1003", snapshot=snapshot).refusal == "forbidden"
    again = with_entity(snapshot, 9, SNAPSHOT.outbound_routes["all"])
    assert again.outbound == SNAPSHOT.outbound


def test_calls_that_are_placed_take_the_same_ways():
    def plan(number):
        request = CallRequest(
            origin=ExternalDestination(external=number),
            destination=EndpointDestination(endpoint="1001"),
            permissions=("international",),
        )
        return plan_call(SNAPSHOT, request).channel

    assert plan("030555") == "PJSIP/004930555@a"
    assert plan("+33155501") == "PJSIP/+33155501@a"
    with pytest.raises(CallRefused, match="emergency"):
        plan("0110")
    with pytest.raises(CallRefused, match="PIN"):
        plan("0700555")


def test_what_the_dialplan_has_for_the_day_without_tandem():
    entries = last_known_entries(SNAPSHOT, NOON.date())
    assert entries["tandem-endpoint", "1003/routes"] == "berlin&france"
    assert ("tandem-endpoint", "1001/routes") not in entries
    assert {key: value for (family, key), value in entries.items() if family == "tandem-route"} == {
        "1": "^089.+$",
        "1/how": "down,national,0,,a&b",
        "2": "^[+]4989.*$",
        "2/how": "down,national,0,,a&b",
    }


def test_explain_says_what_a_call_would_do():
    assert explain_dialled(SNAPSHOT, "1001", "0700555", NOON).reasons[-1] == "asks for a PIN"
    assert explain_dialled(SNAPSHOT, "1002", "1001", NOON).destination == "endpoint 1001"
    assert explain_dialled(SNAPSHOT, "1003", "1001", NOON).destination is None
    assert explain_dialled(SNAPSHOT, "1003", "112", NOON).destination == "112 over b"
    assert explain_dialled(SNAPSHOT, "1001", "+33155501", NOON).jump == "tandem-out,dial,1(a:+33155501:,0)"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("{name: x, trunks: [a]}", "must hold a pattern"),
        ("{name: x, patterns: [_], trunks: [a]}", "patterns[0]"),
        ("{name: x, patterns: ['_0[9-1]'], trunks: [a]}", "runs backwards"),
        ("{name: x, patterns: ['01'], trunks: [c]}", "there is no trunk 'c'"),
        ("{name: x, patterns: ['01'], trunks: []}", "trunks"),
        ("{name: x, patterns: ['01'], trunks: [a, a]}", "must name each trunk once"),
        ("{name: x, patterns: ['01'], trunks: [a], schedule: no}", "there is no schedule 'no'"),
        ("{name: x, countries: [XX], trunks: [a]}", "countries[0]"),
        ("{name: x, patterns: ['_1XXX'], trunks: [a], emergency: yes}", "a number inside"),
        ("{name: x, patterns: ['01'], trunks: [a], static: yes, pin: 4711}", "pin: must not be set"),
        ("{name: x, patterns: ['01'], trunks: [a], static: yes, schedule: office}", "schedule: must not be set"),
        ("{name: x, countries: [FR], trunks: [a], emergency: yes}", "only Tandem can tell countries apart"),
        ("{name: x, patterns: ['01'], trunks: [a], strip: 21}", "strip"),
        ("{name: x, patterns: ['01'], trunks: [a], prepend: 'a'}", "prepend"),
    ],
)
def test_what_a_document_must_not_say(more, problem):
    with pytest.raises(DocumentError) as error:
        read_document(DOCUMENT.replace("schedules:", f"  - {more}\nschedules:", 1), "test")
    assert problem in str(error.value)


def test_a_route_that_is_used_is_not_taken_away_and_documents_come_back():
    assert read_document(write_document(PBX)) == PBX
    with pytest.raises(DocumentError, match="there is no outbound route 'france'"):
        read_document(DOCUMENT.replace("name: france", "name: gone"), "test")


@pytest.mark.parametrize(
    ("dialled", "country", "expected"),
    [
        ("+49301", "DE", "+49301"),
        ("0301", "DE", "+49301"),
        ("0044301", "DE", "+44301"),
        ("12345", "DE", ""),
        ("2125550100", "US", "+12125550100"),
        ("12125550100", "US", "+12125550100"),
        ("911", "US", ""),
        ("22123456", "NO", "+4722123456"),
        ("113", "NO", ""),
        ("0301", None, ""),
    ],
)
def test_the_international_form(dialled, country, expected):
    assert write_e164(dialled, number_plan(country) if country else None) == expected


def test_where_a_number_belongs():
    assert find_region("09001234567", "DE") == ("DE", True)
    assert find_region("0900123456789999", "DE").is_premium  # what is dialled after it hides nothing
    assert find_region("+14165550100", "DE").country == "CA"
    assert find_region("x", None) == ("", False)


@given(st.text("0123456789+X[]-.!NZ_*", max_size=12))
def test_a_pattern_is_read_or_refused_and_never_matches_nothing(text):
    try:
        rule = read_dial_pattern(text)
    except ValueError:
        return
    assert re.compile(rule.regex)
    if not text.startswith("_") and not text.endswith("*") and text.removeprefix("+").isdigit():
        assert re.match(rule.regex, text)


@pytest.mark.parametrize(
    ("form", "country", "dialled", "expected"),
    [
        ("as-dialled", None, "030555", "030555"),
        ("e164", None, "030555", "4930555"),
        ("plus", None, "0044555", "+44555"),
        ("national", None, "+4930555", "030555"),
        ("national", None, "+44555", "0044555"),
        ("national", "FR", "+33155501", "0155501"),
        ("e164", None, "115", "115"),
    ],
)
def test_a_trunk_gets_numbers_as_it_wants_them(form, country, dialled, expected):
    trunk = Trunk(name="a", hosts=("x",), numbers_out=form, country=country, prefix_out="9")
    assert write_for_trunk(dialled, trunk, SNAPSHOT.general) == "9" + expected


def test_which_caller_a_trunk_shows():
    allowed = {"name": "a", "hosts": ("x",), "caller_ids": ("+49301", "+49302")}
    for rule, caller, expected in (
        ("passthrough", "1001", ""),
        ("allowed", "1001", "+49301"),
        ("allowed", "+49302", ""),
        ("forced", "+49302", "+49301"),
    ):
        assert present_caller(Trunk(caller_id_rule=rule, **allowed), caller) == expected
    with pytest.raises(DocumentError, match="caller_ids: must hold a number"):
        read_document("trunks: [{name: a, hosts: [x], caller_id_rule: forced}]", "test")


def test_placed_calls_show_what_the_trunk_may_show_and_dial_what_it_wants():
    trunk = Trunk(name="a", hosts=("x",), numbers_out="plus", caller_id_rule="forced", caller_ids=("+49309",))
    request = CallRequest(
        origin=ExternalDestination(external="030555", trunk="a"),
        destination=EndpointDestination(endpoint="1001"),
        caller_number="1001",
        permissions=("national",),
    )
    order = plan_call(with_entity(SNAPSHOT, 8, trunk), request)
    assert (order.channel, order.caller_number) == ("PJSIP/+4930555@a", "+49309")
