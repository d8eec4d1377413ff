"""What all actions that change the PBX share: saved by the one use-case, audited, and brought live at once; knows no module.

GOautodial's programs expect that what they changed holds. What Asterisk refuses is taken back and told. While Asterisk is away the change
is kept for the next apply, as GOautodial keeps it for its next run, and the answer says so (`rebuild_conf_status`).
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from api.compat.goapi.actions import Call
from api.compat.goapi.speech import Said, fail
from api.declare import Reply
from tandem.ami.errors import AmiError
from tandem.domain.entities import Entity
from tandem.domain.problems import describe_errors
from tandem.domain.snapshot import Snapshot
from tandem.editing import Gone, find_object, place_of
from tandem.store.did_ids import load_groups, save_group
from tandem.store.objects import Saved

log = logging.getLogger(__name__)

T = TypeVar("T")
# Whose an object is that is everybody's, and who sees all.
EVERYBODY: Final = "---ALL---"
ADMINS: Final = "ADMIN"
Beside = Callable[[Any], object]


def make(kind: Callable[..., T], words: Mapping[str, str], **values: Any) -> T:
    """An object of ours; Said with the rule and their word (`words`: our field -> theirs) for the first field that is wrong."""
    try:
        return kind(**values)
    except ValidationError as error:
        problem = describe_errors(error, root=kind)[0]  # type: ignore[arg-type]  # kinds are dataclasses
        field = str(problem.location[0]) if problem.location else ""
        raise fail(f"Error: {words.get(field, field)} {problem.message}".replace("  ", " ")) from None


class Objects:
    """Objects of the PBX that are saved or taken away: one step of what an action does (`api.joint`), and the way back."""

    def __init__(
        self, call: Call, decide: Callable[[Snapshot], Sequence[Entity | Gone]], beside: Beside = lambda _: None
    ) -> None:
        self._call, self._decide, self._beside = call, decide, beside
        self._wanted: Sequence[Entity | Gone] = ()
        self._before: list[Entity | None] = []
        self._owners: dict[tuple[str, str], str | None] = {}

    async def write(self, commit: Callable[[Any], Awaitable[Saved]]) -> None:
        """Saves what is decided of the head, with `beside` in the same transaction; what `Head.edit_all` raises."""

        def choose(snapshot: Snapshot) -> Sequence[Entity | Gone]:
            self._wanted = self._decide(snapshot)
            self._before = [find_object(snapshot, *_place(one)) for one in self._wanted]
            return self._wanted

        async def keep(work: Callable[[Any], Saved]) -> Saved:
            def perform(db: Any) -> Saved:
                saved = work(db)
                places = [_place(one) for one in self._wanted]
                groups = {collection: load_groups(db, collection) for collection, _ in places}
                self._owners = {(collection, name): groups[collection].get(name) for collection, name in places}
                self._beside(db)
                return saved

            return await commit(perform)

        await self._call.services.head.edit_all(choose, self._call.exchange.author, keep)

    async def undo(self, commit: Callable[[Any], Awaitable[Saved]]) -> None:
        """All as it was before, and everybody's again."""
        pairs = list(zip(self._wanted, self._before, strict=True))
        back = [old if old is not None else Gone(*_place(new)) for new, old in reversed(pairs)]

        async def keep(work: Callable[[Any], Saved]) -> Saved:
            def perform(db: Any) -> Saved:
                for place, owner in self._owners.items():
                    save_group(db, *place, owner)
                return work(db)

            return await commit(perform)

        await self._call.services.head.edit_all(lambda _: back, self._call.exchange.author, keep)

    def tell(self, saved: Saved) -> dict[str, int | None]:
        """What the audit log is told of them."""
        return {"/".join(_place(one)): saved.revision if saved.is_new else None for one in self._wanted}


def _place(one: Entity | Gone) -> tuple[str, str]:
    return (one.collection, one.name) if isinstance(one, Gone) else place_of(one)


async def change_all(
    call: Call, decide: Callable[[Snapshot], Sequence[Entity | Gone]], beside: Beside = lambda _: None
) -> dict[str, Any]:
    """Saves and takes away what `decide` makes of the head, all or nothing, and brings it live; more of the answer."""
    objects = Objects(call, decide, beside)

    async def commit(work: Callable[[Any], Saved]) -> Saved:
        saved, _ = await call.exchange.write(lambda db: (work(db), Reply()), objects.tell)
        return saved

    await objects.write(commit)
    return await bring_live(call, lambda: objects.undo(call.services.store.run))


async def save(call: Call, decide: Callable[[Snapshot], Entity], beside: Beside = lambda _: None) -> dict[str, Any]:
    """Saves what `decide` makes of the head, with `beside` in the same transaction; more of the answer."""
    return await change_all(call, lambda snapshot: [decide(snapshot)], beside)


async def rename(
    call: Call, decide: Callable[[Snapshot], tuple[Entity, Entity]], beside: Beside = lambda _: None
) -> dict[str, Any]:
    """Puts one object in the place of another of its kind."""
    chosen: list[tuple[Entity, Entity]] = []

    def choose(snapshot: Snapshot) -> tuple[Entity, Entity]:
        chosen.append(decide(snapshot))
        return chosen[-1]

    async def commit(work: Callable[[Any], Saved]) -> Saved:
        def perform(db: Any) -> tuple[Saved, Reply]:
            saved = work(db)
            beside(db)
            return saved, Reply()

        place = "/".join(place_of(chosen[-1][1]))
        saved, _ = await call.exchange.write(perform, place, lambda one: one.revision if one.is_new else None)
        return saved

    await call.services.head.rename(choose, call.exchange.author, commit)

    async def undo() -> None:
        old, new = chosen[-1]
        await call.services.head.rename(lambda _: (new, old), call.exchange.author, call.services.store.run)

    return await bring_live(call, undo)


async def delete(call: Call, *entities: Entity) -> dict[str, Any]:
    """Takes objects away that nothing leads to, all or none."""
    places = [place_of(entity) for entity in entities]

    def beside(db: Any) -> None:
        for collection, name in places:
            save_group(db, collection, name, None)

    return await change_all(call, lambda _: [Gone(*place) for place in places], beside)


async def bring_live(call: Call, undo: Callable[[], Awaitable[object]]) -> dict[str, Any]:
    """Applies the head; what more there is to answer."""
    try:
        await call.services.applying.apply_head()
    except AmiError as error:
        log.warning("goAPI: kept for the next apply: %s", error)
        return {"rebuild_conf_status": "pending: Asterisk cannot be asked now"}
    except Exception:
        await undo()
        raise
    return {}


# ----------------------------------------------------------------------------------------------------------- groups


async def read_groups(call: Call, collection: str) -> dict[str, str]:
    """Name -> group of what is somebody's."""
    found: dict[str, str] = await call.services.read_recent(("groups of", collection), load_groups, collection)
    return found


def read_limit(call: Call, default: int = 1000) -> int:
    """How many rows at most; whatever is no number is the default."""
    text = call.given.text("limit")
    return min(int(text), 100_000) if text.isascii() and text.isdecimal() and len(text) < 10 else default


def missing(text: str) -> Said:
    """An object that is not there, or not theirs: the same words for both."""
    return fail(text)


def columns(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Parallel arrays, empty ones where there are no rows."""
    return {name: [row[name] for row in rows] for name in names}


def flag(value: bool) -> str:
    """Y or N."""
    return "Y" if value else "N"
