"""Toll fraud: what a call may not be, and when an endpoint, a trunk or the whole PBX has called too much; pure, and never lets a locked one out.

A *scope* is `pbx`, `endpoint/1001` or `trunk/carrier`. Only a person unlocks one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from tandem.domain.dialling import find_region, plan_of, write_e164
from tandem.domain.entities import Endpoint, General, Trunk
from tandem.domain.numbers import index_callers
from tandem.domain.outbound_entities import TollGuard
from tandem.domain.snapshot import Snapshot

PBX_SCOPE: Final = "pbx"
MINUTE_S: Final = 60.0


class Scope(NamedTuple):
    """One of them with its limits."""

    name: str
    guard: TollGuard


@dataclass(frozen=True, slots=True)
class Usage:
    """What a scope called. day: of the year 1970 on, in the PBX's own time zone; minute: when its last calls began, at most as many as count."""

    day: int = 0
    calls: int = 0
    seconds: float = 0.0
    minute: tuple[float, ...] = ()

    def on(self, day: int) -> "Usage":
        """The same as of a day: a new one begins with nothing."""
        return self if self.day == day else Usage(day, minute=self.minute)

    def with_call(self, day: int, at: float, kept: int) -> "Usage":
        """One call more; `kept` of those that began last are remembered."""
        now = self.on(day)
        minute = (*now.minute, at)[-kept:] if kept else ()
        return Usage(day, now.calls + 1, now.seconds, minute)


def list_scopes(snapshot: Snapshot, extension: str, trunk: str) -> Iterator[Scope]:
    """The scopes of a call: of an endpoint ('' for none), over a trunk ('' for none)."""
    return scopes_of(snapshot.general, snapshot.endpoints.get(extension), snapshot.trunks.get(trunk))


def scopes_of(general: General, endpoint: Endpoint | None, trunk: Trunk | None) -> Iterator[Scope]:
    """The same of the objects themselves."""
    yield Scope(PBX_SCOPE, general.toll_guard)
    if endpoint is not None:
        yield Scope(f"endpoint/{endpoint.extension}", endpoint.toll_guard or _NONE)
    if trunk is not None:
        yield Scope(f"trunk/{trunk.name}", trunk.toll_guard or _NONE)


_NONE: Final = TollGuard()


def list_guards(snapshot: Snapshot) -> Iterator[Scope]:
    """Every scope that has limits of its own."""
    yield Scope(PBX_SCOPE, snapshot.general.toll_guard)
    for extension, endpoint in snapshot.endpoints.items():
        if endpoint.toll_guard is not None:
            yield Scope(f"endpoint/{extension}", endpoint.toll_guard)
    for name, trunk in snapshot.trunks.items():
        if trunk.toll_guard is not None:
            yield Scope(f"trunk/{name}", trunk.toll_guard)


def list_limits(snapshot: Snapshot) -> Iterator[tuple[str, int]]:
    """Scope -> how many calls outside it may have at once, for those that have a limit; the dialplan counts them."""
    for scope, guard in list_guards(snapshot):
        if guard.max_calls and not scope.startswith("trunk/"):
            yield scope, guard.max_calls
    for name, trunk in snapshot.trunks.items():
        limits = [limit for limit in (trunk.max_calls, (trunk.toll_guard or _NONE).max_calls) if limit]
        if limits:
            yield f"trunk/{name}", min(limits)


def judge_number(snapshot: Snapshot, extension: str, trunk: str, dialled: str, called: str = "") -> str:
    """Why a number must not be dialled, in words; '' where it may. called: `OutboundCall.number`, where that is something else.

    The dialplan (tandem-toll) has this rule for calls that nobody decides on.
    """
    return judge_scopes(snapshot.general, tuple(list_scopes(snapshot, extension, trunk)), dialled, called)


def judge_scopes(general: General, scopes: Sequence[Scope], dialled: str, called: str = "") -> str:
    """The same for the scopes of a call."""
    numbers = tuple(dict.fromkeys((called or dialled, dialled)))
    keys = [(write_e164(number, plan_of(general.country)) or number).removeprefix("+") for number in numbers]
    for name, guard in scopes:
        if _has(guard.denied_prefixes, keys):
            return f"{name} must not dial {dialled}"
    # Whoever allows a number by its beginning means it, wherever it is.
    if any(_has(guard.allowed_prefixes, keys) for _, guard in scopes):
        return ""
    regions = [find_region(number, general.country) for number in numbers]
    if any(region.is_premium for region in regions) and not _allows_premium(scopes):
        return f"{dialled} is a premium number"
    for name, guard in scopes:
        if guard.countries and regions[0].country not in guard.countries:
            return f"{name} must not dial to {regions[0].country or 'an unknown country'}"
    return ""


def _has(prefixes: tuple[str, ...], keys: Iterable[str]) -> bool:
    return bool(prefixes) and any(map(index_callers(prefixes).holds, keys))


def _allows_premium(scopes: Iterable[Scope]) -> bool:
    """The endpoint's word counts, else the PBX's; a trunk can only forbid."""
    allowed = False
    for name, guard in scopes:
        if guard.premium is not None:
            allowed = guard.premium if not name.startswith("trunk/") else allowed and guard.premium
    return allowed


class Verdict(NamedTuple):
    """On a call outside. refusal: why it must not be, '' where it may; limit_s: after which it ends, 0 for never; is_busy: it may be, but not at this moment."""

    refusal: str
    limit_s: int = 0
    is_busy: bool = False


def judge_usage(scope: Scope, usage: Usage, day: int, at: float) -> str:
    """Which limit one more call would go over, in words; '' where it goes over none. It is what a scope is locked for."""
    guard, now = scope.guard, usage.on(day)
    if guard.daily_calls and now.calls >= guard.daily_calls:
        return f"more than {guard.daily_calls} calls on one day"
    if guard.daily_minutes and now.seconds >= guard.daily_minutes * 60:
        return f"more than {guard.daily_minutes} minutes on one day"
    limit = guard.max_calls_per_minute
    if limit and sum(at - began < MINUTE_S for began in now.minute) >= limit:
        return f"more than {limit} calls within a minute"
    return ""


def find_limit(scopes: Mapping[Scope, Usage], day: int) -> int:
    """After how many seconds a call must end, so that no scope talks longer than it may on a day; 0 for never."""
    left = [
        max(1, round(scope.guard.daily_minutes * 60 - usage.on(day).seconds))
        for scope, usage in scopes.items()
        if scope.guard.daily_minutes
    ]
    return min(left, default=0)
