"""Who is calling, as a system beside us knows it: its answer read, and what that makes of a call; asks nobody, and never believes a value that it did not check.

The words are those of While1's caller look-up: `id`, `name`, `queue_position`, `direct_line`, `backend_link`, `route_identifier`,
`outbound_number`, `language`, `external_id`; all null is nobody that is known. What is wrong with one of them costs only that one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from tandem.domain.destinations import Destination, DialplanDestination, EndpointDestination, QueueDestination
from tandem.domain.dialplan import VARIABLE_OTHERWISE, encode_jump
from tandem.domain.routing import Route, Target, jump_to, resolve
from tandem.domain.snapshot import Snapshot

MAX_ANSWER_TEXT: Final = 200
MAX_LINK: Final = 400
# app_queue's priorities as we use them; While1 counts to 100.
MAX_PRIORITY: Final = 99

_LANGUAGE: Final = re.compile(r"[a-z]{2,3}([_-][A-Za-z]{2,8})?")
_NUMBER: Final = re.compile(r"\+?[0-9]{2,24}")
_LINK: Final = re.compile(r"https?://[\x21-\x7e]+")
_LINE: Final = re.compile(
    r"(?:(SIP|PJSIP|Local)/)?([A-Za-z0-9_+*#.-]{1,80})(?:@([A-Za-z0-9_-]{1,79}))?(?:/n)?", re.IGNORECASE
)
_NOT_IN_NAME: Final = frozenset('"<>\\')


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """What is known of a caller; '' and None for what is not. priority: in queues, 0 to 99; direct_line: SIP/1001, Local/1001 or a queue."""

    contact_id: str = ""
    name: str = ""
    priority: int | None = None
    direct_line: str = ""
    backend_link: str = ""
    route_identifier: str = ""
    outbound_number: str = ""
    language: str = ""
    external_id: str = ""


NOBODY: Final = Contact()


class Greeting(NamedTuple):
    """What becomes of a call by what is known of its caller. variables: names and values for the channel, and for whom it dials."""

    route: Route
    variables: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]


def read_contact(body: bytes) -> Contact | None:
    """An answer; None for what is none at all. `NOBODY` where the caller is not known."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(given, dict):
        return None
    return Contact(
        contact_id=_read_text(given, "id"),
        name="".join(sign for sign in _read_text(given, "name")[:80] if sign not in _NOT_IN_NAME).strip(),
        priority=_read_priority(given.get("queue_position")),
        direct_line=_read_text(given, "direct_line", _LINE),
        backend_link=_read_text(given, "backend_link", _LINK, MAX_LINK),
        route_identifier=_read_text(given, "route_identifier"),
        outbound_number=_read_text(given, "outbound_number", _NUMBER),
        language=_read_text(given, "language", _LANGUAGE),
        external_id=_read_text(given, "external_id")[:80],
    )


def _read_text(
    given: Mapping[str, Any], name: str, form: re.Pattern[str] | None = None, most: int = MAX_ANSWER_TEXT
) -> str:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    if isinstance(value, int) and abs(value) > 10**30:
        return ""
    text = str(value)
    is_fine = len(text) <= most and text.isprintable() and (form is None or form.fullmatch(text) is not None)
    return text if is_fine else ""


def _read_priority(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 4:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PRIORITY + 1:
        return None
    return min(value, MAX_PRIORITY)


def greet(snapshot: Snapshot, route: Route, contact: Contact, now: datetime) -> Greeting:
    """A call's route with what is known of its caller: priority, language, a line of their own, what the screens of agents show.

    A direct line to a phone that does not answer goes on where the DID leads; one that does not exist changes nothing.
    """
    reasons = [f"caller is contact {contact.contact_id}"] if contact.contact_id else []
    variables = [
        ("CALLERID(name)", contact.name),
        ("__BACKEND_LINK", contact.backend_link),
        ("__ROUTE_IDENTIFIER", contact.route_identifier),
        ("__OUTBOUND_NUMBER", contact.outbound_number),
        ("__CONTACT_ID", contact.contact_id),
    ]
    changed = route._replace(
        priority=route.priority if contact.priority is None else max(route.priority, contact.priority),
        language=contact.language or route.language,
    )
    if contact.direct_line:
        line = _find_line(snapshot, contact.direct_line)
        if line is None:
            reasons.append(f"direct line {contact.direct_line} is not known")
        else:
            target, steps = resolve(snapshot, line, now)
            reasons += ["direct line", *steps]
            variables.append((VARIABLE_OTHERWISE, _otherwise(snapshot, target, changed)))
            changed = changed._replace(destination=target)
    return Greeting(changed, tuple((name, value) for name, value in variables if value), tuple(reasons))


def _otherwise(snapshot: Snapshot, line: Target, route: Route) -> str:
    """The jump for when a phone does not answer; a queue knows by itself where to go on."""
    if not isinstance(line, EndpointDestination) or route.destination is None or route.destination == line:
        return ""
    return encode_jump(
        jump_to(snapshot, route.destination, route.priority, route.language, route.recording, route.caller)
    )


def _find_line(snapshot: Snapshot, text: str) -> Destination | None:
    """The destination of a direct line; None where there is none of that name, or none that a stranger's server may choose."""
    found = _LINE.fullmatch(text)
    if found is None:
        return None
    technology, name, context = (found[1] or "").upper(), found[2], found[3]
    if context is not None:
        if technology != "LOCAL" or context not in snapshot.general.allowed_contexts:
            return None
        try:
            return DialplanDestination(dialplan=f"{context},{name}")
        except ValueError:
            return None
    if technology in ("SIP", "PJSIP"):
        return EndpointDestination(endpoint=name) if name in snapshot.endpoints else None
    if name in snapshot.queues and not technology:
        return QueueDestination(queue=name)
    return snapshot.numbers.get(name)
