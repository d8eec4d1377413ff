"""`/campaigns/:id/numbers` and `/numbers`: list, add one or many, read, delete; a number that cannot be dialled is never stored."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field
from pydantic.dataclasses import dataclass
from twisted.internet.threads import deferToThread

from api.compat.ari.campaigns import campaign_id_of
from api.compat.ari.speech import (
    Answer,
    Done,
    PageQuery,
    Paginated,
    answer,
    declare,
    deny,
    deny_fields,
    done,
    fields_body,
    need,
    paginate,
    read_flag,
    read_id,
    tell_known_time,
    tell_time,
    zone_of,
)
from api.declare import Reply
from api.exchange import Commit, Exchange, Services
from tandem.domain.campaigns import NewNumber, SavedNumber
from tandem.domain.number_rows import read_new_number
from tandem.store.campaigns import load_campaign
from tandem.store.numbers import Added, NumberQuery, load_number, load_numbers

MAX_BULK: Final = 100_000
MAX_BULK_BYTES: Final = 32 * 1024 * 1024
MAX_TOLD: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRow:
    """A number on a campaign's list. data: JSON as a text."""

    id: int
    campaign_id: int
    phone_number: str
    status: str
    attempts: int
    last_attempt: str | None
    data: str | None
    created_at: str
    updated_at: str | None


@dataclass(frozen=True, slots=True)
class NumberAdded:
    """A number that is on the list now; its id is more than the original tells."""

    campaign_id: int
    phone_number: str
    id: int


@dataclass(frozen=True, slots=True)
class NotAdded:
    """One that was left out: which (from 0), and why."""

    index: int
    rule: str


@dataclass(frozen=True, slots=True)
class NumbersAdded:
    """How many are on the list now; what follows on `count` is more than the original tells. errors: the first of those left out."""

    campaign_id: int
    count: int
    skipped: int
    duplicates: int
    errors: tuple[NotAdded, ...]


class NumberFields(BaseModel):
    """A number, and what is known of it."""

    phone_number: str
    data: Any = None


class ManyNumbers(BaseModel):
    """Numbers. skip_duplicates: those that are on the list already are left out; not without it."""

    numbers: Annotated[list[NumberFields], Field(max_length=MAX_BULK)]
    skip_duplicates: bool = False


class NumbersQuery(PageQuery):
    """Which page of the numbers with this status; of one that does not exist there are none."""

    status: str = ""


def _row(number: SavedNumber, zone: ZoneInfo) -> NumberRow:
    return NumberRow(
        id=number.number_id,
        campaign_id=number.campaign_id,
        phone_number=number.phone_number,
        status=number.status.value,
        attempts=number.attempts,
        last_attempt=tell_time(number.last_attempt_at, zone),
        data=json.dumps(number.data, ensure_ascii=False) if number.data is not None else None,
        created_at=tell_known_time(number.created_at, zone),
        updated_at=tell_time(number.updated_at, zone),
    )


async def _list(services: Services, exchange: Exchange) -> Reply:
    page: NumbersQuery = exchange.query
    query = NumberQuery(
        campaign_id=campaign_id_of(exchange), status=page.status or None, limit=page.per_page, offset=page.offset
    )

    def read(db: Any) -> tuple[list[SavedNumber], int]:
        load_campaign(db, query.campaign_id)
        return load_numbers(db, query, services.places)

    found, total = await services.store.read(read)
    zone = zone_of(services)
    return paginate((_row(number, zone) for number in found), "Numbers retrieved successfully", page, total)


async def _get(services: Services, exchange: Exchange) -> Reply:
    number = await services.store.read(load_number, read_id(exchange.path["id"], "Number"))
    return answer(_row(number, zone_of(services)), "Number retrieved successfully")


# ----------------------------------------------------------------------------------------------------------- adding


def _read_number(given: Mapping[str, Any]) -> NewNumber | tuple[tuple[str, str], ...]:
    """The number that is meant, or (field, rule) for what is wrong with it. A phone number may be written as a number."""
    text = given["phone_number"]
    if isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
    return read_new_number({"phone_number": text, "data": given.get("data") or None})


async def _add(services: Services, exchange: Exchange) -> Reply:
    campaign_id, given = campaign_id_of(exchange), exchange.body
    await services.store.read(load_campaign, campaign_id)
    need(given, ("phone_number",))
    number = _read_number(given)
    if isinstance(number, tuple):
        raise deny_fields(number)
    phone_number = number.phone_number

    def reply(_: Any, added: Added) -> Reply:
        told = NumberAdded(campaign_id, phone_number, added.number_ids[0])
        return answer(told, "Number added successfully", HTTPStatus.CREATED)

    commit: Commit[Added] = Commit(exchange, f"campaigns/{campaign_id}/numbers", reply)
    await services.campaigns.add_numbers(campaign_id, [number], commit=commit)
    return commit.reply


def _sort_out(items: Sequence[Any]) -> tuple[list[NewNumber], int, tuple[NotAdded, ...]]:
    """(what can be added, how many cannot, the first of those and why)."""
    numbers: list[NewNumber] = []
    wrong: list[NotAdded] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict) or item.get("phone_number") in (None, ""):
            wrong.append(NotAdded(index, "phone_number is missing"))
            continue
        found = _read_number(item)
        if isinstance(found, tuple):
            wrong.append(NotAdded(index, " ".join(found[0])))
        else:
            numbers.append(found)
    return numbers, len(wrong), tuple(wrong[:MAX_TOLD])


async def _bulk(services: Services, exchange: Exchange) -> Reply:
    campaign_id, given = campaign_id_of(exchange), exchange.body
    await services.store.read(load_campaign, campaign_id)
    items = given.get("numbers")
    if not isinstance(items, list):
        raise deny('Invalid input. Expected "numbers" array')
    if len(items) > MAX_BULK:
        raise deny(f"Too many numbers: at most {MAX_BULK} in one request")
    dedupe = read_flag("skip_duplicates", given.get("skip_duplicates", False))
    # In a thread: a hundred thousand take a moment that calls must not wait for.
    numbers, skipped, errors = await deferToThread(_sort_out, items)
    if not numbers:
        raise deny(
            "No valid numbers provided", {"numbers": [f"{it.index}: {it.rule}" for it in errors]} if errors else None
        )

    def reply(_: Any, added: Added) -> Reply:
        count = len(added.number_ids)
        told = NumbersAdded(campaign_id, count, skipped, added.duplicates, errors)
        return answer(told, f"{count} numbers added successfully", HTTPStatus.CREATED)

    commit: Commit[Added] = Commit(exchange, f"campaigns/{campaign_id}/numbers", reply)
    await services.campaigns.add_numbers(campaign_id, numbers, commit=commit, dedupe=dedupe)
    return commit.reply


async def _delete(services: Services, exchange: Exchange) -> Reply:
    number_id = read_id(exchange.path["id"], "Number")
    gone = done("Number deleted successfully")
    commit: Commit[SavedNumber] = Commit(exchange, f"numbers/{number_id}", lambda _db, _: gone)
    await services.campaigns.delete_number(number_id, commit=commit)
    return gone


_LIST: Final = "/campaigns/{id}/numbers"
_ONE: Final = "/numbers/{id}"
_LOST: Final = {"raises": (HTTPStatus.NOT_FOUND,)}

ROUTES: Final = (
    declare(
        "GET", _LIST, "numbers/list", "List the numbers of a campaign.", _list, "list_numbers",
        (Paginated[NumberRow], "NumberList"), query=NumbersQuery, **_LOST,
    ),
    declare(
        "POST", _LIST, "numbers/add", "Add a number to a campaign.", _add, "add_number", (Answer[NumberAdded], "NumberAddedAnswer"),
        body=fields_body(NumberFields), status=HTTPStatus.CREATED, **_LOST,
    ),
    declare(
        "POST", f"{_LIST}/bulk", "numbers/bulk_add", "Add many numbers to a campaign.", _bulk, "add_numbers",
        (Answer[NumbersAdded], "NumbersAddedAnswer"), body=fields_body(ManyNumbers), status=HTTPStatus.CREATED,
        max_body=MAX_BULK_BYTES, **_LOST,
    ),
    declare("GET", _ONE, "numbers/view", "Read a number.", _get, "get_number", (Answer[NumberRow], "NumberAnswer"), **_LOST),
    declare("DELETE", _ONE, "numbers/delete", "Delete a number that is not being called.", _delete, "delete_number", Done, **_LOST),
)  # fmt: skip
