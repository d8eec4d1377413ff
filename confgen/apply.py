"""Brings a snapshot into a running Asterisk: plan, check, write, switch, reload what changed, verify; or takes it back and says why.

It knows neither AMI nor database: `reload`, `check` and `verify` are plain callables. Work on disk and rendering are done in a thread.

    step         killed there, or failing                                      Asterisk runs on
    plan, check  nothing was written                                           the old configuration
    write        what has no name yet is removed by the next apply             the old
    switch       one rename: before or after it                                the old; `current` is old or new, whole
    reload       `live` still names the old one: the next apply reloads        old or new, module by module
    verify       failing: switched back and reloaded                           the old
    probe        the same                                                      the old
    confirm      one rename                                                    the new
"""

import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from twisted.internet.defer import CancelledError
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from confgen.expected import Expectation, expect_files
from confgen.generations import (
    FolderBusy,
    drop_link,
    linked_generation,
    lock_folder,
    read_generation,
    remove_old_generations,
    switch_link,
    write_generation,
)
from confgen.plan import Plan, Touched, find_touched, modules_of, plan_files, touch_all
from confgen.render import RenderTarget, render
from confgen.verify import NOTHING
from tandem.certificates import CertificatePair, look_at_pair
from tandem.domain.changes import ApplyBusy, ApplyRefused, Complaint, HandEdited
from tandem.domain.snapshot import Snapshot

__all__ = ["Applied", "ApplyBusy", "ApplyRefused", "HandEdited", "Steps", "apply_snapshot", "plan_snapshot"]

KEPT_GENERATIONS = 20

Reload = Callable[[str], Awaitable[object]]

_log = Logger()


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did. generation: what Asterisk reads now; previous: what it read before, None for the first.

    changed: files that differ from the previous generation; reloaded: modules. Both empty: there was nothing to do.
    check: what the throw-away Asterisk said; verified: how many objects the live one was asked about.
    """

    revision: int
    generation: str
    previous: str | None
    changed: tuple[str, ...]
    reloaded: tuple[str, ...]
    check: str = NOTHING
    verified: int = 0
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps that need an Asterisk.

    reload: one module, returns when Asterisk has done so, or raises. check: raises ApplyRefused, or says how it went. verify: in what
    the live Asterisk differs from what is expected; it may be asked again until it does not. probe: in what the whole is worse than
    before, asked last.
    """

    reload: Reload
    check: Callable[[Touched], Awaitable[str]] | None = None
    verify: Callable[[Expectation], Awaitable[tuple[Complaint, ...]]] | None = None
    probe: Callable[[], Awaitable[tuple[Complaint, ...]]] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and what it was made from. previous: the current generation; present: its files; touched: objects."""

    plan: Plan
    previous: str | None
    present: Mapping[str, str]
    touched: Touched

    @property
    def is_empty(self) -> bool:
        """Whether neither the disk nor Asterisk has to change."""
        return self.previous is not None and not self.plan.changed and not self.plan.modules


async def apply_snapshot(
    snapshot: Snapshot,
    target: RenderTarget,
    folder: Path,
    reload: Reload | Steps,
    static_files: Mapping[str, str] = MappingProxyType({}),
    *,
    full: bool = False,
) -> Applied:
    """Makes Asterisk run on this snapshot.

    `static_files` (name -> text) become part of the generation: the shipped dialplan, which always has to fit what AstDB holds.
    `full`: check, reload and verify everything, not only what changed. What was switched but never confirmed (a crash or an error in
    between) is reloaded by the next apply.

    ApplyBusy, ValueUnrepresentable, HandEdited, and ApplyRefused by the check: nothing was touched. OSError: nothing was switched.
    ApplyRefused later, and whatever `reload` raises: the previous generation is current again and was reloaded; where that was not
    possible, the next apply does it.
    """
    steps = reload if isinstance(reload, Steps) else Steps(reload)
    watch = _Watch()
    lock = lock_folder(folder)
    try:
        await deferToThread(lock.__enter__)
    except FolderBusy as error:
        raise ApplyBusy(str(error)) from None
    try:
        prepared = await deferToThread(plan_snapshot, snapshot, target, folder, static_files, full=full)
        watch.lap("plan")
        plan, previous = prepared.plan, prepared.previous
        check, verified = NOTHING, 0
        generation = previous
        if full or not prepared.is_empty:
            if steps.check is not None and (plan.changed or full):
                check = await steps.check(prepared.touched)
                watch.lap("check")
            if previous is None or plan.changed:
                generation = await deferToThread(write_generation, folder, snapshot.revision, plan.files)
        assert generation is not None
        if generation != previous:
            await _switch(folder, generation, previous)
        watch.lap("write")
        try:
            verified = await _load(steps, prepared, watch)
            if steps.probe is not None:
                if worse := await steps.probe():
                    raise ApplyRefused("probe", worse)
                watch.lap("probe")
        except BaseException as error:
            await _take_back(steps, folder, prepared, error)
            raise
        await deferToThread(_confirm, folder, generation)
    finally:
        lock.__exit__(None, None, None)
    applied = Applied(
        snapshot.revision, generation, previous, plan.changed, plan.modules, check, verified, watch.took_s
    )
    _log.info("configuration {applied}; {laps}", applied=applied, laps=watch)
    return applied


def plan_snapshot(
    snapshot: Snapshot,
    target: RenderTarget,
    folder: Path,
    static_files: Mapping[str, str] = MappingProxyType({}),
    *,
    full: bool = False,
    look_past_edits: bool = False,
) -> Prepared:
    """What an apply would do; reads only. HandEdited unless `look_past_edits`, ValueUnrepresentable, ApplyRefused for files that cannot be used."""
    _refuse_certificates(target)
    rendered = {**static_files, **render(snapshot, target)}
    previous = linked_generation(folder, "current")
    present = read_generation(folder, previous) if previous is not None else None
    if present is not None and present.edited and not look_past_edits:
        raise HandEdited(present.name, present.edited)
    files = present.files if present is not None else {}
    plan = plan_files(rendered, files)
    live = linked_generation(folder, "live")
    counted_from, unread = files, plan.changed
    if live != previous:
        # The last apply did not come to its end: count from what Asterisk is known to have read.
        counted_from = read_generation(folder, live).files if live is not None else {}
        unread = plan_files(plan.files, counted_from).changed
        plan = Plan(plan.files, plan.changed, modules_of((*plan.changed, *unread)))
    if full:
        plan = Plan(plan.files, plan.changed, modules_of(plan.files))
    touched = touch_all(snapshot) if full else find_touched(plan.files, counted_from, unread)
    if touched.everything and not full:
        touched = _with_gone(touch_all(snapshot), touched)
    return Prepared(plan, previous, files, touched)


def _refuse_certificates(target: RenderTarget) -> None:
    """Asterisk would go on with what it has read, and come up without TLS at its next start. One that has expired is `tandem check`'s to tell: calls go on."""
    files = {(it.certificate, it.key) for it in target.transports if it.certificate}
    problems = [
        problem
        for certificate, key in sorted(files)
        for problem in look_at_pair(CertificatePair("asterisk", "sip_tls_", Path(certificate), Path(key))).problems
    ]
    if problems:
        raise ApplyRefused("settings", tuple(problems))


class _Watch:
    """How long each step took, for the log."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()
        self._laps: list[str] = []

    def lap(self, step: str) -> None:
        """Ends a step."""
        now = time.monotonic()
        self._laps.append(f"{step} {now - self._last:.2f} s")
        self._last = now

    @property
    def took_s(self) -> float:
        """Since the start."""
        return round(time.monotonic() - self._started, 3)

    def __str__(self) -> str:
        return ", ".join(self._laps)


async def _switch(folder: Path, generation: str, previous: str | None) -> None:
    """`current` names it. Cancelled: it is taken back, after the thread has ended, which nothing can stop."""
    ended = threading.Event()

    def switch() -> None:
        try:
            switch_link(folder, "current", generation)
        finally:
            ended.set()

    try:
        await deferToThread(switch)
    except CancelledError:
        await deferToThread(ended.wait)
        await deferToThread(_switch_back, folder, previous)
        raise


async def _load(steps: Steps, prepared: Prepared, watch: _Watch) -> int:
    """Reloads and verifies; how many objects were verified."""
    is_asked = steps.verify is not None and prepared.touched != Touched()
    # Read while Asterisk reloads: with 10,000 objects it takes as long as a small PBX's whole apply.
    reading = deferToThread(expect_files, prepared.plan.files, prepared.touched) if is_asked else None
    try:
        for module in prepared.plan.modules:
            await steps.reload(module)
    except BaseException:
        if reading is not None:
            reading.addErrback(lambda _: None)  # one error is told, not two
        raise
    watch.lap("reload")
    if steps.verify is None or reading is None:
        return 0
    expected = await reading
    complaints = await steps.verify(expected)
    if complaints:
        raise ApplyRefused("live", complaints)
    watch.lap("verify")
    return expected.count


async def _take_back(steps: Steps, folder: Path, prepared: Prepared, error: BaseException) -> None:
    """Back to the previous generation, on the disk and in Asterisk; `live` names it again only when Asterisk has read it."""
    await deferToThread(_switch_back, folder, prepared.previous)
    if isinstance(error, GeneratorExit | CancelledError):
        return
    try:
        for module in prepared.plan.modules:
            await steps.reload(module)
    except Exception as again:  # noqa: BLE001 - the first error is the one to tell; the next apply reloads
        aftermath = f"the previous files are back on the disk, but Asterisk did not reload them: {again}"
        _log.error("{aftermath}", aftermath=aftermath)
    else:
        aftermath = "taken back: Asterisk has the previous configuration again"
        if prepared.previous is not None:
            await deferToThread(switch_link, folder, "live", prepared.previous)
    if isinstance(error, ApplyRefused):
        raise ApplyRefused(error.stage, error.problems, aftermath) from None


def _switch_back(folder: Path, previous: str | None) -> None:
    """What is on the disk is the previous generation, what Asterisk runs is unknown, so the next apply reloads all."""
    drop_link(folder, "live")
    if previous is not None:
        switch_link(folder, "current", previous)
    else:
        drop_link(folder, "current")


def _confirm(folder: Path, generation: str) -> None:
    if linked_generation(folder, "live") != generation:
        switch_link(folder, "live", generation)
        remove_old_generations(folder, KEPT_GENERATIONS)


def _with_gone(everything: Touched, touched: Touched) -> Touched:
    """All objects, and those that go."""
    return Touched(
        everything.endpoints | touched.endpoints,
        everything.trunks | touched.trunks,
        everything.queues | touched.queues,
        everything.voicemail_boxes | touched.voicemail_boxes,
        everything.penalty_rules | touched.penalty_rules,
        everything.music_classes | touched.music_classes,
        dialplan=True,
        everything=True,
    )
