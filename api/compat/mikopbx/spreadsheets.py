"""The numbers of an uploaded spreadsheet, told to the client, who makes a task of them; never keeps the file."""

import base64
import binascii
import json
import re
from typing import Any, Final

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread

from api.compat.mikopbx.numbers import read_digits
from api.compat.mikopbx.session import identify
from api.compat.mikopbx.speech import BASE, encode
from api.compat.parameters import Parameters, parameters_body
from api.declare import Reply, Route, Shown
from api.exchange import Exchange, Services
from tandem.spreadsheets import SheetRefused, read_rows

_MAX_BODY: Final = 8 * 1024 * 1024
_ZIP: Final = b"PK"
_NUMBER: Final = re.compile(r"\+?[0-9 ()./-]{3,40}", re.ASCII)
_MIN_DIGITS, _MAX_DIGITS = 3, 24
# A file takes many times its size in memory while it is read.
_TURN: Final = DeferredLock()


def read_cell(value: Any) -> str:
    """The telephone number in a cell; '' for one that has none. A number of Excel's is one, however it is formatted."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    text = str(value).strip()
    if not _NUMBER.fullmatch(text):
        return ""
    digits = read_digits(text)
    return digits if _MIN_DIGITS <= len(digits.removeprefix("+")) <= _MAX_DIGITS else ""


def read_numbers(content: bytes) -> list[dict[str, Any]]:
    """`{number, clientId}` of each cell with a number; those of one row are of one client. SheetRefused."""
    return [
        {"number": number, "clientId": row}
        for row, cells in read_rows(_unwrap(content))
        for number in dict.fromkeys(filter(None, map(read_cell, cells)))
    ]


def _unwrap(content: bytes) -> bytes:
    """The file itself, of one that comes as base64, as their own client sends it."""
    if content.startswith(_ZIP):
        return content
    text = content.rpartition(b"base64,")[2] if content.startswith(b"data:") else content
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return content


async def _upload(services: Services, exchange: Exchange) -> Reply:
    del services
    exchange.require("campaigns/create")
    given: Parameters = exchange.body
    file = next(iter(given.files.values()), None)
    if file is None or not file.content:
        return Reply(encode(False, [], ["error upload file: file is empty"]))
    try:
        numbers = await _TURN.run(deferToThread, read_numbers, file.content)
    except SheetRefused as refused:
        return Reply(encode(False, [], [f"error upload file: the file {refused}"]))
    # Without the envelope, as there.
    return Reply(json.dumps(numbers, indent=4).encode())


ROUTES: Final = (
    Route(
        method="POST", path=f"{BASE}/upload-xls", permission=None, summary="The numbers of a spreadsheet.", handler=_upload, tag="mikopbx",
        operation="mikopbx_post_upload_xls", body=parameters_body(), answer=Shown(list[dict[str, Any]] | dict[str, Any], name="MikoPbxNumbers"), identify=identify,
        max_body=_MAX_BODY, is_scoped=True,
    ),
)  # fmt: skip
