"""Tasks are campaigns: translated both ways; never dials, `tandem.campaigning` tells whoever does."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter

from api.compat.mikopbx.polls import WORDS, find_survey
from api.compat.mikopbx.results import load_rows_of_task
from api.compat.mikopbx.speech import BASE, Failed, declare, path_id, read_int, read_list, read_object, read_text
from api.declare import Reply, validate
from api.exchange import Commit, Exchange, Services
from tandem.domain.campaigns import Campaign, CampaignCounts, NewNumber, SavedCampaign, SavedNumber
from tandem.domain.schedules import load_zone
from tandem.domain.snapshot import Snapshot
from tandem.store.campaigns import load_campaigns, load_counts, load_words
from tandem.store.numbers import MAX_PAGE, NumberInFlight, NumberQuery, load_numbers

_CAMPAIGN: Final[TypeAdapter[Campaign]] = TypeAdapter(Campaign)
_NUMBER: Final[TypeAdapter[NewNumber]] = TypeAdapter(NewNumber)
_MAX_NUMBERS: Final = 100_000
_MAX_BODY: Final = 16 * 1024 * 1024
OPEN, CLOSED, PAUSED = 0, 1, 2
# What a task has besides its campaign's own fields: name -> (default, least, most).
_NUMERIC: Final = {
    "state": (OPEN, OPEN, PAUSED), "maxCountChannels": (1, 1, 1000), "maxAttempt": (1, 1, 21), "tryInterval": (60, 1, 30 * 86400),
    "timeStart": (0, 0, 1440), "timeEnd": (1440, 0, 1440),
}  # fmt: skip
# What would change how people are called, and is not served: refused, not passed over.
_REFUSED: Final = ("isCallback", "attemptUntilSignal")
_EVERY_DAY: Final = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Task = tuple[SavedCampaign, dict[str, Any], CampaignCounts | None]


def _ignore(_db: Any, _result: object) -> Reply:
    return Reply(b"")


def _commit(exchange: Exchange, campaign_id: int | None = None) -> Commit[Any]:
    if campaign_id is not None:
        return Commit(exchange, f"campaigns/{campaign_id}", _ignore)
    return Commit(exchange, lambda saved: f"campaigns/{saved.campaign_id}", _ignore)


def load_tasks(db: Any) -> list[Task]:
    """All of them, by their ids."""
    found = sorted(load_campaigns(db), key=lambda one: one.campaign_id)
    ids = [one.campaign_id for one in found]
    words, counts = load_words(db, ids), load_counts(db, ids)
    return [(one, words.get(one.campaign_id, {}).get(WORDS, {}), counts.get(one.campaign_id)) for one in found]


def _crm_id(task: Task) -> str:
    return str(task[1].get("crmId") or task[0].campaign_id)


async def find_task(services: Services, exchange: Exchange, wanted: str, *, by_crm_id: bool = False) -> Task | None:
    """The task with that id, ours or the client's; None also for one of a campaign that who asks does not see."""
    tasks = [one for one in await services.store.read(load_tasks) if exchange.who.sees_campaign(one[0].campaign_id)]
    if not by_crm_id and (one := next((one for one in tasks if str(one[0].campaign_id) == wanted), None)) is not None:
        return one
    return next((one for one in tasks if _crm_id(one) == wanted), None)


def _state_of(task: Task) -> int:
    """A task is closed once nothing of it is open, as there."""
    saved, words, counts = task
    if saved.state == "stopped" or words.get("closed"):
        return CLOSED
    if saved.state == "paused":
        return PAUSED
    is_open = counts is not None and counts.pending + counts.calling + counts.answered > 0
    return OPEN if is_open else CLOSED


def _show(task: Task) -> dict[str, Any]:
    """The columns of a task; a campaign of another API has them too."""
    saved, words, _ = task
    destination = saved.campaign.destination
    survey = getattr(destination, "survey", None)
    inner = words.get("innerNum") or next(
        (str(value) for name in ("survey", "endpoint", "queue", "menu") if (value := getattr(destination, name, None))),
        "",
    )
    return {
        "id": str(saved.campaign_id), "crmId": _crm_id(task), "name": saved.campaign.name, "state": str(_state_of(task)), "innerNum": inner,
        "innerNumType": "polling" if survey is not None else "exten", "maxCountChannels": str(words.get("maxCountChannels", saved.campaign.concurrent_calls)),
        "dialPrefix": saved.campaign.dial_prefix, "maxAttempt": str(saved.campaign.retry_times + 1), "tryInterval": str(saved.campaign.retry_delay_s),
        "timeStart": str(words.get("timeStart", 0)), "timeEnd": str(words.get("timeEnd", 1440)), "isCallback": "0", "attemptUntilSignal": "0",
    }  # fmt: skip


# -------------------------------------------------------------------------------------------------------- reading


async def _read_task(services: Services, body: dict[str, Any], before: Task | None) -> tuple[Campaign, dict[str, Any]]:
    """(the campaign, the vendor's own words) of a task; what a body does not name stays as it was."""
    snapshot = services.live.current
    for name in _REFUSED:
        if read_int(body.get(name), name, 0, 0, 1):
            raise Failed(f"{name} is not served")
    shown = _show(before) if before is not None else {}
    given = {**shown, **{name: value for name, value in body.items() if value is not None}}
    numbers = {
        name: read_int(given.get(name), name, default, least, most) for name, (default, least, most) in _NUMERIC.items()
    }
    inner, kind = (
        read_text(given.get("innerNum"), "innerNum", 64),
        read_text(given.get("innerNumType"), "innerNumType", 20),
    )
    if not inner:
        raise Failed('Field "innerNum" is required and cannot be empty')
    # A text as the printed example writes it.
    destination = await _find_destination(services, snapshot, inner, kind or "exten")
    is_queue, channels = "queue" in destination, numbers["maxCountChannels"]
    base = _CAMPAIGN.dump_python(before[0].campaign, mode="json") if before is not None else {}
    value = base | {
        "name": read_text(given.get("name"), "name") or "Task", "destination": destination,
        "dial_prefix": read_text(given.get("dialPrefix"), "dialPrefix", 10),
        # An employee takes one call at a time: a second one would only be told that nobody is there.
        "concurrent_calls": 1 if "endpoint" in destination else channels, "dial_mode": "progressive" if is_queue else "fixed",
        "retry_times": numbers["maxAttempt"] - 1, "retry_delay_s": numbers["tryInterval"],
        "call_window": _window(numbers["timeStart"], numbers["timeEnd"]),
    }  # fmt: skip
    if before is None:
        value["trunk"] = snapshot.general.outbound_trunk or next(iter(snapshot.trunks), None)
        if value["trunk"] is None:
            raise Failed("this PBX has no trunk to dial over")
    words = {"innerNum": inner, **{name: numbers[name] for name in ("maxCountChannels", "timeStart", "timeEnd")}}
    words["closed"] = numbers["state"] == CLOSED and (before is None or "state" in body)
    return validate(_CAMPAIGN, Campaign, value), words


async def _find_destination(services: Services, snapshot: Snapshot, inner: str, kind: str) -> dict[str, Any]:
    if kind == "polling":
        survey_id = await find_survey(services, inner)
        if survey_id is None:
            raise Failed(f"innerNum: there is no poll {inner}")
        return {"survey": survey_id}
    if kind != "exten":
        raise Failed("innerNumType must be exten or polling")
    found = snapshot.numbers.get(inner)
    if found is None and inner in snapshot.queues:
        return {"queue": inner}
    if found is None:
        raise Failed(f"innerNum: there is no number {inner} inside")
    written: dict[str, Any] = TypeAdapter(Any).dump_python(found, mode="json")
    return written


def _window(start: int, end: int) -> dict[str, Any] | None:
    """Minutes of the day, both included, as a call window; None for the whole day. By the clock of whoever is called."""
    if (start == 0 and end >= 1439) or start == (end + 1) % 1440:
        return None
    clock = [f"{minute // 60:02}:{minute % 60:02}" for minute in (start % 1440, min(end + 1, 1440))]
    return {"hours": [{"days": _EVERY_DAY, "start": clock[0], "end": clock[1]}]}


def _read_numbers(services: Services, given: Any) -> list[NewNumber]:
    """Numbers as texts or objects; of one number (its last ten digits) the first counts."""
    found: dict[str, NewNumber] = {}
    for index, one in enumerate(read_list(given, "numbers", _MAX_NUMBERS)):
        at = f"numbers[{index}]"
        entry = one if isinstance(one, dict) else {"number": one}
        phone = read_text(entry.get("number"), f"{at}.number", 40)
        dialled = read_digits(phone)
        params = entry.get("params") or {}
        if not isinstance(params, dict):
            raise Failed(f"{at}.params must be an object")
        if read_text(entry.get("TimeOffset"), f"{at}.TimeOffset", 10):
            raise Failed(f"{at}.TimeOffset is not served: the time zone of a number is that of its country and area")
        data = {
            read_text(name, f"{at}.params", 80): read_text(value, f"{at}.params", 500) for name, value in params.items()
        }
        if client := read_text(entry.get("clientId"), f"{at}.clientId", 64):
            data["clientId"] = client
        value = {
            "phone_number": dialled,
            "data": data or None,
            "not_before": _read_time(services, entry.get("timeCallAllow")),
        }
        found.setdefault(phone_id(dialled), validate(_NUMBER, NewNumber, value))
    return list(found.values())


def read_digits(phone: str) -> str:
    """What is dialled of a number, however it is written: its digits, behind a + where there is one."""
    return ("+" if phone.strip().startswith("+") else "") + "".join(sign for sign in phone if sign in "0123456789")


def phone_id(number: str) -> str:
    """What a number is known by: its last ten digits."""
    return number.removeprefix("+")[-10:]


def _read_time(services: Services, given: Any) -> float | None:
    """`DD.MM.YYYY HH:MM:SS` in the PBX's time zone; what is none is now, as there."""
    text = read_text(given, "timeCallAllow", 40)
    try:
        at = datetime.strptime(text, "%d.%m.%Y %H:%M:%S").replace(
            tzinfo=load_zone(services.live.current.general.time_zone)
        )
        return max(0.0, at.timestamp())
    except (ValueError, OverflowError):
        return None


# ------------------------------------------------------------------------------------------------------- handlers


async def _create(services: Services, exchange: Exchange) -> Any:
    body = read_object(exchange)
    crm_id = read_text(body.get("crmId"), "crmId", 64)
    before = await find_task(services, exchange, crm_id, by_crm_id=True) if crm_id else None
    campaign, words = await _read_task(services, body, before)
    numbers = _read_numbers(services, body.get("numbers"))
    if crm_id:
        words["crmId"] = crm_id
    if before is None:
        saved = await services.campaigns.create(
            campaign,
            author=exchange.who.name,
            commit=_commit(exchange),
            permissions=exchange.who.reach,
            words={WORDS: words},
            numbers=numbers,
        )
    else:
        saved = await _change(services, exchange, before, campaign, words)
        await _replace_numbers(services, exchange, saved.campaign_id, numbers)
    await _turn(services, exchange, saved, read_int(body.get("state"), "state", OPEN, OPEN, PAUSED))
    task = await find_task(services, exchange, str(saved.campaign_id))
    assert task is not None
    # Numbers just written are numbers, there.
    shown = _show(task)
    return shown | {
        "maxCountChannels": int(shown["maxCountChannels"]),
        "state": read_int(body.get("state"), "state", OPEN, OPEN, PAUSED),
    }


async def _change(
    services: Services, exchange: Exchange, before: Task, campaign: Campaign, words: dict[str, Any]
) -> SavedCampaign:
    """Saves it; one that is running pauses for that, if it must."""
    campaign_id = before[0].campaign_id
    if before[0].state == "running" and campaign != before[0].campaign:
        await services.campaigns.pause(campaign_id, commit=_commit(exchange, campaign_id))
    kept = {WORDS: {**before[1], **words}}
    saved: SavedCampaign = await services.campaigns.change(
        campaign_id, lambda _: campaign, commit=_commit(exchange, campaign_id), words=kept
    )
    return saved


async def _turn(services: Services, exchange: Exchange, saved: SavedCampaign, wanted: int) -> None:
    """Open is running; closed and paused dial no more, and leave the calls that are up alone."""
    campaign_id, campaigns = saved.campaign_id, services.campaigns
    commit = _commit(exchange, campaign_id)
    if wanted == OPEN and saved.state == "stopped":
        await campaigns.start(campaign_id, exchange.who.reach, commit=commit)
    elif wanted == OPEN and saved.state == "paused":
        await campaigns.resume(campaign_id, commit=commit)
    elif wanted != OPEN and saved.state == "running":
        await campaigns.pause(campaign_id, commit=commit)
    elif wanted == PAUSED and saved.state == "stopped":
        await campaigns.start(campaign_id, exchange.who.reach, commit=commit)
        await campaigns.pause(campaign_id, commit=_commit(exchange, campaign_id))


async def _load_all_numbers(services: Services, campaign_id: int) -> list[SavedNumber]:
    found: list[SavedNumber] = []
    while True:
        query = NumberQuery(campaign_id=campaign_id, after_id=found[-1].number_id if found else 0, limit=MAX_PAGE)
        page, _ = await services.store.read(load_numbers, query)
        found += page
        if len(page) < MAX_PAGE:
            return found


async def _replace_numbers(
    services: Services, exchange: Exchange, campaign_id: int, wanted: Sequence[NewNumber]
) -> None:
    """The list is replaced, as there: what is gone goes, unless it is being called; what is known keeps its outcome."""
    keys = {phone_id(number.phone_number): number for number in wanted}
    for number in await _load_all_numbers(services, campaign_id):
        new = keys.pop(phone_id(number.phone_number), None)
        commit = _commit(exchange, campaign_id)
        try:
            if new is None:
                await services.campaigns.delete_number(number.number_id, commit=commit)
            elif new.data != number.data:
                await services.campaigns.change_number(number.number_id, lambda _, new=new: new, commit=commit)
        except NumberInFlight:
            continue
    await services.campaigns.add_numbers(campaign_id, list(keys.values()), commit=_commit(exchange, campaign_id))


async def _list(services: Services, exchange: Exchange) -> Any:
    query = exchange.body.query
    state = read_text(query.get("state"), "state", 2)
    limit, after = (
        read_int(query.get("limit"), "limit", 1000, 1, 10_000),
        read_int(query.get("offset"), "offset", 0, 0, 2**53),
    )
    tasks = [one for one in await services.store.read(load_tasks) if exchange.who.sees_campaign(one[0].campaign_id)]
    shown = [_show(one) for one in tasks if one[0].campaign_id > after and state in ("", str(_state_of(one)))]
    return {"results": shown[:limit]}


async def _get(services: Services, exchange: Exchange) -> Any:
    task = await find_task(services, exchange, path_id(exchange))
    if task is None:
        raise Failed
    return _show(task) | await load_rows_of_task(services, task[0].campaign_id)


async def _update(services: Services, exchange: Exchange) -> Any:
    body = read_object(exchange)
    task = await find_task(services, exchange, path_id(exchange))
    if task is None:
        raise Failed(data={"error": "TaskNotFound"})
    campaign, words = await _read_task(services, body, task)
    saved = await _change(services, exchange, task, campaign, words)
    await _turn(services, exchange, saved, read_int(body.get("state"), "state", _state_of(task), OPEN, PAUSED))
    after = await find_task(services, exchange, str(saved.campaign_id))
    assert after is not None
    return _show(after)


async def _delete(services: Services, exchange: Exchange) -> Any:
    task = await find_task(services, exchange, path_id(exchange))
    if task is None:
        return []
    campaign_id = task[0].campaign_id
    if task[0].state == "running":
        await services.campaigns.pause(campaign_id, commit=_commit(exchange, campaign_id))
    await services.campaigns.delete(campaign_id, commit=_commit(exchange, campaign_id))
    return []


_ONE: Final = f"{BASE}/task/{{id}}"
ROUTES: Final = (
    declare("POST", f"{BASE}/task", "campaigns/create", _create, "Make or replace a task.", _MAX_BODY),
    declare("GET", f"{BASE}/task", "campaigns/read", _list, "List tasks."),
    declare("GET", _ONE, "campaigns/read", _get, "Read a task with its results."),
    declare("PUT", _ONE, "campaigns/update", _update, "Change a task."),
    declare("DELETE", _ONE, "campaigns/delete", _delete, "Delete a task."),
)
