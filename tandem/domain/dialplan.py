"""Every channel variable, context and AstDB family that Tandem and the static dialplan share, and the ONE form of a jump; never sends one.

The dialplan in `dialplan/` reads these names; a test compares both sides. A jump is what `Gosub` takes,
`tandem-enter,queue,1(sales,5,de,yes,,)`: FastAGI sends it as its one decision, AstDB keeps it as the last-known route.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal, NamedTuple

CONTEXT_FROM_TRUNK: Final = "tandem-from-trunk"
CONTEXT_FROM_ENDPOINT: Final = "tandem-from-endpoint"
CONTEXT_ENTER: Final = "tandem-enter"
CONTEXT_RECORD: Final = "tandem-record"
CONTEXT_FALLBACK: Final = "tandem-fallback"
CONTEXT_ORIGINATED: Final = "tandem-originated"
CONTEXT_QUEUE_FIRST: Final = "tandem-queue-first"
CONTEXT_CALLED_LANGUAGE: Final = "tandem-called-language"  # Dial's option b: the language of who is called
CONTEXT_PROBE: Final = "tandem-probe"
CONTEXT_CAMPAIGN: Final = "tandem-campaign"
EXTEN_LISTEN: Final = "listen"  # of tandem-campaign: AMD() listens first
CONTEXT_AGENT_FIRST: Final = "tandem-agent-first"
CONTEXT_AGENT: Final = "tandem-agent"
CONTEXT_LISTEN: Final = "tandem-listen"
CONTEXT_FEATURE: Final = "tandem-feature"
CONTEXT_QUEUE_EXIT: Final = "tandem-queue-exit"  # whoever has pressed the key that leaves a queue
CONTEXT_QUEUE_CALLBACK: Final = "tandem-queue-callback"  # … or the key of a callback
CONTEXT_OUT: Final = "tandem-out"
VOICEMAIL_CONTEXT: Final = "tandem"

# Globals, written by confgen into extensions.conf; all but the first two may be empty.
GLOBAL_AGI: Final = "TANDEM_AGI"  # agi://127.0.0.1:4573
GLOBAL_RECORDINGS: Final = "TANDEM_RECORDINGS"  # folder, as Asterisk sees it
GLOBAL_SOUNDS: Final = "TANDEM_SOUNDS"  # folder of the prompts that begin with tandem/
GLOBAL_LANGUAGE: Final = "TANDEM_LANGUAGE"
GLOBAL_EMERGENCY: Final = "TANDEM_EMERGENCY"  # 112|911, a regular expression's alternatives
GLOBAL_EMERGENCY_TRUNK: Final = "TANDEM_EMERGENCY_TRUNK"
GLOBAL_OUTBOUND_TRUNK: Final = "TANDEM_OUTBOUND_TRUNK"
GLOBAL_INTERNATIONAL_PREFIX: Final = "TANDEM_INTERNATIONAL_PREFIX"  # 00
GLOBAL_COUNTRY: Final = "TANDEM_COUNTRY"  # DE
GLOBAL_COUNTRY_CODE: Final = "TANDEM_COUNTRY_CODE"  # 49
GLOBAL_NATIONAL_PREFIX: Final = "TANDEM_NATIONAL_PREFIX"  # 0
GLOBAL_STATIC_ROUTES: Final = (
    "TANDEM_STATIC_ROUTES"  # yes: there are outbound routes, so without Tandem only static ones work
)
# TANDEM_EMERGENCY_ROUTE_1 …: regular expression/strip/prepend/trunk&trunk
GLOBAL_EMERGENCY_ROUTE: Final = "TANDEM_EMERGENCY_ROUTE_"
GLOBAL_VOICEMAIL: Final = "TANDEM_VOICEMAIL"  # *97
GLOBAL_AGENT_LOGIN: Final = "TANDEM_AGENT_LOGIN"  # *45
GLOBAL_AGENT_PAUSE: Final = "TANDEM_AGENT_PAUSE"  # *46

# Channel variables. CALLER is cleaned (digits and + only) before any expression reads it.
VARIABLE_DID: Final = "TANDEM_DID"  # the called number as the carrier sent it, cleaned
VARIABLE_CALLER: Final = "TANDEM_CALLER"
VARIABLE_PERMISSIONS: Final = "TANDEM_PERMISSIONS"  # set_var of an endpoint: internal-national-international
VARIABLE_RECORDING: Final = "TANDEM_RECORDING"  # no | yes | until-queue, once recording was decided
VARIABLE_CALLER_ID: Final = "TANDEM_CALLER_ID"  # set_var of an endpoint: what is shown outside
VARIABLE_EMERGENCY_CALLER_ID: Final = "TANDEM_EMERGENCY_CALLER_ID"  # set_var of an endpoint
VARIABLE_TRUNK: Final = "TANDEM_TRUNK"  # the trunk that a call came from
VARIABLE_QUEUE_FIRST: Final = "TANDEM_QUEUE_FIRST"  # the queue whose members are called first
VARIABLE_QUEUE_PLACE: Final = "TANDEM_QUEUE_PLACE"  # of such a call: where in the queue it is to stand, 1 for the head
VARIABLE_QUEUE_WAIT: Final = "TANDEM_QUEUE_WAIT"  # … and for how many seconds, instead of 300
QUEUE_PRIORITY: Final = "QUEUE_PRIO"  # app_queue's own
VARIABLE_CALLBACK: Final = "TANDEM_CALLBACK"  # yes: what becomes of it is kept in FAMILY_CALLBACK
VARIABLE_RECORDING_LEGS: Final = "TANDEM_RECORDING_LEGS"  # yes: each side of the call in a file of its own, too
VARIABLE_LAST_RESORT: Final = "TANDEM_LAST_RESORT"  # 1: what is missing ends with a prompt, not at the default DID
ASTERISK_AGI_ENDS: Final = "AGIEXITONHANGUP"  # Asterisk's own; yes: AGI() ends at the channel's time-out
VARIABLE_DIAL_OPTIONS: Final = (
    "TANDEM_DIAL_OPTIONS"  # for Dial() of an endpoint: r, where silence would be heard otherwise
)
VARIABLE_SORRY: Final = "TANDEM_SORRY"  # of an answered person: sounds (a&b) for when nobody can be reached
VARIABLE_RING: Final = "TANDEM_RING"  # how many seconds an external number rings, instead of 120
VARIABLE_MACHINE: Final = (
    "TANDEM_MACHINE"  # hang-up | message: whoever answers is listened to first, and a machine is treated so
)
VARIABLE_MACHINE_PROMPTS: Final = "TANDEM_MACHINE_PROMPTS"  # sounds (a&b) of that message
VARIABLE_LISTEN_TO: Final = "TANDEM_LISTEN_TO"  # how the channels begin that are heard: PJSIP/1001-
VARIABLE_LISTEN_OPTIONS: Final = "TANDEM_LISTEN_OPTIONS"  # of ChanSpy
VARIABLE_OTHERWISE: Final = (
    "TANDEM_OTHERWISE"  # of a caller with a line of their own: the jump for when it does not answer
)
VARIABLE_JUMP: Final = "TANDEM_JUMP"  # where a call that we placed goes once it is answered

# AstDB: family/key = value, made by tandem.domain.last_known. Keys of numbers are tandem.domain.numbers.normalise_number's; `/` inside
# a key separates a name from what is kept about it, since a name cannot hold one.
FAMILY_META: Final = (
    "tandem-meta"  # revision, written last; default = jump of the default DID; prefix-lengths = 9&7, longest first
)
FAMILY_DID: Final = "tandem-did"  # number = jump
FAMILY_PREFIX: Final = "tandem-prefix"  # prefix = jump; longest wins
FAMILY_PATTERN: Final = "tandem-pattern"  # 1..n = regular expression, 1/jump..n/jump = jump; first match wins
FAMILY_BLOCK: Final = (
    "tandem-block"  # caller, or its beginning and a star = 1; lengths = 5&3; for one DID with `did:` before it;
    # with deny/SCOPE: and allow/SCOPE: before it the numbers that the toll guard of a scope (pbx, endpoint/1001, trunk/carrier) has
)
FAMILY_TRUNK: Final = "tandem-trunk"  # trunk = country code,national prefix,international prefix; absent: as sent
FAMILY_INTERNAL: Final = "tandem-internal"  # number inside = jump
FAMILY_ENDPOINT: Final = (
    "tandem-endpoint"  # extension = ring time in s,mailbox,permissions,when voicemail takes calls (b, n, u; empty:
)
# always),flags (d: several devices, r: calls to it are recorded, l: has a call limit)
# extension/routes = route&route: the outbound routes that it may use
FAMILY_ROUTE: Final = "tandem-route"  # 1..n = regular expression; 1/how = route,permission,strip,prepend,trunk&trunk
FAMILY_FORWARD: Final = (
    "tandem-forward"  # extension = do not disturb (1),always,busy,no answer,unavailable; absent: the phone simply rings
)
FAMILY_FOLLOW: Final = "tandem-follow"  # extension = how many; extension/1.. = number,ring time in s,confirm (1)
FAMILY_GROUP: Final = (
    "tandem-group"  # name = strategy,ring time in s,members,forwards (1: followed),music; name/prefix, name/then = jump;
    # name/1.. = endpoint,extension or external,number,trunk,confirm (1)
)
FAMILY_CONFERENCE: Final = (
    "tandem-conference"  # name = most members,flags (w: waits for a moderator, a: joins are announced, r: recorded),
    # music,pin,moderator's pin,what asks for it,what is heard of who comes,of who leaves; name/1.. = a sound of the greeting
)
FAMILY_PAGE: Final = "tandem-page"  # name = how many,duplex (1),sound; name/1.. = extension
FAMILY_PARKING: Final = "tandem-parking"  # extension = how many places,seconds
FAMILY_OPERATOR: Final = "tandem-operator"  # mailbox = jump
FAMILY_CODE: Final = "tandem-code"  # feature code = its kind; lengths = 3&2, longest first
FAMILY_SPEED: Final = "tandem-speed"  # keys of a speed dial = number
FAMILY_MENU: Final = "tandem-menu"  # menu = jump of its fallback
FAMILY_QUEUE: Final = "tandem-queue"  # queue = jump of its fallback; queue/wait = s; queue/recording = yes; queue/penalties = highest,lowest,raised; queue/exit, queue/timeout, /full, /joinempty… = jump
FAMILY_ANNOUNCEMENT: Final = "tandem-announcement"  # name = how many prompts; name/1.. = prompt; name/then = jump
FAMILY_SCHEDULE: Final = (
    "tandem-schedule"  # name = how many open spans; name/1.. = IFTIME span; name/closed/1.. = closed day
)
FAMILY_BRANCH: Final = "tandem-branch"  # id = schedule; id/open, id/closed = jump; of an agent only id/closed
# How a trunk wants numbers, where it does not take them as dialled: trunk = form,prefix,country code,national prefix,international prefix;
# trunk/caller = the number that it shows, trunk/caller/NUMBER = 1 for each that it may show instead.
FAMILY_OUTWARD: Final = "tandem-outward"
FAMILY_LIMIT: Final = "tandem-limit"  # pbx, endpoint/1001, trunk/carrier = how many calls outside at once
FAMILY_TOLL: Final = (
    "tandem-toll"  # pbx, endpoint/1001, trunk/carrier = premium numbers (yes, no or nothing),country&country
)
# Neither is one of FAMILIES: no revision has them. schedule = day or night, where somebody switched it; absent: by the clock.
FAMILY_NIGHT: Final = "tandem-night"
# pbx, endpoint/1001, trunk/carrier = 1 where the toll guard has locked it.
FAMILY_LOCK: Final = "tandem-lock"
# Not one either. channel of a callback = agent, once one has answered, then the DIALSTATUS of whom it called.
FAMILY_CALLBACK: Final = "tandem-callback"
FAMILIES: Final = (
    FAMILY_META,
    FAMILY_DID,
    FAMILY_PREFIX,
    FAMILY_PATTERN,
    FAMILY_BLOCK,
    FAMILY_TRUNK,
    FAMILY_INTERNAL,
    FAMILY_ENDPOINT,
    FAMILY_FORWARD,
    FAMILY_FOLLOW,
    FAMILY_GROUP,
    FAMILY_CONFERENCE,
    FAMILY_PAGE,
    FAMILY_PARKING,
    FAMILY_OPERATOR,
    FAMILY_CODE,
    FAMILY_SPEED,
    FAMILY_ROUTE,
    FAMILY_LIMIT,
    FAMILY_TOLL,
    FAMILY_OUTWARD,
    FAMILY_MENU,
    FAMILY_QUEUE,
    FAMILY_ANNOUNCEMENT,
    FAMILY_SCHEDULE,
    FAMILY_BRANCH,
)

# Extensions of tandem-enter. `branch` is only ever in AstDB: FastAGI has looked at the schedule already.
JumpKind = Literal[
    "endpoint",
    "agent",
    "queue",
    "menu",
    "voicemail",
    "dialplan",
    "external",
    "announcement",
    "group",
    "conference",
    "directory",
    "page",
    "park",
    "parked",
    "survey",
    "hangup",
    "branch",
]


class Jump(NamedTuple):
    """One call of `tandem-enter`.

    target: extension, queue, menu, mailbox, exten (dialplan), number (external), announcement, ring group, survey's number, Q.850 cause or branch id.
    option: queue: the place that the caller has in it already, 1 for the head; voicemail: `s` leaves the instructions out; dialplan: the context; external: the trunk (empty: the outbound trunk); agent: the
    branch whose `closed` is where the call goes when nobody answers.
    priority: caller priority in a queue, 0 to 99; the highest that a call was given counts. language: empty keeps the channel's.
    recording: no, yes, until-queue; empty keeps what was decided before. caller: a caller number to set; empty keeps it.
    """

    kind: JumpKind
    target: str
    priority: int = 0
    language: str = ""
    recording: str = ""
    option: str = ""
    caller: str = ""


# Thousands of numbers go to a few dozen places, so nearly every call makes a jump that was made before.
@lru_cache(maxsize=4096)
def encode_jump(jump: Jump) -> str:
    """`tandem-enter,KIND,1(target,priority,language,recording,option,caller)`, the argument of Gosub.

    Every field comes from an entity or is digits, so none can hold a comma, a bracket or a `$`; ValueError if one does.
    """
    fields = (jump.target, str(jump.priority), jump.language, jump.recording, jump.option, jump.caller)
    for value in fields:
        if not _is_plain(value):
            raise ValueError(f"jump to {jump.kind}: {value!r} holds a character that Gosub would read")
    return f"{CONTEXT_ENTER},{jump.kind},1({','.join(fields)})"


def encode_tries(tries: Iterable[tuple[str, str, str]], limit_s: int = 0) -> str:
    """`tandem-out,dial,1(TRUNK:NUMBER:CALLER/…,limit)`: trunks in order, each with the number and the caller as it is sent them.

    CALLER '' keeps the channel's own; limit_s: after which a call ends, 0 for never. ValueError as `encode_jump`.
    """
    words = "/".join(":".join(one) for one in tries)
    if not _is_plain(words):
        raise ValueError(f"tries {words!r} hold a character that Gosub would read")
    return f"{CONTEXT_OUT},dial,1({words},{limit_s})"


_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+*#_-.:/")


def _is_plain(value: str) -> bool:
    return _PLAIN.issuperset(value)
