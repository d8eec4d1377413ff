"""Takes away what is older than it is kept, a little at a time, so that whoever writes never waits for it; never what is not over."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from twisted.internet.task import deferLater
from twisted.logger import Logger

from tandem.ami.connection import Clock
from tandem.regular import Regular
from tandem.store.answers import KEPT as ANSWERS_KEPT
from tandem.store.callbacks import delete_callbacks
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.outbox import delete_deliveries
from tandem.store.retention import (
    delete_answers,
    delete_audit,
    delete_cdrs,
    delete_lost_legs,
    delete_placed_calls,
    delete_routes,
)

_log = Logger()

EVERY_S: Final = 600.0
# Some milliseconds of the one writer; then everybody else has a turn.
ROWS_AT_ONCE: Final = 200
PAUSE_S: Final = 0.1
# A route is in its CDR seconds after the call; a correction may come later, where calls merge.
ROUTES_KEPT: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """For how long; None is for ever."""

    cdrs: timedelta | None
    placed_calls: timedelta | None
    audit: timedelta | None
    webhook_deliveries: timedelta | None

    @classmethod
    def in_days(cls, *, cdrs: int, placed_calls: int, audit: int, webhook_deliveries: int) -> "Kept":
        """As the settings have it: days, 0 is for ever."""
        return cls(
            cdrs=_days(cdrs),
            placed_calls=_days(placed_calls),
            audit=_days(audit),
            webhook_deliveries=_days(webhook_deliveries),
        )


class Retention(Regular):
    """Looks now and then, from the start on."""

    name = "retention"

    def __init__(
        self, store: Store, kept: Kept, clock: Clock, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(clock)
        self._store = store
        self._clock = clock
        self._now = now
        self._rules: tuple[tuple[Callable[[Any, datetime, int], int], timedelta | None], ...] = (
            (delete_cdrs, kept.cdrs),
            (delete_lost_legs, timedelta(0)),
            (delete_placed_calls, kept.placed_calls),
            (delete_callbacks, kept.placed_calls),
            (delete_audit, kept.audit),
            (delete_deliveries, kept.webhook_deliveries),
            (delete_answers, ANSWERS_KEPT),
            (delete_routes, ROUTES_KEPT),
        )
        self.repeat(self.clean, EVERY_S)

    async def clean(self) -> None:
        """Takes away all that is too old by now; what cannot be done is tried the next time."""
        try:
            for delete, kept in self._rules:
                if kept is not None:
                    await self._clean_table(delete, self._now() - kept)
        except StoreError as error:
            _log.debug("nothing was taken away: {error}", error=error)
        except Exception:  # noqa: BLE001 - a mistake of ours: calls go on
            _log.failure("what is too old could not be taken away")

    async def _clean_table(self, delete: Callable[[Any, datetime, int], int], before: datetime) -> None:
        taken = ROWS_AT_ONCE
        while self.running and taken == ROWS_AT_ONCE:
            taken = await self._store.run(delete, before, ROWS_AT_ONCE)
            if taken:
                await deferLater(cast("Any", self._clock), PAUSE_S)


def _days(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None
