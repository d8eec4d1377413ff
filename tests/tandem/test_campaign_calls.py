"""Orders of campaigns: straight to the trunk, the admin's own way only where it is allowed, whoever answers is served or told."""

import pytest
from pydantic import TypeAdapter

from tandem.domain.campaign_calls import SORRY_PROMPTS, choose_destination, plan_campaign_call
from tandem.domain.campaign_checks import check_campaign_within
from tandem.domain.campaigns import Campaign, NumberStatus, SavedCampaign, SavedNumber, check_campaign
from tandem.domain.entities import Pbx
from tandem.domain.originate import CallRefused
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import build_snapshot

PBX = {
    "general": {"country": "DE", "allowed_contexts": ["own"], "allowed_variables": ["NOTE"]},
    "trunks": [{"name": "carrier", "hosts": ["192.0.2.1"]}],
    "endpoints": [{"extension": "1001", "secret": "swordfish1"}],
    "announcements": [{"name": "sorry", "prompts": ["sorry-one", "sorry-two"]}],
    "queues": [{"name": "sales", "fallback": {"hangup": "busy"}}],
}
SNAPSHOT = build_snapshot(1, TypeAdapter(Pbx).validate_python(PBX))


def saved(permissions=("national",), **fields):
    fields = {"name": "one", "trunk": "carrier", "destination": {"endpoint": "1001"}} | fields
    return SavedCampaign(
        campaign_id=7, campaign=TypeAdapter(Campaign).validate_python(fields), state="running", epoch=0, permissions=permissions,
        author="test", created_at=0.0, updated_at=None, version=1,
    )  # fmt: skip


def number(phone_number="030123", **variables):
    return SavedNumber(
        number_id=1, campaign_id=7, phone_number=phone_number, status=NumberStatus.PENDING, attempts=0, dials=0, due_at=None,
        hold="", call_id="", disposition="", last_attempt_at=None, data=None, variables=variables, created_at=0.0, updated_at=None,
    )  # fmt: skip


def plan(campaign, one):
    return plan_campaign_call(SNAPSHOT, campaign, one)


def test_a_call_goes_straight_to_the_trunk():
    order = plan(saved(caller_number="+49309", dial_timeout_s=20, recording=True), number(NOTE="hello"))
    assert (order.channel, order.context, order.exten) == ("PJSIP/030123@carrier", "tandem-campaign", "s")
    assert (order.ring_timeout_s, order.caller_number, order.account, order.is_trunk) == (20.0, "+49309", "c7", True)
    assert dict(order.variables) == {
        "NOTE": "hello",
        "TANDEM_JUMP": "tandem-enter,endpoint,1(1001,0,,,,030123)",
        "AGIEXITONHANGUP": "yes",
        "TANDEM_LAST_RESORT": "1",
        "TANDEM_DIAL_OPTIONS": "r",
        "TANDEM_SORRY": SORRY_PROMPTS,
        "TANDEM_RECORDING": "yes",
        "TANDEM_RECORDING_LEGS": "yes",
    }


@pytest.mark.parametrize(
    ("fields", "agent", "expected"),
    [
        ({}, "", {}),
        ({"on_machine": "hang-up"}, "", {"TANDEM_MACHINE": "hang-up"}),
        ({"on_machine": "message", "machine_announcement": "sorry"}, "", {"TANDEM_MACHINE": "message", "TANDEM_MACHINE_PROMPTS": "sorry-one&sorry-two"}),
        ({"on_machine": "message", "machine_announcement": "gone"}, "", {"TANDEM_MACHINE": "hang-up"}),
        ({"on_machine": "hang-up"}, "1001", {}),
    ],
    ids=["nobody listens", "hung up on", "a message", "a message that is gone", "an agent dialled by hand and listens"],
)  # fmt: skip
def test_what_asterisk_is_told_of_machines(fields, agent, expected):
    order = plan_campaign_call(SNAPSHOT, saved(**fields), number(), agent)
    assert {name: value for name, value in order.variables if name.startswith("TANDEM_MACHINE")} == expected
    assert order.exten == ("listen" if expected else "s")


def test_a_message_for_machines_must_be_there():
    campaign = saved(on_machine="message").campaign
    assert check_campaign(campaign) == (("machine_announcement", "is missing: it is what machines are left"),)
    first = saved(on_machine="hang-up", agent_first=True).campaign
    assert [name for name, _ in check_campaign(first)] == ["on_machine"]
    gone = saved(on_machine="message", machine_announcement="gone").campaign
    assert check_campaign_within(SNAPSHOT, gone) == (("machine_announcement", "there is no announcement gone"),)


@pytest.mark.parametrize(
    ("fields", "phone_number", "field"),
    [
        ({}, "112", "origin.external"),
        ({}, "+12125550123", "origin.external"),  # abroad, and whoever started it may not
        ({"trunk": "nowhere"}, "030123", "origin.trunk"),
        ({"destination": {"endpoint": "1009"}}, "030123", "destination.endpoint"),
        ({"trunk": None, "dial_string": "Local/${EXTEN}@admin"}, "030123", "dial_string"),
        ({"trunk": None, "dial_string": "Local/${EXTEN}@own"}, "112", "phone_number"),
        ({"trunk": None, "dial_string": "Local/${EXTEN}@own"}, "+12125550123", "phone_number"),
        ({"trunk": None, "dial_string": "PJSIP/${EXTEN}@nowhere"}, "030123", "origin.trunk"),
    ],
)
def test_what_is_never_dialled(fields, phone_number, field):
    with pytest.raises(CallRefused) as refused:
        plan(saved(**fields), number(phone_number))
    assert refused.value.field == field


def test_the_admins_own_way():
    order = plan(saved(trunk=None, dial_string="Local/${EXTEN}@own"), number())
    assert (order.channel, order.is_trunk) == ("Local/030123@own/n", True)
    order = plan(saved(trunk=None, dial_string="PJSIP/${EXTEN}@carrier"), number())
    assert order.channel == "PJSIP/030123@carrier"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"trunk": None}, "trunk"),
        ({"dial_string": "Local/${EXTEN}@own"}, "trunk"),
        ({"dial_mode": "predictive"}, "dial_mode"),
        ({"unserved": "message"}, "unserved_announcement"),
    ],
)
def test_what_does_not_fit_in_itself(fields, field):
    assert [name for name, _ in check_campaign(saved(**fields).campaign)] == [field]


def test_whoever_answers_is_served_or_told():
    waits = saved(destination={"queue": "sales"}).campaign
    told = saved(destination={"queue": "sales"}, unserved="message", unserved_announcement="sorry").campaign
    nobody, one = QueueFacts(0, 0, 3), QueueFacts(0, 1, 3)
    assert not choose_destination(waits, nobody, free=0, waiting=5, rung=0).is_unserved
    assert not choose_destination(
        told, None, free=0, waiting=5, rung=0
    ).is_unserved  # unknown: the queue may well serve them
    assert not choose_destination(told, one, free=1, waiting=0, rung=0).is_unserved
    assert choose_destination(told, one, free=1, waiting=1, rung=0).is_unserved
    # The report still has the agent as free whom a call has reached since.
    assert choose_destination(told, one, free=0, waiting=0, rung=0).is_unserved
    # Two wait, one of them with an agent's phone ringing: the free agent is for the other.
    two = QueueFacts(2, 1, 3)
    assert choose_destination(told, two, free=1, waiting=1, rung=1).is_unserved
    assert not choose_destination(told, QueueFacts(1, 1, 3), free=1, waiting=0, rung=1).is_unserved
    assert choose_destination(told, nobody, free=0, waiting=0, rung=0).destination.announcement == "sorry"
