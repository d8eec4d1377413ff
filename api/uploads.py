"""Bodies that bring a file: multipart/form-data or the bytes themselves; never keeps what a form holds besides the expected."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from api.errors import Refused, refuse_fields

MULTIPART: Final = "multipart/form-data"
BYTES: Final = "application/octet-stream"
FILE_FIELD: Final = "file"
_MAX_PARTS: Final = 20
_MAX_FIELD_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A file and the fields of its form. The name that a client gives the file is not kept: nothing may depend on it."""

    content: bytes
    fields: Mapping[str, str]

    def recognise(self) -> dict[str, Any]:
        """What a repeated request is known by."""
        return {**self.fields, FILE_FIELD: hashlib.sha256(self.content).hexdigest()}


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form. name: what the client calls it, to be told, never to be a path."""

    content: bytes
    name: str


def is_upload(media_type: str) -> bool:
    """Whether a body of this type brings a file."""
    return media_type in (MULTIPART, BYTES) or media_type.startswith("audio/")


def read_upload(content_type: str, raw: bytes) -> Upload:
    """The file of a body. Refused 400 for a form that is none, 422 for one without the file."""
    if _split_type(content_type)[0] != MULTIPART:
        return Upload(raw, {})
    form, files = _parse_form(content_type, raw, _MAX_PARTS)
    if FILE_FIELD not in files:
        raise refuse_fields([(FILE_FIELD, "is missing: a part of the form with a filename")])
    for name in (*form, *files):
        if len(form.getlist(name)) + len(files.getlist(name)) > 1:
            raise refuse_fields([(name, "is there twice")])
    unknown = sorted(set(files) - {FILE_FIELD})
    if unknown:
        raise refuse_fields([(unknown[0], "is not known here")])
    return Upload(files[FILE_FIELD].stream.read(), dict(form.items()))


def read_form(
    content_type: str, raw: bytes, *, max_parts: int
) -> tuple[list[tuple[str, str]], list[tuple[str, FormFile]]]:
    """The fields and the files of any form, in their order. Refused 400 for one that is none."""
    form, files = _parse_form(content_type, raw, max_parts)
    return list(form.items(multi=True)), [
        (name, FormFile(one.stream.read(), one.filename or "")) for name, one in files.items(multi=True)
    ]


def _split_type(content_type: str) -> tuple[str, str]:
    """(media type, boundary)."""
    header = Message()
    header["content-type"] = content_type.replace("\r", " ").replace("\n", " ")
    return header.get_content_type(), str(header.get_param("boundary") or "")


def _parse_form(content_type: str, raw: bytes, max_parts: int) -> tuple[Any, Any]:
    boundary = _split_type(content_type)[1]
    parser = FormDataParser(silent=False, max_form_memory_size=_MAX_FIELD_BYTES, max_form_parts=max_parts)
    try:
        _, form, files = parser.parse(BytesIO(raw), MULTIPART, len(raw), {"boundary": boundary})
    except RequestEntityTooLarge:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the form has more than {max_parts} parts, or too long ones") from None
    except (ValueError, UnicodeError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the body is no multipart/form-data: {error}") from None
    return form, files
