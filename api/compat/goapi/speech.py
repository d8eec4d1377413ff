"""How goAPI speaks: its envelopes, the texts of its codes, JSON as PHP writes it, XML and text; knows no action."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from api.declare import JSON
from api.dialect import Dialect
from api.errors import PermissionMissing, Refused

PREFIXES: Final = ("/goAPI", "/goAPIv2")
SUCCESS: Final = "success"
XML: Final = "application/xml"
TEXT: Final = "text/plain; charset=utf-8"

# The code of a refusal -> its text.
CODES: Final[Mapping[str, str]] = {
    "10001": "Error: You do not have permission to view this page",
    "10003": "Error: Mismatch of given parameters and accepted parameters",
    "10004": "Error: No such resource or access is restricted",
    "10006": "Error: Missing parameters",
    "10008": "Error: File upload failed! Possible mismatch file type",
    "10010": "Error: SQL Query error or not allowed query",
    "10011": "Error: The provided JSON string is not valid",
    "10107": "Error: No list id provided",
    "10108": "Error: No campaigns available",
    "10109": "Error: Campaign definition with this ID already exists",
    "10110": "Error: This code already exists",
    "10111": "Error: This description already exists",
    "10113": "Error: Agent username already in use",
    "10116": "Error: Phone already exists",
    "10117": "Error: Invalid phone number",
    "40001": "Error: Missing required parameters",
    "40002": "Error: Missing required parameter needed for update",
    "41001": "Required field",
    "41002": "Invalid value. Integer expected",
    "41003": "Invalid email",
    "41004": "Invalid value",
    "41006": "Value does not match required criteria.",
}
_NOT_IN_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]")


class Said(Refused):
    """A refusal in goAPI's words: the whole body, and the status where the settings want one that tells."""

    def __init__(
        self,
        body: Mapping[str, Any],
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(status, str(body.get("message", body["result"])), headers=headers)
        self.body = body


def fail(text: str, **more: Any) -> Said:
    """Form A: the text itself is the result."""
    return Said({"result": text, **more})


def fail_code(code: str, where: str = "") -> Said:
    """Form B: a code and its text, and where it is wrong."""
    return Said({"code": code, "result": f"{CODES[code]} in {where}" if where else CODES[code]})


def fail_login() -> Said:
    """Which of the two was wrong is not told."""
    return Said({"result": "error", "message": "Invalid Username/Password"}, HTTPStatus.UNAUTHORIZED)


def fail_unknown() -> Said:
    """An action, or a module, that there is none of."""
    return Said({"result": "error", "message": "Command Not Found"})


def refuse(error: BaseException, refused: Refused) -> Said:
    """Whatever was raised, in goAPI's words; `refused` is what the one table of errors says of it."""
    if isinstance(error, Said):
        return error
    if isinstance(error, PermissionMissing):
        return Said({"code": "10001", "result": CODES["10001"]}, HTTPStatus.FORBIDDEN)
    if refused.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        return Said({"result": "error", "message": refused.message}, refused.status, refused.headers)
    if refused.status == HTTPStatus.NOT_FOUND:
        return Said({"code": "10004", "result": f"{CODES['10004']}: {refused.message}"})
    status = refused.status
    if status in (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED):
        status = HTTPStatus.BAD_REQUEST
    return Said({"result": f"Error: {refused.message}"}, status, refused.headers)


def _refuse_early(error: BaseException, refused: Refused) -> Refused:
    """What never reached an action: a path that is none is an unknown command too."""
    return fail_unknown() if refused.status == HTTPStatus.NOT_FOUND else refuse(error, refused)


def _encode(refused: Refused) -> bytes:
    return encode_json(refused.body if isinstance(refused, Said) else {"result": f"Error: {refused.message}"})


DIALECT: Final = Dialect(
    title="goAPI of GOautodial, as Tandem speaks it",
    description="One address per module; the parameter goAction says what is wanted. docs/goapi.md has the actions.",
    prefixes=PREFIXES,
    refuse=_refuse_early,
    encode=_encode,
    error_schema={"type": "object", "title": "Error", "required": ["result"], "properties": {"result": {}}},
    is_lenient=True,
)

# ---------------------------------------------------------------------------------------------------------- writing


def encode_json(body: Mapping[str, Any]) -> bytes:
    r"""As PHP's json_encode does it: `/` as `\/`, what is not ASCII as \uXXXX, no blanks."""
    # A slash can only be within a text.
    return json.dumps(body, separators=(",", ":")).replace("/", "\\/").encode()


def encode_xml(body: Mapping[str, Any], action: str) -> bytes:
    """Well-formed: lists are repeated elements, objects are nested."""
    root = ET.Element("goautodialapi", version="4.0")
    ET.SubElement(root, "action").text = _clean(action)
    for key, value in body.items():
        _append(root, key, value)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root)


def _append(parent: ET.Element, key: str, value: Any) -> None:
    name = _NOT_A_NAME.sub("_", key) or "_"
    name = f"_{name}" if not (name[0].isalpha() or name[0] == "_") else name
    if isinstance(value, list | tuple):
        for one in value:
            _append(parent, key, one)
        return
    element = ET.SubElement(parent, name)
    if isinstance(value, Mapping):
        for inner, one in value.items():
            _append(element, str(inner), one)
    else:
        element.text = "" if value is None else _clean(str(value))


def _clean(text: str) -> str:
    """XML has no way to write most control characters."""
    return _NOT_IN_XML.sub("\ufffd", text)


def encode_text(body: Mapping[str, Any]) -> bytes:
    """`key=value;` one after the other; the parts of a list with commas between them."""
    return "".join(f"{key}={_tell(value)};" for key, value in body.items()).encode()


def _tell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_tell, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else "" if value is None else str(value)


def choose_type(prefix: str, wanted: str) -> str:
    """json, xml or text of `responsetype`. Older programs (/goAPI) say nothing for text, newer ones (/goAPIv2) for XML.

    The newer ones know no third word: Said as text, before anything was done.
    """
    if wanted.lower() in ("json", "xml"):
        return wanted.lower()
    if prefix == "goAPI":
        return "text" if not wanted else "xml"
    if not wanted:
        return "xml"
    message = "This API function only accepts XML or JSON value on responsetype"
    raise Said({"result": "error", "message": message})


def encode(body: Mapping[str, Any], kind: str, action: str) -> tuple[bytes, str]:
    """(the body, its media type)."""
    if kind == "json":
        return encode_json(body), JSON
    if kind == "xml":
        return encode_xml(body, action), XML
    return encode_text(body), TEXT
