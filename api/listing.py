"""Lists as every resource gives them: which query one takes, made of the fields of what it lists, and the page that answers it; reads nothing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from pydantic import Field, create_model

from api.declare import Frozen, Page
from tandem.domain.problems import SECRET_FIELDS

# A filter is a field with one plain value; a time can be sorted by as well.
_PLAIN: Final = (str, int, float, bool)
_SEARCHED: Final = ("name", "description")


class ListQuery(Frozen):
    """What every list takes; `list_query` adds `sort` and the filters of a kind."""

    limit: Annotated[int, Field(ge=1, le=1000, description="How many at most.")] = 100
    offset: Annotated[int, Field(ge=0, le=10**9, description="How many to pass over.")] = 0
    q: Annotated[
        str, Field(max_length=100, description="Only those with this text in name, number or description.")
    ] = ""


def list_query(kind: type[Any], key: str, *, sort: str = "", more: Mapping[str, Any] | None = None) -> type[Any]:
    """The query of a list of `kind`, a dataclass whose field `key` names each: paging, order, and its plain fields as filters.

    sort: the order without another wish, `key` where it is empty. more: properties that are told like fields, name -> type.
    """
    found = _types_of(kind) | dict(more or {})
    filters: dict[str, Any] = {
        name: (Annotated[plain | None, Field(description=f"Only those whose {name} is this.", **_limit(plain))], None)
        for name, plain in found.items()
        if plain in _PLAIN
    }
    orders: Any = Literal[tuple(f"{sign}{name}" for name in found for sign in ("", "-"))]
    order = Annotated[orders, Field(description="The field to sort by; with - backwards.")]
    filters["sort"] = (order, sort or key)
    return create_model(f"{kind.__name__}Query", __base__=ListQuery, **filters)


def make_page(
    found: Iterable[Any], query: Any, key: str, show: Callable[[Any], Any] = lambda listed: listed
) -> Page[Any]:
    """The part of `found` that a query of `list_query` asks for; `show` only sees what is in it."""
    listed = list(found)
    if query.q:
        text = query.q.casefold()
        listed = [
            one
            for one in listed
            if any(text in str(getattr(one, name, "") or "").casefold() for name in (key, *_SEARCHED))
        ]
    for name, value in query.model_dump().items():
        if value is not None and name not in _NO_FILTERS:
            listed = [one for one in listed if getattr(one, name) == value]
    field, backwards = query.sort.removeprefix("-"), query.sort.startswith("-")
    # None sorts before everything; equal ones by key.
    listed.sort(key=lambda one: getattr(one, key))
    listed.sort(
        key=lambda one: (False, 0) if (value := getattr(one, field)) is None else (True, value), reverse=backwards
    )
    part = listed[query.offset : query.offset + query.limit]
    return Page(tuple(show(one) for one in part), len(listed), query.offset, query.limit)


_NO_FILTERS: Final = frozenset({*ListQuery.model_fields, "sort"})


def _types_of(kind: type[Any]) -> dict[str, Any]:
    """Fields that hold one plain value or a time, and are no secret: name -> type."""
    hints = get_type_hints(kind, include_extras=True)
    types = {field.name: _plain_type(hints[field.name]) for field in fields(kind) if field.name not in SECRET_FIELDS}
    return {name: plain for name, plain in types.items() if plain is not None}


def _plain_type(annotation: Any) -> Any:
    """str, int, float, bool or datetime behind Annotated, Literal and `| None`; None for anything else."""
    if get_origin(annotation) is Annotated:
        return _plain_type(get_args(annotation)[0])
    if annotation in _PLAIN or annotation is datetime:
        return annotation
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return str
    if len(arguments) == 1 and get_origin(annotation) not in (tuple, dict, list):
        return _plain_type(arguments[0])
    return None


def _limit(kind: type) -> dict[str, Any]:
    return {"max_length": 100} if kind is str else {}
