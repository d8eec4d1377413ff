"""Typed views of the AMI events that Tandem reads; a view reads one message and never decides whether to believe it.

Each `read` raises `AmiForged` for a header that is there twice. Values are a stranger's where the channel is (caller number and name, exten):
bound them before use, and believe an event only for identifiers of ours (see `tandem.ami.wire`). Times of day are left as Asterisk prints
them, in its own time zone; numbers that are none are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tandem.ami.wire import Message

FULLY_BOOTED = "FullyBooted"  # the boot ended while we were logged in already: ask the state again
SHUTDOWN = "Shutdown"
HANGUP_REQUEST = "HangupRequest"


def read_int(message: Message, header: str) -> int:
    """Plain decimal value of a header, 0 where it is missing or anything else: Asterisk prints nothing else there, a stranger might."""
    text = message.get(header)
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else 0


@dataclass(frozen=True, slots=True)
class Newchannel:
    """A channel was made. `state` is Asterisk's channel state (0 down, 4 ring, 6 up)."""

    EVENT = "Newchannel"
    uniqueid: str
    linkedid: str
    channel: str
    state: int
    context: str
    exten: str
    caller_number: str
    caller_name: str
    account: str

    @classmethod
    def read(cls, message: Message) -> Self:
        """Also reads a `CoreShowChannel` of a list and a `Newstate`, which have the same headers."""
        get = message.get
        return cls(
            uniqueid=get("Uniqueid"),
            linkedid=get("Linkedid"),
            channel=get("Channel"),
            state=read_int(message, "ChannelState"),
            context=get("Context"),
            exten=get("Exten"),
            caller_number=get("CallerIDNum"),
            caller_name=get("CallerIDName"),
            account=get("AccountCode"),
        )


@dataclass(frozen=True, slots=True)
class Hangup:
    """A channel is gone: `cause` is Q.850, `tech_cause` the SIP code (`486`), empty where there was none."""

    EVENT = "Hangup"
    uniqueid: str
    linkedid: str
    channel: str
    cause: int
    tech_cause: str

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read a `Hangup`; `HangupRequest` and `SoftHangupRequest` have the same headers."""
        get = message.get
        return cls(get("Uniqueid"), get("Linkedid"), get("Channel"), read_int(message, "Cause"), get("TechCause"))


@dataclass(frozen=True, slots=True)
class OriginateResponse:
    """The outcome of an asynchronous originate. Match it by `action_id` alone: `uniqueid` may be another, living call's.

    `reason` is 4 (answered), 3 (our time-out) or 0 (everything else).
    """

    EVENT = "OriginateResponse"
    action_id: str
    succeeded: bool
    reason: int
    channel: str
    uniqueid: str

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read an `OriginateResponse`."""
        get = message.get
        return cls(
            get("ActionID"), get("Response") == "Success", read_int(message, "Reason"), get("Channel"), get("Uniqueid")
        )


@dataclass(frozen=True, slots=True)
class Dial:
    """A step of a dial towards `dest_uniqueid`: begun, `RINGING`/`PROGRESS`/…, or ended with a dialstatus.

    `uniqueid` is the calling channel, empty where an originate dials.
    """

    BEGIN = "DialBegin"
    STATE = "DialState"
    END = "DialEnd"
    uniqueid: str
    dest_uniqueid: str
    dest_channel: str
    dialstatus: str

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read `DialBegin` (no dialstatus), `DialState` or `DialEnd`."""
        get = message.get
        return cls(get("Uniqueid"), get("DestUniqueid"), get("DestChannel"), get("DialStatus"))


@dataclass(frozen=True, slots=True)
class Cdr:
    """One call detail record. `linkedid` and `sequence` need `[mappings]` in cdr_manager.conf."""

    EVENT = "Cdr"
    uniqueid: str
    linkedid: str
    sequence: int
    account: str
    source: str
    destination: str
    context: str
    channel: str
    dest_channel: str
    last_application: str
    started: str
    answered: str
    ended: str
    duration_s: int
    billable_s: int
    disposition: str

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read a `Cdr`."""
        get = message.get
        return cls(
            uniqueid=get("UniqueID"),
            linkedid=get("LinkedID"),
            sequence=read_int(message, "Sequence"),
            account=get("AccountCode"),
            source=get("Source"),
            destination=get("Destination"),
            context=get("DestinationContext"),
            channel=get("Channel"),
            dest_channel=get("DestinationChannel"),
            last_application=get("LastApplication"),
            started=get("StartTime"),
            answered=get("AnswerTime"),
            ended=get("EndTime"),
            duration_s=read_int(message, "Duration"),
            billable_s=read_int(message, "BillableSeconds"),
            disposition=get("Disposition"),
        )


@dataclass(frozen=True, slots=True)
class DeviceStateChange:
    """State of one device: `NOT_INUSE`, `INUSE`, `BUSY`, `INVALID`, `UNAVAILABLE`, `RINGING`, `RINGINUSE`, `ONHOLD`, `UNKNOWN`."""

    EVENT = "DeviceStateChange"
    device: str
    state: str

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read a `DeviceStateChange`, sent by itself or in a list."""
        return cls(message.get("Device"), message.get("State"))


@dataclass(frozen=True, slots=True)
class QueueParams:
    """One queue in the answer to QueueStatus; `calls` are those waiting, `max_calls` 0 is no limit."""

    EVENT = "QueueParams"
    queue: str
    max_calls: int
    strategy: str
    calls: int
    hold_time_s: int
    talk_time_s: int
    completed: int
    abandoned: int

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read a `QueueParams`."""
        return cls(
            queue=message.get("Queue"),
            max_calls=read_int(message, "Max"),
            strategy=message.get("Strategy"),
            calls=read_int(message, "Calls"),
            hold_time_s=read_int(message, "Holdtime"),
            talk_time_s=read_int(message, "TalkTime"),
            completed=read_int(message, "Completed"),
            abandoned=read_int(message, "Abandoned"),
        )


@dataclass(frozen=True, slots=True)
class QueueMember:
    """One member of a queue. `status` is a device state number (1 free, 2 in use, 3 busy, 4 invalid, 5 unavailable, 6 ringing, 8 on hold)."""

    EVENT = "QueueMember"
    CHANGES = ("QueueMemberAdded", "QueueMemberPause", "QueueMemberPenalty", "QueueMemberRemoved", "QueueMemberStatus")
    queue: str
    name: str
    interface: str
    membership: str
    penalty: int
    calls_taken: int
    status: int
    in_call: bool
    paused: bool
    paused_reason: str

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read a `QueueMember` of a list, or one of `CHANGES` (which say MemberName and Interface for Name and Location)."""
        get = message.get
        return cls(
            queue=get("Queue"),
            name=get("Name") or get("MemberName"),
            interface=get("Location") or get("Interface"),
            membership=get("Membership"),
            penalty=read_int(message, "Penalty"),
            calls_taken=read_int(message, "CallsTaken"),
            status=read_int(message, "Status"),
            in_call=get("InCall") == "1",
            paused=get("Paused") == "1",
            paused_reason=get("PausedReason"),
        )


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One caller waiting: in a list, or joining, leaving or abandoning (`QueueCallerJoin`, `QueueCallerLeave`, `QueueCallerAbandon`)."""

    EVENT = "QueueEntry"
    CHANGES = ("QueueCallerJoin", "QueueCallerLeave", "QueueCallerAbandon")
    queue: str
    position: int
    uniqueid: str
    channel: str
    wait_s: int

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read a `QueueEntry` or one of `CHANGES` (which have no wait)."""
        get = message.get
        return cls(
            get("Queue"), read_int(message, "Position"), get("Uniqueid"), get("Channel"), read_int(message, "Wait")
        )


@dataclass(frozen=True, slots=True)
class TrunkRegistration:
    """One outbound registration: `status` is `Registered`, `Unregistered`, `Rejected` and so on."""

    EVENT = "OutboundRegistrationDetail"
    name: str
    server_uri: str
    client_uri: str
    status: str
    next_register_s: int

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read an `OutboundRegistrationDetail`."""
        get = message.get
        return cls(get("ObjectName"), get("ServerUri"), get("ClientUri"), get("Status"), read_int(message, "NextReg"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One PJSIP endpoint in the answer to PJSIPShowEndpoints; `state` is a word such as `Not in use`, `Unavailable`, `Invalid`."""

    EVENT = "EndpointList"
    name: str
    state: str
    contacts: str
    active_channels: int

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read an `EndpointList`."""
        get = message.get
        # The real header is a list of channel names in older versions, a count in 22.
        return cls(get("ObjectName"), get("DeviceState"), get("Contacts"), read_int(message, "ActiveChannels"))
