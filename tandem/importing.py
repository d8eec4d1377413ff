"""Reads files of numbers into campaigns, batch by batch, beside calls; never holds a file, the interpreter or the database for long.

A batch and what the report says of it are one transaction: whatever happens, the report says exactly what was added, and the same file
again with `dedupe` adds nothing twice.
"""

import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, BinaryIO, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from tandem.campaigning import Campaigns
from tandem.domain.campaigns import NewNumber
from tandem.domain.number_files import BadRow, FileOptions, NumberFile
from tandem.store.campaigns import CampaignMissing, load_campaign
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.imports import ImportReport, add_batch, load_import, load_imports, note_rows, record_import
from tandem.store.number_lists import check_number_lists
from tandem.store.numbers import find_phone_numbers

_log = Logger()
T = TypeVar("T")
Commit = Callable[[Callable[[Any], T]], Awaitable[T]]

# A transaction of so many rows takes some 50 ms: nobody who dials waits longer.
BATCH: Final = 2000
MAX_RUNNING: Final = 3
SAMPLE: Final = 20
KEPT_PREVIEWS: Final = 20


class ImportsBusy(Exception):
    """So many files are being read that another one has to wait."""


@dataclass(frozen=True, slots=True)
class _Batch:
    numbers: tuple[NewNumber, ...]
    bad: tuple[BadRow, ...]
    position: int


class Imports:
    """Files that are being read, and those that were."""

    def __init__(self, store: Store, campaigns: Campaigns, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._campaigns = campaigns
        self._now = now
        self._running: dict[str, ImportReport] = {}
        self._cancelled: set[str] = set()
        self._previews: OrderedDict[str, ImportReport] = OrderedDict()
        self._waiting: dict[str, list[Deferred[None]]] = {}
        self._watchers: tuple[Callable[[ImportReport], None], ...] = ()

    def watch(self, callback: Callable[[ImportReport], None]) -> None:
        """Calls back with each step of each file."""
        self._watchers = (*self._watchers, callback)

    async def begin(
        self,
        campaign_id: int,
        file: BinaryIO,
        options: FileOptions,
        *,
        author: str,
        commit: Commit[ImportReport] | None,
        dedupe: bool = True,
    ) -> ImportReport:
        """Reads a file into a campaign from now on, and closes it at the end; FileRefused, CampaignMissing, NumberListMissing, ImportsBusy.

        commit: keeps the first report; None is a preview: nothing is changed, and every row is looked at all the same.
        """
        try:
            if len(self._running) >= MAX_RUNNING:
                raise ImportsBusy(f"{MAX_RUNNING} files are being read already")
            opened = await deferToThread(NumberFile, file, options)
            report = ImportReport(
                import_id=secrets.token_hex(8),
                campaign_id=campaign_id,
                state="running",
                is_preview=commit is None,
                author=author,
                layout=opened.layout,
                bytes_total=file.seek(0, os.SEEK_END),
                created_at=self._now(),
            )
            file.seek(opened.position)
            if commit is None:
                await self._store.read(load_campaign, campaign_id)
            else:
                await commit(lambda db: _begin(db, report, options.list_id))
        except BaseException:
            file.close()
            raise
        self._running[report.import_id] = report
        Deferred.fromCoroutine(self._read(report, file, opened, dedupe=dedupe))
        return report

    async def find(self, campaign_id: int, import_id: str) -> ImportReport | None:
        """One file; of a running one how far it is."""
        for held in (self._running, self._previews):
            if import_id in held and held[import_id].campaign_id == campaign_id:
                return held[import_id]
        found = await self._store.read(load_import, campaign_id, import_id)
        return self._as_it_is(found) if found is not None else None

    async def list_all(self, campaign_id: int) -> list[ImportReport]:
        """The files of a campaign, newest first; previews are not among them. CampaignMissing."""

        def read(db: Any) -> list[ImportReport]:
            load_campaign(db, campaign_id)
            return load_imports(db, campaign_id)

        return [self._as_it_is(report) for report in await self._store.read(read)]

    def _as_it_is(self, report: ImportReport) -> ImportReport:
        """Of a running file how far it is; one that nobody reads any more ended with the process that did."""
        if report.state != "running":
            return report
        return self._running.get(report.import_id) or replace(
            report, state="failed", error="Tandem ended while the file was read: what is counted was added"
        )

    def cancel(self, import_id: str) -> bool:
        """Ends a running one after its current batch; what was added stays. False for one that is not running."""
        if import_id not in self._running:
            return False
        self._cancelled.add(import_id)
        return True

    async def wait(self, import_id: str) -> None:
        """Until that file is read; at once for one that is not being read."""
        if import_id in self._running:
            done: Deferred[None] = Deferred()
            self._waiting.setdefault(import_id, []).append(done)
            await done

    # ------------------------------------------------------------------------------------------------------ reading

    async def _read(self, report: ImportReport, file: BinaryIO, opened: NumberFile, *, dedupe: bool) -> None:
        try:
            report = await self._read_rows(report, file, opened, dedupe=dedupe)
            if report.state == "running":
                error = "" if report.rows else "there is no row below the header"
                report = replace(report, state="failed" if error else "finished", error=error)
        except CampaignMissing:
            report = replace(self._running[report.import_id], state="failed", error="the campaign was deleted")
        except StoreError as error:
            report = replace(self._running[report.import_id], state="failed", error=str(error))
        except Exception:  # noqa: BLE001 - the supervised edge of a file's reading
            _log.failure("import {id} failed", id=report.import_id)
            report = replace(
                self._running[report.import_id], state="failed", error="something went wrong; the log says what"
            )
        await self._end(report)

    async def _read_rows(
        self, report: ImportReport, file: BinaryIO, opened: NumberFile, *, dedupe: bool
    ) -> ImportReport:
        rows = opened.rows()
        seen: set[int] = set()
        reading = deferToThread(_read_batch, rows, opened)
        try:
            while True:
                batch = await reading
                if not batch.numbers and not batch.bad:
                    return report
                if report.import_id in self._cancelled:
                    return replace(report, state="cancelled")
                # The next batch is read while this one is written.
                reading = deferToThread(_read_batch, rows, opened)
                if not report.sample and report.is_preview:
                    report = replace(report, sample=batch.numbers[:SAMPLE])
                if report.is_preview:
                    report = await self._preview(report, batch, seen, dedupe=dedupe)
                else:
                    report = await self._store.run(
                        add_batch, report, batch.numbers, batch.bad, batch.position, self._now(), dedupe=dedupe
                    )
                    self._campaigns.note_numbers(report.campaign_id)
                self._running[report.import_id] = report
                self._tell(report)
        finally:
            with suppress(Exception):
                await reading
            file.close()

    async def _preview(self, report: ImportReport, batch: _Batch, seen: set[int], *, dedupe: bool) -> ImportReport:
        duplicates = 0
        if dedupe:
            given = [number.phone_number for number in batch.numbers]
            known = await self._store.read(find_phone_numbers, report.campaign_id, given)
            for phone_number in given:
                # 64 bits of each: a million texts would be a hundred megabytes.
                key = hash(phone_number)
                duplicates += phone_number in known or key in seen
                seen.add(key)
        rows = len(batch.numbers) + len(batch.bad)
        return note_rows(report, rows, len(batch.numbers) - duplicates, duplicates, batch.bad, batch.position)

    async def _end(self, report: ImportReport) -> None:
        report = replace(report, ended_at=self._now())
        if report.is_preview:
            self._previews[report.import_id] = report
            while len(self._previews) > KEPT_PREVIEWS:
                self._previews.popitem(last=False)
        else:
            try:
                await self._store.run(_end, report)
            except StoreError as error:
                _log.warn("import {id}: its end is not written: {error}", id=report.import_id, error=error)
        self._running.pop(report.import_id, None)
        self._cancelled.discard(report.import_id)
        self._tell(report)
        for done in self._waiting.pop(report.import_id, ()):
            done.callback(None)

    def _tell(self, report: ImportReport) -> None:
        for callback in self._watchers:
            callback(report)


def _begin(db: Any, report: ImportReport, list_id: int | None) -> ImportReport:
    load_campaign(db, report.campaign_id)
    check_number_lists(db, report.campaign_id, () if list_id is None else (list_id,))
    return record_import(db, report)


def _end(db: Any, report: ImportReport) -> None:
    try:
        load_campaign(db, report.campaign_id)
    except CampaignMissing:
        return
    record_import(db, report)


def _read_batch(rows: Any, opened: NumberFile) -> _Batch:
    numbers: list[NewNumber] = []
    bad: list[BadRow] = []
    for row in islice(rows, BATCH):
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            numbers.append(row[1])
    return _Batch(tuple(numbers), tuple(bad), opened.position)
