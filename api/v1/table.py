"""All routes of the native API, gathered from the files of their resources; declares none itself."""

from typing import Final

from api.declare import Route
from api.docs import declare_docs
from api.v1 import audit, calls, campaigns, cdrs, config, events, monitoring, objects, routes, tokens, users

_DECLARED: Final = (
    *objects.ROUTES,
    *calls.ROUTES,
    *campaigns.ROUTES,
    *cdrs.ROUTES,
    *config.ROUTES,
    *routes.ROUTES,
    *monitoring.ROUTES,
    *events.ROUTES,
    *tokens.ROUTES,
    *users.ROUTES,
    *audit.ROUTES,
)

ROUTES: Final[tuple[Route, ...]] = (*_DECLARED, *declare_docs(_DECLARED))
