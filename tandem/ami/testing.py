"""FakeAsterisk plays Asterisk's end of AMI, in memory or on a real loopback port; it never dials, and has no state but what a test gives it.

In memory, bytes move when the test says so:

    asterisk = FakeAsterisk()
    client = AmiClient(asterisk.endpoint, asterisk.username, asterisk.secret, clock=Clock())
    client.startService()
    asterisk.flush()                                     # the whole login
    asterisk.send_event("Hangup", Uniqueid=call_id, Cause="17")
    asterisk.flush()

On a port, it is a factory: `TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(asterisk)`.

`astdb` is alive; `lists[action]` holds the events that answer a list action; `answers[action]` replaces the answer to an action;
`received` keeps every action; `cut_after`, `cut_after_received`, `freeze` and `cut` break things. Answers have the texts and headers of Asterisk
22.10, which tests/asterisk compares with the real one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as TwistedConnectionRefused
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.test import iosim
from zope.interface import implementer  # type: ignore[import-untyped]  # zope has no types

from tandem.ami.wire import AmiParser, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    Headers = Sequence[tuple[str, str]]
    Answer = Iterable[Headers] | None

_LIST_ENDS = {
    "CoreShowChannels": ("CoreShowChannelsComplete", "Channels will follow"),
    "DeviceStateList": ("DeviceStateListComplete", "Device State Changes will follow"),
    "PJSIPShowContacts": ("ContactListComplete", "A listing of Contacts follows, presented as ContactList events"),
    "PJSIPShowEndpoints": ("EndpointListComplete", "A listing of Endpoints follows, presented as EndpointList events"),
    "PJSIPShowRegistrationsOutbound": (
        "OutboundRegistrationDetailComplete",
        "Following are Events for each Outbound registration",
    ),
    "QueueStatus": ("QueueStatusComplete", "Queue status will follow"),
    "QueueSummary": ("QueueSummaryComplete", "Queue summary will follow"),
}
_BOOTED = (("Event", "FullyBooted"), ("Privilege", "system,all"), ("Status", "Fully Booted"))
_NO_ITEMS = {"PJSIPShowContacts": "No Contacts found\n", "PJSIPShowEndpoints": "No endpoints found\n"}
_MESSAGES = {
    "Hangup": "Channel Hungup",
    "ModuleLoad": "Module loaded.",
    "Reload": "Module Reloaded",
    "Originate": "Originate successfully queued",
    "QueueAdd": "Added interface to queue",
    "QueuePause": "Interface paused successfully",
    "QueueRemove": "Removed interface from queue",
    "Setvar": "Variable Set",
}


def encode_message(headers: Headers) -> bytes:
    """One message as Asterisk writes it: raw, so that a test can forge."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode() + b"\r\n"


def success(message: str = "", *more: tuple[str, str]) -> list[Headers]:
    """Answer of one response `Success`."""
    return [[("Response", "Success"), *([("Message", message)] if message else []), *more]]


def error(message: str) -> list[Headers]:
    """Answer of one response `Error`."""
    return [[("Response", "Error"), ("Message", message)]]


def event_list(message: str, events: Iterable[Headers], end: str) -> list[Headers]:
    """Answer of a list: response, events, the event `end`."""
    events = list(events)
    start = [("Response", "Success"), ("EventList", "start"), ("Message", message)]
    return [start, *events, [("Event", end), ("EventList", "Complete"), ("ListItems", str(len(events)))]]


class FakeAsterisk(Factory):
    """One Asterisk; any number of sessions, one after the other or at once."""

    noisy = False

    def __init__(
        self,
        *,
        username: str = "tandem",
        secret: str = "a secret for tests",  # noqa: S107 - a fake's
        may_filter: bool = True,
    ) -> None:
        self.username = username  # '' lets in everybody who has the secret
        self.secret = secret
        self.may_filter = may_filter  # the login has the write class `system`
        self.astdb: dict[str, str] = {}  # "family/key": value
        self.lists: dict[str, list[Headers]] = {name: [] for name in _LIST_ENDS}
        self.answers: dict[str, Callable[[Message], Answer]] = {}  # None: no answer at all
        self.received: list[Message] = []
        self.sessions: list[FakeSession] = []  # those up now
        self.logins = 0
        self.is_down = False  # refuse connections (in memory)
        self.is_frozen = False  # see `freeze`
        self.is_booted = True  # a login is told so; `send_event("FullyBooted")` ends a boot that goes on
        self.greeting = b"Asterisk Call Manager/11.0.0\r\n"
        self.cut_after: int | None = None  # bytes that the next session may send before it is cut
        self.cut_after_received: int | None = None  # bytes that it may receive
        self._pumps: list[iosim.IOPump] = []

    def buildProtocol(self, addr: IAddress | None) -> FakeSession:  # noqa: ARG002, N802 - Twisted's name
        """Start a session."""
        return FakeSession(self)

    # -- for tests

    @property
    def endpoint(self) -> MemoryEndpoint:
        """An endpoint for the client, in memory."""
        return MemoryEndpoint(self)

    def flush(self) -> None:
        """Move bytes in memory until neither side has any left."""
        while sum(pump.pump() for pump in self._pumps):
            pass

    def send_event(self, name: str, /, **headers: str) -> None:
        """Send an event to every session that has events on and a filter that lets it through. `_` stands for `-` in a header's name."""
        payload = encode_message(
            [("Event", name), *((header.replace("_", "-"), value) for header, value in headers.items())]
        )
        for session in tuple(self.sessions):
            if session.wants(payload):
                session.write(payload)

    def send_bytes(self, data: bytes) -> None:
        """Send raw bytes to every session, logged in or not."""
        for session in tuple(self.sessions):
            session.write(data)

    def cut(self) -> None:
        """Cut every session now."""
        for session in tuple(self.sessions):
            session.cut()

    def freeze(self) -> None:
        """As SIGSTOP does: the kernel still accepts connections and bytes, nothing is read or written."""
        self.is_frozen = True

    def thaw(self) -> None:
        """As SIGCONT does: everything that was received meanwhile is carried out, late."""
        self.is_frozen = False
        for session in tuple(self.sessions):
            session.thaw()

    def sent(self, action: str) -> list[Message]:
        """The actions of that name received so far, over all sessions."""
        return [message for message in self.received if message.name == action]

    # -- what Asterisk answers

    def answer(self, message: Message) -> Answer:
        """Answer to an action of a session that is logged in."""
        name = message.name
        if name in self.answers:
            return self.answers[name](message)
        if name in self.lists:
            return self._list(message)
        if name.startswith("DB"):
            return self._astdb(message)
        if name in _MESSAGES:
            return success(_MESSAGES[name])
        match name:
            case "Ping":
                return success("", ("Ping", "Pong"), ("Timestamp", "1700000000.000000"))
            case "Logoff":
                return [[("Response", "Goodbye"), ("Message", "Thanks for all the fish.")]]
            case "Command":
                return success("Command output follows", ("Output", ""))
            case "Filter":
                return success("Success") if self.may_filter else error("Permission denied")
        return error(f"Invalid/unknown command: {name}. Use Action: ListCommands to show available commands.")

    def _list(self, message: Message) -> Answer:
        name = message.name
        queue = message.get("Queue")
        events = [event for event in self.lists[name] if not queue or ("Queue", queue) in event]
        if not events and name in _NO_ITEMS:
            return error(_NO_ITEMS[name])
        end, text = _LIST_ENDS[name]
        return event_list(text, events, end)

    def _astdb(self, message: Message) -> Answer:
        family, key, db = message.get("Family"), message.get("Key"), self.astdb
        path = f"{family}/{key}" if key else family
        below: list[str] = []
        if message.name in {"DBGetTree", "DBDelTree"}:
            below = sorted(entry for entry in db if f"{entry}/".startswith(f"{path}/"))
        match message.name:
            case "DBPut":
                db[path] = message.get("Val")
                return success("Updated database successfully")
            case "DBGet" if path in db:
                item = [("Event", "DBGetResponse"), ("Family", family), ("Key", key), ("Val", db[path])]
                return event_list("Result will follow", [item], "DBGetComplete")
            case "DBDel" if path in db:
                del db[path]
                return success("Key deleted successfully")
            case "DBDel":
                return error("Database entry could not be deleted")
            case "DBGetTree":
                entries = [
                    [("Event", "DBGetTreeResponse"), ("Key", f"/{entry}"), ("Val", db[entry])] for entry in below
                ]
                return event_list("Result will follow", entries, "DBGetTreeComplete")
            case "DBDelTree" if below:
                for stored in below:
                    del db[stored]
                return success("Key tree deleted successfully")
        return error("Database entry not found")


class FakeSession(Protocol):
    """One AMI session of a `FakeAsterisk`."""

    def __init__(self, asterisk: FakeAsterisk) -> None:
        self._asterisk = asterisk
        self._parser = AmiParser(expects_greeting=False)
        self._challenge = ""
        self._unread = b""  # while frozen
        self._unwritten = b""
        self._may_send, asterisk.cut_after = asterisk.cut_after, None
        self._may_receive, asterisk.cut_after_received = asterisk.cut_after_received, None
        self.is_logged_in = False
        self.has_events = False
        self.filters: list[re.Pattern[str]] = []

    def connectionMade(self) -> None:
        """Greet."""
        self._asterisk.sessions.append(self)
        self.write(self._asterisk.greeting)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's name
        """Forget the session."""
        self._asterisk.sessions.remove(self)

    def wants(self, payload: bytes) -> bool:
        """Whether an event goes to this session."""
        text = payload.decode()
        return self.has_events and (not self.filters or any(pattern.search(text) for pattern in self.filters))

    def write(self, data: bytes) -> None:
        """Send bytes; cut where `cut_after` says."""
        if self._asterisk.is_frozen:
            self._unwritten += data
            return
        if self.transport is None:
            return
        if self._may_send is not None:
            data = data[: self._may_send]
            self._may_send -= len(data)
        self.transport.write(data)  # type: ignore[call-arg, misc]  # zope's interfaces are not types
        if self._may_send == 0:
            self.cut()

    def thaw(self) -> None:
        """Go on where the session froze."""
        written, self._unwritten, read, self._unread = self._unwritten, b"", self._unread, b""
        self.write(written)
        self.dataReceived(read)

    def cut(self) -> None:
        """Close the connection after what was written."""
        if self.transport is not None:
            self.transport.loseConnection()  # type: ignore[misc]  # zope's interfaces are no types

    def dataReceived(self, data: bytes) -> None:
        """Answer actions, in order."""
        if self._asterisk.is_frozen:
            self._unread += data
            return
        if self._may_receive is not None:
            data = data[: self._may_receive]
            self._may_receive -= len(data)
        for frame in self._parser.feed(data):
            message = Message(frame)
            self._asterisk.received.append(message)
            self._answer(message)
        if self._may_receive == 0:
            self.cut()

    def _answer(self, message: Message) -> None:
        answer = self._answer_session(message) or self._asterisk.answer(message)
        action_id = message.get("ActionID")
        for first, *rest in answer or ():
            self.write(encode_message([first, *([("ActionID", action_id)] if action_id else []), *rest]))
        if message.name == "Logoff":
            self.cut()

    def _answer_session(self, message: Message) -> Answer:
        match message.name:
            case name if name in self._asterisk.answers:
                return None
            case "Challenge":
                self._challenge = str(secrets.randbelow(10**9))
                return success("", ("Challenge", self._challenge))
            case "Login":
                key = hashlib.md5((self._challenge + self._asterisk.secret).encode(), usedforsecurity=False).hexdigest()
                if message.get("Username") != (self._asterisk.username or message.get("Username")):
                    return error("Authentication failed")
                if message.get("Key") != key:
                    return error("Authentication failed")
                self.is_logged_in = True
                self._asterisk.logins += 1
                self.has_events = message.get("Events", "on") == "on"
                is_told = self._asterisk.is_booted and message.get("Events", "on") != "off"
                return [*success("Authentication accepted"), *([_BOOTED] if is_told else [])]
            case _ if not self.is_logged_in:
                return error("Permission denied")
            case "Events":
                self.has_events = message.get("EventMask") != "off"
                return success("", ("Events", "On" if self.has_events else "Off"))
            case "Filter" if self._asterisk.may_filter:
                self.filters.append(re.compile(message.get("Filter").replace("[[:space:]]", r"\s")))
        return None


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Connects to a `FakeAsterisk` without a network; bytes move in `FakeAsterisk.flush`."""

    def __init__(self, asterisk: FakeAsterisk) -> None:
        self._asterisk = asterisk

    def connect(self, factory: Factory) -> Deferred[Protocol]:
        """Connect at once, or be refused while `is_down`."""
        if self._asterisk.is_down:
            return fail(TwistedConnectionRefused("down"))
        client = factory.buildProtocol(None)
        assert isinstance(client, Protocol)
        server = self._asterisk.buildProtocol(None)
        pump = iosim.connect(
            server,
            iosim.FakeTransport(server, isServer=True),
            client,
            iosim.FakeTransport(client, isServer=False),
            debug=False,
        )
        self._asterisk._pumps.append(pump)  # noqa: SLF001 - one fake in two classes
        return succeed(client)
