# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Callbacks of queues, kept over restarts; decides nothing. Every function is work for a Store."""

from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import peewee

from tandem.domain.callbacks import Callback, CallbackBusy, CallbackRefused
from tandem.domain.calls import PlacedCall
from tandem.store.calls import record_placed
from tandem.store.rows import insert_rows, load_rows

_COLUMNS: Final = tuple(field.name for field in fields(Callback))
# A page for people, not an archive: CDRs have what was said.
MAX_LISTED: Final = 5000


def keep_callback(db: peewee.Database, callback: Callback, node: str, most: int) -> Callback:
    """A new one, or the one that its number is owed already. CallbackRefused where the queue owes `most`."""
    known = _select(db, "WHERE queue = ? AND number = ? AND ended_at IS NULL", (callback.queue, callback.number))
    if known:
        return known[0]
    sql = "SELECT count(*) FROM queue_callbacks WHERE queue = ? AND ended_at IS NULL"
    if db.execute_sql(sql, (callback.queue,)).fetchone()[0] >= most:
        raise CallbackRefused(f"queue {callback.queue} owes {most} callbacks already", is_final=True)
    insert_rows(db, "queue_callbacks", (*_COLUMNS, "node"), [{**_write(callback), "node": node}])
    return callback


def claim_callback(db: peewee.Database, callback: Callback, call: PlacedCall, node: str) -> None:
    """The call of a try, kept with it before anything is sent. CallbackBusy where it is not waiting any more."""
    claimed = db.execute_sql(
        "UPDATE queue_callbacks SET state = 'calling', call_id = ?, node = ? WHERE callback_id = ? AND state = 'waiting'",
        (call.call_id, node, callback.callback_id),
    ).rowcount
    if not claimed:
        raise CallbackBusy(callback.callback_id)
    record_placed(db, call, node)


def save_callback(db: peewee.Database, before: Callback, after: Callback) -> None:
    """What became of one. CallbackBusy where it is not as it was `before`."""
    changed = db.execute_sql(
        "UPDATE queue_callbacks SET state = ?, tries = ?, next_at = ?, outcome = ?, ended_at = ?"
        " WHERE callback_id = ? AND state = ? AND call_id = ?",
        (
            after.state,
            after.tries,
            after.next_at,
            after.outcome,
            after.ended_at,
            before.callback_id,
            before.state,
            before.call_id,
        ),
    ).rowcount
    if not changed:
        raise CallbackBusy(before.callback_id)


def load_callback(db: peewee.Database, callback_id: str) -> Callback | None:
    """One."""
    return next(iter(_select(db, "WHERE callback_id = ?", (callback_id,))), None)


def load_callbacks(db: peewee.Database) -> list[Callback]:
    """All that are open, and those that are over, the newest first; so many."""
    return _select(db, f"ORDER BY ended_at IS NOT NULL, requested_at DESC LIMIT {MAX_LISTED}", ())


def load_open_callbacks(db: peewee.Database, node: str | None) -> list[Callback]:
    """Those that are not over, who came first at the head; of one node and of those that are no more, or of all (None)."""
    mine, given = ("AND (node = ? OR node NOT IN (SELECT node FROM nodes))", (node,)) if node is not None else ("", ())
    return _select(db, f"WHERE ended_at IS NULL {mine} ORDER BY joined_at, requested_at", given)


def delete_callbacks(db: peewee.Database, before: datetime, limit: int) -> int:
    """Those that were over before."""
    oldest = "SELECT callback_id FROM queue_callbacks WHERE ended_at < ? ORDER BY ended_at LIMIT ?"
    sql = f"DELETE FROM queue_callbacks WHERE callback_id IN ({oldest})"  # noqa: S608 - our own text
    return int(db.execute_sql(sql, (before.timestamp(), limit)).rowcount)


def _write(callback: Callback) -> dict[str, Any]:
    return {column: getattr(callback, column) for column in _COLUMNS}


def _select(db: peewee.Database, where: str, given: tuple[object, ...]) -> list[Callback]:
    return [Callback(**row) for row in load_rows(db, _COLUMNS, f"queue_callbacks {where}", given)]
