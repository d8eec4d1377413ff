# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What clients call campaigns that know them by a short text; never changes a campaign. Every function is work for a Store."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import peewee

from tandem.store.rows import load_rows


class CodeTaken(Exception):
    """Another campaign has this code."""


@dataclass(frozen=True, slots=True)
class CampaignCode:
    """A campaign's code, and a client's own words for it."""

    campaign_id: int
    code: str
    words: Mapping[str, Any]


def load_codes(db: peewee.Database) -> dict[int, CampaignCode]:
    """By campaign; those that have none are left out."""
    rows = load_rows(db, ("campaign_id", "code", "words"), "campaign_codes")
    return {row["campaign_id"]: CampaignCode(row["campaign_id"], row["code"], json.loads(row["words"])) for row in rows}


def save_code(db: peewee.Database, campaign_id: int, code: str, words: Mapping[str, Any]) -> None:
    """A new code, or other words; CodeTaken."""
    if load_rows(db, ("code",), "campaign_codes WHERE code = ? AND campaign_id <> ?", [code, campaign_id]):
        raise CodeTaken(code)
    db.execute_sql(
        "INSERT INTO campaign_codes (campaign_id, code, words) VALUES (?, ?, ?)"
        " ON CONFLICT (campaign_id) DO UPDATE SET code = excluded.code, words = excluded.words",
        (campaign_id, code, json.dumps(dict(words))),
    )
