"""`/events`: what happens, as server-sent events."""

from http import HTTPStatus
from typing import Annotated, Final

from pydantic import StringConstraints

from api.declare import PREFIX, Frozen, Reply, Route, Shown
from api.errors import Refused
from api.events import MAX_CLIENTS
from api.exchange import Exchange, Services


class EventsQuery(Frozen):
    """Which events."""

    kinds: Annotated[str, StringConstraints(pattern=r"^([a-z_.]{1,30}(,[a-z_.]{1,30}){0,20})?$")] = ""


async def _listen(services: Services, exchange: Exchange) -> Reply | None:
    if services.events.clients >= MAX_CLIENTS:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_CLIENTS} clients listen already")
    request = exchange.request
    request.setHeader(b"content-type", b"text/event-stream")
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    kinds = frozenset(filter(None, exchange.query.kinds.split(",")))
    gone = request.notifyFinish()
    services.events.attach(request, kinds)
    try:
        await gone
    except Exception:  # noqa: BLE001, S110 - however it ended, it ended
        pass
    return None


ROUTES: Final = (
    Route(
        method="GET", path=f"{PREFIX}/events", permission="events/read", tag="events", operation="listen_events",
        summary="Server-sent events: call, cdr, decision, config, campaign, queue, channel, device; `lost` says how many a slow reader missed.",
        handler=_listen, query=EventsQuery, answer=Shown(str, media_type="text/event-stream"),
    ),
)  # fmt: skip
