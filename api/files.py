# mypy: disallow-untyped-calls=False
# (twisted is mostly untyped)
"""Sends a file, whole or a part of it (RFC 9110, section 14), in pieces as the client reads; never reads one into memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from twisted.protocols.basic import FileSender

from api.errors import Refused
from api.exchange import Exchange

_RANGE: Final = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*")
MEDIA_TYPES: Final = {
    "wav": "audio/wav",
    "wav16": "audio/wav",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
}

# What a route that sends a file may answer besides it.
FILE_ANSWERS: Final = (
    HTTPStatus.PARTIAL_CONTENT,
    HTTPStatus.NOT_MODIFIED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
)


def read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, how many) of a `Range` header; None for the whole: no header, another unit, more than one part, or nonsense.

    Refused 416 with the size for a part that begins after the end.
    """
    found = None if header is None else _RANGE.fullmatch(header)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:  # the last so many
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < int(first):
            return None
    if start >= size:
        raise Refused(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"the file has {size} bytes",
            headers=(("content-range", f"bytes */{size}"), ("accept-ranges", "bytes")),
        )
    return start, stop - start


async def send_file(exchange: Exchange, path: Path, media_type: str, version: str, download: str = "") -> None:
    """Answers with a file, for GET and HEAD. version: changes with its bytes; download: the name to save it under, '' to play it.

    Refused 404 where the file is gone. What the client does not read is not read from the disk either.
    """
    request, tag = exchange.request, f'"{version}"'
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise Refused(HTTPStatus.NOT_FOUND, "its file is gone") from None
    with stream:
        size = stream.seek(0, 2)
        headers = {"etag": tag, "accept-ranges": "bytes", "cache-control": "private, no-cache"}
        headers["content-disposition"] = f"attachment; filename*=UTF-8''{quote(download)}" if download else "inline"
        part = None
        if exchange.is_fresh(tag):
            status = HTTPStatus.NOT_MODIFIED
        else:
            # A part only of what the client knows (RFC 9110, 13.1.5); what it knows by a date, it gets whole.
            is_same = (request.getHeader("if-range") or tag) == tag
            part = read_range(request.getHeader("range"), size) if is_same else None
            status = HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT
            start, length = part or (0, size)
            headers |= {"content-type": media_type, "content-length": str(length)}
            if part is not None:
                headers["content-range"] = f"bytes {start}-{start + length - 1}/{size}"
        request.setResponseCode(status, status.phrase.encode())
        for name, value in {"server": "tandem", "x-content-type-options": "nosniff", **headers}.items():
            request.setHeader(name.encode(), value.encode("latin-1"))
        if status != HTTPStatus.NOT_MODIFIED and request.method != b"HEAD":
            start, length = part or (0, size)
            stream.seek(start)
            with _until_gone():
                await FileSender().beginFileTransfer(_Part(stream, length), request)


class _Part:
    """So many bytes of a file, from where it stands."""

    def __init__(self, stream: IO[bytes], left: int) -> None:
        self._stream, self._left = stream, left

    def read(self, most: int) -> bytes:
        chunk = self._stream.read(min(most, self._left))
        self._left -= len(chunk)
        return chunk


@contextmanager
def _until_gone() -> Iterator[None]:
    """A client that goes in the middle is no error of ours; Twisted tells it by a plain Exception."""
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:
            raise
