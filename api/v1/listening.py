"""Listening to an agent's call, for those who train and supervise: calls the listener's phone. Who listened is in the audit log."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from api.declare import PREFIX, Frozen, Reply, Route, Shown, model_body
from api.errors import Refused
from api.exchange import Exchange, Services
from tandem.ami.errors import AmiRefused
from tandem.domain.calls import PlacedCall, new_call_id
from tandem.domain.listening import Ear, plan_listening
from tandem.store.calls import record_placed


class WhoListens(Frozen):
    """Whose phone is called, and who hears them. listen: nobody; whisper: the agent; barge: both."""

    listener: Annotated[str, StringConstraints(min_length=1, max_length=40), Field(description="An extension.")]
    ear: Ear = "listen"


async def place_listening(services: Services, exchange: Exchange, listener: str, agent: str, ear: Ear) -> PlacedCall:
    """The call to the listener's phone; CallRefused, AmiError; Refused 409 where the agent is in no call."""
    order = plan_listening(services.live.current, listener, agent, ear)
    channels = await services.monitor.list_channels()
    if not any(one.channel.startswith(f"PJSIP/{agent}-") and one.bridge for one in channels):
        raise Refused(HTTPStatus.CONFLICT, f"agent {agent} is in no call")
    call_id = new_call_id()

    async def record(call: PlacedCall) -> None:
        """The call and who wanted it, in one transaction."""

        def work(db: Any) -> tuple[None, Reply]:
            record_placed(db, call, services.calls.node)
            return None, Reply(call, HTTPStatus.ACCEPTED)

        await exchange.write(work, f"agents/{agent}/{ear}/{listener}")

    try:
        placed: PlacedCall = await services.calls.place(order, call_id=call_id, record=record)
    except AmiRefused as refused:
        raise Refused(HTTPStatus.BAD_GATEWAY, str(refused)) from None
    return placed


async def _listen(services: Services, exchange: Exchange) -> Reply:
    wanted: WhoListens = exchange.body
    call = await place_listening(services, exchange, wanted.listener, exchange.path["extension"], wanted.ear)
    return Reply(call, HTTPStatus.ACCEPTED)


ROUTES: Final = (
    Route(
        method="POST", path=f"{PREFIX}/agents/{{extension}}/listen", permission="agents/listen", handler=_listen, tag="agents",
        operation="listen_to_agent", summary="Call a phone that hears an agent's call, and speaks to nobody, the agent, or both.",
        parameters={"extension": "The extension of an endpoint."}, body=model_body(WhoListens), answer=Shown(PlacedCall),
        status=HTTPStatus.ACCEPTED, raises=(HTTPStatus.CONFLICT, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE),
    ),
)  # fmt: skip
