"""What became of numbers, and what people answered, since a time; with a cursor that passes any batch. Only read here."""

import re
from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import Any, Final

from api.compat.mikopbx.speech import BASE, Failed, declare, read_text
from api.exchange import Exchange, Services
from tandem.domain.campaign_calls import REFUSED_BY_AGENT
from tandem.domain.campaigns import CLOSED, OPEN_STATUSES, REACHED, NumberStatus, SavedNumber
from tandem.domain.customers import ending_of
from tandem.domain.surveys import SurveyAnswer, SurveyVisit
from tandem.store.attempt_ends import AGENT_KINDS
from tandem.store.attempts import ATTEMPT_COLUMNS, Attempt, read_attempt
from tandem.store.campaigns import load_campaigns
from tandem.store.numbers import NUMBER_COLUMNS, read_number
from tandem.store.rows import LISTED_IDS, listed, load_rows
from tandem.store.surveys import AnswerQuery, load_answers, load_answers_since, load_visits

MAX_ROWS: Final = 10_000
# Q.850 causes of a leg.
_BUSY, _REJECTED = 17, 21
# The time of a number's last change, as numbers are stored.
CHANGED: Final = "coalesce(updated_at, created_at)"
_CURSOR: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(?::([0-9]{1,18}))?", re.ASCII)
_PHP_S: Final = 0.0001
# How long an answered person's survey may end after their call, by the batches in which both are stored.
SETTLES_S: Final = 10.0


def _as_text(moment: float) -> str:
    """To the last bit, or a cursor would meet its own row again, or pass the next."""
    return f"{moment:.7f}"


def _read_cursor(exchange: Exchange) -> tuple[float, int]:
    """`1724235071.05`, or `1724235071.05:17`: behind the row 17 of that time; a time alone includes all of its rows.

    PHP writes a number with 14 digits: one that a client made of our text is up to `_PHP_S` late, and all of its rows are still meant.
    """
    found = _CURSOR.fullmatch(read_text(exchange.path["changed"], "changeTime", 40))
    if found is None:
        raise Failed("changeTime must be seconds since 1970, or the cursor of the page before")
    return (float(found[1]), int(found[2])) if found[2] else (float(found[1]) - _PHP_S, -1)


def _load_numbers(db: Any, since: float, after_id: int, campaigns: Collection[int] | None) -> list[SavedNumber]:
    """campaigns: only of these; a page that was filtered afterwards could be empty, and would end what it is a part of."""
    mine, ids = ("", []) if campaigns is None else (f" AND campaign_id IN {LISTED_IDS}", [listed(campaigns)])
    source = (
        f"numbers WHERE {CHANGED} >= ? AND ({CHANGED} > ? OR number_id > ?){mine} ORDER BY {CHANGED}, number_id LIMIT ?"
    )
    return [read_number(row) for row in load_rows(db, NUMBER_COLUMNS, source, [since, since, after_id, *ids, MAX_ROWS])]


def _describe(db: Any, numbers: Sequence[SavedNumber], now: float) -> list[dict[str, Any]]:
    """Rows of numbers, with their last attempts and what became of the polls in them; those whose result is on its way have none yet."""
    last = f"(SELECT max(attempt_id) FROM attempts WHERE number_id IN {LISTED_IDS} GROUP BY number_id)"  # noqa: S608 - our own text
    source = f"attempts WHERE attempt_id IN {last}"
    rows = load_rows(db, ATTEMPT_COLUMNS, source, [listed(number.number_id for number in numbers)])
    attempts = {row["number_id"]: read_attempt(row) for row in rows}
    visits = load_visits(db, [attempt.call_id for attempt in attempts.values()])
    campaigns = load_campaigns(db, campaign_ids={number.campaign_id for number in numbers})
    callbacks = {saved.campaign_id for saved in campaigns if saved.campaign.agent_first}
    shown = []
    for number in numbers:
        attempt = attempts.get(number.number_id)
        visit = visits.get(attempt.call_id) if attempt is not None else None
        shown.append(_show(number, attempt, visit, now, is_callback=number.campaign_id in callbacks))
    return shown


def _show(
    number: SavedNumber, attempt: Attempt | None, visit: SurveyVisit | None, now: float, *, is_callback: bool
) -> dict[str, Any]:
    known = number.data if isinstance(number.data, dict) else {}
    changed = number.updated_at or number.created_at
    is_open = number.status in OPEN_STATUSES or (
        visit is not None and visit.ended_at is None and now - changed < SETTLES_S
    )
    result = "" if is_open else tell_result(attempt, visit, number.disposition, is_callback=is_callback)
    return {
        "id": str(number.number_id), "taskId": str(number.campaign_id), "phoneId": ending_of(number.phone_number),
        "phone": number.phone_number, "linkedId": attempt.call_id if attempt is not None else "", "callFile": "", "result": result,
        "outDialState": attempt.disposition or "" if attempt is not None else "", "inDialState": "ANSWER" if attempt is not None and attempt.connected_at is not None else "",
        "state": _tell_state(number, visit, attempt, is_callback=is_callback), "verboseCallId": "", "cause": _tell_cause(attempt, number), "params": known or "",
        "changeTime": _as_text(changed), "attemptNumber": str(number.attempts), "timeCallAllow": f"{number.due_at or 0:.0f}",
        "closeTime": "0" if is_open else _as_text(changed), "clientId": number.person,
        "timeOffsetMinutes": "" if number.utc_offset_min is None else str(number.utc_offset_min),
    }  # fmt: skip


def _tell_state(number: SavedNumber, visit: SurveyVisit | None, attempt: Attempt | None, *, is_callback: bool) -> str:
    if number.status is NumberStatus.PENDING:
        return "CreateTask"
    if number.status is NumberStatus.CALLING:
        return "afterDialOut"
    if visit is not None:
        return "EVENT_POLLING_END" if visit.outcome in ("completed", "transferred") else "EVENT_POLLING"
    if number.disposition == REACHED:
        return "SUCCESS_ANOTHER_PHONE"
    if is_callback and attempt is not None and attempt.cause == REFUSED_BY_AGENT:
        return "UserCancelCallback"
    return "startDial" if number.status is NumberStatus.ANSWERED else "endCall"


def _tell_cause(attempt: Attempt | None, number: SavedNumber) -> str:
    """The true cause, which the result does not tell apart."""
    if attempt is None or attempt.disposition is None:
        return number.disposition
    code = attempt.tech_cause or attempt.cause
    return f"{attempt.disposition} ({code})" if code else attempt.disposition


def tell_result(
    attempt: Attempt | None, visit: SurveyVisit | None, disposition: str, *, is_callback: bool = False
) -> str:
    """The documented code of a number whose calls are over. is_callback: the employee was called first."""
    if disposition == CLOSED:
        return "SUCCESS_EXTERNAL_SIGNAL"
    if disposition == REACHED:
        return "SUCCESS_ANOTHER_PHONE"
    if visit is not None:
        return "SUCCESS_POLLING" if visit.outcome in ("completed", "transferred") else "FAIL_POLLING"
    if attempt is None:
        return "FAIL_ROUTE" if disposition.startswith(("trunk", "dial_string")) else "FAIL"
    if is_callback:
        return _tell_callback(attempt)
    if attempt.disposition == "answered":
        return _tell_answered(attempt)
    return "FAIL_PROVIDER" if attempt.disposition == "trunk-dead" else "FAIL"


def _tell_answered(attempt: Attempt) -> str:
    """Of somebody who answered: whether the employee did, and who hung up."""
    if not attempt.destination.startswith(AGENT_KINDS):
        return "SUCCESS" if attempt.connected_at is not None else "FAIL"
    if attempt.connected_at is not None:
        return "SUCCESS_CLIENT_H" if attempt.is_far_hangup else "SUCCESS_USER_H"
    # Told that nobody is free, or the phone said so.
    if attempt.abandoned_at != attempt.ended_at or attempt.cause == _BUSY:
        return "FAIL_USER_BUSY"
    return "FAIL_CLIENT_H_BEFORE_ANSWER" if attempt.is_far_hangup else "FAIL_USER_NO_ANSWER"


def _tell_callback(attempt: Attempt) -> str:
    """Where the employee was called first: the leg that ended is theirs."""
    if attempt.connected_at is not None:
        return "SUCCESS_USER_H" if attempt.is_far_hangup else "SUCCESS_CLIENT_H"
    if attempt.disposition != "cancelled":
        return "FAIL_PROVIDER" if attempt.disposition == "trunk-dead" else "FAIL"
    if attempt.cause in (REFUSED_BY_AGENT, _BUSY, _REJECTED):
        return "FAIL_USER_BUSY"
    return "FAIL_USER_H_BEFORE_CLIENT_ANSWER" if attempt.is_far_hangup else "FAIL_USER_NO_ANSWER"


def _show_answer(answer: SurveyAnswer) -> dict[str, Any]:
    return {
        "id": str(answer.answer_id), "taskId": str(answer.campaign_id if answer.campaign_id is not None else -1), "questionCrmId": answer.question,
        "pollingId": str(answer.survey_id), "phoneId": ending_of(answer.phone_number), "phone": answer.phone_number,
        "result": answer.value or "-", "exten": answer.recording or answer.key, "changeTime": _as_text(answer.answered_at),
        "linkedId": answer.call_id, "verboseCallId": "", "recognizedText": "", "recognizeLabel": answer.label,
    }  # fmt: skip


def _page(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """next: what to ask with for what follows; the greatest changeTime serves as well, where fewer rows than a page share it."""
    return {"results": rows, "next": f"{rows[-1]['changeTime']}:{rows[-1]['id']}" if rows else ""}


async def _list(services: Services, exchange: Exchange) -> Any:
    since, after_id = _read_cursor(exchange)
    campaigns, now = exchange.who.campaigns, services.now().timestamp()

    def read(db: Any) -> list[dict[str, Any]]:
        numbers = _load_numbers(db, since, after_id, campaigns)
        rows = _describe(db, numbers, now)
        over = {str(one.number_id) for one in numbers if one.status not in OPEN_STATUSES}
        # Nobody who goes on behind this page misses a result that is on its way.
        return list(takewhile(lambda row: row["result"] or row["id"] not in over, rows))

    return _page(await services.store.read(read))


async def _list_answers(services: Services, exchange: Exchange) -> Any:
    since, after_id = _read_cursor(exchange)
    found = await services.store.read(load_answers_since, since, after_id, MAX_ROWS, exchange.who.campaigns)
    return _page([_show_answer(one) for one in found])


async def load_rows_of_task(services: Services, campaign_id: int) -> dict[str, Any]:
    """The rows and answers of one task."""
    now = services.now().timestamp()

    def read(db: Any) -> dict[str, Any]:
        rows = load_rows(
            db, NUMBER_COLUMNS, "numbers WHERE campaign_id = ? ORDER BY number_id LIMIT ?", [campaign_id, 10 * MAX_ROWS]
        )
        answers = load_answers(db, AnswerQuery(campaign_id=campaign_id, limit=10 * MAX_ROWS))
        return {
            "results": _describe(db, [read_number(row) for row in rows], now),
            "resultsPoling": [_show_answer(one) for one in answers],
        }

    found: dict[str, Any] = await services.store.read(read)
    return found


ROUTES: Final = (
    declare("GET", f"{BASE}/results/{{changed}}", "numbers/read", _list, "What became of numbers since a time."),
    declare(
        "GET", f"{BASE}/polling-results/{{changed}}", "surveys/read", _list_answers, "Answers to polls since a time."
    ),
)
