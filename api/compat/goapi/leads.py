"""goGetLeads and goUploadLeads: leads are numbers of campaigns with what is known of a person as their data; found, told, changed, deleted, read from files."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.threads import deferToThread

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.dialling import LEAD_FIELDS, Known, commit, lead_data, lead_status, list_known, read_id
from api.compat.goapi.lists import find_list
from api.compat.goapi.objects import columns, read_limit
from api.compat.goapi.speech import Said, fail, fail_code
from api.joint import Joint, Step
from api.times import time_of
from tandem.domain.campaigns import NewNumber, SavedNumber
from tandem.domain.number_rows import read_new_number
from tandem.store.attempt_pages import AttemptQuery, load_attempts
from tandem.store.campaigns import load_campaigns
from tandem.store.numbers import MAX_PAGE, NumberMissing, NumberQuery, find_phone_numbers, load_number, load_numbers

_CHECKS: Final = frozenset({"", "NONE", "DUPLIST", "DUPCAMP", "DUPSYS"})
_DELIMITERS: Final = {"": ",", "COMMA": ",", "SEMICOLON": ";", "TAB": "\t", "PIPE": "|", ",": ",", ";": ";", "|": "|"}
# Columns of a file in their order, where its header does not say which is which.
_COLUMNS: Final = ("phone_number", "vendor_lead_code", "phone_code", *LEAD_FIELDS[1:])
_PHONE_NAMES: Final = frozenset({"phone", "phone_number", "phonenumber"})
MAX_LEADS: Final = 200_000
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


async def _find(call: Call) -> Mapping[str, Any]:
    given, limit = call.given, min(read_limit_of(call), 10_000)
    known = {one.campaign_id: one for one in await list_known(call)}
    wanted = given.text("campaign_id")
    list_id = (
        int(text) if (text := given.text("list_filter")).isdecimal() and text.isascii() and len(text) < 18 else None
    )
    if text and list_id is None:
        raise fail_code("41002", "list_filter")
    search, status = given.text("search"), given.text("disposition_filter").upper()
    places = {name: given.text(f"{name}_filter").casefold() for name in ("address1", "city", "state")}
    places["address1"] = places["address1"] or given.text("address_filter").casefold()
    is_phone = search.lstrip("+").isdecimal()
    rows: list[dict[str, Any]] = []
    codes = {one.campaign_id: one.code for one in known.values()}

    def fits(number: SavedNumber) -> bool:
        data = lead_data(number)
        return (not status or lead_status(number) == status) and all(
            part in str(data.get(name, "")).casefold() for name, part in places.items() if part
        )

    for one in known.values():
        if wanted and one.code != wanted:
            continue
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
    rows = rows[:limit]
    return {**columns(rows, _ROW), "data": rows}


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


# --------------------------------------------------------------------------------------------------------- uploading


def _fail_upload(message: str) -> Said:
    return Said({"result": "error", "message": message})


async def _upload(call: Call) -> Mapping[str, Any]:
    content = call.given.files.get("goFileMe")
    if content is None:
        raise _fail_upload("Error: goFileMe is missing: a CSV file with a header")
    chosen = call.given.raw("custom_delimiter").upper()
    if chosen not in _DELIMITERS:
        raise _fail_upload("Error: custom_delimiter must be comma, semicolon, tab or pipe")
    rows = await deferToThread(_read_file, content, _DELIMITERS[chosen])
    return await _add(call, rows, "goListId")


def _read_file(content: bytes, delimiter: str) -> list[dict[str, str]]:
    """Rows by the names of lead fields; in a thread. A header names the columns, in any order; one that it does not name is kept by its own name."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    if "\0" in text:
        raise _fail_upload("Error: the file holds the character NUL")
    try:
        lines = [
            row
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise _fail_upload(f"Error: the file is no CSV: {error}") from None
    if len(lines) - 1 > MAX_LEADS:
        raise _fail_upload(f"Error: the file has more than {MAX_LEADS} leads")
    if len(lines) < 2:
        raise _fail_upload("Error: the file has no leads below its header")
    named = [cell.strip().lower().replace(" ", "_") for cell in lines[0]]
    names = ["phone_number" if name in _PHONE_NAMES else name for name in named]
    if "phone_number" not in names:
        names = [_COLUMNS[at] if at < len(_COLUMNS) else name for at, name in enumerate(names)]
    return [dict(zip(names, map(str.strip, row), strict=False)) for row in lines[1:]]


async def _upload_json(call: Call) -> Mapping[str, Any]:
    leads = call.given.values.get("leads")
    if isinstance(leads, str):
        try:
            leads = json.loads(leads)
        except (ValueError, RecursionError):
            raise fail_code("10011") from None
    found = list(leads.values()) if isinstance(leads, dict) else leads
    if not isinstance(found, list) or not found or len(found) > MAX_LEADS:
        raise fail_code("10011")
    rows = []
    for lead in found:
        fields = lead.get("fields") if isinstance(lead, dict) else None
        fields = list(fields.values()) if isinstance(fields, dict) else fields
        if not isinstance(fields, list) or not all(
            isinstance(one, dict) and isinstance(one.get("FieldName"), str) for one in fields
        ):
            raise fail_code("10011")
        row = {one["FieldName"].lower(): str(one.get("FieldValue") or "") for one in fields}
        rows.append({("phone_number" if name in _PHONE_NAMES else name): value for name, value in row.items()})
    return await _add(call, rows, "list_id")


async def _add(call: Call, rows: list[dict[str, str]], name: str) -> Mapping[str, Any]:
    values = {**call.given.values, "list_id": call.given.values.get(name, "")}
    list_call = Call(call.services, call.exchange, type(call.given)(values))
    one, known = await find_list(list_call)
    check = call.given.text("goDupcheck").upper()
    if check not in _CHECKS:
        raise _fail_upload("Error: goDupcheck must be DUPSYS, DUPCAMP, DUPLIST or none")
    code = call.given.text("phone_code_override")
    numbers, invalid = await deferToThread(_read_leads, rows, one.list_id, code)
    numbers, duplicates = await _without_known(call, numbers, check, known.campaign_id, one.list_id)
    if not numbers:
        raise _fail_upload(f"Error: no lead was uploaded: {invalid} invalid, {duplicates} duplicates")
    await call.services.campaigns.add_numbers(
        known.campaign_id, numbers, commit=commit(call, f"lists/{one.list_id}/numbers")
    )
    more = f", {invalid} invalid" if invalid else ""
    more += f", {duplicates} duplicates" if duplicates else ""
    return {"message": f"Total Uploaded Leads: {len(numbers)}{more}"}


def _read_leads(rows: list[dict[str, str]], list_id: int, phone_code: str) -> tuple[list[NewNumber], int]:
    """In a thread: each lead is a moment of its own."""
    numbers, invalid = [], 0
    for row in rows:
        phone = "".join(sign for sign in row.pop("phone_number", "") if sign not in " -().")
        row.pop("phone_code", None)
        data = {name[:40]: value for name, value in row.items() if name and value}
        made = read_new_number({"phone_number": f"{phone_code}{phone}", "data": data or None, "list_id": list_id})
        if isinstance(made, NewNumber):
            numbers.append(made)
        else:
            invalid += 1
    return numbers, invalid


async def _without_known(
    call: Call, numbers: list[NewNumber], check: str, campaign_id: int, list_id: int
) -> tuple[list[NewNumber], int]:
    """Those that are not there yet: in the list, its campaign, or anywhere; and each only once."""
    if check in ("", "NONE"):
        return numbers, 0
    wanted = {number.phone_number for number in numbers}

    def read(db: Any) -> set[str]:
        campaigns = [campaign_id] if check != "DUPSYS" else [one.campaign_id for one in load_campaigns(db)]
        found: set[str] = set()
        for one in campaigns:
            found |= find_phone_numbers(db, one, wanted, list_id if check == "DUPLIST" else None)
        return found

    seen = await call.services.store.read(read)
    fresh = []
    for number in numbers:
        if number.phone_number not in seen:
            seen.add(number.phone_number)
            fresh.append(number)
    return fresh, len(numbers) - len(fresh)


LEAD_ACTIONS: Final = (
    Action(
        is_scoped=True, name="goGetLeads", permission="numbers/read", handler=_find, summary="Finds leads.",
        parameters=("search", "campaign_id", "list_filter", "disposition_filter", "address_filter", "city_filter", "state_filter", "goVarLimit"),
    ),
    Action(is_scoped=True, name="goGetLeadsInfo", permission="numbers/read", handler=_info, summary="Tells a lead and its calls.", parameters=("lead_id",)),
    Action(
        is_scoped=True, name="goEditLeads", permission="numbers/update", handler=_edit, summary="Changes what is given of a lead.",
        parameters=("lead_id", "phone_number", "status", *LEAD_FIELDS),
    ),
    Action(is_scoped=True, name="goDeleteLead", permission="numbers/delete", handler=_delete, summary="Deletes a lead.", parameters=("lead_id",)),
)  # fmt: skip
UPLOAD_ACTIONS: Final = (
    Action(
        is_scoped=True, name="goUploadMe", permission="numbers/import", handler=_upload, summary="Reads a CSV file of leads into a list.",
        parameters=("goFileMe", "goListId", "goDupcheck", "phone_code_override", "custom_delimiter"),
    ),
    Action(
        is_scoped=True, name="goUploadMeJSON", permission="numbers/import", handler=_upload_json, summary="Reads leads as JSON into a list.",
        parameters=("list_id", "leads", "goDupcheck"),
    ),
)  # fmt: skip
