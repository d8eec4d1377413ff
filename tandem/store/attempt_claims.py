# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Numbers are claimed here, in one transaction before anything is sent; never one that has an attempt under way. Every function is work for a Store.

A number has at most one attempt under way (`numbers.call_id`), and each attempt its own (number, dial): two who claim at the same time
cannot both have it, and what a crash left open is closed by what becomes of its call (`tandem.calls`), never claimed again before.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import peewee

from tandem.domain.attempts import DOUBT_S, end_doubt
from tandem.domain.calls import PlacedCall, new_call_id, start_call
from tandem.domain.campaign_calls import NEVER_S, Held
from tandem.domain.campaigns import MAX_DIAL_TIMEOUT_S, NewNumber, NumberStatus, SavedCampaign, SavedNumber
from tandem.domain.customers import Customer
from tandem.domain.destinations import EndpointDestination
from tandem.domain.dialplan import CONTEXT_AGENT_FIRST
from tandem.domain.open_calls import trunk_of
from tandem.domain.originate import CallRefused, OriginateOrder
from tandem.domain.routing import describe_destination
from tandem.store.calls import record_placed_calls
from tandem.store.campaigns import add_count, bump_counts, load_campaigns, move_count
from tandem.store.customers import load_customers
from tandem.store.events import tell_attempts
from tandem.store.number_lists import load_inactive_lists
from tandem.store.numbers import (
    NUMBER_COLUMNS,
    NumberInFlight,
    NumberMissing,
    add_numbers,
    find_number,
    load_number,
    read_number,
)
from tandem.store.outbox import load_listeners
from tandem.store.people import PERSON_S, finish_numbers, load_people
from tandem.store.rows import LISTED, insert_rows, listed, load_rows, update_rows

# How many numbers a claim looks at, at most, for a campaign: those that are held go to the end of the line, and the next claim goes on.
MAX_LOOK: Final = 500
# A telephone that is in a call is looked at again so much later.
TELEPHONE_S: Final = 5.0
_CLAIMED: Final = (
    "call_id", "campaign_id", "number_id", "dial", "epoch", "node", "phone_number", "caller_number", "trunk", "destination",
    "agent", "started_at", "cause", "tech_cause",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """A number whose attempt is committed: the call may be sent, once. customer: what is known of its person."""

    campaign: SavedCampaign
    number: SavedNumber
    order: OriginateOrder
    call: PlacedCall
    customer: Customer | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim did. drained: campaigns that have nothing due right now."""

    claims: tuple[Claim, ...]
    drained: frozenset[int]
    refused: int = 0
    held: int = 0


# (campaign, number, numbers of its lists) -> an order, why not now, or CallRefused: never.
Plan = Callable[[SavedCampaign, SavedNumber], OriginateOrder | Held]


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
    open_calls, busy = count_open(db), load_busy(db, make_key, now)
    trunk_calls = count_open_by_trunk(db) if trunk_limits else {}
    taken: list[Claim] = []
    drained: set[int] = set()
    refused = held = 0
    at = datetime.fromtimestamp(now, UTC)
    for campaign_id, amount in wanted.items():
        saved = running.get(campaign_id)
        if saved is None:
            continue
        room = min(amount, saved.campaign.concurrent_calls - open_calls.get(campaign_id, 0), _count_agents(db, saved))
        trunk = trunk_of(saved)
        if trunk_limits and trunk in trunk_limits:
            room = min(room, trunk_limits[trunk] - trunk_calls.get(trunk, 0))
        looked, inactive = 0, load_inactive_lists(db, campaign_id)
        while room > 0 and looked < MAX_LOOK:
            candidates = _load_due(db, campaign_id, now, room)
            if not candidates:
                drained.add(campaign_id)
                break
            looked += len(candidates)
            sorted_out = _sort_out(db, saved, candidates, plan, make_key, now, inactive, busy)
            for number, order in sorted_out.orders:
                taken.append(Claim(saved, number, order, start_call(order, new_call_id(), at)))
            room -= len(sorted_out.orders)
            trunk_calls[trunk] = trunk_calls.get(trunk, 0) + len(sorted_out.orders)
            refused += len(sorted_out.refused) + len(sorted_out.reached)
            held += len(sorted_out.held)
            _take(db, list(taken[len(taken) - len(sorted_out.orders) :]), now, node)
            _refuse(db, campaign_id, sorted_out.refused, now)
            _hold(db, sorted_out.held)
            finish_numbers(db, sorted_out.reached, now)
    customers = load_customers(db, {claim.number.person for claim in taken} - {""})
    known = [replace(claim, customer=customers.get(claim.number.person)) for claim in taken] if customers else taken
    return Claimed(tuple(known), frozenset(drained), refused, held)


def _count_agents(db: peewee.Database, saved: SavedCampaign) -> int:
    """How many calls a single phone can still take that is paced by whether it is free: whichever campaign or node has called for it."""
    destination = saved.campaign.destination
    if saved.campaign.dial_mode != "progressive" or not isinstance(destination, EndpointDestination):
        return saved.campaign.concurrent_calls
    source = "(SELECT count(*) AS amount FROM attempts WHERE ended_at IS NULL AND destination = ?) AS open"
    return max(0, 1 - int(load_rows(db, ("amount",), source, [describe_destination(destination)])[0]["amount"]))


class ClaimRefused(Exception):
    """A number cannot be claimed by hand: the campaign's state, a list or a rule keeps it."""


def claim_by_hand(
    db: peewee.Database,
    campaign_id: int,
    wanted: int | NewNumber | None,
    plan: Plan,
    make_key: Callable[[str], str],
    now: float,
    node: str,
    trunk_limits: Mapping[str, int] | None = None,
) -> Claim:
    """Claims one number because somebody asks for it, or the next that is due; all that holds for others holds for it, but its own time.

    Nobody dials one that may still ring. wanted: a number's id; or one that somebody typed: the campaign's own, else it is added here, so that none stays that was not dialled.
    trunk_limits: as for `claim_numbers`.
    ClaimRefused, NumberMissing (also for one of another campaign), NumberInFlight; CallRefused where it is never dialled.
    """
    running = {saved.campaign_id: saved for saved in load_campaigns(db, "running")}
    saved = running.get(campaign_id)
    if saved is None:
        raise ClaimRefused("the campaign is not running")
    if count_open(db).get(campaign_id, 0) >= saved.campaign.concurrent_calls:
        raise ClaimRefused(f"the campaign has its {saved.campaign.concurrent_calls} calls")
    trunk = trunk_of(saved)
    if trunk_limits and trunk in trunk_limits and count_open_by_trunk(db).get(trunk, 0) >= trunk_limits[trunk]:
        raise ClaimRefused(f"trunk {trunk} has its {trunk_limits[trunk]} calls")
    inactive, busy, looked = load_inactive_lists(db, campaign_id), load_busy(db, make_key, now), 0
    while True:
        number = _load_wanted(db, campaign_id, wanted, now)
        if wanted is None:
            looked += 1
        sorted_out = _sort_out(db, saved, [number], plan, make_key, now, inactive, busy)
        if sorted_out.orders:
            break
        if wanted is not None or looked >= MAX_LOOK:
            raise ClaimRefused(_tell_kept(sorted_out, number))
        _refuse(db, campaign_id, sorted_out.refused, now)
        _hold(db, sorted_out.held)
        finish_numbers(db, sorted_out.reached, now)
    claim = Claim(
        saved,
        number,
        sorted_out.orders[0][1],
        start_call(sorted_out.orders[0][1], new_call_id(), datetime.fromtimestamp(now, UTC)),
    )
    _take(db, [claim], now, node)
    return claim


def _load_wanted(db: peewee.Database, campaign_id: int, wanted: int | NewNumber | None, now: float) -> SavedNumber:
    if wanted is None:
        due = _load_due(db, campaign_id, now, 1)
        if not due:
            raise ClaimRefused("no number of the campaign is due")
        return due[0]
    if isinstance(wanted, NewNumber):
        known = find_number(db, campaign_id, wanted.phone_number)
        wanted = known if known is not None else add_numbers(db, campaign_id, [wanted], now).number_ids[0]
    number = load_number(db, wanted)
    if number.campaign_id != campaign_id:
        raise NumberMissing(wanted)
    if number.call_id or number.status is NumberStatus.CALLING:
        raise NumberInFlight("calling")
    if number.hold == "doubt" and number.due_at is not None and number.due_at > now:
        wait_s = math.ceil(number.due_at - now)
        raise ClaimRefused(
            f"number {wanted} may still ring: what became of its last call is not known (again in {wait_s} s)"
        )
    return number


def _tell_kept(sorted_out: "_SortedOut", number: SavedNumber) -> str:
    if sorted_out.refused:
        return f"number {number.number_id} cannot be dialled: {sorted_out.refused[0][1]}"
    if sorted_out.reached:
        return f"number {number.number_id} is not dialled: its person was reached at another telephone"
    words = {
        "window": "its call window is closed", "list": "its list is not active", "person": "another telephone of its person is called",
        "telephone": "its telephone is in another call of a campaign, or may still ring",
    }  # fmt: skip
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
    # Whose persons were reached at another telephone.
    reached: tuple[SavedNumber, ...] = ()


def _sort_out(
    db: peewee.Database,
    saved: SavedCampaign,
    candidates: Sequence[SavedNumber],
    plan: Plan,
    make_key: Callable[[str], str],
    now: float,
    inactive: Collection[int],
    busy: set[str],
) -> _SortedOut:
    """busy: the telephones that are called, as DNC lists have them; those of the orders come on top."""
    keys = {number.number_id: make_key(number.phone_number) for number in candidates}
    blocked = load_blocked(db, ("global", *saved.campaign.dnc_lists), keys.values())
    people = load_people(db, saved, {number.person for number in candidates}, now)
    orders, refused, held, reached = [], [], [], []
    for number in candidates:
        if number.person in people.reached:
            reached.append(number)
            continue
        if (list_name := blocked.get(keys[number.number_id])) is not None:
            refused.append((number, f"dnc {list_name}"))
            continue
        if number.list_id in inactive:
            # Until it is active again, which releases it.
            held.append((number, Held(now + NEVER_S, "list")))
            continue
        if number.person in people.called:
            # Until that call is over, which releases it.
            held.append((number, Held(now + PERSON_S, "person")))
            continue
        if keys[number.number_id] in busy:
            # Twice on a list, or on two: whoever talks, or is rung, must not find us busy.
            held.append((number, Held(now + TELEPHONE_S, "telephone")))
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
                busy.add(keys[number.number_id])
                if number.person:
                    people.called.add(number.person)
    return _SortedOut(tuple(orders), tuple(refused), tuple(held), tuple(reached))


def load_busy(db: peewee.Database, make_key: Callable[[str], str], now: float) -> set[str]:
    """The telephones that any campaign calls, or talks with, now; and those that may still ring, since nobody knows what became of their last call.

    That holds however often the telephone is listed, and for one that was deleted and is there anew.
    """
    busy = load_rows(db, ("phone_number",), "attempts WHERE ended_at IS NULL")
    # None from the future: the clock was set back.
    source = (
        "attempts WHERE disposition = 'unconfirmed' AND ended_at IS NOT NULL AND started_at > ? AND started_at <= ?"
    )
    oldest = now - MAX_DIAL_TIMEOUT_S - DOUBT_S
    doubtful = load_rows(db, ("phone_number", "campaign_id", "started_at"), source, [oldest, now])
    if doubtful:
        ids = {row["campaign_id"] for row in doubtful if row["campaign_id"] is not None}
        campaigns = {saved.campaign_id: saved.campaign for saved in load_campaigns(db, campaign_ids=ids)}
        for row in doubtful:
            campaign = campaigns.get(row["campaign_id"])
            if campaign is None or end_doubt(campaign, row["started_at"]) > now:
                busy.append(row)
    return {make_key(row["phone_number"]) for row in busy}


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
                "trunk": trunk_of(claim.campaign),
                # Whom the number is connected with, whoever is called first.
                "destination": claim.order.origin
                if claim.order.context == CONTEXT_AGENT_FIRST
                else claim.order.destination,
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
        move_count(counts, claim.campaign.campaign_id, claim.number.status.value, "calling")
        add_count(counts, claim.campaign.campaign_id, "total_calls", 1)
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
