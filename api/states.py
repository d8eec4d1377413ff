"""A stream of states: all of it first, then only what changes, a few times a second; asks nothing while nobody listens.

A client that reads slowly is sent nothing meanwhile, and all of it when it reads again: nothing waits for it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
from twisted.internet.defer import Deferred

from api.events import Client, Hub
from tandem.ami.connection import Clock

log = logging.getLogger(__name__)

# What one client is sent at most: a change each half second.
EVERY_S: Final = 0.5
# Asking may take so much of the time; a PBX that answers slowly, since it is big or busy, is asked less often.
SHARE: Final = 0.2

# Section -> key -> (what is compared, what is told): what changes by itself, such as a duration, is told with the next change.
States = Mapping[str, Mapping[str, tuple[Any, Any]]]


class StateClient(Client):
    """A listener. is_behind: it has not all that was sent, or nothing yet."""

    def __init__(self, request: Any, may: Callable[[], bool], hub: "StateHub") -> None:
        super().__init__(request, may)
        self.is_behind = True
        self._hub = hub

    def send(self, chunk: bytes, count: int) -> None:
        """Writes; one that does not read will be told all of it."""
        if self.is_paused and count:
            self.is_behind = True
        super().send(chunk, count)

    def resumeProducing(self) -> None:
        """It reads again."""
        super().resumeProducing()
        self._hub.catch_up(self)


class StateHub(Hub[StateClient]):
    """Reads states while somebody listens, and tells them. read: all states as they are now; what it raises is logged."""

    def __init__(self, read: Callable[[], Awaitable[States]], clock: Clock) -> None:
        super().__init__(clock)
        self._read = read
        self._states: States | None = None
        self._timer: Any = None
        self._is_reading = False

    def attach(
        self, request: Any, may: Callable[[], bool] = lambda: True, ends_in_s: float | None = None
    ) -> Deferred[None]:
        """Answers the request with all states and then with changes; as `admit`."""
        client = StateClient(request, may, self)
        over = self.admit(client, ends_in_s)
        if self._timer is None and not self._is_reading:
            self._states = None  # from when somebody listened last
            self._timer = self._clock.callLater(0, self._start)
        self.catch_up(client)
        return over

    def catch_up(self, client: StateClient) -> None:
        """All of it, to one who has not; where nothing is known yet, the next reading tells."""
        if client.is_behind and not client.is_paused and self._states is not None:
            client.is_behind = False
            client.send(_encode("state", _list_all(self._states)), 1)

    def close(self) -> None:
        """Ends all streams."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().close()

    def _start(self) -> None:
        self._timer = None
        if self._clients:
            self._is_reading = True
            Deferred.fromCoroutine(self._turn())

    async def _turn(self) -> None:
        started_at = self._clock.seconds()
        try:
            self._tell(await self._read())
        except Exception:
            log.exception("states cannot be read")
        finally:
            self._is_reading = False
            took_s = self._clock.seconds() - started_at
            if self._clients:
                self._timer = self._clock.callLater(max(EVERY_S, took_s / SHARE), self._start)

    def _tell(self, states: States) -> None:
        self.review()
        before, self._states = self._states, states
        changes = _compare(before, states) if before is not None else {}
        chunk = _encode("change", changes) if changes else b""
        for client in tuple(self._clients):
            if chunk and not client.is_behind:
                client.send(chunk, 1)
            self.catch_up(client)


def _list_all(states: States) -> dict[str, list[Any]]:
    return {section: [told for _, told in found.values()] for section, found in states.items()}


def _compare(before: States, after: States) -> dict[str, dict[str, list[Any]]]:
    """Section -> what is new or other, and the keys of what is gone; only sections that changed."""
    changes = {}
    for section, found in after.items():
        known = before.get(section, {})
        changed = [told for key, (compared, told) in found.items() if key not in known or known[key][0] != compared]
        removed = [key for key in known if key not in found]
        if changed or removed:
            changes[section] = {"changed": changed, "removed": removed}
    return changes


def _encode(event: str, value: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event.encode(), orjson.dumps(value, default=str))
