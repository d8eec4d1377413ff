"""Who calls the MikoPBX auto dialer's API: a session cookie, a Bearer token, or, where the settings trust it, a program on this machine; keeps no session but as a token of ours."""

import json
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from api.auth import EVERYTHING, MAX_PASSWORD, ROLES, Principal, limit_by_group
from api.compat.parameters import Parameters, parameters_body
from api.declare import Reply, Route, Shown
from api.doors import may_be_a_page
from api.errors import Refused
from api.exchange import Exchange, Services
from tandem.store.tokens import create_token

COOKIE: Final = "PHPSESSID"
SESSION: Final = timedelta(hours=1)
_LOOPBACK: Final = Principal("loopback", "mikopbx loopback", (EVERYTHING,))
LOGIN: Final = "/admin-cabinet/session/start"


async def identify(services: Services, exchange: Exchange) -> Principal | None:
    """Whose cookie it is; None for nobody's. Clients echo the whole Set-Cookie, attributes included."""
    for header in exchange.request.requestHeaders.getRawHeaders("cookie") or []:
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if name == COOKIE and value.isascii() and value.isprintable():
                return services.authority.identify(b"Bearer " + value.encode())
    trusted = services.apis.mikopbx.trust_loopback and exchange.is_near and not may_be_a_page(exchange.request)
    return _LOOPBACK if trusted else None


async def _log_in(services: Services, exchange: Exchange) -> Reply:
    given: Parameters = exchange.body
    name, password = (given.get(field, "") for field in ("login", "password"))
    if not all(isinstance(one, str) and 0 < len(one) <= MAX_PASSWORD and "\0" not in one for one in (name, password)):
        return _answer(success=False, message={"error": ["Wrong login or password"]})
    try:
        user = await services.logins.log_in(name, password, exchange.source)
    except Refused as refused:
        if refused.status == HTTPStatus.TOO_MANY_REQUESTS:
            # As there: no session, and the page to begin again at.
            return _answer(success=True, reload="session/index", headers=refused.headers)
        if refused.status != HTTPStatus.UNAUTHORIZED:
            raise
        return _answer(success=False, message={"error": ["Wrong login or password"]})
    if not user.api_access:
        return _answer(success=False, message={"error": ["Wrong login or password"]})
    now = services.now()

    def work(db: Any) -> tuple[str, Reply]:
        made = create_token(
            db, name="mikopbx session", permissions=limit_by_group(ROLES[user.role], None), at=now, expires_at=now + SESSION, user=user.name
        )  # fmt: skip
        cookie = f"{COOKIE}={made.secret}; path=/; HttpOnly; SameSite=Strict"
        return made.secret, _answer(success=True, headers=(("set-cookie", cookie),))

    _, reply = await exchange.write(work, f"users/{user.name}", who=f"user {user.name}")
    await services.authority.load()
    return reply


def _answer(
    *, success: bool, reload: str | bool = False, message: Any = (), headers: tuple[tuple[str, str], ...] = ()
) -> Reply:
    body = {"success": success, "reload": reload, "message": message or []}
    return Reply(json.dumps(body).encode(), headers=headers, kept=b"{}")


ROUTES: Final = (
    Route(
        method="POST", path=LOGIN, permission=None, summary="Log in: a session cookie for an hour.", handler=_log_in, tag="mikopbx",
        operation="mikopbx_log_in", body=parameters_body(), answer=Shown(dict[str, Any], name="MikoPbxLogin"), max_body=8192,
    ),
)  # fmt: skip
