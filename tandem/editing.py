"""Changes single objects of the head: checked against all the others, saved as a new revision; never applies anything.

The head is kept in memory as a snapshot that shares what it can with the live one, so that reading costs no SQL. Whoever makes a
revision by another way (an import, a rollback) calls `forget`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread

from tandem.domain.entities import COLLECTIONS, Entity, General, Pbx
from tandem.domain.problems import Problem
from tandem.domain.references import check_pbx
from tandem.domain.route_tests import run_route_tests
from tandem.domain.snapshot import COLLECTION_OF, Snapshot, name_of, with_entity, with_general, without_entity
from tandem.domain.sounds import find_music_users
from tandem.live import Live
from tandem.store.database import Store
from tandem.store.objects import HeadMoved, Saved, delete_object, save_object
from tandem.store.revisions import load_head

Object = Entity | General


@dataclass(frozen=True, slots=True)
class Gone:
    """An object that is taken away."""

    collection: str
    name: str


# What saves within a transaction of the caller's choice, and returns what saving did.
Commit = Callable[[Callable[[Any], Saved]], Awaitable[Saved]]


class EditRefused(ValueError):
    """The object does not fit the others; each problem names the object (`dids/+4930…`) and the field."""

    def __init__(self, problems: tuple[tuple[str, str, str], ...]) -> None:
        super().__init__("; ".join(f"{place} {field}: {rule}".replace(" :", ":") for place, field, rule in problems))
        self.problems = problems


class StillUsed(ValueError):
    """The object is what others lead to; `referrers` are these, as `dids/+4930…` and the field."""

    def __init__(self, place: str, referrers: tuple[tuple[str, str], ...]) -> None:
        names = ", ".join(sorted({name for name, _ in referrers}))
        super().__init__(f"{place} is still used by {names}")
        self.place, self.referrers = place, referrers


@dataclass(frozen=True, slots=True)
class Author:
    """Who edits, for the history."""

    name: str
    now: Callable[[], datetime]


class Head:
    """The newest revision, to read and to edit. One edit at a time."""

    def __init__(self, store: Store, live: Live) -> None:
        self._store = store
        self._live = live
        self._snapshot: Snapshot | None = None
        self._forgotten = 0
        self._lock = DeferredLock()

    def forget(self) -> None:
        """The head was changed by another way."""
        self._snapshot = None
        self._forgotten += 1

    async def read(self) -> Snapshot:
        """The head as a snapshot; StoreError without a database."""
        while self._snapshot is None:
            forgotten = self._forgotten
            snapshot = await self._live.prepare(await self._store.read(load_head))
            self._keep(snapshot, forgotten)
        return self._snapshot

    def _keep(self, snapshot: Snapshot, forgotten: int) -> None:
        """Only what was read since the last `forget` is the head."""
        if forgotten == self._forgotten:
            self._snapshot = snapshot

    async def edit(self, decide: Callable[[Snapshot], Object], author: Author, commit: Commit) -> Object:
        """Saves the object that `decide` makes of the head (or what it raises). EditRefused, StoreError change nothing."""

        async def change(snapshot: Snapshot) -> tuple[Snapshot, Object]:
            entity = decide(snapshot)
            if problems := await deferToThread(_check_with, snapshot, entity):
                raise EditRefused(problems)
            edited = with_object(snapshot, snapshot.revision, entity)
            if problems := _fail_tests(edited):
                raise EditRefused(problems)
            note = f"{'/'.join(place_of(entity))} saved".replace("general/", "general")
            saved = await commit(
                lambda db: save_object(
                    db, entity, expected=snapshot.revision, author=author.name, note=note, at=author.now()
                )
            )
            return (replace(edited, revision=saved.revision) if saved.is_new else snapshot), entity

        edited: Object = await self._change(change)
        return edited

    async def edit_all(
        self, decide: Callable[[Snapshot], Sequence[Entity | Gone]], author: Author, commit: Commit
    ) -> Sequence[Entity | Gone]:
        """The same for several objects, also for some that go: all happens or nothing, each as a revision of its own.

        StillUsed names what leads to one that goes, KeyError one that is not there.
        """

        async def change(snapshot: Snapshot) -> tuple[Snapshot, Sequence[Entity | Gone]]:
            entities, checked = decide(snapshot), snapshot
            gone = [entity for entity in entities if isinstance(entity, Gone)]
            for entity in entities:
                if isinstance(entity, Gone):
                    checked = without_entity(checked, snapshot.revision, entity.collection, entity.name)
                    continue
                if problems := await deferToThread(_check_with, checked, entity):
                    raise EditRefused(problems)
                checked = with_entity(checked, snapshot.revision, entity)
            if gone and (referrers := await deferToThread(_check_left, checked, gone)):
                raise StillUsed(", ".join(f"{one.collection}/{one.name}" for one in gone), referrers)
            if problems := _fail_tests(checked):
                raise EditRefused(problems)

            def work(db: Any) -> Saved:
                saved = Saved(snapshot.revision, 0, 0, 0)
                for entity in entities:
                    how: dict[str, Any] = {"author": author.name, "expected": saved.revision, "at": author.now()}
                    if isinstance(entity, Gone):
                        place = f"{entity.collection}/{entity.name}"
                        one = delete_object(db, entity.collection, entity.name, note=f"{place} deleted", **how)
                    else:
                        one = save_object(db, entity, note=f"{'/'.join(place_of(entity))} saved", **how)
                    saved = one if one.is_new else saved
                return saved

            saved = await commit(work)
            return replace(checked, revision=saved.revision), entities

        edited: Sequence[Entity | Gone] = await self._change(change)
        return edited

    async def rename(
        self, decide: Callable[[Snapshot], tuple[Entity, Entity]], author: Author, commit: Commit
    ) -> Entity:
        """Puts an object in the place of one of another name: `decide` gives (the old one, the new one). Both happen or neither."""

        async def change(snapshot: Snapshot) -> tuple[Snapshot, Entity]:
            old, new = decide(snapshot)
            (collection, name), wanted = place_of(old), place_of(new)
            assert collection == wanted[0]
            assert name != wanted[1]
            left = without_entity(snapshot, snapshot.revision, collection, name)
            if problems := await deferToThread(_check_with, left, new):
                raise EditRefused(problems)
            renamed = with_entity(left, snapshot.revision, new)
            if problems := _fail_tests(renamed):
                raise EditRefused(problems)
            note = f"{collection}/{name} renamed to {wanted[1]}"
            how: dict[str, Any] = {"author": author.name, "note": note, "at": author.now()}

            def work(db: Any) -> Saved:
                between = delete_object(db, collection, name, expected=snapshot.revision, **how)
                return save_object(db, new, expected=between.revision, **how)

            saved = await commit(work)
            return replace(renamed, revision=saved.revision), new

        renamed: Entity = await self._change(change)
        return renamed

    async def delete(
        self, collection: str, name: str, check: Callable[[Snapshot], object], author: Author, commit: Commit
    ) -> None:
        """Takes an object away. `check(snapshot)` may raise. StillUsed names what leads to it."""

        async def change(snapshot: Snapshot) -> tuple[Snapshot, None]:
            check(snapshot)
            left = without_entity(snapshot, snapshot.revision, collection, name)
            if referrers := await deferToThread(_check_left, left, [Gone(collection, name)]):
                raise StillUsed(f"{collection}/{name}", referrers)
            if problems := _fail_tests(left):
                raise EditRefused(problems)
            saved = await commit(
                lambda db: delete_object(
                    db,
                    collection,
                    name,
                    expected=snapshot.revision,
                    author=author.name,
                    note=f"{collection}/{name} deleted",
                    at=author.now(),
                )
            )
            return replace(left, revision=saved.revision), None

        await self._change(change)

    async def _change(self, change: Callable[[Snapshot], Awaitable[tuple[Snapshot, Any]]]) -> Any:
        await self._lock.acquire()
        try:
            forgotten = self._forgotten
            snapshot, result = await change(await self.read())
            self._keep(snapshot, forgotten)
            return result
        except HeadMoved:
            self.forget()
            raise
        finally:
            self._lock.release()


def find_object(snapshot: Snapshot, collection: str, name: str) -> Entity | None:
    """The object of exactly this name."""
    if collection != "dids":
        found: Entity | None = getattr(snapshot, collection).get(name)
        return found
    try:
        did = snapshot.dids.named(name)
    except ValueError:
        return None
    return did if did is not None and did.number == name else None


def list_objects(snapshot: Snapshot, collection: str) -> list[Entity]:
    """All of a collection."""
    members = getattr(snapshot, collection)
    return list(members if collection == "dids" else members.values())


def place_of(entity: Object) -> tuple[str, str]:
    """("dids", "+493012345")."""
    return ("general", "") if isinstance(entity, General) else (COLLECTION_OF[type(entity)], name_of(entity))


def with_object(snapshot: Snapshot, revision: int, entity: Object) -> Snapshot:
    """The next revision, with this object."""
    if isinstance(entity, General):
        return with_general(snapshot, revision, entity)
    return with_entity(snapshot, revision, entity)


def _fail_tests(snapshot: Snapshot) -> tuple[tuple[str, str, str], ...]:
    """Route tests that this would make fail."""
    return tuple((f"expect/{test.question}", "", test.problem) for test in run_route_tests(snapshot) if test.problem)


def _gather(snapshot: Snapshot) -> Pbx:
    found: dict[str, Any] = {collection: tuple(list_objects(snapshot, collection)) for collection in COLLECTIONS}
    return Pbx(general=snapshot.general, **found)


def _check_with(snapshot: Snapshot, entity: Object) -> tuple[tuple[str, str, str], ...]:
    """What would be wrong with this object among the others."""
    pbx = _gather(snapshot)
    if isinstance(entity, General):
        pbx = replace(pbx, general=entity)
    else:
        collection, name = place_of(entity)
        others = tuple(other for other in getattr(pbx, collection) if name_of(other) != name)
        # At the end, so that what two objects cannot both have is told of this one.
        ours: dict[str, Any] = {collection: (*others, entity)}
        pbx = replace(pbx, **ours)
    problems = check_pbx(pbx)
    return tuple((*_tell_place(pbx, problem), problem.message) for problem in problems)


def _check_left(snapshot: Snapshot, gone: Sequence[Gone]) -> tuple[tuple[str, str], ...]:
    """What leads to an object that is gone. Music is asked about by itself: a class that is no object of ours may be Asterisk's own."""
    pbx = _gather(snapshot)
    heard = (one for it in gone if it.collection == "music_classes" for one in find_music_users(snapshot, it.name))
    return (*(_tell_place(pbx, problem) for problem in check_pbx(pbx)), *heard)


def _tell_place(pbx: Pbx, problem: Problem) -> tuple[str, str]:
    """(`dids/+493012345`, `destination.queue`): names instead of indices into a document that nobody has."""
    collection, *rest = problem.location
    if collection != "general" and rest and isinstance(rest[0], int):
        entity = getattr(pbx, str(collection))[rest[0]]
        return f"{collection}/{name_of(entity)}", Problem(tuple(rest[1:]), "").path
    return str(collection), Problem(tuple(rest), "").path
