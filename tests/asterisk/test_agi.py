"""The FastAGI core against a real Asterisk: quoting, every command, digits, hang-ups, forgeries, and the fallback."""

import asyncio
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import uvloop
from twisted.internet.asyncioreactor import AsyncioSelectorReactor

from fastagi.service import AgiService
from fastagi.session import AgiError, ChannelGone, ChannelState, Digits, Playback, PlaybackFailed, Session
from fastagi.testing import AgiCaller
from fastagi.wire import MAX_COMMAND_BYTES
from tandem.asterisk.instance import AsteriskInstance
from tests.asterisk.conftest import AsteriskFactory

pytestmark = pytest.mark.asterisk

DIALPLAN = """
[agi]
exten => run,1,Answer()
 same => n,AGI(agi://127.0.0.1/run,first,second one)
 same => n,Set(DB(test/went)=on)

exten => nowhere,1,AGI(agi://127.0.0.1/nosuch)
 same => n,Set(DB(test/went)=on)

exten => forged,1,Set(CALLERID(num)=${URIDECODE(555%0aagi_network_script: run)})
 same => n,AGI(agi://127.0.0.1/run)
 same => n,Set(DB(test/went)=on)

exten => blank,1,Set(CALLERID(name)=${URIDECODE(Bob%0a%0a200 result=1)})
 same => n,AGI(agi://127.0.0.1/run)
 same => n,Set(DB(test/went)=on)

[dead]
exten => run,1,Hangup()
exten => h,1,AGI(agi://127.0.0.1/dead)

[far]
exten => waiter,1,Wait(40)
exten => presser,1,Wait(0.7)
 same => n,SendDTMF(2*01#,200)
 same => n,Wait(40)

[target]
exten => s,1,Set(DB(test/entered)=${ARG1}/${ARG2})
 same => n,StackPop()
 same => n,Wait(5)

[sub]
exten => s,1,Set(DB(test/sub)=${ARG1})
 same => n,Return()
"""
AT = datetime(2025, 11, 20, 17, 30, tzinfo=UTC)
Play = Callable[..., Any]


class Phone:
    """A real Asterisk whose AGI comes to a service in this process."""

    def __init__(self, asterisk: AsteriskInstance) -> None:
        self.asterisk = asterisk
        self.loop = uvloop.new_event_loop()
        self.scripts: dict[str, Any] = {}
        listener = asterisk.listen("127.0.0.1", 4573)
        self.service = AgiService(self.scripts, AsyncioSelectorReactor(self.loop), listener=listener, loop=self.loop)
        self.service.startService()

    def call(self, extension: str = "run@agi", far_end: str = "waiter") -> None:
        """A Local channel: its first half is the far end, its second our dialplan."""
        self.asterisk.cli("database deltree test")
        self.asterisk.cli(f"channel originate Local/{extension} extension {far_end}@far")

    def play(self, script: Any, far_end: str = "waiter") -> Any:
        """Calls `run` and waits until `script` is over: what it returned."""
        outcome = self.loop.create_future()

        async def watched(session: Session) -> None:
            try:
                outcome.set_result(await script(session))
            except BaseException as error:
                outcome.set_exception(error)
                raise

        self.scripts["run"] = watched
        self.call(far_end=far_end)
        try:
            return self.loop.run_until_complete(asyncio.wait_for(outcome, 40))
        finally:
            self.settle(lambda: not self.service.sessions.open)

    def settle(self, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        async def poll() -> None:
            while not condition():
                await asyncio.sleep(0.02)

        self.loop.run_until_complete(asyncio.wait_for(poll(), timeout_s))

    def stored(self, key: str) -> str | None:
        line = self.asterisk.cli(f"database get test {key}").strip()
        return line.removeprefix("Value: ") if line.startswith("Value: ") else None

    def hang_up(self) -> None:
        self.asterisk.cli("channel request hangup all")


@pytest.fixture(scope="module")
def phone(asterisk_factory: AsteriskFactory) -> Iterator[Phone]:
    # Documented: the usage is an answer of several lines.
    phone = Phone(asterisk_factory(config={"extensions.conf": DIALPLAN, "pjsip.conf": ""}, documented=True))
    yield phone
    phone.hang_up()
    phone.loop.run_until_complete(phone.service.stopService().asFuture(phone.loop))
    phone.loop.close()


@pytest.fixture(autouse=True)
def quiet(phone: Phone) -> Iterator[None]:
    yield
    phone.hang_up()


def hostile_values() -> list[str]:
    alphabet = "ab \\\"'`$%&{}()[]<>,;:|=#*~!?@^_+-./äß漢🎉"
    chance = random.Random(7)
    fixed = [
        "",
        " ",
        '"',
        "\\",
        '\\"',
        '""',
        "\\\\",
        " a ",
        "a  b",
        "${X}",
        "$[1+1]",
        "a,b(c)",
        "a;b",
        "x\\",
        '"x',
        "\\n",
        "(a) b)",
        ")",
    ]
    return fixed + ["".join(chance.choices(alphabet, k=chance.randrange(1, 60))) for _ in range(150)]


def test_quoting_round_trips(phone: Phone) -> None:
    values = hostile_values()

    async def script(session: Session) -> list[str | None]:
        got = []
        for value in values:
            await session.set_variable("X", value)
            got.append(await session.get_variable("X"))
        return got

    assert phone.play(script) == values


def test_the_longest_line_arrives_whole(phone: Phone) -> None:
    longest = "x" * (MAX_COMMAND_BYTES - len('SET VARIABLE "X" ""\n'))

    async def script(session: Session) -> str | None:
        with pytest.raises(ValueError, match="2047"):
            await session.set_variable("X", longest + "x")
        await session.set_variable("X", longest)
        assert await session.get_variable("X") == longest[:1023]
        return await session.get_full_variable("${X}")

    assert phone.play(script) == longest


def test_the_environment(phone: Phone) -> None:
    async def script(session: Session) -> Any:
        return session.environment

    environment = phone.play(script)
    assert environment.network_script == "run"
    assert (environment.context, environment.extension, environment.priority) == ("agi", "run", 2)
    assert (environment.type, environment.callerid, environment.args) == ("Local", None, ("first", "second one"))
    assert environment.version.startswith("22.")


async def use_every_command(s: Session, recording: str) -> dict[str, Any]:
    await s.answer()
    await s.asyncagi_break()
    await s.verbose("hello", 1)
    await s.set_autohangup(0)
    await s.set_callerid("49301", "Ann, Lee")
    await s.set_music(True, "default")
    await s.set_music(False)
    await s.set_variable("X", "7")
    await s.gosub("sub", "s", 1, "seen")
    await s.set_context("agi")
    await s.set_extension("run")
    await s.set_priority(3)
    return {
        "status": (await s.channel_status(), await s.channel_status("PJSIP/none")),
        "exec": (await s.exec("NoOp"), await s.exec("Gosub", "nosuch,s,1"), await s.exec("NoSuchApplication")),
        "variables": (await s.get_variable("CALLERID(all)"), await s.get_variable("NONE"), await s.get_full_variable("<${X}>")),
        "other": (await s.get_full_variable("x", "PJSIP/none"), await s.hangup("PJSIP/none")),
        "put": (await s.database_put("f", "a", "1 (2) 3"), await s.database_put("f", "t/b", "2")),
        "get": (await s.database_get("f", "a"), await s.database_get("f", "none")),
        "del": (await s.database_del("f", "a"), await s.database_get("f", "a")),
        "deltree": (await s.database_deltree("f", "t"), await s.database_deltree("f")),
        "played": (await s.stream_file("beep", "1"), await s.get_option("beep", "1", 50)),
        "controlled": (await s.control_stream_file("beep", "1")).digit,
        "data": await s.get_data("beep", 50, 2),
        "waited": await s.wait_for_digit(50),
        "said": (
            await s.say_alpha("a"), await s.say_digits("1"), await s.say_number(1), await s.say_phonetic("a"),
            await s.say_date(AT), await s.say_time(AT), await s.say_datetime(AT, "", "A", "Europe/Berlin"),
        ),
        "recorded": (await s.record_file(recording, "wav", "#", 200, beep=True, silence_s=1)).ended_by,
        "text": (await s.send_text("hi"), await s.send_image("none"), await s.receive_char(50), await s.receive_text(50)),
        "tdd": await s.tdd_mode("off"),
        "speech": (
            await s.speech_create(), await s.speech_set("a", "b"), await s.speech_load_grammar("a", "b"),
            await s.speech_activate_grammar("a"), await s.speech_deactivate_grammar("a"), await s.speech_unload_grammar("a"),
            await s.speech_destroy(),
        ),
        "recognized": (await s.speech_recognize("beep", 1)).ended_by,
    }  # fmt: skip


def test_every_command(phone: Phone) -> None:
    recording = phone.asterisk.spool / "recorded"
    got = phone.play(lambda session: use_every_command(session, str(recording)))
    assert got == {
        "status": (ChannelState.UP, None),
        "exec": (0, -1, -2),
        "variables": ('"Ann, Lee" <49301>', None, "<7>"),
        "other": (None, False),
        "put": (True, True),
        "get": ("1 (2) 3", None),
        "del": (True, None),
        "deltree": (True, False),
        "played": (Playback(None, got["played"][0].endpos), Playback(None, got["played"][1].endpos)),
        "controlled": None,
        "data": Digits("", True),
        "waited": None,
        "said": (None,) * 7,
        "recorded": "timeout",
        "text": (True, True, None, None),
        "tdd": False,
        "speech": (False,) * 7,
        "recognized": "",
    }
    assert got["played"][0].endpos > 1000
    assert phone.stored("sub") == "seen"
    assert recording.with_suffix(".wav").exists()


def test_errors_leave_the_session_usable(phone: Phone) -> None:
    async def script(session: Session) -> str | None:
        with pytest.raises(AgiError, match="520 Invalid command syntax") as wrong:
            await session.command("STREAM FILE")
        assert len(wrong.value.text) > 200  # the usage, of several lines
        with pytest.raises(AgiError, match="510 Invalid or unknown command"):
            await session.command("NO SUCH COMMAND")
        with pytest.raises(AgiError, match="label not found"):
            await session.gosub("nosuch", "s", 1)
        for play in (session.stream_file, session.get_option, session.get_data, session.control_stream_file):
            with pytest.raises(PlaybackFailed):
                await play("no-such-sound")
        with pytest.raises(AgiError, match="writefile"):
            await session.record_file("/nowhere/at/all", "wav", timeout_ms=100)
        return await session.get_variable("CHANNEL(state)")

    assert phone.play(script) == "Up"


def test_digits(phone: Phone) -> None:
    async def script(session: Session) -> Any:
        prompt = await session.get_option("beep", "123", 5000)
        return prompt.digit, await session.wait_for_digit(5000), await session.get_data("beep", 5000, 5)

    assert phone.play(script, far_end="presser") == ("2", "*", Digits("01", False))


async def behave(session: Session) -> list[Any]:
    """What a caller who presses 2, *, 0, 1 and # meets; a missing sound among it."""
    seen: list[Any] = [(await session.get_option("beep", "123", 5000)).digit, await session.wait_for_digit(5000)]
    seen.append(await session.get_data("beep", 5000, 5))
    for play in (session.stream_file, session.get_option, session.get_data, session.control_stream_file):
        try:
            await play("no-such-sound")
        except PlaybackFailed:
            seen.append("failed")
    seen += [
        (await session.stream_file("beep", "1")).digit,
        await session.wait_for_digit(50),
        await session.get_data("beep", 50),
    ]
    seen += [
        await session.get_variable("NONE"),
        await session.database_get("fake", "none"),
        await session.database_del("fake", "none"),
    ]
    seen += [await session.database_put("fake", "a/b", "1"), await session.database_get("fake", "a/b")]
    seen += [await session.database_deltree("fake", "a"), await session.database_deltree("fake")]
    seen += [
        await session.exec("NoOp"),
        await session.channel_status(),
        await session.set_variable("X", '"'),
        await session.get_variable("X"),
    ]
    try:
        await session.command("NO SUCH COMMAND")
    except AgiError as error:
        seen.append((error.code, error.text))
    return seen


def test_agi_caller_answers_as_the_real_one(phone: Phone) -> None:
    played: list[list[Any]] = []

    async def script(session: Session) -> None:
        played.append(await behave(session))

    call = AgiCaller(digits="2*01#", missing_sounds=["no-such-sound"]).run(script)
    assert call.error is None
    assert played == [phone.play(behave, far_end="presser")]


def test_a_decision_enters_its_target_with_its_arguments(phone: Phone) -> None:
    async def script(session: Session) -> int:
        return await session.exec("Gosub", "target,s,1(sales,5 & more)")

    assert phone.play(script) == 0
    phone.settle(lambda: phone.stored("entered") == "sales/5 & more")
    assert phone.stored("went") is None


def test_a_decision_for_a_missing_target_falls_back(phone: Phone) -> None:
    async def script(session: Session) -> int:
        return await session.exec("Gosub", "target,nosuch,1(sales)")

    assert phone.play(script) == -1
    phone.settle(lambda: phone.stored("went") == "on")


def test_a_failing_script_falls_back(phone: Phone) -> None:
    async def script(session: Session) -> None:
        await session.noop()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        phone.play(script)
    phone.settle(lambda: phone.stored("went") == "on")


@pytest.mark.parametrize("extension", ["nowhere", "forged", "blank"])
def test_what_never_reaches_a_script_falls_back(phone: Phone, extension: str) -> None:
    async def script(session: Session) -> None:
        raise AssertionError("a forged call must start nothing")

    counters = phone.service.sessions.counters
    phone.scripts["run"] = script
    before = counters.malformed + counters.unknown_script, counters.started
    phone.call(f"{extension}@agi")
    phone.settle(lambda: phone.stored("went") == "on")
    assert (counters.malformed + counters.unknown_script, counters.started) == (before[0] + 1, before[1])


def test_a_forged_value_closes_the_session(phone: Phone) -> None:
    async def script(session: Session) -> str | None:
        return await session.get_full_variable("${URIDECODE(1%29%0a200 result=1 %28forged)}")

    malformed = phone.service.sessions.counters.malformed
    with pytest.raises(ChannelGone):
        phone.play(script)
    assert phone.service.sessions.counters.malformed == malformed + 1
    phone.settle(lambda: phone.stored("went") == "on")


@pytest.mark.parametrize("listening", ["wait_for_digit", "say_digits", "get_option", "elsewhere"])
def test_a_caller_who_hangs_up(phone: Phone, listening: str) -> None:
    cleaned: list[bool] = []

    async def script(session: Session) -> None:
        try:
            phone.loop.call_later(0.3, phone.hang_up)
            if listening == "wait_for_digit":
                await session.wait_for_digit(10_000)
            elif listening == "say_digits":
                await session.say_digits("1234567890" * 3)
            elif listening == "get_option":
                await session.get_option("beep", "1", 10_000)
            else:
                while True:
                    await session.exec("Wait", "0.1")
        finally:
            cleaned.append(True)

    with pytest.raises(ChannelGone):
        phone.play(script)
    assert cleaned == [True]


def test_in_h_a_script_runs_with_what_a_dead_channel_may_do(phone: Phone) -> None:
    seen = phone.loop.create_future()

    async def dead(session: Session) -> None:
        try:
            await session.channel_status()
        except ChannelGone:
            await session.set_variable("X", "1")
            seen.set_result(await session.get_variable("X"))

    phone.scripts["dead"] = dead
    phone.call("run@dead")
    assert phone.loop.run_until_complete(asyncio.wait_for(seen, 10)) == "1"
