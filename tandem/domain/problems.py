"""What is wrong with an object, where, and by which rule in words; never repeats a secret.

`describe_errors` turns pydantic's findings into the same problems that `tandem.domain.references` reports.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from tandem.domain.destinations import DESTINATION_CLASSES, DESTINATION_TAG
from tandem.domain.entities import (
    COLLECTIONS,
    CallerRoute,
    General,
    OpenHours,
    OutsideMember,
    Pbx,
    QueueCallback,
    QueueMember,
)
from tandem.domain.fields import RULE_BY_PATTERN
from tandem.domain.outbound_entities import TollGuard

Location = tuple[str | int, ...]

# Fields of objects that are written and never shown.
SECRET_FIELDS: Final = frozenset({"secret", "pin", "moderator_pin"})
# Fields whose value is not repeated in a message, nor hashed without care.
HIDDEN_FIELDS: Final = SECRET_FIELDS | {"password", "old_password", "new_password"}
_MAX_SHOWN: Final = 40
_KEY_MARK: Final = "[key]"
_NESTED: Final[Mapping[str, type]] = {
    "general": General,
    "hours": OpenHours,
    "members": QueueMember,
    "outside_members": OutsideMember,
    "callback": QueueCallback,
    "caller_routes": CallerRoute,
    "toll_guard": TollGuard,
    **{collection: kind for collection, (kind, _) in COLLECTIONS.items()},
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. location: keys and list indices from the document's top, as in ("dids", 3, "destination", "queue")."""

    location: Location
    message: str

    @property
    def path(self) -> str:
        """`dids[3].destination.queue`."""
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.location).lstrip(".")

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.location else self.message


def describe_errors(error: ValidationError, root: type = Pbx, at: Location = ()) -> tuple[Problem, ...]:
    """Every finding of a validation of `root`, a dataclass or a model, as a problem; `at` is where the validated object stands."""
    all_found = error.errors(include_url=False)
    # A list whose only item is wrong is not too short besides.
    with_wrong_items = {found["loc"][:-1] for found in all_found}
    return tuple(
        _describe(found["type"], found["loc"], found["msg"], found.get("ctx", {}), found["input"], root, at)
        for found in all_found
        if found["type"] != "too_short" or found["loc"] not in with_wrong_items
    )


def _describe(
    kind: str, loc: Location, message: str, context: Mapping[str, Any], value: object, root: type, at: Location
) -> Problem:
    location = at + tuple(step for step in loc if step != _KEY_MARK and not _is_tag(step))
    match kind:
        case "unexpected_keyword_argument" | "extra_forbidden":
            known = _names_in(_class_at(loc[:-1], root))
            return Problem(location, f"is not a known key{suggest(str(loc[-1]), known)}")
        case "missing":
            return Problem(location, "is missing")
        case "destination":
            return Problem(location, message + _suggest_kind(value))
    rule = _rule_in_words(kind, message, context)
    return Problem(location, rule if _hides(loc, value) else f"{_show(value)} {rule}")


def _rule_in_words(kind: str, message: str, context: Mapping[str, Any]) -> str:
    match kind:
        case "string_pattern_mismatch":
            return RULE_BY_PATTERN.get(context["pattern"], message)
        case "string_too_short":
            return f"must have at least {context['min_length']} characters"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "too_short":
            return f"must have at least {_items(context['min_length'])}"
        case "too_long":
            return f"must have at most {_items(context['max_length'])}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "literal_error" | "enum":
            return f"must be one of {context['expected'].replace(chr(39), '').replace(' or ', ', ')}"
        case _:
            return _RULE_BY_KIND.get(kind) or message.removeprefix("Value error, ")


_RULE_OF_TIMES: Final = "must be a time with its zone, such as 2026-11-20T21:30:00+01:00"
_RULE_BY_KIND: Final = {
    "string_type": "must be text",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number of a usual size",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "bool_parsing": "must be yes or no",
    "bool_type": "must be yes or no",
    "tuple_type": "must be a list",
    "dict_type": "must be keys with values",
    "dataclass_type": "must be keys with values",
    "model_type": "must be keys with values",
    "datetime_type": _RULE_OF_TIMES,
    "datetime_parsing": _RULE_OF_TIMES,
    "datetime_from_date_parsing": _RULE_OF_TIMES,
    "timezone_aware": _RULE_OF_TIMES,
}


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean queue?`, or nothing where nothing is near."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _suggest_kind(value: object) -> str:
    if not isinstance(value, dict) or any(kind in value for kind in DESTINATION_CLASSES):
        return ""
    return next((found for key in value if (found := suggest(str(key), DESTINATION_CLASSES))), "")


def _is_tag(step: str | int) -> bool:
    return isinstance(step, str) and step.startswith(DESTINATION_TAG)


def _names_in(kind: type[Any]) -> list[str]:
    return list(kind.model_fields) if issubclass(kind, BaseModel) else [field.name for field in fields(kind)]


def _class_at(loc: Location, root: type) -> type:
    """The class whose keys stand at a location."""
    found = root
    for step in loc:
        if isinstance(step, str) and _is_tag(step):
            found = DESTINATION_CLASSES[step.removeprefix(DESTINATION_TAG)]
        elif step in _NESTED:
            found = _NESTED[str(step)]
    return found


def _hides(loc: Location, value: object) -> bool:
    """Secrets are not shown, nor are lists and objects, which may hold some."""
    return not isinstance(value, str | int | float) or not HIDDEN_FIELDS.isdisjoint(loc)


def _show(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…")


def _items(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"
