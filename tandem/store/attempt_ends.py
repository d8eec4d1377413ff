# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What becomes of attempts: answered, closed once in the transaction that keeps the call's end, and what an agent says of them then; never claims. Every function is work for a Store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import peewee

from tandem.domain.attempts import Finished, after_attempt, after_status, end_doubt, order_times
from tandem.domain.calls import PlacedCall
from tandem.domain.campaigns import CLOSED, OPEN_STATUSES, NumberStatus, SavedCampaign, SavedNumber
from tandem.domain.disposition import DISPOSITION_BY_CAUSE, Disposition
from tandem.store.attempt_claims import ClaimRefused
from tandem.store.attempts import ATTEMPT_COLUMNS, Attempt, load_end, read_attempt
from tandem.store.campaigns import DAY_S, CampaignDay, add_count, bump_counts, bump_days, load_campaigns, move_count
from tandem.store.events import Listeners, tell_attempts
from tandem.store.numbers import NUMBER_COLUMNS, load_number, read_number
from tandem.store.people import follow_people
from tandem.store.rows import LISTED, LISTED_IDS, listed, load_rows, update_rows
from tandem.store.surveyed_numbers import load_done, waits_for_survey

# Q.850 of somebody who hangs up.
_NORMAL: Final = 16
AGENT_KINDS: Final = ("queue ", "endpoint ")
_FOLLOWED: Final = (
    "call_id", "answered_at", "connected_at", "abandoned_at", "ended_at", "disposition", "cause", "tech_cause", "is_far_hangup",
)  # fmt: skip


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
    surveyed = [
        attempt.call_id
        for attempt, _ in rows
        if (one := campaigns.get(attempt.campaign_id or 0)) and waits_for_survey(one)
    ]
    book = _Book({}, {}, [], [], unfinished=frozenset(surveyed) - load_done(db, surveyed) if surveyed else frozenset())
    for row in rows:
        attempt, number = row
        call = seen[attempt.call_id]
        saved = campaigns.get(attempt.campaign_id) if attempt.campaign_id is not None else None
        if call.ended_at is not None:
            _close(book, saved, attempt, number, call)
        elif attempt.answered_at is None and not (saved is not None and saved.campaign.agent_first):
            # Where the agent is called first, it is not the number's answer.
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
    for campaign_id, (ended, at) in book.people.items():
        follow_people(db, campaigns[campaign_id], ended, at)
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
    # Campaign -> (person whose call is over -> whether they were reached, when).
    people: dict[int, tuple[dict[str, bool], float]] = field(default_factory=dict)
    # Calls that count only when their survey is done, which is not known yet.
    unfinished: frozenset[str] = frozenset()


def _load_open(db: peewee.Database, call_ids: Iterable[str]) -> list[tuple[Attempt, SavedNumber | None]]:
    attempts = [
        read_attempt(row)
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
    answered_at, *_ = order_times(at, attempt.connected_at, attempt.abandoned_at, None)
    book.attempts.append(_attempt_row(replace(attempt, answered_at=answered_at)))
    if attempt.campaign_id is None:
        return
    add_count(book.counts, attempt.campaign_id, "answered_calls", 1)
    # One that a reset has made pending meanwhile is answered all the same: somebody is talking.
    if number is not None and number.call_id == attempt.call_id and number.status is not NumberStatus.ANSWERED:
        move_count(book.counts, attempt.campaign_id, number.status.value, "answered")
        book.numbers.append(_number_row(number, status="answered", updated_at=at))


def _close(
    book: _Book, saved: SavedCampaign | None, attempt: Attempt, number: SavedNumber | None, call: PlacedCall
) -> None:
    assert call.ended_at is not None
    assert call.disposition is not None
    ended_at = call.ended_at.timestamp()
    if saved is not None and saved.campaign.agent_first:
        call = _read_customer(call, attempt)
    answered_at = call.answered_at.timestamp() if call.answered_at is not None else None
    is_answered = call.disposition is Disposition.ANSWERED
    connected_at, abandoned_at = attempt.connected_at, attempt.abandoned_at
    if is_answered and connected_at is None and abandoned_at is None:
        # With agents, somebody must have come; a menu or an announcement is there at once.
        if attempt.destination.startswith(AGENT_KINDS):
            abandoned_at = ended_at
        else:
            connected_at = answered_at
    answered_at, connected_at, abandoned_at = order_times(answered_at, connected_at, abandoned_at, ended_at)
    closed = replace(
        attempt,
        answered_at=answered_at,
        connected_at=connected_at,
        abandoned_at=abandoned_at,
        ended_at=ended_at,
        disposition=call.disposition.value if call.disposition is not None else None,
        cause=call.cause,
        tech_cause=call.tech_cause,
        is_far_hangup=call.is_far_hangup,
    )
    book.attempts.append(_attempt_row(closed))
    if attempt.campaign_id is None:
        return
    _count_closed(book, attempt, closed)
    if number is not None and number.call_id == attempt.call_id:
        is_connected = connected_at is not None and attempt.call_id not in book.unfinished
        after = _after(saved, attempt, number, call, ended_at, is_connected=is_connected)
        move_count(book.counts, attempt.campaign_id, number.status.value, after["status"])
        book.numbers.append(after)
        if number.person and saved is not None:
            people, _ = book.people.setdefault(saved.campaign_id, ({}, ended_at))
            people[number.person] = is_answered and after["status"] == NumberStatus.COMPLETED.value


def _read_customer(call: PlacedCall, attempt: Attempt) -> PlacedCall:
    """What a call means for the number where its agent is called first: whether *it* answered, and why not.

    The agent's own leg tells by its cause (dialplan/tandem-campaign.conf) why the number was not reached. An agent who does not
    answer, refuses or hangs up before: the side that called gave up.
    """
    if attempt.connected_at is not None:
        return replace(call, answered_at=datetime.fromtimestamp(attempt.connected_at, UTC))
    disposition = call.disposition
    if disposition is Disposition.ANSWERED and not (call.is_far_hangup and call.cause in (0, _NORMAL)):
        disposition = DISPOSITION_BY_CAUSE.get(call.cause, Disposition.FAILED)
    elif disposition not in (Disposition.UNCONFIRMED, None) and not call.is_unsent:
        disposition = Disposition.CANCELLED
    return replace(call, answered_at=None, disposition=disposition)


def _count_closed(book: _Book, before: Attempt, closed: Attempt) -> None:
    campaign_id = closed.campaign_id
    assert campaign_id is not None
    assert closed.ended_at is not None
    is_answered = closed.disposition == Disposition.ANSWERED.value
    is_machine = closed.disposition == Disposition.MACHINE.value
    if (is_answered or is_machine) and before.answered_at is None:
        add_count(book.counts, campaign_id, "answered_calls", 1)
    add_count(book.counts, campaign_id, "machine_calls", int(is_machine))
    connected = is_answered and closed.connected_at is not None
    abandoned = is_answered and closed.abandoned_at is not None and not connected
    add_count(book.counts, campaign_id, "connected_calls", int(connected))
    add_count(book.counts, campaign_id, "abandoned_calls", int(abandoned))
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
    saved: SavedCampaign | None,
    attempt: Attempt,
    number: SavedNumber,
    call: PlacedCall,
    ended_at: float,
    *,
    is_connected: bool,
) -> dict[str, Any]:
    """The number's row after its attempt."""
    assert call.disposition is not None
    disposition = "" if call.disposition is Disposition.ANSWERED else call.disposition.value
    common = {"call_id": None, "disposition": call.disposition.value, "updated_at": ended_at}
    if number.hold == CLOSED:
        return _number_row(
            number, **{**common, "status": "completed", "due_at": None, "hold": "", "disposition": CLOSED}
        )
    if saved is not None and not disposition and number.agent_status:
        # A reset has wiped off what was said; a stop does not undo it.
        return _number_row(number, **_recycle(saved, number, ended_at), **common)
    if saved is None or attempt.epoch != saved.epoch:
        return _begin_anew(saved, attempt, number, disposition, ended_at) | common
    outcome = after_attempt(
        saved.campaign,
        number.attempts,
        call.disposition,
        attempt.started_at,
        ended_at,
        is_unsent=call.is_unsent,
        is_connected=is_connected,
    )
    if isinstance(outcome, Finished):
        return _number_row(number, status=outcome.status.value, due_at=None, hold="", **common)
    spent = number.attempts if outcome.is_spent else max(0, number.attempts - 1)
    return _number_row(number, status="pending", attempts=spent, due_at=outcome.at, hold=outcome.hold, **common)


def _begin_anew(
    saved: SavedCampaign | None, attempt: Attempt, number: SavedNumber, disposition: str, ended_at: float
) -> dict[str, Any]:
    """Reset while it was called: it is pending with no attempts, or it was answered (disposition ''), which no reset takes back."""
    if not disposition:
        return _number_row(number, status=NumberStatus.COMPLETED.value)
    if number.status not in OPEN_STATUSES:
        return _number_row(number)
    # A machine is nobody who was reached.
    anew = _number_row(number, status=NumberStatus.PENDING.value)
    may_ring_until = end_doubt(saved.campaign, attempt.started_at) if saved is not None else 0.0
    if disposition == Disposition.UNCONFIRMED.value and max(ended_at, number.due_at or 0.0) < may_ring_until:
        anew |= {"due_at": may_ring_until, "hold": "doubt"}
    return anew


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
        # One that was closed is not called again, whatever is said of it.
        after |= {} if number.hold == CLOSED else {"due_at": given.due_at, "hold": given.hold}
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
