"""How the trunks are, as Asterisk says: registrations, far ends and how long they take to answer, channels; never guesses, and decides no call.

Asked regularly and after each login, one question for each trunk: what is too old, since AMI is away, is unknown.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from twisted.internet.defer import Deferred

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.connection import Clock
from tandem.ami.errors import AmiError, AmiForged, AmiRefused
from tandem.domain.entities import Trunk
from tandem.regular import Regular

log = logging.getLogger(__name__)

ASK_EVERY_S: Final = 10.0
UNKNOWN_AFTER_S: Final = 3 * ASK_EVERY_S

# up: registered where it registers, and a far end answers where it is asked; down: not so; unknown: nobody asks, or nobody knows.
TrunkState = Literal["up", "down", "unknown"]
Reach = Literal["reachable", "unreachable", "unknown"]
_REACH: Final[Mapping[str, Reach]] = {"Reachable": "reachable", "Unreachable": "unreachable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FarEnd:
    """One host of a trunk. unknown: it is not asked (qualify_s is 0), or was not yet; rtt_ms: how long its last answer took, None without one."""

    uri: str
    reach: Reach
    rtt_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkHealth:
    """A trunk. registrations: Asterisk's word for each host that it registers with (Registered, Rejected…); channels: those that are up."""

    trunk: str
    state: TrunkState = "unknown"
    registrations: tuple[str, ...] = ()
    hosts: tuple[FarEnd, ...] = ()
    channels: int = 0


class Trunks(Regular):
    """Asks; `read_all` says what was answered. ask: a list action, as the AMI login that may ask it."""

    name = "trunks"

    def __init__(
        self,
        ask: Callable[[Action], Awaitable[list[Any]]],
        list_trunks: Callable[[], Mapping[str, Trunk]],
        clock: Clock,
    ) -> None:
        super().__init__(clock)
        self._ask, self._list_trunks, self._clock = ask, list_trunks, clock
        self._known: Mapping[str, TrunkHealth] = {}
        self._told: dict[str, TrunkState] = {}
        self._asked_at = -UNKNOWN_AFTER_S
        self._is_asking = False
        self._watchers: tuple[Callable[[TrunkHealth], None], ...] = ()
        self.repeat(self.follow, ASK_EVERY_S)

    def watch(self, callback: Callable[[TrunkHealth], None]) -> None:
        """Calls back with each trunk whose state is another one."""
        self._watchers = (*self._watchers, callback)

    def follow(self) -> None:
        """Asks now; after a login, too."""
        if not self._is_asking:
            Deferred.fromCoroutine(self.refresh())

    def read_all(self) -> tuple[TrunkHealth, ...]:
        """Every trunk of the live revision, by name."""
        is_old = self._clock.seconds() - self._asked_at > UNKNOWN_AFTER_S
        known: Mapping[str, TrunkHealth] = {} if is_old else self._known
        return tuple(known.get(name) or TrunkHealth(trunk=name) for name in sorted(self._list_trunks()))

    async def refresh(self) -> None:
        """One question for each trunk; a failure is only logged, because what is known then becomes unknown by its age."""
        self._is_asking = True
        try:
            trunks = dict(self._list_trunks())
            registrations = _read_registrations(await self._ask(actions.pjsip_show_registrations_outbound()), trunks)
            known: dict[str, TrunkHealth] = {}
            for name in trunks:
                try:
                    rows = await self._ask(Action("PJSIPShowEndpoint", (("Endpoint", name),)))
                except AmiRefused:
                    rows = []  # Asterisk does not have it (yet)
                known[name] = read_health(name, rows, registrations.get(name, ()))
            self._known, self._asked_at = known, self._clock.seconds()
        except AmiError as error:
            log.debug("trunks unknown: %s", error)
        finally:
            self._is_asking = False
        self._tell()

    def _tell(self) -> None:
        """Nothing is told of what was never known."""
        for health in self.read_all():
            before = self._told.get(health.trunk, "unknown")
            if health.state != before:
                self._told[health.trunk] = health.state
                log.log(
                    logging.WARNING if health.state == "down" else logging.INFO,
                    "trunk %s is %s",
                    health.trunk,
                    health.state,
                )
                for callback in self._watchers:
                    callback(health)


def read_health(name: str, rows: list[Any], registrations: tuple[str, ...]) -> TrunkHealth:
    """From the answer to PJSIPShowEndpoint, and Asterisk's words for its registrations."""
    hosts: list[FarEnd] = []
    channels = 0
    for row in rows:
        try:
            if row.get("Event") == "ContactStatusDetail":
                hosts.append(_read_far_end(row))
            elif row.get("Event") == "EndpointDetail":
                channels = _number(row.get("ActiveChannels"))
        except AmiForged:
            continue
    return TrunkHealth(
        trunk=name,
        state=_judge(registrations, hosts),
        registrations=registrations,
        hosts=tuple(hosts),
        channels=channels,
    )


def _judge(registrations: tuple[str, ...], hosts: list[FarEnd]) -> TrunkState:
    reaches = {host.reach for host in hosts}
    if registrations and "Registered" not in registrations:
        return "down"
    if "reachable" in reaches:
        return "up"
    if reaches == {"unreachable"}:
        return "down"
    return "up" if registrations else "unknown"


def _read_far_end(row: Any) -> FarEnd:
    reach = _REACH.get(row.get("Status"), "unknown")
    took_us = _number(row.get("RoundtripUsec"))
    return FarEnd(uri=row.get("URI"), reach=reach, rtt_ms=took_us / 1000 if reach == "reachable" else None)


def _read_registrations(rows: list[Any], trunks: Mapping[str, Trunk]) -> dict[str, tuple[str, ...]]:
    """Trunk -> the words for its registrations; the n-th one of a trunk is called `carrier.n`."""
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        try:
            name = row.get("ObjectName").partition(".")[0]
            if row.get("Event") == "OutboundRegistrationDetail" and name in trunks:
                found[name] = (*found.get(name, ()), row.get("Status"))
        except AmiForged:
            continue
    return found


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0
