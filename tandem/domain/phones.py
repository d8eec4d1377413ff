"""The definition of what rings: endpoints with their forwards and follow-me, and ring groups; never knows who calls.

What an endpoint's forwards are is as configured; what people set at their phones is in `tandem.domain.features`.
"""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from tandem.domain.destinations import Destination
from tandem.domain.fields import (
    STRICT,
    Codec,
    Extension,
    Language,
    Mailbox,
    Name,
    OutsideNumber,
    Permission,
    PhoneNumber,
    Secret,
    Text,
)
from tandem.domain.outbound_entities import TollGuard

RingTime = Annotated[int, Field(ge=5, le=300)]
GroupStrategy = Literal["ringall", "hunt", "memory-hunt", "random", "first-available"]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FollowMeStep:
    """Another number of an endpoint's owner. confirm: outside, whoever answers presses 1, so that no answering machine takes the call."""

    number: OutsideNumber
    ring_time_s: RingTime = 20
    confirm: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Endpoint:
    """A phone with a number inside."""

    extension: Extension
    name: Text = ""
    secret: Secret = field(repr=False)
    codecs: Annotated[tuple[Codec, ...], Field(min_length=1)] = ("g722", "alaw", "ulaw")
    voicemail: Mailbox | None = None
    # Which calls the box takes.
    voicemail_on: tuple[Literal["busy", "no-answer", "unavailable"], ...] = ("busy", "no-answer", "unavailable")
    ring_time_s: RingTime = 25
    language: Language | None = None
    # What may be dialled outside; emergency numbers always may. Nothing outside by default: toll fraud starts here.
    permissions: tuple[Permission, ...] = ("internal",)
    # The outbound routes that it may use; without any all that its permissions reach.
    outbound_routes: tuple[Name, ...] = ()
    toll_guard: TollGuard | None = None
    # The number that is shown outside, and to those who are called for help; without one, what the trunk says.
    external_caller_id: PhoneNumber | None = None
    emergency_caller_id: PhoneNumber | None = None
    # How many phones may be registered at once; all of them ring, and one more takes the place of the oldest.
    devices: Annotated[int, Field(ge=1, le=10)] = 1
    # From so many calls on it is busy for further ones; 0: never.
    call_limit: Annotated[int, Field(ge=0, le=100)] = 0
    # Whoever has one of these in common may take the other's ringing call.
    pickup_groups: Annotated[tuple[Name, ...], Field(max_length=20)] = ()
    # What callers hear whom the phone puts on hold.
    music: Name | None = None
    # Which of its calls are recorded: those that come to it, those that it makes.
    recording: Literal["no", "inbound", "outbound", "both"] = "no"
    # Behind a router: answers go where packets came from, whatever the phone says.
    nat: bool = True
    dtmf_mode: Literal["rfc4733", "inband", "info", "auto", "auto_info"] = "rfc4733"
    # sdes: SRTP, for phones over TLS; a browser (webrtc) has DTLS by itself.
    media_encryption: Literal["no", "sdes", "dtls"] = "no"
    webrtc: bool = False
    # Where calls go instead of to the phone, as if the phone had dialled it; unavailable: not registered.
    do_not_disturb: bool = False
    forward_always: PhoneNumber | None = None
    forward_busy: PhoneNumber | None = None
    forward_no_answer: PhoneNumber | None = None
    forward_unavailable: PhoneNumber | None = None
    # Rung one after the other when the phone does not answer or is not there.
    follow_me: Annotated[tuple[FollowMeStep, ...], Field(max_length=10)] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class GroupMember:
    """An endpoint, or a number outside (over `trunk`, where one is given). confirm: as of `FollowMeStep`."""

    endpoint: Extension | None = None
    external: OutsideNumber | None = None
    trunk: Name | None = None
    confirm: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RingGroup:
    """Several phones for one call.

    strategy: ringall: all at once; hunt: one after the other; memory-hunt: the first, then the first two…; random: one after the other
    in an order that each call draws anew; first-available: only the first whose phone is there and in no call.
    """

    name: Name
    description: Text = ""
    extension: Extension | None = None
    strategy: GroupStrategy = "ringall"
    members: Annotated[tuple[GroupMember, ...], Field(min_length=1, max_length=50)]
    # Of all at once, or of each one.
    ring_time_s: RingTime = 20
    # Whether a member that forwards always is rung where it forwards to; else its phone rings. Do not disturb always holds.
    follow_forwards: bool = True
    # Before the caller's name, so that members see which number was called.
    caller_prefix: Text = ""
    # What callers hear instead of ringing.
    music: Name | None = None
    # Where calls go that nobody took.
    fallback: Destination
