"""All modules of goAPI: one line for each; whoever is not here answers `Command Not Found`. Declares no action itself."""

from typing import Final

from api.compat.goapi import (
    agent,
    barging,
    calltimes,
    campaign_routes,
    campaigns,
    carriers,
    codes,
    figures,
    inbound,
    lead_files,
    leads,
    lists,
    people,
    phones,
    voicefiles,
    voicemails,
)
from api.compat.goapi.actions import Module
from api.compat.goapi.credentials import Credentials
from api.compat.goapi.door import declare_routes
from api.declare import Route

_MAX_FILE: Final = 64 * 1024 * 1024
MODULES: Final = (
    Module(name="goInbound", actions=inbound.ACTIONS),
    Module(name="goCampaigns", actions=(*campaigns.ACTIONS, *campaign_routes.ACTIONS)),
    Module(name="goLists", actions=(*lists.ACTIONS, *leads.LIST_ACTIONS)),
    Module(name="goGetLeads", actions=leads.LEAD_ACTIONS),
    Module(name="goUploadLeads", actions=lead_files.ACTIONS, max_body=_MAX_FILE),
    Module(name="goUsers", actions=people.USER_ACTIONS),
    Module(name="goUserGroups", actions=people.GROUP_ACTIONS),
    Module(name="goDispositions", actions=codes.DISPOSITIONS),
    Module(name="goPauseCodes", actions=codes.PAUSE_CODES),
    Module(name="goLeadRecycling", actions=codes.RECYCLING),
    Module(name="goAgent", actions=agent.ACTIONS),
    Module(name="goBarging", actions=barging.ACTIONS),
    Module(name="goDashboard", actions=figures.DASHBOARD),
    Module(name="goReports", actions=figures.REPORTS),
    Module(name="goCallRecordings", actions=figures.RECORDINGS),
    Module(name="goPhones", actions=phones.ACTIONS),
    Module(name="goCarriers", actions=carriers.ACTIONS),
    Module(name="goVoicemails", actions=voicemails.ACTIONS),
    Module(name="goCalltimes", actions=calltimes.ACTIONS),
    Module(name="goVoiceFiles", actions=voicefiles.ACTIONS, max_body=voicefiles.MAX_UPLOAD),
    Module(name="goMusicOnHold", actions=voicefiles.MUSIC_ACTIONS),
)


def make_routes() -> tuple[Route, ...]:
    """The routes of one door, which remembers whose password was right."""
    return declare_routes(MODULES, Credentials())
