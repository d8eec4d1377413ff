"""Tells event listeners and Prometheus what happens in campaigns: changes at once, numbers in batches, and when nothing is left to dial; never touches a call.

Where a number is after a step stands in the database, so that is what is told: a batch of steps is one look at it, and none when nobody listens.
"""

from dataclasses import asdict
from typing import Any

from twisted.logger import Logger

from api.declare import Shown
from api.events import EventHub
from api.metrics import Metrics
from api.times import show_times, with_times
from tandem.dialer.service import Dialer
from tandem.domain.campaigns import CampaignCounts, SavedNumber
from tandem.domain.open_calls import AttemptStep
from tandem.store.campaigns import load_counts
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.imports import ImportReport
from tandem.store.numbers import load_numbers_called

_log = Logger()

# What a client knows of a number is between the two of us: listeners are told where it is.
_Told: Any = with_times(SavedNumber, "NumberTold", frozenset({"data", "variables"}))
_NUMBERS = Shown(list[_Told])


class CampaignEvents:
    """The events of kind `campaign`; each says its `event` and `campaign_id`."""

    def __init__(self, store: Store, dialer: Dialer, hub: EventHub, metrics: Metrics) -> None:
        self._store = store
        self._dialer = dialer
        self._hub = hub
        self._metrics = metrics
        self._touched: set[str] = set()
        self._drained: frozenset[int] = frozenset()

    def tell_change(self, what: str, campaign_id: int) -> None:
        """created, changed, deleted, started, paused, resumed, stopped, reset, numbers-added, numbers-closed, number-deleted."""
        self._hub.publish("campaign", lambda: {"event": what, "campaign_id": campaign_id})

    def tell_import(self, report: ImportReport) -> None:
        """How far a file is."""
        told = ("import_id", "campaign_id", "state", "is_preview", "bytes_read", "bytes_total", "rows", "added", "duplicates", "invalid")  # fmt: skip
        self._hub.publish("campaign", lambda: {"event": "import", **{name: getattr(report, name) for name in told}})

    def take_step(self, step: AttemptStep) -> None:
        """A step of an attempt."""
        if step.kind == "ended":
            self._metrics.count_attempt(step.disposition)
        if self._hub.clients:
            self._touched.add(step.call_id)

    async def flush(self) -> None:
        """Tells the numbers that were touched, and the campaigns that have nothing more to dial."""
        touched, self._touched = self._touched, set()
        try:
            if touched and self._hub.clients:
                self._tell_numbers(*await self._store.read(_load, sorted(touched)))
            self._tell_drained()
        except StoreError as error:
            _log.debug("numbers are not told: {error}", error=error)
        except Exception:  # noqa: BLE001 - the next half second may do better
            _log.failure("numbers are not told")

    def _tell_numbers(self, numbers: list[SavedNumber], counts: dict[int, CampaignCounts]) -> None:
        for campaign_id in sorted({number.campaign_id for number in numbers}):
            told = {
                "event": "numbers",
                "campaign_id": campaign_id,
                "counts": asdict(counts.get(campaign_id, CampaignCounts())),
                "numbers": _NUMBERS.plain(
                    [show_times(_Told, number) for number in numbers if number.campaign_id == campaign_id]
                ),
            }
            self._hub.publish("campaign", lambda told=told: told)  # type: ignore[misc]  # a default binds it now

    def _tell_drained(self) -> None:
        drained = frozenset(view.campaign_id for view in self._dialer.describe() if view.is_drained)
        for campaign_id in sorted(drained - self._drained):
            self._hub.publish("campaign", lambda one=campaign_id: {"event": "drained", "campaign_id": one})  # type: ignore[misc]  # a default binds it now
        self._drained = drained


def _load(db: Any, call_ids: list[str]) -> tuple[list[SavedNumber], dict[int, CampaignCounts]]:
    numbers = load_numbers_called(db, call_ids)
    return numbers, load_counts(db, {number.campaign_id for number in numbers})
