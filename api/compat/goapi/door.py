"""The front controller: module, action, credentials, permission, in this order of checks; holds no action.

One address per module takes GET and POST. What is answered is HTTP 200 unless the settings want the status that fits (`apis.goapi.http_errors`);
what never reached the controller (a body that is too long, a request that is none) has its own status always.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from itertools import product
from typing import Any, Final

from api.compat.goapi.actions import Call, Module
from api.compat.goapi.credentials import Credentials
from api.compat.goapi.parameters import Given, read_given
from api.compat.goapi.speech import (
    PREFIXES,
    SUCCESS,
    choose_type,
    encode,
    fail_unknown,
    refuse,
)
from api.declare import MAX_BODY, Body, Reply, Route, Sent
from api.exchange import Exchange, Services

_CORS: Final = (("access-control-allow-origin", "*"),)
# Told as what they are also to programs that look at the body alone: they may try again.
_ALWAYS_TOLD: Final = frozenset(
    {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.INSUFFICIENT_STORAGE}
)
_BODY: Final = Body(
    bytes, lambda sent: sent, optional=True, is_sent=True, media_type="application/x-www-form-urlencoded"
)


def declare_routes(modules: Sequence[Module], credentials: Credentials) -> tuple[Route, ...]:
    """GET and POST of every module at both places; of one that is none, too."""
    known = {module.name: module for module in modules}
    places = product(PREFIXES, (*known, ""), ("GET", "POST"))
    return tuple(_declare(method, prefix, known.get(name), credentials) for prefix, name, method in places)


def _declare(method: str, prefix: str, module: Module | None, credentials: Credentials) -> Route:
    """One route; without a module, of every name that is none."""
    name = module.name if module is not None else ""
    return Route(
        method=method, path=f"{prefix}/{name or '{module}'}/goAPI.php", permission=None, tag="goapi",
        summary=f"Actions of {name}." if name else "No module.", handler=_control(module, credentials),
        operation=f"goapi_{prefix[1:]}_{method}_{name}", body=_BODY,
        max_body=module.max_body if module is not None else MAX_BODY,
        parameters={} if name else {"module": "What is no module."},
    )  # fmt: skip


def _control(module: Module | None, credentials: Credentials) -> Callable[[Services, Exchange], Awaitable[Reply]]:
    async def control(services: Services, exchange: Exchange) -> Reply:
        prefix = exchange.route.path.split("/")[1]
        kind, action = "json", ""
        headers: tuple[tuple[str, str], ...] = ()
        try:
            sent: Sent = exchange.body
            given = read_given(sent)
            action = given.raw("goAction")[:80]
            kind = "text"
            kind = choose_type(prefix, given.raw("responsetype")[:20])
            body: Any = await _run(module, credentials, Call(services, exchange, given))
            status = HTTPStatus.OK
        except Exception as error:  # noqa: BLE001 - the supervised edge: every error has its words
            said = refuse(error, services.refuse(error))
            body, headers = said.body, said.headers
            told = services.apis.goapi.http_errors or said.status in _ALWAYS_TOLD
            status = said.status if told else HTTPStatus.OK
        content, media_type = encode(body, kind, action)
        return Reply(content, status, (*_CORS, *headers), media_type)

    return control


async def _run(module: Module | None, credentials: Credentials, call: Call) -> Any:
    exchange, given = call.exchange, call.given
    if exchange.principal is None or "goUser" in given:
        secret = given.raw("log_pass") or given.raw("goPass")
        exchange.principal = await credentials.identify(call.services, exchange, given.raw("goUser"), secret)
    action = module.find(given.raw("goAction")) if module is not None else None
    if action is None:
        raise fail_unknown()
    exchange.route = replace(exchange.route, is_scoped=action.is_scoped)
    exchange.require(action.permission)
    answer = await action.handler(replace(call, given=_only(given)))
    if not isinstance(answer, dict) or "result" in answer:
        return answer
    return {"result": SUCCESS, **answer}


def _only(given: Given) -> Given:
    """Without the credentials, which are nobody's business behind this door."""
    hidden = {"goUser", "goPass", "log_pass"}
    return replace(given, values={name: value for name, value in given.values.items() if name not in hidden})
