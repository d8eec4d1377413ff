"""Numbers outside that somebody configured and the toll guard would never let out: forwards, follow-me, members of groups and queues; never looks at calls.

How far an endpoint may dial is asked at each call alone: its permissions may change later.
"""

from collections.abc import Iterator
from typing import Final

from tandem.domain.entities import Pbx, Trunk
from tandem.domain.numbers import number_plan
from tandem.domain.outbound_entities import TollGuard
from tandem.domain.phones import Endpoint
from tandem.domain.problems import Location, Problem
from tandem.domain.tolls import judge_scopes, scopes_of

_FORWARDS: Final = ("forward_always", "forward_busy", "forward_no_answer", "forward_unavailable")


def check_tolls(pbx: Pbx) -> Iterator[Problem]:
    """All of them. A number is refused where it is over every trunk that might be taken."""
    for place, guard in _list_guards(pbx):
        for index, country in enumerate(guard.countries):
            try:
                number_plan(country)
            except ValueError as error:
                yield Problem((*place, "toll_guard", "countries", index), str(error))
    inside = {endpoint.extension for endpoint in pbx.endpoints}
    for at, number, endpoint, trunk in _list_numbers(pbx):
        if number in inside or not number.lstrip("+").isdigit():
            continue
        trunks: list[Trunk | None] = [known for known in pbx.trunks if trunk is None or known.name == trunk]
        refusals = [
            judge_scopes(pbx.general, tuple(scopes_of(pbx.general, endpoint, known)), number)
            for known in trunks or [None]
        ]
        if all(refusals):
            yield Problem(at, f"the toll guard refuses it: {refusals[0]}")


def _list_guards(pbx: Pbx) -> Iterator[tuple[Location, TollGuard]]:
    yield ("general",), pbx.general.toll_guard
    for collection in ("endpoints", "trunks"):
        for index, entity in enumerate(getattr(pbx, collection)):
            if entity.toll_guard is not None:
                yield (collection, index), entity.toll_guard


def _list_numbers(pbx: Pbx) -> Iterator[tuple[Location, str, Endpoint | None, str | None]]:
    """(place, number, who is to dial it, the trunk where one is given)."""
    for index, endpoint in enumerate(pbx.endpoints):
        for field in _FORWARDS:
            if number := getattr(endpoint, field):
                yield ("endpoints", index, field), number, endpoint, None
        for place, step in enumerate(endpoint.follow_me):
            yield ("endpoints", index, "follow_me", place, "number"), step.number, endpoint, None
    for index, group in enumerate(pbx.ring_groups):
        for place, member in enumerate(group.members):
            if member.external is not None:
                yield ("ring_groups", index, "members", place, "external"), member.external, None, member.trunk
    for index, queue in enumerate(pbx.queues):
        for place, outside in enumerate(queue.outside_members):
            yield ("queues", index, "outside_members", place, "number"), outside.number, None, None
