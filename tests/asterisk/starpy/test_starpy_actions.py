"""Every method of starpy's manager that Asterisk 22 can answer."""

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tandem.starpy import error, manager
from tests.asterisk.far_ends import InstanceEndpoint
from tests.asterisk.starpy.far import SECRET

pytestmark = pytest.mark.asterisk


class ManagerTests(TestCase):
    timeout = 60

    @pytest.fixture(autouse=True)
    def _take_asterisk(self, asterisk) -> None:
        self.asterisk = asterisk

    async def log_in(self) -> manager.AMIProtocol:
        factory = manager.AMIFactory("starpy", SECRET)
        await InstanceEndpoint(self.asterisk).connect(factory)
        ami = await factory.loginDefer

        def leave():
            lost = ami.when_lost()
            ami.transport.loseConnection()
            return lost

        self.addCleanup(leave)
        return ami

    async def event(self, ami, name, where=lambda event: True) -> dict[str, str]:
        heard: Deferred = Deferred()

        def take(_ami, event):
            if where(event) and not heard.called:
                heard.callback(event)

        ami.registerEvent(name, take)
        try:
            return await heard.addTimeout(20, reactor)
        finally:
            ami.deregisterEvent(name, take)

    async def test_actions(self) -> None:
        ami = await self.log_in()
        assert ami.amiVersion
        assert (await ami.ping())["ping"] == "Pong"
        assert "ping" in await ami.listCommands()
        assert any("Asterisk" in line for line in await ami.command("core show version"))
        await ami.dbPut("test", "ami", 'a, "b" = c')
        assert await ami.dbGet("test", "ami") == 'a, "b" = c'
        await ami.dbDel("test", "ami")
        with pytest.raises(error.AMICommandFailure, match="not found"):
            await ami.dbGet("test", "ami")
        await ami.setVar(None, "GLOBAL_X", "blue")
        assert await ami.getVar(None, "GLOBAL_X") == "blue"
        assert await ami.getVar(None, "GLOBAL_NONE") == ""
        assert (await ami.extensionState("100", "starpy"))["status"] == "-1"
        assert (await ami.mailboxCount("1@default"))["newmessages"] == "0"
        assert (await ami.mailboxStatus("1@default"))["waiting"] == "0"
        assert "sales" in " ".join((await ami.getConfig("queues.conf")).values())
        assert (await ami.events("on"))["response"] == "Success"
        with pytest.raises(error.AMICommandFailure, match="Invalid/unknown command"):
            await ami.sipPeers()
        with pytest.raises(error.AMICommandFailure, match="No such channel"):
            await ami.hangup("PJSIP/none")
        assert (await ami.sendDeferred({"action": "nonsense"}))["response"] == "Error"

    async def test_queues(self) -> None:
        ami = await self.log_in()
        paused = self.event(ami, "QueueMemberPause")
        pausing = Deferred.fromCoroutine(paused)
        await ami.queueAdd("sales", "Local/hold@starpy", 2, False, "Ann Lee")
        await ami.queuePause("sales", "Local/hold@starpy", True, "lunch")
        assert (await pausing)["pausedreason"] == "lunch"
        await ami.queuePenalty("Local/hold@starpy", 4, "sales")
        response, *events = await ami.queueStatus("sales")
        assert response["response"] == "Success"
        (member,) = [event for event in events if event["event"] == "QueueMember"]
        assert (member["name"], member["penalty"], member["paused"]) == ("Ann Lee", "4", "1")
        assert any("sales" in line for line in await ami.queues())
        await ami.queueLog("sales", "TEST", interface="Local/hold@starpy")
        await ami.queueRemove("sales", "Local/hold@starpy")
        with pytest.raises(error.AMICommandFailure):
            await ami.queueRemove("sales", "Local/hold@starpy")

    async def test_a_call(self) -> None:
        ami = await self.log_in()
        hostile = 'x,y="z"; (a)[b]\\'
        asked = await ami.originate(
            "Local/hold@starpy/n",
            "starpy",
            "hold",
            1,
            20,
            '"Ann" <5550101>',
            variable={"A": hostile},
            channelid="starpy-1",
        )
        assert asked["response"] == "Success"
        (channel,) = [event for event in await ami.status() if event.get("uniqueid") == "starpy-1"]
        name = channel["channel"]
        assert await ami.getVar(name, "A") == hostile
        await ami.setVar(name, "B", "1")
        assert await ami.getVar(name, "B") == "1"
        await ami.setCDRUserField(name, "one")
        await ami.setCDRUserField(name, "+two")
        assert await ami.getVar(name, "CDR(userfield)") == "one+two"
        recording = self.asterisk.spool / "starpy-call"
        await ami.monitor(name, str(recording), "wav", True)
        await ami.pauseMonitor(name)
        await ami.unpauseMonitor(name)
        await ami.stopMonitor(name)
        assert recording.with_suffix(".wav").exists()
        await ami.playDTMF(name, "5")
        await ami.absoluteTimeout(name, 50)
        redirected = Deferred.fromCoroutine(self.event(ami, "Newexten", lambda event: event["extension"] == "operator"))
        await ami.redirect(name, "starpy", "operator", 1)
        assert (await redirected)["channel"] == name
        ended = Deferred.fromCoroutine(self.event(ami, "Hangup", lambda event: event["uniqueid"] == "starpy-1"))
        await ami.hangup(name)
        assert (await ended)["channel"] == name

    async def test_an_originate_that_fails_and_its_callback(self) -> None:
        ami = await self.log_in()
        with pytest.raises(error.AMICommandFailure):
            await ami.originate("Local/none@nowhere", application="Wait", data="1", timeout=5)
        heard: list[dict[str, str]] = []
        ami.sendMessage(
            [["action", "originate"], ["channel", "Local/hold@starpy"], ["application", "Hangup"], ["async", "true"],
             ["variable", "A=1"], ["variable", "B=2"]],
            heard.append,
        )  # fmt: skip
        await self.event(ami, "OriginateResponse")
        assert [message["response"] for message in heard] == ["Success", "Success"]

    async def test_user_events(self) -> None:
        ami = await self.log_in()
        coming = Deferred.fromCoroutine(self.event(ami, "UserEvent"))
        ami.userEvent("Answered", Question="1", Key="5")
        event = await coming
        assert (event["userevent"], event["question"], event["key"]) == ("Answered", "1", "5")

    async def test_waiting_for_an_event(self) -> None:
        ami = await self.log_in()
        waiting = ami.waitEvent(-1)
        await deferToThread(self.asterisk.cli, "channel originate Local/hold@starpy application Hangup")
        (reply,) = await waiting
        assert reply["response"] == "Success"
        assert (await ami.ping())["ping"] == "Pong"

    async def test_a_strangers_number_brings_no_header(self) -> None:
        """CR LF in a caller's number is what Asterisk prints raw: an event with a forged header reaches no program."""
        ami = await self.log_in()
        uniqueids: list[str] = []
        ami.registerEvent(None, lambda _, event: uniqueids.append(event.get("uniqueid", "")))
        ended = Deferred.fromCoroutine(self.event(ami, "UserEvent"))
        await ami.originate("Local/forged@starpy/n", "starpy", "hold", 1, **{"async": True})
        await ended
        assert uniqueids
        assert "victim" not in uniqueids
