"""The ONE definition of every object of a PBX, with its limits and messages; never knows where an object is stored or sent.

The YAML document, the database rows, the HTTP bodies and the snapshot all validate with these classes. They are frozen, slotted
pydantic dataclasses: 100,000 of them take 17 MB. Rules that need a second object are in `tandem.domain.references`.
"""

from dataclasses import field
from datetime import date
from ipaddress import ip_network
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag
from pydantic.dataclasses import dataclass

from tandem.domain.hangup_causes import HANGUP_CAUSE_BY_NAME

# Caller names and voicemail.conf's full names are cut there (AST_MAX_EXTENSION).
MAX_TEXT_BYTES: Final = 79
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_STRICT: Final = ConfigDict(extra="forbid")


def check_line(value: str) -> str:
    """AMI, AGI and .conf files are line based and have no escape for a line's end, so such a value is refused."""
    if not value.isprintable():
        raise ValueError("must not hold control characters or line breaks")
    if value != value.strip():
        raise ValueError("must not begin or end with a blank, which Asterisk would drop")
    if len(value.encode()) > MAX_TEXT_BYTES:
        raise ValueError(f"must be at most {MAX_TEXT_BYTES} bytes in UTF-8, or Asterisk would cut it")
    return value


def _refuse_comma(value: str) -> str:
    if "," in value or "|" in value:
        raise ValueError("must not hold a comma or a vertical bar: voicemail.conf has no escape for them")
    return value


def _refuse_parent(value: str) -> str:
    if ".." in value or value.endswith("/") or "//" in value:
        raise ValueError("must be a sound's name below the sounds folder, such as custom/welcome, without extension")
    return value


def _refuse_ours(value: str) -> str:
    if value.startswith("TANDEM_"):
        raise ValueError("must not begin with TANDEM_: those are our own")
    return value


def _check_port(value: str) -> str:
    _, colon, port = value.partition(":")
    if colon and not 0 < int(port) < 65536:
        raise ValueError("must have a port from 1 to 65535")
    return value


def _check_network(value: str) -> str:
    """Asterisk leaves a network that it cannot read out, and the trunk would have no calls; /0 would make everybody a carrier."""
    if "/" not in value:
        return value
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError("must be a network such as 192.0.2.0/24") from None
    if not network.prefixlen:
        raise ValueError("must not be the whole internet: anybody's calls would be the carrier's")
    return value


def _check_date(value: str) -> str:
    """2026-02-30 is no date, and every year has a 02-29 for this purpose."""
    date.fromisoformat(value if len(value) == 10 else f"2000-{value}")
    return value


def _check_hangup(value: int) -> int:
    if value not in HANGUP_CAUSE_BY_NAME.values():
        raise ValueError("must be a Q.850 cause (such as 17) or its name (such as busy)")
    return value


def _name_hangup(value: object) -> object:
    """Lets a document say `busy` for 17."""
    return HANGUP_CAUSE_BY_NAME.get(value, value) if isinstance(value, str) else value


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


# What each pattern below means in words, for error messages; filled by `matches` while this module loads, constant then.
RULE_BY_PATTERN: Final[dict[str, str]] = {}


def matches(pattern: str, rule: str) -> StringConstraints:
    """A pattern for a whole string, and its rule in words."""
    anchored = rf"\A({pattern})\z"
    RULE_BY_PATTERN[anchored] = rule
    return StringConstraints(pattern=anchored)


# Names go into section headers, dialplan arguments and AstDB keys, so they hold nothing that any of these would read.
Name = Annotated[
    str,
    matches("[A-Za-z][A-Za-z0-9_-]{0,39}", "must be a letter and then up to 39 letters, digits, dashes or underscores"),
]
Extension = Annotated[str, matches("[0-9]{2,8}", "must be 2 to 8 digits")]
Mailbox = Annotated[str, matches("[0-9]{2,10}", "must be 2 to 10 digits")]
Text = Annotated[str, StringConstraints(max_length=79), AfterValidator(check_line)]
Secret = Annotated[str, StringConstraints(min_length=8, max_length=80), AfterValidator(check_line)]
Prompt = Annotated[
    str,
    matches(
        "[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}",
        "must be a sound's name below the sounds folder, such as custom/welcome, without extension",
    ),
    AfterValidator(_refuse_parent),
]
Keys = Annotated[str, matches("[0-9*#]{1,8}", "must be 1 to 8 keys of a telephone (0-9 * #)")]
Language = Annotated[str, matches("[a-z]{2,3}(_[A-Z]{2})?", "must be a language such as en or pt_BR")]
PhoneNumber = Annotated[
    str, matches(r"\+?[0-9*#]{1,24}", "must be 1 to 24 digits (also * and #), with or without a leading +")
]
# A feature code of a phone. No extension begins with these signs, so no code can hide one.
FeatureCode = Annotated[
    str, matches(r"([*#][0-9*#]{1,7})?", "must be * or # and 1 to 7 keys more (0-9 * #), or empty to turn it off")
]
# A caller to block: a whole number, or the beginning of one and a star.
CallerPattern = Annotated[
    str,
    matches(
        r"\+?[0-9]{1,20}\*?",
        "must be up to 20 digits, with or without a leading +, and a star for any number that begins so",
    ),
]
# +493012345 exact, +493012* prefix, _49301[2-5]XX Asterisk pattern, or the word default.
DidNumber = Annotated[
    str,
    matches(
        r"\+?[0-9]{1,20}\*?|\+?[A-Za-z][0-9A-Za-z]{1,19}|_[0-9XZN\[\]+.!-]{1,40}",
        "must be a number (+493012345), the beginning of numbers and a star (+493012*), a pattern (_49301[2-5]XX) or default",
    ),
]
TimeOfDay = Annotated[
    str, matches("([01][0-9]|2[0-3]):[0-5][0-9]|24:00", "must be a time from 00:00 to 24:00, such as 09:30")
]
HolidayDate = Annotated[
    str,
    matches(
        "([0-9]{4}-)?(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
        "must be a date such as 2026-12-24, or 12-24 for every year",
    ),
    AfterValidator(_check_date),
]
TimeZone = Annotated[
    str, matches("[A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}", "must be a time zone such as Europe/Berlin")
]
Country = Annotated[str, matches("[A-Z]{2}", "must be a country's two letters (ISO 3166-1), such as DE")]
HostPort = Annotated[
    str,
    matches("[A-Za-z0-9.-]{1,100}(:[0-9]{1,5})?", "must be a host name or address, with or without :port"),
    AfterValidator(_check_port),
]
AddressMatch = Annotated[
    str,
    matches(
        "[A-Za-z0-9.:-]{1,100}(/[0-9]{1,3})?", "must be an address, a network such as 192.0.2.0/24, or a host name"
    ),
    AfterValidator(_check_network),
]
ContextExten = Annotated[
    str,
    matches(
        "[A-Za-z0-9_-]{1,79},[0-9A-Za-z*#+_-]{1,40}",
        "must be a context and an extension of the dialplan, such as lobby,100",
    ),
]
ContextName = Annotated[
    str, matches("[A-Za-z0-9_-]{1,79}", "must be a context's name: letters, digits, dashes and underscores")
]
VariableName = Annotated[
    str,
    matches("[A-Z][A-Z0-9_]{2,39}", "must be 3 to 40 capitals, digits or underscores and begin with a letter"),
    AfterValidator(_refuse_ours),
]
SipUser = Annotated[str, matches("[A-Za-z0-9_.+-]{1,60}", "must be 1 to 60 letters, digits or the signs _ . + -")]
CallerIdCleanup = Annotated[
    str,
    matches(
        "(R[0-9]{1,2})?( ?L[0-9]{1,10})?",
        "must be such as R10 (keep the right-most 10 digits), L1 (take a leading 1 off) or R10 L1",
    ),
]
Pin = Annotated[str, matches("[0-9]{4,12}", "must be 4 to 12 digits")]
Email = Annotated[
    str,
    matches(r"[^\s@,|;<>\"\x00-\x1f]{1,64}@[A-Za-z0-9.-]{1,100}", "must be an e-mail address"),
    AfterValidator(check_line),
]
Subdivision = Annotated[str, matches("[A-Z0-9]{1,3}", "must be a subdivision of the country (ISO 3166-2), such as BE")]
Codec = Literal["alaw", "ulaw", "g722", "gsm", "opus"]
Permission = Literal["internal", "national", "international"]
Recording = Literal["no", "yes", "until-queue"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
QueueStrategy = Literal["ringall", "leastrecent", "fewestcalls", "random", "rrmemory", "linear", "wrandom"]
CallerPriority = Annotated[int, Field(ge=0, le=99)]

# ---------------------------------------------------------------------------------------------- destinations
# A destination is written as one key that names the kind: `{queue: sales}`, `{voicemail: 1001, instructions: no}`.


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class EndpointDestination:
    """Ring an endpoint for its ring time; then its voicemail box, if it has one."""

    endpoint: Extension


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class QueueDestination:
    """Wait in a queue."""

    queue: Name


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class MenuDestination:
    """Hear a menu (IVR)."""

    menu: Name


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class VoicemailDestination:
    """Leave a message; `instructions` says whether the caller hears how to."""

    voicemail: Mailbox
    instructions: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class DialplanDestination:
    """Priority 1 of `context,exten` in the admin's own dialplan; the context must be in `general.allowed_contexts`."""

    dialplan: ContextExten


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class ExternalDestination:
    """Dial a number outside, over `trunk` or, without one, over `general.outbound_trunk`."""

    external: PhoneNumber
    trunk: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class AnnouncementDestination:
    """Play an announcement and go on to the destination that it names."""

    announcement: Name


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class SurveyDestination:
    """Be asked the questions of a survey, by its number. Surveys are no part of the PBX's revisions: one that is gone is a missing object."""

    survey: Annotated[int, Field(ge=1, le=2**53)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class DidDestination:
    """Whatever another DID does."""

    did: DidNumber


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class HangupDestination:
    """End the call with a Q.850 cause (ITU-T Q.850, table 1)."""

    hangup: Annotated[int, BeforeValidator(_name_hangup), AfterValidator(_check_hangup)] = 16


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class ScheduleDestination:
    """`open` while the schedule is open, else `closed`."""

    schedule: Name
    open: "Destination"
    closed: "Destination"


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class AgentDestination:
    """Ring an agent's endpoint; `unavailable` while nobody works there (logged out, pausing), and when nobody answers.

    That is a place, no further question: opening hours or another agent are asked behind a DID.
    """

    agent: Extension
    unavailable: "Place"


DESTINATION_CLASSES: Final = {
    "endpoint": EndpointDestination,
    "queue": QueueDestination,
    "menu": MenuDestination,
    "voicemail": VoicemailDestination,
    "dialplan": DialplanDestination,
    "external": ExternalDestination,
    "announcement": AnnouncementDestination,
    "survey": SurveyDestination,
    "did": DidDestination,
    "schedule": ScheduleDestination,
    "agent": AgentDestination,
    "hangup": HangupDestination,
}
DESTINATION_KINDS: Final = tuple(DESTINATION_CLASSES)


# Sets the union's tags apart from field names in the location of an error.
DESTINATION_TAG: Final = "destination:"


def _kind_of(value: Any) -> str | None:
    """The tag of a destination: the one key of `DESTINATION_KINDS` that it has."""
    if isinstance(value, dict):
        kinds = [kind for kind in DESTINATION_KINDS if kind in value]
    else:
        kinds = [kind for kind in DESTINATION_KINDS if hasattr(value, kind)]
    return f"{DESTINATION_TAG}{kinds[0]}" if len(kinds) == 1 else None


Place = Annotated[
    Annotated[EndpointDestination, Tag("destination:endpoint")]
    | Annotated[QueueDestination, Tag("destination:queue")]
    | Annotated[MenuDestination, Tag("destination:menu")]
    | Annotated[VoicemailDestination, Tag("destination:voicemail")]
    | Annotated[DialplanDestination, Tag("destination:dialplan")]
    | Annotated[ExternalDestination, Tag("destination:external")]
    | Annotated[AnnouncementDestination, Tag("destination:announcement")]
    | Annotated[SurveyDestination, Tag("destination:survey")]
    | Annotated[DidDestination, Tag("destination:did")]
    | Annotated[HangupDestination, Tag("destination:hangup")],
    Discriminator(
        _kind_of,
        custom_error_type="destination",
        custom_error_message="must have exactly one of the keys "
        + ", ".join(kind for kind in DESTINATION_KINDS if kind not in ("schedule", "agent")),
    ),
]

Destination = Annotated[
    Annotated[EndpointDestination, Tag("destination:endpoint")]
    | Annotated[QueueDestination, Tag("destination:queue")]
    | Annotated[MenuDestination, Tag("destination:menu")]
    | Annotated[VoicemailDestination, Tag("destination:voicemail")]
    | Annotated[DialplanDestination, Tag("destination:dialplan")]
    | Annotated[ExternalDestination, Tag("destination:external")]
    | Annotated[AnnouncementDestination, Tag("destination:announcement")]
    | Annotated[SurveyDestination, Tag("destination:survey")]
    | Annotated[DidDestination, Tag("destination:did")]
    | Annotated[ScheduleDestination, Tag("destination:schedule")]
    | Annotated[AgentDestination, Tag("destination:agent")]
    | Annotated[HangupDestination, Tag("destination:hangup")],
    Discriminator(
        _kind_of,
        custom_error_type="destination",
        custom_error_message="must have exactly one of the keys " + ", ".join(DESTINATION_KINDS),
    ),
]

# --------------------------------------------------------------------------------------------------- objects


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Endpoint:
    """A phone with a number inside."""

    extension: Extension
    name: Text = ""
    secret: Secret = field(repr=False)
    codecs: Annotated[tuple[Codec, ...], Field(min_length=1)] = ("g722", "alaw", "ulaw")
    voicemail: Mailbox | None = None
    ring_time_s: Annotated[int, Field(ge=5, le=300)] = 25
    language: Language | None = None
    # What may be dialled outside; emergency numbers always may. Nothing outside by default: toll fraud starts here.
    permissions: tuple[Permission, ...] = ("internal",)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
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
    codecs: Annotated[tuple[Codec, ...], Field(min_length=1)] = ("alaw", "ulaw")
    # How the carrier writes numbers: as-sent keeps them; national turns 030… and 0049… into 49…, by `country`.
    numbers: Literal["as-sent", "national"] = "as-sent"
    country: Country | None = None
    # How many calls campaigns may have over it at once, and place in a second; 0 means no limit of its own.
    max_calls: Annotated[int, Field(ge=0, le=10_000)] = 0
    max_cps: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
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
    priority: CallerPriority = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class QueueMember:
    """An endpoint that answers a queue's calls; lower penalties ring first."""

    endpoint: Extension
    penalty: Annotated[int, Field(ge=0, le=999)] = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Queue:
    """Callers wait, members answer (app_queue)."""

    name: Name
    description: Text = ""
    extension: Extension | None = None
    # A queue that is not active takes nobody: callers go where they would go while it is closed.
    active: bool = True
    strategy: QueueStrategy = "rrmemory"
    members: tuple[QueueMember, ...] = ()
    # Whether endpoints that are no members may log in, too.
    open_login: bool = False
    # How long one member rings, the pause before the next, and the rest that a member has after a call.
    ring_time_s: Annotated[int, Field(ge=5, le=300)] = 20
    retry_s: Annotated[int, Field(ge=1, le=60)] = 2
    wrap_up_s: Annotated[int, Field(ge=0, le=3600)] = 0
    max_wait_s: Annotated[int, Field(ge=5, le=86400)] = 300
    # 0 means no limit.
    max_callers: Annotated[int, Field(ge=0, le=10000)] = 0
    music: Name = "default"
    weight: Annotated[int, Field(ge=0, le=999)] = 0
    announce_position: bool = False
    announce_every_s: Annotated[int, Field(ge=0, le=3600)] = 0
    service_level_s: Annotated[int, Field(ge=0, le=3600)] = 20
    priority: CallerPriority = 0
    join_when_empty: bool = False
    leave_when_empty: bool = True
    schedule: Name | None = None
    # Where callers go whom the queue does not serve; each that is left out is `fallback`.
    fallback: Destination
    closed: Destination | None = None
    timeout: Destination | None = None
    full: Destination | None = None
    join_empty: Destination | None = None
    leave_empty: Destination | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class VoicemailBox:
    """Where messages are kept."""

    mailbox: Mailbox
    name: Annotated[Text, AfterValidator(_refuse_comma)] = ""
    pin: Pin = field(repr=False)
    email: Email | None = None
    language: Language | None = None
    time_zone: TimeZone | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class OpenHours:
    """Open on these days from `start` to `end` (exclusive), in the schedule's time zone; `end` before `start` is the next day."""

    days: Annotated[tuple[Weekday, ...], BeforeValidator(_spread_days), Field(min_length=1)]
    start: TimeOfDay
    end: TimeOfDay


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Announcement:
    """Something that callers hear, and where they go then."""

    name: Name
    description: Text = ""
    extension: Extension | None = None
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=20)]
    then: Destination = field(default_factory=HangupDestination)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class General:
    """What holds for the whole PBX."""

    country: Country | None = None
    language: Language = "en"
    time_zone: TimeZone = "UTC"
    # Dialled by the static dialplan alone; they pass no FastAGI and no limit.
    emergency_numbers: Annotated[tuple[PhoneNumber, ...], Field(max_length=20)] = ("112", "911")
    outbound_trunk: Name | None = None
    emergency_trunk: Name | None = None
    # Dialled by endpoints to hear their messages.
    voicemail_number: PhoneNumber = "*97"
    # Dialled by agents: in or out of their queues (a queue's extension after it: of that queue alone), and pause or work again
    # (digits after it: the number of the reason). Empty turns a code off.
    agent_login_code: FeatureCode = "*45"
    agent_pause_code: FeatureCode = "*46"
    # The names of the reasons 1, 2, 3 …; one without a name is told by its digits.
    agent_pause_reasons: Annotated[tuple[Text, ...], Field(max_length=99)] = ()
    allowed_contexts: tuple[ContextName, ...] = ()
    # Channel variables that whoever places a call may set; the dialplan must treat them as a stranger's.
    allowed_variables: tuple[VariableName, ...] = ()
    blocked_callers: tuple[CallerPattern, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Pbx:
    """A whole PBX, as the document has it."""

    general: General = field(default_factory=General)
    trunks: tuple[Trunk, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    voicemail_boxes: tuple[VoicemailBox, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    menus: tuple[Menu, ...] = ()
    queues: tuple[Queue, ...] = ()
    dids: tuple[Did, ...] = ()


Entity = Trunk | Endpoint | VoicemailBox | Schedule | Announcement | Menu | Queue | Did

# Collection name -> (class, the field that names an object); in the order in which documents and imports have them.
COLLECTIONS: Final[dict[str, tuple[type[Entity], str]]] = {
    "trunks": (Trunk, "name"),
    "endpoints": (Endpoint, "extension"),
    "voicemail_boxes": (VoicemailBox, "mailbox"),
    "schedules": (Schedule, "name"),
    "announcements": (Announcement, "name"),
    "menus": (Menu, "name"),
    "queues": (Queue, "name"),
    "dids": (Did, "number"),
}
