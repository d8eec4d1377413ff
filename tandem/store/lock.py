"""The lock beside the database: one process at a time migrates, imports or serves; never the lock of a single transaction."""

import fcntl
import os
from pathlib import Path

from tandem.store.errors import StoreBusy, StoreError


class StoreLock:
    """`<database>.lock`, held by flock: the kernel lets go of it whatever ends the process. Its text says who holds it."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.lock")
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle is not None

    def acquire(self, owner: str) -> None:
        """Takes the lock for `owner` (`tandem serve`); StoreBusy naming the holder if another has it."""
        if self._handle is not None:
            return
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            remedy = "check that its folder exists and who owns it"
            raise StoreError(self._path, f"cannot be opened ({error.strerror})", remedy) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
            os.close(handle)
            raise StoreBusy(self._path, f"{holder} is using the database", "wait for it, or stop it") from None
        os.ftruncate(handle, 0)
        os.write(handle, f"{owner} (pid {os.getpid()})\n".encode())
        self._handle = handle

    def release(self) -> None:
        """Lets go; the file stays, since removing it would let two processes lock two files of one name."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None
