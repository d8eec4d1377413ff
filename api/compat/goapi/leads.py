"""goGetLeads, and what goLists says of leads: they are numbers of campaigns with what is known of a person as their data; found, told, counted, changed, deleted."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.dialling import (
    LEAD_FIELDS,
    Known,
    commit,
    lead_data,
    lead_status,
    list_known,
    read_id,
    read_span,
    tell_status,
    zone_of,
)
from api.compat.goapi.lists import find_list
from api.compat.goapi.objects import columns, read_limit
from api.compat.goapi.speech import fail, fail_code
from api.joint import Joint, Step
from api.times import time_of
from tandem.domain.campaigns import NewNumber, SavedNumber
from tandem.domain.csv_cells import write_rows
from tandem.domain.number_rows import read_new_number
from tandem.store.attempt_pages import AttemptQuery, load_attempts
from tandem.store.number_lists import LeadCount, count_numbers_of_list
from tandem.store.numbers import MAX_PAGE, NumberMissing, NumberQuery, load_number, load_numbers

_ROW: Final = (
    "lead_id",
    "list_id",
    "first_name",
    "middle_initial",
    "last_name",
    "phone_number",
    "status",
    "last_call_time",
)

MAX_ROWS: Final = 10_000
_EXPORTED: Final = ("lead_id", "phone_number", "status", *LEAD_FIELDS, "called_count", "entry_date", "last_call_time")


def _tell(number: SavedNumber, codes: Mapping[int, str]) -> dict[str, Any]:
    known = lead_data(number)
    return {
        **{name: str(known.get(name, "")) for name in LEAD_FIELDS},
        "lead_id": number.number_id,
        "list_id": number.list_id or 0,
        "campaign_id": codes[number.campaign_id],
        "phone_number": number.phone_number,
        "status": lead_status(number),
        "called_count": number.dials,
        "entry_date": str(time_of(number.created_at)),
        "last_call_time": str(time_of(number.last_attempt_at) or ""),
    }


def _read_filter(call: Call) -> Callable[[SavedNumber], bool]:
    """What is asked of leads beside their campaign, list and search. start_date, end_date: when they were last called, both days included."""
    given = call.given
    status = given.text("disposition_filter").upper()
    places = {name: given.text(f"{name}_filter").casefold() for name in ("address1", "city", "state")}
    places["address1"] = places["address1"] or given.text("address_filter").casefold()
    is_dated = any(given.text(name) for name in ("start_date", "end_date"))
    since, until = (at.timestamp() for at in read_span(call, "start_date", "end_date")) if is_dated else (0.0, 0.0)
    # Customers are people whom the PBX knows with their telephones.
    only_people = given.text("search_customers").upper() in ("1", "Y", "YES", "TRUE")

    def fits(number: SavedNumber) -> bool:
        data = lead_data(number)
        return (
            (not status or lead_status(number) == status)
            and (not is_dated or since <= (number.last_attempt_at or 0) < until)
            and (not only_people or bool(number.person))
            and all(part in str(data.get(name, "")).casefold() for name, part in places.items() if part)
        )

    return fits


async def _find(call: Call) -> Mapping[str, Any]:
    given, limit = call.given, min(read_limit_of(call), 10_000)
    list_id = (
        int(text) if (text := given.text("list_filter")).isdecimal() and text.isascii() and len(text) < 18 else None
    )
    if text and list_id is None:
        raise fail_code("41002", "list_filter")
    wanted, fits = given.text("campaign_id"), _read_filter(call)
    known = [one for one in await list_known(call) if not wanted or one.code == wanted]
    rows = await _page(call, known, list_id, given.text("search"), fits, limit)
    return {**columns(rows, _ROW), "data": rows}


async def _page(
    call: Call,
    known: Sequence[Known],
    list_id: int | None,
    search: str,
    fits: Callable[[SavedNumber], bool],
    limit: int,
) -> list[dict[str, Any]]:
    """So many leads of these campaigns, in their order."""
    is_phone = search.lstrip("+").isdecimal()
    codes = {one.campaign_id: one.code for one in known}
    rows: list[dict[str, Any]] = []
    for one in known:
        after = 0
        while len(rows) < limit:
            query = NumberQuery(
                campaign_id=one.campaign_id, list_id=list_id, phone_number=search if is_phone else "", after_id=after,
                text="" if is_phone else search, limit=MAX_PAGE,
            )  # fmt: skip
            found, _ = await call.services.store.read(load_numbers, query)
            if not found:
                break
            after = found[-1].number_id
            rows += [_tell(number, codes) for number in found if fits(number)]
    return rows[:limit]


# --------------------------------------------------------------------------------------------------- a list's leads


async def _of_list(call: Call) -> Mapping[str, Any]:
    """The leads of a list."""
    one, known = await find_list(call)
    rows = await _page(call, [known], one.list_id, "", lambda _: True, min(read_limit_of(call), 10_000))
    return {**columns(rows, _ROW), "data": rows}


async def _export(call: Call) -> Mapping[str, Any]:
    """The leads of a list as rows and as CSV, MAX_ROWS at most."""
    one, known = await find_list(call)
    found = await _page(call, [known], one.list_id, "", lambda _: True, MAX_ROWS + 1)
    rows = [[row[name] for name in _EXPORTED] for row in found[:MAX_ROWS]]
    return {"header": list(_EXPORTED), "rows": rows, "csv": write_rows([_EXPORTED, *rows]), "is_cut": len(found) > MAX_ROWS}  # fmt: skip


async def _count_of_list(call: Call) -> Mapping[str, Any]:
    one, _ = await find_list(call)
    return {"data": one.numbers}


async def _count_by(call: Call, name: str, tell: Callable[[LeadCount], Any]) -> Mapping[str, Any]:
    """Called and not called since the last reset, by what `tell` makes of them."""
    one, _ = await find_list(call)
    counts: dict[Any, list[int]] = {}
    for found in await call.services.store.read(count_numbers_of_list, one.list_id):
        counts.setdefault(tell(found), [0, 0])[not found.is_called] += found.amount
    rows = [{name: key, "called": called, "not_called": waiting} for key, (called, waiting) in sorted(counts.items())]
    return columns(rows, (name, "called", "not_called"))


async def _count_by_status(call: Call) -> Mapping[str, Any]:
    return await _count_by(call, "status", lambda one: tell_status(one.status, one.agent_status, one.disposition))


async def _count_by_zone(call: Call) -> Mapping[str, Any]:
    """By hours from UTC; who has none is called by the clock of the PBX."""
    own = (call.services.now().astimezone(zone_of(call)).utcoffset() or timedelta()).total_seconds() / 60

    def tell(one: LeadCount) -> float:
        return round((own if one.utc_offset_min is None else one.utc_offset_min) / 60, 2)

    return await _count_by(call, "gmt_offset", tell)


# ---------------------------------------------------------------------------------------------------------- one lead


def read_limit_of(call: Call) -> int:
    """goVarLimit, or limit."""
    text = call.given.text("goVarLimit")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else read_limit(call)


async def find_lead(call: Call) -> tuple[SavedNumber, Known]:
    """The one that lead_id names; 41004 for one that is not there or not theirs."""
    lead_id = read_id(call, "lead_id")
    try:
        number: SavedNumber = await call.services.store.read(load_number, lead_id)
    except NumberMissing:
        raise fail_code("41004", "lead_id") from None
    for one in await list_known(call):
        if one.campaign_id == number.campaign_id:
            return number, one
    raise fail_code("41004", "lead_id")


async def _info(call: Call) -> Mapping[str, Any]:
    number, known = await find_lead(call)
    attempts = await call.services.store.read(load_attempts, AttemptQuery(number_id=number.number_id))
    calls = [
        {
            "uniqueid": one.call_id, "call_date": str(time_of(one.started_at)), "status": one.agent_status or one.disposition or "INCALL",
            "length_in_sec": int((one.ended_at or one.started_at) - (one.answered_at or one.ended_at or one.started_at)),
            "user": one.agent, "campaign_id": known.code,
        }
        for one in attempts
    ]  # fmt: skip
    return {
        "data": _tell(number, {known.campaign_id: known.code}),
        "calls": calls,
        "custom_fields": dict(lead_data(number)),
    }


async def _edit(call: Call) -> Mapping[str, Any]:
    lead, _ = await find_lead(call)
    given = call.given
    changes = {name: given.text(name) for name in LEAD_FIELDS if name in given}

    def decide(number: SavedNumber) -> NewNumber:
        data = {**lead_data(number), **changes}
        made = read_new_number(
            {
                "phone_number": given.text("phone_number") or number.phone_number,
                "data": {name: value for name, value in data.items() if value != ""},
                "variables": number.variables,
                "person": number.person,
                "utc_offset_min": number.utc_offset_min,
            }
        )
        if not isinstance(made, NewNumber):
            raise fail(f"Error: {made[0][0]} {made[0][1]}")
        return made

    use, number_id = call.services.campaigns, lead.number_id
    steps: list[Step] = []
    if changes or given.text("phone_number"):
        steps.append(lambda keep: use.change_number(number_id, decide, commit=keep))
    if status := given.text("status").upper():
        call.exchange.require("numbers/status")
        author = call.exchange.who.name
        steps.append(lambda keep: use.set_status(number_id, status, author=author, commit=keep))
    if steps:
        await Joint().run(commit(call, f"numbers/{number_id}"), steps)
    return {}


async def _delete(call: Call) -> Mapping[str, Any]:
    lead, _ = await find_lead(call)
    await call.services.campaigns.delete_number(lead.number_id, commit=commit(call, f"numbers/{lead.number_id}"))
    return {}


LEAD_ACTIONS: Final = (
    Action(
        is_scoped=True, name="goGetLeads", permission="numbers/read", handler=_find, summary="Finds leads.",
        parameters=("search", "campaign_id", "list_filter", "disposition_filter", "address_filter", "city_filter", "state_filter", "start_date", "end_date", "search_customers", "goVarLimit"),
    ),
    Action(is_scoped=True, name="goGetLeadsInfo", permission="numbers/read", handler=_info, summary="Tells a lead and its calls.", parameters=("lead_id",)),
    Action(
        is_scoped=True, name="goEditLeads", permission="numbers/update", handler=_edit, summary="Changes what is given of a lead.",
        parameters=("lead_id", "phone_number", "status", *LEAD_FIELDS),
    ),
    Action(is_scoped=True, name="goDeleteLead", permission="numbers/delete", handler=_delete, summary="Deletes a lead.", parameters=("lead_id",)),
)  # fmt: skip
# Of goUploadLeads, beside those that read files.
LIST_LEADS: Final = (
    Action(
        is_scoped=True, name="goGetLeadsOfList", permission="numbers/read", handler=_of_list, summary="The leads of a list.",
        parameters=("list_id", "goVarLimit"),
    ),
)  # fmt: skip
LIST_ACTIONS: Final = (
    Action(is_scoped=True, name="goListExport", permission="numbers/read", handler=_export, summary="The leads of a list, as rows and as CSV.", parameters=("list_id",)),
    Action(is_scoped=True, name="goListExportCountRows", permission="numbers/read", handler=_count_of_list, summary="How many leads a list has.", parameters=("list_id",)),
    Action(
        is_scoped=True, name="goGetStatusesWithCountCalledNCalled", permission="numbers/read", handler=_count_by_status,
        summary="A list's leads by status: called, and not called yet.", parameters=("list_id",),
    ),
    Action(
        is_scoped=True, name="goGetTZonesWithCountCalledNCalled", permission="numbers/read", handler=_count_by_zone,
        summary="The same by time zone, in hours from UTC.", parameters=("list_id",),
    ),
)  # fmt: skip
