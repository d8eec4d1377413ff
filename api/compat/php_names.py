"""PHP's names of parameters: `a[b][]=1` as a nested structure, and `http_build_query` back from it; pure, and reads no request.

Source: ../shared/specs/while1.md section 3, which was compared with PHP 8.2. What PHP would silently drop (too many, too deep) is
refused: a program that sends it is better told.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote_plus, unquote_to_bytes

MAX_NAMES: Final = 1000
MAX_DEPTH: Final = 30
# Significant digits of a float, PHP's `precision`.
_PRECISION: Final = 14
_INT64: Final = range(-(2**63), 2**63)


class NamesRefused(ValueError):
    """Parameters that nobody can mean: too many, nested too deep, or no text."""


def split_pairs(text: bytes) -> list[tuple[str, str]]:
    """The pairs of a query or of an urlencoded body, in their order; a bad escape is what it looks like. Raises NamesRefused."""
    parts = [part for part in text.split(b"&") if part]
    if len(parts) > MAX_NAMES:
        raise NamesRefused(f"there are more than {MAX_NAMES} parameters")
    pairs = []
    for part in parts:
        name, _, value = part.partition(b"=")
        try:
            pairs.append((_unquote(name), _unquote(value)))
        except UnicodeDecodeError:
            raise NamesRefused("the parameters are not UTF-8") from None
    return pairs


def _unquote(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode()


def nest_pairs(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Nested dicts, ordered, with texts as keys also where they are numbers; the last of a name counts, in the place of the first.

    A value that is no text (a file, say) stays as it is. Raises NamesRefused.
    """
    tree: dict[str, Any] = {}
    for count, (name, value) in enumerate(pairs):
        if count >= MAX_NAMES:
            raise NamesRefused(f"there are more than {MAX_NAMES} parameters")
        first, *keys = _split_name(name)
        if not first:
            continue
        if len(keys) >= MAX_DEPTH:
            raise NamesRefused(f"a parameter is nested more than {MAX_DEPTH} deep")
        branch, key = tree, first
        for inner in keys:
            below = branch.get(key)
            if not isinstance(below, dict):
                below = branch[key] = {}
            branch, key = below, inner if inner is not None else str(_next_index(below))
        branch[key] = value
    return tree


def _split_name(name: str) -> tuple[str, *tuple[str | None, ...]]:
    """(`a`, `b`, None) of `a[b][]`; an empty first part for what names nothing."""
    name = name.partition("\0")[0].lstrip(" ")
    opened = name.find("[")
    if opened <= 0:
        return ("" if opened == 0 else _clean(name),)
    if name.find("]", opened) < 0:
        return (_clean(name.replace("[", "_", 1)),)
    keys: list[str | None] = []
    at = opened
    while at < len(name) and name[at] == "[":
        closed = name.find("]", at)
        if closed < 0:
            break
        key = name[at + 1 : closed]
        keys.append(None if key in ("", " ") else key)
        at = closed + 1
    return _clean(name[:opened]), *keys


def _clean(name: str) -> str:
    return name.replace(".", "_").replace(" ", "_")


def _next_index(branch: Mapping[str, Any]) -> int:
    return max((int(key) for key in branch if _is_index(key)), default=-1) + 1


def _is_index(key: str) -> bool:
    """Whether PHP takes a key for a number: written as it would write it."""
    return key.isascii() and key.isdecimal() and len(key) < 19 and (key == "0" or key[0] != "0")


def as_list(value: Any) -> list[Any]:
    """The values of what PHP calls an array, whatever its keys; a single value is a list of one."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def build_query(params: Mapping[str, Any]) -> str:
    """What PHP's http_build_query writes of parsed parameters (texts, numbers, bools, None, dicts, lists), in their order."""
    return "&".join(
        f"{path}={_quote(text)}" for name, value in params.items() for path, text in _flatten(_quote(name), value)
    )


def _flatten(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flatten(f"{path}%5B{_quote(key)}%5D", part)
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _flatten(f"{path}%5B{place}%5D", part)
    elif value is not None:
        yield path, _write_scalar(value)


def _write_scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) or (isinstance(value, int) and value not in _INT64):
        return _write_float(float(value))
    return str(value)


def _write_float(value: float) -> str:
    """PHP's own %G: `1`, `0.3`, `1.0E+14`, `1.0E-7`."""
    if not math.isfinite(value):
        return "NAN" if math.isnan(value) else ("INF" if value > 0 else "-INF")
    mantissa, _, exponent = f"{value:.{_PRECISION - 1}e}".partition("e")
    if value == 0 or (-5 < int(exponent) < _PRECISION + 1 and abs(value) < 10**_PRECISION):
        return f"{value:.{_PRECISION}g}"
    mantissa = mantissa.rstrip("0")
    return f"{mantissa + '0' if mantissa.endswith('.') else mantissa}E{int(exponent):+d}"


def _quote(text: str) -> str:
    return quote_plus(text).replace("~", "%7E")
