"""All routes of the native API, gathered from the files of their resources; declares none itself."""

from typing import Final, get_args

from api.declare import Route
from api.docs import declare_docs
from api.v1 import (
    agents,
    attempts,
    audit,
    call_notes,
    callbacks,
    calls,
    campaigns,
    cdrs,
    channels,
    config,
    customers,
    dnc,
    events,
    features,
    imports,
    listening,
    lists,
    monitoring,
    night_modes,
    numbers,
    objects,
    recordings,
    routes,
    sounds,
    surveys,
    tokens,
    toll_guard,
    user_groups,
    users,
    voicemail,
    webhooks,
)
from tandem.domain.fields import Permission

_DECLARED: Final = (
    *objects.ROUTES,
    *calls.ROUTES,
    *campaigns.ROUTES,
    *numbers.ROUTES,
    *lists.ROUTES,
    *imports.ROUTES,
    *attempts.ROUTES,
    *dnc.ROUTES,
    *customers.ROUTES,
    *agents.ROUTES,
    *features.ROUTES,
    *night_modes.ROUTES,
    *listening.ROUTES,
    *cdrs.ROUTES,
    *call_notes.ROUTES,
    *callbacks.ROUTES,
    *channels.ROUTES,
    *config.ROUTES,
    *sounds.ROUTES,
    *voicemail.ROUTES,
    *surveys.ROUTES,
    *recordings.ROUTES,
    *routes.ROUTES,
    *toll_guard.ROUTES,
    *monitoring.ROUTES,
    *events.ROUTES,
    *tokens.ROUTES,
    *users.ROUTES,
    *user_groups.ROUTES,
    *webhooks.ROUTES,
    *audit.ROUTES,
)

# Where a call may go is asked of the caller's permissions by `tandem.domain.originate`, not by a route.
PERMISSIONS: Final = frozenset(
    {route.permission for route in _DECLARED if route.permission is not None}
    | {f"calls/{reach}" for reach in get_args(Permission)}
)

ROUTES: Final[tuple[Route, ...]] = (*_DECLARED, *declare_docs(_DECLARED))
