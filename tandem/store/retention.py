# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Takes away what is too old, a few rows at a time; never anything that is not over. Every function is work for a Store: (db, before, limit) -> rows."""

from datetime import datetime
from typing import Any

import peewee

from tandem.store.tables import AnswerRow, AuditRow, RouteRow, format_time


def delete_cdrs(db: peewee.Database, before: datetime, limit: int) -> int:
    """CDRs of calls that began before, with their legs, what was added to them, and the names of the calls that were joined to them."""
    oldest = "(SELECT call_id FROM cdrs WHERE started_at < ? ORDER BY started_at, call_id LIMIT ?)"
    given = (format_time(before), limit)
    for table in ("legs", "joined_calls", "call_notes", "transcriptions", "call_contacts"):
        db.execute_sql(f"DELETE FROM {table} WHERE call_id IN {oldest}", given)  # noqa: S608 - our own text
    return _count(db.execute_sql(f"DELETE FROM cdrs WHERE call_id IN {oldest}", given))  # noqa: S608 - our own text


def delete_lost_legs(db: peewee.Database, before: datetime, limit: int) -> int:
    """Legs that only Asterisk's CDR told of, without a time; where another leg made a CDR they stay with it."""
    del before  # they have no time: nothing is ever made of them
    return _count(
        db.execute_sql(
            "DELETE FROM legs WHERE uniqueid IN (SELECT uniqueid FROM legs"
            " WHERE is_lost = 1 AND started_at IS NULL AND answered_at IS NULL AND ended_at IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM cdrs WHERE cdrs.call_id = legs.call_id) LIMIT ?)",
            (limit,),
        )
    )


def delete_placed_calls(db: peewee.Database, before: datetime, limit: int) -> int:
    """Calls that Tandem placed before and that are over."""
    return _count(
        db.execute_sql(
            "DELETE FROM placed_calls WHERE call_id IN (SELECT call_id FROM placed_calls"
            " WHERE placed_at < ? AND ended_at IS NOT NULL ORDER BY placed_at LIMIT ?)",
            (format_time(before), limit),
        )
    )


def delete_audit(db: peewee.Database, before: datetime, limit: int) -> int:
    """Entries of the audit log."""
    oldest = AuditRow.select(AuditRow.id).where(AuditRow.at < before).order_by(AuditRow.at).limit(limit)
    return int(AuditRow.delete().where(AuditRow.id.in_(oldest)).execute(db))


def delete_routes(db: peewee.Database, before: datetime, limit: int) -> int:
    """What was decided for channels: by then it is in their CDRs."""
    oldest = RouteRow.select(RouteRow.uniqueid).where(RouteRow.decided_at < before).order_by(RouteRow.decided_at)
    return int(RouteRow.delete().where(RouteRow.uniqueid.in_(oldest.limit(limit))).execute(db))


def delete_answers(db: peewee.Database, before: datetime, limit: int) -> int:
    """Answers whose Idempotency-Key nobody may repeat any more."""
    key = peewee.Tuple(AnswerRow.scope, AnswerRow.route, AnswerRow.key)
    oldest = AnswerRow.select(AnswerRow.scope, AnswerRow.route, AnswerRow.key).where(AnswerRow.created_at < before)
    return int(AnswerRow.delete().where(key.in_(oldest.order_by(AnswerRow.created_at).limit(limit))).execute(db))


def _count(cursor: Any) -> int:
    return int(cursor.rowcount)
