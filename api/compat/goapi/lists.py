"""goLists: the lists that feed campaigns, and the lists of numbers that must not be called; holds no numbers itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.dialling import (
    Known,
    commit,
    find_known,
    list_known,
    need,
    read_id,
    read_known,
    refuse_rule,
)
from api.compat.goapi.objects import columns, flag, read_limit
from api.compat.goapi.speech import fail, fail_code
from api.joint import Commit, Joint, Step
from api.times import time_of
from tandem.domain.campaigns import Campaign, SavedCampaign
from tandem.store.dnc import ListMissing, load_dnc_lists, load_dnc_numbers
from tandem.store.number_lists import (
    NumberList,
    NumberListExists,
    NumberListMissing,
    load_number_list,
    load_number_lists,
)
from tandem.store.numbers import NumberQuery, load_numbers

# Goes for numbers of every campaign; theirs for our `global`.
INTERNAL: Final = "INTERNAL"
_PHONE: Final = frozenset("0123456789+")
_MAX_DNC: Final = 10_000


async def seen_lists(call: Call) -> tuple[list[NumberList], dict[int, Known]]:
    """Lists of campaigns that whoever asks sees, by id, and those campaigns."""
    known = {one.campaign_id: one for one in await list_known(call)}
    found: list[NumberList] = await call.services.store.read(load_number_lists)
    return [one for one in found if one.campaign_id in known], known


async def find_list(call: Call) -> tuple[NumberList, Known]:
    """The one that list_id names; 10107 without one, 41004 for one that is not there or not theirs."""
    list_id = read_id(call, "list_id", "10107")

    def read(db: Any) -> tuple[NumberList, Known]:
        one = load_number_list(db, list_id)
        return one, read_known(db, [one.campaign_id])[0]

    try:
        one, known = await call.services.store.read(read)
    except NumberListMissing:
        raise fail_code("41004", "list_id") from None
    if not call.exchange.who.sees_campaign(one.campaign_id):
        raise fail_code("41004", "list_id")
    return one, known


def _read_text(call: Call, name: str, longest: int) -> str | None:
    if name not in call.given:
        return None
    value = call.given.text(name)
    if len(value) > longest or not value.isprintable():
        raise refuse_rule(name, f"must be at most {longest} characters of text")
    return value


def _read_active(call: Call) -> bool | None:
    return call.given.flag("active", "Error: Default value for active is Y or N only.")


async def _add(call: Call) -> Mapping[str, Any]:
    list_id = read_id(call, "list_id", "10107")
    need(call, "list_name", "campaign_id")
    known, active = await find_known(call), _read_active(call)
    try:
        made = await call.services.campaigns.create_number_list(
            known.campaign_id,
            _read_text(call, "list_name", 60),
            commit=commit(call, f"lists/{list_id}"),
            list_id=list_id,
            description=_read_text(call, "list_description", 255) or "",
            is_active=active is not False,
        )
    except NumberListExists:
        raise fail("Error: there is already a LIST ID in the system with this ID.") from None
    return {"list_id": made.list_id}


async def _edit(call: Call) -> Mapping[str, Any]:
    one, known = await find_list(call)
    if call.given.text("reset_list").upper() == "Y":
        raise refuse_rule("reset_list", "is not served: reset the campaign, or edit its dial statuses")
    changes: dict[str, Any] = {
        "name": _read_text(call, "list_name", 60) or None,
        "description": _read_text(call, "list_description", 255),
        "is_active": _read_active(call),
    }
    if call.given.text("campaign_id") not in ("", known.code):
        changes["campaign_id"] = (await find_known(call)).campaign_id
    await call.services.campaigns.change_number_list(
        one.list_id, commit=commit(call, f"lists/{one.list_id}"), **changes
    )
    return {"list_id": one.list_id}


async def _delete(call: Call) -> Mapping[str, Any]:
    wanted = call.given.many("list_id")
    if not wanted:
        raise fail_code("10107")
    found, _ = await seen_lists(call)
    theirs = {str(one.list_id): one.list_id for one in found}
    unknown = [text for text in wanted if text not in theirs]
    if unknown:
        raise fail_code("41004", "list_id")
    gone = dict.fromkeys(wanted)
    places = {f"lists/{text}": None for text in gone}
    await call.services.campaigns.delete_number_lists([theirs[text] for text in gone], commit=commit(call, places))
    return {}


def _rows(found: list[NumberList], known: Mapping[int, Known]) -> list[dict[str, Any]]:
    return [
        {
            "list_id": one.list_id,
            "list_name": one.name,
            "list_description": one.description,
            "active": flag(one.is_active),
            "tally": one.numbers,
            "campaign_id": known[one.campaign_id].code,
            "campaign_name": known[one.campaign_id].saved.campaign.name,
            "list_lastcalldate": "",
            "cf_count": 0,
        }
        for one in found
    ]


_COLUMNS: Final = (
    "list_id", "list_name", "list_description", "active", "tally", "campaign_id", "campaign_name", "list_lastcalldate", "cf_count",
)  # fmt: skip


async def _list(call: Call) -> Mapping[str, Any]:
    found, known = await seen_lists(call)
    everything = await call.services.store.read(load_number_lists)
    following = max((one.list_id for one in everything), default=1000) + 1
    return {**columns(_rows(found, known), _COLUMNS), "next_listID": following}


async def _list_of_campaign(call: Call) -> Mapping[str, Any]:
    campaign = await find_known(call)
    found, known = await seen_lists(call)
    return columns(_rows([one for one in found if one.campaign_id == campaign.campaign_id], known), _COLUMNS)


async def _info(call: Call) -> Mapping[str, Any]:
    one, known = await find_list(call)
    return {
        "data": {**_rows([one], {one.campaign_id: known})[0], "list_changedate": str(time_of(one.updated_at) or "")}
    }


async def _hopper(call: Call) -> Mapping[str, Any]:
    """The next numbers of a campaign: those that a claim would look at first, in the order of the list."""
    known = await find_known(call)
    query = NumberQuery(campaign_id=known.campaign_id, status="pending", limit=read_limit(call, 100))
    found, _ = await call.services.store.read(load_numbers, query)
    rows = [
        {
            "lead_id": one.number_id,
            "phone_number": one.phone_number,
            "list_id": one.list_id or 0,
            "status": one.hold or "READY",
        }
        for one in found
    ]
    return columns(rows, ("lead_id", "phone_number", "list_id", "status"))


# ------------------------------------------------------------------------------------------- numbers not to be called


async def _dnc_list(call: Call) -> str:
    """Ours: `global`, or the campaign's own."""
    code = call.given.text("campaign_id")
    if code.upper() in ("", INTERNAL):
        if call.exchange.who.group is not None:
            raise fail_code("10001")
        return "global"
    known = await find_known(call)
    return f"campaign-{known.campaign_id}"


async def _change_dnc(call: Call) -> Mapping[str, Any]:
    stage = call.given.text("stage").upper()
    if stage not in ("ADD", "DELETE"):
        raise fail_code("41006", "stage")
    if stage == "DELETE":
        call.exchange.require("dnc/delete")
    name = await _dnc_list(call)
    numbers = [one for one in call.given.lines("phone_numbers").replace(",", "\n").split() if one]
    if not numbers or len(numbers) > _MAX_DNC or not all(set(one) <= _PHONE and 1 < len(one) <= 25 for one in numbers):
        raise fail_code("10117")
    use, author, joint = call.services.campaigns, call.exchange.who.name, Joint()

    async def change_numbers(keep: Commit) -> None:
        if stage == "ADD":
            await use.block_numbers(name, numbers, author=author, commit=keep)
        else:
            await use.unblock_numbers(name, numbers, commit=keep)

    def refuse_none(_: Any, __: Any) -> None:
        if not joint.results[-1]:
            raise fail_code("10116" if stage == "ADD" else "10117")

    prepared = await _prepare(call, name) if name != "global" else []
    await joint.run(commit(call, f"dnc/{name}", refuse_none), [*prepared, change_numbers])
    return {"changed": joint.results[-1]}


async def _prepare(call: Call, name: str) -> list[Step]:
    """The campaign's own list, and that it is looked at."""
    known = await find_known(call)
    steps: list[Step] = []
    if name not in {one.name for one in await call.services.store.read(load_dnc_lists)}:
        steps.append(lambda keep: call.services.campaigns.create_list(name, commit=keep))
    if name not in known.saved.campaign.dnc_lists:

        def look_at(saved: SavedCampaign) -> Campaign:
            return replace(saved.campaign, dnc_lists=(*saved.campaign.dnc_lists, name))

        steps.append(lambda keep: call.services.campaigns.change_running(known.campaign_id, look_at, commit=keep))
    return steps


async def _list_dnc(call: Call) -> Mapping[str, Any]:
    search, limit = call.given.text("search"), read_limit(call)
    known = {f"campaign-{one.campaign_id}": one.code for one in await list_known(call)}
    names = ([] if call.exchange.who.group is not None else ["global"]) + sorted(known)
    rows: list[dict[str, str]] = []
    for name in names:
        try:
            after = ""
            while len(rows) < limit:
                page = await call.services.store.read(load_dnc_numbers, name, after, 1000)
                if not page:
                    break
                after = page[-1].number
                rows += [
                    {"phone_number": one.number, "campaign": known.get(name, "")}
                    for one in page
                    if search in one.number
                ]
        except ListMissing:
            continue
    return columns(rows[:limit], ("phone_number", "campaign"))


ACTIONS: Final = (
    Action(
        is_scoped=True, name="goAddList", permission="lists/create", handler=_add, summary="Adds a list to a campaign.",
        parameters=("list_id", "list_name", "list_description", "campaign_id", "active"),
    ),
    Action(
        is_scoped=True, name="goEditList", permission="lists/update", handler=_edit, summary="Changes what is given of a list.",
        parameters=("list_id", "list_name", "list_description", "campaign_id", "active"),
    ),
    Action(is_scoped=True, name="goDeleteList", permission="lists/delete", handler=_delete, summary="Deletes lists with their leads.", parameters=("list_id",)),
    Action(is_scoped=True, name="goGetAllLists", permission="lists/read", handler=_list, summary="Lists the lists."),
    Action(is_scoped=True, name="goGetListInfo", permission="lists/read", handler=_info, summary="Tells a list.", parameters=("list_id",)),
    Action(
        is_scoped=True, name="goGetAllListsCampaign", permission="lists/read", handler=_list_of_campaign, summary="Lists of a campaign.",
        parameters=("campaign_id",), aliases=("getAllListsCampaign",),
    ),
    Action(
        is_scoped=True, name="goGetAllLeadsOnHopper", permission="numbers/read", handler=_hopper, summary="The next leads of a campaign.",
        parameters=("campaign_id", "limit"),
    ),
    Action(
        is_scoped=True, name="goActionDNC", permission="dnc/create", handler=_change_dnc, summary="Puts numbers on a list not to be called, or takes them off.",
        parameters=("stage", "campaign_id", "phone_numbers"),
    ),
    Action(
        is_scoped=True, name="goGetAllDNC", permission="dnc/read", handler=_list_dnc, summary="Numbers not to be called.", parameters=("search", "limit"),
        aliases=("getAllDNC",),
    ),
)  # fmt: skip
