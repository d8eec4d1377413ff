"""Every method of starpy's FastAGI that Asterisk 22 can answer, in real calls."""

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tandem.starpy import error, fastagi, menu
from tests.asterisk.starpy.far import stored

pytestmark = pytest.mark.asterisk


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
