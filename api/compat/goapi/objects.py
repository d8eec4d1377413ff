"""What all actions that change the PBX share: saved by the one use-case, audited, and brought live at once; knows no module.

GOautodial's programs expect that what they changed holds. What Asterisk refuses is taken back and told. While Asterisk is away the change
is kept for the next apply, as GOautodial keeps it for its next run, and the answer says so (`rebuild_conf_status`).
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from api.compat.goapi.actions import Call
from api.compat.goapi.speech import Said, fail
from api.declare import Reply
from tandem.ami.errors import AmiError
from tandem.domain.entities import Entity
from tandem.domain.problems import describe_errors
from tandem.domain.snapshot import Snapshot
from tandem.editing import find_object, place_of
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


async def save(call: Call, decide: Callable[[Snapshot], Entity], beside: Beside = lambda _: None) -> dict[str, Any]:
    """Saves what `decide` makes of the head, with `beside` in the same transaction; more of the answer."""
    before: list[Entity | None] = []
    made: list[Entity] = []

    def choose(snapshot: Snapshot) -> Entity:
        entity = decide(snapshot)
        made.append(entity)
        before.append(find_object(snapshot, *place_of(entity)))
        return entity

    async def commit(work: Callable[[Any], Saved]) -> Saved:
        return await _write(call, work, "/".join(place_of(made[-1])), beside)

    await call.services.head.edit(choose, call.exchange.author, commit)

    async def undo() -> None:
        old, new = before[-1], made[-1]
        if old is not None:
            await call.services.head.edit(lambda _: old, call.exchange.author, call.services.store.run)
        else:
            await _take_away(call, *place_of(new))

    return await bring_live(call, undo)


async def rename(
    call: Call, decide: Callable[[Snapshot], tuple[Entity, Entity]], beside: Beside = lambda _: None
) -> dict[str, Any]:
    """Puts one object in the place of another of its kind."""
    chosen: list[tuple[Entity, Entity]] = []

    def choose(snapshot: Snapshot) -> tuple[Entity, Entity]:
        chosen.append(decide(snapshot))
        return chosen[-1]

    async def commit(work: Callable[[Any], Saved]) -> Saved:
        return await _write(call, work, "/".join(place_of(chosen[-1][1])), beside)

    await call.services.head.rename(choose, call.exchange.author, commit)

    async def undo() -> None:
        old, new = chosen[-1]
        await call.services.head.rename(lambda _: (new, old), call.exchange.author, call.services.store.run)

    return await bring_live(call, undo)


async def delete(call: Call, entity: Entity) -> dict[str, Any]:
    """Takes an object away that nothing leads to."""
    collection, name = place_of(entity)

    async def commit(work: Callable[[Any], Saved]) -> Saved:
        return await _write(call, work, f"{collection}/{name}", lambda db: save_group(db, collection, name, None))

    await call.services.head.delete(collection, name, lambda _: None, call.exchange.author, commit)
    return await bring_live(
        call, lambda: call.services.head.edit(lambda _: entity, call.exchange.author, call.services.store.run)
    )


async def _write(call: Call, work: Callable[[Any], Saved], target: str, beside: Beside) -> Saved:
    def perform(db: Any) -> tuple[Saved, Reply]:
        saved = work(db)
        beside(db)
        return saved, Reply()

    saved, _ = await call.exchange.write(perform, target, lambda one: one.revision if one.is_new else None)
    return saved


async def _take_away(call: Call, collection: str, name: str) -> None:
    await call.services.head.delete(collection, name, lambda _: None, call.exchange.author, call.services.store.run)


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
