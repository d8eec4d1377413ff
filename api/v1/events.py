"""`/events`: what happens, as server-sent events."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Final

from pydantic import Field

from api.declare import PREFIX, Frozen, Reply, Route, Shown
from api.errors import Refused
from api.events import KINDS, MAX_CLIENTS
from api.exchange import Exchange, Services
from tandem.domain.fields import matches

_KIND: Final = "|".join(KINDS)
_KINDS: Final = matches(f"(({_KIND})(,({_KIND})){{0,20}})?", f"must be of {', '.join(KINDS)}, with commas between")


class EventsQuery(Frozen):
    """Which events."""

    kinds: Annotated[str, _KINDS, Field(description=f"Of {', '.join(KINDS)}, with commas between; all without it.")] = (
        ""
    )


def open_stream(services: Services, exchange: Exchange, clients: int) -> tuple[Callable[[], bool], float | None]:
    """Begins the answer; whether the client still may listen, and in how many seconds to ask that at the latest. Refused 503 for one too many."""
    if clients >= MAX_CLIENTS:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_CLIENTS} clients listen already")
    request = exchange.request
    request.setHeader(b"content-type", b"text/event-stream")
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    who, permission = exchange.who, exchange.route.permission or ""
    # A moment later than it expires: the two clocks are not one.
    ends_in_s = (who.expires_at - services.now()).total_seconds() + 0.05 if who.expires_at is not None else None
    return lambda: services.authority.may_still(who, permission), ends_in_s


async def _listen(services: Services, exchange: Exchange) -> Reply | None:
    may, ends_in_s = open_stream(services, exchange, services.events.clients)
    kinds = frozenset(filter(None, exchange.query.kinds.split(",")))
    await services.events.attach(exchange.request, kinds, may, ends_in_s)
    return None


ROUTES: Final = (
    Route(
        method="GET", path=f"{PREFIX}/events", permission="events/read", tag="events", operation="listen_events",
        summary="Server-sent events: call, cdr, decision, config, campaign, agent, queue, channel, device; `lost` says how many a slow reader missed.",
        handler=_listen, query=EventsQuery, answer=Shown(str, media_type="text/event-stream"),
    ),
)  # fmt: skip
