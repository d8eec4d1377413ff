"""How trunks are: what Asterisk's answers mean, that changes are told once, and that what nobody knows any more is unknown."""

import pytest
from twisted.internet.defer import fail, succeed
from twisted.internet.task import Clock

from tandem.ami.errors import AmiConnectionLost, AmiRefused
from tandem.document import read_document
from tandem.trunks import UNKNOWN_AFTER_S, Trunks

TRUNKS = {
    trunk.name: trunk
    for trunk in read_document(
        """
trunks:
  - {name: ip, hosts: [192.0.2.1, 192.0.2.2]}
  - {name: reg, hosts: [192.0.2.3, 192.0.2.4], authentication: registration, username: me, secret: swordfish}
""",
        "test",
    ).trunks
}


def contact(status, usec="N/A"):
    return {"Event": "ContactStatusDetail", "URI": "sip:192.0.2.1", "Status": status, "RoundtripUsec": usec}


class Asked:
    def __init__(self):
        self.clock, self.told = Clock(), []
        self.registrations = [
            {"Event": "OutboundRegistrationDetail", "ObjectName": "reg", "Status": "Rejected"},
            {"Event": "OutboundRegistrationDetail", "ObjectName": "reg.2", "Status": "Registered"},
            {"Event": "OutboundRegistrationDetail", "ObjectName": "else", "Status": "Registered"},
        ]
        self.endpoints = {"ip": [{"Event": "EndpointDetail", "ActiveChannels": "3"}, contact("Reachable", "2500")]}
        self.away = False
        self.trunks = Trunks(self.ask, lambda: TRUNKS, self.clock)
        self.trunks.watch(lambda health: self.told.append((health.trunk, health.state)))

    def ask(self, action):
        if self.away:
            return fail(AmiConnectionLost("PJSIPShowEndpoint", "gone", written=False))
        if action.name == "PJSIPShowRegistrationsOutbound":
            return succeed(self.registrations)
        rows = self.endpoints.get(dict(action.headers)["Endpoint"])
        return fail(AmiRefused("PJSIPShowEndpoint", "no such endpoint")) if rows is None else succeed(rows)

    def read(self):
        self.trunks.follow()
        return {health.trunk: health for health in self.trunks.read_all()}


def test_what_asterisk_says_of_trunks():
    found = Asked().read()
    assert (found["ip"].state, found["ip"].channels, found["ip"].hosts[0].rtt_ms) == ("up", 3, 2.5)
    assert (found["reg"].state, found["reg"].registrations) == ("up", ("Rejected", "Registered"))


@pytest.mark.parametrize(
    ("contacts", "state"),
    [
        (("Reachable", "Unreachable"), "up"),
        (("Unreachable", "Unreachable"), "down"),
        (("Unreachable", "NonQualified"), "unknown"),
        (("NonQualified",), "unknown"),
        ((), "unknown"),
    ],
)
def test_one_far_end_that_answers_is_enough(contacts, state):
    asked = Asked()
    asked.endpoints["ip"] = [contact(status) for status in contacts]
    assert asked.read()["ip"].state == state


def test_no_registration_is_down_whoever_answers():
    asked = Asked()
    asked.endpoints["reg"] = [contact("Reachable", "1")]
    asked.registrations = asked.registrations[:1]
    assert asked.read()["reg"].state == "down"


def test_a_change_is_told_once_and_what_is_too_old_is_unknown():
    asked = Asked()
    asked.read(), asked.read()
    assert asked.told == [("ip", "up"), ("reg", "up")]
    asked.endpoints["ip"] = [contact("Unreachable")]
    asked.read(), asked.read()
    assert asked.told[2:] == [("ip", "down")]
    asked.away = True
    asked.clock.advance(UNKNOWN_AFTER_S)
    assert asked.read()["ip"].state == "down"
    asked.clock.advance(1)
    assert {health.state for health in asked.read().values()} == {"unknown"}
    assert asked.told[3:] == [("ip", "unknown"), ("reg", "unknown")]
