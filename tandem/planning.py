"""Plans of documents, kept under an id and applied if nothing moved since; drift; never a second way to write files or objects.

A plan is computed like an apply and from the same functions, beside the database's head and the files on the disk. What it keeps is
the difference to that head, so that applying it is exactly what was shown.
"""

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from twisted.internet.threads import deferToThread

from confgen.apply import plan_snapshot
from confgen.expected import Expectation, expect_files
from confgen.generations import fingerprint_files
from confgen.hand_edits import read_edits
from confgen.plan import diff_files, touch_all
from confgen.verify import verify_live
from tandem.ami.client import AmiClient
from tandem.applying import Applying, Beside
from tandem.document import read_document
from tandem.domain.changes import AppliedView, DriftView, FileDiff, ObjectChange, PlanOutdated, PlanView
from tandem.domain.entities import Pbx
from tandem.domain.route_tests import refuse_failing
from tandem.domain.secret_references import References
from tandem.domain.snapshot import Snapshot, build_snapshot
from tandem.domain.sounds import find_missing_sounds
from tandem.live import Live
from tandem.store.changes import describe_difference, load_object_changes
from tandem.store.database import Store
from tandem.store.objects import Difference, HeadMoved, Saved, compare_head, load_pbx, save_difference, save_pbx
from tandem.store.plans import Plan, load_plan, record_applied, save_plan
from tandem.store.revisions import load_head, load_live
from tandem.store.secret_references import save_references
from tandem.store.sounds import load_sound_names


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan stands on. difference: what makes the planned PBX of the head; objects: that in words; sounds: the names of all."""

    head: int
    live: int | None
    difference: Difference
    objects: tuple[ObjectChange, ...]
    sounds: frozenset[str]


def read_ground(db: Any, pbx: Pbx) -> Ground:
    """Work for a Store."""
    mark = load_live(db)
    difference = compare_head(db, pbx)
    return Ground(
        head=load_head(db),
        live=None if mark is None else mark.revision,
        difference=difference,
        objects=describe_difference(db, difference),
        sounds=load_sound_names(db),
    )


def compose_plan(
    pbx: Pbx,
    references: References,
    ground: Ground,
    beside: Beside,
    author: str,
    note: str,
) -> Plan:
    """What applying this PBX would do, reading the disk. ApplyRefused by a route test, ValueUnrepresentable."""
    snapshot = build_snapshot(ground.head + 1, pbx)
    refuse_failing(snapshot)
    fingerprint = fingerprint_files(beside.folder)
    prepared = plan_snapshot(snapshot, beside.target, beside.folder, beside.static_files, look_past_edits=True)
    shown = PlanView(
        head=ground.head,
        live=ground.live,
        objects=ground.objects,
        files=diff_files(prepared.plan.files, prepared.present, prepared.plan.changed),
        modules=prepared.plan.modules,
        hand_edits=read_edits(beside.folder),
        missing_sounds=find_missing_sounds(snapshot, ground.sounds),
    )
    return Plan(
        plan_id=secrets.token_hex(4),
        created_at=datetime.now(UTC),
        author=author,
        note=note,
        head=ground.head,
        live=ground.live,
        ground=fingerprint,
        difference=ground.difference,
        references=references,
        shown=orjson.loads(orjson.dumps(asdict(shown))),
    )


def view_plan(plan: Plan) -> dict[str, Any]:
    """A kept plan as a `PlannedView`."""
    return {
        "plan_id": plan.plan_id,
        "created_at": plan.created_at,
        "author": plan.author,
        "note": plan.note,
        "plan": plan.shown,
        "revision": plan.revision,
    }


class Planning:
    """The use-cases of plans and drift in the running process."""

    def __init__(
        self,
        store: Store,
        live: Live,
        ami: AmiClient,
        beside: Callable[[], Beside],
        applying: Applying,
        forget: Callable[[], object],
    ) -> None:
        self._store, self._live, self._ami = store, live, ami
        self._beside, self._applying, self._forget = beside, applying, forget

    async def plan_document(self, text: str, note: str, *, author: str) -> dict[str, Any]:
        """Keeps a plan of a document. DocumentError, ApplyRefused by a route test, ValueUnrepresentable."""
        pbx = await deferToThread(read_document, text, "plan")
        ground = await self._store.read(read_ground, pbx)
        plan = await deferToThread(compose_plan, pbx, {}, ground, self._beside(), author, note)
        await self._store.run(save_plan, plan)
        return view_plan(plan)

    async def find_plan(self, plan_id: str) -> dict[str, Any]:
        """A plan as it was shown; KeyError."""
        return view_plan(await self._store.read(load_plan, plan_id))

    async def apply_plan(self, plan_id: str, note: str, *, author: str) -> AppliedView:
        """Makes a plan the newest revision, and live. KeyError; PlanOutdated says what moved since, and nothing was changed."""
        plan = await self._store.read(load_plan, plan_id)
        if moved := await self._list_moved(plan):
            raise PlanOutdated(plan_id, moved)

        def save(db: Any) -> Saved:
            saved = save_difference(
                db,
                plan.difference,
                expected=plan.head,
                author=author,
                note=note or plan.note or f"plan {plan_id}",
                at=datetime.now(UTC),
            )
            save_references(db, load_pbx(db), plan.references)
            record_applied(db, plan_id, saved.revision)
            return saved

        try:
            saved = await self._store.run(save)
        except HeadMoved as error:
            raise PlanOutdated(plan_id, (f"the newest revision is {error.head}, not {plan.head}",)) from None
        finally:
            self._forget()
        return await self._applying.apply_head(expected_revision=saved.revision)

    async def import_document(self, text: str, note: str, *, author: str) -> tuple[Saved, AppliedView]:
        """Saves a PBX document as the head and applies it. DocumentError, ApplyRefused by its route tests and StoreError change nothing."""
        # In a thread, so that calls get their turns: a document of 100,000 DIDs takes seconds.
        pbx = await deferToThread(_read_tested, text)
        saved = await self._store.run(save_pbx, pbx, author=author, note=note, at=datetime.now(UTC))
        self._forget()
        return saved, await self._applying.apply_head()

    async def _list_moved(self, plan: Plan) -> tuple[str, ...]:
        if plan.revision is not None:
            return (f"it was saved as revision {plan.revision} already",)
        head, mark = await self._store.read(load_head), await self._store.read(load_live)
        live = None if mark is None else mark.revision
        ground = await deferToThread(fingerprint_files, self._beside().folder)
        found = (
            (head != plan.head, f"the newest revision is {head}, not {plan.head}"),
            (live != plan.live, f"revision {live or 'none'} is live, not {plan.live or 'none'}"),
            (ground != plan.ground, "the files on the disk are not those that it was made for"),
        )
        return tuple(words for has_moved, words in found if has_moved)

    async def read_drift(self) -> DriftView:
        """Database, files on the disk and live Asterisk against each other. AmiError where Asterisk cannot be asked, StoreError."""
        head, mark = await self._store.read(load_head), await self._store.read(load_live)
        live = None if mark is None else mark.revision
        snapshot = await self._live.prepare(live or 0)
        files, expected = await deferToThread(_compare_disk, snapshot, self._beside())
        return DriftView(
            head=head,
            live=live,
            objects=await self._store.read(load_object_changes, live or 0, head),
            files=files,
            asterisk=await verify_live(expected, self._ami) if live is not None else (),
            checked=expected.count,
        )


def _compare_disk(snapshot: Snapshot, beside: Beside) -> tuple[tuple[FileDiff, ...], Expectation]:
    prepared = plan_snapshot(snapshot, beside.target, beside.folder, beside.static_files, look_past_edits=True)
    files = diff_files(prepared.plan.files, prepared.present, prepared.plan.changed)
    return files, expect_files(prepared.plan.files, touch_all(snapshot))


def _read_tested(text: str) -> Pbx:
    pbx = read_document(text, "import")
    if pbx.expect:
        refuse_failing(build_snapshot(0, pbx))
    return pbx
