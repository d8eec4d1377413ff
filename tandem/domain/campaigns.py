"""The ONE definition of a campaign and of a number on its list, with their limits and messages; never knows where they are stored or who dials.

A campaign is not part of the PBX's revisions: it changes by the minute, and no apply waits for it. What it names (trunk, destination,
schedule) is looked up in the live snapshot when it is saved, started and dialled.
"""

import json
from dataclasses import field
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass
from pydantic_core import to_json

from tandem.domain.agent_statuses import MAX_CODES, AgentStatus, PauseCode, StatusCode, statuses_of
from tandem.domain.destinations import Destination
from tandem.domain.disposition import Disposition
from tandem.domain.entities import OpenHours
from tandem.domain.fields import Name, PhoneNumber, Text, TimeZone, VariableName, check_line, matches

_STRICT: Final = ConfigDict(extra="forbid")

CampaignState = Literal["stopped", "running", "paused"]
# manual: each call is asked for by an agent; inbound: it only takes calls, from its queue. Neither dials by itself.
DialMode = Literal["fixed", "progressive", "ratio", "predictive", "manual", "inbound"]
UNPACED: Final = frozenset({"manual", "inbound"})
# What becomes of an answered call for which nobody is free: it waits in the queue, or hears the message and is let go.
Unserved = Literal["wait", "message"]
# What becomes of a call that an answering machine has answered. connect: nobody listens for machines, and they are connected like people.
OnMachine = Literal["connect", "hang-up", "message"]


class NumberStatus(StrEnum):
    """Where a number is. answered: the call is up; completed: it was answered and is over."""

    PENDING = "pending"
    CALLING = "calling"
    ANSWERED = "answered"
    COMPLETED = "completed"
    FAILED = "failed"
    NO_ANSWER = "no_answer"
    BUSY = "busy"


# Of a number that is not done.
OPEN_STATUSES: Final = frozenset({NumberStatus.PENDING, NumberStatus.CALLING, NumberStatus.ANSWERED})
# When a number is done: once somebody answers; once they reach whom the call is for; or not before whoever waits for it says so (`close`).
Goal = Literal["answered", "connected", "closed"]

# Why a pending number is not dialled right now; '' when nothing keeps it. person: another telephone of the same person is called. closed: nor is it dialled again after the call that it is in.
Hold = Literal["", "retry", "not-before", "window", "trunk", "doubt", "list", "person", "telephone", "closed"]
# The disposition of a number whose purpose was fulfilled elsewhere.
CLOSED: Final = "closed"
# And of one whose person was reached at another of their telephones.
REACHED: Final = "reached-elsewhere"

MAX_DATA_BYTES: Final = 4096
MAX_DIAL_TIMEOUT_S: Final = 180
# The placeholder in a dial string of the admin's own, as Asterisk writes it.
NUMBER_PLACEHOLDER: Final = "${EXTEN}"


def _check_label(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must not hold control characters or line breaks")
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _check_prose(value: str) -> str:
    if not all(char.isprintable() or char in "\r\n\t" for char in value):
        raise ValueError("must not hold control characters")
    return value


def _check_person(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must not hold control characters, nor begin or end with a blank")
    return value


# What a client calls a person.
Person = Annotated[str, StringConstraints(max_length=64), AfterValidator(_check_person)]
CampaignName = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_check_label)]
Description = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_check_prose)]
# Through the dialplan only: a Local channel into a context that general.allowed_contexts names, or an endpoint's own technology.
UtcOffset = Annotated[int, Field(ge=-12 * 60, le=14 * 60)]
DialString = Annotated[
    str,
    matches(
        r"Local/\$\{EXTEN\}@[A-Za-z0-9_-]{1,79}(/n)?|PJSIP/\$\{EXTEN\}@[A-Za-z][A-Za-z0-9_-]{0,39}",
        "must be Local/${EXTEN}@context or PJSIP/${EXTEN}@trunk",
    ),
]
ListName = Name


def _check_data(value: Any) -> Any:
    """Anything that JSON has, in MAX_DATA_BYTES; half a surrogate pair is no text."""
    if value is None:
        return value
    try:
        text = to_json(value)
        if b"NaN" in text or b"Infinity" in text:  # as a word, or as what JSON does not have
            json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        raise ValueError("must be JSON") from None
    size = len(text)
    if size > MAX_DATA_BYTES:
        raise ValueError(f"must be at most {MAX_DATA_BYTES} bytes as JSON")
    return value


def _list_to_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class RetryRule:
    """For one disposition: how many further attempts, and how long after the end of the attempt."""

    times: Annotated[int, Field(ge=0, le=20)]
    delay_s: Annotated[int, Field(ge=1, le=30 * 86400)]


# An outcome that may be tried again; answered calls are over, and what never reached the trunk spends no attempt.
RetryDisposition = Literal[
    "busy", "no-answer", "invalid-number", "congestion", "rejected", "cancelled", "failed", "unconfirmed", "machine"
]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class CallWindow:
    """When people of this campaign may be called, by the clock on *their* wall.

    time_zone: for numbers whose place is unknown (no country, a mobile of several zones takes all of its zones: each must be open).
    """

    hours: Annotated[tuple[OpenHours, ...], BeforeValidator(_list_to_tuple), Field(min_length=1, max_length=50)]
    time_zone: TimeZone | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Campaign:
    """A list of numbers to call, how, and whom to connect with those who answer.

    trunk: calls go straight to PJSIP/number@trunk; dial_string: the admin's own way instead (then `trunk` is None). dial_prefix: before each number, whose own + is left out then. destination: an
    endpoint, queue, menu, announcement or place of the dialplan. concurrent_calls: calls at the same time, ringing or up. max_cps:
    calls per second, 0 for no limit of its own. retry_times: *further* attempts after the first; retry_delay_s: after the end of the
    attempt; retry_rules: other numbers for single outcomes. dial_timeout_s: how long it rings; call_timeout_s: how long an answered
    call may last, 0 for ever. unserved: what happens to an answered person when no agent is free. on_machine: Asterisk's AMD listens to whoever
    answers before they are connected, and a machine is hung up on, or hears machine_announcement after its own beep. priority: 1 to 10, the share of
    lines when there are not enough for all. abandon_cap: share of answered people who may be left without an agent.
    goal: when a number is done: `answered`, or `connected`: an answered call that reached nobody it was for counts as an attempt that
    failed; `closed`: every call does, until the number is closed. agent_first: the destination, an endpoint or a queue, is called first, and the number once they press 1.
    statuses: what agents may say of a call, besides what they may everywhere; recycle_rules: by what an agent said, whether and when
    a number that was reached is called again; pause_codes: reasons for a pause. These three may change while it is running.
    """

    name: CampaignName
    description: Description = ""
    trunk: Name | None = None
    dial_string: DialString | None = None
    caller_number: Annotated[
        str, matches(r"\+?[0-9]{0,24}", "must be up to 24 digits, with or without a leading +")
    ] = ""
    caller_name: Text = ""
    dial_prefix: Annotated[str, matches(r"[0-9*#]{0,10}", "must be up to 10 digits, * or #")] = ""
    destination: Destination
    recording: bool = False
    concurrent_calls: Annotated[int, Field(ge=1, le=1000)] = 1
    max_cps: Annotated[float, Field(ge=0, le=500, allow_inf_nan=False)] = 0.0
    dial_mode: DialMode = "fixed"
    lines_per_agent: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)] = 1.5
    abandon_cap: Annotated[float, Field(ge=0, le=0.1, allow_inf_nan=False)] = 0.03
    retry_times: Annotated[int, Field(ge=0, le=20)] = 0
    retry_delay_s: Annotated[int, Field(ge=1, le=30 * 86400)] = 300
    retry_rules: dict[RetryDisposition, RetryRule] = field(default_factory=dict)
    dial_timeout_s: Annotated[int, Field(ge=5, le=MAX_DIAL_TIMEOUT_S)] = 30
    call_timeout_s: Annotated[int, Field(ge=0, le=86400)] = 3600
    call_window: CallWindow | None = None
    dnc_lists: Annotated[tuple[ListName, ...], BeforeValidator(_list_to_tuple), Field(max_length=20)] = ()
    unserved: Unserved = "wait"
    unserved_announcement: Name | None = None
    on_machine: OnMachine = "connect"
    machine_announcement: Name | None = None
    priority: Annotated[int, Field(ge=1, le=10)] = 5
    goal: Goal = "answered"
    agent_first: bool = False
    statuses: Annotated[dict[StatusCode, AgentStatus], Field(max_length=MAX_CODES)] = field(default_factory=dict)
    recycle_rules: Annotated[dict[StatusCode, RetryRule], Field(max_length=MAX_CODES)] = field(default_factory=dict)
    pause_codes: Annotated[dict[StatusCode, PauseCode], Field(max_length=MAX_CODES)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class NewNumber:
    """A number to call, and what is known of it. variables: set on the channel; not_before: seconds since 1970; list_id: of which list of the campaign's.

    person: whose it is: of the numbers of one person one is called at a time, and none once they were reached ('': nobody said).
    utc_offset_min: minutes east of UTC, by which its call window counts; None: by its country and area.
    """

    phone_number: PhoneNumber
    data: Annotated[Any, AfterValidator(_check_data)] = None
    variables: dict[VariableName, Annotated[str, AfterValidator(check_line)]] = field(default_factory=dict)
    not_before: Annotated[float, Field(ge=0, le=253402300799, allow_inf_nan=False)] | None = None
    list_id: Annotated[int, Field(ge=1, le=2**62)] | None = None
    person: Person = ""
    utc_offset_min: UtcOffset | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCampaign:
    """A campaign as it is stored.

    epoch: counts resets, so that a call from before one does not undo it. permissions: how far whoever started it may call. version:
    counts changes. Times are seconds since 1970.
    """

    campaign_id: int
    campaign: Campaign
    state: CampaignState
    epoch: int
    permissions: tuple[str, ...]
    author: str
    created_at: float
    updated_at: float | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedNumber:
    """A number on a list.

    attempts: since the last reset; dials: ever. due_at: not dialled before, None for now; hold: why. call_id: the attempt that is under way, '' for none. disposition: of the last attempt. list_id: null for none; agent_status: what an agent said of the last call. Times are seconds since 1970.
    """

    number_id: int
    campaign_id: int
    phone_number: str
    status: NumberStatus
    attempts: int
    dials: int
    due_at: float | None
    hold: Hold
    call_id: str
    disposition: str
    last_attempt_at: float | None
    data: Any
    variables: dict[str, str]
    created_at: float
    updated_at: float | None
    list_id: int | None = None
    agent_status: str = ""
    person: str = ""
    utc_offset_min: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignCounts:
    """How many numbers are where, and how many attempts there were; `connected` of the answered ones reached whom they were meant to, `machine` of them an answering machine."""

    pending: int = 0
    calling: int = 0
    answered: int = 0
    completed: int = 0
    failed: int = 0
    no_answer: int = 0
    busy: int = 0
    total_calls: int = 0
    answered_calls: int = 0
    connected_calls: int = 0
    abandoned_calls: int = 0
    machine_calls: int = 0

    @property
    def total(self) -> int:
        """All numbers of the campaign."""
        return self.pending + self.calling + self.answered + self.completed + self.failed + self.no_answer + self.busy


@dataclass(frozen=True, slots=True)
class CampaignView:
    """How a running campaign is doing. is_drained: nothing of it is due now. problem: what it needs and the live PBX has not."""

    campaign_id: int
    calls: int
    ringing: int
    waiting: int
    connected: int
    is_drained: bool
    problem: str = ""


STATUS_BY_DISPOSITION: Final[dict[Disposition, NumberStatus]] = {
    Disposition.ANSWERED: NumberStatus.COMPLETED,
    Disposition.BUSY: NumberStatus.BUSY,
    Disposition.NO_ANSWER: NumberStatus.NO_ANSWER,
    Disposition.MACHINE: NumberStatus.NO_ANSWER,
}


# What may be changed while a campaign is running: no call that is under way is planned by it.
CHANGEABLE_RUNNING: Final = frozenset({"statuses", "recycle_rules", "pause_codes", "description"})


def needs_stop(before: Campaign, after: Campaign) -> bool:
    """Whether a campaign must not be running for this change."""
    return any(
        getattr(before, name) != getattr(after, name)
        for name in Campaign.__dataclass_fields__
        if name not in CHANGEABLE_RUNNING
    )


def _check_agent_first(campaign: Campaign, *, is_agent: bool) -> list[tuple[str, str]]:
    problems = []
    if not is_agent:
        problems.append(("agent_first", "goes with a destination that is an endpoint or a queue"))
    if campaign.trunk is None:
        problems.append(("agent_first", "goes with a trunk, over which the number is called then"))
    if campaign.on_machine != "connect":
        problems.append(
            ("on_machine", "must be connect with agent_first: the agent is on the line when somebody answers")
        )
    if campaign.dial_mode not in ("fixed", "progressive"):
        problems.append(
            ("agent_first", "goes with dial_mode fixed or progressive: nobody has to be found for whoever answers")
        )
    return problems


def check_campaign(campaign: Campaign) -> tuple[tuple[str, str], ...]:
    """What does not fit within the campaign itself: (field, rule)."""
    problems: list[tuple[str, str]] = []
    if campaign.dial_mode == "inbound":
        problems += [
            (name, "must not be given: a campaign that only takes calls places none")
            for name in ("trunk", "dial_string")
            if getattr(campaign, name) is not None
        ]
    elif (campaign.trunk is None) == (campaign.dial_string is None):
        problems.append(("trunk", "exactly one of trunk and dial_string must be given"))
    is_queue, is_endpoint = (hasattr(campaign.destination, name) for name in ("queue", "endpoint"))
    if not is_queue and not (
        campaign.dial_mode in ("fixed", "manual") or (is_endpoint and campaign.dial_mode == "progressive")
    ):
        rule = "only fixed and manual go with a destination that is no queue (progressive with an endpoint, too): there are no agents to count"
        problems.append(("dial_mode", rule))
    if campaign.agent_first:
        problems += _check_agent_first(campaign, is_agent=is_queue or is_endpoint)
    if campaign.unserved == "message" and campaign.unserved_announcement is None:
        problems.append(("unserved_announcement", "is missing: people who cannot be served are told so"))
    if campaign.on_machine == "message" and campaign.machine_announcement is None:
        problems.append(("machine_announcement", "is missing: it is what machines are left"))
    known = statuses_of(campaign.statuses)
    problems += [
        (f"recycle_rules.{code}", "is no status that agents may say: name it under statuses first")
        for code in campaign.recycle_rules
        if code not in known
    ]
    return tuple(problems)
