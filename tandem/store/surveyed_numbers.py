# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What a survey's end means for the number that a campaign has called: whose survey is not done was not reached; never closes an attempt. Every function is work for a Store.

A visit and its call end at the same moment and are stored one after the other, in either order: the number is done by the later one.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

import peewee

from tandem.domain.campaigns import NumberStatus, SavedCampaign
from tandem.domain.destinations import SurveyDestination
from tandem.domain.surveys import DONE, SurveyVisit
from tandem.store.campaigns import bump_counts, load_campaigns, move_count
from tandem.store.numbers import NUMBER_COLUMNS, read_number
from tandem.store.people import follow_people
from tandem.store.rows import LISTED, LISTED_IDS, listed, load_rows, update_rows

_FIELDS: Final = ("status", "due_at", "hold", "updated_at")


def waits_for_survey(saved: SavedCampaign) -> bool:
    """Whether a campaign's answered calls count only when their survey is done."""
    return saved.campaign.goal == "connected" and isinstance(saved.campaign.destination, SurveyDestination)


def load_done(db: peewee.Database, call_ids: Collection[str]) -> frozenset[str]:
    """Those of these calls whose survey is done."""
    source = f"survey_visits WHERE call_id IN {LISTED} AND outcome IN {LISTED}"
    return frozenset(row["call_id"] for row in load_rows(db, ("call_id",), source, [listed(call_ids), listed(DONE)]))


def finish_surveyed(db: peewee.Database, visits: Sequence[SurveyVisit]) -> None:
    """The numbers of calls that are over, and whose survey is done, are done too, with the other telephones of their people."""
    done = {visit.call_id: visit for visit in visits if visit.outcome in DONE and visit.number_id is not None}
    if not done:
        return
    named = {visit.campaign_id for visit in done.values() if visit.campaign_id is not None}
    campaigns = {one.campaign_id: one for one in load_campaigns(db, campaign_ids=named) if waits_for_survey(one)}
    if not campaigns:
        return
    last = f"(SELECT number_id FROM attempts WHERE call_id IN {LISTED} AND ended_at IS NOT NULL)"  # noqa: S608 - our own text
    source = f"numbers WHERE number_id IN {last} AND call_id IS NULL AND attempts > 0 AND status IN {LISTED} AND campaign_id IN {LISTED_IDS}"
    open_statuses = [NumberStatus.PENDING, NumberStatus.FAILED]
    counts: dict[tuple[int, str], int] = {}
    rows: list[dict[str, Any]] = []
    ended_at = max(visit.ended_at or visit.started_at for visit in done.values())
    people: dict[int, dict[str, bool]] = {}
    for row in load_rows(db, NUMBER_COLUMNS, source, [listed(done), listed(open_statuses), listed(campaigns)]):
        number = read_number(row)
        move_count(counts, number.campaign_id, number.status.value, NumberStatus.COMPLETED.value)
        at = max(ended_at, number.updated_at or 0.0)
        rows.append(
            {"number_id": number.number_id, "status": "completed", "due_at": None, "hold": "", "updated_at": at}
        )
        if number.person:
            people.setdefault(number.campaign_id, {})[number.person] = True
    update_rows(db, "numbers", "number_id", _FIELDS, rows)
    bump_counts(db, counts)
    for campaign_id, reached in people.items():
        follow_people(db, campaigns[campaign_id], reached, ended_at)
