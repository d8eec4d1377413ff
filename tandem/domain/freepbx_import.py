"""FreePBX's tables -> a PBX, and what of them is not in it, by table and row; pure, it never reads a file or a database.

Destinations are FreePBX's own: `ext-queues,400,1`, `from-did-direct,1001,1`, `ivr-3,s,1`. One that Tandem has no object for ends the call, and is told.
Phones and trunks are in `tandem.domain.freepbx_phones`, outbound routes in `freepbx_outside`, time groups in `freepbx_times`.
"""

import re
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from tandem.domain.carrying import Carried, cut_text, name_freely
from tandem.domain.freepbx_outside import take_routes
from tandem.domain.freepbx_phones import take_boxes, take_codes, take_phones, take_trunks
from tandem.domain.freepbx_rest import tell_rest
from tandem.domain.freepbx_source import Source, Tables, is_on, within
from tandem.domain.freepbx_times import read_zone, take_times
from tandem.domain.queue_options import NO_LIMIT_S, read_queue_options
from tandem.domain.sql_dump import Row

_HANGUP: Final = {"hangup": 16}
# (table, our kind, column of its number, columns of its text); in this order names are given.
_NAMED: Final = (
    ("queues_config", "queue", "extension", ("descr",)),
    ("ivr_details", "menu", "id", ("name", "description")),
    ("announcement", "announcement", "announcement_id", ("description",)),
    ("ringgroups", "ring group", "grpnum", ("description",)),
    ("meetme", "conference", "exten", ("description",)),
    ("paging_config", "page group", "page_group", ("description",)),
)
# What only does something on the way: context -> (table, column of its number, column of where it goes, its word).
_PASSED: Final = {
    "app-setcid": ("setcid", "cid_id", "dest", "caller-id change"),
    "app-queueprio": ("queueprio", "queueprio_id", "dest", "queue priority"),
    "app-languages": ("languages", "language_id", "dest", "language"),
}
# Tables of modules that say where calls go, and that we have nothing for: told by row.
_TOLD: Final = {"callback": "callback", "disa": "DISA", "miscapps": "misc application", "vmblast": "voicemail blast"}
_GROUP_STRATEGIES: Final = {
    "ringall": "ringall",
    "hunt": "hunt",
    "memoryhunt": "memory-hunt",
    "random": "random",
    "firstavailable": "first-available",
    "firstnotonphone": "first-available",
}
_ANONYMOUS: Final = frozenset({"anonymous", "private", "unknown", "restricted", "unavailable", "withheld", "blocked"})
# Conditions that lead to conditions.
MAX_STEPS: Final = 8


def import_freepbx(tables: Tables, voicemail: str = "") -> Carried:
    """tables: rows by table, as `tandem.domain.sql_dump` reads them; voicemail: the text of voicemail.conf, where the backup has it."""
    return _FreePbx(tables, voicemail).take()


class _FreePbx:
    def __init__(self, tables: Tables, voicemail: str) -> None:
        self._source = Source(tables)
        self._carrier = self._source.carrier
        self._voicemail = voicemail
        self._names = self._source.names
        self._rows = self._source.rows
        self._inside: dict[str, dict[str, Any]] = {}

    def take(self) -> Carried:
        """All of it; names come first, since everything leads to everything."""
        for table, kind, key, columns in _NAMED:
            for row in self._rows(table):
                text = next((row[column] for column in columns if row.get(column)), kind)
                number = row.get(key, "")
                self._names[kind, number] = name_freely(text, self._source.taken.setdefault(kind, set()), kind[:8])
        take_codes(self._source)
        take_times(self._source)
        take_boxes(self._source, self._voicemail)
        take_phones(self._source)
        take_trunks(self._source)
        take_routes(self._source)
        self._take_meetings()
        self._take_announcements()
        self._take_groups()
        self._take_queues()
        self._take_menus()
        self._take_dids()
        for table, word in _TOLD.items():
            for index, row in enumerate(self._rows(table), 1):
                name = next((row[key] for key in ("displayname", "description", "name", "ext") if row.get(key)), "")
                self._carrier.lose(f"{table} {index}", f"{word} {name} is not carried over".replace("  ", " "))
        tell_rest(self._source)
        return self._carrier.finish()

    # ----------------------------------------------------------------------------------------------- meetings, parking

    def _take_meetings(self) -> None:
        for row in self._rows("meetme"):
            number, options = row.get("exten", ""), row.get("options", "")
            place = f"meetme {number}"
            pins = {"pin": row.get("userpin", ""), "moderator_pin": row.get("adminpin", "")}
            self._carrier.add("conferences", place, {
                "name": self._names["conference", number],
                "description": cut_text(row.get("description", "")),
                "extension": number,
                **{field: self._carrier.take_pin(place, pin) for field, pin in pins.items() if pin},
                "max_members": within(row.get("users", ""), 0, 500),
                "wait_for_moderator": "w" in options or None,
                "announce_joins": "i" in options or None,
                "recording": "r" in options or None,
            })  # fmt: skip
        members: dict[str, list[str]] = {}
        for row in self._rows("paging_groups"):
            members.setdefault(row.get("page_number", ""), []).append(row.get("ext", ""))
        for row in self._rows("paging_config"):
            number = row.get("page_group", "")
            place = f"paging_config {number}"
            known = [it for it in members.get(number, []) if it in self._source.phones]
            for it in members.get(number, []):
                if it not in known:
                    self._carrier.lose(place, f"member {it[:30]} is no phone of ours")
            self._carrier.add("page_groups", place, {
                "name": self._names["page group", number],
                "description": cut_text(row.get("description", "")),
                "extension": number,
                "members": tuple(known)[:100],
                "duplex": is_on(row.get("duplex", "")) or None,
            })  # fmt: skip
        for row in self._rows("parkplus"):
            lot, first = row.get("parkext", ""), row.get("parkpos", "")
            if (
                not is_on(row.get("defaultlot", ""))
                or not re.fullmatch("[0-9]{2,8}", lot)
                or first != str(int(lot) + 1)
            ):
                self._carrier.lose(
                    f"parkplus {row.get('id', '')}",
                    f"parking lot {row.get('name', '')} is left out: the one we have is a number and those after it",
                )
                continue
            self._carrier.general |= {
                "parking_extension": lot,
                "parking_places": within(row.get("numslots", ""), 1, 99) or 20,
                "parking_time_s": within(row.get("parkingtime", ""), 5, 3600) or 60,
            }

    # ----------------------------------------------------------------------------------------------- where calls go

    def _take_groups(self) -> None:
        for row in self._rows("ringgroups"):
            number = row.get("grpnum", "")
            place = f"ringgroups {number}"
            strategy = (row.get("strategy") or "ringall").removesuffix("-prim")
            if strategy not in _GROUP_STRATEGIES or row.get("strategy", "").endswith("-prim"):
                self._carrier.lose(
                    place,
                    f"strategy {row.get('strategy', '')[:30]} is {_GROUP_STRATEGIES.get(strategy, 'ringall')} now",
                )
            if row.get("annmsg_id", "") not in {"", "0"}:
                self._carrier.lose(place, "what callers hear before it rings is not carried over")
            music = row.get("ringing", "")
            if music.lower() not in {"", "ring", "default"}:
                self._carrier.lose(place, f"music {music[:40]} is not carried over")
            self._carrier.add("ring_groups", place, {
                "name": self._names["ring group", number],
                "description": cut_text(row.get("description", "")),
                "extension": number,
                "strategy": _GROUP_STRATEGIES.get(strategy, "ringall"),
                "members": tuple(self._list_group(place, row)),
                "ring_time_s": within(row.get("grptime", ""), 5, 300),
                "follow_forwards": False if is_on(row.get("cfignore", "")) else None,
                "caller_prefix": cut_text(row.get("grppre", "")),
                "music": "default" if music.lower() == "default" else None,
                "fallback": self._follow(place, row.get("postdest", "")),
            })  # fmt: skip

    def _list_group(self, place: str, row: Row) -> Iterable[dict[str, Any]]:
        for number in filter(None, row.get("grplist", "").split("-")):
            plain = number.rstrip("#")
            if number in self._source.phones:
                yield {"endpoint": number}
            elif number.endswith("#") and re.fullmatch(r"\+?[0-9]{2,24}", plain):
                yield {"external": plain, "confirm": is_on(row.get("needsconf", ""))}
            else:
                self._carrier.lose(place, f"member {number[:30]} is no phone of ours")

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
        details = self._source.settings("queues_details")
        for row in self._rows("queues_config"):
            number = row.get("extension", "")
            place = f"queues_config {number}"
            values = details.get(number, {})
            first = {key: found[-1] for key, found in values.items()}
            options = read_queue_options(first.get, partial(self._carrier.lose, place))
            wait = row.get("maxwait", "")
            wait_s = within(wait, 5, NO_LIMIT_S) or NO_LIMIT_S
            if str(wait_s) != wait:
                self._carrier.lose(place, f"callers waited {wait[:20] or 'without a limit'}: it is {wait_s} s now")
            self._carrier.add("queues", place, {
                **options,
                "name": self._names["queue", number],
                "description": cut_text(row.get("descr", "")),
                "extension": number,
                "members": tuple(self._list_members(place, values.get("member", ()))),
                "max_wait_s": wait_s,
                "recording": first.get("recording", "") in {"force", "yes", "always"},
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
                "timeout_s": within(row.get("timeout_time", ""), 1, 60),
                "invalid": self._follow(f"{place}, invalid", invalid),
                "timeout": self._follow(f"{place}, timeout", timeout),
                "fallback": self._follow(f"{place}, timeout", timeout),
            })  # fmt: skip

    def _take_dids(self) -> None:
        by_number: dict[str, list[tuple[str, Row]]] = {}
        for index, row in enumerate(self._rows("incoming"), 1):
            number, caller = row.get("extension", ""), row.get("cidnum", "")
            place = f"incoming {index} ({number or 'any'}{f' from {caller}' if caller else ''})"
            by_number.setdefault("default" if number in {"", "_X.", "_."} else number, []).append((place, row))
        for number, rows in by_number.items():
            plain = [(place, row) for place, row in rows if not row.get("cidnum")]
            if not plain:
                for place, _ in rows:
                    self._carrier.lose(place, "is left out: the number has no route for its other callers")
                continue
            (place, row), anonymous, routes = plain[0], None, []
            for where, other in rows:
                caller = other.get("cidnum", "")
                pattern = caller.removeprefix("_").replace(".", "*").replace("!", "*")
                if caller.lower() in _ANONYMOUS:
                    anonymous = self._follow(where, other.get("destination", ""))
                elif caller and re.fullmatch(r"\+?[0-9]{1,20}\*?", pattern):
                    routes.append(
                        {"callers": (pattern,), "destination": self._follow(where, other.get("destination", ""))}
                    )
                elif caller:
                    self._carrier.lose(where, "is left out: callers are told by a number, or by how it begins")
            self._carrier.add("dids", place, {
                "number": number,
                "description": cut_text(row.get("description", "")),
                "destination": self._follow(place, row.get("destination", "")),
                "caller_routes": tuple(routes)[:100],
                "anonymous": anonymous,
                "priority": within(row.get("pricid", ""), 0, 99) if row.get("pricid", "").isdigit() else None,
            })  # fmt: skip

    def _follow(self, place: str, destination: str, steps: int = 0) -> dict[str, Any]:
        """One of ours; the call ends where there is none."""
        context, exten, *_ = [*destination.split(","), "", ""]
        found: dict[str, Any] | None = None
        if steps < MAX_STEPS:
            found = self._find(context, exten) or self._find_on_the_way(place, context, exten, steps)
        if found is None:
            what = f"has no destination of ours ({destination})" if destination else "has no destination"
            self._carrier.lose(place, f"{what}: the call ends there")
        return found or dict(_HANGUP)

    def _find(self, context: str, exten: str) -> dict[str, Any] | None:
        """An object of ours that it names."""
        for pattern, kind in (("ivr-([0-9]+)", "menu"), ("app-announcement-([0-9]+)", "announcement")):
            if (found := re.fullmatch(pattern, context)) and (kind, found[1]) in self._names:
                return {kind: self._names[kind, found[1]]}
        for name, kind, field in (
            ("ext-queues", "queue", "queue"),
            ("ext-group", "ring group", "ring_group"),
            ("ext-meetme", "conference", "conference"),
        ):
            if context == name and (kind, exten) in self._names:
                return {field: self._names[kind, exten]}
        match context:
            case "from-did-direct" | "ext-findmefollow" | "ext-local" if re.fullmatch("(FM)?[0-9]{2,8}", exten):
                return {"endpoint": exten.removeprefix("FM")}
            case "ext-local" if found := re.fullmatch("vm([busi])([0-9]{2,10})", exten):
                return {"voicemail": found[2], **({"instructions": False} if found[1] == "s" else {})}
            case "app-blackhole":
                return {"hangup": {"busy": 17, "congestion": 34, "no-service": 34}.get(exten, 16)}
            case "directory":
                return {"directory": "both"}
        return None

    def _find_on_the_way(self, place: str, context: str, exten: str, steps: int) -> dict[str, Any] | None:
        """Where it leads that only decides, or does something first."""
        match context:
            case "timeconditions":
                row = self._find_row("timeconditions", "timeconditions_id", exten)
                return self._ask_times(place, row, steps) if row else None
            case "app-daynight":
                sides = {
                    it.get("dmode", ""): it.get("dest", "") for it in self._rows("daynight") if it.get("ext") == exten
                }
                if not sides.get("day"):
                    return None
                self._carrier.lose(place, f"call-flow toggle {exten} is its day side now")
                return self._follow(place, sides["day"], steps + 1)
            case "ext-miscdests":
                return self._dial(self._find_row("miscdests", "id", exten).get("destdial", ""))
            case _ if context in _PASSED:
                table, key, column, word = _PASSED[context]
                if row := self._find_row(table, key, exten):
                    self._carrier.lose(place, f"{word} {exten} on the way is not carried over")
                    return self._follow(place, row.get(column, ""), steps + 1)
        return None

    def _find_row(self, table: str, key: str, value: str) -> Row:
        return next((row for row in self._rows(table) if row.get(key) == value), {})

    def _ask_times(self, place: str, row: Row, steps: int) -> dict[str, Any] | None:
        """Where times are dates, the schedule is closed on these: the sides are swapped."""
        group = row.get("time", "")
        name = self._names.get(("schedule", f"{group}/{read_zone(row)}"))
        if name is None or row.get("mode", "time-group") not in {"", "time-group"}:
            return None
        then = self._follow(f"{place}, {row.get('displayname', '')[:40]}, in time", row.get("truegoto", ""), steps + 1)
        other = self._follow(f"{place}, {row.get('displayname', '')[:40]}, else", row.get("falsegoto", ""), steps + 1)
        is_open, closed = (other, then) if group in self._source.only_dates else (then, other)
        return {"schedule": name, "open": is_open, "closed": closed}

    def _dial(self, number: str) -> dict[str, Any] | None:
        """What a number that FreePBX dials by itself is here."""
        if number in self._source.phones:
            return {"endpoint": number}
        for kind, field in (("queue", "queue"), ("ring group", "ring_group"), ("conference", "conference")):
            if (kind, number) in self._names:
                return {field: self._names[kind, number]}
        return {"external": number} if re.fullmatch(r"\+?[0-9]{3,24}", number) else None
