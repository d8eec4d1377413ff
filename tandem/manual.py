"""Fields of objects as tables for the manual, made of their definitions when the manual is built; never a second definition of anything.

mkdocs calls `on_page_markdown` for each page (docs/*.md, mkdocs.yml): `<!-- fields: queues -->` becomes the table of a queue's fields.
"""

import inspect
import re
from dataclasses import MISSING, fields
from typing import Any, Final

from pydantic import TypeAdapter

from tandem.domain.destinations import DESTINATION_CLASSES
from tandem.domain.entities import COLLECTIONS, General
from tandem.domain.fields import RULE_BY_PATTERN

_MARKER: Final = re.compile(r"^<!-- (?P<what>fields|destinations)(?:: (?P<name>[a-z_]+))? -->$", re.MULTILINE)
_NAMES: Final = {cls.__name__: kind for kind, cls in DESTINATION_CLASSES.items()}
_FIELD_LINE: Final = re.compile(r"^    (?P<name>[a-z_]+): ")


def on_page_markdown(markdown: str, **_: object) -> str:
    """A page's text with its markers replaced. KeyError for a collection that there is not: the build fails."""

    def replace(found: re.Match[str]) -> str:
        if found["what"] == "destinations":
            return tabulate_destinations()
        return tabulate_fields(General if found["name"] == "general" else COLLECTIONS[found["name"]][0])

    return _MARKER.sub(replace, markdown)


def tabulate_fields(cls: type) -> str:
    """A row for each field: its name, what it may hold, its default, and what the definition says of it."""
    schema = TypeAdapter(cls).json_schema()
    notes = _read_notes(cls)
    rows = ["| field | holds | default | |", "|---|---|---|---|"]
    # In a document a field may have another name, such as `from`: the schema has that one, in the same order.
    for field, (name, part) in zip(fields(cls), schema["properties"].items(), strict=True):
        holds, default, note = say_type(part, schema), _say_default(field), notes.get(field.name, "")
        rows.append(f"| `{name}` | {_cell(holds)} | {_cell(default)} | {_cell(note)} |")
    return "\n".join(rows)


def tabulate_destinations() -> str:
    """A row for each kind of destination."""
    rows = ["| key | the call |", "|---|---|"]
    for kind, cls in DESTINATION_CLASSES.items():
        rows.append(f"| `{kind}` | {_cell(' '.join((cls.__doc__ or '').split()))} |")
    return "\n".join(rows)


def say_type(part: dict[str, Any], whole: dict[str, Any]) -> str:
    """What a value of that JSON Schema may be, in words."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return "a destination" if name in _NAMES else say_type(whole["$defs"][name], whole)
    if (options := part.get("anyOf") or part.get("oneOf")) is not None:
        said = dict.fromkeys(say_type(option, whole) for option in options if option.get("type") != "null")
        return "; or ".join(said)
    if "enum" in part:
        return "one of " + ", ".join(f"`{value}`" for value in part["enum"])
    match part.get("type"):
        case "array":
            return f"a list: {say_type(part['items'], whole)}"
        case "object":
            if (inner := part.get("properties")) is not None:
                return "`{" + ", ".join(f"{name}: …" for name in inner) + "}`"
            return "keys and what they do"
        case "integer" | "number" as kind:
            return _say_range("a whole number" if kind == "integer" else "a number", part)
        case "boolean":
            return "yes or no"
        case "string":
            rule = RULE_BY_PATTERN.get(part.get("pattern", ""), "")
            return rule.removeprefix("must be ").removeprefix("must have ") or "text"
        case _:
            return ""


def _say_range(word: str, part: dict[str, Any]) -> str:
    low, high = part.get("minimum"), part.get("maximum")
    if low is not None and high is not None:
        return f"{word} from {low} to {high}"
    return word


def _say_default(field: Any) -> str:
    value = field.default if field.default is not MISSING else field.default_factory
    if value is MISSING:
        return "*must be given*"
    if callable(value):
        value = value()
    if value is None or value in ((), ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    kind = _NAMES.get(type(value).__name__)
    return f"`{{{kind}: {getattr(value, kind)}}}`" if kind else f"`{value}`"


def _read_notes(cls: type) -> dict[str, str]:
    """Field -> the comment above it in the definition."""
    notes: dict[str, str] = {}
    comment: list[str] = []
    for line in inspect.getsource(cls).splitlines():
        if line.startswith("    # "):
            comment.append(line.removeprefix("    # "))
        elif (found := _FIELD_LINE.match(line)) is not None:
            if comment:
                notes[found["name"]] = " ".join(comment)
            comment = []
        else:
            comment = []
    return notes


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
