"""`reports`: the calls of some time, one by one or counted; only read here."""

from datetime import datetime
from typing import Any, Final

from api.compat.while1.records import read_between, read_cdrs, read_project, zone_of
from api.compat.while1.speech import PAGE_SIZE, Answered, Denied, read_filters, read_map, read_page, read_text
from api.exchange import Exchange, Services
from tandem.domain.cdr import Direction
from tandem.store.cdr_reports import MAX_ROWS, CdrCount, CountedBy, count_cdrs_by
from tandem.store.cdrs import CdrQuery

# The names that standard reports have beside `cdr_api`, and what is counted in each.
_COUNTED: Final[dict[str, tuple[CountedBy, Direction | None, str]]] = {
    "queues": ("queue", None, "queue"),
    "users": ("endpoint", None, "user_id"),
    "inbound_routes": ("called", "inbound", "dnid"),
    "trunks": ("trunk", None, "trunk"),
    "call_status": ("disposition", None, "disposition"),
}
_FILTERS: Final = ("date_between", "project_id")


async def reports(services: Services, exchange: Exchange) -> Answered:
    """`cdr_api`, which is `cdr`, and counts by queue, user, DID, trunk and outcome. There are no custom ones."""
    exchange.require("cdrs/read")
    data = read_map(exchange.body, "data")
    kind, name = read_text(data, "type", 20), read_text(data, "id", 40)
    if kind not in ("standard", "custom"):
        raise Denied(f"Invalid report type {kind}")
    if kind == "standard" and name == "cdr_api":
        return await read_cdrs(services, exchange)
    if kind == "custom" or name not in _COUNTED:
        raise Denied(f"Invalid report ID {name}")
    by, direction, label = _COUNTED[name]
    filters, page = read_filters(exchange.body, _FILTERS), read_page(exchange.body)
    query = CdrQuery(direction=direction, **_read_filters(filters, services))
    total, found = await services.store.read(count_cdrs_by, query, by, PAGE_SIZE, (page - 1) * PAGE_SIZE)
    return Answered([{label: one.key, **show_counts(one)} for one in found], total, page)


def _read_filters(filters: Any, services: Services) -> dict[str, Any]:
    given = read_project(filters, services.apis.while1.project_id)
    if "date_between" in filters:
        given["since"], given["until"] = read_between(filters["date_between"], zone_of(services))
    return given


async def count_queues(services: Services, since: datetime, until: datetime) -> dict[str, dict[str, Any]]:
    """Queue -> its calls of some time, counted."""
    query = CdrQuery(since=since, until=until)
    _, found = await services.store.read(count_cdrs_by, query, "queue", MAX_ROWS)
    return {one.key: show_counts(one) for one in found}


def show_counts(one: CdrCount | None = None) -> dict[str, Any]:
    """Counts and seconds, zeros without any."""
    one = one or CdrCount(key="", calls=0, answered=0, talked=0, ring_s=0, hold_s=0, talk_s=0, duration_s=0)
    return {
        "calls": one.calls,
        "answered": one.answered,
        "talked": one.talked,
        "duration": round(one.duration_s),
        "billsec": round(one.talk_s),
        "ring": round(one.ring_s),
        "hold": round(one.hold_s),
    }
