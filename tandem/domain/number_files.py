"""CSV files of numbers, as people's spreadsheets write them: row by row -> NewNumber, or the line and what is wrong with it; never holds more of a file than a row.

Whatever a file holds, reading goes on with its next line: an unclosed quote costs the line that it is in, and no other.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any, BinaryIO, Final, Literal

from tandem.domain.campaigns import NewNumber
from tandem.domain.csv_cells import read_cell
from tandem.domain.number_rows import read_new_number

Encoding = Literal["utf-8", "windows-1252", "latin-1"]
Delimiter = Literal[",", ";", "\t", "|"]
DELIMITERS: Final[tuple[Delimiter, ...]] = (",", ";", "\t", "|")

MAX_ROW_BYTES: Final = 64 * 1024
MAX_COLUMNS: Final = 200
_CHUNK: Final = 1024 * 1024
# What a column of phone numbers is called, without case, blanks and dashes.
_PHONE_NAMES: Final = frozenset(
    [
        "phonenumber",
        "phone",
        "number",
        "tel",
        "telephone",
        "telefon",
        "telefonnummer",
        "rufnummer",
        "nummer",
        "mobile",
        "mobil",
        "handy",
        "msisdn",
    ]
)
_PLAIN_NAMES: Final = {"name": "name", "data": "data", "variables": "variables", "notbefore": "not_before"}
# What people write between the digits; a number in a spreadsheet may begin with the quote that keeps it text.
_NOT_DIALLED: Final = str.maketrans("", "", " \t\u00a0\u202f-./()'\u2010\u2011\u2013")
_TARGET: Final = re.compile(r"phone_number|name|data|not_before|person|variables|(data|variables)\.[^\x00-\x1f.]{1,60}")


class FileRefused(ValueError):
    """The file as a whole is not what is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """How to read a file; None finds it out. columns: target -> column, where its name does not say it; zone: of times without an offset; list_id: of which list the numbers are."""

    columns: Mapping[str, str] = field(default_factory=dict)
    delimiter: Delimiter | None = None
    encoding: Encoding | None = None
    has_header: bool | None = None
    zone: tzinfo | None = None
    list_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a file is read. mapping: target -> column; ignored: columns that are nothing to us."""

    encoding: str
    delimiter: str
    has_header: bool
    columns: tuple[str, ...]
    mapping: dict[str, str]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is refused: the line it begins in (from 1), the field, the rule."""

    line: int
    field: str
    rule: str


class _RowRefused(Exception):
    def __init__(self, rule: str, *, may_be_quote: bool = False) -> None:
        super().__init__(rule)
        self.rule, self.may_be_quote = rule, may_be_quote


class _Lines:
    """Decoded lines, bounded; goes on after one that cannot be decoded."""

    def __init__(self, file: BinaryIO, encoding: str, start: int, line: int) -> None:
        self._file = file
        self._encoding = encoding
        file.seek(start)
        self.line = line
        self.position = start
        self._begin = start
        self._row: list[int] = []  # where each line of this row begins

    def begin_row(self) -> int:
        """A new row: the line in which it begins."""
        self._row = []
        self._begin = self.position
        return self.line + 1

    def rewind(self) -> None:
        """Goes on with the second line of this row: its first has a quote too many."""
        if len(self._row) > 1:
            self.line -= len(self._row) - 1
            self.position = self._row[1]
            self._file.seek(self.position)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        at = self.position
        raw = self._file.readline(MAX_ROW_BYTES + 1)
        if not raw:
            raise StopIteration
        self.line += 1
        self.position += len(raw)
        self._row.append(at)
        if len(raw) > MAX_ROW_BYTES:
            while not raw.endswith(b"\n") and (raw := self._file.readline(_CHUNK)):
                self.position += len(raw)
            raise _RowRefused(f"is longer than {MAX_ROW_BYTES} bytes", may_be_quote=len(self._row) > 1)
        if self.position - self._begin > MAX_ROW_BYTES:
            raise _RowRefused(f"is longer than {MAX_ROW_BYTES} bytes: a quote is not closed", may_be_quote=True)
        try:
            text = raw.decode(self._encoding)
        except UnicodeDecodeError:
            raise _RowRefused(f"is not {self._encoding}", may_be_quote=len(self._row) > 1) from None
        if "\0" in text:
            raise _RowRefused("holds a NUL", may_be_quote=len(self._row) > 1)
        return text


class NumberFile:
    """A file, and how it is laid out. FileRefused for one that holds no numbers."""

    def __init__(self, file: BinaryIO, options: FileOptions) -> None:
        self._options = options
        encoding, start = find_encoding(file)
        encoding = options.encoding or encoding
        first, start, blank = _read_first(file, encoding, start)
        delimiter = options.delimiter or find_delimiter(first)
        cells = _split(first, delimiter)
        has_header = options.has_header
        if has_header is None:
            has_header = not any(_clean_phone(cell).lstrip("+").isdigit() for cell in cells)
        names = tuple(cell.strip() for cell in cells) if has_header else tuple(f"{n}" for n in range(1, len(cells) + 1))
        mapping = _map_columns(names, options.columns, has_header=has_header)
        self.layout = Layout(
            encoding=encoding,
            delimiter=delimiter,
            has_header=has_header,
            columns=names,
            mapping=mapping,
            ignored=tuple(name for name in names if name not in mapping.values()),
        )
        self._plan = [(names.index(name), target, *_place_of(target)) for target, name in mapping.items()]
        self._lines = _Lines(file, encoding, start, blank)
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)
        self._is_started = False

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return self._lines.position

    def rows(self) -> Iterator[tuple[int, NewNumber] | BadRow]:
        """(line, number) or what is wrong with it; blank rows are passed over."""
        while True:
            line = self._lines.begin_row()
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except _RowRefused as refused:
                if refused.may_be_quote:
                    self._lines.rewind()
                yield BadRow(line, "", refused.rule)
                continue
            except csv.Error as error:
                # An unclosed quote swallows what follows up to the next one, or to the end.
                self._lines.rewind()
                yield BadRow(line, "", _explain(error))
                continue
            if not self._is_started:
                self._is_started = True
                if self.layout.has_header:
                    continue
            if not any(cells):
                continue
            yield self._read(line, cells)

    def _read(self, line: int, cells: list[str]) -> tuple[int, NewNumber] | BadRow:
        width = len(self.layout.columns)
        if len(cells) > width and any(cells[width:]):
            return BadRow(line, "", f"has {len(cells)} cells, and there are {width} columns")
        value: dict[str, Any] = {}
        for index, target, group, key in self._plan:
            text = read_cell(cells[index]).strip() if index < len(cells) else ""
            if text and (problem := _put(value, group, key, text)) is not None:
                return BadRow(line, target, problem)
        if "phone_number" not in value:
            return BadRow(line, "phone_number", "is missing")
        number = read_new_number(value, self._options.zone)
        if isinstance(number, NewNumber):
            return line, number if self._options.list_id is None else replace(number, list_id=self._options.list_id)
        return BadRow(line, *number[0])


def _place_of(target: str) -> tuple[str, str]:
    """Field and key: `data.town` is (data, town)."""
    group, _, key = ("data.name" if target == "name" else target).partition(".")
    return group, key


def _put(value: dict[str, Any], group: str, key: str, text: str) -> str | None:
    """A cell in its place; what is wrong with it."""
    if group == "phone_number":
        value[group] = text if text.isdigit() else _clean_phone(text)
        return None
    if group in ("not_before", "person"):
        value[group] = text
        return None
    held = value.setdefault(group, {})
    if key:
        if not isinstance(held, dict):
            return "goes with no data but an object"
        held[key] = text
        return None
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return "must be JSON"
    if isinstance(given, dict):
        value[group] = given | held
    elif held:
        return "must be an object where other columns add to it"
    else:
        value[group] = given
    return None


def _clean_phone(text: str) -> str:
    """What is dialled of a number as people write it: `+49 (0)30 / 12-34` is +493012 34 without blanks."""
    if text.startswith("+"):
        text = text.replace("(0)", "")
    return text.translate(_NOT_DIALLED)


# ----------------------------------------------------------------------------------------------------------- layout


def find_encoding(file: BinaryIO) -> tuple[str, int]:
    """(encoding, where the text begins). Without a mark, the first character beyond ASCII tells UTF-8 from Windows' own."""
    file.seek(0)
    chunk = file.read(_CHUNK)
    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FileRefused("the file is UTF-16: save it as CSV in UTF-8")
    if chunk.startswith(codecs.BOM_UTF8):
        return "utf-8", len(codecs.BOM_UTF8)
    tail = b""
    while chunk:
        chunk = tail + chunk
        found = re.search(rb"[\x80-\xff]", chunk)
        if found is not None:
            sequence = (chunk + file.read(4))[found.start() : found.start() + 4]
            decoder = codecs.getincrementaldecoder("utf-8")()
            try:
                decoder.decode(sequence[: _length_of(sequence[0])], final=True)
            except UnicodeDecodeError:
                return "windows-1252", 0
            return "utf-8", 0
        tail, chunk = b"", file.read(_CHUNK)
    return "utf-8", 0


def _length_of(first: int) -> int:
    """How many bytes a UTF-8 sequence has that begins with this one; 1 for what begins none."""
    return 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2 if first >= 0xC0 else 1


def _read_first(file: BinaryIO, encoding: str, start: int) -> tuple[str, int, int]:
    """The first line with something in it, where it begins, and how many blank ones are before it."""
    blank = 0
    file.seek(start)
    while raw := file.readline(MAX_ROW_BYTES + 1):
        if len(raw) > MAX_ROW_BYTES:
            raise FileRefused(f"the first line is longer than {MAX_ROW_BYTES} bytes")
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            raise FileRefused(f"the first line is not {encoding}") from None
        if "\0" in text:
            raise FileRefused("the first line holds a NUL: this is no text file")
        if text.strip():
            return text, start, blank
        start += len(raw)
        blank += 1
    raise FileRefused("the file is empty")


def find_delimiter(line: str) -> Delimiter:
    """The one of DELIMITERS that is most often outside quotes."""
    outside = "".join(line.split('"')[::2])
    return max(DELIMITERS, key=lambda delimiter: (outside.count(delimiter), -DELIMITERS.index(delimiter)))


def _split(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=delimiter, strict=True))
    except (csv.Error, StopIteration):
        raise FileRefused("the first line is no CSV: a quote is not closed") from None
    if len(cells) > MAX_COLUMNS:
        raise FileRefused(f"there are {len(cells)} columns, and at most {MAX_COLUMNS} are read")
    return cells


def _map_columns(names: tuple[str, ...], wanted: Mapping[str, str], *, has_header: bool) -> dict[str, str]:
    """Target -> column: what was asked for, then what the names say."""
    mapping: dict[str, str] = {}
    for target, name in wanted.items():
        if _TARGET.fullmatch(target) is None:
            raise FileRefused(
                f"{target[:60]!r} is nothing that a column can be: phone_number, name, data, data.NAME, variables,"
                " variables.NAME, not_before or person"
            )
        if name not in names:
            raise FileRefused(f"there is no column {name[:60]!r}: there are {_tell(names)}")
        mapping[target] = name
    for name in names:
        target = _target_of(name) if has_header else "phone_number" if name == "1" else ""
        if target and target not in mapping and name not in mapping.values():
            mapping[target] = name
    if "phone_number" not in mapping:
        raise FileRefused(f"no column is the phone number: there are {_tell(names)}; say which one it is")
    twice = [name for name in mapping.values() if names.count(name) > 1]
    if twice:
        raise FileRefused(f"there are two columns {twice[0][:60]!r}")
    return mapping


def _target_of(name: str) -> str:
    """What a column of this name is; '' for nothing."""
    plain = re.sub(r"[\s_-]", "", name.casefold())
    if plain in _PHONE_NAMES:
        return "phone_number"
    if plain in _PLAIN_NAMES:
        return _PLAIN_NAMES[plain]
    return name if _TARGET.fullmatch(name) is not None else ""


def _tell(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name[:40]) for name in names[:20])


def _explain(error: csv.Error) -> str:
    text = str(error)
    if "end of data" in text:
        return "has a quote that is not closed"
    return "has a quote in the wrong place" if "expected after" in text else f"is no CSV: {text[:80]}"
