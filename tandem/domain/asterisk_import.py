"""The files of an existing Asterisk -> a PBX, and what of them is not in it, by place; pure, it never reads a file.

Phones are PJSIP endpoints that are called by their digits; every other endpoint is a trunk. Of the dialplan only what trunks reach is
looked at, and only what one application says: the rest stays the admin's, reachable as `{dialplan: context,extension}`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from tandem.domain.carrying import Carried, Carrier, cut_text, list_codecs, name_freely
from tandem.domain.conf_text import ConfSection, Option, read_conf
from tandem.domain.queue_options import KNOWN, NO_LIMIT_S, read_queue_options

FILES: Final = ("pjsip.conf", "voicemail.conf", "musiconhold.conf", "queuerules.conf", "queues.conf", "extensions.conf")
_HANGUP: Final = {"hangup": 16}
# Options that are carried over, or say what Tandem does anyway.
_ENDPOINT: Final = frozenset(
    [
        "type",
        "auth",
        "outbound_auth",
        "aors",
        "allow",
        "disallow",
        "callerid",
        "mailboxes",
        "language",
        "context",
        "transport",
        "from_user",
        "from_domain",
        "direct_media",
        "rtp_symmetric",
        "force_rport",
        "rewrite_contact",
        "send_pai",
        "send_rpid",
        "trust_id_inbound",
        "dtmf_mode",
        "device_state_busy_at",
    ]
)
_QUEUE_KNOWN: Final = KNOWN | {"member", "musicclass", "musiconhold", "autofill", "defaultrule"}
_PASSED_OVER: Final = frozenset({"answer", "noop", "set", "wait", "ringing", "progress", "verbose", "log"})


def import_asterisk(files: Mapping[str, str], find: Callable[[str], Mapping[str, str]] = lambda _: {}) -> Carried:
    """files: name -> text of those of FILES that there are; find: what an `#include` names -> texts by name."""
    carrier = Carrier()
    sections: dict[str, list[ConfSection]] = {}
    for name in FILES:
        sections[name], lost = read_conf(name, files[name], find) if name in files else ([], [])
        carrier.lost += lost
    boxes = _take_boxes(carrier, sections["voicemail.conf"])
    trunk_contexts = _Pjsip(carrier, sections["pjsip.conf"], boxes).take()
    _tell_music(carrier, sections["musiconhold.conf"])
    rules = _take_rules(carrier, sections["queuerules.conf"])
    waits = _list_waits(sections["extensions.conf"])
    queues = _take_queues(carrier, sections["queues.conf"], rules, waits)
    _Dialplan(carrier, sections["extensions.conf"], queues, boxes).take(trunk_contexts)
    return carrier.finish()


def _tell_options(carrier: Carrier, options: Iterable[Option], known: frozenset[str]) -> None:
    for option in options:
        if option.name not in known:
            carrier.lose(option.place, f"{option.name} = {_hide(option)} is not carried over")


def _hide(option: Option) -> str:
    return "…" if re.search("pass|secret|md5", option.name) else option.value[:60]


# ---------------------------------------------------------------------------------------------------- voicemail


def _take_boxes(carrier: Carrier, sections: list[ConfSection]) -> dict[str, str]:
    """The boxes; their numbers -> the context of each: ours have none, so of two with one number the first is taken."""
    contexts: dict[str, str] = {}
    for section in sections:
        if section.name in {"general", "zonemessages"}:
            if section.name == "general":
                _tell_options(carrier, section.options, frozenset({"format", "attach"}))
            continue
        for option in section.options:
            pin, name, email, *_ = [*(part.strip() for part in option.value.split(",")), "", "", ""]
            place = f"{option.place} ({option.name}@{section.name})"
            if option.name in contexts:
                carrier.lose(place, f"is left out: box {option.name}@{contexts[option.name]} has its number")
                continue
            box = {
                "mailbox": option.name,
                "pin": carrier.take_pin(place, pin),
                "name": cut_text(name.replace("|", " ")),
                "email": email,
            }
            if carrier.add("voicemail_boxes", place, box):
                contexts[option.name] = section.name
                if len(option.value.split(",")) > 3:
                    carrier.lose(place, "pager and options of the box are not carried over")
    return contexts


def _find_box(boxes: Mapping[str, str], address: str) -> str:
    """The number of `1001@default`, '' where that box is none that was taken: the same number elsewhere is another person's."""
    number, _, context = address.partition("@")
    return number if boxes.get(number) == (context or "default") else ""


# -------------------------------------------------------------------------------------------------------- pjsip


class _Pjsip:
    def __init__(self, carrier: Carrier, sections: list[ConfSection], boxes: Mapping[str, str]) -> None:
        self._carrier, self._boxes = carrier, boxes
        self._of_type: dict[str, dict[str, ConfSection]] = {}
        self._taken: set[str] = set()
        for section in sections:
            kind = section.get("type")
            if kind in {"endpoint", "auth", "aor", "registration", "identify"}:
                self._of_type.setdefault(kind, {})[section.name] = section
            elif kind not in {"global", "transport"} and section.name != "general":
                carrier.lose(section.place, f"[{section.name}] of type {kind or 'none'} is not carried over")

    def take(self) -> tuple[str, ...]:
        """Phones and trunks; the contexts that trunks reach: what no trunk was made of opens none to outside callers."""
        contexts: list[str] = []
        for name, section in self._of_type.get("endpoint", {}).items():
            if re.fullmatch("[0-9]{2,8}", name):
                self._take_phone(section)
            elif name.lower() == "anonymous":
                self._carrier.lose(section.place, "an endpoint for anybody is never made: it would let strangers call")
            elif self._take_trunk(section):
                contexts.append(section.get("context", "default"))
        return tuple(dict.fromkeys(contexts))

    def _auth_of(self, section: ConfSection, option: str) -> ConfSection | None:
        return self._of_type.get("auth", {}).get(section.get(option).split(",")[0].strip())

    def _take_phone(self, section: ConfSection) -> None:
        place = f"{section.place} [{section.name}]"
        auth = self._auth_of(section, "auth")
        caller = re.match(r'\s*"?([^"<]*)"?\s*(?:<([^>]*)>)?', section.get("callerid"))
        addresses = [part.strip() for part in section.get("mailboxes").split(",") if part.strip()]
        box = next((found for it in addresses if (found := _find_box(self._boxes, it))), "")
        for it in addresses:
            if _find_box(self._boxes, it) != box or not box:
                self._carrier.lose(
                    place, f"mailbox {it[:60]} is not the phone's: a phone has one box, that is carried over"
                )
        if auth is not None and auth.get("username", section.name) != section.name:
            self._carrier.lose(
                auth.place, f"phone {section.name} logs in as {auth.get('username')}: it must be {section.name} now"
            )
        self._carrier.add("endpoints", place, {
            "extension": section.name,
            "name": cut_text(caller[1]) if caller else "",
            "secret": self._carrier.take_secret(place, auth.get("password") if auth is not None else ""),
            "codecs": tuple(list_codecs(section.get("allow"))),
            "voicemail": box,
            "language": section.get("language"),
            "permissions": ("internal", "national"),
        })  # fmt: skip
        _tell_options(self._carrier, section.options, _ENDPOINT)

    def _take_trunk(self, section: ConfSection) -> bool:
        """Whether it was taken."""
        place = f"{section.place} [{section.name}]"
        aors = [self._of_type.get("aor", {}).get(name.strip()) for name in section.get("aors").split(",")]
        hosts = [self._host_of(option) for aor in aors if aor is not None for option in aor.get_all("contact")]
        registrations = [
            it for it in self._of_type.get("registration", {}).values()
            if it.get("endpoint") == section.name or (it.get("outbound_auth") and it.get("outbound_auth") == section.get("outbound_auth"))
        ]  # fmt: skip
        hosts += [self._host_of(option) for it in registrations for option in it.get_all("server_uri")[-1:]]
        matches = [
            option.value for it in self._of_type.get("identify", {}).values() if it.get("endpoint") == section.name
            for option in it.get_all("match")
        ]  # fmt: skip
        if section.get("auth") and not any(hosts) and not matches:
            self._carrier.lose(place, "is left out: it looks like a phone, whose name must be 2 to 8 digits")
            return False
        auth = self._auth_of(section, "outbound_auth") or next(
            (found for it in registrations if (found := self._auth_of(it, "outbound_auth")) is not None), None
        )
        added = self._carrier.add("trunks", place, {
            "name": name_freely(section.name, self._taken, "trunk"),
            "authentication": "registration" if registrations else "ip",
            "hosts": tuple(dict.fromkeys(filter(None, hosts))),
            "match": tuple(part.strip() for match in matches for part in match.split(",") if part.strip()),
            "username": auth.get("username") if auth is not None else None,
            "secret": self._carrier.take_secret(place, auth.get("password")) if auth is not None else None,
            "from_user": section.get("from_user"),
            "from_domain": section.get("from_domain"),
            "codecs": tuple(list_codecs(section.get("allow"))),
        })  # fmt: skip
        _tell_options(self._carrier, section.options, _ENDPOINT)
        return added

    def _host_of(self, option: Option) -> str:
        """`host:port` of `sip:user@host:port;transport=udp`; '' where there is none, which is told."""
        found = re.match(r"\s*<?(?:sips?:)?(?:[^@>]*@)?([A-Za-z0-9.-]+(?::[0-9]+)?)\s*(?:[;>?]|$)", option.value)
        if found is None:
            self._carrier.lose(option.place, f"{option.name} = {option.value[:60]} is no host name or IPv4 address")
        return found[1] if found else ""


# ------------------------------------------------------------------------------------------------------- queues


def _tell_music(carrier: Carrier, sections: list[ConfSection]) -> None:
    """Classes of files and streams; ours are made of uploaded sounds, and no path says which of those it would be."""
    for section in sections:
        if section.name not in {"general", "default"}:
            carrier.lose(
                f"{section.place} [{section.name}]",
                "music is not carried over: upload its sounds, and make a music class of them",
            )


def _take_rules(carrier: Carrier, sections: list[ConfSection]) -> dict[str, str]:
    """The penalty rules; their names in Asterisk, in lower case, -> ours."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for section in sections:
        if section.name == "general":
            _tell_options(carrier, section.options, frozenset())
            continue
        place, name = f"{section.place} [{section.name}]", name_freely(section.name, taken, "rule")
        found = (_change_of(carrier, option) for option in section.get_all("penaltychange"))
        changes = sorted((change for change in found if change is not None), key=lambda change: change["after_s"])
        if carrier.add("penalty_rules", place, {"name": name, "changes": tuple(changes)}):
            names[section.name.lower()] = name
    return names


def _change_of(carrier: Carrier, option: Option) -> dict[str, int] | None:
    """`30,5,,2`; what is added to or taken off (`+3`) depends on what the dialplan had set, so nobody can tell what it comes to."""
    after, *penalties = (part.strip() for part in option.value.split(","))
    if not after.isdigit() or any(value and not value.isdigit() for value in penalties):
        carrier.lose(option.place, f"penaltychange = {option.value[:60]} is not carried over: only plain numbers are")
        return None
    names = ("max_penalty", "min_penalty", "raise_penalty")
    return {"after_s": int(after), **{name: int(value) for name, value in zip(names, penalties, strict=False) if value}}


def _list_waits(sections: list[ConfSection]) -> dict[str, set[str]]:
    """Queue -> the waits (its fifth argument, in s; '' without a limit) that any extension of a dialplan gives it."""
    waits: dict[str, set[str]] = {}
    for option in (it for section in sections for it in section.options):
        if found := re.search(r",\s*Queue\(([^()]*)\)", option.value, re.IGNORECASE):
            name, *arguments = (part.strip() for part in found[1].split(","))
            waits.setdefault(name, set()).add(arguments[3] if len(arguments) > 3 else "")
    return waits


def _take_wait(carrier: Carrier, place: str, waits: set[str]) -> int:
    """The longest: nobody is to be sent away sooner than before."""
    numbers = [int(it) if re.fullmatch("[0-9]{1,9}", it) else NO_LIMIT_S for it in waits] or [NO_LIMIT_S]
    wait_s = min(max(5, *numbers), NO_LIMIT_S)
    if len(numbers) > 1 or wait_s != numbers[0] or not (waits and all(map(str.isdigit, waits))):
        told = " and ".join(f"{it[:20]} s" if it else "without a limit" for it in sorted(waits)) or "without a limit"
        carrier.lose(place, f"callers waited {told}: it is {wait_s} s now")
    return wait_s


def _take_queues(
    carrier: Carrier, sections: list[ConfSection], rules: Mapping[str, str], waits: Mapping[str, set[str]]
) -> dict[str, str]:
    """The queues; their names in Asterisk -> ours. rules: those of `_take_rules`; waits: of `_list_waits`."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for section in sections:
        if section.name == "general":
            continue
        place = f"{section.place} [{section.name}]"
        members = [
            member for option in section.get_all("member") if (member := _member_of(carrier, option)) is not None
        ]
        values = read_queue_options(section.get, partial(carrier.lose, place))
        rule = section.get("defaultrule")
        if rule and rule.lower() not in rules:
            carrier.lose(place, f"defaultrule = {rule[:60]} is none that is carried over")
        name = name_freely(section.name, taken, "queue")
        added = carrier.add("queues", place, {
            **values,
            "name": name,
            "members": tuple(members),
            "music": section.get("musicclass") or section.get("musiconhold"),
            "penalty_rule": rules.get(rule.lower()),
            "max_wait_s": _take_wait(carrier, place, waits.get(section.name, set())),
            "fallback": _HANGUP,
        })  # fmt: skip
        if added:
            names[section.name] = name
            carrier.lose(place, "callers whom the queue does not serve are hung up: say where they go (`fallback`)")
        _tell_options(carrier, section.options, _QUEUE_KNOWN)
    return names


def _member_of(carrier: Carrier, option: Option) -> dict[str, Any] | None:
    interface, penalty, *_ = [*(part.strip() for part in option.value.split(",")), ""]
    found = re.fullmatch("(?:PJSIP|SIP)/([0-9]{2,8})", interface, re.IGNORECASE)
    if found is None:
        carrier.lose(option.place, f"member {interface} is no phone of ours")
        return None
    return {"endpoint": found[1], **({"penalty": penalty} if penalty.isdigit() else {})}


# ----------------------------------------------------------------------------------------------------- dialplan


class _Dialplan:
    def __init__(
        self, carrier: Carrier, sections: list[ConfSection], queues: Mapping[str, str], boxes: Mapping[str, str]
    ) -> None:
        self._carrier, self._queues, self._boxes = carrier, queues, boxes
        self._contexts: dict[str, ConfSection] = {}
        for section in sections:
            if section.name not in {"general", "globals"}:
                # Asterisk merges contexts of one name.
                first = self._contexts.get(section.name, ConfSection(section.name, section.place))
                self._contexts[section.name] = replace(first, options=[*first.options, *section.options])
            elif section.name == "globals" and section.options:
                carrier.lose(section.place, f"{len(section.options)} global variables are not carried over")

    def take(self, trunk_contexts: Iterable[str]) -> None:
        """DIDs of the contexts that trunks reach; the others are told."""
        reached = set(trunk_contexts)
        for name, section in self._contexts.items():
            if name in reached:
                self._take_context(section)
            else:
                count = len({_split_exten(it.value)[0] for it in section.get_all("exten")})
                self._carrier.lose(section.place, f"context {name} stays in your own dialplan: {count} extensions")

    def _take_context(self, section: ConfSection) -> None:
        steps: dict[str, list[tuple[Option, str]]] = {}
        last = ""
        for option in section.options:
            if option.name == "exten":
                last, _, application = _split_exten(option.value)
            elif option.name == "same":
                application = option.value.partition(",")[2].strip()
            else:
                self._carrier.lose(option.place, f"{option.name} => {option.value[:60]} is not carried over")
                continue
            steps.setdefault(last, []).append((option, application))
        for exten, found in steps.items():
            self._take_exten(section.name, exten, found)

    def _take_exten(self, context: str, exten: str, steps: list[tuple[Option, str]]) -> None:
        place = f"{steps[0][0].place} ({context},{exten})"
        if re.fullmatch(r"[hHtTiIoOae]", exten):
            self._carrier.lose(place, "special extensions are not carried over")
            return
        number = {"s": "default", "_X.": "default", "_.": "default"}.get(exten, exten)
        telling = [(option, app) for option, app in steps if app.partition("(")[0].strip().lower() not in _PASSED_OVER]
        destination = self._destination_of(telling[0][1]) if telling else None
        if destination is None or len([it for it in telling if not it[1].lower().startswith("hangup")]) > 1:
            # A pattern is no extension that a call could be sent to.
            is_one = re.fullmatch("[0-9A-Za-z*#+-][0-9A-Za-z*#+_-]{0,39}", exten)
            destination = {"dialplan": f"{context},{exten}"} if is_one else None
            why = "what it does stays in your own dialplan" if destination else "no destination can be made of it"
            self._carrier.lose(place, f"{why}: {telling[0][1][:60] if telling else 'nothing'}")
        if destination is None:
            return
        if "dialplan" in destination:
            contexts = self._carrier.general.setdefault("allowed_contexts", ())
            wanted = destination["dialplan"].partition(",")[0]
            self._carrier.general["allowed_contexts"] = tuple(dict.fromkeys((*contexts, wanted)))
        self._carrier.add("dids", place, {"number": number, "destination": destination})

    def _destination_of(self, application: str) -> dict[str, Any] | None:
        name, _, rest = application.partition("(")
        arguments = [part.strip() for part in rest.rpartition(")")[0].split(",")]
        first = arguments[0] if arguments else ""
        match name.strip().lower():
            case "dial" if found := re.fullmatch(r"(?:PJSIP|SIP)/([0-9]{2,8})", first, re.IGNORECASE):
                return {"endpoint": found[1]}
            case "queue" if first in self._queues:
                return {"queue": self._queues[first]}
            case "voicemail" if box := _find_box(self._boxes, first):
                return {"voicemail": box}
            case "goto" | "gosub" if len(arguments) == 3 and re.fullmatch("[0-9A-Za-z*#+_-]{1,40}", arguments[1]):
                return {"dialplan": f"{arguments[0]},{arguments[1]}"}
            case "hangup" | "busy" | "congestion":
                return {"hangup": {"busy": 17, "congestion": 34}.get(name.strip().lower(), 16)}
        return None


def _split_exten(value: str) -> tuple[str, str, str]:
    exten, _, rest = value.partition(",")
    priority, _, application = rest.partition(",")
    return exten.strip(), priority.strip(), application.strip()
