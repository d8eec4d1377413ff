"""Makes the CDR of every call of the PBX from Asterisk's own record files; never needs to have been there when the call was.

CEL and CDR are read as JSON, by byte offset, and what they say is kept in one transaction with the offset: a line is never taken half,
and one that is taken again changes nothing. A leg that neither the record nor Asterisk's list of channels knows was up when Asterisk
died: it is *unconfirmed*.
"""

import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from tandem.ami.connection import Clock
from tandem.ami.errors import AmiError
from tandem.domain.cdr import Cdr, Leg, find_records_end, read_cdr, read_cel, split_records
from tandem.regular import Regular
from tandem.store.cdrs import FilePosition, load_open_legs, load_position, record_legs, record_lost
from tandem.store.database import Store
from tandem.store.errors import StoreError

_log = Logger()

READ_EVERY_S: Final = 1.0
COMPARE_EVERY_S: Final = 10.0
# A leg must be in no list for so long, with the record read to its end, before it counts as lost.
GRACE_S: Final = 10.0
# Claims of the dialer wait while one is taken.
CHUNK_BYTES: Final = 32 * 1024
HEAD_BYTES: Final = 256
MAX_GENERATIONS: Final = 100
_READERS: Final[Mapping[str, Callable[[bytes], Leg | None]]] = {"cel": read_cel, "cdr": read_cdr}


@dataclass(frozen=True, slots=True)
class Reading:
    """Some whole records of a file, and the position after them; is_end: there is no more right now."""

    changes: tuple[Leg, ...]
    position: FilePosition
    is_end: bool


def read_records(path: Path, name: str, position: FilePosition | None) -> Reading | None:
    """The next records of a file; None where there is none right now. OSError where it cannot be read.

    A file that was set aside (ours is `NAME.1`; logrotate's go on to `NAME.2`…) is read to its end before the newer one; the same file
    begun anew (truncated) from its start. What has no end within a chunk is passed over.
    """
    with ExitStack() as opened:
        newest_first = _open_generations(path, opened)
        at = next((at for at, stream in enumerate(newest_first) if stream and _is_same(position, stream)), None)
        if at is not None and position is not None:
            reading = _read_chunk(newest_first[at], name, position)
            if at == 0:
                return reading
            if reading.position.offset > position.offset:
                return replace(reading, is_end=False)
            # Nothing comes any more, also no end of a torn line: Asterisk opens a file for each record, and the newer one was
            # there before this one was read to its end.
        next_at = at - 1 if at else 0
        stream = newest_first[next_at]
        if stream is None:
            return None
        stream.seek(0)
        head = stream.read(HEAD_BYTES)
        reading = _read_chunk(stream, name, FilePosition(name, os.fstat(stream.fileno()).st_ino, 0, head))
        return replace(reading, is_end=reading.is_end and not next_at)


def set_aside(path: Path, position: FilePosition, limit_bytes: int) -> bool:
    """Renames a file that is so long to `NAME.1`, where its rest is read; whether it did. OSError where the folder cannot be written.

    The former `NAME.1` goes: whoever reads at `position`, in the newer file, has read it to its end. Asterisk makes a new file.
    """
    with suppress(FileNotFoundError):
        state = path.stat()
        if state.st_ino == position.inode and state.st_size >= limit_bytes:
            path.replace(path.with_name(f"{path.name}.1"))
            return True
    return False


def _open_generations(path: Path, opened: ExitStack) -> list[BinaryIO | None]:
    """The file (None where it is missing) and those that were set aside, newest first: one that is renamed meanwhile is met again."""
    streams: list[BinaryIO | None] = []
    for number in range(MAX_GENERATIONS):
        try:
            streams.append(
                opened.enter_context((path.with_name(f"{path.name}.{number}") if number else path).open("rb"))
            )
        except (FileNotFoundError, IsADirectoryError):
            if number:
                break
            streams.append(None)
    return streams


def _is_same(position: FilePosition | None, stream: BinaryIO) -> bool:
    if position is None:
        return False
    state = os.fstat(stream.fileno())
    is_as_long = state.st_ino == position.inode and state.st_size >= position.offset
    return is_as_long and stream.read(HEAD_BYTES).startswith(position.head)


def _read_chunk(stream: Any, name: str, position: FilePosition) -> Reading:
    stream.seek(position.offset)
    data = stream.read(CHUNK_BYTES)
    whole = find_records_end(data)
    is_end = len(data) < CHUNK_BYTES
    # A record is never as long as a chunk: what has no end is none.
    taken = whole if whole or is_end else len(data)
    read = _READERS[name]
    changes = tuple(leg for record in split_records(data[:whole]) if (leg := read(record)) is not None)
    return Reading(changes, FilePosition(name, position.inode, position.offset + taken, position.head), is_end)


class Ledger(Regular):
    """Reads the record files regularly.

    files: `cel` and `cdr` -> path. list_channels: the uniqueids that are up, or an error while nobody can tell. list_trunks: names of
    trunks. save_routes: keeps what was decided until now, so that CDRs have it. max_bytes: a file that is longer and read is set aside;
    0: never.
    """

    name = "ledger"

    def __init__(
        self,
        store: Store,
        files: Mapping[str, Path],
        clock: Clock,
        *,
        list_channels: Callable[[], Awaitable[Collection[str]]],
        list_trunks: Callable[[], Collection[str]],
        save_routes: Callable[[], Awaitable[None]],
        max_bytes: int = 0,
        grace_s: float = GRACE_S,
    ) -> None:
        super().__init__(clock)
        self._store = store
        self._files = dict(files)
        self._clock = clock
        self._list_channels = list_channels
        self._list_trunks = list_trunks
        self._save_routes = save_routes
        self._max_bytes = max_bytes
        self._grace_s = grace_s
        self._positions: dict[str, FilePosition | None] | None = None
        self._missing: dict[str, float] = {}
        self._fixed: set[Path] = set()  # cannot be renamed
        self._watchers: tuple[Callable[[Cdr], None], ...] = ()
        self._reading = DeferredLock()
        self.problem: str | None = None
        self.repeat(partial(self._supervise, self.read), READ_EVERY_S)
        self.repeat(partial(self._supervise, self.compare), min(COMPARE_EVERY_S, grace_s))

    def startService(self) -> None:
        """Reads at once, then regularly."""
        for path in self._files.values():
            if not path.parent.is_dir():
                _log.warn(
                    "no CDRs are made: {folder} does not exist, and Asterisk does not make it", folder=path.parent
                )
        super().startService()

    def watch(self, callback: Callable[[Cdr], None]) -> Callable[[], None]:
        """Calls back for each CDR that is complete or corrected. Returns the function that ends it."""
        self._watchers = (*self._watchers, callback)

        def end() -> None:
            self._watchers = tuple(other for other in self._watchers if other is not callback)

        return end

    async def read(self) -> None:
        """Reads every file to its end. OSError, StoreError."""
        async with self._reading:
            if self._positions is None:
                self._positions = {name: await self._store.read(load_position, name) for name in self._files}
            while not await self._read_some():
                pass
            for name, path in self._files.items():
                await self._set_aside(path, self._positions[name])

    async def _read_some(self) -> bool:
        """Takes a chunk of each file, in one transaction: of most calls both records come in the same second. Whether that was the end of all."""
        assert self._positions is not None
        readings: dict[str, Reading] = {}
        failed: OSError | None = None
        for name, path in self._files.items():
            try:
                reading = await deferToThread(read_records, path, name, self._positions[name])
            except OSError as error:  # the other file says something all the same
                failed, reading = error, None
            if reading is not None:
                readings[name] = reading
        fresh = {name: one for name, one in readings.items() if one.position != self._positions[name]}
        if fresh:
            await self._save_routes()
            changes = [leg for one in fresh.values() for leg in one.changes]
            trunks, positions = tuple(self._list_trunks()), [one.position for one in fresh.values()]
            self._tell(await self._store.run(record_legs, changes, trunks, positions))
            self._positions.update((one.position.name, one.position) for one in fresh.values())
        is_end = all(one.is_end for one in readings.values())
        if failed is not None and is_end:
            raise failed
        return is_end

    async def _set_aside(self, path: Path, position: FilePosition | None) -> None:
        if not self._max_bytes or position is None or position.offset < self._max_bytes or path in self._fixed:
            return
        try:
            if await deferToThread(set_aside, path, position, self._max_bytes):
                _log.info("{path} was read and set aside", path=path)
        except OSError as error:
            self._fixed.add(path)
            _log.warn("{path} grows, for it cannot be renamed ({error})", path=path, error=error)

    async def compare(self) -> None:
        """Finds legs that are in no record and in no list of channels. AmiError while nobody can tell."""
        open_legs = set(await self._store.read(load_open_legs))
        if not open_legs:
            self._missing.clear()
            return
        up = set(await self._list_channels())
        now = self._clock.seconds()
        self._missing = {uniqueid: self._missing.get(uniqueid, now) for uniqueid in open_legs if uniqueid not in up}
        gone = [uniqueid for uniqueid, since in self._missing.items() if now - since >= self._grace_s]
        if gone:
            await self.read()
            await self._save_routes()
            self._tell(await self._store.run(record_lost, gone, tuple(self._list_trunks())))

    def _tell(self, cdrs: list[Cdr]) -> None:
        for cdr in cdrs:
            for callback in self._watchers:
                try:
                    callback(cdr)
                except Exception:  # noqa: BLE001 - a watcher's mistake must not stop the record
                    _log.failure("a watcher of CDRs failed")

    async def _supervise(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
            self.problem = None
        except (OSError, StoreError) as error:
            if self.problem is None:
                _log.warn("Asterisk's records are not read: {error}", error=error)
            self.problem = f"Asterisk's records are not read: {error}"
        except AmiError as error:
            _log.debug("legs not compared: {error}", error=error)
        except Exception:  # noqa: BLE001 - a mistake of ours: the next time may do better
            _log.failure("Asterisk's records could not be followed")
