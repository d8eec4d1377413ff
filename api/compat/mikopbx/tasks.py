"""Tasks are campaigns: translated both ways; never dials, `tandem.campaigning` tells whoever does."""

from collections.abc import Collection
from typing import Any, Final

from pydantic import TypeAdapter

from api.compat.mikopbx.numbers import read_numbers
from api.compat.mikopbx.polls import WORDS, find_survey
from api.compat.mikopbx.results import load_rows_of_task
from api.compat.mikopbx.speech import BASE, Failed, declare, path_id, read_int, read_object, read_text
from api.declare import Reply, validate
from api.exchange import Commit, Exchange, Services
from tandem.domain.campaigns import Campaign, CampaignCounts, CampaignState, NewNumber, SavedCampaign
from tandem.domain.customers import ending_of
from tandem.store.campaigns import load_campaigns, load_counts, load_words
from tandem.store.user_groups import admit_campaign
from tandem.store.whole_campaigns import WholeCampaign

_CAMPAIGN: Final[TypeAdapter[Campaign]] = TypeAdapter(Campaign)
_MAX_BODY: Final = 16 * 1024 * 1024
OPEN, CLOSED, PAUSED = 0, 1, 2
# What a task has besides its campaign's own fields: name -> (default, least, most).
_NUMERIC: Final = {
    "state": (OPEN, OPEN, PAUSED), "maxCountChannels": (1, 1, 1000), "maxAttempt": (1, 1, 21), "tryInterval": (60, 1, 30 * 86400),
    "timeStart": (0, 0, 1440), "timeEnd": (1440, 0, 1440), "isCallback": (0, 0, 1), "attemptUntilSignal": (0, 0, 1),
}  # fmt: skip
_COLUMNS: Final = frozenset({*_NUMERIC, "name", "innerNum", "innerNumType", "dialPrefix"})
_EVERY_DAY: Final = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Task = tuple[SavedCampaign, dict[str, Any], CampaignCounts | None]


def load_tasks(db: Any, campaign_ids: Collection[int] | None = None) -> list[Task]:
    """All of them, or these, by their ids."""
    found = sorted(load_campaigns(db, campaign_ids=campaign_ids), key=lambda one: one.campaign_id)
    ids = [one.campaign_id for one in found]
    words, counts = load_words(db, ids), load_counts(db, ids)
    return [(one, words.get(one.campaign_id, {}).get(WORDS, {}), counts.get(one.campaign_id)) for one in found]


def _crm_id(task: Task) -> str:
    return str(task[1].get("crmId") or task[0].campaign_id)


async def find_task(services: Services, exchange: Exchange, wanted: str, *, by_crm_id: bool = False) -> Task | None:
    """The task with that id, ours or the client's; None also for one of a campaign that who asks does not see."""
    if not by_crm_id and wanted.isascii() and wanted.isdecimal() and len(wanted) < 19 and str(int(wanted)) == wanted:
        # Most clients know ours, and then it is the only one that is read.
        found = await _load_seen(services, exchange, [int(wanted)])
        if found:
            return found[0]
    return next((one for one in await _load_seen(services, exchange) if _crm_id(one) == wanted), None)


async def _find_own(services: Services, exchange: Exchange, wanted: str) -> Task | None:
    found = await find_task(services, exchange, wanted) if wanted else None
    return found if found is not None and str(found[0].campaign_id) == wanted else None


async def _load_seen(services: Services, exchange: Exchange, campaign_ids: Collection[int] | None = None) -> list[Task]:
    tasks = await services.store.read(load_tasks, campaign_ids)
    return [one for one in tasks if exchange.who.sees_campaign(one[0].campaign_id)]


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
        "timeStart": str(words.get("timeStart", 0)), "timeEnd": str(words.get("timeEnd", 1440)), "isCallback": str(int(saved.campaign.agent_first)),
        "attemptUntilSignal": str(int(saved.campaign.goal == "closed")),
    }  # fmt: skip


# -------------------------------------------------------------------------------------------------------- reading


async def _read_task(
    services: Services, exchange: Exchange, body: dict[str, Any], before: Task | None
) -> tuple[Campaign, dict[str, Any]]:
    """(the campaign, the vendor's own words that change) of a task; what a body does not name stays as it was, also where no task can say it."""
    shown = _show(before) if before is not None else {}
    # Sent back as it was read is not named: of a campaign of another API a task shows less than there is.
    given = {
        name: value
        for name, value in body.items()
        if value is not None and (name == "state" or str(value) != shown.get(name))
    }
    asked = _COLUMNS if before is None else frozenset(given)
    numbers = {
        name: read_int(given.get(name), name, default, least, most) if name in given else int(shown.get(name, default))
        for name, (default, least, most) in _NUMERIC.items()
    }
    value = _CAMPAIGN.dump_python(before[0].campaign, mode="json") if before is not None else {}
    words: dict[str, Any] = {
        name: numbers[name] for name in ("maxCountChannels", "timeStart", "timeEnd") if name in asked
    }
    if asked & {"innerNum", "innerNumType"}:
        inner = read_text(given.get("innerNum", shown.get("innerNum")), "innerNum", 64)
        if not inner:
            raise Failed('Field "innerNum" is required and cannot be empty')
        words["innerNum"] = inner
        # A text as the printed example writes it.
        kind = read_text(given.get("innerNumType", shown.get("innerNumType")), "innerNumType", 20)
        value["destination"] = await _find_destination(services, exchange, inner, kind or "exten")
        value["dial_mode"] = "progressive" if _is_agent(value["destination"]) else "fixed"
    destination = value["destination"]
    if asked & {"innerNum", "innerNumType", "maxCountChannels"}:
        # An employee takes one call at a time, and none while their phone is in use.
        value["concurrent_calls"] = 1 if "endpoint" in destination else numbers["maxCountChannels"]
    if numbers["isCallback"] and not _is_agent(destination):
        raise Failed("isCallback: there is nobody to call first, innerNum must be an employee or a queue")
    plain = {
        "name": ("name", read_text(given.get("name"), "name") or "Task"),
        "dialPrefix": ("dial_prefix", read_text(given.get("dialPrefix"), "dialPrefix", 10)),
        "isCallback": ("agent_first", bool(numbers["isCallback"])),
        "attemptUntilSignal": ("goal", "closed" if numbers["attemptUntilSignal"] else "connected"),
        "maxAttempt": ("retry_times", numbers["maxAttempt"] - 1),
        "tryInterval": ("retry_delay_s", numbers["tryInterval"]),
    }
    value |= dict(plain[name] for name in plain if name in asked)
    if asked & {"timeStart", "timeEnd"}:
        value["call_window"] = _window(numbers["timeStart"], numbers["timeEnd"])
    if before is None:
        snapshot = services.live.current
        value["trunk"] = snapshot.general.outbound_trunk or next(iter(snapshot.trunks), None)
        if value["trunk"] is None:
            raise Failed("this PBX has no trunk to dial over")
    return validate(_CAMPAIGN, Campaign, value), words


def _is_agent(destination: dict[str, Any]) -> bool:
    return "queue" in destination or "endpoint" in destination


async def _find_destination(services: Services, exchange: Exchange, inner: str, kind: str) -> dict[str, Any]:
    if kind == "polling":
        survey_id = await find_survey(services, exchange, inner)
        if survey_id is None:
            raise Failed(f"innerNum: there is no poll {inner}")
        return {"survey": survey_id}
    if kind != "exten":
        raise Failed("innerNumType must be exten or polling")
    snapshot = services.live.current
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


# ------------------------------------------------------------------------------------------------------- handlers


async def _create(services: Services, exchange: Exchange) -> Any:
    body = read_object(exchange)
    crm_id = read_text(body.get("crmId"), "crmId", 64)
    if crm_id:
        before = await find_task(services, exchange, crm_id, by_crm_id=True)
    else:
        # Our own id names a task where the client has none.
        before = await _find_own(services, exchange, read_text(body.get("id"), "id", 20))
    campaign, words = await _read_task(services, exchange, body, before)
    numbers = read_numbers(services, body.get("numbers"))
    state = read_int(body.get("state"), "state", OPEN, OPEN, PAUSED)
    if crm_id:
        words["crmId"] = crm_id
    task = await _save(services, exchange, before, campaign, words, state, numbers)
    # Numbers just written are numbers, there.
    shown = _show(task)
    return shown | {"maxCountChannels": int(shown["maxCountChannels"]), "state": state}


async def _save(
    services: Services,
    exchange: Exchange,
    before: Task | None,
    campaign: Campaign,
    words: dict[str, Any],
    state: int | None,
    numbers: list[NewNumber] | None = None,
) -> Task:
    """All of it in one transaction, or nothing; the task as it is then."""
    group, at = exchange.who.group, services.now().timestamp()
    written: list[Task] = []
    if state is not None:
        words = {**words, "closed": state == CLOSED}

    def admit(db: Any, saved: SavedCampaign) -> Reply:
        if before is None and group is not None:
            admit_campaign(db, group.name, saved.campaign_id, at)
        written[:] = load_tasks(db, [saved.campaign_id])
        return Reply(b"")

    commit: Commit[SavedCampaign] = Commit(exchange, lambda saved: f"campaigns/{saved.campaign_id}", admit)
    whole = WholeCampaign(
        campaign=campaign,
        author=exchange.who.name,
        words={WORDS: {**(before[1] if before is not None else {}), **words}},
        permissions=exchange.who.reach,
        campaign_id=before[0].campaign_id if before is not None else None,
        state=_turn(before[0].state if before is not None else "stopped", state),
        numbers=numbers,
        known_by=ending_of,
    )
    await services.campaigns.save_whole(whole, commit=commit)
    if before is None and group is not None and group.campaigns is not None:
        await services.authority.load()
    return written[0]


def _turn(now: CampaignState, wanted: int | None) -> CampaignState | None:
    """The state of the campaign: open is running; closed and paused dial no more, and leave the calls that are up alone. None: as it is."""
    if wanted is None:
        return None
    if wanted == OPEN:
        return "running"
    if wanted == PAUSED:
        return "paused"
    return "paused" if now == "running" else None


async def _list(services: Services, exchange: Exchange) -> Any:
    query = exchange.body.query
    state = read_text(query.get("state"), "state", 2)
    limit, after = (
        read_int(query.get("limit"), "limit", 1000, 1, 10_000),
        read_int(query.get("offset"), "offset", 0, 0, 2**53),
    )
    tasks = await _load_seen(services, exchange)
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
    if task is None and (crm_id := read_text(body.get("crmId"), "crmId", 64)):
        # There a crmId in the body wins; here it is asked where the path names no task.
        task = await find_task(services, exchange, crm_id, by_crm_id=True)
    if task is None:
        raise Failed(data={"error": "TaskNotFound"})
    campaign, words = await _read_task(services, exchange, body, task)
    state = read_int(body["state"], "state", OPEN, OPEN, PAUSED) if body.get("state") is not None else None
    return _show(await _save(services, exchange, task, campaign, words, state))


async def _delete(services: Services, exchange: Exchange) -> Any:
    task = await find_task(services, exchange, path_id(exchange))
    if task is None:
        return []
    campaign_id = task[0].campaign_id
    commit: Commit[None] = Commit(exchange, f"campaigns/{campaign_id}", lambda _db, _gone: Reply(b""))
    await services.campaigns.delete(campaign_id, commit=commit, is_paused_first=True)
    return []


_ONE: Final = f"{BASE}/task/{{id}}"
ROUTES: Final = (
    declare("POST", f"{BASE}/task", "campaigns/create", _create, "Make or replace a task.", _MAX_BODY),
    declare("GET", f"{BASE}/task", "campaigns/read", _list, "List tasks."),
    declare("GET", _ONE, "campaigns/read", _get, "Read a task with its results."),
    declare("PUT", _ONE, "campaigns/update", _update, "Change a task."),
    declare("DELETE", _ONE, "campaigns/delete", _delete, "Delete a task."),
)
