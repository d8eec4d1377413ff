"""Anybody's channels: found by name or uniqueid, and nothing is sent to Asterisk for one that it does not list or a context that is not allowed."""

import pytest

from tandem.ami.errors import AmiRefused
from tandem.channels import ChannelMissing, Channels
from tandem.domain.entities import General
from tandem.domain.originate import CallRefused
from tandem.monitoring import ContactNow, Monitor, read_contact

ROW = {
    "Event": "CoreShowChannel", "Uniqueid": "1.1", "Linkedid": "1.1", "Channel": "PJSIP/1001-1", "ChannelStateDesc": "Up", "CallerIDNum": "",
    "CallerIDName": "", "ConnectedLineNum": "", "ConnectedLineName": "", "Context": "", "Exten": "", "Application": "", "AccountCode": "",
    "BridgeId": "", "Duration": "00:00:01",
}  # fmt: skip


class Row(dict):
    def get(self, name, default=""):
        return super().get(name, default)


def run(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


class TestChannels:
    @pytest.fixture
    def sent(self):
        return []

    @pytest.fixture
    def channels(self, sent):
        async def ask(_):
            return [Row(ROW)]

        async def send(action):
            sent.append((action.name, dict(action.headers)))

        return Channels(Monitor(ask), send, lambda: General(allowed_contexts=("lobby",)))

    @pytest.mark.parametrize("name", ["PJSIP/1001-1", "1.1"])
    def test_one_is_hung_up(self, channels, sent, name):
        assert run(channels.hang_up(name)).uniqueid == "1.1"
        assert [(action, headers["Channel"]) for action, headers in sent] == [("Hangup", "PJSIP/1001-1")]

    def test_all_are_hung_up_but_those_that_are_gone_by_then(self, sent):
        async def ask(_):
            return [Row({**ROW, "Uniqueid": f"1.{number}", "Channel": f"Local/s@x-{number}"}) for number in range(3)]

        async def send(action):
            sent.append(dict(action.headers)["Channel"])
            if sent[-1] == "Local/s@x-1":
                raise AmiRefused("Hangup", "No such channel")

        channels = Channels(Monitor(ask), send, General)
        assert [one.uniqueid for one in run(channels.hang_up_all())] == ["1.0", "1.2"]
        assert len(sent) == 3

    def test_one_is_sent_elsewhere(self, channels, sent):
        run(channels.redirect("1.1", "lobby,100"))
        assert sent == [("Redirect", {"Channel": "PJSIP/1001-1", "Context": "lobby", "Exten": "100", "Priority": "1"})]

    def test_what_is_not_there_or_not_allowed(self, channels, sent):
        for name in ("", "PJSIP/1001", "/PJSIP.*/", "1.2"):
            with pytest.raises(ChannelMissing):
                run(channels.hang_up(name))
        with pytest.raises(CallRefused):
            run(channels.redirect("1.1", "secret,100"))
        assert sent == []


@pytest.mark.parametrize(
    ("uri", "host", "port"),
    [
        ("sip:1001@192.0.2.1:5062;transport=udp", "192.0.2.1", 5062), ("sip:1001@[2001:db8::1]:5060", "2001:db8::1", 5060), ("sip:phone.example", "phone.example", 0),
        ("nonsense", "", 0), ("", "", 0),
    ],
)  # fmt: skip
def test_where_a_phone_is_registered(uri, host, port):
    row = Row({"Event": "ContactList", "Endpoint": "1001", "Uri": uri, "UserAgent": "x"})
    assert read_contact(row) == ContactNow("1001", host, port, "x")
