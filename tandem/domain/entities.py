"""The ONE definition of every object of a PBX, with its limits and messages; never knows where an object is stored or sent.

The YAML document, the database rows, the HTTP bodies and the snapshot all validate with these classes. They are frozen, slotted
pydantic dataclasses: 100,000 of them take 17 MB. What a field may hold is in `tandem.domain.fields`, where calls can go in
`tandem.domain.destinations`; rules that need a second object are in `tandem.domain.references`.
"""

from dataclasses import field
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, StringConstraints
from pydantic.dataclasses import dataclass

from tandem.domain.destinations import Destination, DidDestination, HangupDestination, ScheduleDestination
from tandem.domain.fields import (
    STRICT,
    WEEKDAYS,
    AddressMatch,
    CallerIdCleanup,
    CallerPattern,
    CallerPriority,
    Codec,
    ContextName,
    Country,
    DidNumber,
    Email,
    Extension,
    FeatureCode,
    FullName,
    HolidayDate,
    HostPort,
    Keys,
    Language,
    Mailbox,
    Moment,
    Name,
    PhoneNumber,
    Pin,
    Pressed,
    Prompt,
    Recording,
    Secret,
    SipUser,
    SpeedKeys,
    Subdivision,
    Text,
    TimeOfDay,
    TimeZone,
    VariableName,
    Weekday,
)

# Every object can be had from here.
from tandem.domain.meetings import Conference as Conference  # noqa: PLC0414 - told on: all objects have one door
from tandem.domain.meetings import PageGroup as PageGroup  # noqa: PLC0414 - told on: all objects have one door
from tandem.domain.music import MusicClass as MusicClass  # noqa: PLC0414 - told on: all objects have one door
from tandem.domain.outbound_entities import DialPrefix, OutboundRoute, TollGuard
from tandem.domain.phones import Endpoint as Endpoint  # noqa: PLC0414 - told on: all objects have one door
from tandem.domain.phones import RingGroup as RingGroup  # noqa: PLC0414 - told on: all objects have one door
from tandem.domain.queues import OutsideMember as OutsideMember  # noqa: PLC0414 - told on: all objects have one door
from tandem.domain.queues import PenaltyChange as PenaltyChange  # noqa: PLC0414 - told on: all objects have one door
from tandem.domain.queues import PenaltyRule as PenaltyRule  # noqa: PLC0414 - told on: all objects have one door
from tandem.domain.queues import Queue as Queue  # noqa: PLC0414 - told on: all objects have one door
from tandem.domain.queues import QueueCallback as QueueCallback  # noqa: PLC0414 - told on: all objects have one door
from tandem.domain.queues import QueueMember as QueueMember  # noqa: PLC0414 - told on: all objects have one door


def _one_or_several(value: object) -> object:
    """Lets a document say `1` for `[1]`."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _refuse_question(value: Destination) -> Destination:
    if isinstance(value, DidDestination | ScheduleDestination):
        raise ValueError("must be where the call comes to an end, not a did or schedule on its way there")
    return value


def _spread_days(value: object) -> object:
    """Lets a document say `mon-fri`, `sat` or `mon, wed`; a range may pass Sunday."""
    if not isinstance(value, str):
        # Strict JSON takes a list for a tuple only where it sees it itself.
        return tuple(value) if isinstance(value, list) else value
    days: list[str] = []
    for part in value.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not dash or first not in WEEKDAYS or last not in WEEKDAYS:
            days.append(part)
            continue
        start, length = WEEKDAYS.index(first), (WEEKDAYS.index(last) - WEEKDAYS.index(first)) % 7
        days += [WEEKDAYS[(start + offset) % 7] for offset in range(length + 1)]
    return tuple(days)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Trunk:
    """A carrier: endpoint, AOR, auth, registration and identify in one."""

    name: Name
    description: Text = ""
    authentication: Literal["ip", "registration"] = "ip"
    # Where calls are sent to, in order.
    hosts: Annotated[tuple[HostPort, ...], Field(min_length=1)]
    # Where calls come from: addresses, networks or names, with a port if only that one counts. Without: the hosts.
    match: tuple[AddressMatch, ...] = ()
    username: Annotated[Text, StringConstraints(min_length=1)] | None = None
    secret: Secret | None = field(default=None, repr=False)
    from_user: SipUser | None = None
    from_domain: HostPort | None = None
    # tcp and tls take the transport of that kind that Asterisk has; encryption sdes is SRTP.
    transport: Literal["udp", "tcp", "tls"] = "udp"
    media_encryption: Literal["no", "sdes"] = "no"
    # Everything that is sent goes by way of it.
    outbound_proxy: HostPort | None = None
    # How often each host is asked whether it lives; 0 never, without it as all of them.
    qualify_s: Annotated[int, Field(ge=0, le=3600)] | None = None
    codecs: Annotated[tuple[Codec, ...], Field(min_length=1)] = ("alaw", "ulaw")
    # How the carrier writes numbers: as-sent keeps them; national turns 030… and 0049… into 49…, by `country`.
    numbers: Literal["as-sent", "national"] = "as-sent"
    country: Country | None = None
    # How the carrier wants them: as dialled, 49301234 (e164), +49301234 (plus), or 030… and 0044… of its `country` (national); and
    # what stands before each.
    numbers_out: Literal["as-dialled", "e164", "plus", "national"] = "as-dialled"
    prefix_out: DialPrefix = ""
    # Which caller numbers it may show: passthrough any, allowed those of `caller_ids` and else the first of them, forced the first.
    caller_id_rule: Literal["passthrough", "allowed", "forced"] = "passthrough"
    caller_ids: Annotated[tuple[PhoneNumber, ...], Field(max_length=1000)] = ()
    # How many calls outside it may have at once, and how many may be placed in a second; 0 means no limit of its own.
    max_calls: Annotated[int, Field(ge=0, le=10_000)] = 0
    max_cps: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.0
    toll_guard: TollGuard | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CallerRoute:
    """Where a DID's calls from some callers go."""

    callers: Annotated[tuple[CallerPattern, ...], Field(min_length=1, max_length=1000)]
    destination: Destination


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Did:
    """A number that a carrier delivers to us, and where it goes."""

    number: DidNumber
    description: Text = ""
    destination: Destination
    active: bool = True
    language: Language | None = None
    recording: Recording = "no"
    # R10 keeps the right-most ten digits of the caller's number, L1 takes a leading 1 off; R is done first.
    caller_id_cleanup: CallerIdCleanup = ""
    blocked_callers: tuple[CallerPattern, ...] = ()
    # With any, nobody else comes through: others are rejected.
    allowed_callers: tuple[CallerPattern, ...] = ()
    # The first that has the caller decides, before `destination`.
    caller_routes: Annotated[tuple[CallerRoute, ...], Field(max_length=100)] = ()
    # Where callers go who show no number; without it as general.anonymous_callers says.
    anonymous: Destination | None = None
    priority: CallerPriority = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Menu:
    """What a caller hears and may press (IVR)."""

    name: Name
    description: Text = ""
    extension: Extension | None = None
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=20)]
    options: dict[Keys, Destination]
    barge_in: bool = True
    direct_dial: bool = False
    timeout_s: Annotated[float, Field(ge=1, le=60)] = 5.0
    inter_digit_timeout_s: Annotated[float, Field(ge=0.5, le=10)] = 2.0
    # How often the menu is heard again after a wrong key, or after silence, before the call goes to that destination.
    invalid_retries: Annotated[int, Field(ge=0, le=9)] = 2
    invalid_prompts: tuple[Prompt, ...] = ("pm-invalid-option",)
    invalid: Destination
    timeout_retries: Annotated[int, Field(ge=0, le=9)] = 2
    timeout_prompts: tuple[Prompt, ...] = ()
    timeout: Destination
    # Where calls go on the day FastAGI is gone.
    fallback: Destination


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class VoicemailBox:
    """Where messages are kept."""

    mailbox: Mailbox
    name: FullName = ""
    pin: Pin = field(repr=False)
    email: Email | None = None
    language: Language | None = None
    time_zone: TimeZone | None = None
    # Where a caller goes who presses 0.
    operator: Destination | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OpenHours:
    """Open on these days from `start` to `end` (exclusive), in the schedule's time zone; `end` before `start` is the next day."""

    days: Annotated[tuple[Weekday, ...], BeforeValidator(_spread_days), Field(min_length=1)]
    start: TimeOfDay
    end: TimeOfDay


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Schedule:
    """When we are open: weekly hours less holidays; on a holiday we are closed all day."""

    name: Name
    description: Text = ""
    time_zone: TimeZone | None = None
    hours: tuple[OpenHours, ...] = ()
    # 2026-12-24 once, 12-24 every year.
    holidays: tuple[HolidayDate, ...] = ()
    # Public holidays of a country (ISO 3166-1) and, if given, of one of its subdivisions (ISO 3166-2 without the country).
    holiday_country: Country | None = None
    holiday_subdivision: Subdivision | None = None
    # Dialled by phones: closed from now on whatever the clock says (night mode), and by the clock again. Empty turns the code off.
    night_code: FeatureCode = ""
    # Who may dial it; without any every phone that may dial inside.
    night_phones: Annotated[tuple[Extension, ...], Field(max_length=100)] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Announcement:
    """Something that callers hear, and where they go then."""

    name: Name
    description: Text = ""
    extension: Extension | None = None
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=20)]
    then: Destination = field(default_factory=HangupDestination)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Expectation:
    """A route test: a call that has to come to its destination, or no change is applied."""

    # As the carrier sends it; `trunk` for a carrier that writes numbers in its own way.
    did: PhoneNumber
    # The caller's number, `from` in a document; none for an anonymous caller.
    caller: Annotated[PhoneNumber | None, Field(validation_alias=AliasChoices("from", "caller"))] = None
    trunk: Name | None = None
    # Needed where opening hours decide.
    at: Moment | None = None
    # Schedules in night mode; the others go by the clock.
    night: Annotated[tuple[Name, ...], BeforeValidator(_one_or_several), Field(max_length=20)] = ()
    keys: Annotated[tuple[Pressed, ...], BeforeValidator(_one_or_several), Field(max_length=20)] = ()
    destination: Annotated[Destination, AfterValidator(_refuse_question)]

    @property
    def question(self) -> str:
        """What names a test: all but its destination. `+493012345 from +15550100 at 2026-12-24T10:30, keys 1, 2`."""
        said = [
            self.did,
            self.caller and f"from {self.caller}",
            self.trunk and f"over {self.trunk}",
            self.at and f"at {self.at}",
            f"in the night of {' and '.join(self.night)}" if self.night else "",
        ]
        keys = f", keys {', '.join(key or 'none' for key in self.keys)}" if self.keys else ""
        return " ".join(filter(None, said)) + keys


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class General:
    """What holds for the whole PBX."""

    country: Country | None = None
    language: Language = "en"
    time_zone: TimeZone = "UTC"
    # Dialled by the static dialplan alone; they pass no FastAGI and no limit.
    emergency_numbers: Annotated[tuple[PhoneNumber, ...], Field(max_length=20)] = ("112", "911")
    outbound_trunk: Name | None = None
    toll_guard: TollGuard = field(default_factory=TollGuard)
    emergency_trunk: Name | None = None
    # Dialled by endpoints to hear their messages.
    voicemail_number: PhoneNumber = "*97"
    # Dialled by agents: in or out of their queues (a queue's extension after it: of that queue alone), and pause or work again
    # (digits after it: the number of the reason). Empty turns a code off.
    agent_login_code: FeatureCode = "*45"
    agent_pause_code: FeatureCode = "*46"
    # Dialled by anybody: do not disturb on and off; a forward to the digits after the code, or off without any.
    do_not_disturb_code: FeatureCode = "*78"
    forward_always_code: FeatureCode = "*72"
    forward_busy_code: FeatureCode = "*90"
    forward_no_answer_code: FeatureCode = "*52"
    forward_unavailable_code: FeatureCode = "*92"
    # The keys of a speed dial after it; the number is dialled with the phone's own permissions.
    speed_dial_code: FeatureCode = "*0"
    # Takes a call that rings at a phone of one of the own pickup groups; and the call of the phone whose extension follows.
    pickup_code: FeatureCode = "*8"
    pickup_call_code: FeatureCode = "**"
    # Calls the phone whose extension follows, which answers by itself; and says back what it hears.
    intercom_code: FeatureCode = "*60"
    echo_code: FeatureCode = "*43"
    # Records the prompt tandem/prompt-NUMBER whose number follows, from these phones alone; with * behind the number in the phone's language
    # alone. Empty turns the code off.
    record_prompt_code: FeatureCode = ""
    record_prompt_phones: Annotated[tuple[Extension, ...], Field(max_length=100)] = ()
    # A call that is handed on to it is parked at the first of the numbers after it that is free; who dials that number has the call.
    # One that nobody fetches goes back to the phone that parked it.
    parking_extension: Extension | None = None
    parking_places: Annotated[int, Field(ge=1, le=99)] = 20
    parking_time_s: Annotated[int, Field(ge=5, le=3600)] = 60
    # The directory of everybody with a voicemail box: dialled by phones, chosen by name.
    directory_extension: Extension | None = None
    speed_dials: Annotated[dict[SpeedKeys, PhoneNumber], Field(max_length=1000)] = field(default_factory=dict)
    # The names of the reasons 1, 2, 3 …; one without a name is told by its digits.
    agent_pause_reasons: Annotated[tuple[Text, ...], Field(max_length=99)] = ()
    allowed_contexts: tuple[ContextName, ...] = ()
    # Channel variables that whoever places a call may set; the dialplan must treat them as a stranger's.
    allowed_variables: tuple[VariableName, ...] = ()
    blocked_callers: tuple[CallerPattern, ...] = ()
    # Whether calls without a number come in, where the DID does not say where they go.
    anonymous_callers: Literal["accept", "reject"] = "accept"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Pbx:
    """A whole PBX, as the document has it."""

    general: General = field(default_factory=General)
    trunks: tuple[Trunk, ...] = ()
    outbound_routes: tuple[OutboundRoute, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    voicemail_boxes: tuple[VoicemailBox, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    ring_groups: tuple[RingGroup, ...] = ()
    conferences: tuple[Conference, ...] = ()
    page_groups: tuple[PageGroup, ...] = ()
    menus: tuple[Menu, ...] = ()
    music_classes: tuple[MusicClass, ...] = ()
    penalty_rules: tuple[PenaltyRule, ...] = ()
    queues: tuple[Queue, ...] = ()
    dids: tuple[Did, ...] = ()
    expect: tuple[Expectation, ...] = ()


Entity = (
    Trunk
    | OutboundRoute
    | Endpoint
    | VoicemailBox
    | Schedule
    | Announcement
    | RingGroup
    | Conference
    | PageGroup
    | Menu
    | MusicClass
    | PenaltyRule
    | Queue
    | Did
    | Expectation
)

# Collection name -> (class, the field that names an object); in the order in which documents and imports have them.
COLLECTIONS: Final[dict[str, tuple[type[Entity], str]]] = {
    "trunks": (Trunk, "name"),
    "outbound_routes": (OutboundRoute, "name"),
    "endpoints": (Endpoint, "extension"),
    "voicemail_boxes": (VoicemailBox, "mailbox"),
    "schedules": (Schedule, "name"),
    "announcements": (Announcement, "name"),
    "ring_groups": (RingGroup, "name"),
    "conferences": (Conference, "name"),
    "page_groups": (PageGroup, "name"),
    "menus": (Menu, "name"),
    "music_classes": (MusicClass, "name"),
    "penalty_rules": (PenaltyRule, "name"),
    "queues": (Queue, "name"),
    "dids": (Did, "number"),
    "expect": (Expectation, "question"),
}
# Fields that a document calls otherwise than Python can.
WRITTEN_AS: Final[dict[tuple[type, str], str]] = {(Expectation, "caller"): "from"}
