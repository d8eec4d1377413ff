"""What an apply would change: rendered text against what is there; pure, it never touches a disk or an Asterisk."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confgen.render import MODULE_OF_FILE, body_of


@dataclass(frozen=True, slots=True)
class Plan:
    """files: name -> text of the next generation; an unchanged file keeps its text, header and all.

    changed: files whose body differs, added and removed ones included, sorted. modules: to reload, in order.
    """

    files: Mapping[str, str]
    changed: tuple[str, ...]
    modules: tuple[str, ...]


def plan_files(rendered: Mapping[str, str], present: Mapping[str, str]) -> Plan:
    """The plan that leads from the present files to the rendered ones. Headers do not count: they name a revision."""
    same = {name for name, text in rendered.items() if name in present and body_of(text) == body_of(present[name])}
    changed = sorted((rendered.keys() | present.keys()) - same)
    files = {name: present[name] if name in same else text for name, text in rendered.items()}
    return Plan(files, tuple(changed), modules_of(changed))


def modules_of(files: Iterable[str]) -> tuple[str, ...]:
    """What has to be reloaded when these files changed, each once, the dialplan after what it names.

    A file that is none of confgen's own is a part of the dialplan.
    """
    changed = {file if file in MODULE_OF_FILE else "extensions.conf" for file in files}
    return tuple(dict.fromkeys(module for file, module in MODULE_OF_FILE.items() if file in changed))
