"""Generated text read back: blocks, sections with their templates resolved, differences; pure, and only for text of our own making.

A file of 10,000 endpoints is compared block by block (what stands between blank lines): difflib over whole files takes minutes.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tandem.domain.changes import MASK, FileDiff, Kind

TEMPLATE_PREFIX: Final = "tandem."
# Above it, a block is compared as two sets of lines, which is linear.
MAX_DIFFLIB_LINES: Final = 400
MAX_SHOWN_BLOCKS: Final = 200
_find_names: Final = re.compile(r"^\[([^]\n]+)\]", re.MULTILINE).findall
_find_mailboxes: Final = re.compile(r"^([0-9]+) => ", re.MULTILINE).findall
_SECRET: Final = re.compile(r"^([ +-]?(?:password|secret) = ).*$|^([ +-]?[0-9]+ => )[^,\n]*(,?)", re.MULTILINE)
_header: Final = re.compile(r"\[([^]]+)\](?:\(([^)]*)\))?").match


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a .conf file: its name, `type`, and its options in order, those of its templates first."""

    name: str
    type: str
    options: tuple[tuple[str, str], ...]

    def get(self, option: str) -> str | None:
        """The last value, which is the one that counts."""
        return next((value for name, value in reversed(self.options) if name == option), None)

    def all(self, option: str) -> tuple[str, ...]:
        """Every value of an option that may be repeated."""
        return tuple(value for name, value in self.options if name == option)


def split_blocks(text: str) -> list[str]:
    """What stands between blank lines."""
    return [block for block in text.split("\n\n") if block.strip()]


def select_blocks(text: str, names: Iterable[str]) -> str:
    """The blocks of these objects (`carrier.2` is one of carrier's) and the templates: what 10,000 others say need not be parsed."""
    wanted = set(names)
    return "\n\n".join(
        block
        for block in split_blocks(text)
        if any(name.startswith(TEMPLATE_PREFIX) or name.partition(".")[0] in wanted for name in _find_names(block))
    )


def diff_blocks(before: str, after: str) -> tuple[list[str], list[str]]:
    """(blocks that only the first text has, those that only the second has), in order; in linear time."""
    old, new = split_blocks(before), split_blocks(after)
    was, will = set(old), set(new)
    return [block for block in old if block not in will], [block for block in new if block not in was]


def names_in(file: str, blocks: Iterable[str]) -> set[str]:
    """The objects that blocks speak of: mailboxes of voicemail.conf, sections of all else."""
    return {name for block in blocks for name in (_find_mailboxes if file == "voicemail.conf" else _find_names)(block)}


def changed_names(file: str, before: str, after: str) -> set[str]:
    """The objects whose lines differ: of a voicemail.conf mailbox by mailbox, of all else block by block."""
    gone, new = diff_blocks(before, after)
    if file == "voicemail.conf":
        old_lines = {line for block in gone for line in block.split("\n")}
        new_lines = {line for block in new for line in block.split("\n")}
        return set(_find_mailboxes("\n".join(old_lines ^ new_lines)))
    return names_in(file, (*gone, *new))


def diff_file(name: str, before: str | None, after: str | None) -> FileDiff:
    """The difference, block by block, with secrets masked; one side is None where the file is new or goes."""
    change: Kind = "added" if before is None else "removed" if after is None else "changed"
    gone, new = diff_blocks(before or "", after or "")
    paired: dict[tuple[str, int], list[str]] = {}
    for side, blocks in ((0, gone), (1, new)):
        counts: dict[str, int] = {}
        for block in blocks:
            key = next(iter(_find_names(block)), block.partition("\n")[0])
            counts[key] = counts.get(key, 0) + 1
            paired.setdefault((key, counts[key]), ["", ""])[side] = block
    parts = [_diff_block(*pair) for pair in list(paired.values())[:MAX_SHOWN_BLOCKS]]
    if len(paired) > MAX_SHOWN_BLOCKS:
        parts.append(f"… and {len(paired) - MAX_SHOWN_BLOCKS} more places")
    return FileDiff(name, change, mask_secrets("\n".join(parts)))


def mask_secrets(text: str) -> str:
    """Passwords and PINs out of lines of a .conf file or of its difference; whether one changed stays visible."""
    return _SECRET.sub(lambda found: f"{found[1]}{MASK}" if found[1] else f"{found[2]}{MASK}{found[3]}", text)


def _diff_block(before: str, after: str) -> str:
    old, new = before.split("\n") if before else [], after.split("\n") if after else []
    if len(old) + len(new) > MAX_DIFFLIB_LINES:
        was, will = set(old), set(new)
        lines = [f"-{line}" for line in old if line not in will] + [f"+{line}" for line in new if line not in was]
    else:
        # Without the two file lines; `@@ -1,4 +1,4 @@` would count lines of the block, so it is left out too.
        lines = [line for line in list(difflib.unified_diff(old, new, lineterm="", n=3))[2:] if line[:2] != "@@"]
    where = next(iter(_find_names(before or after)), "")
    return "\n".join((f"@@ {where} @@", *lines))


def read_sections(text: str) -> list[Section]:
    """The sections of a text, templates resolved and left out. Lines that are no option (`#include`, comments) are passed over."""
    templates: dict[str, list[tuple[str, str]]] = {}
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    current: list[tuple[str, str]] = []
    for line in text.split("\n"):
        if not line or line[0] in ";#":
            continue
        if line[0] == "[":
            if (found := _header(line)) is None:
                continue
            bases = (found[2] or "").split(",")
            current = [option for base in bases for option in templates.get(base, ())]
            if "!" in bases:
                templates[found[1]] = current
            else:
                sections.append((found[1], current))
            continue
        name, equals, value = line.partition("=")
        if equals:
            current.append((name.strip(), read_value(value)))
    return [Section(name, _last(options, "type"), tuple(options)) for name, options in sections]


def read_value(text: str) -> str:
    r"""What Asterisk makes of what stands behind the `=`: `\;` is a `;`, and a bare one starts a comment (main/config.c)."""
    value = text.removeprefix(">").strip()
    if ";" not in value:
        return value
    return re.split(r"(?<!\\);", value)[0].replace("\\;", ";").strip()


def _last(options: list[tuple[str, str]], name: str) -> str:
    return next((value for key, value in reversed(options) if key == name), "")


def group_sections(sections: Iterable[Section]) -> Mapping[str, list[Section]]:
    """Section name -> its sections, in order."""
    grouped: dict[str, list[Section]] = {}
    for section in sections:
        grouped.setdefault(section.name, []).append(section)
    return grouped
