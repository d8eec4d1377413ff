"""The PBX document (YAML) to entities and back; never lets YAML decide on a type, and never runs, includes or repeats anything.

Scalars are read as the strings that are written there and the model converts them, so `0301234567`, `17:30` and `no` arrive as
they are. An export is canonical: the same PBX is always the same bytes, and reading and writing it again changes none.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import MappingProxyType
from typing import Any, Final

import yaml
from pydantic import TypeAdapter, ValidationError

from tandem.domain.destinations import HangupDestination, ScheduleDestination
from tandem.domain.entities import COLLECTIONS, WRITTEN_AS, General, OpenHours, OutsideMember, Pbx, QueueMember
from tandem.domain.fields import WEEKDAYS
from tandem.domain.hangup_causes import HANGUP_CAUSE_BY_NAME
from tandem.domain.problems import SECRET_FIELDS, Location, Problem, describe_errors
from tandem.domain.references import check_pbx
from tandem.domain.secret_references import SecretReference

MAX_DOCUMENT_CHARACTERS: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 30
_LOADER: Final = getattr(
    yaml, "CBaseLoader", yaml.BaseLoader
)  # libyaml where PyYAML was built with it: ten times as fast
_PBX: Final = TypeAdapter(Pbx)
NO_REFERENCES: Final[Mapping[tuple[str, str, str], SecretReference]] = MappingProxyType({})
# Key at the top of a document: names of other documents.
INCLUDE: Final = "include"
NOT_HERE: Final = "names something outside of this text: that is for the command line, which reads files"


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """One thing that is wrong in a document. path: `dids[3].number`; line: from 1, None where no line is to blame.

    source: the file, where a document has several; None for the error's own.
    """

    path: str
    line: int | None
    message: str
    source: str | None = None


class DocumentError(ValueError):
    """A document that is refused, with everything that is wrong in it; `str()` has one problem per line."""

    def __init__(self, source: str, problems: tuple[DocumentProblem, ...]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(map(self._tell, problems)))

    def _tell(self, problem: DocumentProblem) -> str:
        source = problem.source or self.source
        place = source if problem.line is None else f"{source}:{problem.line}"
        return ": ".join(filter(None, (place, problem.path, problem.message)))


def read_document(text: str, source: str = "document") -> Pbx:
    """The PBX of a document, checked as a whole; DocumentError names every problem with path, line and rule.

    Nothing outside of the text is looked at: a document that names files or the environment is for `tandem.documents`.
    """
    parsed = parse_document(text, source)
    problems = [Problem(at, NOT_HERE) for at, _ in find_references(parsed.value)]
    if isinstance(parsed.value, dict) and INCLUDE in parsed.value:
        problems.append(Problem((INCLUDE,), NOT_HERE))
    if not problems:
        checked = check_document(parsed.value)
        if isinstance(checked, Pbx):
            return checked
        problems = list(checked)
    found = [DocumentProblem(it.path, line_of(parsed.lines, it.location), it.message) for it in problems]
    raise DocumentError(source, tuple(sorted(found, key=lambda problem: problem.line or 0)))


def check_document(value: Any) -> Pbx | tuple[Problem, ...]:
    """What was read as a PBX, checked as a whole; or everything that is wrong with it."""
    try:
        pbx = _PBX.validate_python(value)
    except ValidationError as error:
        return describe_errors(error)
    return check_pbx(pbx) or pbx


def find_references(value: Any, at: Location = ()) -> Iterator[tuple[Location, Mapping[str, Any]]]:
    """Every secret that is a mapping (`{env: NAME}`, `{file: name}`) instead of text, and where it stands."""
    if isinstance(value, dict):
        for key, part in value.items():
            if isinstance(part, dict) and key in SECRET_FIELDS:
                yield (*at, key), part
            elif isinstance(part, dict | list):
                yield from find_references(part, (*at, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            if isinstance(part, dict | list):
                yield from find_references(part, (*at, index))


# ------------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class Lines:
    """Where a value stands, beside the value: its line and those of its parts, by key or index."""

    line: int
    parts: Mapping[str | int, "Lines"]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document as it is written, of text, lists and mappings, and where each stands; nothing of it is checked."""

    source: str
    value: Any
    lines: Lines


_NO_PARTS: Final[Mapping[str | int, Lines]] = MappingProxyType({})


class _Refused(Exception):
    """Something that a document must not have."""

    def __init__(self, event: yaml.Event, location: Location, message: str) -> None:
        super().__init__(message)
        self.line = _line(event)
        self.problem = Problem(location, message)


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return event.start_mark.line + 1


def parse_document(text: str, source: str = "document") -> Parsed:
    """The YAML of one document; DocumentError where it is none, or has what no document may have."""
    if len(text) > MAX_DOCUMENT_CHARACTERS:
        message = f"is larger than {MAX_DOCUMENT_CHARACTERS // 1024 // 1024} million characters"
        raise DocumentError(source, (DocumentProblem("", None, message),))
    try:
        return Parsed(source, *_read_top(yaml.parse(text, Loader=_LOADER)))
    except _Refused as refused:
        found = DocumentProblem(refused.problem.path, refused.line, refused.problem.message)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        found = DocumentProblem("", line, f"is no YAML: {error.problem or error.context}")
    except (yaml.YAMLError, UnicodeError) as error:
        found = DocumentProblem("", None, f"is no YAML: {str(error).splitlines()[0]}")
    raise DocumentError(source, (found,))


def _read_top(events: Iterator[yaml.Event]) -> tuple[Any, Lines]:
    next(events)  # StreamStart
    start = next(events)
    if not isinstance(start, yaml.DocumentStartEvent):
        raise _Refused(start, (), "is empty; a PBX without anything is written {}")
    value, lines = _read_node(next(events), events, ())
    next(events)  # DocumentEnd
    more = next(events)
    if not isinstance(more, yaml.StreamEndEvent):
        raise _Refused(more, (), "must be one YAML document, not several")
    return value, lines


def _read_node(event: yaml.Event, events: Iterator[yaml.Event], at: Location) -> tuple[Any, Lines]:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        raise _Refused(event, at, "must not use anchors (&) or aliases (*); text that begins so is written in quotes")
    if getattr(event, "tag", None) not in {None, "!"}:
        raise _Refused(event, at, "must not use tags (!)")
    if len(at) > MAX_DEPTH:
        raise _Refused(event, at[:2], f"is nested more than {MAX_DEPTH} deep")
    if isinstance(event, yaml.MappingStartEvent):
        return _read_mapping(event, events, at)
    if isinstance(event, yaml.SequenceStartEvent):
        return _read_sequence(event, events, at)
    assert isinstance(event, yaml.ScalarEvent)
    return event.value, Lines(_line(event), _NO_PARTS)


def _read_sequence(start: yaml.Event, events: Iterator[yaml.Event], at: Location) -> tuple[list[Any], Lines]:
    items: list[Any] = []
    parts: dict[str | int, Lines] = {}
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        item, parts[len(items)] = _read_node(event, events, (*at, len(items)))
        items.append(item)
    return items, Lines(_line(start), parts)


def _read_mapping(start: yaml.Event, events: Iterator[yaml.Event], at: Location) -> tuple[dict[str, Any], Lines]:
    mapping: dict[str, Any] = {}
    parts: dict[str | int, Lines] = {}
    while not isinstance(key_event := next(events), yaml.MappingEndEvent):
        key, key_lines = _read_node(key_event, events, at)
        if not isinstance(key, str):
            raise _Refused(key_event, at, "must have plain text as keys")
        if key in parts:
            raise _Refused(key_event, (*at, key), "stands here twice")
        event = next(events)
        value, lines = _read_node(event, events, (*at, key))
        parts[key] = Lines(key_lines.line, lines.parts)
        # `menus:` with nothing behind it says as much as no `menus:`.
        if not (isinstance(event, yaml.ScalarEvent) and value == "" and not event.style):
            mapping[key] = value
    return mapping, Lines(_line(start), parts)


def line_of(lines: Lines, location: Location) -> int:
    """The line of the deepest part of the location that is there."""
    for step in location:
        if step not in lines.parts:
            break
        lines = lines.parts[step]
    return lines.line


# ------------------------------------------------------------------------------------------------------ writing

# What every YAML reader, of 1.1 and 1.2, takes for the same text without quotes; the rest is quoted.
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./@-]*( [A-Za-z][A-Za-z0-9_./@-]*)*")
_NOT_TEXT: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_CAUSE_NAMES: Final = {cause: name for name, cause in HANGUP_CAUSE_BY_NAME.items()}
_MAX_WIDTH: Final = 110


def write_document(pbx: Pbx, references: Mapping[tuple[str, str, str], SecretReference] = NO_REFERENCES) -> str:
    """The document of a PBX: objects in their order, keys in the order of the model, defaults left out.

    It holds the secrets of the fields that `references` (collection, key, field) does not name.
    """
    sections = [_write_section(name, value, references) for name, value in _set_fields(pbx)]
    return "\n".join(sections) if sections else "{}\n"


def _write_section(name: str, value: Any, references: Mapping[tuple[str, str, str], SecretReference]) -> str:
    if isinstance(value, General):
        return f"{name}:\n{''.join(_write_keys(_set_fields(value), '  '))}"
    if not references:
        return f"{name}:\n" + "".join(_write_item(entity, "  ") for entity in value)
    key = COLLECTIONS[name][1]
    items = (
        [(field, references.get((name, getattr(it, key), field), part)) for field, part in _set_fields(it)]
        for it in value
    )
    return f"{name}:\n" + "".join(_as_item(pairs, "  ") for pairs in items)


def _set_fields(entity: Any) -> list[tuple[str, Any]]:
    """The fields that differ from their defaults."""
    found: list[tuple[str, Any]] = []
    for field in fields(entity):
        value = getattr(entity, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        # A lone `hangup: normal` is the kind of a destination, so it is written though it is the default.
        if value != default or isinstance(entity, HangupDestination):
            found.append((WRITTEN_AS.get((type(entity), field.name), field.name), value))
    return found


def _write_item(value: Any, indent: str) -> str:
    """One item of a list, `- ` before its first line."""
    if is_dataclass(value) and not isinstance(value, OpenHours | QueueMember | OutsideMember):
        return _as_item(_set_fields(value), indent)
    return f"{indent}- {_flow(value)}\n"


def _as_item(pairs: list[tuple[str, Any]], indent: str) -> str:
    text = "".join(_write_keys(pairs, indent + "  "))
    return f"{indent}- {text.removeprefix(indent + '  ')}"


def _write_keys(pairs: list[tuple[str, Any]], indent: str) -> Iterator[str]:
    for key, value in pairs:
        if isinstance(value, ScheduleDestination):
            yield f"{indent}{_scalar(key)}:\n{''.join(_write_keys(_set_fields(value), indent + '  '))}"
        elif isinstance(value, dict) and value:
            yield f"{indent}{_scalar(key)}:\n{''.join(_write_keys(list(value.items()), indent + '  '))}"
        elif _is_list(value) and (is_dataclass(value[0]) or len(indent + key + _flow(value)) > _MAX_WIDTH):
            yield f"{indent}{_scalar(key)}:\n{''.join(_write_item(item, indent + '  ') for item in value)}"
        else:
            yield f"{indent}{_scalar(key)}: {_flow(value)}\n"


def _is_list(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value)


def _flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, HangupDestination):
        return f"{{hangup: {_CAUSE_NAMES.get(value.hangup, value.hangup)}}}"
    if isinstance(value, OpenHours):
        days = _scalar(", ".join(_day_ranges(value.days)))
        return f"{{days: {days}, start: {_scalar(value.start)}, end: {_scalar(value.end)}}}"
    if isinstance(value, SecretReference):
        return f"{{{value.kind}: {_scalar(value.name)}}}"
    if is_dataclass(value):
        return f"{{{', '.join(f'{key}: {_flow(part)}' for key, part in _set_fields(value))}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_flow, value))}]"
    return _scalar(value) if value != {} else "{}"


def _scalar(value: str | bool | float | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if value == int(value) else repr(value)
    assert isinstance(value, str)
    if _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False)


def _day_ranges(days: tuple[str, ...]) -> Iterator[str]:
    """`mon-fri` for a row of three or more, which the model spreads into the same days again."""
    at = 0
    while at < len(days):
        length = 1
        while at + length < len(days) and length < len(WEEKDAYS) and _follows(days[at + length - 1], days[at + length]):
            length += 1
        if length > 2:
            yield f"{days[at]}-{days[at + length - 1]}"
        else:
            yield from days[at : at + length]
        at += length


def _follows(day: str, following: str) -> bool:
    return WEEKDAYS[(WEEKDAYS.index(day) + 1) % len(WEEKDAYS)] == following
