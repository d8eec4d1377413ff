"""Programs in starpy's style against a real Asterisk: the examples as processes of their own, and every method that Asterisk 22 can answer."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tandem.asterisk.instance import AsteriskInstance
from tandem.starpy import error, fastagi, manager, menu
from tests.asterisk.conftest import AsteriskFactory
from tests.asterisk.far_ends import InstanceEndpoint

pytestmark = pytest.mark.asterisk

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "of the starpy tests"
DIALPLAN = """
[starpy]
exten => survey,1,Answer()
 same => n,AGI(agi://127.0.0.1:4574/survey)
 same => n,Set(DB(test/after)=${SURVEY}.)
 same => n,Hangup()
exten => operator,1,Set(DB(test/after)=operator)
 same => n,Wait(30)
exten => run,1,Answer()
 same => n,AGI(agi://127.0.0.1:4575/run,first,second one)
 same => n,Set(DB(test/after)=${X}${EXTEN})
 same => n,Wait(5)
exten => run,104,Set(DB(test/after)=jumped)
exten => bad,1,Answer()
 same => n,Hangup(17)
exten => forged,1,Set(CALLERID(num)=${URIDECODE(555%0d%0aUniqueid: victim)})
 same => n,Answer()
 same => n,Set(CALLERID(num)=)
 same => n,UserEvent(Over)
exten => hold,1,Answer()
 same => n,Wait(60)

[dead]
exten => run,1,Hangup()
exten => h,1,AGI(agi://127.0.0.1:4575/dead)

[far]
exten => waiter,1,Wait(40)
exten => surveyed,1,Wait(1)
 same => n,SendDTMF(9,200)
 same => n,Wait(1)
 same => n,SendDTMF(1,200)
 same => n,Wait(1)
 same => n,SendDTMF(5,200)
 same => n,Wait(1)
 same => n,SendDTMF(3,200)
 same => n,Wait(20)
exten => leaver,1,Wait(1)
 same => n,SendDTMF(1,200)
 same => n,Wait(1)
 same => n,SendDTMF(5,200)
 same => n,Wait(1)
 same => n,Hangup()
exten => chooser,1,Wait(1)
 same => n,SendDTMF(2,200)
 same => n,Wait(20)
exten => presser,1,Wait(0.7)
 same => n,SendDTMF(2*01#,200)
 same => n,Wait(40)
"""
MANAGER = f"""[general]
enabled = yes
port = 5038
bindaddr = 127.0.0.1
[starpy]
secret = {SECRET}
read = all
write = all
"""


@pytest.fixture(scope="module")
def asterisk(asterisk_factory: AsteriskFactory) -> Iterator[AsteriskInstance]:
    config = {"extensions.conf": DIALPLAN, "pjsip.conf": "", "queues.conf": "[general]\n[sales]\nstrategy = ringall\n"}
    instance = asterisk_factory(config=config)
    # Beside the users that the instance itself logs in with.
    path = instance.etc / "manager.conf"
    path.write_text(path.read_text() + MANAGER.partition("127.0.0.1\n")[2])
    instance.cli("manager reload")
    yield instance
    instance.cli("channel request hangup all")


def stored(asterisk: AsteriskInstance, family: str, key: str) -> str | None:
    line = asterisk.cli(f"database get {family} {key}").strip()
    return line.removeprefix("Value: ") if line.startswith("Value: ") else None


def wait_until(condition: Callable[[], object], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


# -- the examples, as processes


@pytest.fixture(scope="module")
def survey(asterisk: AsteriskInstance) -> Iterator[subprocess.Popen[str]]:
    process = asterisk.popen(
        [sys.executable, str(EXAMPLES / "starpy_survey.py"), "4574"],
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: listens(asterisk, 4574))
    yield process
    process.terminate()
    process.wait(timeout=10)


def listens(asterisk: AsteriskInstance, port: int) -> bool:
    try:
        asterisk.connect("127.0.0.1", port).close()
    except OSError:
        return False
    return True


def call_survey(asterisk: AsteriskInstance, far_end: str) -> None:
    asterisk.cli("channel request hangup all")
    asterisk.cli("database deltree test")
    asterisk.cli("database deltree survey")
    wait_until(lambda: "0 active channels" in asterisk.cli("core show channels"))
    asterisk.cli(f"channel originate Local/survey@starpy extension {far_end}@far")


def read_answers(asterisk: AsteriskInstance) -> list[str]:
    lines = [line for line in asterisk.cli("database show survey").splitlines() if line.startswith("/survey")]
    return [line.rpartition(":")[2].strip() for line in sorted(lines)]


def test_a_survey_is_answered(asterisk, survey) -> None:
    call_survey(asterisk, "surveyed")  # a key that the menu does not have, then 1; 5 and 3
    wait_until(lambda: stored(asterisk, "test", "after"))
    assert stored(asterisk, "test", "after") == "done."
    assert read_answers(asterisk) == ["5", "3"]


def test_who_hangs_up_half_way_has_answered_what_he_has_answered(asterisk, survey) -> None:
    call_survey(asterisk, "leaver")
    wait_until(lambda: read_answers(asterisk))
    wait_until(lambda: "0 active channels" in asterisk.cli("core show channels"))
    assert read_answers(asterisk) == ["5"]
    assert stored(asterisk, "test", "after") in {None, "."}
    assert survey.poll() is None


def test_the_menu_connects(asterisk, survey) -> None:
    call_survey(asterisk, "chooser")
    wait_until(lambda: stored(asterisk, "test", "after"))
    assert stored(asterisk, "test", "after") == "operator"
    assert read_answers(asterisk) == []


def run_call(asterisk: AsteriskInstance, secret: str, channel: str) -> list[str]:
    process = asterisk.popen(
        [sys.executable, str(EXAMPLES / "starpy_call.py"), "starpy", channel, "starpy", "bad", "1"],
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said, complaints = process.communicate(f"{secret}\n", timeout=40)
    finally:
        process.kill()
    assert complaints == ""
    return said.splitlines()


def test_a_call_and_its_events(asterisk) -> None:
    lines = run_call(asterisk, SECRET, "Local/hold@starpy")
    assert lines[0].startswith("Newchannel Down")
    assert any(line.startswith("Newstate Up") for line in lines)
    assert "OriginateResponse Success" in lines
    assert lines[-1].startswith("Hangup")


def test_a_login_that_is_refused(asterisk) -> None:
    (line,) = run_call(asterisk, "wrong", "Local/hold@starpy")
    assert line.startswith("Asterisk says")
    assert "Authentication failed" in line


# -- every method


class FastAgiTests(TestCase):
    timeout = 60

    @pytest.fixture(autouse=True)
    def _take_asterisk(self, asterisk) -> None:
        self.asterisk = asterisk

    def tearDown(self):
        return deferToThread(self.asterisk.cli, "channel request hangup all")

    async def play(self, main, far_end: str = "waiter", extension: str = "run@starpy"):
        """What `main(agi)` returned in a real call; finishes when it is over."""
        over: Deferred = Deferred()

        async def watched(agi):
            try:
                result = await main(agi)
            except BaseException as failure:  # noqa: BLE001 - whatever it is belongs to the test
                over.errback(failure)
            else:
                over.callback(result)
            agi.finish()

        factory = fastagi.FastAGIFactory(watched)
        listener = self.asterisk.listen("127.0.0.1", 4575)
        listener.setblocking(False)
        port = reactor.adoptStreamPort(listener.fileno(), listener.family, factory)
        listener.close()
        await deferToThread(self.asterisk.cli, "database deltree test")
        await deferToThread(self.asterisk.cli, f"channel originate Local/{extension} extension {far_end}@far")
        try:
            return await over.addTimeout(40, reactor)
        finally:
            await port.stopListening()
            while factory.sessions.open:
                await deferLater(reactor, 0.02)

    async def wait_for(self, key: str) -> str:
        while (value := await deferToThread(stored, self.asterisk, "test", key)) is None:
            await deferLater(reactor, 0.1)
        return value

    async def test_every_command(self) -> None:
        recording = self.asterisk.spool / "starpy"

        async def main(agi):
            assert agi.variables["agi_arg_2"] == "second one"
            got = {
                "answer": await agi.answer(),
                "status": await agi.channelStatus(),
                "noop": (await agi.noop(), await agi.noop("say hello"), await agi.verbose("hello there", 2)),
                "hangup": await agi.setAutoHangup(0),
                "callerid": (await agi.setCallerID('"Ann, Lee" <5550101>'), await agi.getVariable("CALLERID(all)")),
                "music": (await agi.setMusic(True, "default"), await agi.setMusic(False)),
                "exec": (await agi.execute("NoOp", "a", "b"), await agi.execute("Gosub", "nosuch,s,1")),
                "playback": await agi.playback("beep"),
                "variable": (await agi.setVariable("X", 'a "b" \\ $c'), await agi.getVariable("X")),
                "database": (
                    await agi.databasePut("test", "k", "1 (2)"), await agi.databaseGet("test", "k"),
                    await agi.databaseDel("test", "k"), await agi.databaseSet("test", "t/u", 1),
                    await agi.databaseDeltree("test", "t"),
                ),
                "said": (
                    await agi.sayAlpha("a-b"), await agi.sayDigits("1-2"), await agi.sayNumber(-3), await agi.sayPhonetic("a"),
                    await agi.sayDate(1_700_000_000), await agi.sayTime(1_700_000_000.5),
                    await agi.sayDateTime(1_700_000_000, "", "A", "Europe/Berlin"), await agi.sayXXX("SAY DIGITS", 1),
                ),
                "waited": await agi.waitForDigit(0.05),
                "option": (await agi.getOption("beep", "1", 0.05))[0],
                "data": await agi.getData("beep", 0.05, 2),
                "recorded": (await agi.recordFile(str(recording), "wav", "#", 0.2))[:2],
                "text": (await agi.sendText("it's"), await agi.sendImage("none"), await agi.receiveChar(0.05)),
                "wait": await agi.wait(0.01),
            }  # fmt: skip
            played, controlled = await agi.streamFile("beep", "1"), await agi.controlStreamFile("beep", "1")
            assert (played[0], controlled[0]) == (0, 0)
            assert played[1] > 1000
            return got

        assert await self.play(main) == {
            "answer": 0,
            "status": 6,
            "noop": (0, 0, 1),
            "hangup": 0,
            "callerid": (1, '"Ann, Lee" <5550101>'),
            "music": (0, 0),
            "exec": ("0", "-1"),
            "playback": 0,
            "variable": (1, 'a "b" \\ $c'),
            "database": (1, "1 (2)", 1, 1, 1),
            "said": (0,) * 8,
            "waited": 0,
            "option": "",
            "data": ("", True),
            "recorded": (0, "timeout"),
            "text": (0, 0, ("0", True)),
            "wait": 0,
        }
        assert recording.with_suffix(".wav").exists()

    async def test_failures(self) -> None:
        async def main(agi):
            async def code(answer):
                with pytest.raises(error.AGICommandFailure) as failed:
                    await answer
                return failed.value.args[0]

            return [
                await code(agi.sendCommand("NO SUCH COMMAND")),
                await code(agi.sendCommand("STREAM FILE")),
                await code(agi.streamFile("no-such-sound")),
                await code(agi.getOption("no-such-sound", "1")),
                await code(agi.getData("no-such-sound")),
                await code(agi.execute("NoSuchApplication")),
                await code(agi.getVariable("NONE")),
                await code(agi.databaseGet("none", "none")),
                await code(agi.databaseDeltree("none")),
                await code(agi.hangup("PJSIP/none")),
                await code(agi.channelStatus("PJSIP/none")),
                await code(agi.recordFile("/nowhere/at/all", "wav", "", 0.1)),
                await code(agi.tddMode()),
                await code(agi.receiveText(0.05)),
                await agi.channelStatus(),
            ]

        assert await self.play(main) == [510, 520, *[-1] * 12, 6]

    async def test_keys(self) -> None:
        async def main(agi):
            option = await agi.getOption("beep", "123", 5)
            return option[0], await agi.waitForDigit(5), await agi.getData("beep", 5, 5)

        assert await self.play(main, far_end="presser") == ("2", ord("*"), ("01", False))

    async def test_menus(self) -> None:
        inner = menu.Menu(prompt=["vm-press", 5], options=[menu.Option(option="*")])
        outer = menu.Menu(prompt=["demo-instruct"], options=[menu.SubMenu(option="2", menu=inner)])

        async def main(agi):
            chosen = await outer(agi)
            ((_, digits),) = await menu.CollectDigits(soundFile="vm-num-i-have")(agi)
            return [key for _, key in chosen], digits

        assert await self.play(main, far_end="presser") == (["2", "*"], "01")

    async def test_a_hangup_while_it_waits(self) -> None:
        async def main(agi):
            waiting, queued = agi.waitForDigit(-1), agi.noop()
            await deferToThread(self.asterisk.cli, "channel request hangup all")
            failures = []
            for answer in (waiting, queued, agi.noop()):
                try:
                    await answer
                except error.AGIChannelGone as gone:
                    failures.append(gone)
            return len(failures)

        assert await self.play(main) == 3

    async def test_finish_ends_a_wait_without_end(self) -> None:
        async def main(agi):
            waiting = agi.waitForDigit(-1)
            await agi.wait(0.2)
            agi.finish()
            with pytest.raises(error.AGIChannelGone):
                await waiting

        await self.play(main)
        assert await self.wait_for("after") == "run"

    async def test_many_commands_at_once(self) -> None:
        async def main(agi):
            for number in range(20):
                answer = agi.setVariable("X", f"{number}-")
            return await answer

        assert await self.play(main) == 1
        assert await self.wait_for("after") == "19-run"

    async def test_jump_on_error(self) -> None:
        async def main(agi):
            # This AGI is priority 2; 102 more is the one at 104.
            return await agi.getVariable("NONE").addErrback(agi.jumpOnError, difference=102)

        assert await self.play(main) == [0, 0, 0, None]
        assert await self.wait_for("after") == "jumped"

    async def test_a_channel_that_is_dead_already(self) -> None:
        async def main(agi):
            with pytest.raises(error.AGICommandFailure) as dead:
                await agi.answer()
            return dead.value.args[0], await agi.databasePut("test", "dead", "told")

        assert await self.play(main, extension="run@dead") == (511, 1)
        assert await self.wait_for("dead") == "told"


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
