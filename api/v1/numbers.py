"""Numbers of campaigns: list, add, add many, read, delete, export, and why one is not dialled now; never dials."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, BinaryIO, Final

from pydantic import AwareDatetime, Field, StringConstraints
from twisted.internet.threads import deferToThread

from api.csv_stream import CSV, stream_csv
from api.declare import JSON, PREFIX, Body, Frozen, Reply, Route, Shown, model_body
from api.errors import Refused, refuse_fields
from api.exchange import Commit, Exchange, Services
from api.times import show_times, time_of, with_times
from api.v1.campaigns import ONE as CAMPAIGN
from api.v1.campaigns import campaign_id_of, check_campaign_seen, read_id
from tandem.domain.campaigns import NewNumber, NumberStatus, Person, SavedNumber, UtcOffset
from tandem.domain.number_rows import NotJson, read_new_number, split_items
from tandem.domain.why import Why, explain_number
from tandem.store.attempt_claims import load_blocked, load_busy
from tandem.store.campaigns import load_campaign
from tandem.store.number_lists import load_inactive_lists
from tandem.store.numbers import MAX_PAGE, Added, NumberQuery, load_number, load_numbers

_PATH: Final = f"{CAMPAIGN}/numbers"
_ONE: Final = f"{PREFIX}/numbers/{{number_id}}"
_MISSING: Final = (HTTPStatus.NOT_FOUND,)
MAX_BULK: Final = 200_000
_MAX_BULK_BODY: Final = 64 * 1024 * 1024
# Of the numbers that are not added, so many are told one by one; the others are counted.
MAX_TOLD: Final = 1000

NumberShown: Final[Any] = with_times(SavedNumber, "Number")
_Prefix = Annotated[str, StringConstraints(pattern=r"^(\+?[0-9*#]{1,24})?$")]


class NumberToAdd(Frozen):
    """A number to call. data: whatever the client knows of it; variables: set on the channel; not_before: not called earlier; list_id: of which list of the campaign's.

    person: whose number it is, by an id of yours: of the numbers of one person one is called at a time, and none once they were reached.
    utc_offset_min: minutes east of UTC, where its country and area do not say it.
    """

    phone_number: Annotated[str, StringConstraints(pattern=r"^\+?[0-9*#]{1,24}$")]
    data: Any = None
    variables: dict[str, str] = Field(default_factory=dict)
    not_before: AwareDatetime | None = None
    list_id: Annotated[int, Field(ge=1, le=2**62)] | None = None
    person: Person = ""
    utc_offset_min: UtcOffset | None = None


class NumberChange(Frozen):
    """What is known of a number."""

    phone_number: Annotated[str, StringConstraints(pattern=r"^\+?[0-9*#]{1,24}$")] | None = None
    data: Any = None
    variables: dict[str, str] | None = None
    person: Person = ""
    utc_offset_min: UtcOffset | None = None


class SpokenOf(Frozen):
    """What an agent says of the last call. call_again_at: for a status that is a callback."""

    status: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9_-]{0,7}$")]
    call_again_at: AwareDatetime | None = None


class NumbersToAdd(Frozen):
    """Many at once."""

    numbers: Annotated[tuple[NumberToAdd, ...], Field(max_length=MAX_BULK)]


class AddQuery(Frozen):
    """dedupe: leave out what is on the list already; skip_invalid: add the others, instead of none, where some are not valid."""

    dedupe: Annotated[bool, Field(description="Leave out what is on the list already.")] = False
    skip_invalid: Annotated[bool, Field(description="Add the others, where some are not valid, instead of none.")] = (
        False
    )


class NumbersQuery(Frozen):
    """Which numbers. phone_number: how it begins; the order is then that of the phone numbers. after_id: the last one of the page before."""

    status: Annotated[NumberStatus | None, Field(description="Of one status only.")] = None
    phone_number: Annotated[_Prefix, Field(description="How the number begins.")] = ""
    list_id: Annotated[
        Annotated[int, Field(ge=1, le=2**62)] | None, Field(description="Of one list of the campaign's only.")
    ] = None
    agent_status: Annotated[
        Annotated[str, StringConstraints(max_length=8)] | None,
        Field(description="Of whose last call an agent said this; nothing at all where it is empty."),
    ] = None
    text: Annotated[
        str, Field(max_length=100, description="With this text in what is known of them, whatever its capitals.")
    ] = ""
    after_id: Annotated[Annotated[int, Field(ge=0, le=2**62)], Field(description="The last id of the page before.")] = 0
    offset: Annotated[Annotated[int, Field(ge=0, le=10**9)], Field(description="How many to pass over.")] = 0
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_PAGE)], Field(description="How many at most.")] = 100


class ExportQuery(Frozen):
    """Which numbers."""

    status: Annotated[NumberStatus | None, Field(description="Of one status only.")] = None


@dataclass(frozen=True, slots=True)
class NumberPage:
    """Some of the numbers; `total` is how many there are."""

    items: tuple[NumberShown, ...]
    total: int
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class NotAdded:
    """One that was not added: which (from 0), the field and the rule; `is on the list already` for duplicates."""

    index: int
    field: str
    rule: str


@dataclass(frozen=True, slots=True)
class NumbersAdded:
    """What became of many numbers. not_added: the first of those that were not."""

    added: int
    duplicates: int
    invalid: int
    first_id: int | None
    last_id: int | None
    not_added: tuple[NotAdded, ...]


async def number_id_of(services: Services, exchange: Exchange) -> int:
    """Which number the path names; one of a campaign that their group does not show is none."""
    number_id = read_id(exchange.path["number_id"], "number")
    if exchange.who.campaigns is not None:
        number = await services.store.read(load_number, number_id)
        check_campaign_seen(exchange, number.campaign_id, "number")
    return number_id


# ---------------------------------------------------------------------------------------------------------- reading


async def _list(services: Services, exchange: Exchange) -> Reply:
    query = NumberQuery(campaign_id=campaign_id_of(exchange), **exchange.query.model_dump())

    def read(db: Any) -> tuple[list[SavedNumber], int]:
        load_campaign(db, query.campaign_id)
        return load_numbers(db, query, services.places)

    found, total = await services.store.read(read)
    shown = tuple(show_times(NumberShown, number) for number in found)
    return Reply(NumberPage(shown, total, query.limit, query.offset))


async def _get(services: Services, exchange: Exchange) -> Reply:
    number_id = await number_id_of(services, exchange)
    return Reply(show_times(NumberShown, await services.store.read(load_number, number_id)))


async def _why(services: Services, exchange: Exchange) -> Reply:
    number_id, make_key = await number_id_of(services, exchange), services.campaigns.make_key()
    now = services.now().timestamp()

    def read(db: Any) -> tuple[Any, SavedNumber, str | None, dict[str, bool]]:
        number = load_number(db, number_id)
        saved = load_campaign(db, number.campaign_id)
        key = make_key(number.phone_number)
        blocked = load_blocked(db, ("global", *saved.campaign.dnc_lists), [key]).get(key)
        is_active = number.list_id not in load_inactive_lists(db, saved.campaign_id)
        return saved, number, blocked, {"is_list_active": is_active, "is_busy": key in load_busy(db, make_key, now)}

    saved, number, blocked, known = await services.store.read(read)
    snapshot, conditions = services.live.current, services.dialer.weigh(saved)
    return Reply(explain_number(snapshot, saved, number, blocked, conditions, now, **known))


_EXPORTED: Final = (
    "number_id", "phone_number", "status", "attempts", "dials", "due_at", "hold", "disposition", "last_attempt_at", "data",
    "variables", "created_at", "person", "utc_offset_min",
)  # fmt: skip


async def _export(services: Services, exchange: Exchange) -> Reply | None:
    campaign_id, status = campaign_id_of(exchange), exchange.query.status
    await services.store.read(load_campaign, campaign_id)

    async def pages() -> AsyncIterator[list[list[Any]]]:
        after_id = 0
        while True:
            query = NumberQuery(campaign_id=campaign_id, status=status, after_id=after_id, limit=MAX_PAGE)
            found, _ = await services.store.read(load_numbers, query)
            if not found:
                return
            after_id = found[-1].number_id
            yield [_row_of(number) for number in found]

    await stream_csv(exchange.request, f"numbers-{campaign_id}.csv", _EXPORTED, pages())
    return None


def _row_of(number: SavedNumber) -> list[Any]:
    row = []
    for name in _EXPORTED:
        value = getattr(number, name)
        if name.endswith("_at") and value is not None:
            value = time_of(value).isoformat()  # type: ignore[union-attr]  # not None here
        elif name in ("data", "variables"):
            value = json.dumps(value, ensure_ascii=False) if value else None
        row.append(value)
    return row


# ----------------------------------------------------------------------------------------------------------- adding


def _read_one(value: Any) -> NewNumber:
    number = read_new_number(value)
    if not isinstance(number, NewNumber):
        raise refuse_fields(number)
    return number


async def _add(services: Services, exchange: Exchange) -> Reply:
    campaign_id = campaign_id_of(exchange)

    def reply(db: Any, added: Added) -> Reply:
        if not added.number_ids:
            raise Refused(HTTPStatus.CONFLICT, "this number is on the list already")
        number = load_number(db, added.number_ids[0])
        location = (("location", f"{PREFIX}/numbers/{number.number_id}"),)
        return Reply(show_times(NumberShown, number), HTTPStatus.CREATED, location)

    commit: Commit[Added] = Commit(exchange, lambda added: f"numbers/{added.number_ids[0]}", reply)
    await services.campaigns.add_numbers(campaign_id, [exchange.body], commit=commit, dedupe=exchange.query.dedupe)
    return commit.reply


async def _add_many(services: Services, exchange: Exchange) -> Reply:
    campaign_id, query = campaign_id_of(exchange), exchange.query
    numbers, places, invalid = await deferToThread(_read_many, exchange.body)
    if invalid and not query.skip_invalid:
        raise refuse_fields((f"numbers[{one.index}].{one.field}".rstrip("."), one.rule) for one in invalid)

    def reply(_db: Any, added: Added) -> Reply:
        known = [NotAdded(places[at], "phone_number", "is on the list already") for at in added.duplicate_at]
        told = sorted((*invalid, *known), key=lambda one: one.index)[:MAX_TOLD]
        ids = added.number_ids
        return Reply(
            NumbersAdded(
                len(ids),
                len(known),
                len(invalid),
                ids[0] if ids else None,
                ids[-1] if ids else None,
                tuple(told),
            ),
            HTTPStatus.CREATED,
        )

    commit: Commit[Added] = Commit(exchange, f"campaigns/{campaign_id}/numbers", reply)
    await services.campaigns.add_numbers(campaign_id, numbers, commit=commit, dedupe=query.dedupe)
    return commit.reply


def _read_many(file: BinaryIO) -> tuple[list[NewNumber], list[int], list[NotAdded]]:
    """Valid numbers, where each stood, and the others. In a thread: each item is a moment of its own."""
    with file:
        try:
            text = file.read().decode()
        except UnicodeDecodeError:
            raise NotJson("the body is not UTF-8") from None
    numbers: list[NewNumber] = []
    places: list[int] = []
    invalid: list[NotAdded] = []
    for index, item in enumerate(split_items(text, "numbers")):
        if index >= MAX_BULK:
            raise refuse_fields([("numbers", f"must be at most {MAX_BULK}")])
        number = read_new_number(item)
        if isinstance(number, NewNumber):
            numbers.append(number)
            places.append(index)
        else:
            invalid += (NotAdded(index, field, rule) for field, rule in number[:1])
    return numbers, places, invalid


async def _change(services: Services, exchange: Exchange) -> Reply:
    change: NumberChange = exchange.body
    number_id = await number_id_of(services, exchange)

    def decide(number: SavedNumber) -> NewNumber:
        return _read_one(
            {
                "phone_number": number.phone_number,
                "data": number.data,
                "variables": number.variables,
                "person": number.person,
                "utc_offset_min": number.utc_offset_min,
                **change.model_dump(exclude_unset=True),
            }
        )

    commit: Commit[SavedNumber] = Commit(exchange, f"numbers/{number_id}", _show)
    await services.campaigns.change_number(number_id, decide, commit=commit)
    return commit.reply


async def _speak(services: Services, exchange: Exchange) -> Reply:
    said: SpokenOf = exchange.body
    number_id = await number_id_of(services, exchange)
    at = said.call_again_at.timestamp() if said.call_again_at is not None else None
    commit: Commit[SavedNumber] = Commit(exchange, f"numbers/{number_id}/status", _show)
    await services.campaigns.set_status(
        number_id, said.status, author=exchange.who.name, commit=commit, call_again_at=at
    )
    return commit.reply


async def _close(services: Services, exchange: Exchange) -> Reply:
    number_id = await number_id_of(services, exchange)
    commit: Commit[tuple[SavedNumber, ...]] = Commit(
        exchange, f"numbers/{number_id}/close", lambda db, closed: _show(db, closed[0])
    )
    await services.campaigns.close_numbers([number_id], commit=commit)
    return commit.reply


def _show(_db: Any, number: SavedNumber) -> Reply:
    return Reply(show_times(NumberShown, number))


async def _delete(services: Services, exchange: Exchange) -> Reply:
    number_id = await number_id_of(services, exchange)
    gone = Reply(None, HTTPStatus.NO_CONTENT)
    commit: Commit[SavedNumber] = Commit(exchange, f"numbers/{number_id}", lambda _db, _: gone)
    await services.campaigns.delete_number(number_id, commit=commit)
    return gone


ROUTES: Final = (
    Route(
        is_scoped=True, method="GET", path=_PATH, permission="numbers/read", summary="Numbers of a campaign, in the order of the list.", handler=_list,
        tag="numbers", operation="list_numbers", query=NumbersQuery, answer=Shown(NumberPage), raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="POST", path=_PATH, permission="numbers/create", summary="Add a number.", handler=_add, tag="numbers",
        operation="create_number", query=AddQuery, body=Body(NumberToAdd, _read_one), answer=Shown(NumberShown),
        status=HTTPStatus.CREATED, raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="POST", path=f"{_PATH}/bulk", permission="numbers/create", tag="numbers", operation="create_numbers", handler=_add_many,
        summary="Add many numbers, all of the valid ones or none.", query=AddQuery, arrival_s=120.0, max_body=_MAX_BULK_BODY,
        body=Body(NumbersToAdd, lambda value: value, is_file=True, media_type=JSON), answer=Shown(NumbersAdded), status=HTTPStatus.CREATED,
        raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="GET", path=f"{_PATH}/export", permission="numbers/read", summary="All numbers of a campaign, as CSV.", handler=_export,
        tag="numbers", operation="export_numbers", query=ExportQuery, answer=Shown(str, media_type=CSV), raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="GET", path=_ONE, permission="numbers/read", summary="Read a number.", handler=_get, tag="numbers",
        operation="get_number", answer=Shown(NumberShown), raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="GET", path=f"{_ONE}/why", permission="numbers/read", handler=_why, tag="numbers", operation="read_why",
        summary="Every rule that keeps a number from being dialled now, and when it may be.", answer=Shown(Why), raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="PATCH", path=_ONE, permission="numbers/update", summary="Change what is known of a number, unless it is being called.",
        handler=_change, tag="numbers", operation="change_number", body=model_body(NumberChange), answer=Shown(NumberShown),
        raises=(*_MISSING, HTTPStatus.CONFLICT),
    ),
    Route(
        is_scoped=True, method="PUT", path=f"{_ONE}/status", permission="numbers/status", handler=_speak, tag="numbers", operation="set_agent_status",
        summary="Keep what an agent says of the last call; the campaign's recycle rules follow when it is over.",
        body=model_body(SpokenOf), answer=Shown(NumberShown), raises=(*_MISSING, HTTPStatus.CONFLICT),
    ),
    Route(
        is_scoped=True, method="POST", path=f"{_ONE}/close", permission="numbers/update", handler=_close, tag="numbers", operation="close_number",
        summary="Call it no more: its purpose was fulfilled elsewhere. A call that is up goes on.", answer=Shown(NumberShown), raises=_MISSING,
    ),
    Route(
        is_scoped=True, method="DELETE", path=_ONE, permission="numbers/delete", summary="Take a number off its list, unless it is being called.",
        handler=_delete, tag="numbers", operation="delete_number", status=HTTPStatus.NO_CONTENT, raises=(*_MISSING, HTTPStatus.CONFLICT),
    ),
)  # fmt: skip
