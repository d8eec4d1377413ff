"""FreePBX's outbound routes -> ours, and what of them is not in these; pure, and never lets out more than FreePBX did.

FreePBX has a prefix to take off and digits to put before each pattern, we have them for each route: a route with several of them is several.
"""

import re
from typing import Final

from tandem.domain.carrying import cut_text, name_freely
from tandem.domain.freepbx_source import Source, is_on
from tandem.domain.freepbx_times import read_zone
from tandem.domain.sql_dump import Row

_SIGN: Final = re.compile(r"\[[^\]]*\]|.")
_NATIONAL_SIGNS: Final = 12


def take_routes(source: Source) -> None:
    """All of them, in FreePBX's order; ("trunk", its number) must be named."""
    order = {row.get("route_id", ""): row.get("seq", "") for row in source.rows("outbound_route_sequence")}
    patterns: dict[str, list[Row]] = {}
    for row in source.rows("outbound_route_patterns"):
        patterns.setdefault(row.get("route_id", ""), []).append(row)
    with_pin_set = {
        row.get("foreign_id", "") for row in source.rows("pinset_usage") if row.get("dispname", "") == "routing"
    }
    for index, row in enumerate(source.rows("outbound_routes")):
        number = row.get("route_id", "")
        place = f"outbound_routes {number} ({row.get('name', '')[:40]})"
        seq = order.get(number) or row.get("seq") or str(index)
        position = min(int(seq) if seq.isdigit() else index, 999) * 10 + 10
        if number in with_pin_set:
            source.carrier.lose(place, "is left out: it asks for a PIN of a set, and there is one PIN for a route here")
            continue
        _take_route(source, place, row, patterns.get(number, []), position)


def _take_route(source: Source, place: str, row: Row, patterns: list[Row], position: int) -> None:
    number, lose = row.get("route_id", ""), source.carrier.lose
    emergency = is_on(row.get("emergency_route", ""))
    seats = sorted(
        (it for it in source.rows("outbound_route_trunks") if it.get("route_id") == number),
        key=lambda it: int(it.get("seq") or 0) if it.get("seq", "0").isdigit() else 0,
    )
    trunks = [name for it in seats if (name := source.names.get(("trunk", it.get("trunk_id", ""))))]
    if not trunks:
        lose(place, "is left out: none of its trunks is carried over")
        return
    for field, word in (("outcid", "its caller id"), ("dest", "where its calls go when no trunk takes them")):
        if row.get(field):
            lose(place, f"{word} ({row[field][:60]}) is not carried over")
    pin = row.get("password", "")
    schedule = _find_schedule(source, row)
    if not emergency and pin and not re.fullmatch("[0-9]{4,12}", pin):
        lose(place, "is left out: its password is no PIN of 4 to 12 digits")
        return
    if not emergency and schedule is None:
        lose(place, "is left out: its times are not carried over as hours of a week")
        return
    ways: dict[tuple[int, str], list[str]] = {}
    for it in patterns:
        prefix, rest = it.get("match_pattern_prefix", ""), it.get("match_pattern_pass", "")
        if it.get("match_cid"):
            lose(
                place,
                f"pattern {prefix}{rest} for callers {it['match_cid'][:30]} is left out: no route here asks who calls",
            )
        elif prefix.startswith("+"):
            lose(place, f"pattern {prefix}{rest} is left out: a prefix with a plus is no part of what was dialled here")
        else:
            way = len(_SIGN.findall(prefix)), it.get("prepend_digits", "")
            ways.setdefault(way, []).append(_write_pattern(prefix + rest))
    taken = source.taken.setdefault("route", set())
    for (strip, prepend), texts in ways.items():
        far = any(map(_may_be_abroad, [text.removeprefix("_") for text in texts], [strip] * len(texts)))
        if far and not emergency:
            lose(
                place,
                "may lead abroad: only phones with the permission international may dial it, unless `country` tells them apart",
            )
        source.carrier.add("outbound_routes", place, {
            "name": name_freely(row.get("name", ""), taken, "route"),
            "description": cut_text(row.get("name", "")),
            "position": position,
            "patterns": tuple(texts),
            "strip": strip,
            "prepend": prepend,
            "trunks": tuple(dict.fromkeys(trunks))[:10],
            "schedule": None if emergency else schedule,
            "pin": None if emergency else pin,
            "permission": None if far or emergency else "national",
            "emergency": emergency,
        })  # fmt: skip


def _find_schedule(source: Source, row: Row) -> str | None:
    """'' for all the time; None where there are times that we do not have."""
    group = row.get("time_group_id", "")
    if row.get("calendar_id") or row.get("calendar_group_id"):
        return None
    if group in {"", "0"}:
        return ""
    return None if group in source.only_dates else source.names.get(("schedule", f"{group}/{read_zone(row)}"))


def _write_pattern(text: str) -> str:
    """With Asterisk's underscore where it is one."""
    return f"_{text}" if re.search(r"[XZNxzn.!\[]", text) else text


def _may_be_abroad(pattern: str, strip: int) -> bool:
    """Whether what is left behind the prefix may be a number of another country: nobody knows FreePBX's own."""
    signs = _SIGN.findall(pattern)[strip:]
    if "".join(signs[:2]) in {"00", "0.", "0!"} or "".join(signs[:3]) == "011" or signs[:1] == ["+"]:
        return True
    is_open = not signs or signs[-1] in ".!"
    return not (signs and signs[0].isdigit()) and (is_open or len(signs) > _NATIONAL_SIGNS)
