"""What others add to a call that is over: read, and added to; never changes the call's CDR."""

from http import HTTPStatus
from typing import Any, Final

from api.declare import PREFIX, Reply, Route, Shown, model_body
from api.exchange import Exchange, Services
from tandem.domain.call_notes import CallNotes, NotesChange
from tandem.store.call_notes import find_call_id, load_notes, save_notes

_PATH: Final = f"{PREFIX}/cdrs/{{call_id}}/notes"
_PARAMETERS: Final = {"call_id": "The linkedid of its first channel; of a placed call its id."}
_EXAMPLE: Final = {
    "comments": "Wants an offer by Friday.",
    "accounting_code": "4711",
    "transcriptions": [
        {"kind": "monitor", "provider": "example", "text": "Good morning.", "metadata": {"language": "en"}}
    ],
}


async def _get(services: Services, exchange: Exchange) -> Reply:
    def read(db: Any) -> CallNotes:
        call_id = find_call_id(db, exchange.path["call_id"])
        return load_notes(db, [call_id]).get(call_id, CallNotes())

    return Reply(await services.store.read(read))


async def _change(_: Services, exchange: Exchange) -> Reply:
    change: NotesChange = exchange.body

    def work(db: Any) -> tuple[str, Reply]:
        call_id, notes = save_notes(db, exchange.path["call_id"], change)
        return call_id, Reply(notes)

    written = await exchange.write(work, lambda call_id: f"cdrs/{call_id}")
    return written[1]


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="cdrs/read", summary="What was added to a call that is over.", handler=_get, tag="cdrs",
        operation="get_call_notes", parameters=_PARAMETERS, answer=Shown(CallNotes), raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="PATCH", path=_PATH, permission="cdrs/update", handler=_change, tag="cdrs", operation="change_call_notes",
        summary="Add comments, an accounting code or transcriptions to a call that is over.", parameters=_PARAMETERS,
        body=model_body(NotesChange, example=_EXAMPLE), answer=Shown(CallNotes), raises=(HTTPStatus.NOT_FOUND,),
    ),
)  # fmt: skip
