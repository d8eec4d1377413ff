# mypy: disallow-untyped-calls=False
# (twisted.web is mostly untyped)
"""An answer of any length as CSV: page after page, as fast as the client reads; never holds more than a page, and never ends as if it were whole when it is not."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.threads import deferToThread
from zope.interface import implementer  # type: ignore[import-untyped]  # zope has no types

from tandem.domain.csv_cells import write_rows

CSV = "text/csv"


class ClientGone(Exception):
    """Nobody reads any more."""


@implementer(IPushProducer)
class _Writer:
    """Waits while the client does not read."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._is_gone = False
        self._paused: Deferred[None] | None = None
        request.registerProducer(self, True)
        request.notifyFinish().addErrback(lambda _: self.stopProducing())

    async def write(self, chunk: bytes) -> None:
        if self._paused is not None:
            await self._paused
        if self._is_gone:
            raise ClientGone
        self._request.write(chunk)

    def pauseProducing(self) -> None:
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        self._is_gone = True
        self.resumeProducing()


async def stream_csv(
    request: Any, file_name: str, columns: Sequence[str], pages: AsyncIterator[Iterable[Iterable[Any]]]
) -> None:
    """Answers with a header and rows. A failure on the way cuts the connection, for half a list must not look like one."""
    # What fails before the first byte still has its proper answer.
    first: Iterable[Iterable[Any]] = ()
    with suppress(StopAsyncIteration):
        first = await pages.__anext__()
    for name, value in (
        ("content-type", f"{CSV}; charset=utf-8; header=present"),
        ("content-disposition", f'attachment; filename="{file_name}"'),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ):
        request.setHeader(name.encode(), value.encode())
    writer = _Writer(request)
    try:
        await writer.write((await deferToThread(write_rows, [columns, *first])).encode())
        async for page in pages:
            await writer.write((await deferToThread(write_rows, page)).encode())
    except ClientGone:
        pass
    except BaseException:
        if request.channel is not None:
            request.channel.transport.abortConnection()
        raise
    finally:
        if request.channel is not None:
            request.unregisterProducer()
