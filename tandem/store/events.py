"""What is told of calls, attempts and numbers, made where they are written; never looks anything up when nobody listens."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import peewee
from pydantic import TypeAdapter

from tandem.domain.calls import PlacedCall
from tandem.domain.campaigns import CampaignCounts, NumberStatus, SavedNumber
from tandem.store.campaigns import load_campaigns, load_counts
from tandem.store.outbox import Event, queue_events, with_times

Listeners = Mapping[str, Sequence[int]]

_CALL: Final = TypeAdapter(PlacedCall)
_OPEN: Final = frozenset({NumberStatus.PENDING, NumberStatus.CALLING, NumberStatus.ANSWERED})
_NUMBER: Final = ("number_id", "campaign_id", "phone_number", "dials", "data", "last_attempt_at")


def tell_calls(
    db: peewee.Database,
    listeners: Listeners,
    before: Mapping[str, PlacedCall],
    calls: Sequence[PlacedCall],
    ended: Collection[str],
) -> None:
    """call.ringing, call.answered, call.ended. before: the calls as they were kept; ended: those that end now."""
    events = []
    for call in calls:
        known = before.get(call.call_id)
        if known is not None and known.ended_at is not None:
            continue
        steps = (
            ("call.ringing", call.ringing_at, known is None or known.ringing_at is None),
            ("call.answered", call.answered_at, known is None or known.answered_at is None),
            ("call.ended", call.ended_at, call.call_id in ended),
        )
        for kind, at, is_new in steps:
            if at is not None and is_new and kind in listeners:
                events.append(Event(kind, at.timestamp(), _CALL.dump_python(call, mode="json")))
    queue_events(db, listeners, events)


def tell_attempts(
    db: peewee.Database,
    listeners: Listeners,
    closed: Sequence[Mapping[str, Any]],
    numbers: Sequence[tuple[SavedNumber, Mapping[str, Any]]],
) -> None:
    """attempt.ended, number.finished, campaign.drained, after the rows and the counts are written.

    closed: rows of attempts; numbers: each as it was, and what its row is now. A campaign is drained by the number that is the last
    to have its outcome; numbers that are added then, or a reset, let it be drained once more.
    """
    events = [Event("attempt.ended", row["ended_at"], with_times(row)) for row in closed]
    touched: dict[int, float] = {}
    for number, row in numbers:
        if number.status not in _OPEN or row["status"] in _OPEN:
            continue
        known = {name: getattr(number, name) for name in _NUMBER}
        told = {name: row.get(name, getattr(number, name)) for name in ("status", "attempts", "disposition")}
        events.append(Event("number.finished", row["updated_at"], with_times(known | told)))
        touched[number.campaign_id] = row["updated_at"]
    queue_events(db, listeners, events)
    if touched and "campaign.drained" in listeners:
        _tell_drained(db, listeners, touched)


def _tell_drained(db: peewee.Database, listeners: Listeners, touched: Mapping[int, float]) -> None:
    counts = load_counts(db, touched)
    drained = {
        campaign_id: at
        for campaign_id, at in touched.items()
        if not any(getattr(counts.get(campaign_id, CampaignCounts()), status) for status in _OPEN)
    }
    if not drained:
        return
    queue_events(
        db,
        listeners,
        [
            Event(
                "campaign.drained",
                drained[saved.campaign_id],
                {
                    "campaign_id": saved.campaign_id,
                    "name": saved.campaign.name,
                    "state": saved.state,
                    "counts": asdict(counts[saved.campaign_id]),
                },
            )
            for saved in load_campaigns(db)
            if saved.campaign_id in drained
        ],
    )
