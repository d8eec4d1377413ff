"""`/callbacks`: who is to be called back by a queue, and what became of it; a person cancels. Never calls anybody by itself."""

from http import HTTPStatus
from typing import Any, Final

from api.declare import PREFIX, Page, Reply, Route, Shown
from api.errors import Refused
from api.exchange import Commit, Exchange, Services
from api.listing import list_query, make_page
from api.times import show_times, with_times
from tandem.domain.callbacks import Callback, CallbackBusy, CallbackMissing
from tandem.store.callbacks import load_callback, load_callbacks

_PATH: Final = f"{PREFIX}/callbacks"
_ONE: Final = f"{_PATH}/{{callback_id}}"
_PARAMETERS: Final = {"callback_id": "As the list has it."}
CallbackShown: Any = with_times(Callback, "CallbackShown")


async def _list(services: Services, exchange: Exchange) -> Reply:
    found = await services.store.read(load_callbacks)
    shown = [show_times(CallbackShown, callback) for callback in found]
    return Reply(make_page(shown, exchange.query, "callback_id"))


async def _get(services: Services, exchange: Exchange) -> Reply:
    found = await services.store.read(load_callback, exchange.path["callback_id"])
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such callback")
    return Reply(show_times(CallbackShown, found))


async def _cancel(services: Services, exchange: Exchange) -> Reply:
    callback_id = exchange.path["callback_id"]

    def answer(_db: Any, callback: Callback) -> Reply:
        return Reply(show_times(CallbackShown, callback))

    commit: Commit[Callback] = Commit(exchange, f"callbacks/{callback_id[:40]}", answer)
    try:
        await services.callbacks.cancel(callback_id, commit)
    except CallbackMissing:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such callback") from None
    except CallbackBusy:
        raise Refused(HTTPStatus.CONFLICT, "it is over, or an agent has answered for it") from None
    return commit.reply


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="callbacks/read", handler=_list, tag="callbacks", operation="list_callbacks",
        summary="Whom queues will call back, and what became of it; the open ones and the newest of the others.",
        query=list_query(CallbackShown, "callback_id"), answer=Shown(Page[CallbackShown], name="CallbacksPage"),
    ),
    Route(
        method="GET", path=_ONE, permission="callbacks/read", handler=_get, tag="callbacks", operation="get_callback",
        summary="One callback.", parameters=_PARAMETERS, answer=Shown(CallbackShown), raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="POST", path=f"{_ONE}/cancel", permission="callbacks/cancel", handler=_cancel, tag="callbacks",
        operation="cancel_callback", summary="Nobody is called back any more; an agent who rings for it is let off. Not once one has answered.",
        parameters=_PARAMETERS, answer=Shown(CallbackShown), raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    ),
)  # fmt: skip
