import dataclasses
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem.document import DocumentError, read_document, write_document
from tandem.domain.destinations import HangupDestination
from tandem.domain.entities import COLLECTIONS, General, Pbx
from tandem.domain.references import check_pbx
from tests.strategies import control_texts, hostile_texts, pbxes

EXAMPLE = Path(__file__).parents[2] / "examples" / "pbx.yaml"


def refused(text: str) -> list[str]:
    with pytest.raises(DocumentError) as error:
        read_document(text, "pbx.yaml")
    return str(error.value).splitlines()


def test_the_example_is_valid_and_its_export_is_stable():
    pbx = read_document(EXAMPLE.read_text(encoding="utf-8"), "examples/pbx.yaml")
    assert {did.number for did in pbx.dids} >= {"+493023125000", "default"}
    exported = write_document(pbx)
    assert read_document(exported) == pbx
    assert write_document(read_document(exported)) == exported


def test_scalars_arrive_as_they_are_written():
    pbx = read_document(
        """
        general: {language: no, emergency_numbers: [112, 0112]}
        schedules: [{name: yes, hours: [{days: mon, start: 09:30, end: 17:30}]}]
        dids:
          - {number: 0301234567, description: null, destination: {hangup: 17}, active: no}
          - {number: +493012345, description: 1_000, destination: {hangup: busy}, recording: no}
          - {number: 017*, description: 0x1F, destination: {schedule: yes, open: {hangup: 16}, closed: {hangup: 17}}}
        """
    )
    assert pbx.general.language == "no"
    assert pbx.general.emergency_numbers == ("112", "0112")
    assert (pbx.schedules[0].name, pbx.schedules[0].hours[0].end) == ("yes", "17:30")
    assert [did.number for did in pbx.dids] == ["0301234567", "+493012345", "017*"]
    assert [did.description for did in pbx.dids] == ["null", "1_000", "0x1F"]
    assert pbx.dids[0].active is False
    assert pbx.dids[1].recording == "no"
    assert pbx.dids[0].destination == pbx.dids[1].destination == HangupDestination(hangup=17)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(pbxes())
def test_export_import_export_is_byte_identical_and_every_yaml_reader_sees_the_same(pbx):
    assert check_pbx(pbx) == ()
    exported = write_document(pbx)
    again = read_document(exported)
    assert again == pbx
    assert write_document(again) == exported
    # A reader that does guess types finds no other text than ours does.
    plain, guessed = yaml.load(exported, yaml.BaseLoader), yaml.safe_load(exported)
    assert strings_of(guessed) <= strings_of(plain)
    for field in ("description", "name", "number", "secret", "start"):
        assert all(isinstance(value, str) for value in values_of(guessed, field))


def strings_of(value):
    if isinstance(value, dict):
        return {part for item in value.items() for side in item for part in strings_of(side)}
    if isinstance(value, list):
        return {part for item in value for part in strings_of(item)}
    return {value} if isinstance(value, str) else set()


def values_of(value, field):
    if isinstance(value, dict):
        for key, part in value.items():
            if key == field:
                yield part
            yield from values_of(part, field)
    elif isinstance(value, list):
        for part in value:
            yield from values_of(part, field)


def test_one_mistake_is_told_once():
    """A list whose only item is wrong is not empty besides."""
    assert refused("trunks: [{name: a, hosts: ['b:0']}]") == [
        "pbx.yaml:1: trunks[0].hosts[0]: 'b:0' must have a port from 1 to 65535"
    ]
    assert refused("trunks: [{name: a, hosts: []}]") == ["pbx.yaml:1: trunks[0].hosts: must have at least 1 item"]


@given(hostile_texts)
def test_hostile_text_survives(text):
    pbx = Pbx(dids=({"number": "1", "description": text, "destination": {"hangup": 16}},))
    assert read_document(write_document(pbx)).dids[0].description == text


@given(control_texts)
def test_control_characters_are_refused(text):
    quoted = yaml.dump(text, default_style='"', width=1000, allow_unicode=False)
    (line,) = refused(f"dids: [{{number: 1, destination: {{hangup: 16}}, description: {quoted.strip()}}}]")
    assert "must not hold control characters" in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "pbx.yaml:1: is empty; a PBX without anything is written {}"),
        ("a: 1\na: 2\n", "pbx.yaml:2: a: stands here twice"),
        ("{}\n---\n{}\n", "must be one YAML document, not several"),
        ("a: &x 1", "must not use anchors"),
        ("a: *x", "must not use anchors"),
        ("a: !!python/name:os.system x", "must not use tags"),
        ("a: [1,\n", "is no YAML"),
        ("a: \0", "is no YAML"),
        ("a: " + "[" * 100 + "]" * 100, "nested more than 30 deep"),
        ("[]", "must be keys with values"),
        ("? [a]\n: b", "must have plain text as keys"),
        ("endpoints:\n- {extension: 1, secret: long enough}", "pbx.yaml:2: endpoints[0].extension: '1' must be 2 to 8 digits"),
        ("endpoints:\n- extension: 10\n  secret: short", "pbx.yaml:3: endpoints[0].secret: must have at least 8 characters"),
        ("endpoints:\n- extension: 10", "pbx.yaml:2: endpoints[0].secret: is missing"),
        ("trunks: [{name: a, hosts: [b], match: [10.0.0.0/99]}]", "match[0]: '10.0.0.0/99' must be a network such as"),
        ("trunks: [{name: a, hosts: [b], match: [0.0.0.0/0]}]", "match[0]: '0.0.0.0/0' must not be the whole internet"),
        ('endpoints:\n- {extension: "", secret: long enough}', "endpoints[0].extension: '' must be 2 to 8 digits"),
        ("endpoints:\n- {extension: , secret: long enough}", "endpoints[0].extension: is missing"),
        ("dids:\n- number: 1\n  destinaton: {hangup: 16}", "destinaton: is not a known key; did you mean destination?"),
        ("dids:\n- number: 1\n  destination: {queu: x}", "did you mean queue?"),
        ("dids:\n- number: 1\n  destination: {queue: x, menu: y}", "must have exactly one of the keys"),
        ("dids:\n- {number: 1, destination: {voicemail: 10, instruction: no}}", "did you mean instructions?"),
        ("queues:\n- {name: a, fallback: {hangup: 16}, max_wait_s: soon}", "max_wait_s: 'soon' must be a whole number"),
        ("queues:\n- {name: a, fallback: {hangup: 16}, max_wait_s: 4}", "max_wait_s: '4' must be at least 5"),
        ("queues:\n- {name: a, fallback: {hangup: 16}, strategy: x}", "must be one of ringall, leastrecent"),
        ("queues:\n- {name: a, fallback: {hangup: 16}, announce_position: x}", "must be yes or no"),
        ("schedules:\n- {name: a, holidays: [2026-02-30]}", "holidays[0]"),
        ("general: {emergency_numbers: 112}", "general.emergency_numbers: '112' must be a list"),
        ("trunks:\n- {name: a, hosts: ['x:99999']}", "must have a port from 1 to 65535"),
        ("dids:\n- {number: 1, destination: {queue: x}}", "pbx.yaml:2: dids[0].destination.queue: there is no queue 'x'"),
    ],
)  # fmt: skip
def test_refusals_name_place_and_rule(text, told):
    assert any(told in line for line in refused(text)), refused(text)


def test_every_problem_is_told_at_once_in_the_order_of_the_lines():
    lines = refused("endpoints:\n- {extension: 1}\ndids:\n- {number: x!}\n- 5\n")
    numbers = [int(line.split(":")[1]) for line in lines]
    assert numbers == [2, 2, 4, 4, 5]


def test_secrets_are_not_told():
    for text in ("endpoints: [{extension: 10, secret: hush}]", "voicemail_boxes: [{mailbox: 10, pin: hush}]"):
        assert "hush" not in str(refused(text))


def test_an_empty_key_counts_as_left_out():
    assert read_document("menus:\ndids:\ngeneral:\n") == Pbx()
    assert write_document(Pbx()) == "{}\n"
    assert read_document("{}\n") == Pbx()


def test_only_what_differs_is_written():
    text = write_document(Pbx(general=General(language="no", time_zone="Europe/Berlin")))
    assert text == 'general:\n  language: "no"\n  time_zone: Europe/Berlin\n'
    assert {field.name for field in dataclasses.fields(Pbx)} == {"general", *COLLECTIONS}


# Texts that are nearly YAML, rather than the plain noise that st.text() makes.
YAMLISH = st.lists(
    st.sampled_from(["general", "dids", "number", ": ", "- ", "\n", "  ", "{", "}", "[", "]", ",", "'", '"', "&a", "*a", "!", "1", "#", "|"])
    | st.text(string.printable, max_size=3),
    max_size=25,
).map("".join)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(YAMLISH | st.text(max_size=30))
def test_any_text_is_a_pbx_or_a_document_error(text):
    try:
        found = read_document(text)
    except DocumentError as error:
        found = error.problems
    assert isinstance(found, Pbx) or found
