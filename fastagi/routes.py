"""Which script has which name: one literal table; never imports by name."""

from functools import partial

from fastagi.agent import agent
from fastagi.brain import Brain
from fastagi.callback import callback
from fastagi.campaign import campaign
from fastagi.did import did
from fastagi.feature import feature
from fastagi.health import health
from fastagi.menu import menu
from fastagi.outbound import outbound
from fastagi.probe import probe
from fastagi.queue import queue
from fastagi.record import record
from fastagi.session import Script
from fastagi.survey import survey


def list_scripts(brain: Brain) -> dict[str, Script]:
    """Script name, as in `agi://host/NAME` -> the script with its collaborators."""
    return {
        "did": partial(did, brain),
        "menu": partial(menu, brain),
        "queue": partial(queue, brain),
        "callback": partial(callback, brain),
        "campaign": partial(campaign, brain),
        "survey": partial(survey, brain),
        "agent": partial(agent, brain),
        "probe": partial(probe, brain),
        "feature": partial(feature, brain),
        "record": partial(record, brain),
        "outbound": partial(outbound, brain),
        "health": partial(health, brain),
    }
