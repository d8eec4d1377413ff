"""FreePBX's tables as the importer's parts read them, with what all of them name; pure, and makes no object."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tandem.domain.carrying import Carrier
from tandem.domain.sql_dump import Row

Tables = Mapping[str, list[Row]]


@dataclass(slots=True)
class Source:
    """The tables, what was taken of them so far, and names: (kind, FreePBX's number) -> ours."""

    tables: Tables
    carrier: Carrier = field(default_factory=Carrier)
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    taken: dict[str, set[str]] = field(default_factory=dict)
    # Mailboxes that were taken, extensions of phones, and times that are told by the dates on which they hold.
    boxes: set[str] = field(default_factory=set)
    phones: set[str] = field(default_factory=set)
    only_dates: set[str] = field(default_factory=set)
    # Tables that somebody asked for.
    read: set[str] = field(default_factory=set)

    def rows(self, table: str) -> list[Row]:
        """None where there is no such table."""
        self.read.add(table)
        return self.tables.get(table, [])

    def settings(self, table: str) -> dict[str, dict[str, list[str]]]:
        """Id -> keyword -> data, of FreePBX's tables of keywords."""
        found: dict[str, dict[str, list[str]]] = {}
        for row in self.rows(table):
            found.setdefault(row.get("id", ""), {}).setdefault(row.get("keyword", ""), []).append(row.get("data", ""))
        return found

    def devices(self) -> dict[str, dict[str, str]]:
        """Id of a phone's device or a trunk -> keyword -> data, of both SIP drivers."""
        both = {**self.settings("sip"), **self.settings("pjsip")}
        return {number: {key: data[-1] for key, data in found.items()} for number, found in both.items()}


def within(text: str, low: int, high: int) -> int | None:
    """The number, as near as the field allows; None where there is none, or 0 means a default."""
    if not re.fullmatch("[0-9]{1,9}", text) or (int(text) == 0 and low > 0):
        return None
    return min(max(int(text), low), high)


def is_on(text: str) -> bool:
    """FreePBX's ways of saying yes."""
    return text.lower() in {"yes", "on", "1", "checked", "enabled", "true"}
