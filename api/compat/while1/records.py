"""`cdr`, `inbound-routes` and `schedule`: calls that are over, DIDs and opening hours; only read here."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from api.compat.php_names import as_list
from api.compat.while1.notes import save_cdrs, show_transcription
from api.compat.while1.speech import (
    PAGE_SIZE,
    Answered,
    Denied,
    choose,
    paginate,
    read_filters,
    read_flag,
    read_map,
    read_page,
    read_text,
)
from api.exchange import Exchange, Services
from tandem.domain.call_notes import CallNotes
from tandem.domain.cdr import Cdr
from tandem.domain.day_times import DayTimes
from tandem.domain.disposition import Disposition
from tandem.domain.entities import Did, Schedule
from tandem.domain.routing import describe_destination
from tandem.editing import list_objects
from tandem.store.call_notes import load_notes
from tandem.store.cdrs import CdrQuery, count_cdrs, load_cdrs

TIME: Final = "%Y-%m-%d %H:%M:%S"
_FILTERS: Final = (
    *("date_between", "project_id", "user_id", "direction", "call_status", "telephone", "telephone_like", "source"),
    *("destination", "from_id", "uniqueid", "linkedid", "external_id", "inbound_route_id"),
    *("hour_between", "has_monitor_file", "has_recording_file", "has_transcription"),
)
# What is kept of a call: recordings of all of it, and of what somebody answered.
_KEPT: Final = (("has_monitor_file", "is_recorded"), ("has_recording_file", "has_answers"), ("has_transcription",) * 2)
_MAX_ROUTES: Final = 100
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3])(?::([0-5][0-9])(?::([0-5][0-9]))?)?", re.ASCII)
_DIRECTIONS: Final = {"IN": "inbound", "OUT": "outbound"}
_STATUSES: Final = {
    "ANSWERED": (Disposition.ANSWERED, Disposition.MACHINE),
    "BUSY": (Disposition.BUSY,),
    "NO ANSWER": (Disposition.NO_ANSWER, Disposition.CANCELLED),
    "CONGESTION": (Disposition.CONGESTION, Disposition.TRUNK_DEAD),
    "FAILED": (Disposition.FAILED, Disposition.REJECTED, Disposition.INVALID_NUMBER, Disposition.UNCONFIRMED),
}
_STATUS_OF: Final = {disposition: word for word, ones in _STATUSES.items() for disposition in ones}


def zone_of(services: Services) -> ZoneInfo:
    """By whose clock times are read and told."""
    return ZoneInfo(services.live.current.general.time_zone)


def _tell(at: datetime | None, zone: ZoneInfo) -> str | None:
    return None if at is None else at.astimezone(zone).strftime(TIME)


# --------------------------------------------------------------------------------------------------------------- cdr


async def read_cdrs(services: Services, exchange: Exchange) -> Answered:
    """A page of calls."""
    exchange.require("cdrs/read")
    page, zone = read_page(exchange.body), zone_of(services)
    own = services.apis.while1.project_id
    query = _read_query(read_filters(exchange.body, _FILTERS), page, zone, own)

    def read(db: Any) -> tuple[int, list[Cdr], dict[str, CallNotes]]:
        if query.ended_after and not load_cdrs(db, CdrQuery(call_id=query.ended_after, limit=1)):
            raise Denied("from_id: there is no such call, or none that is over and kept; 0 is from the beginning")
        found = load_cdrs(db, query)
        # A first page that is not full is all there is.
        is_all = page == 1 and len(found) < PAGE_SIZE
        total = len(found) if is_all else count_cdrs(db, query)
        return total, found, load_notes(db, [cdr.call_id for cdr in found])

    total, found, notes = await services.store.read(read)
    return Answered([_show(cdr, zone, notes.get(cdr.call_id, CallNotes()), own) for cdr in found], total, page)


def _read_query(filters: Mapping[str, Any], page: int, zone: ZoneInfo, own: str) -> CdrQuery:
    given: dict[str, Any] = {"limit": PAGE_SIZE, "offset": (page - 1) * PAGE_SIZE, **read_project(filters, own)}
    for theirs, ours in (
        ("external_id", "external_id"), ("user_id", "endpoint"), ("source", "caller_exact"),
        ("destination", "called_exact"), ("telephone", "number"), ("telephone_like", "number_like"), ("linkedid", "call_id"),
        ("uniqueid", "call_id"),
    ):  # fmt: skip
        if theirs in filters:
            given[ours] = read_text(filters, theirs, 80)
    if "direction" in filters:
        word = read_text(filters, "direction", 10)
        if word not in _DIRECTIONS:
            raise Denied("direction: must be IN or OUT")
        given["direction"] = _DIRECTIONS[word]
    if "call_status" in filters:
        words = as_list(filters["call_status"])
        if not all(isinstance(word, str) and word in _STATUSES for word in words):
            raise Denied(f"call_status: must be of {', '.join(_STATUSES)}")
        given["dispositions"] = tuple(one for word in words for one in _STATUSES[word])
    if "date_between" in filters:
        given["since"], given["until"] = read_between(filters["date_between"], zone)
    given |= _read_kept(filters)
    if "hour_between" in filters:
        given["day_times"] = _read_hours(filters["hour_between"], zone)
    if "from_id" in filters:
        after = read_text(filters, "from_id", 80)
        given["ended_after"] = "" if after == "0" else after
    return CdrQuery(**given)


def read_project(filters: Mapping[str, Any], own: str) -> dict[str, Any]:
    """What asks for the calls of a project. own: the PBX's, whose calls are also all that nobody placed with one."""
    if "project_id" not in filters:
        return {}
    project = read_text(filters, "project_id", 80)
    return {"projects": (project, "")} if project == own else {"projects": (project,)}


def read_between(value: Any, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """From the first second to the end of the last one, by the clock of the PBX."""
    texts = as_list(value)
    if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
        raise Denied("date_between: must be two times, YYYY-MM-DD HH:MM:SS")
    try:
        since, until = (datetime.strptime(text.strip(), TIME).replace(tzinfo=zone) for text in texts)
        return since, until + timedelta(seconds=1)
    except (ValueError, OverflowError):
        raise Denied("date_between: must be two times, YYYY-MM-DD HH:MM:SS") from None


def _read_kept(filters: Mapping[str, Any]) -> dict[str, Any]:
    """What asks for the DID that a call came in by, and for what is kept beside it."""
    given: dict[str, Any] = {}
    if "inbound_route_id" in filters:
        routes = as_list(filters["inbound_route_id"])
        if not 0 < len(routes) <= _MAX_ROUTES:
            raise Denied(f"inbound_route_id: must be one id, or a list of up to {_MAX_ROUTES}")
        given["dids"] = tuple(read_text({"inbound_route_id": one}, "inbound_route_id", 80) for one in routes)
    for theirs, ours in _KEPT:
        if theirs in filters:
            given[ours] = read_flag(filters, theirs, default=True)
    return given


def _read_hours(value: Any, zone: ZoneInfo) -> DayTimes:
    """From the first second to the end of the last one, every day by the clock of the PBX; an hour alone is all of it."""
    found = [_CLOCK.fullmatch(str(text)) for text in as_list(value) if isinstance(text, str | int)]
    if len(found) != 2 or found[0] is None or found[1] is None or len(as_list(value)) != 2:
        raise Denied("hour_between: must be two times of day, HH, HH:MM or HH:MM:SS")
    (hour, minute, second), (last_hour, last_minute, last_second) = (match.groups() for match in found if match)
    last = (last_hour, last_minute or "59", last_second or ("00" if last_minute else "59"))
    return DayTimes(_count_seconds(hour, minute or "0", second or "0"), _count_seconds(*last), zone.key)


def _count_seconds(hours: str, minutes: str, seconds: str) -> int:
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def _show(cdr: Cdr, zone: ZoneInfo, notes: CallNotes, own: str) -> dict[str, Any]:
    return {
        "id": cdr.call_id,
        "uniqueid": cdr.call_id,
        "linkedid": cdr.call_id,
        "project_id": cdr.project or own,
        "external_id": cdr.external_id or None,
        "direction": {"inbound": "IN", "outbound": "OUT"}.get(cdr.direction, "INTERNAL"),
        "call_status": _STATUS_OF[cdr.disposition],
        "source": cdr.caller,
        "destination": cdr.called,
        "user_id": cdr.endpoint or None,
        "queue": cdr.queue or None,
        "trunk": cdr.trunk or None,
        "start": _tell(cdr.started_at, zone),
        "answer": _tell(cdr.answered_at, zone),
        "end": _tell(cdr.ended_at, zone),
        "duration": round(cdr.duration_s),
        "billsec": round(cdr.talk_s),
        "hangup_cause": cdr.cause,
        "accounting_code": (cdr.account if notes.accounting_code is None else notes.accounting_code) or None,
        "comments": notes.comments or None,
        "transcriptions": [show_transcription(one) for one in notes.transcriptions],
    }


CDR: Final = {"read": read_cdrs, "save": save_cdrs}


async def cdr(services: Services, exchange: Exchange) -> Answered:
    """What `action` names."""
    return await choose(exchange.body, "action", CDR, "read")(services, exchange)


# ------------------------------------------------------------------------------------------ inbound-routes, schedule


async def inbound_routes(services: Services, exchange: Exchange) -> Answered:
    """The DIDs that are live."""
    exchange.require("dids/read")
    filters, page = read_filters(exchange.body, ("project_id", "search")), read_page(exchange.body)
    wanted = read_text(filters, "search", 80, default="").casefold()
    dids: list[Any] = list_objects(services.live.current, "dids")
    return paginate([_show_did(did) for did in dids if wanted in f"{did.number} {did.description}".casefold()], page)


def _show_did(did: Did) -> dict[str, Any]:
    return {
        "id": did.number,
        "dnid": did.number,
        "name": did.description,
        "is_active": int(did.active),
        "destination": describe_destination(did.destination),
    }


async def schedule(services: Services, exchange: Exchange) -> Answered:
    """Opening hours by weekday, or the days that are different."""
    exchange.require("schedules/read")
    kind = read_text(read_map(exchange.body, "data"), "type", 20, default="weekdays")
    if kind not in ("weekdays", "custom"):
        raise Denied(f"Invalid schedule type: {kind}")
    rows = []
    for one in services.live.current.schedules.values():
        rows += _show_weekdays(one) if kind == "weekdays" else _show_days(one)
    return paginate(rows, read_page(exchange.body))


def _show_weekdays(one: Schedule) -> list[dict[str, Any]]:
    return [
        {"schedule": one.name, "weekday": day, "start": str(hours.start), "end": str(hours.end)}
        for hours in one.hours
        for day in hours.days
    ]


def _show_days(one: Schedule) -> list[dict[str, Any]]:
    return [{"schedule": one.name, "date": str(day), "is_closed": 1} for day in one.holidays]
