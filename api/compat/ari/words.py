"""A campaign in the ARI Dialer's words and in ours, both ways; pure, and never guesses what cannot be dialled.

What a client wrote is shown to it again, as long as it still means what is stored: the words are kept beside the campaign with what
they meant.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from api.compat.ari.speech import deny, deny_fields, read_flag, read_int, read_text
from tandem.domain.campaigns import Campaign
from tandem.domain.destinations import (
    Destination,
    DialplanDestination,
    EndpointDestination,
    ExternalDestination,
    MenuDestination,
    QueueDestination,
)
from tandem.domain.problems import describe_errors
from tandem.domain.routing import describe_destination
from tandem.domain.snapshot import Snapshot

# The fields that a client may send, in the order in which the document has them; the two timeouts are ours.
FIELDS: Final = (
    "name", "description", "trunk_type", "trunk_value", "callerid", "agent_dest_type", "agent_dest_value", "record_calls",
    "concurrent_calls", "retry_times", "retry_delay", "dial_timeout", "call_timeout",
)  # fmt: skip
KEY: Final = "ari"

_TRUNK_TYPES: Final = ("custom", "pjsip", "sip")
_AGENT_TYPES: Final = ("custom", "exten", "ivr", "queue")
_NUMBERS: Final = {
    "concurrent_calls": "concurrent_calls",
    "retry_times": "retry_times",
    "retry_delay": "retry_delay_s",
    "dial_timeout": "dial_timeout_s",
    "call_timeout": "call_timeout_s",
}
_CALLERID: Final = re.compile(r'\s*(?:"(?P<quoted>[^"<>\\]*)"|(?P<plain>[^"<>\\]*?))\s*<(?P<number>\+?[0-9]{0,24})>\s*')
_NUMBER: Final = re.compile(r"\+?[0-9]{0,24}")
_DEVICE: Final = re.compile(r"(?:PJSIP|SIP)/([0-9]{2,8})", re.IGNORECASE)
_LOCAL: Final = re.compile(r"Local/([0-9A-Za-z*#+_-]{1,40})@([A-Za-z0-9_-]{1,79})(?:/[nj]+)?", re.IGNORECASE)
# The context in which a FreePBX's phones dial: whatever is dialled there is a number inside.
_INSIDE: Final = "from-internal"
_CAMPAIGN: Final[TypeAdapter[Campaign]] = TypeAdapter(Campaign)
_DESTINATION: Final[TypeAdapter[Any]] = TypeAdapter(Destination)


class Dictionary:
    """What words mean now: the live PBX, and the numbers of its menus (name -> number)."""

    def __init__(self, snapshot: Snapshot, menu_ids: Mapping[str, int]) -> None:
        self.snapshot = snapshot
        self.menu_ids = menu_ids

    # ------------------------------------------------------------------------------------------------- reading

    def read(
        self, given: Mapping[str, Any], before: Campaign | None, words: Mapping[str, Any]
    ) -> tuple[Campaign, dict[str, Any]]:
        """The campaign that a client means, and its words for it. before: what is changed, None for a new one; 400 naming field and rule."""
        given = {name: given[name] for name in FIELDS if given.get(name) is not None}
        values: dict[str, Any] = {}
        said = dict(words.get(KEY, {}))
        current = self.tell(before, words) if before is not None else {}
        if "name" in given:
            values["name"] = read_text("name", given["name"], 255)
        if "description" in given:
            values["description"] = (
                given["description"] if isinstance(given["description"], str) else str(given["description"])
            )
        if given.keys() & {"trunk_type", "trunk_value"}:
            kind, value = self._pair("trunk_type", "trunk_value", given, current)
            values["trunk"], values["dial_string"] = _read_trunk(kind, value)
            said["trunk"] = {"said": [kind, value], "meant": [values["trunk"], values["dial_string"]]}
        if given.keys() & {"agent_dest_type", "agent_dest_value"}:
            kind, value = self._pair("agent_dest_type", "agent_dest_value", given, current)
            values["destination"] = self._read_agent(kind, value)
            said["agent"] = {
                "said": [kind, value],
                "meant": _DESTINATION.dump_python(values["destination"], mode="json"),
            }
        if "callerid" in given:
            text = read_text("callerid", given["callerid"], 100)
            values["caller_number"], values["caller_name"] = _read_callerid(text)
            said["callerid"] = {"said": text, "meant": [values["caller_number"], values["caller_name"]]}
        if "record_calls" in given:
            values["recording"] = read_flag("record_calls", given["record_calls"])
        for name, ours in _NUMBERS.items():
            if name in given:
                values[ours] = read_int(name, given[name])
        return _make(before, values), {**words, KEY: said}

    def _pair(
        self, kind_name: str, value_name: str, given: Mapping[str, Any], current: Mapping[str, Any]
    ) -> tuple[str, str]:
        kind = given.get(kind_name, current.get(kind_name))
        value = read_text(value_name, given.get(value_name, current.get(value_name)), 255)
        is_trunk = kind_name == "trunk_type"
        if kind not in (_TRUNK_TYPES if is_trunk else _AGENT_TYPES):
            known = "custom, pjsip, or sip" if is_trunk else "custom, exten, ivr, or queue"
            raise deny(f"Invalid {kind_name}. Must be: {known}", {kind_name: f"must be {known}"})
        return str(kind), value

    def _read_agent(self, kind: str, value: str) -> Any:
        match kind:
            case "ivr":
                name = next((name for name, menu_id in self.menu_ids.items() if str(menu_id) == value.strip()), None)
                if name is None or name not in self.snapshot.menus:
                    raise deny_fields([("agent_dest_value", f"there is no IVR menu {value}")])
                return MenuDestination(menu=name)
            case "queue":
                inside = self.snapshot.numbers.get(value)
                if value in self.snapshot.queues:
                    return QueueDestination(queue=value)
                if isinstance(inside, QueueDestination):
                    return inside
                raise deny_fields([("agent_dest_value", f"there is no queue {value}")])
        return self._read_dial_string(value)

    def _read_dial_string(self, value: str) -> Any:
        """`100`, `PJSIP/100`, `Local/100@context`."""
        if (device := _DEVICE.fullmatch(value)) is not None:
            return self._read_inside(device[1])
        if (local := _LOCAL.fullmatch(value)) is not None:
            exten, context = local.groups()
            if context in self.snapshot.general.allowed_contexts:
                return DialplanDestination(dialplan=f"{context},{exten}")
            if context == _INSIDE:
                return self._read_inside(exten)
            raise deny_fields([("agent_dest_value", f"context {context} is not in general.allowed_contexts")])
        if value.isascii() and value.isdecimal():
            return self._read_inside(value)
        rule = "must be a number inside such as 100, or PJSIP/100, or Local/100@context"
        raise deny_fields([("agent_dest_value", rule)])

    def _read_inside(self, number: str) -> Any:
        found = self.snapshot.numbers.get(number)
        if found is None:
            raise deny_fields([("agent_dest_value", f"there is no extension {number}")])
        return found

    # ------------------------------------------------------------------------------------------------- telling

    def tell(self, campaign: Campaign, words: Mapping[str, Any]) -> dict[str, Any]:
        """Their fields of a campaign."""
        said = words.get(KEY, {})
        trunk_type, trunk_value = _recall(said, "trunk", [campaign.trunk, campaign.dial_string]) or (
            ("pjsip", campaign.trunk) if campaign.trunk is not None else ("custom", campaign.dial_string or "")
        )
        meant = _DESTINATION.dump_python(campaign.destination, mode="json")
        agent_type, agent_value = _recall(said, "agent", meant) or self._tell_agent(campaign.destination)
        callerid = _recall(said, "callerid", [campaign.caller_number, campaign.caller_name])
        return {
            "name": campaign.name,
            "description": campaign.description,
            "trunk_type": trunk_type,
            "trunk_value": trunk_value,
            "callerid": _tell_callerid(campaign) if callerid is None else callerid,
            "agent_dest_type": agent_type,
            "agent_dest_value": agent_value,
            "record_calls": int(campaign.recording),
            **{name: getattr(campaign, ours) for name, ours in _NUMBERS.items()},
        }

    def _tell_agent(self, destination: Any) -> tuple[str, str]:
        match destination:
            case EndpointDestination(endpoint=number) | ExternalDestination(external=number):
                return "exten", number
            case QueueDestination(queue=name):
                return "queue", name
            case MenuDestination(menu=name) if name in self.menu_ids:
                return "ivr", str(self.menu_ids[name])
            case DialplanDestination(dialplan=place):
                context, _, exten = place.partition(",")
                return "custom", f"Local/{exten}@{context}"
        return "custom", describe_destination(destination)


def _recall(said: Mapping[str, Any], what: str, meant: Any) -> Any:
    """What the client wrote, if it still means what is stored."""
    found = said.get(what)
    return found["said"] if found is not None and found["meant"] == meant else None


def _read_trunk(kind: str, value: str) -> tuple[str | None, str | None]:
    """(trunk, None) or (None, dial string). Asterisk has no chan_sip any more: a SIP trunk of this name is a PJSIP trunk by now."""
    return (None, value) if kind == "custom" else (value, None)


def _read_callerid(text: str) -> tuple[str, str]:
    """(number, name) of `1234567890`, `Bob <100>` or `"Bob" <100>`."""
    if _NUMBER.fullmatch(text.strip()):
        return text.strip(), ""
    found = _CALLERID.fullmatch(text)
    if found is None:
        raise deny_fields(
            [("callerid", 'must be a number of up to 24 digits, with or without a name: "Bob" <1234567890>')]
        )
    return found["number"], (found["quoted"] if found["quoted"] is not None else found["plain"]).strip()


def _tell_callerid(campaign: Campaign) -> str | None:
    if not campaign.caller_name:
        return campaign.caller_number or None
    return f'"{campaign.caller_name}" <{campaign.caller_number}>'


def _make(before: Campaign | None, values: Mapping[str, Any]) -> Campaign:
    """Checked as every campaign is; 400 with the first rule that is broken."""
    try:
        if before is None:
            return Campaign(**values)
        return _CAMPAIGN.validate_python(_CAMPAIGN.dump_python(before) | values)
    except ValidationError as error:
        raise deny_fields(
            (problem.path, problem.message) for problem in describe_errors(error, root=Campaign)
        ) from None
