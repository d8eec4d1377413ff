# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Events on their way to webhooks: kept in the transaction of what they tell, so that no crash loses one and none tells what was rolled back; never sends.

Every function is work for a Store. Times are seconds since 1970.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

import peewee

from tandem.domain.webhooks import TEST_KIND, Delivery, DeliveryState, new_event_id
from tandem.store.dialect import for_claim_sql
from tandem.store.rows import LISTED, LISTED_IDS, insert_rows, listed, load_rows

_COLUMNS: Final = tuple(field.name for field in fields(Delivery))
_QUEUED: Final = (
    "webhook_id", "event_id", "kind", "body", "state", "attempts", "next_at", "last_status", "last_error", "created_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. data: plain values for JSON; id: of what may be found twice, so that it is told once."""

    kind: str
    at: float
    data: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one try. next_at: when it is tried again; None where it is not."""

    delivery_id: int
    state: DeliveryState
    attempts: int
    next_at: float | None
    status: int
    error: str
    at: float


def format_at(at: float | None) -> str | None:
    """Seconds as `2026-11-20T21:30:00.000000Z`."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def with_times(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with times for what ends in `_at`."""
    return {name: format_at(value) if name.endswith("_at") else value for name, value in row.items()}


def load_listeners(db: peewee.Database) -> dict[str, list[int]]:
    """Kind -> the webhooks that are told of it; empty where nobody listens: one look at a table of a few rows."""
    found: dict[str, list[int]] = {}
    for row in load_rows(db, ("id", "events"), "webhooks WHERE active = 1"):
        for kind in json.loads(row["events"]):
            found.setdefault(kind, []).append(row["id"])
    return found


def queue_events(db: peewee.Database, listeners: Mapping[str, Sequence[int]], events: Sequence[Event]) -> None:
    """Keeps events for whoever listens."""
    _queue(db, [(webhook_id, event) for event in events for webhook_id in listeners.get(event.kind, ())])


def queue_test(db: peewee.Database, webhook_id: int, at: float) -> Delivery:
    """A test for one webhook, whatever it listens to."""
    _queue(db, [(webhook_id, Event(TEST_KIND, at, {"webhook_id": webhook_id}))])
    source = "webhook_deliveries WHERE webhook_id = ? ORDER BY id DESC LIMIT 1"
    return Delivery(**load_rows(db, _COLUMNS, source, [webhook_id])[0])


def _queue(db: peewee.Database, queued: Sequence[tuple[int, Event]]) -> None:
    bodies: dict[int, tuple[str, str]] = {}
    rows = []
    for webhook_id, event in queued:
        if id(event) not in bodies:
            event_id = event.id or new_event_id()
            whole = {"id": event_id, "kind": event.kind, "at": format_at(event.at), "data": event.data}
            bodies[id(event)] = event_id, json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
        event_id, body = bodies[id(event)]
        rows.append({
            "webhook_id": webhook_id, "event_id": event_id, "kind": event.kind, "body": body, "state": "pending",
            "attempts": 0, "next_at": event.at, "last_status": 0, "last_error": "", "created_at": event.at,
        })  # fmt: skip
    insert_rows(db, "webhook_deliveries", _QUEUED, rows, "ON CONFLICT DO NOTHING")


def load_due(db: peewee.Database, webhook_id: int, now: float, known: Collection[int], limit: int) -> list[Delivery]:
    """What is to be sent now, the oldest first, but for what the caller has already."""
    source = f"webhook_deliveries WHERE webhook_id = ? AND state = 'pending' AND next_at <= ? AND id NOT IN {LISTED_IDS} ORDER BY next_at, id LIMIT ?"
    return [Delivery(**row) for row in load_rows(db, _COLUMNS, source, [webhook_id, now, listed(known), limit])]


def claim_due(
    db: peewee.Database, webhook_id: int, now: float, known: Collection[int], limit: int, node: str
) -> list[Delivery]:
    """The same, where other nodes send, too: what comes is this node's until its outcome is kept, and nobody waits for anybody."""
    source = for_claim_sql(
        db,
        "SELECT id FROM webhook_deliveries WHERE webhook_id = ? AND state = 'pending' AND next_at <= ? AND node IN ('', ?)"  # noqa: S608 - our own text
        f" AND id NOT IN {LISTED_IDS} ORDER BY next_at, id LIMIT ?",
    )
    found = db.execute_sql(source, (webhook_id, now, node, listed(known), limit)).fetchall()
    if not found:
        return []
    ids = listed(row[0] for row in found)
    db.execute_sql(f"UPDATE webhook_deliveries SET node = ? WHERE id IN {LISTED_IDS}", (node, ids))  # noqa: S608 - our own text
    rows = load_rows(db, _COLUMNS, f"webhook_deliveries WHERE id IN {LISTED_IDS} ORDER BY next_at, id", [ids])
    return [Delivery(**row) for row in rows]


def shift_next_times(db: peewee.Database, jump_s: float) -> None:
    """The wall clock has jumped: what waits to be sent keeps its distance."""
    db.execute_sql("UPDATE webhook_deliveries SET next_at = next_at + ? WHERE state = 'pending'", (jump_s,))


def record_outcomes(db: peewee.Database, outcomes: Sequence[Outcome], node: str = "") -> None:
    """What became of tries of `node`'s; of a delivery that is gone by now nothing is kept.

    Where another node has taken a delivery over, a try that failed says nothing any more: it must not undo what became of the other's.
    """
    for one in outcomes:
        still_ours, given = ("", ()) if one.state == "delivered" else (" AND state = 'pending' AND node = ?", (node,))
        db.execute_sql(
            "UPDATE webhook_deliveries SET state = ?, attempts = ?, next_at = coalesce(?, next_at), last_status = ?,"  # noqa: S608 - our own text
            f" last_error = ?, delivered_at = ?, node = '' WHERE id = ?{still_ours}",
            (
                *(one.state, one.attempts, one.next_at, one.status, one.error[:200]),
                *(one.at if one.state == "delivered" else None, one.delivery_id, *given),
            ),
        )


def load_deliveries(
    db: peewee.Database, webhook_id: int, state: str | None, before: int | None, limit: int
) -> list[Delivery]:
    """Some of a webhook's, newest first. before: the id that the last page ended with."""
    where, given = "webhook_id = ?", list[int | str]([webhook_id])
    for clause, value in (("state = ?", state), ("id < ?", before)):
        if value is not None:
            where += f" AND {clause}"
            given.append(value)
    rows = load_rows(db, _COLUMNS, f"webhook_deliveries WHERE {where} ORDER BY id DESC LIMIT ?", [*given, limit])
    return [Delivery(**row) for row in rows]


def load_delivery(db: peewee.Database, webhook_id: int, delivery_id: int) -> Delivery | None:
    """One of a webhook's."""
    rows = load_rows(db, _COLUMNS, "webhook_deliveries WHERE webhook_id = ? AND id = ?", [webhook_id, delivery_id])
    return Delivery(**rows[0]) if rows else None


def count_pending(db: peewee.Database) -> dict[int, int]:
    """Webhook -> what waits for it."""
    source = "(SELECT webhook_id, count(*) AS amount FROM webhook_deliveries WHERE state = 'pending' GROUP BY webhook_id) AS waiting"
    return {row["webhook_id"]: row["amount"] for row in load_rows(db, ("webhook_id", "amount"), source)}


def replay_delivery(db: peewee.Database, webhook_id: int, delivery_id: int, at: float) -> Delivery | None:
    """Sends one again, whatever became of it; with all its tries. None where there is no such."""
    _replay(db, "webhook_id = ? AND id = ?", [webhook_id, delivery_id], at)
    return load_delivery(db, webhook_id, delivery_id)


def replay_deliveries(
    db: peewee.Database, webhook_id: int, since: float | None, states: Collection[DeliveryState], at: float
) -> int:
    """Sends again what is in one of these states, from a time on; how many."""
    where = f"webhook_id = ? AND state IN {LISTED} AND created_at >= ?"
    return _replay(db, where, [webhook_id, listed(states), since or 0.0], at)


def _replay(db: peewee.Database, where: str, given: Sequence[object], at: float) -> int:
    cursor = db.execute_sql(
        f"UPDATE webhook_deliveries SET state = 'pending', attempts = 0, next_at = ?, delivered_at = NULL WHERE {where}",  # noqa: S608 - our own text
        (at, *given),
    )
    return int(cursor.rowcount)


def delete_deliveries(db: peewee.Database, before: datetime, limit: int) -> int:
    """Those from before that were delivered or given up (see tandem.store.retention)."""
    cursor = db.execute_sql(
        "DELETE FROM webhook_deliveries WHERE id IN (SELECT id FROM webhook_deliveries"
        " WHERE state <> 'pending' AND created_at < ? ORDER BY created_at LIMIT ?)",
        (before.timestamp(), limit),
    )
    return int(cursor.rowcount)
