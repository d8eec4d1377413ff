"""The configuration as a whole: import, plan, apply, history, rollback, hand edits; the use-cases are those of the command line."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from api.declare import PREFIX, Body, Frozen, Reply, Route, Shown, Whole, model_body
from api.errors import Refused
from api.exchange import Exchange, Services
from tandem.domain.changes import AppliedView, DriftView, FileDiff, PlannedView, PlanView, RevisionDetail, RevisionView
from tandem.domain.route_tests import RouteTest, run_route_tests
from tandem.store.objects import Saved

_PATH: Final = f"{PREFIX}/config"
_MAX_DOCUMENT: Final = 64 * 1024 * 1024
_FAILURES: Final = (
    HTTPStatus.CONFLICT,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.INSUFFICIENT_STORAGE,
)


@dataclass(frozen=True, slots=True)
class Discarded:
    """Files that are as they were generated again."""

    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import saved, and what applying it did."""

    saved: Saved
    applied: AppliedView


@dataclass(frozen=True, slots=True)
class TestRun:
    """Every route test of the newest revision, and how many fail; `problem` is empty where one passes."""

    failed: int
    items: tuple[RouteTest, ...]


class ApplyOrder(Frozen):
    """How to apply. full: check everything, not only what changed; dry_run: touch nothing; expected_revision: only if this is the head."""

    full: bool = False
    dry_run: bool = False
    expected_revision: Annotated[int, Field(ge=0)] | None = None


class Rollback(Frozen):
    """The revision whose objects become the new head. note: why, for the history."""

    revision: Annotated[int, Field(ge=1, le=10**12)]
    note: Annotated[str, StringConstraints(max_length=200)] = ""


class PlanOrder(Frozen):
    """Why, for the history; without, the plan's own note."""

    note: Annotated[str, StringConstraints(max_length=200)] = ""


class HistoryQuery(Frozen):
    """How many."""

    limit: Annotated[int, Field(ge=1, le=1000, description="How many at most.")] = 50


class ImportQuery(Frozen):
    """Why, for the history."""

    note: Annotated[str, StringConstraints(max_length=200), Field(description="Why, for the history.")] = ""


async def _plan(services: Services, _: Exchange) -> Reply:
    return Reply(await services.applying.plan_head())


async def _run_tests(services: Services, _: Exchange) -> Reply:
    tests = run_route_tests(await services.head.read())
    return Reply(TestRun(sum(bool(test.problem) for test in tests), tests))


async def _apply(services: Services, exchange: Exchange) -> Reply:
    order: ApplyOrder = exchange.body
    applied = await services.applying.apply_head(
        full=order.full, dry_run=order.dry_run, expected_revision=order.expected_revision
    )
    reply = Reply(applied)
    return reply if order.dry_run else await _note(exchange, reply, applied.revision)


async def _roll_back(services: Services, exchange: Exchange) -> Reply:
    try:
        wanted: Rollback = exchange.body
        applied = await services.applying.rollback(wanted.revision, author=exchange.who.name, note=wanted.note)
    except KeyError:
        raise Refused(HTTPStatus.NOT_FOUND, f"there is no revision {exchange.body.revision}") from None
    finally:
        services.head.forget()
    return await _note(exchange, Reply(applied), applied.revision)


async def _note(exchange: Exchange, reply: Reply, revision: int | None = None) -> Reply:
    """An apply is done again with the same outcome, so its answer may be kept after it."""
    _, reply = await exchange.write(lambda _: (None, reply), "config", lambda _: revision)
    return reply


async def _import(services: Services, exchange: Exchange) -> Reply:
    try:
        saved, applied = await services.planning.import_document(
            exchange.body, exchange.query.note, author=exchange.who.name
        )
    finally:
        services.head.forget()
    return await _note(exchange, Reply(Imported(saved, applied)), saved.revision)


async def _make_plan(services: Services, exchange: Exchange) -> Reply:
    planned = await services.planning.plan_document(exchange.body, exchange.query.note, author=exchange.who.name)
    reply = Reply(planned, HTTPStatus.CREATED, (("location", f"{_PATH}/plans/{planned['plan_id']}"),))
    return await _note(exchange, reply)


async def _get_plan(services: Services, exchange: Exchange) -> Reply:
    try:
        return Reply(await services.planning.find_plan(exchange.path["plan_id"]))
    except KeyError:
        raise _no_plan(exchange) from None


async def _apply_plan(services: Services, exchange: Exchange) -> Reply:
    try:
        applied = await services.planning.apply_plan(
            exchange.path["plan_id"], exchange.body.note, author=exchange.who.name
        )
    except KeyError:
        raise _no_plan(exchange) from None
    return await _note(exchange, Reply(applied), applied.revision)


def _no_plan(exchange: Exchange) -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, f"there is no plan {exchange.path['plan_id'][:20]!r}")


async def _read_drift(services: Services, _: Exchange) -> Reply:
    return Reply(await services.planning.read_drift())


async def _list_history(services: Services, exchange: Exchange) -> Reply:
    rows = await services.applying.list_history(exchange.query.limit)
    return Reply(Whole(tuple(rows)))


async def _show_revision(services: Services, exchange: Exchange) -> Reply:
    number = exchange.path["number"]
    try:
        if not number.isascii() or not number.isdecimal() or len(number) > 12:
            raise KeyError(number)
        return Reply(await services.applying.show_revision(int(number)))
    except KeyError:
        raise Refused(HTTPStatus.NOT_FOUND, f"there is no revision {number[:12]}") from None


async def _read_hand_edits(services: Services, _: Exchange) -> Reply:
    return Reply(Whole(tuple(await services.applying.read_hand_edits())))


async def _discard_hand_edits(services: Services, exchange: Exchange) -> Reply:
    return await _note(exchange, Reply(Discarded(tuple(await services.applying.discard_hand_edits()))))


async def _adopt_hand_edits(services: Services, exchange: Exchange) -> Reply:
    try:
        applied = await services.applying.adopt_hand_edits(author=exchange.who.name)
    finally:
        services.head.forget()
    return await _note(exchange, Reply(applied), applied.revision)


def _read_text(raw: Any) -> str:
    try:
        return raw.decode("utf-8") if isinstance(raw, bytes) else ""
    except UnicodeDecodeError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the document is not UTF-8: {error}") from None


_APPLIED: Final = Shown(AppliedView)

ROUTES: Final = (
    Route(
        method="GET", path=f"{_PATH}/plan", permission="config/read", summary="What an apply would do.", handler=_plan,
        tag="config", operation="plan_config", answer=Shown(PlanView),
    ),
    Route(
        method="GET", path=f"{_PATH}/tests", permission="config/read", summary="Run the route tests of the newest revision.",
        handler=_run_tests, tag="config", operation="run_route_tests", answer=Shown(TestRun),
    ),
    Route(
        method="POST", path=f"{_PATH}/apply", permission="config/apply", tag="config", operation="apply_config", handler=_apply,
        summary="Check the newest revision in a throw-away Asterisk, bring it live, verify it; or leave all as it is and say why.",
        body=model_body(ApplyOrder, optional=True), answer=_APPLIED, raises=_FAILURES,
    ),
    Route(
        method="POST", path=f"{_PATH}/rollback", permission="config/rollback", summary="Make an older revision the newest, and apply it.",
        handler=_roll_back, tag="config", operation="roll_back_config", body=model_body(Rollback), answer=_APPLIED,
        raises=(HTTPStatus.NOT_FOUND, *_FAILURES),
    ),
    Route(
        method="POST", path=f"{_PATH}/import", permission="config/import", tag="config", operation="import_config", handler=_import,
        summary="Make a PBX document (YAML) the configuration, all of it or nothing, and apply it.", query=ImportQuery,
        body=Body(str, _read_text, media_type="application/yaml"), answer=Shown(Imported), max_body=_MAX_DOCUMENT, raises=_FAILURES,
    ),
    Route(
        method="POST", path=f"{_PATH}/plans", permission="config/plan", tag="config", operation="make_plan", handler=_make_plan,
        summary="What applying a PBX document (YAML) would do: objects, files, modules; kept under an id, and nothing is changed.",
        query=ImportQuery, body=Body(str, _read_text, media_type="application/yaml"), answer=Shown(PlannedView),
        status=HTTPStatus.CREATED, max_body=_MAX_DOCUMENT,
    ),
    Route(
        method="GET", path=f"{_PATH}/plans/{{plan_id}}", parameters={"plan_id": "The id of the plan."}, permission="config/read",
        summary="A plan, as it was made.", handler=_get_plan, tag="config", operation="get_plan", answer=Shown(PlannedView),
        raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="POST", path=f"{_PATH}/plans/{{plan_id}}/apply", parameters={"plan_id": "The id of the plan."}, permission="config/import",
        summary="Make a plan the newest revision, and live; refused when head, files or live moved since it was made.",
        handler=_apply_plan, tag="config", operation="apply_plan", body=model_body(PlanOrder, optional=True), answer=_APPLIED,
        raises=(HTTPStatus.NOT_FOUND, *_FAILURES),
    ),
    Route(
        method="GET", path=f"{_PATH}/drift", permission="config/read", tag="config", operation="read_drift", handler=_read_drift,
        summary="Database, files on the disk and live Asterisk against each other.", answer=Shown(DriftView),
    ),
    Route(
        method="GET", path=f"{_PATH}/history", permission="config/read", summary="Revisions, newest first.", handler=_list_history,
        tag="config", operation="list_revisions", query=HistoryQuery, answer=Shown(Whole[RevisionView], name="History"),
    ),
    Route(
        method="GET", path=f"{_PATH}/history/{{number}}", parameters={"number": "The number of the revision."}, permission="config/read", summary="A revision and what it changed.",
        handler=_show_revision, tag="config", operation="get_revision", answer=Shown(RevisionDetail), raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET", path=f"{_PATH}/hand-edits", permission="config/read", summary="What was changed by hand in generated files.",
        handler=_read_hand_edits, tag="config", operation="list_hand_edits", answer=Shown(Whole[FileDiff], name="HandEdits"),
    ),
    Route(
        method="POST", path=f"{_PATH}/hand-edits/adopt", permission="config/apply", summary="Keep what was changed by hand.",
        handler=_adopt_hand_edits, tag="config", operation="adopt_hand_edits", answer=_APPLIED, raises=_FAILURES,
    ),
    Route(
        method="POST", path=f"{_PATH}/hand-edits/discard", permission="config/apply", summary="Undo what was changed by hand.",
        handler=_discard_hand_edits, tag="config", operation="discard_hand_edits", answer=Shown(Discarded), raises=_FAILURES,
    ),
)  # fmt: skip
