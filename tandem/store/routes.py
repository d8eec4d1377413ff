# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What was decided for a channel, from its decision until its CDR is made of it; never read on the way of a call. Every function is work for a Store."""

from collections.abc import Iterable, Sequence
from typing import Final

import peewee

from tandem.domain.decisions import Decision
from tandem.store.pbx_events import record_contacts
from tandem.store.rows import LISTED, insert_rows, listed, load_rows
from tandem.store.tables import format_time

MAX_ROUTE: Final = 2000
_JOIN: Final = (
    f"ON CONFLICT (uniqueid) DO UPDATE SET route = substr(routes.route || ', ' || excluded.route, 1, {MAX_ROUTE})"
)


def record_routes(db: peewee.Database, decisions: Sequence[Decision]) -> None:
    """Adds the steps of these decisions, in their order, to what is known of their channels."""
    rows: dict[str, dict[str, object]] = {}
    for decision in decisions:
        if steps := ", ".join(decision.reasons):
            known = rows.get(decision.uniqueid)
            whole = f"{known['route']}, {steps}" if known is not None else steps
            at = format_time(decision.decided_at)
            rows[decision.uniqueid] = {"uniqueid": decision.uniqueid, "route": whole[:MAX_ROUTE], "decided_at": at}
    record_contacts(db, decisions)
    insert_rows(db, "routes", ("uniqueid", "route", "decided_at"), list(rows.values()), _JOIN)


def load_routes(db: peewee.Database, uniqueids: Iterable[str]) -> dict[str, str]:
    """The steps by uniqueid, for those of these channels that Tandem decided anything for."""
    rows = load_rows(db, ("uniqueid", "route"), f"routes WHERE uniqueid IN {LISTED}", [listed(uniqueids)])
    return {row["uniqueid"]: row["route"] for row in rows}
