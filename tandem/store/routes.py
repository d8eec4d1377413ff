# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What was decided for a channel, from its decision until its CDR is made of it; never read on the way of a call. Every function is work for a Store."""

from collections.abc import Iterable, Sequence
from typing import Final

import peewee

from tandem.domain.decisions import Decision
from tandem.store.pbx_events import record_contacts
from tandem.store.rows import LISTED, listed, load_rows
from tandem.store.tables import RouteRow

MAX_ROUTE: Final = 2000
# SQLite's own limit of variables in a statement is far above.
_ROWS_AT_ONCE: Final = 500


def record_routes(db: peewee.Database, decisions: Sequence[Decision]) -> None:
    """Adds the steps of these decisions, in their order, to what is known of their channels."""
    rows: dict[str, tuple[str, str, object]] = {}
    for decision in decisions:
        if steps := ", ".join(decision.reasons):
            known = rows.get(decision.uniqueid)
            whole = f"{known[1]}, {steps}" if known is not None else steps
            rows[decision.uniqueid] = (decision.uniqueid, whole[:MAX_ROUTE], decision.decided_at)
    record_contacts(db, decisions)
    joined = peewee.fn.SUBSTR(RouteRow.route.concat(", ").concat(peewee.EXCLUDED.route), 1, MAX_ROUTE)
    for batch in peewee.chunked(rows.values(), _ROWS_AT_ONCE):
        insert = RouteRow.insert_many(batch, fields=(RouteRow.uniqueid, RouteRow.route, RouteRow.decided_at))
        insert.on_conflict(conflict_target=(RouteRow.uniqueid,), update={RouteRow.route: joined}).execute(db)


def load_routes(db: peewee.Database, uniqueids: Iterable[str]) -> dict[str, str]:
    """The steps by uniqueid, for those of these channels that Tandem decided anything for."""
    rows = load_rows(db, ("uniqueid", "route"), f"routes WHERE uniqueid IN {LISTED}", [listed(uniqueids)])
    return {row["uniqueid"]: row["route"] for row in rows}
