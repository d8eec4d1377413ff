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


def is_upload(media_type: str) -> bool:
    """Whether a body of this type brings a file."""
    return media_type in (MULTIPART, BYTES) or media_type.startswith("audio/")


def read_upload(content_type: str, raw: bytes) -> Upload:
    """The file of a body. Refused 400 for a form that is none, 422 for one without the file."""
    header = Message()
    header["content-type"] = content_type
    if header.get_content_type() != MULTIPART:
        return Upload(raw, {})
    boundary = str(header.get_param("boundary") or "")
    parser = FormDataParser(silent=False, max_form_memory_size=_MAX_FIELD_BYTES, max_form_parts=_MAX_PARTS)
    try:
        _, form, files = parser.parse(BytesIO(raw), MULTIPART, len(raw), {"boundary": boundary})
    except RequestEntityTooLarge:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the form has more than {_MAX_PARTS} parts, or too long ones") from None
    except (ValueError, UnicodeError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the body is no multipart/form-data: {error}") from None
    if FILE_FIELD not in files:
        raise refuse_fields([(FILE_FIELD, "is missing: a part of the form with a filename")])
    for name in (*form, *files):
        if len(form.getlist(name)) + len(files.getlist(name)) > 1:
            raise refuse_fields([(name, "is there twice")])
    unknown = sorted(set(files) - {FILE_FIELD})
    if unknown:
        raise refuse_fields([(unknown[0], "is not known here")])
    return Upload(files[FILE_FIELD].stream.read(), dict(form.items()))
