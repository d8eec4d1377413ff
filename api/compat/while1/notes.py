"""`cdr` `save`: what others add to calls that are over, and how it is shown; never changes a CDR."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from api.compat.php_names import as_list
from api.compat.while1.speech import PAGE_SIZE, Answered, Denied, read_rows, read_text
from api.declare import Reply, validate
from api.errors import Refused
from api.exchange import Exchange, Services
from tandem.domain.call_notes import MAX_TRANSCRIPTIONS, NotesChange, NotesRefused, Transcription
from tandem.store.call_notes import CallMissing, save_notes

_WORDS: Final = ("filename", "provider", "remote_id")
_CHANGE: Final = TypeAdapter(NotesChange)


def show_transcription(one: Transcription) -> dict[str, Any]:
    """One, as a row of `cdr` has it."""
    return {
        "type": one.kind,
        **{name: getattr(one, name) for name in _WORDS},
        "text": one.text,
        "metadata": one.metadata,
    }


async def save_cdrs(_: Services, exchange: Exchange) -> Answered:
    """What is added to calls: all rows, or none."""
    exchange.require("cdrs/update")
    changes = [_read_row(number, row) for number, row in enumerate(read_rows(exchange.body, "data", PAGE_SIZE), 1)]

    def work(db: Any) -> tuple[list[str], Reply]:
        return [_save_row(db, number, *change) for number, change in enumerate(changes, 1)], Reply({})

    saved = (await exchange.write(work, lambda ids: f"cdrs/{', '.join(ids)}"))[0]
    return Answered([{"id": call_id, "result": 1} for call_id in saved])


def _save_row(db: Any, number: int, name: str, change: NotesChange) -> str:
    try:
        return save_notes(db, name, change)[0]
    except CallMissing:
        raise Denied(f"row {number}: id: there is no call {name} that is over") from None
    except NotesRefused as error:
        raise Denied(f"row {number}: {error.field}: {error.rule}") from None


def _read_row(number: int, row: Mapping[str, Any]) -> tuple[str, NotesChange]:
    try:
        name = read_text(row, "id", 80)
        return name, validate(_CHANGE, NotesChange, _translate_row(row))
    except Refused as error:
        found = error.problems or ({"rule": error.message},)
        place = re.sub(r"\bkind\b", "type", found[0].get("field", ""))
        raise Denied(": ".join(filter(None, (f"row {number}", place, found[0]["rule"])))) from None


def _translate_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Their words in ours, for the one check that there is; numbers are codes and ids too."""
    given = {name: value for name, value in row.items() if name != "id" and value is not None}
    if "accounting_code" in given:
        given["accounting_code"] = read_text(given, "accounting_code", 80, default="")
    rows = as_list(given.pop("transcriptions", None) or [])
    if len(rows) > MAX_TRANSCRIPTIONS or not all(isinstance(one, dict) for one in rows):
        raise Denied(f"transcriptions: must be a list of at most {MAX_TRANSCRIPTIONS} maps")
    return {**given, "transcriptions": [_translate_transcription(one) for one in rows]}


def _translate_transcription(one: Mapping[str, Any]) -> dict[str, Any]:
    if "kind" in one:
        raise Denied("transcriptions: kind: is not known here; it is type")
    given = {name: value for name, value in one.items() if name not in ("type", "metadata") and value is not None}
    words = {name: read_text(given, name, 200, default="") for name in _WORDS}
    # PHP writes an empty map as a list.
    return {**given, **words, "kind": one.get("type"), "metadata": one.get("metadata") or {}}
