"""Brings a snapshot into a running Asterisk: render, write, switch, reload what changed; never reloads what did not change.

It knows neither AMI nor database: `reload` is a plain callable. Work on disk and rendering are done in a thread.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from confgen.generations import (
    drop_link,
    linked_generation,
    read_generation,
    remove_old_generations,
    switch_link,
    write_generation,
)
from confgen.plan import Plan, modules_of, plan_files
from confgen.render import RenderTarget, render
from tandem.domain.snapshot import Snapshot

KEPT_GENERATIONS = 20

Reload = Callable[[str], Awaitable[object]]

_log = Logger()


class HandEdited(Exception):
    """Somebody changed generated files by hand; `files` names them. Applying would lose what they did."""

    def __init__(self, generation: str, files: tuple[str, ...]) -> None:
        super().__init__(
            f"edited by hand in generation {generation}: {', '.join(files)}; put the change into Tandem, "
            "then remove the link `current`: the next apply writes all files anew and keeps the edited ones aside"
        )
        self.generation, self.files = generation, files


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did. generation: what Asterisk reads now; previous: what it read before, None for the first.

    changed: files that differ from the previous generation; reloaded: modules. Both empty: there was nothing to do.
    """

    revision: int
    generation: str
    previous: str | None
    changed: tuple[str, ...]
    reloaded: tuple[str, ...]


async def apply_snapshot(
    snapshot: Snapshot,
    target: RenderTarget,
    folder: Path,
    reload: Reload,
    static_files: Mapping[str, str] = MappingProxyType({}),
) -> Applied:
    """Makes Asterisk run on this snapshot.

    `static_files` (name -> text) become part of the generation: the shipped dialplan, which always has to fit what AstDB holds.
    `reload(module)` reloads one module and returns when Asterisk has done so, or raises. What was switched but never confirmed (a crash
    or an error in between) is reloaded by the next apply. One apply at a time: the caller sees to that.

    ValueUnrepresentable and HandEdited: nothing was touched. OSError: nothing was switched. Whatever `reload` raises: the previous
    generation is current again, modules reloaded so far run on the new one, and the next apply reloads them all.
    """
    previous, generation, plan = await deferToThread(_prepare, snapshot, target, folder, static_files)
    if generation != previous:
        await deferToThread(switch_link, folder, "current", generation)
    try:
        for module in plan.modules:
            await reload(module)
    except BaseException:
        await deferToThread(_take_back, folder, previous)
        raise
    await deferToThread(_confirm, folder, generation)
    applied = Applied(snapshot.revision, generation, previous, plan.changed, plan.modules)
    _log.info("configuration {applied}", applied=applied)
    return applied


def _prepare(
    snapshot: Snapshot, target: RenderTarget, folder: Path, static_files: Mapping[str, str]
) -> tuple[str | None, str, Plan]:
    """Writes the next generation, if it differs; returns what is current, what shall be, and what has to be reloaded for it."""
    rendered = {**static_files, **render(snapshot, target)}
    previous = linked_generation(folder, "current")
    present = read_generation(folder, previous) if previous is not None else None
    if present is not None and present.edited:
        raise HandEdited(present.name, present.edited)
    plan = plan_files(rendered, present.files if present is not None else {})
    generation = previous
    if generation is None or plan.changed:
        generation = write_generation(folder, snapshot.revision, plan.files)
    live = linked_generation(folder, "live")
    if live != previous:
        # The last apply did not come to its end: count from what Asterisk is known to have read.
        unread = plan_files(plan.files, read_generation(folder, live).files if live is not None else {}).changed
        plan = Plan(plan.files, plan.changed, modules_of((*plan.changed, *unread)))
    return previous, generation, plan


def _take_back(folder: Path, previous: str | None) -> None:
    """After a failed reload: what is on the disk is the previous generation, what Asterisk runs is unknown, so the next apply reloads all."""
    drop_link(folder, "live")
    if previous is not None:
        switch_link(folder, "current", previous)


def _confirm(folder: Path, generation: str) -> None:
    if linked_generation(folder, "live") != generation:
        switch_link(folder, "live", generation)
        remove_old_generations(folder, KEPT_GENERATIONS)
