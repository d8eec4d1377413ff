"""The JSON Schema of PBX documents, made of the entities, for editors and checkers; never a second definition of anything.

Editors read YAML by its version 1.2: `1001` is a number there, `no` a text. Documents are read as text and converted by the field, so
the schema takes either. What needs two objects (does the queue exist?) is beyond it: that is what `tandem validate` is for.
"""

from typing import Any, Final

from pydantic import TypeAdapter

from tandem.domain.destinations import DESTINATION_CLASSES
from tandem.domain.entities import Pbx
from tandem.domain.fields import RULE_BY_PATTERN
from tandem.domain.hangup_causes import HANGUP_CAUSE_BY_NAME
from tandem.domain.problems import SECRET_FIELDS

_TEXT: Final = ["string", "number"]
_YES_OR_NO: Final = ("yes", "no", "on", "off", "true", "false", "y", "n", "t", "f", "1", "0")
_DAYS: Final = {"type": "string", "description": "mon-fri, sat, or mon, wed"}
_INCLUDE: Final = {
    "description": "Other documents beside this one: names, patterns (phones/*.yaml) or folders.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}
_REFERENCES: Final = tuple(
    {
        "type": "object",
        "description": description,
        "properties": {kind: {"type": "string", "minLength": 1}},
        "required": [kind],
        "additionalProperties": False,
    }
    for kind, description in (
        ("env", "The value of a variable of the environment."),
        ("file", "What stands in a file, beside this document."),
    )
)


def describe_documents() -> dict[str, Any]:
    """JSON Schema 2020-12 of one document, which may be a part of a PBX."""
    schema: dict[str, Any] = _loosen(TypeAdapter(Pbx).json_schema())
    for kind, cls in DESTINATION_CLASSES.items():
        schema["$defs"][cls.__name__]["required"] = list(
            dict.fromkeys((kind, *schema["$defs"][cls.__name__].get("required", ())))
        )
    causes = {"enum": [*HANGUP_CAUSE_BY_NAME, *sorted(set(HANGUP_CAUSE_BY_NAME.values()))]}
    numbers = {"enum": [str(cause) for cause in sorted(set(HANGUP_CAUSE_BY_NAME.values()))]}
    schema["$defs"]["HangupDestination"]["properties"]["hangup"] = {"anyOf": [causes, numbers]}
    days = schema["$defs"]["OpenHours"]["properties"]["days"]
    days.pop("minLength", None)
    schema["$defs"]["OpenHours"]["properties"]["days"] = {"anyOf": [_DAYS, days]}
    sections = {name: {"anyOf": [section, {"type": "null"}]} for name, section in schema.pop("properties").items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A PBX, or a part of one, for Tandem",
        **{key: value for key, value in schema.items() if key not in {"title", "description"}},
        "properties": {"include": _INCLUDE, **sections},
    }


def _loosen(node: Any) -> Any:
    """A part of pydantic's schema, as a document may write it."""
    if isinstance(node, list):
        return [_loosen(item) for item in node]
    if not isinstance(node, dict):
        return node
    loose = {key: _loosen(value) for key, value in node.items() if key != "properties"}
    if isinstance(node.get("properties"), dict):
        loose["properties"] = {name: _loosen_field(name, value) for name, value in node["properties"].items()}
    if "patternProperties" in loose:
        loose["patternProperties"] = {_portable(key): value for key, value in loose["patternProperties"].items()}
        loose.setdefault("additionalProperties", False)
    return _loosen_scalar(loose)


def _loosen_field(name: str, node: Any) -> Any:
    loose = _loosen(node)
    loose.pop("title", None)
    return {"anyOf": [loose, *_REFERENCES]} if name in SECRET_FIELDS else loose


def _loosen_scalar(node: dict[str, Any]) -> dict[str, Any]:
    match node.get("type"):
        case "string" if "enum" not in node and "const" not in node:
            if (pattern := node.get("pattern")) is not None:
                rule = RULE_BY_PATTERN.get(pattern, "")
                node = {**node, "pattern": _portable(pattern), **({"description": rule} if rule else {})}
            return {**node, "type": _TEXT}
        case "integer":
            return {"anyOf": [node, {"type": "string", "pattern": "^-?[0-9]+$"}]}
        case "number":
            return {"anyOf": [node, {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}]}
        case "boolean":
            return {"anyOf": [node, {"enum": [*_YES_OR_NO]}]}
    return node


def _portable(pattern: str) -> str:
    r"""`\A…\z` is pydantic's; everybody knows `^…$`."""
    return "^" + pattern.removeprefix(r"\A").removesuffix(r"\z") + "$"
