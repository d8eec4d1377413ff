"""The AMI actions that Tandem sends, as data; nothing here is sent, and no value is escaped here (`wire.encode_action` does that).

Headers and defaults are those of Asterisk 22 (`manager show command …`); answers were checked against a real one in tests/asterisk.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tandem.ami.errors import AmiValueRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CALLER_NAME = re.compile(r'[^"<>\\]*')
_CALLER_NUMBER = re.compile(r"[0-9A-Za-z+*#._-]*")


@dataclass(frozen=True, slots=True, repr=False)
class Action:
    """One action: its name, headers in order, channel variables. The ActionID is added at each send, never here.

    `nothing` is the text of the error that Asterisk answers where an empty list was meant.
    """

    name: str
    headers: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    nothing: str = ""

    def __repr__(self) -> str:
        return f"<Action {self.name}>"  # headers hold keys and secrets: not for logs


def challenge() -> Action:
    """First half of the login: the answer's `Challenge` goes to `login`."""
    return Action("Challenge", (("AuthType", "MD5"),))


def login(username: str, secret: str, challenge_text: str) -> Action:
    """Second half: the secret itself is never sent. Until the filters are set there is but the class of `FullyBooted`, which a login is told only so."""
    key = hashlib.md5((challenge_text + secret).encode(), usedforsecurity=False).hexdigest()
    return Action("Login", (("AuthType", "MD5"), ("Username", username), ("Key", key), ("Events", "system")))


def logoff() -> Action:
    """Answered by `Goodbye`, then the connection closes."""
    return Action("Logoff")


def ping() -> Action:
    """Answered at once by a living Asterisk."""
    return Action("Ping")


def events(mask: str = "on") -> Action:
    """Which classes of events this session gets: `on`, `off`, or `call,agent,…`."""
    return Action("Events", (("EventMask", mask),))


def filter_events(names: Iterable[str]) -> Action:
    """Ask for these events only; further filters add to it. Needs the `system` write class. Answers to list actions are never filtered."""
    pattern = "|".join(sorted(names))
    return Action("Filter", (("Operation", "Add"), ("Filter", f"^Event: ({pattern})[[:space:]]")))


def core_show_channels() -> Action:
    """List of `CoreShowChannel`."""
    return Action("CoreShowChannels")


def core_status() -> Action:
    """Start and reload times, calls up."""
    return Action("CoreStatus")


def core_settings() -> Action:
    """Version and limits."""
    return Action("CoreSettings")


def queue_status(queue: str = "") -> Action:
    """List of `QueueParams`, `QueueMember`, `QueueEntry`; an unknown queue gives an empty list."""
    return Action("QueueStatus", (("Queue", queue),) if queue else ())


def queue_summary(queue: str = "") -> Action:
    """List of `QueueSummary`."""
    return Action("QueueSummary", (("Queue", queue),) if queue else ())


def queue_rule(rule: str) -> Action:
    """A penalty rule: `RuleList` is its name, and each `Rule` a change (`30,5,+0`); an unknown rule gives neither."""
    return Action("QueueRule", (("Rule", rule),))


def device_state_list() -> Action:
    """List of `DeviceStateChange`; needs res_manager_devicestate.so."""
    return Action("DeviceStateList")


def pjsip_show_endpoints() -> Action:
    """List of `EndpointList`."""
    return Action("PJSIPShowEndpoints", nothing="No endpoints found")


def pjsip_show_contacts() -> Action:
    """List of `ContactList`."""
    return Action("PJSIPShowContacts", nothing="No Contacts found")


def pjsip_show_registrations_outbound() -> Action:
    """List of `OutboundRegistrationDetail`."""
    return Action("PJSIPShowRegistrationsOutbound")


def db_put(family: str, key: str, value: str) -> Action:
    """Write one AstDB entry; it survives a kill of Asterisk a moment later."""
    return Action("DBPut", (("Family", family), ("Key", key), ("Val", value)))


def db_get(family: str, key: str) -> Action:
    """List of one `DBGetResponse` (header `Val`), or of none."""
    return Action("DBGet", (("Family", family), ("Key", key)), nothing="Database entry not found")


def db_get_tree(family: str, key: str = "") -> Action:
    """List of `DBGetTreeResponse`: `Key` is the whole path `/family/key`; a prefix matches whole parts only."""
    return Action("DBGetTree", (("Family", family), *((("Key", key),) if key else ())))


def db_del(family: str, key: str) -> Action:
    """Delete one entry; refused when it is not there."""
    return Action("DBDel", (("Family", family), ("Key", key)))


def db_del_tree(family: str, key: str = "") -> Action:
    """Delete an entry and all below it; refused when there is none."""
    return Action("DBDelTree", (("Family", family), *((("Key", key),) if key else ())))


def module_load(module: str, load_type: str = "load") -> Action:
    """Load, unload or reload one module, such as `res_pjsip.so`."""
    return Action("ModuleLoad", (("Module", module), ("LoadType", load_type)))


def module_reload(module: str) -> Action:
    """Reload one module. The answer may come before the work is done (pbx_config), or seconds later (res_pjsip): give it time."""
    # ModuleLoad does not know what is built in, such as `cel` and `cdr`.
    return Action("Reload", (("Module", module),))


def command(line: str) -> Action:
    """Run one CLI command; its output is in the repeated header `Output`."""
    return Action("Command", (("Command", line),))


def module_check(module: str) -> Action:
    """Whether a module, such as `cel_custom`, is loaded; refused when it is not."""
    return Action("ModuleCheck", (("Module", module),))


def get_config(file: str) -> Action:
    """A configuration file as Asterisk's own parser reads it: headers `Category-N`, then `Line-N-M` with `option=value`."""
    return Action("GetConfig", (("Filename", file),))


def getvar(channel: str, variable: str) -> Action:
    """Header `Value` of the answer; an empty `channel` reads a global variable."""
    return Action("Getvar", ((("Channel", channel),) if channel else ()) + (("Variable", variable),))


def setvar(channel: str, variable: str, value: str) -> Action:
    """Set one variable; the value is taken literally; an empty `channel` sets a global variable."""
    return Action("Setvar", ((("Channel", channel),) if channel else ()) + (("Variable", variable), ("Value", value)))


def hangup(channel: str, cause: int = 16) -> Action:
    """Hang up one channel by its name (not its uniqueid), with a Q.850 cause."""
    return Action("Hangup", (("Channel", channel), ("Cause", str(cause))))


def redirect(channel: str, context: str, exten: str, priority: int = 1) -> Action:
    """Take a channel out of what it does, and go on with it elsewhere in the dialplan; whoever talked with it is let go."""
    where = (("Context", context), ("Exten", exten), ("Priority", str(priority)))
    return Action("Redirect", (("Channel", channel), *where))


def queue_add(
    queue: str,
    interface: str,
    *,
    member_name: str = "",
    penalty: int = 0,
    paused: bool = False,
    state_interface: str = "",
) -> Action:
    """Add a dynamic member; refused when it is there."""
    optional = (("MemberName", member_name), ("StateInterface", state_interface))
    return Action(
        "QueueAdd",
        (
            ("Queue", queue),
            ("Interface", interface),
            ("Penalty", str(penalty)),
            ("Paused", _boolean(paused)),
            *_given(optional),
        ),
    )


def queue_remove(queue: str, interface: str) -> Action:
    """Remove a dynamic member; refused when it is not there."""
    return Action("QueueRemove", (("Queue", queue), ("Interface", interface)))


def queue_pause(interface: str, *, paused: bool, queue: str = "", reason: str = "") -> Action:
    """Pause or unpause a member in one queue, or in all of them."""
    return Action(
        "QueuePause",
        (("Interface", interface), ("Paused", _boolean(paused)), *_given((("Queue", queue), ("Reason", reason)))),
    )


def originate(
    channel: str,
    *,
    channel_id: str,
    context: str,
    exten: str,
    priority: int = 1,
    timeout_s: float = 30.0,
    caller_name: str = "",
    caller_number: str = "",
    account: str = "",
    variables: Mapping[str, str] | None = None,
) -> Action:
    """Call `channel` and, when it answers, run `context,exten,priority`; answered at once, the outcome comes as `OriginateResponse`.

    `channel_id` becomes the Uniqueid (and `<channel_id>;2` that of a Local channel's other half): 128 random bits, new for every send.
    There is no way to name an application: `Application: System` would run a shell.
    """
    if not (_CALLER_NAME.fullmatch(caller_name) and _CALLER_NUMBER.fullmatch(caller_number)):
        raise AmiValueRefused("Originate: CallerID holds a character that would change its meaning")
    caller = f'"{caller_name}" <{caller_number}>' if caller_name or caller_number else ""
    return Action(
        "Originate",
        (
            ("Channel", channel),
            ("Context", context),
            ("Exten", exten),
            ("Priority", str(priority)),
            ("Timeout", str(round(timeout_s * 1000))),
            ("Async", "true"),
            ("ChannelId", channel_id),
            ("OtherChannelId", f"{channel_id};2"),
            *_given((("CallerID", caller), ("Account", account))),
        ),
        tuple((variables or {}).items()),
    )


def _given(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(header for header in headers if header[1])


def _boolean(value: bool) -> str:
    return "true" if value else "false"
