"""goDashboard, goReports and goCallRecordings: today's counters, who does what right now, the call log as rows and CSV; only reads."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.dialling import find_known, list_known, read_span, today_of, zone_of
from api.compat.goapi.objects import columns, read_limit
from api.compat.goapi.speech import fail_code
from api.compat.goapi.tenancy import read_phones, read_scope
from api.times import time_of
from tandem.domain.agent_statuses import statuses_of
from tandem.domain.csv_cells import write_rows
from tandem.domain.disposition import Disposition
from tandem.store.attempt_pages import MAX_PAGE as ATTEMPT_PAGE
from tandem.store.attempt_pages import AttemptQuery, load_attempts
from tandem.store.attempts import Attempt, load_attempts_named
from tandem.store.campaigns import load_counts
from tandem.store.cdrs import CdrQuery, count_cdrs
from tandem.store.numbers import NumberMissing, count_waiting, load_number
from tandem.store.recordings import RecordingQuery, load_recordings
from tandem.store.said import count_said
from tandem.store.users import load_users

MAX_ROWS: Final = 10_000
_DIRECTIONS: Final[Mapping[str, Any]] = {"": None, "ALL": None, "INBOUND": "inbound", "OUTBOUND": "outbound"}


# -------------------------------------------------------------------------------------------------------- dashboard


async def _count_calls(call: Call, **more: Any) -> int:
    wanted = call.given.text("type").upper()
    if wanted not in _DIRECTIONS:
        raise fail_code("41006", "type. all, inbound or outbound")
    query = CdrQuery(since=today_of(call).astimezone(UTC), direction=_DIRECTIONS[wanted], **more)
    return int(await call.services.store.read(count_cdrs, query))


async def _total(call: Call) -> Mapping[str, Any]:
    return {"data": await _count_calls(call)}


async def _answered(call: Call) -> Mapping[str, Any]:
    return {"data": await _count_calls(call, disposition=Disposition.ANSWERED)}


async def _attempts_today(call: Call) -> list[Attempt]:
    """Of campaigns that whoever asks sees."""
    seen = {one.campaign_id for one in await list_known(call)}
    found: list[Attempt] = []
    after = 0
    while True:
        query = AttemptQuery(since=today_of(call).timestamp(), limit=ATTEMPT_PAGE, after_id=after, newest_first=False)
        page = await call.services.store.read(load_attempts, query)
        found += [one for one in page if one.campaign_id in seen]
        if len(page) < ATTEMPT_PAGE:
            return found
        after = page[-1].attempt_id


async def _dropped(call: Call) -> Mapping[str, Any]:
    return {"data": sum(_is_dropped(one) for one in await _attempts_today(call))}


def _is_dropped(attempt: Attempt) -> bool:
    return attempt.abandoned_at is not None and attempt.connected_at is None


async def _dropped_share(call: Call) -> Mapping[str, Any]:
    answered = [one for one in await _attempts_today(call) if one.answered_at is not None]
    dropped = sum(map(_is_dropped, answered))
    return {"data": round(100 * dropped / len(answered), 2) if answered else 0}


async def _sales(call: Call) -> Mapping[str, Any]:
    said = await call.services.store.read(count_said, today_of(call).timestamp(), None)
    known = {one.campaign_id: statuses_of(one.saved.campaign.statuses) for one in await list_known(call)}
    return {
        "data": sum(
            one.amount
            for one in said
            if (status := known.get(one.campaign_id, {}).get(one.agent_status)) is not None and status.is_sale
        )
    }


async def _dialable(call: Call) -> Mapping[str, Any]:
    ids = [one.campaign_id for one in await list_known(call) if one.saved.state == "running"]
    counts = await call.services.store.read(load_counts, ids)
    return {"data": sum(one.pending for one in counts.values())}


async def _hopper(call: Call) -> Mapping[str, Any]:
    """Those that a claim would take now."""
    now, total = call.services.now().timestamp(), 0
    for one in await list_known(call):
        if one.saved.state == "running":
            counts = (await call.services.store.read(load_counts, [one.campaign_id])).get(one.campaign_id)
            waiting = await call.services.store.read(count_waiting, one.campaign_id, now)
            total += max(0, (counts.pending if counts is not None else 0) - sum(waiting.values()))
    return {"data": total}


def _open(call: Call, seen: frozenset[int]) -> list[Any]:
    return [one for one in call.services.dialer.board.calls.values() if one.campaign_id in seen]


async def _seen(call: Call) -> frozenset[int]:
    return frozenset(one.campaign_id for one in await list_known(call))


async def _ringing(call: Call) -> Mapping[str, Any]:
    return {"data": sum(one.answered_at is None for one in _open(call, await _seen(call)))}


async def _live_outbound(call: Call) -> Mapping[str, Any]:
    return {"data": sum(one.answered_at is not None for one in _open(call, await _seen(call)))}


async def _waiting(call: Call) -> Mapping[str, Any]:
    return {"data": sum(one.callers for one in await call.services.monitor.list_queues())}


async def _live_inbound(call: Call) -> Mapping[str, Any]:
    trunks = call.services.live.current.trunks
    placed = set(call.services.dialer.board.calls)
    found = {
        one.linkedid for one in await call.services.monitor.list_channels()
        if one.uniqueid == one.linkedid and one.uniqueid not in placed
        and one.channel.partition("/")[2].rpartition("-")[0] in trunks
    }  # fmt: skip
    return {"data": len(found)}


def _count_agents(fits: Callable[[Any], bool]) -> Callable[[Call], Awaitable[Mapping[str, Any]]]:
    async def count(call: Call) -> Mapping[str, Any]:
        is_seen, agents = await read_phones(call), await call.services.agents.list_agents()
        return {"data": sum(fits(one) for one in agents if one.is_logged_in and is_seen(one.extension))}

    return count


async def _agents_now(call: Call) -> Mapping[str, Any]:
    users = {one.extension: one for one in await call.services.store.read(_load_users)}
    rows, is_seen = [], await read_phones(call)
    for one in await call.services.agents.list_agents():
        if not one.is_logged_in or not is_seen(one.extension):
            continue
        user = users.get(one.extension)
        rows.append(
            {
                "vla_user": user.name if user is not None else one.extension,
                "vla_extension": one.extension,
                "vla_status": "PAUSED" if one.is_paused else "INCALL" if one.is_in_call else "READY",
                "vla_pausecode": one.pause_reason,
                "vla_campaign_id": ", ".join(queue.queue for queue in one.queues if queue.is_logged_in),
                "vla_calls_today": one.calls_taken,
                "vu_full_name": user.full_name if user is not None else one.name,
            }
        )
    return {"data": rows}


def _load_users(db: Any) -> list[Any]:
    return [one for one in load_users(db) if one.extension is not None]


async def _calls_now(call: Call) -> Mapping[str, Any]:
    codes = {one.campaign_id: one.code for one in await list_known(call)}
    query = AttemptQuery(is_open=True, limit=ATTEMPT_PAGE)
    found = [one for one in await call.services.store.read(load_attempts, query) if one.campaign_id in codes]
    now = call.services.now().timestamp()
    rows = [
        {
            "status": "LIVE" if one.answered_at is not None else "RINGING", "phone_number": one.phone_number, "call_type": "OUT",
            "call_time": int(now - one.started_at), "campaign_id": codes[one.campaign_id], "uniqueid": one.call_id,
        }
        for one in found if one.campaign_id is not None
    ]  # fmt: skip
    return {"data": rows or 0}


# ----------------------------------------------------------------------------------------------------------- reports


_LOG: Final = (
    "call_date", "phone_number", "status", "user", "campaign_id", "list_id", "length_in_sec", "uniqueid", "lead_id", "hangup_cause",
)  # fmt: skip


async def _log_rows(call: Call) -> list[list[Any]]:
    since, until = read_span(call, "fromDate", "toDate")
    known = [await find_known(call)] if call.given.text("campaign_id") else await list_known(call)
    codes = {one.campaign_id: one.code for one in known}
    only = next(iter(codes)) if call.given.text("campaign_id") else None
    rows: list[list[Any]] = []
    lists: dict[int, int] = {}
    after = 0
    while len(rows) < MAX_ROWS:
        query = AttemptQuery(
            campaign_id=only, since=since.timestamp(), until=until.timestamp(), is_open=False, limit=ATTEMPT_PAGE, after_id=after,
            newest_first=False,
        )  # fmt: skip
        page = await call.services.store.read(load_attempts, query)
        await _note_lists(call, page, lists)
        rows += [_log_row(call, one, codes, lists) for one in page if one.campaign_id in codes]
        if len(page) < ATTEMPT_PAGE:
            break
        after = page[-1].attempt_id
    return rows[:MAX_ROWS]


async def _note_lists(call: Call, page: list[Attempt], lists: dict[int, int]) -> None:
    wanted = {one.number_id for one in page if one.number_id is not None} - lists.keys()

    def read(db: Any) -> dict[int, int]:
        found = {}
        for number_id in wanted:
            try:
                found[number_id] = load_number(db, number_id).list_id or 0
            except NumberMissing:
                found[number_id] = 0
        return found

    lists.update(await call.services.store.read(read))


def _log_row(call: Call, one: Attempt, codes: Mapping[int, str], lists: Mapping[int, int]) -> list[Any]:
    assert one.campaign_id is not None
    started = time_of(one.started_at)
    assert started is not None
    talked = (one.ended_at or 0) - one.answered_at if one.answered_at is not None else 0
    return [
        f"{started.astimezone(zone_of(call)):%Y-%m-%d %H:%M:%S}", one.phone_number, one.agent_status or (one.disposition or ""), one.agent,
        codes[one.campaign_id], lists.get(one.number_id or 0, 0), int(max(0, talked)), one.call_id, one.number_id or 0, one.cause,
    ]  # fmt: skip


async def _export(call: Call) -> Mapping[str, Any]:
    rows = await _log_rows(call)
    return {"header": list(_LOG), "rows": rows, "csv": write_rows([_LOG, *rows]), "is_cut": len(rows) == MAX_ROWS}


async def _count_export(call: Call) -> Mapping[str, Any]:
    return {"data": len(await _log_rows(call))}


async def _status_report(call: Call) -> Mapping[str, Any]:
    since, until = read_span(call, "fromDate", "toDate")
    codes = {one.campaign_id: one.code for one in await list_known(call)}
    said = await call.services.store.read(count_said, since.timestamp(), until.timestamp())
    rows = [
        {"campaign_id": codes[one.campaign_id], "status": one.agent_status, "user": one.agent, "count": one.amount}
        for one in said if one.campaign_id in codes
    ]  # fmt: skip
    return columns(rows, ("campaign_id", "status", "user", "count"))


# -------------------------------------------------------------------------------------------------------- recordings


async def _recordings(call: Call) -> Mapping[str, Any]:
    since, until = read_span(call, "start_filterdate", "end_filterdate")
    phone, agent = call.given.text("requestDataPhone"), call.given.text("agent_filter")
    limit = read_limit(call, 200)
    query = RecordingQuery(since=since, until=until, kind="mixed", limit=1000)
    found = await call.services.store.read(load_recordings, query)
    attempts = await call.services.store.read(_load_attempts_of, [one.call_id for one in found])
    rows, seen, scope = [], await _seen(call), await read_scope(call)
    for one in found:
        attempt = attempts.get(one.call_id)
        # Whose a call of no campaign was is not known: people of a group hear those of their campaigns.
        if scope.group and not scope.sees_all and (attempt is None or attempt.campaign_id not in seen):
            continue
        number, user = (attempt.phone_number, attempt.agent) if attempt is not None else ("", "")
        if (phone and phone not in number) or (agent and agent != user):
            continue
        rows.append(
            {
                "recording_id": one.id, "uniqueid": one.call_id, "lead_id": (attempt.number_id if attempt is not None else None) or 0,
                "phone_number": number, "users": user, "start_last_timestamp": f"{one.started_at.astimezone(zone_of(call)):%Y-%m-%d %H:%M:%S}",
                "call_length": int(one.duration_s), "location": f"/api/v1/recordings/{one.id}/audio",
            }
        )  # fmt: skip
    names = (
        "recording_id",
        "uniqueid",
        "lead_id",
        "phone_number",
        "users",
        "start_last_timestamp",
        "call_length",
        "location",
    )
    return {**columns(rows[:limit], names), "cnt": len(rows[:limit])}


def _load_attempts_of(db: Any, call_ids: list[str]) -> dict[str, Attempt]:
    return {one.call_id: one for one in load_attempts_named(db, call_ids)}


def _counter(
    name: str, handler: Any, summary: str, permission: str = "attempts/read", *, is_scoped: bool = True
) -> Action:
    return Action(name=name, permission=permission, handler=handler, summary=summary, is_scoped=is_scoped)


DASHBOARD: Final = (
    Action(name="goGetTotalCalls", permission="cdrs/read", handler=_total, summary="Calls of today.", parameters=("type",)),
    Action(name="goGetTotalAnsweredCalls", permission="cdrs/read", handler=_answered, summary="Answered calls of today.", parameters=("type",)),
    _counter("goGetTotalDroppedCalls", _dropped, "Answered today, and no agent came."),
    _counter("goGetDroppedPercentage", _dropped_share, "The same, of those who answered."),
    _counter("goGetTotalSales", _sales, "What agents called a sale today."),
    _counter("goGetRingingCalls", _ringing, "Calls of campaigns that ring."),
    _counter("goGetLiveOutbound", _live_outbound, "Calls of campaigns that are answered."),
    _counter("goGetTotalDialableLeads", _dialable, "Pending numbers of campaigns that run.", "numbers/read"),
    _counter("goGetLeadsinHopper", _hopper, "Those of them that are due.", "numbers/read"),
    _counter("goGetIncomingQueue", _waiting, "Callers that wait.", "monitoring/read", is_scoped=False),
    _counter("goGetLiveInbound", _live_inbound, "Calls from outside that are up.", "monitoring/read", is_scoped=False),
    _counter("goGetTotalAgentsCall", _count_agents(lambda one: one.is_in_call), "Agents who talk.", "agents/read", is_scoped=False),
    _counter("goGetTotalAgentsPaused", _count_agents(lambda one: one.is_paused), "Agents who pause.", "agents/read", is_scoped=False),
    _counter("goGetTotalAgentsWaitCalls", _count_agents(lambda one: not one.is_paused and not one.is_in_call), "Agents who wait for a call.", "agents/read", is_scoped=False),
    _counter("goGetRealtimeAgentsMonitoring", _agents_now, "Agents who are logged in, and what they do.", "agents/read", is_scoped=False),
    _counter("goGetRealtimeCallsMonitoring", _calls_now, "Calls of campaigns that are up."),
)  # fmt: skip
_SPAN: Final = ("fromDate", "toDate", "campaign_id")
REPORTS: Final = (
    Action(name="goExportCallReport", permission="attempts/read", handler=_export, summary="The call log, as rows and as CSV.", parameters=_SPAN, is_scoped=True),
    Action(name="goExportCountRows", permission="attempts/read", handler=_count_export, summary="How many rows it has.", parameters=_SPAN, is_scoped=True),
    Action(name="goGetDispoStats", permission="attempts/read", handler=_status_report, summary="What agents said, counted.", parameters=_SPAN, is_scoped=True),
)  # fmt: skip
RECORDINGS: Final = (
    Action(
        name="goGetCallRecordingList", permission="recordings/read", handler=_recordings, summary="Recordings, newest first.",
        parameters=("requestDataPhone", "start_filterdate", "end_filterdate", "agent_filter", "limit"),
    ),
)  # fmt: skip
