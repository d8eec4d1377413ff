"""Keeps calls in as few transactions as there can be, for each waits for the disk; never forgets one because the database is away."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tandem.ami.connection import Clock
from tandem.domain.calls import PlacedCall
from tandem.store.errors import StoreError

SAVE_AGAIN_S: Final = 1.0
# That it rings is known here at once; in the database it is often overtaken by the answer, and one transaction does for both.
RINGING_S: Final = 0.25

_log = Logger()


class Keeping(Protocol):
    """Where calls are kept."""

    def save_placed(self, calls: Sequence[PlacedCall]) -> Awaitable[None]:
        """Before sending: all or none."""

    def save_changes(self, calls: Sequence[PlacedCall]) -> Awaitable[object]:
        """What became of calls; what is kept of one that is over stays as it is."""


class CallKeeper:
    """on_saved: called with each call that `save` was given, as it is in the database now; it must not raise."""

    def __init__(self, records: Keeping, clock: Clock, on_saved: Callable[[PlacedCall], None]) -> None:
        self._records, self._clock, self._on_saved = records, clock, on_saved
        self._unsaved: dict[str, PlacedCall] = {}
        self._is_saving = False
        self._saving_again: DelayedCall | None = None
        self._entering: list[tuple[PlacedCall, Deferred[None]]] = []
        self._is_entering = False

    def stop(self) -> None:
        """Tries nothing again; what is on its way arrives."""
        self._put_off(None)

    def enter(self, call: PlacedCall) -> Deferred[None]:
        """Keeps a new call; fails as the transaction does, with all that share it."""
        entered: Deferred[None] = Deferred()
        self._entering.append((call, entered))
        if not self._is_entering:
            self._is_entering = True
            _run(self._enter_all())
        return entered

    def save(self, call: PlacedCall, *, is_urgent: bool = True) -> None:
        """Saves with the next transaction; what is not urgent waits for one that is, a moment at the most."""
        self._unsaved[call.call_id] = call
        if is_urgent:
            self._save_now()
        elif not self._is_saving and (self._saving_again is None or not self._saving_again.active()):
            self._put_off(RINGING_S)

    async def _enter_all(self) -> None:
        try:
            while self._entering:
                batch, self._entering = self._entering, []
                try:
                    await self._records.save_placed(tuple(call for call, _ in batch))
                except Exception as error:  # noqa: BLE001 - whoever places the call is told
                    for _, entered in batch:
                        entered.errback(error)
                else:
                    for _, entered in batch:
                        entered.callback(None)
        finally:
            self._is_entering = False

    def _save_now(self) -> None:
        if self._unsaved and not self._is_saving:
            self._is_saving = True
            _run(self._save_all())

    async def _save_all(self) -> None:
        """Saves until there is nothing more; what comes meanwhile goes into the next transaction, together."""
        try:
            while self._unsaved:
                batch, self._unsaved = self._unsaved, {}
                try:
                    await self._records.save_changes(tuple(batch.values()))
                except Exception as error:  # noqa: BLE001 - the database may come back; the calls are not forgotten meanwhile
                    if isinstance(error, StoreError):
                        _log.warn("calls are not saved yet: {error}", error=error)
                    else:
                        _log.failure("calls could not be saved; trying again")
                    self._unsaved = batch | self._unsaved
                    self._put_off(SAVE_AGAIN_S)
                    return
                for call in batch.values():
                    self._on_saved(call)
        finally:
            self._is_saving = False

    def _put_off(self, delay_s: float | None) -> None:
        if self._saving_again is not None and self._saving_again.active():
            self._saving_again.cancel()
        self._saving_again = None if delay_s is None else self._clock.callLater(delay_s, self._save_now)


def _run(work: Coroutine[Any, Any, None]) -> None:
    Deferred.fromCoroutine(work).addErrback(lambda failure: _log.failure("keeping calls failed", failure))
