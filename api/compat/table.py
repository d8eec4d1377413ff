"""All other systems' APIs that we speak: one line for each; declares no route itself.

Where two have the same path, the first one that claims a request speaks.
"""

from typing import Final

from api.compat.ari.speech import DIALECT as ARI
from api.compat.ari.table import ROUTES as ARI_ROUTES
from api.compat.goapi.speech import DIALECT as GOAPI
from api.compat.goapi.table import make_routes as make_goapi_routes
from api.compat.mikopbx import audio, clients, polls, results, session, signals, spreadsheets, tasks
from api.compat.mikopbx.speech import DIALECT as MIKOPBX
from api.compat.while1.speech import make_dialect as make_while1_dialect
from api.compat.while1.table import ROUTES as WHILE1_ROUTES
from api.doors import Door

MIKOPBX_ROUTES: Final = (
    *session.ROUTES,
    *polls.ROUTES,
    *tasks.ROUTES,
    *results.ROUTES,
    *audio.ROUTES,
    *signals.ROUTES,
    *clients.ROUTES,
    *spreadsheets.ROUTES,
)
DOORS: Final = (
    Door("mikopbx", lambda _: MIKOPBX, MIKOPBX_ROUTES),
    Door("while1", make_while1_dialect, WHILE1_ROUTES),
    Door("ari_dialer", lambda _: ARI, ARI_ROUTES),
    Door("goapi", lambda _: GOAPI, make_goapi_routes()),
)
