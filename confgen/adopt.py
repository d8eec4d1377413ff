"""Hand edits taken over: values that we write become fields of objects, options that we do not write go to the admin's own files; pure but for writing those.

What is neither (a line that was removed, a template, the dialplan) is refused by name: a change that a later apply would lose is not adopted.
"""

import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from confgen.complaints import object_of
from confgen.expected import Mailbox, read_mailboxes
from confgen.sections import Section, read_sections
from tandem.domain.changes import Complaint, EditNotAdoptable
from tandem.domain.entities import COLLECTIONS, Pbx

OWN: Final = "own"
"""The folder beside `current` whose files are included after ours."""

_Convert = Callable[[tuple[str, ...]], Any]
_FILES: Final = ("pjsip.conf", "queues.conf")


def _last(values: tuple[str, ...]) -> str:
    return values[-1]


def _split(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.strip() for part in values[-1].split(","))


def _name_of(values: tuple[str, ...]) -> str:
    return values[-1].rpartition("<")[0].strip().strip('"')


def _permissions_of(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(values[-1].partition("=")[2].split("-"))


def _is(word: str) -> _Convert:
    return lambda values: values[-1] == word


# Collection -> option -> (field, what makes its value of the option's values).
_FIELDS: Final[Mapping[str, Mapping[str, tuple[str, _Convert]]]] = {
    "endpoints": {
        "allow": ("codecs", _split),
        "callerid": ("name", _name_of),
        "language": ("language", _last),
        "password": ("secret", _last),
        "set_var": ("permissions", _permissions_of),
    },
    "trunks": {
        "allow": ("codecs", _split),
        "from_user": ("from_user", _last),
        "from_domain": ("from_domain", _last),
        "username": ("username", _last),
        "password": ("secret", _last),
        "match": ("match", tuple),
    },
    "queues": {
        "strategy": ("strategy", _last),
        "timeout": ("ring_time_s", _last),
        "retry": ("retry_s", _last),
        "wrapuptime": ("wrap_up_s", _last),
        "maxlen": ("max_callers", _last),
        "weight": ("weight", _last),
        "musicclass": ("music", _last),
        "servicelevel": ("service_level_s", _last),
        "announce-position": ("announce_position", _is("yes")),
        "announce-frequency": ("announce_every_s", _last),
        "joinempty": ("join_when_empty", _is("yes")),
        "leavewhenempty": ("leave_when_empty", _is("strict")),
    },
}


def plan_adoption(pbx: Pbx, originals: Mapping[str, str], files: Mapping[str, str]) -> tuple[Pbx, dict[str, str]]:
    """(the PBX with the edited values, file name -> text to add to the admin's own file). EditNotAdoptable."""
    fields: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    own: dict[str, str] = {}
    problems: list[Complaint] = []
    for name in sorted({*originals, *files}):
        before, after = originals.get(name), files.get(name)
        if before == after:
            continue
        if before is None or after is None:
            what = "is not one of ours: put it beside them" if before is None else "was removed"
            problems.append(Complaint(name, "", what))
        elif name in _FILES:
            own[name] = _adopt_sections(name, before, after, fields, problems)
        elif name == "musiconhold.conf":
            problems.append(Complaint(name, "", "is made of the music classes and of who names one: change those"))
        elif name == "queuerules.conf":
            problems.append(Complaint(name, "", "is made of the penalty rules: change those"))
        elif name == "voicemail.conf":
            problems += _adopt_mailboxes(before, after, fields)
        else:
            problems.append(Complaint(name, "", "has nothing that is an object's: put your own dialplan beside it"))
    adopted = _replace_fields(pbx, fields, problems)
    if problems:
        raise EditNotAdoptable(tuple(problems))
    return adopted, {name: text for name, text in own.items() if text}


def write_own_files(folder: Path, own: Mapping[str, str]) -> None:
    """Adds to the admin's own files, each replaced whole by one rename."""
    home = folder / OWN
    if own:
        home.mkdir(mode=0o750, exist_ok=True)
    for name, text in own.items():
        path = home / name
        present = path.read_text(encoding="utf-8") if path.exists() else "; Yours: included after Tandem's.\n"
        fresh = home / f".{name}-{secrets.token_hex(4)}"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w", encoding="utf-8") as stream:
            stream.write(f"{present}\n{text}")
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)


def _adopt_sections(
    file: str, before: str, after: str, fields: dict[tuple[str, str], dict[str, Any]], problems: list[Complaint]
) -> str:
    """What goes to the own file; fields and problems are added to."""
    old, new = dict(_number(read_sections(before))), dict(_number(read_sections(after)))
    own: list[str] = []
    problems += [
        Complaint(_path(file, key[0]), "", "was removed from the file: remove the object instead")
        for key in old.keys() - new.keys()
    ]
    for key, section in new.items():
        if key not in old:
            lines = "".join(f"{name} = {_escape(value)}\n" for name, value in section.options)
            own.append(f"[{section.name}]\n{lines}")
            continue
        added, changed, gone = _compare(old[key], section)
        path = _path(file, section.name)
        collection, _, name = path.partition(".")
        problems += [Complaint(path, option, "was removed, and the next apply would write it again") for option in gone]
        for option in changed:
            known = _FIELDS[collection].get(option)
            if known is None:
                problems.append(Complaint(path, option, "is the same for all objects: no field of this one holds it"))
            else:
                fields[collection, name][known[0]] = known[1](section.all(option))
        if added:
            head = f"[{section.name}](+type={section.type})" if section.type else f"[{section.name}](+)"
            lines = "".join(f"{option} = {_escape(value)}\n" for option in added for value in section.all(option))
            own.append(f"{head}\n{lines}")
    return "\n".join(own)


def _adopt_mailboxes(before: str, after: str, fields: dict[tuple[str, str], dict[str, Any]]) -> Iterator[Complaint]:
    old = {box.number: box for box in read_mailboxes(before)}
    new = {box.number: box for box in read_mailboxes(after)}
    found = False
    for number in sorted(old.keys() ^ new.keys()):
        found = True
        yield Complaint(f"voicemail_boxes.{number}", "", "was added or removed in the file: do it with the object")
    for number in sorted(old.keys() & new.keys()):
        for name in Mailbox.__slots__:
            value = getattr(new[number], name)
            if value != getattr(old[number], name):
                found = True
                fields["voicemail_boxes", number][name] = value.removeprefix("tandem-") or None
    if not found:
        yield Complaint("voicemail.conf", "", "has changes outside of the mailboxes")


def _number(sections: list[Section]) -> Iterator[tuple[tuple[str, str, int], Section]]:
    """((name, type, which of these), section)."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for section in sections:
        counts[section.name, section.type] += 1
        yield (section.name, section.type, counts[section.name, section.type]), section


def _compare(before: Section, after: Section) -> tuple[list[str], list[str], list[str]]:
    """(options that are new, that have other values, that are gone)."""
    old = {name: before.all(name) for name, _ in before.options}
    new = {name: after.all(name) for name, _ in after.options}
    changed = [name for name in new if name in old and old[name] != new[name]]
    return [name for name in new if name not in old], changed, [name for name in old if name not in new]


def _path(file: str, name: str) -> str:
    return f"queues.{name}" if file == "queues.conf" else object_of(name)


def _escape(value: str) -> str:
    return value.replace(";", "\\;")


def _replace_fields(pbx: Pbx, fields: Mapping[tuple[str, str], dict[str, Any]], problems: list[Complaint]) -> Pbx:
    collections: dict[str, Any] = {}
    for collection in {collection for collection, _ in fields}:
        key = COLLECTIONS[collection][1]
        entities = []
        for entity in getattr(pbx, collection):
            changed = fields.get((collection, getattr(entity, key)), {})
            try:
                entities.append(replace(entity, **changed) if changed else entity)
            except ValueError as error:
                problems.append(Complaint(f"{collection}.{getattr(entity, key)}", "", str(error).splitlines()[-1]))
        collections[collection] = tuple(entities)
    return replace(pbx, **collections) if collections else pbx
