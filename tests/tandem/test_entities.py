import re

import pytest
from pydantic import TypeAdapter, ValidationError

from tandem.domain.destinations import DESTINATION_CLASSES, HangupDestination
from tandem.domain.entities import COLLECTIONS, Did, Endpoint, OpenHours, Pbx, Schedule, Trunk, VoicemailBox
from tandem.domain.fields import RULE_BY_PATTERN
from tandem.domain.problems import describe_errors


def patterns_of(schema):
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for key, part in schema.items():
            if key == "patternProperties":
                yield from part
            yield from patterns_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from patterns_of(part)


def test_every_pattern_has_a_rule_in_words():
    patterns = set(patterns_of(TypeAdapter(Pbx).json_schema()))
    assert len(patterns) > 15
    assert patterns <= set(RULE_BY_PATTERN)
    for pattern, rule in RULE_BY_PATTERN.items():
        assert re.compile(pattern.replace(r"\z", r"\Z"))
        assert rule.startswith("must be")


@pytest.mark.parametrize("end", ["\n", "\r", "\0", "\u2028"])
def test_no_field_takes_a_line_break(end):
    """`$` would: every pattern ends in \\z."""
    for fields in (
        {"number": f"123{end}"},
        {"number": "123", "description": f"a{end}"},
        {"number": "1", "language": f"en{end}"},
    ):
        with pytest.raises(ValidationError):
            Did(**fields, destination=HangupDestination())
    with pytest.raises(ValidationError):
        Endpoint(extension="100", secret=f"long enough{end}")
    with pytest.raises(ValidationError):
        VoicemailBox(mailbox="100", pin="1234", email=f"a{end}b@x.example")


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("mon-wed", ("mon", "tue", "wed")),
        ("sat-mon", ("sat", "sun", "mon")),
        ("mon, wed", ("mon", "wed")),
        ("sun", ("sun",)),
        (["mon", "fri"], ("mon", "fri")),
    ],
)
def test_days(written, days):
    assert OpenHours(days=written, start="09:00", end="24:00").days == days


@pytest.mark.parametrize("days", ["", "monday", "mon-xyz", "mon-", [], "mon;tue"])
def test_other_days_are_refused(days):
    with pytest.raises(ValidationError):
        OpenHours(days=days, start="09:00", end="10:00")


def test_dates_exist():
    assert Schedule(name="a", holidays=("02-29", "2028-02-29")).holidays
    for day in ("02-30", "2027-02-29", "13-01", "24-12"):
        with pytest.raises(ValidationError):
            Schedule(name="a", holidays=(day,))


def test_hang_up_causes_have_names():
    assert HangupDestination(hangup="busy") == HangupDestination(hangup=17) == HangupDestination(hangup="17")
    for cause in (0, 2, 128, "bussy"):
        with pytest.raises(ValidationError):
            HangupDestination(hangup=cause)


def test_a_single_object_is_told_wrong_in_words_too():
    with pytest.raises(ValidationError) as error:
        TypeAdapter(Did).validate_python({"number": "x!", "destination": {"queue": "1"}, "activ": True})
    told = [str(problem) for problem in describe_errors(error.value, Did, ("dids", 3))]
    assert told[0].startswith("dids[3].number: 'x!' must be a number (+493012345)")
    assert told[1].startswith("dids[3].destination.queue: '1' must be a letter")
    assert told[2] == "dids[3].activ: is not a known key; did you mean active?"
    assert len(told) == 3


def test_each_kind_of_destination_has_the_key_of_its_name():
    for kind, found in DESTINATION_CLASSES.items():
        assert kind in found.__slots__
    assert set(COLLECTIONS) == set(Pbx.__slots__) - {"general"}


def test_no_secret_is_in_a_repr():
    """A repr ends up in tracebacks, logs and test reports."""
    entities = (
        Endpoint(extension="1001", secret="swordfish"),
        Trunk(name="carrier", hosts=("sip.example",), username="us", secret="swordfish"),
        VoicemailBox(mailbox="1001", pin="4711"),
    )
    assert not any(secret in repr(entities) for secret in ("swordfish", "4711"))
