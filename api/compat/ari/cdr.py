"""`/cdr`: attempts that are over, as call detail records, and their sums; only read here."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import Field
from pydantic.dataclasses import dataclass

from api.compat.ari.speech import (
    Answer,
    Lenient,
    PageQuery,
    Paginated,
    answer,
    declare,
    deny,
    missing,
    paginate,
    read_id,
    read_int,
    tell_known_time,
    tell_time,
    zone_of,
)
from api.declare import Reply
from api.exchange import Exchange, Services
from tandem.domain.disposition import Disposition
from tandem.store.attempt_reports import DispositionSum, ReportQuery, load_finished, load_report_page, sum_report
from tandem.store.attempts import Attempt

# Ours -> theirs; everything else is `failed`.
_DISPOSITIONS: Final = {
    Disposition.ANSWERED: "answered",
    Disposition.MACHINE: "answered",
    Disposition.NO_ANSWER: "no_answer",
    Disposition.BUSY: "busy",
    Disposition.CANCELLED: "cancelled",
}
_FAILED: Final = "failed"
_WHAT: Final = "CDR record"
_MAX_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrRow:
    """A call. callerid: the number that was shown; destination: the number that was called; agent: who took it."""

    id: int
    campaign_id: int | None
    campaign_number_id: int | None
    channel_id: str
    uniqueid: str
    callerid: str
    destination: str
    agent: str | None
    start_time: str
    answer_time: str | None
    end_time: str
    duration: int
    billsec: int
    disposition: str
    recording_file: str | None
    recording_leg1: str | None
    recording_leg2: str | None
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrStats:
    """Calls by how they ended; averages over all of them, in seconds."""

    total_calls: int
    answered: int
    no_answer: int
    busy: int
    failed: int
    cancelled: int
    avg_duration: float
    avg_billsec: float
    total_duration: int
    total_billsec: int


_Day = Annotated[str, Field(description="YYYY-MM-DD, or YYYY-MM-DD HH:MM:SS, in the time zone of the PBX")]


class StatsQuery(Lenient):
    """Which calls."""

    campaign_id: str = ""
    start_date: _Day = ""
    end_date: Annotated[str, Field(description="The same; the whole day counts, and the whole second")] = ""


class CdrQuery(StatsQuery, PageQuery):
    """Which page of which calls. search: a part of the caller ID, the destination or the agent."""

    disposition: str = ""
    search: Annotated[str, Field(max_length=100)] = ""


def _turn(disposition: str | None) -> str:
    return _DISPOSITIONS.get(disposition, _FAILED)  # type: ignore[call-overload,no-any-return]  # any text is asked


def _dispositions(word: str) -> tuple[str, ...] | None:
    """Ours for one of theirs; none for a word that is none."""
    if not word:
        return None
    return tuple(one.value for one in Disposition if _turn(one) == word)


def _read_time(name: str, text: str, zone: ZoneInfo, *, is_end: bool) -> float | None:
    """Seconds since 1970 of the day's or second's beginning, or, of an end, of what follows on it."""
    if not text:
        return None
    for pattern, step in (("%Y-%m-%d", timedelta(days=1)), ("%Y-%m-%d %H:%M:%S", timedelta(seconds=1))):
        try:
            found = datetime.strptime(text.replace("T", " ", 1), pattern)  # noqa: DTZ007 - the zone comes next
            # A day ends where the next begins, also one that has 23 hours.
            return (found + step if is_end else found).replace(tzinfo=zone).timestamp()
        except (ValueError, OverflowError):
            continue
    raise deny(f"Invalid {name}. Use YYYY-MM-DD or YYYY-MM-DD HH:MM:SS", {name: "must be a date"})


def _read_query(query: StatsQuery, zone: ZoneInfo) -> ReportQuery:
    campaign_id = read_int("campaign_id", query.campaign_id) if query.campaign_id else None
    if campaign_id is not None and not 0 <= campaign_id <= _MAX_ID:
        campaign_id = 0
    return ReportQuery(
        campaign_id=campaign_id,
        dispositions=_dispositions(query.disposition) if isinstance(query, CdrQuery) else None,
        since=_read_time("start_date", query.start_date, zone, is_end=False),
        until=_read_time("end_date", query.end_date, zone, is_end=True),
        search=query.search if isinstance(query, CdrQuery) else "",
    )


def _row(attempt: Attempt, zone: ZoneInfo) -> CdrRow:
    assert attempt.ended_at is not None
    ended = int(attempt.ended_at)
    return CdrRow(
        id=attempt.attempt_id,
        campaign_id=attempt.campaign_id,
        campaign_number_id=attempt.number_id,
        channel_id=attempt.call_id,
        uniqueid=attempt.call_id,
        callerid=attempt.caller_number,
        destination=attempt.phone_number,
        agent=attempt.agent or None,
        start_time=tell_known_time(attempt.started_at, zone),
        answer_time=tell_time(attempt.answered_at, zone),
        end_time=tell_known_time(attempt.ended_at, zone),
        duration=ended - int(attempt.started_at),
        billsec=ended - int(attempt.answered_at) if attempt.answered_at is not None else 0,
        disposition=_turn(attempt.disposition),
        recording_file=attempt.recording_file,
        recording_leg1=attempt.recording_leg1,
        recording_leg2=attempt.recording_leg2,
        created_at=tell_known_time(attempt.ended_at, zone),
    )


def sum_up(sums: Iterable[DispositionSum]) -> CdrStats:
    """The statistics; 0 where there was no call."""
    sums = tuple(sums)
    counts = dict.fromkeys((*_DISPOSITIONS.values(), _FAILED), 0)
    for one in sums:
        counts[_turn(one.disposition)] += one.amount
    total = sum(counts.values())
    duration, billsec = sum(one.duration_s for one in sums), sum(one.billsec_s for one in sums)
    return CdrStats(
        total_calls=total,
        **counts,
        avg_duration=round(duration / total, 4) if total else 0.0,
        avg_billsec=round(billsec / total, 4) if total else 0.0,
        total_duration=duration,
        total_billsec=billsec,
    )


async def _list(services: Services, exchange: Exchange) -> Reply:
    page: CdrQuery = exchange.query
    zone = zone_of(services)
    query = _read_query(page, zone)

    def read(db: Any) -> tuple[list[Attempt], int]:
        return load_report_page(db, query, limit=page.per_page, offset=page.offset)

    found, total = await services.store.read(read)
    return paginate((_row(attempt, zone) for attempt in found), "CDR records retrieved successfully", page, total)


async def _get(services: Services, exchange: Exchange) -> Reply:
    attempt = await services.store.read(load_finished, read_id(exchange.path["id"], _WHAT))
    if attempt is None:
        raise missing(_WHAT)
    return answer(_row(attempt, zone_of(services)), "CDR record retrieved successfully")


async def _stats(services: Services, exchange: Exchange) -> Reply:
    query = _read_query(exchange.query, zone_of(services))
    return answer(sum_up(await services.store.read(sum_report, query)), "CDR statistics retrieved successfully")


ROUTES: Final = (
    declare(
        "GET", "/cdr", "cdr/list", "List calls that are over, newest first.", _list, "list_cdr", (Paginated[CdrRow], "CdrList"),
        query=CdrQuery,
    ),
    declare(
        "GET", "/cdr/stats", "cdr/stats", "Calls by how they ended.", _stats, "get_cdr_stats", (Answer[CdrStats], "CdrStatsAnswer"),
        query=StatsQuery,
    ),
    declare(
        "GET", "/cdr/{id}", "cdr/view", "Read a call that is over.", _get, "get_cdr", (Answer[CdrRow], "CdrAnswer"),
        raises=(HTTPStatus.NOT_FOUND,),
    ),
)  # fmt: skip
