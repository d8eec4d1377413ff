"""goUploadLeads: leads read from CSV files and JSON into a list, all or none; never keeps a file."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from twisted.internet.threads import deferToThread

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.dialling import LEAD_FIELDS, commit
from api.compat.goapi.leads import LIST_LEADS
from api.compat.goapi.lists import find_list
from api.compat.goapi.speech import Said, fail_code
from tandem.domain.campaigns import NewNumber
from tandem.domain.number_rows import read_new_number
from tandem.store.campaigns import load_campaigns
from tandem.store.numbers import find_phone_numbers

_CHECKS: Final = frozenset({"", "NONE", "DUPLIST", "DUPCAMP", "DUPSYS"})
_DELIMITERS: Final = {"": ",", "COMMA": ",", "SEMICOLON": ";", "TAB": "\t", "PIPE": "|", ",": ",", ";": ";", "|": "|"}
# Columns of a file in their order, where its header does not say which is which.
_COLUMNS: Final = ("phone_number", "vendor_lead_code", "phone_code", *LEAD_FIELDS[1:])
_PHONE_NAMES: Final = frozenset({"phone", "phone_number", "phonenumber"})
MAX_LEADS: Final = 200_000


def _fail_upload(message: str) -> Said:
    return Said({"result": "error", "message": message})


async def _upload(call: Call) -> Mapping[str, Any]:
    content = call.given.files.get("goFileMe")
    if content is None:
        raise _fail_upload("Error: goFileMe is missing: a CSV file with a header")
    chosen = call.given.raw("custom_delimiter").upper()
    if chosen not in _DELIMITERS:
        raise _fail_upload("Error: custom_delimiter must be comma, semicolon, tab or pipe")
    mapping = _read_mapping(call)
    rows = await deferToThread(_read_file, content, _DELIMITERS[chosen], mapping)
    return await _add(call, rows, "goListId")


def _read_mapping(call: Call) -> dict[str, str] | None:
    """lead_mapping: the field of each of lead_mapping_fields is in the column of lead_mapping_data, by its number from 0 or by its header."""
    if not call.given.text("lead_mapping"):
        return None
    fields, places = (
        [part.strip().lower() for part in call.given.line(name).split(",")]
        for name in ("lead_mapping_fields", "lead_mapping_data")
    )
    if len(fields) != len(places) or not all(fields) or not all(places) or len(set(fields)) != len(fields):
        raise _fail_upload(
            "Error: lead_mapping_fields and lead_mapping_data must be as many names, separated by commas"
        )
    if _PHONE_NAMES.isdisjoint(fields):
        raise _fail_upload("Error: lead_mapping_fields must have phone_number")
    return dict(zip(fields, places, strict=True))


def _map_columns(mapping: Mapping[str, str], named: Sequence[str]) -> list[str]:
    """The field of each column, '' for none."""
    fields = [""] * len(named)
    for field, place in mapping.items():
        at = int(place) if place.isascii() and place.isdecimal() and len(place) < 6 else None
        if at is None and place in named:
            at = named.index(place)
        if at is None or at >= len(named) or fields[at]:
            raise _fail_upload(f"Error: lead_mapping_data: the file has no column {place[:40]}, or it is there twice")
        fields[at] = field
    return fields


def _read_file(content: bytes, delimiter: str, mapping: Mapping[str, str] | None) -> list[dict[str, str]]:
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
    if mapping is not None:
        named = _map_columns(mapping, named)
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


ACTIONS: Final = (
    Action(
        is_scoped=True, name="goUploadMe", permission="numbers/import", handler=_upload, summary="Reads a CSV file of leads into a list.",
        parameters=("goFileMe", "goListId", "goDupcheck", "phone_code_override", "custom_delimiter", "lead_mapping", "lead_mapping_fields", "lead_mapping_data"),
    ),
    Action(
        is_scoped=True, name="goUploadMeJSON", permission="numbers/import", handler=_upload_json, summary="Reads leads as JSON into a list.",
        parameters=("list_id", "leads", "goDupcheck"),
    ),
    *LIST_LEADS,
)  # fmt: skip
