"""Calls of campaigns that are up, and what is asked of all of them; pure: says nothing that only a database knows.

Times are seconds of a steady clock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tandem.domain.campaigns import Campaign, CampaignView, SavedCampaign
from tandem.domain.destinations import EndpointDestination, QueueDestination
from tandem.domain.experience import Experience
from tandem.domain.pacing import Live, Policy
from tandem.domain.surveys import Surveyed


@dataclass(slots=True)
class OpenCall:
    """One attempt under way. Times are seconds of the reactor's clock, None where it has not happened.

    agent: the endpoint that it was dialled for by hand. endpoint: the phone that it needs, '' for none. is_agent_first: that one was called first. trunk: '' where it goes another way. queue: whose agents it needs, '' for none. served_at: when FastAGI said where to.
    rung_at: since when the queue rings agents for it. is_listened_to: it is found out first whether a machine answered; is_counted: the campaign has learnt from it.
    """

    call_id: str
    campaign_id: int
    trunk: str
    queue: str
    call_timeout_s: int
    dialled_at: float
    answered_at: float | None = None
    served_at: float | None = None
    rung_at: float | None = None
    connected_at: float | None = None
    is_unserved: bool = False
    is_machine: bool = False
    is_listened_to: bool = False
    is_counted: bool = False
    is_hung_up: bool = False
    agent: str = ""
    surveyed: Surveyed | None = None
    endpoint: str = ""
    is_agent_first: bool = False

    @property
    def has_agent(self) -> bool:
        """Whether an agent talks with this person, or is being rung for it and so not counted as free."""
        return self.connected_at is not None or self.rung_at is not None

    @property
    def is_waiting(self) -> bool:
        """Whether this person will take the next agent who is free."""
        return self.answered_at is not None and not self.has_agent and not self.is_unserved and not self.is_machine


@dataclass(frozen=True, slots=True)
class AttemptStep:
    """One step of an attempt; disposition: '' before its end."""

    kind: Literal["claimed", "answered", "connected", "ended"]
    campaign_id: int
    call_id: str
    disposition: str = ""


def queue_of(campaign: Campaign) -> str:
    """The queue whose agents a campaign needs; '' for none."""
    return campaign.destination.queue if isinstance(campaign.destination, QueueDestination) else ""


def phone_of(campaign: Campaign) -> str:
    """The endpoint whose phone must be free before a campaign dials; '' for none."""
    destination = campaign.destination
    if campaign.dial_mode != "progressive" or not isinstance(destination, EndpointDestination):
        return ""
    return destination.endpoint


def trunk_of(saved: SavedCampaign) -> str:
    """The trunk that a campaign's calls go over; '' for another way."""
    campaign = saved.campaign
    if campaign.dial_string is not None and campaign.dial_string.startswith("PJSIP/"):
        return campaign.dial_string.partition("@")[2]
    return campaign.trunk or ""


def find_overlong(calls: Iterable[OpenCall], now: float) -> list[OpenCall]:
    """Those that have lasted longer than their campaign lets them, and are not on their way out."""
    return [
        call
        for call in calls
        if call.call_timeout_s
        and call.answered_at is not None
        and now - call.answered_at > call.call_timeout_s
        and not call.is_hung_up
    ]


def find_left_by(calls: Iterable[OpenCall], resting: Iterable[SavedCampaign]) -> list[int]:
    """The campaigns that are stopped and have calls that nobody has hung up."""
    stopped = {saved.campaign_id for saved in resting if saved.state == "stopped"}
    return sorted({call.campaign_id for call in calls if not call.is_hung_up and call.campaign_id in stopped})


def policy_of(campaign: Campaign) -> Policy:
    """What the owner of a campaign wants of `pace`."""
    return Policy(
        mode=campaign.dial_mode,
        limit=campaign.concurrent_calls,
        lines_per_agent=campaign.lines_per_agent,
        abandon_cap=campaign.abandon_cap,
    )


def measure(
    calls: Sequence[OpenCall],
    *,
    agents_free: int | None,
    wrap_ends: tuple[float, ...],
    answered_live: int,
    abandoned: int,
    experience: Experience,
) -> Live:
    """What is true now of a campaign with these calls, for `pace`; agents_free: None where nobody knows.

    answered_live, abandoned: of the calls that are over; who has answered and who was told that nobody is free counts at once.
    """
    in_flight = [call for call in calls if call.answered_at is None]
    answered = len(calls) - len(in_flight)
    return Live(
        in_flight=len(in_flight),
        dialled=tuple(call.dialled_at for call in in_flight),
        connected=answered,
        waiting=sum(call.is_waiting for call in calls),
        agents_free=agents_free,
        agents_busy=sum(call.has_agent for call in calls),
        agents_wrapping=len(wrap_ends),
        wrap_ends=wrap_ends,
        answered_live=answered_live + answered,
        abandoned=abandoned + sum(call.is_unserved for call in calls),
        experience=experience,
    )


def describe_calls(campaign_id: int, calls: Sequence[OpenCall], *, is_drained: bool, misfit: str) -> CampaignView:
    """How a campaign is doing."""
    return CampaignView(
        campaign_id,
        len(calls),
        sum(call.answered_at is None for call in calls),
        sum(call.answered_at is not None and call.connected_at is None for call in calls),
        sum(call.connected_at is not None for call in calls),
        is_drained and not calls,
        misfit,
    )
