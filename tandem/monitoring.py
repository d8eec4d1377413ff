"""What Asterisk says right now of channels, queues and their members, as plain values; asks when it is asked, and keeps nothing."""

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.errors import AmiForged
from tandem.domain.dialplan import VOICEMAIL_CONTEXT

Ask = Callable[[Action], Awaitable[list[Any]]]
Send = Callable[[Action], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class ChannelNow:
    """A channel. duration_s: since it was made."""

    uniqueid: str
    linkedid: str
    channel: str
    state: str
    caller_number: str
    caller_name: str
    connected_number: str
    connected_name: str
    context: str
    exten: str
    application: str
    account: str
    bridge: str
    duration_s: int


@dataclass(frozen=True, slots=True)
class MessagesNow:
    """How many messages are in a voicemail box: not heard yet (urgent ones counted apart), and heard."""

    mailbox: str
    new: int
    urgent: int
    old: int


@dataclass(frozen=True, slots=True)
class QueueNow:
    """A queue. hold_s, talk_s: averages that Asterisk keeps; completed, abandoned: since its last reset."""

    queue: str
    strategy: str
    callers: int
    completed: int
    abandoned: int
    hold_s: int
    talk_s: int
    service_level_percent: float
    longest_wait_s: int


@dataclass(frozen=True, slots=True)
class AgentNow:
    """A member of a queue. status: Asterisk's device state; times are seconds since 1970, 0 for never."""

    queue: str
    interface: str
    name: str
    penalty: int
    calls_taken: int
    last_call_at: int
    is_in_call: bool
    is_paused: bool
    pause_reason: str
    status: str
    logged_in_at: int = 0
    paused_at: int = 0


@dataclass(frozen=True, slots=True)
class ContactNow:
    """Where a phone is registered; port: 0 where it says none."""

    endpoint: str
    host: str
    port: int
    user_agent: str


# devicestate.h, enum ast_device_state
DEVICE_STATES = (
    *("unknown", "not-in-use", "in-use", "busy", "invalid", "unavailable", "ringing", "ringing-in-use", "on-hold"),
)

# The same as DeviceStateList names them.
_STATE_WORDS = dict(
    zip(
        ("UNKNOWN", "NOT_INUSE", "INUSE", "BUSY", "INVALID", "UNAVAILABLE", "RINGING", "RINGINUSE", "ONHOLD"),
        DEVICE_STATES,
        strict=True,
    )
)


class Monitor:
    """Asks over AMI. Every method raises AmiError."""

    def __init__(self, ask: Ask, ask_system: Ask | None = None, send: Send | None = None) -> None:
        """ask_system: as the login that may ask what needs the right `system`. send: an action with one answer."""
        self._ask = ask
        self._send = send
        self._ask_system = ask_system or ask

    async def list_channels(self) -> list[ChannelNow]:
        """Every channel that is up."""
        return list(_read_all(await self._ask(actions.core_show_channels()), "CoreShowChannel", read_channel))

    async def count_messages(self, mailbox: str) -> MessagesNow:
        """Of one voicemail box; nothing of one that Asterisk does not have."""
        assert self._send is not None
        answer = await self._send(Action("MailboxCount", (("Mailbox", f"{mailbox}@{VOICEMAIL_CONTEXT}"),)))
        new, urgent, old = (int(answer.get(name) or 0) for name in ("NewMessages", "UrgMessages", "OldMessages"))
        return MessagesNow(mailbox, new, urgent, old)

    async def list_queues(self) -> list[QueueNow]:
        """Every queue."""
        return read_queues(await self.ask_queues())

    async def list_agents(self) -> list[AgentNow]:
        """Every member of every queue."""
        return read_agents(await self.ask_queues())

    async def list_phones(self) -> dict[str, str]:
        """Endpoint -> its device state, in Asterisk's words (`Unavailable`, `Not in use` …)."""
        rows = await self._ask(actions.pjsip_show_endpoints())
        return {row.get("ObjectName"): row.get("DeviceState") for row in rows if row.get("ObjectName")}

    async def list_devices(self) -> dict[str, str]:
        """Device (`PJSIP/1001`) -> its state, as in DEVICE_STATES."""
        rows = await self._ask(actions.device_state_list())
        read = _read_all(rows, "DeviceStateChange", lambda row: (row.get("Device"), to_state_word(row.get("State"))))
        return dict(read)

    async def list_contacts(self) -> dict[str, ContactNow]:
        """Endpoint -> where it is registered, the last of several."""
        rows = await self._ask_system(actions.pjsip_show_contacts())
        return {one.endpoint: one for one in _read_all(rows, "ContactList", read_contact)}

    async def ask_queues(self) -> list[Any]:
        """What `read_queues` and `read_agents` read: one answer for both."""
        return await self._ask(actions.queue_status())


def read_queues(rows: list[Any]) -> list[QueueNow]:
    """The queues in the answer to QueueStatus."""
    waits: dict[str, int] = {}
    for name, wait_s in _read_all(rows, "QueueEntry", lambda row: (row.get("Queue"), _number(row.get("Wait")))):
        waits[name] = max(wait_s, waits.get(name, 0))
    return list(_read_all(rows, "QueueParams", lambda row: read_queue(row, waits)))


def read_agents(rows: list[Any]) -> list[AgentNow]:
    """The members in the answer to QueueStatus."""
    return list(_read_all(rows, "QueueMember", read_agent))


def to_state_word(state: str) -> str:
    """Asterisk's `RINGINUSE` in our words."""
    return _STATE_WORDS.get(state, DEVICE_STATES[0])


def read_channel(row: Any) -> ChannelNow:
    """`CoreShowChannel` as a value."""
    return ChannelNow(
        uniqueid=row.get("Uniqueid"),
        linkedid=row.get("Linkedid"),
        channel=row.get("Channel"),
        state=row.get("ChannelStateDesc").lower(),
        caller_number=_known(row.get("CallerIDNum")),
        caller_name=_known(row.get("CallerIDName")),
        connected_number=_known(row.get("ConnectedLineNum")),
        connected_name=_known(row.get("ConnectedLineName")),
        context=row.get("Context"),
        exten=row.get("Exten"),
        application=row.get("Application"),
        account=row.get("AccountCode"),
        bridge=row.get("BridgeId"),
        duration_s=_clock(row.get("Duration")),
    )


_URI = re.compile(r"sips?:(?:[^@;]*@)?(\[[0-9A-Fa-f:.]+\]|[^:;>?]+)(?::([0-9]{1,5}))?")


def read_contact(row: Any) -> ContactNow:
    """`ContactList` as a value."""
    found = _URI.match(row.get("Uri"))
    host, port = (found[1].strip("[]"), _number(found[2] or "")) if found is not None else ("", 0)
    return ContactNow(row.get("Endpoint"), host, port, row.get("UserAgent"))


def read_queue(row: Any, waits: dict[str, int]) -> QueueNow:
    """`QueueParams` as a value."""
    name = row.get("Queue")
    return QueueNow(
        queue=name,
        strategy=row.get("Strategy"),
        callers=_number(row.get("Calls")),
        completed=_number(row.get("Completed")),
        abandoned=_number(row.get("Abandoned")),
        hold_s=_number(row.get("Holdtime")),
        talk_s=_number(row.get("TalkTime")),
        service_level_percent=_decimal(row.get("ServicelevelPerf")),
        longest_wait_s=waits.get(name, 0),
    )


def read_agent(row: Any) -> AgentNow:
    """`QueueMember` as a value."""
    state = _number(row.get("Status"))
    return AgentNow(
        queue=row.get("Queue"),
        interface=row.get("Location"),
        name=row.get("Name"),
        penalty=_number(row.get("Penalty")),
        calls_taken=_number(row.get("CallsTaken")),
        last_call_at=_number(row.get("LastCall")),
        is_in_call=row.get("InCall") == "1",
        is_paused=row.get("Paused") == "1",
        pause_reason=row.get("PausedReason"),
        status=DEVICE_STATES[state] if state < len(DEVICE_STATES) else "unknown",
        logged_in_at=_number(row.get("LoginTime")),
        paused_at=_number(row.get("LastPause")) if row.get("Paused") == "1" else 0,
    )


def _read_all(rows: list[Any], event: str, read: Callable[[Any], Any]) -> Iterator[Any]:
    """What can be believed: a row with a header twice was partly written by a stranger."""
    for row in rows:
        try:
            if row.get("Event") == event:
                yield read(row)
        except AmiForged:
            continue


def _known(text: str) -> str:
    return "" if text in ("<unknown>", "<null>") else text


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


def _decimal(text: str) -> float:
    whole, _, part = text.partition(".")
    return float(text) if (whole + part).isdecimal() and text.isascii() and len(text) < 16 else 0.0


def _clock(text: str) -> int:
    """`01:02:03` in seconds."""
    parts = [_number(part) for part in text.split(":")]
    return sum(part * 60**place for place, part in enumerate(reversed(parts[-3:])))
