"""What an admin's own cel.conf, cdr.conf and their kin lack for our CDRs; only ever adds to what they record, and refuses where that would not do.

All of it is additive for Asterisk: `events` of a second `[general](+)` join the first ones, and each section of cel_custom.conf and
cdr_custom.conf is a file of its own.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from tandem.domain.records import CDR_FIELDS, CDR_MAPPINGS, CEL_EVENTS, CEL_FIELDS, RECORD_MODULES, RecordFiles

RECORD_CONFS: Final = (
    "cel.conf",
    "cel_custom.conf",
    "cdr.conf",
    "cdr_custom.conf",
    "cdr_manager.conf",
    "modules.conf",
)
# (section, option, value), in the order of the file and of what it includes; a section alone has two empty texts.
Options = Iterable[tuple[str, str, str]]
# Debian's package has one of these too and loads both: it declines without a database, and takes the applications and manager actions of
# app_voicemail, which have the same names, with it.
VOICEMAIL_RIVALS: Final = ("app_voicemail_imap", "app_voicemail_odbc")
_LOADS: Final = ("load", "preload", "require", "preload-require")


class HostConflict(Exception):
    """What the admin's file says and what Tandem needs exclude each other; the text names file, section, option and remedy."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(f"{file}: {problem}")


def list_record_lines(name: str, options: Options, files: RecordFiles) -> Iterator[str]:
    """The lines that a file of RECORD_CONFS lacks. HostConflict where more lines would not help."""
    given = tuple(options)
    sections = {section for section, _, _ in given}
    match name:
        case "cel.conf":
            return _list_cel(given, sections)
        case "cel_custom.conf":
            return _list_file(name, given, sections, files.cel.name, CEL_FIELDS)
        case "cdr.conf":
            return _refuse_switched_off(name, given)
        case "cdr_custom.conf":
            return _list_file(name, given, sections, files.cdr.name, CDR_FIELDS)
        case "cdr_manager.conf":
            return _list_manager(given, sections)
        case "modules.conf":
            return _list_modules(given)
    raise ValueError(name)


def _list_cel(given: Options, sections: set[str]) -> Iterator[str]:
    yield from _refuse_switched_off("cel.conf", given)
    events = {event.strip().upper() for value in _values(given, "general", "events") for event in value.split(",")}
    missing = [] if "ALL" in events else [event for event in CEL_EVENTS if event not in events]
    is_on = any(map(_is_yes, _values(given, "general", "enable")))
    if missing or not is_on:
        yield _head("general", sections)
    if not is_on:
        yield "enable = yes"
    if missing:
        yield f"events = {','.join(missing)}"


def _refuse_switched_off(name: str, given: Options) -> Iterator[str]:
    """Who switched it off has a reason, and perhaps databases behind it that would fill up."""
    if any(not _is_yes(value) for value in _values(given, "general", "enable")):
        raise HostConflict(
            name, "[general] says enable = no, and without these records there are no CDRs: take that line out first"
        )
    yield from ()


def _list_file(name: str, given: Options, sections: set[str], section: str, fields: str) -> Iterator[str]:
    if section not in sections:
        yield f"[{section}]"
        yield "format = json"
        yield f"fields = {fields}"
        return
    known = {option: value for found, option, value in given if found == section}
    if known.get("format") != "json" or _squeeze(known.get("fields", "")) != _squeeze(fields):
        raise HostConflict(
            name,
            f"[{section}] is there and has other fields than Tandem reads: give it another name, "
            f"or Tandem (asterisk.{name[:3]}_file). It needs format = json and fields = {fields}",
        )


def _list_manager(given: Options, sections: set[str]) -> Iterator[str]:
    # Switched off in the file that Asterisk comes with; being on, it only tells AMI clients that ask.
    if not any(map(_is_yes, _values(given, "general", "enabled")[-1:])):
        yield _head("general", sections)
        yield "enabled = yes"
    # The same line twice would be the same header twice.
    missing = [pair for pair in CDR_MAPPINGS if ("mappings", *pair) not in given]
    if missing:
        yield _head("mappings", sections)
        yield from (f"{variable} => {header}" for variable, header in missing)


def _list_modules(given: Options) -> Iterator[str]:
    listed: dict[str, set[str]] = {}
    for section, option, value in given:
        if section == "modules":
            listed.setdefault(value.removesuffix(".so"), set()).add(option)
    for module in RECORD_MODULES:
        if "noload" in listed.get(module, ()):
            raise HostConflict(
                "modules.conf", f"says noload = {module}.so, which records calls for Tandem: take that line out first"
            )
    autoload = _values(given, "modules", "autoload")
    missing = [module for module in RECORD_MODULES if listed.get(module, set()).isdisjoint(_LOADS)]
    if autoload and _is_yes(autoload[-1]):
        lines = [f"noload = {module}.so" for module in VOICEMAIL_RIVALS if module not in listed]
    else:
        lines = [f"load = {module}.so" for module in missing] if autoload else []
    if lines:
        yield _head("modules", {section for section, _, _ in given})
        yield from lines


def _values(given: Options, section: str, option: str) -> list[str]:
    return [value for found, name, value in given if (found, name) == (section, option)]


def _head(section: str, sections: set[str]) -> str:
    """A second section of a name is a mistake; this adds to the first."""
    return f"[{section}](+)" if section in sections else f"[{section}]"


def _is_yes(value: str) -> bool:
    """As ast_true has it."""
    return value.lower() in {"yes", "true", "y", "t", "1", "on"}


def _squeeze(fields: str) -> str:
    return "".join(fields.split())
