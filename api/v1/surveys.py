"""Surveys: list, make, replace, change, delete; their answers as a table, as CSV and counted. Never asks anybody: `fastagi.survey` does."""

from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

import orjson
from pydantic import AwareDatetime, Field, StringConstraints, TypeAdapter
from pydantic.dataclasses import dataclass

from api.csv_stream import CSV, stream_csv
from api.declare import PREFIX, Body, Frozen, Page, Reply, Route, Shown, all_optional, read_object, validate
from api.exchange import Commit, Exchange, Services
from api.listing import list_query, make_page
from api.times import show_times, time_of, with_times
from api.v1.campaigns import read_id
from tandem.domain.surveys import SavedSurvey, Survey, SurveyAnswer
from tandem.store.surveys import (
    ANSWER_COLUMNS,
    AnswerQuery,
    count_answers,
    count_visits,
    load_answers,
    load_survey,
    load_surveys,
)

PATH: Final = f"{PREFIX}/surveys"
ONE: Final = f"{PATH}/{{survey_id}}"
_ID: Final = {"survey_id": "The number of the survey."}
_MISSING: Final = (HTTPStatus.NOT_FOUND,)
_EDIT_FAILURES: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED)
_SURVEY: Final[TypeAdapter[Survey]] = TypeAdapter(Survey)
_FIELDS: Final = tuple(one.name for one in fields(Survey))
_MAX_PAGE: Final = 1000


AnswerShown: Final[Any] = with_times(SurveyAnswer, "SurveyAnswerShown")


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyShown(Survey):
    """A survey as it is stored. author: who made it; version: counts changes."""

    survey_id: int
    author: str
    created_at: datetime
    updated_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class AnswerCountShown:
    """How often a question was answered so."""

    question: str
    value: str
    amount: int


@dataclass(frozen=True, slots=True)
class SurveyCounts:
    """outcomes: how many calls ended how (completed, gave-up, transferred, hung-up; open: still up); answers: by question and value."""

    outcomes: dict[str, int]
    answers: tuple[AnswerCountShown, ...]


class ExportQuery(Frozen):
    """Which answers."""

    campaign_id: Annotated[int | None, Field(ge=1, le=2**62, description="Of one campaign.")] = None
    call_id: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[!-~]*$")] | None,
        Field(description="Of one call."),
    ] = None
    since: Annotated[AwareDatetime | None, Field(description="Given then or later.")] = None


class AnswersQuery(ExportQuery):
    """A page of them, in the order in which they were given."""

    after_id: Annotated[int, Field(ge=0, le=2**62, description="The last answer_id of the page before.")] = 0
    limit: Annotated[int, Field(ge=1, le=_MAX_PAGE, description="How many at most.")] = 100


@dataclass(frozen=True, slots=True)
class AnswerPage:
    """Some of the answers; next_after_id begins the next page, null at the end."""

    items: tuple[AnswerShown, ...]
    limit: int
    next_after_id: int | None


def _id_of(exchange: Exchange) -> int:
    return read_id(exchange.path["survey_id"], "survey")


def _tag(exchange: Exchange, saved: SavedSurvey) -> str:
    return exchange.tag(b"survey %d %d" % (saved.survey_id, saved.version))


def _show(saved: SavedSurvey) -> SurveyShown:
    created, updated = time_of(saved.created_at), time_of(saved.updated_at)
    assert created is not None
    return SurveyShown(
        **{name: getattr(saved.survey, name) for name in _FIELDS},
        survey_id=saved.survey_id,
        author=saved.author,
        created_at=created,
        updated_at=updated,
        version=saved.version,
    )


def _give(exchange: Exchange, saved: SavedSurvey, status: int = HTTPStatus.OK) -> Reply:
    headers = [("etag", _tag(exchange, saved))]
    if status == HTTPStatus.CREATED:
        headers.append(("location", f"{PATH}/{saved.survey_id}"))
    return Reply(_show(saved), status, tuple(headers))


def _commit(exchange: Exchange, status: int = HTTPStatus.OK) -> Commit[SavedSurvey]:
    return Commit(exchange, lambda saved: f"surveys/{saved.survey_id}", lambda _, saved: _give(exchange, saved, status))


def _check(value: Any) -> Survey:
    return validate(_SURVEY, Survey, value)


# --------------------------------------------------------------------------------------------------------- handlers


async def _list(services: Services, exchange: Exchange) -> Reply:
    found = await services.store.read(load_surveys)
    return Reply(make_page([_show(one) for one in found], exchange.query, "survey_id"))


async def _get(services: Services, exchange: Exchange) -> Reply:
    reply = _give(exchange, await services.store.read(load_survey, _id_of(exchange)))
    if exchange.is_fresh(reply.headers[0][1]):
        return Reply(None, HTTPStatus.NOT_MODIFIED, reply.headers)
    return reply


async def _create(services: Services, exchange: Exchange) -> Reply:
    commit = _commit(exchange, HTTPStatus.CREATED)
    await services.surveys.create(exchange.body, author=exchange.who.name, commit=commit)
    return commit.reply


async def _save(services: Services, exchange: Exchange, survey: Survey, before: SavedSurvey | None) -> Reply:
    survey_id, commit = _id_of(exchange), _commit(exchange)
    await services.surveys.replace(
        survey_id,
        survey,
        commit=commit,
        check=lambda db: exchange.check_match(_tag(exchange, load_survey(db, survey_id))),
        version=before.version if before is not None else None,
    )
    return commit.reply


async def _replace(services: Services, exchange: Exchange) -> Reply:
    return await _save(services, exchange, exchange.body, None)


async def _change(services: Services, exchange: Exchange) -> Reply:
    before = await services.store.read(load_survey, _id_of(exchange))
    changed = _check({**orjson.loads(_SURVEY.dump_json(before.survey)), **exchange.body})
    return await _save(services, exchange, changed, before)


async def _delete(services: Services, exchange: Exchange) -> Reply:
    survey_id = _id_of(exchange)
    commit: Commit[None] = Commit(
        exchange, f"surveys/{survey_id}", lambda _db, _result: Reply(None, HTTPStatus.NO_CONTENT)
    )
    await services.surveys.delete(
        survey_id,
        commit=commit,
        check=lambda db: exchange.check_match(_tag(exchange, load_survey(db, survey_id))),
    )
    return commit.reply


def _read_query(exchange: Exchange, **more: Any) -> AnswerQuery:
    given = exchange.query.model_dump() | more
    given["since"] = given["since"].timestamp() if given["since"] is not None else None
    return AnswerQuery(survey_id=_id_of(exchange), **given)


async def _list_answers(services: Services, exchange: Exchange) -> Reply:
    await services.store.read(load_survey, _id_of(exchange))
    query = _read_query(exchange)
    found = await services.store.read(load_answers, query)
    after = found[-1].answer_id if len(found) == query.limit else None
    return Reply(AnswerPage(tuple(show_times(AnswerShown, one) for one in found), query.limit, after))


async def _count(services: Services, exchange: Exchange) -> Reply:
    survey_id = _id_of(exchange)

    def read(db: Any) -> SurveyCounts:
        load_survey(db, survey_id)
        outcomes = {outcome or "open": amount for outcome, amount in count_visits(db, survey_id).items()}
        counted = count_answers(db, survey_id)
        return SurveyCounts(outcomes, tuple(AnswerCountShown(one.question, one.value, one.amount) for one in counted))

    return Reply(await services.store.read(read))


async def _export(services: Services, exchange: Exchange) -> Reply | None:
    await services.store.read(load_survey, _id_of(exchange))

    async def pages() -> AsyncIterator[list[list[Any]]]:
        after_id: int | None = 0
        while after_id is not None:
            found = await services.store.read(load_answers, _read_query(exchange, after_id=after_id, limit=_MAX_PAGE))
            after_id = found[-1].answer_id if len(found) == _MAX_PAGE else None
            if found:
                yield [_row_of(answer) for answer in found]

    await stream_csv(exchange.request, "answers.csv", ANSWER_COLUMNS, pages())
    return None


def _row_of(answer: SurveyAnswer) -> list[Any]:
    at = time_of(answer.answered_at)
    assert at is not None
    return [at.isoformat() if name == "answered_at" else getattr(answer, name) for name in ANSWER_COLUMNS]


# ----------------------------------------------------------------------------------------------------- declarations

_EXAMPLE: Final = {
    "name": "After the delivery",
    "questions": [
        {"id": "happy", "text": "Hello <name>. Are you happy with your delivery? Press 1 for yes, 2 for no.", "options": {"1": {"value": "yes"}, "2": {"value": "no", "next": "why"}}},
        {"id": "why", "text": "Press 1 to tell us why after the beep.", "options": {"1": {"action": "record", "record_s": 60}}},
    ],
}  # fmt: skip
_SHOWN: Final = Shown(SurveyShown)

ROUTES: Final = (
    Route(
        method="GET", path=PATH, permission="surveys/read", summary="List surveys.", handler=_list, tag="surveys", operation="list_surveys",
        query=list_query(SurveyShown, "survey_id"), answer=Shown(Page[SurveyShown], name="SurveyPage"),
    ),
    Route(
        method="POST", path=PATH, permission="surveys/create", summary="Make a survey; its texts are spoken before it is there.",
        handler=_create, tag="surveys", operation="create_survey", body=Body(Survey, _check, name="Survey", example=_EXAMPLE), answer=_SHOWN,
        status=HTTPStatus.CREATED, etag=True,
    ),
    Route(
        method="GET", path=ONE, parameters=_ID, permission="surveys/read", summary="Read a survey.", handler=_get, tag="surveys",
        operation="get_survey", answer=_SHOWN, raises=(*_MISSING, HTTPStatus.NOT_MODIFIED), etag=True,
    ),
    Route(
        method="PUT", path=ONE, parameters=_ID, permission="surveys/update", summary="Replace a survey; its answers stay.", handler=_replace,
        tag="surveys", operation="replace_survey", body=Body(Survey, _check, name="Survey"), answer=_SHOWN, raises=_EDIT_FAILURES, etag=True,
    ),
    Route(
        method="PATCH", path=ONE, parameters=_ID, permission="surveys/update", summary="Change fields of a survey.", handler=_change,
        tag="surveys", operation="change_survey", body=Body(Survey, read_object, schema=all_optional, name="SurveyChange"), answer=_SHOWN,
        raises=_EDIT_FAILURES, etag=True,
    ),
    Route(
        method="DELETE", path=ONE, parameters=_ID, permission="surveys/delete", summary="Delete a survey that no campaign leads to.",
        handler=_delete, tag="surveys", operation="delete_survey", status=HTTPStatus.NO_CONTENT, raises=(*_EDIT_FAILURES, HTTPStatus.CONFLICT),
    ),
    Route(
        method="GET", path=f"{ONE}/answers", parameters=_ID, permission="surveys/read", summary="Answers to a survey, oldest first.",
        handler=_list_answers, tag="surveys", operation="list_survey_answers", query=AnswersQuery, answer=Shown(AnswerPage), raises=_MISSING,
    ),
    Route(
        method="GET", path=f"{ONE}/answers/export", parameters=_ID, permission="surveys/read", summary="Answers to a survey as CSV.",
        handler=_export, tag="surveys", operation="export_survey_answers", query=ExportQuery, answer=Shown(str, media_type=CSV), raises=_MISSING,
    ),
    Route(
        method="GET", path=f"{ONE}/counts", parameters=_ID, permission="surveys/read", handler=_count, tag="surveys",
        operation="count_survey_answers", answer=Shown(SurveyCounts), raises=_MISSING,
        summary="How the calls of a survey ended, and how often each question was answered how.",
    ),
)  # fmt: skip
