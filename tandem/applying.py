"""Plan, apply, roll back, history, hand edits: the use-cases of the command line and the HTTP API; never a second way to write files.

Head is what the database has, live what Asterisk was seen to have. One apply at a time: others of this process wait, another
process is told that it is busy.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredLock, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from confgen.adopt import plan_adoption, write_own_files
from confgen.apply import Applied, Prepared, Steps, apply_snapshot, plan_snapshot
from confgen.expected import Expectation
from confgen.generations import (
    linked_generation,
    read_generation,
)
from confgen.hand_edits import discard_edits, read_edited, read_edits
from confgen.plan import Touched, diff_files
from confgen.render import RenderTarget
from confgen.verify import NOTHING, Check, verify_live
from tandem.ami import actions
from tandem.ami.client import AmiClient
from tandem.ami.errors import AmiRefused
from tandem.domain.changes import (
    AppliedView,
    ApplyStopped,
    Complaint,
    FileDiff,
    HandEdited,
    PlanView,
    RevisionChanged,
    RevisionDetail,
    RevisionView,
)
from tandem.domain.probes import Health, choose_numbers, choose_phones
from tandem.domain.route_tests import refuse_failing
from tandem.domain.snapshot import Snapshot
from tandem.domain.sounds import find_missing_sounds
from tandem.live import Live
from tandem.probing import Probe
from tandem.store.changes import load_object_changes, save_rollback
from tandem.store.database import Store
from tandem.store.objects import load_pbx, save_pbx
from tandem.store.revisions import Revision, load_head, load_live, load_revisions, record_live
from tandem.store.sounds import load_sound_names

log = logging.getLogger(__name__)

T = TypeVar("T")

RELOAD_TIMEOUT_S: Final = 60.0
# What Asterisk says of a module that is not installed or not loaded, and of one that declined to run, for it had nothing in its file.
MODULE_MISSING: Final = ("Module not found", "No such module")
MODULE_IDLE: Final = "Module not initialized"
# A module may answer its reload before it has done the work (pbx_config): Asterisk is asked again for so long.
SETTLE_S: Final = 3.0
_ASK_AGAIN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Beside:
    """The Asterisk beside us: folder of our files, what is rendered for it, the static dialplan's files."""

    folder: Path
    target: RenderTarget
    static_files: Mapping[str, str]


class Applying:
    """`after(snapshot)` is awaited when a revision went live: last-known routes, queue members. `forget()` is called for a new head."""

    def __init__(
        self,
        store: Store,
        live: Live,
        ami: AmiClient,
        beside: Callable[[], Beside],
        check: Check,
        reactor: IReactorTime,
        *,
        after: Callable[[Snapshot], Awaitable[object]],
        forget: Callable[[], object] = lambda: None,
        probe: Probe | None = None,
    ) -> None:
        self.problem: str | None = None
        self._store, self._live, self._ami = store, live, ami
        self._beside, self._check, self._reactor = beside, check, reactor
        self._after, self._forget = after, forget
        self._probe = probe
        self._lock = DeferredLock()
        self._running: Deferred[Any] | None = None
        self._is_stopping = False
        # (revision, target, generation) that the last apply left, so that doing nothing costs no rendering.
        self._done: tuple[int, Beside, str] | None = None

    # ------------------------------------------------------------------------------------------------- looking

    async def plan_head(self) -> PlanView:
        """What an apply would do now; reads only. ValueUnrepresentable, StoreError."""
        head, mark = await self._store.read(load_head), await self._store.read(load_live)
        snapshot = await self._live.prepare(head)
        prepared = await self._plan(snapshot)
        return await self._view(snapshot, None if mark is None else mark.revision, prepared)

    async def list_history(self, limit: int = 50) -> tuple[RevisionView, ...]:
        """Revisions, newest first."""
        revisions = await self._store.read(load_revisions, limit)
        return tuple([await self._view_revision(revision) for revision in revisions])

    async def show_revision(self, number: int) -> RevisionDetail:
        """A revision and what it changed; KeyError if there is none of this number."""
        head = await self._store.read(load_head)
        if not 0 < number <= head:
            raise KeyError(number)
        revisions = await self._store.read(load_revisions, head - number + 1)
        view = await self._view_revision(revisions[-1])
        return RevisionDetail(view, await self._store.read(load_object_changes, number - 1, number))

    async def read_hand_edits(self) -> tuple[FileDiff, ...]:
        """What somebody changed in the generated files since they were written."""
        return await deferToThread(read_edits, self._beside().folder)

    # ------------------------------------------------------------------------------------------------ changing

    async def apply_head(
        self, *, full: bool = False, dry_run: bool = False, expected_revision: int | None = None
    ) -> AppliedView:
        """Brings the head live, or leaves what was live and raises why.

        `full`: every object is checked and verified. `dry_run`: plans and checks, and writes nothing. Raises ApplyRefused, HandEdited,
        ApplyBusy, ApplyStopped, RevisionChanged, ValueUnrepresentable, OSError, AmiError, StoreError.
        """
        async with self._lock:
            return await self._until_stopped(self._bring_live(expected_revision, full=full, dry_run=dry_run))

    async def stop(self) -> None:
        """Ends what is under way and lets nothing begin; to be awaited while AMI and the database are still there."""
        self._is_stopping = True
        if self._running is not None:
            self._running.cancel()
        async with self._lock:
            pass

    async def rollback(self, revision: int, *, author: str, note: str = "") -> AppliedView:
        """Makes what revision N was the newest revision, and live; history only grows. KeyError if there is none of this number."""
        saved = await self._store.run(save_rollback, revision, author=author, at=datetime.now(UTC), note=note)
        log.info("rollback to revision %d is revision %d", revision, saved.revision)
        self._forget()
        return await self.apply_head()

    async def discard_hand_edits(self) -> tuple[str, ...]:
        """Puts the files back as they were generated; their names. What was edited stays beside them, out of the way."""
        async with self._lock:
            return await deferToThread(discard_edits, self._beside().folder)

    async def adopt_hand_edits(self, *, author: str) -> AppliedView:
        """Keeps a hand edit: values of ours become a new revision, options that we do not write go to the admin's own files.

        EditNotAdoptable names every line that is neither, and nothing was changed.
        """
        beside = self._beside()
        edits = await deferToThread(read_edited, beside.folder)
        if edits is not None:
            name, originals, files = edits
            mark = await self._store.read(load_live)
            pbx = await self._store.read(load_pbx, None if mark is None else mark.revision)
            adopted, own = await deferToThread(plan_adoption, pbx, originals, files)
            if adopted != pbx:
                note = f"hand edit of generation {name} adopted"
                await self._store.run(save_pbx, adopted, author=author, note=note, at=datetime.now(UTC))
                self._forget()
            await deferToThread(write_own_files, beside.folder, own)
            await self.discard_hand_edits()
        return await self.apply_head()

    def describe_start(self) -> str:
        """One line for the log: what is on the disk, whether Asterisk is known to have read it."""
        folder = self._beside().folder
        current, live = linked_generation(folder, "current"), linked_generation(folder, "live")
        if current is None:
            return f"{folder}: no configuration was written yet"
        if current == live:
            return f"{folder}: generation {current}, which Asterisk has"
        return f"{folder}: generation {current} is whole, but an apply did not come to its end (Asterisk had {live or 'none'})"

    def is_in_step(self) -> bool:
        """Whether Asterisk is known to have read what is on the disk."""
        folder = self._beside().folder
        current = linked_generation(folder, "current")
        return current is not None and current == linked_generation(folder, "live")

    # -------------------------------------------------------------------------------------------------- inside

    async def _until_stopped(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        if self._is_stopping:
            work.close()
            raise ApplyStopped
        running: Deferred[T] = Deferred.fromCoroutine(work)
        self._running = running
        try:
            return await running
        except CancelledError:
            log.info("an apply was ended half-way, for Tandem stops")
            raise ApplyStopped from None
        finally:
            self._running = None

    async def _bring_live(self, expected_revision: int | None, *, full: bool, dry_run: bool) -> AppliedView:
        head = await self._store.read(load_head)
        if expected_revision is not None and expected_revision != head:
            raise RevisionChanged(expected_revision, head)
        if dry_run:
            return await self._rehearse(head, full=full)
        try:
            view = await self._apply(head, full=full)
        except Exception as error:
            self.problem = f"revision {head} is not live: {error}"
            raise
        self.problem = None
        return view

    async def _apply(self, head: int, *, full: bool) -> AppliedView:
        started = monotonic()
        beside = self._beside()
        snapshot = await self._live.prepare(head)
        await deferToThread(refuse_failing, snapshot)
        applied = None if full else await self._skip(head, beside)
        if applied is None:
            remembered, compare = await self._prepare_probe(head, snapshot)

            async def check(touched: Touched) -> str:
                try:
                    return await self._check.check(snapshot, beside.target, beside.static_files, touched)
                finally:
                    await remembered  # meanwhile; nothing is switched before

            steps = Steps(self._reload, check=check, verify=self._verify, probe=compare)
            applied = await apply_snapshot(
                snapshot, beside.target, beside.folder, steps, beside.static_files, full=full
            )
        self._done = (head, beside, applied.generation)
        mark = await self._store.read(load_live)
        if mark is None or mark.revision != head:
            await self._store.run(record_live, head, datetime.now(UTC))
        self._live.adopt(snapshot)
        await self._after(snapshot)
        log.info("revision %d is live; reloaded: %s", head, ", ".join(applied.reloaded) or "nothing")
        return AppliedView(
            revision=head,
            live=True,
            generation=applied.generation,
            changed=applied.changed,
            reloaded=applied.reloaded,
            check=applied.check,
            verified=applied.verified,
            took_s=round(monotonic() - started, 3),
        )

    async def _prepare_probe(
        self, head: int, snapshot: Snapshot
    ) -> tuple[Deferred[None], Callable[[], Awaitable[tuple[Complaint, ...]]] | None]:
        """(fires when it is known how well Asterisk is, what compares that with afterwards, FastAGI deciding by the new revision already).

        None where nothing can be worse: before the first revision, and for one that is live already (Asterisk has just booted).
        """
        probe, old = self._probe, self._live.current if self._live.is_loaded else None
        mark = await self._store.read(load_live)
        if probe is None or old is None or mark is None or mark.revision in {0, head}:
            return succeed(None), None
        changes = await self._store.read(load_object_changes, mark.revision, head)
        numbers, known = choose_numbers(changes, snapshot), [Health()]

        async def remember() -> None:
            known[0] = await probe.remember(tuple(old.trunks), choose_phones(changes))

        remembered = Deferred.fromCoroutine(remember())

        async def compare() -> tuple[Complaint, ...]:
            await remembered  # where there was nothing to check
            self._live.adopt(snapshot)
            try:
                worse = await probe.check(known[0], snapshot, numbers)
            except BaseException:
                self._live.adopt(old)
                raise
            if worse:
                self._live.adopt(old)
            return worse

        return remembered, compare

    async def _skip(self, head: int, beside: Beside) -> Applied | None:
        """The same revision for the same Asterisk once more: only whether the files are still what they were."""
        if self._done is None or self._done[:2] != (head, beside):
            return None
        generation = self._done[2]
        if not self.is_in_step() or linked_generation(beside.folder, "current") != generation:
            return None
        edited = (await deferToThread(read_generation, beside.folder, generation)).edited
        if edited:
            raise HandEdited(generation, edited)
        return Applied(head, generation, generation, (), ())

    async def _rehearse(self, head: int, *, full: bool) -> AppliedView:
        started = monotonic()
        beside = self._beside()
        mark = await self._store.read(load_live)
        snapshot = await self._live.prepare(head)
        await deferToThread(refuse_failing, snapshot)
        prepared = await self._plan(snapshot, full=full)
        check = NOTHING
        if prepared.plan.changed or full:
            check = await self._check.check(snapshot, beside.target, beside.static_files, prepared.touched)
        plan = await self._view(snapshot, None if mark is None else mark.revision, prepared)
        return AppliedView(
            revision=head,
            live=False,
            generation=prepared.previous,
            changed=prepared.plan.changed,
            reloaded=(),
            check=check,
            verified=0,
            took_s=round(monotonic() - started, 3),
            plan=plan,
        )

    async def _plan(self, snapshot: Snapshot, *, full: bool = False) -> Prepared:
        beside = self._beside()
        return await deferToThread(
            plan_snapshot,
            snapshot,
            beside.target,
            beside.folder,
            beside.static_files,
            full=full,
            look_past_edits=True,
        )

    async def _view(self, snapshot: Snapshot, live: int | None, prepared: Prepared) -> PlanView:
        plan, head = prepared.plan, snapshot.revision
        return PlanView(
            head=head,
            live=live,
            objects=await self._store.read(load_object_changes, live or 0, head),
            files=await deferToThread(diff_files, plan.files, prepared.present, plan.changed),
            modules=plan.modules,
            hand_edits=await self.read_hand_edits(),
            missing_sounds=find_missing_sounds(snapshot, await self._store.read(load_sound_names)),
        )

    async def _view_revision(self, revision: Revision) -> RevisionView:
        head, mark = await self._store.read(load_head), await self._store.read(load_live)
        is_live = mark is not None and mark.revision == revision.number
        return RevisionView(
            **{name: getattr(revision, name) for name in Revision.__slots__},
            is_head=revision.number == head,
            live_since=mark.applied_at if mark is not None and is_live else None,
        )

    async def _reload(self, module: str) -> None:
        try:
            await self._ami.send(actions.module_reload(module), timeout_s=RELOAD_TIMEOUT_S)
        except AmiRefused as error:
            if error.reason.startswith(MODULE_IDLE):
                await self._load(module)
            # Anything else, such as "A reload is in progress", means that the files were not read.
            elif not error.reason.startswith(MODULE_MISSING):
                raise
            else:
                log.warning("Asterisk has no module %s: what it would read is not in use", module)

    async def _load(self, module: str) -> None:
        try:
            await self._ami.send(actions.module_load(module), timeout_s=RELOAD_TIMEOUT_S)
        except AmiRefused as error:
            log.warning("Asterisk's module %s does not run: %s", module, error.reason)

    async def _verify(self, expected: Expectation) -> tuple[Complaint, ...]:
        ends_at = monotonic() + SETTLE_S
        while True:
            complaints = await verify_live(expected, self._ami)
            if not complaints or monotonic() >= ends_at:
                return complaints
            await deferLater(self._reactor, _ASK_AGAIN_S)
