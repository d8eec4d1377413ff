"""What AMI says right now of queues, channels and phones; never guesses: a fact that is too old is unknown, and unknown facts fail open."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.connection import Clock
from tandem.ami.errors import AmiError
from tandem.ami.events import QueueMember
from tandem.domain.routing import QueueFacts
from tandem.regular import Regular

log = logging.getLogger(__name__)

ASK_EVERY_S = 2.0
# After an event that changes who is free; many of them are one question.
ASK_SOON_S = 0.1
UNKNOWN_AFTER_S = 5.0
# Lists that grow with the PBX are asked for after each login and rarely after that: they are for people, not for decisions.
OVERVIEW_EVERY_S = 30.0
_TELLING = (*QueueMember.CHANGES, "AgentConnect", "AgentComplete")
# Asterisk's words for a device that cannot be reached (devicestate.c).
_AWAY = frozenset({"UNAVAILABLE", "INVALID", "UNKNOWN"})


@dataclass(frozen=True, slots=True)
class Overview:
    """How the PBX is doing: channels up, callers waiting in queues, members paused, phones known and those of them reachable."""

    channels: int
    callers_waiting: int
    members_paused: int
    phones: int
    phones_reachable: int


class Fields(Protocol):
    """What an AMI message offers."""

    def get(self, name: str, default: str = "") -> str:
        """The header's value; raises AmiForged where it is there twice."""


class Facts(Regular):
    """Asks `QueueSummary` every two seconds: one action, one small event a queue, whatever the number of callers.

    Events can be forged by a stranger's number (asterisk-notes), the answer to our own ActionID cannot: so an event is never believed,
    it only makes us ask a moment later.
    """

    def __init__(
        self,
        ask: Callable[[Action], Awaitable[list[Fields]]],
        clock: Clock,
        ask_one: Callable[[Action], Awaitable[Fields]] | None = None,
    ) -> None:
        super().__init__(clock)
        self._ask = ask
        self._ask_one = ask_one
        self._clock = clock
        # Endpoint -> its phone's state, and when it was so; of those alone that somebody asks about.
        self._phones: dict[str, tuple[str, float]] = {}
        self._list_phones: Callable[[], Iterable[str]] = tuple
        self._queues: dict[str, QueueFacts] = {}
        self._read_at = -UNKNOWN_AFTER_S
        self._overview: Overview | None = None
        self._overview_at = -OVERVIEW_EVERY_S
        self._soon: Any = None
        self._asking = 0
        self._watchers: tuple[Callable[[], object], ...] = ()
        self.repeat(self.refresh, ASK_EVERY_S)

    def stopService(self) -> None:
        """Facts kept from before are soon unknown by their age."""
        super().stopService()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    def follow(self, ami: Any) -> None:
        """Asks a moment after each event that may have changed who is free."""
        for event in _TELLING:
            ami.on(event, lambda _: self._ask_soon())
        ami.on("DeviceStateChange", self._take_device)

    def _take_device(self, message: Fields) -> None:
        if message.get("Device").removeprefix("PJSIP/") in self._phones:
            self._ask_soon()

    def watch_phones(self, list_phones: Callable[[], Iterable[str]]) -> None:
        """Which endpoints' phones somebody wants to know of, whenever they are asked for: few, of whom campaigns need one each."""
        self._list_phones = list_phones

    def watch(self, callback: Callable[[], object]) -> None:
        """Calls back when who is free is not what it was."""
        self._watchers = (*self._watchers, callback)

    def _ask_soon(self) -> None:
        if self.running and self._soon is None:
            self._soon = cast(Any, self._clock).callLater(ASK_SOON_S, self._ask_now)

    def _ask_now(self) -> None:
        self._soon = None
        if self._asking:
            # An Asterisk that does not answer is not asked more and more; the answer under way may be older than the event.
            self._ask_soon()
        else:
            Deferred.fromCoroutine(self._read())

    def read_at(self) -> float:
        """When the queues were last known, by the clock."""
        return self._read_at

    def read_queue(self, name: str) -> QueueFacts | None:
        """None when unknown: never asked, asked too long ago, or Asterisk has no such queue."""
        if self._clock.seconds() - self._read_at > UNKNOWN_AFTER_S:
            return None
        return self._queues.get(name)

    def read_phone(self, endpoint: str) -> str | None:
        """The state of an endpoint's phone in Asterisk's words (NOT_INUSE, INUSE, RINGING …); None when unknown."""
        known = self._phones.get(endpoint)
        return known[0] if known is not None and self._clock.seconds() - known[1] <= UNKNOWN_AFTER_S else None

    def read_overview(self) -> Overview | None:
        """None when it is older than twice its time."""
        return self._overview if self._clock.seconds() - self._overview_at <= 2 * OVERVIEW_EVERY_S else None

    async def ask_again(self) -> None:
        """After each login: whatever was known before the connection broke may be wrong now."""
        try:
            channels = await self._ask(actions.core_show_channels())
            queues = await self._ask(actions.queue_status())
            devices = await self._ask(actions.device_state_list())
            self._overview = read_overview(channels, queues, devices)
            self._overview_at = self._clock.seconds()
        except AmiError as error:
            log.debug("overview unknown: %s", error)

    async def refresh(self) -> None:
        """One question; a failure is only logged, because the facts then become unknown by their age."""
        if self._clock.seconds() - self._overview_at >= OVERVIEW_EVERY_S:
            await self.ask_again()
        await self._read()

    async def _read(self) -> None:
        self._asking += 1
        try:
            await self._read_phones()
            await self._read_queues()
        finally:
            self._asking -= 1

    async def _read_phones(self) -> None:
        wanted, before = tuple(self._list_phones()), {name: state for name, (state, _) in self._phones.items()}
        self._phones = {name: kept for name in wanted if (kept := self._phones.get(name)) is not None}
        if self._ask_one is None:
            return
        for name in wanted:
            try:
                answer = await self._ask_one(actions.getvar("", f"DEVICE_STATE(PJSIP/{name})"))
            except AmiError as error:
                log.debug("the phone of %s is unknown: %s", name, error)
                return
            self._phones[name] = (answer.get("Value"), self._clock.seconds())
        if before != {name: state for name, (state, _) in self._phones.items()}:
            self._tell()

    def _tell(self) -> None:
        for callback in self._watchers:
            callback()

    async def _read_queues(self) -> None:
        try:
            rows = await self._ask(actions.queue_summary())
            before, self._queues = self._queues, dict(read_summary(row) for row in rows)
            self._read_at = self._clock.seconds()
        except AmiError as error:
            log.debug("queues unknown: %s", error)
        except ValueError as error:
            log.warning("QueueSummary not understood: %s", error)
        else:
            if self._queues != before:
                self._tell()


def read_overview(channels: list[Fields], queues: list[Fields], devices: list[Fields]) -> Overview:
    """From the answers to CoreShowChannels, QueueStatus and DeviceStateList."""
    phones = [device.get("State") for device in devices if device.get("Device").startswith("PJSIP/")]
    return Overview(
        channels=len(channels),
        callers_waiting=sum(row.get("Event") == "QueueEntry" for row in queues),
        members_paused=sum(row.get("Event") == "QueueMember" and row.get("Paused") == "1" for row in queues),
        phones=len(phones),
        phones_reachable=sum(state not in _AWAY for state in phones),
    )


def read_summary(row: Fields) -> tuple[str, QueueFacts]:
    """`QueueSummary` -> (queue, facts). ValueError where a count is no number."""
    return row.get("Queue"), QueueFacts(
        callers=int(row.get("Callers")),
        members_available=int(row.get("Available")),
        members_logged_in=int(row.get("LoggedIn")),
    )
