"""Callers of a queue who are called back: whom, when, at which place, and what a try makes of it; pure, and never calls anybody twice in doubt.

An agent is rung first, by a channel that stands in the queue for the caller; whoever answers is then connected with the caller. So
app_queue decides whose turn it is, with the caller's own priority and place, and no caller is called for whom nobody has time.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from tandem.domain.destinations import Destination, EndpointDestination, ExternalDestination, QueueDestination
from tandem.domain.dialling import OUTSIDE, plan_of, write_e164
from tandem.domain.dialplan import (
    CONTEXT_CALLED_LANGUAGE,
    GLOBAL_LANGUAGE,
    QUEUE_PRIORITY,
    VARIABLE_CALLBACK,
    VARIABLE_DIAL_OPTIONS,
    VARIABLE_QUEUE_PLACE,
    VARIABLE_QUEUE_WAIT,
    VARIABLE_RECORDING,
    VARIABLE_RING,
)
from tandem.domain.entities import Queue, QueueCallback
from tandem.domain.numbers import normalise_number
from tandem.domain.originate import CallRefused, CallRequest, OriginateOrder, plan_call
from tandem.domain.outbound import CONFIGURED, OutboundCall, route_outbound
from tandem.domain.routing import QueueFacts, enter_queue
from tandem.domain.schedules import is_open
from tandem.domain.snapshot import Snapshot

# Whoever asked for it hangs up first.
FIRST_AFTER_S: Final = 3.0
# A queue that gave the stand-in back (nobody there, full, time is up) takes it again so much later.
NOT_SERVED_S: Final = 30.0
# What agents see beside the number.
CALLER_NAME: Final = "Callback"
# What AstDB says of a callback while nobody knows more: an agent has answered.
DOUBT: Final = "agent"
# The outcome of one whose caller did not wait for it.
CAME_BACK: Final = "the caller has called again"

# What is none of ours (`fields.Language`) was set by an admin's own dialplan, and is not dialled with.
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?")

CallbackState = Literal["waiting", "calling", "done", "failed", "expired", "cancelled"]


class CallbackRefused(ValueError):
    """Nobody can be called back there: `rule` says why. is_final: no other number could be, either."""

    def __init__(self, rule: str, *, is_final: bool = False) -> None:
        super().__init__(rule)
        self.rule, self.is_final = rule, is_final


class CallbackMissing(LookupError):
    """There is no such callback."""


class CallbackBusy(Exception):
    """It cannot be cancelled: it is over, or an agent has answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackWish:
    """What a caller wants. joined_at: when they joined the queue, in seconds since 1970; shown: the number that they had called; asked_in: their channel.

    language: of what they heard while they waited, as `fields.Language`; '' is not known.
    """

    queue: str
    number: str
    joined_at: float
    priority: int = 0
    shown: str = ""
    asked_in: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """One caller who is to be called back, or was. Times are seconds since 1970.

    tries: how often the caller was called. next_at: not before. call_id: of the last call. outcome: Asterisk's DIALSTATUS of the last try
    (ANSWER, NOANSWER, BUSY …), or in words why there is none. language: what is played to the caller; '' is the PBX's own.
    """

    callback_id: str
    queue: str
    number: str
    joined_at: float
    priority: int
    shown: str
    asked_in: str
    requested_at: float
    expires_at: float
    next_at: float
    state: CallbackState = "waiting"
    tries: int = 0
    call_id: str = ""
    outcome: str = ""
    ended_at: float | None = None
    language: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the caller may still be called."""
        return self.state in ("waiting", "calling")


class Waiting(NamedTuple):
    """Somebody in a queue, since a time, with a priority."""

    joined_at: float
    priority: int


def start_callback(snapshot: Snapshot, wish: CallbackWish, callback_id: str, now: float) -> Callback:
    """A callback that the queue promises; CallbackRefused where its number cannot be called."""
    queue = snapshot.queues.get(wish.queue)
    if queue is None or queue.callback is None:
        raise CallbackRefused(f"queue {wish.queue} calls nobody back", is_final=True)
    callback = Callback(
        callback_id=callback_id,
        queue=wish.queue,
        number=wish.number,
        # A clock that jumped must not put anybody before all others.
        joined_at=min(wish.joined_at, now) if now - wish.joined_at <= queue.max_wait_s else now,
        priority=wish.priority,
        shown=wish.shown if OUTSIDE.fullmatch(wish.shown) else "",
        asked_in=wish.asked_in,
        language=wish.language if _LANGUAGE.fullmatch(wish.language) else "",
        requested_at=now,
        expires_at=now + queue.callback.max_age_s,
        next_at=now + FIRST_AFTER_S,
    )
    plan_callback(snapshot, callback, 1, now)
    return callback


def plan_callback(snapshot: Snapshot, callback: Callback, place: int, now: float) -> OriginateOrder:
    """The order for a try, at that place of the queue (1 is the head); CallbackRefused where it is no call any more."""
    queue = snapshot.queues.get(callback.queue)
    if queue is None or queue.callback is None:
        raise CallbackRefused(f"queue {callback.queue} calls nobody back")
    wait_s = max(5, round(callback.expires_at - now))
    try:
        order = plan_call(snapshot, _request(snapshot, queue.callback, callback))
    except CallRefused as refused:
        raise CallbackRefused(refused.rule) from None
    ours = [
        (VARIABLE_CALLBACK, "yes"),
        (VARIABLE_QUEUE_PLACE, str(place)),
        (VARIABLE_QUEUE_WAIT, str(wait_s)),
        (QUEUE_PRIORITY, str(callback.priority)),
        (VARIABLE_RING, str(queue.callback.ring_time_s)),
        *([(VARIABLE_RECORDING, "yes")] if queue.recording else []),
        *(_speak(callback.language) if callback.language else []),
    ]
    # The queue gives it back first.
    return replace(order, variables=(*order.variables, *ours), ring_timeout_s=wait_s + 10.0)


def _speak(language: str) -> list[tuple[str, str]]:
    """Both channels that play to the caller: the one in the queue, which an agent may hand on, and their own."""
    return [
        (GLOBAL_LANGUAGE, language),
        (VARIABLE_DIAL_OPTIONS, f"b({CONTEXT_CALLED_LANGUAGE}^s^1({language}))"),
    ]


def find_ways(snapshot: Snapshot, number: str, now: float) -> OutboundCall | None:
    """By which trunks the caller will be dialled at that time, as the script of calls outside has it; None for a phone inside."""
    if number in snapshot.endpoints:
        return None
    return route_outbound(snapshot, CONFIGURED, number, datetime.fromtimestamp(now, UTC))


def is_number_of(snapshot: Snapshot, callback: Callback, caller: str, trunk: str) -> bool:
    """Whether a caller, as `trunk` ('' for none) sent them, has the number that is to be called back, however either is written."""
    if not OUTSIDE.fullmatch(caller):
        return False
    plan = plan_of(snapshot.general.country)
    wanted, shown = (write_e164(number, plan) or number for number in (callback.number, caller))
    sent = normalise_number(caller, snapshot.plans.get(trunk))
    return wanted.removeprefix("+") in (shown.removeprefix("+"), sent)


def _request(snapshot: Snapshot, setting: QueueCallback, callback: Callback) -> CallRequest:
    number = callback.number
    # Of what has a number inside only phones: a menu would answer at once.
    inside = number in snapshot.endpoints
    destination: Destination = EndpointDestination(endpoint=number) if inside else ExternalDestination(external=number)
    return CallRequest(
        origin=QueueDestination(queue=callback.queue),
        destination=destination,
        caller_name=CALLER_NAME,
        presented_number=callback.shown,
        permissions=(setting.permission,),
    )


def find_place(waiting: Iterable[Waiting], callback: Callback) -> int:
    """Where in the queue a caller stands, 1 for the head: behind those of a higher priority, and those of their own who came earlier."""
    return 1 + sum(
        one.priority > callback.priority or (one.priority == callback.priority and one.joined_at < callback.joined_at)
        for one in waiting
    )


def is_time(snapshot: Snapshot, queue: Queue, facts: QueueFacts | None, now: float) -> bool:
    """Whether a queue takes who stands in for a caller, and its callbacks are open; unknown facts fail closed: nobody waits at a telephone.

    Where callers wait for agents who are not there yet, so does the stand-in: it would lose its place to them.
    """
    at = datetime.fromtimestamp(now, UTC)
    if facts is None or enter_queue(snapshot, queue.name, facts, at) is not None:
        return False
    if facts.members_logged_in <= 0 and queue.leave_when_empty:
        return False
    setting = queue.callback
    hours = snapshot.hours.get(setting.schedule) if setting is not None and setting.schedule is not None else None
    return hours is None or is_open(hours, at)


def expire(callback: Callback, now: float) -> Callback:
    """Nobody had time until now."""
    return replace(callback, state="expired", ended_at=now)


def refuse(callback: Callback, why: str, now: float) -> Callback:
    """It is no call any more."""
    return replace(callback, state="failed", outcome=why, ended_at=now)


def cancel(callback: Callback, now: float) -> Callback:
    """Somebody does not want it any more."""
    return replace(callback, state="cancelled", ended_at=now)


def come_back(callback: Callback, now: float, *, is_talking: bool) -> Callback:
    """The caller has called again, so nobody calls them any more. is_talking: an agent is about to reach them, which takes its course."""
    if is_talking:
        return replace(callback, outcome=CAME_BACK)
    return replace(callback, state="done", outcome=CAME_BACK, ended_at=now)


def conclude(callback: Callback, setting: QueueCallback | None, outcome: str | None, now: float) -> Callback:
    """What a call that is over makes of it. outcome: DIALSTATUS of the caller, DOUBT, or None where no agent has answered.

    A caller who may have been called, while nobody knows what came of it, is not called again.
    """
    if callback.outcome == CAME_BACK:
        return replace(callback, state="done", tries=callback.tries + (outcome is not None), ended_at=now)
    if outcome is None:
        return replace(callback, state="waiting", next_at=now + NOT_SERVED_S, outcome="no agent has answered")
    tried = replace(callback, tries=callback.tries + 1, outcome=outcome)
    if outcome == "ANSWER":
        return replace(tried, state="done", ended_at=now)
    if outcome == DOUBT:
        return replace(tried, state="failed", ended_at=now, outcome="nobody knows whether the caller was reached")
    if setting is None or tried.tries >= setting.tries:
        return replace(tried, state="failed", ended_at=now)
    return replace(tried, state="waiting", next_at=now + setting.retry_s)
