"""What happens to answered calls and is in no event of their own: kept in order until the database has it; never written twice."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from tandem.store.attempt_notes import note_abandoned, note_connected
from tandem.store.database import Store
from tandem.store.errors import StoreError

_log = Logger()


class Notes:
    """Who took which call, and who was told that nobody is free. Times are seconds since 1970."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._notes: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._lock = DeferredLock()

    def note_connected(self, call_id: str, at: float, agent: str) -> None:
        """An agent, or what was to be heard, is there."""
        self._add(note_connected, (call_id, at, agent))

    def note_abandoned(self, call_id: str, at: float) -> None:
        """They were told that nobody is free."""
        self._add(note_abandoned, (call_id, at))

    def _add(self, work: Callable[..., None], note: tuple[Any, ...]) -> None:
        self._notes.append((work, note))
        Deferred.fromCoroutine(self.flush())

    async def flush(self) -> None:
        """Writes what was noted, together."""
        async with self._lock:
            if not self._notes:
                return
            notes = self._notes[:]
            try:
                await self._store.run(_record_all, notes)
                del self._notes[: len(notes)]
            except StoreError as error:
                _log.warn("who took which call is not written yet: {error}", error=error)


def _record_all(db: Any, notes: list[tuple[Callable[..., None], tuple[Any, ...]]]) -> None:
    for work, note in notes:
        work(db, [note])
