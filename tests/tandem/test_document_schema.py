"""The JSON Schema of documents: every example fits it, what is wrong does not, and it takes what the reader takes."""

import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from tandem.document import DocumentError, read_document, write_document
from tandem.domain.document_schema import describe_documents
from tandem.domain.entities import COLLECTIONS
from tests.strategies import pbxes

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("**/*.yaml"))
SCHEMA = describe_documents()
CHECK = jsonschema.Draft202012Validator(SCHEMA)


class Editor(yaml.SafeLoader):
    """YAML 1.2 as editors read it: `1001` is a number, `09:30`, `2026-12-24` and `no` are texts."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - yaml's own way


for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    Editor.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), [*first, ""] if tag == "null" else list(first))  # fmt: skip


def with_text_keys(value):
    """What is a mapping's key is text to a schema."""
    if isinstance(value, dict):
        return {str(key): with_text_keys(part) for key, part in value.items()}
    return [*map(with_text_keys, value)] if isinstance(value, list) else value


def complaints(text, loader=Editor):
    return [error.json_path for error in CHECK.iter_errors(with_text_keys(yaml.load(text, loader)))]


def test_it_is_a_schema_and_has_every_section():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert {"general", "include", *COLLECTIONS} == SCHEMA["properties"].keys()
    assert "\\A" not in str(SCHEMA)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
@pytest.mark.parametrize("loader", [Editor, yaml.BaseLoader])
def test_every_example_fits(path, loader):
    assert complaints(path.read_text(encoding="utf-8"), loader) == []


@pytest.mark.parametrize(
    "text",
    [
        "include: [a.yaml, b]",
        "menus:\nqueues: []",
        "endpoints: [{extension: 1001, secret: {env: X}}]",
        "endpoints: [{extension: 1001, secret: {file: x}, ring_time_s: '20'}]",
        "dids: [{number: +493012345, destination: {hangup: 17}, active: yes}]",
        "schedules: [{name: office, hours: [{days: [mon, tue], start: 9:00, end: 24:00}], holidays: [2026-12-24]}]".replace(" 9:", " 09:"),
    ],
)  # fmt: skip
def test_what_the_reader_takes_fits(text):
    assert complaints(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "endpoint: []",
        "endpoints: {}",
        "endpoints: [{extension: 1001}]",
        "endpoints: [{extension: 1001, secret: short}]",
        "endpoints: [{extension: 1001, secret: {vault: x}}]",
        "endpoints: [{extension: 1001, secret: long-enough, ring_time: 20}]",
        "endpoints: [{extension: 1001, secret: long-enough, ring_time_s: 2}]",
        "endpoints: [{extension: x1, secret: long-enough}]",
        "trunks: [{name: carrier, hosts: []}]",
        "trunks: [{name: carrier, hosts: [a.example], authentication: maybe}]",
        "dids: [{number: +49301, destination: {}}]",
        "dids: [{number: +49301, destination: {queue: a, endpoint: 1001}}]",
        "dids: [{number: +49301, destination: {hangup: never}}]",
        "dids: [{number: +49301, destination: {queue: sales}, active: perhaps}]",
        "menus: [{name: a, prompts: [b], options: {x: {queue: q}}, invalid: {queue: q}, timeout: {queue: q}, fallback: {queue: q}}]",
        "schedules: [{name: office, hours: [{days: mon-fri, start: 25:00, end: 26:00}]}]",
        "include: 7",
        "[]",
    ],
)  # fmt: skip
def test_what_the_reader_refuses_does_not_fit(text):
    assert complaints(text) != []
    with pytest.raises(DocumentError):
        read_document(text)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(pbxes())
def test_whatever_is_exported_fits(pbx):
    assert complaints(write_document(pbx)) == []
