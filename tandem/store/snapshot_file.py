"""The last live snapshot as a file, so that a start without database still routes; holds no secret, and nothing damaged is ever used.

Line 1 is `{"format":1,"revision":7}`, then one `collection<TAB>body` per object, and at the end `sha256 <digest of all before>`.
Routing needs no SIP secret and no PIN, so an empty one stands in the file, and a random one that nobody knows in what is read from it.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from tandem.domain.entities import COLLECTIONS, Entity, General
from tandem.domain.snapshot import Snapshot
from tandem.store.bodies import GENERAL, decode_body, encode_body

FORMAT: Final = 1
# Collection -> the field that is left out.
_SECRETS: Final = {"endpoints": "secret", "trunks": "secret", "outbound_routes": "pin", "voicemail_boxes": "pin"}
_END: Final = b"sha256 "


class SnapshotFileError(Exception):
    """The file cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A file that is whole: the revision, and one text per object for `decode_line`."""

    revision: int
    lines: list[bytes]


def encode_lines(snapshot: Snapshot) -> Iterator[bytes]:
    """The file's lines but the last, one object at a time: whoever writes 100,000 of them can do it between other work."""
    yield orjson.dumps({"format": FORMAT, "revision": snapshot.revision}) + b"\n"
    yield f"{GENERAL}\t{encode_body(snapshot.general)}\n".encode()
    for collection in COLLECTIONS:
        members = getattr(snapshot, collection)
        for entity in members if collection == "dids" else members.values():
            yield f"{collection}\t{_without_secret(collection, entity)}\n".encode()


def decode_line(line: bytes) -> Entity | General:
    """The object of one line; BodyError if this Tandem does not take it."""
    collection, _, body = line.decode().partition("\t")
    field = _SECRETS.get(collection)
    if field is not None:
        fields: dict[str, Any] = orjson.loads(body)
        if fields[field] == "":
            fields[field] = str(secrets.randbelow(10**12)).zfill(12) if field == "pin" else secrets.token_hex(32)
        body = orjson.dumps(fields).decode()
    return decode_body(collection, body)


def read_snapshot_file(path: Path) -> SnapshotFile:
    """The file's content, checked as a whole; SnapshotFileError when it is missing, cut, changed or of another format."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SnapshotFileError(f"{path}: cannot be read ({error.strerror})") from error
    end = content.rfind(_END)
    if end < 0 or content[end:] != _END + hashlib.sha256(memoryview(content)[:end]).hexdigest().encode() + b"\n":
        raise SnapshotFileError(f"{path}: is damaged (its checksum does not fit)")
    header, *lines = content[:end].splitlines()
    try:
        form, revision = (orjson.loads(header)[key] for key in ("format", "revision"))
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SnapshotFileError(f"{path}: is not a snapshot") from error
    if form != FORMAT:
        raise SnapshotFileError(f"{path}: has format {form}, and this Tandem reads {FORMAT}")
    return SnapshotFile(revision, lines)


class SnapshotWriter:
    """Writes a snapshot beside the old file and puts it in its place when it is whole and on the disk. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f"{path.name}.new")
        self._digest = hashlib.sha256()
        self._draft.unlink(missing_ok=True)
        handle = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._stream: BinaryIO = os.fdopen(handle, "wb", buffering=0)

    def write(self, lines: bytes) -> None:
        """Appends whole lines."""
        self._digest.update(lines)
        self._write_all(lines)

    def finish(self) -> None:
        """Ends the file, waits for the disk and renames; only now the old one is gone."""
        self._write_all(_END + self._digest.hexdigest().encode() + b"\n")
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def abandon(self) -> None:
        """Leaves the old file as it is."""
        self._stream.close()
        self._draft.unlink(missing_ok=True)

    def _write_all(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[self._stream.write(left) :]


def _without_secret(collection: str, entity: Entity) -> str:
    field = _SECRETS.get(collection)
    if field is None or getattr(entity, field) is None:
        return encode_body(entity)
    return orjson.dumps({**orjson.loads(orjson.dumps(entity)), field: ""}).decode()
