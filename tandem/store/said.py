# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What agents said of calls, counted; only read here. Every function is work for a Store."""

from dataclasses import dataclass

import peewee

from tandem.store.rows import load_rows


@dataclass(frozen=True, slots=True)
class Said:
    """How often an agent said this of a campaign's calls."""

    campaign_id: int
    agent_status: str
    agent: str
    amount: int


def count_said(db: peewee.Database, since: float, until: float | None) -> list[Said]:
    """Of attempts that began in this time (seconds since 1970), by campaign, status and agent."""
    where, given = "started_at >= ?", [since]
    if until is not None:
        where, given = f"{where} AND started_at < ?", [since, until]
    source = (
        "(SELECT campaign_id, agent_status, agent, count(*) AS amount FROM attempts"  # noqa: S608 - our own text
        f" WHERE {where} AND agent_status <> '' AND campaign_id IS NOT NULL GROUP BY campaign_id, agent_status, agent"
        " ORDER BY campaign_id, agent_status, agent) AS said"
    )
    rows = load_rows(db, ("campaign_id", "agent_status", "agent", "amount"), source, given)
    return [Said(**row) for row in rows]
