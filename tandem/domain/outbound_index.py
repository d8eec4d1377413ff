"""Outbound routes, prepared for the calls that look for one; built when a route changes, never for a call."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tandem.domain.dialling import COUNTRY_RANK, find_region, read_dial_pattern, write_e164
from tandem.domain.numbers import NumberPlan
from tandem.domain.outbound_entities import OutboundRoute


class _Rule(NamedTuple):
    """One pattern of a route, or its set of countries. Sorted by position, then by how much it says, then by name."""

    position: int
    rank: tuple[int, ...]
    name: str
    regex: re.Pattern[str] | None
    countries: frozenset[str]
    route: OutboundRoute

    @property
    def pattern(self) -> str:
        """The regular expression, anchored at both ends; '' of a set of countries."""
        return self.regex.pattern if self.regex is not None else ""

    def matches(self, dialled: str) -> bool:
        """Whether the pattern has the number as it was dialled."""
        return self.regex is not None and self.regex.match(dialled) is not None


class OutboundIndex(NamedTuple):
    """The rules of the active routes in the order in which they are tried; emergency, static: those of such routes alone."""

    rules: tuple[_Rule, ...]
    emergency: tuple[_Rule, ...]
    static: tuple[_Rule, ...]

    def find(self, dialled: str, plan: NumberPlan | None, country: str | None) -> Iterator[OutboundRoute]:
        """Every route that has the number, each once, in their order."""
        e164 = write_e164(dialled, plan)
        seen: set[str] = set()
        for rule in self.rules:
            if rule.name in seen:
                continue
            if rule.regex is None:
                is_found = find_region(dialled, country).country in rule.countries
            else:
                is_found = rule.matches(dialled) or (bool(e164) and rule.matches(e164))
            if is_found:
                seen.add(rule.name)
                yield rule.route

    def is_emergency(self, dialled: str) -> bool:
        """Whether the static dialplan takes the number for one that passes every limit: as it was dialled."""
        return any(rule.matches(dialled) for rule in self.emergency)


def index_routes(routes: Iterable[OutboundRoute]) -> OutboundIndex:
    """The index; ValueError for a pattern that Asterisk could not match."""
    rules: list[_Rule] = []
    for route in routes:
        if not route.active:
            continue
        for pattern in route.patterns:
            read = read_dial_pattern(pattern)
            rules.append(_Rule(route.position, read.rank, route.name, re.compile(read.regex), frozenset(), route))
        if route.countries:
            rules.append(_Rule(route.position, COUNTRY_RANK, route.name, None, frozenset(route.countries), route))
    rules.sort(key=lambda rule: rule[:3])
    emergency = tuple(rule for rule in rules if rule.route.emergency)
    return OutboundIndex(tuple(rules), emergency, tuple(rule for rule in rules if rule.route.static))
