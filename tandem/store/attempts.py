# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Attempts: claimed in one transaction before anything is sent, closed once in the transaction that keeps the call's end. Every function is work for a Store.

A number has at most one attempt under way (`numbers.call_id`), and each attempt its own (number, dial): two who claim at the same time
cannot both have it, and what a crash left open is closed by what becomes of its call (`tandem.calls`), never claimed again before.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final

import peewee

from tandem.domain.attempts import Finished, after_attempt, after_status
from tandem.domain.calls import PlacedCall, new_call_id, start_call
from tandem.domain.campaign_calls import NEVER_S, Held
from tandem.domain.campaigns import NumberStatus, SavedCampaign, SavedNumber
from tandem.domain.disposition import Disposition
from tandem.domain.originate import CallRefused, OriginateOrder
from tandem.store.calls import record_placed_calls
from tandem.store.campaigns import DAY_S, CampaignDay, bump_counts, bump_days, load_campaigns
from tandem.store.events import Listeners, tell_attempts
from tandem.store.number_lists import load_inactive_lists
from tandem.store.numbers import NUMBER_COLUMNS, NumberInFlight, NumberMissing, load_number, read_number
from tandem.store.outbox import load_listeners
from tandem.store.rows import LISTED, LISTED_IDS, insert_rows, listed, load_rows, update_rows

# How many numbers a claim looks at, at most, for a campaign: those that are held go to the end of the line, and the next claim goes on.
MAX_LOOK: Final = 500
AGENT_KINDS: Final = ("queue ", "endpoint ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One originate for one number, and what became of it. agent_status: what an agent said of it. Times are seconds since 1970."""

    attempt_id: int
    call_id: str
    campaign_id: int | None
    number_id: int | None
    dial: int
    epoch: int
    node: str
    phone_number: str
    caller_number: str
    trunk: str
    destination: str
    agent: str
    started_at: float
    answered_at: float | None
    connected_at: float | None
    abandoned_at: float | None
    ended_at: float | None
    disposition: str | None
    cause: int
    tech_cause: int
    recording_file: str | None
    recording_leg1: str | None
    recording_leg2: str | None
    agent_status: str = ""


ATTEMPT_COLUMNS: Final = tuple(field.name for field in fields(Attempt))
_CLAIMED: Final = (
    "call_id", "campaign_id", "number_id", "dial", "epoch", "node", "phone_number", "caller_number", "trunk", "destination",
    "agent", "started_at", "cause", "tech_cause",
)  # fmt: skip
_FOLLOWED: Final = (
    "call_id", "answered_at", "connected_at", "abandoned_at", "ended_at", "disposition", "cause", "tech_cause",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """A number whose attempt is committed: the call may be sent, once."""

    campaign: SavedCampaign
    number: SavedNumber
    order: OriginateOrder
    call: PlacedCall


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim did. drained: campaigns that have nothing due right now."""

    claims: tuple[Claim, ...]
    drained: frozenset[int]
    refused: int = 0
    held: int = 0


# (campaign, number, numbers of its lists) -> an order, why not now, or CallRefused: never.
Plan = Callable[[SavedCampaign, SavedNumber], OriginateOrder | Held]


# --------------------------------------------------------------------------------------------------------- claiming


def claim_numbers(
    db: peewee.Database,
    wanted: Mapping[int, int],
    plan: Plan,
    make_key: Callable[[str], str],
    now: float,
    node: str,
    trunk_limits: Mapping[str, int] | None = None,
) -> Claimed:
    """Claims up to `wanted` numbers of each campaign (id -> how many) and keeps their calls, all in this transaction.

    The campaign must still be running, and its open attempts plus the new ones never pass its limit, whatever the caller believed.
    make_key: a phone number as DNC lists have it. trunk_limits: calls at once of trunks that other nodes use, too: counted here.
    """
    running = {saved.campaign_id: saved for saved in load_campaigns(db, "running")}
    open_calls = count_open(db)
    trunk_calls = count_open_by_trunk(db) if trunk_limits else {}
    taken: list[Claim] = []
    drained: set[int] = set()
    refused = held = 0
    at = datetime.fromtimestamp(now, UTC)
    for campaign_id, amount in wanted.items():
        saved = running.get(campaign_id)
        if saved is None:
            continue
        room = min(amount, saved.campaign.concurrent_calls - open_calls.get(campaign_id, 0))
        trunk = saved.campaign.trunk or ""
        if trunk_limits and trunk in trunk_limits:
            room = min(room, trunk_limits[trunk] - trunk_calls.get(trunk, 0))
        looked, inactive = 0, load_inactive_lists(db, campaign_id)
        while room > 0 and looked < MAX_LOOK:
            candidates = _load_due(db, campaign_id, now, room)
            if not candidates:
                drained.add(campaign_id)
                break
            looked += len(candidates)
            sorted_out = _sort_out(db, saved, candidates, plan, make_key, now, inactive)
            for number, order in sorted_out.orders:
                taken.append(Claim(saved, number, order, start_call(order, new_call_id(), at)))
            room -= len(sorted_out.orders)
            trunk_calls[trunk] = trunk_calls.get(trunk, 0) + len(sorted_out.orders)
            refused += len(sorted_out.refused)
            held += len(sorted_out.held)
            _take(db, list(taken[len(taken) - len(sorted_out.orders) :]), now, node)
            _refuse(db, campaign_id, sorted_out.refused, now)
            _hold(db, sorted_out.held)
    return Claimed(tuple(taken), frozenset(drained), refused, held)


class ClaimRefused(Exception):
    """A number cannot be claimed by hand: the campaign's state, a list or a rule keeps it."""


def claim_by_hand(
    db: peewee.Database,
    campaign_id: int,
    number_id: int | None,
    plan: Plan,
    make_key: Callable[[str], str],
    now: float,
    node: str,
) -> Claim:
    """Claims one number because somebody asks for it, or the next that is due; all that holds for others holds for it, but its own time.

    ClaimRefused, NumberMissing (also for one of another campaign), NumberInFlight; CallRefused where it is never dialled.
    """
    running = {saved.campaign_id: saved for saved in load_campaigns(db, "running")}
    saved = running.get(campaign_id)
    if saved is None:
        raise ClaimRefused("the campaign is not running")
    if count_open(db).get(campaign_id, 0) >= saved.campaign.concurrent_calls:
        raise ClaimRefused(f"the campaign has its {saved.campaign.concurrent_calls} calls")
    inactive, looked = load_inactive_lists(db, campaign_id), 0
    while True:
        number = _load_wanted(db, campaign_id, number_id, now)
        if number_id is None:
            looked += 1
        sorted_out = _sort_out(db, saved, [number], plan, make_key, now, inactive)
        if sorted_out.orders:
            break
        if number_id is not None or looked >= MAX_LOOK:
            raise ClaimRefused(_tell_kept(sorted_out, number))
        _refuse(db, campaign_id, sorted_out.refused, now)
        _hold(db, sorted_out.held)
    claim = Claim(
        saved,
        number,
        sorted_out.orders[0][1],
        start_call(sorted_out.orders[0][1], new_call_id(), datetime.fromtimestamp(now, UTC)),
    )
    _take(db, [claim], now, node)
    return claim


def _load_wanted(db: peewee.Database, campaign_id: int, number_id: int | None, now: float) -> SavedNumber:
    if number_id is None:
        due = _load_due(db, campaign_id, now, 1)
        if not due:
            raise ClaimRefused("no number of the campaign is due")
        return due[0]
    number = load_number(db, number_id)
    if number.campaign_id != campaign_id:
        raise NumberMissing(number_id)
    if number.call_id or number.status is NumberStatus.CALLING:
        raise NumberInFlight("calling")
    return number


def _tell_kept(sorted_out: "_SortedOut", number: SavedNumber) -> str:
    if sorted_out.refused:
        return f"number {number.number_id} cannot be dialled: {sorted_out.refused[0][1]}"
    words = {"window": "its call window is closed", "list": "its list is not active"}
    hold = sorted_out.held[0][1].hold
    return f"number {number.number_id} is not dialled now: {words.get(hold, hold)}"


def count_open(db: peewee.Database) -> dict[int, int]:
    """Campaign -> its attempts that are under way."""
    rows = load_rows(
        db,
        ("campaign_id", "amount"),
        "(SELECT campaign_id, count(*) AS amount FROM attempts WHERE ended_at IS NULL AND campaign_id IS NOT NULL GROUP BY campaign_id) AS open",
    )
    return {row["campaign_id"]: row["amount"] for row in rows}


def count_open_by_trunk(db: peewee.Database) -> dict[str, int]:
    """Trunk -> attempts over it that are under way, whichever node's."""
    rows = load_rows(
        db,
        ("trunk", "amount"),
        "(SELECT trunk, count(*) AS amount FROM attempts WHERE ended_at IS NULL GROUP BY trunk) AS open",
    )
    return {row["trunk"]: row["amount"] for row in rows}


def _load_due(db: peewee.Database, campaign_id: int, now: float, limit: int) -> list[SavedNumber]:
    """What is next: retries and what was held, in the order of their time; then fresh numbers, in the order of the list."""
    due = load_rows(
        db,
        NUMBER_COLUMNS,
        "numbers WHERE campaign_id = ? AND status = 'pending' AND due_at IS NOT NULL AND due_at <= ? AND call_id IS NULL"
        " ORDER BY due_at, number_id LIMIT ?",
        [campaign_id, now, limit],
    )
    if len(due) < limit:
        due += load_rows(
            db,
            NUMBER_COLUMNS,
            "numbers WHERE campaign_id = ? AND status = 'pending' AND due_at IS NULL AND call_id IS NULL ORDER BY number_id LIMIT ?",
            [campaign_id, limit - len(due)],
        )
    return [read_number(row) for row in due]


@dataclass(frozen=True, slots=True)
class _SortedOut:
    orders: tuple[tuple[SavedNumber, OriginateOrder], ...]
    refused: tuple[tuple[SavedNumber, str], ...]
    held: tuple[tuple[SavedNumber, Held], ...]


def _sort_out(
    db: peewee.Database,
    saved: SavedCampaign,
    candidates: Sequence[SavedNumber],
    plan: Plan,
    make_key: Callable[[str], str],
    now: float,
    inactive: Collection[int],
) -> _SortedOut:
    keys = {number.number_id: make_key(number.phone_number) for number in candidates}
    blocked = load_blocked(db, ("global", *saved.campaign.dnc_lists), keys.values())
    orders, refused, held = [], [], []
    for number in candidates:
        if (list_name := blocked.get(keys[number.number_id])) is not None:
            refused.append((number, f"dnc {list_name}"))
            continue
        if number.list_id in inactive:
            # Until it is active again, which releases it.
            held.append((number, Held(now + NEVER_S, "list")))
            continue
        try:
            planned = plan(saved, number)
        except CallRefused as refusal:
            refused.append((number, str(refusal)))
        else:
            if isinstance(planned, Held):
                held.append((number, planned))
            else:
                orders.append((number, planned))
    return _SortedOut(tuple(orders), tuple(refused), tuple(held))


def load_blocked(db: peewee.Database, lists: Iterable[str], keys: Iterable[str]) -> dict[str, str]:
    """Those of `keys` that are on one of the lists, and on which."""
    source = f"dnc_numbers WHERE number_key IN {LISTED} AND list IN {LISTED}"
    rows = load_rows(db, ("number_key", "list"), source, [listed(set(keys)), listed(set(lists))])
    return {row["number_key"]: row["list"] for row in rows}


def _take(db: peewee.Database, claims: Sequence[Claim], now: float, node: str) -> None:
    if not claims:
        return
    insert_rows(
        db,
        "attempts",
        _CLAIMED,
        [
            {
                "call_id": claim.call.call_id,
                "campaign_id": claim.campaign.campaign_id,
                "number_id": claim.number.number_id,
                "dial": claim.number.dials + 1,
                "epoch": claim.campaign.epoch,
                "node": node,
                "phone_number": claim.number.phone_number,
                "caller_number": claim.order.caller_number,
                "trunk": claim.campaign.campaign.trunk or "",
                "destination": claim.order.destination,
                "agent": "",
                "started_at": now,
                "cause": 0,
                "tech_cause": 0,
            }
            for claim in claims
        ],
    )
    record_placed_calls(db, [claim.call for claim in claims], node)
    update_rows(
        db,
        "numbers",
        "number_id",
        ("status", "attempts", "dials", "due_at", "hold", "call_id", "last_attempt_at", "updated_at", "agent_status"),
        [
            {
                "number_id": claim.number.number_id,
                "status": "calling",
                "attempts": claim.number.attempts + 1,
                "dials": claim.number.dials + 1,
                "due_at": None,
                "hold": "",
                "call_id": claim.call.call_id,
                "last_attempt_at": now,
                "updated_at": now,
                "agent_status": "",
            }
            for claim in claims
        ],
    )
    counts: dict[tuple[int, str], int] = {}
    for claim in claims:
        _move(counts, claim.campaign.campaign_id, claim.number.status.value, "calling")
        _add(counts, claim.campaign.campaign_id, "total_calls", 1)
    bump_counts(db, counts)


def _refuse(db: peewee.Database, campaign_id: int, refused: Sequence[tuple[SavedNumber, str]], now: float) -> None:
    """These are never dialled: the number says why."""
    if not refused:
        return
    rows = [
        {"number_id": number.number_id, "status": "failed", "disposition": why[:200], "due_at": None, "hold": "", "updated_at": now}
        for number, why in refused
    ]  # fmt: skip
    update_rows(db, "numbers", "number_id", ("status", "disposition", "due_at", "hold", "updated_at"), rows)
    bump_counts(db, {(campaign_id, "pending"): -len(refused), (campaign_id, "failed"): len(refused)})
    if listeners := load_listeners(db):
        tell_attempts(db, listeners, [], [(number, row) for (number, _), row in zip(refused, rows, strict=True)])


def _hold(db: peewee.Database, held: Sequence[tuple[SavedNumber, Held]]) -> None:
    update_rows(
        db,
        "numbers",
        "number_id",
        ("due_at", "hold"),
        [{"number_id": number.number_id, "due_at": why.until, "hold": why.hold} for number, why in held],
    )


# --------------------------------------------------------------------------------------------------- on their way


def follow_attempts(db: peewee.Database, calls: Sequence[PlacedCall], listeners: Listeners) -> None:
    """Takes what became of placed calls into their attempts and numbers; calls that are no attempt's are passed over.

    listeners: who is told of it (`tandem.store.outbox.load_listeners`). In the transaction that keeps the calls themselves, so that neither is ever ahead of the other. An attempt is closed once.
    """
    seen = {call.call_id: call for call in calls if call.answered_at is not None or call.ended_at is not None}
    if not seen:
        return
    rows = _load_open(db, seen)
    if not rows:
        return
    named = {attempt.campaign_id for attempt, _ in rows if attempt.campaign_id is not None}
    campaigns = {saved.campaign_id: saved for saved in load_campaigns(db, campaign_ids=named)}
    book = _Book({}, {}, [], [])
    for row in rows:
        attempt, number = row
        call = seen[attempt.call_id]
        saved = campaigns.get(attempt.campaign_id) if attempt.campaign_id is not None else None
        if call.ended_at is not None:
            _close(book, saved, attempt, number, call)
        elif attempt.answered_at is None:
            _answer(book, attempt, number, call)
    update_rows(
        db,
        "attempts",
        "call_id",
        _FOLLOWED[1:],
        book.attempts,
    )
    update_rows(
        db,
        "numbers",
        "number_id",
        ("status", "attempts", "due_at", "hold", "call_id", "disposition", "updated_at"),
        book.numbers,
    )
    bump_counts(db, book.counts)
    bump_days(db, book.days)
    if listeners:
        was = {number.number_id: number for _, number in rows if number is not None}
        closed = [attempt for attempt in book.attempts if attempt["ended_at"] is not None]
        tell_attempts(db, listeners, closed, [(was[row["number_id"]], row) for row in book.numbers])


@dataclass(slots=True)
class _Book:
    counts: dict[tuple[int, str], int]
    days: dict[tuple[int, int], CampaignDay]
    attempts: list[dict[str, Any]]
    numbers: list[dict[str, Any]]


def _load_open(db: peewee.Database, call_ids: Iterable[str]) -> list[tuple[Attempt, SavedNumber | None]]:
    attempts = [
        Attempt(**row)
        for row in load_rows(
            db, ATTEMPT_COLUMNS, f"attempts WHERE ended_at IS NULL AND call_id IN {LISTED}", [listed(call_ids)]
        )
    ]
    numbers = {
        row["number_id"]: read_number(row)
        for row in load_rows(
            db,
            NUMBER_COLUMNS,
            f"numbers WHERE number_id IN {LISTED_IDS}",
            [listed(attempt.number_id for attempt in attempts if attempt.number_id is not None)],
        )
    } if attempts else {}  # fmt: skip
    return [(attempt, numbers.get(attempt.number_id or 0)) for attempt in attempts]


def _answer(book: _Book, attempt: Attempt, number: SavedNumber | None, call: PlacedCall) -> None:
    assert call.answered_at is not None
    at = call.answered_at.timestamp()
    book.attempts.append(_attempt_row(replace(attempt, answered_at=at)))
    if attempt.campaign_id is None:
        return
    _add(book.counts, attempt.campaign_id, "answered_calls", 1)
    # One that a reset has made pending meanwhile is answered all the same: somebody is talking.
    if number is not None and number.call_id == attempt.call_id and number.status is not NumberStatus.ANSWERED:
        _move(book.counts, attempt.campaign_id, number.status.value, "answered")
        book.numbers.append(_number_row(number, status="answered", updated_at=at))


def _close(
    book: _Book, saved: SavedCampaign | None, attempt: Attempt, number: SavedNumber | None, call: PlacedCall
) -> None:
    assert call.ended_at is not None
    assert call.disposition is not None
    ended_at = call.ended_at.timestamp()
    answered_at = call.answered_at.timestamp() if call.answered_at is not None else None
    is_answered = call.disposition is Disposition.ANSWERED
    connected_at, abandoned_at = attempt.connected_at, attempt.abandoned_at
    if is_answered and connected_at is None and abandoned_at is None:
        # With agents, somebody must have come; a menu or an announcement is there at once.
        if attempt.destination.startswith(AGENT_KINDS):
            abandoned_at = ended_at
        else:
            connected_at = answered_at
    closed = replace(
        attempt,
        answered_at=answered_at,
        connected_at=connected_at,
        abandoned_at=abandoned_at,
        ended_at=ended_at,
        disposition=call.disposition.value,
        cause=call.cause,
        tech_cause=call.tech_cause,
    )
    book.attempts.append(_attempt_row(closed))
    if attempt.campaign_id is None:
        return
    _count_closed(book, attempt, closed)
    if number is not None and number.call_id == attempt.call_id:
        after = _after(saved, attempt, number, call, ended_at)
        _move(book.counts, attempt.campaign_id, number.status.value, after["status"])
        book.numbers.append(after)


def _count_closed(book: _Book, before: Attempt, closed: Attempt) -> None:
    campaign_id = closed.campaign_id
    assert campaign_id is not None
    assert closed.ended_at is not None
    is_answered = closed.disposition == Disposition.ANSWERED.value
    if is_answered and before.answered_at is None:
        _add(book.counts, campaign_id, "answered_calls", 1)
    connected = is_answered and closed.connected_at is not None
    abandoned = is_answered and closed.abandoned_at is not None and not connected
    _add(book.counts, campaign_id, "connected_calls", int(connected))
    _add(book.counts, campaign_id, "abandoned_calls", int(abandoned))
    key = (campaign_id, int(closed.ended_at // DAY_S))
    day = book.days.get(key) or CampaignDay(key[1], 0, 0, 0, 0, 0.0, 0.0)
    ring_s = max(0.0, (closed.answered_at or closed.started_at) - closed.started_at) if is_answered else 0.0
    talk_s = max(0.0, closed.ended_at - (closed.connected_at or closed.ended_at)) if connected else 0.0
    book.days[key] = CampaignDay(
        day.day,
        day.attempts + 1,
        day.answered + is_answered,
        day.connected + connected,
        day.abandoned + abandoned,
        day.ring_s + ring_s,
        day.talk_s + talk_s,
    )


def _after(
    saved: SavedCampaign | None, attempt: Attempt, number: SavedNumber, call: PlacedCall, ended_at: float
) -> dict[str, Any]:
    """The number's row after its attempt."""
    assert call.disposition is not None
    disposition = "" if call.disposition is Disposition.ANSWERED else call.disposition.value
    common = {"call_id": None, "disposition": call.disposition.value, "updated_at": ended_at}
    if saved is not None and attempt.epoch == saved.epoch and not disposition and number.agent_status:
        return _number_row(number, **_recycle(saved, number, ended_at), **common)
    if saved is None or attempt.epoch != saved.epoch:
        # Reset meanwhile: it is pending with no attempts, or it was answered, which no reset takes back.
        status = "completed" if not disposition else number.status.value
        return _number_row(number, status="pending" if status == "calling" else status, **common)
    outcome = after_attempt(
        saved.campaign, number.attempts, call.disposition, attempt.started_at, ended_at, is_unsent=call.is_unsent
    )
    if isinstance(outcome, Finished):
        return _number_row(number, status=outcome.status.value, due_at=None, hold="", **common)
    spent = number.attempts if outcome.is_spent else max(0, number.attempts - 1)
    return _number_row(number, status="pending", attempts=spent, due_at=outcome.at, hold=outcome.hold, **common)


def _recycle(saved: SavedCampaign, number: SavedNumber, ended_at: float) -> dict[str, Any]:
    """Where a number that was reached goes on from what an agent said of it."""
    if number.hold == "not-before":  # the agent named a time
        return {"status": "pending", "due_at": number.due_at, "hold": "not-before"}
    outcome = after_status(saved.campaign, number.attempts, number.agent_status, ended_at)
    if isinstance(outcome, Finished):
        return {"status": outcome.status.value, "due_at": None, "hold": ""}
    return {"status": "pending", "due_at": outcome.at, "hold": outcome.hold}


def record_agent_status(
    db: peewee.Database, number_id: int, agent_status: str, at: float, call_again_at: float | None = None
) -> SavedNumber:
    """Keeps what an agent says of a number's last call, and lets the campaign's rules follow: at once, or when the call is over.

    call_again_at: seconds since 1970, the time that the agent named. NumberMissing; ClaimRefused for a number that was never dialled.
    """
    number = load_number(db, number_id)
    if not number.dials:
        raise ClaimRefused(f"number {number_id} was not called yet")
    (saved,) = load_campaigns(db, campaign_ids=[number.campaign_id])
    db.execute_sql(
        "UPDATE attempts SET agent_status = ? WHERE number_id = ? AND dial = ?", (agent_status, number_id, number.dials)
    )
    given = replace(
        number,
        agent_status=agent_status,
        due_at=call_again_at,
        hold="not-before" if call_again_at is not None else "",
    )
    after: dict[str, Any] = {"status": number.status.value, "due_at": number.due_at, "hold": number.hold}
    if number.call_id:
        after |= {"due_at": given.due_at, "hold": given.hold}
    elif _is_followed(saved, given, number):
        after = _recycle(saved, given, load_end(db, number_id, number.dials) or at)
    db.execute_sql(
        "UPDATE numbers SET agent_status = ?, status = ?, due_at = ?, hold = ?, updated_at = ? WHERE number_id = ?",
        (agent_status, after["status"], after["due_at"], after["hold"], at, number_id),
    )
    if after["status"] != number.status.value:
        bump_counts(db, {(number.campaign_id, number.status.value): -1, (number.campaign_id, after["status"]): 1})
    return load_number(db, number_id)


def _is_followed(saved: SavedCampaign, given: SavedNumber, before: SavedNumber) -> bool:
    """Whether what the agent said moves the number: one that a reset took back stays, and so does one that nobody answered without a rule."""
    if before.status is NumberStatus.PENDING and before.attempts == 0:
        return False
    is_answered = before.disposition == Disposition.ANSWERED.value
    return is_answered or bool(given.hold) or given.agent_status in saved.campaign.recycle_rules


def load_end(db: peewee.Database, number_id: int, dial: int) -> float | None:
    """When that attempt ended; None while it has not."""
    rows = load_rows(db, ("ended_at",), "attempts WHERE number_id = ? AND dial = ?", [number_id, dial])
    return rows[0]["ended_at"] if rows else None


def _number_row(number: SavedNumber, **changes: Any) -> dict[str, Any]:
    row = {
        "number_id": number.number_id,
        "status": number.status.value,
        "attempts": number.attempts,
        "due_at": number.due_at,
        "hold": number.hold,
        "call_id": number.call_id or None,
        "disposition": number.disposition,
        "updated_at": number.updated_at,
    }
    return row | changes


def _attempt_row(attempt: Attempt) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in _FOLLOWED}


def note_connected(db: peewee.Database, notes: Sequence[tuple[str, float, str]]) -> None:
    """(call id, when, who): an agent, or what was to be heard, was there. The first one counts."""
    for call_id, at, agent in notes:
        db.execute_sql(
            "UPDATE attempts SET connected_at = ?, agent = ? WHERE call_id = ? AND connected_at IS NULL",
            (at, agent[:80], call_id),
        )


def note_abandoned(db: peewee.Database, notes: Sequence[tuple[str, float]]) -> None:
    """(call id, when): an answered person was told that nobody is free."""
    for call_id, at in notes:
        db.execute_sql(
            "UPDATE attempts SET abandoned_at = ? WHERE call_id = ? AND connected_at IS NULL AND abandoned_at IS NULL",
            (at, call_id),
        )


def _move(counts: dict[tuple[int, str], int], campaign_id: int, before: str, after: str) -> None:
    _add(counts, campaign_id, before, -1)
    _add(counts, campaign_id, after, 1)


def _add(counts: dict[tuple[int, str], int], campaign_id: int, kind: str, amount: int) -> None:
    counts[campaign_id, kind] = counts.get((campaign_id, kind), 0) + amount


# ---------------------------------------------------------------------------------------------------------- loading


def load_open_attempts(db: peewee.Database, node: str | None = None) -> list[Attempt]:
    """Those that are under way; of those whose calls one node follows, where it is given."""
    where, given = (
        ("AND call_id IN (SELECT call_id FROM placed_calls WHERE ended_at IS NULL AND node = ?)", [node])
        if node is not None
        else ("", [])
    )
    rows = load_rows(db, ATTEMPT_COLUMNS, f"attempts WHERE ended_at IS NULL {where} ORDER BY attempt_id", given)
    return [Attempt(**row) for row in rows]


def load_recent_attempts(db: peewee.Database, campaign_id: int, limit: int) -> list[Attempt]:
    """The last attempts of a campaign, oldest first."""
    source = "attempts WHERE campaign_id = ? ORDER BY started_at DESC, attempt_id DESC LIMIT ?"
    return [Attempt(**row) for row in reversed(load_rows(db, ATTEMPT_COLUMNS, source, [campaign_id, limit]))]


def load_attempts_named(db: peewee.Database, call_ids: Iterable[str]) -> list[Attempt]:
    """Those of these calls that are attempts."""
    rows = load_rows(db, ATTEMPT_COLUMNS, f"attempts WHERE call_id IN {LISTED}", [listed(call_ids)])
    return [Attempt(**row) for row in rows]
