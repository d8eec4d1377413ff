"""Reads a PBX from the files of a person: documents, folders of them, what they include, secrets kept elsewhere; never writes a file.

`include: [queues.yaml, phones/*.yaml]` at the top of a document names others, beside it. A secret may be `{env: NAME}` or
`{file: name}`. Whoever can name a file can read it with Tandem's rights, so this is for the command line and never for a body that
came over HTTP. A file is read once, however often it is named, so nothing can go round in circles.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tandem.document import (
    INCLUDE,
    DocumentError,
    DocumentProblem,
    Parsed,
    check_document,
    find_references,
    line_of,
    parse_document,
)
from tandem.domain.entities import COLLECTIONS, Pbx
from tandem.domain.problems import Location, Problem
from tandem.domain.secret_references import KINDS, References, SecretReference

SUFFIXES: Final = (".yaml", ".yml")
MAX_FILES: Final = 1000
MAX_SECRET_BYTES: Final = 4096
_INDEXED: Final = re.compile(r"\b([a-z_]+)\[(\d+)\]((?:\.[a-z_]+|\[\d+\])*)")


@dataclass(frozen=True, slots=True)
class ReadPbx:
    """A PBX from files. references: secrets that are kept elsewhere; files: all that were read, in the order of reading."""

    pbx: Pbx
    references: References
    files: tuple[Path, ...]


def read_pbx_files(paths: Sequence[Path], environ: Mapping[str, str]) -> ReadPbx:
    """One PBX of these documents and folders of documents; DocumentError names every problem with file, line and rule."""
    reading = _Reading(environ)
    for path in paths:
        reading.read(path)
    return reading.finish(", ".join(map(str, paths)))


class _Reading:
    """Documents on their way to be one value. Each list item and each key of `general` remembers which document it is from."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._seen: set[Path] = set()
        self._files: list[Path] = []
        self._problems: list[DocumentProblem] = []
        self._value: dict[str, Any] = {}
        # Section -> (document, index there) of each item; section and key -> document.
        self._items: dict[str, list[tuple[Parsed, int]]] = {}
        self._keys: dict[tuple[str, ...], Parsed] = {}
        self._references: dict[Location, SecretReference] = {}

    def read(self, path: Path) -> None:
        """A document, or all that are in a folder."""
        if path.is_dir():
            found = _list_documents(path)
            if not found:
                self._refuse(str(path), "has no document in it (a file that ends in .yaml or .yml)")
            for each in found:
                self._read_file(each)
        else:
            self._read_file(path)

    def finish(self, source: str) -> ReadPbx:
        """The PBX of all that was read."""
        if not self._problems:
            checked = check_document(self._value)
            if isinstance(checked, Pbx):
                return ReadPbx(checked, self._name_references(checked), tuple(self._files))
            self._problems = [self._locate(problem) for problem in checked]
        order = {str(file): index for index, file in enumerate(self._files)}
        self._problems.sort(key=lambda it: (order.get(it.source or "", -1), it.line or 0))
        raise DocumentError(source, tuple(self._problems))

    # ------------------------------------------------------------------------------------------- one document

    def _read_file(self, path: Path) -> None:
        real = path.resolve()
        if real in self._seen:
            return
        self._seen.add(real)
        if len(self._seen) > MAX_FILES:
            if len(self._seen) == MAX_FILES + 1:
                self._refuse(str(path), f"is one document too many: {MAX_FILES} are read at most")
            return
        self._files.append(path)
        try:
            parsed = parse_document(path.read_text(encoding="utf-8"), str(path))
        except DocumentError as error:
            self._problems += [DocumentProblem(it.path, it.line, it.message, str(path)) for it in error.problems]
        except (OSError, UnicodeError) as error:
            self._refuse(str(path), f"cannot be read: {error.strerror if isinstance(error, OSError) else error}")
        else:
            self._take(parsed, path)

    def _take(self, parsed: Parsed, path: Path) -> None:
        if not isinstance(parsed.value, dict):
            self._tell(parsed, Problem((), "must be keys with values"))
            return
        included = parsed.value.pop(INCLUDE, None)
        for at, mapping in tuple(find_references(parsed.value)):
            if (reference := self._resolve(parsed, path, at, mapping)) is not None:
                self._references[self._move(at)] = reference
        for section, value in parsed.value.items():
            self._merge(parsed, section, value)
        if included is not None:
            self._include(parsed, path, included)

    def _move(self, at: Location) -> Location:
        """Where something of a document that is about to be merged will stand in the whole."""
        held = self._value.get(str(at[0]))
        if len(at) > 1 and isinstance(at[1], int) and isinstance(held, list):
            return (at[0], at[1] + len(held), *at[2:])
        return at

    def _merge(self, parsed: Parsed, section: str, value: Any) -> None:
        held = self._value.get(section)
        if section not in self._value:
            self._value[section] = value
            self._keys[section,] = parsed
            self._note(parsed, section, value)
        elif isinstance(held, list) and isinstance(value, list):
            self._note(parsed, section, value)
            held += value
        elif isinstance(held, dict) and isinstance(value, dict):
            for key, part in value.items():
                if key in held:
                    other = self._keys[section, key]
                    place = f"{other.source}:{line_of(other.lines, (section, key))}"
                    self._tell(parsed, Problem((section, key), f"is set already, at {place}"))
                held[key] = part
            self._note(parsed, section, value)
        else:
            other = self._keys[section,]
            self._tell(parsed, Problem((section,), f"is something else than in {other.source}"))

    def _note(self, parsed: Parsed, section: str, value: Any) -> None:
        if isinstance(value, list):
            self._items.setdefault(section, []).extend((parsed, index) for index in range(len(value)))
        elif isinstance(value, dict):
            self._keys.update({(section, key): parsed for key in value})

    def _include(self, parsed: Parsed, path: Path, included: Any) -> None:
        names = included if isinstance(included, list) else [included]
        for index, name in enumerate(names):
            at = (INCLUDE, index) if isinstance(included, list) else (INCLUDE,)
            if not isinstance(name, str) or not name.strip():
                self._tell(parsed, Problem(at, "must be the name of a document, a pattern (phones/*.yaml) or a folder"))
                continue
            found = _find_included(path.parent, name)
            if not found:
                self._tell(parsed, Problem(at, f"there is no {name} beside this document"))
            for each in found:
                self.read(each)

    def _resolve(self, parsed: Parsed, path: Path, at: Location, mapping: Mapping[str, Any]) -> SecretReference | None:
        """Puts the secret in the reference's place; None where there is none, which is told."""
        kind, name = next(iter(mapping.items())) if len(mapping) == 1 else ("", "")
        if kind not in KINDS or not isinstance(name, str) or not name:
            self._tell(parsed, Problem(at, "must be text, {env: NAME} or {file: name}"))
            return None
        # What is exported stands in a document of its own, wherever: a name beside this one would be another file there.
        file = path.parent.absolute() / name
        reference = SecretReference("env", name) if kind == "env" else SecretReference("file", str(file))
        secret = self._environ.get(name) if kind == "env" else _read_secret(file)
        holder = parsed.value
        for step in at[:-1]:
            holder = holder[step]
        if isinstance(secret, str):
            holder[at[-1]] = secret
            return reference
        why = f"the environment has no {name}" if kind == "env" else f"{name} cannot be read: {secret}"
        self._tell(parsed, Problem(at, why))
        return None

    # ----------------------------------------------------------------------------------------------- problems

    def _refuse(self, source: str, message: str) -> None:
        self._problems.append(DocumentProblem("", None, message, source))

    def _tell(self, parsed: Parsed, problem: Problem) -> None:
        line = line_of(parsed.lines, problem.location)
        self._problems.append(DocumentProblem(problem.path, line, problem.message, parsed.source))

    def _locate(self, problem: Problem) -> DocumentProblem:
        """What is wrong in the whole, in the document where it stands."""
        location = problem.location
        parsed = self._document_of(location)
        if len(location) > 1 and isinstance(location[1], int) and str(location[0]) in self._items:
            parsed, index = self._items[str(location[0])][location[1]]
            location = (location[0], index, *location[2:])
        line = line_of(parsed.lines, location) if parsed is not None else None
        source = parsed.source if parsed is not None else None
        message = problem.message
        if len(self._files) > 1:
            message = _INDEXED.sub(self._rename, message)
        return DocumentProblem(Problem(location, "").path, line, message, source)

    def _document_of(self, location: Location) -> Parsed | None:
        for length in (2, 1):
            if (found := self._keys.get(tuple(map(str, location[:length])))) is not None:
                return found
        return None

    def _rename(self, found: re.Match[str]) -> str:
        """`endpoints[17]` of the whole is `endpoints[3]` of a file."""
        section, index = found[1], int(found[2])
        items = self._items.get(section, [])
        if index >= len(items):
            return found[0]
        parsed, local = items[index]
        return f"{section}[{local}]{found[3]} of {parsed.source}"

    def _name_references(self, pbx: Pbx) -> References:
        """By the names of objects, for whoever writes them as a document again. What stands deeper is written as text."""
        named: References = {}
        for location, reference in self._references.items():
            if len(location) == 3 and location[0] in COLLECTIONS:
                section, index, field = str(location[0]), int(location[1]), str(location[2])
                key = getattr(getattr(pbx, section)[index], COLLECTIONS[section][1])
                named[section, key, field] = reference
        return named


def _list_documents(folder: Path) -> list[Path]:
    """Every document in a folder and those below it, in the order of their names; nothing that is hidden."""
    found = (path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    return sorted(path for path in found if not _is_hidden(path.relative_to(folder)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _find_included(folder: Path, name: str) -> Sequence[Path]:
    if re.search(r"[*?\[]", name):
        pattern = Path(name)
        start, rest = (
            (Path(pattern.anchor), pattern.relative_to(pattern.anchor)) if pattern.anchor else (folder, pattern)
        )
        return sorted(path for path in start.glob(str(rest)) if path.is_file())
    path = folder / name
    return [path] if path.exists() else []


def _read_secret(path: Path) -> str | Exception:
    """The text of a file without the line's end behind it."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_SECRET_BYTES + 1)
        if len(content) > MAX_SECRET_BYTES:
            return ValueError(f"it is larger than {MAX_SECRET_BYTES} bytes")
        return content.decode("utf-8").rstrip("\r\n")
    except UnicodeError:
        return ValueError("it is not UTF-8")
    except OSError as error:
        return ValueError(error.strerror or str(error))
