"""All routes of the While1 Voice API; each takes GET and POST, and is checked for its hash before its action is looked at."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from api.compat.parameters import parameters_body
from api.compat.while1.calls import channel, originate_call
from api.compat.while1.credentials import USERNAME, check_integrity, identify
from api.compat.while1.queues import queues, users_status
from api.compat.while1.records import cdr, inbound_routes, schedule
from api.compat.while1.reports import reports
from api.compat.while1.speech import BASE, DEPRECATED, NAME, Action, Denied, encode_answer
from api.declare import Reply, Route, Shown
from api.exchange import Exchange, Services

_ANYTHING: Final = Shown(dict[str, Any], name="While1Answer")
# Actions that only look; with `post_only`, everything else must be a POST.
_LOOKING: Final = {
    "originate-call": frozenset[str](),
    "channel": frozenset({"", "list"}),
    "queues": frozenset({"", "read", "info"}),
    "cdr": frozenset({"", "read"}),
}


def _serve(name: str, action: Action) -> Callable[[Services, Exchange], Awaitable[Reply]]:
    async def handle(services: Services, exchange: Exchange) -> Reply:
        settings = services.apis.while1
        check_integrity(settings, exchange, services.now().timestamp())
        if settings.post_only and exchange.route.method != "POST" and name in _LOOKING:
            wanted = exchange.body.get("action", "")
            if not isinstance(wanted, str) or wanted not in _LOOKING[name]:
                raise Denied("This action must be sent by POST")
        warnings = (DEPRECATED,) if USERNAME in exchange.body else ()
        return encode_answer(await action(services, exchange), warnings, has_codes=settings.message_codes)

    return handle


def _declare(name: str, action: Action, summary: str) -> tuple[Route, ...]:
    handler = _serve(name, action)
    return tuple(
        Route(
            method=method, path=f"{BASE}/{name}", permission=None, summary=summary, handler=handler, tag=NAME,
            operation=f"while1_{method.lower()}_{name.replace('-', '_')}", body=parameters_body(believes_type=False), answer=_ANYTHING,
            identify=identify,
        )
        for method in ("GET", "POST")
    )  # fmt: skip


ROUTES: Final[tuple[Route, ...]] = (
    *_declare("originate-call", originate_call, "Ring an agent, then a customer."),
    *_declare("channel", channel, "List, hang up, originate or redirect channels."),
    *_declare("queues", queues, "Queues: read, info, save, pause."),
    *_declare("users-status", users_status, "Phones as they are now."),
    *_declare("cdr", cdr, "Calls that are over: read, and added to."),
    *_declare("reports", reports, "Reports."),
    *_declare("inbound-routes", inbound_routes, "DIDs."),
    *_declare("schedule", schedule, "Opening hours."),
)
