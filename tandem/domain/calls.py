"""A call that Tandem placed, as one value that is kept, told and never changed in place; no I/O."""

import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import computed_field

from tandem.domain.disposition import Disposition, Evidence, classify
from tandem.domain.originate import OriginateOrder

CallState = Literal["placed", "ringing", "answered", "ended"]
CallEventKind = Literal["placed", "ringing", "answered", "ended"]
_CALL_ID: Final = re.compile("[0-9a-f]{32}")


def new_call_id() -> str:
    """128 random bits: it becomes ChannelId, Uniqueid and linkedid, and nobody can name the call of another in a forged event."""
    return secrets.token_hex(16)


def is_call_id(text: str) -> bool:
    """Whether a text has the form of our call ids; a uniqueid that Asterisk made never has."""
    return _CALL_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedCall:
    """One originate and what became of it.

    cause: Q.850, tech_cause: SIP code, 0 where there is none. is_unsent: no byte of it reached Asterisk, so nobody was called.
    is_far_hangup: whoever was called first ended or refused it. is_machine: an answering machine answered it.
    project, external_id: what whoever asked for it calls it; one call for each external_id of a project.
    """

    call_id: str
    channel: str
    origin: str
    destination: str
    caller_number: str = ""
    caller_name: str = ""
    account: str = ""
    revision: int = 0
    is_trunk: bool = False
    placed_at: datetime
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    disposition: Disposition | None = None
    cause: int = 0
    tech_cause: int = 0
    is_unsent: bool = False
    is_far_hangup: bool = False
    project: str = ""
    external_id: str = ""
    is_machine: bool = False

    @computed_field  # type: ignore[prop-decorator]  # told with the fields, wherever a call is told
    @property
    def state(self) -> CallState:
        """Where it is on its way."""
        if self.ended_at is not None:
            return "ended"
        if self.answered_at is not None:
            return "answered"
        return "ringing" if self.ringing_at is not None else "placed"


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The end of a placed call, reported once."""

    call: PlacedCall
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One step of a placed call; `call` is the call after it."""

    kind: CallEventKind
    call: PlacedCall
    at: datetime


def start_call(order: OriginateOrder, call_id: str, at: datetime) -> PlacedCall:
    """The call of an order, before anything is sent."""
    return PlacedCall(
        call_id=call_id,
        channel=order.channel,
        origin=order.origin,
        destination=order.destination,
        caller_number=order.caller_number,
        caller_name=order.caller_name,
        account=order.account,
        revision=order.revision,
        is_trunk=order.is_trunk,
        placed_at=at,
        project=order.project,
        external_id=order.external_id,
    )


def advance_call(call: PlacedCall, evidence: Evidence, at: datetime) -> PlacedCall:
    """The call with what the evidence shows for the first time, and when; the same object where there is nothing new."""
    news = _read_news(call, evidence, at)
    return replace(call, **news) if news else call


def _read_news(call: PlacedCall, evidence: Evidence, at: datetime) -> dict[str, Any]:
    """The fields of the call that the evidence changes."""
    news: dict[str, Any] = {}
    if call.answered_at is None:
        if evidence.has_rung and call.ringing_at is None:
            news["ringing_at"] = at
        if evidence.is_answered or evidence.response == "answered":
            news["answered_at"] = at
    if evidence.is_machine and not call.is_machine:
        news["is_machine"] = True
    return news


def end_call(call: PlacedCall, evidence: Evidence, at: datetime) -> PlacedCall:
    """The call at its end, with the disposition that the evidence gives."""
    return replace(
        call,
        **_read_news(call, evidence, at),
        ended_at=at,
        disposition=classify(evidence),
        cause=evidence.cause,
        tech_cause=evidence.tech_cause,
        is_unsent=evidence.is_unsent,
        is_far_hangup=evidence.is_far_hangup,
    )
