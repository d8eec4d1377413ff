"""What does not fit between a campaign and the PBX that is live; pure, and never looks at a number."""

from typing import Final, get_args

from tandem.domain.campaigns import Campaign, check_campaign
from tandem.domain.fields import Permission
from tandem.domain.originate import CallRefused, check_caller_name, check_destination
from tandem.domain.snapshot import Snapshot

# How far a destination outside may be is asked when it is dialled, of whoever started the campaign.
_ANYWHERE: Final = frozenset(get_args(Permission))


def check_campaign_within(snapshot: Snapshot, campaign: Campaign) -> tuple[tuple[str, str], ...]:
    """(field, rule) for everything that is wrong with a campaign, by itself and among the objects of the PBX."""
    problems = [*check_campaign(campaign), *_check_way(snapshot, campaign)]
    try:
        check_destination(snapshot, campaign.destination, _ANYWHERE)
    except CallRefused as refused:
        problems.append((refused.field, refused.rule))
    try:
        check_caller_name(campaign.caller_name)
    except CallRefused as refused:
        problems.append((refused.field, refused.rule))
    for field in ("unserved_announcement", "machine_announcement"):
        announcement = getattr(campaign, field)
        if announcement is not None and announcement not in snapshot.announcements:
            problems.append((field, f"there is no announcement {announcement}"))
    return tuple(problems)


def _check_way(snapshot: Snapshot, campaign: Campaign) -> list[tuple[str, str]]:
    """The trunk, or what stands in for it."""
    technology, _, place = (campaign.dial_string or "").partition("/")
    name = place.partition("@")[2].removesuffix("/n")
    if campaign.trunk is not None and campaign.trunk not in snapshot.trunks:
        return [("trunk", f"there is no trunk {campaign.trunk}")]
    if technology == "PJSIP" and name not in snapshot.trunks:
        return [("dial_string", f"there is no trunk {name}")]
    if technology == "Local" and name not in snapshot.general.allowed_contexts:
        return [("dial_string", f"context {name} is not in general.allowed_contexts")]
    return []
