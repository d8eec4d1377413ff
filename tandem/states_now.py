"""What the stream of states tells: campaigns from the database and the dialer, channels, queues and agents from Asterisk; changes nothing.

What Asterisk does not say is not there: while it is away, its sections are empty, and `asterisk` says why.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tandem.agents import Agents, describe_agents
from tandem.ami.errors import AmiError
from tandem.dialer.service import Dialer
from tandem.domain.campaigns import CampaignCounts, CampaignView
from tandem.domain.snapshot import Snapshot
from tandem.monitoring import Monitor, read_queues
from tandem.store.campaigns import load_counts, load_states
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.trunks import TrunkHealth

_Section = dict[str, tuple[Any, Any]]


class StatesNow:
    """Reads all of it."""

    def __init__(
        self,
        monitor: Monitor,
        agents: Agents,
        dialer: Dialer,
        store: Store,
        snapshot: Callable[[], Snapshot],
        list_trunks: Callable[[], tuple[TrunkHealth, ...]] = tuple,
    ) -> None:
        self._monitor = monitor
        self._agents = agents
        self._dialer = dialer
        self._store = store
        self._snapshot = snapshot
        self._list_trunks = list_trunks
        self._campaigns: _Section = {}

    async def read(self) -> dict[str, _Section]:
        """Section -> key -> (what is compared, what is told). The sections: asterisk, campaigns, channels, queues, agents, trunks."""
        sections: dict[str, _Section] = {"asterisk": {}, "campaigns": await self._read_campaigns()}
        problem = None
        channels: _Section = {}
        queues: _Section = {}
        agents: _Section = {}
        try:
            channels = {
                channel.uniqueid: _tell(channel, without=("duration_s",))
                for channel in await self._monitor.list_channels()
            }
            rows = await self._monitor.ask_queues()
            queues = {queue.queue: _tell(queue, without=("longest_wait_s",)) for queue in read_queues(rows)}
            described = describe_agents(self._snapshot(), await self._agents.read_sessions(), rows)
            agents = {agent.extension: _tell(agent) for agent in described}
        except (AmiError, StoreError) as error:
            problem = str(error)
        told = {"is_connected": problem is None, "problem": problem}
        sections["asterisk"]["asterisk"] = (told, told)
        trunks = {health.trunk: _tell(health) for health in self._list_trunks()}
        return sections | {"channels": channels, "queues": queues, "agents": agents, "trunks": trunks}

    async def _read_campaigns(self) -> _Section:
        """As they were while the database cannot be read."""
        calls = {view.campaign_id: view for view in self._dialer.describe()}
        try:
            found = await self._store.read(_load_campaigns)
        except StoreError:
            return self._campaigns
        self._campaigns = {}
        for campaign_id, name, state, counts in found:
            view = asdict(calls.get(campaign_id) or CampaignView(campaign_id, 0, 0, 0, 0, False))
            told = {"campaign_id": campaign_id, "name": name, "state": state, "counts": asdict(counts), **view}
            self._campaigns[str(campaign_id)] = (told, told)
        return self._campaigns


def _load_campaigns(db: Any) -> list[tuple[int, str, str, CampaignCounts]]:
    counts = load_counts(db)
    return [
        (campaign_id, name, state, counts.get(campaign_id, CampaignCounts()))
        for campaign_id, name, state in load_states(db)
    ]


def _tell(value: Any, without: tuple[str, ...] = ()) -> tuple[Any, Any]:
    told = asdict(value)
    return {name: field for name, field in told.items() if name not in without}, told
