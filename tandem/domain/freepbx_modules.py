"""The tables in a backup of FreePBX 15 or newer, which has a JSON file for each module instead of a dump; pure, and never raises.

Each module writes its rows in a way of its own, so a row is known by the table that it is filed under, or else by its columns.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tandem.domain.sql_dump import Row

# Tables of keywords look alike; those of the SIP drivers are filed under their own names, wherever they are.
_FILED: Final = frozenset({
    "users", "devices", "sip", "pjsip", "trunks", "incoming", "outbound_routes", "outbound_route_patterns", "outbound_route_trunks", "outbound_route_sequence",
    "queues_config", "queues_details", "ivr_details", "ivr_entries", "announcement", "ringgroups", "findmefollow", "timeconditions", "timegroups_groups",
    "timegroups_details", "meetme", "paging_config", "paging_groups", "parkplus", "miscdests", "daynight", "setcid", "queueprio", "languages", "callback", "disa",
    "miscapps", "vmblast", "pinset_usage", "trunk_dialpatterns",
})  # fmt: skip
_KNOWN_BY: Final = {
    "incoming": {"cidnum", "extension", "destination"},
    "outbound_routes": {"route_id", "emergency_route"},
    "outbound_route_patterns": {"route_id", "match_pattern_pass"},
    "trunk_dialpatterns": {"trunkid", "match_pattern_pass"},
    "findmefollow": {"grpnum", "grplist", "pre_ring"},
    "ringgroups": {"grpnum", "grplist", "postdest"},
    "ivr_details": {"id", "invalid_destination", "timeout_destination"},
    "ivr_entries": {"ivr_id", "selection", "dest"},
    "users": {"extension", "ringtimer", "voicemail"},
    "trunks": {"trunkid", "tech", "channelid"},
}
MAX_DEPTH: Final = 12


def read_modules(modules: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Module -> what its file holds, parsed; table -> its rows, each column as text."""
    tables: dict[str, list[Row]] = {}
    for module, content in modules.items():
        for table, row in _walk(content, "", 0):
            tables.setdefault(table, []).append(
                {key: _write(value) for key, value in row.items() if not isinstance(value, dict | list)}
            )
            if table == "outbound_routes" and isinstance(trunks := row.get("trunks"), list):
                seats = [
                    {"route_id": _write(row["route_id"]), "trunk_id": _write(trunk), "seq": str(seq)}
                    for seq, trunk in enumerate(trunks)
                ]
                tables.setdefault("outbound_route_trunks", []).extend(seats)
        tables.setdefault("featurecodes", []).extend(_list_codes(module.lower(), content))
    return tables


def _walk(value: Any, filed: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """(table, row) of every row in it. filed: the last key on the way that is a table's name."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, list):
        for it in value:
            yield from _walk(it, filed, depth + 1)
    elif isinstance(value, dict):
        is_row = any(not isinstance(it, dict | list) for it in value.values())
        table = (
            (filed or next((name for name, signs in _KNOWN_BY.items() if signs <= value.keys()), "")) if is_row else ""
        )
        if table:
            yield table, value
        for key, it in value.items():
            yield from _walk(it, key if key in _FILED else "" if table else filed, depth + 1)


def _list_codes(module: str, content: Any) -> Iterator[Row]:
    """Feature codes: FreePBX writes those of a module without their defaults."""
    configs = content.get("configs") if isinstance(content, dict) else None
    for part in configs if isinstance(configs, list) else [configs]:
        features = part.get("features") if isinstance(part, dict) else None
        for name, found in features.items() if isinstance(features, dict) else ():
            if isinstance(found, dict):
                yield {"modulename": module, "featurename": name, **{key: _write(it) for key, it in found.items()}}


def _write(value: Any) -> str:
    return "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)
