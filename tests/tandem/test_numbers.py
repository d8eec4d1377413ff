import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.fields import CallerIdCleanup
from tandem.domain.numbers import (
    DidPattern,
    NumberPlan,
    clean_caller_id,
    clean_dialled,
    index_blocked,
    normalise_number,
    number_key,
    number_plan,
    parse_did_number,
    pattern_rank,
    pattern_regex,
)
from tests.strategies import caller_patterns, did_patterns, phone_numbers

GERMANY = NumberPlan("49", "0", "00")


@given(st.text(max_size=60))
def test_a_key_is_short_and_harmless_whatever_was_sent(text):
    key = number_key(text)
    assert len(key) <= 40
    assert re.fullmatch("[0-9A-Za-z+*#]*", key)
    assert clean_dialled(clean_dialled(text)) == clean_dialled(text)
    assert re.fullmatch("[0-9A-Za-z+*#]*", normalise_number(text, GERMANY))


@pytest.mark.parametrize(
    ("sent", "as_sent", "german"),
    [
        ("+493012345", "493012345", "493012345"),
        ("00493012345", "00493012345", "493012345"),
        ("03012345", "03012345", "493012345"),
        ("493012345", "493012345", "493012345"),
        ("+49 (30) 123-45", "493012345", "493012345"),
        ("0", "0", "49"),
        ("", "", ""),
        ("*97", "*97", "*97"),
        ("5\r\nagi_request: x", "5agirequestx", "5agirequestx"),
    ],
)
def test_normalising(sent, as_sent, german):
    assert normalise_number(sent, None) == as_sent
    assert normalise_number(sent, GERMANY) == german


@pytest.mark.parametrize(
    ("country", "plan"),
    [
        ("DE", ("49", "0", "00")),
        ("US", ("1", "1", "011")),
        ("IT", ("39", "", "00")),
        ("HU", ("36", "06", "00")),
        ("AU", ("61", "0", "0011")),
        ("RU", ("7", "8", "810")),
        ("BR", ("55", "0", "")),  # a carrier's code stands in between, so there is no plain prefix
    ],
)
def test_number_plans(country, plan):
    assert number_plan(country) == NumberPlan(*plan)


def test_a_country_without_a_national_prefix_gets_its_code_in_front():
    assert normalise_number("0612345", number_plan("IT")) == "390612345"


def test_unknown_countries_are_refused():
    with pytest.raises(ValueError, match="'QQ' is no country"):
        number_plan("QQ")


@given(st.text("0123456789+", max_size=15), st.sampled_from(["DE", "US", "IT", "AU", "BR"]))
def test_the_rule_can_be_told_with_substrings_alone(sent, country):
    """As the dialplan does it: three comparisons of a beginning, one concatenation."""
    plan = number_plan(country)
    if sent[:1] == "+":
        expected = sent[1:]
    elif not sent:
        expected = ""
    elif plan.international_prefix and sent[: len(plan.international_prefix)] == plan.international_prefix:
        expected = sent[len(plan.international_prefix) :]
    elif sent[: len(plan.national_prefix)] == plan.national_prefix:
        expected = plan.country_code + sent[len(plan.national_prefix) :]
    else:
        expected = sent
    assert normalise_number(sent, plan) == expected


@pytest.mark.parametrize(
    ("number", "rule", "cleaned"),
    [
        ("+15550100", "", "+15550100"),
        ("+15550100", "R4", "0100"),
        ("15550100", "L1", "5550100"),
        ("+4915550100", "R8 L1", "5550100"),
        ("25550100", "L1", "25550100"),
        ("anonymous", "R10", ""),
        ("12", "R0", ""),
        ('1"; DROP', "L2", "1"),
    ],
)
def test_cleaning_caller_ids(number, rule, cleaned):
    assert clean_caller_id(number, rule) == cleaned


@given(
    st.text(max_size=60), st.from_regex(CallerIdCleanup.__metadata__[0].pattern.replace(r"\z", r"\Z"), fullmatch=True)
)
def test_every_clean_up_rule_works_on_any_number(number, rule):
    assert re.fullmatch("[0-9+]{0,40}", clean_caller_id(number, rule))


def test_other_clean_up_rules_are_refused():
    with pytest.raises(ValueError, match="R10"):
        clean_caller_id("1", "L1 R10")


@pytest.mark.parametrize(
    ("written", "kind", "key"),
    [
        ("+493012345", "exact", "493012345"),
        ("493012345", "exact", "493012345"),
        ("+493012*", "prefix", "493012"),
        ("_+49301XX", "pattern", "49301XX"),
        ("default", "default", ""),
        ("support", "exact", "support"),
    ],
)
def test_reading_did_numbers(written, kind, key):
    assert parse_did_number(written) == DidPattern(kind, key)


@pytest.mark.parametrize(
    ("pattern", "regex"),
    [
        ("_49301XX", "^49301[0-9][0-9]$"),
        ("_+49ZN.", "^49[1-9][2-9].+$"),
        ("_49!", "^49.*$"),
        ("_4[2-57]-1", "^4[23457]1$"),
        ("_[5]", "^5$"),
    ],
)
def test_regular_expressions_of_patterns(pattern, regex):
    assert pattern_regex(pattern) == regex


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("_", "at least one"),
        ("_-", "at least one"),
        ("_49.1", "nothing may follow"),
        ("_49!.", "nothing may follow"),
        ("_4[]", "is not one of"),
        ("_4[2-", "is not one of"),
        ("_4[X]", "is not one of"),
        ("_4[5-2]", "runs backwards"),
        ("_4[-2]", "must hold digits and ranges"),
        ("_4+9", "is not one of"),
    ],
)
def test_patterns_that_mean_nothing_are_refused(pattern, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        parse_did_number(pattern)


SETS = {"X": "0123456789", "Z": "123456789", "N": "23456789"}


def asterisk_matches(pattern: str, number: str) -> bool:
    """The rule of the documentation, character by character, without any regular expression."""
    at = 0
    while pattern:
        if pattern[0] == "-":
            pattern = pattern[1:]
            continue
        if pattern[0] == ".":
            return at < len(number)
        if pattern[0] == "!":
            return True
        if pattern[0] == "[":
            inside, _, pattern = pattern[1:].partition("]")
            allowed = {"2-5": "2345"}.get(inside, inside)
        else:
            allowed, pattern = SETS.get(pattern[0], pattern[0]), pattern[1:]
        if at >= len(number) or number[at] not in allowed:
            return False
        at += 1
    return at == len(number)


@given(did_patterns, st.text("0123456789", max_size=8))
def test_a_regular_expression_matches_what_its_pattern_does(pattern, number):
    for candidate in (number, "1" + number):
        assert bool(re.match(pattern_regex(pattern), candidate)) == asterisk_matches(pattern[1:], candidate)


def test_patterns_are_tried_in_asterisks_order():
    ordered = ["_4930", "_49[1-3]X", "_49NX", "_49N.", "_49ZX", "_49XX", "_49X.", "_49.", "_49!", "_4X", "_X.", "_."]
    for turn in range(len(ordered)):
        assert sorted(ordered[turn:] + ordered[:turn], key=pattern_rank) == ordered


@given(phone_numbers, st.lists(caller_patterns, max_size=6))
def test_blocked_callers(caller, patterns):
    key = number_key(caller)
    expected = any(
        key.startswith(number_key(pattern[:-1])) if pattern.endswith("*") else key == number_key(pattern)
        for pattern in patterns
    )
    assert index_blocked(patterns).holds(key) is expected
    assert index_blocked([*patterns, caller]).holds(key)
    assert index_blocked([*patterns, caller[:4] + "*"]).holds(key)
    assert not index_blocked(patterns).holds("")
