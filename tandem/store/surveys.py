# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Surveys, the calls in them and their answers; never knows what a key means. Every function is work for a Store."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Final

import peewee
from pydantic import TypeAdapter

from tandem.domain.surveys import SavedSurvey, Survey, SurveyAnswer, SurveyVisit
from tandem.store.campaigns import VersionConflict, load_campaigns
from tandem.store.rows import LISTED_IDS, insert_rows, listed, load_rows
from tandem.store.surveyed_numbers import finish_surveyed

_SURVEY: Final[TypeAdapter[Survey]] = TypeAdapter(Survey)
_COLUMNS: Final = ("survey_id", "body", "author", "created_at", "updated_at", "version")
VISIT_COLUMNS: Final = tuple(field.name for field in fields(SurveyVisit))
ANSWER_COLUMNS: Final = tuple(field.name for field in fields(SurveyAnswer))


class SurveyMissing(KeyError):
    """There is no such survey."""


class SurveyUsed(Exception):
    """Campaigns lead to it: their ids."""

    def __init__(self, campaign_ids: Sequence[int]) -> None:
        super().__init__("it is still used by campaign " + ", ".join(map(str, campaign_ids)))
        self.campaign_ids = tuple(campaign_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerQuery:
    """Which answers, by id or (by_time) by when they were given; after: (time, id) or id of the last one of the page before."""

    survey_id: int | None = None
    campaign_id: int | None = None
    call_id: str | None = None
    since: float | None = None
    after_id: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """How often a question was answered so."""

    question: str
    value: str
    amount: int


# --------------------------------------------------------------------------------------------------------- surveys


def load_surveys(db: peewee.Database) -> list[SavedSurvey]:
    """All, in the order in which they were made."""
    return [_read(row) for row in load_rows(db, _COLUMNS, "surveys ORDER BY survey_id")]


def load_survey(db: peewee.Database, survey_id: int) -> SavedSurvey:
    """One; SurveyMissing."""
    rows = load_rows(db, _COLUMNS, "surveys WHERE survey_id = ?", [survey_id])
    if not rows:
        raise SurveyMissing(survey_id)
    return _read(rows[0])


def load_survey_words(db: peewee.Database, survey_ids: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
    """Another system's own words for surveys, of all or of these."""
    where, given = (f"WHERE survey_id IN {LISTED_IDS}", [listed(survey_ids)]) if survey_ids is not None else ("", [])
    rows = load_rows(db, ("survey_id", "words"), f"surveys {where} ORDER BY survey_id", given)
    return {row["survey_id"]: json.loads(row["words"]) for row in rows}


def create_survey(
    db: peewee.Database, survey: Survey, *, author: str, at: float, words: Mapping[str, Any] | None = None
) -> SavedSurvey:
    """A new one."""
    cursor = db.execute_sql(
        "INSERT INTO surveys (name, body, words, author, created_at, version) VALUES (?, ?, ?, ?, ?, 1)"
        " RETURNING survey_id",
        (survey.name, _write(survey), json.dumps(words or {}), author, at),
    )
    return load_survey(db, cursor.fetchone()[0])


def update_survey(
    db: peewee.Database,
    survey_id: int,
    survey: Survey,
    at: float,
    *,
    version: int | None = None,
    words: Mapping[str, Any] | None = None,
) -> SavedSurvey:
    """Other questions; answers stay. SurveyMissing, VersionConflict. Calls that are in it go on with what they began with."""
    before = load_survey(db, survey_id)
    if version is not None and before.version != version:
        raise VersionConflict
    db.execute_sql(
        "UPDATE surveys SET name = ?, body = ?, updated_at = ?, version = version + 1 WHERE survey_id = ?",
        (survey.name, _write(survey), at, survey_id),
    )
    if words is not None:
        db.execute_sql("UPDATE surveys SET words = ? WHERE survey_id = ?", (json.dumps(words), survey_id))
    return load_survey(db, survey_id)


def delete_survey(db: peewee.Database, survey_id: int) -> None:
    """Takes it away; its answers stay. SurveyMissing; SurveyUsed while a campaign leads to it."""
    load_survey(db, survey_id)
    users = [
        saved.campaign_id
        for saved in load_campaigns(db)
        if getattr(saved.campaign.destination, "survey", None) == survey_id
    ]
    if users:
        raise SurveyUsed(users)
    db.execute_sql("DELETE FROM surveys WHERE survey_id = ?", (survey_id,))


# --------------------------------------------------------------------------------------------------------- results


def record_visits(db: peewee.Database, visits: Sequence[SurveyVisit], answers: Sequence[SurveyAnswer]) -> None:
    """Keeps calls and answers; those that are kept already stay as they are, but for a call's end."""
    last = {visit.visit_id: asdict(visit) for visit in visits}
    insert_rows(
        db,
        "survey_visits",
        VISIT_COLUMNS,
        list(last.values()),
        "ON CONFLICT (visit_id) DO UPDATE SET ended_at = excluded.ended_at, outcome = excluded.outcome",
    )
    insert_rows(
        db,
        "survey_answers",
        ANSWER_COLUMNS[1:],
        [asdict(answer) for answer in answers],
        "ON CONFLICT (visit_id, position) DO NOTHING",
    )
    finish_surveyed(db, visits)


def load_answers(db: peewee.Database, query: AnswerQuery) -> list[SurveyAnswer]:
    """Some answers, in the order in which they were stored."""
    where, given = ["answer_id > ?"], [query.after_id]
    for name in ("survey_id", "campaign_id", "call_id"):
        if (value := getattr(query, name)) is not None:
            where.append(f"{name} = ?")
            given.append(value)
    if query.since is not None:
        where.append("answered_at >= ?")
        given.append(query.since)  # type: ignore[arg-type]  # parameters have any type
    source = f"survey_answers WHERE {' AND '.join(where)} ORDER BY answer_id LIMIT ?"
    return [SurveyAnswer(**row) for row in load_rows(db, ANSWER_COLUMNS, source, [*given, query.limit])]


def load_answers_since(
    db: peewee.Database, since: float, after_id: int, limit: int, campaigns: Collection[int] | None = None
) -> list[SurveyAnswer]:
    """Answers in the order of (time, id): given after `since`, or at that time with a greater id; campaigns: only of their calls."""
    mine, ids = ("", []) if campaigns is None else (f" AND campaign_id IN {LISTED_IDS}", [listed(campaigns)])
    source = f"survey_answers WHERE (answered_at, answer_id) > (?, ?){mine} ORDER BY answered_at, answer_id LIMIT ?"
    return [SurveyAnswer(**row) for row in load_rows(db, ANSWER_COLUMNS, source, [since, after_id, *ids, limit])]


def load_visits(db: peewee.Database, call_ids: Collection[str]) -> dict[str, SurveyVisit]:
    """The last visit of each of these calls."""
    source = "survey_visits WHERE call_id IN (SELECT value FROM json_each(?)) ORDER BY started_at"
    return {row["call_id"]: SurveyVisit(**row) for row in load_rows(db, VISIT_COLUMNS, source, [listed(call_ids)])}


def count_visits(db: peewee.Database, survey_id: int) -> dict[str, int]:
    """Outcome -> calls; '' for those that are up."""
    source = (
        "(SELECT outcome, count(*) AS amount FROM survey_visits WHERE survey_id = ? GROUP BY outcome) AS counted"
        " ORDER BY outcome"
    )
    return {row["outcome"]: row["amount"] for row in load_rows(db, ("outcome", "amount"), source, [survey_id])}


def count_answers(db: peewee.Database, survey_id: int) -> list[AnswerCount]:
    """By question and value."""
    source = (
        "(SELECT question, value, count(*) AS amount FROM survey_answers WHERE survey_id = ? GROUP BY question, value)"
        " AS counted ORDER BY question, value"
    )
    rows = load_rows(db, ("question", "value", "amount"), source, [survey_id])
    return [AnswerCount(**row) for row in rows]


def _write(survey: Survey) -> str:
    return _SURVEY.dump_json(survey).decode()


@lru_cache(maxsize=256)
def _read_body(body: str) -> Survey:
    return _SURVEY.validate_json(body)


def _read(row: dict[str, Any]) -> SavedSurvey:
    return SavedSurvey(survey=_read_body(row.pop("body")), **row)
