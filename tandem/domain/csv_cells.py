"""Cells of CSV files that people open in a spreadsheet: never one that a spreadsheet would carry out.

OWASP, "CSV Injection": a cell that begins with = + - @, a tab or a line break is a formula or becomes one; with a ' before it, it is text.
What we write so is read back as it was.
"""

import csv
import io
from collections.abc import Iterable
from typing import Any, Final

_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_cell(value: Any) -> str:
    """A value as text; None is an empty cell."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_DANGEROUS) else text


def read_cell(text: str) -> str:
    """A cell as it was before `write_cell`."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_DANGEROUS) else text


def write_rows(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as RFC 4180 has them."""
    target = io.StringIO()
    csv.writer(target, lineterminator="\r\n").writerows([write_cell(value) for value in row] for row in rows)
    return target.getvalue()
