"""What others add to a call once it is over: comments, an accounting code, transcriptions of what was said; the definition, and never a part of what Asterisk recorded itself."""

import json
from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, StringConstraints
from pydantic.dataclasses import dataclass

_STRICT: Final = ConfigDict(extra="forbid")
MAX_TEXT: Final = 100_000
MAX_METADATA: Final = 10_000
# All of a call are shown with it.
MAX_TRANSCRIPTIONS: Final = 10

TranscriptionKind = Literal["monitor", "recording", "confbridge"]


def _check_prose(value: str) -> str:
    if any(not (sign.isprintable() or sign in "\n\r\t") for sign in value):
        raise ValueError("must be text without control characters other than line breaks and tabs")
    return value


def _check_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be text without control characters or line breaks")
    return value


def _check_metadata(value: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        size = len(json.dumps(dict(value), allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError):
        raise ValueError("must be what JSON can hold") from None
    if size > MAX_METADATA:
        raise ValueError(f"must be at most {MAX_METADATA} bytes of JSON")
    return value


Comments = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_check_prose)]
AccountingCode = Annotated[str, StringConstraints(max_length=80), AfterValidator(_check_line)]
_Word = Annotated[str, StringConstraints(max_length=200), AfterValidator(_check_line)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Transcription:
    """What was said in one file of a call.

    kind: a recording of the call (monitor), of one caller's words (recording), of a conference (confbridge). provider, remote_id: who
    wrote it down, and their own id for it. metadata: the provider's, up to 10,000 bytes of JSON. The same kind, filename and provider
    again takes the place of what was there.
    """

    kind: TranscriptionKind
    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT), AfterValidator(_check_prose)]
    filename: _Word = ""
    provider: _Word = ""
    remote_id: _Word = ""
    metadata: Annotated[Mapping[str, Any], AfterValidator(_check_metadata)] = field(
        default_factory=lambda: MappingProxyType({})
    )

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is a transcription of, and whose."""
        return self.kind, self.filename, self.provider


@dataclass(frozen=True, slots=True, kw_only=True)
class CallNotes:
    """All that was added to a call. accounting_code: None where nobody gave one: then it is the account of the call itself."""

    comments: str = ""
    accounting_code: str | None = None
    transcriptions: tuple[Transcription, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class NotesChange:
    """What is added or changed; None leaves things as they are."""

    comments: Comments | None = None
    accounting_code: AccountingCode | None = None
    transcriptions: tuple[Transcription, ...] = ()


class NotesRefused(ValueError):
    """Notes that are not kept: `field` breaks `rule`."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field} {rule}")
        self.field, self.rule = field, rule


def change_notes(notes: CallNotes, change: NotesChange) -> CallNotes:
    """The notes with a change; NotesRefused for too many transcriptions."""
    given = {one.key: one for one in change.transcriptions}
    kept = {one.key: one for one in notes.transcriptions} | given
    if len(kept) > MAX_TRANSCRIPTIONS:
        raise NotesRefused("transcriptions", f"must be at most {MAX_TRANSCRIPTIONS} of a call")
    return CallNotes(
        comments=notes.comments if change.comments is None else change.comments,
        accounting_code=notes.accounting_code if change.accounting_code is None else change.accounting_code,
        transcriptions=tuple(kept.values()),
    )
