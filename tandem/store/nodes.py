# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Nodes that share a database: their signs of life, and what one takes over from another that is dead; never judges who is. Every function is work for a Store.

A lease ends by being taken away: the row of a node that is buried is gone, so whatever it still wants to write fails its check, in the
database's own order and by nobody's clock.
"""

from dataclasses import dataclass
from typing import Final

import peewee

from tandem.store.dialect import for_share_sql, is_postgres
from tandem.store.rows import load_rows

_COLUMNS: Final = ("node", "instance", "beats", "beat_at")


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it stands in the database."""

    node: str
    instance: str
    beats: int
    beat_at: float


@dataclass(frozen=True, slots=True)
class Beat:
    """After a sign of life: all nodes. is_new: ours was missing (it had been buried, or is new). is_taken: another run has its name, and this was none."""

    nodes: tuple[Node, ...]
    is_new: bool = False
    is_taken: bool = False


def load_nodes(db: peewee.Database) -> tuple[Node, ...]:
    """All."""
    return tuple(Node(**row) for row in load_rows(db, _COLUMNS, "nodes ORDER BY node"))


def take_lease(db: peewee.Database, node: str, instance: str) -> Beat:
    """The name is ours, whoever had it: an earlier run of this node. Calls that no known node follows are ours, too."""
    db.execute_sql(
        f"INSERT INTO nodes (node, instance, beats, beat_at) VALUES (?, ?, 1, {_now(db)}) ON CONFLICT (node) DO UPDATE SET"  # noqa: S608 - our own text
        " instance = excluded.instance, beats = nodes.beats + 1, beat_at = excluded.beat_at",
        (node, instance),
    )
    db.execute_sql(
        "UPDATE placed_calls SET node = ? WHERE ended_at IS NULL AND node NOT IN (SELECT node FROM nodes)", (node,)
    )
    return Beat(load_nodes(db), is_new=True)


def renew_lease(db: peewee.Database, node: str, instance: str) -> Beat:
    """A sign of life; a node that was buried meanwhile begins anew."""
    renewed = db.execute_sql(
        f"UPDATE nodes SET beats = beats + 1, beat_at = {_now(db)} WHERE node = ? AND instance = ?",  # noqa: S608 - our own text
        (node, instance),
    ).rowcount
    if renewed:
        return Beat(load_nodes(db))
    nodes = load_nodes(db)
    if any(other.node == node for other in nodes):
        return Beat(nodes, is_taken=True)
    return take_lease(db, node, instance)


def has_lease(db: peewee.Database, node: str, instance: str) -> bool:
    """Whether this node is alive in this transaction's eyes; it cannot be buried before the end of one that writes or claims."""
    sql = "SELECT 1 FROM nodes WHERE node = ? AND instance = ?"
    return bool(db.execute_sql(for_share_sql(db, sql), (node, instance)).fetchone())


def bury_node(db: peewee.Database, dead: Node, heir: str) -> frozenset[str] | None:
    """Takes a dead node away and its open calls over, and lets go of what it was sending; the calls' ids. None: it has moved since."""
    gone = db.execute_sql(
        "DELETE FROM nodes WHERE node = ? AND instance = ? AND beats = ?", (dead.node, dead.instance, dead.beats)
    ).rowcount
    if not gone:
        return None
    calls = db.execute_sql(
        "UPDATE placed_calls SET node = ? WHERE node = ? AND ended_at IS NULL RETURNING call_id", (heir, dead.node)
    ).fetchall()
    db.execute_sql("UPDATE webhook_deliveries SET node = '' WHERE node = ? AND state = 'pending'", (dead.node,))
    return frozenset(call_id for (call_id,) in calls)


def _now(db: peewee.Database) -> str:
    return (
        "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
        if is_postgres(db)
        else "(julianday('now') - 2440587.5) * 86400.0"
    )
