"""What is wrong within an outbound route: patterns, countries, and what nobody could keep while Tandem is down; never looks at a call."""

import re
from collections.abc import Collection, Iterator
from typing import Final

from tandem.domain.dialling import read_dial_pattern
from tandem.domain.numbers import number_plan
from tandem.domain.outbound_entities import OutboundRoute
from tandem.domain.problems import Location, Problem

# Emergency routes stand in the generated dialplan, one line each: no more than these, of no more than so many signs.
MAX_EMERGENCY_PATTERNS: Final = 40


def check_route(at: Location, route: OutboundRoute, inside: Collection[str]) -> Iterator[Problem]:
    """Every problem of one route that stands at `at`; inside: numbers that endpoints reach inside."""
    if not route.patterns and not route.countries:
        yield Problem((*at, "patterns"), "must hold a pattern, or countries a country: the route would have no number")
    for place, pattern in enumerate(route.patterns):
        try:
            regex = read_dial_pattern(pattern).regex
        except ValueError as error:
            yield Problem((*at, "patterns", place), str(error))
            continue
        if route.emergency and (taken := next((number for number in inside if re.match(regex, number)), None)):
            yield Problem((*at, "patterns", place), f"an emergency route must not have {taken}, a number inside")
    for place, country in enumerate(route.countries):
        try:
            number_plan(country)
        except ValueError as error:
            yield Problem((*at, "countries", place), str(error))
    if len(set(route.trunks)) != len(route.trunks):
        yield Problem((*at, "trunks"), "must name each trunk once")
    yield from _check_simple(at, route)


def _check_simple(at: Location, route: OutboundRoute) -> Iterator[Problem]:
    """Routes that the dialplan decides on by itself have nothing that it cannot."""
    if not route.emergency and not route.static:
        return
    kind = "an emergency route" if route.emergency else "a static route"
    if route.countries:
        yield Problem((*at, "countries"), f"must be empty for {kind}: only Tandem can tell countries apart")
    if route.schedule is not None:
        yield Problem((*at, "schedule"), f"must not be set for {kind}: it is decided without Tandem")
    if route.pin is not None:
        yield Problem((*at, "pin"), f"must not be set for {kind}: it is decided without Tandem")
    if route.emergency and len(route.patterns) > MAX_EMERGENCY_PATTERNS:
        yield Problem((*at, "patterns"), f"must be at most {MAX_EMERGENCY_PATTERNS} for an emergency route")
