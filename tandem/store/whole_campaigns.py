# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""A campaign with its whole list and its state, made or replaced in one transaction; never touches a number whose call is under way. Every function is work for a Store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import peewee
from pydantic_core import to_json

from tandem.domain.campaigns import Campaign, CampaignState, NewNumber, SavedCampaign, SavedNumber, needs_stop
from tandem.store.campaigns import bump_counts, change_state, create_campaign, load_campaign, update_campaign
from tandem.store.number_lists import bump_lists
from tandem.store.numbers import NUMBER_COLUMNS, add_numbers, read_number
from tandem.store.rows import LISTED_IDS, listed, load_rows, update_rows

_BATCH: Final = 2000
_TURNED: Final = ("paused", "running", "stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeCampaign:
    """What a campaign is to be. campaign_id: None for a new one. state: None leaves it as it is; permissions: of whoever starts it.

    numbers: the whole list, None leaves it as it is; known_by: what a number is known by, so that the same one keeps its outcome.
    """

    campaign: Campaign
    author: str
    words: Mapping[str, Any]
    permissions: tuple[str, ...]
    campaign_id: int | None = None
    state: CampaignState | None = None
    numbers: Sequence[NewNumber] | None = None
    known_by: Callable[[str], str] = str


def save_whole_campaign(db: peewee.Database, wanted: WholeCampaign, at: float) -> SavedCampaign:
    """All of it or nothing; one that is running is paused for what must not change while it dials. CampaignMissing."""
    if wanted.campaign_id is None:
        saved = create_campaign(
            db, wanted.campaign, author=wanted.author, permissions=wanted.permissions, at=at, words=wanted.words
        )
    else:
        saved = load_campaign(db, wanted.campaign_id)
        is_paused = saved.state == "running" and needs_stop(saved.campaign, wanted.campaign)
        if is_paused:
            change_state(db, saved.campaign_id, "paused", _TURNED, "", at)
        saved = update_campaign(db, saved.campaign_id, wanted.campaign, at, words=wanted.words)
        if is_paused and wanted.state is None:
            # With the permissions that it was started with.
            saved = change_state(db, saved.campaign_id, "running", _TURNED, "", at)
    if wanted.numbers is not None:
        replace_numbers(db, saved.campaign_id, wanted.numbers, wanted.known_by, at)
    if wanted.state is not None and wanted.state != saved.state:
        saved = change_state(db, saved.campaign_id, wanted.state, _TURNED, "", at, wanted.permissions)
    return saved


def replace_numbers(
    db: peewee.Database, campaign_id: int, wanted: Sequence[NewNumber], known_by: Callable[[str], str], at: float
) -> None:
    """The list is these from now on: what is gone goes, what is known keeps its outcome, what is in a call stays as it is."""
    fresh = {known_by(number.phone_number): number for number in wanted}
    gone: list[SavedNumber] = []
    rows: list[dict[str, Any]] = []
    after_id = 0
    while page := _load_page(db, campaign_id, after_id):
        after_id = page[-1].number_id
        for number in page:
            new = fresh.pop(known_by(number.phone_number), None)
            if number.call_id:
                continue
            if new is None:
                gone.append(number)
            elif (row := _change(number, new, at)) is not None:
                rows.append(row)
    _delete(db, campaign_id, gone)
    update_rows(
        db,
        "numbers",
        "number_id",
        ("data", "variables", "person", "utc_offset_min", "due_at", "hold", "updated_at"),
        rows,
    )
    left = list(fresh.values())
    for start in range(0, len(left), _BATCH):
        add_numbers(db, campaign_id, left[start : start + _BATCH], at)


def _load_page(db: peewee.Database, campaign_id: int, after_id: int) -> list[SavedNumber]:
    source = "numbers WHERE campaign_id = ? AND number_id > ? ORDER BY number_id LIMIT ?"
    return [read_number(row) for row in load_rows(db, NUMBER_COLUMNS, source, [campaign_id, after_id, _BATCH])]


def _change(number: SavedNumber, new: NewNumber, at: float) -> dict[str, Any] | None:
    """The row of a number of which something else is known now; None where nothing is. Its time moves while it waits for that alone."""
    due_at, hold = number.due_at, number.hold
    if number.status == "pending" and not number.attempts and hold in ("", "not-before"):
        due_at, hold = new.not_before, "" if new.not_before is None else "not-before"
    known = (number.data, number.variables, number.person, number.utc_offset_min, number.due_at, number.hold)
    if known == (new.data, new.variables, new.person, new.utc_offset_min, due_at, hold):
        return None
    return {
        "number_id": number.number_id, "data": _write(new.data), "variables": _write(dict(new.variables) or None), "person": new.person,
        "utc_offset_min": new.utc_offset_min, "due_at": due_at, "hold": hold, "updated_at": at,
    }  # fmt: skip


def _write(value: Any) -> str | None:
    return to_json(value).decode() if value is not None else None


def _delete(db: peewee.Database, campaign_id: int, gone: Sequence[SavedNumber]) -> None:
    for start in range(0, len(gone), _BATCH):
        part = gone[start : start + _BATCH]
        db.execute_sql(
            f"DELETE FROM numbers WHERE number_id IN {LISTED_IDS}",  # noqa: S608 - our own text
            (listed(number.number_id for number in part),),
        )
    counts: dict[tuple[int, str], int] = {}
    for number in gone:
        key = (campaign_id, number.status.value)
        counts[key] = counts.get(key, 0) - 1
    bump_counts(db, counts)
    bump_lists(db, [number.list_id for number in gone], -1)
