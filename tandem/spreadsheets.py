"""Reads the cells of an .xlsx file that a stranger has sent, within bounds; never a formula, a link, a macro or what lies outside the file."""

import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

# What all parts of a file may have when they are unpacked: their sizes are those that the file declares, and no more is ever read of one.
MAX_UNPACKED: Final = 32 * 1024 * 1024
_MAX_PARTS: Final = 1000
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MAX_ROWS: Final = 100_000
# Of each row; what stands further right is not looked at.
MAX_COLUMNS: Final = 50


class SheetRefused(ValueError):
    """The file cannot be read: its message says why, without words of the file."""


def read_rows(content: bytes) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """(number of the row from 1, its values) of the first sheet. SheetRefused, also on the way.

    The values are texts, numbers, bools, times, or None for an empty cell. Takes seconds for the largest files: in a thread.
    """
    _check_archive(content)
    # It takes 0.2 s and 20 MB, of which a PBX that reads no spreadsheet needs nothing.
    from openpyxl import DEFUSEDXML, load_workbook  # noqa: PLC0415 - why is said above

    assert DEFUSEDXML, "without defusedxml the entities of a file would be expanded"
    try:
        book = load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
        sheet: Any = book.worksheets[0]
        # What some programs write as the size of a sheet is not: rows below it would be passed over.
        sheet.reset_dimensions()
        # Of a row far below, all of the empty ones above it are told, too: they count.
        for number, row in enumerate(sheet.iter_rows(max_col=MAX_COLUMNS, values_only=True), 1):
            if number > MAX_ROWS:
                raise SheetRefused(f"must have at most {MAX_ROWS} rows")
            yield number, tuple(row)
    except SheetRefused:
        raise
    except Exception as error:
        # A damaged or hostile file is anything to the library: a missing key, wrong XML, a number that is none …
        raise SheetRefused("is no .xlsx file that can be read") from error


def _check_archive(content: bytes) -> None:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            parts = archive.infolist()
    except Exception as error:
        raise SheetRefused("is no .xlsx file") from error
    if len(parts) > _MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED:
        raise SheetRefused(f"must be at most {MAX_UNPACKED // 1024**2} MiB when it is unpacked")
    if any(part.compress_type not in _METHODS or part.flag_bits & 1 for part in parts):
        raise SheetRefused("must be neither encrypted nor packed otherwise than an .xlsx file is")
