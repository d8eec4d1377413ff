"""Channels that are up, one by one: hung up, or sent elsewhere in the dialplan; which there are is `monitoring`'s."""

from http import HTTPStatus
from typing import Final

from api.declare import PREFIX, Frozen, Reply, Route, model_body
from api.exchange import Exchange, Services
from tandem.domain.fields import ContextExten

_ONE: Final = f"{PREFIX}/channels/{{uniqueid}}"
_PARAMETERS: Final = {"uniqueid": "The uniqueid of the channel, or its name."}
_FAILURES: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE)


class RedirectBody(Frozen):
    """Where a channel goes. dialplan: context and extension; the context is in general.allowed_contexts."""

    dialplan: ContextExten


async def _hang_up(services: Services, exchange: Exchange) -> Reply:
    await services.channels.hang_up(exchange.path["uniqueid"])
    return await _note(exchange)


async def _redirect(services: Services, exchange: Exchange) -> Reply:
    await services.channels.redirect(exchange.path["uniqueid"], exchange.body.dialplan)
    return await _note(exchange)


async def _note(exchange: Exchange) -> Reply:
    target = f"channels/{exchange.path['uniqueid']}"
    _, reply = await exchange.write(lambda _: (None, Reply(None, HTTPStatus.NO_CONTENT)), target)
    return reply


ROUTES: Final = (
    Route(
        method="DELETE", path=_ONE, permission="channels/delete", summary="Hang a channel up.", handler=_hang_up, tag="channels",
        operation="hang_up_channel", parameters=_PARAMETERS, status=HTTPStatus.NO_CONTENT, raises=_FAILURES,
    ),
    Route(
        method="POST", path=f"{_ONE}/redirect", permission="channels/update", summary="Send a channel elsewhere in the dialplan.",
        handler=_redirect, tag="channels", operation="redirect_channel", parameters=_PARAMETERS, status=HTTPStatus.NO_CONTENT,
        raises=_FAILURES, body=model_body(RedirectBody, example={"dialplan": "lobby,100"}),
    ),
)  # fmt: skip
