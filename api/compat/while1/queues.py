"""`queues` and `users-status`: queues with their members, how they are now, pauses, and phones; what is saved is applied."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from api.compat.php_names import as_list
from api.compat.while1.members import Members, read_members, show_members
from api.compat.while1.people import find_user
from api.compat.while1.records import read_between, zone_of
from api.compat.while1.reports import count_queues, show_counts
from api.compat.while1.speech import Answered, Denied, choose, read_filters, read_flag, read_map, read_rows, read_text
from api.declare import Reply
from api.exchange import Commit, Exchange, Services
from tandem.domain.agents import AgentMissing, AgentNotThere, AgentRefused, AgentWish
from tandem.domain.entities import Endpoint, Queue
from tandem.domain.snapshot import Snapshot
from tandem.monitoring import QueueNow

_MAX_ROWS: Final = 100
# What there is of a queue is of now; `date_between` is of what is counted, and passed over where nothing is.
_FILTERS: Final = ("project_id", "queues", "date_between")
_IN_USE: Final = frozenset({"in-use", "busy", "ringing-in-use", "on-hold"})
_KNOWN_STATES: Final = {"unknown": "UNKNOWN", "invalid": "UNKNOWN", "unavailable": "UNREACHABLE"}


def _choose_queues(services: Services, exchange: Exchange) -> list[Queue]:
    filters = read_filters(exchange.body, _FILTERS)
    snapshot: Snapshot = services.live.current
    wanted = [str(name) for name in as_list(filters["queues"])] if "queues" in filters else list(snapshot.queues)
    found = [snapshot.queues[name] for name in wanted if name in snapshot.queues]
    if not found:
        raise Denied("No Queues found")
    return found


async def _read(services: Services, exchange: Exchange) -> Answered:
    """get_info: with how they are now; get_db_reports: with their calls of `date_between`, of today without it."""
    exchange.require("queues/read")
    data = read_map(exchange.body, "data")
    wants_counts = read_flag(data, "get_db_reports", default=False)
    queues = _choose_queues(services, exchange)
    wants_info = read_flag(data, "get_info", default=False)
    now = {one.queue: one for one in await services.monitor.list_queues()} if wants_info else {}
    endpoints = services.live.current.endpoints
    shown = {queue.name: _show(queue, endpoints, now.get(queue.name)) for queue in queues}
    if wants_counts:
        shown = await _add_counts(services, exchange, shown, _read_span(services, exchange) or _find_today(services))
    return Answered(shown)


def _read_span(services: Services, exchange: Exchange) -> tuple[datetime, datetime] | None:
    """`date_between`; None without it."""
    filters = read_filters(exchange.body, _FILTERS)
    return read_between(filters["date_between"], zone_of(services)) if "date_between" in filters else None


def _find_today(services: Services) -> tuple[datetime, datetime]:
    today = services.now().astimezone(zone_of(services)).replace(hour=0, minute=0, second=0, microsecond=0)
    return today, today + timedelta(days=1)


async def _add_counts(
    services: Services, exchange: Exchange, shown: dict[str, dict[str, Any]], span: tuple[datetime, datetime]
) -> dict[str, dict[str, Any]]:
    """Queues with their calls of some time."""
    exchange.require("cdrs/read")
    counts = await count_queues(services, *span)
    return {name: {**one, "db_reports": counts.get(name, show_counts())} for name, one in shown.items()}


def _show(queue: Queue, endpoints: Mapping[str, Endpoint], now: QueueNow | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": queue.name,
        "description": queue.description,
        "extension": queue.extension,
        "strategy": queue.strategy,
        "members": show_members(queue, endpoints) or [],
    }
    return shown if now is None else {**shown, "info": _show_info(now)}


def _show_info(now: QueueNow) -> dict[str, Any]:
    return {
        "calls": now.callers,
        "completed": now.completed,
        "abandoned": now.abandoned,
        "holdtime": now.hold_s,
        "talktime": now.talk_s,
        "longest_wait": now.longest_wait_s,
        "service_level": now.service_level_percent,
    }


async def _info(services: Services, exchange: Exchange) -> Answered:
    """How queues are now; with `date_between` also their calls of that time."""
    exchange.require("queues/read")
    queues, span = _choose_queues(services, exchange), _read_span(services, exchange)
    now = {one.queue: one for one in await services.monitor.list_queues()}
    shown = {queue.name: _show_info(now[queue.name]) for queue in queues if queue.name in now}
    if span is not None:
        shown = await _add_counts(services, exchange, shown, span)
    return Answered(shown or [])


# -------------------------------------------------------------------------------------------------------------- save


async def _save(services: Services, exchange: Exchange) -> Answered:
    """The members of queues, whole: one that is not listed is gone. All queues are saved and live, or none is."""
    exchange.require("queues/update")
    data = read_map(exchange.body, "data")
    snapshot: Snapshot = await services.head.read()
    if not data:
        raise Denied("data: must name the queues to save")
    wanted = [_read_members(snapshot, name, data) for name in data]

    async def commit(work: Any) -> Any:
        saved, _ = await exchange.write(
            lambda db: (work(db), Reply({})),
            ", ".join(f"queues/{name}" for name in data),
            lambda one: one.revision if one.is_new else None,
        )
        return saved

    changed: Sequence[Any] = await services.head.edit_all(
        lambda now: [_change_queue(now, name, one) for name, one in zip(data, wanted, strict=True)],
        exchange.author,
        commit,
    )
    try:
        await services.applying.apply_head()
    except Exception:
        # The members are again those that Asterisk still has.
        before = [snapshot.queues[name] for name in data]
        await services.head.edit_all(lambda _: before, exchange.author, services.store.run)
        raise
    endpoints = services.live.current.endpoints
    return Answered({queue.name: _show(queue, endpoints, None) for queue in changed})


def _read_members(snapshot: Snapshot, name: str, data: Mapping[str, Any]) -> Members:
    if name not in snapshot.queues:
        raise Denied("No Queues found")
    wanted = read_map(data, name)
    if wanted.get("members") in (None, ""):
        raise Denied(f"{name}.members: is missing; an empty list takes all members away")
    return read_members(snapshot, name, read_map(wanted, "members"))


def _change_queue(now: Snapshot, name: str, members: Members) -> Queue:
    if name not in now.queues:
        raise Denied("No Queues found")
    return members.put_into(now.queues[name])


# ------------------------------------------------------------------------------------------------------------- pause


async def _pause(services: Services, exchange: Exchange) -> Answered:
    """Each row by itself, as there: what went wrong with one is told beside what went right with the others."""
    exchange.require("agents/pause")
    rows = [
        (
            read_text(row, "agent_name", 100),
            read_text(row, "reason", 80, default=""),
            read_flag(row, "paused", default=True),
        )
        for row in read_rows(exchange.body, "data", _MAX_ROWS)
    ]
    results, messages = [], []
    for number, (name, reason, paused) in enumerate(rows, 1):
        endpoint = find_user(services.live.current, name)
        try:
            if endpoint is None:
                raise AgentMissing
            await _change(
                services, exchange, endpoint.extension, AgentWish("pause" if paused else "unpause", (), reason)
            )
        except (AgentMissing, AgentNotThere):
            messages.append(f"Queue pause error for row {number}: No interfaces could be matched")
        except AgentRefused as error:
            messages.append(f"Queue pause error for row {number}: {error}")
        else:
            results.append({"agent_name": name, "user_id": endpoint.extension, "result": 1})
    return Answered(results, messages=tuple(messages))


async def _change(services: Services, exchange: Exchange, extension: str, wish: AgentWish) -> None:
    commit: Commit[Any] = Commit(
        exchange, lambda change: f"agents/{change.endpoint}/{change.event}", lambda _, __: Reply({})
    )
    await services.agents.change(extension, wish, by=exchange.who.name, commit=commit)


QUEUES: Final = {"read": _read, "info": _info, "save": _save, "pause": _pause}


async def queues(services: Services, exchange: Exchange) -> Answered:
    """What `action` names."""
    return await choose(exchange.body, "action", QUEUES, "read")(services, exchange)


# ------------------------------------------------------------------------------------------------------ users-status


async def users_status(services: Services, exchange: Exchange) -> Answered:
    """Every phone, by its extension, as Asterisk sees it now."""
    exchange.require("monitoring/read")
    kind = read_text(exchange.body, "type", 20, default="sip")
    if kind not in ("sip", "iax"):
        raise Denied(f"Invalid type: {kind}")
    if kind == "iax":
        return Answered([])
    devices, contacts = await services.monitor.list_devices(), await services.monitor.list_contacts()
    shown = {}
    for extension, endpoint in services.live.current.endpoints.items():
        state, contact = devices.get(f"PJSIP/{extension}", "unknown"), contacts.get(extension)
        shown[extension] = {
            "username": extension,
            "name": endpoint.name,
            "dnid": None,
            "in_use": int(state in _IN_USE),
            "limit": None,
            "ringing": int(state in ("ringing", "ringing-in-use")),
            "status": "OK" if contact is not None else _KNOWN_STATES.get(state, "UNREACHABLE"),
            "ip": contact.host if contact is not None else None,
            "port": contact.port if contact is not None else None,
            "useragent": contact.user_agent if contact is not None else None,
            "extension": extension,
            "remote_id": None,
        }
    return Answered(shown)
