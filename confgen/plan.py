"""What an apply would change: rendered text against what is there; pure, it never touches a disk or an Asterisk."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from confgen.render import MODULE_OF_FILE, body_of
from confgen.sections import TEMPLATE_PREFIX, changed_names, diff_file
from tandem.domain.changes import FileDiff
from tandem.domain.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Plan:
    """files: name -> text of the next generation; an unchanged file keeps its text, header and all.

    changed: files whose body differs, added and removed ones included, sorted. modules: to reload, in order.
    """

    files: Mapping[str, str]
    changed: tuple[str, ...]
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """Names of the objects whose lines change, are new or go. everything: a template or a setting of all of them does."""

    endpoints: frozenset[str] = frozenset()
    trunks: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    voicemail_boxes: frozenset[str] = frozenset()
    penalty_rules: frozenset[str] = frozenset()
    music_classes: frozenset[str] = frozenset()
    dialplan: bool = False
    everything: bool = False


def plan_files(rendered: Mapping[str, str], present: Mapping[str, str]) -> Plan:
    """The plan that leads from the present files to the rendered ones. Headers do not count: they name a revision."""
    same = {name for name, text in rendered.items() if name in present and body_of(text) == body_of(present[name])}
    changed = sorted((rendered.keys() | present.keys()) - same)
    files = {name: present[name] if name in same else text for name, text in rendered.items()}
    return Plan(files, tuple(changed), modules_of(changed))


def modules_of(files: Iterable[str]) -> tuple[str, ...]:
    """What has to be reloaded when these files changed, each once, the dialplan after what it names, and queues after the contexts of their members.

    A file that is none of confgen's own is a part of the dialplan.
    """
    changed = {file if file in MODULE_OF_FILE else "extensions.conf" for file in files}
    return tuple(dict.fromkeys(module for file, module in MODULE_OF_FILE.items() if file in changed))


def diff_files(files: Mapping[str, str], present: Mapping[str, str], changed: Iterable[str]) -> tuple[FileDiff, ...]:
    """What changes in each of the changed files."""
    return tuple(
        diff_file(
            name,
            body_of(present[name]) if name in present else None,
            body_of(files[name]) if name in files else None,
        )
        for name in changed
    )


def find_touched(files: Mapping[str, str], present: Mapping[str, str], changed: Iterable[str]) -> Touched:
    """The objects behind the differences of the changed files."""
    names = {
        file: changed_names(file, body_of(present.get(file, "")), body_of(files.get(file, ""))) for file in changed
    }
    # `carrier.2` is a part of trunk carrier; an extension is all digits, a trunk's name begins with a letter.
    pjsip = {name.partition(".")[0] for name in names.get("pjsip.conf", ()) if not name.startswith(TEMPLATE_PREFIX)}
    templates = any(name.startswith(TEMPLATE_PREFIX) for found in names.values() for name in found)
    return Touched(
        endpoints=frozenset(name for name in pjsip if name.isdigit()),
        trunks=frozenset(name for name in pjsip if not name.isdigit()),
        queues=frozenset(names.get("queues.conf", ())) - {"general", "tandem.queue"},
        voicemail_boxes=frozenset(names.get("voicemail.conf", ())) - {"general", "tandem"},
        penalty_rules=frozenset(names.get("queuerules.conf", ())),
        music_classes=frozenset(names.get("musiconhold.conf", ())),
        dialplan=any(file not in MODULE_OF_FILE or file == "extensions.conf" for file in names),
        everything=templates and any(file in present for file in ("pjsip.conf", "queues.conf")),
    )


def touch_all(snapshot: Snapshot) -> Touched:
    """Every object that has lines in a file."""
    return Touched(
        frozenset(snapshot.endpoints),
        frozenset(snapshot.trunks),
        frozenset(snapshot.queues),
        frozenset(snapshot.voicemail_boxes),
        frozenset(snapshot.penalty_rules),
        frozenset(snapshot.music_classes),
        dialplan=True,
        everything=True,
    )


def narrow_snapshot(snapshot: Snapshot, touched: Touched) -> Snapshot:
    """The touched objects and what they refer to: enough to load in a throw-away Asterisk, however large the PBX is."""
    if touched.everything:
        return snapshot
    general = snapshot.general
    endpoints = _pick(snapshot.endpoints, touched.endpoints)
    queues = _pick(snapshot.queues, touched.queues)
    endpoints |= _pick(snapshot.endpoints, (member.endpoint for queue in queues.values() for member in queue.members))
    return replace(
        snapshot,
        endpoints=endpoints,
        trunks=_pick(snapshot.trunks, {*touched.trunks, general.outbound_trunk, general.emergency_trunk}),
        queues=queues,
        penalty_rules=_pick(
            snapshot.penalty_rules, {*touched.penalty_rules, *(queue.penalty_rule for queue in queues.values())}
        ),
        voicemail_boxes=_pick(
            snapshot.voicemail_boxes,
            {*touched.voicemail_boxes, *(endpoint.voicemail for endpoint in endpoints.values())},
        ),
    )


def _pick(entities: Mapping[str, Any], names: Iterable[str | None]) -> dict[str, Any]:
    return {name: entities[name] for name in names if name is not None and name in entities}
