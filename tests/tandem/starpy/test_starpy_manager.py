"""starpy's AMI names over the real connection and wire: what is sent, what comes back, events, login, loss; the far end is FakeAsterisk."""

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tandem.ami.errors import AmiValueRefused
from tandem.ami.testing import FakeAsterisk, event_list, success
from tandem.starpy import manager
from tandem.starpy.error import AMICommandFailure, AMIConnectionGone

# (call, action, headers as Asterisk reads them)
ACTIONS = [
    (lambda ami: ami.absoluteTimeout("C", 30), "AbsoluteTimeout", {"Channel": "C", "Timeout": "30"}),
    (lambda ami: ami.agentLogoff("9", True), "AgentLogoff", {"Agent": "9", "Soft": "true"}),
    (lambda ami: ami.changeMonitor("C", "f"), "ChangeMonitor", {"Channel": "C", "File": "f"}),
    (lambda ami: ami.dbDel("f", "k"), "DBDel", {"Family": "f", "Key": "k"}),
    (lambda ami: ami.dbDelTree("f"), "DBDelTree", {"Family": "f"}),
    (lambda ami: ami.dbPut("f", "k", 7), "DBPut", {"Family": "f", "Key": "k", "Val": "7"}),
    (lambda ami: ami.events(), "Events", {"EventMask": "off"}),
    (lambda ami: ami.events(1), "Events", {"EventMask": "on"}),
    (lambda ami: ami.events("call,agent"), "Events", {"EventMask": "call,agent"}),
    (lambda ami: ami.extensionState("100", "d"), "ExtensionState", {"Exten": "100", "Context": "d"}),
    (lambda ami: ami.getConfig("queues.conf"), "GetConfig", {"Filename": "queues.conf"}),
    (lambda ami: ami.hangup("C"), "Hangup", {"Channel": "C"}),
    (lambda ami: ami.listCommands(), "ListCommands", {}),
    (lambda ami: ami.mailboxCount("1@d"), "MailboxCount", {"Mailbox": "1@d"}),
    (lambda ami: ami.mailboxStatus("1@d"), "MailboxStatus", {"Mailbox": "1@d"}),
    (lambda ami: ami.meetmeMute("7", 1), "MeetMeMute", {"Meetme": "7", "Usernum": "1"}),
    (lambda ami: ami.meetmeUnmute("7", 1), "MeetMeUnmute", {"Meetme": "7", "Usernum": "1"}),
    (lambda ami: ami.monitor("C", "f", "wav", 1), "MixMonitor", {"Channel": "C", "File": "f.wav"}),
    (lambda ami: ami.stopMonitor("C"), "StopMixMonitor", {"Channel": "C"}),
    (lambda ami: ami.pauseMonitor("C"), "MixMonitorMute", {"Channel": "C", "Direction": "both", "State": "1"}),
    (lambda ami: ami.unpauseMonitor("C"), "MixMonitorMute", {"Channel": "C", "Direction": "both", "State": "0"}),
    (
        lambda ami: ami.park("C", "D", 9000),
        "Park",
        {"Channel": "C", "TimeoutChannel": "D", "AnnounceChannel": "D", "Timeout": "9000"},
    ),
    (lambda ami: ami.parkedCall(), "ParkedCall", {}),
    (lambda ami: ami.unParkedCall(), "UnParkedCall", {}),
    (lambda ami: ami.ping(), "Ping", {}),
    (lambda ami: ami.playDTMF("C", "5"), "PlayDTMF", {"Channel": "C", "Digit": "5"}),
    (
        lambda ami: ami.queueAdd("q", "PJSIP/1", 2, False, "Ann", "S"),
        "QueueAdd",
        {
            "Queue": "q",
            "Interface": "PJSIP/1",
            "Penalty": "2",
            "Paused": "false",
            "MemberName": "Ann",
            "StateInterface": "S",
        },
    ),
    (
        lambda ami: ami.queueAdd("q", "PJSIP/1"),
        "QueueAdd",
        {"Queue": "q", "Interface": "PJSIP/1", "Penalty": "0", "Paused": "true"},
    ),
    (
        lambda ami: ami.queueLog("q", "E", "1.1", "PJSIP/1", "m"),
        "QueueLog",
        {"Queue": "q", "Event": "E", "Uniqueid": "1.1", "Interface": "PJSIP/1", "Message": "m"},
    ),
    (
        lambda ami: ami.queuePause("q", "PJSIP/1", reason="lunch"),
        "QueuePause",
        {"Queue": "q", "Interface": "PJSIP/1", "Paused": "true", "Reason": "lunch"},
    ),
    (lambda ami: ami.queuePause(None, "PJSIP/1", False), "QueuePause", {"Interface": "PJSIP/1", "Paused": "false"}),
    (lambda ami: ami.queuePenalty("PJSIP/1", 3), "QueuePenalty", {"Interface": "PJSIP/1", "Penalty": "3"}),
    (lambda ami: ami.queueRemove("q", "PJSIP/1"), "QueueRemove", {"Queue": "q", "Interface": "PJSIP/1"}),
    (
        lambda ami: ami.redirect("C", "d", "1", 1, "D"),
        "Redirect",
        {"Channel": "C", "ExtraChannel": "D", "Context": "d", "Exten": "1", "Priority": "1"},
    ),
    (lambda ami: ami.setVar("C", "X", "1"), "Setvar", {"Channel": "C", "Variable": "X", "Value": "1"}),
    (lambda ami: ami.setVar(None, "X", "1"), "Setvar", {"Variable": "X", "Value": "1"}),
    (
        lambda ami: ami.setCDRUserField("C", "u", False),
        "Setvar",
        {"Channel": "C", "Variable": "CDR(userfield)", "Value": "u"},
    ),
    (lambda ami: ami.sipShowPeers("100"), "SIPshowpeer", {"Peer": "100"}),
    (
        lambda ami: ami.updateConfig("a", "b", True, {"Action-000000": "NewCat"}),
        "UpdateConfig",
        {"SrcFilename": "a", "DstFilename": "b", "Reload": "yes", "Action-000000": "NewCat"},
    ),
    (lambda ami: ami.userEvent("Done", Answer="5"), "UserEvent", {"UserEvent": "Done", "Answer": "5"}),
    (lambda ami: ami.waitEvent(3), "WaitEvent", {"Timeout": "3"}),
    (lambda ami: ami.dahdiDNDoff("1"), "DAHDIDNDoff", {"DAHDIChannel": "1"}),
    (lambda ami: ami.dahdiDNDon("1"), "DAHDIDNDon", {"DAHDIChannel": "1"}),
    (lambda ami: ami.dahdiDialOffhook("1", "5"), "DAHDIDialOffhook", {"DAHDIChannel": "1", "Number": "5"}),
    (lambda ami: ami.dahdiHangup("1"), "DAHDIHangup", {"DAHDIChannel": "1"}),
    (lambda ami: ami.dahdiRestart(), "DAHDIRestart", {}),
    (lambda ami: ami.dahdiTransfer("1"), "DAHDITransfer", {"DAHDIChannel": "1"}),
]
LISTS = [
    (lambda ami: ami.agents(), "Agents", {}),
    (lambda ami: ami.dahdiShowChannels(), "DAHDIShowChannels", {}),
    (lambda ami: ami.parkedCalls(), "ParkedCalls", {}),
    (lambda ami: ami.queueStatus("q", "PJSIP/1"), "QueueStatus", {"Queue": "q", "Member": "PJSIP/1"}),
    (lambda ami: ami.sipPeers(), "SIPpeers", {}),
    (lambda ami: ami.status(), "Status", {}),
    (lambda ami: ami.status("C"), "Status", {"Channel": "C"}),
]


def read_headers(message) -> dict[str, str]:
    return {name: value for name, value in message.items() if name not in {"Action", "ActionID"}}


class ManagerTests(TestCase):
    timeout = 20

    def connect(self, secret: str = "") -> manager.AMIFactory:
        self.asterisk = FakeAsterisk()
        factory = manager.AMIFactory(self.asterisk.username, secret or self.asterisk.secret, id="mine")
        self.asterisk.endpoint.connect(factory)
        self.addCleanup(self.end)
        self.asterisk.flush()
        return factory

    def end(self) -> None:
        self.asterisk.cut()
        self.asterisk.flush()

    def log_in(self) -> manager.AMIProtocol:
        return self.successResultOf(self.connect().loginDefer)

    def ask(self, answer):
        self.asterisk.flush()
        return self.successResultOf(answer)

    def fail_to(self, answer, kind):
        self.asterisk.flush()
        return self.failureResultOf(answer, kind).value

    # -- login

    def test_login_never_sends_the_secret(self) -> None:
        ami = self.log_in()
        assert (ami.id, ami.amiVersion, ami.count) == ("mine", "11.0.0", 0)
        assert self.asterisk.logins == 1
        said = b"".join(message.frame for message in self.asterisk.received)
        assert self.asterisk.secret.encode() not in said
        assert self.asterisk.sessions[0].has_events
        assert self.ask(ami.login())["response"] == "Success"
        assert self.asterisk.logins == 1

    def test_a_wrong_secret_is_told_and_ends_the_connection(self) -> None:
        factory = self.connect(secret="wrong")
        failure = self.failureResultOf(factory.loginDefer, AMICommandFailure).value
        assert failure.args[1]["response"] == "Error"
        assert "Authentication failed" in failure.args[1]["message"]
        self.asterisk.flush()
        assert self.asterisk.sessions == []

    def test_a_peer_that_is_no_asterisk(self) -> None:
        self.asterisk = FakeAsterisk()
        self.asterisk.greeting = b"220 mail.example.com ESMTP\r\n"
        factory = manager.AMIFactory("tandem", "secret")
        self.asterisk.endpoint.connect(factory)
        self.asterisk.flush()
        self.failureResultOf(factory.loginDefer, AMICommandFailure)

    # -- actions

    def test_each_action_says_what_starpy_says(self) -> None:
        ami = self.log_in()
        for use, name, headers in ACTIONS:
            self.asterisk.answers[name] = lambda _: success("done")
            answer = use(ami)
            if not isinstance(answer, str):
                self.ask(answer)
            self.asterisk.flush()
            assert read_headers(self.asterisk.sent(name)[-1]) == headers, name

    def test_each_list_comes_with_its_response_first(self) -> None:
        ami = self.log_in()
        for use, name, headers in LISTS:
            events = [[("Event", "Item"), ("Name", "x")]]
            self.asterisk.answers[name] = lambda _, events=events: event_list("will follow", events, "ItemComplete")
            first, *items = self.ask(use(ami))
            assert (first["response"], first["message"]) == ("Success", "will follow")
            assert [(item["event"], item["name"]) for item in items] == [("Item", "x")]
            assert read_headers(self.asterisk.sent(name)[-1]) == headers, name

    def test_results_that_are_no_messages(self) -> None:
        ami = self.log_in()
        answers = self.asterisk.answers
        answers["Command"] = lambda _: success("Command output follows", ("Output", "one"), ("Output", "two: 2"))
        assert self.ask(ami.command("core show uptime")) == ["one", "two: 2"]
        assert self.ask(ami.queues()) == ["one", "two: 2"]
        assert self.asterisk.sent("Command")[-1].get("Command") == "queue show"
        answers["Getvar"] = lambda message: success("", ("Variable", message.get("Variable")), ("Value", "blue"))
        assert self.ask(ami.getVar("C", "COLOUR")) == "blue"
        answers["Setvar"] = lambda _: success("Variable Set")
        self.ask(ami.setCDRUserField("C", "+x"))
        assert self.asterisk.sent("Setvar")[-1].get("Value") == "blue+x"
        answers["Getvar"] = lambda _: success("", ("Value", "(null)"))
        assert self.ask(ami.getVar(None, "COLOUR")) is None
        answers["ListCommands"] = lambda _: success("", ("Ping", "Keepalive command"))
        assert self.ask(ami.listCommands()) == {"response": "Success", "ping": "Keepalive command"}
        self.asterisk.astdb["f/k"] = "v"
        assert self.ask(ami.dbGet("f", "k")) == "v"
        assert self.fail_to(ami.dbGet("f", "none"), AMICommandFailure).args[0]["message"] == "Database entry not found"
        assert self.ask(ami.logoff())["response"] == "Goodbye"

    def test_originate(self) -> None:
        ami = self.log_in()
        asked = ami.originate(
            "PJSIP/101", "default", "100", 1, 30, '"Ann" <5550101>', "acc",
            variable={"A": 'x,y="z"', "B": 2}, channelid="c1", otherchannelid="c2", **{"async": True},
        )  # fmt: skip
        assert self.ask(asked)["response"] == "Success"
        (sent,) = self.asterisk.sent("Originate")
        assert sent.all("Variable") == ('A=x\\,y=\\"z\\"', "B=2")
        assert read_headers(sent) | {
            "Channel": "PJSIP/101",
            "Context": "default",
            "Exten": "100",
            "Priority": "1",
            "Timeout": "30000",
            "CallerID": '"Ann" <5550101>',
            "Account": "acc",
            "Async": "true",
            "ChannelId": "c1",
            "OtherChannelId": "c2",
        } == read_headers(sent)
        self.ask(ami.originate("PJSIP/101", application="Playback", data="beep", variable=[("A", "1")]))
        sent = self.asterisk.sent("Originate")[-1]
        assert read_headers(sent) == {
            "Channel": "PJSIP/101", "Application": "Playback", "Data": "beep", "Async": "false", "Variable": "A=1",
        }  # fmt: skip
        with pytest.raises(TypeError, match="callerID"):
            ami.originate("PJSIP/101", callerID="x")

    def test_a_refusal_is_a_failure_with_the_answer(self) -> None:
        ami = self.log_in()
        failure = self.fail_to(ami.sipShowPeers("1"), AMICommandFailure)
        assert failure.args[0]["response"] == "Error"
        assert "Invalid/unknown command" in failure.args[0]["message"]
        assert "Invalid/unknown command" in self.fail_to(ami.sipPeers(), AMICommandFailure).args[0]["message"]
        self.asterisk.answers["Status"] = lambda _: success("no list")
        self.fail_to(ami.status(), AMICommandFailure)
        with pytest.raises(AMICommandFailure):
            ami.errorUnlessResponse({"response": "Error"})
        assert self.ask(ami.ping())["ping"] == "Pong"

    # -- messages of the program's own

    def test_any_message(self) -> None:
        ami = self.log_in()
        reply = self.ask(ami.sendDeferred({"action": "Ping", "actionid": "mine-1"}))
        assert (reply["response"], reply["actionid"]) == ("Success", "mine-1")
        reply = self.ask(ami.sendDeferred({"Action": "Nonsense"}))
        assert reply["response"] == "Error"
        assert reply["actionid"]
        self.ask(
            ami.sendDeferred([["action", "Originate"], ["variable", "A=1"], ["variable", "B=2,3"], ["channel", "x"]])
        )
        assert self.asterisk.sent("Originate")[-1].all("Variable") == ("A=1", "B=2\\,3")
        assert ami.count == 3
        assert len({ami.generateActionId() for _ in range(100)}) == 100

    def test_a_callback_hears_the_answer_and_what_follows(self) -> None:
        ami = self.log_in()
        heard = []
        action_id = ami.sendMessage({"Action": "Originate", "Channel": "x", "Async": "true"}, heard.append)
        self.asterisk.flush()
        self.asterisk.send_event("OriginateResponse", ActionID=action_id, Response="Failure")
        self.asterisk.send_event("OriginateResponse", ActionID="another", Response="Success")
        self.asterisk.flush()
        assert [(message["response"], message["actionid"]) for message in heard] == [
            ("Success", action_id),
            ("Failure", action_id),
        ]

    def test_callbacks_do_not_pile_up(self) -> None:
        ami = self.log_in()
        for _ in range(manager.MAX_CALLBACKS + 5):
            ami.sendMessage({"Action": "Ping"}, lambda _: None)
            self.asterisk.flush()
        assert len(ami.actionIDCallbacks) == manager.MAX_CALLBACKS

    # -- values that AMI cannot carry

    def test_a_line_break_never_becomes_a_second_header(self) -> None:
        ami = self.log_in()
        before = len(self.asterisk.received)
        evil = "x\r\nAction: Command\r\nCommand: core stop now"
        for use in (
            lambda: ami.originate("PJSIP/101", callerid=evil),
            lambda: ami.originate("PJSIP/101", variable={"A": evil}),
            lambda: ami.originate("PJSIP/101", variable={"A=1\r\nX": "1"}),
            lambda: ami.setVar("C", "X", evil),
            lambda: ami.getVar(evil, "X"),
            lambda: ami.command("core show\nversion"),
            lambda: ami.queueStatus(evil),
            lambda: ami.dbPut("f", "k", "a\x00b"),
            lambda: ami.sendDeferred({"Action": "Ping", "X\r\nAction": "Logoff"}),
            lambda: ami.sendDeferred([["Action", "Ping"], ["A", "1"], ["a", "2"]]),
            lambda: ami.collectDeferred({"Action": "Status", "Channel": evil}, "StatusComplete"),
        ):
            refused = self.fail_to(use(), AmiValueRefused)
            assert isinstance(refused, ValueError)
            assert "core stop" not in str(refused)
        with pytest.raises(AmiValueRefused, match="action"):
            ami.sendDeferred({"Channel": "x"})
        with pytest.raises(AmiValueRefused, match="name=value"):
            ami.sendDeferred([["action", "Originate"], ["variable", "A"], ["variable", "B=1"]])
        self.asterisk.flush()
        assert len(self.asterisk.received) == before

    # -- events

    def test_events_go_to_those_who_registered(self) -> None:
        ami = self.log_in()
        heard = []

        def one(protocol, event):
            heard.append((protocol is ami, event["event"], event["channel"]))

        def every(_protocol, event):
            heard.append(event["event"])

        ami.registerEvent(("Hangup", "Newchannel"), one)
        ami.registerEvent(None, every)
        for name in ("Hangup", "Newchannel", "Newexten"):
            self.asterisk.send_event(name, Channel="PJSIP/1-1")
        self.asterisk.flush()
        assert heard == [
            (True, "Hangup", "PJSIP/1-1"), "Hangup", (True, "Newchannel", "PJSIP/1-1"), "Newchannel", "Newexten",
        ]  # fmt: skip
        heard.clear()
        assert ami.deregisterEvent(None)
        assert ami.deregisterEvent("Hangup", one)
        assert not ami.deregisterEvent(["Hangup", "Newchannel"], one)
        assert not ami.deregisterEvent("Hangup")
        for name in ("Hangup", "Newchannel"):
            self.asterisk.send_event(name, Channel="PJSIP/1-1")
        self.asterisk.flush()
        assert heard == []

    def test_events_of_a_list_go_to_both(self) -> None:
        ami = self.log_in()
        heard = []
        ami.registerEvent("QueueMember", lambda _, event: heard.append(event["name"]))
        self.asterisk.lists["QueueStatus"] = [
            [("Event", "QueueParams"), ("Queue", "q")],
            [("Event", "QueueMember"), ("Queue", "q"), ("Name", "Ann")],
        ]
        assert [reply.get("event") for reply in self.ask(ami.queueStatus())] == [None, "QueueParams", "QueueMember"]
        assert heard == ["Ann"]

    def test_a_handler_that_raises_harms_nobody(self) -> None:
        ami = self.log_in()
        heard = []

        def bad(_protocol, event):
            raise KeyError(event["event"])

        ami.registerEvent("Hangup", bad)
        ami.registerEvent("Hangup", lambda *_: heard.append("after"))
        with self.assertLogs("AMI", "ERROR"):
            self.asterisk.send_event("Hangup", Channel="x")
            self.asterisk.flush()
        assert heard == ["after"]

    def test_a_forged_event_reaches_nobody(self) -> None:
        """A caller's number with CR LF in it brings headers of its own; which of two is true nobody can say."""
        ami = self.log_in()
        heard = []
        ami.registerEvent(None, lambda _, event: heard.append(event))
        self.asterisk.send_event("Newchannel", CallerIDNum="5\r\nUniqueid: another's", Uniqueid="1.1")
        self.asterisk.send_event("Newchannel", ChanVariable="a=1\r\nChanVariable: b=2", Uniqueid="1.2")
        self.asterisk.lists["QueueStatus"] = [[("Event", "QueueEntry"), ("Position", "1\r\nPosition: 2")]]
        assert len(self.ask(ami.queueStatus())) == 1
        assert [(event["uniqueid"], event["chanvariable"]) for event in heard] == [("1.2", "a=1\nb=2")]

    # -- the end

    def test_a_lost_connection_fails_what_waits(self) -> None:
        ami = self.log_in()
        self.asterisk.answers["Originate"] = lambda _: None
        waiting = [ami.originate("PJSIP/101"), ami.status(), ami.ping()]
        heard = []
        ami.registerEvent("Hangup", lambda *_: heard.append(1))
        ami.sendMessage({"Action": "Ping"}, heard.append)
        self.asterisk.answers.update({name: lambda _: None for name in ("Status", "Ping")})
        self.asterisk.flush()
        self.asterisk.cut()
        self.asterisk.flush()
        for answer in waiting:
            failure = self.failureResultOf(answer, AMIConnectionGone)
            assert failure.check(ConnectionDone)
            assert failure.check(AMICommandFailure)
        self.failureResultOf(ami.ping(), AMIConnectionGone)
        assert (heard, ami.eventTypeCallbacks, ami.actionIDCallbacks) == ([], {}, {})
        assert len(self.asterisk.sent("Originate")) == 1


class PortTests(TestCase):
    """On a real port: `login`, refusal to connect, reconnecting."""

    timeout = 20

    async def listen(self) -> int:
        self.asterisk = FakeAsterisk()
        self.port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.asterisk)
        self.addCleanup(self.port.stopListening)
        return self.port.getHost().port

    async def settle(self, condition) -> None:
        while not condition():
            await deferLater(reactor, 0.01)

    async def test_login_and_logoff(self) -> None:
        number = await self.listen()
        factory = manager.AMIFactory("tandem", self.asterisk.secret, plaintext_login=True)
        ami = await factory.login("127.0.0.1", number, timeout=3)
        assert (await ami.ping())["response"] == "Success"
        await ami.logoff()
        await ami.when_lost()

    async def test_nobody_listens(self) -> None:
        number = await self.listen()
        await self.port.stopListening()
        factory = manager.AMIFactory("tandem", "x")
        with pytest.raises(ConnectError):
            await factory.login("127.0.0.1", number)

    async def test_a_refused_login_is_not_tried_again(self) -> None:
        number = await self.listen()
        again = []
        with pytest.raises(AMICommandFailure):
            await manager.AMIFactory("tandem", "wrong", on_reconnect=again.append).login("127.0.0.1", number)
        await self.settle(lambda: not self.asterisk.sessions)
        assert again == []

    async def test_a_lost_connection_comes_back_where_asked_for(self) -> None:
        number = await self.listen()
        again: list[Deferred] = []
        factory = manager.AMIFactory("tandem", self.asterisk.secret, on_reconnect=again.append)
        first = await factory.login("127.0.0.1", number)
        self.asterisk.cut()
        await self.settle(lambda: again)
        second = await again[0]
        assert second is not first
        assert (await second.ping())["response"] == "Success"
        await second.logoff()
        await second.when_lost()
        assert len(again) == 1
