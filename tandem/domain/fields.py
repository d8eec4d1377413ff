"""What a field of an object may hold, and the words for it when it does not; never knows the objects.

A type here is a pattern or a check and its rule in words, for all that validate: the YAML document, HTTP bodies, rows.
"""

from datetime import date, datetime
from ipaddress import ip_network
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

# Caller names and voicemail.conf's full names are cut there (AST_MAX_EXTENSION).
MAX_TEXT_BYTES: Final = 79
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Of every dataclass here: a field that nobody knows is a mistake, and is told.
STRICT: Final = ConfigDict(extra="forbid")


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


def _check_moment(value: str) -> str:
    datetime.fromisoformat(value)
    return value


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
# voicemail.conf's.
FullName = Annotated[Text, AfterValidator(_refuse_comma)]
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
Key = Annotated[str, matches("[0-9*#]", "must be one key of a telephone (0-9 * #)")]
Language = Annotated[str, matches("[a-z]{2,3}(_[A-Z]{2})?", "must be a language such as en or pt_BR")]
PhoneNumber = Annotated[
    str, matches(r"\+?[0-9*#]{1,24}", "must be 1 to 24 digits (also * and #), with or without a leading +")
]
# Dialled outside or inside, but no code.
OutsideNumber = Annotated[str, matches(r"\+?[0-9]{2,24}", "must be 2 to 24 digits, with or without a leading +")]
SpeedKeys = Annotated[str, matches("[0-9]{1,4}", "must be 1 to 4 digits")]
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
# What is dialled outside: +49* and _+49. are meant in international form, the rest as it is dialled.
DialPattern = Annotated[
    str,
    matches(
        r"\+?[0-9]{1,20}\*?|_\+?[0-9XZN\[\].!-]{1,40}",
        "must be a number (110), the beginning of numbers and a star (0049*, +49*) or a pattern (_0[1-9]X., _+491[5-7].)",
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
# Without a zone it is meant in the PBX's.
Moment = Annotated[
    str,
    matches(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?",
        "must be a time such as 2026-12-24T10:30 or 2026-12-24T10:30+01:00",
    ),
    AfterValidator(_check_moment),
]
# What is pressed at a menu, until the next menu or prompt; nothing is silence.
Pressed = Annotated[str, matches("[0-9*#]{0,24}", "must be keys of a telephone (0-9 * #), or nothing for silence")]
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
QueueStrategy = Literal["ringall", "leastrecent", "fewestcalls", "random", "rrmemory", "rrordered", "linear", "wrandom"]
AbsentWhen = Literal["penalty", "paused", "invalid", "unavailable", "unknown", "in-use", "ringing", "wrap-up"]
CallerPriority = Annotated[int, Field(ge=0, le=99)]
