"""Recordings of calls: taken up when their call is over, converted when nobody else needs the machine, kept as long as the settings say.

Asterisk writes into one flat folder, `asterisk.recordings_dir`, and what a file is stands in its name; so nothing needs to be told for
a file to be found, and a file that was left behind by a kill is found at the next look. It never takes a file that Asterisk may still
be writing: its call must be over, and its header complete (Asterisk writes that last) or the file untouched for a while.
"""

import os
import shutil
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from tandem.ami.connection import Clock
from tandem.audio import Converter, ToolFailed, ToolMissing, ToolStopped, sync_file, sync_folder
from tandem.domain.recordings import Recording, RecordingFormat, RecordingName, read_recording_name
from tandem.regular import Regular
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.recordings import (
    delete_recordings,
    load_expired,
    load_named,
    load_over,
    load_waiting,
    record_converted,
    record_recordings,
)

_log = Logger()

LOOK_EVERY_S: Final = 2.0
EXPIRE_EVERY_S: Final = 3600.0
# Of a call that is over: a file without a complete header is Asterisk's until it was left alone for so long.
UNTOUCHED_S: Final = 30.0
# A file whose call is in no record is taken all the same when it is so old.
FORGOTTEN_S: Final = 24 * 3600.0
# One that could not be converted is tried again after so long.
RETRY_AFTER_S: Final = 600.0
EXPIRED_AT_ONCE: Final = 200
AT_ONCE: Final = 50
WAV_HEADER_BYTES: Final = 44
# 16 bits, 8 kHz, one channel: what MixMonitor writes into a .wav.
BYTES_PER_S: Final = 16000


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the folder in which Asterisk writes. is_closed: its header is complete. untouched_s: since it was last written."""

    file_name: str
    said: RecordingName
    size: int
    is_closed: bool
    untouched_s: float

    def describe(self) -> Recording:
        """As a recording that is not converted."""
        return Recording(
            name=self.said.stem, call_id=self.said.call_id, kind=self.said.kind, path=self.file_name,
            started_at=self.said.started_at, duration_s=max(0, self.size - WAV_HEADER_BYTES) / BYTES_PER_S, bytes=self.size,
            format="wav",
        )  # fmt: skip


class Recordings(Regular):
    """spool: where Asterisk writes; archive: where recordings are kept. is_busy: calls need the machine. keep_days: 0 is for ever."""

    name = "recordings"

    def __init__(
        self,
        store: Store,
        converter: Converter,
        clock: Clock,
        *,
        spool: Path,
        archive: Path,
        form: RecordingFormat,
        keep_days: int,
        is_busy: Callable[[], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(clock)
        self._store, self._converter, self._clock, self._now = store, converter, clock, now
        self._spool, self._archive, self._form = spool, archive, form
        self._keep_days, self._is_busy = keep_days, is_busy
        self._over: set[str] = set()
        self._not_before: dict[int, float] = {}
        # One beside the other: a conversion may take as long as its recording, and what is finished meanwhile is listed all the same.
        self.repeat(partial(self._try, self.look), LOOK_EVERY_S)
        self.repeat(partial(self._try, self.convert), LOOK_EVERY_S)
        self.repeat(partial(self._try, self.expire), EXPIRE_EVERY_S)

    async def stopService(self) -> None:
        """Waits for what is under way; whoever owns the converter's tools has ended them."""
        super().stopService()
        await self.finish_rounds()

    def record_finished(self, call_id: str) -> None:
        """The channel `call_id` is over: its files are taken up at the next look, whatever Asterisk's own records say yet."""
        self._over.add(call_id)

    def locate(self, recording: Recording) -> Path:
        """Its file."""
        return (self._spool if recording.converted_at is None else self._archive) / recording.path

    async def remove_file(self, recording: Recording) -> None:
        """Takes the file of a recording away, before its row: else a person's voice could stay behind with nothing that tells of it."""
        await deferToThread(self._unlink, recording)

    def _unlink(self, recording: Recording) -> None:
        self.locate(recording).unlink(missing_ok=True)
        (self._spool / f"{recording.name}.wav").unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------- looking

    async def look(self) -> None:
        """Takes up what is finished: from now on it is listed and can be heard."""
        # What ends while this look is under way is the next one's.
        asked = frozenset(self._over)
        found = await deferToThread(list_finished, self._spool, time.time())
        if not found:
            self._over -= asked
            return
        known = {one.name: one for one in await self._store.read(load_named, [one.said.stem for one in found])}
        new = [one for one in found if one.said.stem not in known]
        over = self._over | await self._store.read(load_over, sorted({one.said.call_id for one in new}))
        ready = [one for one in new if is_ready(one, over)]
        empty = [one for one in ready if one.size <= WAV_HEADER_BYTES]
        if taken := [one.describe() for one in ready if one.size > WAV_HEADER_BYTES]:
            await self._store.run(record_recordings, taken)
        # Nobody spoke; or it was converted already, and the process died before its source went.
        left = [one.file_name for one in empty]
        left += [
            one.file_name for one in found if one.said.stem in known and known[one.said.stem].converted_at is not None
        ]
        for file_name in left:
            await deferToThread((self._spool / file_name).unlink, missing_ok=True)
        self._over -= asked - {one.said.call_id for one in found}

    # ---------------------------------------------------------------------------------------------- converting

    async def convert(self) -> None:
        """Converts what waits, one after the other, as long as nobody needs the machine."""
        for recording in await self._store.read(load_waiting, AT_ONCE):
            if self._is_busy() or not self.running:
                return
            if self._not_before.get(recording.id, 0.0) <= self._clock.seconds():
                await self._convert(recording)

    async def _convert(self, recording: Recording) -> None:
        """On the disk first, then in the database, then the source goes: whenever the process dies, one of the two files is known."""
        source = self._spool / recording.path
        try:
            path, size = await deferToThread(self._encode, source, recording)
        except ToolStopped:
            return
        except (ToolFailed, ToolMissing, OSError) as error:
            if isinstance(error, FileNotFoundError) and not source.exists():
                return  # deleted meanwhile
            _log.warn("recording {name} cannot be converted: {error}", name=recording.name, error=error)
            self._not_before[recording.id] = self._clock.seconds() + RETRY_AFTER_S
            return
        kept = await self._store.run(record_converted, recording.id, path, size, self._form, self._now())
        self._not_before.pop(recording.id, None)
        await deferToThread(source.unlink, missing_ok=True)
        if not kept:
            await deferToThread((self._archive / path).unlink, missing_ok=True)

    def _encode(self, source: Path, recording: Recording) -> tuple[str, int]:
        """In a thread: the file in the archive, whole; (its path there, its bytes)."""
        path = f"{recording.started_at.astimezone(UTC):%Y/%m/%d}/{recording.name}.{self._form}"
        target = self._archive / path
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        try:
            if self._form == "wav":
                shutil.copyfile(source, part)
            else:
                self._converter.encode_recording(source, part, self._form)
            sync_file(part)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
        return path, target.stat().st_size

    # ----------------------------------------------------------------------------------------------- retention

    async def expire(self) -> int:
        """Deletes what is older than the settings keep; how many there were."""
        if not self._keep_days:
            return 0
        before, gone = self._now() - timedelta(days=self._keep_days), 0
        while expired := await self._store.read(load_expired, before, EXPIRED_AT_ONCE):
            for recording in expired:
                await self.remove_file(recording)
            gone += await self._store.run(delete_recordings, [recording.id for recording in expired])
        if gone:
            _log.info("{gone} recordings were older than {days} days", gone=gone, days=self._keep_days)
        return gone

    def _try(self, work: Callable[[], Coroutine[Deferred[Any], Any, object]]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._supervise(work))

    async def _supervise(self, work: Callable[[], Coroutine[Deferred[Any], Any, object]]) -> None:
        """The supervised edge: the next turn may find a database and a disk that work again."""
        try:
            await work()
        except (StoreError, OSError) as error:
            _log.warn("recordings: {error}", error=error)
        except Exception:  # noqa: BLE001 - a supervised edge: the next turn may do better
            _log.failure("recordings")


def is_ready(found: Found, over: set[str]) -> bool:
    """Whether Asterisk has finished with a file."""
    if found.said.call_id in over:
        return found.is_closed or found.untouched_s >= UNTOUCHED_S
    return found.untouched_s >= FORGOTTEN_S


def list_finished(folder: Path, now_s: float) -> list[Found]:
    """The files of ours in a folder, oldest first; none where there is no folder. Blocks."""
    found = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            said = read_recording_name(entry.name)
            if said is None or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(FileNotFoundError):
                state = entry.stat(follow_symlinks=False)
                is_closed = _is_closed(Path(entry.path), state.st_size)
                found.append(Found(entry.name, said, state.st_size, is_closed, now_s - state.st_mtime))
    return sorted(found, key=lambda one: (one.said.started_at, one.file_name))


def _is_closed(path: Path, size: int) -> bool:
    """Whether the header says how long the audio is: Asterisk writes that when it closes the file (formats/format_wav.c)."""
    with path.open("rb") as stream:
        header = stream.read(WAV_HEADER_BYTES)
    length = int.from_bytes(header[40:44], "little") if header[36:40] == b"data" else -1
    return length >= 0 and length > 0 and size in (WAV_HEADER_BYTES + length, WAV_HEADER_BYTES + length + 1)
