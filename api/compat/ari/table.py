"""All routes of the ARI Dialer's API, gathered from the files of their resources, and their OpenAPI document."""

from functools import cache
from typing import Any, Final

from api.compat.ari import campaigns, cdr, menus, monitoring, numbers, tokens, users
from api.compat.ari.speech import BASE, DIALECT, SHORT, TAG
from api.declare import Reply, Route, Shown
from api.exchange import Exchange, Services
from api.openapi import describe_api

_ANYTHING: Final = Shown(dict[str, Any], name="OpenApiDocument")

_DECLARED: Final = (
    *tokens.ROUTES,
    *campaigns.ROUTES,
    *numbers.ROUTES,
    *cdr.ROUTES,
    *monitoring.ROUTES,
    *menus.ROUTES,
    *users.ROUTES,
)


@cache
def _describe() -> dict[str, Any]:
    return describe_api(ROUTES, DIALECT)


async def _openapi(_: Services, __: Exchange) -> Reply:
    return Reply(_describe())


ROUTES: Final[tuple[Route, ...]] = (
    *_DECLARED,
    Route(
        method="GET", path=f"{BASE}/openapi.json", aliases=(f"{SHORT}/openapi.json",), permission=None, handler=_openapi, tag=TAG,
        summary="This document.", operation="ari_get_openapi", answer=_ANYTHING,
    ),
)  # fmt: skip
