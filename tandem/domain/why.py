"""Every rule that keeps a number from being dialled now, in words, and when it may be: what a claim and the dialer ask, told to people; pure, and never decides anything itself.

It asks the same functions as the claim (`plan_number`, `after_attempt`'s results in the row), so that the two cannot differ.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final, Literal

from tandem.domain.attempts import find_retries
from tandem.domain.breaker import CLOSED as BREAKER_CLOSED
from tandem.domain.breaker import Breaker
from tandem.domain.campaign_calls import Held, plan_campaign_call, plan_number
from tandem.domain.campaigns import CLOSED, REACHED, NumberStatus, SavedCampaign, SavedNumber
from tandem.domain.disposition import Disposition
from tandem.domain.originate import CallRefused
from tandem.domain.schedules import load_zone
from tandem.domain.snapshot import Snapshot
from tandem.domain.windows import find_zones, opens_at, zone_of_offset

Rule = Literal[
    "finished", "refused", "in-call", "campaign", "list", "dnc", "due", "window", "limit", "asterisk", "pressure", "trunk", "agents",
    "problem", "manual",
]  # fmt: skip

_DISPOSITIONS: Final = frozenset(Disposition)
_HOLDS: Final = {
    "retry": "it waits for its next attempt",
    "not-before": "it is not to be called before",
    "window": "its call window is closed",
    "trunk": "it waits for its trunk",
    "doubt": "what became of its last call is not known, and it may still ring",
    "list": "its list is not active",
    "person": "another telephone of its person is called",
    "telephone": "its telephone is in another call of a campaign, or may still ring",
}
# Why nobody is called any more whom no agent had to reach.
_DONE: Final = {
    REACHED: "its person was reached at another telephone",
    CLOSED: "it was closed: what it was called for is done",
    Disposition.MACHINE.value: "an answering machine has the message",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What the dialer says of a campaign now.

    calls, max_calls: of all campaigns; trunk_limit: 0 for none of its own; is_locked: the toll guard has locked the trunk; agents_free: None where none are needed or nothing is known;
    wanted: how many more calls its dial mode would place; speed: 0 to 1, what the PBX allows.
    """

    is_ready: bool = True
    calls: int = 0
    max_calls: int = 1000
    trunk: str = ""
    trunk_calls: int = 0
    trunk_limit: int = 0
    breaker: Breaker = BREAKER_CLOSED
    is_locked: bool = False
    campaign_calls: int = 0
    agents_free: int | None = None
    wanted: int = 1
    speed: float = 1.0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule. until: when it ends by itself (seconds since 1970), None where nobody can say."""

    rule: Rule
    message: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A time by the clock on the called party's wall."""

    time_zone: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Why:
    """reasons: empty when a claim would take it now. callable_at: when all of them will have ended, None where nobody can say."""

    reasons: tuple[Reason, ...]
    callable_at: datetime | None
    callable_at_local: tuple[LocalTime, ...]
    local_times: tuple[LocalTime, ...]


def explain_number(
    snapshot: Snapshot,
    saved: SavedCampaign,
    number: SavedNumber,
    blocked_by: str | None,
    conditions: Conditions,
    now: float,
    *,
    is_list_active: bool = True,
    is_busy: bool = False,
) -> Why:
    """Why a number is not dialled now. blocked_by: the list of numbers not to be called that it is on; is_list_active: the one that feeds it; is_busy: its telephone is in a call of a campaign."""
    reasons = tuple(
        reason
        for reason in (
            _explain_status(saved, number),
            *_explain_state(saved),
            None if is_list_active else Reason("list", f"its list {number.list_id} is not active"),
            _explain_dnc(blocked_by),
            Reason("in-call", _HOLDS["telephone"]) if is_busy and not number.call_id else None,
            *_explain_order(snapshot, saved, number, now),
            *explain_campaign(saved, conditions)[len(_explain_state(saved)) :],
        )
        if reason is not None
    )
    at = _find_time(snapshot, saved, number, reasons, now)
    zones = _clocks_of(snapshot, saved, number)
    when = datetime.fromtimestamp(at, UTC) if at is not None else None
    return Why(reasons, when, _tell_local(when, zones), _tell_local(datetime.fromtimestamp(now, UTC), zones))


def explain_campaign(saved: SavedCampaign, conditions: Conditions) -> tuple[Reason, ...]:
    """What keeps every number of a campaign from being dialled now."""
    return (*_explain_state(saved), *_explain_limits(saved, conditions), *_explain_pbx(conditions))


def _explain_state(saved: SavedCampaign) -> tuple[Reason, ...]:
    return () if saved.state == "running" else (Reason("campaign", f"the campaign is {saved.state}"),)


def _explain_status(saved: SavedCampaign, number: SavedNumber) -> Reason | None:
    if number.call_id:
        return Reason("in-call", "its call is under way")
    match number.status:
        case NumberStatus.PENDING:
            return None
        case NumberStatus.COMPLETED | NumberStatus.ANSWERED:
            return Reason("finished", _DONE.get(number.disposition, "it was reached"))
        case NumberStatus.CALLING:
            return Reason("in-call", "its call is under way")
    if number.disposition not in _DISPOSITIONS:
        return Reason("refused", f"when its turn came it was refused: {number.disposition}; a reset has it tried again")
    times, _ = find_retries(saved.campaign, Disposition(number.disposition))
    return Reason("finished", f"attempt {number.attempts} was its last (retries: {times}): {number.disposition}")


def _explain_dnc(blocked_by: str | None) -> Reason | None:
    return (
        Reason("dnc", f"it is on the list {blocked_by} of numbers not to be called") if blocked_by is not None else None
    )


def _explain_order(snapshot: Snapshot, saved: SavedCampaign, number: SavedNumber, now: float) -> tuple[Reason, ...]:
    """Its own time, its window, and whether there is an order for it at all."""
    found = []
    # A list that is not active says so itself, and has no end of its own.
    if number.due_at is not None and number.due_at > now and number.hold != "list":
        rule: Rule = "window" if number.hold == "window" else "due"
        found.append(Reason(rule, _HOLDS.get(number.hold, "its time has not come"), number.due_at))
    try:
        planned = plan_number(snapshot, saved, number, now)
        if isinstance(planned, Held):
            if not any(reason.rule == "window" for reason in found):
                found.append(Reason("window", _HOLDS["window"], planned.until))
            # A window hides what would be refused when it opens.
            plan_campaign_call(snapshot, saved, number)
    except CallRefused as refusal:
        found.append(Reason("refused", str(refusal)))
    return tuple(found)


def _explain_limits(saved: SavedCampaign, conditions: Conditions) -> tuple[Reason, ...]:
    found = []
    if conditions.campaign_calls >= saved.campaign.concurrent_calls:
        found.append(Reason("limit", f"the campaign has its {saved.campaign.concurrent_calls} calls"))
    if conditions.calls >= conditions.max_calls:
        found.append(Reason("limit", f"all campaigns together have their {conditions.max_calls} calls"))
    if conditions.trunk_limit and conditions.trunk_calls >= conditions.trunk_limit:
        found.append(Reason("limit", f"trunk {conditions.trunk} has its {conditions.trunk_limit} calls"))
    if saved.campaign.dial_mode == "manual":
        found.append(Reason("manual", "the campaign dials only what an agent asks for"))
    elif conditions.wanted <= 0 and saved.campaign.dial_mode not in ("fixed", "inbound") and not found:
        free = "unknown" if conditions.agents_free is None else str(conditions.agents_free)
        found.append(Reason("agents", f"no agent is free for it (free: {free}; mode: {saved.campaign.dial_mode})"))
    return tuple(found)


def _explain_pbx(conditions: Conditions) -> tuple[Reason, ...]:
    found = []
    breaker = conditions.breaker
    if breaker.state == "open":
        found.append(Reason("trunk", f"trunk {conditions.trunk} shows no sign of life", breaker.retry_at))
    elif breaker.state == "probing":
        found.append(Reason("trunk", f"a single call tries whether trunk {conditions.trunk} is back"))
    if conditions.is_locked:
        found.append(
            Reason("trunk", f"the toll guard has locked trunk {conditions.trunk}, or the PBX: see `tandem guard list`")
        )
    if conditions.speed <= 0:
        found.append(Reason("pressure", "the PBX is too busy"))
    if not conditions.is_ready:
        found.append(
            Reason("asterisk", "there is no connection to Asterisk, or it is booting, or the dialer is turned off")
        )
    if conditions.problem is not None:
        found.append(Reason("problem", conditions.problem))
    return tuple(found)


# ------------------------------------------------------------------------------------------------------------ times


def _find_time(
    snapshot: Snapshot, saved: SavedCampaign, number: SavedNumber, reasons: tuple[Reason, ...], now: float
) -> float | None:
    """When all reasons have ended: a window that is open by then counts, and so does one that is shut again."""
    untils = [reason.until for reason in reasons]
    if any(until is None for until in untils):
        return None
    at = max((now, *(until for until in untils if until is not None)))
    window, general = saved.campaign.call_window, snapshot.general
    if window is None:
        return at
    when = datetime.fromtimestamp(at, UTC)
    opening = opens_at(window, number.phone_number, general.country, general.time_zone, when, number.utc_offset_min)
    return opening.timestamp() if opening is not None else None


def _clocks_of(snapshot: Snapshot, saved: SavedCampaign, number: SavedNumber) -> tuple[tuple[str, tzinfo], ...]:
    """(name, clock) of everywhere that a number may ring."""
    if number.utc_offset_min is not None:
        clock = zone_of_offset(number.utc_offset_min)
        return ((str(clock), clock),)
    window = saved.campaign.call_window
    given = window.time_zone if window is not None else None
    zones = find_zones(number.phone_number, snapshot.general.country) or (given or snapshot.general.time_zone,)
    return tuple((zone, load_zone(zone)) for zone in zones)


def _tell_local(at: datetime | None, clocks: tuple[tuple[str, tzinfo], ...]) -> tuple[LocalTime, ...]:
    return tuple(LocalTime(name, at.astimezone(clock)) for name, clock in clocks) if at is not None else ()
