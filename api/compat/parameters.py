"""The parameters of a request whose API was written in PHP: from query and body, urlencoded, multipart or JSON; refuses what nobody can mean.

What a value holds (quotes, line ends, the character NUL) is data here; whoever uses it says what may be in it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from api.compat.php_names import MAX_DEPTH, MAX_NAMES, NamesRefused, nest_pairs, split_pairs
from api.declare import Body, Sent
from api.errors import BodyUnreadable
from api.uploads import MULTIPART, FormFile, read_form

_OPENING: Final = (b"{", b"[")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Parameters(Mapping[str, Any]):
    """All of them by their top-level name, in their order: texts, or nested dicts of texts; of JSON also lists, numbers, bools and None.

    query, body: the same apart; files: those of a multipart body; transport: what the body was.
    """

    values_by_name: Mapping[str, Any]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FormFile] = field(default_factory=dict)
    transport: Literal["none", "form", "multipart", "json"] = "none"

    def __getitem__(self, name: str) -> Any:
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


def read_parameters(sent: Sent, *, query_wins: Collection[str] = (), believes_type: bool = True) -> Parameters:
    """The parameters of one request; of a name in both the body's counts, but for those in query_wins. Raises BodyUnreadable.

    believes_type: what is said to be JSON must be; else only what looks like JSON is.
    """
    try:
        query = nest_pairs(split_pairs(sent.query))
        body, files, transport = _read_body(sent, believes_type=believes_type)
    except NamesRefused as error:
        raise BodyUnreadable(str(error)) from None
    merged = {**query, **body, **{name: query[name] for name in query_wins if name in query}}
    return Parameters(merged, query, body, files, transport)


def _read_body(
    sent: Sent, *, believes_type: bool
) -> tuple[dict[str, Any], dict[str, FormFile], Literal["none", "form", "multipart", "json"]]:
    kind = sent.content_type.partition(";")[0].strip().lower()
    if not sent.content:
        return {}, {}, "none"
    if kind == MULTIPART:
        pairs, files = read_form(sent.content_type, sent.content, max_parts=MAX_NAMES)
        return nest_pairs(pairs), dict(files), "multipart"
    if (believes_type and kind == "application/json") or sent.content.removeprefix(_BOM).lstrip().startswith(_OPENING):
        value = read_json(sent)
        if isinstance(value, list):
            value = {str(place): part for place, part in enumerate(value)}
        if not isinstance(value, dict):
            raise BodyUnreadable("the body must be a JSON object")
        return value, {}, "json"
    return nest_pairs(split_pairs(sent.content.rstrip(b"\r\n"))), {}, "form"


def read_json(sent: Sent) -> Any:
    """The body as JSON, whatever its type is said to be; None for no body. Raises BodyUnreadable."""
    raw = sent.content.removeprefix(_BOM).strip()
    if not raw:
        return None
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BodyUnreadable(f"the body is no JSON: {error}") from None
    if measure_depth(value) > MAX_DEPTH:
        raise BodyUnreadable(f"the body is nested more than {MAX_DEPTH} deep")
    return value


def measure_depth(value: Any) -> int:
    """How deep dicts and lists are nested; 0 for a plain value. Without recursion: it may be a thousand."""
    depth, level = 0, [value]
    while level := [
        part
        for one in level
        if isinstance(one, dict | list)
        for part in (one.values() if isinstance(one, dict) else one) or (None,)
    ]:
        depth += 1
    return depth


def parameters_body(*, query_wins: Collection[str] = (), believes_type: bool = True) -> Body:
    """The body of a route that takes `Parameters`, in whatever form they come."""
    return Body(
        kind=dict[str, Any], name="Parameters", optional=True, is_sent=True,
        read=lambda sent: read_parameters(sent, query_wins=query_wins, believes_type=believes_type),
    )  # fmt: skip


def json_body() -> Body:
    """The body of a route that takes JSON of any shape, under any Content-Type; the query is left to `exchange.body.query`."""
    return Body(kind=dict[str, Any], name="AnyJson", optional=True, is_sent=True, read=_read_any)


@dataclass(frozen=True, slots=True)
class AnyJson:
    """value: the parsed body, None for none; query: its parameters."""

    value: Any
    query: Mapping[str, Any]


def _read_any(sent: Sent) -> AnyJson:
    try:
        return AnyJson(read_json(sent), nest_pairs(split_pairs(sent.query)))
    except NamesRefused as error:
        raise BodyUnreadable(str(error)) from None
