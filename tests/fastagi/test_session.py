"""Every AGI command: what goes over the wire, and what its answers become."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from fastagi.session import (
    AgiError,
    ChannelGone,
    ChannelState,
    Digits,
    Playback,
    PlaybackFailed,
    Recording,
    Session,
    Speech,
    Utterance,
)
from fastagi.testing import COMMANDS, AgiCaller, split_command
from fastagi.wire import CommandRefused

AT = datetime(2025, 11, 20, 17, 30, tzinfo=UTC)
Use = Callable[[Session], Coroutine[Any, Any, Any]]

# use, words on the wire, Asterisk's answer, what the script gets (an exception class: raised)
CASES: list[tuple[Use, tuple[str, ...], str, Any]] = [
    (lambda s: s.answer(), ("ANSWER",), "200 result=0", None),
    (lambda s: s.answer(), ("ANSWER",), "200 result=-1", PlaybackFailed),
    (lambda s: s.asyncagi_break(), ("ASYNCAGI", "BREAK"), "200 result=0", None),
    (lambda s: s.channel_status(), ("CHANNEL", "STATUS"), "200 result=6", ChannelState.UP),
    (lambda s: s.channel_status("PJSIP/x"), ("CHANNEL", "STATUS", "PJSIP/x"), "200 result=-1", None),
    (
        lambda s: s.control_stream_file("f", "1", 2000, "3", "4", "5", 60),
        ("CONTROL", "STREAM", "FILE", "f", "1", "2000", "3", "4", "5", "60"),
        "200 result=49 endpos=1200",
        Playback("1", 1200),
    ),
    (lambda s: s.database_get("f", "k"), ("DATABASE", "GET", "f", "k"), "200 result=1 (a (b) c)", "a (b) c"),
    (lambda s: s.database_get("f", "k"), ("DATABASE", "GET", "f", "k"), "200 result=0", None),
    (lambda s: s.database_put("f", "k", ""), ("DATABASE", "PUT", "f", "k", ""), "200 result=1", True),
    (lambda s: s.database_del("f", "k"), ("DATABASE", "DEL", "f", "k"), "200 result=0", False),
    (lambda s: s.database_deltree("f"), ("DATABASE", "DELTREE", "f"), "200 result=0", True),
    (lambda s: s.database_deltree("f", "t"), ("DATABASE", "DELTREE", "f", "t"), "200 result=1", False),
    (lambda s: s.exec("Gosub", "a,b,1(x y)"), ("EXEC", "Gosub", "a,b,1(x y)"), "200 result=0", 0),
    (lambda s: s.exec("Gosub", "a"), ("EXEC", "Gosub", "a"), "200 result=-1", -1),
    (lambda s: s.exec("Nope"), ("EXEC", "Nope", ""), "200 result=-2", -2),
    (
        lambda s: s.get_data("f", 1000, 3),
        ("GET", "DATA", "f", "1000", "3"),
        "200 result=12 (timeout)",
        Digits("12", True),
    ),
    (lambda s: s.get_data("f"), ("GET", "DATA", "f", "5000", "1024"), "200 result= (timeout)", Digits("", True)),
    (lambda s: s.get_data("f"), ("GET", "DATA", "f", "5000", "1024"), "200 result=", Digits("", False)),
    (lambda s: s.get_data("f"), ("GET", "DATA", "f", "5000", "1024"), "200 result=0*9", Digits("0*9", False)),
    (lambda s: s.get_data("f"), ("GET", "DATA", "f", "5000", "1024"), "200 result=-1", PlaybackFailed),
    (lambda s: s.get_full_variable("${X}"), ("GET", "FULL", "VARIABLE", "${X}"), "200 result=1 ()", ""),
    (lambda s: s.get_full_variable("x", "c"), ("GET", "FULL", "VARIABLE", "x", "c"), "200 result=0", None),
    (
        lambda s: s.get_option("f", "12", 3000),
        ("GET", "OPTION", "f", "12", "3000"),
        "200 result=50 endpos=7",
        Playback("2", 7),
    ),
    (lambda s: s.get_variable("X"), ("GET", "VARIABLE", "X"), "200 result=1 (a)b)", "a)b"),
    (
        lambda s: s.gosub("c", "e", "l"),
        ("GOSUB", "c", "e", "l"),
        "100 result=0 Trying...\n200 result=0 Gosub complete",
        None,
    ),
    (
        lambda s: s.gosub("c", "e", 1, "x"),
        ("GOSUB", "c", "e", "1", "x"),
        "200 result=-1 Gosub label not found",
        AgiError,
    ),
    (lambda s: s.gosub("c", "e", 1), ("GOSUB", "c", "e", "1"), "503 result=-2 Memory allocation failure", AgiError),
    (lambda s: s.hangup(), ("HANGUP",), "200 result=1", True),
    (lambda s: s.hangup("x"), ("HANGUP", "x"), "200 result=-1", False),
    (lambda s: s.noop(), ("NOOP",), "200 result=0", None),
    (lambda s: s.receive_char(10), ("RECEIVE", "CHAR", "10"), "200 result=65", "A"),
    (lambda s: s.receive_char(10), ("RECEIVE", "CHAR", "10"), "200 result=0 (timeout)", None),
    (lambda s: s.receive_char(10), ("RECEIVE", "CHAR", "10"), "200 result=-1 (hangup)", None),
    (lambda s: s.receive_text(10), ("RECEIVE", "TEXT", "10"), "200 result=1 (hello)", "hello"),
    (lambda s: s.receive_text(10), ("RECEIVE", "TEXT", "10"), "200 result=-1", None),
    (
        lambda s: s.record_file("f", "wav", "#", 5000, 0, beep=True, silence_s=3),
        ("RECORD", "FILE", "f", "wav", "#", "5000", "0", "BEEP", "s=3"),
        "200 result=35 (dtmf) endpos=8000",
        Recording("#", 8000, "dtmf"),
    ),
    (
        lambda s: s.record_file("f", "wav"),
        ("RECORD", "FILE", "f", "wav", "", "-1", "0"),
        "200 result=0 (timeout) endpos=5",
        Recording(None, 5, "timeout"),
    ),
    (
        lambda s: s.record_file("f", "wav"),
        ("RECORD", "FILE", "f", "wav", "", "-1", "0"),
        "200 result=-1 (hangup) endpos=5",
        ChannelGone,
    ),
    (
        lambda s: s.record_file("f", "wav"),
        ("RECORD", "FILE", "f", "wav", "", "-1", "0"),
        "200 result=-1 (writefile)",
        AgiError,
    ),
    (lambda s: s.say_alpha("ab", "1"), ("SAY", "ALPHA", "ab", "1"), "200 result=49", "1"),
    (lambda s: s.say_date(AT), ("SAY", "DATE", "1763659800", ""), "200 result=0", None),
    (
        lambda s: s.say_datetime(AT, "", "dB", "Europe/Berlin"),
        ("SAY", "DATETIME", "1763659800", "", "dB", "Europe/Berlin"),
        "200 result=0",
        None,
    ),
    (lambda s: s.say_digits("123"), ("SAY", "DIGITS", "123", ""), "200 result=-1", PlaybackFailed),
    (lambda s: s.say_number(-3, "*", "f"), ("SAY", "NUMBER", "-3", "*", "f"), "200 result=42", "*"),
    (lambda s: s.say_phonetic("x"), ("SAY", "PHONETIC", "x", ""), "200 result=0", None),
    (lambda s: s.say_time(AT), ("SAY", "TIME", "1763659800", ""), "200 result=0", None),
    (lambda s: s.say_time(AT.replace(tzinfo=None)), (), "", ValueError),
    (lambda s: s.send_image("i"), ("SEND", "IMAGE", "i"), "200 result=0", True),
    (lambda s: s.send_text("hi"), ("SEND", "TEXT", "hi"), "200 result=-1", False),
    (lambda s: s.set_autohangup(4), ("SET", "AUTOHANGUP", "4"), "200 result=0", None),
    (lambda s: s.set_callerid("49301", "Ann, Lee"), ("SET", "CALLERID", '"Ann, Lee" <49301>'), "200 result=1", None),
    (lambda s: s.set_callerid("1", 'x" <900>'), (), "", CommandRefused),
    (lambda s: s.set_context("c"), ("SET", "CONTEXT", "c"), "200 result=0", None),
    (lambda s: s.set_extension("e"), ("SET", "EXTENSION", "e"), "200 result=0", None),
    (lambda s: s.set_priority(3), ("SET", "PRIORITY", "3"), "200 result=0", None),
    (lambda s: s.set_music(True, "jazz"), ("SET", "MUSIC", "on", "jazz"), "200 result=0", None),
    (lambda s: s.set_music(False), ("SET", "MUSIC", "off"), "200 result=0", None),
    (lambda s: s.set_variable("X", 'a "b" \\ ${c}'), ("SET", "VARIABLE", "X", 'a "b" \\ ${c}'), "200 result=1", None),
    (lambda s: s.speech_create("e"), ("SPEECH", "CREATE", "e"), "200 result=1", True),
    (lambda s: s.speech_destroy(), ("SPEECH", "DESTROY"), "200 result=0", False),
    (lambda s: s.speech_set("n", "v"), ("SPEECH", "SET", "n", "v"), "200 result=1", True),
    (lambda s: s.speech_load_grammar("g", "/p"), ("SPEECH", "LOAD", "GRAMMAR", "g", "/p"), "200 result=1", True),
    (lambda s: s.speech_unload_grammar("g"), ("SPEECH", "UNLOAD", "GRAMMAR", "g"), "200 result=1", True),
    (lambda s: s.speech_activate_grammar("g"), ("SPEECH", "ACTIVATE", "GRAMMAR", "g"), "200 result=0", False),
    (lambda s: s.speech_deactivate_grammar("g"), ("SPEECH", "DEACTIVATE", "GRAMMAR", "g"), "200 result=1", True),
    (
        lambda s: s.speech_recognize("p", 5),
        ("SPEECH", "RECOGNIZE", "p", "5", "0"),
        '200 result=1 (speech) endpos=10 results=2 score0=900 text0="yes sir" grammar0=yn score1=20 text1="no" grammar1=yn',
        Speech("speech", None, 10, (Utterance(900, "yes sir", "yn"), Utterance(20, "no", "yn"))),
    ),
    (
        lambda s: s.speech_recognize("p", 5),
        ("SPEECH", "RECOGNIZE", "p", "5", "0"),
        "200 result=1 (digit) digit=7 endpos=3",
        Speech("digit", "7", 3, ()),
    ),
    (
        lambda s: s.speech_recognize("p", 5),
        ("SPEECH", "RECOGNIZE", "p", "5", "0"),
        "200 result=0",
        Speech("", None, 0, ()),
    ),
    (
        lambda s: s.speech_recognize("p", 5),
        ("SPEECH", "RECOGNIZE", "p", "5", "0"),
        "200 result=1 (hangup) endpos=0",
        ChannelGone,
    ),
    (
        lambda s: s.stream_file("f", "0*#"),
        ("STREAM", "FILE", "f", "0*#", "0"),
        "200 result=42 endpos=99",
        Playback("*", 99),
    ),
    (lambda s: s.stream_file("f"), ("STREAM", "FILE", "f", "", "0"), "200 result=-1 endpos=0", PlaybackFailed),
    (lambda s: s.tdd_mode("mate"), ("TDD", "MODE", "mate"), "200 result=0", False),
    (lambda s: s.verbose("hi", 3), ("VERBOSE", "hi", "3"), "200 result=1", None),
    (lambda s: s.wait_for_digit(), ("WAIT", "FOR", "DIGIT", "-1"), "200 result=0", None),
    (lambda s: s.wait_for_digit(9), ("WAIT", "FOR", "DIGIT", "9"), "200 result=48", "0"),
    (lambda s: s.noop(), ("NOOP",), "510 Invalid or unknown command", AgiError),
    (lambda s: s.noop(), ("NOOP",), "511 Command Not Permitted on a dead channel", ChannelGone),
    (lambda s: s.noop(), ("NOOP",), "520-Invalid command syntax.\nUsage: X\n520 End of proper usage.", AgiError),
]


@pytest.mark.parametrize(
    ("use", "words", "answer", "wanted"), CASES, ids=[" ".join(case[1][:3]) or "refused" for case in CASES]
)
@pytest.mark.parametrize("chunk_bytes", [1, 65_536])
def test_command(use: Use, words: tuple[str, ...], answer: str, wanted: Any, chunk_bytes: int) -> None:
    got: list[Any] = []

    async def script(session: Session) -> None:
        try:
            got.append(await use(session))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            got.append(error)

    answers = {"": answer} if words[:2] == ("CHANNEL", "STATUS") else {"": answer, "CHANNEL STATUS": "200 result=6"}
    call = AgiCaller(answers=answers, chunk_bytes=chunk_bytes).run(script)
    assert call.finished
    assert call.commands[:1] == ([words] if words else [])
    assert call.commands[1:] in ([], [("CHANNEL", "STATUS")])
    if isinstance(wanted, type) and issubclass(wanted, Exception):
        assert isinstance(got[0], wanted)
    else:
        assert got == [wanted]


@pytest.mark.parametrize(
    "ending", ["HANGUP\n511 Command Not Permitted on a dead channel", "511 Command Not Permitted on a dead channel"]
)
def test_a_minus_one_of_a_channel_that_is_gone_is_a_hang_up(ending: str) -> None:
    async def script(session: Session) -> None:
        with pytest.raises(ChannelGone):
            await session.stream_file("welcome", "1")

    answers = {"STREAM FILE": "200 result=-1 endpos=80", "CHANNEL STATUS": ending}
    call = AgiCaller(answers=answers).run(script)
    assert (call.error, call.finished) == (None, True)


def test_a_missing_sound_is_not_a_hang_up() -> None:
    async def script(session: Session) -> None:
        for play in (session.stream_file, session.get_option, session.get_data):
            with pytest.raises(PlaybackFailed, match="nosuch"):
                await play("nosuch")
        await session.exec("NoOp")

    call = AgiCaller(missing_sounds=["nosuch"]).run(script)
    assert (call.error, call.executed, call.played) == (None, ("NoOp", ""), [])


def test_every_command_of_asterisk_22_is_there() -> None:
    assert {split_command(words)[0] for _, words, _, _ in CASES if words} == COMMANDS


def test_an_error_tells_command_code_and_usage() -> None:
    error = AgiError("NOOP", 520, "Usage: NOOP")
    assert (str(error), error.command, error.code, error.text) == ("NOOP: 520 Usage: NOOP", "NOOP", 520, "Usage: NOOP")
