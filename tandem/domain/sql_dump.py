"""The rows of a MySQL or MariaDB dump, without a server; pure: it reads CREATE TABLE and INSERT, runs nothing and never raises.

mysqldump's own form: a statement ends at a `;` outside of quotes, a quote within a string is doubled or has a backslash before it.
"""

import re
from collections.abc import Iterator
from typing import Final

Row = dict[str, str]

_TOKEN: Final = re.compile(
    r"""(?P<string>'(?:[^'\\]|\\.|'')*')|(?P<name>`[^`]*`)|(?P<comment>/\*.*?\*/|--[ \t][^\n]*|\#[^\n]*)|(?P<end>;)|(?P<sign>[(),=])|(?P<word>[^\s'`(),;=]+)""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "Z": "\x1a", "b": "\b"}
# Text, and whether it was in quotes: 'NULL' is a text, NULL is none.
_Token = tuple[str, str]


def read_dump(text: str) -> dict[str, list[Row]]:
    """Table -> its rows, each column as text; NULL is an empty one."""
    columns: dict[str, list[str]] = {}
    rows: dict[str, list[Row]] = {}
    for statement in _list_statements(text):
        words = [value.upper() for kind, value in statement[:3] if kind == "word"]
        if words[:2] == ["CREATE", "TABLE"]:
            name, listed = _read_create(statement)
            columns[name] = listed
            rows.setdefault(name, [])
        elif words[:1] in (["INSERT"], ["REPLACE"]):
            name, given, values = _read_insert(statement)
            names = given or columns.get(name, [])
            rows.setdefault(name, []).extend(dict(zip(names, row, strict=False)) for row in values)
    return rows


def _list_statements(text: str) -> Iterator[list[_Token]]:
    statement: list[_Token] = []
    for found in _TOKEN.finditer(text):
        kind, value = found.lastgroup or "", found[0]
        if kind == "comment":
            continue
        if kind == "end":
            if statement:
                yield statement
            statement = []
        elif kind == "name":
            statement.append(("name", value[1:-1]))
        elif kind == "string":
            statement.append(("string", _unquote(value)))
        else:
            statement.append((kind, value))
    if statement:
        yield statement


def _unquote(text: str) -> str:
    inner = text[1:-1].replace("''", "'")
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), inner, flags=re.DOTALL)


def _name_in(statement: list[_Token]) -> tuple[str, int]:
    """The table's name, and where what follows it begins."""
    skipped = {
        "CREATE",
        "TABLE",
        "IF",
        "NOT",
        "EXISTS",
        "INSERT",
        "REPLACE",
        "INTO",
        "IGNORE",
        "LOW_PRIORITY",
        "DELAYED",
    }
    for index, (kind, value) in enumerate(statement):
        if value.endswith("."):
            continue  # the database's
        if kind == "name" or (kind == "word" and value.upper() not in skipped):
            return value.rpartition(".")[2], index + 1
    return "", len(statement)


def _read_create(statement: list[_Token]) -> tuple[str, list[str]]:
    """The columns are the names at the beginning of an item of the list; keys and constraints begin with a word."""
    name, start = _name_in(statement)
    columns: list[str] = []
    depth, is_first = 0, False
    for kind, value in statement[start:]:
        if kind == "sign" and value in "()":
            depth += 1 if value == "(" else -1
            is_first = depth == 1 and value == "("
        elif kind == "sign" and value == ",":
            is_first = depth == 1
        elif is_first:
            if kind == "name":
                columns.append(value)
            is_first = False
    return name, columns


def _read_insert(statement: list[_Token]) -> tuple[str, list[str], list[list[str]]]:
    name, start = _name_in(statement)
    given: list[str] = []
    rows: list[list[str]] = []
    current: list[str] | None = None
    is_values = False
    for kind, value in statement[start:]:
        if kind == "word" and value.upper() in {"VALUES", "VALUE"} and current is None:
            is_values = True
        elif kind == "sign" and value == "(" and current is None:
            current = []
        elif kind == "sign" and value == ")" and current is not None:
            if is_values:
                rows.append(current)
            else:
                given = current
            current = None
        elif current is not None and kind != "sign":
            current.append("" if kind == "word" and value.upper() == "NULL" else value)
    return name, given, rows
