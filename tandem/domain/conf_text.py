"""An admin's own Asterisk files as sections and options, each with its place; pure, and for any text: it never raises.

Asterisk's rules (config.c): `;` begins a comment unless a backslash is before it, `;--` and `--;` enclose one of several lines,
`[name](!)` is a template, `[name](base,other)` has its options first, `[name](+)` adds to a section that is there.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_HEADER: Final = re.compile(r"\[([^\]]*)\]\s*(?:\(([^)]*)\))?")
_INCLUDE: Final = re.compile(r"#\s*(?:try)?include\s+[\"<]?([^\">]+)[\">]?", re.IGNORECASE)
_MAX_DEPTH: Final = 10


@dataclass(frozen=True, slots=True)
class Option:
    """`name = value`, and where it stands (`pjsip.conf:12`)."""

    name: str
    value: str
    place: str


@dataclass(frozen=True, slots=True)
class ConfSection:
    """A section with the options of its templates before its own."""

    name: str
    place: str
    options: list[Option] = field(default_factory=list)

    def get(self, name: str, default: str = "") -> str:
        """The last value of an option."""
        return next((it.value for it in reversed(self.options) if it.name == name), default)

    def get_all(self, name: str) -> list[Option]:
        """Every one of that name."""
        return [it for it in self.options if it.name == name]


@dataclass(frozen=True, slots=True)
class Lost:
    """Something that was not carried over, and where it stands."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


def read_conf(
    file: str, text: str, find: Callable[[str], Mapping[str, str]] = lambda _: {}
) -> tuple[list[ConfSection], list[Lost]]:
    """The sections of a file in their order, without templates, and what could not be read. find: what an `#include` names -> texts by name."""
    reading = _Reading(find)
    reading.read(file, text, 0)
    return [section for section in reading.sections if id(section) not in reading.templates], reading.lost


class _Reading:
    def __init__(self, find: Callable[[str], Mapping[str, str]]) -> None:
        self._find = find
        self.sections: list[ConfSection] = []
        self.templates: set[int] = set()
        self.lost: list[Lost] = []
        self._current: ConfSection | None = None

    def read(self, file: str, text: str, depth: int) -> None:
        for number, line in _list_lines(text):
            place = f"{file}:{number}"
            if line.startswith("#"):
                self._include(place, line, depth)
            elif line.startswith("["):
                self._begin(place, line)
            elif self._current is None:
                self.lost.append(Lost(place, "stands before any section"))
            else:
                name, sign, value = line.partition("=")
                if not sign:
                    self.lost.append(Lost(place, f"is no option: {line[:40]}"))
                else:
                    self._current.options.append(Option(name.strip().lower(), value.removeprefix(">").strip(), place))

    def _begin(self, place: str, line: str) -> None:
        found = _HEADER.match(line)
        if found is None:
            self.lost.append(Lost(place, f"is no section: {line[:40]}"))
            return
        name, marks = found[1].strip(), [it.strip() for it in (found[2] or "").split(",") if it.strip()]
        if "+" in marks and (there := self._named(name)) is not None:
            self._current = there
            return
        self._current = ConfSection(name, place)
        for base in marks:
            if base in {"!", "+"}:
                continue
            if (of := self._named(base)) is None:
                self.lost.append(Lost(place, f"there is no template {base}"))
            else:
                self._current.options.extend(of.options)
        self.sections.append(self._current)
        if "!" in marks:
            self.templates.add(id(self._current))

    def _named(self, name: str) -> ConfSection | None:
        return next((it for it in reversed(self.sections) if it.name == name), None)

    def _include(self, place: str, line: str, depth: int) -> None:
        found = _INCLUDE.match(line)
        if found is None or depth >= _MAX_DEPTH:
            self.lost.append(Lost(place, f"is not followed: {line[:60]}"))
            return
        texts = self._find(found[1].strip())
        if not texts:
            self.lost.append(Lost(place, f"{found[1].strip()[:60]} cannot be read"))
        for name, text in texts.items():
            self.read(name, text, depth + 1)


def _list_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, and their numbers; no empty ones."""
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        rest = line
        kept = ""
        while rest:
            if depth:
                _, end, rest = rest.partition("--;")
                depth -= bool(end)
                continue
            at = re.search(r"(?<!\\);", rest)
            if at is None:
                kept, rest = kept + rest, ""
            elif rest.startswith(";--", at.start()) and not rest.startswith(";---", at.start()):
                kept, rest, depth = kept + rest[: at.start()], rest[at.end() + 2 :], 1
            else:
                kept, rest = kept + rest[: at.start()], ""
        if stripped := kept.replace("\\;", ";").strip():
            yield number, stripped
