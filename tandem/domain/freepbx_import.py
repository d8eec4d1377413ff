"""FreePBX's tables -> a PBX, and what of them is not in it, by table and row; pure, it never reads a file or a database.

Destinations are FreePBX's own: `ext-queues,400,1`, `from-did-direct,1001,1`, `ivr-3,s,1`. One that Tandem has no object for ends the call, and is told.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tandem.domain.carrying import Carried, Carrier, cut_text, list_codecs, name_freely
from tandem.domain.conf_text import read_conf
from tandem.domain.sql_dump import Row

Tables = Mapping[str, list[Row]]
_HANGUP: Final = {"hangup": 16}
# Tables whose rows are read; others of FreePBX's modules that say where calls go are told.
_TOLD: Final = {
    "ringgroups": "ring group", "findmefollow": "follow-me", "timeconditions": "time condition", "outbound_routes": "outbound route", "meetme": "conference",
    "callback": "callback", "disa": "DISA", "paging_config": "paging group", "parkplus": "parking lot", "miscdests": "misc destination",
    "setcid": "caller-id change", "queueprio": "queue priority", "daynight": "call-flow toggle",
}  # fmt: skip
_STRATEGIES: Final = frozenset({"ringall", "leastrecent", "fewestcalls", "random", "rrmemory", "linear", "wrandom"})


def import_freepbx(tables: Tables, voicemail: str = "") -> Carried:
    """tables: rows by table, as `tandem.domain.sql_dump` reads them; voicemail: the text of voicemail.conf, where the backup has it."""
    return _FreePbx(tables, voicemail).take()


class _FreePbx:
    def __init__(self, tables: Tables, voicemail: str) -> None:
        self._tables = tables
        self._carrier = Carrier()
        self._boxes: set[str] = set()
        self._voicemail = voicemail
        self._names: dict[tuple[str, str], str] = {}
        self._taken: dict[str, set[str]] = {}

    def take(self) -> Carried:
        """All of it; names come first, since everything leads to everything."""
        for table, kind, key in (
            ("queues_config", "queue", "extension"),
            ("ivr_details", "menu", "id"),
            ("announcement", "announcement", "announcement_id"),
        ):
            for row in self._rows(table):
                number = row.get(key, "")
                text = row.get("descr") or row.get("name") or row.get("description") or kind
                self._names[kind, number] = name_freely(text, self._taken.setdefault(kind, set()), kind)
        self._take_boxes()
        self._take_phones()
        self._take_trunks()
        self._take_announcements()
        self._take_queues()
        self._take_menus()
        self._take_dids()
        for table, word in _TOLD.items():
            for index, row in enumerate(self._rows(table), 1):
                name = next(
                    (row[key] for key in ("displayname", "description", "grpnum", "name", "exten") if row.get(key)), ""
                )
                self._carrier.lose(f"{table} {index}", f"{word} {name} is not carried over".replace("  ", " "))
        return self._carrier.finish()

    def _rows(self, table: str) -> list[Row]:
        return self._tables.get(table, [])

    def _settings(self, table: str) -> dict[str, dict[str, list[str]]]:
        """Id -> keyword -> data, of FreePBX's tables of keywords."""
        found: dict[str, dict[str, list[str]]] = {}
        for row in self._rows(table):
            found.setdefault(row.get("id", ""), {}).setdefault(row.get("keyword", ""), []).append(row.get("data", ""))
        return found

    # --------------------------------------------------------------------------------------------- phones, trunks

    def _take_boxes(self) -> None:
        sections, lost = read_conf("voicemail.conf", self._voicemail)
        self._carrier.lost += lost
        for option in (
            it for section in sections if section.name not in {"general", "zonemessages"} for it in section.options
        ):
            pin, name, email, *_ = [*(part.strip() for part in option.value.split(",")), "", "", ""]
            place = f"{option.place} ({option.name})"
            box = {
                "mailbox": option.name,
                "pin": self._carrier.take_pin(place, pin),
                "name": cut_text(name.replace("|", " ")),
                "email": email,
            }
            if self._carrier.add("voicemail_boxes", place, box):
                self._boxes.add(option.name)

    def _take_phones(self) -> None:
        devices = {**self._settings("sip"), **self._settings("pjsip")}
        for row in self._rows("users"):
            number = row.get("extension", "")
            place = f"users {number}"
            device = devices.get(number)
            if device is None:
                self._carrier.lose(place, "it has no SIP or PJSIP device: no phone can be made of it")
                continue
            has_box = row.get("voicemail", "novm") not in {"", "novm"}
            if has_box and number not in self._boxes:
                self._carrier.lose(place, "its voicemail box is not in the backup")
            self._carrier.add("endpoints", place, {
                "extension": number,
                "name": cut_text(row.get("name", "")),
                "secret": self._carrier.take_secret(place, device.get("secret", [""])[-1]),
                "codecs": tuple(list_codecs(device.get("allow", [""])[-1])),
                "voicemail": number if has_box and number in self._boxes else None,
                "ring_time_s": _within(row.get("ringtimer", ""), 5, 300),
                "permissions": ("internal", "national"),
            })  # fmt: skip

    def _take_trunks(self) -> None:
        settings = {**self._settings("sip"), **self._settings("pjsip")}
        taken = self._taken.setdefault("trunk", set())
        for row in self._rows("trunks"):
            number, name = row.get("trunkid", ""), row.get("name") or row.get("channelid", "")
            place = f"trunks {number}"
            if row.get("tech", "").lower() not in {"sip", "pjsip"}:
                self._carrier.lose(place, f"trunk {name} of kind {row.get('tech', '')} is not carried over")
                continue
            # chan_sip's are tr-peer-N, PJSIP's have the trunk's number.
            values = settings.get(number) or settings.get(f"tr-peer-{number}") or {}
            first = {key: found[-1] for key, found in values.items()}
            host = first.get("sip_server") or first.get("host", "")
            port = first.get("sip_server_port") or first.get("port", "")
            registers = first.get("registration", "none") == "send" or "register" in first
            secret = first.get("secret")
            self._carrier.add("trunks", place, {
                "name": name_freely(name, taken, "trunk"),
                "authentication": "registration" if registers else "ip",
                "hosts": (f"{host}:{port}" if port and port != "5060" else host,) if host else (),
                "match": tuple(part.strip() for part in first.get("match", "").split(",") if part.strip()),
                "username": first.get("username") or first.get("defaultuser"),
                "secret": self._carrier.take_secret(place, secret) if secret else None,
                "from_user": first.get("from_user") or first.get("fromuser"),
                "from_domain": first.get("from_domain") or first.get("fromdomain"),
                "codecs": tuple(list_codecs(first.get("codecs") or first.get("allow", ""))),
            })  # fmt: skip

    # ----------------------------------------------------------------------------------------------- where calls go

    def _take_announcements(self) -> None:
        for row in self._rows("announcement"):
            number = row.get("announcement_id", "")
            place = f"announcement {number}"
            self._carrier.lose(
                place, "its recording is not carried over: upload it as a sound, and name it in `prompts`"
            )
            self._carrier.add("announcements", place, {
                "name": self._names["announcement", number],
                "description": cut_text(row.get("description", "")),
                "prompts": ("vm-goodbye",),
                "then": self._follow(place, row.get("post_dest", "")),
            })  # fmt: skip

    def _take_queues(self) -> None:
        details = self._settings("queues_details")
        for row in self._rows("queues_config"):
            number = row.get("extension", "")
            place = f"queues_config {number}"
            values = details.get(number, {})
            first = {key: found[-1] for key, found in values.items()}
            strategy = first.get("strategy", "ringall")
            if strategy not in _STRATEGIES:
                self._carrier.lose(place, f"strategy {strategy} is ringall now")
            self._carrier.add("queues", place, {
                "name": self._names["queue", number],
                "description": cut_text(row.get("descr", "")),
                "extension": number,
                "strategy": strategy if strategy in _STRATEGIES else "ringall",
                "members": tuple(self._list_members(place, values.get("member", ()))),
                "ring_time_s": _within(first.get("timeout", ""), 5, 300),
                "retry_s": _within(first.get("retry", ""), 1, 60),
                "wrap_up_s": _within(first.get("wrapuptime", ""), 0, 3600),
                "max_wait_s": _within(row.get("maxwait", ""), 5, 86400),
                "max_callers": _within(first.get("maxlen", ""), 0, 10000),
                "weight": _within(first.get("weight", ""), 0, 999),
                "join_when_empty": first.get("joinempty", "yes") in {"yes", "true"},
                "fallback": self._follow(place, row.get("dest", "")),
            })  # fmt: skip

    def _list_members(self, place: str, members: Iterable[str]) -> Iterable[dict[str, Any]]:
        for member in members:
            interface, penalty, *_ = [*member.split(","), "0"]
            found = re.fullmatch(
                r"(?:Local|SIP|PJSIP)/([0-9]{2,8})(?:@from-queue/n|@from-internal/n)?", interface, re.IGNORECASE
            )
            if found is None:
                self._carrier.lose(place, f"member {interface[:60]} is no phone of ours")
            else:
                yield {"endpoint": found[1], **({"penalty": penalty} if penalty.isdigit() else {})}

    def _take_menus(self) -> None:
        options: dict[str, dict[str, str]] = {}
        for row in self._rows("ivr_entries"):
            options.setdefault(row.get("ivr_id", ""), {})[row.get("selection", "")] = row.get("dest", "")
        for row in self._rows("ivr_details"):
            number = row.get("id", "")
            place = f"ivr_details {number}"
            self._carrier.lose(
                place, "its recordings are not carried over: upload them as sounds, and name them in `prompts`"
            )
            keys = {key: dest for key, dest in options.get(number, {}).items() if re.fullmatch("[0-9*#]{1,8}", key)}
            for key in options.get(number, {}).keys() - keys.keys() - {"i", "t"}:
                self._carrier.lose(place, f"option {key[:20]} is not carried over")
            invalid = row.get("invalid_destination") or options.get(number, {}).get("i", "")
            timeout = row.get("timeout_destination") or options.get(number, {}).get("t", "")
            self._carrier.add("menus", place, {
                "name": self._names["menu", number],
                "description": cut_text(row.get("description") or row.get("name", "")),
                "prompts": ("vm-enter-num-to-call",),
                "options": {key: self._follow(f"{place}, key {key}", dest) for key, dest in keys.items()},
                "direct_dial": row.get("directdial", "") not in {"", "0", "CHECKED=0", "Disabled"},
                "timeout_s": _within(row.get("timeout_time", ""), 1, 60),
                "invalid": self._follow(f"{place}, invalid", invalid),
                "timeout": self._follow(f"{place}, timeout", timeout),
                "fallback": self._follow(f"{place}, timeout", timeout),
            })  # fmt: skip

    def _take_dids(self) -> None:
        for index, row in enumerate(self._rows("incoming"), 1):
            number, caller = row.get("extension", ""), row.get("cidnum", "")
            place = f"incoming {index} ({number or 'any'}{f' from {caller}' if caller else ''})"
            if caller:
                self._carrier.lose(place, "routes by the caller's number are not carried over")
                continue
            named = "default" if number in {"", "_X.", "_."} else number
            self._carrier.add("dids", place, {
                "number": named,
                "description": cut_text(row.get("description", "")),
                "destination": self._follow(place, row.get("destination", "")),
                "priority": _within(row.get("pricid", ""), 0, 99) if row.get("pricid", "").isdigit() else None,
            })  # fmt: skip

    def _follow(self, place: str, destination: str) -> dict[str, Any]:
        """One of ours; the call ends where there is none."""
        context, exten, *_ = [*destination.split(","), "", ""]
        if (found := re.fullmatch(r"ivr-([0-9]+)", context)) and ("menu", found[1]) in self._names:
            return {"menu": self._names["menu", found[1]]}
        if (found := re.fullmatch(r"app-announcement-([0-9]+)", context)) and ("announcement", found[1]) in self._names:
            return {"announcement": self._names["announcement", found[1]]}
        match context:
            case "ext-queues" if ("queue", exten) in self._names:
                return {"queue": self._names["queue", exten]}
            case "from-did-direct" if re.fullmatch("[0-9]{2,8}", exten):
                return {"endpoint": exten}
            case "ext-local" if found := re.fullmatch("vm[busi]([0-9]{2,10})", exten):
                return {"voicemail": found[1]}
            case "app-blackhole":
                return {"hangup": {"busy": 17, "congestion": 34, "no-service": 34}.get(exten, 16)}
        what = f"has no destination of ours ({destination})" if destination else "has no destination"
        self._carrier.lose(place, f"{what}: the call ends there")
        return dict(_HANGUP)


def _within(text: str, low: int, high: int) -> int | None:
    """The number, as near as the field allows; None where there is none, or 0 means a default."""
    if not re.fullmatch("[0-9]{1,9}", text) or (int(text) == 0 and low > 0):
        return None
    return min(max(int(text), low), high)
