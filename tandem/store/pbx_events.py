# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Events of the calls of the PBX, kept where its records are written, and what is known of callers; looks nothing up when nobody listens.

Every function is work for a Store.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import peewee

from tandem.domain.cdr import Cdr, Leg
from tandem.domain.decisions import Decision
from tandem.domain.pbx_events import NOBODY_KNOWN, KnownCaller, tell_answers, tell_end
from tandem.store.dialect import replacing
from tandem.store.outbox import Event, load_listeners, queue_events
from tandem.store.rows import LISTED, insert_rows, listed, load_rows

_COLUMNS: Final = ("call_id", "contact_id", "external_id", "name")
_KEEP: Final = replacing(_COLUMNS, "call_id")
_ENDS: Final = frozenset({"inbound.ended", "inbound.missed", "outbound.ended"})


def record_contacts(db: peewee.Database, decisions: Iterable[Decision]) -> None:
    """Who the callers of these decisions are, where somebody said so."""
    rows = {
        decision.uniqueid: {
            "call_id": decision.uniqueid, "contact_id": decision.contact.contact_id,
            "external_id": decision.contact.external_id, "name": decision.contact.name,
        }
        for decision in decisions
        if decision.contact is not None
    }  # fmt: skip
    if rows:
        insert_rows(db, "call_contacts", _COLUMNS, list(rows.values()), _KEEP)


def load_contacts(db: peewee.Database, call_ids: Iterable[str]) -> dict[str, KnownCaller]:
    """By call."""
    rows = load_rows(db, _COLUMNS, f"call_contacts WHERE call_id IN {LISTED}", [listed(call_ids)])
    return {row.pop("call_id"): KnownCaller(**row) for row in rows}


def move_contact(db: peewee.Database, gone: str, kept: str) -> None:
    """The caller of a call that turned out to be a part of another; who began that one stays."""
    db.execute_sql(
        "UPDATE call_contacts SET call_id = ? WHERE call_id = ? AND NOT EXISTS (SELECT 1 FROM call_contacts WHERE call_id = ?)",
        (kept, gone, kept),
    )


def tell_records(
    db: peewee.Database,
    calls: Mapping[str, Sequence[Leg]],
    changed: Collection[str],
    trunks: Collection[str],
    routes: Mapping[str, str],
    placed: Collection[str],
    cdrs: Sequence[Cdr],
    known: Mapping[str, KnownCaller],
) -> None:
    """inbound.answered, inbound.ended, inbound.missed, outbound.ended. calls: the legs of those with news; changed: uniqueids of legs that nobody had answered before; routes: by call."""
    listeners = load_listeners(db)
    told = []
    if "inbound.answered" in listeners:
        for call_id, legs in calls.items():
            if call_id not in placed:
                route = routes.get(call_id, "")
                told += tell_answers(call_id, legs, changed, trunks, route, known.get(call_id, NOBODY_KNOWN))
    if not _ENDS.isdisjoint(listeners):
        told += [end for cdr in cdrs if (end := tell_end(cdr, known.get(cdr.call_id, NOBODY_KNOWN))) is not None]
    queue_events(db, listeners, [Event(one.kind, one.at, one.data, one.id) for one in told])
